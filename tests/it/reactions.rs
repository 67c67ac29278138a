//! Reactions: they toggle, or are set to what is asked; what was never stored is never removed.

use serde_json::{Value, json};

use crate::harness::{Client, Server, all_see, all_settled};

fn react(message: &Value, emoji: &str) -> Value {
    json!({"type": "message_reaction", "message_id": message, "emoji": emoji})
}

fn ask(message: &Value, emoji: &str, action: &str) -> Value {
    json!({"type": "message_reaction", "message_id": message, "emoji": emoji, "action": action})
}

fn shown(user: u64, emoji: &str, action: &str) -> Value {
    json!({"type": "message_reaction", "user_id": user, "emoji": emoji, "action": action})
}

/// A room with a message in it.
async fn message_in(room: &mut [Client]) -> Value {
    all_settled(room).await["message"]["id"].clone()
}

#[tokio::test]
async fn a_reaction_toggles_for_each_user_on_its_own() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let id = message_in(&mut room).await;
    for (who, action) in [(0, "added"), (1, "added"), (0, "removed"), (0, "added"), (1, "removed")]
    {
        room[who].send(react(&id, "👍")).await;
        let frame = all_see(&mut room, &shown(who as u64 + 1, "👍", action)).await;
        assert_eq!(frame["message_id"], id);
    }
    all_settled(&mut room).await;
}

#[tokio::test]
async fn what_is_asked_for_is_done_once() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let id = message_in(&mut room).await;
    room[0].send(ask(&id, "x", "remove")).await;
    room[0].send(ask(&id, "x", "add")).await;
    room[0].send(ask(&id, "x", "add")).await;
    all_see(&mut room, &shown(1, "x", "added")).await;
    room[1].send(ask(&id, "x", "remove")).await;
    room[0].send(ask(&id, "x", "remove")).await;
    room[0].send(ask(&id, "x", "remove")).await;
    all_see(&mut room, &shown(1, "x", "removed")).await;
    all_settled(&mut room).await;
}

#[tokio::test]
async fn emoji_are_compared_as_sent() {
    let server = Server::start();
    let mut room = server.room::<1>("1").await;
    let id = message_in(&mut room).await;
    // With and without the variation selector, composed and decomposed: four reactions.
    for emoji in ["❤\u{fe0f}", "❤", "é", "e\u{301}", "constructor", "__proto__"] {
        room[0].send(react(&id, emoji)).await;
        all_see(&mut room, &shown(1, emoji, "added")).await;
    }
}

#[tokio::test]
async fn sixty_four_bytes_are_an_emoji_and_more_are_not() {
    let server = Server::start();
    let mut room = server.room::<1>("1").await;
    let id = message_in(&mut room).await;
    let longest = "👍".repeat(16);
    room[0].send(react(&id, &longest)).await;
    all_see(&mut room, &shown(1, &longest, "added")).await;
    for bad in [json!(format!("{longest}x")), json!(""), json!(5), Value::Null] {
        let frame = json!({"type": "message_reaction", "message_id": id, "emoji": bad});
        room[0].send(frame).await;
        room[0].error("invalid").await;
    }
    let frame =
        json!({"type": "message_reaction", "message_id": id, "emoji": "x", "action": "flip"});
    room[0].send(frame).await;
    room[0].error("invalid").await;
    all_settled(&mut room).await;
}

#[tokio::test]
async fn a_message_holds_fifty_kinds() {
    let server = Server::with(&[("rate_limits", "off")]);
    let mut room = server.room::<2>("1").await;
    let id = message_in(&mut room).await;
    for kind in 0..50 {
        let emoji = format!("kind {kind}");
        room[kind % 2].send(react(&id, &emoji)).await;
        all_see(&mut room, &shown(kind as u64 % 2 + 1, &emoji, "added")).await;
    }
    room[0].send(react(&id, "one more")).await;
    room[0].error("too_long").await;
    // One more user of a kind is no new kind; and a kind that went makes room.
    room[1].send(react(&id, "kind 0")).await;
    all_see(&mut room, &shown(2, "kind 0", "added")).await;
    room[1].send(react(&id, "kind 1")).await;
    all_see(&mut room, &shown(2, "kind 1", "removed")).await;
    room[0].send(react(&id, "one more")).await;
    all_see(&mut room, &shown(1, "one more", "added")).await;
    all_settled(&mut room).await;
}

#[tokio::test]
async fn nobody_reacts_to_what_is_gone_or_never_was() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let id = message_in(&mut room).await;
    room[1].send(react(&id, "x")).await;
    all_see(&mut room, &shown(2, "x", "added")).await;
    room[0].send(json!({"type": "message_delete", "message_id": id})).await;
    all_see(&mut room, &json!({"type": "message_delete", "message_id": id})).await;
    for frame in [react(&id, "y"), ask(&id, "x", "remove"), ask(&id, "x", "add")] {
        room[1].send(frame).await;
        room[1].error("gone").await;
    }
    room[1].send(react(&json!(9_007_199_254_740_991_u64), "x")).await;
    room[1].error("not_found").await;
    all_settled(&mut room).await;
}
