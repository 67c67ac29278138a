//! Sockets here that follow the log instead of getting each batch: falling behind, pieces, becoming
//! level. Who feeds them is the owner's shard (`node/shard/follow.rs`).

use std::sync::Arc;

use super::Core;
use crate::model::{Ack, ConversationId, Identity, Now, Refusal, Reply, Seq};
use crate::node::connection::{Phase, Place, TokenTime};
use crate::node::mail::{Mail, Pace};
use crate::telemetry::Counter;
use crate::wire::json;

impl<S> Core<S> {
    /// The socket does not keep up: what is queued goes out, and the rest follows from the log.
    pub(super) fn fall_behind(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        let session = connection.session;
        let Phase::Open(open) = &mut connection.phase else { return };
        let at = open.through;
        open.pace = Pace::Following { is_asked: false };
        self.counters.increment(Counter::CatchUps);
        match open.place.clone() {
            Place::Here { room } => self.shard.fall_behind(room, session, at),
            Place::Far { owner, .. } => {
                self.links.peer(owner).send(Mail::FallBehind { session, at });
            }
        }
        self.feed_if_hungry(slot);
    }

    /// The owner knows that the socket follows. Until then batches brought it what is no event.
    pub(super) fn follows(&mut self, slot: u32) {
        let connection = &self.connections[slot as usize];
        let session = connection.session;
        if let Phase::Open(open) = &connection.phase
            && let Place::Far { conversation, .. } = &open.place
        {
            let conversation = conversation.clone();
            self.forget_live(&conversation, session);
        }
    }

    /// Batches for this conversation's sockets here found no room on the way.
    pub(super) fn batches_lost(&mut self, conversation: &ConversationId, now: Now) {
        let Some(far) = self.far.get(conversation) else { return };
        for session in far.locals.clone() {
            if let Some(slot) = self.slot_of(session)
                && self.is_live(slot)
            {
                self.connections[slot as usize].note_queueing(now.mono);
                self.fall_behind(slot);
            }
        }
    }

    fn is_live(&self, slot: u32) -> bool {
        matches!(&self.connections[slot as usize].phase, Phase::Open(open) if open.pace == Pace::Live)
    }

    /// Asks for the next piece when the last one is taken.
    pub(super) fn feed_if_hungry(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if !connection.wants_feed() {
            return;
        }
        self.needs_turn = true;
        let session = connection.session;
        let Phase::Open(open) = &connection.phase else { return };
        match &open.place {
            Place::Here { room } => self.shard.feed(*room, session),
            Place::Far { owner, .. } => {
                let owner = *owner;
                self.links.peer(owner).send(Mail::Feed { session });
            }
        }
    }

    pub(super) fn piece(&mut self, slot: u32, frames: &[u8], through: Seq, now: Now) {
        let connection = &mut self.connections[slot as usize];
        let Phase::Open(open) = &mut connection.phase else { return };
        open.through = through;
        open.pace = Pace::Following { is_asked: false };
        self.push_frames(slot, now, |out| out.extend_from_slice(frames));
    }

    /// The socket has every event up to `seq`; batches are for it from here on.
    pub(super) fn level(&mut self, slot: u32, seq: Seq) {
        let connection = &mut self.connections[slot as usize];
        let session = connection.session;
        let Phase::Open(open) = &mut connection.phase else { return };
        open.pace = Pace::Live;
        open.through = seq;
        if let Place::Far { conversation, .. } = &open.place {
            self.far.entry(conversation.clone()).or_default().locals.push(session);
        }
    }

    /// The answer to one of the socket's questions about the past.
    pub(super) fn answered(&mut self, slot: u32, reply: &Reply, now: Now) {
        if let Phase::Open(open) = &mut self.connections[slot as usize].phase {
            open.questions = open.questions.saturating_sub(1);
        }
        self.count_reply(reply);
        self.push_frames(slot, now, |out| json::reply(out, reply));
    }

    /// The socket goes on with a newer token, or with the one that it has.
    pub(super) fn refreshed(
        &mut self,
        slot: u32,
        outcome: Result<Arc<Identity>, Refusal>,
        reference: Option<String>,
        now: Now,
    ) {
        let Phase::Open(open) = &mut self.connections[slot as usize].phase else { return };
        open.is_refreshing = false;
        let reply = match outcome {
            Ok(identity) => {
                open.issued_at_ms = identity.issued_at_ms;
                open.token = Some(TokenTime::new(identity.expires_at_ms, now));
                Reply::Ack(Ack { reference, ..Ack::default() })
            }
            Err(refusal) => Reply::Error { refusal, reference },
        };
        self.count_reply(&reply);
        self.push_frames(slot, now, |out| json::reply(out, &reply));
        self.arm(slot);
    }
}
