//! Many at once: half-done handshakes, slow heads, one user or one address with hundreds of sockets, comings and goings,
//! conversations that are named once.

use std::time::{Duration, Instant};

use loquat::limits::{CONNECTION_BYTES, KEPT_BYTES_MAX, Limits};

use super::{Healthy, beside_others, bounded, short_or_long};
use crate::harness::raw::request;
use crate::harness::{DEADLINE, Raw, Server, nameless, person};

/// Thousands that send half a request and wait: as many as may are kept for their time, the others are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_done_handshakes_have_a_bound_and_a_time() {
    let (pending, crowd) = short_or_long((600, 1_500), (4_096, 9_000));
    let text = pending.to_string();
    let settings = [("limits.handshakes_pending", &*text), ("limits.handshake_timeout_ms", "3000")];
    let server = Server::with(&settings);
    let attack = async || half_requests(&server, pending, crowd).await;
    beside_others(&server, "half requests", attack).await;
    server.join("1", &person(1)).await.quiet().await;
}

async fn half_requests(server: &Server, pending: usize, crowd: usize) {
    let before = server.resident_bytes();
    let limits = Limits { handshakes_pending: pending, ..Limits::DEFAULT };
    let half =
        format!("{}X: {}", request("/ws/chat/1/", &[]), "a".repeat(limits.handshake_bytes - 400));
    let mut open = Vec::new();
    for _ in 0..crowd {
        let Ok(mut raw) = server.try_raw().await else { continue };
        raw.write(half.as_bytes()).await;
        open.push(raw);
    }
    bounded(server, "half requests", before, limits.handshakes_bytes_max() + KEPT_BYTES_MAX);
    let (mut refused, mut late) = (0, 0);
    for mut raw in open {
        match raw.head().await.map(|head| head.status) {
            Some(408) => late += 1,
            // Refused unseen: with unread bytes the answer may be lost to a reset.
            Some(503) | None => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    println!("{late} of {crowd} were waited for, {refused} refused");
    assert!(late > 0 && late <= 2 * pending && refused > 0, "{late} late, {refused} refused");
}

/// A byte now and then: a head has its time from accept on, whatever it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_drip_are_cut_off() {
    let server = Server::with(&[("limits.handshake_timeout_ms", "700")]);
    let healthy = Healthy::begin(&server).await;
    let text = request(&server.path("1", &person(1)), &[]);
    let mut slow = Vec::new();
    for _ in 0..short_or_long(50, 500) {
        slow.push(server.raw().await);
    }
    let begun = Instant::now();
    for byte in text.bytes().take(14) {
        for raw in &mut slow {
            raw.write(&[byte]).await;
        }
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    for raw in &mut slow {
        let status = raw.head().await.map(|head| head.status);
        assert!(status == Some(408) || status.is_none(), "{status:?}");
    }
    assert!(begun.elapsed() < DEADLINE);
    println!("dripping heads: p99 of others {:?}", healthy.p99().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_have_a_rate() {
    let server = Server::with(&[("limits.handshakes", "20/10")]);
    let path = server.path("1", &person(1));
    let mut told = [0, 0];
    for _ in 0..60 {
        let mut raw = server.raw().await;
        raw.write(format!("{}\r\n", request(&path, &[])).as_bytes()).await;
        let is_in = raw.head().await.is_some_and(|head| head.status == 101);
        told[usize::from(is_in)] += 1;
    }
    println!("{} refused, {} let in", told[0], told[1]);
    assert!(told[0] > 0 && told[1] >= 10, "{told:?}");
    let begun = Instant::now();
    while !server.connect_if_it_may(&path).await {
        assert!(begun.elapsed() < DEADLINE, "nobody is let in any more");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_a_thousand_sockets_has_twenty() {
    let server = Server::start();
    let before = server.resident_bytes();
    let path = server.path("1", &nameless(7));
    let mut kept: Vec<Raw> = Vec::new();
    let mut refused = 0;
    for _ in 0..short_or_long(300, 1_000) {
        let mut raw = server.raw().await;
        raw.upgrade(&path).await;
        let first = raw.frame().await.expect("a status, or why not");
        match first.close() {
            Some((code, _)) => {
                assert_eq!(code, 4009);
                refused += 1;
            }
            None => kept.push(raw),
        }
    }
    assert_eq!((kept.len(), refused), (20, short_or_long(280, 980)));
    bounded(&server, "one user", before, 20 * Limits::DEFAULT.socket_bytes_max() + KEPT_BYTES_MAX);
    server.join("1", &person(8)).await.quiet().await;
}

/// What stands left of the last hop the client may have written itself: it makes no new address. A hop that is not
/// trusted is not believed at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_hop_makes_no_new_address() {
    let limit = ("limits.sockets_per_address", "3");
    let server = Server::with(&[limit]);
    let status = async |server: &Server, user: u64, hops: &str| {
        let mut raw = server.raw().await;
        let head = request(&server.path("1", &person(user)), &[]);
        raw.write(format!("{head}X-Forwarded-For: {hops}\r\n\r\n").as_bytes()).await;
        let status = raw.head().await.map(|head| head.status);
        (status, raw)
    };
    let mut kept = Vec::new();
    for n in 1..=6 {
        let (status, raw) = status(&server, n, &format!("198.51.100.{n}, 203.0.113.9")).await;
        assert_eq!(status, Some(if n <= 3 { 101 } else { 503 }), "socket {n}");
        kept.push(raw);
    }
    // Behind another trusted hop the client is one further left.
    let (other, raw) = status(&server, 7, "203.0.113.10, 127.0.0.9").await;
    assert_eq!(other, Some(101));
    kept.push(raw);
    let strict = Server::with(&[limit, ("trusted_proxies", "192.0.2.0/24")]);
    for n in 1..=6 {
        let (status, raw) = status(&strict, n, "203.0.113.9").await;
        assert_eq!(status, Some(101), "a stranger's header counted for socket {n}");
        kept.push(raw);
    }
}

/// They come, and go at once, by every kind of end: nothing of them stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_of_joins_and_leaves_leave_nothing() {
    let server = Server::with(&[("offline_grace_ms", "0")]);
    let before = (server.descriptors(), server.resident_bytes());
    beside_others(&server, "joins and leaves", async || joins_and_leaves(&server).await).await;
    let begun = Instant::now();
    while server.descriptors() > before.0 {
        assert!(
            begun.elapsed() < DEADLINE,
            "{} descriptors are left",
            server.descriptors() - before.0
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bounded(&server, "joins and leaves", before.1, KEPT_BYTES_MAX + 40 * CONNECTION_BYTES);
}

async fn joins_and_leaves(server: &Server) {
    for round in 0..short_or_long(25, 1_000) {
        let mut crowd = Vec::new();
        for user in 0..20 {
            let mut raw = server.raw().await;
            let path = server.path("storm", &nameless(1 + user));
            raw.write(format!("{}\r\n", request(&path, &[])).as_bytes()).await;
            // Some are gone before the answer.
            if (round + user) % 3 != 0 {
                raw.head().await;
            }
            crowd.push(raw);
        }
    }
}

/// Each is named once: nobody pays for those that were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_that_are_named_once_cost_nothing_later() {
    let server = Server::with(&[("offline_grace_ms", "0"), ("log.level", "info")]);
    let attack = async || name_conversations_once(&server).await;
    beside_others(&server, "conversations named once", attack).await;
}

async fn name_conversations_once(server: &Server) {
    const AT_ONCE: usize = 20;
    let count = short_or_long(1_500, 1_000_000);
    let token = server.token(&nameless(7));
    let mut before = 0;
    for from in (0..count).step_by(AT_ONCE) {
        let mut open = Vec::new();
        for n in from..from + AT_ONCE - 1 {
            let mut raw = server.raw().await;
            let path = format!("/ws/chat/named-{n}/?token={token}");
            raw.write(format!("{}\r\n", request(&path, &[])).as_bytes()).await;
            open.push(raw);
        }
        for raw in &mut open {
            raw.head().await;
        }
        if from == AT_ONCE * 10 {
            before = server.resident_bytes();
        }
    }
    let most = AT_ONCE * Limits::DEFAULT.socket_bytes_max() + KEPT_BYTES_MAX;
    bounded(server, "conversations named once", before, most);
}
