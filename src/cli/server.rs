//! Ties the server together: store, reactors, HTTP side, signals. It decides nothing of its own.
//!
//! ```text
//! ring probe → listeners → store opened (replayed) → store threads → HTTP → reactors → ready
//! SIGHUP: keys, origins, limits, log level      SIGTERM, SIGINT: drain → store sealed → end
//! ```

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::api::Memberships;
use super::erasure::Eraser;
use super::launch::{Launch, Mode};
use super::metrics::Metrics;
use crate::auth::SetupError;
use crate::chat;
use crate::config::{self, Reload, Settings};
use crate::http::{
    self, AdminSettings, AdminToken, ApiSettings, HttpHandle, HttpPorts, HttpSettings,
};
use crate::mailbox::{Receiver, Sender, ring};
use crate::model::{ConversationId, Epoch, Erasure, UserId, Wall};
use crate::node::admin::AdminCommand;
use crate::node::admission::{Admissions, Caps};
use crate::node::core::{CoreSettings, EchoEndpoint, RejectStyle, Reloadable};
use crate::node::guard::Buckets;
use crate::node::journal::{Fsync, JournalSettings};
use crate::node::links::AdminOrder;
use crate::node::placement::Placement;
use crate::node::shard::ShardSettings;
use crate::reactor::{self, CorePlan, Plan, Pulse, RingError, Waker};
use crate::store::{Ended, OpenError, ReadHandle, ShardPorts, Store, StoreCounters, StoreSettings};
use crate::telemetry::Counters;
use crate::telemetry::logs::Logs;
use crate::wire::upgrade::Listening;

/// The store's own directory in the data directory; beside it lies the demo's secret.
pub(super) const STORE: &str = "store";
/// Admin commands that wait for one shard.
const ADMIN_SLOTS: usize = 256;

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("the keys for tokens: {0}")]
    Keys(#[from] SetupError),
    #[error("the admin token: {0}")]
    AdminToken(#[from] http::TokenError),
    #[error("cannot start the HTTP side: {0}")]
    Http(io::Error),
    #[error("cannot start the reactors: {0}")]
    Reactors(io::Error),
    #[error("cannot start the thread that erases users: {0}")]
    Erasure(io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("the store could not end in good order; the next start replays its journal")]
    StoreEnd,
}

/// Where the server listens, the ports filled in.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub public: SocketAddr,
    pub admin: Option<SocketAddr>,
}

/// Runs until SIGTERM or SIGINT; `ready` is told the address once everything listens.
pub fn serve(
    launch: &Launch,
    logs: &Logs,
    ready: impl FnOnce(Addresses),
) -> Result<(), ServerError> {
    let settings = &launch.settings;
    without_huge_pages();
    reactor::probe()?;
    let shards = settings.shards;
    let (address, listeners) = reactor::listen(settings.listen, shards)
        .map_err(|error| ServerError::Listen(settings.listen, error))?;
    let opened = Store::open(&settings.data.join(STORE), store_settings(settings))?;
    let epoch = opened.epoch;
    let wakers: Vec<Waker> = (0..shards).map(|_| Waker::new()).collect();
    let ports = wakers.iter().map(|w| ShardPorts { doorbell: w.bell.clone() }).collect();
    let fatal = Arc::new(|context: String| reactor::fatal(&context));
    let (counters, writers) = Counters::new(shards);
    let for_store = StoreCounters { log: writers.log, pages: writers.pages };
    let (store, ends) = opened.counted_by(for_store).start(ports, fatal)?;
    let placement = Placement {
        seed: getrandom::u64().map_err(ServerError::Random)?,
        cores: u16::try_from(shards).unwrap_or(u16::MAX),
    };
    let (gate, admin_ends) = AdminGate::new(&wakers, placement);
    let gate = Arc::new(gate);
    let health = Arc::new(Health::default());
    let access = settings.access;
    let metrics = Metrics::new(counters, &store, logs, health.clone());
    let ports = HttpPorts {
        shards: gate.clone(),
        questions: gate.clone(),
        memberships: Arc::new(Memberships { read: store.read_handle(), access }),
        directory: Arc::new(Directory(store.read_handle())),
        health: health.clone(),
        metrics: Arc::new(metrics),
        transfers: store.transfers(),
    };
    let current: http::Gate = Arc::new(ArcSwap::from_pointee(reloadable(settings)?));
    let listening = listening(address);
    let api = ApiSettings { gate: current.clone(), access, listening };
    let http = start_http(launch, ports, api)?;
    let hand_to_http = {
        let http = http.clone();
        Box::new(move |fd, read| http.hand_over(fd, read))
    };
    let cores = ends
        .into_iter()
        .zip(listeners)
        .zip(admin_ends)
        .zip(writers.cores)
        .enumerate()
        .map(|(index, (((store, listener), admin), counters))| CorePlan {
            settings: core_settings(launch, index, placement, epoch, address),
            listener,
            store,
            admin,
            counters,
        })
        .collect();
    let running = reactor::start(Plan {
        cores,
        wakers,
        reloadable: current.load_full(),
        admissions: Admissions::new(&settings.limits, caps(settings)),
        hand_to_http,
        descriptors_max: descriptors_max(),
        http: http.heartbeat(),
        memory_limit_bytes: settings.memory_limit_bytes,
    })
    .map_err(ServerError::Reactors)?;
    running.wait_until_ready();
    let eraser =
        Eraser::start(gate, store.read_handle(), store.orders()).map_err(ServerError::Erasure)?;
    health.serving(running.pulses());
    let signals = Signals::listen()?;
    ready(Addresses { public: address, admin: http.admin_address() });
    Live { launch, logs, running: &running, gate: current }.wait_for_the_end(signals);
    health.is_draining.store(true, Ordering::Relaxed);
    tracing::info!("draining");
    eraser.stop();
    running.drain(settings.drain_timeout_ms);
    http.stop();
    match store.join() {
        Ended::Failed => Err(ServerError::StoreEnd),
        ended => {
            tracing::info!(pages = ?ended, "stopped");
            Ok(())
        }
    }
}

fn start_http(
    launch: &Launch,
    ports: HttpPorts,
    api: ApiSettings,
) -> Result<HttpHandle, ServerError> {
    let admin = match launch.settings.admin_side() {
        Some((listen, token)) => {
            Some(AdminSettings { listen, token: AdminToken::new(token.expose().as_bytes())? })
        }
        None => None,
    };
    let demo_users = match &launch.mode {
        Mode::Demo(users) => users
            .iter()
            .map(|user| http::DemoUser {
                id: user.id.clone(),
                name: user.name.clone(),
                token: user.token.clone(),
            })
            .collect(),
        Mode::Serve(_) => Vec::new(),
    };
    let content_chars = launch.settings.limits.content_chars;
    let bounds = http::HttpBounds { content_chars, ..Default::default() };
    let settings = HttpSettings { admin, api, demo_users, bounds };
    http::start(settings, ports).map_err(ServerError::Http)
}

pub fn store_settings(settings: &Settings) -> StoreSettings {
    let fsync = match settings.fsync {
        config::Fsync::Commit => Fsync::Commit,
        config::Fsync::Interval => {
            Fsync::Interval { ms: crate::node::journal::settings::FSYNC_INTERVAL_MS }
        }
        config::Fsync::Never => Fsync::Never,
    };
    let defaults = StoreSettings::default();
    StoreSettings {
        journal: JournalSettings {
            fsync,
            segment_bytes: settings.journal_segment_bytes,
            disk_reserve_bytes: settings.disk_reserve_bytes,
            ..defaults.journal
        },
        cache_bytes: settings.sled_cache_bytes,
        journal_keep_days: settings.journal_keep_days,
        retention_days: (settings.retention_days > 0).then_some(settings.retention_days),
        ..defaults
    }
}

fn core_settings(
    launch: &Launch,
    index: usize,
    placement: Placement,
    epoch: Epoch,
    address: SocketAddr,
) -> CoreSettings {
    let settings = &launch.settings;
    let is_limited = settings.rate_limits == config::Switch::On;
    CoreSettings {
        index: u16::try_from(index).unwrap_or(u16::MAX),
        shard: ShardSettings {
            access: settings.access,
            limits: settings.limits.clone(),
            rate_limits: match is_limited {
                true => chat::RateLimits::On,
                false => chat::RateLimits::Off,
            },
            offline_grace_ms: settings.offline_grace_ms,
            history_on_connect: settings.history_on_connect,
            epoch,
            wide_threshold: settings.wide_threshold,
        },
        buckets: if is_limited { Buckets::On } else { Buckets::Off },
        trusted_proxies: settings.trusted_proxies.clone(),
        listening: listening(address),
        echo: match launch.mode {
            Mode::Demo(_) => EchoEndpoint::Served,
            Mode::Serve(_) => EchoEndpoint::Absent,
        },
        reject: match settings.auth.reject {
            config::AuthReject::Close => RejectStyle::Close,
            config::AuthReject::Http => RejectStyle::Http,
        },
        max_session_ms: settings.max_session_s.saturating_mul(1_000),
        placement,
    }
}

fn listening(address: SocketAddr) -> Listening {
    match address.ip().is_loopback() {
        true => Listening::Loopback,
        false => Listening::Public,
    }
}

fn caps(settings: &Settings) -> Caps {
    match settings.rate_limits {
        config::Switch::On => Caps::On,
        config::Switch::Off => Caps::Off,
    }
}

/// The allocator asks for transparent huge pages. What a chat server holds comes and goes in small pieces: the
/// kernel would clear two megabytes for each few kilobytes in use (a third of the memory, a tenth of the CPU time).
fn without_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay");
    }
}

/// How many descriptors there may be; raises the soft limit as far as the hard one goes.
fn descriptors_max() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let found = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: found.maximum, maximum: found.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn reloadable(settings: &Settings) -> Result<Reloadable, SetupError> {
    Ok(Reloadable {
        limits: settings.limits.clone(),
        verifier: super::signing::verifier(&settings.jwt)?,
        allowed_origins: settings.allowed_origins.clone(),
    })
}

/// The server while it serves.
struct Live<'a> {
    launch: &'a Launch,
    logs: &'a Logs,
    running: &'a reactor::Running,
    gate: http::Gate,
}

/// What operators say by signals. Listened to before anybody is told that the server is there: until
/// then a signal ends the process at once.
struct Signals {
    runtime: tokio::runtime::Runtime,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, ServerError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServerError::Signals)?;
        let inside = runtime.enter();
        let on = |kind| signal(kind).map_err(ServerError::Signals);
        let hangup = on(SignalKind::hangup())?;
        let terminate = on(SignalKind::terminate())?;
        let interrupt = on(SignalKind::interrupt())?;
        drop(inside);
        Ok(Signals { runtime, hangup, terminate, interrupt })
    }
}

impl Live<'_> {
    /// Signals, until one says stop.
    fn wait_for_the_end(&self, signals: Signals) {
        let Signals { runtime, mut hangup, mut terminate, mut interrupt } = signals;
        runtime.block_on(async {
            let mut current = self.launch.settings.clone();
            loop {
                tokio::select! {
                    _ = hangup.recv() => self.reload(&mut current),
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                }
            }
        });
    }

    /// SIGHUP: takes what may change; with any mistake nothing changes.
    fn reload(&self, current: &mut Settings) {
        let Mode::Serve(sources) = &self.launch.mode else { return };
        let resolved = super::checked(sources);
        for mistake in &resolved.mistakes {
            tracing::error!(%mistake, "settings not reloaded");
        }
        if !resolved.mistakes.is_empty() {
            return;
        }
        let changes = Reload::between(current, &resolved.settings);
        self.logs.set_level(resolved.settings.log.level);
        match reloadable(&resolved.settings) {
            Ok(reloadable) => {
                let reloadable = Arc::new(reloadable);
                self.gate.store(reloadable.clone());
                self.running.reload(reloadable);
            }
            Err(error) => return tracing::error!(%error, "settings not reloaded"),
        }
        let needs_restart = changes.needs_restart;
        tracing::info!(applied = ?changes.applied, ?needs_restart, "reloaded");
        *current = resolved.settings;
    }
}

/// The way of admin commands from the HTTP thread to the shards.
pub(super) struct AdminGate {
    pub(super) placement: Placement,
    pub(super) rings: Vec<Mutex<Sender<AdminOrder>>>,
}

impl AdminGate {
    fn new(wakers: &[Waker], placement: Placement) -> (AdminGate, Vec<Receiver<AdminOrder>>) {
        let (rings, ends) = wakers
            .iter()
            .map(|waker| ring(ADMIN_SLOTS, waker.bell.clone()))
            .map(|(sender, receiver)| (Mutex::new(sender), receiver))
            .unzip();
        (AdminGate { placement, rings }, ends)
    }

    fn owner(&self, command: &AdminCommand) -> usize {
        let core = match command {
            AdminCommand::CreateConversation { conversation }
            | AdminCommand::DeleteConversation { conversation }
            | AdminCommand::SetRetention { conversation, .. }
            | AdminCommand::Post { conversation, .. }
            | AdminCommand::DeleteMessage { conversation, .. }
            | AdminCommand::SetMember { conversation, .. }
            | AdminCommand::RemoveMember { conversation, .. }
            | AdminCommand::Kick { conversation, .. } => {
                self.placement.of_conversation(conversation)
            }
            AdminCommand::SetProfile { profile } => self.placement.of_user(&profile.id),
            AdminCommand::RemoveReaction { conversation, .. } => {
                self.placement.of_conversation(conversation)
            }
            AdminCommand::EraseUser { user }
            | AdminCommand::ReadAnew { user }
            | AdminCommand::Revoke { user, .. } => self.placement.of_user(user),
            AdminCommand::Import(import) => self.placement.of_conversation(&import.conversation),
            AdminCommand::RenewLease { .. } => 0,
        };
        usize::from(core)
    }
}

impl http::Shards for AdminGate {
    fn send(&self, command: AdminCommand, reply: http::AdminReply) -> Result<(), http::Busy> {
        let ring = &self.rings[self.owner(&command)];
        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.push((command, reply).into()).map_err(|_| http::Busy)?;
        ring.ring();
        Ok(())
    }

    fn send_to_all(
        &self,
        command: AdminCommand,
        reply: http::AdminReply,
    ) -> Result<(), http::Busy> {
        let last = Arc::new(Mutex::new(Some(reply)));
        let left = Arc::new(AtomicUsize::new(self.rings.len()));
        for ring in &self.rings {
            let (last, left) = (last.clone(), left.clone());
            let reply = Box::new(move |answer| {
                if left.fetch_sub(1, Ordering::AcqRel) == 1
                    && let Some(reply) = last.lock().unwrap_or_else(PoisonError::into_inner).take()
                {
                    reply(answer);
                }
            });
            let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
            ring.push(AdminOrder::Change(command.clone(), reply)).map_err(|_| http::Busy)?;
            ring.ring();
        }
        Ok(())
    }
}

/// The directory as the store's read handle knows it.
struct Directory(ReadHandle);

fn unreadable(error: impl Display) -> http::Unreadable {
    tracing::error!(%error, "the directory cannot be read");
    http::Unreadable
}

impl http::Directory for Directory {
    fn conversation(
        &self,
        conversation: &ConversationId,
    ) -> Result<Option<http::ConversationEntry>, http::Unreadable> {
        let created = self.0.created_at(conversation).map_err(unreadable)?;
        Ok(created.map(|created_at| entry(conversation.clone(), created_at)))
    }

    fn conversations(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<http::ConversationEntry>, http::Unreadable> {
        let found = self.0.created(after, limit).map_err(unreadable)?;
        Ok(found.into_iter().map(|(conversation, at)| entry(conversation, at)).collect())
    }

    fn erasure(&self, user: &UserId) -> Result<Option<Erasure>, http::Unreadable> {
        self.0.erasure(user).map_err(unreadable)
    }

    fn members(
        &self,
        conversation: &ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<http::MemberEntry>, http::Unreadable> {
        let found = self.0.members(conversation, after, limit).map_err(unreadable)?;
        Ok(found.into_iter().map(|(user, role)| http::MemberEntry { user, role }).collect())
    }
}

fn entry(conversation: ConversationId, created_at: Wall) -> http::ConversationEntry {
    http::ConversationEntry { conversation, created_at }
}

/// What `/livez` and `/readyz` look at.
#[derive(Default)]
struct Health {
    pulses: Mutex<Vec<Arc<Pulse>>>,
    is_draining: AtomicBool,
}

impl Health {
    fn serving(&self, pulses: Vec<Arc<Pulse>>) {
        *self.pulses.lock().unwrap_or_else(PoisonError::into_inner) = pulses;
    }
}

impl http::Health for Health {
    fn vitals(&self) -> http::Vitals {
        let pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = pulses.iter().map(|pulse| pulse.turned_ms_ago.load(Ordering::Relaxed));
        http::Vitals {
            oldest_turn_ms: quiet.max().unwrap_or(0),
            is_listening: !pulses.is_empty(),
            is_accepting: pulses.iter().all(|pulse| pulse.is_accepting.load(Ordering::Relaxed)),
            has_room: pulses.iter().all(|pulse| pulse.has_room.load(Ordering::Relaxed)),
            is_draining: self.is_draining.load(Ordering::Relaxed),
        }
    }
}
