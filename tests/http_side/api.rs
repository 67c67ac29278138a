//! `/api`: who is let in, what is asked of the shards, and what is said of their answers.

use loquat::http::{HttpBounds, HttpSettings};
use loquat::limits::Limits;
use loquat::model::*;
use loquat::node::core::Reloadable;
use loquat::node::question::{About, Answer, Asker, Question};
use serde_json::{Value, json};

use crate::stand_in::{Answer as Response, Server, key, settings, token, user};

const HERE: &str = "/api/conversations/7/messages";

fn shown(id: u64, content: &str) -> ShownMessage {
    ShownMessage {
        id: MessageId(id),
        seq: Seq(id),
        sender: Profile::nameless(user("1")).into(),
        content: content.to_owned(),
        parent: None,
        created_at: Wall(1_764_153_000_123),
        edited_at: None,
        is_deleted: false,
        reactions: Default::default(),
        read_by: None,
        reply_count: 0,
    }
}

fn page(content: &str) -> Answer {
    Answer::History(Box::new(History {
        reference: None,
        messages: vec![shown(456, content)],
        pivot: MessageId(u64::MAX),
        has_more: true,
        seq: Seq(42),
    }))
}

fn standing(question: &Question, content: &str) -> Answer {
    let readers = match &question.about {
        About::Standing(ReadersQuery::These(users)) => users.clone(),
        _ => Vec::new(),
    };
    Answer::Standing(Box::new(Standing {
        conversation: question.conversation.clone(),
        epoch: Epoch(0x9f3c_61d2),
        role: Some(Role::Member),
        seq: Seq(42),
        messages: 12,
        last_message: Some(shown(456, content)),
        mark: Some(MessageId(400)),
        unread: 3,
        readers: readers
            .into_iter()
            .filter(|reader| *reader != user("2"))
            .map(|user| Reader { user, mark: MessageId(9) })
            .collect(),
        has_more_readers: false,
    }))
}

fn ordinary(question: &Question) -> Option<Answer> {
    Some(match &question.about {
        About::Standing(_) => standing(question, "Hello"),
        About::History(_) | About::Replies(_) => page("Hello"),
        About::Edits(query) => {
            let content = "Helo".to_owned();
            let (seq, by, at) = (Seq(1), user("1"), Wall(1_764_153_000_123));
            let edit = Edited { number: 0, seq, by, at, content };
            Answer::Edits(Edits { message: query.message, edits: vec![edit], has_more: false })
        }
    })
}

pub fn server() -> Server {
    let server = Server::start();
    *server.world.answers.lock().unwrap() = ordinary;
    server
}

impl Server {
    fn get(&self, path: &str, headers: &str) -> Response {
        self.public(&format!("GET {path} HTTP/1.1\r\nHost: chat.example.com\r\n{headers}\r\n"))
    }

    /// With a good token of user 1.
    fn ask(&self, path: &str) -> Response {
        self.get(path, &format!("Authorization: Bearer {}\r\n", token("1", 60)))
    }

    fn asked(&self) -> Vec<Question> {
        std::mem::take(&mut *self.world.questions.lock().unwrap())
    }
}

#[test]
fn a_token_is_taken_from_the_query_or_the_header() {
    let server = server();
    let good = token("1", 60);
    let (mine, hers) = (token("2", 60), token("1", 60));
    let check = |path: &str, headers: &str, expected: Option<&str>| {
        let answer = server.get(path, headers);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let Asker::User(identity) = server.asked().remove(0).asker else { panic!("no user") };
        assert_eq!(Some(identity.user.to_string().as_str()), expected);
    };
    check(&format!("{HERE}?token={good}"), "", Some("1"));
    check(&format!("{HERE}?limit=5&token={good}"), "", Some("1"));
    check(HERE, &format!("Authorization: Bearer {good}\r\n"), Some("1"));
    check(HERE, &format!("authorization: bearer {good}\r\n"), Some("1"));
    // As with the upgrade the query comes first.
    check(&format!("{HERE}?token={mine}"), &format!("Authorization: Bearer {hers}\r\n"), Some("2"));
}

#[test]
fn without_a_token_that_holds_nothing_is_asked() {
    let server = server();
    let expired = {
        let rules = loquat::auth::Rules::default();
        let user = user("1");
        let claims = loquat::auth::NewToken::new(&user, 60, &rules);
        loquat::auth::issue(&key(), &claims, Wall(1_000_000_000), "0123456789abcdef").unwrap()
    };
    let check = |path: &str, headers: &str, code: &str| {
        for path in [path.to_owned(), path.replace(HERE, "/api/conversations")] {
            let answer = server.get(&path, headers);
            assert_eq!((answer.status, answer.code().as_str()), (401, code), "{path} {headers}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"loquat\""));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    };
    check(HERE, "", "token_missing");
    check(&format!("{HERE}?token="), "", "token_missing");
    check(&format!("{HERE}?token=x"), "", "token_invalid");
    check(&format!("{HERE}?token={expired}"), "", "token_expired");
    check(&format!("{HERE}?token={}", "x".repeat(5_000)), "", "token_invalid");
    check(HERE, "Authorization: Basic YTpi\r\n", "token_invalid");
    check(HERE, "Authorization: Bearer\r\n", "token_invalid");
    let good = format!("Authorization: Bearer {}\r\n", token("1", 60));
    check(HERE, &format!("{good}{good}"), "token_invalid");
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn a_reload_changes_the_keys() {
    let server = server();
    assert_eq!(server.ask(HERE).status, 200);
    let other = loquat::auth::Key::new(
        loquat::auth::Algorithm::Hs256,
        "quite another secret of enough bytes",
    );
    let keys = loquat::auth::Keys::new(vec![other.unwrap()]).unwrap();
    let verifier = loquat::auth::Verifier::new(keys, loquat::auth::Rules::default()).unwrap();
    server.world.gate.store(std::sync::Arc::new(Reloadable {
        limits: Limits::DEFAULT,
        verifier,
        allowed_origins: Vec::new(),
    }));
    assert_eq!(server.ask(HERE).code(), "token_invalid");
}

#[test]
fn pages_of_listed_origins_may_ask() {
    let server = server();
    let bearer = format!("Authorization: Bearer {}\r\n", token("1", 60));
    let check = |origin: &str, is_allowed: bool| {
        let answer = server.get(HERE, &format!("Origin: {origin}\r\n{bearer}"));
        let expected = if is_allowed { (200, Some(origin)) } else { (403, None) };
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!((answer.status, allowed), expected, "{origin}");
        assert_eq!(answer.code(), if is_allowed { "" } else { "origin_refused" });
    };
    check("https://app.example.com", true);
    check("https://chat.example.com", true);
    check("https://evil.example.com", false);
    check("null", false);
    let twice = "Origin: https://app.example.com\r\nOrigin: https://app.example.com\r\n";
    assert_eq!(server.get(HERE, &format!("{twice}{bearer}")).code(), "origin_refused");
    // A page can read why it was refused, if it may ask at all.
    let answer = server.get(HERE, "Origin: https://app.example.com\r\n");
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_missing"));
    assert!(answer.header("access-control-allow-origin").is_some());
    assert_eq!(answer.header("vary"), Some("Origin"));
    assert_eq!(server.get("/api/nothing", "Origin: https://app.example.com\r\n").status, 401);
    // Nothing else on this port is for other origins.
    let probe = server.get("/livez", "Origin: https://app.example.com\r\n");
    assert_eq!(probe.header("access-control-allow-origin"), None);
}

#[test]
fn a_preflight_needs_no_token() {
    let server = server();
    let preflight = |origin: &str| {
        server.public(&format!(
            "OPTIONS {HERE}?limit=5 HTTP/1.1\r\nHost: chat.example.com\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n\r\n"
        ))
    };
    let answer = preflight("https://app.example.com");
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, OPTIONS"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("Authorization"));
    assert_eq!(answer.header("access-control-max-age"), Some("600"));
    let refused = preflight("https://evil.example.com");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn what_is_asked_for_reaches_the_shard() {
    let server = server();
    let check = |path: &str, expected: About| {
        let answer = server.ask(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let mut asked = server.asked();
        assert_eq!(asked.len(), 1);
        let question = asked.remove(0);
        assert_eq!((question.conversation.to_string().as_str(), question.about), ("7", expected));
    };
    let history = |anchor, limit| About::History(HistoryQuery { anchor, limit });
    check(HERE, history(Anchor::Newest, 50));
    check(&format!("{HERE}?before=456&limit=200"), history(Anchor::Before(MessageId(456)), 200));
    check(&format!("{HERE}?after=0&limit=1"), history(Anchor::After(MessageId(0)), 1));
    check(&format!("{HERE}?around=456"), history(Anchor::Around(MessageId(456)), 50));
    let (parent, after) = (MessageId(456), MessageId(9));
    let replies = About::Replies(RepliesQuery { parent, after, limit: 3 });
    check(&format!("{HERE}/456/replies?after=9&limit=3"), replies);
    let edits = EditsQuery { message: parent, after: Seq(0), limit: 50 };
    check(&format!("{HERE}/456/edits"), About::Edits(edits));
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let server = server();
    let check = |path: &str, status: u16, code: &str| {
        let answer = server.ask(path);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
        assert!(answer.json()["error"].as_str().unwrap().len() > 10);
    };
    for query in [
        "limit=0",
        "limit=201",
        "limit=1000000000",
        "before=1&after=2",
        "around=x",
        "before=9007199254740992",
        "before=-1",
        "page=1",
        "limit=5&limit=5",
    ] {
        check(&format!("{HERE}?{query}"), 400, "invalid");
    }
    check("/api/conversations/a.b/messages", 400, "invalid");
    check("/api/conversations/007/messages", 400, "invalid");
    check("/api/conversations/7/messages/x/replies", 400, "invalid");
    check("/api/conversations/7/messages/01/edits", 400, "invalid");
    check("/api/conversations/7/messages/1/edits?after=x", 400, "invalid");
    check("/api/conversations?after=a.b", 400, "invalid");
    check("/api/conversations/7?limit=1001", 400, "invalid");
    check("/api/conversations/%FF/messages", 400, "invalid");
    check("/api", 404, "not_found");
    check("/api/messages", 404, "not_found");
    check("/api/conversations/7/messages/1", 404, "not_found");
    let bearer = format!("Authorization: Bearer {}\r\n", token("1", 60));
    let post = format!("POST {HERE} HTTP/1.1\r\nHost: a\r\n{bearer}\r\n");
    assert_eq!(server.public(&post).code(), "method_not_allowed");
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn what_shards_say_becomes_a_status() {
    let server = server();
    let check = |answers: fn(&Question) -> Option<Answer>, status: u16, code: &str| {
        *server.world.answers.lock().unwrap() = answers;
        for path in [HERE, "/api/conversations/7", "/api/conversations/7/messages/9/edits"] {
            let answer = server.ask(path);
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
        }
    };
    check(|_| Some(Answer::Refused(CloseReason::Forbidden)), 403, "forbidden");
    check(|_| Some(Answer::Refused(CloseReason::TokenRevoked)), 401, "token_revoked");
    check(|_| Some(Answer::NoMessage), 404, "not_found");
    check(|_| Some(Answer::Gone), 410, "gone");
    check(|_| Some(Answer::Busy), 503, "overload");
    check(|_| Some(Answer::Unavailable), 503, "storage_unavailable");
}

#[test]
fn a_shard_that_does_not_answer_is_waited_for_in_vain() {
    let bounds = HttpBounds { timeout_ms: 400, ..HttpBounds::default() };
    let server = Server::with(HttpSettings { demo_users: Vec::new(), ..settings(bounds) });
    for path in [HERE, "/api/conversations"] {
        assert_eq!(server.ask(path).code(), "storage_unavailable", "{path}");
    }
    assert_eq!(server.world.waiting.lock().unwrap().len(), 2);
}

#[test]
fn pages_are_those_of_the_socket() {
    let server = server();
    let answer = server.ask(HERE);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let page = answer.json();
    assert_eq!((&page["has_more"], &page["seq"]), (&json!(true), &json!(42)));
    assert_eq!(page["messages"][0]["content"], "Hello");
    let edits = server.ask(&format!("{HERE}/456/edits")).json();
    let expected = json!({"message_id": 456, "has_more": false, "edits": [{
        "number": 0, "seq": 1, "content": "Helo", "user_id": 1,
        "created_at": "2025-11-26T10:30:00.123Z",
    }]});
    assert_eq!(edits, expected);
}

#[test]
fn a_conversation_is_shown_with_its_members_and_their_marks() {
    let server = server();
    let participant =
        |id: Value, role: &str, mark: Value| json!({"user_id": id, "role": role, "mark": mark});
    let mut expected = json!({
        "conversation_id": 7, "epoch": "9f3c61d2", "seq": 42, "role": "member", "messages": 12,
        "unread": 3, "mark": 400, "participants": [], "has_more": true,
    });
    let mut check = |query: &str, participants: Vec<Value>, has_more: bool| {
        let mut shown = server.ask(&format!("/api/conversations/7{query}")).json();
        assert_eq!(shown["last_message"]["id"], 456);
        assert_eq!(shown["last_message"]["read_by"], Value::Null);
        shown.as_object_mut().unwrap().remove("last_message");
        expected["participants"] = json!(participants);
        expected["has_more"] = json!(has_more);
        assert_eq!(shown, expected);
    };
    let ann = participant(json!("ann@x.org"), "read_only", json!(9));
    let two =
        [participant(json!(1), "admin", json!(9)), participant(json!(2), "member", Value::Null)];
    check("?limit=2", two.to_vec(), true);
    check("?after=2", vec![ann], false);
}

#[test]
fn the_list_has_the_users_own_conversations_page_by_page() {
    let server = server();
    let ids = |answer: &Response| -> Vec<Value> {
        let listed = answer.json()["conversations"].as_array().unwrap().clone();
        listed.into_iter().map(|entry| entry["conversation_id"].clone()).collect()
    };
    let one = server.ask("/api/conversations");
    assert_eq!((ids(&one), &one.json()["has_more"]), (vec![json!(7)], &json!(false)));
    assert_eq!(one.json()["conversations"][0]["unread"], 3);
    // Somebody who belongs nowhere.
    let bearer = format!("Authorization: Bearer {}\r\n", token("99", 60));
    let none = server.get("/api/conversations", &bearer);
    assert_eq!((ids(&none), none.status), (vec![], 200));
    *server.world.revoked_before.lock().unwrap() = Some(Wall(u64::MAX));
    let revoked = server.get("/api/conversations", &bearer);
    assert_eq!((revoked.status, revoked.code().as_str()), (401, "token_revoked"));
}

#[test]
fn a_long_list_is_cut_by_count_and_by_length() {
    let server = Server::crowded(40);
    *server.world.answers.lock().unwrap() = |question| match question.conversation.to_string() {
        // Removed since the list was read.
        id if id == "3" => Some(Answer::Refused(CloseReason::Forbidden)),
        _ => ordinary(question),
    };
    let page = |query: &str| {
        let answer = server.ask(&format!("/api/conversations?{query}"));
        let json = answer.json();
        let ids: Vec<u64> = json["conversations"]
            .as_array()
            .unwrap_or_else(|| panic!("{}", answer.body))
            .iter()
            .map(|entry| entry["conversation_id"].as_u64().unwrap())
            .collect();
        (ids, json["has_more"].as_bool().unwrap())
    };
    let all: Vec<u64> = (1..=40).filter(|id| *id != 3).collect();
    assert_eq!(page(""), (all.clone(), false));
    let (mut walked, mut query) = (Vec::new(), "limit=7".to_owned());
    loop {
        let (ids, has_more) = page(&query);
        assert!(ids.len() <= 7);
        query = format!("limit=7&after={}", ids.last().unwrap());
        walked.extend(ids);
        if !has_more {
            break;
        }
    }
    assert_eq!(walked, all);
    *server.world.answers.lock().unwrap() =
        |question| Some(standing(question, &"x".repeat(30_000)));
    let (ids, has_more) = page("");
    assert_eq!((ids, has_more), ((1..=5).collect(), true));
}
