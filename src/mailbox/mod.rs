//! Mail between threads: bounded lock-free SPSC rings, and a doorbell that wakes only who sleeps.
//!
//! A ring never blocks: when it is full the item comes back and the sender chooses. Order within a
//! ring is kept; there is none between rings.

mod doorbell;

pub use doorbell::{Doorbell, Ticket};

use std::sync::Arc;

/// The sending end of a ring, with the doorbell of its receiver.
pub struct Sender<T> {
    ring: rtrb::Producer<T>,
    bell: Arc<Doorbell>,
}

/// The receiving end of a ring.
pub struct Receiver<T> {
    ring: rtrb::Consumer<T>,
}

/// One ring of `slots` items whose receiver sleeps behind `bell`.
pub fn ring<T>(slots: usize, bell: Arc<Doorbell>) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = rtrb::RingBuffer::new(slots);
    (Sender { ring: producer, bell }, Receiver { ring: consumer })
}

impl<T> Sender<T> {
    /// Puts the item in, or hands it back when the ring is full. Wakes nobody: [`Sender::ring`]
    /// does, once per turn.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        self.ring.push(item).map_err(|rtrb::PushError::Full(item)| item)
    }

    /// Room for at least this many more items; only the receiver can change it, and only upwards.
    pub fn has_room(&self, items: usize) -> bool {
        self.ring.slots() >= items
    }

    pub fn room(&self) -> usize {
        self.ring.slots()
    }

    /// Wakes the receiver if it sleeps.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// The other end is gone: its thread has ended.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl<T> Receiver<T> {
    pub fn pop(&mut self) -> Option<T> {
        self.ring.pop().ok()
    }

    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    pub fn len(&self) -> usize {
        self.ring.slots()
    }

    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_hands_the_item_back() {
        let bell = Arc::new(Doorbell::new(|| {}));
        let (mut sender, mut receiver) = ring(2, bell);
        assert_eq!(sender.push(1), Ok(()));
        assert_eq!(sender.push(2), Ok(()));
        assert_eq!(sender.push(3), Err(3));
        assert!(!sender.has_room(1));
        assert_eq!(receiver.pop(), Some(1));
        assert!(sender.has_room(1));
        assert_eq!(receiver.pop(), Some(2));
        assert_eq!(receiver.pop(), None);
    }
}
