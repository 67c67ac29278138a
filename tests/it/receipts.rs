//! Receipts: a mark per user that only rises, told to all, and silence about everything else.

use serde_json::{Value, json};

use crate::harness::{Server, all_see, all_settled, person};

fn read(message: &Value) -> Value {
    json!({"type": "read_receipt", "message_id": message})
}

async fn messages(client: &mut [crate::harness::Client], count: usize) -> Vec<Value> {
    let mut ids = Vec::new();
    for n in 0..count {
        let content = format!("message {n}");
        client[0].send(json!({"type": "chat_message", "content": content})).await;
        let said = json!({"type": "chat_message", "message": {"content": content}});
        ids.push(all_see(client, &said).await["message"]["id"].clone());
    }
    ids
}

#[tokio::test]
async fn everyone_hears_of_a_receipt_the_author_and_the_reader_too() {
    let server = Server::start();
    let mut room = server.room::<3>("1").await;
    let ids = messages(&mut room, 2).await;
    for id in &ids {
        room[1].send(read(id)).await;
        let seen = json!({"type": "read_receipt", "message_id": id, "user_id": 2});
        all_see(&mut room, &seen).await;
    }
    all_settled(&mut room).await;
}

#[tokio::test]
async fn a_mark_only_rises_and_the_rest_is_silence() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let mut elsewhere = server.join("2", &person(2)).await;
    let stranger = elsewhere.say("elsewhere").await["message"]["id"].clone();
    let ids = messages(&mut room, 3).await;
    room[1].send(read(&ids[1])).await;
    all_see(&mut room, &json!({"type": "read_receipt", "message_id": ids[1]})).await;
    // At the mark, below it, no message, another conversation's message.
    for silent in [&ids[1], &ids[0], &json!(9_007_199_254_740_991_u64), &stranger] {
        room[1].send(read(silent)).await;
    }
    room[1].quiet().await;
    room[1].send(read(&ids[2])).await;
    all_see(&mut room, &json!({"type": "read_receipt", "message_id": ids[2]})).await;
    all_settled(&mut room).await;
    elsewhere.quiet().await;
}

#[tokio::test]
async fn both_tabs_of_a_reader_share_one_mark() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let mut tab = server.join("1", &person(2)).await;
    let ids = messages(&mut room, 1).await;
    tab.expect("chat_message").await;
    room[1].send(read(&ids[0])).await;
    let seen = json!({"type": "read_receipt", "message_id": ids[0], "user_id": 2});
    all_see(&mut room, &seen).await;
    tab.expect_like(&seen).await;
    tab.send(read(&ids[0])).await;
    tab.quiet().await;
    all_settled(&mut room).await;
}

/// The hook changes rooms and sends receipts for the old room's ids into the new one.
#[tokio::test]
async fn receipts_of_another_room_are_no_bad_frames() {
    let server = Server::start();
    let mut old = server.room::<1>("old").await;
    let ids = messages(&mut old, 4).await;
    let mut room = server.room::<2>("new").await;
    let storm = (0..70).flat_map(|_| ids.iter().map(read));
    room[0].send_all(storm).await;
    all_settled(&mut room).await;
}

#[tokio::test]
async fn repeats_are_never_a_flood() {
    const REPEATS: usize = 3_000;
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let ids = messages(&mut room, 1).await;
    room[1].send_all((0..REPEATS).map(|_| read(&ids[0]))).await;
    all_see(&mut room, &json!({"type": "read_receipt", "message_id": ids[0]})).await;
    all_settled(&mut room).await;
}

#[tokio::test]
async fn marks_are_kept_over_a_restart() {
    let mut server = Server::with(&[("history_on_connect", "10")]);
    let id = {
        let mut room = server.room::<2>("1").await;
        let ids = messages(&mut room, 1).await;
        room[1].send(read(&ids[0])).await;
        all_see(&mut room, &json!({"type": "read_receipt", "user_id": 2})).await;
        ids[0].clone()
    };
    server.restart();
    let mut client = server.join("1", &person(2)).await;
    let replayed = client.expect("chat_message").await;
    assert_eq!(replayed["message"]["id"], id);
    let read_by = replayed["message"]["read_by"].as_array().expect("a list of users");
    assert!(read_by.contains(&json!(2)), "{replayed}");
    client.send(read(&id)).await;
    client.say("a known mark is no news").await;
}
