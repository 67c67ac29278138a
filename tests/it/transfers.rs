//! The ways in and out: everything that happened comes out once and in order, a conversation goes from
//! one server to another as it is, and what does not hold comes in not at all.

use serde_json::{Value, json};

use crate::harness::{Client, Server, person};

const QUICK: [(&str, &str); 2] = [("rate_limits", "off"), ("journal_keep_days", "0")];

fn parsed(text: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    text.lines().map(line).collect()
}

/// One page of events: its lines, the cursor behind it, and whether there is more.
async fn page(server: &Server, after: Option<&str>, limit: u64) -> (Vec<Value>, String, bool) {
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    let path = format!("/admin/events?limit={limit}{after}");
    let (status, text) = server.admin().lines("GET", &path, None).await;
    assert_eq!(status, 200, "{text}");
    let mut lines = parsed(&text);
    let end = lines.pop().expect("a last line");
    assert_eq!(end["type"], "end", "{end}");
    assert!(lines.len() as u64 <= limit);
    let cursor = end["cursor"].as_str().expect("a cursor").to_owned();
    (lines, cursor, end["has_more"] == true)
}

/// Everything behind a cursor, in pages of changing sizes.
pub async fn all(
    server: &Server,
    mut after: Option<String>,
    seed: &mut u64,
) -> (Vec<Value>, String) {
    let mut lines = Vec::new();
    loop {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let limit = 1 + (*seed >> 33) % 40;
        let (some, cursor, has_more) = page(server, after.as_deref(), limit).await;
        // The cursor of a line leads on from there as well.
        after = match (some.last(), *seed & 1) {
            (Some(last), 1) if has_more => Some(last["cursor"].as_str().unwrap().to_owned()),
            _ => Some(cursor.clone()),
        };
        lines.extend(some);
        if !has_more {
            return (lines, cursor);
        }
    }
}

/// What tells an event: its type, conversation and seq.
pub fn name(line: &Value) -> (String, String, u64) {
    let kind = line["type"].as_str().expect("a type").to_owned();
    (kind, line["conversation_id"].to_string(), line["seq"].as_u64().expect("a seq"))
}

pub fn events(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line.get("seq").is_some()).collect()
}

async fn does(client: &mut Client, frame: Value) -> Value {
    let kind = frame["type"].clone();
    client.send(frame).await;
    client.until_like(&json!({ "type": kind })).await
}

/// A round of everything that can happen in a conversation: what it is called in the stream.
pub async fn happens(client: &mut Client, of: &str, round: usize) -> Vec<(String, String, u64)> {
    let kept = client.say(&format!("kept {round} in {of}")).await;
    let gone = client.say(&format!("gone {round} in {of}")).await;
    let (kept_id, gone_id) = (&kept["message"]["id"], &gone["message"]["id"]);
    let mut named = Vec::new();
    let mut take = |kind: &str, frame: &Value| {
        named.push((kind.to_owned(), of.to_owned(), frame["seq"].as_u64().expect("a seq")));
    };
    take("message", &kept);
    take("message", &gone);
    let edit = |id: &Value, content: &str| json!({"type": "message_edit", "message_id": id, "content": content});
    take("edit", &does(client, edit(kept_id, &format!("edited {round}"))).await);
    take("edit", &does(client, edit(gone_id, &format!("gone again {round}"))).await);
    for emoji in ["👍", "👍", "x"] {
        let react = json!({"type": "message_reaction", "message_id": kept_id, "emoji": emoji});
        take("reaction", &does(client, react).await);
    }
    let delete = json!({"type": "message_delete", "message_id": gone_id});
    take("deletion", &does(client, delete).await);
    named
}

#[tokio::test]
async fn everything_that_happened_comes_once_and_in_order() {
    let mut server = Server::with(&QUICK);
    let mut happened = Vec::new();
    let mut followed = Vec::new();
    let mut cursor = None;
    let mut seed = 7;
    for round in 0..4 {
        for of in ["1", "\"two\"", "3"] {
            let mut client = server.join(of.trim_matches('"'), &person(1)).await;
            happened.extend(happens(&mut client, of, round).await);
            client.close().await;
        }
        let (lines, next) = all(&server, cursor.take(), &mut seed).await;
        followed.extend(lines);
        cursor = Some(next);
        // From the start: sealed and kept, sealed and gone, and not sealed yet.
        let (lines, _) = all(&server, None, &mut seed).await;
        let found: Vec<_> = events(&lines).into_iter().map(name).collect();
        assert_eq!(found, happened, "round {round}");
        assert!(!lines.iter().any(|line| line.to_string().contains("gone")), "{lines:?}");
        if round == 1 {
            server.kill9();
            server.start_again();
        } else {
            server.restart();
        }
    }
    let found: Vec<_> = events(&followed).into_iter().map(name).collect();
    assert_eq!(found, happened);
    let first = &followed[0];
    assert_eq!(first["type"], "message");
    assert_eq!(first["message"]["sender"]["id"], 1);
    assert_eq!(first["message"]["client_msg_id"], Value::Null);
    // Nothing new: nothing more, and the cursor still leads on.
    let (lines, _) = all(&server, cursor, &mut seed).await;
    assert_eq!(lines, Vec::<Value>::new());
}

#[tokio::test]
async fn who_waits_is_answered_as_soon_as_something_happens() {
    let server = Server::with(&QUICK);
    let mut client = server.join("1", &person(1)).await;
    client.say("before").await;
    let (_, cursor, _) = page(&server, None, 1_000).await;
    let admin = server.admin();
    let path = format!("/admin/events?wait=60&after={cursor}");
    let waiting = admin.lines("GET", &path, None);
    let said = async {
        // Nothing comes before: the request may or may not be there yet.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        client.say("now").await
    };
    let ((status, text), said) = tokio::join!(waiting, said);
    assert_eq!(status, 200);
    let lines = parsed(&text);
    assert_eq!(lines[0]["message"]["content"], "now");
    assert_eq!(lines[0]["seq"], said["seq"]);
}

#[tokio::test]
async fn cursors_of_elsewhere_are_refused() {
    let server = Server::with(&QUICK);
    server.join("1", &person(1)).await.say("hello").await;
    let (_, cursor, _) = page(&server, None, 1_000).await;
    let (epoch, _) = cursor.split_once('-').expect("an epoch");
    let check = async |query: &str, status: u16, code: &str| {
        let path = format!("/admin/events?{query}");
        let answer = server.admin().call("GET", &path, None).await;
        assert_eq!(answer.status, status, "{query}: {answer:?}");
        assert_eq!(answer.body["code"], code, "{query}: {answer:?}");
    };
    check("after=nonsense", 400, "invalid").await;
    check(&format!("after={epoch}-0-0-0"), 400, "invalid").await;
    check(&format!("after={epoch}-ffffff-0-0"), 410, "unknown_cursor").await;
    check("after=0-1-0-0", 410, "other_epoch").await;
    check("wait=61", 400, "invalid").await;
    check("limit=0", 400, "invalid").await;
    check("before=1", 400, "invalid").await;
}

pub async fn exported(server: &Server, conversation: &str) -> Vec<Value> {
    let path = format!("/admin/conversations/{conversation}/export");
    let (status, text) = server.admin().lines("GET", &path, None).await;
    assert_eq!(status, 200, "{text}");
    let lines = parsed(&text);
    assert_eq!(lines[0]["type"], "conversation");
    assert_eq!(lines.last().unwrap()["type"], "end");
    lines
}

async fn import(server: &Server, conversation: &str, lines: &[Value]) -> (u16, Value) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    import_text(server, conversation, &text).await
}

async fn import_text(server: &Server, conversation: &str, text: &str) -> (u16, Value) {
    let path = format!("/admin/conversations/{conversation}/import");
    let (status, body) = server.admin().lines("POST", &path, Some(text)).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// What the guide's client is replayed when it connects.
async fn past(server: &Server, conversation: &str) -> Vec<Value> {
    let mut client = server.join(conversation, &person(9)).await;
    client.send(json!({"type": "chat_message", "content": "the end"})).await;
    let mut past = Vec::new();
    loop {
        let frame = client.next().await;
        if frame["type"] == "chat_message" {
            if frame["message"]["content"] == "the end" {
                return past;
            }
            past.push(frame["message"].clone());
        }
    }
}

#[tokio::test]
async fn a_conversation_moves_to_another_server_as_it_is() {
    let mut one = Server::with(&QUICK);
    one.admin().conversation("7", &[("1", "admin"), ("ann@x", "read_only")]).await;
    one.admin().must("PUT", "/admin/users/1", Some(json!({"first_name": "Ann"}))).await;
    let mut client = one.join("7", &person(1)).await;
    let first = client.say("first").await["message"]["id"].clone();
    happens(&mut client, "7", 1).await;
    let reply = json!({"type": "chat_message", "content": "reply", "parent_message_id": first});
    does(&mut client, reply).await;
    one.restart();
    let mut client = one.join("7", &person(2)).await;
    happens(&mut client, "7", 2).await;
    client.close().await;
    let unsealed = exported(&one, "7").await;
    one.restart();
    let sealed = exported(&one, "7").await;
    let told = |lines: &[Value]| lines[1..].to_vec();
    // Marks reach the log within a second: the last one may be missing before the stop.
    let is_past = |line: &&Value| !matches!(line["type"].as_str(), Some("mark" | "end"));
    let past_of = |lines: &[Value]| told(lines).iter().filter(is_past).cloned().collect::<Vec<_>>();
    assert_eq!(past_of(&unsealed), past_of(&sealed));
    assert_eq!(unsealed[0]["seq"], 18);
    assert_eq!(unsealed.last().unwrap()["messages"], 6);
    assert!(!sealed.iter().any(|line| line.to_string().contains("gone")), "{sealed:?}");

    let mut two = Server::with(&QUICK);
    let (status, answer) = import(&two, "7", &sealed).await;
    assert_eq!((status, &answer["state"]), (201, &json!("done")), "{answer}");
    let again = exported(&two, "7").await;
    assert_eq!(told(&again), told(&sealed));
    assert_eq!(again[0]["created_at"], sealed[0]["created_at"]);
    let members = two.admin().must("GET", "/admin/conversations/7/members", None).await;
    assert_eq!(members["members"].as_array().unwrap().len(), 2);
    // All of it is one thing in the stream, and what follows comes behind it.
    let (lines, _) = all(&two, None, &mut 3).await;
    assert_eq!(lines[0]["type"], "conversation_imported");
    let seqs: Vec<_> = events(&lines).iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    let count = lines[0]["events"].as_u64().unwrap();
    assert_eq!(seqs, (1..=count).collect::<Vec<_>>());
    two.kill9();
    two.start_again();
    two.restart();
    two.restart();
    let (later, _) = all(&two, None, &mut 5).await;
    let named = |lines: &[Value]| events(lines).into_iter().map(name).collect::<Vec<_>>();
    assert_eq!(named(&later)[..named(&lines).len()], named(&lines)[..]);
    for server in [&mut one, &mut two] {
        server.set("history_on_connect", "200");
        server.restart();
    }
    assert_eq!(past(&two, "7").await, past(&one, "7").await);
    let (later, _) = all(&two, None, &mut 9).await;
    let last = named(&later).pop().unwrap();
    assert_eq!(last, ("message".to_owned(), "7".to_owned(), count + 1));
}

fn head() -> Value {
    json!({"type": "conversation", "format": "loquat-conversation", "version": 1})
}

fn text(id: u64, content: &str) -> Value {
    let at = format!("2020-01-01T00:00:{:02}Z", id % 60);
    json!({"type": "message", "id": id, "created_at": at, "sender": {"id": 1}, "content": content})
}

fn end(messages: usize) -> Value {
    json!({"type": "end", "members": 0, "messages": messages, "marks": 0})
}

#[tokio::test]
async fn a_fresh_server_takes_small_ids_and_never_gives_them_again() {
    let server = Server::with(&QUICK);
    let odd = [head(), text(1, "one"), text(3, "three"), text(5, "five"), end(3)];
    let even = [head(), text(2, "two"), text(4, "four"), end(2)];
    assert_eq!(import(&server, "odd", &odd).await.0, 201);
    assert_eq!(import(&server, "even", &even).await.0, 201);
    let mut ids = Vec::new();
    for conversation in ["odd", "even", "new"] {
        let mut client = server.join(conversation, &person(1)).await;
        let said = client.say("and on").await;
        ids.push(said["message"]["id"].as_u64().unwrap());
    }
    assert!(ids.iter().all(|&id| id > 5), "{ids:?}");
    // An id of an import, of a sealed message and of one that is not sealed.
    for id in [3, ids[2]] {
        let lines = [head(), text(id - 1, "free or not"), text(id, "taken"), end(2)];
        let (status, answer) = import(&server, "third", &lines).await;
        assert_eq!((status, &answer["code"]), (409, &json!("id_taken")), "{id}: {answer}");
        assert!(answer["line"].as_u64().is_some_and(|line| line == 2 || line == 3), "{answer}");
    }
    let (status, answer) = import(&server, "odd", &odd).await;
    assert_eq!((status, &answer["code"]), (409, &json!("exists")));
    // Somebody is in a conversation that the directory does not know.
    let _inside = server.join("open", &person(1)).await;
    let lines = [head(), text(1 << 40, "high"), end(1)];
    let (status, answer) = import(&server, "open", &lines).await;
    assert_eq!((status, &answer["code"]), (409, &json!("exists")));
    assert_eq!(import(&server, "high", &lines).await.0, 201);
    let said = server.join("high", &person(1)).await.say("higher").await;
    assert!(said["message"]["id"].as_u64().unwrap() > 1 << 40);
    assert_eq!(said["seq"], 2);
}

#[tokio::test]
async fn a_line_that_does_not_hold_is_named_and_nothing_comes_in() {
    let server = Server::with(&QUICK);
    let check = async |lines: &[Value], line: u64| {
        let (status, answer) = import(&server, "c", lines).await;
        assert_eq!((status, &answer["code"]), (400, &json!("invalid_line")), "{answer}");
        assert_eq!(answer["line"], line, "{answer}");
    };
    let at = "2020-01-01T00:00:09Z";
    let edit = json!({"type": "edit", "message_id": 1, "at": at, "by": 1, "content": "x"});
    let gone = json!({"type": "deletion", "message_id": 1, "at": at, "by": 1});
    check(&[text(1, "no head"), end(1)], 1).await;
    check(&[head(), text(1, "one"), text(1, "again"), end(2)], 3).await;
    check(&[head(), text(2, "two"), text(1, "one"), end(2)], 3).await;
    check(&[head(), text(1, " "), end(1)], 2).await;
    check(&[head(), text(1, "one")], 2).await;
    check(&[head(), text(1, "one"), end(2)], 3).await;
    check(&[head(), text(1, "one"), end(1), end(1)], 4).await;
    check(&[head(), text(1, "one"), text(2, "two"), edit.clone(), end(2)], 4).await;
    check(&[head(), text(1, "one"), gone.clone(), edit, end(1)], 4).await;
    let mut reply = text(2, "reply");
    reply["parent_message_id"] = json!(7);
    check(&[head(), text(1, "one"), reply, end(2)], 3).await;
    let mut silent = text(1, "");
    silent["content"] = Value::Null;
    check(&[head(), silent, text(2, "two"), end(2)], 3).await;
    let member = json!({"type": "member", "user_id": 1, "role": "member"});
    check(&[head(), text(1, "one"), member, end(1)], 3).await;
    check(&[head(), text((1 << 52) + 1, "high"), end(1)], 2).await;
    let (status, _) = import_text(&server, "c", "{\"type\"").await;
    assert_eq!(status, 400);
    let long = format!("{}\n{}", head(), "x".repeat(300_000));
    assert_eq!(import_text(&server, "c", &long).await.1["line"], 2);
    let answer = server.admin().call("GET", "/admin/conversations/c/export", None).await;
    assert_eq!(answer.status, 404);
    let imports = server.data().join("store/imports");
    assert_eq!(std::fs::read_dir(imports).expect("a directory").count(), 0);
    assert_eq!(import(&server, "c", &[head(), text(1, "one"), end(1)]).await.0, 201);
}
