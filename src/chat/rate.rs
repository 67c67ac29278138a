//! Token buckets (as in RFC 2697, one rate): `burst` tokens at most, `per_second` new ones a second.
//! Counted in thousandths, so that a slow rate gains something every millisecond.

use crate::limits::Rate;
use crate::model::Mono;

const TOKEN: u64 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    rate: Rate,
    /// Thousandths of a token.
    level: u64,
    filled_at: Mono,
}

impl Bucket {
    pub fn new(rate: Rate) -> Bucket {
        Bucket { rate, level: u64::from(rate.burst) * TOKEN, filled_at: Mono(0) }
    }

    /// Takes a token, or says in how many ms there will be one.
    pub fn take(&mut self, now: Mono) -> Result<(), u64> {
        self.fill(now);
        if self.level >= TOKEN {
            self.level -= TOKEN;
            return Ok(());
        }
        let per_ms = u64::from(self.rate.per_second).max(1);
        Err((TOKEN - self.level).div_ceil(per_ms))
    }

    /// Nobody took from it for long: it need not be kept.
    pub fn is_full(&self, now: Mono) -> bool {
        let mut filled = self.clone();
        filled.fill(now);
        filled.level >= u64::from(self.rate.burst) * TOKEN
    }

    fn fill(&mut self, now: Mono) {
        let gained = now.since(self.filled_at).saturating_mul(u64::from(self.rate.per_second));
        let most = u64::from(self.rate.burst) * TOKEN;
        self.level = self.level.saturating_add(gained).min(most);
        self.filled_at = self.filled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::new(Rate { per_second: 5, burst: 3 });
        let mut take = |ms| bucket.take(Mono(ms));
        assert_eq!((take(0), take(0), take(0)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(take(0), Err(200));
        assert_eq!(take(199), Err(1));
        assert_eq!(take(200), Ok(()));
        assert_eq!(take(200), Err(200));
        assert_eq!((take(60_000), take(60_000), take(60_000)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(take(60_000), Err(200));
    }

    #[test]
    fn a_clock_that_stands_still_gives_nothing() {
        let mut bucket = Bucket::new(Rate { per_second: 1_000, burst: 1 });
        assert_eq!(bucket.take(Mono(5)), Ok(()));
        assert_eq!(bucket.take(Mono(4)), Err(1));
        assert!(!bucket.is_full(Mono(5)) && bucket.is_full(Mono(6)));
    }
}
