//! What a client of the guide is shown of the past when it connects, and what a restart leaves.

use serde_json::{Value, json};

use crate::harness::{Client, Server, all_see, all_settled, person};

/// The messages that are replayed to a newcomer, before something said now.
async fn replayed(server: &Server, conversation: &str, user: u64) -> Vec<Value> {
    let mut client = server.join(conversation, &person(user)).await;
    client.send(json!({"type": "chat_message", "content": "now"})).await;
    let mut past = Vec::new();
    loop {
        let frame = client.next().await;
        assert_eq!(frame["type"], "chat_message", "{frame}");
        if frame["message"].get("is_deleted").is_none() {
            return past;
        }
        past.push(frame);
    }
}

async fn say_many(client: &mut Client, count: usize) -> Vec<Value> {
    let mut frames = Vec::new();
    for n in 0..count {
        frames.push(client.say(&format!("message {n}")).await);
    }
    frames
}

fn contents(frames: &[Value]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame["message"]["content"].as_str()).collect()
}

#[tokio::test]
async fn without_the_setting_nothing_is_replayed() {
    let server = Server::start();
    server.join("1", &person(1)).await.say("before").await;
    assert_eq!(replayed(&server, "1", 2).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_last_messages_come_in_their_order_and_then_live() {
    let server = Server::with(&[("history_on_connect", "5"), ("rate_limits", "off")]);
    let mut first = server.join("1", &person(1)).await;
    let said = say_many(&mut first, 12).await;
    let past = replayed(&server, "1", 2).await;
    assert_eq!(
        contents(&past),
        ["message 7", "message 8", "message 9", "message 10", "message 11"]
    );
    for (then, now) in said[7..].iter().zip(&past) {
        assert_eq!(then["seq"], now["seq"]);
        for field in ["id", "content", "sender", "parent_message_id", "created_at", "is_edited"] {
            assert_eq!(then["message"][field], now["message"][field], "{field}");
        }
        let more = json!({"reactions": {}, "is_deleted": false, "edited_at": null});
        assert!(crate::harness::is_like(&now["message"], &more), "{now}");
        // Writing a message is reading it, too.
        assert!(now["message"]["read_by"].is_array(), "{now}");
    }
    // Fewer than that are all.
    let mut alone = server.join("2", &person(1)).await;
    say_many(&mut alone, 2).await;
    assert_eq!(contents(&replayed(&server, "2", 2).await), ["message 0", "message 1"]);
}

/// More than a socket may have unsent: a newcomer gets the newest, and is not turned away.
#[tokio::test]
async fn a_long_past_turns_nobody_away() {
    let server = Server::with(&[("history_on_connect", "200"), ("rate_limits", "off")]);
    let mut first = server.join("1", &person(1)).await;
    for n in 0..30 {
        first.say(&format!("{n} {}", "👍".repeat(9_990))).await;
    }
    let past = replayed(&server, "1", 2).await;
    let seqs: Vec<u64> = past.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
    assert!(!seqs.is_empty(), "nothing was replayed");
    let newest: Vec<u64> = (1..=30).skip(30 - seqs.len()).collect();
    assert_eq!(seqs, newest);
}

#[tokio::test]
async fn what_happened_to_a_message_is_replayed_with_it() {
    let mut server = Server::with(&[("history_on_connect", "50")]);
    let ids = {
        let mut room = server.room::<2>("1").await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(all_settled(&mut room).await["message"]["id"].clone());
        }
        let changes = [
            (0, json!({"type": "message_edit", "message_id": ids[0], "content": "edited"})),
            (0, json!({"type": "message_delete", "message_id": ids[1]})),
            (0, json!({"type": "message_reaction", "message_id": ids[2], "emoji": "👍"})),
            (1, json!({"type": "message_reaction", "message_id": ids[2], "emoji": "👍"})),
            (1, json!({"type": "message_reaction", "message_id": ids[2], "emoji": "x"})),
            (1, json!({"type": "message_reaction", "message_id": ids[2], "emoji": "x"})),
            (1, json!({"type": "read_receipt", "message_id": ids[3]})),
        ];
        for (who, change) in changes {
            room[who].send(change.clone()).await;
            all_see(&mut room, &json!({"type": change["type"]})).await;
        }
        ids
    };
    for restarted in [false, true] {
        if restarted {
            server.restart();
        }
        let past = replayed(&server, "1", 3 + u64::from(restarted)).await;
        let message = |n: usize| {
            let found = past.iter().find(|frame| frame["message"]["id"] == ids[n]);
            &found.unwrap_or_else(|| panic!("{} is not there", ids[n]))["message"]
        };
        let like = |n: usize, pattern: Value| {
            assert!(crate::harness::is_like(message(n), &pattern), "{restarted}: {}", message(n));
        };
        like(0, json!({"content": "edited", "is_edited": true, "is_deleted": false}));
        assert!(message(0)["edited_at"].is_string());
        like(1, json!({"content": "Message deleted", "is_deleted": true}));
        let users = |value: &Value| {
            let mut users: Vec<_> =
                value.as_array().expect("a list").iter().map(Value::as_u64).collect();
            users.sort_unstable();
            users
        };
        assert_eq!(users(&message(2)["reactions"]["👍"]), [Some(1), Some(2)]);
        // Added and removed: the emoji is not there, as the hook would have it after a reload.
        assert!(message(2)["reactions"].get("x").is_none_or(|users| users == &json!([])));
        assert!(users(&message(3)["read_by"]).contains(&Some(2)), "{}", message(3));
    }
}

#[tokio::test]
async fn a_restart_keeps_everything_and_goes_on_counting() {
    let mut server = Server::with(&[("history_on_connect", "200"), ("rate_limits", "off")]);
    let mut said = Vec::new();
    for conversation in ["1", "two", "3"] {
        let mut client = server.join(conversation, &person(1)).await;
        said.push((conversation, say_many(&mut client, 30).await));
    }
    for round in 0..3 {
        if round == 1 {
            server.kill9();
            server.start_again();
        } else {
            server.restart();
        }
        for (conversation, frames) in &mut said {
            let mut client = server.join(conversation, &person(1)).await;
            for frame in frames.iter() {
                let again = client.expect("chat_message").await;
                assert_eq!(again["seq"], frame["seq"]);
                assert_eq!(again["message"]["id"], frame["message"]["id"]);
                assert_eq!(again["message"]["created_at"], frame["message"]["created_at"]);
                assert_eq!(again["message"]["content"], frame["message"]["content"]);
            }
            let next = client.say(&format!("after restart {round}")).await;
            assert_eq!(next["seq"], frames.len() + 1, "after restart {round}");
            frames.push(next);
        }
    }
}
