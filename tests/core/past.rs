//! The past computed the plain way: what the tests' store has of it, and what a page must show.

use std::collections::BTreeMap;

use loquat::model::*;
use loquat::node::ports::{Past, PastQuery};
use loquat::wire::json::rfc3339_ms;
use serde_json::{Value, json};

use super::store::Room;

/// `events` are those in pages. One message more than was asked for says that there are more.
pub fn answer(room: &Room, events: &[Event], query: &PastQuery) -> Past {
    match query {
        PastQuery::Events { .. } => unreachable!("the store answers it itself"),
        PastQuery::Messages(query) => Past::Page(Box::new(page(room, *query))),
        PastQuery::Replies(query) => Past::Page(Box::new(replies(room, *query))),
        PastQuery::Edits(query) => Past::Edits(edits(events, *query)),
        PastQuery::Marks => Past::Marks(marks(room)),
        PastQuery::Standing(query) => Past::Standing(Box::new(standing(room, query))),
    }
}

fn marks(room: &Room) -> StoredMarks {
    let sorted: BTreeMap<_, _> = room.marks.iter().collect();
    let marks: Vec<Mark> = sorted.into_values().cloned().collect();
    StoredMarks { count: marks.len() as u32, marks }
}

fn page(room: &Room, query: HistoryQuery) -> StoredPage {
    let sides = query.sides();
    let behind = MessageId(sides.pivot.0.saturating_add(1));
    let mut found = StoredPage {
        covers_from: behind,
        covers_to: sides.pivot,
        marks: marks(room),
        ..StoredPage::default()
    };
    if sides.older > 0 {
        let older = room.messages.range(..=sides.pivot).rev().take(sides.older + 1);
        found.messages = older.map(|(_, state)| state.clone()).collect();
        found.messages.reverse();
        let is_full = found.messages.len() > sides.older;
        found.covers_from = if is_full { found.messages[0].id } else { MessageId(0) };
    }
    if sides.newer > 0 {
        let newer: Vec<_> = room.messages.range(behind..).take(sides.newer + 1).collect();
        let last = newer.last().filter(|_| newer.len() > sides.newer);
        found.covers_to = last.map_or(MessageId(u64::MAX), |(id, _)| **id);
        found.messages.extend(newer.into_iter().map(|(_, state)| state.clone()));
    }
    found
}

fn replies(room: &Room, query: RepliesQuery) -> StoredPage {
    let behind = MessageId(query.after.0 + 1);
    let of_it = |state: &&MessageState| state.parent == Some(query.parent);
    let replies = room.messages.range(behind..).map(|(_, state)| state).filter(of_it);
    let messages: Vec<_> = replies.take(query.limit as usize + 1).cloned().collect();
    let last = messages.last().filter(|_| messages.len() > query.limit as usize);
    StoredPage {
        covers_from: behind,
        covers_to: last.map_or(MessageId(u64::MAX), |state| state.id),
        has_parent: room.messages.contains_key(&query.parent),
        marks: marks(room),
        messages,
    }
}

fn edits(events: &[Event], query: EditsQuery) -> StoredEdits {
    let mut found = StoredEdits::default();
    for event in events {
        let (by, content) = match &event.body {
            EventBody::Message(body) if body.id == query.message => {
                found.is_known = true;
                (&body.sender.id, &body.content)
            }
            EventBody::Edit { message, by, content } if *message == query.message => {
                found.last_number += 1;
                (by, content)
            }
            EventBody::Delete { message, .. } if *message == query.message => {
                found.is_deleted = true;
                continue;
            }
            _ => continue,
        };
        found.last_seq = event.seq;
        if event.seq > query.after && found.edits.len() <= query.limit as usize {
            let (number, by, content) = (found.last_number, by.clone(), content.clone());
            found.edits.push(Edited { number, seq: event.seq, by, at: event.at, content });
        }
    }
    found
}

fn standing(room: &Room, query: &StandingQuery) -> StoredStanding {
    let all = marks(room).marks;
    let readers = match &query.readers {
        ReadersQuery::Nobody => Vec::new(),
        ReadersQuery::These(users) => {
            all.iter().filter(|mark| users.contains(&mark.user)).cloned().collect()
        }
        ReadersQuery::Behind { after, limit } => {
            let behind = all.iter().filter(|mark| Some(&mark.user) > after.as_ref());
            behind.take(*limit as usize + 1).cloned().collect()
        }
    };
    StoredStanding {
        last_message: room.messages.last_key_value().map(|(_, state)| state.clone()),
        mark: query.user.as_ref().and_then(|user| room.marks.get(user).cloned()),
        readers,
    }
}

/// How a page is asked for, in its `ref`, so that whoever sees the answer knows: `before:12:5`.
pub fn ask(place: &str, id: u64, limit: u64) -> Value {
    let mut ask =
        json!({"type": "history", "limit": limit, "ref": format!("{place}:{id}:{limit}")});
    if place != "newest" {
        ask[place] = json!(id);
    }
    ask
}

/// A page that was asked for in that way, held against the log up to the event that it names.
pub fn check_page(page: &Value, events: &[Event]) {
    let mut asked = page["ref"].as_str().unwrap().split(':');
    let place = asked.next().unwrap();
    let (id, limit) = (number(asked.next()), number(asked.next()) as usize);
    let seq = page["seq"].as_u64().unwrap() as usize;
    let mut states: BTreeMap<u64, MessageState> = BTreeMap::new();
    for event in &events[..seq] {
        states.values_mut().for_each(|state| state.apply(event));
        states.extend(MessageState::created(event).map(|state| (state.id.0, state)));
    }
    let older = states.range(..=id).count();
    let (from, to) = match place {
        "before" => {
            let to = states.range(..id).count();
            (to.saturating_sub(limit), to)
        }
        "after" => (older, (older + limit).min(states.len())),
        "around" => {
            let to = (older + limit / 2).min(states.len());
            (older.saturating_sub(limit.div_ceil(2)), to)
        }
        _ => (states.len().saturating_sub(limit), states.len()),
    };
    let expected: Vec<Value> = states.values().skip(from).take(to - from).map(shown).collect();
    let without_readers = |message: &Value| {
        let mut message = message.clone();
        let read_by = message.as_object_mut().unwrap().remove("read_by").unwrap();
        // Whoever sent it has read it; receipts are no events, and rise by themselves.
        assert!(read_by["ids"].as_array().unwrap().contains(&message["sender"]["id"]), "{page}");
        for key in ["email", "first_name", "last_name"] {
            message["sender"].as_object_mut().unwrap().remove(key);
        }
        message
    };
    let found: Vec<Value> =
        page["messages"].as_array().unwrap().iter().map(without_readers).collect();
    assert_eq!(found, expected, "{page}");
    let has_more = match place {
        "after" => to < states.len(),
        "around" => from > 0 || (to < states.len() && limit > 1),
        _ => from > 0,
    };
    assert_eq!(page["has_more"], has_more, "{page}");
}

fn number(text: Option<&str>) -> u64 {
    text.unwrap().parse().unwrap()
}

fn shown(state: &MessageState) -> Value {
    let listed =
        |users: &std::collections::BTreeSet<UserId>| json!({"ids": users, "count": users.len()});
    let reactions: BTreeMap<&String, Value> =
        state.reactions.iter().map(|(emoji, users)| (emoji, listed(users))).collect();
    let time = |at: Wall| String::from_utf8(rfc3339_ms(at).to_vec()).unwrap();
    let is_deleted = state.deleted_at.is_some();
    json!({
        "id": state.id, "seq": state.seq, "sender": {"id": state.sender.id},
        "content": if is_deleted { "Message deleted" } else { &state.content },
        "parent_message_id": state.parent, "created_at": time(state.created_at),
        "is_edited": state.edited_at.is_some(), "edited_at": state.edited_at.map(time),
        "is_deleted": is_deleted, "reactions": reactions, "reply_count": state.reply_count,
    })
}
