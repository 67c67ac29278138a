//! One conversation as its owner shard holds it: the machine, its sockets, and this turn's batch.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::follow::Follower;
use super::missed::Missed;
use super::recent::Recent;
use crate::chat::Conversation;
use crate::model::{ConversationId, Mark, Seq, SessionId, StoredMarks, UserId};
use crate::node::batch::{Audience, Batch, Keep};
use crate::node::timers::Alarm;

pub struct Room {
    pub id: ConversationId,
    /// `None` until the store has said where the conversation stands.
    pub chat: Option<Conversation>,
    /// Place of the last event that was shown.
    pub durable_seq: Seq,
    /// The durable events that pages do not have yet.
    pub recent: Recent,
    /// How many sockets ever came in.
    pub entrances: u64,
    /// The live sockets on this core.
    pub locals: Vec<SessionId>,
    /// Live sockets on other cores: (core, how many).
    pub remotes: SmallVec<[(u16, u32); 2]>,
    /// Sockets of all cores that follow the log, and what they are owed beside events.
    pub followers: BTreeMap<SessionId, Follower>,
    pub missed: Missed,
    /// The store's marks, for those who resume, and how many segments were sealed when they were asked
    /// for: after a restart everybody wants them, and counting them reads all of them.
    pub stored_marks: Option<(u64, StoredMarks)>,
    pub batch: Batch,
    pub is_dirty: bool,
    /// Marks that rose and are not in the log yet: the newest of each user.
    pub marks: HashMap<UserId, Mark>,
    /// Questions to the store, candidates and records under way: while there are any, the room stays.
    pub under_way: u32,
    /// Counts changes of members: an admission that was read before one is read again.
    pub directory_stamp: u64,
    pub is_wide: bool,
    /// Its deletion is decided and not yet durable: nobody enters, nothing is decided.
    pub is_deleting: bool,
    /// The record that brings its past in is on its way to the disk: nobody enters.
    pub is_importing: bool,
    pub alarm: Alarm,
}

impl Room {
    pub fn new(id: ConversationId) -> Room {
        Room {
            id,
            chat: None,
            durable_seq: Seq::default(),
            recent: Recent::default(),
            entrances: 0,
            locals: Vec::new(),
            remotes: SmallVec::new(),
            followers: BTreeMap::new(),
            missed: Missed::default(),
            stored_marks: None,
            batch: Batch::default(),
            is_dirty: false,
            marks: HashMap::new(),
            under_way: 0,
            directory_stamp: 0,
            is_wide: false,
            is_deleting: false,
            is_importing: false,
            alarm: Alarm::default(),
        }
    }

    pub fn push(&mut self, audience: Audience, keep: Keep, encode: impl FnOnce(&mut Vec<u8>)) {
        // Nobody to tell: presence and receipts of an empty room.
        if !(self.locals.is_empty() && self.remotes.is_empty()) {
            self.batch.push(audience, keep, encode);
        }
    }

    pub fn push_event(&mut self, audience: Audience, encode: impl FnOnce(&mut Vec<u8>)) {
        if !(self.locals.is_empty() && self.remotes.is_empty()) {
            self.batch.push_event(audience, encode);
        }
    }

    /// A socket gets what is said from here on; `own` is this core.
    pub fn join_live(&mut self, session: SessionId, own: u16) {
        match session.core == own {
            true => self.locals.push(session),
            false => self.remote_joined(session.core),
        }
    }

    pub fn leave_live(&mut self, session: SessionId, own: u16) {
        if session.core != own {
            self.remote_left(session.core);
        } else if let Some(at) = self.locals.iter().position(|&local| local == session) {
            self.locals.swap_remove(at);
        }
    }

    /// What is kept for followers goes with the last of them.
    pub fn follower_left(&mut self) {
        if self.followers.is_empty() {
            self.missed.clear();
            self.stored_marks = None;
        }
    }

    /// Sockets on this core, live or not. (Followers on others are there only when it is wide already.)
    pub fn sockets_here(&self) -> usize {
        self.locals.len() + self.followers.len()
    }

    fn remote_joined(&mut self, core: u16) {
        match self.remotes.iter_mut().find(|(at, _)| *at == core) {
            Some((_, count)) => *count += 1,
            None => self.remotes.push((core, 1)),
        }
    }

    fn remote_left(&mut self, core: u16) {
        if let Some(at) = self.remotes.iter().position(|(at, _)| *at == core) {
            self.remotes[at].1 -= 1;
            if self.remotes[at].1 == 0 {
                self.remotes.swap_remove(at);
            }
        }
    }

    /// Nothing holds the room in memory: the store knows all of it.
    pub fn may_leave_memory(&self) -> bool {
        self.locals.is_empty()
            && self.remotes.is_empty()
            && self.followers.is_empty()
            && self.under_way == 0
            && self.marks.is_empty()
            && self.batch.is_empty()
            && self.chat.as_ref().is_none_or(Conversation::is_idle)
    }
}
