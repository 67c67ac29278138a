//! `GET /admin/backup`: everything that is stored, as bytes, read by a thread of its own as fast as the client
//! takes it. One at a time. A backup that cannot be finished breaks off without its last frame.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::failure::Failure;
use super::long::{Filler, Patience, streamed};
use super::transfer::Ways;
use crate::store::{Backup, Transfers};

const UNREADABLE: Failure =
    Failure::unavailable("storage_unavailable", "the store could not be read; its log says why");
const BUSY: Failure = Failure::unavailable("overload", "another backup is under way");

pub async fn backup(
    State(ways): State<Arc<Ways>>,
    patience: Option<Extension<Patience>>,
) -> Result<Response, Failure> {
    let permit = ways.backups.clone().try_acquire_owned().map_err(|_| BUSY)?;
    let needed = patience.map(|Extension(patience)| patience).unwrap_or_default().need();
    let (filler, body) = streamed(needed);
    let (begun, begins) = oneshot::channel();
    let work = Work { transfers: ways.transfers.clone(), filler, _permit: permit };
    std::thread::Builder::new()
        .name("http-backup".to_owned())
        .spawn(move || work.run(begun))
        .map_err(|_| UNREADABLE)?;
    match begins.await {
        Ok(true) => {
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            Ok((headers, Body::new(body)).into_response())
        }
        Ok(false) | Err(_) => Err(UNREADABLE),
    }
}

struct Work {
    transfers: Transfers,
    filler: Filler,
    _permit: OwnedSemaphorePermit,
}

impl Work {
    fn run(self, begun: oneshot::Sender<bool>) {
        match self.transfers.backup() {
            Ok(backup) => {
                // A client that is gone is noticed at the first piece.
                let _ = begun.send(true);
                self.pieces(backup);
            }
            Err(error) => {
                tracing::error!(%error, "a backup could not be begun");
                let _ = begun.send(false);
            }
        }
    }

    fn pieces(&self, backup: Backup) {
        let (since, mut bytes) = (Instant::now(), 0);
        tracing::info!("a backup begins");
        for piece in backup {
            let piece = match piece {
                Ok(piece) => Bytes::from(piece),
                Err(error) => {
                    tracing::error!(%error, "a backup broke off");
                    self.filler.push(Err(io::Error::other("the store could not be read")));
                    return;
                }
            };
            bytes += piece.len();
            if !piece.is_empty() && !self.filler.push(Ok(piece)) {
                tracing::warn!(bytes, "a backup's client went away, or took nothing for too long");
                return;
            }
        }
        let seconds = since.elapsed().as_secs();
        tracing::info!(bytes, seconds, "a backup was handed out");
    }
}
