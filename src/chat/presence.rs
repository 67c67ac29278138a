//! Who is online, as the others are told: net changes, once per tick.
//!
//! A user is online from the first socket to `offline_grace_ms` after the last. Others hear of it at the
//! next tick, and only of what then differs from what they were told; so a page that reloads is not
//! noticed. In a crowd nobody is told of single users (joins must not be quadratic): v2 gets the count.
//! When the crowd is over, the next tick tells what changed meanwhile.

use crate::limits::{CROWD_COUNT_EVERY_MS, PRESENCE_TICK_MS};
use crate::model::Mono;

#[derive(Debug, Default)]
pub struct Presence {
    /// Users whose state may differ from what was told.
    changed: Vec<usize>,
    tick_at: Option<Mono>,
    counted_at: Option<Mono>,
    count_told: u32,
}

impl Presence {
    /// The user came or went.
    pub fn changed(&mut self, user: usize, now: Mono) {
        if !self.changed.contains(&user) {
            self.changed.push(user);
        }
        self.tick_at.get_or_insert(now.after(PRESENCE_TICK_MS));
    }

    pub fn is_due(&self, now: Mono) -> bool {
        self.tick_at.is_some_and(|at| at <= now)
    }

    pub fn next_timeout(&self) -> Option<Mono> {
        self.tick_at
    }

    /// The tick: users to look at, each once.
    pub fn take_changed(&mut self) -> Vec<usize> {
        self.tick_at = None;
        std::mem::take(&mut self.changed)
    }

    /// In a crowd: the count, if it is time to tell it and it differs; what changed stays for later.
    pub fn crowd_tick(&mut self, online: u32, now: Mono) -> Option<u32> {
        self.tick_at = None;
        if online == self.count_told {
            return None;
        }
        let next = self.counted_at.map_or(now, |at| at.after(CROWD_COUNT_EVERY_MS));
        if next > now {
            self.tick_at = Some(next);
            return None;
        }
        self.counted_at = Some(now);
        self.count_told = online;
        Some(online)
    }

    pub fn is_quiet(&self) -> bool {
        self.changed.is_empty()
    }
}
