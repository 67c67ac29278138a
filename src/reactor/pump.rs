//! One socket's operations: at most one receive and one send in flight, driven by what the core says.
//!
//! Both its own task (when a completion arrives) and the turn (when there is something to send) call
//! [`Pump::advance`], so a batch goes to the kernel without a task switch per socket.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::net::Shutdown;

use super::socket::{self, Receiving, Sending, Socket};
use super::turn::Reactor;
use crate::node::core::Step;

/// What an idle socket's receive pins, and the most that a busy one's does, in bytes.
const BUFFER_BYTES_MIN: usize = 512;
const BUFFER_BYTES_MAX: usize = 16 * 1024;

pub struct Pump {
    pub slot: u32,
    operations: RefCell<Operations>,
    /// The task's, so that an operation started by the turn wakes the task.
    waker: RefCell<Option<Waker>>,
    is_over: Cell<bool>,
}

struct Operations {
    socket: Option<Rc<Socket>>,
    receiving: Option<Receiving>,
    sending: Option<Sending>,
    /// `None` while a receive has it; empty until the first receive.
    buffer: Option<Vec<u8>>,
    is_shut: bool,
}

impl Pump {
    pub fn new(slot: u32, fd: OwnedFd) -> Rc<Pump> {
        Rc::new(Pump {
            slot,
            operations: RefCell::new(Operations {
                socket: Some(Socket::new(fd)),
                receiving: None,
                sending: None,
                buffer: Some(Vec::new()),
                is_shut: false,
            }),
            waker: RefCell::new(None),
            is_over: Cell::new(false),
        })
    }

    /// Runs until the socket is closed or given away.
    pub async fn run(self: Rc<Self>, reactor: Rc<Reactor>) {
        std::future::poll_fn(|context| {
            if !self.waker.borrow().as_ref().is_some_and(|w| w.will_wake(context.waker())) {
                *self.waker.borrow_mut() = Some(context.waker().clone());
            }
            self.advance(&reactor, context);
            if self.is_over.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The turn has something for this socket.
    pub fn attend(&self, reactor: &Reactor) {
        let waker = self.waker.borrow().clone();
        // Without a waker the task has not run yet, and will look by itself.
        if let Some(waker) = waker {
            self.advance(reactor, &mut Context::from_waker(&waker));
            if self.is_over.get() {
                waker.wake();
            }
        }
    }

    fn advance(&self, reactor: &Reactor, context: &mut Context<'_>) {
        let mut operations = self.operations.borrow_mut();
        while !self.is_over.get() {
            let went_on = operations.go_on_sending(self.slot, reactor, context)
                | operations.go_on_receiving(self.slot, reactor, context);
            if !went_on && !self.next_step(&mut operations, reactor) {
                return;
            }
        }
    }

    /// Does what the core wants next; `false` when there is nothing but waiting.
    fn next_step(&self, operations: &mut Operations, reactor: &Reactor) -> bool {
        let step = reactor.core().step(self.slot);
        let is_busy = operations.receiving.is_some() || operations.sending.is_some();
        match step {
            Step::Read if operations.receiving.is_none() => {
                operations.start_receiving();
                true
            }
            Step::ShutdownWrite => {
                operations.is_shut = true;
                operations.shut(Shutdown::Write);
                true
            }
            Step::Drop if is_busy => {
                // Both operations return at once then.
                operations.shut(Shutdown::Both);
                false
            }
            Step::Drop => {
                operations.close();
                reactor.released(self.slot);
                self.is_over.set(true);
                true
            }
            Step::HandOver | Step::Plain if !is_busy => {
                if let Some(fd) = operations.socket.take().and_then(Socket::into_fd) {
                    reactor.give_away(self.slot, fd, step);
                }
                reactor.released(self.slot);
                self.is_over.set(true);
                true
            }
            _ => false,
        }
    }

    /// The descriptor, to ask the kernel about.
    pub fn with_socket<T>(&self, ask: impl FnOnce(&Socket) -> T) -> Option<T> {
        self.operations.borrow().socket.as_deref().map(ask)
    }
}

impl Operations {
    /// `true` when a send was started or came back.
    fn go_on_sending(&mut self, slot: u32, reactor: &Reactor, context: &mut Context<'_>) -> bool {
        let Some(operation) = &mut self.sending else {
            let Some(socket) = &self.socket else { return false };
            let write = reactor.core().take_write(slot);
            self.sending = write.map(|write| socket::send(socket, write));
            return self.sending.is_some();
        };
        let Poll::Ready((result, write)) = Pin::new(operation).poll(context) else {
            return false;
        };
        self.sending = None;
        let now = reactor.clock.now();
        let mut core = reactor.core();
        core.wrote(slot, write, result.ok(), now);
        if core.needs_turn() {
            reactor.has_work();
        }
        true
    }

    /// `true` when a receive came back.
    fn go_on_receiving(&mut self, slot: u32, reactor: &Reactor, context: &mut Context<'_>) -> bool {
        let Some(operation) = &mut self.receiving else { return false };
        let Poll::Ready((result, mut buffer)) = Pin::new(operation).poll(context) else {
            return false;
        };
        self.receiving = None;
        let now = reactor.clock.now();
        match result {
            Ok(bytes) if bytes > 0 => {
                reactor.core().received(slot, &mut buffer[..bytes], now);
                self.buffer = Some(resized(buffer, bytes));
            }
            _ => {
                reactor.core().hung_up(slot, now);
                self.buffer = Some(Vec::new());
            }
        }
        reactor.has_work();
        true
    }

    fn start_receiving(&mut self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = self.buffer.take().unwrap_or_default();
        if buffer.is_empty() {
            buffer.resize(BUFFER_BYTES_MIN, 0);
        }
        self.receiving = Some(socket::receive(socket, buffer));
    }

    fn shut(&self, how: Shutdown) {
        if let Some(socket) = &self.socket {
            // A socket that is not connected any more has nothing to shut.
            let _ = rustix::net::shutdown(socket, how);
        }
    }

    /// An end that was not agreed on by close frames is a reset: nothing of it lingers in the kernel.
    fn close(&mut self) {
        if let Some(socket) = self.socket.take()
            && !self.is_shut
        {
            let _ =
                rustix::net::sockopt::set_socket_linger(&*socket, Some(std::time::Duration::ZERO));
        }
    }
}

/// Grows the buffer of a socket that fills it, and shrinks that of one that has gone quiet.
fn resized(mut buffer: Vec<u8>, used: usize) -> Vec<u8> {
    if used == buffer.len() && used < BUFFER_BYTES_MAX {
        buffer.resize(used * 2, 0);
    } else if used < buffer.len() / 8 {
        buffer = vec![0; (buffer.len() / 2).max(BUFFER_BYTES_MIN)];
    }
    buffer
}
