//! As little of a chat server as there can be: one thread and one io_uring. It is the floor of what a server
//! on a ring can cost here, not a library that somebody would use.
//!
//! All that has arrived is looked at before anything is sent; a room's events of such a round are one run of
//! bytes, which all members share, and one send each. Receives are multishot, into buffers that the kernel picks.
//!
//! Invariant: what an operation of the kernel points at (`Connection::sending`, the pool) stays where it is until
//! the operation has told its last; a connection's place is free again only then.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use loquat_peers::{EVENT_HEAD, EVENT_TAIL, Failure, MESSAGE_BYTES_MAX, UNSENT_BYTES_MAX};
use loquat_peers::{room_of, text_at};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketType, bind, listen, shutdown, socket};
use slab::Slab;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ENTRIES: u32 = 4_096;
const BUFFERS: u16 = 1_024;
const BUFFER_BYTES: usize = 4_096;
/// The kernel wants the pool's table to begin on a page.
const PAGE: usize = 4_096;
const POOL: u16 = 0;
const HEAD_BYTES_MAX: usize = 8 * 1024;
const BACKLOG: i32 = 65_535;

const ACCEPT: u64 = u64::MAX;
const SENT: u64 = 1 << 32;

/// Bytes that all members of a room are sent.
type Shared = Rc<Vec<u8>>;

struct Connection {
    fd: OwnedFd,
    /// A part of a frame, or of the upgrade request.
    partial: Vec<u8>,
    room: Option<usize>,
    sending: Option<(Shared, usize)>,
    queue: VecDeque<Shared>,
    queued_bytes: usize,
    is_receiving: bool,
    is_over: bool,
}

#[derive(Default)]
struct Room {
    members: Vec<u32>,
    /// Events of this round.
    events: Vec<u8>,
}

struct Server {
    ring: IoUring,
    pool: Pool,
    listener: OwnedFd,
    connections: Slab<Connection>,
    names: HashMap<String, usize>,
    rooms: Vec<Room>,
    /// Rooms with events.
    dirty: Vec<usize>,
}

/// Receive buffers, and the table that offers them to the kernel.
struct Pool {
    table: *mut BufRingEntry,
    buffers: Vec<u8>,
    tail: u16,
}

impl Pool {
    fn new() -> Result<Pool, Failure> {
        let bytes = usize::from(BUFFERS) * size_of::<BufRingEntry>();
        let layout = std::alloc::Layout::from_size_align(bytes, PAGE)?;
        // SAFETY: the size is not zero. The table lives as long as the process.
        let table = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<BufRingEntry>();
        if table.is_null() {
            return Err("no memory for the pool".into());
        }
        let mut pool = Pool { table, buffers: vec![0; usize::from(BUFFERS) * BUFFER_BYTES], tail: 0 };
        (0..BUFFERS).for_each(|id| pool.put(id));
        Ok(pool)
    }

    fn put(&mut self, id: u16) {
        let address = self.buffers[usize::from(id) * BUFFER_BYTES..].as_mut_ptr();
        // SAFETY: the index is masked to the table's length; this thread alone writes entries, and the kernel
        // reads this one after the tail, which lies in the first entry, has passed it.
        unsafe {
            let entry = &mut *self.table.add(usize::from(self.tail & (BUFFERS - 1)));
            entry.set_addr(address as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.table).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Server {
    fn new(port: u16) -> Result<Server, Failure> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(ENTRIES * 4)
            .build(ENTRIES)?;
        let pool = Pool::new()?;
        // SAFETY: the table has so many entries and is never freed.
        unsafe { ring.submitter().register_buf_ring(pool.table as u64, BUFFERS, POOL)? };
        let listener = listener(port)?;
        Ok(Server {
            ring,
            pool,
            listener,
            connections: Slab::new(),
            names: HashMap::new(),
            rooms: Vec::new(),
            dirty: Vec::new(),
        })
    }

    fn run(mut self) -> Result<(), Failure> {
        self.accept()?;
        loop {
            self.ring.submit_and_wait(1)?;
            while let Some(entry) = { self.ring.completion().next() } {
                self.complete(&entry)?;
            }
            for room in std::mem::take(&mut self.dirty) {
                self.fan_out(room)?;
            }
        }
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        if self.ring.submission().is_full() {
            self.ring.submit()?;
        }
        // SAFETY: see the module's invariant.
        unsafe { self.ring.submission().push(entry) }.map_err(|_| io::Error::other("the queue is full"))
    }

    fn accept(&mut self) -> io::Result<()> {
        let fd = types::Fd(self.listener.as_raw_fd());
        self.push(&opcode::AcceptMulti::new(fd).build().user_data(ACCEPT))
    }

    fn receive(&mut self, key: u32) -> io::Result<()> {
        let connection = &mut self.connections[key as usize];
        connection.is_receiving = true;
        let fd = types::Fd(connection.fd.as_raw_fd());
        self.push(&opcode::RecvMulti::new(fd, POOL).build().user_data(key.into()))
    }

    fn complete(&mut self, entry: &cqueue::Entry) -> Result<(), Failure> {
        let is_last = !cqueue::more(entry.flags());
        let key = entry.user_data() as u32;
        if entry.user_data() == ACCEPT {
            if entry.result() >= 0 {
                // SAFETY: the kernel has just given it to us.
                self.welcome(unsafe { OwnedFd::from_raw_fd(entry.result()) })?;
            }
            return if is_last { Ok(self.accept()?) } else { Ok(()) };
        }
        if entry.user_data() & SENT != 0 {
            return Ok(self.sent(key, entry.result())?);
        }
        if let Some(id) = cqueue::buffer_select(entry.flags()) {
            let start = usize::from(id) * BUFFER_BYTES;
            let bytes = entry.result().max(0) as usize;
            self.take(key, start..start + bytes);
            self.pool.put(id);
        }
        if is_last {
            self.connections[key as usize].is_receiving = false;
            let is_short_of_buffers = entry.result() == -Errno::NOBUFS.raw_os_error();
            if (entry.result() > 0 || is_short_of_buffers) && !self.connections[key as usize].is_over {
                self.receive(key)?;
            } else {
                self.end(key);
            }
        }
        Ok(())
    }

    fn welcome(&mut self, fd: OwnedFd) -> Result<(), Failure> {
        let stream = TcpStream::from(fd);
        stream.set_nodelay(true)?;
        let key = self.connections.insert(Connection {
            fd: stream.into(),
            partial: Vec::new(),
            room: None,
            sending: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            is_receiving: false,
            is_over: false,
        });
        Ok(self.receive(key as u32)?)
    }

    /// Bytes of the pool have come for a connection.
    fn take(&mut self, key: u32, bytes: std::ops::Range<usize>) {
        let connection = &mut self.connections[key as usize];
        let Some(room) = connection.room else {
            connection.partial.extend_from_slice(&self.pool.buffers[bytes]);
            return self.upgrade(key);
        };
        let (room, dirty) = (&mut self.rooms[room], &mut self.dirty);
        let was_clean = room.events.is_empty();
        let goes_on = if connection.partial.is_empty() {
            let bytes = &mut self.pool.buffers[bytes];
            frames(bytes, &mut room.events).map(|used| connection.partial.extend_from_slice(&bytes[used..]))
        } else {
            connection.partial.extend_from_slice(&self.pool.buffers[bytes]);
            frames(&mut connection.partial, &mut room.events).map(|used| drop(connection.partial.drain(..used)))
        };
        if was_clean && !room.events.is_empty() {
            dirty.extend(connection.room);
        }
        if goes_on.is_none() {
            self.end(key);
        }
    }

    fn upgrade(&mut self, key: u32) {
        let connection = &mut self.connections[key as usize];
        let head = String::from_utf8_lossy(&connection.partial).into_owned();
        if !head.contains("\r\n\r\n") {
            if head.len() > HEAD_BYTES_MAX {
                self.end(key);
            }
            return;
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let name = room_of(path.split('?').next().unwrap_or_default());
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
        };
        let (Some(name), Some(secret)) = (name, head.lines().find_map(header)) else {
            return self.end(key);
        };
        let rooms = &mut self.rooms;
        let room = *self.names.entry(name.to_owned()).or_insert_with(|| {
            rooms.push(Room::default());
            rooms.len() - 1
        });
        rooms[room].members.push(key);
        connection.room = Some(room);
        connection.partial = Vec::new();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(secret.as_bytes())
        );
        connection.queued_bytes += answer.len();
        connection.queue.push_back(Rc::new(answer.into_bytes()));
        if self.send_next(key).is_err() {
            self.end(key);
        }
    }

    fn fan_out(&mut self, room: usize) -> io::Result<()> {
        let events: Shared = Rc::new(std::mem::take(&mut self.rooms[room].events));
        for at in 0..self.rooms[room].members.len() {
            let key = self.rooms[room].members[at];
            let connection = &mut self.connections[key as usize];
            connection.queued_bytes += events.len();
            connection.queue.push_back(events.clone());
            if connection.sending.is_none() {
                self.send_next(key)?;
            }
        }
        Ok(())
    }

    fn send_next(&mut self, key: u32) -> io::Result<()> {
        let connection = &mut self.connections[key as usize];
        if connection.sending.is_none() {
            connection.sending = connection.queue.pop_front().map(|bytes| (bytes, 0));
        }
        let Some((bytes, from)) = &connection.sending else { return Ok(()) };
        let rest = &bytes[*from..];
        let send = opcode::Send::new(types::Fd(connection.fd.as_raw_fd()), rest.as_ptr(), rest.len() as u32);
        let entry = send.flags(SendFlags::NOSIGNAL.bits() as i32).build().user_data(SENT | u64::from(key));
        self.push(&entry)
    }

    fn sent(&mut self, key: u32, result: i32) -> io::Result<()> {
        let connection = &mut self.connections[key as usize];
        let sent = usize::try_from(result).unwrap_or(0);
        connection.queued_bytes = connection.queued_bytes.saturating_sub(sent);
        if let Some((bytes, from)) = &mut connection.sending {
            *from += sent;
            if *from == bytes.len() || sent == 0 {
                connection.sending = None;
            }
        }
        if sent == 0 || connection.is_over || connection.queued_bytes > UNSENT_BYTES_MAX {
            connection.sending = None;
            self.end(key);
            return Ok(());
        }
        self.send_next(key)
    }

    /// It leaves its room at once, and goes when nothing of it is under way.
    fn end(&mut self, key: u32) {
        let connection = &mut self.connections[key as usize];
        if !connection.is_over {
            connection.is_over = true;
            connection.queue.clear();
            // What is under way returns then; one that is not connected has nothing to shut.
            let _ = shutdown(&connection.fd, Shutdown::Both);
            if let Some(room) = connection.room {
                self.rooms[room].members.retain(|&member| member != key);
            }
        }
        if !connection.is_receiving && connection.sending.is_none() {
            self.connections.remove(key as usize);
        }
    }
}

fn listener(port: u16) -> io::Result<OwnedFd> {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&fd, true)?;
    bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    listen(&fd, BACKLOG)?;
    Ok(fd)
}

/// Puts the events of whole frames behind `events`; says how many bytes they are, or `None` at a close
/// frame or one that is not allowed.
fn frames(bytes: &mut [u8], events: &mut Vec<u8>) -> Option<usize> {
    let mut at = 0;
    while let Some((opcode, payload)) = frame(&bytes[at..])? {
        let (mask_at, end) = (at + payload.start - 4, at + payload.end);
        let (mask, text) = bytes[mask_at..end].split_at_mut(4);
        for (at, byte) in text.iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
        match opcode {
            0x81 => push_event(text, events),
            0x88 => return None,
            _ => {}
        }
        at = end;
    }
    Some(at)
}

/// First byte, and where the payload lies; `Some(None)` if the frame is not whole.
#[allow(clippy::option_option)]
fn frame(bytes: &[u8]) -> Option<Option<(u8, std::ops::Range<usize>)>> {
    let &[first, second, ref rest @ ..] = bytes else { return Some(None) };
    let (length, at) = match (second & 0x7f, rest) {
        (126, &[high, low, ..]) => (usize::from(u16::from_be_bytes([high, low])), 8),
        (127, _) if rest.len() >= 8 => {
            (u64::from_be_bytes(rest[..8].try_into().ok()?).try_into().ok()?, 14)
        }
        (126 | 127, _) => return Some(None),
        (short, _) => (usize::from(short), 6),
    };
    if length > MESSAGE_BYTES_MAX || second & 0x80 == 0 {
        return None;
    }
    Some((bytes.len() >= at + length).then_some((first, at..at + length)))
}

fn push_event(message: &[u8], events: &mut Vec<u8>) {
    let Some(text) = text_at(message) else { return };
    let length = EVENT_HEAD.len() + text.len() + EVENT_TAIL.len();
    events.push(0x81);
    match u16::try_from(length) {
        Ok(short @ ..126) => events.push(short as u8),
        Ok(length) => {
            events.push(126);
            events.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            events.push(127);
            events.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    events.extend_from_slice(EVENT_HEAD.as_bytes());
    events.extend_from_slice(&message[text]);
    events.extend_from_slice(EVENT_TAIL.as_bytes());
}

fn main() -> Result<(), Failure> {
    let port = std::env::args().nth(1).ok_or("give a port")?.parse()?;
    Server::new(port)?.run()
}
