//! One socket, from its first byte to its last, without touching the socket.
//!
//! ```text
//! Head ──► Plain                      (to the HTTP side)
//!   │ └──► Leaving                    (to the owner's core)
//!   ▼
//! Admitting ──► Open ──► Closing ──► Gone
//!   └───────► Echo ──────┘
//! ```
//! Head reads the request; Admitting waits for the shard's verdict and reads nothing; Closing has a
//! close frame (or an HTTP refusal) as the last thing in its outbox, then shuts its sending side and
//! reads on for a moment, since closing with unread bytes would reset the connection and could destroy
//! the close frame on its way. A peer that is merely slow is waited for as long as it takes something.
//!
//! Liveness: a ping when nothing was received, or nothing sent, for `ping_after_ms`; dead when the ping
//! was handed whole to TCP and `dead_after_ms` passed without a byte either way; stalled when the
//! backlog did not move for `stalled_ms`.

use std::net::IpAddr;
use std::sync::Arc;

use super::admission::Permit;
use super::closing::Closing;
use super::guard::{Guard, Ping};
use super::mail::Pace;
use super::outbox::Outbox;
use super::timers::Alarm;
use crate::limits::{FEED_BELOW_BYTES, Limits, TOKEN_GRACE_MS, TOKEN_WARNING_MS};
use crate::model::{
    CloseReason, ConversationId, Identity, MessageId, Mono, Now, Reply, ResumeFrom, Seq, SessionId,
    UserId, Version,
};
use crate::wire::session::{Session, SessionLimits};
use crate::wire::upgrade::{HeadReader, Subprotocol, WebSocketKey};
use crate::wire::{frame, json};

/// What the owner's core needs to finish the upgrade.
pub struct Adoption {
    pub upgrade: Upgrade,
    pub identity: Arc<Identity>,
    pub version: Version,
    pub resume: Option<ResumeFrom>,
    pub conversation: ConversationId,
    pub permits: Permits,
    pub peer: IpAddr,
    /// Bytes behind the request head: the first frames.
    pub rest: Vec<u8>,
}

/// What the 101 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade {
    pub key: WebSocketKey,
    pub subprotocol: Subprotocol,
}

/// Places in the process-wide table.
#[derive(Default)]
pub struct Permits {
    pub handshake: Option<Permit>,
    pub address: Option<Permit>,
    pub user: Option<Permit>,
}

pub enum Phase {
    Head(Box<HeadReader>),
    /// A request for the HTTP side: everything read so far.
    Plain(Vec<u8>),
    Leaving {
        core: u16,
        adoption: Box<Adoption>,
    },
    Admitting(Box<Adoption>),
    Open(Box<Open>),
    Echo(Box<Echo>),
    Closing(Closing),
    Gone,
}

/// A socket in a conversation.
pub struct Open {
    pub wire: Session,
    pub user: UserId,
    pub issued_at_ms: Option<u64>,
    pub version: Version,
    /// Its place in the order in which sockets came into the conversation.
    pub entrance: u64,
    pub place: Place,
    pub pace: Pace,
    /// It was sent every event up to here.
    pub through: Seq,
    pub guard: Guard,
    pub ends_at: Mono,
    /// v2: the token's own end.
    pub token: Option<TokenTime>,
    /// Questions about the past that are under way.
    pub questions: u8,
    /// A newer token is being looked at.
    pub is_refreshing: bool,
}

/// A v2 socket is warned before its token ends, and closed some time after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenTime {
    pub expires_at: Mono,
    pub is_warned: bool,
}

impl TokenTime {
    /// By the wall clock now; from here on it does not matter whether that jumps.
    pub fn new(expires_at_ms: u64, now: Now) -> TokenTime {
        let left_ms = expires_at_ms.saturating_sub(now.wall.0);
        TokenTime { expires_at: now.mono.after(left_ms), is_warned: false }
    }

    fn deadline(self) -> Mono {
        match self.is_warned {
            false => Mono(self.expires_at.0.saturating_sub(TOKEN_WARNING_MS)),
            true => self.expires_at.after(TOKEN_GRACE_MS),
        }
    }
}

/// `/ws/echo`.
pub struct Echo {
    pub wire: Session,
    pub guard: Guard,
    pub outbox_bytes_max: usize,
}

/// Where the conversation is.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    Here {
        room: usize,
    },
    /// Owned by another core; `mark` is the newest receipt that was passed on.
    Far {
        conversation: ConversationId,
        owner: u16,
        mark: Option<MessageId>,
    },
}

/// What a deadline that passed asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// A pause is over: read again.
    Resume,
    /// A warning that the token ends is in the outbox.
    Warned,
    /// A ping, or the answer to one, is in the outbox.
    Pinged,
    Ponged,
    /// Ask the kernel whether anything unsent was acknowledged.
    Probe,
    /// 408 for a request that came too slowly.
    HeadTooSlow,
    Close(CloseReason),
    /// No close frame can help: reset.
    Abort,
}

pub struct Connection {
    pub session: SessionId,
    pub phase: Phase,
    pub outbox: Outbox,
    pub alarm: Alarm,
    pub peer: IpAddr,
    pub permits: Permits,
    pub last_received: Mono,
    pub last_sent: Mono,
    /// Since when the backlog did not move.
    pub backlog_since: Mono,
    /// In the core's list of sockets to look at.
    pub is_attended: bool,
    pub wants_probe: bool,
    accepted_at: Mono,
}

impl Connection {
    pub fn new(session: SessionId, phase: Phase, peer: IpAddr, now: Mono) -> Connection {
        Connection {
            session,
            phase,
            outbox: Outbox::default(),
            alarm: Alarm::default(),
            peer,
            permits: Permits::default(),
            last_received: now,
            last_sent: now,
            backlog_since: now,
            is_attended: false,
            wants_probe: false,
            accepted_at: now,
        }
    }

    /// What the upgrade is to be finished with; leaves the socket without a phase. `None` when it
    /// does not wait for a verdict any more.
    pub fn take_adoption(&mut self) -> Option<Box<Adoption>> {
        match std::mem::replace(&mut self.phase, Phase::Gone) {
            Phase::Admitting(adoption) => Some(adoption),
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// Receipts up to here need not be passed on.
    pub fn note_receipt(&mut self, message: MessageId) {
        if let Phase::Open(open) = &mut self.phase
            && let Place::Far { mark, .. } = &mut open.place
        {
            *mark = (*mark).max(Some(message));
        }
    }

    pub fn guard(&mut self) -> Option<&mut Guard> {
        match &mut self.phase {
            Phase::Open(open) => Some(&mut open.guard),
            Phase::Echo(echo) => Some(&mut echo.guard),
            _ => None,
        }
    }

    /// The earliest time at which [`Connection::due`] may want something.
    pub fn deadline(&self, limits: &Limits) -> Option<Mono> {
        match &self.phase {
            Phase::Head(_) => Some(self.accepted_at.after(limits.handshake_timeout_ms)),
            Phase::Open(open) => {
                let token = open.token.map_or(Mono(u64::MAX), TokenTime::deadline);
                Some(self.live_deadline(&open.guard, limits).min(open.ends_at).min(token))
            }
            Phase::Echo(echo) => Some(self.live_deadline(&echo.guard, limits)),
            Phase::Closing(closing) => Some(closing.deadline()),
            _ => None,
        }
    }

    fn live_deadline(&self, guard: &Guard, limits: &Limits) -> Mono {
        let quiet_since = self.last_received.min(self.last_sent);
        let mut deadline = match guard.ping {
            Ping::None => quiet_since.after(limits.ping_after_ms),
            Ping::Queued | Ping::Asked { .. } => Mono(u64::MAX),
            Ping::Sent { at, .. } => at.max(self.last_received).after(limits.dead_after_ms),
        };
        if !self.outbox.is_empty() {
            deadline = deadline.min(self.backlog_since.after(limits.stalled_ms));
        }
        if let Some((_, since)) = guard.message {
            deadline = deadline.min(since.after(limits.message_timeout_ms));
        }
        if let Some((_, due)) = guard.late_ping {
            deadline = deadline.min(due);
        }
        deadline.min(guard.paused_until.unwrap_or(Mono(u64::MAX)))
    }

    /// What is due now. Deadlines that moved meanwhile give `Nothing`.
    pub fn due(&mut self, limits: &Limits, now: Mono) -> Due {
        if self.deadline(limits).is_none_or(|deadline| deadline > now) {
            return Due::Nothing;
        }
        let ends_at = match &mut self.phase {
            Phase::Head(_) => return Due::HeadTooSlow,
            Phase::Closing(closing) => return closing.due(self.outbox.is_empty(), now),
            Phase::Open(open) => open.ends_at,
            _ => Mono(u64::MAX),
        };
        if now >= ends_at {
            return Due::Close(CloseReason::SessionOver);
        }
        if !self.outbox.is_empty() && now >= self.backlog_since.after(limits.stalled_ms) {
            return Due::Close(CloseReason::FellBehind);
        }
        let quiet_since = self.last_received.min(self.last_sent);
        self.note_queueing(now);
        if let Some(due) = self.token_due(now) {
            return due;
        }
        let Some(guard) = self.guard() else { return Due::Nothing };
        if guard.paused_until.is_some_and(|until| now >= until) {
            guard.paused_until = None;
            return Due::Resume;
        }
        if guard.message.is_some_and(|(_, since)| now >= since.after(limits.message_timeout_ms)) {
            return Due::Close(CloseReason::MessageTooSlow);
        }
        if let Some((payload, _)) = guard.late_ping.take_if(|(_, due)| now >= *due) {
            self.outbox.push_own(|out| frame::pong(out, &payload));
            return Due::Ponged;
        }
        match guard.ping {
            Ping::None if now >= quiet_since.after(limits.ping_after_ms) => {
                guard.ping = Ping::Queued;
                self.outbox.push_own(|out| frame::ping(out, b""));
                Due::Pinged
            }
            Ping::Sent { unsent, .. } => {
                guard.ping = Ping::Asked { unsent };
                Due::Probe
            }
            _ => Due::Nothing,
        }
    }

    /// The token is about to end, or did so a while ago.
    fn token_due(&mut self, now: Mono) -> Option<Due> {
        let Phase::Open(open) = &mut self.phase else { return None };
        let token = open.token.as_mut().filter(|token| token.deadline() <= now)?;
        if token.is_warned {
            return Some(Due::Close(CloseReason::TokenExpired));
        }
        token.is_warned = true;
        let reply = Reply::TokenExpiring { expires_in_ms: token.expires_at.since(now) };
        self.outbox.push_own(|out| json::reply(out, &reply));
        Some(Due::Warned)
    }

    /// A socket that follows the log has taken most of what it was sent: `true` once for each piece.
    pub fn wants_feed(&mut self) -> bool {
        let is_hungry = self.outbox.bytes() < FEED_BELOW_BYTES;
        match &mut self.phase {
            Phase::Open(open) if is_hungry && open.pace == Pace::Following { is_asked: false } => {
                open.pace = Pace::Following { is_asked: true };
                true
            }
            _ => false,
        }
    }

    /// The kernel still holds `unsent` bytes: acknowledged ones since the last time mean life.
    pub fn probed(&mut self, unsent: u32, now: Mono) -> Due {
        if let Phase::Closing(closing) = &mut self.phase {
            return closing.probed(unsent, now);
        }
        let Some(guard) = self.guard() else { return Due::Nothing };
        match guard.ping {
            Ping::Sent { at, .. } => {
                guard.ping = Ping::Sent { at, unsent: Some(unsent) };
                Due::Nothing
            }
            Ping::Asked { unsent: before } => {
                let has_moved = before.map_or(unsent > 0, |before| unsent < before);
                guard.ping = Ping::Sent { at: now, unsent: Some(unsent) };
                if has_moved { Due::Nothing } else { Due::Abort }
            }
            Ping::None | Ping::Queued => Due::Nothing,
        }
    }

    pub fn note_received(&mut self, now: Mono) {
        self.last_received = now;
        if let Some(guard) = self.guard() {
            guard.ping = Ping::None;
        }
    }

    /// Something may be queued next: if nothing was, the backlog begins now.
    pub fn note_queueing(&mut self, now: Mono) {
        if self.outbox.is_empty() {
            self.backlog_since = now;
        }
    }

    /// The kernel took some bytes.
    pub fn note_sent(&mut self, now: Mono) {
        self.last_sent = now;
        self.backlog_since = now;
        let is_empty = self.outbox.is_empty();
        if let Phase::Closing(closing) = &mut self.phase {
            closing.note_sent(now);
        }
        if let Some(guard) = self.guard()
            && guard.ping == Ping::Queued
            && is_empty
        {
            guard.ping = Ping::Sent { at: now, unsent: None };
            self.wants_probe = true;
        }
    }

    /// Nothing more is read as frames: what is in the outbox goes out, then the socket closes.
    pub fn begin_closing(&mut self, now: Mono) {
        self.permits = Permits::default();
        self.phase = Phase::Closing(Closing::new(now));
    }

    /// Bytes that arrive behind the end; `true` when there were too many.
    pub fn lingered(&mut self, bytes: usize) -> bool {
        match &mut self.phase {
            Phase::Closing(closing) => closing.lingered(bytes),
            _ => false,
        }
    }

    pub fn session_limits(limits: &Limits) -> SessionLimits {
        SessionLimits::of(limits)
    }
}
