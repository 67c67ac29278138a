//! One socket's operations: at most one receive and one send in flight, driven by what the core says.
//!
//! Whoever has something for a socket (a completion, or the turn) calls [`Pump::advance`]. It queues
//! operations on the core's ring; the turn submits them together.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::net::Shutdown;

use super::ring::{Receive, Ring};
use super::socket::Socket;
use crate::node::core::{Core, Step};

/// What became of a socket.
pub enum Fate {
    Stays,
    Closed,
    /// The core wants the descriptor ([`Pump::into_fd`]) for something else.
    Given(Step),
}

pub struct Pump {
    slot: u32,
    socket: Rc<Socket>,
    receiving: Receiving,
    is_sending: bool,
    is_shut: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiving {
    No,
    Once,
    On(Receive),
    /// Was asked to stop.
    Ending,
}

impl Pump {
    pub fn new(slot: u32, fd: OwnedFd) -> Pump {
        Pump {
            slot,
            socket: Socket::new(fd),
            receiving: Receiving::No,
            is_sending: false,
            is_shut: false,
        }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The descriptor, once no operation uses it any more.
    pub fn into_fd(self) -> Option<OwnedFd> {
        Rc::into_inner(self.socket).map(OwnedFd::from)
    }

    /// Its receive has told its last.
    pub fn receive_ended(&mut self) {
        self.receiving = Receiving::No;
    }

    /// Its send has come back.
    pub fn send_ended(&mut self) {
        self.is_sending = false;
    }

    /// Starts what the core wants started; a `Fate` other than `Stays` is for the caller to carry out.
    pub fn advance(&mut self, core: &mut Core<OwnedFd>, ring: &mut Ring) -> io::Result<Fate> {
        loop {
            if !self.is_sending
                && let Some(write) = core.take_write(self.slot)
            {
                ring.send(&self.socket, self.slot, write)?;
                self.is_sending = true;
            }
            let is_busy = self.is_sending || self.receiving != Receiving::No;
            match (core.step(self.slot), self.receiving) {
                (Step::Read, Receiving::No) => {
                    ring.receive_once(&self.socket, self.slot)?;
                    self.receiving = Receiving::Once;
                }
                (Step::ReadOn, Receiving::No) => {
                    self.receiving = Receiving::On(ring.receive(&self.socket, self.slot)?);
                }
                (Step::Wait, Receiving::On(receive)) => {
                    ring.stop(receive)?;
                    self.receiving = Receiving::Ending;
                }
                (Step::ShutdownWrite, _) => {
                    self.is_shut = true;
                    self.shut(Shutdown::Write);
                    continue;
                }
                // What is under way returns at once then.
                (Step::Drop, _) if is_busy => self.shut(Shutdown::Both),
                (Step::Drop, _) => {
                    self.reset_unless_shut();
                    return Ok(Fate::Closed);
                }
                (step @ (Step::HandOver | Step::Plain), _) if !is_busy => {
                    return Ok(Fate::Given(step));
                }
                _ => {}
            }
            return Ok(Fate::Stays);
        }
    }

    fn shut(&self, how: Shutdown) {
        // A socket that is not connected any more has nothing to shut.
        let _ = rustix::net::shutdown(&*self.socket, how);
    }

    /// An end that was not agreed on by close frames is a reset: nothing of it lingers in the kernel.
    fn reset_unless_shut(&self) {
        if !self.is_shut {
            let at_once = Some(std::time::Duration::ZERO);
            let _ = rustix::net::sockopt::set_socket_linger(&*self.socket, at_once);
        }
    }
}
