//! `GET /admin/events`: what happened in all conversations, in the order of the log, as lines of JSON. A
//! page at a time; without anything new it waits. Whoever keeps the last cursor misses nothing.
//!
//! A cursor is the log's epoch and a position in it. It holds as long as the epoch does.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::Instant;

use super::event_lines;
use super::failure::Failure;
use super::long::Patience;
use super::transfer::Ways;
use crate::limits::{EVENTS_PAGE_MAX, EVENTS_WAIT_S_MAX};
use crate::model::Epoch;
use crate::store::{EventsError, EventsPage, Position};

/// After the log went on: what comes in this time is one page, not many.
const GATHER: Duration = Duration::from_millis(5);

const QUERY: Failure = Failure::invalid(
    "the query may have after (a cursor), wait (0 to 60 seconds) and limit (1 to 1000 lines)",
);
const NO_CURSOR: Failure = Failure::invalid("after is no cursor of this server");
const OTHER_EPOCH: Failure = Failure::new(
    StatusCode::GONE,
    "other_epoch",
    "the cursor is of another life of the log: begin anew, without after",
);
const FUTURE: Failure = Failure::new(
    StatusCode::GONE,
    "unknown_cursor",
    "the log does not reach to this cursor: begin anew, without after",
);

/// `epoch-commit-place-seq`, hexadecimal.
fn cursor(epoch: Epoch, position: Position) -> String {
    let Position { commit, place, seq } = position;
    format!("{epoch}-{commit:x}-{place:x}-{seq:x}")
}

fn read_cursor(text: &str) -> Option<(Epoch, Position)> {
    let number = |part: &str| {
        let is_plain = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(part, 16).ok().filter(|_| is_plain)
    };
    let mut parts = text.split('-');
    let epoch = u32::try_from(number(parts.next()?)?).ok()?;
    let commit = number(parts.next()?)?;
    let place = u32::try_from(number(parts.next()?)?).ok()?;
    let seq = number(parts.next()?)?;
    let is_whole = parts.next().is_none() && commit > 0;
    is_whole.then_some((Epoch(epoch), Position { commit, place, seq }))
}

pub struct Asked {
    after: Option<(Epoch, Position)>,
    wait: Duration,
    limit: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAsked {
    after: Option<String>,
    wait: Option<u64>,
    limit: Option<usize>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked, Failure> {
        let raw: Query<RawAsked> = Query::try_from_uri(&parts.uri).map_err(|_| QUERY)?;
        let (wait, limit) = (raw.wait.unwrap_or(0), raw.limit.unwrap_or(EVENTS_PAGE_MAX));
        if wait > EVENTS_WAIT_S_MAX || !(1..=EVENTS_PAGE_MAX).contains(&limit) {
            return Err(QUERY);
        }
        let after = match raw.after.as_deref() {
            Some(text) => Some(read_cursor(text).ok_or(NO_CURSOR)?),
            None => None,
        };
        Ok(Asked { after, wait: Duration::from_secs(wait), limit })
    }
}

pub async fn events(
    State(ways): State<Arc<Ways>>,
    patience: Option<Extension<Patience>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let _needed = patience.map(|Extension(patience)| patience.need());
    let epoch = ways.transfers.epoch();
    let mut from = match asked.after {
        Some((of, position)) if of == epoch => position,
        Some(_) => return Err(OTHER_EPOCH),
        None => Position::START,
    };
    let deadline = Instant::now() + asked.wait;
    loop {
        let seen = ways.transfers.changes();
        let page = read(&ways, from, asked.limit).await?;
        if !page.happenings.is_empty() || Instant::now() >= deadline {
            return Ok(answer(epoch, &page));
        }
        from = page.next;
        let look = || (ways.transfers.changes() != seen).then_some(());
        let _ = ways.until(deadline, look).await;
        tokio::time::sleep_until(deadline.min(Instant::now() + GATHER)).await;
    }
}

async fn read(ways: &Arc<Ways>, from: Position, limit: usize) -> Result<EventsPage, Failure> {
    let unreadable = Failure::unavailable("storage_unavailable", "the log could not be read");
    let Ok(_turn) = ways.reads.acquire().await else { return Err(unreadable) };
    let transfers = ways.transfers.clone();
    let work = tokio::task::spawn_blocking(move || transfers.events(from, limit));
    match work.await {
        Ok(Ok(page)) => Ok(page),
        Ok(Err(EventsError::Future)) => Err(FUTURE),
        Ok(Err(error)) => {
            tracing::error!(%error, "the log could not be read");
            Err(unreadable)
        }
        Err(_) => Err(unreadable),
    }
}

fn answer(epoch: Epoch, page: &EventsPage) -> Response {
    let mut body = Vec::new();
    for (behind, happening) in &page.happenings {
        event_lines::push_happening(&mut body, cursor(epoch, *behind), happening);
    }
    event_lines::push_end(&mut body, cursor(epoch, page.next), page.has_more);
    let headers =
        [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let position = Position { commit: 0x1a, place: 3, seq: u64::MAX };
        let text = cursor(Epoch(0x9f3c_61d2), position);
        assert_eq!(text, "9f3c61d2-1a-3-ffffffffffffffff");
        assert_eq!(read_cursor(&text), Some((Epoch(0x9f3c_61d2), position)));
        for text in [
            "",
            "1",
            "1-1-1",
            "1-1-1-1-1",
            "1-0-0-0",
            "g-1-0-0",
            "1-+1-0-0",
            "1-1--0",
            "1-1-100000000-0",
            "100000000-1-0-0",
            "1-1-0-10000000000000000",
            "1-A-0-0",
        ] {
            assert_eq!(read_cursor(text), None, "{text}");
        }
    }
}
