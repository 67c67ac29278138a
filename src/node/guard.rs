//! What keeps a talkative peer within its limits: rates of frames, receipts and pings, bad frames, and how
//! long one message may take. Whether it is alive is looked at in [`super::connection`].

use super::ceiling::Ceiling;
use crate::chat::rate::Bucket;
use crate::limits::Limits;
use crate::model::{CloseReason, Mono};
use crate::wire::session::Session;

/// What keeps a talkative peer within its limits.
pub struct Guard {
    frames: Option<Bucket>,
    receipts: Ceiling,
    pings: Option<Bucket>,
    /// Pings of the running second, and seconds in a row with too many.
    ping_second: (u64, u32),
    ping_floods: u32,
    /// The newest ping over the limit, and when it is answered.
    pub(super) late_ping: Option<(Vec<u8>, Mono)>,
    bad_since: Mono,
    bad: u32,
    refused: u32,
    pub paused_until: Option<Mono>,
    /// The message that is coming in, by the session's count, since when.
    pub(super) message: Option<(u32, Mono)>,
    pub(super) ping: Ping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ping {
    None,
    /// In the outbox.
    Queued,
    /// Handed whole to TCP; `unsent` is what the kernel still held when last asked: for the first
    /// time right behind the ping, so that what is acknowledged later counts.
    Sent {
        at: Mono,
        unsent: Option<u32>,
    },
    /// No answer in time: the kernel is asked whether anything was acknowledged since.
    Asked {
        unsent: Option<u32>,
    },
}

/// What the guard says of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    RetryAfter(u64),
    Close(CloseReason),
}

/// Seconds in a row with too many pings that close the socket.
const PING_FLOOD_SECONDS: u32 = 5;
/// Refused frames in a row that close the socket with 4129.
const REFUSED_MAX: u32 = 1_000;
const BAD_WINDOW_MS: u64 = 60_000;

/// Whether the buckets of a guard are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    On,
    Off,
}

impl Guard {
    pub fn new(limits: &Limits, buckets: Buckets) -> Guard {
        let on = buckets == Buckets::On;
        Guard {
            frames: on.then(|| Bucket::new(limits.frames)),
            receipts: Ceiling::new(limits.receipts),
            pings: on.then(|| Bucket::new(limits.pings)),
            ping_second: (0, 0),
            ping_floods: 0,
            late_ping: None,
            bad_since: Mono(0),
            bad: 0,
            refused: 0,
            paused_until: None,
            message: None,
            ping: Ping::None,
        }
    }

    /// A frame that counts: not a receipt, not typing. Dear ones count as several.
    pub fn frame(&mut self, cost: u32, now: Mono) -> Verdict {
        let Some(bucket) = &mut self.frames else { return Verdict::Fine };
        match bucket.take_many(cost, now) {
            Ok(()) => {
                self.refused = 0;
                Verdict::Fine
            }
            Err(_) if self.refused >= REFUSED_MAX => Verdict::Close(CloseReason::RateExceeded),
            Err(retry_after_ms) => {
                self.refused += 1;
                Verdict::RetryAfter(retry_after_ms)
            }
        }
    }

    /// A receipt or a keystroke: never refused, but past its ceiling reading pauses.
    pub fn receipt(&mut self, now: Mono) {
        if self.frames.is_some()
            && let Some(pause_ms) = self.receipts.pass(now)
        {
            self.paused_until = Some(now.after(pause_ms));
        }
    }

    /// Rates that were reloaded. Who waits because of the old one waits as long as the new one wants.
    pub fn set_rates(&mut self, limits: &Limits, now: Mono) {
        for (bucket, rate) in [(&mut self.frames, limits.frames), (&mut self.pings, limits.pings)] {
            if let Some(bucket) = bucket {
                bucket.set_rate(rate, now);
            }
        }
        self.receipts.set_rate(limits.receipts, now);
        if self.paused_until.is_some() {
            self.paused_until = Some(now.after(self.receipts.owed_ms().unwrap_or(0)));
        }
    }

    pub fn bad_frame(&mut self, limits: &Limits, now: Mono) -> Verdict {
        if now.since(self.bad_since) > BAD_WINDOW_MS {
            self.bad_since = now;
            self.bad = 0;
        }
        self.bad += 1;
        if self.bad >= limits.bad_frames_per_minute {
            Verdict::Close(CloseReason::BadFrames)
        } else {
            Verdict::Fine
        }
    }

    /// `RetryAfter` means: not now. The newest such ping is answered later (RFC 6455 §5.5.3 lets a
    /// server answer only the last of several).
    pub fn ping(&mut self, payload: &[u8], limits: &Limits, now: Mono) -> Verdict {
        let Some(bucket) = &mut self.pings else { return Verdict::Fine };
        let second = now.0 / 1_000;
        if self.ping_second.0 != second {
            let flooded = self.ping_second.1 > limits.ping_flood_per_second
                && self.ping_second.0 + 1 == second;
            self.ping_floods = if flooded { self.ping_floods + 1 } else { 0 };
            self.ping_second = (second, 0);
        }
        self.ping_second.1 += 1;
        if self.ping_floods >= PING_FLOOD_SECONDS {
            return Verdict::Close(CloseReason::PingFlood);
        }
        match bucket.take(now) {
            Ok(()) => {
                self.late_ping = None;
                Verdict::Fine
            }
            Err(retry_after_ms) => {
                let due = self.late_ping.take().map_or(now.after(retry_after_ms), |(_, due)| due);
                self.late_ping = Some((payload.to_vec(), due));
                Verdict::RetryAfter(retry_after_ms)
            }
        }
    }

    /// After decoding: times a message that is not complete.
    pub fn note_message(&mut self, wire: &Session, now: Mono) {
        self.message = match (wire.message_in_progress(), self.message) {
            (false, _) => None,
            (true, Some((begun, since))) if begun == wire.messages_begun() => Some((begun, since)),
            (true, _) => Some((wire.messages_begun(), now)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Rate;

    #[test]
    fn reloaded_rates_hold_for_a_socket_that_waits() {
        let slow = Rate { per_second: 1, burst: 1 };
        let fast = Rate { per_second: 1_000, burst: 1_000 };
        let slow = Limits { frames: slow, receipts: slow, pings: slow, ..Limits::DEFAULT };
        let fast = Limits { frames: fast, receipts: fast, pings: fast, ..Limits::DEFAULT };
        let mut guard = Guard::new(&slow, Buckets::On);
        for _ in 0..11 {
            guard.receipt(Mono(0));
        }
        assert_eq!(
            (guard.frame(1, Mono(0)), guard.paused_until),
            (Verdict::Fine, Some(Mono(10_000)))
        );
        guard.set_rates(&fast, Mono(500));
        // Half of a token, and nine and a half that are owed.
        assert_eq!(guard.paused_until, Some(Mono(510)));
        assert_eq!(guard.frame(1, Mono(500)), Verdict::RetryAfter(1));
        assert_eq!(guard.frame(1, Mono(501)), Verdict::Fine);
        guard.set_rates(&slow, Mono(2_000));
        assert_eq!(
            (guard.frame(1, Mono(2_000)), guard.ping(b"", &slow, Mono(2_000))),
            (Verdict::Fine, Verdict::Fine)
        );
        assert_eq!(guard.frame(1, Mono(2_000)), Verdict::RetryAfter(1_000));
        assert_eq!(guard.ping(b"", &slow, Mono(2_000)), Verdict::RetryAfter(1_000));
    }
}
