//! A turn: mail in, timers, what the shard says, batches into outboxes, mail out.
//!
//! Invariant: what a shard says reaches one socket in the order in which it was said, whether the
//! socket is here or on another core (one ring, first in, first out).

use std::sync::Arc;

use super::Core;
use super::handshake::OVERLOADED;
use crate::model::{CloseReason, HelloLimits, Now, Reply, Seq, SessionId, UserId, Version};
use crate::node::batch::{Frames, Level, SharedBatch, Viewer};
use crate::node::connection::{Adoption, Connection, Open, Phase, Place, TokenTime};
use crate::node::guard::Guard;
use crate::node::links::Links;
use crate::node::mail::{Candidate, Mail, Pace, Told};
use crate::node::shard::{FullBatch, News, Output};
use crate::telemetry::Counter;
use crate::wire::session::Session;
use crate::wire::{json, upgrade};

/// What the owner says of a socket that may come in.
struct Admittance {
    room: usize,
    /// The last event that was shown.
    seq: Seq,
    pace: Pace,
    entrance: u64,
    /// The core that owns the conversation.
    owner: u16,
}

/// When mail that found a ring full is tried again.
const FLUSH_AGAIN_MS: u64 = 1;

impl<S> Core<S> {
    /// Nothing waits to be taken in: the core may sleep.
    pub fn may_sleep(&self) -> bool {
        self.links.is_empty() && self.attended.is_empty() && !self.shard.has_hungry()
    }

    /// A whole turn, for those who do no other work in between.
    pub fn turn(&mut self, now: Now) {
        self.work(now);
        self.commit();
    }

    /// Everything but handing records to the log.
    pub fn work(&mut self, now: Now) {
        self.needs_turn = false;
        self.take_mail(now);
        self.handle_socket_timeouts(now);
        self.shard.handle_timeouts(now);
        self.shard.feed_hungry();
        self.deliver(now);
        self.go_on_draining(now);
        self.shard.forget_idle();
        self.send_mail();
        self.survey(now);
        // Who empties a ring tells nobody.
        let is_waiting = self.links.peers.iter().flatten().any(|peer| peer.waiting() > 0);
        self.flush_at = is_waiting.then(|| now.mono.after(FLUSH_AGAIN_MS));
    }

    fn take_mail(&mut self, now: Now) {
        while let Some(news) = self.links.from_log.pop() {
            self.shard.from_log(news, now);
        }
        while let Some(answer) = self.links.from_readers.pop() {
            self.shard.loaded(answer.ticket, answer.answer, now);
        }
        while let Some(order) = self.links.admin.pop() {
            self.shard.order(order, now);
        }
        for core in 0..self.links.peers.len() {
            while let Some(mail) = self.links.peers[core].as_mut().and_then(|p| p.from.pop()) {
                self.take(core as u16, mail, now);
            }
        }
    }

    fn take(&mut self, from: u16, mail: Mail<S, Adoption>, now: Now) {
        match mail {
            Mail::Adopt { socket, adoption } => self.adopt(socket, adoption, now),
            Mail::Join(candidate) => self.shard.admit(*candidate),
            Mail::Leave { session } => self.shard.remote_leave(session, now),
            Mail::Command { session, request } => {
                self.shard.remote_command(session, *request, now);
            }
            Mail::FallBehind { session, at } => self.shard.remote_fall_behind(session, at),
            Mail::Feed { session } => self.shard.remote_feed(session),
            Mail::History { session, query, reference } => {
                self.shard.remote_history(session, query, reference);
            }
            Mail::Refresh { session, identity, reference } => {
                self.shard.remote_refresh(session, identity, reference);
            }
            Mail::Tell { session, told } => self.tell(session, told, from, now),
            Mail::Batch { conversation, batch } => {
                if let Some(far) = self.far.get(&conversation) {
                    let locals = far.locals.clone();
                    self.give(&SharedBatch::remote(batch), &locals, now);
                }
            }
            Mail::BatchesLost { conversation } => self.batches_lost(&conversation, now),
            Mail::Wide { conversation } => {
                self.wide.insert(conversation);
            }
            Mail::Narrow { conversation } => {
                self.wide.remove(&conversation);
            }
            Mail::ReadAnew => self.shard.shrink(),
            Mail::Revoked { user, issued_before } => self.revoke(&user, issued_before.0, now),
            Mail::Quiet => self.heard.quiet += 1,
            Mail::Settled => self.heard.settled += 1,
        }
    }

    fn adopt(&mut self, socket: S, mut adoption: Box<Adoption>, now: Now) {
        let permits = std::mem::take(&mut adoption.permits);
        let peer = adoption.peer;
        let slot = self.insert(Phase::Gone, peer, now);
        self.adopted.push_back((slot, socket));
        self.connections[slot as usize].permits = permits;
        if self.is_draining() {
            self.refuse(slot, OVERLOADED, now);
        } else {
            self.ask_for_admission(slot, adoption);
        }
    }

    /// The token is good: may this user enter? The owner's shard knows, here or elsewhere.
    pub(super) fn ask_for_admission(&mut self, slot: u32, adoption: Box<Adoption>) {
        let connection = &mut self.connections[slot as usize];
        let candidate = Candidate {
            session: connection.session,
            conversation: adoption.conversation.clone(),
            identity: adoption.identity.clone(),
            version: adoption.version,
            resume: adoption.resume,
        };
        connection.phase = Phase::Admitting(adoption);
        let owner = self.owner_of(&candidate.conversation);
        if owner == self.settings.index {
            self.shard.admit(candidate);
        } else {
            self.links.peer(owner).send(Mail::Join(Box::new(candidate)));
        }
        self.attend(slot);
    }

    /// Everything the shard said, in order; then this turn's batches. News close sockets, of which
    /// others hear in the same turn.
    fn deliver(&mut self, now: Now) {
        self.deliver_said(now);
        while let Some(news) = self.shard.news.pop_front() {
            self.spread_news(news, now);
            self.deliver_said(now);
        }
    }

    fn deliver_said(&mut self, now: Now) {
        loop {
            while let Some(output) = self.shard.outputs.pop_front() {
                match output {
                    Output::Told { session, told } if session.core == self.settings.index => {
                        self.tell(session, told, session.core, now);
                    }
                    Output::Told { session, told } => {
                        self.links.peer(session.core).send(Mail::Tell { session, told });
                    }
                    Output::Batch(full) => self.spread(full, now),
                }
            }
            let Some(full) = self.shard.next_batch() else { break };
            self.spread(full, now);
        }
    }

    /// One reference for each member here, one message for each other core.
    fn spread(&mut self, full: FullBatch, now: Now) {
        let FullBatch { conversation, batch, locals, remotes } = full;
        let shared = if remotes.is_empty() {
            SharedBatch::local(batch)
        } else {
            let batch = Arc::new(batch);
            for core in remotes {
                let (conversation, batch) = (conversation.clone(), batch.clone());
                self.links.peer(core).send(Mail::Batch { conversation, batch });
            }
            SharedBatch::remote(batch)
        };
        self.give(&shared, &locals, now);
    }

    fn give(&mut self, shared: &SharedBatch, locals: &[SessionId], now: Now) {
        let bytes_max = self.reloadable.limits.outbox_bytes;
        let mut delivered = Frames::default();
        for &session in locals {
            let Some(connection) = self.connections.get_mut(session.slot as usize) else {
                continue;
            };
            if connection.session != session {
                continue;
            }
            connection.note_queueing(now.mono);
            let Phase::Open(open) = &mut connection.phase else { continue };
            let outbox = &mut connection.outbox;
            let is_live = open.pace == Pace::Live;
            let level = match outbox.backlog_bytes() > bytes_max / 2 {
                // It fell behind while this was on its way, and is fed from before it.
                _ if !is_live => Level::Following,
                true => Level::Behind,
                false => Level::Level,
            };
            let viewer =
                Viewer { user: &open.user, version: open.version, entrance: open.entrance };
            delivered += outbox.push_batch(shared, viewer, level);
            if is_live {
                open.through = shared.batch().through();
                if outbox.backlog_bytes() > bytes_max {
                    self.fall_behind(session.slot);
                }
            }
            self.attend(session.slot);
        }
        self.counters.add(Counter::DeliveredEvents, delivered.events.into());
        self.counters.add(Counter::DeliveredSignals, delivered.signals.into());
    }

    /// Something for one socket here. `from` is the core that owns its conversation.
    fn tell(&mut self, session: SessionId, told: Told, from: u16, now: Now) {
        let Some(slot) = self.slot_of(session) else {
            if let Told::Admitted { room, .. } = told {
                self.leave_unseen(session, room, from, now);
            }
            return;
        };
        match told {
            Told::Admitted { room, seq, pace, entrance } => {
                self.admitted(slot, Admittance { room, seq, pace, entrance, owner: from }, now);
            }
            Told::Piece { frames, through } => self.piece(slot, &frames, through, now),
            Told::Follows => self.follows(slot),
            Told::Level { seq } => self.level(slot, seq),
            Told::Answer(reply) => self.answered(slot, &reply, now),
            Told::Refreshed { outcome, reference } => {
                self.refreshed(slot, outcome, reference, now);
            }
            Told::Refused(reason) => self.reject(slot, reason, now),
            Told::Unavailable => {
                // It may have been refused meanwhile, for a reason of this core's own.
                if matches!(self.connections[slot as usize].phase, Phase::Admitting(_)) {
                    self.refuse(slot, OVERLOADED, now);
                }
            }
            Told::Read(message) => self.connections[slot as usize].note_receipt(message),
            Told::Close(reason) => self.close(slot, reason, now),
            Told::Reply(reply) => {
                self.count_reply(&reply);
                self.push_frames(slot, now, |out| json::reply(out, &reply));
            }
            Told::Signal(signal) => {
                self.counters.increment(Counter::DeliveredSignals);
                self.push_frames(slot, now, |out| json::signal(out, &signal));
            }
            Told::Frames(frames) => self.push_history(slot, frames, now),
        }
    }

    pub(super) fn push_frames(&mut self, slot: u32, now: Now, encode: impl FnOnce(&mut Vec<u8>)) {
        let connection = &mut self.connections[slot as usize];
        if matches!(connection.phase, Phase::Open(_)) {
            connection.note_queueing(now.mono);
            // Bounded: an answer to what was read while there was room, or a piece that was asked for.
            connection.outbox.push_own(encode);
            self.attend(slot);
        }
    }

    fn push_history(&mut self, slot: u32, frames: Vec<u8>, now: Now) {
        let connection = &mut self.connections[slot as usize];
        if matches!(connection.phase, Phase::Open(_)) {
            connection.note_queueing(now.mono);
            connection.outbox.push_history(frames);
            self.attend(slot);
        }
    }

    /// The upgrade succeeds: 101, and from here on frames.
    fn admitted(&mut self, slot: u32, admittance: Admittance, now: Now) {
        let Admittance { room, seq, pace, entrance, owner } = admittance;
        let Some(adoption) = self.connections[slot as usize].take_adoption() else {
            let session = self.connections[slot as usize].session;
            return self.leave_unseen(session, room, owner, now);
        };
        let connection = &mut self.connections[slot as usize];
        let Adoption { upgrade, identity, version, resume, conversation, mut rest, .. } = *adoption;
        let has = resume.filter(|_| pace != Pace::Live).map_or(seq, |resume| resume.since);
        connection.note_queueing(now.mono);
        connection.outbox.push_head(|out| {
            upgrade::accept_response(out, &upgrade.key, upgrade.subprotocol);
        });
        let hello_to = conversation.clone();
        let limits = &self.reloadable.limits;
        let place = match owner == self.settings.index {
            true => Place::Here { room },
            false => Place::Far { conversation, owner, mark: None },
        };
        connection.permits.handshake = None;
        self.counters.increment(Counter::SocketsOpened);
        connection.phase = Phase::Open(Box::new(Open {
            wire: Session::new(Connection::session_limits(limits)),
            user: identity.user.clone(),
            issued_at_ms: identity.issued_at_ms,
            version,
            entrance,
            place,
            pace,
            through: has,
            guard: Guard::new(limits, self.settings.buckets),
            ends_at: now.mono.after(self.settings.max_session_ms),
            token: (version == Version::V2).then(|| TokenTime::new(identity.expires_at_ms, now)),
            questions: 0,
            is_refreshing: false,
        }));
        if version == Version::V2 {
            // The guide has no such frame: v2 clients learn where they stand.
            let epoch = self.settings.shard.epoch;
            let user = identity.user.clone();
            let limits = HelloLimits::of(limits);
            let hello = Reply::Hello { conversation: hello_to, user, seq, epoch, limits };
            self.counters.increment(Counter::reply(&hello));
            connection.outbox.push_own(|out| json::reply(out, &hello));
        }
        if pace == Pace::Live {
            self.level(slot, seq);
        }
        self.arm(slot);
        self.attend(slot);
        if !rest.is_empty() {
            self.frames_received(slot, &mut rest, now);
        }
    }

    /// The shard let a socket in that had gone meanwhile.
    fn leave_unseen(&mut self, session: SessionId, room: usize, from: u16, now: Now) {
        if from == self.settings.index {
            self.shard.leave(room, session, now);
        } else {
            self.links.peer(from).send(Mail::Leave { session });
        }
    }

    /// The conversation does not take this user: told by a close frame that a browser can read.
    fn reject(&mut self, slot: u32, reason: CloseReason, now: Now) {
        let Some(adoption) = self.connections[slot as usize].take_adoption() else { return };
        self.reject_upgrade(slot, adoption.upgrade, reason, now);
    }

    fn spread_news(&mut self, news: News, now: Now) {
        for peer in self.links.peers.iter_mut().flatten() {
            peer.send(match &news {
                News::Wide(conversation) => Mail::Wide { conversation: conversation.clone() },
                News::Narrow(conversation) => Mail::Narrow { conversation: conversation.clone() },
                News::ReadAnew => Mail::ReadAnew,
                News::Revoked { user, issued_before } => {
                    Mail::Revoked { user: user.clone(), issued_before: *issued_before }
                }
            });
        }
        match news {
            News::Revoked { user, issued_before } => self.revoke(&user, issued_before.0, now),
            News::ReadAnew => self.shard.shrink(),
            News::Wide(_) | News::Narrow(_) => {}
        }
    }

    /// Closes the user's sockets whose token is older, or does not say how old it is; also those on
    /// their way in, whom the store may have answered before it knew.
    fn revoke(&mut self, user: &UserId, issued_before_ms: u64, now: Now) {
        let is_older = |issued: Option<u64>| issued.is_none_or(|issued| issued < issued_before_ms);
        let revoked: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| match &connection.phase {
                Phase::Open(open) => open.user == *user && is_older(open.issued_at_ms),
                Phase::Admitting(adoption) => {
                    let identity = &adoption.identity;
                    identity.user == *user && is_older(identity.issued_at_ms)
                }
                _ => false,
            })
            .map(|(slot, _)| slot as u32)
            .collect();
        for slot in revoked {
            if matches!(self.connections[slot as usize].phase, Phase::Admitting(_)) {
                self.leave(slot, now);
                self.reject(slot, CloseReason::TokenRevoked, now);
            } else {
                self.close(slot, CloseReason::TokenRevoked, now);
            }
        }
    }

    /// Hands what was decided to the log, unless a commit of this shard is under way: what comes
    /// meanwhile makes the next one larger, and members get it in one write.
    pub fn commit(&mut self) {
        if self.shard.awaits_commit() {
            return;
        }
        Links::<S, Adoption>::send_all(&mut self.links.to_log, &mut self.shard.to_log);
        self.shard.handed_over();
    }

    fn send_mail(&mut self) {
        Links::<S, Adoption>::send_all(&mut self.links.to_readers, &mut self.shard.to_readers);
        for peer in self.links.peers.iter_mut().flatten() {
            peer.flush();
        }
    }
}
