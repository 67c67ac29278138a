//! `docs/protocol.md` says what the code does: each client example is a command, each server example
//! is a frame that the encoder writes, and every type, error code and close reason is in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Decoder, JsonRules, event, replayed_message, reply, signal};
use crate::limits::Limits;
use crate::model::{
    CloseReason, ErrorCode, Event, EventBody, MessageBody, MessageId, MessageState, Profile,
    ReactionAction, Refusal, Reply, Seq, Signal, UserId, Version, Wall,
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
        sender,
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

fn value(frame: &[u8]) -> Value {
    let payload_at = if frame[1] == 126 { 4 } else { 2 };
    serde_json::from_slice(&frame[payload_at..]).unwrap()
}

#[test]
fn server_examples_are_what_the_encoder_writes_and_none_is_missing() {
    let parsed =
        |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let shown: BTreeSet<String> =
        blocks("json server").into_iter().map(|text| parsed(text).to_string()).collect();
    let written: BTreeSet<String> = frames().iter().map(|frame| value(frame).to_string()).collect();
    assert_eq!(shown, written);
}

#[test]
fn client_examples_are_commands_and_none_is_missing() {
    let rules = JsonRules::of(&Limits::DEFAULT, Version::V1);
    let mut kinds = BTreeSet::new();
    for text in blocks("json client") {
        let decoded = Decoder::default().decode(&mut text.as_bytes().to_vec(), &rules).map(|_| ());
        assert_eq!(decoded, Ok(()), "{text}");
        let value: Value = serde_json::from_str(text).unwrap();
        kinds.insert(value["type"].as_str().unwrap().to_owned());
    }
    let expected = [
        "chat_message",
        "message_delete",
        "message_edit",
        "message_reaction",
        "read_receipt",
        "typing_indicator",
    ];
    assert!(kinds.iter().eq(expected), "{kinds:?}");
}

#[test]
fn there_are_no_other_json_examples() {
    let marked = blocks("json client").len() + blocks("json server").len();
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
