//! A request to the admin port whose body is read piece by piece. The answer may come before all of it was sent: it says
//! why the rest is not wanted.

use std::io::{self, Read};
use std::pin::pin;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::channel::{Channel, Sender};
use hyper::{Method, StatusCode};
use tokio::time::timeout;

use super::admin_port::{AdminError, AdminPort, broken};
use crate::limits::{IMPORT_ANSWER_MS, TRANSFER_STALL_MS};

const STALL: Duration = Duration::from_millis(TRANSFER_STALL_MS);
const ANSWER: Duration = Duration::from_millis(IMPORT_ANSWER_MS);
const PIECE_BYTES: usize = 256 << 10;
const PIECES: usize = 2;

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("reading: {0}")]
    Read(io::Error),
}

/// Sends all that there is to read; status and text of the answer.
pub fn upload(
    port: &AdminPort,
    path: &str,
    from: &mut dyn Read,
    watch: &mut dyn FnMut(u64),
) -> Result<(StatusCode, String), UploadError> {
    port.block_on(async {
        let (pieces, body) = Channel::<Bytes, io::Error>::new(PIECES);
        let mut sender = port.connect().await?;
        let request = port.request(Method::POST, path, body)?;
        let mut answer = pin!(sender.send_request(request));
        let early = tokio::select! {
            biased;
            answer = &mut answer => Some(answer),
            sent = send(port, pieces, from, watch) => {
                sent?;
                None
            }
        };
        let answer = match early {
            Some(answer) => answer,
            None => {
                let answer = timeout(ANSWER, answer).await;
                answer.map_err(|_| AdminError::Silent(port.address()))?
            }
        };
        let answer = answer.map_err(broken)?;
        let status = answer.status();
        match status {
            StatusCode::UNAUTHORIZED => Err(AdminError::Token(port.address()).into()),
            _ => Ok((status, port.text_of(answer.into_body()).await?)),
        }
    })
}

async fn send(
    port: &AdminPort,
    mut pieces: Sender<Bytes, io::Error>,
    from: &mut dyn Read,
    watch: &mut dyn FnMut(u64),
) -> Result<(), UploadError> {
    let mut sent = 0;
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        if let Err(error) = from.take(PIECE_BYTES as u64).read_to_end(&mut piece) {
            // Not an end: the server takes nothing of it.
            pieces.abort(io::ErrorKind::BrokenPipe.into());
            return Err(UploadError::Read(error));
        }
        if piece.is_empty() {
            return Ok(());
        }
        sent += piece.len() as u64;
        let taken = timeout(STALL, pieces.send_data(piece.into())).await;
        let Ok(taken) = taken else { return Err(AdminError::Silent(port.address()).into()) };
        if taken.is_err() {
            // Nobody reads on: the answer says why.
            return Ok(());
        }
        watch(sent);
    }
}
