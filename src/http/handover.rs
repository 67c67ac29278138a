//! Connections that come from the reactors: each serves one request and is closed.
//!
//! ```text
//! reactor: hand_over ─ permit? ─ no → 503, close
//!                        │ yes
//! thread:  serve one request ─→ shutdown(WR) ─→ drain ≤ 256 KiB or 2 s ─→ close
//!                        └ too slow → 408 if no answer has begun
//! ```
//! The permit is held to the end, so there are never more than `requests` of them.

use std::net::TcpStream as StdStream;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::net::{SendFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tower::ServiceExt;

use super::HttpBounds;
use super::rewound::Rewound;
use crate::limits::{LINGER_BYTES_MAX, LINGER_MS};

const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
    Retry-After: 1\r\nContent-Type: application/json\r\nContent-Length: 61\r\n\r\n\
    {\"error\":\"too many requests are under way\",\"code\":\"overload\"}";
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\
    Content-Type: application/json\r\nContent-Length: 62\r\n\r\n\
    {\"error\":\"the request took too long to come\",\"code\":\"timeout\"}";

/// How often what happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HttpCounts {
    /// Connections handed over and taken.
    pub taken: u64,
    /// Refused with 503, because too many were under way or the thread had ended.
    pub refused: u64,
    /// Cut because they took too long.
    pub timed_out: u64,
    /// Admin requests without the right token.
    pub unauthorized: u64,
}

#[derive(Default)]
pub struct Counters {
    taken: AtomicU64,
    refused: AtomicU64,
    timed_out: AtomicU64,
    pub unauthorized: AtomicU64,
}

impl Counters {
    pub fn snapshot(&self) -> HttpCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HttpCounts {
            taken: read(&self.taken),
            refused: read(&self.refused),
            timed_out: read(&self.timed_out),
            unauthorized: read(&self.unauthorized),
        }
    }
}

pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

struct Handed {
    fd: OwnedFd,
    read: Vec<u8>,
    permit: OwnedSemaphorePermit,
}

pub fn channel(bounds: HttpBounds) -> (Intake, Outlet) {
    let (sender, receiver) = mpsc::channel(bounds.requests);
    let permits = Arc::new(Semaphore::new(bounds.requests));
    let counters = Arc::new(Counters::default());
    let intake = Intake { sender, permits: permits.clone(), counters: counters.clone() };
    (intake, Outlet { receiver, permits, counters, bounds })
}

/// The reactors' end.
#[derive(Clone)]
pub struct Intake {
    sender: mpsc::Sender<Handed>,
    permits: Arc<Semaphore>,
    counters: Arc<Counters>,
}

impl Intake {
    pub fn hand_over(&self, fd: OwnedFd, read: Vec<u8>) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return self.refuse(&fd);
        };
        match self.sender.try_send(Handed { fd, read, permit }) {
            Ok(()) => count(&self.counters.taken),
            // The thread has ended.
            Err(error) => self.refuse(&error.into_inner().fd),
        }
    }

    /// Best effort: a peer whose receive window is full only sees the close.
    fn refuse(&self, fd: &OwnedFd) {
        count(&self.counters.refused);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if rustix::net::send(fd.as_fd(), OVERLOADED, flags).is_ok() {
            let _ = rustix::net::shutdown(fd.as_fd(), Shutdown::Write);
        }
    }

    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }
}

/// The thread's end.
pub struct Outlet {
    receiver: mpsc::Receiver<Handed>,
    permits: Arc<Semaphore>,
    counters: Arc<Counters>,
    bounds: HttpBounds,
}

/// Requests still under way when the outlet stopped taking new ones.
pub struct Rest {
    permits: Arc<Semaphore>,
    requests: usize,
}

impl Rest {
    pub async fn finished(&self) {
        let all = u32::try_from(self.requests).unwrap_or(u32::MAX);
        let _ = self.permits.acquire_many(all).await;
    }
}

impl Outlet {
    /// Serves what comes until it is told to stop or every handle is gone; then what is still in the
    /// queue, so that nothing that was taken goes unanswered.
    pub async fn run(mut self, router: Router, mut stopped: watch::Receiver<bool>) -> Rest {
        let serve = |handed| {
            tokio::spawn(serve(handed, router.clone(), self.bounds, self.counters.clone()));
        };
        loop {
            tokio::select! {
                handed = self.receiver.recv() => match handed {
                    Some(handed) => serve(handed),
                    None => break,
                },
                _ = stopped.wait_for(|&stop| stop) => break,
            }
        }
        self.receiver.close();
        while let Some(handed) = self.receiver.recv().await {
            serve(handed);
        }
        Rest { permits: self.permits, requests: self.bounds.requests }
    }
}

async fn serve(handed: Handed, router: Router, bounds: HttpBounds, counters: Arc<Counters>) {
    let Handed { fd, read, permit } = handed;
    let stream = StdStream::from(fd);
    let adopted = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
    let stream = match adopted {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "a handed-over connection was lost"),
    };
    let mut stream = Rewound::new(read, stream);
    if one_request(&mut stream, router, bounds).await == Outcome::TimedOut {
        count(&counters.timed_out);
        if stream.written_bytes() == 0 {
            let _ = stream.write(TOO_SLOW).await;
        }
    }
    linger(&mut stream, LINGER_BYTES_MAX).await;
    drop(permit);
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Ended,
    TimedOut,
}

async fn one_request(
    stream: &mut Rewound<TcpStream>,
    router: Router,
    bounds: HttpBounds,
) -> Outcome {
    let service = hyper::service::service_fn(move |request| router.clone().oneshot(request));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_headers(bounds.headers)
        .max_header_size(bounds.head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(bounds.timeout(), connection).await {
        Ok(Ok(())) => Outcome::Ended,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a plain request ended early");
            Outcome::Ended
        }
        Err(_) => Outcome::TimedOut,
    }
}

/// Reads what the peer still sends before the socket is closed: closing with bytes unread makes the
/// kernel send RST, which can destroy the answer on its way. At most so many bytes, and two seconds.
pub async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, most_bytes: usize) {
    let _ = stream.shutdown().await;
    let drain = async {
        let mut sink = [0; 4096];
        let mut left_bytes = most_bytes;
        while left_bytes > 0 {
            match stream.read(&mut sink).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => left_bytes = left_bytes.saturating_sub(bytes),
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(LINGER_MS), drain).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_written_by_hand_have_the_length_they_say() {
        for answer in [OVERLOADED, TOO_SLOW] {
            let text = std::str::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}");
            serde_json::from_str::<serde_json::Value>(body).unwrap();
        }
    }
}
