//! SIGTERM: everyone is told when to come back, what is under way is written, the exit code is 0.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::raw::request;
use crate::harness::token::{now_s, signed};
use crate::harness::{DEADLINE, Server, What, person};

#[tokio::test]
async fn all_are_told_when_to_come_back_spread_over_the_drain() {
    let mut server = Server::with(&[("drain_timeout_ms", "2000")]);
    let mut clients = Vec::new();
    for user in 1..=12 {
        clients.push(server.join(&format!("room-{}", user % 3), &person(user)).await);
    }
    let started = Instant::now();
    server.sigterm();
    let mut waits = Vec::new();
    for client in &mut clients {
        let (code, reason) = client.closed().await;
        assert_eq!(code, 1012, "{reason}");
        let ms = reason.strip_prefix("reconnect_in_ms=").and_then(|ms| ms.parse::<u64>().ok());
        waits.push(ms.unwrap_or_else(|| panic!("{reason}")));
    }
    let status = server.exited();
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() >= 4, "all at once would be a stampede: {waits:?}");
    assert!(waits.iter().all(|ms| *ms <= 60_000), "{waits:?}");
}

#[tokio::test]
async fn what_is_under_way_is_shown_before_the_end() {
    let mut server = Server::with(&[("history_on_connect", "200"), ("rate_limits", "off")]);
    let mut client = server.join("1", &person(1)).await;
    client
        .send_all((0..100).map(|n| json!({"type": "chat_message", "content": format!("m{n}")})))
        .await;
    client.expect_like(&json!({"seq": 1})).await;
    server.sigterm();
    let mut last = 1;
    let code = loop {
        match client.arrival().await.what {
            What::Frame(_, frame) if frame["type"] == "chat_message" => {
                last = frame["seq"].as_u64().expect("checked by the witness");
            }
            What::Frame(..) => {}
            What::Closed(code, _) => break code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 1012);
    assert!(server.exited().success());
    server.start_again();
    let mut client = server.join("1", &person(1)).await;
    for seq in 1..=last {
        client.expect_like(&json!({ "seq": seq })).await;
    }
}

#[tokio::test]
async fn ctrl_c_is_an_end_like_any_other() {
    let mut server = Server::start();
    let mut client = server.join("1", &person(1)).await;
    server.signal(rustix::process::Signal::INT);
    assert_eq!(client.closed().await.0, 1012);
    assert!(server.exited().success());
}

/// A socket that says nothing and reads nothing does not hold up the end.
#[tokio::test]
async fn nobody_can_hold_up_the_end() {
    let mut server = Server::with(&[("drain_timeout_ms", "500")]);
    let silent = server.raw_socket("1", 1).await;
    let half = server.raw().await;
    let started = Instant::now();
    server.sigterm();
    assert!(server.exited().success());
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    drop((silent, half));
}

#[tokio::test]
async fn while_it_drains_newcomers_are_sent_away() {
    let mut server = Server::with(&[("drain_timeout_ms", "3000")]);
    let mut clients = Vec::new();
    for user in 1..=30 {
        clients.push(server.join("1", &person(user)).await);
    }
    let path = server.path("1", &person(99));
    server.sigterm();
    clients[0].closed().await;
    let deadline = Instant::now() + DEADLINE;
    // Refused by a 503 with Retry-After, or not even accepted; never let in.
    while server.is_running() && Instant::now() < deadline {
        let Ok(mut raw) = server.try_raw().await else { break };
        raw.write(format!("{}\r\n", request(&path, &[])).as_bytes()).await;
        let Some(head) = raw.head().await else { continue };
        assert_eq!(head.status, 503, "{}", head.text);
        assert!(head.header("Retry-After").is_some(), "{}", head.text);
    }
    assert!(server.exited().success());
}

#[tokio::test]
async fn a_hangup_reloads_and_closes_nothing() {
    let mut server = Server::start();
    let mut client = server.join("1", &person(1)).await;
    server.signal(rustix::process::Signal::HUP);
    for n in 0..5 {
        client.say(&format!("after the hangup {n}")).await;
    }
    assert!(server.is_running());
}

#[tokio::test]
async fn a_hangup_rotates_the_keys_for_those_who_come() {
    const BEFORE: &str = "the-key-before-the-rotation-0123456789abcdef";
    const AFTER: &str = "the-key-behind-the-rotation-0123456789abcdef";
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("key");
    std::fs::write(&file, BEFORE).unwrap();
    let server = Server::with(&[("jwt.keys", &format!("k={}", file.display()))]);
    let path = |secret: &str| {
        let claims =
            json!({"token_type": "access", "exp": now_s() + 600, "jti": "j", "user_id": 7});
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": "k"});
        format!("/ws/chat/1/?token={}", signed(&header, &claims, secret))
    };
    let mut open = server.connect(&path(BEFORE)).await;
    open.own_status().await;
    assert_eq!(server.connect(&path(AFTER)).await.closed().await.0, 4001);
    std::fs::write(&file, AFTER).unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.logged("reloaded");
    // Each core takes the new keys with its next turn.
    let deadline = Instant::now() + DEADLINE;
    while !server.connect(&path(AFTER)).await.let_in().await {
        assert!(Instant::now() < deadline, "the new key is never taken");
    }
    while server.connect(&path(BEFORE)).await.let_in().await {
        assert!(Instant::now() < deadline, "the old key is taken for ever");
    }
    open.say("who was in stays").await;
}
