//! The domain: one conversation as a deterministic machine.
//!
//! [`Conversation`] is told what happens (`join`, `leave`, `handle`, `loaded`, `durable`, `sealed`,
//! `handle_timeout`) and answers with [`Effect`]s. It has no clock, does no I/O and draws no random
//! numbers; the same calls give the same effects. Its state is the *decided* one: whoever carries the
//! effects out shows events only when they are durable.
//!
//! One file a concern: [`conversation`] (dispatch, the queue behind old state, timers), `commands`, `people`, `message`,
//! `reaction`, `receipt`, `presence`, `typing`, `dedupe`, [`rate`], [`access`].

pub mod access;
mod commands;
pub mod conversation;
mod dedupe;
mod message;
mod people;
mod presence;
pub mod rate;
mod reaction;
mod receipt;
mod typing;
mod waiting;

pub use conversation::Conversation;

use std::sync::Arc;

use crate::limits::Limits;
use crate::model::{
    CloseReason, Event, LoadKey, Mark, MessageId, Profile, Reply, Role, SessionId, Signal, UserId,
    Version,
};

/// Whether token buckets hold (`rate_limits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimits {
    On,
    Off,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    pub offline_grace_ms: u64,
    pub rate_limits: RateLimits,
}

/// Who comes in with a socket.
#[derive(Debug, Clone)]
pub struct Joiner {
    pub profile: Arc<Profile>,
    pub role: Role,
    pub version: Version,
}

/// Whose command made an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub session: Option<SessionId>,
    pub user: UserId,
    pub reference: Option<String>,
}

/// Whom a signal is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    All,
    AllBut(UserId),
    One(SessionId),
    AllV2,
}

/// What the machine wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Decided and numbered: to the log, and to everyone once it is durable. A v2 `origin` gets its
    /// ack right before.
    Append {
        event: Arc<Event>,
        origin: Origin,
    },
    /// A mark rose: the newest of each user is to be stored within a second.
    Mark(Mark),
    /// Told at once, never stored.
    Signal {
        audience: Audience,
        signal: Signal,
    },
    Reply {
        session: SessionId,
        reply: Reply,
    },
    /// Shows decided state: told when everything decided up to now is durable.
    ReplyWhenDurable {
        session: SessionId,
        reply: Reply,
    },
    Close {
        session: SessionId,
        reason: CloseReason,
    },
    /// Asks the store; answered by [`Conversation::loaded`].
    Load(LoadKey),
}

/// Where message ids come from.
pub trait Ids {
    /// An id above `after`; `None` when the shard has none left.
    fn next(&mut self, after: u64) -> Option<MessageId>;
}
