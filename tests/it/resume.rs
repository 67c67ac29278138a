//! v2: a client that was away gets exactly what it missed, over restarts and kill −9; what it sends
//! twice is stored once; the session's own frames.

use serde_json::{Value, json};

use crate::harness::{Client, Server, Session, person};

async fn say(client: &mut Client, content: &str) -> Value {
    client.send(json!({"type": "chat_message", "content": content, "ref": content})).await;
    let ack = client.expect_like(&json!({"type": "ack", "ref": content})).await;
    let event = client.expect("chat_message").await;
    assert_eq!((&ack["seq"], &ack["message_id"]), (&event["seq"], &event["message"]["id"]));
    event
}

/// What is replayed, up to and with `resumed`.
async fn replayed(session: &mut Session) -> (Vec<Value>, Value) {
    let mut events = Vec::new();
    loop {
        let frame = session.client.next().await;
        if frame["type"] == "resumed" {
            return (events, frame);
        }
        events.push(frame);
    }
}

#[tokio::test]
async fn everything_after_since_comes_once_over_every_kind_of_restart() {
    let mut server = Server::with(&[("rate_limits", "off")]);
    let mut said = Vec::new();
    let mut epochs = Vec::new();
    for life in 0..4 {
        let Session { mut client, hello, .. } = server.join_v2("1", &person(1), "").await;
        epochs.push(hello["epoch"].clone());
        for n in 0..30 {
            said.push(say(&mut client, &format!("{n} in life {life}")).await);
        }
        let id = &said[said.len() - 3]["message"]["id"];
        client.send(json!({"type": "message_edit", "message_id": id, "content": "edited"})).await;
        client.expect("ack").await;
        said.push(client.expect("message_edit").await);
        drop(client);
        for since in [0, 1, said.len() / 2, said.len() - 1, said.len()] {
            let query = format!("&since={since}&epoch={}", hello["epoch"].as_str().unwrap());
            let mut back = server.join_v2("1", &person(2), &query).await;
            let (events, resumed) = replayed(&mut back).await;
            assert_eq!(events, said[since..], "since {since} in life {life}");
            assert_eq!((&resumed["from"], &resumed["to"]), (&json!(since), &json!(said.len())));
            let last = said[said.len() - 2]["message"]["id"].clone();
            assert_eq!((&resumed["marks"]["1"], &resumed["marks_count"]), (&last, &json!(1)));
        }
        match life % 2 {
            0 => server.restart(),
            _ => {
                server.kill9();
                server.start_again();
            }
        }
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "one log: {epochs:?}");
}

#[tokio::test]
async fn a_foreign_epoch_and_an_unknown_seq_are_told_to_fetch_history() {
    let server = Server::start();
    let Session { mut client, hello, .. } = server.join_v2("1", &person(1), "").await;
    say(&mut client, "a").await;
    for query in ["&since=0&epoch=00000000", "&since=2", "&since=9007199254740991"] {
        let mut back = server.join_v2("1", &person(2), query).await;
        let resync = back.client.expect("resync").await;
        assert_eq!((&resync["seq"], &resync["epoch"]), (&json!(1), &hello["epoch"]), "{query}");
        back.client.close().await;
    }
    for query in ["&since=x", "&since=-1", "&since=18446744073709551616", "&since=0&epoch=9f3c"] {
        let path = format!("{}&v=2{query}", server.path("1", &person(2)));
        let mut raw = server.raw().await;
        raw.write(crate::harness::raw::request(&path, &[]).as_bytes()).await;
        raw.write(b"\r\n").await;
        assert_eq!(raw.head().await.expect("an answer").status, 400, "{query}");
    }
}

#[tokio::test]
async fn what_is_sent_again_under_its_name_is_stored_once() {
    let mut server = Server::start();
    let named = json!({"type": "chat_message", "content": "once", "client_msg_id": "c-1"});
    let mut first = None;
    for life in 0..3 {
        let Session { mut client, .. } = server.join_v2("1", &person(1), "").await;
        for _ in 0..2 {
            client.send(named.clone()).await;
            let ack = client.expect("ack").await;
            if first.is_none() {
                let event = client.expect("chat_message").await;
                assert_eq!((&event["client_msg_id"], &event["seq"]), (&json!("c-1"), &ack["seq"]));
            }
            assert_eq!(*first.get_or_insert(ack.clone()), ack, "life {life}");
        }
        let mut other = named.clone();
        other["content"] = json!("something else");
        client.send(other).await;
        let error = client.error("idempotency_conflict").await;
        assert_eq!(error["ref"], "c-1");
        match life {
            0 => {
                server.kill9();
                server.start_again();
            }
            _ => server.restart(),
        }
    }
    let mut back = server.join_v2("1", &person(2), "&since=0").await;
    assert_eq!(replayed(&mut back).await.0.len(), 1);
}

#[tokio::test]
async fn presence_comes_at_once_and_changes_after_it() {
    let server = Server::with(&[("offline_grace_ms", "0")]);
    let mut ann = server.join_v2("1", &person(1), "").await;
    assert_eq!(ann.presence, json!({"type": "presence", "online": [1], "count": 1}));
    let bob = server.join_v2("1", &person(2), "").await;
    assert_eq!(bob.presence, json!({"type": "presence", "online": [1, 2], "count": 2}));
    ann.client.status(2, "online").await;
    bob.client.close().await;
    ann.client.status(2, "offline").await;
}

#[tokio::test]
async fn a_pong_names_the_last_event() {
    let server = Server::start();
    let Session { mut client, .. } = server.join_v2("1", &person(1), "").await;
    say(&mut client, "a").await;
    client.send(json!({"type": "ping", "ref": "p"})).await;
    assert_eq!(client.next().await, json!({"type": "pong", "ref": "p", "seq": 1}));
    // v1 knows no such thing.
    let mut old = server.join("1", &person(2)).await;
    old.send(json!({"type": "ping"})).await;
    old.error("unknown_type").await;
}

fn now_s() -> u64 {
    crate::harness::token::now_s()
}

#[tokio::test]
async fn a_newer_token_is_asked_for_and_taken() {
    let server = Server::start();
    let soon = person(1).claim("exp", json!(now_s() + 31));
    let Session { mut client, .. } = server.join_v2("1", &soon, "").await;
    let warned = client.expect("token_expiring").await;
    let left_ms = warned["expires_in_ms"].as_u64().expect("a number");
    assert!((25_000..=31_000).contains(&left_ms), "{warned}");
    let others = server.token(&person(2));
    client.send(json!({"type": "token_refresh", "ref": "o", "token": others})).await;
    assert_eq!(client.error("forbidden").await["ref"], "o");
    let newer = server.token(&person(1));
    client.send(json!({"type": "token_refresh", "ref": "t", "token": newer})).await;
    client.expect_like(&json!({"type": "ack", "ref": "t", "seq": null})).await;
    say(&mut client, "still here").await;
}
