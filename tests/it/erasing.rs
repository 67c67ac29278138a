//! What operators take away is gone at once, and stays gone after every kind of restart.

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
        let admin = server.admin();
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
        bob.until("chat_message").await;
        bob.until("chat_message").await;
        if round == 1 {
            // Deletes what lies in pages.
            drop((ann, bob));
            server.restart();
            (ann, bob) = (server.join("1", &person(1)).await, server.join("1", &person(2)).await);
            ann.expect("chat_message").await;
            bob.expect("chat_message").await;
        }
        let admin = if round == 1 { server.admin() } else { admin };
        assert_eq!(admin.call("DELETE", "/admin/conversations/1", None).await.status, 204);
        ann.closed_with(4003, "forbidden").await;
        while bob.try_arrival().is_some() {}
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
