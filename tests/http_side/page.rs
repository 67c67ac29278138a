//! The demo page over HTTP: who is shown it, what its policy lets in, and that all it asks for is there.

use std::collections::HashSet;

use loquat::http::{HttpBounds, HttpSettings};

use crate::stand_in::{Server, settings};

#[test]
fn the_page_is_shown_under_loopback_names_only() {
    let server = Server::start();
    let get = |head: &str| server.public(&format!("GET / HTTP/1.1\r\n{head}\r\n"));
    let page = get("Host: localhost:8000\r\n");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("the-demo-token") && page.body.contains("Ann \\u003cLee\\u003e"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains("connect-src 'self' ws://localhost:8000;"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    for head in ["Host: evil.example\r\n", "", "Host: localhost\r\nHost: localhost\r\n"] {
        let refused = get(head);
        assert_eq!((refused.status, refused.code().as_str()), (403, "host_not_loopback"));
        assert!(!refused.body.contains("the-demo-token"));
    }
}

#[test]
fn the_page_allows_styles_by_a_nonce_that_is_used_once() {
    let server = Server::start();
    let nonce = |_| {
        let page = server.public("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (_, rest) = page.body.split_once("name=\"csp-nonce\" content=\"").unwrap();
        let (nonce, _) = rest.split_once('"').unwrap();
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains(&format!("style-src 'self' 'nonce-{nonce}';")), "{policy}");
        assert!(policy.contains("script-src 'self';"), "{policy}");
        nonce.to_owned()
    };
    let nonces: HashSet<String> = (0..20).map(nonce).collect();
    assert_eq!(nonces.len(), 20);
    assert!(nonces.iter().all(|nonce| nonce.len() == 24));
}

#[test]
fn what_the_page_asks_for_is_there_and_may_be_kept() {
    let server = Server::start();
    let page = server.public("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut kinds = Vec::new();
    for rest in page.body.split("./assets/").skip(1) {
        let (name, _) = rest.split_once('"').unwrap();
        let asset =
            server.public(&format!("GET /assets/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(asset.status, 200, "{name}");
        assert_eq!(asset.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(asset.header("x-content-type-options"), Some("nosniff"));
        assert!(asset.body.len() > 1000, "{name}");
        kinds.push(asset.header("content-type").unwrap().to_owned());
    }
    kinds.sort();
    assert_eq!(kinds, ["text/css; charset=utf-8", "text/javascript; charset=utf-8"]);
    for path in ["/assets/", "/assets/nothing.js", "/assets/%2e%2e%2findex.html"] {
        let missing = server.public(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!((missing.status, missing.code().as_str()), (404, "not_found"), "{path}");
    }
}

#[test]
fn without_demo_users_there_is_no_page() {
    let server =
        Server::with(HttpSettings { demo_users: Vec::new(), ..settings(HttpBounds::default()) });
    let answer = server.public("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
}
