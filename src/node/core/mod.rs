//! One core: its sockets, its shard, its rings. The reactor moves bytes and asks what to do next; the
//! simulation does the same with a simulated network.
//!
//! ```text
//! accept ─► received ─► step: Read · ReadOn · Wait · HandOver · Plain · ShutdownWrite · Drop
//! turn:   mail in → timers → what the shard says → batches into outboxes → mail out
//! attended: sockets with something to write or a step that changed
//! ```
//! `S` is the socket itself while it changes hands.

mod asker;
mod drain;
mod follow;
mod frames;
mod handshake;
mod pressure;
mod survey;
mod turn;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use self::drain::{Drain, Heard};
pub use self::pressure::Pressure;
use self::survey::Survey;
use super::admission::{Admissions, Full, Permit};
use super::connection::{Adoption, Connection, Due, Phase, Place};
use super::guard::Buckets;
use super::links::Links;
use super::mail::Mail;
use super::outbox::Write;
use super::placement::Placement;
#[cfg(feature = "planted")]
use super::planted::{self, Bug};
use super::shard::{Shard, ShardSettings};
use super::table::Table;
use super::timers::Timers;
use crate::auth::Verifier;
use crate::limits::Limits;
use crate::model::{CloseReason, ConversationId, Mono, Now, SessionId};
use crate::telemetry::{CoreCounters, Counter};
use crate::wire::close;
use crate::wire::json::Decoder;
use crate::wire::upgrade::{self, HeadReader, Listening, Refused};

/// What a core does next with a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read once.
    Read,
    /// Read whatever comes, until another step is wanted.
    ReadOn,
    /// Nothing to read now; the core says so when that changes.
    Wait,
    /// Give the socket to [`Core::hand_over`].
    HandOver,
    /// Give the socket, with [`Core::plain_bytes`], to the HTTP side.
    Plain,
    /// Everything is sent: shut the sending side, then read on.
    ShutdownWrite,
    /// Close it, then [`Core::release`].
    Drop,
}

/// Whether `/ws/echo` is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EchoEndpoint {
    Served,
    Absent,
}

/// How a refused token is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectStyle {
    /// 101, then a close frame that a browser can read.
    Close,
    /// 401 or 403.
    Http,
}

/// What may change while the server runs (SIGHUP).
pub struct Reloadable {
    pub limits: Limits,
    pub verifier: Verifier,
    pub allowed_origins: Vec<String>,
}

/// What a core needs to know.
pub struct CoreSettings {
    pub index: u16,
    pub shard: ShardSettings,
    pub buckets: Buckets,
    pub trusted_proxies: Vec<ipnet::IpNet>,
    pub listening: Listening,
    pub echo: EchoEndpoint,
    pub reject: RejectStyle,
    pub max_session_ms: u64,
    pub placement: Placement,
}

/// A conversation of another core with sockets here.
#[derive(Default)]
struct Far {
    /// The live ones, and those of which the owner does not know yet that they fell behind.
    locals: Vec<SessionId>,
}

pub struct Core<S> {
    settings: CoreSettings,
    reloadable: Arc<Reloadable>,
    admissions: Arc<Admissions>,
    connections: Table<Connection>,
    /// How often each slot was used.
    generations: Vec<u32>,
    shard: Shard,
    far: HashMap<ConversationId, Far>,
    /// Conversations whose sockets stay where they were accepted.
    wide: HashSet<ConversationId>,
    decoder: Decoder,
    links: Links<S, Adoption>,
    timers: Timers<(u32, u32)>,
    attended: Vec<u32>,
    adopted: VecDeque<(u32, S)>,
    drain: Drain,
    heard: Heard,
    /// Mail waits for room in a ring.
    flush_at: Option<Mono>,
    has_warned_of_addresses: bool,
    pressure: Pressure,
    shed_at: Mono,
    counters: Rc<CoreCounters>,
    survey: Survey,
    /// A completed write left something to do.
    needs_turn: bool,
}

impl<S> Core<S> {
    pub fn new(
        settings: CoreSettings,
        reloadable: Arc<Reloadable>,
        admissions: Arc<Admissions>,
        links: Links<S, Adoption>,
    ) -> Core<S> {
        let shard = Shard::new(settings.index, settings.shard.clone());
        let mut core = Core {
            settings,
            reloadable,
            admissions,
            connections: Table::default(),
            generations: Vec::new(),
            shard,
            far: HashMap::new(),
            wide: HashSet::new(),
            decoder: Decoder::default(),
            links,
            timers: Timers::default(),
            attended: Vec::new(),
            adopted: VecDeque::new(),
            drain: Drain::No,
            heard: Heard::default(),
            flush_at: None,
            has_warned_of_addresses: false,
            pressure: Pressure::None,
            shed_at: Mono(0),
            counters: Rc::default(),
            survey: Survey::default(),
            needs_turn: false,
        };
        core.commit();
        core
    }

    /// Where to count, if anybody wants to know.
    #[must_use]
    pub fn counted_by(mut self, counters: CoreCounters) -> Core<S> {
        self.counters = Rc::new(counters);
        self.shard.count_in(self.counters.clone());
        self
    }

    pub fn reload(&mut self, reloadable: Arc<Reloadable>, now: Now) {
        self.shard.set_limits(&reloadable.limits, now);
        self.reloadable = reloadable;
        for slot in self.connections.iter().map(|(slot, _)| slot as u32).collect::<Vec<_>>() {
            let limits = &self.reloadable.limits;
            if let Some(guard) = self.connections[slot as usize].guard() {
                guard.set_rates(limits, now.mono);
            }
            self.arm(slot);
        }
    }

    /// A socket was accepted from `peer`.
    pub fn accept(&mut self, peer: IpAddr, now: Now) -> Result<u32, Full> {
        let permit = self.may_accept(peer, now).inspect_err(|_| self.turn_away())?;
        self.counters.increment(Counter::Accepted);
        let reader = HeadReader::new(self.reloadable.limits.handshake_bytes);
        let slot = self.insert(Phase::Head(Box::new(reader)), peer, now);
        self.connections[slot as usize].permits.handshake = Some(permit);
        Ok(slot)
    }

    fn may_accept(&self, peer: IpAddr, now: Now) -> Result<Permit, Full> {
        if self.drain != Drain::No || self.pressure >= Pressure::StopAccepting {
            return Err(Full::Handshakes);
        }
        let counted = (!self.is_trusted(peer)).then_some(peer);
        self.admissions.handshake(counted, now.mono)
    }

    /// A connection is closed unseen.
    pub fn turn_away(&self) {
        self.counters.increment(Counter::NotAccepted);
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback()
            || self.settings.trusted_proxies.iter().any(|net| net.contains(&address))
    }

    fn insert(&mut self, phase: Phase, peer: IpAddr, now: Now) -> u32 {
        let slot = self.connections.vacant_key();
        if self.generations.len() <= slot {
            self.generations.resize(slot + 1, 0);
        }
        let session = SessionId {
            core: self.settings.index,
            slot: slot as u32,
            generation: self.generations[slot],
        };
        self.connections.insert(Connection::new(session, phase, peer, now.mono));
        self.arm(slot as u32);
        slot as u32
    }

    /// The slot of a session that is still there.
    fn slot_of(&self, session: SessionId) -> Option<u32> {
        #[cfg(feature = "planted")]
        if planted::is(Bug::LateCompletion) {
            return self.connections.contains(session.slot as usize).then_some(session.slot);
        }
        self.connections
            .get(session.slot as usize)
            .filter(|connection| connection.session == session)
            .map(|_| session.slot)
    }

    /// What to do with the socket once no write is in flight or queued, or besides it.
    pub fn step(&mut self, slot: u32) -> Step {
        let is_draining = self.drain != Drain::No;
        let connection = &mut self.connections[slot as usize];
        let outbox_bytes = connection.outbox.bytes();
        let backlog_bytes = connection.outbox.backlog_bytes();
        match &mut connection.phase {
            Phase::Head(_) => Step::Read,
            Phase::Open(open) => {
                // Who does not take the answers asks no more: they would pile up without bound.
                let is_full = backlog_bytes > self.pressure.unread(&self.reloadable.limits);
                if is_full || is_draining || open.guard.paused_until.is_some() {
                    Step::Wait
                } else {
                    Step::ReadOn
                }
            }
            Phase::Echo(echo) => {
                let is_full = outbox_bytes > echo.outbox_bytes_max;
                if is_full || is_draining { Step::Wait } else { Step::ReadOn }
            }
            Phase::Admitting(_) => Step::Wait,
            Phase::Leaving { .. } => Step::HandOver,
            Phase::Plain(_) => Step::Plain,
            Phase::Closing(closing) if outbox_bytes == 0 && !closing.is_shut => {
                closing.is_shut = true;
                Step::ShutdownWrite
            }
            Phase::Closing(_) => Step::Read,
            Phase::Gone => Step::Drop,
        }
    }

    /// The next write of a socket, unless one is in flight.
    pub fn take_write(&mut self, slot: u32) -> Option<Write> {
        self.connections[slot as usize].outbox.take_write()
    }

    /// A write came back; `None` when the socket is broken.
    pub fn wrote(&mut self, slot: u32, write: Write, sent: Option<usize>, now: Now) {
        let connection = &mut self.connections[slot as usize];
        connection.outbox.wrote(write, sent.unwrap_or(0));
        self.counters.increment(Counter::Sends);
        self.counters.add(Counter::BytesOut, sent.unwrap_or(0) as u64);
        match sent {
            Some(bytes) if bytes > 0 => {
                connection.note_sent(now.mono);
                let wants_probe = connection.wants_probe;
                self.feed_if_hungry(slot);
                self.arm(slot);
                if wants_probe {
                    self.needs_turn = true;
                    self.attend(slot);
                }
            }
            Some(_) => {}
            None => self.abort(slot, now),
        }
    }

    /// What a completed write left to do waits for a turn, which nothing else may bring.
    pub fn needs_turn(&self) -> bool {
        self.needs_turn
    }

    /// The peer has closed its sending side, or the socket is broken.
    pub fn hung_up(&mut self, slot: u32, now: Now) {
        self.abort(slot, now);
    }

    /// The socket itself, on its way to the core that owns its conversation.
    pub fn hand_over(&mut self, slot: u32, socket: S) {
        let connection = &mut self.connections[slot as usize];
        let phase = std::mem::replace(&mut connection.phase, Phase::Gone);
        if let Phase::Leaving { core, adoption } = phase {
            self.links.peer(core).send(Mail::Adopt { socket, adoption });
        }
    }

    /// What was read of a request for the HTTP side.
    pub fn plain_bytes(&mut self, slot: u32) -> Vec<u8> {
        let connection = &mut self.connections[slot as usize];
        match std::mem::replace(&mut connection.phase, Phase::Gone) {
            Phase::Plain(bytes) => bytes,
            _ => Vec::new(),
        }
    }

    /// The socket is closed and no operation of it is in flight: its slot is free.
    pub fn release(&mut self, slot: u32) {
        self.connections.remove(slot as usize);
        self.generations[slot as usize] = self.generations[slot as usize].wrapping_add(1);
    }

    /// Sockets to look at: something to write, or another step.
    pub fn next_attended(&mut self) -> Option<u32> {
        while let Some(slot) = self.attended.pop() {
            if let Some(connection) = self.connections.get_mut(slot as usize) {
                connection.is_attended = false;
                return Some(slot);
            }
        }
        None
    }

    /// Sockets that came from other cores, with their slots.
    pub fn next_adopted(&mut self) -> Option<(u32, S)> {
        self.adopted.pop_front()
    }

    /// `true` once when the kernel should be asked how many bytes of the socket are unsent.
    pub fn take_probe(&mut self, slot: u32) -> bool {
        std::mem::take(&mut self.connections[slot as usize].wants_probe)
    }

    pub fn probed(&mut self, slot: u32, unsent: u32, now: Now) {
        let due = self.connections[slot as usize].probed(unsent, now.mono);
        self.act(slot, due, now);
        self.arm(slot);
    }

    /// The store is up: sockets may come.
    pub fn is_ready(&self) -> bool {
        self.shard.is_ready()
    }

    pub fn sockets(&self) -> usize {
        self.connections.len()
    }

    /// What waits to be sent on a socket.
    pub fn unsent_bytes(&self, slot: u32) -> usize {
        self.connections.get(slot as usize).map_or(0, |connection| connection.outbox.bytes())
    }

    pub fn rooms(&self) -> usize {
        self.shard.rooms()
    }

    pub fn is_accepting(&self) -> bool {
        self.shard.is_accepting()
    }

    fn attend(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if !connection.is_attended {
            connection.is_attended = true;
            self.attended.push(slot);
        }
    }

    /// Sets the socket's timer by its own deadline.
    fn arm(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if let Some(deadline) = connection.deadline(&self.reloadable.limits) {
            let key = (slot, connection.session.generation);
            self.timers.set(key, &mut connection.alarm, deadline);
        }
    }

    fn handle_socket_timeouts(&mut self, now: Now) {
        while let Some((at, (slot, generation))) = self.timers.pop_due(now.mono) {
            let Some(connection) = self.connections.get_mut(slot as usize) else { continue };
            if connection.session.generation != generation || !connection.alarm.fired(at) {
                continue;
            }
            let due = connection.due(&self.reloadable.limits, now.mono);
            self.act(slot, due, now);
            if self.connections.contains(slot as usize) {
                self.arm(slot);
            }
        }
    }

    fn act(&mut self, slot: u32, due: Due, now: Now) {
        match due {
            Due::Nothing => {}
            Due::Resume => self.attend(slot),
            Due::Pinged | Due::Ponged => {
                let is_ping = due == Due::Pinged;
                let counter = if is_ping { Counter::OutPingFrame } else { Counter::OutPongFrame };
                self.counters.increment(counter);
                self.attend(slot);
            }
            Due::Warned => {
                self.counters.increment(Counter::OutTokenExpiring);
                self.attend(slot);
            }
            Due::Probe => {
                self.connections[slot as usize].wants_probe = true;
                self.attend(slot);
            }
            Due::HeadTooSlow => self.refuse(slot, Refused::TooSlow, now),
            Due::Close(reason) => self.close(slot, reason, now),
            Due::Abort => self.abort(slot, now),
        }
    }

    pub fn next_timeout(&self) -> Option<Mono> {
        let own = [self.timers.next(), self.shard.next_timeout(), self.drain.next_timeout()];
        own.into_iter().chain([self.flush_at]).flatten().min()
    }

    /// Takes the socket out of its conversation, if it is in one.
    fn leave(&mut self, slot: u32, now: Now) {
        let connection = &mut self.connections[slot as usize];
        let session = connection.session;
        match &connection.phase {
            Phase::Open(open) => match open.place.clone() {
                Place::Here { room } => self.shard.leave(room, session, now),
                Place::Far { conversation, owner, .. } => {
                    self.leave_far(&conversation, owner, session);
                }
            },
            Phase::Admitting(adoption) => {
                let owner = self.settings.placement.of_conversation(&adoption.conversation);
                if owner == self.settings.index {
                    self.shard.forget_candidate(session);
                } else {
                    self.links.peer(owner).send(Mail::Leave { session });
                }
            }
            _ => {}
        }
    }

    fn leave_far(&mut self, conversation: &ConversationId, owner: u16, session: SessionId) {
        self.forget_live(conversation, session);
        self.links.peer(owner).send(Mail::Leave { session });
    }

    /// Batches of another core's conversation are not for this socket any more.
    fn forget_live(&mut self, conversation: &ConversationId, session: SessionId) {
        if let Some(far) = self.far.get_mut(conversation) {
            far.locals.retain(|local| *local != session);
            if far.locals.is_empty() {
                self.far.remove(conversation);
            }
        }
    }

    fn owner_of(&self, conversation: &ConversationId) -> u16 {
        self.settings.placement.of_conversation(conversation)
    }

    /// Says why in a close frame, then closes.
    fn close(&mut self, slot: u32, reason: CloseReason, now: Now) {
        if matches!(self.connections[slot as usize].phase, Phase::Closing(_) | Phase::Gone) {
            return;
        }
        self.counters.increment(Counter::closed(reason));
        self.leave(slot, now);
        let connection = &mut self.connections[slot as usize];
        if reason == CloseReason::FellBehind {
            // What is queued would not be taken anyway.
            connection.outbox.drop_queued();
        }
        connection.outbox.push_own(|out| close::close_frame(out, reason));
        self.end(slot, now);
    }

    /// What is in the outbox goes out, then the socket closes.
    fn end(&mut self, slot: u32, now: Now) {
        self.connections[slot as usize].begin_closing(now.mono);
        self.arm(slot);
        self.attend(slot);
    }

    /// Answers the request with an HTTP error, then closes.
    fn refuse(&mut self, slot: u32, refused: Refused, now: Now) {
        self.counters.increment(Counter::refused_upgrade(refused.status()));
        self.leave(slot, now);
        let connection = &mut self.connections[slot as usize];
        connection.outbox.push_own(|out| upgrade::refuse_response(out, refused));
        self.end(slot, now);
    }

    /// Nothing can be said any more.
    fn abort(&mut self, slot: u32, now: Now) {
        match self.connections[slot as usize].phase {
            Phase::Gone => return,
            Phase::Open(_) | Phase::Echo(_) => self.counters.increment(Counter::ClosedLost),
            _ => {}
        }
        self.leave(slot, now);
        let connection = &mut self.connections[slot as usize];
        connection.phase = Phase::Gone;
        connection.permits = Default::default();
        connection.outbox.clear();
        self.attend(slot);
    }
}
