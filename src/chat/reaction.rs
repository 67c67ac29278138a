//! Reactions (PROTOCOL, `message_reaction`): what a toggle, an add or a remove comes to.
//!
//! `removed` is only ever decided for what is stored: the guide's hook throws on any other.

use std::collections::{BTreeMap, BTreeSet};

use super::refusals::TOO_MANY_KINDS;
use crate::limits::REACTION_KINDS_MAX;
use crate::model::{ReactAction, ReactionAction, Refusal, UserId};

/// What is to happen; `None` for nothing.
pub(super) fn decide(
    reactions: Option<&BTreeMap<String, BTreeSet<UserId>>>,
    user: &UserId,
    emoji: &str,
    action: ReactAction,
) -> Result<Option<ReactionAction>, Refusal> {
    let users = reactions.and_then(|reactions| reactions.get(emoji));
    let has = users.is_some_and(|users| users.contains(user));
    match (action, has) {
        (ReactAction::Add, true) | (ReactAction::Remove, false) => Ok(None),
        (ReactAction::Toggle | ReactAction::Remove, true) => Ok(Some(ReactionAction::Removed)),
        (ReactAction::Toggle | ReactAction::Add, false) => {
            let kinds = reactions.map_or(0, BTreeMap::len);
            if users.is_none() && kinds >= REACTION_KINDS_MAX {
                return Err(TOO_MANY_KINDS);
            }
            Ok(Some(ReactionAction::Added))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ReactAction::*, ReactionAction::*};

    fn user(id: u64) -> UserId {
        UserId::from_number(id).unwrap()
    }

    fn check(
        held: &[(&str, u64)],
        emoji: &str,
        action: ReactAction,
        expected: Result<Option<ReactionAction>, Refusal>,
    ) {
        let mut reactions: BTreeMap<String, BTreeSet<UserId>> = BTreeMap::new();
        for (emoji, id) in held {
            reactions.entry((*emoji).to_owned()).or_default().insert(user(*id));
        }
        let decided = decide(Some(&reactions), &user(1), emoji, action);
        assert_eq!(decided, expected, "{held:?} {emoji} {action:?}");
    }

    #[test]
    fn toggling_adds_and_removes_ones_own() {
        check(&[], "👍", Toggle, Ok(Some(Added)));
        check(&[("👍", 1)], "👍", Toggle, Ok(Some(Removed)));
        check(&[("👍", 2)], "👍", Toggle, Ok(Some(Added)));
        check(&[("👍", 1)], "❤️", Toggle, Ok(Some(Added)));
        assert_eq!(decide(None, &user(1), "👍", Toggle), Ok(Some(Added)));
    }

    #[test]
    fn explicit_actions_are_idempotent() {
        check(&[("👍", 1)], "👍", Add, Ok(None));
        check(&[], "👍", Add, Ok(Some(Added)));
        check(&[], "👍", Remove, Ok(None));
        check(&[("👍", 2)], "👍", Remove, Ok(None));
        check(&[("👍", 1)], "👍", Remove, Ok(Some(Removed)));
        assert_eq!(decide(None, &user(1), "👍", Remove), Ok(None));
    }

    #[test]
    fn a_message_has_at_most_fifty_kinds() {
        let names: Vec<String> = (0..REACTION_KINDS_MAX).map(|n| n.to_string()).collect();
        let full: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 2)).collect();
        check(&full, "new", Toggle, Err(TOO_MANY_KINDS));
        check(&full, "new", Add, Err(TOO_MANY_KINDS));
        check(&full, "new", Remove, Ok(None));
        check(&full, "7", Toggle, Ok(Some(Added)));
        check(&full[1..], "new", Toggle, Ok(Some(Added)));
    }
}
