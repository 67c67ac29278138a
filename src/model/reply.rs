//! What the server says to one socket: acks, errors, close codes.

use super::history::{History, Reader};
use super::id::{ConversationId, Epoch, MessageId, Seq, UserId};
use super::time::Wall;
use crate::limits::Limits;

/// Slugs of the error frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    InvalidJson,
    Invalid,
    UnknownType,
    Empty,
    TooLong,
    NotFound,
    Forbidden,
    Gone,
    ParentNotFound,
    RateLimited,
    IdempotencyConflict,
    StorageUnavailable,
    UnexpectedBinary,
}

impl ErrorCode {
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::InvalidJson => "invalid_json",
            ErrorCode::Invalid => "invalid",
            ErrorCode::UnknownType => "unknown_type",
            ErrorCode::Empty => "empty",
            ErrorCode::TooLong => "too_long",
            ErrorCode::NotFound => "not_found",
            ErrorCode::Forbidden => "forbidden",
            ErrorCode::Gone => "gone",
            ErrorCode::ParentNotFound => "parent_not_found",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::IdempotencyConflict => "idempotency_conflict",
            ErrorCode::StorageUnavailable => "storage_unavailable",
            ErrorCode::UnexpectedBinary => "unexpected_binary",
        }
    }

    /// Counts towards the limit of bad frames (close 4008).
    pub fn is_bad_frame(self) -> bool {
        matches!(
            self,
            ErrorCode::InvalidJson
                | ErrorCode::Invalid
                | ErrorCode::UnknownType
                | ErrorCode::UnexpectedBinary
        )
    }
}

/// A refusal: what is wrong in a sentence (never the peer's own text), and its slug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    pub sentence: &'static str,
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    pub const fn new(code: ErrorCode, sentence: &'static str) -> Refusal {
        Refusal { code, sentence, retry_after_ms: None }
    }
}

/// A frame for one socket only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Error {
        refusal: Refusal,
        reference: Option<String>,
    },
    /// v2 only. `message` and `seq` are `None` for a no-op.
    Ack(Ack),
    /// v2 only.
    Hello {
        conversation: ConversationId,
        user: UserId,
        seq: Seq,
        epoch: Epoch,
        limits: HelloLimits,
    },
    /// v2 only.
    History(Box<History>),
    /// v2: who is online, in place of a `user_status` for each. A crowd is only counted.
    Presence {
        online: Vec<UserId>,
        count: u32,
    },
    /// v2: everything up to `to` was replayed; what follows is live.
    Resumed(Box<Resumed>),
    /// v2: what the client has cannot be carried on from; what follows is live from `seq` on.
    Resync {
        seq: Seq,
        epoch: Epoch,
    },
    /// v2: `seq` is the last event that this socket was sent.
    Pong {
        reference: Option<String>,
        seq: Seq,
    },
    /// v2.
    TokenExpiring {
        expires_in_ms: u64,
    },
}

/// The end of a replay, with how far everybody has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    pub from: Seq,
    pub to: Seq,
    /// At most `MARKS_SHOWN_MAX`, in the order of the users.
    pub marks: Vec<Reader>,
    /// How many there are.
    pub marks_count: u32,
}

/// What a client should know about this server's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloLimits {
    pub heartbeat_ms: u64,
    pub content_chars: usize,
    pub frame_bytes: usize,
}

impl HelloLimits {
    pub fn of(limits: &Limits) -> HelloLimits {
        HelloLimits {
            heartbeat_ms: limits.ping_after_ms,
            content_chars: limits.content_chars,
            frame_bytes: limits.frame_bytes,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    pub reference: Option<String>,
    pub client_msg_id: Option<String>,
    pub message: Option<MessageId>,
    pub seq: Option<Seq>,
    pub created_at: Option<Wall>,
}

/// Why the server closes a socket, with the code a client acts on (docs/protocol.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    Normal,
    GoingAway,
    ProtocolError,
    InvalidUtf8,
    PingFlood,
    FragmentFlood,
    MessageTooSlow,
    TooBig,
    /// The server restarts; come back after so many ms.
    Restart {
        reconnect_in_ms: u32,
    },
    TokenMissing,
    TokenInvalid,
    TokenExpired,
    TokenRevoked,
    SessionOver,
    Forbidden,
    Kicked,
    BadFrames,
    TooManyConnections,
    Overload,
    RateExceeded,
    FellBehind,
}

impl CloseReason {
    pub fn code(self) -> u16 {
        use CloseReason::*;
        match self {
            Normal => 1000,
            GoingAway => 1001,
            ProtocolError => 1002,
            InvalidUtf8 => 1007,
            PingFlood | FragmentFlood | MessageTooSlow => 1008,
            TooBig => 1009,
            Restart { .. } => 1012,
            TokenMissing | TokenInvalid | TokenExpired | TokenRevoked | SessionOver => 4001,
            Forbidden => 4003,
            Kicked => 4004,
            BadFrames => 4008,
            TooManyConnections => 4009,
            Overload => 4100,
            RateExceeded => 4129,
            FellBehind => 4200,
        }
    }

    /// The close frame's reason: at most 32 ASCII bytes. `Restart` has its number appended by the
    /// encoder (`reconnect_in_ms=N`).
    pub fn reason(self) -> &'static str {
        use CloseReason::*;
        match self {
            Normal => "",
            GoingAway => "going_away",
            ProtocolError => "protocol_error",
            InvalidUtf8 => "invalid_utf8",
            PingFlood => "ping_flood",
            FragmentFlood => "fragment_flood",
            MessageTooSlow => "message_too_slow",
            TooBig => "too_big",
            Restart { .. } => "reconnect_in_ms=",
            TokenMissing => "token_missing",
            TokenInvalid => "token_invalid",
            TokenExpired => "token_expired",
            TokenRevoked => "token_revoked",
            SessionOver => "session_over",
            Forbidden => "forbidden",
            Kicked => "kicked",
            BadFrames => "bad_frames",
            TooManyConnections => "too_many_connections",
            Overload => "overload",
            RateExceeded => "rate_exceeded",
            FellBehind => "fell_behind",
        }
    }
}
