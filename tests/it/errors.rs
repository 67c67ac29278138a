//! Commands that make no sense: each gets its code, and the socket lives on.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::Server;

/// What is sent, and the code of the answer.
const BAD: [(&str, &str); 39] = [
    ("", "invalid_json"),
    ("hello", "invalid_json"),
    ("{", "invalid_json"),
    ("{\"type\":\"chat_message\",\"content\":\"x\"", "invalid_json"),
    ("{\"type\":\"chat_message\",\"content\":\"x\"}x", "invalid_json"),
    ("{\"type\":\"chat_message\",\"content\":\"x\"}{}", "invalid_json"),
    ("{'type':'chat_message'}", "invalid_json"),
    ("{\"type\":\"chat_message\",\"content\":\"a\nb\"}", "invalid_json"),
    ("{\"type\":\"chat_message\",\"content\":\"\\ud800\"}", "invalid_json"),
    ("{\"type\":\"chat_message\",\"content\":\"\\x41\"}", "invalid_json"),
    ("{\"type\":\"chat_message\",\"content\":NaN}", "invalid_json"),
    ("{\"type\":\"chat_message\",\"content\":01}", "invalid_json"),
    ("\u{feff}{\"type\":\"chat_message\",\"content\":\"x\"}", "invalid_json"),
    ("null", "invalid"),
    ("[]", "invalid"),
    ("17", "invalid"),
    ("\"chat_message\"", "invalid"),
    ("{}", "invalid"),
    ("{\"type\":null}", "invalid"),
    ("{\"type\":5}", "invalid"),
    ("{\"type\":\"chat_message\"}", "invalid"),
    ("{\"type\":\"chat_message\",\"content\":5}", "invalid"),
    ("{\"type\":\"chat_message\",\"content\":null}", "invalid"),
    ("{\"type\":\"chat_message\",\"content\":\"x\",\"parent_message_id\":\"1\"}", "invalid"),
    ("{\"type\":\"chat_message\",\"content\":\"x\",\"parent_message_id\":-1}", "invalid"),
    ("{\"type\":\"chat_message\",\"content\":\"x\",\"content\":\"y\"}", "invalid"),
    ("{\"type\":\"typing_indicator\"}", "invalid"),
    ("{\"type\":\"typing_indicator\",\"is_typing\":\"true\"}", "invalid"),
    ("{\"type\":\"typing_indicator\",\"is_typing\":1}", "invalid"),
    ("{\"type\":\"read_receipt\"}", "invalid"),
    ("{\"type\":\"read_receipt\",\"message_id\":\"1\"}", "invalid"),
    ("{\"type\":\"read_receipt\",\"message_id\":1.5}", "invalid"),
    ("{\"type\":\"read_receipt\",\"message_id\":-1}", "invalid"),
    ("{\"type\":\"read_receipt\",\"message_id\":9007199254740992}", "invalid"),
    ("{\"type\":\"read_receipt\",\"message_id\":1e2}", "invalid"),
    ("{\"type\":\"message_delete\",\"message_id\":[1]}", "invalid"),
    ("{\"type\":\"message_reaction\",\"message_id\":1}", "invalid"),
    ("{\"type\":\"user_status\"}", "unknown_type"),
    ("{\"type\":\"Chat_Message\",\"content\":\"x\"}", "unknown_type"),
];

/// Not counted here: how many of them a socket may send is a test of its own.
const PATIENT: (&str, &str) = ("limits.bad_frames_per_minute", "1000");

#[tokio::test]
async fn each_bad_frame_gets_its_code_and_the_socket_lives() {
    let server = Server::with(&[PATIENT, ("rate_limits", "off")]);
    let [mut client, mut other] = server.room("1").await;
    for (text, code) in BAD {
        client.send_text(text).await;
        let error = client.next().await;
        assert_eq!(error["code"], code, "{text:?} got {error}");
        assert_eq!(error["ref"], Value::Null);
    }
    client.say("still here").await;
    other.expect("chat_message").await;
}

#[tokio::test]
async fn depth_keys_and_size_have_their_bounds() {
    let server = Server::with(&[PATIENT]);
    let [mut client] = server.room("1").await;
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!("{{\"type\":\"chat_message\",\"content\":\"x\",\"more\":{open}{close}}}")
    };
    let with_keys = |count: usize| {
        let more: String = (0..count).map(|n| format!(",\"k{n}\":0")).collect();
        format!("{{\"type\":\"chat_message\",\"content\":\"x\"{more}}}")
    };
    // What nobody knows is ignored, so that newer clients can talk to older servers.
    for good in [nested(6), with_keys(28)] {
        client.send_text(&good).await;
        client.expect("chat_message").await;
    }
    for bad in [nested(9), nested(2_000), nested(20_000), with_keys(31), with_keys(5_000)] {
        client.send_text(&bad).await;
        client.error("invalid").await;
    }
    client.say("still here").await;
}

#[tokio::test]
async fn binary_messages_are_refused_without_a_close() {
    let server = Server::start();
    let [mut client] = server.room("1").await;
    let text = json!({"type": "chat_message", "content": "x"}).to_string();
    for bytes in [text.into_bytes(), vec![0, 255, 1], vec![]] {
        client.send_message(Message::binary(bytes)).await;
        client.error("unexpected_binary").await;
    }
    client.say("still here").await;
}

#[tokio::test]
async fn an_error_names_the_command_and_never_repeats_its_text() {
    let server = Server::start();
    let [mut client] = server.room("1").await;
    let cases = [
        (json!({"type": "chat_message", "content": " ", "client_msg_id": "c1"}), "empty", "c1"),
        (json!({"type": "chat_message", "client_msg_id": "c2"}), "invalid", "c2"),
        (json!({"type": "message_delete", "message_id": 9}), "not_found", ""),
        (json!({"type": "a-type-to-remember"}), "unknown_type", ""),
        (json!({"type": "typing_indicator", "is_typing": "a-value-to-remember"}), "invalid", ""),
    ];
    for (frame, code, reference) in cases {
        client.send(frame.clone()).await;
        let error = client.error(code).await;
        let named = error["ref"].as_str().unwrap_or_default();
        assert_eq!(named, reference, "{frame}");
        assert!(!error.to_string().contains("to-remember"), "{error}");
    }
}

#[tokio::test]
async fn the_twentieth_bad_frame_within_a_minute_ends_the_socket() {
    let server = Server::start();
    let [mut client, mut other] = server.room("1").await;
    let kinds = ["nonsense", "{}", "{\"type\":\"?\"}"];
    for n in 0..19 {
        client.send_text(kinds[n % 3]).await;
        client.expect("error").await;
    }
    // What is refused for another reason does not count.
    client.send(json!({"type": "chat_message", "content": ""})).await;
    client.error("empty").await;
    client.send(json!({"type": "message_delete", "message_id": 1})).await;
    client.error("not_found").await;
    client.say("nineteen are forgiven").await;
    other.expect("chat_message").await;
    client.send_message(Message::binary(vec![1])).await;
    assert_eq!(client.closed().await, (4008, "bad_frames".to_owned()));
    other.say("only that socket").await;
}
