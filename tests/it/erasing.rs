//! What operators take away is gone at once, and stays gone after every kind of restart.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::token::now_s;
use crate::harness::{Client, DEADLINE, Server, What, is_like, nameless, person};

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
        // Presence may still come before it.
        assert_eq!(ann.closed().await, (4003, "forbidden".to_owned()));
        assert_eq!(bob.closed().await, (4003, "forbidden".to_owned()));
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

/// Whether a file of the journal, or a live value of the pages, holds the text.
fn holds(data: &Path, text: &str) -> bool {
    let is_in = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let journal = std::fs::read_dir(data.join("store/journal")).unwrap();
    let in_journal = journal.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let tree = sled::Config::new()
        .path(data.join("store/pages"))
        .segment_size(8 << 20)
        .flush_every_ms(None)
        .open()
        .unwrap();
    in_journal.into_iter().any(|bytes| is_in(&bytes))
        || tree.iter().any(|pair| {
            let (key, value) = pair.unwrap();
            is_in(&loquat::store::contents(&key, &value).unwrap())
        })
}

async fn erased(server: &Server, user: u64) -> Value {
    let begun = Instant::now();
    loop {
        let path = format!("/admin/users/{user}/erase");
        let answer = server.admin().must("GET", &path, None).await;
        if answer["status"] == "done" {
            return answer;
        }
        assert!(begun.elapsed() < 3 * DEADLINE, "{answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Grace writes, edits, reads and reacts; what is Ann's mentions none of it.
async fn life_of_grace(ann: &mut Client, grace: &mut Client) -> (Value, Value) {
    let said = grace.say("grace-secret one").await["message"]["id"].clone();
    let edit = json!({"type": "message_edit", "message_id": said, "content": "grace-secret two"});
    grace.send(edit).await;
    ann.until("message_edit").await;
    let kept = ann.say("it stays").await["message"]["id"].clone();
    grace.until_like(&json!({"message": {"id": kept}})).await;
    for emoji in ["👍", "x"] {
        let react = json!({"type": "message_reaction", "message_id": kept, "emoji": emoji});
        grace.send(react).await;
        ann.until("message_reaction").await;
    }
    grace.send(json!({"type": "read_receipt", "message_id": kept})).await;
    ann.until("read_receipt").await;
    (said, kept)
}

#[tokio::test]
async fn an_erased_user_leaves_nothing_but_tombstones() {
    for is_killed in [false, true] {
        let mut server = Server::with(&[("access", "members"), ("history_on_connect", "50")]);
        let admin = server.admin();
        let names = json!({"email": "grace-secret@example.org", "first_name": "Grace-secret"});
        admin.must("PUT", "/admin/users/2", Some(names)).await;
        for room in ["1", "two"] {
            admin.conversation(room, &[("1", "member"), ("2", "moderator")]).await;
        }
        let mut ids = Vec::new();
        let mut rooms = Vec::new();
        for room in ["1", "two"] {
            let mut ann = server.join(room, &person(1)).await;
            let mut grace = server.join(room, &nameless(2)).await;
            ids.push(life_of_grace(&mut ann, &mut grace).await);
            rooms.push((ann, grace));
        }
        let begun = admin.call("POST", "/admin/users/2/erase", None).await;
        assert_eq!((begun.status, &begun.body["status"]), (202, &json!("running")));
        for (ann, grace) in &mut rooms {
            while ann.try_arrival().is_some() {}
            loop {
                let arrival = grace.arrival().await.what;
                if let What::Closed(code, reason) = arrival {
                    assert_eq!((code, reason.as_str()), (4001, "token_revoked"));
                    break;
                }
            }
        }
        if is_killed {
            server.kill9();
            server.start_again();
        }
        let done = erased(&server, 2).await;
        assert_eq!(done["messages"], 2, "{done}");
        if !is_killed {
            for ((ann, _), (said, kept)) in rooms.iter_mut().zip(&ids) {
                let deleted = ann.until("message_delete").await;
                assert_eq!(&deleted["message_id"], said);
                let removed = json!({"message_id": kept, "action": "removed", "user_id": 2});
                for _ in 0..2 {
                    ann.until_like(&removed).await;
                }
            }
        }
        let of_before = person(2).claim("iat", json!(now_s() - 3_600));
        let mut refused = server.connect(&server.path("1", &of_before)).await;
        refused.closed_with(4001, "token_revoked").await;
        let mut ann = server.join("1", &person(1)).await;
        let nobody = json!({"id": 2, "email": "", "first_name": "", "last_name": ""});
        let first = ann.expect("chat_message").await;
        let gone = json!({"message": {
            "id": ids[0].0, "content": "Message deleted", "is_deleted": true, "sender": nobody,
        }});
        assert!(is_like(&first, &gone), "{first}");
        let second = ann.expect("chat_message").await;
        let kept = json!({"message": {"id": ids[0].1, "content": "it stays", "reactions": {}}});
        assert!(is_like(&second, &kept), "{second}");
        let readers = second["message"]["read_by"].as_array().unwrap();
        assert!(!readers.contains(&json!(2)), "{second}");
        let members = server.admin().must("GET", "/admin/conversations/1/members", None).await;
        assert_eq!(members["members"].as_array().unwrap().len(), 1, "{members}");
        drop(rooms);
        server.sigterm();
        server.exited();
        assert!(!holds(&server.data(), "grace-secret") && !holds(&server.data(), "Grace-secret"));
        assert!(holds(&server.data(), "it stays"));
        server.start_again();
    }
}

/// What comes out over the ways out.
async fn told(server: &Server, path: &str) -> (u16, String) {
    server.admin().lines("GET", path, None).await
}

#[tokio::test]
async fn a_deleted_conversation_is_in_no_export_and_its_text_in_no_event() {
    let mut server = Server::with(&[("access", "open")]);
    let mut ann = server.join("1", &person(1)).await;
    let id = ann.say("never to be told again").await["message"]["id"].clone();
    ann.send(json!({"type": "message_edit", "message_id": id, "content": "nor told again"})).await;
    ann.expect("message_edit").await;
    server.join("2", &person(1)).await.say("told as ever").await;
    server.admin().must("DELETE", "/admin/conversations/1", None).await;
    for round in 0..3 {
        if round == 1 {
            server.restart();
        }
        if round == 2 {
            server.admin().must("PUT", "/admin/conversations/1", None).await;
            server.join("1", &person(2)).await.say("told anew").await;
        }
        let (status, lines) = told(&server, "/admin/conversations/1/export").await;
        assert_eq!(status, if round < 2 { 404 } else { 200 }, "{lines}");
        assert!(!lines.contains("told again"), "{lines}");
        assert_eq!(lines.contains("told anew"), round == 2, "{lines}");
        let (status, lines) = told(&server, "/admin/events").await;
        assert_eq!(status, 200, "{lines}");
        assert!(!lines.contains("told again") && lines.contains("told as ever"), "{lines}");
        assert!(lines.contains("conversation_deleted"), "{lines}");
    }
}
