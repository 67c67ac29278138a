//! The clocks of a reactor: monotonic for timers, the wall for what is shown.
//!
//! A process that was stopped (SIGSTOP, a frozen VM) must not find all its peers timed out when it
//! goes on: the watchdog rings every second, so a longer gap between two readings is time in which
//! nobody could be heard, and it does not count.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::{Mono, Now, Wall};

/// The longest time between two readings that counts.
const GAP_MAX: Duration = Duration::from_secs(3);

pub struct Clock {
    read_at: Cell<Instant>,
    counted: Cell<Duration>,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { read_at: Cell::new(Instant::now()), counted: Cell::new(Duration::ZERO) }
    }

    pub fn now(&self) -> Now {
        let instant = Instant::now();
        let gap = instant.saturating_duration_since(self.read_at.get());
        self.read_at.set(instant);
        self.counted.set(self.counted.get() + gap.min(GAP_MAX));
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Mono(self.counted.get().as_millis() as u64),
            wall: Wall(wall.as_millis() as u64),
        }
    }

    /// When this time comes, should nothing stop the process meanwhile. One millisecond late rather
    /// than early, so that what is due then is due.
    pub fn instant_of(&self, mono: Mono) -> Instant {
        let counted = self.counted.get();
        let ahead = Duration::from_millis(mono.0.saturating_add(1)).saturating_sub(counted);
        self.read_at.get() + ahead.min(Duration::from_secs(3600))
    }
}
