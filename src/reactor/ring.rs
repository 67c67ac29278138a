//! A ring of its own for sockets: one multishot receive per socket, into buffers that the kernel picks
//! from a common pool when bytes arrive, and sends. A socket that waits pins no buffer.
//!
//! ```text
//! receive ──► Received, Received, … ──► ReceiveEnded (closed, broken, stopped, or the pool was empty)
//! send ─────► Sent (maybe in part)
//! ```
//! tokio-uring knows operations of one completion only, and its ring cannot defer the kernel's work to
//! the moment at which this thread asks for it (`IORING_SETUP_DEFER_TASKRUN`); this one does both.
//!
//! Invariants: an operation owns its socket and its bytes until its last completion, so the kernel
//! never meets a closed descriptor or memory that moved. A ring that is dropped with operations under way
//! leaks what they own.

use std::alloc::Layout;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::EventfdFlags;
use slab::Slab;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::socket::Socket;
use crate::node::outbox::Write;

/// Of operations whose outcome nobody waits for.
const NOBODY: u64 = u64::MAX;
/// The ring's only pool of receive buffers.
const POOL: u16 = 0;
/// The kernel wants a pool's table to begin on a page.
const PAGE: usize = 4_096;

/// Bytes that were received, in a buffer of the pool: to be given back.
#[must_use = "the pool runs dry"]
#[derive(Debug)]
pub struct Chunk {
    id: u16,
    bytes: u32,
}

/// What the kernel says of an operation.
#[derive(Debug)]
pub enum Completion {
    Received {
        token: u32,
        chunk: Chunk,
        /// Nothing more comes of this receive.
        is_last: bool,
    },
    /// Nothing more comes of this receive: the peer has closed (`Ok`), the socket is broken, the pool was
    /// empty (`ENOBUFS`), or it was stopped (`ECANCELED`).
    ReceiveEnded {
        token: u32,
        outcome: io::Result<()>,
    },
    Sent {
        token: u32,
        write: Write,
        outcome: io::Result<usize>,
    },
}

/// A receive that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receive(u64);

/// How large a ring is.
#[derive(Debug, Clone, Copy)]
pub struct RingSizes {
    /// Operations that are submitted in one go.
    pub entries: u32,
    /// Buffers in the pool: a power of two, at most 32,768.
    pub buffers: u16,
    pub buffer_bytes: u32,
}

pub struct Ring {
    ring: IoUring,
    /// Signalled by the kernel when there is work that it has deferred, or a completion, once it is watched.
    news: OwnedFd,
    pool: Pool,
    operations: Slab<Operation>,
}

/// What the kernel uses while an operation is under way.
enum Operation {
    Receive { token: u32, _socket: Rc<Socket> },
    Send { token: u32, _socket: Rc<Socket>, write: Write, _vectors: Vec<libc::iovec> },
}

impl Ring {
    pub fn new(sizes: RingSizes) -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(sizes.entries * 4)
            .build(sizes.entries)?;
        let pool = Pool::new(sizes.buffers, sizes.buffer_bytes)?;
        // SAFETY: the table has `buffers` entries, begins on a page, and outlives the ring: `Drop` leaks
        // it with what is under way, and a ring without operations uses no buffer.
        unsafe {
            ring.submitter().register_buf_ring(pool.table.as_ptr() as u64, sizes.buffers, POOL)?;
        }
        let news = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Ring { ring, news, pool, operations: Slab::new() })
    }

    /// Receives until the socket ends or [`Ring::stop`]; one at a time per socket.
    pub fn receive(&mut self, socket: &Rc<Socket>, token: u32) -> io::Result<Receive> {
        let fd = types::Fd(socket.as_fd().as_raw_fd());
        self.start_receiving(socket, token, opcode::RecvMulti::new(fd, POOL).build())
    }

    /// Receives once.
    pub fn receive_once(&mut self, socket: &Rc<Socket>, token: u32) -> io::Result<Receive> {
        let fd = types::Fd(socket.as_fd().as_raw_fd());
        let entry = opcode::Recv::new(fd, std::ptr::null_mut(), self.pool.buffer_bytes)
            .buf_group(POOL)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.start_receiving(socket, token, entry)
    }

    fn start_receiving(
        &mut self,
        socket: &Rc<Socket>,
        token: u32,
        entry: squeue::Entry,
    ) -> io::Result<Receive> {
        let key = self.operations.insert(Operation::Receive { token, _socket: socket.clone() });
        self.push(&entry.user_data(key as u64))?;
        Ok(Receive(key as u64))
    }

    /// Ends a receive that is under way; what it received until then still comes, and its end.
    pub fn stop(&mut self, receive: Receive) -> io::Result<()> {
        self.push(&opcode::AsyncCancel::new(receive.0).build().user_data(NOBODY))
    }

    /// Sends as much of `write` as the kernel takes at once.
    pub fn send(&mut self, socket: &Rc<Socket>, token: u32, write: Write) -> io::Result<()> {
        let fd = types::Fd(socket.as_fd().as_raw_fd());
        let mut vectors = Vec::new();
        let entry = if write.pieces() == 1 {
            let bytes = write.slices().next().unwrap_or_default();
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            opcode::Send::new(fd, bytes.as_ptr(), length).flags(libc::MSG_NOSIGNAL).build()
        } else {
            vectors.extend(write.slices().map(|bytes| libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            }));
            opcode::Writev::new(fd, vectors.as_ptr(), vectors.len() as u32).build()
        };
        let operation =
            Operation::Send { token, _socket: socket.clone(), write, _vectors: vectors };
        let key = self.operations.insert(operation);
        self.push(&entry.user_data(key as u64))
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        if self.ring.submission().is_full() {
            self.submit()?;
        }
        // SAFETY: what the entry points at is owned by `operations` until its last completion; pieces of
        // a `Write` and the vectors lie on the heap, so moving their owners does not move them.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.map_err(|_| io::Error::other("the submission queue is full after a submit"))
    }

    /// Hands everything to the kernel and lets it do some of what it has deferred. Does not wait.
    pub fn submit(&mut self) -> io::Result<()> {
        const GETEVENTS: u32 = 1;
        let count = self.ring.submission().len() as u32;
        if count == 0 && !self.has_deferred() {
            return Ok(());
        }
        // SAFETY: no argument is passed, and entries were checked by `push`.
        let entered =
            unsafe { self.ring.submitter().enter::<libc::sigset_t>(count, 0, GETEVENTS, None) };
        ignore_interruptions(entered.map(|_| ()))
    }

    /// What becomes readable when the kernel has something for this ring; to be asked for once.
    pub fn watch(&self) -> io::Result<AsyncFd<OwnedFd>> {
        self.ring.submitter().register_eventfd(self.news.as_raw_fd())?;
        let news = self.news.try_clone()?;
        // SAFETY: an `OwnedFd` keeps its descriptor open, and the same, as long as it lives.
        let watched = unsafe { AsyncFd::register_with_interest(news, Interest::READABLE) };
        watched.map_err(io::Error::from)
    }

    /// Forgets the signals so far: what comes from here on makes the ring readable again.
    pub fn hush(&self) {
        // Nothing to read means that there was no signal.
        let _ = rustix::io::read(&self.news, &mut [0; 8]);
    }

    /// The same, and waits for a completion, at most for so long.
    pub fn submit_and_wait(&mut self, patience: Duration) -> io::Result<()> {
        let time = Timespec::new().sec(patience.as_secs()).nsec(patience.subsec_nanos());
        let waited = self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time));
        ignore_interruptions(waited.map(|_| ()))
    }

    /// The next thing that the kernel has said.
    pub fn pop(&mut self) -> Option<Completion> {
        let entry = loop {
            let entry = self.ring.completion().next()?;
            if entry.user_data() != NOBODY {
                break entry;
            }
        };
        let key = entry.user_data() as usize;
        let is_last = !cqueue::more(entry.flags());
        let outcome = outcome(&entry);
        if let Operation::Receive { token, .. } = self.operations[key] {
            if is_last {
                self.operations.remove(key);
            }
            return Some(self.received(token, &entry, is_last));
        }
        match self.operations.remove(key) {
            Operation::Send { token, write, .. } => {
                Some(Completion::Sent { token, write, outcome })
            }
            Operation::Receive { .. } => None,
        }
    }

    fn received(&mut self, token: u32, entry: &cqueue::Entry, is_last: bool) -> Completion {
        let chunk = cqueue::buffer_select(entry.flags())
            .map(|id| Chunk { id, bytes: u32::try_from(entry.result()).unwrap_or(0) });
        match (outcome(entry), chunk) {
            (Ok(bytes), Some(chunk)) if bytes > 0 => Completion::Received { token, chunk, is_last },
            (outcome, chunk) => {
                if let Some(chunk) = chunk {
                    self.give_back(chunk);
                }
                Completion::ReceiveEnded { token, outcome: outcome.map(|_| ()) }
            }
        }
    }

    pub fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        self.pool.bytes(chunk)
    }

    pub fn give_back(&mut self, chunk: Chunk) {
        self.pool.put(chunk.id);
    }

    /// Operations that wait to be submitted.
    pub fn queued(&mut self) -> usize {
        self.ring.submission().len()
    }

    /// Operations that have not told their last.
    pub fn has_operations(&self) -> bool {
        !self.operations.is_empty()
    }

    /// The kernel has said something that was not taken yet, or has something left to do: it runs twenty
    /// pieces of deferred work at a time, not all of them say anything, and no signal comes for the rest.
    pub fn has_news(&mut self) -> bool {
        !self.ring.completion().is_empty() || self.has_deferred()
    }

    /// The kernel has work for which it wants to be entered (`IORING_SQ_TASKRUN`, io_uring_setup(2)), or
    /// completions for which the queue had no room.
    fn has_deferred(&mut self) -> bool {
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.operations.is_empty() {
            std::mem::forget(std::mem::take(&mut self.operations));
            self.pool.is_leaked = true;
        }
    }
}

fn outcome(entry: &cqueue::Entry) -> io::Result<usize> {
    usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()))
}

/// A signal, a time-out, or a full completion queue that is about to be read: no failures.
fn ignore_interruptions(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match error.raw_os_error() {
        Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN) => Ok(()),
        _ => Err(error),
    })
}

/// Receive buffers, and the table through which the kernel is offered them.
struct Pool {
    table: NonNull<BufRingEntry>,
    layout: Layout,
    buffers: Vec<u8>,
    buffer_bytes: u32,
    mask: u16,
    tail: u16,
    is_leaked: bool,
}

impl Pool {
    fn new(count: u16, buffer_bytes: u32) -> io::Result<Pool> {
        assert!(count.is_power_of_two() && count <= 32_768 && buffer_bytes > 0);
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(bytes, PAGE).map_err(io::Error::other)?;
        // SAFETY: the size is not zero.
        let table = unsafe { std::alloc::alloc_zeroed(layout) };
        let table = NonNull::new(table.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let buffers = vec![0; usize::from(count) * buffer_bytes as usize];
        let mask = count - 1;
        let mut pool =
            Pool { table, layout, buffers, buffer_bytes, mask, tail: 0, is_leaked: false };
        for id in 0..count {
            pool.put(id);
        }
        Ok(pool)
    }

    fn start_of(&self, id: u16) -> usize {
        usize::from(id) * self.buffer_bytes as usize
    }

    fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        let start = self.start_of(chunk.id);
        &mut self.buffers[start..start + chunk.bytes as usize]
    }

    /// Offers a buffer to the kernel.
    fn put(&mut self, id: u16) {
        let start = self.start_of(id);
        let address = self.buffers[start..].as_mut_ptr();
        // SAFETY: the index is masked to the table's length; only this thread writes entries, and the
        // kernel reads this one after the tail has passed it. The tail lies in the first entry, where
        // the kernel reads it while this thread stores to it atomically.
        unsafe {
            let entry = &mut *self.table.as_ptr().add(usize::from(self.tail & self.mask));
            entry.set_addr(address as u64);
            entry.set_len(self.buffer_bytes);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            // Where the tail lies is io-uring's to say, but its pointer comes from a shared reference, through
            // which nothing may be written.
            let place = BufRingEntry::tail(self.table.as_ptr()).addr();
            let tail = self.table.as_ptr().with_addr(place).cast::<u16>();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.is_leaked {
            std::mem::forget(std::mem::take(&mut self.buffers));
            return;
        }
        // SAFETY: allocated with this layout, and no operation is left that could use it.
        unsafe { std::alloc::dealloc(self.table.as_ptr().cast(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const SIZES: RingSizes = RingSizes { entries: 8, buffers: 2, buffer_bytes: 16 };

    fn pair() -> (Rc<Socket>, std::os::unix::net::UnixStream) {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        (Socket::new(OwnedFd::from(near)), far)
    }

    /// The kernel's part is played by nobody: whether what is written lies in the table is for Miri to see.
    #[test]
    fn buffers_lie_apart_and_are_offered_round_and_round() {
        let mut pool = Pool::new(4, 16).unwrap();
        for id in 0..4 {
            pool.bytes(&Chunk { id, bytes: 16 }).fill(id as u8);
        }
        for id in 0..4 {
            assert_eq!(pool.bytes(&Chunk { id, bytes: 16 }), [id as u8; 16]);
        }
        assert_eq!(pool.bytes(&Chunk { id: 3, bytes: 5 }).len(), 5);
        pool.tail = u16::MAX - 5;
        for turn in 0..12 {
            pool.put(turn % 4);
        }
        assert_eq!(pool.tail, 6, "it goes round");
    }

    #[test]
    #[cfg_attr(miri, ignore = "io_uring")]
    fn bytes_wake_a_runtime_that_watches_the_ring() {
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
        runtime.block_on(async {
            let mut ring = Ring::new(SIZES).unwrap();
            let (near, mut far) = pair();
            ring.receive(&near, 7).unwrap();
            ring.submit().unwrap();
            assert!(ring.pop().is_none());
            ring.hush();
            let watched = ring.watch().unwrap();
            let writer = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                far.write_all(b"hello").unwrap();
                far
            });
            let woken = tokio::time::timeout(Duration::from_secs(5), watched.readable()).await;
            woken.expect("nobody woke the runtime").unwrap().clear_ready();
            drop(writer.join().unwrap());
            ring.submit().unwrap();
            let Some(Completion::Received { token: 7, chunk, is_last: false }) = ring.pop() else {
                panic!("no bytes")
            };
            assert_eq!(ring.bytes(&chunk), b"hello");
            ring.give_back(chunk);
        });
    }

    fn tcp_pairs(count: usize) -> (Vec<Rc<Socket>>, Vec<std::net::TcpStream>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pair = |_| {
            let far = std::net::TcpStream::connect(address).unwrap();
            (Socket::new(OwnedFd::from(listener.accept().unwrap().0)), far)
        };
        (0..count).map(pair).unzip()
    }

    /// Sleeps as a reactor does until the kernel has said something, or nothing for so long.
    async fn sleep(ring: &mut Ring, watched: &AsyncFd<OwnedFd>, patience: Duration) {
        while ring.ring.completion().is_empty() {
            ring.hush();
            ring.submit().unwrap();
            if !ring.has_news() {
                match tokio::time::timeout(patience, watched.readable()).await {
                    Ok(signal) => signal.unwrap().clear_ready(),
                    Err(_) => return,
                }
            }
        }
    }

    /// To shut a socket's sending side wakes its receive, which finds nothing and goes on waiting.
    #[test]
    #[cfg_attr(miri, ignore = "io_uring")]
    fn much_work_that_says_nothing_does_not_hide_what_comes_after_it() {
        const SOCKETS: usize = 100;
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
        runtime.block_on(async {
            let mut ring = Ring::new(RingSizes { entries: 128, ..SIZES }).unwrap();
            let (near, mut far) = tcp_pairs(SOCKETS);
            for (token, socket) in (0..).zip(&near) {
                ring.receive(socket, token).unwrap();
            }
            let watched = ring.watch().unwrap();
            ring.submit().unwrap();
            for socket in &near {
                rustix::net::shutdown(&**socket, rustix::net::Shutdown::Write).unwrap();
            }
            sleep(&mut ring, &watched, Duration::from_millis(200)).await;
            far[SOCKETS - 1].write_all(b"hello").unwrap();
            sleep(&mut ring, &watched, Duration::from_secs(5)).await;
            assert!(matches!(ring.pop(), Some(Completion::Received { token: 99, .. })));
        });
    }
}
