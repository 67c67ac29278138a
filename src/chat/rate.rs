//! Token buckets, in whole numbers: thousandths of a token, filled by the milliseconds that passed.
//!
//! A bucket begins full. Time that seems to go back fills nothing.

use crate::limits::Rate;
use crate::model::Mono;

const TOKEN: u64 = 1_000;
/// What a bucket that is never filled tells a client to wait.
const RETRY_MS_MAX: u64 = 60_000;

#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    /// Thousandths of a token.
    level: u64,
    at: Mono,
}

impl Bucket {
    pub fn new(rate: Rate) -> Bucket {
        Bucket { rate, level: u64::from(rate.burst) * TOKEN, at: Mono(0) }
    }

    /// Takes a token, or says in how many ms there will be one.
    pub fn take(&mut self, now: Mono) -> Result<(), u64> {
        self.take_many(1, now)
    }

    /// Takes so many tokens, as many as the bucket holds at most, or says in how many ms there will be
    /// enough.
    pub fn take_many(&mut self, tokens: u32, now: Mono) -> Result<(), u64> {
        self.level = self.level_at(now);
        self.at = self.at.max(now);
        let wanted = (u64::from(tokens) * TOKEN).min(self.capacity().max(TOKEN));
        match self.level.checked_sub(wanted) {
            Some(rest) => {
                self.level = rest;
                Ok(())
            }
            None => Err(self.ms_until(wanted)),
        }
    }

    /// Another rate from now on. What is left is kept, as far as it fits.
    pub fn set_rate(&mut self, rate: Rate, now: Mono) {
        self.level = self.level_at(now);
        self.at = self.at.max(now);
        self.rate = rate;
        self.level = self.level.min(self.capacity());
    }

    /// Puts back a token that was taken in vain.
    pub fn give_back(&mut self) {
        self.level = (self.level + TOKEN).min(self.capacity());
    }

    pub fn is_full(&self, now: Mono) -> bool {
        self.level_at(now) >= self.capacity()
    }

    /// When the bucket will be full if nothing more is taken.
    pub fn full_at(&self) -> Mono {
        self.at.after(self.ms_until(self.capacity()))
    }

    fn capacity(&self) -> u64 {
        u64::from(self.rate.burst) * TOKEN
    }

    fn level_at(&self, now: Mono) -> u64 {
        let filled = now.since(self.at).saturating_mul(u64::from(self.rate.per_second));
        self.level.saturating_add(filled).min(self.capacity())
    }

    fn ms_until(&self, level: u64) -> u64 {
        let lacking = level.saturating_sub(self.level);
        match u64::from(self.rate.per_second) {
            0 if lacking > 0 => RETRY_MS_MAX,
            0 => 0,
            per_second => lacking.div_ceil(per_second),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(per_second: u32, burst: u32, takes: &[(u64, Result<(), u64>)]) {
        let mut bucket = Bucket::new(Rate { per_second, burst });
        for (step, (ms, expected)) in takes.iter().enumerate() {
            assert_eq!(bucket.take(Mono(*ms)), *expected, "step {step} at {ms} ms");
        }
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        check(5, 2, &[(0, Ok(())), (0, Ok(())), (0, Err(200)), (199, Err(1)), (200, Ok(()))]);
    }

    #[test]
    fn tokens_do_not_pile_up_over_the_burst() {
        check(5, 2, &[(0, Ok(())), (60_000, Ok(())), (60_000, Ok(())), (60_000, Err(200))]);
    }

    #[test]
    fn time_that_goes_back_fills_nothing() {
        check(5, 1, &[(1_000, Ok(())), (500, Err(200)), (1_199, Err(1)), (1_200, Ok(()))]);
    }

    #[test]
    fn a_rate_of_nothing_never_refills() {
        check(0, 1, &[(0, Ok(())), (u64::MAX, Err(60_000))]);
        check(5, 0, &[(0, Err(200)), (10_000, Err(200))]);
    }

    #[test]
    fn another_rate_holds_at_once_and_keeps_what_is_left() {
        let mut bucket = Bucket::new(Rate { per_second: 5, burst: 2 });
        assert_eq!((bucket.take(Mono(0)), bucket.take(Mono(0))), (Ok(()), Ok(())));
        // 100 ms at the old rate are half a token.
        bucket.set_rate(Rate { per_second: 100, burst: 20 }, Mono(100));
        assert_eq!(bucket.take(Mono(100)), Err(5));
        assert_eq!(bucket.take(Mono(105)), Ok(()));
        assert_eq!(bucket.full_at(), Mono(305));
        bucket.set_rate(Rate { per_second: 1, burst: 1 }, Mono(305));
        assert_eq!((bucket.take(Mono(305)), bucket.take(Mono(305))), (Ok(()), Err(1_000)));
    }

    #[test]
    fn a_bucket_knows_when_it_is_full() {
        let mut bucket = Bucket::new(Rate { per_second: 5, burst: 20 });
        assert!(bucket.is_full(Mono(0)));
        assert_eq!(bucket.take(Mono(10)), Ok(()));
        assert_eq!(bucket.full_at(), Mono(210));
        assert!(!bucket.is_full(Mono(209)) && bucket.is_full(Mono(210)));
        bucket.give_back();
        assert!(bucket.is_full(Mono(10)));
    }

    #[test]
    fn what_is_dear_takes_many_and_never_more_than_there_can_be() {
        let mut bucket = Bucket::new(Rate { per_second: 10, burst: 15 });
        assert_eq!(bucket.take_many(10, Mono(0)), Ok(()));
        assert_eq!(bucket.take_many(10, Mono(0)), Err(500));
        assert_eq!(bucket.take(Mono(0)), Ok(()));
        assert_eq!(bucket.take_many(10, Mono(600)), Ok(()));
        let mut small = Bucket::new(Rate { per_second: 10, burst: 3 });
        assert_eq!(small.take_many(10, Mono(0)), Ok(()));
        assert_eq!(small.take_many(10, Mono(0)), Err(300));
    }
}
