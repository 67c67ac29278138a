//! Looks at every reactor once a second. One that has not finished a turn for 15 s is stuck: the
//! process ends, with its name, and is started again by whoever runs it.
//!
//! It measures the memory in use as well. Its ring of the bell keeps the reactors' clocks read, so that a process that was stopped does
//! not count the time (see [`super::clock`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::launch::{Waker, fatal};
use super::memory;
use super::turn::{Pulse, Shared};

const EVERY: Duration = Duration::from_secs(1);
const STALL: Duration = Duration::from_secs(15);

pub fn start(wakers: Vec<Waker>, pulses: Vec<Arc<Pulse>>, shared: Arc<Shared>) -> io::Result<()> {
    std::thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || watch(&wakers, &pulses, &shared))?;
    Ok(())
}

fn watch(wakers: &[Waker], pulses: &[Arc<Pulse>], shared: &Shared) {
    let limit = memory::limit_bytes().max(1);
    let mut measured = 0u64;
    let mut seen: Vec<(u64, Instant)> = pulses.iter().map(|_| (0, Instant::now())).collect();
    let mut last = Instant::now();
    loop {
        std::thread::sleep(EVERY);
        let now = Instant::now();
        // This thread was stopped as well: the whole process was, not a reactor.
        let was_stopped = now.duration_since(last) > EVERY * 3;
        last = now;
        if let Some(used) = memory::used_bytes() {
            measured += 1;
            shared.memory.store(
                measured << 8 | used.saturating_mul(100).div_euclid(limit).min(255),
                Ordering::Relaxed,
            );
        }
        for (index, pulse) in pulses.iter().enumerate() {
            let turns = pulse.turns.load(Ordering::Relaxed);
            if turns != seen[index].0 || was_stopped || pulse.is_over.load(Ordering::Relaxed) {
                seen[index] = (turns, now);
            }
            let quiet = now.duration_since(seen[index].1);
            pulse.turned_ms_ago.store(quiet.as_millis() as u64, Ordering::Relaxed);
            if quiet > STALL {
                fatal(&format!("reactor {index} has been stuck for {} s", quiet.as_secs()));
            }
            wakers[index].wake();
        }
    }
}
