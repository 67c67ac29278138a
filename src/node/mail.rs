//! What cores say to each other, and what a shard says to one socket, wherever that lives.

use std::sync::Arc;

use super::batch::Batch;
use crate::model::{
    CloseReason, ConversationId, HistoryQuery, Identity, MessageId, Refusal, Reply, Request,
    ResumeFrom, Seq, SessionId, Signal, UserId, Version, Wall,
};

/// A socket with a verified token that wants into a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub session: SessionId,
    pub conversation: ConversationId,
    pub identity: Arc<Identity>,
    pub version: Version,
    /// v2: it has been here before.
    pub resume: Option<ResumeFrom>,
}

/// How a socket in a conversation gets its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Each batch as it comes.
    Live,
    /// From the log, a piece at a time as it takes them; `is_asked`: the next one is on its way.
    Following { is_asked: bool },
}

/// Core → core. `S` is the socket itself, which changes its core at most once.
pub enum Mail<S, A> {
    /// A socket whose conversation the receiver owns, with what was read and found out so far.
    Adopt {
        socket: S,
        adoption: Box<A>,
    },
    /// Wide: a socket that stays on the sender's core wants in.
    Join(Box<Candidate>),
    /// Wide: a socket on the sender's core is gone.
    Leave {
        session: SessionId,
    },
    /// Wide: a socket on the sender's core asks for something.
    Command {
        session: SessionId,
        request: Box<Request<'static>>,
    },
    /// To one socket on the receiver's core.
    Tell {
        session: SessionId,
        told: Told,
    },
    /// Wide: for the conversation's sockets on the receiver's core.
    Batch {
        conversation: ConversationId,
        batch: Arc<Batch>,
    },
    /// Wide: from here on batches were lost for want of room; the conversation's sockets there go on
    /// from the log.
    BatchesLost {
        conversation: ConversationId,
    },
    /// Wide: a socket on the sender's core follows the log from here on, and asks for its next piece.
    FallBehind {
        session: SessionId,
        at: Seq,
    },
    Feed {
        session: SessionId,
    },
    /// Wide: a socket on the sender's core asks about the past.
    History {
        session: SessionId,
        query: HistoryQuery,
        reference: Option<String>,
    },
    /// Wide: a socket on the sender's core has a newer token, which was verified.
    Refresh {
        session: SessionId,
        identity: Arc<Identity>,
        reference: Option<String>,
    },
    /// Later sockets of this conversation stay on the core that accepted them.
    Wide {
        conversation: ConversationId,
    },
    /// As before again.
    Narrow {
        conversation: ConversationId,
    },
    /// What the store has as well is to be read anew.
    ReadAnew,
    /// Sockets of this user whose token is older are closed.
    Revoked {
        user: UserId,
        issued_before: Wall,
    },
    /// The sender stops: no command follows.
    Quiet,
    /// The sender stops: what it decided has been shown; no batch and no answer follows.
    Settled,
}

/// What a shard says to one socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// The upgrade succeeds; `seq` is the last event that was shown. For a live socket those after it
    /// are live. `room` names the conversation in later calls of a socket on the owner's core.
    Admitted {
        room: usize,
        seq: Seq,
        pace: Pace,
        entrance: u64,
    },
    /// The next piece of the log: whole frames.
    Piece {
        frames: Vec<u8>,
        through: Seq,
    },
    /// Wide: it is known to follow the log: batches are not for it from here on.
    Follows,
    /// It has everything up to here; live events are those after.
    Level {
        seq: Seq,
    },
    /// The answer to a question about the past.
    Answer(Reply),
    /// The newer token holds, or nobody can say.
    Refreshed {
        outcome: Result<Arc<Identity>, Refusal>,
        reference: Option<String>,
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
