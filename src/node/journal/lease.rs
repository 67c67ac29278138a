//! Hands out message ids in blocks that no other shard and no other life of the server uses.
//!
//! Each commit's frame says how far ids are leased; a lease is granted when such a commit is durable,
//! so a restart begins above every id that was ever granted.

use std::ops::Range;

use crate::limits::{LEASE_IDS, SAFE_INTEGER_MAX};

/// The first id: 0 stands for "no message".
const FIRST_ID: u64 = 1;

#[derive(Debug)]
pub struct Leases {
    leased_to: u64,
}

impl Leases {
    /// `leased_to`: what the last durable commit said, 0 in a new store.
    pub fn new(leased_to: u64) -> Leases {
        Leases { leased_to: leased_to.max(FIRST_ID) }
    }

    pub fn leased_to(&self) -> u64 {
        self.leased_to
    }

    /// Blocks that are granted from here on have no id below `floor`.
    pub fn raise(&mut self, floor: u64) {
        self.leased_to = self.leased_to.max(floor);
    }

    /// A new block, or `None` when ids that JavaScript holds exactly have run out.
    pub fn take(&mut self) -> Option<Range<u64>> {
        let end = self.leased_to.checked_add(LEASE_IDS)?;
        if end > SAFE_INTEGER_MAX {
            return None;
        }
        let block = self.leased_to..end;
        self.leased_to = end;
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_never_overlap_and_never_pass_the_largest_safe_integer() {
        let check = |leased_to: u64, expected: Option<Range<u64>>| {
            assert_eq!(Leases::new(leased_to).take(), expected);
        };
        check(0, Some(1..1 + LEASE_IDS));
        check(1 + LEASE_IDS, Some(1 + LEASE_IDS..1 + 2 * LEASE_IDS));
        check(SAFE_INTEGER_MAX - LEASE_IDS, Some(SAFE_INTEGER_MAX - LEASE_IDS..SAFE_INTEGER_MAX));
        check(SAFE_INTEGER_MAX - LEASE_IDS + 1, None);
        check(u64::MAX, None);
    }
}
