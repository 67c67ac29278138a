//! Fan-out: from events that just became durable to the bytes queued for each socket of a room.
//!
//! `core` is all of it, as the server runs it: a core is told *durable*, runs a turn, and every socket of the
//! room has its bytes in its outbox (reveals, the sender's acks, the frames, flow control, counting, and the
//! sender's own copies with their `client_msg_id`). `outbox` is its kernel alone: frames into a batch, a
//! reference into each outbox; `outbox_own` the same with the sender's own copies.
//!
//! Beside that kernel stand the ways of a server without batches: the frame encoded for each socket
//! (`encode_each`), or once and shared as `bytes::Bytes` (`bytes`) or `Arc<[u8]>` (`arc`), an element for each
//! socket and event. All have the same encoder, and count the bytes that wait.
//!
//! `receipts` is what goes the other way and mostly ends there: a receipt from its frame on, in a room of ten.
//! The guide's page sends all of its receipts again whenever its list changes, so that nearly all are
//! `repeated`; a `new` one is told to the whole room. Both come 200 at a time.
//!
//! Each figure of a fan-out is for one room. At most 2,000 sockets stand in as many rooms as that makes, and all rooms
//! are served before the queues are emptied, outside of the time taken.
//!
//! What the numbers do not say: nothing is sent, so the kernel's part, by far the larger one, is missing, and
//! that one write takes all of a turn's frames shows in no figure here. One thread counts references
//! without contention: where threads share `Bytes` or `Arc`, those cost more. The allocator is the server's.

#[path = "fanout/hall.rs"]
mod hall;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use loquat::model::{
    Event, EventBody, MessageBody, MessageId, Profile, Seq, UserId, Version, Wall,
};
use loquat::node::batch::{Audience, Batch, Level, SharedBatch, Viewer};
use loquat::node::outbox::Outbox;
use loquat::wire::json;

use self::hall::{CONTENT, Hall};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Members of a room, and events that become durable together.
const CASES: [(usize, usize); 6] = [(2, 1), (2, 10), (100, 1), (100, 10), (2_000, 1), (2_000, 10)];
/// In all rooms together.
const SOCKETS: usize = 2_000;
/// A shard takes little more before it waits for the disk.
const EVENTS_MAX: usize = 8_000;

fn rooms_of((members, events): (usize, usize)) -> usize {
    (SOCKETS / members).min(EVENTS_MAX / events)
}

/// What the frames of a room go into.
trait Socket: Default {
    /// The frames of these events into every socket of the room.
    fn queue(room: &mut [Self], events: &[Event], users: &[UserId]);

    /// Takes what is queued, and says how many bytes that was.
    fn empty(&mut self) -> usize;
}

impl Socket for Outbox {
    fn queue(room: &mut [Outbox], events: &[Event], users: &[UserId]) {
        let mut batch = Batch::default();
        for event in events {
            batch.push_event(Audience::All, |out| json::event(out, event, None));
        }
        let shared = SharedBatch::local(batch.take(Seq(events.len() as u64)));
        for (outbox, user) in room.iter_mut().zip(users) {
            let viewer = Viewer { user, version: Version::V2, entrance: 0 };
            outbox.push_batch(&shared, viewer, Level::Level);
        }
    }

    fn empty(&mut self) -> usize {
        let bytes = self.bytes();
        while let Some(write) = self.take_write() {
            let sent = write.slices().map(<[u8]>::len).sum();
            self.wrote(write, sent);
        }
        bytes
    }
}

/// An outbox whose batches have the sender's own copy of each event.
#[derive(Default)]
struct WithOwn(Outbox);

impl Socket for WithOwn {
    fn queue(room: &mut [WithOwn], events: &[Event], users: &[UserId]) {
        let mut batch = Batch::default();
        for event in events {
            let own = Audience::OnlyV2Of(users[0].clone());
            batch.push_event(own, |out| json::event(out, event, Some("c-17")));
            let others = Audience::AllButV2Of(users[0].clone());
            batch.push_event(others, |out| json::event(out, event, None));
        }
        let shared = SharedBatch::local(batch.take(Seq(events.len() as u64)));
        for (WithOwn(outbox), user) in room.iter_mut().zip(users) {
            let viewer = Viewer { user, version: Version::V2, entrance: 0 };
            outbox.push_batch(&shared, viewer, Level::Level);
        }
    }

    fn empty(&mut self) -> usize {
        self.0.empty()
    }
}

/// Each socket has its own copy.
#[derive(Default)]
struct Copied(Vec<u8>);

impl Socket for Copied {
    fn queue(room: &mut [Copied], events: &[Event], _: &[UserId]) {
        for event in events {
            for Copied(out) in room.iter_mut() {
                json::event(out, event, None);
            }
        }
    }

    fn empty(&mut self) -> usize {
        let bytes = self.0.len();
        self.0.clear();
        bytes
    }
}

/// Frames that all sockets share, one element each.
struct Queue<T> {
    frames: VecDeque<T>,
    bytes: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { frames: VecDeque::new(), bytes: 0 }
    }
}

impl<T: From<Vec<u8>> + AsRef<[u8]> + Clone> Socket for Queue<T> {
    fn queue(room: &mut [Queue<T>], events: &[Event], _: &[UserId]) {
        for event in events {
            let mut out = Vec::new();
            json::event(&mut out, event, None);
            let frame = T::from(out);
            for queue in room.iter_mut() {
                queue.bytes += frame.as_ref().len();
                queue.frames.push_back(frame.clone());
            }
        }
    }

    fn empty(&mut self) -> usize {
        self.frames.clear();
        std::mem::take(&mut self.bytes)
    }
}

/// The time of `serve` alone, for `count` rooms, of which there are `rooms`.
fn timed(count: u64, rooms: usize, mut serve: impl FnMut(usize) -> Duration) -> Duration {
    let mut left = count as usize;
    let mut spent = Duration::ZERO;
    while left > 0 {
        let now = left.min(rooms);
        spent += serve(now);
        left -= now;
    }
    spent
}

fn user(number: usize) -> UserId {
    UserId::from_number(number as u64 + 1).expect("a small number")
}

fn event(seq: u64) -> Event {
    let sender = Profile {
        email: "user@example.com".to_owned(),
        first_name: "John".to_owned(),
        last_name: "Doe".to_owned(),
        ..Profile::nameless(user(0))
    };
    let body = MessageBody {
        id: MessageId(seq),
        ordinal: seq - 1,
        sender: sender.into(),
        content: CONTENT.to_owned(),
        parent: None,
        client_msg_id: None,
    };
    Event { seq: Seq(seq), at: Wall(1_764_153_000_123), body: EventBody::Message(body) }
}

/// The kernel of the fan-out with one kind of queue.
struct Rooms<S> {
    rooms: Vec<Vec<S>>,
    users: Vec<UserId>,
    events: Vec<Event>,
}

impl<S: Socket> Rooms<S> {
    fn new(members: usize, events: usize) -> Rooms<S> {
        let room = || (0..members).map(|_| S::default()).collect();
        let mut rooms = Rooms {
            rooms: (0..rooms_of((members, events))).map(|_| room()).collect(),
            users: (0..members).map(user).collect(),
            events: (1..=events as u64).map(event).collect(),
        };
        rooms.check();
        rooms
    }

    /// Every socket has every byte, once.
    fn check(&mut self) {
        let mut expected = Vec::new();
        self.events.iter().for_each(|event| json::event(&mut expected, event, None));
        for room in &mut self.rooms {
            S::queue(room, &self.events, &self.users);
            // The sender's may be its own copy.
            assert!(room[1..].iter_mut().all(|socket| socket.empty() == expected.len()));
            assert!(room[0].empty() >= expected.len());
        }
    }

    fn serve(&mut self, count: usize) -> Duration {
        let begun = Instant::now();
        for room in &mut self.rooms[..count] {
            S::queue(room, black_box(&self.events), &self.users);
        }
        let spent = begun.elapsed();
        for socket in self.rooms[..count].iter_mut().flatten() {
            black_box(socket.empty());
        }
        spent
    }
}

fn fanout(c: &mut Criterion) {
    for (members, events) in CASES {
        let rooms = rooms_of((members, events));
        let mut group = c.benchmark_group(format!("fanout/{members}_members_{events}_events"));
        group.throughput(Throughput::Elements((members * events) as u64));
        let hall = RefCell::new(None);
        group.bench_function(BenchmarkId::new("loquat", "core"), |bench| {
            let mut hall = hall.borrow_mut();
            let hall = hall.get_or_insert_with(|| Hall::new(rooms, members));
            hall.check(events);
            bench.iter_custom(|count| {
                timed(count, rooms, |rooms| {
                    hall.say(rooms, events);
                    let begun = Instant::now();
                    hall.durable();
                    let spent = begun.elapsed();
                    hall.empty();
                    spent
                })
            });
        });
        macro_rules! kernel {
            ($name:expr, $socket:ty) => {
                group.bench_function($name, |bench| {
                    let mut all = Rooms::<$socket>::new(members, events);
                    bench.iter_custom(|count| timed(count, rooms, |count| all.serve(count)));
                });
            };
        }
        kernel!(BenchmarkId::new("loquat", "outbox"), Outbox);
        kernel!(BenchmarkId::new("loquat", "outbox_own"), WithOwn);
        kernel!("encode_each", Copied);
        kernel!("bytes", Queue<Bytes>);
        kernel!("arc", Queue<Arc<[u8]>>);
        group.finish();
    }
}

const RECEIPTS_ROOM: usize = 10;
/// Receipts that come together.
const RECEIPTS: usize = 200;

fn receipts(c: &mut Criterion) {
    let mut group = c.benchmark_group("receipts");
    group.throughput(Throughput::Elements(1));
    let hall = RefCell::new(Hall::new(1, RECEIPTS_ROOM));
    for (name, is_repeated) in [("new", false), ("repeated", true)] {
        group.bench_function(name, |bench| {
            bench.iter_custom(|count| {
                timed(count, RECEIPTS, |count| {
                    let mut hall = hall.borrow_mut();
                    let frames = hall.receipts(count);
                    if is_repeated {
                        hall.read(&mut frames.clone());
                        assert_eq!(hall.empty().0, RECEIPTS_ROOM, "everybody is told once");
                    }
                    let mut frames = frames;
                    let begun = Instant::now();
                    hall.read(&mut frames);
                    let spent = begun.elapsed();
                    let told = if is_repeated { 0 } else { RECEIPTS_ROOM };
                    assert_eq!(hall.empty().0, told);
                    spent
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, fanout, receipts);
criterion_main!(benches);
