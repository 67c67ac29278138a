//! Tokens: which are taken, how they are brought, and which close tells what is wrong with them.

use serde_json::{Value, json};

use crate::harness::raw::request;
use crate::harness::token::{Person, SECRET, now_s, signed};
use crate::harness::{Server, nameless, person};

const LATER: u64 = 4_000_000_000;

fn claims(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Value {
    let mut value = json!({"token_type": "access", "exp": LATER, "jti": "a1", "user_id": 1});
    change(value.as_object_mut().expect("an object"));
    value
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

async fn closed_with(server: &Server, query: &str, reason: &str) {
    let mut client = server.connect(&format!("/ws/chat/1/{query}")).await;
    client.name = query.to_owned();
    client.closed_with(4001, reason).await;
}

#[tokio::test]
async fn without_a_token_nobody_enters() {
    let server = Server::start();
    for query in ["", "?", "?token=", "?other=1", "?Token=abc"] {
        closed_with(&server, query, "token_missing").await;
    }
}

#[tokio::test]
async fn a_token_that_is_none_is_invalid() {
    let server = Server::start();
    let good = person(1).token();
    let (head, tail) = good.split_at(good.len() - 4);
    let body_changed = {
        let other = person(2).token();
        let parts: Vec<&str> = good.split('.').collect();
        let others: Vec<&str> = other.split('.').collect();
        format!("{}.{}.{}", parts[0], others[1], parts[2])
    };
    let (flipped, longer) = (format!("{head}AAAA"), format!("{good}.x"));
    let none = signed(&json!({"alg": "none"}), &claims(|_| {}), SECRET);
    let unsigned = format!("{}.", none.rsplit_once('.').expect("three parts").0);
    let texts =
        ["abc", "a.b.c", "..", head, tail, &flipped, &longer, &body_changed, &none, &unsigned];
    for text in texts {
        closed_with(&server, &format!("?token={text}"), "token_invalid").await;
    }
    let long = format!("?token={}", "a".repeat(4_097));
    closed_with(&server, &long, "token_invalid").await;
}

#[tokio::test]
async fn headers_do_not_choose_the_algorithm() {
    let server = Server::start();
    let headers = [
        json!({"alg": "HS384"}),
        json!({"alg": "hs256"}),
        json!({"alg": "RS256"}),
        json!({"alg": "none"}),
        json!({"typ": "JWT"}),
        json!({"alg": ["HS256"]}),
        json!({"alg": "HS256", "crit": ["exp"]}),
        json!({"alg": "HS256", "crit": []}),
        json!({"alg": "HS256", "kid": "nobody's"}),
        json!([]),
    ];
    for header in headers {
        let token = signed(&header, &claims(|_| {}), SECRET);
        closed_with(&server, &format!("?token={token}"), "token_invalid").await;
    }
    let other_key =
        signed(&hs256(), &claims(|_| {}), "another-secret-of-the-same-length-012345678");
    closed_with(&server, &format!("?token={other_key}"), "token_invalid").await;
}

#[tokio::test]
async fn claims_are_required_and_have_their_types() {
    let server = Server::start();
    type Change = fn(&mut serde_json::Map<String, Value>);
    let cases: [(Change, &str); 23] = [
        (|c| drop(c.remove("exp")), "token_invalid"),
        (|c| drop(c.remove("jti")), "token_invalid"),
        (|c| drop(c.remove("token_type")), "token_invalid"),
        (|c| drop(c.remove("user_id")), "token_invalid"),
        (|c| c["token_type"] = json!("refresh"), "token_invalid"),
        (|c| c["token_type"] = json!(1), "token_invalid"),
        (|c| c["exp"] = json!("4000000000"), "token_invalid"),
        (|c| c["exp"] = Value::Null, "token_invalid"),
        (|c| c["exp"] = json!(now_s() - 1), "token_expired"),
        (|c| c["exp"] = json!(1), "token_expired"),
        (|c| c["exp"] = json!(now_s() as f64 - 0.5), "token_expired"),
        (|c| drop(c.insert("nbf".into(), json!(now_s() + 60))), "token_invalid"),
        (|c| drop(c.insert("nbf".into(), json!("0"))), "token_invalid"),
        (|c| drop(c.insert("iat".into(), json!(now_s() + 60))), "token_invalid"),
        (|c| drop(c.insert("iat".into(), json!("0"))), "token_invalid"),
        (|c| c["user_id"] = json!(""), "token_invalid"),
        (|c| c["user_id"] = json!("007"), "token_invalid"),
        (|c| c["user_id"] = json!(1_u64 << 53), "token_invalid"),
        (|c| c["user_id"] = json!("9007199254740992"), "token_invalid"),
        (|c| c["user_id"] = json!(-1), "token_invalid"),
        (|c| c["user_id"] = json!(1.5), "token_invalid"),
        (|c| c["user_id"] = json!("a b"), "token_invalid"),
        (|c| c["user_id"] = json!("u".repeat(65)), "token_invalid"),
    ];
    for (change, reason) in cases {
        let token = signed(&hs256(), &claims(change), SECRET);
        closed_with(&server, &format!("?token={token}"), reason).await;
    }
}

#[tokio::test]
async fn what_simplejwt_writes_is_taken() {
    let server = Server::start();
    type Change = fn(&mut serde_json::Map<String, Value>);
    let cases: [Change; 6] = [
        |_| {},
        |c| c["user_id"] = json!("1"),
        |c| c["exp"] = json!(LATER as f64 + 0.25),
        |c| drop(c.insert("iat".into(), json!(now_s()))),
        |c| drop(c.insert("nbf".into(), json!(now_s() + 2))),
        |c| drop(c.insert("anything".into(), json!({"deep": [1, 2, {"er": null}]}))),
    ];
    for change in cases {
        let token = signed(&hs256(), &claims(change), SECRET);
        let mut client = server.connect(&format!("/ws/chat/1/?token={token}")).await;
        let own = client.raw_frame().await;
        assert_eq!(own["user_id"], 1);
    }
}

/// A path, headers, and the subprotocol of the answer.
type Way<'a> = (String, Vec<(&'a str, &'a str)>, Option<&'a str>);

#[tokio::test]
async fn a_token_comes_in_the_query_in_a_header_or_as_a_subprotocol() {
    let server = Server::start();
    let token = server.token(&person(1));
    let bearer = format!("Bearer {token}");
    let pair = format!("loquat, bearer.{token}");
    let ways: [Way; 6] = [
        (format!("/ws/chat/1/?token={token}"), vec![], None),
        (format!("/ws/chat/1?token={token}"), vec![], None),
        (format!("/ws/chat/1/?a=b&token={}", token.replace('.', "%2E")), vec![], None),
        (format!("/ws/chat/1/?token={token}&token=other"), vec![], None),
        ("/ws/chat/1/".to_owned(), vec![("Authorization", &bearer)], None),
        ("/ws/chat/1/".to_owned(), vec![("Sec-WebSocket-Protocol", &pair)], Some("loquat")),
    ];
    for (path, headers, protocol) in ways {
        let mut client = server.connect_with(&path, &headers).await;
        let own = client.raw_frame().await;
        assert_eq!(own["user_id"], 1, "{path}");
        let answered = client.response.headers().get("Sec-WebSocket-Protocol");
        assert_eq!(answered.and_then(|v| v.to_str().ok()), protocol, "{path}");
    }
}

#[tokio::test]
async fn a_refusal_can_be_told_by_http() {
    let server = Server::with(&[("auth.reject", "http"), ("access", "claim")]);
    let listed = person(1).conversations(json!([1]));
    let expired = listed.clone().claim("exp", json!(1));
    let cases: [(String, u16); 4] = [
        ("/ws/chat/1/".to_owned(), 401),
        (server.path("1", &expired), 401),
        (server.path("2", &listed), 403),
        (server.path("1", &listed), 101),
    ];
    for (path, status) in cases {
        let mut raw = server.raw().await;
        raw.write(format!("{}\r\n", request(&path, &[])).as_bytes()).await;
        let head = raw.head().await.expect("an answer");
        assert_eq!(head.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_socket_outlives_its_token() {
    let server = Server::start();
    let expires = now_s() + 2;
    let mut client = server.join("1", &person(1).claim("exp", json!(expires))).await;
    let again = |who: Person| server.path("1", &who);
    let path = again(person(1).claim("exp", json!(expires)));
    while now_s() <= expires {
        client.ping().await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    client.say("still here").await;
    let mut late = server.connect(&path).await;
    late.closed_with(4001, "token_expired").await;
}

#[tokio::test]
async fn a_session_ends_after_its_longest_life() {
    let server = Server::with(&[("max_session_s", "1")]);
    let started = std::time::Instant::now();
    let mut client = server.join("1", &nameless(1)).await;
    client.say("for a second").await;
    assert_eq!(client.closed().await, (4001, "session_over".to_owned()));
    assert!(started.elapsed() >= std::time::Duration::from_millis(990));
}

/// At the most talkative level too. The harness looks through the whole log for every token, secret,
/// e-mail and text that it used; here the ways that could give one away are gone through.
#[tokio::test]
async fn nothing_secret_is_logged() {
    let mut server = Server::with(&[("log.level", "trace")]);
    let token = server.token(&person(1));
    for path in [
        format!("/ws/chat/1/?token={token}"),
        format!("/ws/chat/%zz/?token={token}"),
        format!("/nowhere?token={token}"),
        format!("/?token={token}"),
        format!("/ws/chat/1/?token={token}x"),
    ] {
        let mut raw = server.raw().await;
        raw.write(
            format!("{}Authorization: Bearer {token}\r\n\r\n", request(&path, &[])).as_bytes(),
        )
        .await;
        raw.head().await.expect("an answer");
    }
    let mut client = server.join("1", &person(1)).await;
    let id = client.say("a text that is nobody else's business").await["message"]["id"].clone();
    client.send(json!({"type": "nonsense", "content": "unknown secret text"})).await;
    client.error("unknown_type").await;
    client.send_text(r#"{"type": "chat_message", "content": "broken secret text"#).await;
    client.error("invalid_json").await;
    let edit =
        json!({"type": "message_edit", "message_id": id, "content": "an edited secret text"});
    client.send(edit).await;
    client.expect("message_edit").await;
    server.sigterm();
    assert!(server.exited().success());
    for part in ["secret text", "Last1", "chat.test"] {
        assert!(!server.stderr().contains(part), "{part} is in the log");
    }
}
