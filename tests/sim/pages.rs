//! Pages of history, held against what the log adds up to: each message with everything that had
//! happened to it, and none left out between two.

use std::collections::BTreeMap;

use loquat::model::{ConversationId, MessageState};
use serde_json::Value;

use super::witness::Witness;

const DELETED: &str = "Message deleted";

/// `page` is a `history` frame that a socket of this conversation was given.
pub fn check(page: &Value, conversation: &ConversationId, witness: &Witness) {
    let through = page["seq"].as_u64().expect("a page has a seq");
    assert!(through <= witness.last_seq(conversation), "P1: not on disk: {page}");
    let known = folded(conversation, through, witness);
    let messages = page["messages"].as_array().expect("a page has messages");
    let ids: Vec<u64> = messages.iter().filter_map(|message| message["id"].as_u64()).collect();
    if let (Some(&first), Some(&last)) = (ids.first(), ids.last()) {
        let expected: Vec<u64> = known.range(first..=last).map(|(id, _)| *id).collect();
        assert_eq!(ids, expected, "messages of a page follow each other: {page}");
    }
    for message in messages {
        let id = message["id"].as_u64().expect("an id");
        is_same(message, &known[&id]);
    }
}

fn folded(
    conversation: &ConversationId,
    through: u64,
    witness: &Witness,
) -> BTreeMap<u64, MessageState> {
    let mut messages: BTreeMap<u64, MessageState> = BTreeMap::new();
    for event in witness.events(conversation).take_while(|event| event.seq.0 <= through) {
        messages.values_mut().for_each(|message| message.apply(event));
        messages.extend(MessageState::created(event).map(|state| (state.id.0, state)));
    }
    messages
}

fn is_same(shown: &Value, known: &MessageState) {
    let content = if known.deleted_at.is_some() { DELETED } else { &known.content };
    assert_eq!(shown["content"], content, "{shown}");
    assert_eq!(shown["seq"], known.seq.0, "{shown}");
    assert_eq!(shown["is_edited"], known.edited_at.is_some(), "{shown}");
    assert_eq!(shown["is_deleted"], known.deleted_at.is_some(), "{shown}");
    assert_eq!(shown["reply_count"], known.reply_count, "{shown}");
    let reactions = shown["reactions"].as_object().expect("reactions");
    let counts: Vec<(&str, Option<u64>)> =
        reactions.iter().map(|(emoji, who)| (emoji.as_str(), who["count"].as_u64())).collect();
    let expected: Vec<(&str, Option<u64>)> = (known.reactions.iter())
        .map(|(emoji, users)| (emoji.as_str(), Some(users.len() as u64)))
        .collect();
    assert_eq!(counts, expected, "{shown}");
}
