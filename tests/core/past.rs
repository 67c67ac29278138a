//! What the tests' store has of the past: the same answers as pages give, computed the plain way.

use std::collections::BTreeMap;

use loquat::model::*;
use loquat::node::ports::{Past, PastQuery};

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
