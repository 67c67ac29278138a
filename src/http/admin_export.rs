//! `GET /admin/conversations/{conversation}/export`: all of a conversation as lines of JSON, read by a
//! thread of its own as fast as the client takes it. An export that cannot be finished breaks off without
//! its last line.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::failure::Failure;
use super::input::InConversation;
use super::long::{Filler, Patience, streamed};
use super::ndjson::{self, Counts};
use super::transfer::Ways;
use crate::model::{ConversationId, Wall};
use crate::store::{Export, StoreError, Transfers};

const CHUNK_BYTES: usize = 64 * 1024;

const NO_CONVERSATION: Failure = Failure::not_found("there is no such conversation");
const UNREADABLE: Failure =
    Failure::unavailable("storage_unavailable", "the conversation could not be read");
const BUSY: Failure = Failure::unavailable("overload", "other exports are under way");

/// What the thread finds before the first line.
type Begun = Result<(), Failure>;

pub async fn export(
    State(ways): State<Arc<Ways>>,
    patience: Option<Extension<Patience>>,
    InConversation(conversation): InConversation,
) -> Result<Response, Failure> {
    let permit = ways.exports.clone().try_acquire_owned().map_err(|_| BUSY)?;
    let needed = patience.map(|Extension(patience)| patience).unwrap_or_default().need();
    let (filler, body) = streamed(needed);
    let (begun, begins) = oneshot::channel();
    let work = Work { transfers: ways.transfers.clone(), filler, _permit: permit };
    std::thread::Builder::new()
        .name("http-export".to_owned())
        .spawn(move || work.run(conversation, begun))
        .map_err(|_| BUSY)?;
    match begins.await {
        Ok(Ok(())) => {
            let headers = [
                (header::CONTENT_TYPE, "application/x-ndjson"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            Ok((headers, Body::new(body)).into_response())
        }
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(UNREADABLE),
    }
}

struct Work {
    transfers: Transfers,
    filler: Filler,
    _permit: OwnedSemaphorePermit,
}

impl Work {
    fn run(self, conversation: ConversationId, begun: oneshot::Sender<Begun>) {
        let outcome = match self.transfers.export(conversation) {
            Ok(Some(export)) => {
                // A client that is gone is noticed at the first chunk.
                let _ = begun.send(Ok(()));
                return self.lines(export);
            }
            Ok(None) => NO_CONVERSATION,
            Err(StoreError::Importing) => {
                Failure::unavailable("importing", "the conversation is being imported")
            }
            Err(error) => {
                tracing::error!(%error, "a conversation could not be exported");
                UNREADABLE
            }
        };
        let _ = begun.send(Err(outcome));
    }

    fn lines(&self, export: Export) {
        let mut counts = Counts::default();
        let mut chunk = Vec::with_capacity(2 * CHUNK_BYTES);
        ndjson::push_head(&mut chunk, &export.head, now());
        for line in export {
            match line {
                Ok(line) => {
                    counts.count(&line);
                    ndjson::push_line(&mut chunk, &line);
                }
                Err(error) => {
                    tracing::error!(%error, "an export broke off");
                    self.filler.push(Err(io::Error::other("the store could not be read")));
                    return;
                }
            }
            if chunk.len() >= CHUNK_BYTES && !self.push(&mut chunk) {
                return;
            }
        }
        ndjson::push_end(&mut chunk, counts);
        self.push(&mut chunk);
    }

    fn push(&self, chunk: &mut Vec<u8>) -> bool {
        let chunk = std::mem::replace(chunk, Vec::with_capacity(2 * CHUNK_BYTES));
        self.filler.push(Ok(Bytes::from(chunk)))
    }
}

pub fn now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
