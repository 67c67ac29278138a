//! Frames: what RFC 6455 forbids and what the limits forbid ends the socket with the right code.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::raw::{BINARY, CLOSE, Frame, PING, PONG, TEXT, frame};
use crate::harness::{Raw, Server};

const CONTINUATION: u8 = 0x80;
const MORE_TEXT: u8 = 0x01;
const MORE: u8 = 0x00;

/// A frame's head with any length field, masked with zeros.
fn head(first: u8, second: u8, length: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | second][..], length, &[0; 4]].concat()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

fn many(count: usize, one: Vec<u8>) -> Vec<u8> {
    [frame(MORE_TEXT, b""), one.repeat(count)].concat()
}

/// These bytes end a fresh socket with this code.
async fn ends(server: &Server, what: &str, bytes: &[u8], code: u16) {
    let mut raw = server.raw_socket("1", 1).await;
    raw.write(bytes).await;
    let closed = raw.closed().await;
    assert_eq!(closed.as_ref().map(|c| c.0), Some(code), "{what}: {closed:?}");
    assert!(closed.is_some_and(|c| c.1.len() <= 32 && c.1.is_ascii()), "{what}");
}

#[tokio::test]
async fn broken_frames_are_protocol_errors() {
    let server = Server::start();
    let unmasked = [&[TEXT, 2][..], b"hi"].concat();
    let cases: [(&str, Vec<u8>); 25] = [
        ("unmasked", unmasked),
        ("RSV1", frame(TEXT | 0x40, b"hi")),
        ("RSV2", frame(TEXT | 0x20, b"hi")),
        ("RSV3", frame(TEXT | 0x10, b"hi")),
        ("RSV on a ping", frame(PING | 0x40, b"hi")),
        ("opcode 3", frame(0x83, b"hi")),
        ("opcode 7", frame(0x87, b"hi")),
        ("opcode 11", frame(0x8b, b"hi")),
        ("opcode 15", frame(0x8f, b"hi")),
        ("a ping of 126 bytes", frame(PING, &[0; 126])),
        ("a fragmented ping", frame(0x09, b"hi")),
        ("a fragmented close", frame(0x08, b"")),
        ("125 in two bytes", [head(TEXT, 126, &[0, 5]), b"12345".to_vec()].concat()),
        ("65535 in eight bytes", head(TEXT, 127, &65_535_u64.to_be_bytes())),
        ("5 in eight bytes", head(TEXT, 127, &5_u64.to_be_bytes())),
        ("a length of 2^63", head(TEXT, 127, &(1_u64 << 63).to_be_bytes())),
        ("a length of 2^63 + 1", head(TEXT, 127, &((1_u64 << 63) + 1).to_be_bytes())),
        ("a length of 2^64 - 1", head(TEXT, 127, &u64::MAX.to_be_bytes())),
        ("a continuation of nothing", frame(CONTINUATION, b"hi")),
        ("a text inside of a message", [frame(MORE_TEXT, b"a"), frame(TEXT, b"b")].concat()),
        ("a binary inside of a message", [frame(MORE_TEXT, b"a"), frame(BINARY, b"b")].concat()),
        ("a close of one byte", frame(CLOSE, &[3])),
        ("close code 999", close(999, b"")),
        ("close code 1005", close(1005, b"")),
        ("close code 1015", close(1015, b"")),
    ];
    for (what, bytes) in cases {
        ends(&server, what, &bytes, 1002).await;
    }
    for code in [0, 1004, 1006, 1016, 2999, 5000, 65535] {
        ends(&server, &format!("close code {code}"), &close(code, b""), 1002).await;
    }
}

#[tokio::test]
async fn bad_utf8_is_found_where_it_is() {
    let server = Server::start();
    let cases: [(&str, Vec<u8>); 9] = [
        ("a lone continuation byte", frame(TEXT, b"{\x80}")),
        ("an overlong slash", frame(TEXT, b"\xc0\xaf")),
        ("a surrogate", frame(TEXT, b"\xed\xa0\x80")),
        ("beyond U+10FFFF", frame(TEXT, b"\xf4\x90\x80\x80")),
        ("cut off", frame(TEXT, b"\xf0\x9f\x91")),
        ("in a first fragment", frame(MORE_TEXT, b"a\xff")),
        ("over fragments", [frame(MORE_TEXT, b"\xf0\x9f"), frame(MORE, b"a")].concat()),
        ("in half a frame", frame(TEXT, &[b'\xff'; 200])[..40].to_vec()),
        ("in a close reason", close(1000, b"\xff")),
    ];
    for (what, bytes) in cases {
        ends(&server, what, &bytes, 1007).await;
    }
    let mut raw = server.raw_socket("1", 1).await;
    // A character cut by a fragment's end is none of these.
    let text = "{\"type\":\"chat_message\",\"content\":\"👍\"}".as_bytes();
    for (at, byte) in text.iter().enumerate() {
        let first = if at == 0 { MORE_TEXT } else { MORE };
        let last = if at + 1 == text.len() { 0x80 } else { 0 };
        raw.write(&frame(first | last, &[*byte])).await;
    }
    assert!(raw.frame().await.expect("the message").text().contains('👍'));
}

/// Daphne CVE-2026-44545, fastwebsockets #100: a size is refused at the first head that is over it.
#[tokio::test]
async fn what_is_too_big_is_refused_before_it_comes() {
    let server = Server::start();
    let before = server.resident_bytes();
    let over = 65_537_u64;
    ends(&server, "65,537 bytes", &head(TEXT, 127, &over.to_be_bytes()), 1009).await;
    ends(&server, "1 TiB", &head(TEXT, 127, &(1_u64 << 40).to_be_bytes()), 1009).await;
    let half = frame(MORE_TEXT, &[b'a'; 40_000]);
    let rest = head(CONTINUATION, 126, &40_000_u16.to_be_bytes());
    ends(&server, "40,000 and 40,000 bytes", &[half, rest].concat(), 1009).await;
    // All of it sent: the code arrives all the same, though nobody reads the rest.
    ends(&server, "200 KiB", &frame(TEXT, &[b'a'; 200 * 1024]), 1009).await;
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    let mut raw = server.raw_socket("1", 1).await;
    raw.write(&frame(TEXT, &[b' '; 65_536])).await;
    let answer = raw.frame().await.expect("an answer").text();
    assert!(answer.contains("invalid_json"), "64 KiB are taken, and found to be no JSON: {answer}");
}

/// ws CVE-2026-48779.
#[tokio::test]
async fn a_message_has_at_most_sixty_four_fragments() {
    let server = Server::start();
    ends(&server, "65 empty fragments", &many(64, frame(MORE, b"")), 1008).await;
    ends(&server, "65 fragments", &many(64, frame(MORE, b"a")), 1008).await;
    let mut raw = server.raw_socket("1", 1).await;
    raw.write(&many(62, frame(MORE, b""))).await;
    raw.write(&frame(CONTINUATION, b"{}")).await;
    assert!(raw.frame().await.expect("an answer").text().contains("invalid"));
}

#[tokio::test]
async fn a_message_that_does_not_end_is_not_awaited_for_ever() {
    let server = Server::with(&[("limits.message_timeout_ms", "300")]);
    for begun in [frame(MORE_TEXT, b"{"), frame(TEXT, b"{\"type\":\"x\"}")[..7].to_vec()] {
        let mut raw = server.raw_socket("1", 1).await;
        let started = Instant::now();
        raw.write(&begun).await;
        assert_eq!(raw.closed().await, Some((1008, "message_too_slow".to_owned())));
        assert!(started.elapsed() >= Duration::from_millis(290));
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn a_close_is_answered_at_once_with_its_code() {
    let server = Server::start();
    for (sent, code) in [
        (close(1000, b"bye"), Some(1000)),
        (close(1001, b""), Some(1001)),
        (close(3000, b""), Some(3000)),
        (close(4999, b""), Some(4999)),
        (close(1000, &[b'r'; 123]), Some(1000)),
        (frame(CLOSE, b""), None),
    ] {
        let mut raw = server.raw_socket("1", 1).await;
        raw.write(&sent).await;
        let answer = raw.frame().await.expect("the close frame");
        assert_eq!(answer.first, CLOSE);
        // RFC 6455 §5.5.1: the status code is echoed. Without one, none or 1000.
        let told = answer.close().map(|c| c.0);
        assert!(told == code || (code.is_none() && told == Some(1000)), "{told:?} for {code:?}");
        assert_eq!(raw.frame().await, None, "nothing comes after a close");
    }
}

#[tokio::test]
async fn what_was_valid_before_a_broken_frame_is_answered() {
    let server = Server::start();
    let mut raw = server.raw_socket("1", 1).await;
    let good = frame(TEXT, b"{\"type\":\"chat_message\",\"content\":\"before\"}");
    raw.write(&[good, frame(PING, b"alive"), frame(0x83, b"")].concat()).await;
    let mut seen = Vec::new();
    let mut code = None;
    while let Some(frame) = raw.frame().await {
        code = frame.close().map(|c| c.0);
        seen.push(frame);
    }
    assert_eq!(code, Some(1002), "{seen:?}");
    assert!(seen.contains(&Frame { first: PONG, payload: b"alive".to_vec() }), "{seen:?}");
    // The message was taken: whoever comes later counts it.
    let mut client = server.join("1", &crate::harness::person(2)).await;
    client.send(json!({"type": "chat_message", "content": "second"})).await;
    // The first may still have been on its way to the disk when the second client came in.
    let mut message = client.expect("chat_message").await;
    if message["seq"] == 1 {
        message = client.expect("chat_message").await;
    }
    assert_eq!(message["seq"], 2);
}

#[tokio::test]
async fn pings_are_answered_and_pongs_are_not() {
    let server = Server::start();
    let mut raw = server.raw_socket("1", 1).await;
    for payload in [&b""[..], b"hello", &[0xff; 125]] {
        raw.write(&frame(PONG, b"unasked")).await;
        raw.write(&frame(PING, payload)).await;
        let answer = raw.frame().await.expect("the pong");
        assert_eq!(answer, Frame { first: PONG, payload: payload.to_vec() });
    }
    // Between fragments, too.
    raw.write(
        &[frame(MORE_TEXT, b"{"), frame(PING, b"between"), frame(CONTINUATION, b"}")].concat(),
    )
    .await;
    assert_eq!(raw.frame().await.expect("the pong").payload, b"between");
    assert!(raw.frame().await.expect("the error").text().contains("\"invalid\""));
}

/// More than are answered one by one: the newest is, and a flood that goes on ends the socket.
#[tokio::test]
async fn a_flood_of_pings_ends() {
    let server = Server::with(&[("limits.ping_flood_per_second", "50")]);
    let mut raw = server.raw_socket("1", 1).await;
    let burst: Vec<u8> = (0..40_u8).flat_map(|n| frame(PING, &[n])).collect();
    raw.write(&burst).await;
    let mut last = 0;
    while last != 39 {
        let pong = raw.frame().await.expect("a pong");
        assert_eq!(pong.first, PONG);
        last = pong.payload[0];
    }
    let started = Instant::now();
    let flood: Vec<u8> = (0..20_u8).flat_map(|n| frame(PING, &[n])).collect();
    while raw.write(&flood).await && started.elapsed() < Duration::from_secs(9) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(9), "it is never closed");
    assert!(took > Duration::from_secs(3), "closed after {took:?}");
    assert_eq!(raw.closed().await.map(|c| c.0), Some(1008));
}

/// Bytes one by one, and everything in one write: the same answers.
#[tokio::test]
async fn how_bytes_are_cut_does_not_matter() {
    let server = Server::start();
    let bytes = [
        frame(TEXT, b"{\"type\":\"chat_message\",\"content\":\"cut\"}"),
        frame(PING, b"p"),
        frame(TEXT, b"[]"),
    ]
    .concat();
    for (user, size) in [(1, 1), (2, 3), (3, 7), (4, bytes.len())] {
        let mut raw: Raw = server.raw_socket(&format!("cut-{user}"), user).await;
        for part in bytes.chunks(size) {
            raw.write(part).await;
        }
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(raw.frame().await.expect("an answer to each").text());
        }
        for part in ["\"cut\"", "p", "\"invalid\""] {
            let answered = answers.iter().any(|text| text.contains(part));
            assert!(answered, "{size} bytes at a time: {answers:?}");
        }
        for byte in close(1000, b"bye") {
            raw.write(&[byte]).await;
        }
        assert_eq!(raw.closed().await.map(|c| c.0), Some(1000), "{size} bytes at a time");
    }
}
