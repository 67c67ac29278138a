//! How long a socket stays behind its close frame: until that is sent and the peer had a moment to answer,
//! while the peer takes something now and then, and never longer than `LINGER_SLOW_MS`.
//!
//! ```text
//! waits LINGER_MS ──nothing taken──► asks the kernel ──it holds less than the last time──► waits again
//!   ▲ └──bytes taken──┐                              └──as much as before──► reset
//!   └─────────────────┘
//! ```
//! What the kernel holds when it is asked for the first time is only noted.

use super::connection::Due;
use crate::limits::{LINGER_BYTES_MAX, LINGER_MS, LINGER_SLOW_MS};
use crate::model::Mono;

/// The end of one socket.
#[derive(Debug, Clone, Copy)]
pub struct Closing {
    /// Unless something was taken meanwhile; if nothing is unsent, in any case.
    until: Mono,
    last: Mono,
    /// What the kernel held when it was asked; it is asked when `until` has passed.
    unsent: Option<u32>,
    is_asked: bool,
    read_bytes: usize,
    pub is_shut: bool,
}

impl Closing {
    pub fn new(now: Mono) -> Closing {
        let (until, last) = (now.after(LINGER_MS), now.after(LINGER_SLOW_MS));
        Closing { until, last, unsent: None, is_asked: false, read_bytes: 0, is_shut: false }
    }

    pub fn deadline(&self) -> Mono {
        if self.is_asked { self.last } else { self.until.min(self.last) }
    }

    /// What the deadline that passed asks for.
    pub fn due(&mut self, is_all_sent: bool, now: Mono) -> Due {
        if is_all_sent || now >= self.last {
            return Due::Abort;
        }
        self.is_asked = true;
        Due::Probe
    }

    /// The kernel took some bytes: what it holds now says nothing about before.
    pub fn note_sent(&mut self, now: Mono) {
        self.until = now.after(LINGER_MS);
        self.unsent = None;
    }

    /// The kernel still holds `unsent` bytes; less than the last time is a sign of life.
    pub fn probed(&mut self, unsent: u32, now: Mono) -> Due {
        self.is_asked = false;
        let has_moved = self.unsent.is_none_or(|before| unsent < before);
        self.unsent = Some(unsent);
        self.until = now.after(LINGER_MS);
        if has_moved { Due::Nothing } else { Due::Abort }
    }

    /// Bytes that arrive behind the end; `true` when there were too many.
    pub fn lingered(&mut self, bytes: usize) -> bool {
        self.read_bytes += bytes;
        self.read_bytes > LINGER_BYTES_MAX
    }
}
