//! One core's reactor: its accept task, and the flush task that runs the turns.
//!
//! ```text
//! sleep ─► what came in ─► core.work ─► sends, all in one submission ─► what came meanwhile ─► …
//!   ▲                                                                                          │
//!   └──────────────────── nothing is left to do ◄── core.commit ◄───────────────────────────────┘
//! ```
//! Records go to the log when everything that has arrived was looked at: while the last fan-out is sent the
//! next messages come in, and one commit, one batch and one write per member cover all of them. A core
//! without load commits at once.
//!
//! tokio-uring runs the tasks, accepts, and sleeps; the sockets' bytes go through the core's own ring
//! (docs/decisions/0009-own-ring.md). tokio-uring submits when the thread parks: a reactor that has worked
//! for long pauses.

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::accept;
use super::clock::Clock;
use super::launch::{Waker, fatal};
use super::pump::{Fate, Pump};
use super::ring::{Completion, Ring};
use super::socket::{self, Socket};
use crate::mailbox::Doorbell;
use crate::model::Now;
use crate::node::core::{Core, Pressure, Reloadable, Step};

/// What the reactors of a process share.
pub struct Shared {
    pub reloadable: ArcSwap<Reloadable>,
    /// Counts reloads: a reactor that has seen fewer takes the new settings.
    pub reloads: AtomicU64,
    /// 0: serve. Otherwise drain, within so many ms.
    pub drain_ms: AtomicU64,
    /// By the watchdog: a count of measurements, and in the low byte the memory in use, in percent of
    /// the limit.
    pub memory: AtomicU64,
    /// Bytes that each core's answers about the past may take until the next measurement.
    pub memory_room: AtomicU64,
    /// Where plain HTTP requests go.
    pub hand_to_http: Box<dyn Fn(OwnedFd, Vec<u8>) + Send + Sync>,
    /// Descriptors that there may be; the last of them are the reserve.
    pub descriptors_max: u64,
}

/// A core's pulse, for the watchdog and for `/livez`.
#[derive(Default)]
pub struct Pulse {
    pub turns: AtomicU64,
    pub sockets: AtomicU64,
    pub is_accepting: AtomicBool,
    /// There is memory for more sockets.
    pub has_room: AtomicBool,
    /// By the watchdog's count.
    pub turned_ms_ago: AtomicU64,
    /// It accepts sockets.
    pub is_ready: AtomicBool,
    /// The reactor has stopped in good order.
    pub is_over: AtomicBool,
}

/// Turns without a pause, after which tokio-uring gets to submit.
const TURNS_MAX: u32 = 64;
const PAUSE: Duration = Duration::from_millis(1);
/// Operations that are submitted before the rest of a turn's are queued.
const QUEUED_MAX: usize = 2_048;

pub struct Reactor {
    core: RefCell<Core<OwnedFd>>,
    ring: RefCell<Ring>,
    pumps: RefCell<Vec<Option<Pump>>>,
    pub clock: Clock,
    pub shared: Arc<Shared>,
    pulse: Arc<Pulse>,
    bell: Arc<Doorbell>,
    work: Arc<Notify>,
    reloads_seen: Cell<u64>,
    memory_seen: Cell<u64>,
    /// Ends the accept task.
    pub stop_accepting: Notify,
}

impl Reactor {
    pub fn new(
        core: Core<OwnedFd>,
        ring: Ring,
        shared: Arc<Shared>,
        pulse: Arc<Pulse>,
        waker: Waker,
    ) -> Rc<Reactor> {
        Rc::new(Reactor {
            core: RefCell::new(core),
            ring: RefCell::new(ring),
            pumps: RefCell::new(Vec::new()),
            clock: Clock::start(),
            shared,
            pulse,
            bell: waker.bell,
            work: waker.work,
            reloads_seen: Cell::new(0),
            memory_seen: Cell::new(0),
            stop_accepting: Notify::new(),
        })
    }

    pub fn core(&self) -> RefMut<'_, Core<OwnedFd>> {
        self.core.borrow_mut()
    }

    /// Something arrived: a turn will follow.
    pub fn has_work(&self) {
        self.work.notify_one();
    }

    /// Begins to serve a socket that the core knows as `slot`.
    pub fn add(&self, slot: u32, fd: OwnedFd) {
        let mut pumps = self.pumps.borrow_mut();
        let at = slot as usize;
        if pumps.len() <= at {
            pumps.resize_with(at + 1, || None);
        }
        pumps[at] = Some(Pump::new(slot, fd));
        drop(pumps);
        self.attend(slot);
        self.has_work();
    }

    /// Turn after turn, until everything is on disk and every socket is gone.
    pub async fn run(self: Rc<Self>, listener: Rc<Socket>) -> io::Result<()> {
        while !self.core().is_ready() {
            self.sleep().await;
            self.turn()?;
        }
        tokio_uring::spawn(accept::run(self.clone(), listener));
        tokio_uring::spawn(listen_to_ring(self.clone(), self.ring.borrow().watch()?));
        self.pulse.is_ready.store(true, Ordering::Release);
        let mut turns = 0;
        while !self.core().is_stopped() {
            if self.may_sleep()? {
                self.core().commit();
                self.sleep().await;
                turns = 0;
            } else if turns < TURNS_MAX {
                turns += 1;
                tokio::task::yield_now().await;
            } else {
                self.core().commit();
                tokio::time::sleep(PAUSE).await;
                turns = 0;
            }
            self.turn()?;
        }
        self.pulse.is_over.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Nothing has come since the last turn looked.
    fn may_sleep(&self) -> io::Result<bool> {
        let mut ring = self.ring.borrow_mut();
        ring.hush();
        ring.submit()?;
        let core = self.core();
        Ok(!ring.has_news() && core.may_sleep() && !core.needs_turn())
    }

    /// Sleeps until there is work or a deadline.
    async fn sleep(&self) {
        let ticket = self.bell.park();
        let (may_sleep, deadline) = {
            let core = self.core();
            (core.may_sleep(), core.next_timeout())
        };
        if !may_sleep {
            self.work.notify_one();
        }
        match deadline {
            Some(deadline) => {
                let at = self.clock.instant_of(deadline);
                let _ = tokio::time::timeout_at(at.into(), self.work.notified()).await;
            }
            None => self.work.notified().await,
        }
        self.bell.unpark(ticket);
    }

    fn turn(&self) -> io::Result<()> {
        self.follow_orders();
        self.take_completions();
        let now = self.clock.now();
        self.core().work(now);
        while let Some((slot, fd)) = self.next_adopted() {
            self.add(slot, fd);
        }
        while let Some(slot) = self.next_attended() {
            self.probe(slot);
            self.attend(slot);
            if self.ring.borrow_mut().queued() >= QUEUED_MAX {
                self.ring.borrow_mut().submit()?;
                self.take_completions();
                // What came now may have made the shard say something, which the next turn delivers.
                self.has_work();
            }
        }
        self.ring.borrow_mut().submit()?;
        self.report();
        Ok(())
    }

    fn next_adopted(&self) -> Option<(u32, OwnedFd)> {
        self.core().next_adopted()
    }

    fn next_attended(&self) -> Option<u32> {
        self.core().next_attended()
    }

    /// Asks the kernel how much of a socket is unsent, if the core wants to know.
    fn probe(&self, slot: u32) {
        if self.core().take_probe(slot) {
            let pumps = self.pumps.borrow();
            let pump = pumps.get(slot as usize).and_then(Option::as_ref);
            let unsent = pump.map_or(0, |pump| socket::unsent(pump.socket()));
            self.core().probed(slot, unsent, self.clock.now());
        }
    }

    /// Starts what a socket wants started.
    fn attend(&self, slot: u32) {
        let mut pumps = self.pumps.borrow_mut();
        let Some(place) = pumps.get_mut(slot as usize) else { return };
        let Some(pump) = place else { return };
        let fate = pump.advance(&mut self.core(), &mut self.ring.borrow_mut());
        match fate {
            Ok(Fate::Stays) => return,
            Ok(Fate::Closed) => drop(place.take()),
            Ok(Fate::Given(step)) => {
                if let Some(fd) = place.take().and_then(Pump::into_fd) {
                    self.give_away(slot, fd, step);
                }
            }
            Err(error) => fatal(&format!("the ring of a reactor does not work: {error}")),
        }
        self.core().release(slot);
        self.has_work();
    }

    fn give_away(&self, slot: u32, fd: OwnedFd, step: Step) {
        if step == Step::Plain {
            let bytes = self.core().plain_bytes(slot);
            (self.shared.hand_to_http)(fd, bytes);
        } else {
            self.core().hand_over(slot, fd);
        }
    }

    fn take_completions(&self) {
        let now = self.clock.now();
        loop {
            let completion = self.ring.borrow_mut().pop();
            let Some(completion) = completion else { return };
            let slot = self.complete(completion, now);
            self.attend(slot);
        }
    }

    /// Tells the core; says whom it concerns.
    fn complete(&self, completion: Completion, now: Now) -> u32 {
        let (mut core, mut ring) = (self.core(), self.ring.borrow_mut());
        match completion {
            Completion::Received { token, chunk, is_last } => {
                core.received(token, ring.bytes(&chunk), now);
                ring.give_back(chunk);
                if is_last {
                    self.with_pump(token, Pump::receive_ended);
                }
                token
            }
            Completion::ReceiveEnded { token, outcome } => {
                self.with_pump(token, Pump::receive_ended);
                let goes_on = outcome.is_err_and(|error| {
                    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ECANCELED))
                });
                if !goes_on {
                    core.hung_up(token, now);
                }
                token
            }
            Completion::Sent { token, write, outcome } => {
                self.with_pump(token, Pump::send_ended);
                core.wrote(token, write, outcome.ok(), now);
                token
            }
        }
    }

    fn with_pump(&self, slot: u32, tell: impl FnOnce(&mut Pump)) {
        if let Some(Some(pump)) = self.pumps.borrow_mut().get_mut(slot as usize) {
            tell(pump);
        }
    }

    /// New settings, or the order to stop.
    fn follow_orders(&self) {
        let reloads = self.shared.reloads.load(Ordering::Acquire);
        if self.reloads_seen.replace(reloads) != reloads {
            self.core().reload(self.shared.reloadable.load_full(), self.clock.now());
        }
        let memory = self.shared.memory.load(Ordering::Relaxed);
        if self.memory_seen.replace(memory) != memory {
            let mut core = self.core();
            core.set_room(self.shared.memory_room.load(Ordering::Relaxed));
            core.set_pressure(Pressure::of(memory & 0xff), self.clock.now());
        }
        let drain_ms = self.shared.drain_ms.load(Ordering::Acquire);
        if drain_ms > 0 && !self.core().is_draining() {
            self.stop_accepting.notify_one();
            self.core().begin_drain(drain_ms, self.clock.now());
        }
    }

    fn report(&self) {
        let core = self.core();
        self.pulse.sockets.store(core.sockets() as u64, Ordering::Relaxed);
        self.pulse.is_accepting.store(core.is_accepting(), Ordering::Relaxed);
        self.pulse.has_room.store(core.has_room(), Ordering::Relaxed);
        self.pulse.turns.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whenever the kernel has something for the core's ring, a turn follows.
async fn listen_to_ring(reactor: Rc<Reactor>, news: AsyncFd<OwnedFd>) {
    loop {
        match news.readable().await {
            Ok(mut ready) => ready.clear_ready(),
            Err(error) => fatal(&format!("a reactor cannot watch its ring: {error}")),
        }
        reactor.has_work();
    }
}
