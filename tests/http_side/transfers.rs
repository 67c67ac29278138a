//! The ways in and out as HTTP: what is refused, what waits, and that a long wait is not cut.

use loquat::http::HttpBounds;

use crate::stand_in::{Mood, Server, settings};

#[test]
fn they_want_the_token_and_the_right_method() {
    let server = Server::start();
    for path in ["/admin/events", "/admin/conversations/7/export", "/admin/conversations/7/import"]
    {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(server.admin_raw(&head).status, 401, "{path}");
        let refused = server.admin(&format!("DELETE {path}"), "");
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (405, "method_not_allowed"),
            "{path}"
        );
    }
}

#[test]
fn without_anything_new_the_answer_is_a_cursor() {
    let server = Server::start();
    let answer = server.admin("GET /admin/events", "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let end = answer.json();
    assert_eq!((&end["type"], &end["has_more"]), (&"end".into(), &false.into()));
    let cursor = end["cursor"].as_str().unwrap();
    let again = server.admin(&format!("GET /admin/events?after={cursor}"), "");
    assert_eq!(again.body, answer.body);
}

#[test]
fn a_wait_outlives_its_connection_and_no_longer_than_it_said() {
    // The connection is old at once, and an ordinary request would be cut after three timeouts.
    let bounds = HttpBounds { timeout_ms: 50, admin_connection_ms: 1, ..HttpBounds::default() };
    let server = Server::with(settings(bounds));
    let answer = server.admin("GET /admin/events?wait=1", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["type"], "end");
}

#[test]
fn what_is_not_there_is_not_exported_and_a_store_that_rests_takes_nothing_in() {
    let server = Server::start();
    let missing = server.admin("GET /admin/conversations/7/export", "");
    assert_eq!((missing.status, missing.code().as_str()), (404, "not_found"));
    let missing = server.admin("GET /admin/conversations/7/import", "");
    assert_eq!((missing.status, missing.code().as_str()), (404, "not_found"));
    server.set_mood(Mood::Busy);
    let refused = server.admin("POST /admin/conversations/7/import", "{}\n");
    assert_eq!((refused.status, refused.code().as_str()), (503, "storage_unavailable"));
    let refused = server.admin("POST /admin/conversations/a.b/import", "{}\n");
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid"));
}
