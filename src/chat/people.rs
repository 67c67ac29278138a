//! The sockets and users of a conversation. A socket knows its user by a dense index, so that the hot
//! paths hash a [`SessionId`] once and never a text.
//!
//! A user stays as long as anything about it is not in the store or has not been told: see
//! `Conversation::may_release`. An index is reused only after that.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

use hashbrown::HashMap;
use slab::Slab;
use smallvec::SmallVec;

use super::Joiner;
use super::presence::Seen;
use super::rate::Bucket;
use super::receipt::Receipt;
use super::typing::Typing;
use crate::limits::Rate;
use crate::model::{Mono, Profile, Role, SessionId, UserId, Version};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct UserIndex(usize);

#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    pub user: UserIndex,
    pub role: Role,
    pub version: Version,
}

#[derive(Debug)]
pub(super) struct User {
    /// As the newest of its sockets brought it.
    pub profile: Arc<Profile>,
    /// In the order in which they came.
    pub sessions: SmallVec<[SessionId; 2]>,
    pub seen: Seen,
    pub typing: Typing,
    pub receipt: Receipt,
    pub bucket: Bucket,
    /// Commands of this user that wait for old state.
    pub commands_waiting: u32,
}

#[derive(Debug, Default)]
pub(super) struct People {
    sessions: HashMap<SessionId, Session>,
    users: Slab<User>,
    by_id: HashMap<UserId, UserIndex>,
}

/// What is known about a user who is not in memory.
pub(super) struct Unknown {
    pub receipt: Receipt,
    pub rate: Rate,
}

impl People {
    /// A socket comes in.
    pub fn enter(&mut self, session: SessionId, joiner: Joiner, unknown: Unknown) -> UserIndex {
        let Joiner { profile, role, version, entrance: _ } = joiner;
        let user = self.find_or_insert(&profile, unknown);
        self[user].profile = profile;
        self[user].sessions.push(session);
        self.sessions.insert(session, Session { user, role, version });
        user
    }

    /// A user of whom something is decided, with or without a socket.
    pub fn find_or_insert(&mut self, profile: &Arc<Profile>, unknown: Unknown) -> UserIndex {
        match self.by_id.get(&profile.id) {
            Some(&user) => user,
            None => self.insert(profile.clone(), unknown),
        }
    }

    /// Another rate for everyone's events.
    pub fn set_rate(&mut self, rate: Rate, now: Mono) {
        for (_, user) in &mut self.users {
            user.bucket.set_rate(rate, now);
        }
    }

    fn insert(&mut self, profile: Arc<Profile>, unknown: Unknown) -> UserIndex {
        let id = profile.id.clone();
        let user = UserIndex(self.users.insert(User {
            profile,
            sessions: SmallVec::new(),
            seen: Seen::default(),
            typing: Typing::default(),
            receipt: unknown.receipt,
            bucket: Bucket::new(unknown.rate),
            commands_waiting: 0,
        }));
        self.by_id.insert(id, user);
        user
    }

    /// A socket goes; its user stays.
    pub fn leave(&mut self, session: SessionId) -> Option<UserIndex> {
        let user = self.sessions.remove(&session)?.user;
        self[user].sessions.retain(|held| *held != session);
        Some(user)
    }

    pub fn remove(&mut self, user: UserIndex) {
        let User { profile, .. } = self.users.remove(user.0);
        self.by_id.remove(&profile.id);
    }

    pub fn session(&self, session: SessionId) -> Option<Session> {
        self.sessions.get(&session).copied()
    }

    pub fn session_mut(&mut self, session: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&session)
    }

    pub fn is_here(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    pub fn find(&self, user: &UserId) -> Option<UserIndex> {
        self.by_id.get(user).copied()
    }

    /// In the order of their indices.
    pub fn users(&self) -> impl Iterator<Item = (UserIndex, &User)> {
        self.users.iter().map(|(index, user)| (UserIndex(index), user))
    }

    pub fn get(&self, user: UserIndex) -> Option<&User> {
        self.users.get(user.0)
    }

    pub fn sockets(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

impl Index<UserIndex> for People {
    type Output = User;

    fn index(&self, user: UserIndex) -> &User {
        &self.users[user.0]
    }
}

impl IndexMut<UserIndex> for People {
    fn index_mut(&mut self, user: UserIndex) -> &mut User {
        &mut self.users[user.0]
    }
}
