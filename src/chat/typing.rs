//! The typing line.
//!
//! The guide's hook starts a 3 s timer on each `true` and never clears one, so the line of a user who
//! goes on typing is hidden by the timer of an *earlier* `true`. Hence a `true` goes out when typing
//! starts, and again whenever an earlier one becomes 3,100 ms old while the user still types: right
//! after its timer has done its harm. A pause does not end that: the timers of the `true`s before it
//! still run. At most three `true`s lie in any 3,100 ms.
//!
//! ```text
//! keystroke ─► typing: true at once ── +3,100 ms, still typing ─► true ── …
//! `false`, message sent, socket gone, 3,100 ms without a keystroke ─► false at once
//! ```

use smallvec::SmallVec;

use crate::limits::{TYPING_BURST_MAX, TYPING_RENEW_MS};
use crate::model::{Mono, SessionId};

#[derive(Debug, Default)]
pub struct Typing {
    /// The socket that types.
    by: Option<SessionId>,
    last_key: Mono,
    /// When the `true`s went out whose timers still run in the clients.
    trues: SmallVec<[Mono; TYPING_BURST_MAX]>,
}

/// What the others are to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Unchanged,
    Shown,
    Hidden,
}

impl Typing {
    pub fn is_typing(&self) -> bool {
        self.by.is_some()
    }

    pub fn is_by(&self, session: SessionId) -> bool {
        self.by == Some(session)
    }

    pub fn key(&mut self, by: SessionId, now: Mono) -> Line {
        self.last_key = now;
        self.forget_old(now);
        if self.by.replace(by).is_some() || self.trues.len() == TYPING_BURST_MAX {
            // Goes on, or is shown when the oldest timer has run out.
            return Line::Unchanged;
        }
        self.trues.push(now);
        Line::Shown
    }

    pub fn stop(&mut self) -> Line {
        match self.by.take() {
            Some(_) => Line::Hidden,
            None => Line::Unchanged,
        }
    }

    pub fn next_timeout(&self) -> Option<Mono> {
        self.by?;
        let silence = self.last_key.after(TYPING_RENEW_MS);
        let renewal = self.trues.first().map(|at| at.after(TYPING_RENEW_MS));
        Some(renewal.map_or(silence, |at| at.min(silence)))
    }

    pub fn handle_timeout(&mut self, now: Mono) -> Line {
        if self.by.is_none() {
            return Line::Unchanged;
        }
        if now >= self.last_key.after(TYPING_RENEW_MS) {
            return self.stop();
        }
        if self.forget_old(now) {
            self.trues.push(now);
            return Line::Shown;
        }
        Line::Unchanged
    }

    /// Drops the `true`s whose timers have run out; whether there were any.
    fn forget_old(&mut self, now: Mono) -> bool {
        let before = self.trues.len();
        self.trues.retain(|at| at.after(TYPING_RENEW_MS) > now);
        self.trues.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: SessionId = SessionId { core: 0, slot: 0, generation: 0 };
    const HOOK_TIMER_MS: u64 = 3_000;
    /// The page stops after 2 s without a keystroke.
    const PAGE_IDLE_MS: u64 = 2_000;

    /// Plays keystrokes to the machine and its output to the guide's hook, ms by ms. Returns how much
    /// of the time in which the user types the line was visible, and all `true`s.
    fn visible(keys: &[u64], until: u64) -> (f64, Vec<u64>) {
        let mut typing = Typing::default();
        let (mut line, mut timers, mut trues) = (false, Vec::<u64>::new(), Vec::new());
        let (mut typed, mut shown) = (0u64, 0u64);
        let mut last_key: Option<u64> = None;
        for ms in 0..until {
            let now = Mono(ms);
            let mut told = Vec::new();
            if typing.next_timeout().is_some_and(|at| at <= now) {
                told.push(typing.handle_timeout(now));
            }
            if last_key.is_some_and(|at| ms == at + PAGE_IDLE_MS) {
                told.push(typing.stop());
                last_key = None;
            }
            if keys.contains(&ms) {
                told.push(typing.key(ME, now));
                last_key = Some(ms);
            }
            if timers.contains(&ms) {
                line = false;
            }
            for change in told {
                match change {
                    Line::Shown => {
                        line = true;
                        timers.push(ms + HOOK_TIMER_MS);
                        trues.push(ms);
                    }
                    Line::Hidden => line = false,
                    Line::Unchanged => {}
                }
            }
            if last_key.is_some() {
                typed += 1;
                shown += u64::from(line);
            }
        }
        (shown as f64 / typed as f64, trues)
    }

    #[test]
    fn the_line_stays_visible_while_someone_types() {
        let check = |name: &str, keys: Vec<u64>| {
            let (share, trues) = visible(&keys, 60_000);
            assert!(share >= 0.93, "{name}: {share}");
            for window in trues.windows(TYPING_BURST_MAX + 1) {
                assert!(window[TYPING_BURST_MAX] - window[0] >= TYPING_RENEW_MS, "{name}");
            }
        };
        check("every 200 ms", (0..50_000).step_by(200).collect());
        check("every second", (0..50_000).step_by(1_000).collect());
        check("every 1.9 s", (0..50_000).step_by(1_900).collect());
        // Irregular, with pauses in between (a linear congruence, for the same run every time).
        let mut seed = 12_345u64;
        let mut at = 0;
        let mut keys = Vec::new();
        while at < 50_000 {
            keys.push(at);
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            at += 60 + (seed >> 33) % 1_500;
        }
        check("irregular", keys);
    }

    #[test]
    fn silence_ends_the_line_after_3100_ms() {
        let mut typing = Typing::default();
        assert_eq!(typing.key(ME, Mono(0)), Line::Shown);
        assert_eq!(typing.key(ME, Mono(1_000)), Line::Unchanged);
        assert_eq!(typing.handle_timeout(Mono(3_100)), Line::Shown);
        assert_eq!(typing.next_timeout(), Some(Mono(4_100)));
        assert_eq!(typing.handle_timeout(Mono(4_100)), Line::Hidden);
        assert_eq!(typing.next_timeout(), None);
        assert_eq!(typing.stop(), Line::Unchanged);
    }

    #[test]
    fn starting_over_and_over_shows_three_times_at_most() {
        let mut typing = Typing::default();
        let mut shown = 0;
        for ms in (0..3_000).step_by(100) {
            shown += u32::from(typing.key(ME, Mono(ms)) == Line::Shown);
            typing.stop();
        }
        assert_eq!(shown, 3);
    }
}
