//! Looks at every reactor, and at the HTTP thread, once a second, and at the memory in use more often. One that gave no sign of life for 15 s
//! is stuck: the process ends, with its name, and is started again by whoever runs it.
//!
//! Its ring of the bell keeps the reactors' clocks read, so that a
//! process that was stopped does not count the time (see [`super::clock`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::launch::{Waker, fatal};
use super::memory::Usage;
use super::turn::{Pulse, Shared};
use crate::node::core::Pressure;
use crate::telemetry::Heartbeat;

const EVERY: Duration = Duration::from_secs(1);
/// Memory is measured before it can have got short, however fast large answers take it, but no more and no less
/// often than this: waking the thread for nothing is most of what an idle server costs.
const TAKEN_PER_SECOND: u64 = 2 << 30;
const LOOK_MIN: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = EVERY;
const STALL: Duration = Duration::from_secs(15);

/// What is watched.
pub struct Watched {
    pub wakers: Vec<Waker>,
    pub pulses: Vec<Arc<Pulse>>,
    pub http: Arc<Heartbeat>,
    /// In bytes.
    pub memory_limit: u64,
}

pub fn start(watched: Watched, shared: Arc<Shared>) -> io::Result<()> {
    let usage = Usage::open()?;
    std::thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || watch(&watched, usage, &shared))?;
    Ok(())
}

/// When a thread last gave a sign of life.
struct Seen {
    beats: u64,
    at: Instant,
}

impl Seen {
    fn new(now: Instant) -> Seen {
        Seen { beats: 0, at: now }
    }

    /// For how long it has been quiet. `None` is nothing to wait for.
    fn quiet(&mut self, beats: Option<u64>, now: Instant) -> Duration {
        if beats != Some(self.beats) {
            self.forgive(now);
        }
        self.beats = beats.unwrap_or(self.beats);
        now.duration_since(self.at)
    }

    fn forgive(&mut self, now: Instant) {
        self.at = now;
    }
}

/// The memory in use, as the reactors are told of it.
struct Memory {
    usage: Usage,
    limit: u64,
    cores: u64,
    measured: u64,
    percent: u64,
    next_look: Duration,
}

impl Memory {
    /// `true` when reactors must act on it at once.
    fn measure(&mut self, shared: &Shared) -> bool {
        let Some(used) = self.usage.bytes() else { return false };
        let before = std::mem::replace(
            &mut self.percent,
            used.saturating_mul(100).div_euclid(self.limit).min(255),
        );
        let room = Pressure::first_bytes(self.limit).saturating_sub(used);
        self.next_look = next_look(room);
        shared.memory_room.store(room / self.cores, Ordering::Relaxed);
        self.measured += 1;
        shared.memory.store(self.measured << 8 | self.percent, Ordering::Relaxed);
        Pressure::of(before.max(self.percent)) != Pressure::None
    }
}

/// With so many bytes left before the pressure begins.
fn next_look(room: u64) -> Duration {
    Duration::from_millis(room.saturating_mul(1_000) / TAKEN_PER_SECOND).clamp(LOOK_MIN, LOOK_MAX)
}

fn watch(watched: &Watched, usage: Usage, shared: &Shared) {
    let limit = watched.memory_limit.max(1);
    let cores = watched.pulses.len().max(1) as u64;
    let mut memory = Memory { usage, limit, cores, measured: 0, percent: 0, next_look: LOOK_MIN };
    let mut last = Instant::now();
    let mut reactors: Vec<Seen> = watched.pulses.iter().map(|_| Seen::new(last)).collect();
    let mut http = Seen::new(last);
    loop {
        let mut left = EVERY;
        while !left.is_zero() {
            let pause = memory.next_look.min(left);
            std::thread::sleep(pause);
            left -= pause;
            if memory.measure(shared) {
                watched.wakers.iter().for_each(Waker::wake);
            }
        }
        let now = Instant::now();
        // This thread was stopped as well: the whole process was, not one thread.
        if now.duration_since(last) > EVERY * 3 {
            reactors.iter_mut().chain([&mut http]).for_each(|seen| seen.forgive(now));
        }
        last = now;
        for (index, seen) in reactors.iter_mut().enumerate() {
            let pulse = &watched.pulses[index];
            let is_over = pulse.is_over.load(Ordering::Relaxed);
            let quiet = seen.quiet((!is_over).then(|| pulse.turns.load(Ordering::Relaxed)), now);
            pulse.turned_ms_ago.store(quiet.as_millis() as u64, Ordering::Relaxed);
            if quiet > STALL {
                fatal(&format!("reactor {index} has been stuck for {} s", quiet.as_secs()));
            }
            watched.wakers[index].wake();
        }
        let quiet = http.quiet(watched.http.beats(), now);
        if quiet > STALL {
            fatal(&format!("the HTTP thread has been stuck for {} s", quiet.as_secs()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_looked_at_sooner_the_less_there_is() {
        let check = |room_mib: u64, ms| {
            assert_eq!(next_look(room_mib << 20), Duration::from_millis(ms), "{room_mib} MiB");
        };
        check(0, 20);
        check(40, 20);
        check(256, 125);
        check(1 << 20, 1_000);
        assert_eq!(next_look(u64::MAX), LOOK_MAX);
    }

    #[test]
    fn quiet_is_who_does_not_beat_and_has_not_ended() {
        let begun = Instant::now();
        let at = |s| begun + Duration::from_secs(s);
        let mut seen = Seen::new(begun);
        let mut check = |beats, now, quiet_s| {
            assert_eq!(seen.quiet(beats, at(now)), Duration::from_secs(quiet_s), "at {now} s");
        };
        check(Some(0), 4, 4);
        check(Some(1), 5, 0);
        check(Some(1), 19, 14);
        check(None, 20, 0);
        check(None, 40, 0);
        seen.forgive(at(50));
        assert_eq!(seen.quiet(Some(1), at(51)), Duration::from_secs(1));
    }
}
