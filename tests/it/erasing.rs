//! What operators take away is gone at once, and stays gone after every kind of restart.

use serde_json::json;

use crate::harness::{Server, person};

async fn refused(server: &Server, conversation: &str, user: u64) {
    let mut client = server.connect(&server.path(conversation, &person(user))).await;
    client.closed_with(4003, "forbidden").await;
}

fn again(server: &mut Server, round: usize) {
    if round.is_multiple_of(2) {
        server.kill9();
        server.start_again();
    } else {
        server.restart();
    }
}

#[tokio::test]
async fn a_deleted_conversation_is_refused_until_it_is_created_again() {
    let mut server = Server::with(&[("history_on_connect", "50"), ("access", "open")]);
    let mut last_id = 0;
    let mut last_seq = 0;
    for round in 0..4 {
        let (mut ann, mut bob) =
            (server.join("1", &person(1)).await, server.join("1", &person(2)).await);
        for content in ["one", "two"] {
            let said = ann.say(content).await;
            last_seq += 1;
            assert_eq!(said["seq"], last_seq, "in round {round}");
            let id = said["message"]["id"].as_u64().unwrap();
            assert!(id > last_id, "{said} in round {round}");
            last_id = id;
        }
        if round == 1 {
            // Deletes what lies in pages.
            drop((ann, bob));
            server.restart();
            (ann, bob) = (server.join("1", &person(1)).await, server.join("1", &person(2)).await);
        }
        let admin = server.admin();
        ann.ping().await;
        bob.ping().await;
        ann.ping().await;
        assert_eq!(admin.call("DELETE", "/admin/conversations/1", None).await.status, 204);
        ann.closed_with(4003, "forbidden").await;
        bob.closed_with(4003, "forbidden").await;
        refused(&server, "1", 1).await;
        assert_eq!(admin.call("DELETE", "/admin/conversations/1", None).await.status, 404);
        assert_eq!(admin.call("GET", "/admin/conversations/1", None).await.status, 404);
        again(&mut server, round);
        refused(&server, "1", 2).await;
        let created = server.admin().call("PUT", "/admin/conversations/1", None).await;
        assert_eq!(created.status, 201);
        if round == 2 {
            again(&mut server, round);
        }
    }
    // The witness of this client saw nothing of the past.
    server.join("1", &person(3)).await.quiet().await;
}

#[tokio::test]
async fn the_operator_speaks_and_takes_back() {
    let mut server = Server::with(&[("access", "members")]);
    let admin = server.admin();
    admin.conversation("1", &[("1", "member"), ("2", "member")]).await;
    let names = json!({"email": "g@example.org", "first_name": "Grace", "last_name": "Hopper"});
    admin.must("PUT", "/admin/users/2", Some(names)).await;
    let mut ann = server.join("1", &person(1)).await;
    let path = "/admin/conversations/1/messages";
    let body = json!({"content": " hello ", "user_id": 2, "client_msg_id": "once"});
    let first = admin.must("POST", path, Some(body.clone())).await;
    let shown = ann.until("chat_message").await;
    assert_eq!(shown["message"]["content"], "hello");
    let sender =
        json!({"id": 2, "email": "g@example.org", "first_name": "Grace", "last_name": "Hopper"});
    assert_eq!(shown["message"]["sender"], sender);
    assert_eq!((&shown["message"]["id"], &shown["seq"]), (&first["id"], &first["seq"]));
    assert_eq!(shown["message"]["created_at"], first["created_at"]);
    server.kill9();
    server.start_again();
    let admin = server.admin();
    let mut ann = server.join("1", &person(1)).await;
    assert_eq!(admin.must("POST", path, Some(body)).await, first);
    let notice =
        admin.must("POST", path, Some(json!({"content": "down at 8", "system": true}))).await;
    let shown = ann.until("chat_message").await;
    assert_eq!(shown["message"]["id"], notice["id"]);
    assert_eq!(shown["message"]["sender"]["first_name"], "System");
    let message = format!("{path}/{}", first["id"]);
    for _ in 0..2 {
        assert_eq!(admin.call("DELETE", &message, None).await.status, 204);
    }
    let deleted = ann.until("message_delete").await;
    assert_eq!(deleted["message_id"], first["id"]);
    ann.quiet().await;
    let nowhere = "/admin/conversations/2/messages";
    let body = json!({"content": "x", "system": true});
    assert_eq!(admin.call("POST", nowhere, Some(body)).await.status, 404);
}
