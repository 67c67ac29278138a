//! What the Rust peers share: a listener, the event that a message becomes, and rooms whose members each have a queue
//! of what is not sent yet.
//!
//! A member gets an event of the guide's shape, so that a delivery is about as long as loquat's. The event is always the
//! same but for the text, which is cut out of the client's frame by position: no JSON is parsed, and there are no ids,
//! no clock and no store. Nothing is checked (the token in the URL is ignored) or logged, and frames that do not begin
//! like a message are dropped.
//!
//! One thread, no locks. A message is put into the queues of all members before the next one is read, so that the
//! order of a room is the same for all. A member that leaves more than [`UNSENT_BYTES_MAX`] unread is ended, never skipped.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;

use slab::Slab;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
pub const UNSENT_BYTES_MAX: usize = 256 * 1024 * 1024;
const BACKLOG: u32 = 65_535;
const ACCEPT_PAUSE_MS: u64 = 10;

/// What a chat message begins with; behind it come the text, as a JSON string, and a brace.
const SAID: &[u8] = br#"{"type":"chat_message","content":"#;
pub const EVENT_HEAD: &str = r#"{"type":"chat_message","seq":1,"message":{"id":1000001,"content":"#;
pub const EVENT_TAIL: &str = concat!(
    r#","sender":{"id":1,"email":"ada@example.com","first_name":"Ada","last_name":"Lovelace"}"#,
    r#","parent_message_id":null,"created_at":"2025-11-26T10:30:00.123Z","is_edited":false}}"#,
);

pub type Failure = Box<dyn Error + Send + Sync>;

/// A socket's place in its room. `T` is a message as the library takes it, cheap to clone.
pub struct Member<T> {
    queue: RefCell<Vec<T>>,
    bytes: Cell<usize>,
    wake: Notify,
}

impl<T> Member<T> {
    fn new() -> Self {
        Self { queue: RefCell::default(), bytes: Cell::new(0), wake: Notify::new() }
    }

    pub fn push(&self, message: T, bytes: usize) {
        let unsent = self.bytes.get();
        if unsent > UNSENT_BYTES_MAX {
            // The next take ends the socket.
            return;
        }
        self.bytes.set(unsent + bytes);
        self.queue.borrow_mut().push(message);
        self.wake.notify_one();
    }

    /// Waits until something may be queued.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Swaps all that is queued into `batch`, which is empty.
    pub fn take(&self, batch: &mut Vec<T>) -> Result<(), Failure> {
        if self.bytes.replace(0) > UNSENT_BYTES_MAX {
            return Err("too much is unsent".into());
        }
        std::mem::swap(&mut *self.queue.borrow_mut(), batch);
        Ok(())
    }
}

type Members<T> = Rc<RefCell<Slab<Rc<Member<T>>>>>;

/// A socket that is in a room for as long as this lives.
pub struct Seat<T> {
    members: Members<T>,
    key: usize,
    pub member: Rc<Member<T>>,
}

impl<T: Clone> Seat<T> {
    /// To everybody in the room, this socket too.
    pub fn publish(&self, message: &T, bytes: usize) {
        for (_, member) in self.members.borrow().iter() {
            member.push(message.clone(), bytes);
        }
    }
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        self.members.borrow_mut().remove(self.key);
    }
}

/// All rooms. A room that was named once stays.
pub struct Rooms<T>(RefCell<HashMap<String, Members<T>>>);

impl<T> Rooms<T> {
    fn new() -> Self {
        Self(RefCell::default())
    }

    pub fn join(&self, room: &str) -> Seat<T> {
        let members = Rc::clone(self.0.borrow_mut().entry(room.to_owned()).or_default());
        let member = Rc::new(Member::new());
        let key = members.borrow_mut().insert(Rc::clone(&member));
        Seat { members, key, member }
    }
}

/// Where in a chat message the text is, with its quotes; `None` if the frame is none.
pub fn text_at(message: &[u8]) -> Option<Range<usize>> {
    let is_one = message.starts_with(SAID) && message.ends_with(b"}");
    is_one.then(|| SAID.len()..message.len() - 1)
}

/// The room of a path: `/ws/chat/{room}/`.
pub fn room_of(path: &str) -> Option<&str> {
    let room = path.strip_prefix("/ws/chat/")?.strip_suffix('/')?;
    (!room.is_empty() && !room.contains('/')).then_some(room)
}

/// Serves on the port that the command line names, each connection by `serve`, until the process is ended.
pub fn run<T, S, F>(serve: S) -> Result<(), Failure>
where
    T: 'static,
    S: Fn(TcpStream, Rc<Rooms<T>>) -> F + 'static,
    F: Future<Output = Result<(), Failure>> + 'static,
{
    let port = std::env::args().nth(1).ok_or("give a port")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rooms = Rc::new(Rooms::new());
    LocalSet::new().block_on(&runtime, async {
        let listener = listen(port)?;
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // No descriptors are left; some client may end soon.
                tokio::time::sleep(std::time::Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                continue;
            };
            stream.set_nodelay(true)?;
            let served = serve(stream, Rc::clone(&rooms));
            // How a client's connection ended is nobody's concern here.
            spawn_local(async { drop(served.await) });
        }
    })
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(BACKLOG)
}
