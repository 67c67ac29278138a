//! Sockets on the ring: receive, send and readiness, one completion each.
//!
//! tokio-uring's own `TcpStream` cannot give its descriptor away, so these are ordinary descriptors
//! with operations built for its driver. This is the only file of the reactor with `unsafe`: building
//! an operation means promising the kernel that buffers stay where they are. They do, because each
//! operation owns them (and its socket) until the completion arrives, also when its future is dropped:
//! the driver then keeps them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use io_uring::cqueue;
use io_uring::{opcode, types};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use crate::node::outbox::Write;

/// A connected or listening socket, kept open by the operations that use it.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    pub fn new(fd: OwnedFd) -> Rc<Socket> {
        Rc::new(Socket(fd))
    }

    /// The descriptor, once no operation uses it any more.
    pub fn into_fd(self: Rc<Self>) -> Option<OwnedFd> {
        Rc::into_inner(self).map(|socket| socket.0)
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    fn target(&self) -> types::Fd {
        types::Fd(self.0.as_raw_fd())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn outcome(cqe: &cqueue::Entry) -> io::Result<usize> {
    usize::try_from(cqe.result()).map_err(|_| io::Error::from_raw_os_error(-cqe.result()))
}

/// What a receive owns while the kernel works on it.
pub struct ReceiveData {
    _socket: Rc<Socket>,
    buffer: Vec<u8>,
}

pub struct ReceiveDone;

impl OneshotOutputTransform for ReceiveDone {
    type Output = (io::Result<usize>, Vec<u8>);
    type StoredData = ReceiveData;

    fn transform_oneshot_output(self, data: ReceiveData, cqe: cqueue::Entry) -> Self::Output {
        (outcome(&cqe), data.buffer)
    }
}

pub type Receiving = InFlightOneshot<ReceiveData, ReceiveDone>;

/// Receives into the whole of `buffer`.
pub fn receive(socket: &Rc<Socket>, mut buffer: Vec<u8>) -> Receiving {
    let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    let entry = opcode::Recv::new(socket.target(), buffer.as_mut_ptr(), length).build();
    let data = ReceiveData { _socket: socket.clone(), buffer };
    UnsubmittedOneshot::new(data, ReceiveDone, entry).submit()
}

/// What a send owns while the kernel works on it.
pub struct SendData {
    _socket: Rc<Socket>,
    write: Write,
    /// Where the pieces lie, for the kernel; none for a single piece.
    _vectors: Vec<libc::iovec>,
}

pub struct SendDone;

impl OneshotOutputTransform for SendDone {
    type Output = (io::Result<usize>, Write);
    type StoredData = SendData;

    fn transform_oneshot_output(self, data: SendData, cqe: cqueue::Entry) -> Self::Output {
        (outcome(&cqe), data.write)
    }
}

pub type Sending = InFlightOneshot<SendData, SendDone>;

/// Sends as much of `write` as the kernel takes at once.
pub fn send(socket: &Rc<Socket>, write: Write) -> Sending {
    let mut vectors = Vec::new();
    let entry = if write.pieces() == 1 {
        let bytes = write.slices().next().unwrap_or_default();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        opcode::Send::new(socket.target(), bytes.as_ptr(), length).flags(libc::MSG_NOSIGNAL).build()
    } else {
        vectors.extend(write.slices().map(|bytes| libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        }));
        opcode::Writev::new(socket.target(), vectors.as_ptr(), vectors.len() as u32).build()
    };
    let data = SendData { _socket: socket.clone(), write, _vectors: vectors };
    UnsubmittedOneshot::new(data, SendDone, entry).submit()
}

pub struct Ready;

impl OneshotOutputTransform for Ready {
    type Output = io::Result<()>;
    type StoredData = Rc<Socket>;

    fn transform_oneshot_output(self, _: Rc<Socket>, cqe: cqueue::Entry) -> Self::Output {
        outcome(&cqe).map(|_| ())
    }
}

/// Completes when a listener has somebody to accept.
pub fn readable(socket: &Rc<Socket>) -> InFlightOneshot<Rc<Socket>, Ready> {
    let entry = opcode::PollAdd::new(socket.target(), libc::POLLIN as u32).build();
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
