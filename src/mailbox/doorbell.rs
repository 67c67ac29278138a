//! A doorbell: senders wake a receiver only when it is parked.
//!
//! ```text
//! receiver: park() sets the flag, fences, then looks at its rings once more
//!           nothing there → sleeps until the waker is called
//!           something there → unpark() and goes on
//! sender:   pushes, fences, reads the flag; set → clears it and calls the waker
//! ```
//! Either the receiver's last look sees the item, or the sender's read sees the flag (Dekker).

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Proof that the flag is set; the receiver looks at its rings while it holds one.
#[must_use = "look at the rings again before sleeping"]
pub struct Ticket(());

pub struct Doorbell {
    parked: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Doorbell {
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Doorbell {
        Doorbell { parked: AtomicBool::new(false), wake: Box::new(wake) }
    }

    /// Receiver: about to sleep. Look at the rings again before doing so.
    pub fn park(&self) -> Ticket {
        // A swap follows whatever a sender's swap has written. The fence should be enough; loom's model does not show it.
        self.parked.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        Ticket(())
    }

    /// Receiver: awake again, or found something after all.
    pub fn unpark(&self, _ticket: Ticket) {
        self.parked.store(false, Ordering::Relaxed);
    }

    /// Sender: something was pushed.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::AcqRel) {
            (self.wake)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn only_a_parked_receiver_is_woken_and_only_once() {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        let bell = Doorbell::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        bell.ring();
        assert_eq!(woken.load(Ordering::Relaxed), 0);
        let ticket = bell.park();
        bell.ring();
        bell.ring();
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        bell.unpark(ticket);
        bell.ring();
        assert_eq!(woken.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn no_wake_is_lost_between_two_threads() {
        const ITEMS: usize = if cfg!(miri) { 200 } else { 100_000 };
        let receiver = std::thread::current();
        let bell = Arc::new(Doorbell::new(move || receiver.unpark()));
        let (mut sender, mut mail) = crate::mailbox::ring(8, bell.clone());
        let worker = std::thread::spawn(move || {
            for mut item in 0..ITEMS {
                while let Err(back) = sender.push(item) {
                    item = back;
                    sender.ring();
                    std::thread::yield_now();
                }
                sender.ring();
            }
        });
        let mut expected = 0;
        while expected < ITEMS {
            if let Some(item) = mail.pop() {
                assert_eq!(item, expected);
                expected += 1;
                continue;
            }
            let ticket = bell.park();
            if mail.is_empty() {
                std::thread::park();
            }
            bell.unpark(ticket);
        }
        worker.join().unwrap();
    }
}
