//! The demo page: what `web/` builds into `web/demo/dist`, with the demo users' tokens put in. It is
//! shown only to a browser that asked for a loopback host: the tokens are in it, and a name that
//! some other site points at this machine (DNS rebinding) must not read them. Its scripts and styles
//! are the same for everybody, named by what is in them, and stand below `/assets`.

use std::net::Ipv4Addr;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::failure::Failure;
use crate::model::UserId;

const FRAME: &str = include_str!("../../web/demo/dist/index.html");
const ASSETS: &[(&str, &str, &[u8])] = &include!("../../web/demo/dist/assets.rs");
const NONCE_BYTES: usize = 16;

/// Someone a visitor of the demo can be. No `Debug`: it holds a token.
#[derive(Clone, Serialize)]
pub struct DemoUser {
    pub id: UserId,
    pub name: String,
    pub token: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    #[error("the demo users cannot be written as JSON")]
    Users,
    #[error("the built page has no place for a nonce")]
    Frame,
}

/// The page before and behind the place of the nonce, which is another one in each answer.
pub struct Document {
    head: String,
    rest: String,
}

/// `None` without demo users: then there is no page.
pub fn document(users: &[DemoUser]) -> Result<Option<Document>, PageError> {
    if users.is_empty() {
        return Ok(None);
    }
    let users = serde_json::to_string(users).map_err(|_| PageError::Users)?;
    let (head, rest) = FRAME.split_once("{{nonce}}").ok_or(PageError::Frame)?;
    let rest = rest.replace("{{users}}", &inert(&users));
    Ok(Some(Document { head: head.to_owned(), rest }))
}

/// JSON that no HTML parser can see a tag or an entity in, and that stays the same JSON.
fn inert(json: &str) -> String {
    json.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

impl Document {
    /// `host` is what [`loopback_host`] let through. The WebSocket's origin is named because not
    /// every browser takes `'self'` for `ws:`. The nonce is for the emoji picker's own `<style>`.
    pub fn response(&self, host: &str) -> Response {
        let mut random = [0; NONCE_BYTES];
        if getrandom::fill(&mut random).is_err() {
            return NO_RANDOMNESS.into_response();
        }
        let nonce = STANDARD.encode(random);
        let policy = format!(
            "default-src 'none'; style-src 'self' 'nonce-{nonce}'; script-src 'self'; \
             connect-src 'self' ws://{host}; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        let Ok(policy) = HeaderValue::from_str(&policy) else {
            return REFUSED.into_response();
        };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        let html = [self.head.as_str(), &nonce, &self.rest].concat();
        (guarded(), headers, Bytes::from(html)).into_response()
    }
}

/// A script or a style. Its name changes with its content, so that it may be kept for ever.
pub fn asset(name: &str) -> Response {
    let Some((_, kind, content)) = ASSETS.iter().find(|(known, ..)| *known == name) else {
        return Failure::NO_SUCH_PATH.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (guarded(), headers, Bytes::from_static(content)).into_response()
}

/// Nothing is taken for what it is not, and no other site embeds any of it.
fn guarded() -> [(HeaderName, HeaderValue); 2] {
    let fixed = HeaderValue::from_static;
    [
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (HeaderName::from_static("cross-origin-resource-policy"), fixed("same-origin")),
    ]
}

const NO_RANDOMNESS: Failure =
    Failure::unavailable("no_randomness", "the system gave no random bytes");

const REFUSED: Failure = Failure::new(
    StatusCode::FORBIDDEN,
    "host_not_loopback",
    "the demo page holds tokens and is only shown under localhost, 127.0.0.1 or [::1]",
);

/// The Host header, if there is exactly one and it names this machine to itself.
pub fn loopback_host(headers: &HeaderMap) -> Result<&str, Failure> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) if is_loopback(host) => Ok(host),
        _ => Err(REFUSED),
    }
}

fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix("[::1]") {
        Some(rest) => ("[::1]", rest.strip_prefix(':').or(rest.is_empty().then_some("80"))),
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("80")),
        },
    };
    let port_is_one = port.is_some_and(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    let name_is_loopback = name == "[::1]"
        || name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    port_is_one && name_is_loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_see_the_page() {
        let check = |host: &str, expected: bool| assert_eq!(is_loopback(host), expected, "{host}");
        for host in ["localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:1", "127.9.9.9:80"] {
            check(host, true);
        }
        for host in ["[::1]", "[::1]:8000"] {
            check(host, true);
        }
        for host in ["", "example.com", "localhost.example.com", "127.0.0.1.example.com:80"] {
            check(host, false);
        }
        for host in ["10.0.0.1:8000", "0.0.0.0", "[::2]:80", "[::1]x", "[::1", "localhost:"] {
            check(host, false);
        }
        for host in ["localhost:+1", "localhost:65536", "localhost:80:80", "a@localhost", "0x7f.1"]
        {
            check(host, false);
        }
    }

    #[test]
    fn a_name_cannot_end_the_script_element() {
        let name = "</script><!--&amp;\u{2028}\"\\".to_owned();
        let id = UserId::parse("1").unwrap();
        let users = vec![DemoUser { id, name: name.clone(), token: "t".to_owned() }];
        let html = document(&users).unwrap().unwrap().rest;
        let (_, rest) = html.split_once("id=\"demo-users\">").unwrap();
        let (json, _) = rest.split_once("</script>").unwrap();
        assert!(!json.contains(['<', '>', '&', '\u{2028}']), "{json}");
        let read: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(read[0]["name"], name);
    }

    #[test]
    fn the_page_finds_all_that_it_asks_for_and_is_not_huge() {
        let named: Vec<&str> = FRAME.split("./assets/").skip(1).collect();
        assert_eq!(named.len(), 2, "a script and a style");
        for rest in named {
            let (name, _) = rest.split_once('"').unwrap();
            assert_eq!(asset(name).status(), StatusCode::OK, "{name}");
        }
        assert!(!FRAME.contains("://"));
        assert_eq!(FRAME.matches("{{").count(), 2);
        let whole: usize = ASSETS.iter().map(|(_, _, content)| content.len()).sum();
        assert!(whole <= 720 * 1024, "{whole}");
        for name in ["", "..", "index.html", "../index.html", "assets.rs"] {
            assert_eq!(asset(name).status(), StatusCode::NOT_FOUND, "{name}");
        }
        assert!(document(&[]).is_ok_and(|document| document.is_none()));
    }
}
