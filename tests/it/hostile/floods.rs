//! Too much of one thing: control frames, pings, fragments, names, nesting, ids. Each attack runs beside pairs who talk.

use std::time::{Duration, Instant};

use loquat::limits::{KEPT_BYTES_MAX, Limits};
use serde_json::{Value, json};

use super::{Healthy, beside_others, bounded, not_still, short_or_long};
use crate::harness::raw::{CLOSE, PING, PONG, TEXT, frame};
use crate::harness::{Raw, Server, person};

const SOCKETS: usize = 20;

/// All sockets send this again and again for a while, or until they are closed; a closed one comes back.
async fn flood(server: &Server, what: &str, bytes: &[u8]) {
    beside_others(server, what, async || flood_once(server, what, bytes).await).await;
}

async fn flood_once(server: &Server, what: &str, bytes: &[u8]) {
    let before = server.resident_bytes();
    let until =
        Instant::now() + short_or_long(Duration::from_millis(1_200), Duration::from_secs(30));
    let mut sockets: Vec<Option<Raw>> = (0..SOCKETS).map(|_| None).collect();
    let (mut sent, mut opened) = (0, 0);
    while Instant::now() < until {
        for (user, place) in sockets.iter_mut().enumerate() {
            let mut raw = match place.take() {
                Some(raw) => raw,
                None => {
                    opened += 1;
                    server.raw_socket(&format!("flooded-{}", user % 3), 1 + user as u64).await
                }
            };
            // Who is not read from, or was closed, begins anew.
            let writing = tokio::time::timeout(Duration::from_millis(20), raw.write(bytes)).await;
            if writing == Ok(true) {
                sent += 1;
                *place = Some(raw);
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{what}: {sent} bursts on {opened} sockets");
    assert!(sent > SOCKETS, "{what}: hardly anything was sent");
    bounded(server, what, before, SOCKETS * Limits::DEFAULT.socket_bytes_max() + KEPT_BYTES_MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_and_pongs_without_end() {
    let server = Server::start();
    flood(&server, "pings", &frame(PING, &[b'p'; 125]).repeat(200)).await;
    flood(&server, "pongs", &frame(PONG, &[b'p'; 125]).repeat(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_frames_of_every_wrong_kind() {
    let server = Server::start();
    let mut wrong = Vec::new();
    for first in [0x08, 0x09, 0x0a, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, PING | 0x40, CLOSE | 0x10] {
        wrong.push(frame(first, b"xx"));
    }
    wrong.push(frame(CLOSE, &[3]));
    wrong.push(frame(CLOSE, b"\x03\xff"));
    wrong.push(frame(PING, &[0; 126]));
    for bytes in &wrong {
        let mut raw = server.raw_socket("1", 1).await;
        raw.write(bytes).await;
        assert_eq!(raw.closed().await.map(|closed| closed.0), Some(1002), "{bytes:02x?}");
    }
    flood(&server, "wrong control frames", &wrong.concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_and_messages_without_end() {
    let server = Server::with(&[("limits.message_timeout_ms", "1000")]);
    flood(
        &server,
        "huge fragments",
        &[frame(0x01, &[b'a'; 30_000]), frame(0, &[b'a'; 30_000])].concat(),
    )
    .await;
    flood(&server, "endless fragments", &[frame(0x01, b""), frame(0, b"").repeat(60)].concat())
        .await;
    flood(&server, "a frame that never ends", &frame(TEXT, &[b'a'; 65_000])[..30_000]).await;
}

/// What is no command costs an answer, twenty a minute, then the socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_are_too_deep_too_long_or_too_many() {
    let server =
        Server::with(&[("rate_limits", "off"), ("limits.bad_frames_per_minute", "1000000")]);
    let mut client = server.join("1", &person(1)).await;
    let id = client.say("the first").await["message"]["id"].clone();
    let before = server.resident_bytes();
    let deep =
        |open: &str| format!("{{\"type\":\"chat_message\",\"content\":{}", open.repeat(12_000));
    let long = "x".repeat(60_000);
    let texts = [
        "[".repeat(60_000),
        deep("["),
        deep("{\"a\":"),
        format!("{{\"{long}\":1}}"),
        format!("{{\"type\":\"{long}\"}}"),
        format!("{{\"type\":\"chat_message\",\"content\":\"{long}\"}}"),
        format!(
            "{{{}\"type\":\"ping\"}}",
            (0..4_000).map(|n| format!("\"k{n}\":0,")).collect::<String>()
        ),
        format!("{{{}\"b\":1}}", "\"a\":1,".repeat(5_000)),
        format!("{{\"type\":\"chat_message\",\"content\":1{}}}", "0".repeat(50_000)),
        format!("{{\"type\":\"message_delete\",\"message_id\":{}}}", "9".repeat(40_000)),
        format!(
            "{{\"type\":\"message_reaction\",\"message_id\":{id},\"emoji\":\"{}\"}}",
            "👍".repeat(2_560)
        ),
        format!(
            "{{\"type\":\"message_reaction\",\"message_id\":{id},\"emoji\":\"{}\"}}",
            "\u{200d}".repeat(100)
        ),
        format!(
            "{{\"type\":\"chat_message\",\"content\":\"a\",\"client_msg_id\":\"{}\"}}",
            "i".repeat(10_000)
        ),
        format!(
            "{{\"type\":\"chat_message\",\"content\":\"a\",\"parent_message_id\":\"{}\"}}",
            "7".repeat(10_000)
        ),
    ];
    for _ in 0..short_or_long(5, 200) {
        for text in &texts {
            client.send_text(text).await;
            let shown: String = text.chars().take(60).collect();
            let frame = client.next().await;
            assert_eq!(frame["type"], "error", "{shown}: {frame}");
        }
    }
    bounded(&server, "bad commands", before, Limits::DEFAULT.socket_bytes_max() + KEPT_BYTES_MAX);
    client.say("and still it listens").await;
}

/// Names without end from twenty sockets, under the limits that a server has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_msg_ids_too_fast() {
    let server = Server::start();
    let send =
        |n: usize| json!({"type": "chat_message", "content": "x", "client_msg_id": n.to_string()});
    let burst: Vec<u8> =
        (0..500).flat_map(|n| frame(TEXT, send(n).to_string().as_bytes())).collect();
    flood(&server, "names too fast", &burst).await;
}

/// Buffers of 8 MiB on their way to the disk, leaves that were replaced and not collected yet; the cache is in the bound
/// of what is kept.
const BUILDING_BYTES_MAX: usize = 96 << 20;

/// Every message has another name: what is remembered of names does not grow without bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_msg_ids_without_end() {
    let count = short_or_long(3_000, 200_000);
    let server =
        Server::with(&[("rate_limits", "off"), ("log.level", "info"), ("journal_segment", "4MiB")]);
    let mut session = server.join_v2("1", &person(1), "").await;
    let quiet = Healthy::quiet_p99(&server).await;
    let before = server.resident_bytes();
    let healthy = Healthy::begin(&server).await;
    let name = |n: usize| format!("{n:064}");
    let send = |n: usize| json!({"type": "chat_message", "content": "x", "client_msg_id": name(n)});
    // The most in the first half, and in the second.
    let mut most_seen = [0, 0];
    for from in (0..count).step_by(500) {
        let seen = &mut most_seen[from * 2 / count];
        *seen = server.resident_bytes().max(*seen);
        session.client.send_all((from..from + 500).map(send)).await;
        let mut open = 500;
        while open > 0 {
            let frame = session.client.next().await;
            open -= usize::from(frame["type"] == "ack" || frame["type"] == "error");
        }
    }
    // Two segments of the journal may be in memory, and a filter of names; and, whatever is stored, what sled has while
    // pages are built without a pause.
    let building = short_or_long(0, BUILDING_BYTES_MAX);
    let most = 4 * (4 << 20) + Limits::DEFAULT.socket_bytes_max() + KEPT_BYTES_MAX + building;
    bounded(&server, "names", before, most);
    let [first, second] = most_seen;
    assert!(second <= first + (32 << 20), "it grows on: {first}, then {second} bytes");
    // Without rates the attack is as much work as the core can do: only a standstill would be wrong.
    not_still("names", quiet, healthy.p99().await);
    // The first one is still known.
    session.client.send(send(0)).await;
    let again: Value = session.client.until("ack").await;
    assert_eq!(again["seq"], 1);
}
