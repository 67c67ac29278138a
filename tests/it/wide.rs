//! Sockets on all cores: one order for everybody in a conversation, also when it is spread over them.

use serde_json::{Value, json};

use crate::harness::{Client, Server, What, all_see, is_like, person};

const SOCKETS: usize = 40;

async fn crowd(server: &Server, conversation: &str, count: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    for id in 1..=count {
        clients.push(server.join(conversation, &person(id)).await);
    }
    clients
}

fn say(content: String) -> Value {
    json!({"type": "chat_message", "content": content})
}

/// Many talk at once; all see the same bytes in the same order.
async fn one_order(clients: &mut [Client], each: usize) {
    let speakers = 8.min(clients.len());
    for (who, client) in clients[..speakers].iter_mut().enumerate() {
        client.send_all((0..each).map(|n| say(format!("message {n} of {who}")))).await;
    }
    let mut first = None;
    for _ in 0..each * speakers {
        let frame = all_see(clients, &json!({"type": "chat_message"})).await;
        let seq = frame["seq"].as_u64().expect("checked by the witness");
        let start = *first.get_or_insert(seq);
        assert!(seq < start + (each * speakers) as u64);
    }
}

#[tokio::test]
async fn more_shards_than_cores_see_one_order() {
    let server = Server::with(&[("shards", "4"), ("rate_limits", "off")]);
    for conversation in ["1", "2", "3", "4", "5"] {
        let mut clients = crowd(&server, conversation, 6).await;
        one_order(&mut clients, 10).await;
    }
}

#[tokio::test]
async fn a_wide_conversation_has_one_order() {
    let server = Server::with(&[("shards", "4"), ("wide_threshold", "2"), ("rate_limits", "off")]);
    let mut clients = crowd(&server, "wide", SOCKETS).await;
    one_order(&mut clients, 20).await;
    // Commands of any core reach the owner, and what they cause reaches all cores.
    let id = {
        clients[SOCKETS - 1].send(say("a message to change".to_owned())).await;
        let frame = all_see(&mut clients, &json!({"type": "chat_message"})).await;
        frame["message"]["id"].clone()
    };
    let changes = [
        (3, json!({"type": "message_reaction", "message_id": id, "emoji": "x"})),
        (SOCKETS - 1, json!({"type": "message_edit", "message_id": id, "content": "changed"})),
        (5, json!({"type": "read_receipt", "message_id": id})),
        (SOCKETS - 1, json!({"type": "message_delete", "message_id": id})),
    ];
    for (who, change) in changes {
        clients[who].send(change.clone()).await;
        let pattern = json!({"type": change["type"], "message_id": id});
        all_see(&mut clients, &pattern).await;
    }
    clients[7].send(json!({"type": "typing_indicator", "is_typing": true})).await;
    for (at, client) in clients.iter_mut().enumerate().filter(|(at, _)| *at != 7) {
        let frame = client.next().await;
        let typing = json!({"type": "typing_indicator", "user_id": 8, "is_typing": true});
        assert!(is_like(&frame, &typing), "socket {at}: {frame}");
    }
}

/// Errors belong to who sent the command, on whichever core.
#[tokio::test]
async fn answers_are_never_crossed() {
    let server = Server::with(&[("shards", "4"), ("wide_threshold", "2"), ("rate_limits", "off")]);
    let mut clients = crowd(&server, "wide", 12).await;
    for (who, client) in clients.iter_mut().enumerate() {
        let reference = format!("ref-of-{who}");
        let bad = json!({"type": "chat_message", "content": " ", "client_msg_id": reference});
        client.send_all((0..5).map(|_| bad.clone())).await;
    }
    for (who, client) in clients.iter_mut().enumerate() {
        for _ in 0..5 {
            let error = client.error("empty").await;
            assert_eq!(error["ref"], format!("ref-of-{who}"));
        }
        client.quiet().await;
    }
}

/// Who comes and goes while others talk misses nothing in between and sees nothing twice: the
/// witness of each socket would say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coming_and_going_in_a_wide_conversation_leaves_no_holes() {
    let server = Server::with(&[
        ("shards", "4"),
        ("wide_threshold", "2"),
        ("rate_limits", "off"),
        ("offline_grace_ms", "0"),
    ]);
    let mut clients = crowd(&server, "wide", 8).await;
    for round in 0..10 {
        for n in 0..10 {
            clients[round % 8].send(say(format!("round {round} message {n}"))).await;
        }
        let late = server.join("wide", &person(100 + round)).await;
        clients.push(late);
        let gone = clients.remove(round % 4);
        gone.close().await;
    }
    clients[0].send(say("the last word".to_owned())).await;
    let last = json!({"type": "chat_message", "message": {"content": "the last word"}});
    let mut seqs = Vec::new();
    for client in &mut clients {
        seqs.push(client.until_like(&last).await["seq"].clone());
    }
    assert!(seqs.iter().all(|seq| *seq == 101), "{seqs:?}");
}

#[tokio::test]
async fn a_kick_reaches_every_core() {
    let server = Server::with(&[("access", "members"), ("shards", "4"), ("wide_threshold", "2")]);
    let admin = server.admin();
    admin.conversation("wide", &[]).await;
    for user in 1..=12 {
        admin.member("wide", &user.to_string(), "member").await;
    }
    let mut clients = crowd(&server, "wide", 12).await;
    for user in [12, 3, 7] {
        let path = format!("/admin/conversations/wide/members/{user}");
        admin.must("DELETE", &path, None).await;
        let mut out = clients.remove(
            clients.iter().position(|c| c.name.starts_with(&format!("{user} "))).expect("there"),
        );
        loop {
            match out.arrival().await.what {
                What::Frame(..) => {}
                What::Closed(code, _) => break assert_eq!(code, 4004),
                other => panic!("{other:?}"),
            }
        }
    }
    clients[0].send(say("who is left".to_owned())).await;
    all_see(&mut clients, &json!({"type": "chat_message"})).await;
}
