//! Who is here: sockets and the users behind them.
//!
//! A user stays as long as there is a socket, an `offline` to be told, or a mark that the store may not
//! have yet. Users are known by a small number inside, so that nothing on a command's way hashes an id.

use std::sync::Arc;

use hashbrown::HashMap;
use slab::Slab;

use super::rate::Bucket;
use super::receipt::Marks;
use super::typing::Typing;
use crate::limits::Limits;
use crate::model::{Mono, Profile, Role, SessionId, UserId, Version};

#[derive(Debug)]
pub struct Session {
    pub user: usize,
    pub role: Role,
    pub version: Version,
}

#[derive(Debug)]
pub struct User {
    pub profile: Arc<Profile>,
    pub sockets: u32,
    /// Messages, edits, deletes and reactions.
    pub events: Bucket,
    /// What the others were told last.
    pub is_announced: bool,
    /// Without sockets since; told as `offline` then.
    pub offline_at: Option<Mono>,
    pub typing: Typing,
    pub marks: Marks,
}

impl User {
    pub fn id(&self) -> &UserId {
        &self.profile.id
    }

    /// Online as others see it: the grace after the last socket included.
    pub fn is_online(&self) -> bool {
        self.sockets > 0 || self.offline_at.is_some()
    }
}

#[derive(Debug, Default)]
pub struct People {
    pub sessions: HashMap<SessionId, Session>,
    pub users: Slab<User>,
    by_id: HashMap<UserId, usize>,
    online: usize,
}

impl People {
    /// How many users are online.
    pub fn online(&self) -> usize {
        self.online
    }

    pub fn number_of(&self, user: &UserId) -> Option<usize> {
        self.by_id.get(user).copied()
    }

    /// The user, with the newest profile; new if nobody knew it.
    pub fn enter(&mut self, profile: Arc<Profile>, limits: &Limits) -> usize {
        let number = match self.by_id.get(&profile.id) {
            Some(&number) => number,
            None => {
                let id = profile.id.clone();
                let number = self.users.insert(User {
                    profile: profile.clone(),
                    sockets: 0,
                    events: Bucket::new(limits.events_per_user),
                    is_announced: false,
                    offline_at: None,
                    typing: Typing::default(),
                    marks: Marks::default(),
                });
                self.by_id.insert(id, number);
                number
            }
        };
        let user = &mut self.users[number];
        if !user.is_online() {
            self.online += 1;
        }
        user.profile = profile;
        user.sockets += 1;
        user.offline_at = None;
        number
    }

    /// The user's grace is over.
    pub fn went_offline(&mut self, number: usize) {
        self.users[number].offline_at = None;
        self.online -= 1;
    }

    /// Forgets the user when nothing holds it.
    pub fn forget_if_done(&mut self, number: usize, sealed: u64) {
        let Some(user) = self.users.get(number) else { return };
        if !user.is_online() && !user.is_announced && user.marks.may_leave_memory(sealed) {
            let user = self.users.remove(number);
            self.by_id.remove(user.id());
        }
    }

    pub fn forget_done(&mut self, sealed: u64) {
        let numbers: Vec<usize> = self.users.iter().map(|(number, _)| number).collect();
        for number in numbers {
            self.forget_if_done(number, sealed);
        }
    }

    /// The sockets of a user, always in the same order.
    pub fn sessions_of(&self, number: usize) -> Vec<SessionId> {
        let mut sessions: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.user == number)
            .map(|(&id, _)| id)
            .collect();
        sessions.sort_unstable();
        sessions
    }
}
