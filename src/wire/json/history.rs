//! Pages of the past as JSON: the same objects for a socket's frame and for HTTP.
//!
//! A page that would be longer than [`HISTORY_BYTES_MAX`] loses messages from the ends that are furthest
//! from where was asked, and says that there are more; one message it always has.

use super::encode::DELETED;
use super::writer::Writer;
use crate::limits::HISTORY_BYTES_MAX;
use crate::model::{Edits, History, Listed, ShownMessage};

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
    listed(json.raw(r#"},"read_by":"#), &message.read_by);
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
