//! JSON: commands in, events out, beside serde_json and sonic-rs with derived types.
//!
//! Each decode starts from a fresh copy of the text, as our parser writes into it; the peers get the
//! same copy. `tagged` is an enum by `type`, as one would write it; `flat` one struct for all types, which
//! serde is fastest with. Events are encoded into a buffer that is used again (`reused`), or into a new one.
//!
//! What the numbers do not say: ours checks lengths, depth, keys, doubles and what is allowed in a version, the
//! peers nothing but types. Ours writes a whole frame and formats the time, the peers only JSON with a time
//! formatted beforehand. sonic-rs chooses its SIMD when it is compiled: here, as in the server, for any x86-64
//! (SSE2); with `-C target-cpu=native` it is faster than shown. simd-json under ours chooses at run time.

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use loquat::limits::Limits;
use loquat::model::{
    Asked, Command, Event, EventBody, MessageBody, MessageId, Profile, Seq, Signal, UserId,
    Version, Wall,
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
    #[serde(borrow, rename = "ref")]
    reference: Option<Cow<'a, str>>,
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

/// Says whether a peer takes the text.
type Takes = fn(&[u8]) -> bool;

const PEERS: [(&str, Takes); 4] = [
    ("serde_json_tagged", |text| serde_json::from_slice::<Typed<'_>>(black_box(text)).is_ok()),
    ("serde_json_flat", |text| serde_json::from_slice::<Flat<'_>>(black_box(text)).is_ok()),
    ("sonic_rs_tagged", |text| sonic_rs::from_slice::<Typed<'_>>(black_box(text)).is_ok()),
    ("sonic_rs_flat", |text| sonic_rs::from_slice::<Flat<'_>>(black_box(text)).is_ok()),
];

fn decode(c: &mut Criterion) {
    let v2 = format!(
        r#"{{"type":"chat_message","content":"{PLAIN}","client_msg_id":"c-4711","ref":"r-17"}}"#
    );
    for (name, version, text) in [
        ("chat_64", Version::V1, chat_message(PLAIN)),
        ("chat_64_escaped", Version::V1, chat_message(ESCAPED)),
        ("chat_64_v2", Version::V2, v2),
        ("chat_2000", Version::V1, chat_message(&PLAIN.repeat(32)[..2000])),
        ("receipt", Version::V1, r#"{"type":"read_receipt","message_id":123456}"#.to_owned()),
        ("receipt_other", Version::V1, r#"{"message_id":123456,"type":"read_receipt"}"#.to_owned()),
        ("typing", Version::V1, r#"{"type":"typing_indicator","is_typing":true}"#.to_owned()),
    ] {
        let mut group = c.benchmark_group(format!("decode/{name}"));
        group.throughput(Throughput::Elements(1));
        let mut buffer = text.clone().into_bytes();
        let mut decoder = Decoder::default();
        let rules = JsonRules::of(&Limits::DEFAULT, version);
        check_decoded(&text, &mut decoder, &rules);
        group.bench_function("loquat", |b| {
            b.iter(|| {
                buffer.copy_from_slice(black_box(text.as_bytes()));
                black_box(decoder.decode(&mut buffer, &rules).is_ok())
            });
        });
        for (peer, takes) in PEERS {
            assert!(takes(text.as_bytes()), "{peer} {text}");
            group.bench_function(peer, |b| {
                b.iter(|| {
                    buffer.copy_from_slice(black_box(text.as_bytes()));
                    takes(&buffer)
                });
            });
        }
        group.finish();
    }
}

/// Ours found what the peers find.
fn check_decoded(text: &str, decoder: &mut Decoder, rules: &JsonRules) {
    let mut bytes = text.to_owned().into_bytes();
    let Ok(Asked::Conversation(ours)) = decoder.decode(&mut bytes, rules) else {
        panic!("not taken: {text}");
    };
    let serde: Flat<'_> = serde_json::from_str(text).expect("JSON");
    let sonic: Flat<'_> = sonic_rs::from_str(text).expect("JSON");
    assert_eq!(ours.reference, serde.reference);
    for peer in [serde, sonic] {
        match &ours.command {
            Command::Send { content, client_msg_id, .. } => {
                assert_eq!(peer.content.as_ref(), Some(content));
                assert_eq!(&peer.client_msg_id, client_msg_id);
            }
            Command::Read { message } => assert_eq!(peer.message_id, Some(message.0)),
            Command::Typing { is_typing } => assert_eq!(peer.is_typing, Some(*is_typing)),
            other => panic!("{other:?}"),
        }
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
    for (name, content) in [("chat_64", PLAIN), ("chat_2000", &PLAIN.repeat(32)[..2000])] {
        let mut group = c.benchmark_group(format!("encode/{name}"));
        group.throughput(Throughput::Elements(1));
        let event = chat_event(content);
        check_encoded(&event);
        let mut out = Vec::with_capacity(64 * 1024);
        group.bench_function("loquat_frame", |b| {
            b.iter(|| {
                out.clear();
                json::event(&mut out, black_box(&event), None);
                black_box(out.len())
            });
        });
        group.bench_function("serde_json_reused", |b| {
            b.iter(|| {
                out.clear();
                serde_json::to_writer(&mut out, &typed(black_box(&event))).expect("JSON");
                black_box(out.len())
            });
        });
        group.bench_function("sonic_rs_reused", |b| {
            b.iter(|| {
                out.clear();
                sonic_rs::to_writer(&mut out, &typed(black_box(&event))).expect("JSON");
                black_box(out.len())
            });
        });
        group.bench_function("serde_json_new", |b| {
            b.iter(|| black_box(serde_json::to_vec(&typed(black_box(&event)))).map(|v| v.len()));
        });
        group.bench_function("sonic_rs_new", |b| {
            b.iter(|| black_box(sonic_rs::to_vec(&typed(black_box(&event)))).map(|v| v.len()));
        });
        group.finish();
    }
    let receipt =
        Signal::Read { message: MessageId(456), user: user(1), at: Wall(1_764_153_000_123) };
    c.bench_function("encode/receipt/loquat_frame", |b| {
        let mut out = Vec::with_capacity(1_024);
        b.iter(|| {
            out.clear();
            json::signal(&mut out, black_box(&receipt));
            black_box(out.len())
        });
    });
}

/// All sides write the same event.
fn check_encoded(event: &Event) {
    let mut frame = Vec::new();
    json::event(&mut frame, event, None);
    let ours: serde_json::Value =
        serde_json::from_slice(&frame[4..]).expect("JSON behind the head");
    let serde = serde_json::to_vec(&typed(event)).expect("JSON");
    let sonic = sonic_rs::to_vec(&typed(event)).expect("JSON");
    for theirs in [serde, sonic] {
        assert_eq!(ours, serde_json::from_slice::<serde_json::Value>(&theirs).expect("JSON"));
    }
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
