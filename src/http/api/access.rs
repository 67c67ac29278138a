//! Who may call `/api`: pages of allowed origins (CORS; the list that the upgrade takes), and users with
//! a token that holds. A refusal is readable to an allowed page; to another nothing is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::super::failure::Failure;
use super::{Api, Caller};
use crate::model::{Access, CloseReason, Identity, Wall};
use crate::node::core::Reloadable;
use crate::wire::upgrade::{Listening, origin_allowed};

/// Keys, rules and origins as they are now: a reload replaces them.
pub type Gate = Arc<ArcSwap<Reloadable>>;

pub struct ApiSettings {
    pub gate: Gate,
    pub access: Access,
    pub listening: Listening,
}

/// How long a browser may remember what a preflight said.
const PREFLIGHT_MAX_AGE_S: &str = "600";
const METHODS: &str = "GET, OPTIONS";

const ORIGIN_REFUSED: Failure =
    Failure::new(StatusCode::FORBIDDEN, "origin_refused", "pages of this origin may not ask here");

/// Lets the request through to its handler, with the [`Caller`] it comes from.
pub(super) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let origin = match allowed_origin(&api.settings, request.headers()) {
        Ok(origin) => origin,
        Err(failure) => return failure.into_response(),
    };
    let mut response = match *request.method() {
        Method::OPTIONS => preflight(origin.is_some()),
        _ => admitted(&api, request, next).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let retry_after = HeaderValue::from_static("Retry-After");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, retry_after);
    }
    response
}

/// The one Origin header, if there is one, and a page of it may ask.
fn allowed_origin(
    settings: &ApiSettings,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, Failure> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (first, second) = (origins.next(), origins.next());
    let Some(origin) = first else { return Ok(None) };
    let text = origin.to_str().map_err(|_| ORIGIN_REFUSED)?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let allowed = &settings.gate.load().allowed_origins;
    let is_allowed = origin_allowed(Some(text), host, allowed, settings.listening);
    match second {
        None if is_allowed => Ok(Some(origin.clone())),
        _ => Err(ORIGIN_REFUSED),
    }
}

fn preflight(is_browser: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(METHODS));
    if is_browser {
        let allow = |text: &'static str| HeaderValue::from_static(text);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allow("Authorization"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, allow(PREFLIGHT_MAX_AGE_S));
    }
    response
}

async fn admitted(api: &Api, mut request: Request, next: Next) -> Response {
    match identity_of(api, &request) {
        Ok(identity) => {
            let until = Instant::now() + api.patience;
            request
                .extensions_mut()
                .insert(Arc::new(Caller { identity: Arc::new(identity), until }));
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

fn identity_of(api: &Api, request: &Request) -> Result<Identity, Failure> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
    let pairs = query.map(|query| query.0).unwrap_or_default();
    let in_query = pairs.into_iter().find(|(name, _)| name == "token").map(|(_, token)| token);
    let token = match in_query {
        Some(token) => token,
        None => bearer(request.headers())?.to_owned(),
    };
    if token.is_empty() {
        return Err(unauthorized(CloseReason::TokenMissing));
    }
    api.settings.gate.load().verifier.verify(&token, now()).map_err(|error| {
        tracing::debug!(%error, "a token was refused");
        unauthorized(error.close_reason())
    })
}

fn bearer(headers: &HeaderMap) -> Result<&str, Failure> {
    let mut found = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = found.next() else { return Err(unauthorized(CloseReason::TokenMissing)) };
    let text = value.to_str().ok().filter(|_| found.next().is_none());
    text.and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map(|(_, token)| token.trim_ascii())
        .ok_or(unauthorized(CloseReason::TokenInvalid))
}

/// As a socket's close says it, in a status.
fn unauthorized(reason: CloseReason) -> Failure {
    let sentence = match reason {
        CloseReason::TokenMissing => {
            "this needs ?token= or the header Authorization: Bearer <token>"
        }
        CloseReason::TokenExpired => "the token has expired",
        _ => "the token is not valid",
    };
    Failure::new(StatusCode::UNAUTHORIZED, reason.reason(), sentence)
}

fn now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
