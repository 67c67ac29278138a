//! Upgrades that are refused in plain HTTP, and the answers. A browser shows its page only "1006"
//! for these: what a client can act on is told as a close code after the 101 instead.

use std::io::Write;

use crate::model::CloseReason;

/// Why there is no socket. Holds nothing of the peer's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{0}")]
    Malformed(&'static str),
    /// Only with `auth.reject = "http"`; the reason's slug is the code.
    #[error("the token was refused")]
    Unauthorized(CloseReason),
    /// Only with `auth.reject = "http"`.
    #[error("not a member of this conversation")]
    Forbidden,
    #[error("this origin is not allowed")]
    OriginRefused,
    #[error("there is nothing here")]
    NotFound,
    #[error("the request took too long")]
    TooSlow,
    #[error("a body is not taken here")]
    BodyRefused,
    #[error("only WebSocket version 13 is spoken here")]
    WrongVersion,
    #[error("the request head is too large")]
    HeadTooLarge,
    #[error("overloaded, come back later")]
    Overloaded { retry_after_s: u32 },
}

impl Refused {
    pub fn status(self) -> u16 {
        match self {
            Refused::Malformed(_) => 400,
            Refused::Unauthorized(_) => 401,
            Refused::Forbidden | Refused::OriginRefused => 403,
            Refused::NotFound => 404,
            Refused::TooSlow => 408,
            Refused::BodyRefused => 413,
            Refused::WrongVersion => 426,
            Refused::HeadTooLarge => 431,
            Refused::Overloaded { .. } => 503,
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            Refused::Malformed(_) => "Bad Request",
            Refused::Unauthorized(_) => "Unauthorized",
            Refused::Forbidden | Refused::OriginRefused => "Forbidden",
            Refused::NotFound => "Not Found",
            Refused::TooSlow => "Request Timeout",
            Refused::BodyRefused => "Content Too Large",
            Refused::WrongVersion => "Upgrade Required",
            Refused::HeadTooLarge => "Request Header Fields Too Large",
            Refused::Overloaded { .. } => "Service Unavailable",
        }
    }

    /// The `code` of the JSON body.
    pub fn slug(self) -> &'static str {
        match self {
            Refused::Malformed(_) => "malformed",
            Refused::Unauthorized(reason) => reason.reason(),
            Refused::Forbidden => "forbidden",
            Refused::OriginRefused => "origin_refused",
            Refused::NotFound => "not_found",
            Refused::TooSlow => "too_slow",
            Refused::BodyRefused => "body_refused",
            Refused::WrongVersion => "wrong_version",
            Refused::HeadTooLarge => "head_too_large",
            Refused::Overloaded { .. } => "overloaded",
        }
    }
}

/// Appends the whole answer. The connection ends with it.
pub fn refuse_response(out: &mut Vec<u8>, refused: Refused) {
    // Sentences and slugs are ours and hold nothing that JSON would escape (there is a test).
    let body = format!(r#"{{"error":"{refused}","code":"{}"}}"#, refused.slug());
    let extra = match refused {
        Refused::Unauthorized(_) => "WWW-Authenticate: Bearer\r\n".to_owned(),
        // RFC 6455 §4.4 and RFC 9110 §15.5.22.
        Refused::WrongVersion => "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n".to_owned(),
        Refused::Overloaded { retry_after_s } => format!("Retry-After: {retry_after_s}\r\n"),
        _ => String::new(),
    };
    let connection = if refused == Refused::WrongVersion { "close, Upgrade" } else { "close" };
    let written = write!(
        out,
        "HTTP/1.1 {} {}\r\nConnection: {connection}\r\nContent-Type: application/json\r\n\
         Cache-Control: no-store\r\nContent-Length: {}\r\n{extra}\r\n{body}",
        refused.status(),
        refused.phrase(),
        body.len(),
    );
    if written.is_err() {
        unreachable!("writing into a Vec does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(refused: Refused) -> String {
        let mut out = Vec::new();
        refuse_response(&mut out, refused);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_is_short_http_with_json() {
        assert_eq!(
            answer(Refused::Overloaded { retry_after_s: 7 }),
            "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
             Content-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: 59\r\n\
             Retry-After: 7\r\n\r\n{\"error\":\"overloaded, come back later\",\"code\":\"overloaded\"}"
        );
    }

    #[test]
    fn every_refusal_has_its_status_and_its_headers() {
        let check = |refused: Refused, status: u16, slug: &str, header: &str| {
            let answer = answer(refused);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains(header), "{answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["code"], slug);
            assert_eq!(body["error"], refused.to_string());
        };
        check(Refused::Malformed("odd"), 400, "malformed", "Connection: close");
        check(Refused::Unauthorized(CloseReason::TokenExpired), 401, "token_expired", {
            "WWW-Authenticate: Bearer"
        });
        check(Refused::Forbidden, 403, "forbidden", "");
        check(Refused::OriginRefused, 403, "origin_refused", "");
        check(Refused::NotFound, 404, "not_found", "");
        check(Refused::TooSlow, 408, "too_slow", "Connection: close");
        check(Refused::BodyRefused, 413, "body_refused", "");
        check(Refused::WrongVersion, 426, "wrong_version", "Sec-WebSocket-Version: 13");
        check(Refused::HeadTooLarge, 431, "head_too_large", "");
        check(Refused::Overloaded { retry_after_s: 1 }, 503, "overloaded", "Retry-After: 1\r\n");
    }
}
