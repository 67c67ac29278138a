//! Requests that take long: a wait for events, a conversation on its way out or in. Their connection is
//! told, so that its age does not end them; each has bounds of its own. And a body that a thread fills as
//! the client takes it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::limits::TRANSFER_STALL_MS;

/// Chunks between a thread and a connection.
const CHUNKS: usize = 4;

pub const STALL: Duration = Duration::from_millis(TRANSFER_STALL_MS);

/// How many long requests a connection has under way.
#[derive(Debug, Clone, Default)]
pub struct Patience(Arc<AtomicUsize>);

impl Patience {
    pub fn is_needed(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Until the guard is dropped.
    pub fn need(&self) -> Needed {
        self.0.fetch_add(1, Ordering::Relaxed);
        Needed(self.clone())
    }
}

#[derive(Debug)]
pub struct Needed(Patience);

impl Drop for Needed {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body whose chunks come from a thread.
pub struct Streamed {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    _needed: Needed,
}

/// The thread's end.
pub struct Filler {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
}

/// Called on the HTTP thread.
pub fn streamed(needed: Needed) -> (Filler, Streamed) {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let filler = Filler { chunks: sender, runtime: Handle::current() };
    (filler, Streamed { chunks: receiver, _needed: needed })
}

impl Filler {
    /// Waits for room; `false` when the client is gone or took nothing for too long.
    pub fn push(&self, chunk: io::Result<Bytes>) -> bool {
        let sent = async { tokio::time::timeout(STALL, self.chunks.send(chunk)).await };
        matches!(self.runtime.block_on(sent), Ok(Ok(())))
    }
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.chunks.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
