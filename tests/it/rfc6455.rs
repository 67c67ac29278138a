//! Clauses of RFC 6455 that no other module is about. docs/conformance.md lists all of them with their tests.

use crate::harness::raw::{CLOSE, Frame, PING, PONG, TEXT, request};
use crate::harness::{Raw, Server, person};

/// A frame with this key as its mask; `None`: unmasked.
fn masked(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let flag = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(flag | n as u8),
        n @ 126..=0xffff => {
            bytes.push(flag | 126);
            bytes.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            bytes.push(flag | 127);
            bytes.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    let key = mask.unwrap_or_default();
    bytes.extend(mask.into_iter().flatten());
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

async fn status(server: &Server, text: &str) -> Option<u16> {
    let mut raw = server.raw().await;
    raw.write(text.as_bytes()).await;
    raw.head().await.map(|head| head.status)
}

#[tokio::test]
async fn rfc6455_4_2_1_a_request_that_lacks_a_part_is_no_handshake() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    let whole = format!("{}\r\n", request(&path, &[]));
    assert_eq!(status(&server, &whole).await, Some(101));
    for part in ["Host", "Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"] {
        let told = status(&server, &format!("{}\r\n", request(&path, &[part]))).await;
        assert!(told.is_some_and(|status| status >= 400), "without {part}: {told:?}");
    }
    for (name, value) in [
        ("Upgrade", "h2c"),
        ("Upgrade", "websockets"),
        ("Connection", "keep-alive"),
        ("Connection", "upgraded"),
        ("Sec-WebSocket-Version", "0"),
        ("Sec-WebSocket-Version", ""),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZSE="),
    ] {
        let text = format!("{}{name}: {value}\r\n\r\n", request(&path, &[name]));
        let told = status(&server, &text).await;
        assert!(told.is_some_and(|status| status >= 400), "{name}: {value}: {told:?}");
    }
}

/// §9.1: what the server does not take up is not in use, so its bits stay forbidden (§5.2).
#[tokio::test]
async fn rfc6455_9_1_extensions_that_are_offered_are_not_taken_up() {
    let server = Server::start();
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame",
        "foo; bar=\"a, b\"",
    ] {
        let mut raw = server.raw().await;
        let path = server.path("1", &person(1));
        let text = format!("{}Sec-WebSocket-Extensions: {offer}\r\n\r\n", request(&path, &[]));
        raw.write(text.as_bytes()).await;
        let head = raw.head().await.expect("an answer");
        assert_eq!(head.status, 101, "{offer}: {}", head.text);
        assert_eq!(head.header("Sec-WebSocket-Extensions"), None, "{offer}");
        raw.write(&masked(TEXT | 0x40, Some([1, 2, 3, 4]), b"{}")).await;
        assert_eq!(raw.closed().await.map(|close| close.0), Some(1002), "{offer}");
    }
}

#[tokio::test]
async fn rfc6455_5_1_an_unmasked_frame_of_any_kind_closes() {
    let server = Server::start();
    let opcodes = [0x80, 0x00, TEXT, 0x01, 0x82, CLOSE, PING, PONG];
    for first in opcodes {
        for payload in [&b""[..], b"\x03\xe8", &[b'a'; 125], &[b'a'; 126]] {
            let mut raw = server.raw_socket("1", 1).await;
            raw.write(&masked(first, None, payload)).await;
            let closed = raw.closed().await.map(|close| close.0);
            assert_eq!(closed, Some(1002), "{first:#x} of {} bytes", payload.len());
        }
    }
}

#[tokio::test]
async fn rfc6455_5_2_each_form_of_a_length_is_taken_at_its_bounds() {
    let server = Server::start();
    let mut raw = server.raw_socket("1", 1).await;
    for bytes in [0, 1, 125] {
        let payload = vec![b'p'; bytes];
        raw.write(&masked(PING, Some([9; 4]), &payload)).await;
        assert_eq!(raw.frame().await, Some(Frame { first: PONG, payload }));
    }
    for bytes in [125, 126, 127, 65_535, 65_536] {
        raw.write(&masked(TEXT, Some([9; 4]), &vec![b' '; bytes])).await;
        let answer = raw.frame().await.expect("an answer").text();
        assert!(answer.contains("invalid_json"), "{bytes} bytes: {answer}");
    }
}

/// The answer holds what came, so it shows whether it was unmasked.
#[tokio::test]
async fn rfc6455_5_3_any_mask_is_undone_at_any_length() {
    let server = Server::start();
    let mut raw = server.raw_socket("1", 1).await;
    let masks = [[0; 4], [0xff; 4], [1, 2, 3, 4], [0, 0, 0, 1], *b"\x81\x88\x7b\x22"];
    for mask in masks {
        for length in (0..=17).chain([31, 32, 33, 63, 64, 65, 124, 125]) {
            let payload: Vec<u8> = (0..length).map(|n| n ^ 0x5a).collect();
            raw.write(&masked(PING, Some(mask), &payload)).await;
            let answer = raw.frame().await.expect("the pong");
            assert_eq!(answer, Frame { first: PONG, payload }, "{mask:?}, {length} bytes");
        }
    }
}

/// §5.5.1, §7.1.1: one close frame back, nothing behind it, and the server ends the connection, though
/// others go on talking to the room and the client does not hang up.
#[tokio::test]
async fn rfc6455_5_5_1_after_a_close_nothing_comes_but_the_end() {
    let server = Server::start();
    let mut other = server.join("1", &person(2)).await;
    for round in 0..8 {
        let mut raw: Raw = server.raw_socket("1", 1).await;
        let bye = masked(CLOSE, Some([7, 7, 7, 7]), b"\x03\xe8bye");
        // What comes behind it must not be looked at.
        let late = masked(TEXT, Some([7; 4]), br#"{"type":"chat_message","content":"too late"}"#);
        raw.write(&[bye, late].concat()).await;
        other.say(&format!("others go on talking, {round}")).await;
        let mut is_closed = false;
        while let Some(frame) = raw.frame().await {
            assert!(!is_closed, "{frame:?} behind the close frame");
            is_closed = frame.first == CLOSE;
            assert!(!is_closed || frame.close().is_some_and(|close| close.0 == 1000));
        }
        assert!(is_closed, "no close frame came");
    }
}
