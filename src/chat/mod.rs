//! The domain of one conversation: a deterministic machine. A shard drives it: commands, answers of the
//! store, watermarks of the log and time go in, [`Effect`]s come out.
//!
//! ```text
//!   handle / loaded / handle_timeout        durable / mark_durable / sealed
//!                │                                        │
//!      decide against the decided state           what may leave memory
//!                │
//!   Append (numbered) · Mark · Signal · Reply · Close · Load
//! ```
//! One file a concern; [`conversation`] has the state and the way in. What decides old state is in
//! [`recall`] and [`queue`], what is kept in memory in [`message`], [`dedupe`] and [`seal`].
//!
//! No clock, no I/O, no randomness: hash maps are looked up, never iterated, and so the same inputs give
//! the same effects.
//!
//! Invariant: what an event, a mark or an idempotency key that is not sealed touched stays in memory. So
//! what is not in memory is wholly in the store, and a `Load` answers it.

pub mod access;
pub mod rate;

mod agenda;
mod conversation;
mod decide;
mod dedupe;
mod membership;
mod message;
mod operator;
mod past;
mod people;
mod presence;
mod queue;
mod reaction;
mod recall;
mod receipt;
mod refusals;
mod seal;
mod timeline;
mod typing;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::conversation::Conversation;
pub use self::operator::Operation;
use crate::limits::Limits;
use crate::model::{
    CloseReason, Event, LoadKey, Mark, MessageId, Profile, Reply, Role, SessionId, Signal, UserId,
    Version,
};

/// Whether the rates of commands are in force (`rate_limits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimits {
    On,
    Off,
}

/// What of the settings a conversation needs; shared by all of a shard.
#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    /// How long a user without sockets still counts as online.
    pub offline_grace_ms: u64,
    pub rate_limits: RateLimits,
}

/// Who comes in with a socket.
#[derive(Debug, Clone)]
pub struct Joiner {
    pub profile: Arc<Profile>,
    pub role: Role,
    pub version: Version,
    /// The socket's place in the order in which sockets came in; greater than that of any other here.
    pub entrance: u64,
}

/// Where a numbered event came from: who gets the ack, and whose sockets see the `client_msg_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `None` when the socket left before its command was decided.
    pub session: Option<SessionId>,
    pub user: UserId,
    pub reference: Option<String>,
}

/// Whom a signal is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    All,
    AllBut(UserId),
    /// Of all but this user, the sockets that came in before this entrance.
    Earlier {
        than: u64,
        but: UserId,
    },
    One(SessionId),
    AllV1,
    AllV2,
}

/// What the shard does for the conversation, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Decided and numbered: log it, show it once it is durable.
    Append { event: Arc<Event>, origin: Origin },
    /// A mark rose: store the newest of each user within a second. `Mark::message` rises with every
    /// mark of a user.
    Mark(Mark),
    /// Told at once, never stored.
    Signal { audience: Audience, signal: Signal },
    /// To one socket, at once.
    Reply { session: SessionId, reply: Reply },
    /// Shows decided state: to one socket when everything decided up to now is durable.
    ReplyWhenDurable { session: SessionId, reply: Reply },
    /// The socket is out already: nothing more is addressed to it.
    Close { session: SessionId, reason: CloseReason },
    /// Ask the store; answered by [`Conversation::loaded`] exactly once.
    Load(LoadKey),
}

pub type Effects = Vec<Effect>;

/// Where message ids come from: the shard's lease.
pub trait Ids {
    /// An id above `after`, never given before; `None` when there is none at the moment.
    fn next(&mut self, after: u64) -> Option<MessageId>;

    /// Whether the log takes another record. Asked before anything is numbered, also for commands that
    /// waited for old state.
    fn may_append(&self) -> bool {
        true
    }
}
