//! What the public port answers to plain requests: `/api`, the demo page, health, and 404 for the rest.
//! Requests with a body are refused: nothing here takes one.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::failure::Failure;
use super::health;
use super::page::{self, Document};
use super::ports::Health;

/// Only what is below `/api` is meant for pages of other origins.
pub fn routes(document: Option<Document>, health: Arc<dyn Health>, api: Router) -> Router {
    let mut router = health::routes(health).nest("/api", api);
    if let Some(document) = document {
        let page = Router::new()
            .route("/", get(show))
            .route("/assets/{name}", get(async |Path(name): Path<String>| page::asset(&name)))
            .with_state(Arc::new(document));
        router = router.merge(page);
    }
    router
        .fallback(async || Failure::NO_SUCH_PATH)
        .method_not_allowed_fallback(async || Failure::METHOD_NOT_ALLOWED)
        .layer(middleware::from_fn(refuse_bodies))
}

async fn show(State(document): State<Arc<Document>>, headers: HeaderMap) -> Response {
    match page::loopback_host(&headers) {
        Ok(host) => document.response(host),
        Err(failure) => failure.into_response(),
    }
}

async fn refuse_bodies(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let lengths = headers.get_all(header::CONTENT_LENGTH);
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || lengths.iter().any(|length| length.as_bytes() != b"0");
    if has_body {
        let sentence = "requests on this port have no body";
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Failure::new(status, "body_not_allowed", sentence).into_response();
    }
    next.run(request).await
}
