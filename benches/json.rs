//! JSON: commands in, frames out, against serde_json with types.
//!
//! Each decode starts from a fresh copy of the text, as the parser writes into it; serde_json gets the
//! same copy. The serde_json side checks nothing but types: no lengths, depth, keys or doubles.

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use loquat::limits::Limits;
use loquat::model::{
    Event, EventBody, MessageBody, MessageId, Profile, Seq, Signal, UserId, Version, Wall,
};
use loquat::wire::json::{self, Decoder, JsonRules};
use serde::{Deserialize, Serialize};

/// 64 bytes each.
const PLAIN: &str = "Shall we meet at ten? I will bring the drafts and the coffee too";
const ESCAPED: &str = "\"10?\" I asked.
She nodded, and brought \"the\" drafts + coffee ☕";

const _: () = assert!(PLAIN.len() == 64 && ESCAPED.len() == 64);

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(dead_code, reason = "decoded, not looked at")]
enum Typed<'a> {
    ChatMessage {
        #[serde(borrow)]
        content: Cow<'a, str>,
        parent_message_id: Option<u64>,
        #[serde(borrow)]
        client_msg_id: Option<Cow<'a, str>>,
    },
    TypingIndicator {
        is_typing: bool,
    },
    ReadReceipt {
        message_id: u64,
    },
}

/// One struct for all types: what serde_json is fastest with, as it need not keep the other keys
/// until it has met `type`.
#[derive(Deserialize)]
#[allow(dead_code, reason = "decoded, not looked at")]
struct Flat<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    parent_message_id: Option<u64>,
    #[serde(borrow)]
    client_msg_id: Option<Cow<'a, str>>,
    message_id: Option<u64>,
    is_typing: Option<bool>,
}

#[derive(Serialize)]
struct TypedEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    seq: u64,
    message: TypedMessage<'a>,
}

#[derive(Serialize)]
struct TypedMessage<'a> {
    id: u64,
    content: &'a str,
    sender: &'a Profile,
    parent_message_id: Option<u64>,
    created_at: &'a str,
    is_edited: bool,
}

fn chat_message(content: &str) -> String {
    let content = serde_json::Value::from(content);
    format!(r#"{{"type":"chat_message","content":{content},"parent_message_id":null}}"#)
}

fn decode(c: &mut Criterion) {
    for (name, text) in [
        ("chat_64", chat_message(PLAIN)),
        ("chat_64_escaped", chat_message(ESCAPED)),
        ("chat_2000", chat_message(&PLAIN.repeat(32)[..2000])),
        ("receipt", r#"{"type":"read_receipt","message_id":123456}"#.to_owned()),
        ("receipt_other", r#"{"message_id":123456,"type":"read_receipt"}"#.to_owned()),
        ("typing", r#"{"type":"typing_indicator","is_typing":true}"#.to_owned()),
    ] {
        let mut group = c.benchmark_group(format!("decode/{name}"));
        let mut buffer = text.clone().into_bytes();
        let mut decoder = Decoder::default();
        let rules = JsonRules::of(&Limits::DEFAULT, Version::V1);
        group.bench_function("loquat", |b| {
            b.iter(|| {
                buffer.copy_from_slice(black_box(text.as_bytes()));
                black_box(decoder.decode(&mut buffer, &rules).is_ok())
            });
        });
        group.bench_function("serde_json_tagged", |b| {
            b.iter(|| {
                buffer.copy_from_slice(black_box(text.as_bytes()));
                black_box(serde_json::from_slice::<Typed<'_>>(&buffer).is_ok())
            });
        });
        group.bench_function("serde_json_flat", |b| {
            b.iter(|| {
                buffer.copy_from_slice(black_box(text.as_bytes()));
                black_box(serde_json::from_slice::<Flat<'_>>(&buffer).is_ok())
            });
        });
        group.finish();
    }
}

fn user(id: u64) -> UserId {
    UserId::from_number(id).expect("below 2^53")
}

fn chat_event(content: &str) -> Event {
    let sender = Profile {
        id: user(1),
        email: "user@example.com".to_owned(),
        first_name: "John".to_owned(),
        last_name: "Doe".to_owned(),
    };
    let body = MessageBody {
        id: MessageId(456),
        ordinal: 41,
        sender: sender.into(),
        content: content.to_owned(),
        parent: None,
        client_msg_id: None,
    };
    Event { seq: Seq(42), at: Wall(1_764_153_000_123), body: EventBody::Message(body) }
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let mut out = Vec::with_capacity(64 * 1024);
    for (name, content) in [("chat_64", PLAIN), ("chat_2000", &PLAIN.repeat(32)[..2000])] {
        let event = chat_event(content);
        group.bench_function(format!("{name}/loquat_frame"), |b| {
            b.iter(|| {
                out.clear();
                json::event(&mut out, black_box(&event), None);
                black_box(out.len())
            });
        });
        group.bench_function(format!("{name}/serde_json_to_vec"), |b| {
            b.iter(|| black_box(serde_json::to_vec(&typed(black_box(&event)))).map(|v| v.len()));
        });
    }
    let receipt =
        Signal::Read { message: MessageId(456), user: user(1), at: Wall(1_764_153_000_123) };
    group.bench_function("receipt/loquat_frame", |b| {
        b.iter(|| {
            out.clear();
            json::signal(&mut out, black_box(&receipt));
            black_box(out.len())
        });
    });
    group.finish();
}

/// The time is formatted beforehand: serde_json has no part in that.
fn typed(event: &Event) -> TypedEvent<'_> {
    let EventBody::Message(body) = &event.body else { unreachable!("made above") };
    TypedEvent {
        kind: "chat_message",
        seq: event.seq.0,
        message: TypedMessage {
            id: body.id.0,
            content: &body.content,
            sender: &body.sender,
            parent_message_id: None,
            created_at: "2025-11-26T10:30:00.123Z",
            is_edited: false,
        },
    }
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
