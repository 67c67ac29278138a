//! The demo page: one document with its style and script inside, and the demo users' tokens. It is
//! shown only to a browser that asked for a loopback host: the tokens are in it, and a name that
//! some other site points at this machine (DNS rebinding) must not read them.

use std::net::Ipv4Addr;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use serde::Serialize;

use super::failure::Failure;
use crate::model::UserId;

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = concat!(include_str!("page/page.js"), include_str!("page/connection.js"));

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
}

/// The page as it is sent, and the hashes that let its style and script, and no others, run.
pub struct Document {
    html: Bytes,
    style_hash: String,
    script_hash: String,
}

/// `None` without demo users: then there is no page.
pub fn document(users: &[DemoUser]) -> Result<Option<Document>, PageError> {
    if users.is_empty() {
        return Ok(None);
    }
    let users = serde_json::to_string(users).map_err(|_| PageError::Users)?;
    let (style, script) = (flush_left(STYLE), flush_left(SCRIPT));
    let html = flush_left(FRAME)
        .replace("{{style}}", &style)
        .replace("{{script}}", &script)
        .replace("{{users}}", &inert(&users));
    let (style_hash, script_hash) = (hash(&style), hash(&script));
    Ok(Some(Document { html: html.into(), style_hash, script_hash }))
}

/// Without indentation and lines of comment, which are a tenth of the page. No text of it spans lines.
fn flush_left(text: &str) -> String {
    let lines = text.lines().map(str::trim_start);
    lines.filter(|line| !line.starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

/// JSON that no HTML parser can see a tag or an entity in, and that stays the same JSON.
fn inert(json: &str) -> String {
    json.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// A source expression of CSP level 2.
fn hash(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    format!("'sha256-{}'", STANDARD.encode(digest.as_ref()))
}

impl Document {
    /// `host` is what [`loopback_host`] let through. The WebSocket's origin is named because not
    /// every browser takes `'self'` for `ws:`.
    pub fn response(&self, host: &str) -> Response {
        let policy = format!(
            "default-src 'none'; style-src {}; script-src {}; connect-src 'self' ws://{host}; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            self.style_hash, self.script_hash
        );
        let Ok(policy) = HeaderValue::from_str(&policy) else {
            return REFUSED.into_response();
        };
        let fixed = |text: &'static str| HeaderValue::from_static(text);
        let headers: [(HeaderName, HeaderValue); 6] = [
            (header::CONTENT_TYPE, fixed("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            (header::REFERRER_POLICY, fixed("no-referrer")),
            (header::CACHE_CONTROL, fixed("no-store")),
            (HeaderName::from_static("cross-origin-resource-policy"), fixed("same-origin")),
        ];
        (headers, self.html.clone()).into_response()
    }
}

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
        let document = document(&users).unwrap().unwrap();
        let html = std::str::from_utf8(&document.html).unwrap();
        let (_, rest) = html.split_once("id=\"demo-users\">").unwrap();
        let (json, _) = rest.split_once("</script>").unwrap();
        assert!(!json.contains(['<', '>', '&', '\u{2028}']), "{json}");
        let read: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(read[0]["name"], name);
    }

    #[test]
    fn the_page_is_whole_small_and_asks_nobody_else() {
        let id = UserId::parse("1").unwrap();
        let (name, token) = ("Ann".to_owned(), "t".repeat(400));
        let whole = document(&[DemoUser { id, name, token }]).unwrap().unwrap().html.len();
        assert!(whole <= 30 * 1024, "{whole}");
        for part in [FRAME, STYLE, SCRIPT] {
            assert!(!part.contains("http://") && !part.contains("https://"));
        }
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!SCRIPT.contains(sink), "{sink}");
        }
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
        assert!(document(&[]).is_ok_and(|document| document.is_none()));
    }
}
