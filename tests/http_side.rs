//! The HTTP thread as it runs, with stand-ins for the rest of the server, driven through sockets.

#[path = "http_side/api.rs"]
mod api;
#[path = "http_side/openapi.rs"]
mod openapi;
#[path = "http_side/page.rs"]
mod page;
#[path = "http_side/stand_in.rs"]
mod stand_in;
#[path = "http_side/transfers.rs"]
mod transfers;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use loquat::http::{self, HttpBounds, Vitals};
use loquat::model::{ErrorCode, MessageId, Profile, Role, Seq};
use loquat::node::admin::{AdminAnswer, AdminCommand, Post, Sender};
use serde_json::{Value, json};

use stand_in::{
    CREATED_AT, Mood, PATIENCE, Server, TOKEN, admin_request, answer, conversation, ports,
    settings, user, world,
};

const LIVE: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_request_is_whole_wherever_the_reactor_stopped_reading() {
    let server = Server::start();
    for read in 0..=LIVE.len() {
        let mut client = server.hand_over(&LIVE.as_bytes()[..read]);
        client.write_all(&LIVE.as_bytes()[read..]).unwrap();
        let answer = answer(client);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"), "{read}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(server.handle.counts().taken, LIVE.len() as u64 + 1);
}

#[test]
fn a_client_that_half_closes_still_gets_its_answer() {
    let server = Server::start();
    let client = server.hand_over(LIVE.as_bytes());
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(answer(client).status, 200);
}

#[test]
fn a_second_request_on_the_connection_is_never_served() {
    let server = Server::start();
    let answer = server.public(&format!("{LIVE}{LIVE}"));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, "ok\n");
}

#[test]
fn public_paths_answer_as_described() {
    let server = Server::start();
    let check = |request: &str, status: u16, code: &str| {
        let answer = server.public(&format!("{request}\r\n\r\n"));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{request}");
        answer
    };
    check("GET /readyz HTTP/1.1\r\nHost: a", 200, "");
    check("GET /livez HTTP/1.0", 200, "");
    check("HEAD /livez HTTP/1.1\r\nHost: a", 200, "");
    check("GET /nothing HTTP/1.1\r\nHost: a", 404, "not_found");
    check("GET /admin/conversations HTTP/1.1\r\nHost: a", 404, "not_found");
    check("GET /api/conversations/1/messages HTTP/1.1\r\nHost: a", 401, "token_missing");
    let refused = check("DELETE /livez HTTP/1.1\r\nHost: a", 405, "method_not_allowed");
    assert_eq!(refused.header("allow"), Some("GET,HEAD"));
    let post = "POST /livez HTTP/1.1\r\nHost: a\r\n";
    check(&format!("{post}Content-Length: 0"), 405, "method_not_allowed");
    check(&format!("{post}Content-Length: 3\r\n\r\nabc"), 413, "body_not_allowed");
    check(&format!("{post}Transfer-Encoding: chunked\r\n\r\n0"), 413, "body_not_allowed");
    check("GARBAGE", 400, "");
    check(&format!("GET /livez HTTP/1.1\r\nX: {}", "x".repeat(9_000)), 431, "");
    check(&format!("GET /livez HTTP/1.1{}", "\r\nX: y".repeat(65)), 431, "");
}

#[test]
fn an_answer_survives_a_body_that_nobody_reads() {
    let server = Server::start();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n";
    let mut client = server.hand_over(head.as_bytes());
    client.write_all(&[b'x'; 200_000]).unwrap();
    assert_eq!(answer(client).status, 413);
}

#[test]
fn a_slow_client_is_told_and_cut() {
    let bounds = HttpBounds { timeout_ms: 30, ..HttpBounds::default() };
    let server = Server::with(settings(bounds));
    let answer = answer(server.hand_over(b"GET /livez HTT"));
    assert_eq!((answer.status, answer.code().as_str()), (408, "timeout"));
    assert_eq!(server.handle.counts().timed_out, 1);
}

#[test]
fn over_the_cap_the_next_is_refused_and_the_one_after_a_close_is_not() {
    assert_eq!(HttpBounds::default().requests, 512);
    let server = Server::with(settings(HttpBounds { requests: 2, ..HttpBounds::default() }));
    let first = server.hand_over(b"");
    let _second = server.hand_over(b"GET ");
    let refused = server.public(LIVE);
    assert_eq!((refused.status, refused.code().as_str()), (503, "overload"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.handle.counts().refused, 1);
    // The thread notices the close in its own time.
    drop(first);
    let is_served = |_| server.public(LIVE).status == 200;
    assert!((0..100_000).any(is_served));
}

#[test]
fn readiness_names_its_reason_on_both_ports_without_a_token() {
    let server = Server::start();
    let check = |change: fn(&mut Vitals), path: &str, status: u16, code: &str| {
        change(&mut server.world.vitals.lock().unwrap());
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        for answer in [server.public(&request), server.admin_raw(&request)] {
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
        }
    };
    check(|_| {}, "/readyz", 200, "");
    check(|vitals| vitals.has_room = false, "/readyz", 503, "overload");
    check(|vitals| vitals.is_accepting = false, "/readyz", 503, "storage_unavailable");
    check(|vitals| vitals.is_draining = true, "/readyz", 503, "draining");
    check(|_| {}, "/livez", 200, "");
    check(|vitals| vitals.oldest_turn_ms = 20_000, "/livez", 503, "stalled");
}

#[test]
fn without_the_token_nothing_is_told() {
    let server = Server::start();
    let check = |head: &str, path: &str| {
        let answer = server.admin_raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}\r\n"
        ));
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{head}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"loquat admin\""));
        assert!(!answer.body.contains(TOKEN));
    };
    let list = "/admin/conversations";
    check("", list);
    check("", "/admin/nothing");
    check("", "/");
    check("Authorization: Bearer\r\n", list);
    check("Authorization: Bearer \r\n", list);
    check(&format!("Authorization: Basic {TOKEN}\r\n"), list);
    check(&format!("Authorization: Bearer {TOKEN}x\r\n"), list);
    check(&format!("Authorization: Bearer {}\r\n", &TOKEN[1..]), list);
    check(&format!("Authorization: Bearer {}\r\n", TOKEN.to_uppercase()), list);
    let one = format!("Authorization: Bearer {TOKEN}\r\n");
    check(&format!("{one}{one}"), list);
    assert_eq!(server.handle.counts().unauthorized, 10);
    assert_eq!(server.take_commands(), []);
}

#[test]
fn metrics_are_a_text_for_those_who_have_the_token() {
    let server = Server::start();
    let refused = server.admin_raw("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((refused.status, refused.code()), (401, "unauthorized".to_owned()));
    let answer = server.admin("GET /metrics", "");
    assert_eq!((answer.status, answer.body.as_str()), (200, "unauthorized 1\n"));
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(content_type));
    assert_eq!(server.public("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").status, 404);
}

#[test]
fn changes_reach_the_shards_and_are_answered_when_done() {
    let server = Server::start();
    let check = |line: &str, body: &str, status: u16, expected: Value, command: AdminCommand| {
        let answer = server.admin(line, body);
        assert_eq!((answer.status, answer.json()), (status, expected), "{line}");
        assert_eq!(server.take_commands(), [command], "{line}");
    };
    let (seven, ann) = (conversation("7"), user("ann@x.org"));
    check(
        "PUT /admin/conversations/7",
        "",
        201,
        json!({"conversation_id": 7}),
        AdminCommand::CreateConversation { conversation: seven.clone() },
    );
    check(
        "PUT /admin/conversations/7/members/ann%40x.org",
        r#"{"role":"moderator"}"#,
        200,
        json!({"conversation_id": 7, "user_id": "ann@x.org", "role": "moderator"}),
        AdminCommand::SetMember {
            conversation: seven.clone(),
            user: ann.clone(),
            role: Role::Moderator,
        },
    );
    check(
        "DELETE /admin/conversations/7/members/ann@x.org",
        "",
        204,
        Value::Null,
        AdminCommand::RemoveMember { conversation: seven.clone(), user: ann.clone() },
    );
    check(
        "POST /admin/conversations/7/members/1/kick",
        "{}",
        204,
        Value::Null,
        AdminCommand::Kick { conversation: seven.clone(), user: user("1") },
    );
    for (body, days) in
        [(r#"{"retention_days":30}"#, Some(30)), (r#"{"retention_days":null}"#, None)]
    {
        check(
            "PUT /admin/conversations/7/retention",
            body,
            200,
            json!({"conversation_id": 7, "retention_days": days}),
            AdminCommand::SetRetention { conversation: seven.clone(), days },
        );
    }
    for body in ["{}", r#"{"retention_days":0}"#, r#"{"retention_days":36501}"#] {
        let answer = server.admin("PUT /admin/conversations/7/retention", body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid"), "{body}");
    }
    check(
        "DELETE /admin/conversations/7",
        "",
        204,
        Value::Null,
        AdminCommand::DeleteConversation { conversation: seven.clone() },
    );
    check(
        "DELETE /admin/conversations/7/messages/12",
        "",
        204,
        Value::Null,
        AdminCommand::DeleteMessage {
            conversation: seven,
            message: MessageId(12),
            by: Sender::System,
        },
    );
    let profile = json!({"id": "ann@x.org", "email": "", "first_name": "Ann", "last_name": ""});
    check(
        "PUT /admin/users/ann@x.org",
        r#"{"first_name":"Ann"}"#,
        200,
        profile,
        AdminCommand::SetProfile {
            profile: Profile { first_name: "Ann".to_owned(), ..Profile::nameless(ann.clone()) },
        },
    );
    check(
        "POST /admin/users/ann@x.org/erase",
        "",
        202,
        json!({"user_id": "ann@x.org", "status": "running"}),
        AdminCommand::EraseUser { user: ann.clone() },
    );
    let at = "2025-11-26T10:30:00.123Z";
    for (user, status, expected) in [
        (1, 200, json!({"user_id": 1, "status": "running", "begun_at": at})),
        (
            2,
            200,
            json!({
                "user_id": 2, "status": "done", "begun_at": at, "done_at": at, "messages": 3,
                "reactions": 1,
            }),
        ),
    ] {
        let answer = server.admin(&format!("GET /admin/users/{user}/erase"), "");
        assert_eq!((answer.status, answer.json()), (status, expected));
    }
    assert_eq!(server.admin("GET /admin/users/3/erase", "").status, 404);
    check(
        "POST /admin/users/ann@x.org/revoke",
        "",
        204,
        Value::Null,
        AdminCommand::Revoke { user: ann.clone(), issued_before: None },
    );
    check(
        "POST /admin/users/ann@x.org/revoke",
        r#"{"issued_before":"2025-11-26T10:30:00.123Z"}"#,
        204,
        Value::Null,
        AdminCommand::Revoke { user: ann, issued_before: Some(CREATED_AT) },
    );
}

#[test]
fn a_post_is_answered_with_its_number_or_with_what_is_wrong() {
    let server = Server::start();
    let line = "POST /admin/conversations/7/messages";
    let mood = |answer| *server.world.mood.lock().unwrap() = Mood::Answers(answer);
    mood(AdminAnswer::Numbered { message: MessageId(5), seq: Seq(9), created_at: CREATED_AT });
    let check = |body: &str, sender: Sender, parent: Option<u64>, name: Option<&str>| {
        let answer = server.admin(line, body);
        let expected = json!({"id": 5, "seq": 9, "created_at": "2025-11-26T10:30:00.123Z"});
        assert_eq!((answer.status, answer.json()), (201, expected), "{body}");
        let post = Post {
            sender,
            content: "hi".to_owned(),
            parent: parent.map(MessageId),
            client_msg_id: name.map(str::to_owned),
        };
        let command = AdminCommand::Post { conversation: conversation("7"), post };
        assert_eq!(server.take_commands(), [command], "{body}");
    };
    check(r#"{"content":"hi","user_id":3}"#, Sender::User(user("3")), None, None);
    check(r#"{"content":"hi","user_id":"3"}"#, Sender::User(user("3")), None, None);
    let whole = r#"{"content":"hi","system":true,"parent_message_id":4,"client_msg_id":"n"}"#;
    check(whole, Sender::System, Some(4), Some("n"));
    let refuse = |body: &str, status: u16, code: &str| {
        let answer = server.admin(line, body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
    };
    for body in [
        r#"{"content":"hi"}"#,
        r#"{"content":"hi","user_id":3,"system":true}"#,
        r#"{"content":"hi","user_id":"é"}"#,
        r#"{"content":7,"system":true}"#,
        r#"{"content":"hi","system":true,"more":1}"#,
    ] {
        refuse(body, 400, "invalid");
    }
    assert_eq!(server.take_commands(), []);
    let hi = r#"{"content":"hi","system":true}"#;
    for (code, status) in [
        (ErrorCode::Empty, 400),
        (ErrorCode::TooLong, 400),
        (ErrorCode::Invalid, 400),
        (ErrorCode::ParentNotFound, 404),
        (ErrorCode::IdempotencyConflict, 409),
        (ErrorCode::StorageUnavailable, 503),
    ] {
        mood(AdminAnswer::Refused(code));
        refuse(hi, status, code.as_str());
    }
    mood(AdminAnswer::NotFound);
    refuse(hi, 404, "not_found");
    assert_eq!(server.admin("DELETE /admin/conversations/7/messages/x", "").status, 400);
}

#[test]
fn the_directory_is_read_in_pages() {
    let server = Server::start();
    let check = |path: &str, status: u16, expected: Value| {
        let answer = server.admin(&format!("GET {path}"), "");
        assert_eq!((answer.status, answer.json()), (status, expected), "{path}");
    };
    let at = "2025-11-26T10:30:00.123Z";
    let seven = json!({"conversation_id": 7, "created_at": at});
    let eight = json!({"conversation_id": 8, "created_at": at});
    check("/admin/conversations/7", 200, seven.clone());
    let none = json!({"error": "there is no such conversation", "code": "not_found"});
    check("/admin/conversations/9", 404, none.clone());
    let list = "/admin/conversations";
    check(list, 200, json!({"conversations": [seven, eight], "has_more": false}));
    check(&format!("{list}?limit=1"), 200, json!({"conversations": [seven], "has_more": true}));
    let rest = json!({"conversations": [eight], "has_more": false});
    check(&format!("{list}?limit=1&after=7"), 200, rest);
    let members = |members: Value, has_more: bool| json!({"conversation_id": 7, "members": members, "has_more": has_more});
    let (one, two) =
        (json!({"user_id": 1, "role": "admin"}), json!({"user_id": 2, "role": "member"}));
    let ann = json!({"user_id": "ann@x.org", "role": "read_only"});
    let list = "/admin/conversations/7/members";
    check(list, 200, members(json!([one, two, ann]), false));
    check(&format!("{list}?limit=2"), 200, members(json!([one, two]), true));
    check(&format!("{list}?limit=2&after=2"), 200, members(json!([ann]), false));
    check("/admin/conversations/9/members", 404, none);
    *server.world.is_readable.lock().unwrap() = false;
    let answer = server.admin("GET /admin/conversations/7", "");
    assert_eq!((answer.status, answer.code().as_str()), (503, "storage_unavailable"));
}

#[test]
fn what_is_not_allowed_is_refused_before_the_shards() {
    let server = Server::start();
    let check = |line: &str, body: &str, status: u16, code: &str| {
        let answer = server.admin(line, body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{line} {body}");
        answer
    };
    let long = "x".repeat(65);
    for id in ["007", "9007199254740992", "a%20b", "a.b", "%ff", &long] {
        check(&format!("PUT /admin/conversations/{id}"), "", 400, "invalid");
    }
    check("PUT /admin/users/a%2Fb", "{}", 400, "invalid");
    for query in ["limit=0", "limit=1001", "limit=x", "after=a.b", "page=2", "limit=1&limit=2"] {
        check(&format!("GET /admin/conversations?{query}"), "", 400, "invalid");
    }
    let member = "PUT /admin/conversations/7/members/1";
    let refused = check(member, r#"{"role":"king"}"#, 400, "invalid");
    assert!(refused.body.contains("read_only, member, moderator, admin"), "{}", refused.body);
    check(member, r#"{"role":"member","until":1}"#, 400, "invalid");
    check(member, "", 400, "invalid");
    check(member, "{", 400, "invalid_json");
    check("PUT /admin/conversations/7", r#"{"title":"x"}"#, 400, "invalid");
    check("PUT /admin/users/1", r#"{"name":"x"}"#, 400, "invalid");
    check("PUT /admin/users/1", r#"{"first_name":"a\u0000"}"#, 400, "invalid");
    let revoke = "POST /admin/users/1/revoke";
    check(revoke, r#"{"issued_before":"9999-01-01T00:00:00Z"}"#, 400, "invalid");
    check(revoke, r#"{"issued_before":1764153000}"#, 400, "invalid");
    check("GET /admin/nothing", "", 404, "not_found");
    check("PATCH /admin/users/1", "", 405, "method_not_allowed");
    check("POST /admin/conversations", "{}", 405, "method_not_allowed");
    assert_eq!(server.take_commands(), []);
}

#[test]
fn bodies_are_bounded_and_must_be_json() {
    let server = Server::start();
    let big = format!("{{\"email\":\"{}\"}}", "x".repeat(1 << 20));
    let answer = server.admin("PUT /admin/users/1", &big);
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    let head = format!(
        "PUT /admin/users/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Authorization: Bearer {TOKEN}\r\n"
    );
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(17));
    let answer = server.admin_raw(&chunked);
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    let answer = server.admin_raw(&format!("{head}Content-Length: 2\r\n\r\n{{}}"));
    assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_media_type"));
    assert_eq!(server.take_commands(), []);
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let bounds = HttpBounds { timeout_ms: 500, ..HttpBounds::default() };
    let server = Server::with(settings(bounds));
    let request = admin_request("PUT /admin/users/1", "{}");
    let answer = server.admin_raw(&request[..request.len() - 1]);
    assert_eq!((answer.status, answer.code().as_str()), (408, "timeout"));
}

#[test]
fn what_the_shards_do_not_confirm_is_not_claimed() {
    let bounds = HttpBounds { timeout_ms: 700, ..HttpBounds::default() };
    let server = Server::with(settings(bounds));
    let check = |mood: Mood, line: &str, status: u16, code: &str| {
        server.set_mood(mood);
        let answer = server.admin(line, "");
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{line}");
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
    };
    let create = "PUT /admin/conversations/7";
    check(Mood::Silent, create, 503, "unconfirmed");
    check(Mood::Forgetful, create, 503, "unconfirmed");
    check(Mood::Busy, create, 503, "overload");
    check(Mood::Answers(AdminAnswer::Unavailable), create, 503, "storage_unavailable");
    check(Mood::Answers(AdminAnswer::Exists), create, 200, "");
    let missing = Mood::Answers(AdminAnswer::NotFound);
    check(missing, "DELETE /admin/conversations/7/members/1", 404, "not_found");
    check(missing, "POST /admin/conversations/7/members/1/kick", 404, "not_found");
    // A reply that comes after all has nobody left to reach.
    for reply in server.world.kept.lock().unwrap().drain(..) {
        reply(AdminAnswer::Done);
    }
    check(Mood::Answers(AdminAnswer::Done), create, 201, "");
}

#[test]
fn an_admin_connection_serves_many_requests_until_it_idles() {
    let bounds = HttpBounds { timeout_ms: 700, ..HttpBounds::default() };
    let server = Server::with(settings(bounds));
    let mut client = server.admin_connection();
    let request = admin_request("GET /admin/conversations/7", "");
    let request = request.replace("Connection: close\r\n", "");
    client.write_all(request.repeat(3).as_bytes()).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
}

#[test]
fn an_old_admin_connection_ends_after_its_request() {
    let bounds = HttpBounds { admin_connection_ms: 0, ..HttpBounds::default() };
    let server = Server::with(settings(bounds));
    let client = server.admin_connection();
    assert_eq!(answer(client).status, 0);
}

#[test]
fn admin_connections_over_the_cap_wait_for_their_turn() {
    let bounds = HttpBounds { admin_connections: 1, ..HttpBounds::default() };
    let server = Server::with(settings(bounds));
    let mut first = server.admin_connection();
    let request = admin_request("GET /admin/conversations/7", "");
    first.write_all(request.replace("Connection: close\r\n", "").as_bytes()).unwrap();
    let mut begin = [0; 15];
    first.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    let mut second = server.admin_connection();
    second.write_all(request.as_bytes()).unwrap();
    second.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(second.read(&mut begin).is_err());
    drop(first);
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(answer(second).status, 200);
}

#[test]
fn after_the_stop_nothing_is_taken() {
    let server = Server::start();
    let address = server.handle.admin_address().unwrap();
    server.handle.stop();
    assert!(TcpStream::connect(address).is_err());
    let refused = server.public(LIVE);
    assert_eq!((refused.status, refused.code().as_str()), (503, "overload"));
    server.handle.stop();
}

#[test]
fn the_thread_gives_a_sign_of_life_until_it_ends() {
    let server = Server::start();
    let heartbeat = server.handle.heartbeat();
    let first = heartbeat.beats().expect("it serves");
    let begun = std::time::Instant::now();
    while heartbeat.beats().expect("it serves") < first + 2 {
        assert!(begun.elapsed() < PATIENCE, "it does not beat");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.handle.stop();
    assert_eq!(heartbeat.beats(), None);
}

#[test]
fn requests_under_way_at_the_stop_are_finished() {
    let server = Server::start();
    let mut client = server.hand_over(b"GET /livez HT");
    let handle = server.handle.clone();
    let stopping = std::thread::spawn(move || handle.stop());
    client.write_all(b"TP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(answer(client).status, 200);
    stopping.join().unwrap();
}

#[test]
fn a_port_in_use_is_an_error_at_the_start() {
    let server = Server::start();
    let mut taken = settings(HttpBounds::default());
    if let Some(admin) = &mut taken.admin {
        admin.listen = server.handle.admin_address().unwrap();
    }
    let world = Arc::new(world());
    let (ports, _store) = ports(&world);
    let error = http::start(taken, ports).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
