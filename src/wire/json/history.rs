//! Pages of the past as JSON: the same objects for a socket's frame and for HTTP.
//!
//! A page that would be longer than [`HISTORY_BYTES_MAX`] loses messages from the ends that are furthest
//! from where was asked, and says that there are more; one message it always has.

use super::encode::DELETED;
use super::writer::Writer;
use crate::limits::HISTORY_BYTES_MAX;
use crate::model::{Edits, History, Listed, Participant, ShownMessage, Standing};

/// The payload of a `history` frame.
pub(super) fn frame(json: &mut Writer<'_>, page: &History) {
    json.raw(r#"{"type":"history","ref":"#).option(page.reference.as_deref(), Writer::string);
    json.raw(",");
    fields(json, page);
}

/// The same without a frame's fields, for HTTP.
pub fn page(out: &mut Vec<u8>, page: &History) {
    let json = &mut Writer(out);
    json.raw("{");
    fields(json, page);
}

fn fields(json: &mut Writer<'_>, page: &History) {
    let mut texts = Vec::new();
    let ends: Vec<usize> = page
        .messages
        .iter()
        .map(|message| {
            shown_message(&mut texts, message);
            texts.len()
        })
        .collect();
    let older = page.messages.iter().take_while(|message| message.id <= page.pivot).count();
    let kept = fitting(&ends, older);
    let is_cut = kept.len() < ends.len();
    json.raw(r#""messages":["#);
    for at in kept.clone() {
        if at > kept.start {
            json.raw(",");
        }
        let begin = if at == 0 { 0 } else { ends[at - 1] };
        json.0.extend_from_slice(&texts[begin..ends[at]]);
    }
    json.raw(r#"],"has_more":"#).boolean(page.has_more || is_cut);
    json.raw(r#","seq":"#).seq(page.seq).raw("}");
}

/// Which of the texts that end there fit together: those next to `middle`, on both sides alike.
fn fitting(ends: &[usize], middle: usize) -> std::ops::Range<usize> {
    let length = |at: usize| ends[at] - if at == 0 { 0 } else { ends[at - 1] };
    let (mut from, mut to) = (middle, middle);
    let mut bytes = 0;
    let mut takes = |at: usize| {
        let fits = bytes == 0 || bytes + length(at) <= HISTORY_BYTES_MAX;
        bytes += if fits { length(at) } else { HISTORY_BYTES_MAX };
        fits
    };
    while from > 0 || to < ends.len() {
        let is_older_next = from > 0 && (to == ends.len() || middle - from <= to - middle);
        let next = if is_older_next { from - 1 } else { to };
        if !takes(next) {
            break;
        }
        if is_older_next {
            from -= 1;
        } else {
            to += 1;
        }
    }
    from..to
}

/// A message with everything that came of it.
pub fn shown_message(out: &mut Vec<u8>, message: &ShownMessage) {
    let json = &mut Writer(out);
    let content = if message.is_deleted { DELETED } else { &message.content };
    json.raw(r#"{"id":"#).number(message.id.0);
    json.raw(r#","seq":"#).seq(message.seq);
    json.raw(r#","content":"#).string(content);
    json.raw(r#","sender":{"id":"#).user(&message.sender.id);
    json.raw(r#","email":"#).string(&message.sender.email);
    json.raw(r#","first_name":"#).string(&message.sender.first_name);
    json.raw(r#","last_name":"#).string(&message.sender.last_name);
    json.raw(r#"},"parent_message_id":"#).option(message.parent, |json, id| json.number(id.0));
    json.raw(r#","created_at":"#).time(message.created_at);
    json.raw(r#","is_edited":"#).boolean(message.edited_at.is_some());
    json.raw(r#","edited_at":"#).option(message.edited_at, Writer::time);
    json.raw(r#","is_deleted":"#).boolean(message.is_deleted);
    json.raw(r#","reactions":{"#);
    for (n, (emoji, users)) in message.reactions.iter().enumerate() {
        if n > 0 {
            json.raw(",");
        }
        listed(json.string(emoji).raw(":"), users);
    }
    json.raw("}");
    if let Some(read_by) = &message.read_by {
        listed(json.raw(r#","read_by":"#), read_by);
    }
    json.raw(r#","reply_count":"#).number(u64::from(message.reply_count)).raw("}");
}

fn listed(json: &mut Writer<'_>, users: &Listed) {
    json.raw(r#"{"ids":"#).users(&users.ids);
    json.raw(r#","count":"#).number(users.count).raw("}");
}

/// A message's contents, for HTTP.
pub fn edits(out: &mut Vec<u8>, page: &Edits) {
    let json = &mut Writer(out);
    json.raw(r#"{"message_id":"#).number(page.message.0).raw(r#","edits":["#);
    for (n, edit) in page.edits.iter().enumerate() {
        if n > 0 {
            json.raw(",");
        }
        json.raw(r#"{"number":"#).number(u64::from(edit.number));
        json.raw(r#","seq":"#).seq(edit.seq);
        json.raw(r#","content":"#).string(&edit.content);
        json.raw(r#","user_id":"#).user(&edit.by);
        json.raw(r#","created_at":"#).time(edit.at).raw("}");
    }
    json.raw(r#"],"has_more":"#).boolean(page.has_more).raw("}");
}

/// Where somebody stands in a conversation, for HTTP; `participants` and whether there are more.
pub fn standing(
    out: &mut Vec<u8>,
    standing: &Standing,
    participants: Option<(&[Participant], bool)>,
) {
    let json = &mut Writer(out);
    json.raw(r#"{"conversation_id":"#).id(standing.conversation.as_ref());
    json.raw(r#","epoch":"#).string(&standing.epoch.to_string());
    json.raw(r#","seq":"#).seq(standing.seq);
    json.raw(r#","role":"#).option(standing.role, |json, role| json.string(role.as_str()));
    json.raw(r#","messages":"#).number(standing.messages);
    json.raw(r#","unread":"#).number(standing.unread);
    json.raw(r#","mark":"#).option(standing.mark, |json, mark| json.number(mark.0));
    json.raw(r#","last_message":"#);
    match &standing.last_message {
        Some(message) => shown_message(json.0, message),
        None => {
            json.raw("null");
        }
    }
    if let Some((participants, has_more)) = participants {
        json.raw(r#","participants":["#);
        for (n, participant) in participants.iter().enumerate() {
            json.raw(if n > 0 { r#",{"user_id":"# } else { r#"{"user_id":"# });
            json.user(&participant.user);
            json.raw(r#","role":"#);
            json.option(participant.role, |json, role| json.string(role.as_str()));
            json.raw(r#","mark":"#);
            json.option(participant.mark, |json, mark| json.number(mark.0)).raw("}");
        }
        json.raw(r#"],"has_more":"#).boolean(has_more);
    }
    json.raw("}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::limits::LISTED_USERS_MAX;
    use crate::model::{Listed, MessageId, Profile, Seq, UserId, Wall};

    const AT: Wall = Wall(1_764_153_000_123);

    fn user(id: u64) -> UserId {
        UserId::from_number(id).unwrap()
    }

    fn message(id: u64, content: &str) -> ShownMessage {
        let sender = Profile {
            id: user(1),
            email: String::new(),
            first_name: "John".to_owned(),
            last_name: "Doe".to_owned(),
        };
        ShownMessage {
            id: MessageId(id),
            seq: Seq(42),
            sender: sender.into(),
            content: content.to_owned(),
            parent: None,
            created_at: AT,
            edited_at: None,
            is_deleted: false,
            reactions: BTreeMap::from([("👍".to_owned(), Listed::of(&[user(2)]))]),
            read_by: Some(Listed::of(&[user(2)])),
            reply_count: 0,
        }
    }

    fn history(ids: std::ops::Range<u64>, bytes: usize, pivot: u64) -> History {
        History {
            reference: None,
            messages: ids.map(|id| message(id, &"x".repeat(bytes))).collect(),
            pivot: MessageId(pivot),
            has_more: false,
            seq: Seq(42),
        }
    }

    #[test]
    fn a_page_reads_as_the_protocol_says() {
        let mut shown = history(456..457, 0, u64::MAX);
        shown.messages = vec![message(456, "Hello")];
        shown.reference = Some("h1".to_owned());
        shown.has_more = true;
        let mut out = Vec::new();
        frame(&mut Writer(&mut out), &shown);
        let expected = r#"{"type":"history","ref":"h1","messages":[{"id":456,"seq":42,"content":"Hello","sender":{"id":1,"email":"","first_name":"John","last_name":"Doe"},"parent_message_id":null,"created_at":"2025-11-26T10:30:00.123Z","is_edited":false,"edited_at":null,"is_deleted":false,"reactions":{"👍":{"ids":[2],"count":1}},"read_by":{"ids":[2],"count":1},"reply_count":0}],"has_more":true,"seq":42}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_deleted_message_keeps_its_place_and_not_its_text() {
        let deleted = ShownMessage { is_deleted: true, ..message(9, "") };
        let mut out = Vec::new();
        shown_message(&mut out, &deleted);
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&json["content"], &json["is_deleted"]),
            (&"Message deleted".into(), &true.into())
        );
    }

    #[test]
    fn lists_of_users_are_cut_and_their_counts_are_not() {
        let many: Vec<UserId> = (0..80).map(user).collect();
        let mut out = Vec::new();
        shown_message(
            &mut out,
            &ShownMessage { read_by: Some(Listed::of(&many)), ..message(9, "x") },
        );
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["read_by"]["ids"].as_array().unwrap().len(), LISTED_USERS_MAX);
        assert_eq!(json["read_by"]["count"], 80);
    }

    #[test]
    fn a_page_that_is_too_long_is_cut_around_where_was_asked() {
        let check = |pivot: u64, bytes: usize, expected: std::ops::Range<u64>| {
            let mut out = Vec::new();
            page(&mut out, &history(10..20, bytes, pivot));
            let json: Value = serde_json::from_slice(&out).unwrap();
            let ids: Vec<u64> = json["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|message| message["id"].as_u64().unwrap())
                .collect();
            assert_eq!(ids, expected.clone().collect::<Vec<_>>(), "around {pivot}");
            assert_eq!(json["has_more"], expected.count() < 10);
            assert!(out.len() < HISTORY_BYTES_MAX + 256 || ids.len() == 1, "{}", out.len());
        };
        check(u64::MAX, 100, 10..20);
        check(u64::MAX, 40_000, 17..20);
        check(9, 40_000, 10..13);
        check(14, 40_000, 13..16);
        check(19, 40_000, 17..20);
        check(10, 40_000, 10..13);
        check(u64::MAX, 200_000, 19..20);
        check(9, 200_000, 10..11);
    }
}
