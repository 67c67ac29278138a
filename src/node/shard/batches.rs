//! What a room says to its sockets: this turn's batch, and for whom it is.

use smallvec::SmallVec;

use super::operation::NO_CORE;
use super::{Output, Shard};
use crate::chat;
use crate::model::{ConversationId, SessionId, Signal};
use crate::node::batch::{Audience, Batch, Keep};
use crate::node::mail::Told;
use crate::telemetry::Counter;
use crate::wire::json;

/// A room's batch of this turn, and whom it is for.
pub(in crate::node) struct FullBatch {
    pub conversation: ConversationId,
    pub batch: Batch,
    pub locals: Vec<SessionId>,
    pub remotes: SmallVec<[u16; 2]>,
}

impl Shard {
    pub(super) fn tell(&mut self, session: SessionId, told: Told) {
        if session.core == NO_CORE {
            self.operated(session, told);
            return;
        }
        self.outputs.push_back(Output::Told { session, told });
    }

    pub(super) fn signal(&mut self, room: usize, audience: chat::Audience, signal: &Signal) {
        let keep = match signal {
            Signal::Typing { .. } => Keep::IfLevel,
            // Nobody would tell it later: that is done for those who follow only.
            Signal::Read { .. } | Signal::Status { .. } | Signal::PresenceCount { .. } => {
                Keep::Always
            }
        };
        let audience = match audience {
            chat::Audience::One(session) => {
                self.tell(session, Told::Signal(signal.clone()));
                return;
            }
            chat::Audience::All => Audience::All,
            chat::Audience::AllBut(user) => Audience::AllBut(user),
            chat::Audience::Earlier { than, but } => Audience::Earlier { than, but },
            chat::Audience::AllV1 => Audience::V1,
            chat::Audience::AllV2 => Audience::V2,
        };
        self.counters.increment(Counter::signal(signal));
        let held = &mut self.rooms[room];
        let noted = held.followers.is_empty() || held.missed.note(&audience, signal).is_ok();
        held.push(audience, keep, |out| json::signal(out, signal));
        if !noted {
            self.drop_followers(room);
        }
        self.touch(room);
    }

    /// The room has something for its sockets at the end of this turn.
    pub(super) fn touch(&mut self, room: usize) {
        if !self.rooms[room].is_dirty {
            self.rooms[room].is_dirty = true;
            self.dirty.push(room);
        }
    }

    /// Gives what was said so far this turn to those who are in now.
    pub(super) fn cut(&mut self, room: usize) {
        if let Some(full) = self.full_batch(room) {
            self.outputs.push_back(Output::Batch(full));
        }
    }

    /// The next conversation with something to say to its sockets.
    pub(in crate::node) fn next_batch(&mut self) -> Option<FullBatch> {
        while let Some(room) = self.dirty.pop() {
            // A room may have left memory since: what it had to say was for nobody.
            let Some(held) = self.rooms.get_mut(room) else { continue };
            held.is_dirty = false;
            if let Some(full) = self.full_batch(room) {
                return Some(full);
            }
        }
        None
    }

    fn full_batch(&mut self, room: usize) -> Option<FullBatch> {
        let held = &mut self.rooms[room];
        (!held.batch.is_empty()).then(|| FullBatch {
            conversation: held.id.clone(),
            batch: held.batch.take(held.durable_seq),
            locals: held.locals.clone(),
            remotes: held.remotes.iter().map(|&(core, _)| core).collect(),
        })
    }
}
