//! Tests of the encoder: the frames of the documentation, and whatever else serde_json can read back.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{ConversationId, Epoch, ErrorCode, HelloLimits, Reader, Seq};
use crate::wire::json::rfc3339_ms;

const AT: Wall = Wall(1_764_153_000_123);

/// A frame's payload, read by hand: one final text frame, not masked, its length in the shortest
/// form, and nothing behind it.
fn payload(frame: &[u8]) -> &str {
    assert_eq!(frame[0], 0x81);
    let (length, payload) = match frame[1] {
        126 => (usize::from(u16::from_be_bytes([frame[2], frame[3]])), &frame[4..]),
        127 => (u64::from_be_bytes(frame[2..10].try_into().unwrap()) as usize, &frame[10..]),
        short => (usize::from(short), &frame[2..]),
    };
    assert_eq!(payload.len(), length);
    assert_eq!(
        frame.len() - length,
        [2, 4, 10][usize::from(length > 125) + usize::from(length > 65_535)]
    );
    std::str::from_utf8(payload).unwrap()
}

/// Encodes behind other bytes, which must stay.
fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"before".to_vec();
    encode(&mut out);
    assert_eq!(&out[..6], b"before");
    payload(&out[6..]).to_owned()
}

fn check(encode: impl FnOnce(&mut Vec<u8>), expected: &str) {
    assert_eq!(encoded(encode), expected);
}

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn john() -> Profile {
    Profile {
        id: user("1"),
        email: "user@example.com".to_owned(),
        first_name: "John".to_owned(),
        last_name: "Doe".to_owned(),
    }
}

fn message_event() -> Event {
    let body = MessageBody {
        id: MessageId(456),
        ordinal: 3,
        sender: john().into(),
        content: "Hello".to_owned(),
        parent: None,
        client_msg_id: Some("c-17".to_owned()),
    };
    Event { seq: Seq(42), at: AT, body: EventBody::Message(body) }
}

fn event_of(body: EventBody) -> Event {
    Event { seq: Seq(43), at: AT, body }
}

#[test]
fn events_stand_as_in_the_protocol() {
    check(
        |out| event(out, &message_event(), None),
        r#"{"type":"chat_message","seq":42,"message":{"id":456,"content":"Hello","sender":{"id":1,"email":"user@example.com","first_name":"John","last_name":"Doe"},"parent_message_id":null,"created_at":"2025-11-26T10:30:00.123Z","is_edited":false}}"#,
    );
    check(
        |out| event(out, &message_event(), Some("c-17")),
        r#"{"type":"chat_message","seq":42,"client_msg_id":"c-17","message":{"id":456,"content":"Hello","sender":{"id":1,"email":"user@example.com","first_name":"John","last_name":"Doe"},"parent_message_id":null,"created_at":"2025-11-26T10:30:00.123Z","is_edited":false}}"#,
    );
    let message = MessageId(456);
    let edit = EventBody::Edit { message, by: user("1"), content: "a\n".to_owned() };
    check(
        |out| event(out, &event_of(edit), None),
        r#"{"type":"message_edit","seq":43,"message_id":456,"content":"a\n","edited_at":"2025-11-26T10:30:00.123Z","timestamp":"2025-11-26T10:30:00.123Z"}"#,
    );
    check(
        |out| event(out, &event_of(EventBody::Delete { message, by: user("1") }), None),
        r#"{"type":"message_delete","seq":43,"message_id":456,"timestamp":"2025-11-26T10:30:00.123Z"}"#,
    );
    let emoji = "👍".to_owned();
    let action = ReactionAction::Added;
    let added = EventBody::Reaction { message, user: user("ann"), emoji: emoji.clone(), action };
    check(
        |out| event(out, &event_of(added), None),
        r#"{"type":"message_reaction","seq":43,"message_id":456,"emoji":"👍","user_id":"ann","action":"added","timestamp":"2025-11-26T10:30:00.123Z"}"#,
    );
    let action = ReactionAction::Removed;
    let removed = EventBody::Reaction { message, user: user("7"), emoji, action };
    check(
        |out| event(out, &event_of(removed), None),
        r#"{"type":"message_reaction","seq":43,"message_id":456,"emoji":"👍","user_id":7,"action":"removed","timestamp":"2025-11-26T10:30:00.123Z"}"#,
    );
}

#[test]
fn signals_stand_as_in_the_guide() {
    let typing = |is_typing| Signal::Typing {
        user: user("1"),
        user_name: "John Doe".to_owned(),
        is_typing,
        at: AT,
    };
    check(
        |out| signal(out, &typing(true)),
        r#"{"type":"typing_indicator","user_id":1,"user_name":"John Doe","is_typing":true,"timestamp":"2025-11-26T10:30:00.123Z"}"#,
    );
    check(
        |out| signal(out, &typing(false)),
        r#"{"type":"typing_indicator","user_id":1,"user_name":"John Doe","is_typing":false,"timestamp":"2025-11-26T10:30:00.123Z"}"#,
    );
    check(
        |out| signal(out, &Signal::Read { message: MessageId(456), user: user("1"), at: AT }),
        r#"{"type":"read_receipt","message_id":456,"user_id":1,"timestamp":"2025-11-26T10:30:00.123Z"}"#,
    );
    check(
        |out| signal(out, &Signal::Status { user: user("1"), online: true, at: AT }),
        r#"{"type":"user_status","user_id":1,"status":"online","timestamp":"2025-11-26T10:30:00.123Z"}"#,
    );
    check(
        |out| signal(out, &Signal::Status { user: user("1"), online: false, at: AT }),
        r#"{"type":"user_status","user_id":1,"status":"offline","timestamp":"2025-11-26T10:30:00.123Z"}"#,
    );
    check(
        |out| signal(out, &Signal::PresenceCount { count: 250 }),
        r#"{"type":"presence","count":250}"#,
    );
}

#[test]
fn replies() {
    let error = |code, retry_after_ms, reference: Option<&str>| Reply::Error {
        refusal: Refusal { code, sentence: "why \"so\"", retry_after_ms },
        reference: reference.map(str::to_owned),
    };
    check(
        |out| reply(out, &error(ErrorCode::Gone, None, None)),
        r#"{"type":"error","error":"why \"so\"","code":"gone","ref":null}"#,
    );
    check(
        |out| reply(out, &error(ErrorCode::RateLimited, Some(250), Some("a\"1"))),
        r#"{"type":"error","error":"why \"so\"","code":"rate_limited","ref":"a\"1","retry_after_ms":250}"#,
    );
    let ack = Ack {
        reference: Some("a1".to_owned()),
        client_msg_id: Some("c-17".to_owned()),
        message: Some(MessageId(456)),
        seq: Some(Seq(42)),
        created_at: Some(AT),
    };
    check(
        |out| reply(out, &Reply::Ack(ack)),
        r#"{"type":"ack","ref":"a1","client_msg_id":"c-17","message_id":456,"seq":42,"created_at":"2025-11-26T10:30:00.123Z"}"#,
    );
    check(
        |out| reply(out, &Reply::Ack(Ack::default())),
        r#"{"type":"ack","ref":null,"client_msg_id":null,"message_id":null,"seq":null,"created_at":null}"#,
    );
    let hello = Reply::Hello {
        conversation: ConversationId::parse("77").unwrap(),
        user: user("1"),
        seq: Seq(41),
        epoch: Epoch(0x9f3c_61d2),
        limits: HelloLimits::of(&crate::limits::Limits::DEFAULT),
    };
    check(
        |out| reply(out, &hello),
        r#"{"type":"hello","conversation_id":77,"user_id":1,"seq":41,"epoch":"9f3c61d2","heartbeat_ms":25000,"limits":{"content_chars":10000,"frame_bytes":65536}}"#,
    );
}

#[test]
fn replayed_messages_show_what_came_of_them() {
    let mut state = MessageState::created(&message_event()).unwrap();
    check(
        |out| replayed_message(out, &state, &[], false),
        r#"{"type":"chat_message","seq":42,"message":{"id":456,"content":"Hello","sender":{"id":1,"email":"user@example.com","first_name":"John","last_name":"Doe"},"parent_message_id":null,"created_at":"2025-11-26T10:30:00.123Z","is_edited":false,"edited_at":null,"is_deleted":false,"reactions":{},"read_by":[],"is_read":false}}"#,
    );
    let message = state.id;
    for (by, emoji) in [("2", "👍"), ("ann", "👍"), ("2", "❤️")] {
        let (emoji, action) = (emoji.to_owned(), ReactionAction::Added);
        state.apply(&event_of(EventBody::Reaction { message, user: user(by), emoji, action }));
    }
    let content = "Hi".to_owned();
    state.apply(&event_of(EventBody::Edit { message, by: user("1"), content }));
    state.apply(&event_of(EventBody::Delete { message, by: user("1") }));
    check(
        |out| replayed_message(out, &state, &[user("2"), user("bob")], true),
        r#"{"type":"chat_message","seq":42,"message":{"id":456,"content":"Message deleted","sender":{"id":1,"email":"user@example.com","first_name":"John","last_name":"Doe"},"parent_message_id":null,"created_at":"2025-11-26T10:30:00.123Z","is_edited":true,"edited_at":"2025-11-26T10:30:00.123Z","is_deleted":true,"reactions":{"❤️":[2],"👍":[2,"ann"]},"read_by":[2,"bob"],"is_read":true}}"#,
    );
}

#[test]
fn frames_of_every_head_length_follow_each_other() {
    let mut out = Vec::new();
    let mut ends = vec![0];
    let lengths = [1, 40, 60, 200, 65_000, 65_534, 65_600, 70_000];
    for length in lengths {
        let content = "x".repeat(length);
        event(
            &mut out,
            &event_of(EventBody::Edit { message: MessageId(1), by: user("1"), content }),
            None,
        );
        ends.push(out.len());
    }
    for (range, length) in ends.windows(2).zip(lengths) {
        let value: Value = serde_json::from_str(payload(&out[range[0]..range[1]])).unwrap();
        assert_eq!(value["content"].as_str().unwrap().len(), length);
    }
}

fn any_user() -> impl Strategy<Value = UserId> {
    prop_oneof![
        (0..=crate::limits::SAFE_INTEGER_MAX).prop_map(|n| UserId::from_number(n).unwrap()),
        "[A-Za-z_.@+-][A-Za-z0-9_.@+-]{0,40}".prop_map(|text| UserId::parse(&text).unwrap()),
    ]
}

/// Mostly short, sometimes long enough for each form of the head; anything may be in it.
fn any_text() -> impl Strategy<Value = String> {
    (any::<String>(), prop_oneof![4 => 0..2_usize, 2 => 2..20_usize, 1 => 500..2000_usize])
        .prop_map(|(text, times)| text.repeat(times))
}

fn any_id() -> impl Strategy<Value = MessageId> {
    (0..=crate::limits::SAFE_INTEGER_MAX).prop_map(MessageId)
}

fn any_wall() -> impl Strategy<Value = Wall> {
    prop_oneof![(0..4_000_000_000_000_u64).prop_map(Wall), any::<u64>().prop_map(Wall)]
}

fn any_profile() -> impl Strategy<Value = Profile> {
    (any_user(), any::<String>(), any::<String>(), any::<String>())
        .prop_map(|(id, email, first_name, last_name)| Profile { id, email, first_name, last_name })
}

fn any_body() -> impl Strategy<Value = EventBody> {
    let message = (any_id(), any_profile(), any_text(), proptest::option::of(any_id())).prop_map(
        |(id, sender, content, parent)| {
            let client_msg_id = None;
            EventBody::Message(MessageBody {
                id,
                ordinal: 0,
                sender: sender.into(),
                content,
                parent,
                client_msg_id,
            })
        },
    );
    let edit = (any_id(), any_user(), any_text())
        .prop_map(|(message, by, content)| EventBody::Edit { message, by, content });
    let delete = (any_id(), any_user()).prop_map(|(message, by)| EventBody::Delete { message, by });
    let reaction = (any_id(), any_user(), any::<String>(), any::<bool>()).prop_map(
        |(message, user, emoji, added)| {
            let action = if added { ReactionAction::Added } else { ReactionAction::Removed };
            EventBody::Reaction { message, user, emoji, action }
        },
    );
    prop_oneof![message, edit, delete, reaction]
}

fn any_event() -> impl Strategy<Value = Event> {
    (any::<u64>(), any_wall(), any_body()).prop_map(|(seq, at, body)| Event {
        seq: Seq(seq),
        at,
        body,
    })
}

fn written_time(at: Wall) -> String {
    String::from_utf8(rfc3339_ms(at).to_vec()).unwrap()
}

/// No live message is empty: this one was deleted.
fn told(content: &str) -> &str {
    if content.is_empty() { "Message deleted" } else { content }
}

/// The same frame, put together from serde_json's values.
fn expected_event(event: &Event, client_msg_id: Option<&str>) -> Value {
    let at = written_time(event.at);
    let mut value = match &event.body {
        EventBody::Message(body) => json!({
            "type": "chat_message",
            "message": {
                "id": body.id, "content": told(&body.content), "sender": body.sender,
                "parent_message_id": body.parent, "created_at": at, "is_edited": false,
            },
        }),
        EventBody::Edit { message, content, .. } => json!({
            "type": "message_edit", "message_id": message, "content": told(content),
            "edited_at": at, "timestamp": at,
        }),
        EventBody::Delete { message, .. } => {
            json!({"type": "message_delete", "message_id": message, "timestamp": at})
        }
        EventBody::Reaction { message, user, emoji, action } => json!({
            "type": "message_reaction", "message_id": if emoji.is_empty() { &MessageId(0) } else { message }, "user_id": user, "emoji": emoji,
            "action": if *action == ReactionAction::Added { "added" } else { "removed" },
            "timestamp": at,
        }),
    };
    value["seq"] = json!(event.seq);
    if let Some(id) = client_msg_id {
        value["client_msg_id"] = json!(id);
    }
    value
}

fn any_state() -> impl Strategy<Value = MessageState> {
    let users = proptest::collection::btree_set(any_user(), 1..4);
    let reactions = proptest::collection::btree_map(any::<String>(), users, 0..4);
    let times = (any_wall(), proptest::option::of(any_wall()), proptest::option::of(any_wall()));
    (any_id(), any_profile(), any_text(), proptest::option::of(any_id()), times, reactions)
        .prop_map(
            |(id, sender, content, parent, (created_at, edited_at, deleted_at), reactions)| {
                MessageState {
                    id,
                    seq: Seq(id.0 / 2),
                    ordinal: 0,
                    sender: sender.into(),
                    content,
                    parent,
                    client_msg_id: None,
                    created_at,
                    edited_at,
                    edits: 0,
                    deleted_at,
                    reactions,
                    reply_count: 0,
                }
            },
        )
}

fn expected_replay(state: &MessageState, read_by: &[UserId], is_read: bool) -> Value {
    let content = if state.deleted_at.is_some() { "Message deleted" } else { &state.content };
    let reactions: &BTreeMap<String, BTreeSet<UserId>> = &state.reactions;
    json!({
        "type": "chat_message",
        "seq": state.seq,
        "message": {
            "id": state.id, "content": content, "sender": state.sender,
            "parent_message_id": state.parent, "created_at": written_time(state.created_at),
            "is_edited": state.edited_at.is_some(), "edited_at": state.edited_at.map(written_time),
            "is_deleted": state.deleted_at.is_some(), "reactions": reactions,
            "read_by": read_by, "is_read": is_read,
        },
    })
}

fn parsed(frame: String) -> Value {
    serde_json::from_str(&frame).unwrap()
}

/// The guide's hook throws at `removed` for what its message does not have: nobody holds message 0.
#[test]
fn an_erased_reaction_names_no_message() {
    let body = EventBody::Reaction {
        message: MessageId(456),
        user: UserId::from_number(1).unwrap(),
        emoji: String::new(),
        action: ReactionAction::Removed,
    };
    let frame = encoded(|out| event(out, &Event { seq: Seq(7), at: AT, body }, None));
    let value = parsed(frame);
    assert_eq!((&value["seq"], &value["message_id"]), (&json!(7), &json!(0)));
}

#[test]
fn what_a_v2_session_is_told() {
    let check = |told: Reply, expected: Value| {
        assert_eq!(parsed(encoded(|out| reply(out, &told))), expected);
    };
    let user = |id: &str| UserId::parse(id).unwrap();
    let online = vec![user("1"), user("ann")];
    check(
        Reply::Presence { online, count: 2 },
        json!({"type": "presence", "online": [1, "ann"], "count": 2}),
    );
    let reader = |id, mark| Reader { user: user(id), mark: MessageId(mark) };
    let marks = vec![reader("1", 455), reader("ann", 440)];
    let resumed = Resumed { from: Seq(12), to: Seq(41), marks, marks_count: 2 };
    check(
        Reply::Resumed(Box::new(resumed)),
        json!({
            "type": "resumed", "from": 12, "to": 41, "marks": {"1": 455, "ann": 440},
            "marks_count": 2,
        }),
    );
    check(
        Reply::Resync { seq: Seq(41), epoch: crate::model::Epoch(0x9f3c_61d2) },
        json!({"type": "resync", "seq": 41, "epoch": "9f3c61d2"}),
    );
    check(
        Reply::Pong { reference: Some("p1".into()), seq: Seq(42) },
        json!({"type": "pong", "ref": "p1", "seq": 42}),
    );
    check(
        Reply::Pong { reference: None, seq: Seq(0) },
        json!({"type": "pong", "ref": null, "seq": 0}),
    );
    check(
        Reply::TokenExpiring { expires_in_ms: 30_000 },
        json!({"type": "token_expiring", "expires_in_ms": 30_000}),
    );
}

proptest! {
    #[test]
    fn any_event_is_parsed_back(event in any_event(), id in proptest::option::of(any::<String>())) {
        let frame = encoded(|out| super::event(out, &event, id.as_deref()));
        prop_assert_eq!(parsed(frame), expected_event(&event, id.as_deref()));
    }

    #[test]
    fn any_replay_is_parsed_back(
        state in any_state(),
        read_by in proptest::collection::vec(any_user(), 0..4),
        is_read in any::<bool>(),
    ) {
        let frame = encoded(|out| replayed_message(out, &state, &read_by, is_read));
        prop_assert_eq!(parsed(frame), expected_replay(&state, &read_by, is_read));
    }

    #[test]
    fn any_signal_is_parsed_back(
        user in any_user(), name in any_text(), flag in any::<bool>(), at in any_wall(), id in any_id(),
    ) {
        let time = written_time(at);
        let typing = Signal::Typing { user: user.clone(), user_name: name.clone(), is_typing: flag, at };
        prop_assert_eq!(parsed(encoded(|out| signal(out, &typing))), json!({
            "type": "typing_indicator", "user_id": user, "user_name": name, "is_typing": flag,
            "timestamp": time,
        }));
        let read = Signal::Read { message: id, user: user.clone(), at };
        prop_assert_eq!(parsed(encoded(|out| signal(out, &read))), json!({
            "type": "read_receipt", "message_id": id, "user_id": user, "timestamp": time,
        }));
        let status = Signal::Status { user: user.clone(), online: flag, at };
        prop_assert_eq!(parsed(encoded(|out| signal(out, &status))), json!({
            "type": "user_status", "user_id": user, "timestamp": time,
            "status": if flag { "online" } else { "offline" },
        }));
    }

    #[test]
    fn any_error_and_ack_is_parsed_back(
        reference in proptest::option::of(any::<String>()),
        client_msg_id in proptest::option::of(any::<String>()),
        message in proptest::option::of(any_id()),
        at in proptest::option::of(any_wall()),
    ) {
        let seq = message.map(|id| Seq(id.0));
        let ack = Ack {
            reference: reference.clone(), client_msg_id: client_msg_id.clone(), message, seq, created_at: at,
        };
        prop_assert_eq!(parsed(encoded(|out| reply(out, &Reply::Ack(ack)))), json!({
            "type": "ack", "ref": reference, "client_msg_id": client_msg_id, "message_id": message,
            "seq": seq, "created_at": at.map(written_time),
        }));
        let refusal = Refusal::new(ErrorCode::Gone, "the message is deleted");
        let error = Reply::Error { refusal, reference: reference.clone() };
        prop_assert_eq!(parsed(encoded(|out| reply(out, &error))), json!({
            "type": "error", "error": "the message is deleted", "code": "gone", "ref": reference,
        }));
    }
}
