//! `docs/protocol.md` says what the code does: each client example is a command, each server example
//! is a frame that the encoder writes, and every type, error code and close reason is in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Decoder, JsonRules, event, replayed_message, reply, signal};
use crate::limits::Limits;
use crate::model::{
    Ack, CloseReason, ConversationId, Epoch, ErrorCode, Event, EventBody, HelloLimits, History,
    Listed, MessageBody, MessageId, MessageState, Profile, ReactionAction, Reader, Refusal, Reply,
    Resumed, Seq, ShownMessage, Signal, UserId, Version, Wall,
};

const PAGE: &str = include_str!("../../../docs/protocol.md");
const AT: Wall = Wall(1_764_153_000_123);
const MESSAGE: MessageId = MessageId(456);

/// The fenced blocks with this info string.
fn blocks(info: &str) -> Vec<&'static str> {
    let fence = format!("```{info}\n");
    let starts = PAGE.match_indices(&fence).map(|(at, _)| at + fence.len());
    starts.map(|at| PAGE[at..].split("```").next().unwrap()).collect()
}

fn user(number: u64) -> UserId {
    UserId::from_number(number).unwrap()
}

fn hello() -> Event {
    let sender = Profile {
        id: user(1),
        email: "user@example.com".to_owned(),
        first_name: "John".to_owned(),
        last_name: "Doe".to_owned(),
    };
    let body = MessageBody {
        id: MESSAGE,
        ordinal: 0,
        sender: sender.into(),
        content: "Hello".to_owned(),
        parent: None,
        client_msg_id: None,
    };
    Event { seq: Seq(42), at: AT, body: EventBody::Message(body) }
}

fn edit() -> EventBody {
    EventBody::Edit { message: MESSAGE, by: user(1), content: "Hello, all".to_owned() }
}

fn reaction(by: u64) -> EventBody {
    let (emoji, action) = ("👍".to_owned(), ReactionAction::Added);
    EventBody::Reaction { message: MESSAGE, user: user(by), emoji, action }
}

fn error_frames(out: &mut Vec<Vec<u8>>) {
    let mut empty = br#"{"type":"chat_message","content":""}"#.to_vec();
    let rules = JsonRules::of(&Limits::DEFAULT, Version::V1);
    let rejected = Decoder::default().decode(&mut empty, &rules).unwrap_err();
    let slow_down = Refusal {
        code: ErrorCode::RateLimited,
        sentence: "too many messages at once; slow down",
        retry_after_ms: Some(250),
    };
    for (refusal, reference) in [(rejected.refusal, None), (slow_down, Some("6f1c2a".to_owned()))] {
        let mut frame = Vec::new();
        reply(&mut frame, &Reply::Error { refusal, reference });
        out.push(frame);
    }
}

/// One frame of each kind that version 1 is sent, with the values of the page.
fn frames() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut add = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        encode(&mut frame);
        out.push(frame);
    };
    let mut past = MessageState::created(&hello()).unwrap();
    for body in [edit(), reaction(1), reaction(2)] {
        past.apply(&Event { seq: Seq(43), at: AT, body });
    }
    add(&|out| event(out, &hello(), None));
    add(&|out| replayed_message(out, &past, &[user(2)], true));
    let delete = EventBody::Delete { message: MESSAGE, by: user(1) };
    for (seq, body) in [(43, edit()), (44, delete), (45, reaction(1))] {
        add(&|out| event(out, &Event { seq: Seq(seq), at: AT, body: body.clone() }, None));
    }
    let (user, user_name) = (user(1), "John Doe".to_owned());
    for shown in [
        Signal::Typing { user: user.clone(), user_name, is_typing: true, at: AT },
        Signal::Read { message: MESSAGE, user: user.clone(), at: AT },
        Signal::Status { user, online: true, at: AT },
    ] {
        add(&|out| signal(out, &shown));
    }
    error_frames(&mut out);
    out
}

/// The same for what only version 2 is sent.
fn session_frames() -> Vec<Vec<u8>> {
    let reader = |number, mark| Reader { user: user(number), mark: MessageId(mark) };
    let epoch = Epoch(0x9f3c_61d2);
    let limits = HelloLimits::of(&Limits::DEFAULT);
    let conversation = ConversationId::from_number(77).unwrap();
    let text = |text: &str| Some(text.to_owned());
    let replies = [
        Reply::Hello { conversation, user: user(1), seq: Seq(41), epoch, limits },
        Reply::Presence { online: vec![user(1), user(2)], count: 2 },
        Reply::Ack(Ack {
            reference: text("a1"),
            client_msg_id: text("c-17"),
            message: Some(MESSAGE),
            seq: Some(Seq(42)),
            created_at: Some(AT),
        }),
        Reply::Resumed(Box::new(Resumed {
            from: Seq(12),
            to: Seq(41),
            marks: vec![reader(1, 455), reader(2, 440)],
            marks_count: 2,
        })),
        Reply::Resync { seq: Seq(41), epoch },
        Reply::History(Box::new(page())),
        Reply::Pong { reference: text("p1"), seq: Seq(42) },
        Reply::TokenExpiring { expires_in_ms: 30_000 },
    ];
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for shown in &replies {
        let mut frame = Vec::new();
        reply(&mut frame, shown);
        frames.push(frame);
    }
    let mut own = Vec::new();
    event(&mut own, &hello(), Some("c-17"));
    let mut count = Vec::new();
    signal(&mut count, &Signal::PresenceCount { count: 250 });
    frames.extend([own, count]);
    frames
}

fn page() -> History {
    let mut state = MessageState::created(&hello()).unwrap();
    for body in [edit(), reaction(1), reaction(2)] {
        state.apply(&Event { seq: Seq(43), at: AT, body });
    }
    let read_by = Some(Listed { ids: vec![user(2)], count: 1 });
    History {
        reference: Some("h1".to_owned()),
        messages: vec![ShownMessage::new(state, read_by)],
        pivot: MESSAGE,
        has_more: true,
        seq: Seq(45),
    }
}

fn value(frame: &[u8]) -> Value {
    let payload_at = if frame[1] == 126 { 4 } else { 2 };
    serde_json::from_slice(&frame[payload_at..]).unwrap()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn server_examples_are_what_the_encoder_writes_and_none_is_missing() {
    for (info, frames) in [("json server", frames()), ("json server v2", session_frames())] {
        let shown: BTreeSet<String> =
            blocks(info).into_iter().map(|text| parsed(text).to_string()).collect();
        let written: BTreeSet<String> =
            frames.iter().map(|frame| value(frame).to_string()).collect();
        assert_eq!(shown, written, "{info}");
    }
}

/// The types of the examples; each is a command of this version.
fn client_examples(info: &str, version: Version) -> BTreeSet<String> {
    let rules = JsonRules::of(&Limits::DEFAULT, version);
    let kind = |text: &str| {
        let decoded = Decoder::default().decode(&mut text.as_bytes().to_vec(), &rules).map(|_| ());
        assert_eq!(decoded, Ok(()), "{text}");
        parsed(text)["type"].as_str().unwrap().to_owned()
    };
    blocks(info).into_iter().map(kind).collect()
}

#[test]
fn client_examples_are_commands_and_none_is_missing() {
    let kinds = client_examples("json client", Version::V1);
    let expected = [
        "chat_message",
        "message_delete",
        "message_edit",
        "message_reaction",
        "read_receipt",
        "typing_indicator",
    ];
    assert!(kinds.iter().eq(expected), "{kinds:?}");
    let kinds = client_examples("json client v2", Version::V2);
    assert!(kinds.iter().eq(["chat_message", "history", "ping", "token_refresh"]), "{kinds:?}");
}

#[test]
fn there_are_no_other_json_examples() {
    let infos = ["json client", "json server", "json client v2", "json server v2"];
    let marked: usize = infos.iter().map(|info| blocks(info).len()).sum();
    assert_eq!(PAGE.matches("```json").count(), marked);
}

#[test]
fn every_error_code_is_explained() {
    use ErrorCode::*;
    let all = [
        InvalidJson,
        Invalid,
        UnknownType,
        Empty,
        TooLong,
        NotFound,
        Forbidden,
        Gone,
        ParentNotFound,
        RateLimited,
        IdempotencyConflict,
        StorageUnavailable,
        UnexpectedBinary,
    ];
    for code in all {
        // A code that is new here is missing above.
        match code {
            InvalidJson | Invalid | UnknownType | Empty | TooLong | NotFound | Forbidden | Gone
            | ParentNotFound | RateLimited | IdempotencyConflict | StorageUnavailable
            | UnexpectedBinary => {}
        }
        let row = format!("\n| `{}` |", code.as_str());
        assert!(PAGE.contains(&row), "{row}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "it reads a document, nothing unsafe")]
fn every_close_reason_is_explained() {
    use CloseReason::*;
    let all = [
        Normal,
        GoingAway,
        ProtocolError,
        InvalidUtf8,
        PingFlood,
        FragmentFlood,
        MessageTooSlow,
        TooBig,
        Restart { reconnect_in_ms: 1 },
        TokenMissing,
        TokenInvalid,
        TokenExpired,
        TokenRevoked,
        SessionOver,
        Forbidden,
        Kicked,
        BadFrames,
        TooManyConnections,
        Overload,
        RateExceeded,
        FellBehind,
    ];
    for reason in all {
        // A reason that is new here is missing above.
        match reason {
            Normal
            | GoingAway
            | ProtocolError
            | InvalidUtf8
            | PingFlood
            | FragmentFlood
            | MessageTooSlow
            | TooBig
            | Restart { .. }
            | TokenMissing
            | TokenInvalid
            | TokenExpired
            | TokenRevoked
            | SessionOver
            | Forbidden
            | Kicked
            | BadFrames
            | TooManyConnections
            | Overload
            | RateExceeded
            | FellBehind => {}
        }
        let (code, word) = (reason.code().to_string(), reason.reason());
        let row = PAGE.lines().find(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let codes = cells.next().unwrap_or_default();
            let words = cells.next().unwrap_or_default();
            codes.split(", ").any(|c| c == code) && (word.is_empty() || words.contains(word))
        });
        assert!(row.is_some(), "{code} {word}");
    }
}
