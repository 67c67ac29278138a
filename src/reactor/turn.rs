//! One core's reactor: its accept task, a task per socket, and the flush task that runs the turns.
//!
//! The flush task is woken by the first piece of work and runs after the tasks that are ready, so one
//! turn covers all that arrived together. tokio-uring submits when the thread parks: a turn must end in
//! waiting, never in spinning.

use std::cell::{Cell, RefCell, RefMut};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::accept;
use super::clock::Clock;
use super::pump::Pump;
use super::socket::{self, Socket};
use crate::mailbox::Doorbell;
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

pub struct Reactor {
    core: RefCell<Core<OwnedFd>>,
    pumps: RefCell<Vec<Option<Rc<Pump>>>>,
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
        shared: Arc<Shared>,
        pulse: Arc<Pulse>,
        bell: Arc<Doorbell>,
        work: Arc<Notify>,
    ) -> Rc<Reactor> {
        Rc::new(Reactor {
            core: RefCell::new(core),
            pumps: RefCell::new(Vec::new()),
            clock: Clock::start(),
            shared,
            pulse,
            bell,
            work,
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

    /// Starts the task of a socket that the core knows as `slot`.
    pub fn add(self: &Rc<Self>, slot: u32, fd: OwnedFd) {
        let pump = Pump::new(slot, fd);
        let mut pumps = self.pumps.borrow_mut();
        let at = slot as usize;
        if pumps.len() <= at {
            pumps.resize(at + 1, None);
        }
        pumps[at] = Some(pump.clone());
        tokio_uring::spawn(pump.run(self.clone()));
    }

    /// The socket is closed, or on its way elsewhere.
    pub fn released(&self, slot: u32) {
        self.pumps.borrow_mut()[slot as usize] = None;
        self.core().release(slot);
        self.has_work();
    }

    pub fn give_away(&self, slot: u32, fd: OwnedFd, step: Step) {
        if step == Step::Plain {
            let bytes = self.core().plain_bytes(slot);
            (self.shared.hand_to_http)(fd, bytes);
        } else {
            self.core().hand_over(slot, fd);
        }
    }

    /// Turn after turn, until everything is on disk and every socket is gone.
    pub async fn run(self: Rc<Self>, listener: Rc<Socket>) {
        while !self.core().is_ready() {
            self.sleep().await;
            self.turn();
        }
        tokio_uring::spawn(accept::run(self.clone(), listener));
        self.pulse.is_ready.store(true, Ordering::Release);
        while !self.core().is_stopped() {
            self.sleep().await;
            self.turn();
        }
        self.pulse.is_over.store(true, Ordering::Relaxed);
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

    fn turn(self: &Rc<Self>) {
        self.follow_orders();
        let now = self.clock.now();
        self.core().turn(now);
        while let Some((slot, fd)) = self.next_adopted() {
            self.add(slot, fd);
        }
        while let Some(slot) = self.next_attended() {
            self.attend(slot);
        }
        self.report();
    }

    fn next_adopted(&self) -> Option<(u32, OwnedFd)> {
        self.core().next_adopted()
    }

    fn next_attended(&self) -> Option<u32> {
        self.core().next_attended()
    }

    fn attend(&self, slot: u32) {
        let pump = self.pumps.borrow().get(slot as usize).cloned().flatten();
        let Some(pump) = pump else { return };
        if self.core().take_probe(slot) {
            let unsent = pump.with_socket(socket::unsent).unwrap_or(0);
            self.core().probed(slot, unsent, self.clock.now());
        }
        pump.attend(self);
    }

    /// New settings, or the order to stop.
    fn follow_orders(&self) {
        let reloads = self.shared.reloads.load(Ordering::Acquire);
        if self.reloads_seen.replace(reloads) != reloads {
            self.core().reload(self.shared.reloadable.load_full(), self.clock.now());
        }
        let memory = self.shared.memory.load(Ordering::Relaxed);
        if self.memory_seen.replace(memory) != memory {
            self.core().set_pressure(Pressure::of(memory & 0xff), self.clock.now());
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
