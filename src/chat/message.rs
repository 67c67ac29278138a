//! Messages in memory.
//!
//! Invariant: a message that an unsealed event touched (made, edited, deleted, reacted to, or replied to)
//! is here; so one that is not here is wholly in the store. Beside these, the newest few stay for speed,
//! and a bounded number of those that were read.

use std::collections::{BTreeMap, VecDeque};

use crate::limits::WINDOW_MESSAGES;
use crate::model::{Event, EventBody, MessageId, MessageState};

#[derive(Debug)]
struct Held {
    state: MessageState,
    /// Events about it that are not durable.
    undurable: u32,
    /// The newest segment with an event about it; 0 when it was only read.
    segment: u64,
}

#[derive(Debug, Default)]
pub struct Window {
    held: BTreeMap<MessageId, Held>,
    /// Per event that is not durable: its seq and what it touched.
    undurable: VecDeque<(u64, [Option<MessageId>; 2])>,
    /// Read and not touched since, oldest first; may name messages that have left.
    read: VecDeque<MessageId>,
    sealed: u64,
}

impl Window {
    pub fn get(&self, id: MessageId) -> Option<&MessageState> {
        self.held.get(&id).map(|held| &held.state)
    }

    pub fn contains(&self, id: MessageId) -> bool {
        self.held.contains_key(&id)
    }

    /// Folds a decided event in. What it touches must be here.
    pub fn decide(&mut self, event: &Event) {
        let touched = match &event.body {
            EventBody::Message(body) => {
                if let Some(state) = MessageState::created(event) {
                    self.held.insert(body.id, Held { state, undurable: 0, segment: 0 });
                }
                [Some(body.id), body.parent]
            }
            EventBody::Edit { message, .. }
            | EventBody::Delete { message, .. }
            | EventBody::Reaction { message, .. } => [Some(*message), None],
        };
        for id in touched.iter().flatten() {
            if let Some(held) = self.held.get_mut(id) {
                held.undurable += 1;
                held.state.apply(event);
            }
        }
        self.undurable.push_back((event.seq.0, touched));
    }

    pub fn read(&mut self, state: MessageState) {
        let id = state.id;
        self.held.entry(id).or_insert(Held { state, undurable: 0, segment: 0 });
        self.read.push_back(id);
        while self.read.len() > WINDOW_MESSAGES {
            let Some(id) = self.read.pop_front() else { break };
            if self.held.get(&id).is_some_and(|held| held.undurable == 0 && held.segment == 0) {
                self.held.remove(&id);
            }
        }
    }

    pub fn durable(&mut self, through: u64, segment: u64) {
        while let Some((_, touched)) = self.undurable.pop_front_if(|(seq, _)| *seq <= through) {
            for id in touched.into_iter().flatten() {
                if let Some(held) = self.held.get_mut(&id) {
                    held.undurable -= 1;
                    held.segment = segment;
                }
            }
        }
    }

    /// Lets go of what the store has, the newest messages apart.
    pub fn sealed(&mut self, sealed: u64) {
        self.sealed = sealed;
        let keep = self.held.len().saturating_sub(WINDOW_MESSAGES);
        let stays_from = self.held.keys().nth(keep).copied();
        self.held.retain(|&id, held| {
            held.undurable > 0 || held.segment > sealed || stays_from.is_some_and(|from| id >= from)
        });
    }

    pub fn has_undurable(&self) -> bool {
        !self.undurable.is_empty()
    }

    /// The newest messages, as they are here.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = &MessageState> {
        self.held.values().rev().take(count).map(|held| &held.state)
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }
}
