//! The model → text frames (docs/protocol.md has each of them with an example).
//!
//! Every function appends one complete, unfragmented server frame, head and payload, to `out`. The
//! keys stand in the order of the protocol's examples, so an event has the same bytes for everyone,
//! `client_msg_id` apart, which only the sender's own v2 sockets are shown.

use fastwebsockets::OpCode;

use super::history;
use super::writer::Writer;
use crate::model::{
    Ack, Event, EventBody, MessageBody, MessageId, MessageState, Profile, ReactionAction, Refusal,
    Reply, Resumed, Signal, UserId, Wall,
};
use crate::wire::frame::OpenFrame;

/// What a deleted message is shown as; the guide's hook writes the same.
pub(super) const DELETED: &str = "Message deleted";

/// An event, once it may be shown. `client_msg_id` is for the sender's own v2 sockets.
pub fn event(out: &mut Vec<u8>, event: &Event, client_msg_id: Option<&str>) {
    out.reserve(event_bytes(event));
    text_frame(out, |json| {
        json.raw(match event.body {
            EventBody::Message(_) => r#"{"type":"chat_message","seq":"#,
            EventBody::Edit { .. } => r#"{"type":"message_edit","seq":"#,
            EventBody::Delete { .. } => r#"{"type":"message_delete","seq":"#,
            EventBody::Reaction { .. } => r#"{"type":"message_reaction","seq":"#,
        });
        json.seq(event.seq);
        if let Some(id) = client_msg_id {
            json.raw(r#","client_msg_id":"#).string(id);
        }
        event_body(json, event);
    });
}

/// An event keeps its place when its message was deleted, and has no text any more.
fn shown(content: &str) -> &str {
    if content.is_empty() { DELETED } else { content }
}

/// About how long an event's frame is: enough room, unless much of its text needs escaping.
pub fn event_bytes(event: &Event) -> usize {
    const KEYS_AND_NUMBERS: usize = 288;
    KEYS_AND_NUMBERS
        + match &event.body {
            EventBody::Message(body) => {
                let sender = &body.sender;
                let names = sender.first_name.len() + sender.last_name.len();
                body.content.len() + sender.email.len() + names
            }
            EventBody::Edit { content, .. } => content.len(),
            EventBody::Delete { .. } | EventBody::Reaction { .. } => 0,
        }
}

fn event_body(json: &mut Writer<'_>, event: &Event) {
    match &event.body {
        EventBody::Message(body) => {
            json.raw(r#","message":"#);
            message_fields(json, &MessageFields::of_event(body, event.at));
            json.raw("}}");
        }
        EventBody::Edit { message, content, .. } => {
            json.raw(r#","message_id":"#).number(message.0);
            json.raw(r#","content":"#).string(shown(content));
            json.raw(r#","edited_at":"#).time(event.at);
            timestamp(json, event.at);
        }
        EventBody::Delete { message, .. } => {
            json.raw(r#","message_id":"#).number(message.0);
            timestamp(json, event.at);
        }
        EventBody::Reaction { message, user, emoji, action } => {
            // Erased with its user: it keeps its place, and must mean nothing to any client.
            let message = if emoji.is_empty() { 0 } else { message.0 };
            json.raw(r#","message_id":"#).number(message);
            json.raw(r#","emoji":"#).string(emoji);
            json.raw(r#","user_id":"#).user(user);
            json.raw(match action {
                ReactionAction::Added => r#","action":"added""#,
                ReactionAction::Removed => r#","action":"removed""#,
            });
            timestamp(json, event.at);
        }
    }
}

/// A message of the past as `history_on_connect` shows it to v1: the frame of a new message, plus
/// what came of it, in the shape that the guide's hook keeps.
pub fn replayed_message(
    out: &mut Vec<u8>,
    message: &MessageState,
    read_by: &[UserId],
    is_read: bool,
) {
    text_frame(out, |json| {
        json.raw(r#"{"type":"chat_message","seq":"#).seq(message.seq);
        json.raw(r#","message":"#);
        message_fields(json, &MessageFields::of_state(message));
        json.raw(r#","edited_at":"#).option(message.edited_at, Writer::time);
        json.raw(r#","is_deleted":"#).boolean(message.deleted_at.is_some());
        json.raw(r#","reactions":{"#);
        for (n, (emoji, users)) in message.reactions.iter().enumerate() {
            if n > 0 {
                json.raw(",");
            }
            json.string(emoji).raw(":").users(users);
        }
        json.raw(r#"},"read_by":"#).users(read_by);
        json.raw(r#","is_read":"#).boolean(is_read).raw("}}");
    });
}

/// What a message's frame says whether it is new or replayed.
struct MessageFields<'m> {
    id: MessageId,
    content: &'m str,
    sender: &'m Profile,
    parent: Option<MessageId>,
    created_at: Wall,
    is_edited: bool,
}

impl<'m> MessageFields<'m> {
    fn of_event(body: &'m MessageBody, at: Wall) -> MessageFields<'m> {
        MessageFields {
            id: body.id,
            content: shown(&body.content),
            sender: &body.sender,
            parent: body.parent,
            created_at: at,
            is_edited: false,
        }
    }

    fn of_state(state: &'m MessageState) -> MessageFields<'m> {
        MessageFields {
            id: state.id,
            content: if state.deleted_at.is_some() { DELETED } else { &state.content },
            sender: &state.sender,
            parent: state.parent,
            created_at: state.created_at,
            is_edited: state.edited_at.is_some(),
        }
    }
}

/// The message's object up to `is_edited`, still open.
fn message_fields(json: &mut Writer<'_>, message: &MessageFields<'_>) {
    json.raw(r#"{"id":"#).number(message.id.0);
    json.raw(r#","content":"#).string(message.content);
    json.raw(r#","sender":{"id":"#).user(&message.sender.id);
    json.raw(r#","email":"#).string(&message.sender.email);
    json.raw(r#","first_name":"#).string(&message.sender.first_name);
    json.raw(r#","last_name":"#).string(&message.sender.last_name);
    json.raw(r#"},"parent_message_id":"#).option(message.parent, message_id);
    json.raw(r#","created_at":"#).time(message.created_at);
    json.raw(r#","is_edited":"#).boolean(message.is_edited);
}

/// What is told at once: typing, receipts, presence.
pub fn signal(out: &mut Vec<u8>, signal: &Signal) {
    text_frame(out, |json| match signal {
        Signal::Typing { user, user_name, is_typing, at } => {
            json.raw(r#"{"type":"typing_indicator","user_id":"#).user(user);
            json.raw(r#","user_name":"#).string(user_name);
            json.raw(r#","is_typing":"#).boolean(*is_typing);
            timestamp(json, *at);
        }
        Signal::Read { message, user, at } => {
            json.raw(r#"{"type":"read_receipt","message_id":"#).number(message.0);
            json.raw(r#","user_id":"#).user(user);
            timestamp(json, *at);
        }
        Signal::Status { user, online, at } => {
            json.raw(r#"{"type":"user_status","user_id":"#).user(user);
            json.raw(r#","status":"#).raw(if *online { r#""online""# } else { r#""offline""# });
            timestamp(json, *at);
        }
        Signal::PresenceCount { count } => {
            json.raw(r#"{"type":"presence","count":"#).number(u64::from(*count)).raw("}");
        }
    });
}

/// What one socket is told: errors, and for v2 acks, the hello and pages of history.
pub fn reply(out: &mut Vec<u8>, reply: &Reply) {
    text_frame(out, |json| match reply {
        Reply::Error { refusal, reference } => error(json, refusal, reference.as_deref()),
        Reply::Ack(ack) => acknowledge(json, ack),
        Reply::Hello { conversation, user, seq, epoch, limits } => {
            json.raw(r#"{"type":"hello","conversation_id":"#).id(conversation.as_ref());
            json.raw(r#","user_id":"#).user(user);
            json.raw(r#","seq":"#).seq(*seq);
            json.raw(r#","epoch":"#).string(&epoch.to_string());
            json.raw(r#","heartbeat_ms":"#).number(limits.heartbeat_ms);
            json.raw(r#","limits":{"content_chars":"#).number(limits.content_chars as u64);
            json.raw(r#","frame_bytes":"#).number(limits.frame_bytes as u64).raw("}}");
        }
        Reply::History(page) => history::frame(json, page),
        Reply::Presence { online, count } => {
            json.raw(r#"{"type":"presence","online":"#).users(online);
            json.raw(r#","count":"#).number(u64::from(*count)).raw("}");
        }
        Reply::Resumed(resumed) => end_of_replay(json, resumed),
        Reply::Resync { seq, epoch } => {
            json.raw(r#"{"type":"resync","seq":"#).seq(*seq);
            json.raw(r#","epoch":"#).string(&epoch.to_string()).raw("}");
        }
        Reply::Pong { reference, seq } => {
            json.raw(r#"{"type":"pong","ref":"#).option(reference.as_deref(), Writer::string);
            json.raw(r#","seq":"#).seq(*seq).raw("}");
        }
        Reply::TokenExpiring { expires_in_ms } => {
            json.raw(r#"{"type":"token_expiring","expires_in_ms":"#);
            json.number(*expires_in_ms).raw("}");
        }
    });
}

fn error(json: &mut Writer<'_>, refusal: &Refusal, reference: Option<&str>) {
    json.raw(r#"{"type":"error","error":"#).string(refusal.sentence);
    json.raw(r#","code":"#).string(refusal.code.as_str());
    json.raw(r#","ref":"#).option(reference, Writer::string);
    if let Some(ms) = refusal.retry_after_ms {
        json.raw(r#","retry_after_ms":"#).number(ms);
    }
    json.raw("}");
}

/// The keys of an object are texts, so here a user's number is one, too.
fn end_of_replay(json: &mut Writer<'_>, resumed: &Resumed) {
    json.raw(r#"{"type":"resumed","from":"#).seq(resumed.from);
    json.raw(r#","to":"#).seq(resumed.to);
    json.raw(r#","marks":{"#);
    for (n, reader) in resumed.marks.iter().enumerate() {
        if n > 0 {
            json.raw(",");
        }
        json.string(&reader.user.to_string()).raw(":").number(reader.mark.0);
    }
    json.raw(r#"},"marks_count":"#).number(u64::from(resumed.marks_count)).raw("}");
}

fn acknowledge(json: &mut Writer<'_>, ack: &Ack) {
    json.raw(r#"{"type":"ack","ref":"#).option(ack.reference.as_deref(), Writer::string);
    json.raw(r#","client_msg_id":"#).option(ack.client_msg_id.as_deref(), Writer::string);
    json.raw(r#","message_id":"#).option(ack.message, message_id);
    json.raw(r#","seq":"#).option(ack.seq, Writer::seq);
    json.raw(r#","created_at":"#).option(ack.created_at, Writer::time).raw("}");
}

/// The last field of most frames, and the end of the object.
fn timestamp(json: &mut Writer<'_>, at: Wall) {
    json.raw(r#","timestamp":"#).time(at).raw("}");
}

fn message_id<'w, 'o>(json: &'w mut Writer<'o>, id: MessageId) -> &'w mut Writer<'o> {
    json.number(id.0)
}

fn text_frame(out: &mut Vec<u8>, payload: impl FnOnce(&mut Writer<'_>)) {
    let frame = OpenFrame::begin(out);
    payload(&mut Writer(out));
    frame.finish(out, OpCode::Text);
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
