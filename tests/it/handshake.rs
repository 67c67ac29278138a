//! The request that opens a socket: what is let in, and the plain HTTP answer to everything else.

use std::time::{Duration, Instant};

use crate::harness::raw::{Head, TEXT, frame, request};
use crate::harness::{Raw, Server, person};

/// Writes this, and reads the head of the answer.
async fn answer(server: &Server, bytes: &[u8]) -> Option<Head> {
    let mut raw = server.raw().await;
    raw.write(bytes).await;
    raw.head().await
}

async fn check(server: &Server, text: &str, allowed: &[u16]) {
    let head = answer(server, text.as_bytes()).await;
    let status = head.as_ref().map_or(0, |head| head.status);
    let shown: String = text.chars().take(300).collect();
    assert!(allowed.contains(&status), "expected {allowed:?}, got {head:?} for\n{shown}");
}

/// A good request with more lines.
fn with(path: &str, lines: &str) -> String {
    format!("{}{lines}\r\n", request(path, &[]))
}

#[tokio::test]
async fn paths_and_ids() {
    let server = Server::start();
    let token = server.token(&person(1));
    let longest = "c".repeat(64);
    let good = ["1", "77", "9007199254740991", "general", "A-b_9", "0", "1a", &longest];
    for id in good {
        for slash in ["/", ""] {
            check(&server, &with(&format!("/ws/chat/{id}{slash}?token={token}"), ""), &[101]).await;
        }
    }
    let too_long = "c".repeat(65);
    let bad = ["", "007", "00", "9007199254740992", "a.b", "a%20b", "a/b", "é", "..", &too_long];
    for id in bad {
        let text = with(&format!("/ws/chat/{id}/?token={token}"), "");
        // Bytes that no path may have are malformed, the rest is no conversation.
        check(&server, &text, &[404, 400]).await;
    }
    for path in ["/ws/", "/ws/chat", "/ws/chat/", "/nowhere", "/ws/chats/1/", "//ws/chat/1/"] {
        check(&server, &with(&format!("{path}?token={token}"), ""), &[404]).await;
    }
}

#[tokio::test]
async fn the_accept_key_is_the_one_of_the_rfc() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    let head = answer(&server, with(&path, "").as_bytes()).await.expect("an answer");
    assert_eq!(head.status, 101);
    // RFC 6455 §1.3: the answer to the sample nonce.
    assert_eq!(head.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(head.header("Upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket")));
    assert!(head.header("Connection").is_some_and(|v| v.eq_ignore_ascii_case("upgrade")));
    assert_eq!(head.header("Sec-WebSocket-Protocol"), None);
    assert_eq!(head.header("Sec-WebSocket-Extensions"), None);
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    let without = |name: &str| format!("{}\r\n", request(&path, &[name]));
    let instead = |name: &str, lines: &str| format!("{}{lines}\r\n", request(&path, &[name]));
    let more = |lines: &str| with(&path, lines);
    let cases = [
        without("Host"),
        without("Sec-WebSocket-Key"),
        instead("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ=\r\n"),
        instead("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n"),
        more("Host: other.test\r\n"),
        more("Origin: http://chat.test\r\nOrigin: http://chat.test\r\n"),
        more("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        more("Sec-WebSocket-Version: 13\r\n"),
        more("X-Folded: a\r\n b\r\n"),
        more("X-Space : a\r\n"),
        more(" X-Early: a\r\n"),
        more("X-Bare: a\nX-More: b\r\n"),
        more("X-Return: a\rb\r\n"),
        more("No colon here\r\n"),
        more(": no name\r\n"),
        more("Transfer-Encoding: chunked\r\n"),
        more("Transfer-Encoding: identity\r\n"),
        request(&path, &[]).replace("\r\n", "\n") + "\n",
        request(&path, &[]).replace("HTTP/1.1", "HTTP/1.0") + "\r\n",
        request(&path, &[]).replace("GET", "get") + "\r\n",
        "\r\n\r\n\r\n".to_owned() + &more(""),
        "\u{16}\u{3}\u{1} this is TLS\r\n\r\n".to_owned(),
    ];
    for text in cases {
        // 405 and 505 say the same of a method and a version.
        check(&server, &text, &[400, 405, 501, 505]).await;
    }
    check(&server, &more("Content-Length: 5\r\n"), &[400, 413]).await;
    check(&server, &more("Content-Length: -1\r\n"), &[400]).await;
    // What is odd and harmless is let in.
    check(&server, &more("Content-Length: 0\r\n"), &[101]).await;
    check(&server, &more("X-Empty:\r\nx-tab:\ta\t\r\n"), &[101]).await;
    let upper = request(&path, &["Upgrade", "Connection"]);
    let lines = "UPGRADE: WebSocket\r\nconnection: keep-alive, Upgrade\r\n";
    check(&server, &format!("{upper}{lines}\r\n"), &[101]).await;
}

/// Daphne CVE-2026-44546: bytes that Python takes for line ends split headers. Granian
/// CVE-2026-42544: bytes that are no text.
#[tokio::test]
async fn control_bytes_split_nothing() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    for byte in (0..=0x1f_u8).filter(|b| !b"\t\r\n".contains(b)).chain([0x7f]) {
        let mut text = request(&path, &[]).into_bytes();
        text.extend_from_slice(b"X-Split: a");
        text.push(byte);
        text.extend_from_slice(b"Evil: b\r\n\r\n");
        let head = answer(&server, &text).await.unwrap_or_else(|| panic!("{byte:#x}: no answer"));
        assert_eq!(head.status, 400, "byte {byte:#x}: {}", head.text);
    }
    for bytes in [&b"\xc2\x85"[..], b"\x85", b"\xff\xfe", b"\x80"] {
        for name in ["X-Odd", "Origin", "Authorization", "Sec-WebSocket-Protocol"] {
            let mut text = request("/ws/chat/1/", &[]).into_bytes();
            text.extend_from_slice(format!("{name}: ").as_bytes());
            text.extend_from_slice(bytes);
            text.extend_from_slice(b"\r\n\r\n");
            let head = answer(&server, &text).await.expect("an answer");
            assert!([101, 400, 401, 403].contains(&head.status), "{name}: {}", head.text);
        }
    }
}

#[tokio::test]
async fn another_version_is_told_which_one() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    for version in ["12", "8", "14", "013", "13, 8"] {
        let text = format!(
            "{}Sec-WebSocket-Version: {version}\r\n\r\n",
            request(&path, &["Sec-WebSocket-Version"])
        );
        let head = answer(&server, text.as_bytes()).await.expect("an answer");
        assert!([426, 400].contains(&head.status), "{version}: {}", head.text);
        if version == "12" {
            assert_eq!((head.status, head.header("Sec-WebSocket-Version")), (426, Some("13")));
        }
    }
}

/// ws CVE-2024-37890 and CVE-2021-32640.
#[tokio::test]
async fn heads_have_a_size() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    let headers = |count: usize| (0..count).map(|n| format!("X-{n}: a\r\n")).collect::<String>();
    check(&server, &with(&path, &headers(59)), &[101]).await;
    check(&server, &with(&path, &headers(60)), &[431]).await;
    check(&server, &with(&path, &headers(2_000)), &[431]).await;
    let filled = |bytes: usize| {
        let rest = bytes - with(&path, "X: \r\n").len();
        with(&path, &format!("X: {}\r\n", "a".repeat(rest)))
    };
    check(&server, &filled(8 * 1024), &[101]).await;
    check(&server, &filled(8 * 1024 + 1), &[431]).await;
    check(&server, &filled(80 * 1024), &[431]).await;
    let started = Instant::now();
    let spaces = format!("Sec-WebSocket-Protocol: a{}b\r\n", " ".repeat(7 * 1024 - 300));
    check(&server, &with(&path, &spaces), &[101, 400]).await;
    assert!(started.elapsed() < Duration::from_millis(500));
}

/// tungstenite CVE-2023-43669: a head that comes byte by byte is not read again from its start.
#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    let text = with(&path, &format!("X: {}\r\n", "a".repeat(1_000)));
    let mut raw = server.raw().await;
    for byte in text.as_bytes() {
        raw.write(&[*byte]).await;
    }
    assert_eq!(raw.head().await.map(|head| head.status), Some(101));
}

#[tokio::test]
async fn a_head_that_does_not_end_is_not_awaited_for_ever() {
    let server = Server::with(&[("limits.handshake_timeout_ms", "300")]);
    for begun in ["", "GET /ws/chat/1/ HTTP/1.1\r\nHost: a\r\n"] {
        let mut raw = server.raw().await;
        let started = Instant::now();
        raw.write(begun.as_bytes()).await;
        let head = raw.head().await;
        // Who has said nothing may be closed without a word.
        let told = head.as_ref().map(|head| head.status);
        assert!(told == Some(408) || (told.is_none() && begun.is_empty()), "{head:?}");
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(290), "after {took:?}");
        assert!(took < Duration::from_secs(3), "after {took:?}");
    }
}

#[tokio::test]
async fn an_upgrade_follows_no_other_request() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    let text = format!("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n{}", with(&path, ""));
    let mut raw = server.raw().await;
    raw.write(text.as_bytes()).await;
    let all = String::from_utf8_lossy(&raw.rest().await).into_owned();
    assert!(all.starts_with("HTTP/1.1 200"), "{all}");
    assert!(!all.contains("101 "), "{all}");
    // A body that holds a request is none.
    let body = with(&path, "");
    let text =
        format!("POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut raw = server.raw().await;
    raw.write(text.as_bytes()).await;
    let all = String::from_utf8_lossy(&raw.rest().await).into_owned();
    assert!(!all.contains("101 ") && all.starts_with("HTTP/1.1 4"), "{all}");
}

#[tokio::test]
async fn frames_right_behind_the_request_are_taken() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    let mut bytes = with(&path, "").into_bytes();
    for n in 0..3 {
        let text = format!("{{\"type\":\"chat_message\",\"content\":\"early {n}\"}}");
        bytes.extend(frame(TEXT, text.as_bytes()));
    }
    let mut raw: Raw = server.raw().await;
    raw.write(&bytes).await;
    assert_eq!(raw.head().await.map(|head| head.status), Some(101));
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let text = raw.frame().await.expect("a frame").text();
        seen.extend(text.find("early ").map(|at| text[at..at + 7].to_owned()));
    }
    assert_eq!(seen, ["early 0", "early 1", "early 2"]);
}

#[tokio::test]
async fn origins_are_checked() {
    let server = Server::with(&[("allowed_origins", "https://chat.example.org")]);
    let path = server.path("1", &person(1));
    let cases = [
        ("", 101),
        ("http://chat.test", 101),
        ("https://chat.test", 101),
        ("https://chat.example.org", 101),
        // The guide's React development server, since this one listens on loopback.
        ("http://localhost:3000", 101),
        ("http://127.0.0.1:5173", 101),
        ("http://[::1]:5173", 101),
        ("null", 403),
        ("https://evil.example.org", 403),
        ("https://chat.example.org.evil.test", 403),
        ("https://chat.example.org:444", 403),
        ("http://chat.test:81", 403),
        ("http://localhost.evil.test", 403),
        ("file://", 403),
        ("chat.test", 403),
    ];
    for (origin, status) in cases {
        let line = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let head = answer(&server, with(&path, &line).as_bytes()).await.expect("an answer");
        let same = head.status == status || (status == 403 && head.status == 400);
        assert!(same, "{origin}: {} instead of {status}", head.status);
    }
}

#[tokio::test]
async fn plain_requests_have_plain_answers() {
    let server = Server::start();
    for (request, status) in [
        ("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("POST /livez HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        // The page is the demo's alone.
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /admin/conversations HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET /ws/echo HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ] {
        let mut raw = server.raw().await;
        raw.write(request.as_bytes()).await;
        let head = raw.head().await.expect("an answer");
        assert_eq!(head.status, status, "{request}");
        raw.rest().await;
    }
    check(&server, &with("/ws/echo", ""), &[404]).await;
}
