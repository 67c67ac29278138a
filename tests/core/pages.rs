//! What holds for every page of history that any client is shown: it is what the events up to its seq
//! add up to, in the order and direction that was asked for.

use std::collections::BTreeMap;

use loquat::model::{Event, MessageId, MessageState};
use serde_json::{Value, json};

/// A question whose `ref` says what was asked, so that its answer can be held against it.
pub fn question(anchor: &str, id: u64, limit: usize) -> Value {
    let mut frame =
        json!({"type": "history", "limit": limit, "ref": format!("{anchor} {id} {limit}")});
    if anchor != "newest" {
        frame[anchor] = json!(id);
    }
    frame
}

/// `events` are the durable ones.
pub fn check(client: usize, page: &Value, events: &[Event]) {
    let seq = page["seq"].as_u64().unwrap() as usize;
    assert!(seq <= events.len(), "client {client} was shown what is not durable: {page}");
    let messages = folded(&events[..seq]);
    let asked: Vec<&str> = page["ref"].as_str().unwrap().split(' ').collect();
    let (id, limit): (u64, usize) = (asked[1].parse().unwrap(), asked[2].parse().unwrap());
    let (pivot, older, newer) = match asked[0] {
        "newest" => (u64::MAX, limit, 0),
        "before" => (id - 1, limit, 0),
        "after" => (id, 0, limit),
        _ => (id, limit.div_ceil(2), limit / 2),
    };
    let below: Vec<_> = messages.range(..=MessageId(pivot)).rev().take(older).collect();
    let above: Vec<_> = messages.values().filter(|m| m.id.0 > pivot).take(newer).collect();
    let expected = below.into_iter().rev().map(|(_, message)| message).chain(above);
    let expected: Vec<_> = expected.map(shown).collect();
    let found: Vec<_> = page["messages"].as_array().unwrap().iter().map(stripped).collect();
    assert_eq!(found, expected, "client {client}: {asked:?} of {seq}");
    let has_more = (older > 0 && messages.range(..=MessageId(pivot)).count() > older)
        || (newer > 0 && messages.values().filter(|m| m.id.0 > pivot).count() > newer);
    assert_eq!(page["has_more"], json!(has_more), "client {client}: {asked:?} of {seq}");
}

fn folded(events: &[Event]) -> BTreeMap<MessageId, MessageState> {
    let mut messages: BTreeMap<MessageId, MessageState> = BTreeMap::new();
    for event in events {
        messages.values_mut().for_each(|message| message.apply(event));
        messages.extend(MessageState::created(event).map(|message| (message.id, message)));
    }
    messages
}

fn shown(message: &MessageState) -> Value {
    let is_deleted = message.deleted_at.is_some();
    let content = if is_deleted { "Message deleted" } else { &message.content };
    let reactions: usize = message.reactions.values().map(|users| users.len()).sum();
    json!([message.id.0, message.seq.0, content, is_deleted, reactions, message.reply_count])
}

fn stripped(message: &Value) -> Value {
    let kinds = message["reactions"].as_object().unwrap().values();
    let reactions: u64 = kinds.map(|kind| kind["count"].as_u64().unwrap()).sum();
    json!([
        message["id"],
        message["seq"],
        message["content"],
        message["is_deleted"],
        reactions,
        message["reply_count"]
    ])
}
