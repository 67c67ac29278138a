//! A rate for what is never refused: it delays reading instead.

use crate::limits::Rate;
use crate::model::Mono;

/// What came too early is owed, and reading pauses until it is paid.
pub struct Ceiling {
    rate: Rate,
    /// Thousandths; below zero what is owed.
    level: i64,
    at: Mono,
}

impl Ceiling {
    pub fn new(rate: Rate) -> Ceiling {
        Ceiling { rate, level: i64::from(rate.burst) * 1_000, at: Mono(0) }
    }

    /// One more; then as [`Ceiling::owed_ms`].
    pub fn pass(&mut self, now: Mono) -> Option<u64> {
        self.fill(now);
        self.level -= 1_000;
        self.owed_ms()
    }

    /// Another rate from now on; what is owed stays owed.
    pub fn set_rate(&mut self, rate: Rate, now: Mono) {
        self.fill(now);
        self.rate = rate;
        self.fill(now);
    }

    fn fill(&mut self, now: Mono) {
        let gained = now.since(self.at).saturating_mul(u64::from(self.rate.per_second));
        let most = i64::from(self.rate.burst) * 1_000;
        self.at = self.at.max(now);
        self.level = self.level.saturating_add_unsigned(gained).min(most);
    }

    /// In how many ms nothing is owed any more, if something is.
    pub fn owed_ms(&self) -> Option<u64> {
        let owed = self.level.min(0).unsigned_abs();
        (owed > 0).then(|| owed.div_ceil(u64::from(self.rate.per_second).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_over_the_ceiling_is_paid_for_by_waiting() {
        let mut ceiling = Ceiling::new(Rate { per_second: 1_000, burst: 10 });
        for _ in 0..10 {
            assert_eq!(ceiling.pass(Mono(0)), None);
        }
        // A whole read buffer of receipts is handled before the pause begins.
        let pauses: Vec<_> = (0..300).filter_map(|_| ceiling.pass(Mono(0))).collect();
        assert_eq!(pauses.last(), Some(&300));
        assert_eq!(ceiling.pass(Mono(300)), Some(1));
        assert_eq!(ceiling.pass(Mono(400)), None);
    }
}
