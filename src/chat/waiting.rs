//! Commands that wait for old state, first in, first out.
//!
//! The store is asked when a command is queued, for all that it needs, and for nothing twice at a time;
//! only the decisions keep the order.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};

use crate::limits::WAITING_COMMANDS_MAX;
use crate::model::{LoadKey, Request, SessionId};

#[derive(Debug)]
pub struct Queued {
    pub session: SessionId,
    pub request: Request<'static>,
}

/// What the store said of a key that is not kept anywhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    Absent,
    Failed,
}

#[derive(Debug, Default)]
pub struct Waiting {
    queue: VecDeque<Queued>,
    asked: HashSet<LoadKey>,
    /// Answers without content, as long as somebody may wait for them.
    nothing: HashMap<LoadKey, Nothing>,
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.queue.len() >= WAITING_COMMANDS_MAX
    }

    /// No command waits and no answer is owed.
    pub fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.asked.is_empty()
    }

    pub fn push(&mut self, queued: Queued) {
        self.queue.push_back(queued);
    }

    pub fn front(&self) -> Option<&Queued> {
        self.queue.front()
    }

    /// The first command; what is known not to exist stays known until it is decided.
    pub fn pop(&mut self) -> Option<Queued> {
        self.queue.pop_front()
    }

    /// Nobody waits any more: what was found out for those who did is forgotten.
    pub fn forget_if_empty(&mut self) {
        if self.queue.is_empty() {
            self.nothing.clear();
        }
    }

    /// `true` when the store is to be asked now.
    pub fn ask(&mut self, key: &LoadKey) -> bool {
        !self.nothing.contains_key(key) && self.asked.insert(key.clone())
    }

    pub fn answered(&mut self, key: &LoadKey) {
        self.asked.remove(key);
    }

    /// The answer to remember while the queue lasts.
    pub fn found_nothing(&mut self, key: LoadKey, nothing: Nothing) {
        if !self.queue.is_empty() {
            self.nothing.insert(key, nothing);
        }
    }

    pub fn nothing(&self, key: &LoadKey) -> Option<Nothing> {
        self.nothing.get(key).copied()
    }
}
