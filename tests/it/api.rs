//! The past over HTTP and over the socket: all of it, the same, for those who may read it.

use serde_json::{Value, json};

use crate::harness::raw::{Head, Raw, frame};
use crate::harness::token::Person;
use crate::harness::{Client, Server, nameless, person};

struct Answer {
    head: Head,
    body: Value,
}

impl Answer {
    fn code(&self) -> (u16, &str) {
        (self.head.status, self.body["code"].as_str().unwrap_or(""))
    }
}

async fn request(server: &Server, line: &str, headers: &str) -> Answer {
    let mut raw = server.raw().await;
    let host = server.address();
    raw.write(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").as_bytes()).await;
    let head = raw.head().await.unwrap_or_else(|| panic!("{line}: no answer"));
    let body = serde_json::from_slice(&raw.rest().await).unwrap_or(Value::Null);
    Answer { head, body }
}

async fn get(server: &Server, who: &Person, path: &str) -> Answer {
    let bearer = format!("Authorization: Bearer {}\r\n", server.token(who));
    request(server, &format!("GET /api/conversations{path}"), &bearer).await
}

async fn must(server: &Server, who: &Person, path: &str) -> Value {
    let answer = get(server, who, path).await;
    assert_eq!(answer.head.status, 200, "{path}: {}", answer.body);
    answer.body
}

fn messages(page: &Value) -> &[Value] {
    page["messages"].as_array().unwrap_or_else(|| panic!("no page: {page}"))
}

fn id_of(message: &Value) -> u64 {
    message["id"].as_u64().expect("an id")
}

/// How pages are fetched: the query of each is given, without its length.
enum By<'a> {
    Http,
    Socket(&'a mut Raw),
}

impl By<'_> {
    async fn page(&mut self, server: &Server, limit: u64, place: Option<(&str, u64)>) -> Value {
        match self {
            By::Http => {
                let place = place.map_or(String::new(), |(name, id)| format!("&{name}={id}"));
                must(server, &person(1), &format!("/long/messages?limit={limit}{place}")).await
            }
            By::Socket(raw) => {
                let mut ask = json!({"type": "history", "limit": limit, "ref": "r"});
                if let Some((name, id)) = place {
                    ask[name] = json!(id);
                }
                history(raw, &ask).await
            }
        }
    }
}

/// The answer to a `history` command.
async fn history(raw: &mut Raw, ask: &Value) -> Value {
    raw.write(&frame(0x81, ask.to_string().as_bytes())).await;
    loop {
        let found = raw.frame().await.expect("an answer");
        let json: Value = serde_json::from_str(&found.text()).expect("JSON");
        if json["type"] == "history" {
            assert_eq!(json["ref"], ask["ref"]);
            return json;
        }
        assert_ne!(json["type"], "error", "{json}");
    }
}

async fn v2(server: &Server, conversation: &str, who: &Person) -> Raw {
    let mut raw = server.raw().await;
    raw.upgrade(&format!("{}&v=2", server.path(conversation, who))).await;
    raw
}

/// From the newest back to the first: everything that was sent, as it was sent.
async fn check_whole(server: &Server, by: &mut By<'_>, sent: &[Value]) {
    let mut back: Vec<Value> = Vec::new();
    loop {
        let place = back.first().map(|first| ("before", id_of(first)));
        let page = by.page(server, 200, place).await;
        assert_eq!(page["seq"], sent.len());
        let mut found = messages(&page).to_vec();
        assert!(!found.is_empty());
        found.append(&mut back);
        back = found;
        if page["has_more"] == false {
            break;
        }
    }
    check_same(sent, &back);
}

/// From the first on to the newest, in pages of another length.
async fn check_forwards(server: &Server, by: &mut By<'_>, sent: &[Value]) {
    let mut on: Vec<Value> = Vec::new();
    loop {
        let page = by.page(server, 7, Some(("after", on.last().map_or(0, id_of)))).await;
        assert!(messages(&page).len() <= 7);
        on.extend_from_slice(messages(&page));
        if page["has_more"] == false {
            break;
        }
    }
    check_same(sent, &on);
}

fn check_same(sent: &[Value], shown: &[Value]) {
    assert_eq!(shown.len(), sent.len());
    for (sent, shown) in sent.iter().zip(shown) {
        assert_eq!(sent["seq"], shown["seq"]);
        for field in ["id", "content", "sender", "parent_message_id", "created_at"] {
            assert_eq!(sent["message"][field], shown[field], "{field}");
        }
    }
}

async fn say_long(client: &mut Client, count: usize) -> Vec<Value> {
    let mut said = Vec::new();
    for n in 0..count {
        said.push(client.say(&format!("{n} {}", "👍".repeat(4_000))).await);
    }
    said
}

/// More than a segment of it: the older part is in pages, the newer one in memory.
#[tokio::test]
async fn a_long_history_is_whole_across_pages_memory_and_a_restart() {
    let mut server = Server::with(&[("rate_limits", "off")]);
    let mut sent = Vec::new();
    for count in [300, 20] {
        let mut client = server.join("long", &person(1)).await;
        sent.extend(say_long(&mut client, count).await);
        sent.push(client.say("short").await);
        client.close().await;
        check_whole(&server, &mut By::Http, &sent).await;
        server.restart();
    }
    let mut raw = v2(&server, "long", &nameless(2)).await;
    check_whole(&server, &mut By::Socket(&mut raw), &sent).await;
    check_forwards(&server, &mut By::Http, &sent).await;
    let middle = id_of(&sent[150]["message"]);
    let around =
        must(&server, &person(1), &format!("/long/messages?around={middle}&limit=5")).await;
    let ids: Vec<u64> = messages(&around).iter().map(id_of).collect();
    let expected: Vec<u64> = sent[148..153].iter().map(|frame| id_of(&frame["message"])).collect();
    assert_eq!(ids, expected);
}

/// Pages are fetched while others are being built: each begins right behind the last one.
#[tokio::test]
async fn whoever_reads_along_misses_nothing() {
    let server = Server::with(&[("rate_limits", "off")]);
    let mut writer = server.join("busy", &person(1)).await;
    let count = 330;
    let writing =
        async { say_long(&mut writer, count).await.last().map(|frame| id_of(&frame["message"])) };
    let reading = async {
        let (mut seq, mut last) = (0, 0);
        while seq < count as u64 {
            let page =
                must(&server, &person(2), &format!("/busy/messages?after={last}&limit=9")).await;
            for message in messages(&page) {
                seq += 1;
                assert_eq!(message["seq"], seq, "{last}");
                last = id_of(message);
            }
            assert!(page["seq"].as_u64() >= Some(seq));
            let newest = must(&server, &person(2), "/busy/messages?limit=2").await;
            let seqs: Vec<_> =
                messages(&newest).iter().filter_map(|message| message["seq"].as_u64()).collect();
            assert_eq!(seqs.last().copied().unwrap_or(0), newest["seq"]);
            assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
        }
        Some(last)
    };
    let (written, read) = tokio::join!(writing, reading);
    assert_eq!(written, read);
}

#[tokio::test]
async fn what_came_of_a_message_is_shown_and_what_was_deleted_is_not() {
    let mut server = Server::start();
    let mut ann = server.join("1", &person(1)).await;
    let mut ids = Vec::new();
    for text in ["first", "second", "third"] {
        ids.push(ann.say(text).await["message"]["id"].clone());
    }
    for frame in [
        json!({"type": "message_edit", "message_id": ids[0], "content": "first, edited"}),
        json!({"type": "message_edit", "message_id": ids[0], "content": "first, edited again"}),
        json!({"type": "message_reaction", "message_id": ids[0], "emoji": "👍"}),
        json!({"type": "message_edit", "message_id": ids[1], "content": "a secret"}),
        json!({"type": "message_delete", "message_id": ids[1]}),
        json!({"type": "chat_message", "content": "reply", "parent_message_id": ids[0]}),
    ] {
        ann.send(frame.clone()).await;
        ann.until(frame["type"].as_str().unwrap()).await;
    }
    for restarted in [false, true] {
        if restarted {
            server.restart();
        }
        let page = must(&server, &person(2), "/1/messages").await;
        let shown = messages(&page);
        assert_eq!(shown.len(), 4);
        assert_eq!(shown[0]["content"], "first, edited again");
        assert_eq!(shown[0]["reactions"], json!({"👍": {"ids": [1], "count": 1}}));
        assert_eq!((&shown[0]["is_edited"], &shown[0]["reply_count"]), (&json!(true), &json!(1)));
        assert_eq!(shown[0]["read_by"], json!({"ids": [1], "count": 1}));
        assert_eq!(shown[1]["content"], "Message deleted");
        assert_eq!(shown[1]["is_deleted"], true);
        let replies = must(&server, &person(2), &format!("/1/messages/{}/replies", ids[0])).await;
        assert_eq!(messages(&replies).len(), 1);
        assert_eq!(messages(&replies)[0]["parent_message_id"], ids[0]);
        let edits = must(&server, &person(2), &format!("/1/messages/{}/edits", ids[0])).await;
        let contents: Vec<_> =
            edits["edits"].as_array().unwrap().iter().map(|edit| edit["content"].clone()).collect();
        assert_eq!(contents, ["first", "first, edited", "first, edited again"]);
        let gone = get(&server, &person(2), &format!("/1/messages/{}/edits", ids[1])).await;
        assert_eq!(gone.code(), (410, "gone"));
        for part in ["replies", "edits"] {
            let none = get(&server, &person(2), &format!("/1/messages/999999/{part}")).await;
            assert_eq!(none.code(), (404, "not_found"));
        }
    }
}

#[tokio::test]
async fn unread_counts_follow_receipts_and_own_messages() {
    let mut server = Server::start();
    let mut ann = server.join("7", &person(1)).await;
    let mut bob = server.join("7", &person(2)).await;
    ann.status(2, "online").await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(ann.say(&n.to_string()).await["message"]["id"].clone());
        bob.expect("chat_message").await;
    }
    let check = async |server: &Server, who: u64, unread: u64, mark: &Value| {
        let shown = must(server, &person(who), "/7").await;
        assert_eq!((&shown["unread"], &shown["mark"]), (&json!(unread), mark), "user {who}");
        assert_eq!((&shown["seq"], &shown["messages"]), (&json!(5), &json!(5)));
        assert_eq!(shown["last_message"]["id"], ids[4]);
    };
    check(&server, 1, 0, &ids[4]).await;
    check(&server, 2, 5, &Value::Null).await;
    bob.send(json!({"type": "read_receipt", "message_id": ids[1]})).await;
    bob.expect("read_receipt").await;
    check(&server, 2, 3, &ids[1]).await;
    server.restart();
    check(&server, 1, 0, &ids[4]).await;
    check(&server, 2, 3, &ids[1]).await;
    let participants = must(&server, &person(2), "/7").await["participants"].clone();
    let expected = json!([
        {"user_id": 1, "role": null, "mark": ids[4]},
        {"user_id": 2, "role": null, "mark": ids[1]},
    ]);
    assert_eq!(participants, expected);
}

fn listed(page: &Value) -> Vec<Value> {
    let conversations = page["conversations"].as_array().unwrap_or_else(|| panic!("{page}"));
    conversations.iter().map(|entry| entry["conversation_id"].clone()).collect()
}

#[tokio::test]
async fn the_list_has_where_one_has_spoken_or_read() {
    let mut server = Server::with(&[("access", "claim")]);
    let of = |id: u64, conversations: Value| person(id).conversations(conversations);
    let all = of(1, json!("*"));
    for room in ["3", "a", "12", "b"] {
        server.join(room, &all).await.say("hello").await;
    }
    server.join("4", &of(2, json!("*"))).await.say("not yours").await;
    // What was said is on disk; marks follow within a second, at the latest with a stop.
    server.restart();
    let mut reader = server.join("4", &all).await;
    let theirs = must(&server, &all, "/4/messages").await["messages"][0]["id"].clone();
    reader.send(json!({"type": "read_receipt", "message_id": theirs})).await;
    reader.expect("read_receipt").await;
    server.restart();
    let page = must(&server, &all, "").await;
    assert_eq!(listed(&page), [json!(3), json!(4), json!(12), json!("a"), json!("b")]);
    assert_eq!(page["has_more"], false);
    assert_eq!(page["conversations"][0]["last_message"]["content"], "hello");
    let page = must(&server, &all, "?limit=2&after=4").await;
    assert_eq!((listed(&page), &page["has_more"]), (vec![json!(12), json!("a")], &json!(true)));
    // A narrower token shows less, and opens less.
    let narrow = of(1, json!(["a", 4, 99]));
    assert_eq!(listed(&must(&server, &narrow, "").await), [json!(4), json!("a")]);
    assert_eq!(get(&server, &narrow, "/3/messages").await.code(), (403, "forbidden"));
    assert_eq!(listed(&must(&server, &person(1), "").await), Vec::<Value>::new());
}

#[tokio::test]
async fn only_members_read_and_nobody_learns_what_exists() {
    let server = Server::with(&[("access", "members")]);
    let admin = server.admin();
    admin.conversation("77", &[("1", "member"), ("2", "read_only")]).await;
    admin.conversation("78", &[("1", "admin")]).await;
    let id = server.join("77", &person(1)).await.say("for members").await["message"]["id"].clone();
    let paths = [
        "/77".to_owned(),
        "/77/messages".to_owned(),
        format!("/77/messages/{id}/replies"),
        format!("/77/messages/{id}/edits"),
    ];
    for path in &paths {
        must(&server, &person(2), path).await;
        let stranger = get(&server, &person(3).role("admin"), path).await;
        assert_eq!(stranger.code(), (403, "forbidden"));
        // A conversation that does not exist is answered alike, to the byte.
        let nowhere = get(&server, &person(2), &path.replace("77", "79")).await;
        assert_eq!((nowhere.code(), &nowhere.body), ((403, "forbidden"), &stranger.body));
    }
    let shown = must(&server, &person(2), "/77").await;
    assert_eq!((&shown["role"], &shown["unread"]), (&json!("read_only"), &json!(1)));
    assert_eq!(shown["participants"][1], json!({"user_id": 2, "role": "read_only", "mark": null}));
    assert_eq!(listed(&must(&server, &person(1), "").await), [json!(77), json!(78)]);
    assert_eq!(listed(&must(&server, &person(2), "").await), [json!(77)]);
    admin.must("DELETE", "/admin/conversations/77/members/2", None).await;
    for path in &paths {
        assert_eq!(get(&server, &person(2), path).await.code(), (403, "forbidden"));
    }
    assert_eq!(listed(&must(&server, &person(2), "").await), Vec::<Value>::new());
    let old = person(1).claim("iat", json!(1_700_000_000));
    admin
        .must(
            "POST",
            "/admin/users/1/revoke",
            Some(json!({"issued_before": "2024-01-01T00:00:00Z"})),
        )
        .await;
    for path in ["", "/77", "/77/messages"] {
        assert_eq!(get(&server, &old, path).await.code(), (401, "token_revoked"), "{path}");
        must(&server, &person(1), path).await;
    }
}

#[tokio::test]
async fn pages_of_other_origins_and_bad_input_are_refused() {
    let server = Server::with(&[("allowed_origins", "https://app.example.com")]);
    server.join("1", &person(1)).await.say("hello").await;
    let bearer = format!("Authorization: Bearer {}\r\n", server.token(&person(1)));
    let path = "GET /api/conversations/1/messages";
    for (origin, status) in [("https://app.example.com", 200), ("https://evil.example.com", 403)] {
        let answer = request(&server, path, &format!("Origin: {origin}\r\n{bearer}")).await;
        assert_eq!(answer.head.status, status, "{origin}");
        let allowed = answer.head.header("access-control-allow-origin");
        assert_eq!(allowed, (status == 200).then_some(origin));
    }
    let preflight = "OPTIONS /api/conversations/1/messages";
    let answer = request(&server, preflight, "Origin: https://app.example.com\r\n").await;
    assert_eq!(answer.head.status, 204);
    assert_eq!(answer.head.header("access-control-allow-headers"), Some("Authorization"));
    assert_eq!(request(&server, path, "").await.code(), (401, "token_missing"));
    for path in [
        "/1/messages?limit=1000000000",
        "/1/messages?before=1&after=2",
        "/1/messages?before=-1",
        "/1/messages/x/edits",
        "/01/messages",
        "/a.b",
    ] {
        assert_eq!(get(&server, &person(1), path).await.code(), (400, "invalid"), "{path}");
    }
    let before_the_first = must(&server, &person(1), "/1/messages?before=0").await;
    assert_eq!(
        (messages(&before_the_first).len(), &before_the_first["has_more"]),
        (0, &json!(false))
    );
}

#[tokio::test]
async fn what_was_deleted_with_its_conversation_is_read_by_nobody() {
    let mut server = Server::with(&[("access", "open")]);
    let mut ann = server.join("1", &person(1)).await;
    let id = ann.say("not to be read").await["message"]["id"].clone();
    server.admin().must("DELETE", "/admin/conversations/1", None).await;
    let paths = ["/1".to_owned(), "/1/messages".to_owned(), format!("/1/messages/{id}/edits")];
    for is_restarted in [false, true] {
        if is_restarted {
            server.restart();
        }
        for path in &paths {
            let answer = get(&server, &person(1), path).await;
            assert_eq!(answer.code(), (403, "forbidden"), "{path}, restarted: {is_restarted}");
        }
        assert_eq!(listed(&must(&server, &person(1), "").await), Vec::<Value>::new());
    }
    server.admin().must("PUT", "/admin/conversations/1", None).await;
    for is_restarted in [false, true] {
        if is_restarted {
            server.restart();
        }
        assert!(messages(&must(&server, &person(1), "/1/messages").await).is_empty());
        let edits = get(&server, &person(1), &paths[2]).await;
        assert_eq!(edits.code(), (404, "not_found"));
    }
    let anew = server.join("1", &person(2)).await.say("to be read").await;
    let page = must(&server, &person(1), "/1/messages").await;
    assert_eq!(messages(&page).len(), 1);
    assert_eq!((&messages(&page)[0]["id"], &page["seq"]), (&anew["message"]["id"], &json!(2)));
}
