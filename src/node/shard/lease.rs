//! A shard's block of message ids. The next block is asked for when half of this one is used, so that
//! sending never waits; without ids sending is refused.

use std::ops::Range;

use crate::limits::LEASE_IDS;
use crate::model::MessageId;

#[derive(Debug, Default)]
pub struct Lease {
    current: Range<u64>,
    /// Granted, and used when the current block is.
    next: Option<Range<u64>>,
    asked: bool,
    /// Ids below this are not ours to use any more, once there are others.
    floor: u64,
}

impl Lease {
    pub fn granted(&mut self, ids: Range<u64>) {
        self.asked = false;
        if ids.start < self.floor {
            // Granted before the floor rose; another block was asked for since.
            return;
        }
        if self.current.is_empty() || self.current.start < self.floor {
            self.next = None;
            self.current = ids;
        } else {
            self.next = Some(ids);
        }
    }

    /// Gives up ids below `floor` as soon as a block above it is granted; `true` when one must be asked
    /// for.
    pub fn renew(&mut self, floor: u64) -> bool {
        self.floor = self.floor.max(floor);
        let must_ask = !self.is_renewed();
        self.asked |= must_ask;
        must_ask
    }

    /// No id that may still be given out lies below the floor.
    pub fn is_renewed(&self) -> bool {
        let is_above = |block: &Range<u64>| block.is_empty() || block.start >= self.floor;
        is_above(&self.current) && self.next.as_ref().is_none_or(is_above)
    }

    /// An id above `after`: a conversation that came from another shard may be ahead of this block.
    pub fn next(&mut self, after: u64) -> Option<MessageId> {
        for _ in 0..2 {
            let first = self.current.start.max(after + 1);
            if first < self.current.end {
                self.current.start = first + 1;
                return Some(MessageId(first));
            }
            self.current = self.next.take()?;
        }
        None
    }

    pub fn is_empty(&self) -> bool {
        self.current.is_empty() && self.next.is_none()
    }

    /// `true` once when it is time to ask for another block.
    pub fn wants_more(&mut self) -> bool {
        let left = self.current.end.saturating_sub(self.current.start);
        let wants = !self.asked && self.next.is_none() && left < LEASE_IDS / 2;
        self.asked |= wants;
        wants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_over_blocks_and_above_what_a_conversation_had() {
        let mut lease = Lease::default();
        assert_eq!(lease.next(0), None);
        assert!(lease.wants_more() && !lease.wants_more());
        lease.granted(10..13);
        assert_eq!(lease.next(0), Some(MessageId(10)));
        assert_eq!(lease.next(11), Some(MessageId(12)));
        lease.granted(20..22);
        assert_eq!(lease.next(12), Some(MessageId(20)));
        assert_eq!(lease.next(30), None);
    }

    #[test]
    fn ids_below_a_floor_are_used_only_until_others_come() {
        let mut lease = Lease::default();
        lease.granted(1..100);
        assert_eq!(lease.next(0), Some(MessageId(1)));
        assert!(lease.renew(150) && !lease.is_renewed());
        assert_eq!(lease.next(0), Some(MessageId(2)));
        // Under way when the floor rose.
        lease.granted(100..150);
        assert!(!lease.is_renewed());
        lease.granted(150..200);
        assert!(lease.is_renewed());
        assert_eq!(lease.next(0), Some(MessageId(150)));
        assert!(!lease.renew(150) && lease.renew(160));
        lease.granted(200..300);
        assert_eq!(lease.next(0), Some(MessageId(200)));
    }
}
