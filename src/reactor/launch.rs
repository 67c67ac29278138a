//! Starts and stops the reactors: listeners, one pinned thread per core, and what ties them together.
//!
//! A reactor that panics ends the process, with its context: half a server would accept sockets whose
//! conversations nobody serves.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::sync::Notify;

use super::memory;
use super::ring::{Ring, RingSizes};
use super::socket::Socket;
use super::turn::{Pulse, Reactor, Shared};
use super::watchdog::{self, Watched};
use crate::limits::MAILBOX_SLOTS;
use crate::mailbox::{Doorbell, ring};
use crate::node::admission::Admissions;
use crate::node::connection::Adoption;
use crate::node::core::{Core, CoreSettings, Reloadable};
use crate::node::links::{AdminOrder, Links, Peer};
use crate::node::mail::Mail;
use crate::store::ShardEnds;
use crate::telemetry::{CoreCounters, Heartbeat};

/// RFC 793 says nothing of it; Linux caps it by `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;
/// Submission entries of tokio-uring's ring, which only accepts.
const RING_ENTRIES: u32 = 64;
/// The ring of a core's sockets. A receive takes a buffer when its bytes are there, so there are as many
/// as sockets that say something at once.
const RING_SIZES: RingSizes = RingSizes { entries: 4_096, buffers: 1_024, buffer_bytes: 1_024 };
/// How often the start looks whether all cores are ready.
const READY_POLL: std::time::Duration = std::time::Duration::from_millis(1);
/// Exit code after a panic (EX_SOFTWARE of sysexits.h).
const EXIT_SOFTWARE: i32 = 70;

/// Why io_uring cannot be used here.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    #[error(
        "the kernel refused io_uring_setup ({0}): it is forbidden here. Allow it with `sysctl \
         kernel.io_uring_disabled=0`, or, in a container, with a seccomp profile that permits \
         io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Forbidden(io::Error),
    #[error("the kernel has no io_uring ({0}): loquat needs Linux 6.0 or later")]
    TooOld(io::Error),
    #[error("cannot set up an io_uring ({0}): raise the memory lock limit (`ulimit -l`)")]
    NoMemory(io::Error),
    #[error("cannot set up an io_uring: {0}")]
    Other(io::Error),
}

impl From<io::Error> for RingError {
    fn from(error: io::Error) -> RingError {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => RingError::Forbidden(error),
            Some(libc::ENOSYS | libc::EINVAL) => RingError::TooOld(error),
            Some(libc::ENOMEM) => RingError::NoMemory(error),
            _ => RingError::Other(error),
        }
    }
}

/// A runtime as each core uses it; made once at the start to find out whether that is possible.
fn runtime() -> io::Result<tokio_uring::Runtime> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_coop_taskrun().setup_single_issuer().setup_cqsize(RING_ENTRIES * 4);
    let mut builder = tokio_uring::builder();
    builder.entries(RING_ENTRIES).uring_builder(&ring);
    tokio_uring::Runtime::new(&builder)
}

/// Whether this kernel lets us work at all.
pub fn probe() -> Result<(), RingError> {
    runtime().map(drop).and_then(|()| Ring::new(RING_SIZES).map(drop)).map_err(RingError::from)
}

/// One listener per core on the same address (`SO_REUSEPORT`).
pub fn listen(address: SocketAddr, cores: usize) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    // A port in use by somebody else is found by a socket that does not share; two servers of one
    // user would share theirs without an error.
    let alone = bind(address, Sharing::Alone)?;
    let address = alone.local_addr()?.as_socket().unwrap_or(address);
    drop(alone);
    let mut listeners = Vec::with_capacity(cores);
    for _ in 0..cores {
        let socket = bind(address, Sharing::Shared)?;
        socket.listen(BACKLOG)?;
        listeners.push(OwnedFd::from(socket));
    }
    Ok((address, listeners))
}

#[derive(PartialEq, Eq)]
enum Sharing {
    Alone,
    Shared,
}

fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if sharing == Sharing::Shared {
        socket.set_reuse_port(true)?;
    }
    // Accepted sockets inherit this.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// How a core is woken: the bell that others ring, and what its flush task waits for.
#[derive(Clone)]
pub struct Waker {
    pub bell: Arc<Doorbell>,
    pub(super) work: Arc<Notify>,
}

impl Waker {
    pub fn new() -> Waker {
        let work = Arc::new(Notify::new());
        let wake = work.clone();
        Waker { bell: Arc::new(Doorbell::new(move || wake.notify_one())), work }
    }

    /// Wakes the core even if it is not parked: the watchdog, orders.
    pub(super) fn wake(&self) {
        self.work.notify_one();
    }
}

impl Default for Waker {
    fn default() -> Waker {
        Waker::new()
    }
}

/// What one core gets.
pub struct CorePlan {
    pub settings: CoreSettings,
    pub listener: OwnedFd,
    pub store: ShardEnds,
    pub admin: crate::mailbox::Receiver<AdminOrder>,
    pub counters: CoreCounters,
}

/// What all cores share.
pub struct Plan {
    pub cores: Vec<CorePlan>,
    pub wakers: Vec<Waker>,
    pub reloadable: Arc<Reloadable>,
    pub admissions: Arc<Admissions>,
    pub hand_to_http: Box<dyn Fn(OwnedFd, Vec<u8>) + Send + Sync>,
    pub descriptors_max: u64,
    /// The HTTP thread's sign of life: without one the process ends as well.
    pub http: Arc<Heartbeat>,
    /// 0: what the control group and the machine allow.
    pub memory_limit_bytes: u64,
}

/// The reactors at work.
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    wakers: Vec<Waker>,
    pulses: Vec<Arc<Pulse>>,
    admissions: Arc<Admissions>,
}

/// Starts a thread per core.
pub fn start(plan: Plan) -> io::Result<Running> {
    let memory_limit = memory::limit_bytes(plan.memory_limit_bytes);
    let Plan { cores, wakers, reloadable, admissions, hand_to_http, descriptors_max, http, .. } =
        plan;
    let shared = Arc::new(Shared {
        reloadable: ArcSwap::new(reloadable.clone()),
        reloads: AtomicU64::new(0),
        drain_ms: AtomicU64::new(0),
        memory: AtomicU64::new(0),
        memory_room: AtomicU64::new(u64::MAX),
        hand_to_http,
        descriptors_max,
    });
    let pulses: Vec<Arc<Pulse>> = cores.iter().map(|_| Arc::default()).collect();
    let mut peers = mesh(&wakers);
    let mut threads = Vec::with_capacity(cores.len());
    for (index, plan) in cores.into_iter().enumerate() {
        let CorePlan { settings, listener, store, admin, counters } = plan;
        let links = Links {
            peers: std::mem::take(&mut peers[index]),
            to_log: store.to_log,
            from_log: store.from_log,
            to_readers: store.to_readers,
            from_readers: store.from_readers,
            admin,
        };
        let (reloadable, admissions) = (reloadable.clone(), admissions.clone());
        let (shared, pulse, waker) = (shared.clone(), pulses[index].clone(), wakers[index].clone());
        let body = move || {
            pin(index);
            let core = Core::new(settings, reloadable, admissions, links).counted_by(counters);
            run_core(core, listener, shared, pulse, waker)
        };
        let thread = std::thread::Builder::new()
            .name(format!("reactor-{index}"))
            .spawn(move || guarded(index, body))?;
        threads.push(thread);
    }
    let watched = Watched { wakers: wakers.clone(), pulses: pulses.clone(), http, memory_limit };
    watchdog::start(watched, shared.clone())?;
    Ok(Running { threads, shared, wakers, pulses, admissions })
}

type CorePeer = Peer<OwnedFd, Adoption>;

/// A ring for each ordered pair of cores.
fn mesh(wakers: &[Waker]) -> Vec<Vec<Option<CorePeer>>> {
    let count = wakers.len();
    let mut to: Vec<Vec<_>> = (0..count).map(|_| (0..count).map(|_| None).collect()).collect();
    let mut from: Vec<Vec<_>> = (0..count).map(|_| (0..count).map(|_| None).collect()).collect();
    for sender in 0..count {
        for receiver in (0..count).filter(|&receiver| receiver != sender) {
            let bell = wakers[receiver].bell.clone();
            let (tx, rx) = ring::<Mail<OwnedFd, Adoption>>(MAILBOX_SLOTS, bell);
            to[sender][receiver] = Some(tx);
            from[receiver][sender] = Some(rx);
        }
    }
    let pair = |(to, from): (Option<_>, Option<_>)| Some(Peer::new(to?, from?));
    to.into_iter()
        .zip(from)
        .map(|(to, from)| to.into_iter().zip(from).map(pair).collect())
        .collect()
}

fn run_core(
    core: Core<OwnedFd>,
    listener: OwnedFd,
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
    waker: Waker,
) -> io::Result<()> {
    let runtime = runtime()?;
    runtime.block_on(async move {
        let ring = Ring::new(RING_SIZES)?;
        let reactor = Reactor::new(core, ring, shared, pulse, waker);
        reactor.run(Socket::new(listener)).await
    })?;
    // The tasks that still wait for an operation end with the thread; their sockets are closed.
    std::mem::forget(runtime);
    Ok(())
}

/// One core, one thread; where the kernel does not allow pinning it places the thread itself.
fn pin(index: usize) {
    let Ok(allowed) = rustix::thread::sched_getaffinity(None) else { return };
    let cpus: Vec<usize> =
        (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    if cpus.len() > 1 {
        let mut own = rustix::thread::CpuSet::new();
        own.set(cpus[index % cpus.len()]);
        if let Err(error) = rustix::thread::sched_setaffinity(None, &own) {
            tracing::warn!(%error, index, "cannot pin the reactor to its core");
        }
    }
}

/// A panic's message and place were logged by the hook; here the process ends.
fn guarded(index: usize, body: impl FnOnce() -> io::Result<()>) {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => fatal(&format!("reactor {index} cannot run: {}", reason(error))),
        Err(_) => fatal(&format!("reactor {index} panicked; the server stops")),
    }
}

/// The first ring may fit into what may be locked, and a later one not.
fn reason(error: io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => RingError::from(error).to_string(),
        _ => error.to_string(),
    }
}

/// Ends the process at once: no half-dead server.
pub fn fatal(context: &str) -> ! {
    tracing::error!("{context}");
    eprintln!("loquat: {context}");
    std::process::exit(EXIT_SOFTWARE);
}

impl Running {
    /// New keys, origins and limits for what comes.
    pub fn reload(&self, reloadable: Arc<Reloadable>) {
        self.admissions.set_limits(&reloadable.limits);
        self.shared.reloadable.store(reloadable);
        self.shared.reloads.fetch_add(1, Ordering::AcqRel);
        self.wakers.iter().for_each(Waker::wake);
    }

    /// Finishes what is under way, tells every socket when to come back, and returns when all is on
    /// disk.
    pub fn drain(mut self, timeout_ms: u64) {
        self.shared.drain_ms.store(timeout_ms.max(1), Ordering::Release);
        self.wakers.iter().for_each(Waker::wake);
        for thread in self.threads.drain(..) {
            // A reactor that panicked has ended the process already.
            let _ = thread.join();
        }
    }

    /// Returns when every core accepts sockets; a store that does not come up ends the process.
    pub fn wait_until_ready(&self) {
        while !self.pulses.iter().all(|pulse| pulse.is_ready.load(Ordering::Acquire)) {
            std::thread::sleep(READY_POLL);
        }
    }

    pub fn pulses(&self) -> Vec<Arc<Pulse>> {
        self.pulses.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const CHILD: &str = "LOQUAT_TEST_PANICS";

    #[test]
    fn a_reactor_without_memory_for_its_ring_says_what_to_raise() {
        let check = |code, part: &str| {
            let said = reason(io::Error::from_raw_os_error(code));
            assert!(said.contains(part), "{said}");
        };
        check(libc::ENOMEM, "ulimit -l");
        check(libc::EBADF, "descriptor");
    }

    /// Ends its process, so it runs in a child: this very test, told so by a variable.
    #[test]
    fn a_panic_in_a_reactor_ends_the_process_with_its_context() {
        if std::env::var_os(CHILD).is_some() {
            guarded(3, || panic!("the reason"));
        }
        let name = "reactor::launch::tests::a_panic_in_a_reactor_ends_the_process_with_its_context";
        let child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.code(), Some(EXIT_SOFTWARE), "{said}");
        assert!(said.contains("the reason") && said.contains("reactor 3 panicked"), "{said}");
    }
}
