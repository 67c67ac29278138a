//! What a conversation refuses, in sentences. None repeats anything that a peer sent.

use crate::model::{ErrorCode, Refusal};

/// What waits for the store is answered within about so long.
const STORE_RETRY_MS: u64 = 100;

pub(super) const NOT_ALLOWED: Refusal =
    Refusal::new(ErrorCode::Forbidden, "your role does not allow this");
pub(super) const NOT_YOURS: Refusal =
    Refusal::new(ErrorCode::Forbidden, "only the author or a moderator may change a message");
pub(super) const NO_MESSAGE: Refusal =
    Refusal::new(ErrorCode::NotFound, "there is no such message in this conversation");
pub(super) const NO_PARENT: Refusal = Refusal::new(
    ErrorCode::ParentNotFound,
    "the message that this one answers is not in this conversation",
);
pub(super) const GONE: Refusal = Refusal::new(ErrorCode::Gone, "the message was deleted");
pub(super) const TOO_MANY_KINDS: Refusal = Refusal::new(
    ErrorCode::TooLong,
    "the message has as many kinds of reactions as a message can have",
);
pub(super) const OTHER_CONTENT: Refusal = Refusal::new(
    ErrorCode::IdempotencyConflict,
    "another message was sent under the same client_msg_id",
);
pub(super) const STORAGE_UNAVAILABLE: Refusal = Refusal::new(
    ErrorCode::StorageUnavailable,
    "the server cannot read or store this at the moment; try again later",
);
pub(super) const COMMANDS_WAITING: Refusal = Refusal {
    retry_after_ms: Some(STORE_RETRY_MS),
    ..Refusal::new(ErrorCode::RateLimited, "too many commands wait for old messages; try again")
};
pub(super) const RECEIPTS_WAITING: Refusal = Refusal {
    retry_after_ms: Some(STORE_RETRY_MS),
    ..Refusal::new(ErrorCode::RateLimited, "too many receipts wait for old messages; try again")
};

pub(super) const fn too_fast(retry_after_ms: u64) -> Refusal {
    Refusal {
        retry_after_ms: Some(retry_after_ms),
        ..Refusal::new(ErrorCode::RateLimited, "too many messages at once; slow down")
    }
}
