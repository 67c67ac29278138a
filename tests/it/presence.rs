//! Presence: one's own status first, then who is there; tabs are counted; leaving has a grace.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Client, Server, What, person};

/// The next frame is this user's status.
async fn status_next(client: &mut Client, user: u64, status: &str) {
    let frame = client.raw_frame().await;
    let told = (&frame["type"], &frame["user_id"], &frame["status"]);
    assert_eq!(told, (&"user_status".into(), &user.into(), &status.into()), "{}", client.name);
}

/// Nothing at all comes before the pong, presence included.
async fn nothing(client: &mut Client) {
    client.quiet().await;
    assert_eq!(client.presence(), Vec::<serde_json::Value>::new(), "{}", client.name);
}

#[tokio::test]
async fn one_is_told_of_oneself_first_and_then_of_those_who_are_there() {
    let server = Server::start();
    let mut first = server.join("1", &person(1)).await;
    let mut second = server.join("1", &person(2)).await;
    status_next(&mut second, 1, "online").await;
    status_next(&mut first, 2, "online").await;
    let mut third = server.join("1", &person(3)).await;
    let there = [third.raw_frame().await, third.raw_frame().await];
    let mut users: Vec<_> = there.iter().map(|frame| frame["user_id"].as_u64()).collect();
    users.sort_unstable();
    assert_eq!(users, [Some(1), Some(2)], "{there:?}");
    for client in [&mut first, &mut second] {
        status_next(client, 3, "online").await;
    }
    for client in [&mut first, &mut second, &mut third] {
        client.ping().await;
        assert!(client.presence().is_empty(), "each status once");
    }
}

/// The page shows who is there before it shows what was said.
#[tokio::test]
async fn ones_own_status_comes_before_what_is_replayed() {
    let server = Server::with(&[("history_on_connect", "5")]);
    server.join("1", &person(1)).await.say("before").await;
    let mut late = server.connect(&server.path("1", &person(2))).await;
    let first = late.raw_frame().await;
    assert_eq!(first["type"], "user_status", "first comes the own status");
    late.until("chat_message").await;
}

#[tokio::test]
async fn another_tab_is_no_news_to_anyone_but_itself() {
    let server = Server::with(&[("offline_grace_ms", "0")]);
    let mut other = server.join("1", &person(1)).await;
    let mut tab = server.join("1", &person(2)).await;
    status_next(&mut other, 2, "online").await;
    status_next(&mut tab, 1, "online").await;
    let mut second = server.join("1", &person(2)).await;
    status_next(&mut second, 1, "online").await;
    tab.close().await;
    // Whatever the closing said to the others would come before this.
    second.say("still here").await;
    other.expect("chat_message").await;
    assert!(other.presence().is_empty(), "one of two tabs closed");
    second.close().await;
    status_next(&mut other, 2, "offline").await;
}

/// SimpleJWT 5.5.1 began to write ids as texts: tabs with an older token are the same user's.
#[tokio::test]
async fn a_number_and_its_text_are_one_user() {
    let server = Server::with(&[("offline_grace_ms", "0")]);
    let mut other = server.join("1", &person(1)).await;
    let number = server.join("1", &person(2)).await;
    status_next(&mut other, 2, "online").await;
    let mut text = server.connect(&server.path("1", &person("2"))).await;
    assert_eq!(text.own_status().await["user_id"], 2);
    number.close().await;
    text.say("one tab is left").await;
    other.expect("chat_message").await;
    assert!(other.presence().is_empty(), "they are tabs of one user");
}

#[tokio::test]
async fn leaving_is_told_after_the_grace_and_not_before() {
    let server = Server::with(&[("offline_grace_ms", "400")]);
    let mut stays = server.join("1", &person(1)).await;
    let goes = server.join("1", &person(2)).await;
    status_next(&mut stays, 2, "online").await;
    let left = Instant::now();
    goes.close().await;
    let told = stays.arrival().await;
    let waited = told.at.duration_since(left);
    assert!(matches!(told.what, What::Frame(_, ref f) if f["status"] == "offline"), "{told:?}");
    assert!(waited >= Duration::from_millis(390), "told after {waited:?}");
}

#[tokio::test]
async fn a_reload_within_the_grace_is_told_to_nobody() {
    let server = Server::with(&[("offline_grace_ms", "500")]);
    let mut stays = server.join("1", &person(1)).await;
    let reloads = server.join("1", &person(2)).await;
    status_next(&mut stays, 2, "online").await;
    reloads.close().await;
    let again = server.join("1", &person(2)).await;
    // Somebody who leaves later: when that is told, the first grace has long passed.
    let later = server.join("1", &person(3)).await;
    status_next(&mut stays, 3, "online").await;
    later.close().await;
    status_next(&mut stays, 3, "offline").await;
    drop(again);
    status_next(&mut stays, 2, "offline").await;
}

#[tokio::test]
async fn a_lost_connection_is_a_leaving_too() {
    let server = Server::with(&[("offline_grace_ms", "0")]);
    let mut stays = server.join("1", &person(1)).await;
    let raw = server.raw_socket("1", 2).await;
    status_next(&mut stays, 2, "online").await;
    // Closed with a reset, as a crash of the peer's machine or a NAT would.
    raw.stream.set_zero_linger().expect("a TCP socket has it");
    drop(raw);
    status_next(&mut stays, 2, "offline").await;
}

#[tokio::test]
async fn presence_is_of_the_conversation() {
    let server = Server::with(&[("offline_grace_ms", "0")]);
    let mut here = server.join("1", &person(1)).await;
    let mut elsewhere = server.join("2", &person(2)).await;
    nothing(&mut here).await;
    nothing(&mut elsewhere).await;
    elsewhere.close().await;
    here.say("alone").await;
    assert!(here.presence().is_empty());
}

/// Above 200 online joins are told to nobody: they must not be quadratic.
#[tokio::test]
async fn in_a_crowd_one_hears_only_of_oneself_and_of_five_typists() {
    const CROWD: usize = 230;
    let server = Server::with(&[("offline_grace_ms", "0")]);
    let mut crowd = Vec::with_capacity(CROWD);
    for id in 1..=CROWD {
        crowd.push(server.join("crowd", &person(id)).await);
    }
    let mut late = server.join("crowd", &person(CROWD + 1)).await;
    late.say("hello all").await;
    assert!(late.presence().is_empty(), "only the own status in a crowd");
    for client in &mut crowd {
        client.until("chat_message").await;
        client.presence();
    }
    for client in &mut crowd {
        client.send(json!({"type": "typing_indicator", "is_typing": true})).await;
        client.ping().await;
    }
    late.send(json!({"type": "chat_message", "content": "enough"})).await;
    let (mut typing_now, mut any) = (std::collections::HashSet::new(), false);
    loop {
        let frame = late.next().await;
        let user = frame["user_id"].to_string();
        match frame["type"].as_str() {
            Some("typing_indicator") if frame["is_typing"] == true => typing_now.insert(user),
            Some("typing_indicator") => typing_now.remove(&user),
            _ => break,
        };
        any = true;
        assert!(typing_now.len() <= 5, "{typing_now:?} are seen typing at once");
    }
    assert!(any, "nobody was seen typing");
    let gone = crowd.pop().expect("there is a crowd");
    gone.close().await;
    late.say("somebody left").await;
    assert!(late.presence().is_empty(), "leaving is told to nobody in a crowd");
}
