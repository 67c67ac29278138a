//! What other servers and libraries got wrong, each by its name, against the running server.

use std::time::{Duration, Instant};

use loquat::limits::{KEPT_BYTES_MAX, Limits};
use serde_json::{Value, json};

use crate::harness::raw::{BINARY, CLOSE, TEXT, frame, request};
use crate::harness::token::{now_s, signed};
use crate::harness::{Raw, Server, all_settled, person};

const MORE: u8 = 0x00;
const MORE_TEXT: u8 = 0x01;

fn head(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | 127];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// A fresh socket that sends this ends with this code, and somebody else is served afterwards.
async fn closes(server: &Server, bytes: &[u8], code: u16) {
    let mut raw = server.raw_socket("1", 1).await;
    raw.write(bytes).await;
    assert_eq!(raw.closed().await.map(|closed| closed.0), Some(code));
    server.join("1", &person(2)).await.quiet().await;
}

async fn answers(server: &Server, head: &[u8]) -> u16 {
    let mut raw = server.raw().await;
    raw.write(head).await;
    raw.head().await.map_or(0, |head| head.status)
}

#[tokio::test]
async fn daphne_cve_2026_44545_a_message_has_a_limit() {
    let server = Server::start();
    server.join("1", &person(9)).await.close().await;
    let before = server.resident_bytes();
    for _ in 0..20 {
        closes(&server, &frame(TEXT, &[b'a'; 65_537]), 1009).await;
    }
    let most = Limits::DEFAULT.socket_bytes_max() + KEPT_BYTES_MAX;
    super::bounded(&server, "65,537 bytes", before, most);
}

#[tokio::test]
async fn daphne_cve_2026_44546_control_bytes_split_no_header() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    for byte in [0x0b, 0x0c, 0x1c, 0x1d, 0x1e, 0x85, 0x00, 0x7f] {
        for place in ["X-Split", "Origin", "Sec-WebSocket-Protocol"] {
            let mut text = request(&path, &[]).into_bytes();
            text.extend_from_slice(format!("{place}: a").as_bytes());
            text.push(byte);
            text.extend_from_slice(b"Evil: b\r\n\r\n");
            assert_eq!(answers(&server, &text).await, 400, "{byte:#x} in {place}");
        }
    }
}

#[tokio::test]
async fn nats_cve_2026_27889_a_length_of_64_bits_overflows_nothing() {
    let mut server = Server::start();
    for length in [(1 << 63) + 1, 1 << 63, u64::MAX, u64::MAX - 13] {
        closes(&server, &head(TEXT, length), 1002).await;
    }
    for length in [(1 << 63) - 1, 1 << 62, u64::from(u32::MAX) + 1] {
        closes(&server, &head(BINARY, length), 1009).await;
    }
    assert!(server.is_running());
}

#[tokio::test]
async fn ws_cve_2026_48779_a_flood_of_fragments_ends() {
    let server = Server::start();
    for fragment in [&b""[..], b"a"] {
        let flood = [frame(MORE_TEXT, fragment), frame(MORE, fragment).repeat(64)].concat();
        closes(&server, &flood, 1008).await;
    }
}

#[tokio::test]
async fn ws_cve_2024_37890_two_thousand_headers_are_too_many() {
    let server = Server::start();
    let many: String = (0..2_000).map(|n| format!("X-{n}: a\r\n")).collect();
    let text = format!("{}{many}\r\n", request(&server.path("1", &person(1)), &[]));
    assert_eq!(answers(&server, text.as_bytes()).await, 431);
}

/// Cost is what counts: a backtracking reader needs minutes for a hundred of these.
#[tokio::test]
async fn ws_cve_2021_32640_spaces_in_a_protocol_header_cost_nothing() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    let spaces = " ".repeat(7 * 1024 - path.len());
    let text = format!("{}Sec-WebSocket-Protocol: a{spaces}b\r\n\r\n", request(&path, &[]));
    let before = server.cpu();
    for _ in 0..20 {
        let status = answers(&server, text.as_bytes()).await;
        assert!([101, 400].contains(&status), "{status}");
    }
    let used = server.cpu() - before;
    assert!(used < Duration::from_secs(1), "{used:?} of CPU for 20 heads");
}

#[tokio::test]
async fn granian_cve_2026_42544_bytes_that_are_no_text_end_nothing() {
    let mut server = Server::start();
    for name in [
        "X-Odd",
        "Host",
        "Origin",
        "Authorization",
        "Cookie",
        "Sec-WebSocket-Protocol",
        "X-Forwarded-For",
    ] {
        let mut text = request("/ws/chat/1/", &[name]).into_bytes();
        text.extend_from_slice(format!("{name}: \u{0}").trim_end_matches('\u{0}').as_bytes());
        text.extend_from_slice(b"\xff\xfe\xc3\x28\r\n\r\n");
        let status = answers(&server, &text).await;
        assert!([101, 400, 401, 403].contains(&status), "{name}: {status}");
    }
    assert!(server.is_running());
}

/// `wire::upgrade::head_reader` counts its looks at each byte; from outside it is the CPU that tells.
#[tokio::test]
async fn tungstenite_cve_2023_43669_a_head_is_not_read_again_for_each_byte() {
    let server = Server::start();
    let path = server.path("1", &person(1));
    let filled = |bytes: usize| {
        let rest = bytes - request(&path, &[]).len() - "X: \r\n\r\n".len();
        format!("{}X: {}\r\n\r\n", request(&path, &[]), "a".repeat(rest))
    };
    for bytes in [4 * 1024, 8 * 1024] {
        let mut raw = server.raw().await;
        let before = server.cpu();
        for byte in filled(bytes).as_bytes() {
            raw.write(&[*byte]).await;
        }
        assert_eq!(raw.head().await.map(|head| head.status), Some(101), "{bytes} bytes");
        let used = server.cpu() - before;
        println!("{bytes} bytes one by one: {used:?} of CPU");
        assert!(used < Duration::from_secs(3), "{used:?} of CPU for {bytes} bytes");
    }
}

#[tokio::test]
async fn engine_io_cve_2022_21676_reserved_bits_are_an_error() {
    let server = Server::start();
    for bits in [0x10, 0x20, 0x30, 0x40, 0x70] {
        closes(&server, &frame(TEXT | bits, b"hi"), 1002).await;
    }
}

#[tokio::test]
async fn fastwebsockets_100_fragments_have_a_total() {
    let server = Server::start();
    let mut raw = server.raw_socket("1", 1).await;
    raw.write(&frame(MORE_TEXT, &[b'a'; 60_000])).await;
    // Refused at the head: not a byte of its payload was sent.
    raw.write(&[MORE, 0x80 | 126, 0x20, 0x00, 0, 0, 0, 0]).await;
    assert_eq!(raw.closed().await.map(|closed| closed.0), Some(1009));
}

#[tokio::test]
async fn fastwebsockets_0_10_unmasked_and_overlong_frames_are_errors() {
    let server = Server::start();
    closes(&server, b"\x81\x02hi", 1002).await;
    closes(&server, b"\x88\x00", 1002).await;
    closes(&server, &[TEXT, 0x80 | 126, 0, 2, 0, 0, 0, 0, b'h', b'i'], 1002).await;
    closes(&server, &[head(TEXT, 2), b"hi".to_vec()].concat(), 1002).await;
}

fn claims(user: u64) -> Value {
    json!({"token_type": "access", "exp": now_s() + 600, "jti": "j", "user_id": user})
}

async fn refused(server: &Server, token: &str) {
    let mut client = server.connect(&format!("/ws/chat/1/?token={token}")).await;
    client.closed_with(4001, "token_invalid").await;
}

/// What an unverified token says leads nowhere: no file is opened, nobody is asked, nothing is kept for a `kid`.
#[tokio::test]
async fn centrifugo_cve_2026_32301_and_49998_nothing_follows_from_an_unverified_token() {
    let server = Server::start();
    let wrong = "not-the-secret-of-this-server-0123456789abcdef";
    let before = server.descriptors();
    for kid in ["../../../etc/passwd", "http://127.0.0.1:1/keys", "k' OR '1'='1", "k"] {
        let header =
            json!({"alg": "HS256", "typ": "JWT", "kid": kid, "jku": "http://127.0.0.1:1/"});
        // The first by the right key, had the kid been one; then a forged one with the same kid.
        for secret in [crate::harness::token::SECRET, wrong, wrong] {
            let mut client = server
                .connect(&format!("/ws/chat/1/?token={}", signed(&header, &claims(1), secret)))
                .await;
            let (code, _) = client.closed().await;
            assert_eq!(code, 4001, "{kid}");
        }
    }
    assert!(server.descriptors() <= before + 4, "something was opened for it");
    server.join("1", &person(1)).await.quiet().await;
}

#[tokio::test]
async fn jsonwebtoken_cve_2026_25537_a_claim_of_the_wrong_type_is_not_an_absent_one() {
    let server = Server::start();
    let header = json!({"alg": "HS256", "typ": "JWT"});
    for (name, value) in
        [("nbf", json!("9999999999")), ("exp", json!("9999999999")), ("nbf", json!([1]))]
    {
        let mut claims = claims(1);
        claims[name] = value;
        refused(&server, &signed(&header, &claims, crate::harness::token::SECRET)).await;
    }
}

#[tokio::test]
async fn pyjwt_cve_2026_32597_a_critical_extension_is_not_ignored() {
    let server = Server::start();
    for critical in [json!(["b64"]), json!([]), json!("exp"), json!(["exp"])] {
        let header = json!({"alg": "HS256", "typ": "JWT", "crit": critical});
        refused(&server, &signed(&header, &claims(1), crate::harness::token::SECRET)).await;
    }
}

/// Two users interleaved on one core: each answer goes to who asked.
#[tokio::test]
async fn channels_cve_2020_35681_answers_are_never_crossed() {
    let server = Server::with(&[("shards", "1"), ("rate_limits", "off")]);
    let mut sessions = [
        server.join_v2("1", &person(1), "").await.client,
        server.join_v2("2", &person(2), "").await.client,
    ];
    for round in 0..50 {
        for (who, client) in sessions.iter_mut().enumerate() {
            let reference = format!("{who}-{round}");
            client.send(json!({"type": "ping", "ref": reference})).await;
            client
                .send(json!({"type": "message_delete", "message_id": 4_711, "ref": reference}))
                .await;
        }
        for (who, client) in sessions.iter_mut().enumerate() {
            let reference = format!("{who}-{round}");
            for _ in 0..2 {
                client.until_like(&json!({ "ref": reference })).await;
            }
            client.quiet().await;
        }
    }
}

/// After all of it in one process: no slot, no timer and no descriptor is left, and a room talks as before.
#[tokio::test]
async fn one_after_the_other_leaves_nothing_behind() {
    let server = Server::start();
    let mut room = server.room::<2>("others").await;
    let before = server.descriptors();
    let attacks: [Vec<u8>; 6] = [
        frame(TEXT, &[b'a'; 65_537]),
        head(TEXT, u64::MAX),
        frame(MORE, b"").repeat(80),
        frame(TEXT | 0x20, b""),
        b"\x81\x02hi".to_vec(),
        frame(CLOSE, &[3]),
    ];
    for attack in &attacks {
        for cut in [attack.len(), attack.len() / 2] {
            let mut raw: Raw = server.raw_socket("1", 1).await;
            raw.write(&attack[..cut]).await;
        }
    }
    let begun = Instant::now();
    while server.descriptors() > before {
        assert!(begun.elapsed() < crate::harness::DEADLINE, "descriptors are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    all_settled(&mut room).await;
}
