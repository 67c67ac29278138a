//! The doorbell under every order that the memory model allows: a receiver that parks is woken for what
//! came. `cargo test --features loom --test loom`; `scripts/soak loom`.
//!
//! The ring is a counter here, published and read as rtrb does it (release, acquire): what is tested is
//! the parking, which is ours.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use loquat::mailbox::Doorbell;

/// Items are numbers that were pushed so far.
#[derive(Default)]
struct Ring(AtomicUsize);

impl Ring {
    fn push(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn pushed(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// What the receiver sleeps on: like an eventfd it remembers a wake that comes before the sleep.
#[derive(Default)]
struct Bed {
    is_woken: Mutex<bool>,
    wake: Condvar,
}

impl Bed {
    fn wake(&self) {
        *self.is_woken.lock().unwrap() = true;
        self.wake.notify_one();
    }

    fn sleep(&self) {
        let mut is_woken = self.is_woken.lock().unwrap();
        while !*is_woken {
            is_woken = self.wake.wait(is_woken).unwrap();
        }
        *is_woken = false;
    }
}

/// A doorbell and the bed beside it.
fn bell() -> (Arc<Doorbell>, Arc<Bed>) {
    let bed = Arc::new(Bed::default());
    let ringing = Arc::clone(&bed);
    (Arc::new(Doorbell::new(move || ringing.wake())), bed)
}

/// Takes `items` and sleeps whenever there is none. Should a wake be lost, it sleeps for ever, which
/// loom reports as a deadlock.
fn receive(ring: &Ring, bell: &Doorbell, bed: &Bed, items: usize) {
    let mut taken = 0;
    while taken < items {
        if ring.pushed() > taken {
            taken += 1;
            continue;
        }
        let ticket = bell.park();
        if ring.pushed() == taken {
            bed.sleep();
        }
        bell.unpark(ticket);
    }
}

/// Preemptions that one run may have: races need few, and each more makes many times the runs.
const PREEMPTIONS_MAX: usize = 2;

fn senders(count: usize, items_each: usize) {
    let mut explored = loom::model::Builder::new();
    explored.preemption_bound = Some(PREEMPTIONS_MAX);
    explored.check(move || {
        let (bell, bed) = bell();
        let ring = Arc::new(Ring::default());
        let sender = |_| {
            let (ring, bell) = (Arc::clone(&ring), Arc::clone(&bell));
            thread::spawn(move || {
                for _ in 0..items_each {
                    ring.push();
                    bell.ring();
                }
            })
        };
        let running: Vec<_> = (0..count).map(sender).collect();
        receive(&ring, &bell, &bed, count * items_each);
        for sender in running {
            sender.join().unwrap();
        }
    });
}

#[test]
fn one_item_wakes_the_receiver() {
    senders(1, 1);
}

#[test]
fn two_items_wake_the_receiver() {
    senders(1, 2);
}

#[test]
fn two_senders_wake_the_receiver() {
    senders(2, 1);
}

/// Without the look behind the flag a wake can be lost: loom sees that.
#[test]
#[should_panic(expected = "deadlock")]
fn a_receiver_that_does_not_look_again_sleeps_for_ever() {
    loom::model(|| {
        let (bell, bed) = bell();
        let ring = Arc::new(Ring::default());
        let (pushing, ringing) = (Arc::clone(&ring), Arc::clone(&bell));
        let sender = thread::spawn(move || {
            pushing.push();
            ringing.ring();
        });
        if ring.pushed() == 0 {
            let ticket = bell.park();
            bed.sleep();
            bell.unpark(ticket);
        }
        sender.join().unwrap();
    });
}
