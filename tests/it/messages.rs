//! Messages and threads: what the guide shows, who gets it, in which order, with which numbers.

use serde_json::{Value, json};

use crate::harness::{Server, all_see, all_settled, nameless, person};

fn said(content: &str) -> Value {
    json!({"type": "chat_message", "message": {"content": content}})
}

#[tokio::test]
async fn a_message_reaches_everyone_in_the_guides_shape() {
    let server = Server::start();
    let mut room = server.room::<3>("77").await;
    room[0].send(json!({"type": "chat_message", "content": "Hello, this is a message!"})).await;
    let frame = all_see(&mut room, &said("Hello, this is a message!")).await;
    let message = &frame["message"];
    let sender = json!({
        "id": 1, "email": "mail-of-1@chat.test", "first_name": "First1", "last_name": "Last1",
    });
    assert_eq!(message["sender"], sender);
    assert_eq!(message["parent_message_id"], Value::Null);
    assert_eq!(message["is_edited"], false);
    assert_eq!(frame["seq"], 1);
    all_settled(&mut room).await;
}

#[tokio::test]
async fn what_the_hook_sends_is_taken_to_the_letter() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    // JSON.stringify of the hook's object: null for no parent.
    let text = r#"{"type":"chat_message","content":"hi","parent_message_id":null}"#;
    room[1].send_text(text).await;
    let frame = all_see(&mut room, &said("hi")).await;
    let id = &frame["message"]["id"];
    room[0].send(json!({"type": "read_receipt", "message_id": id})).await;
    all_see(&mut room, &json!({"type": "read_receipt", "message_id": id, "user_id": 1})).await;
    room[0].send(json!({"type": "message_reaction", "message_id": id, "emoji": "👍"})).await;
    let added = json!({"type": "message_reaction", "message_id": id, "emoji": "👍", "user_id": 1,
        "action": "added"});
    all_see(&mut room, &added).await;
    all_settled(&mut room).await;
}

#[tokio::test]
async fn content_is_trimmed_and_otherwise_kept_to_the_character() {
    let server = Server::start();
    let [mut client] = server.room("1").await;
    let mut check = async |sent: &str, shown: &str| {
        client.send(json!({"type": "chat_message", "content": sent})).await;
        let frame = client.expect("chat_message").await;
        assert_eq!(frame["message"]["content"], shown);
    };
    check("  around \n\t", "around").await;
    check("\u{2003}wide\u{a0}", "wide").await;
    check("a\n b\t\"c\" \\ /", "a\n b\t\"c\" \\ /").await;
    check("\u{0}\u{1}\u{1f}\u{7f}x", "\u{0}\u{1}\u{1f}\u{7f}x").await;
    check("</script>\u{2028}\u{2029}", "</script>").await;
    check("e\u{301} ≠ é · 👩‍👩‍👧‍👦 · שלום", "e\u{301} ≠ é · 👩‍👩‍👧‍👦 · שלום").await;
    check("\u{10ffff}\u{fffd}", "\u{10ffff}\u{fffd}").await;
    // Escapes of any kind mean the same text.
    client.send_text(r#"{"type":"chat_message","content":"\ud83d\udc4d\u0041\/"}"#).await;
    client.expect_like(&said("👍A/")).await;
}

#[tokio::test]
async fn ten_thousand_characters_are_taken_and_one_more_is_not() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    for full in ["a".repeat(10_000), "👍".repeat(10_000), "\"".repeat(10_000)] {
        room[0].send(json!({"type": "chat_message", "content": full})).await;
        all_see(&mut room, &said(&full)).await;
        let more = format!("{full}b");
        room[0].send(json!({"type": "chat_message", "content": more})).await;
        room[0].error("too_long").await;
    }
    for empty in ["", "   ", "\n\t\u{2003}"] {
        room[0].send(json!({"type": "chat_message", "content": empty})).await;
        room[0].error("empty").await;
    }
    all_settled(&mut room).await;
}

#[tokio::test]
async fn a_reply_names_its_parent_and_only_one_of_this_conversation() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let mut elsewhere = server.join("2", &person(1)).await;
    let parent = room[0].say("parent").await["message"]["id"].clone();
    room[1].expect("chat_message").await;
    let stranger = elsewhere.say("elsewhere").await["message"]["id"].clone();

    let mut check = async |asked: &Value, shown: &Value| {
        let reply = json!({"type": "chat_message", "content": "reply", "parent_message_id": asked});
        room[1].send(reply).await;
        let frame = all_see(&mut room, &said("reply")).await;
        assert_eq!(frame["message"]["parent_message_id"], *shown, "asked for {asked}");
    };
    check(&parent, &parent).await;
    check(&Value::Null, &Value::Null).await;
    check(&json!(9_007_199_254_740_991_u64), &Value::Null).await;
    check(&stranger, &Value::Null).await;
    elsewhere.quiet().await;
}

#[tokio::test]
async fn a_reply_to_a_deleted_message_and_a_reply_to_a_reply_stand() {
    let server = Server::start();
    let [mut client] = server.room("1").await;
    let parent = client.say("parent").await["message"]["id"].clone();
    client.send(json!({"type": "message_delete", "message_id": parent})).await;
    client.expect("message_delete").await;
    let mut last = parent;
    for depth in 0..3 {
        let content = format!("reply {depth}");
        let reply = json!({"type": "chat_message", "content": content, "parent_message_id": last});
        client.send(reply).await;
        let frame = client.expect_like(&said(&content)).await;
        assert_eq!(frame["message"]["parent_message_id"], last);
        last = frame["message"]["id"].clone();
    }
}

#[tokio::test]
async fn what_the_token_lacks_is_empty_and_never_null() {
    let server = Server::start();
    let mut client = server.join("1", &nameless(5)).await;
    let frame = client.say("who am I").await;
    let sender = json!({"id": 5, "email": "", "first_name": "", "last_name": ""});
    assert_eq!(frame["message"]["sender"], sender);
}

#[tokio::test]
async fn an_id_is_one_user_however_the_token_writes_it() {
    let server = Server::start();
    let longest = "u".repeat(64);
    let cases = [
        (json!(1), json!(1)),
        (json!("1"), json!(1)),
        (json!(9_007_199_254_740_991_u64), json!(9_007_199_254_740_991_u64)),
        (json!("9007199254740991"), json!(9_007_199_254_740_991_u64)),
        (json!("ann.lee@x+1-2_3"), json!("ann.lee@x+1-2_3")),
        (json!(longest), json!(longest)),
    ];
    for (written, shown) in cases {
        let token = server.token(&person(written.clone()));
        let mut client = server.connect(&format!("/ws/chat/1/?token={token}")).await;
        let own = client.raw_frame().await;
        assert_eq!(own["user_id"], shown, "written {written}");
        let frame = client.say("it is me").await;
        assert_eq!(frame["message"]["sender"]["id"], shown, "written {written}");
    }
}

#[tokio::test]
async fn seqs_are_dense_and_ids_are_unique_across_conversations() {
    let server = Server::with(&[("rate_limits", "off")]);
    let mut ids = std::collections::HashSet::new();
    for conversation in ["1", "2", "general", "a-b_c"] {
        let mut client = server.join(conversation, &person(1)).await;
        for seq in 1..=20 {
            let frame = client.say(&format!("message {seq}")).await;
            assert_eq!(frame["seq"], seq);
            assert!(ids.insert(frame["message"]["id"].as_u64()), "an id twice: {frame}");
        }
    }
}

#[tokio::test]
async fn many_senders_at_once_are_seen_in_one_order_by_all() {
    const EACH: usize = 40;
    let server = Server::with(&[("rate_limits", "off")]);
    let mut room = server.room::<6>("busy").await;
    for (who, client) in room.iter_mut().enumerate() {
        let say = |n| json!({"type": "chat_message", "content": format!("message {n} of {who}")});
        client.send_all((0..EACH).map(say)).await;
    }
    let mut next_of = [0; 6];
    for seq in 1..=6 * EACH {
        let frame = all_see(&mut room, &json!({"type": "chat_message", "seq": seq})).await;
        let who = frame["message"]["sender"]["id"].as_u64().expect("a number") as usize - 1;
        let expected = format!("message {} of {who}", next_of[who]);
        assert_eq!(frame["message"]["content"], expected, "each sender's own order is kept");
        next_of[who] += 1;
    }
}

#[tokio::test]
async fn a_message_sent_twice_under_one_id_is_stored_once() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let once = json!({"type": "chat_message", "content": "only once", "client_msg_id": "c-17"});
    room[0].send(once.clone()).await;
    let frame = all_see(&mut room, &said("only once")).await;
    assert_eq!(frame.get("client_msg_id"), None, "v1 sockets are not told");
    room[0].send(once.clone()).await;
    all_settled(&mut room).await;
    let other = json!({"type": "chat_message", "content": "other text", "client_msg_id": "c-17"});
    room[0].send(other).await;
    let error = room[0].error("idempotency_conflict").await;
    assert_eq!(error["ref"], "c-17");
    // The id belongs to the user.
    room[1].send(once).await;
    all_see(&mut room, &said("only once")).await;
    all_settled(&mut room).await;
}

#[tokio::test]
async fn conversations_do_not_hear_each_other() {
    let server = Server::start();
    let mut one = server.room::<2>("1").await;
    let mut other = server.room::<2>("2").await;
    let id = one[0].say("in the first").await["message"]["id"].clone();
    one[1].expect("chat_message").await;
    for frame in [
        json!({"type": "message_edit", "message_id": id, "content": "changed"}),
        json!({"type": "message_delete", "message_id": id}),
        json!({"type": "message_reaction", "message_id": id, "emoji": "x"}),
    ] {
        other[0].send(frame).await;
        other[0].error("not_found").await;
    }
    all_settled(&mut other).await;
    all_settled(&mut one).await;
}
