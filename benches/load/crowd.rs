//! Many clients on one ring: they connect, read, answer pings, and hand each text to a [`Role`].

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use loquat::node::outbox::Write;
use loquat::reactor::ring::{Completion, Ring, RingSizes};
use loquat::reactor::socket::Socket;

use crate::fail::{Context, Fail};
use crate::frames::{self, Frame};

const SIZES: RingSizes = RingSizes { entries: 4_096, buffers: 2_048, buffer_bytes: 16 * 1024 };
/// Connections that are being made at a time.
const CONNECTING_MAX: usize = 256;
/// How long a crowd waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(20);

/// Where a client connects: path and query, with its token.
#[derive(Debug, Clone)]
pub struct Seat {
    pub target: String,
}

/// What clients do with what they hear.
pub trait Role {
    fn hear(&mut self, client: u32, text: &[u8], now_ns: u64, say: &mut Outgoing);
}

/// Frames to send.
#[derive(Default)]
pub struct Outgoing(VecDeque<(u32, Vec<u8>)>);

impl Outgoing {
    pub fn push(&mut self, client: u32, frame: Vec<u8>) {
        self.0.push_back((client, frame));
    }
}

struct Client {
    socket: Rc<Socket>,
    /// The beginning of a frame, or of the answer to the upgrade.
    partial: Vec<u8>,
    is_upgraded: bool,
}

pub struct Crowd {
    ring: Ring,
    clients: Vec<Client>,
    pub outgoing: Outgoing,
    connected: usize,
    begun: Instant,
    /// Why the run is void: a connection was refused or has ended.
    broken: Option<String>,
}

impl Crowd {
    pub fn new() -> Result<Crowd, Fail> {
        Ok(Crowd {
            ring: Ring::new(SIZES).context("setting up the generator's io_uring")?,
            clients: Vec::new(),
            outgoing: Outgoing::default(),
            connected: 0,
            begun: Instant::now(),
            broken: None,
        })
    }

    pub fn now_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// Connects all seats, some at a time; returns when each is upgraded.
    pub fn connect(
        &mut self,
        to: SocketAddr,
        seats: &[Seat],
        role: &mut impl Role,
    ) -> Result<(), Fail> {
        self.connect_wave(to, seats, CONNECTING_MAX, role)
    }

    /// The same, with at most `at_a_time` connections that are not upgraded yet. It does not sleep: the
    /// server would pay for waking it.
    pub fn connect_wave(
        &mut self,
        to: SocketAddr,
        seats: &[Seat],
        at_a_time: usize,
        role: &mut impl Role,
    ) -> Result<(), Fail> {
        let goal = self.connected + seats.len();
        for seat in seats {
            while self.clients.len() - self.connected >= at_a_time {
                self.pump(Duration::ZERO, role)?;
            }
            self.open(to, seat)?;
        }
        let begun = Instant::now();
        while self.connected < goal {
            self.pump(Duration::ZERO, role)?;
            if begun.elapsed() > PATIENCE {
                return Err(Fail::new(format!("{} upgrades are missing", goal - self.connected)));
            }
        }
        Ok(())
    }

    fn open(&mut self, to: SocketAddr, seat: &Seat) -> Result<(), Fail> {
        let mut stream = TcpStream::connect(to).context("connecting")?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bG9hZCBnZW5lcmF0b3I0Mg==\r\n\r\n",
            seat.target
        );
        stream.write_all(request.as_bytes()).context("sending an upgrade request")?;
        let socket = Socket::new(OwnedFd::from(stream));
        let token = self.clients.len() as u32;
        self.ring.receive(&socket, token).context("receiving")?;
        self.clients.push(Client { socket, partial: Vec::new(), is_upgraded: false });
        Ok(())
    }

    /// Sends what is to be sent and takes in what has come, waiting for it at most for so long. Who
    /// does not wait at all spares the server the work of waking this process.
    pub fn pump(&mut self, patience: Duration, role: &mut impl Role) -> Result<(), Fail> {
        while let Some((client, frame)) = self.outgoing.0.pop_front() {
            let socket = self.clients[client as usize].socket.clone();
            self.ring.send(&socket, client, Write::own(frame)).context("sending")?;
        }
        if patience.is_zero() {
            self.ring.submit().context("submitting")?;
        } else {
            self.ring.submit_and_wait(patience).context("waiting for completions")?;
        }
        while let Some(completion) = self.ring.pop() {
            self.complete(completion, role)?;
        }
        match self.broken.take() {
            Some(why) => Err(Fail::new(why)),
            None => Ok(()),
        }
    }

    fn complete(&mut self, completion: Completion, role: &mut impl Role) -> Result<(), Fail> {
        match completion {
            Completion::Received { token, chunk, is_last } => {
                let now_ns = self.now_ns();
                let bytes = self.ring.bytes(&chunk);
                let client = &mut self.clients[token as usize];
                let mut visit = Visit {
                    client: token,
                    now_ns,
                    role,
                    outgoing: &mut self.outgoing,
                    connected: &mut self.connected,
                    broken: &mut self.broken,
                };
                visit.take(client, bytes);
                self.ring.give_back(chunk);
                if is_last { self.receive_again(token) } else { Ok(()) }
            }
            Completion::ReceiveEnded { token, outcome: Err(error) }
                if error.raw_os_error() == Some(libc::ENOBUFS) =>
            {
                self.receive_again(token)
            }
            Completion::ReceiveEnded { token, outcome } => {
                self.broken.get_or_insert(format!("connection {token} has ended: {outcome:?}"));
                Ok(())
            }
            Completion::Sent { token, write, outcome } => {
                let whole: usize = write.slices().map(<[u8]>::len).sum();
                match outcome {
                    Ok(sent) if sent == whole => Ok(()),
                    // A message is far smaller than a socket's buffer.
                    other => Err(Fail::new(format!("client {token} could not send: {other:?}"))),
                }
            }
        }
    }
}

impl Drop for Crowd {
    /// Every receive ends before the ring goes: what is under way would keep its socket open.
    fn drop(&mut self) {
        for client in &self.clients {
            let _ = rustix::net::shutdown(&*client.socket, rustix::net::Shutdown::Both);
        }
        let begun = Instant::now();
        while self.ring.has_operations() && begun.elapsed() < PATIENCE {
            if self.ring.submit_and_wait(TICK).is_err() {
                return;
            }
            while let Some(completion) = self.ring.pop() {
                if let Completion::Received { chunk, .. } = completion {
                    self.ring.give_back(chunk);
                }
            }
        }
    }
}

impl Crowd {
    fn receive_again(&mut self, token: u32) -> Result<(), Fail> {
        let socket = self.clients[token as usize].socket.clone();
        self.ring.receive(&socket, token).context("receiving again").map(|_| ())
    }
}

/// One client with bytes that have come for it.
struct Visit<'a, R> {
    client: u32,
    now_ns: u64,
    role: &'a mut R,
    outgoing: &'a mut Outgoing,
    connected: &'a mut usize,
    broken: &'a mut Option<String>,
}

impl<R: Role> Visit<'_, R> {
    fn take(&mut self, client: &mut Client, bytes: &[u8]) {
        if client.is_upgraded && client.partial.is_empty() {
            let used = self.frames(bytes);
            client.partial.extend_from_slice(&bytes[used..]);
            return;
        }
        client.partial.extend_from_slice(bytes);
        if !client.is_upgraded && !self.upgrade(client) {
            return;
        }
        let partial = std::mem::take(&mut client.partial);
        let used = self.frames(&partial);
        client.partial = partial;
        client.partial.drain(..used);
        if client.partial.is_empty() {
            client.partial = Vec::new();
        }
    }

    /// Takes the answer to the upgrade off, if it is whole.
    fn upgrade(&mut self, client: &mut Client) -> bool {
        let Some(end) = memchr::memmem::find(&client.partial, b"\r\n\r\n") else { return false };
        if client.partial.starts_with(b"HTTP/1.1 101") {
            *self.connected += 1;
        } else {
            let head = String::from_utf8_lossy(&client.partial[..end]).into_owned();
            self.broken.get_or_insert(format!("an upgrade was refused: {head}"));
        }
        client.partial.drain(..end + 4);
        client.is_upgraded = true;
        true
    }

    /// Whole frames from the front; says how many bytes they are.
    fn frames(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some((frame, length)) = frames::decode(&bytes[at..]) {
            at += length;
            match frame {
                Frame::Text(text) => {
                    self.role.hear(self.client, text, self.now_ns, self.outgoing);
                }
                Frame::Ping(payload) => {
                    let mut pong = Vec::new();
                    frames::encode(&mut pong, 0xA, payload);
                    self.outgoing.push(self.client, pong);
                }
                Frame::Close(payload) => {
                    let (code, reason) = payload.split_at(payload.len().min(2));
                    let code = code.iter().fold(0, |code, &byte| code << 8 | u32::from(byte));
                    let reason = String::from_utf8_lossy(reason);
                    self.broken.get_or_insert(format!(
                        "client {} was closed: {code} {reason}",
                        self.client
                    ));
                }
                Frame::Other => {}
            }
        }
        at
    }
}

/// Nobody does anything.
pub struct Silent;

impl Role for Silent {
    fn hear(&mut self, _: u32, _: &[u8], _: u64, _: &mut Outgoing) {}
}
