//! Who may enter, and who may do what: roles, the three access modes, removal, kicks, revocation.

use serde_json::{Value, json};

use crate::harness::server::ADMIN_TOKEN;
use crate::harness::token::{Person, now_s};
use crate::harness::{Client, Server, all_settled, nameless, person};

async fn refused(server: &Server, conversation: &str, who: &Person, code: u16, reason: &str) {
    let mut client = server.connect(&server.path(conversation, who)).await;
    client.closed_with(code, reason).await;
}

/// Each command that changes something, about this message.
fn commands(message: &Value) -> Vec<Value> {
    vec![
        json!({"type": "chat_message", "content": "mine"}),
        json!({"type": "message_reaction", "message_id": message, "emoji": "x"}),
        json!({"type": "message_edit", "message_id": message, "content": "changed"}),
        json!({"type": "message_delete", "message_id": message}),
    ]
}

#[tokio::test]
async fn a_reader_sends_receipts_and_nothing_else() {
    let server = Server::start();
    let mut writer = server.join("1", &person(1)).await;
    let mut reader = server.join("1", &person(2).role("read_only")).await;
    let id = writer.say("read me").await["message"]["id"].clone();
    reader.expect("chat_message").await;
    for frame in commands(&id) {
        reader.send(frame).await;
        reader.error("forbidden").await;
    }
    reader.send(json!({"type": "typing_indicator", "is_typing": true})).await;
    // Refused or ignored, but never passed on.
    let answers = reader.ping().await;
    assert!(answers.iter().all(|frame| frame["code"] == "forbidden"), "{answers:?}");
    reader.send(json!({"type": "read_receipt", "message_id": id})).await;
    for client in [&mut reader, &mut writer] {
        client.expect_like(&json!({"type": "read_receipt", "user_id": 2})).await;
    }
}

#[tokio::test]
async fn members_enter_and_nobody_learns_what_exists() {
    let server = Server::with(&[("access", "members")]);
    let admin = server.admin();
    refused(&server, "77", &person(1), 4003, "forbidden").await;
    admin.conversation("77", &[("1", "member")]).await;
    server.join("77", &person(1)).await.say("let me in").await;
    // A stranger, and a conversation that does not exist, are answered alike.
    refused(&server, "77", &person(2), 4003, "forbidden").await;
    refused(&server, "78", &person(1), 4003, "forbidden").await;
    // Claims of the token do not count here.
    let claims = person(2).role("admin").conversations(json!("*"));
    refused(&server, "77", &claims, 4003, "forbidden").await;
}

#[tokio::test]
async fn the_directorys_role_counts_and_counts_at_once() {
    let server = Server::with(&[("access", "members")]);
    let admin = server.admin();
    admin.conversation("77", &[("1", "member"), ("2", "read_only")]).await;
    let mut author = server.join("77", &person(1)).await;
    let mut other = server.join("77", &person(2).role("admin")).await;
    let id = author.say("mine").await["message"]["id"].clone();
    other.expect("chat_message").await;
    let edit = json!({"type": "message_edit", "message_id": id, "content": "changed"});
    other.send(edit.clone()).await;
    other.error("forbidden").await;
    for (role, may_write, may_edit) in
        [("member", true, false), ("moderator", true, true), ("read_only", false, false)]
    {
        admin.member("77", "2", role).await;
        other.send(json!({"type": "chat_message", "content": role})).await;
        let answer = other.next().await;
        assert_eq!(answer["type"] == "chat_message", may_write, "{role}: {answer}");
        other.send(edit.clone()).await;
        let answer = other.next().await;
        assert_eq!(answer["type"] == "message_edit", may_edit, "{role}: {answer}");
    }
}

#[tokio::test]
async fn who_is_removed_is_out_and_who_is_kicked_may_come_back() {
    let server = Server::with(&[("access", "members")]);
    let admin = server.admin();
    admin.conversation("77", &[("1", "member"), ("2", "member")]).await;
    let mut stays = server.join("77", &person(1)).await;
    let mut tabs = [server.join("77", &person(2)).await, server.join("77", &person(2)).await];
    admin.must("POST", "/admin/conversations/77/members/2/kick", None).await;
    for tab in &mut tabs {
        assert_eq!(tab.closed().await, (4004, "kicked".to_owned()));
    }
    let mut back = server.join("77", &person(2)).await;
    admin.must("DELETE", "/admin/conversations/77/members/2", None).await;
    assert_eq!(back.closed().await, (4004, "kicked".to_owned()));
    refused(&server, "77", &person(2), 4003, "forbidden").await;
    stays.say("only the two of us").await;
}

/// P7: nothing reaches a user who is not a member when it is fanned out.
#[tokio::test]
async fn what_is_said_after_a_removal_does_not_reach_the_removed() {
    let server = Server::with(&[("access", "members"), ("rate_limits", "off")]);
    let admin = server.admin();
    admin.conversation("77", &[("1", "member"), ("2", "member")]).await;
    let mut writer = server.join("77", &person(1)).await;
    let mut removed = server.join("77", &person(2)).await;
    for n in 0..50 {
        writer.send(json!({"type": "chat_message", "content": format!("before {n}")})).await;
    }
    admin.must("DELETE", "/admin/conversations/77/members/2", None).await;
    // The answer has come: from here on the removal holds.
    writer.send(json!({"type": "chat_message", "content": "after the removal"})).await;
    writer.until_like(&json!({"message": {"content": "after the removal"}})).await;
    loop {
        match removed.arrival().await.what {
            crate::harness::What::Frame(text, _) => {
                assert!(!text.contains("after the removal"), "{text}");
            }
            crate::harness::What::Closed(code, _) => break assert_eq!(code, 4004),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn members_and_roles_are_kept_over_a_restart() {
    let mut server = Server::with(&[("access", "members")]);
    server.admin().conversation("77", &[("1", "member"), ("2", "read_only")]).await;
    server.admin().conversation("78", &[("2", "member")]).await;
    server.kill9();
    server.start_again();
    server.join("77", &person(1)).await.say("still a member").await;
    let mut reader = server.join("77", &person(2)).await;
    reader.send(json!({"type": "chat_message", "content": "may I"})).await;
    reader.error("forbidden").await;
    refused(&server, "78", &person(1), 4003, "forbidden").await;
}

#[tokio::test]
async fn a_claim_names_the_conversations() {
    let server = Server::with(&[("access", "claim")]);
    for claim in [json!("*"), json!([77]), json!(["77", "general"]), json!([1, 77])] {
        let who = person(1).conversations(claim);
        let mut client = server.join("77", &who).await;
        client.ping().await;
    }
    server.join("general", &person(1).conversations(json!(["general"]))).await;
    for claim in [json!([]), json!([7]), json!(["7", "777"])] {
        refused(&server, "77", &person(1).conversations(claim), 4003, "forbidden").await;
    }
    refused(&server, "77", &person(1), 4003, "forbidden").await;
    let reader = person(2).conversations(json!([77])).role("read_only");
    let mut reader = server.join("77", &reader).await;
    reader.send(json!({"type": "chat_message", "content": "may I"})).await;
    reader.error("forbidden").await;
}

#[tokio::test]
async fn a_profile_of_the_directory_completes_the_token() {
    let server = Server::with(&[("access", "members")]);
    let admin = server.admin();
    admin.conversation("77", &[("1", "member")]).await;
    let profile = json!({"email": "ann@chat.test", "first_name": "Ann", "last_name": "Lee"});
    admin.must("PUT", "/admin/users/1", Some(profile)).await;
    let mut client = server.join("77", &nameless(1).claim("first_name", json!("Anna"))).await;
    let frame = client.say("who am I").await;
    let sender =
        json!({"id": 1, "email": "ann@chat.test", "first_name": "Anna", "last_name": "Lee"});
    assert_eq!(frame["message"]["sender"], sender);
}

async fn revoke(server: &Server, user: &str, before_s: u64) {
    // Seconds since 1970 as RFC 3339, by the server's own words: the admin API takes a date.
    let date = crate::harness::token::rfc3339(before_s);
    let body = json!({ "issued_before": date });
    server.admin().must("POST", &format!("/admin/users/{user}/revoke"), Some(body)).await;
}

#[tokio::test]
async fn a_revoked_token_is_out_within_two_seconds_and_stays_out() {
    let mut server = Server::start();
    let old = person(1).claim("iat", json!(now_s() - 100));
    let fresh = person(1).claim("iat", json!(now_s()));
    let mut out: Client = server.join("1", &old).await;
    let mut elsewhere: Client = server.join("2", &old).await;
    let mut stays = [server.join("1", &fresh).await, server.join("1", &person(2)).await];
    let revoked = std::time::Instant::now();
    revoke(&server, "1", now_s() - 50).await;
    for client in [&mut out, &mut elsewhere] {
        assert_eq!(client.closed().await, (4001, "token_revoked".to_owned()));
    }
    assert!(revoked.elapsed() < std::time::Duration::from_secs(2));
    refused(&server, "1", &old, 4001, "token_revoked").await;
    all_settled(&mut stays).await;
    drop(stays);
    server.kill9();
    server.start_again();
    refused(&server, "1", &old, 4001, "token_revoked").await;
    server.join("1", &fresh).await.say("a newer token").await;
}

#[tokio::test]
async fn the_admin_side_asks_for_its_token() {
    let server = Server::start();
    let path = "/admin/conversations/77";
    for wrong in ["", "nobody", &ADMIN_TOKEN[1..], &format!("{ADMIN_TOKEN}x")] {
        let answer = server.admin().with_token(wrong).call("PUT", path, None).await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    assert_eq!(server.admin().call("GET", path, None).await.status, 404);
    assert_eq!(server.admin().call("PUT", path, None).await.status, 201);
    assert_eq!(server.admin().call("PUT", path, None).await.status, 200);
    let body = server.admin().must("GET", path, None).await;
    assert_eq!(body["conversation_id"], 77);
    for probe in ["/livez", "/readyz"] {
        let answer = server.admin().with_token("").call("GET", probe, None).await;
        assert_eq!(answer.status, 200, "{probe}: {answer:?}");
    }
}

#[tokio::test]
async fn members_are_listed_and_bad_input_is_named() {
    let server = Server::start();
    let admin = server.admin();
    admin.conversation("77", &[("2", "member"), ("1", "admin"), ("ann", "moderator")]).await;
    let list = admin.must("GET", "/admin/conversations/77/members", None).await;
    let members = json!([
        {"user_id": 1, "role": "admin"},
        {"user_id": 2, "role": "member"},
        {"user_id": "ann", "role": "moderator"},
    ]);
    assert_eq!(list["members"], members);
    let page = admin.must("GET", "/admin/conversations/77/members?after=1&limit=1", None).await;
    assert_eq!((&page["members"][0]["user_id"], &page["has_more"]), (&json!(2), &json!(true)));
    let put = |path: &'static str, body: Value| admin.call("PUT", path, Some(body));
    let member = "/admin/conversations/77/members/3";
    assert_eq!(put(member, json!({"role": "king"})).await.status, 400);
    assert_eq!(put(member, json!({"role": "member", "x": 1})).await.status, 400);
    assert_eq!(
        put("/admin/conversations/78/members/3", json!({"role": "member"})).await.status,
        404
    );
    assert_eq!(put("/admin/conversations/007", json!({})).await.status / 100, 4);
}
