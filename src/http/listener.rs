//! The admin port: ordinary keep-alive HTTP, bounded in connections, in their age, and in the time
//! a request head may take.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use super::HttpBounds;
use super::handover::linger;
use super::long::Patience;
use crate::limits::ADMIN_LINGER_BYTES_MAX;

/// After a failed accept, which is nearly always a lack of descriptors.
const ACCEPT_PAUSE_MS: u64 = 100;

pub struct Listener {
    listener: TcpListener,
    router: Router,
    permits: Arc<Semaphore>,
    bounds: HttpBounds,
}

impl Listener {
    pub fn new(listener: TcpListener, router: Router, bounds: HttpBounds) -> Listener {
        let permits = Arc::new(Semaphore::new(bounds.admin_connections));
        Listener { listener, router, permits, bounds }
    }

    /// Accepts until told to stop, then waits for the connections it has.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let stop = stopped.clone();
        tokio::select! {
            () = self.accept_all(&stop) => {}
            // An error means that every handle is gone: then there is nobody left to serve for.
            _ = stopped.wait_for(|&stop| stop) => {}
        }
        let all = u32::try_from(self.bounds.admin_connections).unwrap_or(u32::MAX);
        let _ = self.permits.acquire_many(all).await;
    }

    async fn accept_all(&self, stop: &watch::Receiver<bool>) {
        // Over the cap further connections wait in the kernel's queue.
        while let Ok(permit) = self.permits.clone().acquire_owned().await {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let work = serve(stream, self.router.clone(), self.bounds, stop.clone());
                    tokio::spawn(async move {
                        work.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin port could not accept");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    router: Router,
    bounds: HttpBounds,
    mut stopped: watch::Receiver<bool>,
) {
    let patience = Patience::default();
    let of_requests = patience.clone();
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(of_requests.clone());
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.timeout())
        .half_close(true)
        .max_headers(bounds.headers)
        .max_header_size(bounds.head_bytes)
        .serve_connection(TokioIo::new(&mut stream), service);
    let mut connection = std::pin::pin!(connection);
    let age = Duration::from_millis(bounds.admin_connection_ms);
    let is_over = tokio::select! {
        outcome = connection.as_mut() => {
            if let Err(error) = outcome {
                tracing::debug!(%error, "an admin connection ended early");
            }
            true
        }
        () = tokio::time::sleep(age) => false,
        _ = stopped.wait_for(|&stop| stop) => false,
    };
    if !is_over {
        connection.as_mut().graceful_shutdown();
        // A body, a shard's answer and the answer's way out: each has its own bound.
        let is_cut = || !patience.is_needed() || *stopped.borrow();
        // A long request has bounds of its own.
        while tokio::time::timeout(bounds.timeout() * 3, connection.as_mut()).await.is_err()
            && !is_cut()
        {}
    }
    linger(&mut stream, ADMIN_LINGER_BYTES_MAX).await;
}
