//! The one shape of every refusal: a status and `{"error": "<a sentence>", "code": "<slug>"}`.
//! Sentences are ours; nothing the peer sent is repeated.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub status: StatusCode,
    pub code: &'static str,
    pub sentence: &'static str,
}

#[derive(Serialize)]
struct Body {
    error: &'static str,
    code: &'static str,
}

/// What a client that should come back is told to wait.
pub const RETRY_AFTER_S: &str = "1";

impl Failure {
    pub const fn new(status: StatusCode, code: &'static str, sentence: &'static str) -> Failure {
        Failure { status, code, sentence }
    }

    pub const fn invalid(sentence: &'static str) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, "invalid", sentence)
    }

    pub const fn not_found(sentence: &'static str) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, "not_found", sentence)
    }

    pub const fn unavailable(code: &'static str, sentence: &'static str) -> Failure {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, code, sentence)
    }

    pub const NO_SUCH_PATH: Failure = Failure::not_found("there is nothing at this path");

    pub const METHOD_NOT_ALLOWED: Failure = Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not take this method; the Allow header says which it takes",
    );
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(Body { error: self.sentence, code: self.code });
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
            }
            StatusCode::UNAUTHORIZED => {
                let scheme = match self.code {
                    "unauthorized" => "Bearer realm=\"loquat admin\"",
                    _ => "Bearer realm=\"loquat\"",
                };
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
            _ => {}
        }
        response
    }
}
