//! How far the events of the conversation are on disk (durable), and how far the store has them in pages
//! (sealed). Only watermarks: per segment that is not sealed yet, the last event that lies in it or in
//! earlier ones.

use std::collections::VecDeque;

use crate::model::Seq;

#[derive(Debug)]
pub(super) struct Seals {
    durable: Seq,
    sealed: Seq,
    sealed_segment: Option<u64>,
    /// (last event, segment), both rising.
    unsealed: VecDeque<(Seq, u64)>,
}

impl Seals {
    /// Everything up to `last` is in the store's pages.
    pub fn new(last: Seq) -> Seals {
        Seals { durable: last, sealed: last, sealed_segment: None, unsealed: VecDeque::new() }
    }

    pub fn durable(&self) -> Seq {
        self.durable
    }

    pub fn sealed(&self) -> Seq {
        self.sealed
    }

    pub fn is_sealed_segment(&self, segment: u64) -> bool {
        self.sealed_segment.is_some_and(|sealed| segment <= sealed)
    }

    pub fn durable_through(&mut self, through: Seq, segment: u64) {
        self.durable = self.durable.max(through);
        match self.unsealed.back_mut() {
            Some((last, at)) if *at >= segment => *last = (*last).max(through),
            _ => self.unsealed.push_back((through, segment)),
        }
        self.apply();
    }

    pub fn sealed_through(&mut self, segment: u64) {
        self.sealed_segment = self.sealed_segment.max(Some(segment));
        self.apply();
    }

    fn apply(&mut self) {
        while let Some(&(last, segment)) = self.unsealed.front() {
            if !self.is_sealed_segment(segment) {
                return;
            }
            self.sealed = self.sealed.max(last);
            self.unsealed.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_sealed_segments_is_sealed() {
        let mut seals = Seals::new(Seq(10));
        let check = |seals: &Seals, durable, sealed| {
            assert_eq!((seals.durable(), seals.sealed()), (Seq(durable), Seq(sealed)));
        };
        check(&seals, 10, 10);
        seals.durable_through(Seq(12), 3);
        seals.durable_through(Seq(15), 3);
        seals.durable_through(Seq(20), 4);
        check(&seals, 20, 10);
        seals.sealed_through(2);
        check(&seals, 20, 10);
        seals.sealed_through(3);
        check(&seals, 20, 15);
        seals.sealed_through(5);
        check(&seals, 20, 20);
    }

    #[test]
    fn a_watermark_that_comes_after_its_seal_counts() {
        let mut seals = Seals::new(Seq(0));
        seals.sealed_through(7);
        assert!(seals.is_sealed_segment(7) && !seals.is_sealed_segment(8));
        seals.durable_through(Seq(3), 6);
        assert_eq!(seals.sealed(), Seq(3));
    }

    #[test]
    fn segment_zero_is_sealed_only_when_said() {
        assert!(!Seals::new(Seq(0)).is_sealed_segment(0));
        let mut seals = Seals::new(Seq(0));
        seals.sealed_through(0);
        assert!(seals.is_sealed_segment(0));
    }
}
