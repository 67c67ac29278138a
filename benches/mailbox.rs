//! The mailbox's ring beside three queues that could stand in its place: crossbeam-channel's bounded
//! channel, crossbeam's `ArrayQueue`, and the standard library's `sync_channel`.
//!
//! `burst`: a turn's mail pushed and popped by one thread, nothing contended. `stream`: one thread
//! pushes, another pops. `ping_pong`: one item to another thread and back, for one round trip. Items are
//! 64 bytes, rings have the server's size, and ours rings its bell as a turn does: once for what it sent.
//!
//! What the numbers do not say: waiting is the same busy loop for all, so nothing is said of how a sleeper is
//! woken (the reactor's eventfd, the channels' futex). The peers take many senders, which costs them and
//! helps nobody here. The two-thread figures need two idle cores, and move with whatever else runs.

use std::hint::{black_box, spin_loop};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use loquat::limits::MAILBOX_SLOTS;
use loquat::mailbox::{self, Doorbell};

type Item = [u64; 8];

const BURST: u64 = 64;
/// Looks at a queue before the thread lets another one run.
const SPINS: u32 = 1_000;

/// The sending end of a queue.
trait Tx: Send + 'static {
    fn push(&mut self, item: Item) -> bool;

    /// The turn is over.
    fn announce(&mut self) {}
}

/// The receiving end.
trait Rx: Send + 'static {
    fn pop(&mut self) -> Option<Item>;
}

impl Tx for mailbox::Sender<Item> {
    fn push(&mut self, item: Item) -> bool {
        self.push(item).is_ok()
    }

    fn announce(&mut self) {
        self.ring();
    }
}

impl Rx for mailbox::Receiver<Item> {
    fn pop(&mut self) -> Option<Item> {
        self.pop()
    }
}

impl Tx for crossbeam_channel::Sender<Item> {
    fn push(&mut self, item: Item) -> bool {
        self.try_send(item).is_ok()
    }
}

impl Rx for crossbeam_channel::Receiver<Item> {
    fn pop(&mut self) -> Option<Item> {
        self.try_recv().ok()
    }
}

impl Tx for Arc<ArrayQueue<Item>> {
    fn push(&mut self, item: Item) -> bool {
        ArrayQueue::push(self, item).is_ok()
    }
}

impl Rx for Arc<ArrayQueue<Item>> {
    fn pop(&mut self) -> Option<Item> {
        ArrayQueue::pop(self)
    }
}

impl Tx for SyncSender<Item> {
    fn push(&mut self, item: Item) -> bool {
        self.try_send(item).is_ok()
    }
}

impl Rx for mpsc::Receiver<Item> {
    fn pop(&mut self) -> Option<Item> {
        self.try_recv().ok()
    }
}

fn ours() -> (mailbox::Sender<Item>, mailbox::Receiver<Item>) {
    mailbox::ring(MAILBOX_SLOTS, Arc::new(Doorbell::new(|| {})))
}

fn array_queue() -> (Arc<ArrayQueue<Item>>, Arc<ArrayQueue<Item>>) {
    let queue = Arc::new(ArrayQueue::new(MAILBOX_SLOTS));
    (queue.clone(), queue)
}

/// Asks until there is an answer.
fn insist<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let mut spins = 0;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        spins += 1;
        match spins % SPINS {
            0 => thread::yield_now(),
            _ => spin_loop(),
        }
    }
}

fn burst(tx: &mut impl Tx, rx: &mut impl Rx) -> u64 {
    for number in 0..BURST {
        assert!(tx.push(black_box([number; 8])), "the ring has room for a burst");
    }
    tx.announce();
    (0..BURST).filter_map(|_| rx.pop()).map(|item| item[7]).sum()
}

/// `count` items from this thread to another; the time until the last one is there.
fn stream((mut tx, mut rx): (impl Tx, impl Rx), count: u64) -> Duration {
    let ready = Arc::new(Barrier::new(2));
    let there = ready.clone();
    let receiver = thread::spawn(move || {
        there.wait();
        (0..count).map(|_| insist(|| rx.pop())[7]).fold(0, u64::wrapping_add)
    });
    ready.wait();
    let begun = Instant::now();
    for number in 0..count {
        insist(|| tx.push([number; 8]).then_some(()));
        if number % BURST == BURST - 1 {
            tx.announce();
        }
    }
    let sum = receiver.join().expect("the receiver ends");
    let spent = begun.elapsed();
    assert_eq!(sum, (0..count).fold(0, u64::wrapping_add), "an item is lost or comes twice");
    spent
}

/// `count` items to another thread, each sent when the one before has come back.
fn ping_pong(
    (mut tx, mut echo_rx): (impl Tx, impl Rx),
    (mut echo_tx, mut rx): (impl Tx, impl Rx),
    count: u64,
) -> Duration {
    let ready = Arc::new(Barrier::new(2));
    let there = ready.clone();
    let echo = thread::spawn(move || {
        there.wait();
        for _ in 0..count {
            let item = insist(|| echo_rx.pop());
            insist(|| echo_tx.push(item).then_some(()));
            echo_tx.announce();
        }
    });
    ready.wait();
    let begun = Instant::now();
    for number in 0..count {
        insist(|| tx.push([number; 8]).then_some(()));
        tx.announce();
        assert_eq!(insist(|| rx.pop())[7], number);
    }
    let spent = begun.elapsed();
    echo.join().expect("the echo ends");
    spent
}

/// One group with the same body for each queue; macro, as each is of another type.
macro_rules! each_queue {
    ($c:expr, $name:literal, $items:expr, |$bench:ident, $pair:ident| $body:expr) => {{
        let mut group = $c.benchmark_group(concat!("mailbox/", $name));
        group.throughput(Throughput::Elements($items));
        let $pair = ours;
        group.bench_function("loquat", |$bench| $body);
        let $pair = || crossbeam_channel::bounded(MAILBOX_SLOTS);
        group.bench_function("crossbeam_channel", |$bench| $body);
        let $pair = array_queue;
        group.bench_function("array_queue", |$bench| $body);
        let $pair = || mpsc::sync_channel(MAILBOX_SLOTS);
        group.bench_function("sync_channel", |$bench| $body);
        group.finish();
    }};
}

fn same_thread(c: &mut Criterion) {
    each_queue!(c, "burst_64", BURST, |bench, pair| {
        let (mut tx, mut rx) = pair();
        assert_eq!(burst(&mut tx, &mut rx), BURST * (BURST - 1) / 2);
        bench.iter(|| burst(&mut tx, &mut rx));
    });
}

fn two_threads(c: &mut Criterion) {
    each_queue!(c, "stream", 1, |bench, pair| {
        bench.iter_custom(|count| stream(pair(), count));
    });
    each_queue!(c, "ping_pong", 1, |bench, pair| {
        bench.iter_custom(|count| ping_pong(pair(), pair(), count));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50);
    targets = same_thread, two_threads
}
criterion_main!(benches);
