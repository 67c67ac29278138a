//! What cores say to each other, and what a shard says to one socket, wherever that lives.

use std::sync::Arc;

use super::batch::Batch;
use crate::model::{
    CloseReason, ConversationId, Identity, MessageId, Reply, Request, Seq, SessionId, Signal,
    UserId, Version, Wall,
};

/// A socket with a verified token that wants into a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub session: SessionId,
    pub conversation: ConversationId,
    pub identity: Arc<Identity>,
    pub version: Version,
}

/// Core → core. `S` is the socket itself, which changes its core at most once.
pub enum Mail<S, A> {
    /// A socket whose conversation the receiver owns, with what was read and found out so far.
    Adopt { socket: S, adoption: Box<A> },
    /// Wide: a socket that stays on the sender's core wants in.
    Join(Box<Candidate>),
    /// Wide: a socket on the sender's core is gone.
    Leave { session: SessionId },
    /// Wide: a socket on the sender's core asks for something.
    Command { session: SessionId, request: Box<Request<'static>> },
    /// To one socket on the receiver's core.
    Tell { session: SessionId, told: Told },
    /// Wide: for the conversation's sockets on the receiver's core.
    Batch { conversation: ConversationId, batch: Arc<Batch> },
    /// Wide: batches were lost for want of room; the conversation's sockets there must come back.
    FellBehind { conversation: ConversationId },
    /// Later sockets of this conversation stay on the core that accepted them.
    Wide { conversation: ConversationId },
    /// As before again.
    Narrow { conversation: ConversationId },
    /// What the store has as well is to be read anew.
    Refresh,
    /// Sockets of this user whose token is older are closed.
    Revoked { user: UserId, issued_before: Wall },
}

/// What a shard says to one socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// The upgrade succeeds; live events are those after `seq`.
    /// `room` names the conversation in later calls of a socket on the owner's core.
    Admitted {
        room: usize,
        seq: Seq,
    },
    /// The upgrade succeeds only to say why not.
    Refused(CloseReason),
    /// The store cannot say who may enter: 503.
    Unavailable,
    Reply(Reply),
    Signal(Signal),
    /// Whole frames: replayed history.
    Frames(Vec<u8>),
    /// Wide: the newest receipt of the socket's user; older ones say nothing new.
    Read(MessageId),
    Close(CloseReason),
}
