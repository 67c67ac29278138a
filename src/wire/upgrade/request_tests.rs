//! Heads as tables: what opens a socket, what goes to HTTP, what is refused with which status.

use std::time::{Duration, Instant};

use super::*;
use crate::model::ConversationId;
use crate::model::{Epoch, Seq};
use crate::wire::upgrade::{EchoLimits, HeadProgress, HeadReader};

const GOOD: &str = "Host: chat.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const LINE: &str = "GET /ws/chat/77/?token=a.b.c HTTP/1.1\r\n";

/// What the server makes of these bytes; the reader may already refuse them.
fn outcome(head: &[u8]) -> Result<Head, Refused> {
    let limits = Limits::DEFAULT;
    match HeadReader::new(limits.handshake_bytes).push(head)? {
        HeadProgress::Complete(bytes) => parse(&bytes, &limits),
        HeadProgress::NeedMore => panic!("the head is not whole"),
    }
}

fn upgrade(line: &str, headers: &str) -> UpgradeRequest {
    match outcome(format!("{line}{headers}\r\n").as_bytes()) {
        Ok(Head::Upgrade(request)) => *request,
        other => panic!("{line}{headers}: {other:?}"),
    }
}

fn status(head: &[u8]) -> u16 {
    match outcome(head) {
        Ok(Head::Upgrade(_)) => 101,
        Ok(Head::Plain) => 200,
        Err(refused) => refused.status(),
    }
}

/// The good request with one thing replaced.
fn check_replaced(from: &str, to: &str, expected: u16) {
    let good = format!("{LINE}{GOOD}\r\n");
    assert!(good.contains(from), "{from}");
    let head = good.replacen(from, to, 1);
    assert_eq!(status(head.as_bytes()), expected, "{head:?}");
}

/// The good request with a header more.
fn check_added(header: &[u8], expected: u16) {
    let head = [LINE.as_bytes(), GOOD.as_bytes(), header, b"\r\n\r\n"].concat();
    assert_eq!(status(&head), expected, "{}", header.escape_ascii());
}

#[test]
fn a_good_request_is_read_in_full() {
    let more = "Origin: https://app.example.com\r\nX-Forwarded-For: 1.2.3.4, 10.0.0.1\r\n\
                X-Real-IP: 1.2.3.4\r\nx-forwarded-for: 10.0.0.2\r\n";
    let line = "GET /ws/chat/77/?v=2&since=41&epoch=9f3c61d2&token=a%2Eb HTTP/1.1\r\n";
    let found = upgrade(line, &format!("{GOOD}{more}"));
    let expected = UpgradeRequest {
        path: Path::Chat { conversation: ConversationId::from_number(77).unwrap() },
        version: Version::V2,
        token: TokenField::new("a.b"),
        resume: Some(ResumeFrom { since: Seq(41), epoch: Some(Epoch(0x9f3c_61d2)) }),
        subprotocol: Subprotocol::None,
        key: WebSocketKey::parse("dGhlIHNhbXBsZSBub25jZQ==").unwrap(),
        host: "chat.example.com".to_owned(),
        origin: Some("https://app.example.com".to_owned()),
        x_forwarded_for: Some("1.2.3.4, 10.0.0.1,10.0.0.2".to_owned()),
        x_real_ip: Some("1.2.3.4".to_owned()),
    };
    assert_eq!(found, expected);
    let echo = upgrade("GET /ws/echo?limits=serve HTTP/1.1\r\n", GOOD);
    assert_eq!(echo.path, Path::Echo(EchoLimits::Serve));
}

#[test]
fn an_upgrade_is_recognised_in_all_its_spellings() {
    check_replaced("Upgrade: websocket", "UPGRADE:WebSocket", 101);
    check_replaced("Upgrade: websocket", "Upgrade: h2c,\t websocket ", 101);
    check_replaced("Connection: Upgrade", "connection: keep-alive, UPGRADE", 101);
    check_replaced("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade", 101);
    check_replaced("Sec-WebSocket-Version", "sec-websocket-version", 101);
    check_replaced("Version: 13", "Version:\t13\t", 101);
    check_added(b"Content-Length: 0", 101);
    check_added(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", 101);
    check_added(b"User-Agent: \xc3\xa9t\xe9", 101); // not text, and nothing to us
    check_added(b"X-Empty:", 101);
}

#[test]
fn what_is_no_upgrade_goes_to_http() {
    let plain = |head: &str| assert_eq!(status(head.as_bytes()), 200, "{head:?}");
    plain("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    plain("GET /health HTTP/1.0\r\n\r\n");
    plain("HEAD /api/x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n");
    plain("OPTIONS * HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\n\r\n");
    plain("POST /api/x HTTP/1.1\r\nHost: a\r\n\r\n");
    plain("GET /ws/chat/1/ HTTP/1.1\r\nHost: a\r\n\r\n");
    plain("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n");
}

#[test]
fn broken_upgrades_are_refused() {
    check_replaced("GET", "POST", 400);
    check_replaced("HTTP/1.1", "HTTP/1.0", 400);
    check_replaced("HTTP/1.1", "HTTP/2.0", 400);
    check_replaced("Host: chat.example.com\r\n", "", 400);
    check_replaced("Upgrade: websocket\r\n", "", 400);
    check_replaced("Connection: Upgrade\r\n", "", 400);
    check_replaced("Connection: Upgrade", "Connection: upgraded", 400);
    check_replaced("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400);
    check_replaced("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", 400);
    check_replaced("Version: 13", "Version: 8", 426);
    check_replaced("Version: 13", "Version: 013", 426);
    check_replaced("Sec-WebSocket-Version: 13\r\n", "", 426);
    check_replaced("/ws/chat/77/", "/ws/chat/01/", 404);
    check_replaced("/ws/chat/77/", "/elsewhere/", 404);
    check_replaced("?token", "?v=9&token", 400);
    check_replaced("/ws/chat/77/", "/ws/chat/\u{e9}/", 404);
}

#[test]
fn what_two_parsers_could_read_in_two_ways_is_refused() {
    for doubled in [
        "Host: chat.example.com",
        "HOST: other",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Origin: https://a\r\nOrigin: https://a",
        "Content-Length: 0\r\nContent-Length: 0",
        "Authorization: Bearer a\r\nAuthorization: Bearer b",
    ] {
        check_added(doubled.as_bytes(), 400);
    }
    check_added(b"Content-Length: 5", 413);
    check_added(b"Content-Length: +0", 400);
    check_added(b"Content-Length: 0, 0", 400);
    check_added(b"Content-Length:", 400);
    check_added(b"Content-Length: 99999999999999999999999999", 413);
    check_added(b"Transfer-Encoding: chunked", 400);
    check_added(b"Transfer-Encoding: identity", 400);
    check_added(b"transfer-encoding:", 400);
    check_added(b"Folded: a\r\n b", 400);
    check_added(b"Folded: a\r\n\tb", 400);
    check_added(b"Space : a", 400);
    check_added(b"Tab\t: a", 400);
    check_added(b" Leading: a", 400);
    check_added(b": nameless", 400);
    check_added(b"no colon", 400);
    check_added(b"X: bare\nLF: b", 400);
    check_added(b"X: bare\rCR: b", 400);
    check_added(b"X: \0", 400);
    // Daphne CVE-2026-44546.
    for control in [0x0b, 0x0c, 0x1c, 0x1d, 0x1e, 0x85] {
        check_added(&[b"X: a", &[control][..], b"Y: b"].concat(), 400);
    }
    // The same for requests that are no upgrade.
    for header in ["Content-Length: 5", "Transfer-Encoding: chunked", "Host: b", "A : b"] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
        assert!(matches!(status(head.as_bytes()), 400 | 413), "{head:?}");
    }
}

#[test]
fn bytes_that_are_no_text_never_panic() {
    // Granian CVE-2026-42544.
    for name in ["Origin", "Authorization", "X-Forwarded-For", "X-Real-IP", "Connection"] {
        check_added(&[name.as_bytes(), b": \xff\xfe"].concat(), 400);
    }
    check_added(b"Sec-WebSocket-Protocol: loquat, bearer.\xc3\x28", 400);
    check_added(b"Cookie: \xff\xfe", 101);
    check_added(b"\xff\xfe: a", 400);
    for byte in 0..=255 {
        let head = [b"GET /ws/chat/", &[byte][..], b" HTTP/1.1\r\n", GOOD.as_bytes(), b"\r\n"];
        let in_an_id = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let expected: &[u16] = if in_an_id { &[101] } else { &[400, 404] };
        let found = status(&head.concat());
        assert!(expected.contains(&found), "{byte:02x}: {found}");
    }
}

#[test]
fn the_token_comes_from_the_query_the_header_or_the_subprotocol() {
    let check = |query: &str, headers: &str, token: TokenField, subprotocol: Subprotocol| {
        let line = format!("GET /ws/chat/77/{query} HTTP/1.1\r\n");
        let found = upgrade(&line, &format!("{GOOD}{headers}"));
        assert_eq!((found.token, found.subprotocol), (token, subprotocol), "{query} {headers}");
    };
    let bearer = "Authorization: Bearer header\r\n";
    let pair = "Sec-WebSocket-Protocol: loquat, bearer.pro.to.col\r\n";
    check("", "", TokenField::Missing, Subprotocol::None);
    check("?token=query", bearer, TokenField::new("query"), Subprotocol::None);
    check("?token=", bearer, TokenField::new("header"), Subprotocol::None);
    check("", bearer, TokenField::new("header"), Subprotocol::None);
    check("", "authorization: bearer  header\r\n", TokenField::new("header"), Subprotocol::None);
    check("", "Authorization: Basic abc\r\n", TokenField::Missing, Subprotocol::None);
    check("", "Authorization: Bearer\r\n", TokenField::Missing, Subprotocol::None);
    check("", pair, TokenField::new("pro.to.col"), Subprotocol::Loquat);
    check("?token=query", pair, TokenField::new("query"), Subprotocol::Loquat);
    let two_lines = "Sec-WebSocket-Protocol: bearer.a\r\nSec-WebSocket-Protocol: loquat\r\n";
    check("", two_lines, TokenField::new("a"), Subprotocol::Loquat);
    check("", "Sec-WebSocket-Protocol: bearer.a\r\n", TokenField::Missing, Subprotocol::None);
    check("", "Sec-WebSocket-Protocol: graphql-ws\r\n", TokenField::Missing, Subprotocol::None);
    check("?token=%ff", bearer, TokenField::Unreadable, Subprotocol::None);
    check(&format!("?token={}", "x".repeat(4097)), "", TokenField::Unreadable, Subprotocol::None);
}

#[test]
fn a_request_shown_hides_its_token() {
    let headers = format!("{GOOD}Sec-WebSocket-Protocol: loquat, bearer.s3cret\r\n");
    let in_query = upgrade("GET /ws/chat/77/?token=s3cret HTTP/1.1\r\n", &headers);
    let in_protocol = upgrade("GET /ws/chat/77/ HTTP/1.1\r\n", &headers);
    for request in [in_query, in_protocol] {
        let shown = format!("{request:?}");
        assert!(shown.contains("TokenText(6 bytes)") && !shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn too_much_is_431() {
    // ws CVE-2024-37890: 2,000 headers.
    check_added("a:b\r\n".repeat(2_000).trim_end().as_bytes(), 431);
    check_added("a:\r\n".repeat(1_500).trim_end().as_bytes(), 431);
    check_added("a:b\r\n".repeat(64 - 5).trim_end().as_bytes(), 101);
    check_added("a:b\r\n".repeat(64 - 4).trim_end().as_bytes(), 431);
    check_added(format!("a: {}", "x".repeat(8 * 1024)).as_bytes(), 431);
}

#[test]
#[cfg_attr(miri, ignore = "it measures time")]
fn seven_kib_of_spaces_cost_next_to_nothing() {
    // ws CVE-2021-32640. The bound is 1 ms in production; a debug build on a busy machine gets 20.
    let spaces = " ".repeat(7 * 1024);
    for header in [
        format!("Sec-WebSocket-Protocol: a{spaces}b"),
        format!("Sec-WebSocket-Protocol:{spaces}loquat"),
        format!("Sec-WebSocket-Protocol: {}", ",".repeat(7 * 1024)),
        format!("Connection: x{spaces},"),
    ] {
        let fastest = (0..5).map(|_| {
            let start = Instant::now();
            check_added(header.as_bytes(), 101);
            start.elapsed()
        });
        assert!(fastest.min() < Some(Duration::from_millis(20)));
    }
}
