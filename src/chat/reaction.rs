//! Reactions: what a request means for a message, by what is there already.

use crate::limits::REACTION_KINDS_MAX;
use crate::model::{ErrorCode, MessageState, ReactAction, ReactionAction, Refusal, UserId};

const TOO_MANY_KINDS: Refusal =
    Refusal::new(ErrorCode::TooLong, "a message holds 50 kinds of reactions at most");

/// `None`: nothing changes. `Removed` comes only for what is there: the guide's hook breaks on others.
pub fn decide(
    message: &MessageState,
    user: &UserId,
    emoji: &str,
    action: ReactAction,
) -> Result<Option<ReactionAction>, Refusal> {
    let users = message.reactions.get(emoji);
    let is_there = users.is_some_and(|users| users.contains(user));
    match (action, is_there) {
        (ReactAction::Toggle | ReactAction::Remove, true) => Ok(Some(ReactionAction::Removed)),
        (ReactAction::Remove, false) | (ReactAction::Add, true) => Ok(None),
        (ReactAction::Toggle | ReactAction::Add, false) => {
            if users.is_none() && message.reactions.len() >= REACTION_KINDS_MAX {
                Err(TOO_MANY_KINDS)
            } else {
                Ok(Some(ReactionAction::Added))
            }
        }
    }
}
