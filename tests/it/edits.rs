//! Edits and deletes: who may, what is no change, and what stays of a deleted message.

use serde_json::{Value, json};

use crate::harness::{Server, all_see, all_settled, person};

fn edit(message: &Value, content: &str) -> Value {
    json!({"type": "message_edit", "message_id": message, "content": content})
}

fn delete(message: &Value) -> Value {
    json!({"type": "message_delete", "message_id": message})
}

#[tokio::test]
async fn an_edit_is_shown_to_all_with_its_time() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let id = all_settled(&mut room).await["message"]["id"].clone();
    room[0].send(edit(&id, "  Updated message content ")).await;
    let shown = json!({
        "type": "message_edit", "message_id": id, "content": "Updated message content", "seq": 2,
    });
    let frame = all_see(&mut room, &shown).await;
    assert_eq!(frame["edited_at"], frame["timestamp"]);
    // The same content again is no change, also after trimming.
    room[0].send(edit(&id, "Updated message content\n")).await;
    all_settled(&mut room).await;
}

#[tokio::test]
async fn an_edit_has_the_limits_of_a_message() {
    let server = Server::start();
    let mut room = server.room::<1>("1").await;
    let id = all_settled(&mut room).await["message"]["id"].clone();
    room[0].send(edit(&id, " \n")).await;
    room[0].error("empty").await;
    room[0].send(edit(&id, &"x".repeat(10_001))).await;
    room[0].error("too_long").await;
    room[0].send(json!({"type": "message_edit", "message_id": id})).await;
    room[0].error("invalid").await;
    room[0].send(edit(&json!(9_007_199_254_740_991_u64), "x")).await;
    room[0].error("not_found").await;
    all_settled(&mut room).await;
}

#[tokio::test]
async fn only_its_author_or_a_moderator_changes_a_message() {
    let server = Server::start();
    let mut author = server.join("1", &person(1)).await;
    let mut other = server.join("1", &person(2)).await;
    author.status(2, "online").await;
    let mut moderator = server.join("1", &person(3).role("moderator")).await;
    other.status(3, "online").await;
    let id = author.say("mine").await["message"]["id"].clone();
    let last = author.say("mine too").await["message"]["id"].clone();
    for client in [&mut other, &mut moderator] {
        client.expect("chat_message").await;
        client.expect("chat_message").await;
    }
    for frame in [edit(&id, "yours?"), delete(&id)] {
        other.send(frame).await;
        other.error("forbidden").await;
    }
    moderator.send(edit(&id, "moderated")).await;
    for client in [&mut author, &mut other, &mut moderator] {
        client.expect_like(&json!({"type": "message_edit", "content": "moderated"})).await;
    }
    moderator.send(delete(&last)).await;
    for client in [&mut author, &mut other, &mut moderator] {
        client.expect_like(&json!({"type": "message_delete", "message_id": last})).await;
    }
}

#[tokio::test]
async fn a_message_is_deleted_once_and_stays_gone() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let id = all_settled(&mut room).await["message"]["id"].clone();
    room[0].send(delete(&id)).await;
    let frame = all_see(&mut room, &json!({"type": "message_delete", "message_id": id})).await;
    assert_eq!(frame["seq"], 2);
    room[0].send(delete(&id)).await;
    room[0].send(edit(&id, "risen")).await;
    room[0].error("gone").await;
    room[0].send(delete(&json!(9_007_199_254_740_991_u64))).await;
    room[0].error("not_found").await;
    all_settled(&mut room).await;
}

#[tokio::test]
async fn authors_keep_their_messages_over_a_restart() {
    let mut server = Server::start();
    let id = {
        let mut room = server.room::<2>("1").await;
        all_settled(&mut room).await["message"]["id"].clone()
    };
    server.restart();
    let mut room = server.room::<2>("1").await;
    room[1].send(edit(&id, "not mine")).await;
    room[1].error("forbidden").await;
    room[0].send(edit(&id, "still mine")).await;
    let shown = json!({"type": "message_edit", "message_id": id, "content": "still mine"});
    let frame = all_see(&mut room, &shown).await;
    assert_eq!(frame["seq"], 2);
    room[0].send(delete(&id)).await;
    all_see(&mut room, &json!({"type": "message_delete", "message_id": id, "seq": 3})).await;
}
