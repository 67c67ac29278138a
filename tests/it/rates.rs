//! Rates and caps: what is too much gets an answer that says when to come back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Server, all_settled, person};

fn say(n: usize) -> Value {
    json!({"type": "chat_message", "content": format!("message {n}")})
}

#[tokio::test]
async fn a_burst_passes_and_what_is_over_it_waits() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let started = Instant::now();
    room[0].send_all((0..60).map(say)).await;
    let (mut shown, mut refused) = (0, 0);
    let mut retry_after_ms = 0;
    while shown + refused < 60 {
        let frame = room[0].next().await;
        match frame["type"].as_str() {
            Some("chat_message") => shown += 1,
            _ => {
                assert_eq!(frame["code"], "rate_limited", "{frame}");
                retry_after_ms = frame["retry_after_ms"].as_u64().expect("checked by the witness");
                refused += 1;
            }
        }
    }
    // 20 at once and 5 a second.
    let allowed = 20 + 1 + 5 * started.elapsed().as_secs() as usize + 5;
    assert!((20..=allowed).contains(&shown), "{shown} of 60 were taken");
    assert!((1..=1_000).contains(&retry_after_ms), "come back in {retry_after_ms} ms");
    tokio::time::sleep(Duration::from_millis(retry_after_ms + 20)).await;
    room[0].say("after the wait it is taken").await;
    for _ in 0..=shown {
        room[1].expect("chat_message").await;
    }
    // The bucket is the user's: another one may speak at once.
    room[1].say("somebody else").await;
}

#[tokio::test]
async fn the_bucket_is_the_users_and_not_the_sockets() {
    let server = Server::start();
    let mut tabs = [server.join("1", &person(1)).await, server.join("1", &person(1)).await];
    tabs[0].send_all((0..20).map(say)).await;
    for tab in &mut tabs {
        for _ in 0..20 {
            tab.expect("chat_message").await;
        }
    }
    tabs[1].send_all((0..10).map(say)).await;
    let frame = tabs[1].until("error").await;
    assert_eq!(frame["code"], "rate_limited");
}

#[tokio::test]
async fn reactions_edits_and_deletes_come_from_the_same_bucket() {
    let server = Server::start();
    let [mut client] = server.room("1").await;
    let id = client.say("the first of the burst").await["message"]["id"].clone();
    let react = json!({"type": "message_reaction", "message_id": id, "emoji": "x"});
    let edits = |n: usize| json!({"type": "message_edit", "message_id": id, "content": format!("edit {n}")});
    for n in 0..20 {
        client.send(if n % 2 == 0 { react.clone() } else { edits(n) }).await;
    }
    let frame = client.until("error").await;
    assert_eq!(frame["code"], "rate_limited");
}

#[tokio::test]
async fn the_frames_of_a_socket_have_a_rate() {
    let server = Server::start();
    let [mut client] = server.room("1").await;
    // Refused as not found, so no bucket of events is emptied first.
    let frame = json!({"type": "message_delete", "message_id": 9_007_199_254_740_991_u64});
    client.send_all((0..400).map(|_| frame.clone())).await;
    let mut limited = 0;
    for _ in 0..400 {
        limited += usize::from(client.expect("error").await["code"] == "rate_limited");
    }
    assert!(limited >= 100, "{limited} of 400 were limited");
    client.quiet().await;
}

#[tokio::test]
async fn typing_and_receipts_are_not_counted_as_frames() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let id = room[0].say("read me").await["message"]["id"].clone();
    room[1].expect("chat_message").await;
    let typing = json!({"type": "typing_indicator", "is_typing": true});
    let receipt = json!({"type": "read_receipt", "message_id": id});
    room[1]
        .send_all((0..600).map(|n| if n % 2 == 0 { typing.clone() } else { receipt.clone() }))
        .await;
    room[1].until("read_receipt").await;
    let frame = room[1].say("and still a frame is taken").await;
    assert_eq!(frame["type"], "chat_message");
}

/// Over 2,000 a second the server reads more slowly; it never closes for it.
#[tokio::test]
async fn receipts_over_their_ceiling_are_read_more_slowly() {
    const COUNT: usize = 9_000;
    let server = Server::with(&[("limits.receipts", "1000/4000")]);
    let mut room = server.room::<2>("1").await;
    let id = room[0].say("read me").await["message"]["id"].clone();
    room[1].expect("chat_message").await;
    let receipt = json!({"type": "read_receipt", "message_id": id});
    let started = Instant::now();
    room[1].send_all((0..COUNT).map(|_| receipt.clone())).await;
    room[1].expect("read_receipt").await;
    room[1].quiet().await;
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(4), "{COUNT} receipts were read in {took:?}");
    room[0].expect("read_receipt").await;
    all_settled(&mut room).await;
}

#[tokio::test]
async fn the_twenty_first_socket_of_a_user_is_turned_away() {
    let server = Server::start();
    let mut tabs = Vec::new();
    for n in 0..20 {
        tabs.push(server.join(&format!("room-{}", n % 3), &person(1)).await);
    }
    let mut one_more = server.connect(&server.path("room-0", &person(1))).await;
    assert_eq!(one_more.closed().await, (4009, "too_many_connections".to_owned()));
    // Another user may come, and so may this one after a tab is closed.
    server.join("room-0", &person(2)).await;
    tabs.pop().expect("there are twenty").close().await;
    let deadline = Instant::now() + crate::harness::DEADLINE;
    while !server.connect(&server.path("room-0", &person(1))).await.let_in().await {
        assert!(Instant::now() < deadline, "the closed tab is counted for ever");
    }
    for tab in &mut tabs {
        tab.ping().await;
    }
}

/// Behind a proxy on this machine, the address is the one that the proxy names.
#[tokio::test]
async fn an_address_has_its_share_of_sockets() {
    let server = Server::with(&[("limits.sockets_per_address", "2")]);
    let from = [("X-Forwarded-For", "198.51.100.7, 203.0.113.9")];
    let mut kept = Vec::new();
    for user in 1..=2 {
        let path = server.path("1", &person(user));
        kept.push(server.connect_with(&path, &from).await);
    }
    let mut raw = server.raw().await;
    let path = server.path("1", &person(3));
    let head = crate::harness::raw::request(&path, &[]);
    raw.write(format!("{head}X-Forwarded-For: 203.0.113.9\r\n\r\n").as_bytes()).await;
    let head = raw.head().await.expect("an answer");
    assert_eq!(head.status, 503, "{}", head.text);
    assert!(head.header("Retry-After").is_some(), "{}", head.text);
    // Others, and this machine itself, are not meant.
    for headers in [vec![("X-Forwarded-For", "203.0.113.10")], vec![]] {
        let mut client = server.connect_with(&path, &headers).await;
        client.raw_frame().await;
    }
    server.logged("sockets_per_address");
}
