//! Sockets as plain descriptors, which can be given away (tokio-uring's own `TcpStream` cannot), and the
//! one operation on them that goes through tokio-uring: waiting for somebody to accept.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use io_uring::cqueue;
use io_uring::{opcode, types};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

/// A connected or listening socket, kept open by the operations that use it.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    pub fn new(fd: OwnedFd) -> Rc<Socket> {
        Rc::new(Socket(fd))
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> OwnedFd {
        socket.0
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub struct Ready;

impl OneshotOutputTransform for Ready {
    type Output = io::Result<()>;
    type StoredData = Rc<Socket>;

    fn transform_oneshot_output(self, _: Rc<Socket>, cqe: cqueue::Entry) -> Self::Output {
        match cqe.result() {
            error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
            _ => Ok(()),
        }
    }
}

/// Completes when a listener has somebody to accept.
pub fn readable(socket: &Rc<Socket>) -> InFlightOneshot<Rc<Socket>, Ready> {
    let fd = types::Fd(socket.as_fd().as_raw_fd());
    let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32).build();
    UnsubmittedOneshot::new(socket.clone(), Ready, entry).submit()
}

/// Bytes that were handed to the kernel and that the peer has not acknowledged (`SIOCOUTQ`, tcp(7)).
pub fn unsent(socket: &Socket) -> u32 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as `socket` lives, and TIOCOUTQ (the same number as
    // SIOCOUTQ) writes one int to the address that it is given.
    let result = unsafe { libc::ioctl(socket.0.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { u32::try_from(bytes).unwrap_or(0) } else { 0 }
}
