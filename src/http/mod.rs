//! The HTTP side: axum on one thread of its own with an ordinary tokio runtime, away from the
//! reactors. It answers plain requests of the public port (`/api`, the demo page, health), which
//! reactors hand over with the bytes they have read, and the admin API on a port of its own.
//!
//! Invariants: `hand_over` never blocks; a handed-over connection serves one request and is gone
//! within `timeout_ms` and a short linger; no store call runs on this thread (directory reads have
//! blocking threads of their own); tokens are in no log and no error text.

mod admin;
mod admin_backup;
mod admin_erase;
mod admin_events;
mod admin_export;
mod admin_import;
mod api;
mod event_lines;
mod failure;
mod handover;
mod health;
mod input;
mod instant;
mod intake;
mod listener;
mod long;
mod metrics;
mod ndjson;
mod openapi;
mod page;
mod ports;
mod public;
mod rewound;
mod token;
mod transfer;

pub use api::{ApiSettings, Gate};
pub use handover::HttpCounts;
pub use openapi::text as openapi_document;
pub use page::{DemoUser, PageError};
pub use ports::{
    AdminReply, Busy, ConversationEntry, Directory, Health, MemberEntry, Memberships, Metrics,
    Questions, Shards, Unreadable, Vitals,
};
pub use token::{AdminToken, TokenError};

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::limits::{HTTP_REQUESTS_MAX, HTTP_TIMEOUT_MS, Limits};
use crate::store::Transfers;
use crate::telemetry::Heartbeat;
use admin::{Admin, Guard};
use handover::{Intake, Outlet};
use transfer::Ways;

/// Threads for directory reads; more of them would only wait for the same disk.
const READ_THREADS: usize = 4;
/// At stop: how long requests under way may still take, and blocking reads after them.
const STOP_MS: u64 = 1_000;
/// How often the thread gives a sign of life.
const BEAT_EVERY: Duration = Duration::from_secs(1);

pub struct HttpSettings {
    /// `None`: no admin API.
    pub admin: Option<AdminSettings>,
    pub api: ApiSettings,
    /// The users of the demo page, which stands at `/` when there are any.
    pub demo_users: Vec<DemoUser>,
    pub bounds: HttpBounds,
}

pub struct AdminSettings {
    pub listen: SocketAddr,
    pub token: AdminToken,
}

/// What the HTTP side takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpBounds {
    /// Handed-over requests at once.
    pub requests: usize,
    /// One handed-over request from the hand-over to the last byte of its answer; one admin
    /// request's head, its body, and the answer of a shard, each.
    pub timeout_ms: u64,
    pub head_bytes: usize,
    pub headers: usize,
    pub admin_connections: usize,
    /// An admin connection this old takes no further request.
    pub admin_connection_ms: u64,
    pub admin_body_bytes: usize,
    /// Longest text of an imported message.
    pub content_chars: usize,
}

impl Default for HttpBounds {
    fn default() -> HttpBounds {
        HttpBounds {
            requests: HTTP_REQUESTS_MAX,
            timeout_ms: HTTP_TIMEOUT_MS,
            head_bytes: 8 * 1024,
            headers: 64,
            admin_connections: 64,
            admin_connection_ms: 60_000,
            admin_body_bytes: 1 << 20,
            content_chars: Limits::DEFAULT.content_chars,
        }
    }
}

impl HttpBounds {
    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// The rest of the server, as seen from here.
#[derive(Clone)]
pub struct HttpPorts {
    pub shards: Arc<dyn Shards>,
    pub questions: Arc<dyn Questions>,
    pub memberships: Arc<dyn Memberships>,
    pub directory: Arc<dyn Directory>,
    pub health: Arc<dyn Health>,
    pub transfers: Transfers,
    pub metrics: Arc<dyn Metrics>,
}

/// The HTTP thread's handle: one copy for each reactor. The thread ends at [`HttpHandle::stop`], or
/// when the last copy is dropped.
#[derive(Clone)]
pub struct HttpHandle {
    intake: Intake,
    shared: Arc<Shared>,
}

struct Shared {
    heartbeat: Arc<Heartbeat>,
    stop: watch::Sender<bool>,
    admin_address: Option<SocketAddr>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Binds the admin listener, so that a port in use is an error here, and starts the thread.
pub fn start(settings: HttpSettings, ports: HttpPorts) -> io::Result<HttpHandle> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(READ_THREADS)
        .thread_name("http-read")
        .build()?;
    let bounds = settings.bounds;
    let document = page::document(&settings.demo_users).map_err(io::Error::other)?;
    let api = api::routes(settings.api, &ports, bounds);
    let public = public::routes(document, ports.health.clone(), api);
    let (intake, outlet) = handover::channel(bounds);
    let (stop, stopped) = watch::channel(false);
    let mut admin_address = None;
    let mut listener = None;
    if let Some(AdminSettings { listen, token }) = settings.admin {
        let bound = bind(&runtime, listen)?;
        admin_address = Some(bound.local_addr()?);
        let counters = intake.counters();
        let ways = transfer::routes(Ways::new(&ports, bounds));
        let admin = Admin::new(&ports, bounds, counters.clone());
        let router = admin::routes(admin, ways, Guard { token, counters }, ports.health);
        listener = Some(listener::Listener::new(bound, router, bounds));
    }
    let heartbeat = Arc::new(Heartbeat::default());
    let work = Work { public, outlet, listener, heartbeat: heartbeat.clone() };
    let thread = std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || run(runtime, work, stopped))?;
    let thread = Mutex::new(Some(thread));
    let shared = Arc::new(Shared { heartbeat, stop, admin_address, thread });
    Ok(HttpHandle { intake, shared })
}

fn bind(runtime: &Runtime, listen: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let _inside = runtime.enter();
    tokio::net::TcpListener::from_std(listener)
}

/// What the thread is there for.
struct Work {
    public: axum::Router,
    outlet: Outlet,
    listener: Option<listener::Listener>,
    heartbeat: Arc<Heartbeat>,
}

fn run(runtime: Runtime, work: Work, stopped: watch::Receiver<bool>) {
    let heartbeat = work.heartbeat.clone();
    runtime.spawn(beat(heartbeat.clone()));
    runtime.block_on(async move {
        let admin = work.listener.map(|it| tokio::spawn(it.run(stopped.clone())));
        let rest = work.outlet.run(work.public, stopped).await;
        let all_done = async {
            rest.finished().await;
            if let Some(admin) = admin {
                // A listener that panicked has nothing left to wait for.
                let _ = admin.await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(STOP_MS), all_done).await;
    });
    heartbeat.end();
    runtime.shutdown_timeout(Duration::from_millis(STOP_MS));
}

/// Shows that the thread's tasks still get their turn.
async fn beat(heartbeat: Arc<Heartbeat>) {
    let mut seconds = tokio::time::interval(BEAT_EVERY);
    loop {
        seconds.tick().await;
        heartbeat.beat();
    }
}

impl HttpHandle {
    /// Takes over a connection of the public port together with what was read from it. Never
    /// blocks: with too many under way it is answered 503 as far as that goes, and closed.
    pub fn hand_over(&self, fd: OwnedFd, read: Vec<u8>) {
        self.intake.hand_over(fd, read);
    }

    /// Where the admin API listens, the port filled in.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.shared.admin_address
    }

    /// Beats while the thread serves. Whoever watches it ends the process when it does not.
    pub fn heartbeat(&self) -> Arc<Heartbeat> {
        self.shared.heartbeat.clone()
    }

    pub fn counts(&self) -> HttpCounts {
        self.intake.counters().snapshot()
    }

    /// Ends the thread: requests under way get a second, later ones 503. Returns when it has ended.
    pub fn stop(&self) {
        self.shared.stop.send_replace(true);
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the HTTP thread had panicked");
        }
    }
}
