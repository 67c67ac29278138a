//! Counters without shared cache lines: each core owns a block of cells that only it writes.
//!
//! Counting is a load and a store of one's own line, no locked instruction; whoever wants figures
//! sums the blocks. A sum is not a moment's picture, but each cell only rises, so differences over
//! time are right.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::names::{Counter, Gauge};

/// 128: x86 fetches cache lines in pairs, and some ARM cores have lines of this size.
#[repr(align(128))]
struct Block {
    counters: [AtomicU64; Counter::COUNT],
    gauges: [AtomicU64; Gauge::COUNT],
}

impl Block {
    fn new() -> Block {
        Block {
            counters: [const { AtomicU64::new(0) }; Counter::COUNT],
            gauges: [const { AtomicU64::new(0) }; Gauge::COUNT],
        }
    }
}

/// The reading side: every core's block.
#[derive(Clone)]
pub struct Counters {
    blocks: Arc<[Block]>,
}

/// The writing side of one block. It can move to its thread but not be shared (nor cloned), which
/// is what makes load + store enough.
pub struct CoreCounters {
    blocks: Arc<[Block]>,
    core: usize,
    one_writer: PhantomData<Cell<()>>,
}

impl Counters {
    /// One block per writer: cores, and the threads beside them.
    pub fn new(writers: usize) -> (Counters, Vec<CoreCounters>) {
        let blocks: Arc<[Block]> = (0..writers).map(|_| Block::new()).collect();
        let cores = (0..writers)
            .map(|core| CoreCounters { blocks: blocks.clone(), core, one_writer: PhantomData })
            .collect();
        (Counters { blocks }, cores)
    }

    /// All writers' figures added up.
    pub fn snapshot(&self) -> Snapshot {
        let mut sum = Snapshot::default();
        for writer in 0..self.blocks.len() {
            sum.add(&self.of(writer));
        }
        sum
    }

    /// One writer's figures; zeros for one that does not exist.
    pub fn of(&self, writer: usize) -> Snapshot {
        let mut snapshot = Snapshot::default();
        if let Some(block) = self.blocks.get(writer) {
            for (to, cell) in snapshot.counters.iter_mut().zip(&block.counters) {
                *to = cell.load(Ordering::Relaxed);
            }
            for (to, cell) in snapshot.gauges.iter_mut().zip(&block.gauges) {
                *to = cell.load(Ordering::Relaxed);
            }
        }
        snapshot
    }
}

impl CoreCounters {
    fn block(&self) -> &Block {
        &self.blocks[self.core]
    }

    pub fn add(&self, counter: Counter, n: u64) {
        let cell = &self.block().counters[counter as usize];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub fn increment(&self, counter: Counter) {
        self.add(counter, 1);
    }

    pub fn set(&self, gauge: Gauge, value: u64) {
        self.block().gauges[gauge as usize].store(value, Ordering::Relaxed);
    }
}

/// Figures at (about) one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    counters: [u64; Counter::COUNT],
    gauges: [u64; Gauge::COUNT],
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot { counters: [0; Counter::COUNT], gauges: [0; Gauge::COUNT] }
    }
}

impl Snapshot {
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize]
    }

    fn add(&mut self, other: &Snapshot) {
        for (to, from) in self.counters.iter_mut().zip(&other.counters) {
            *to = to.wrapping_add(*from);
        }
        for (to, from) in self.gauges.iter_mut().zip(&other.gauges) {
            *to = to.wrapping_add(*from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_the_sum_of_what_all_threads_counted() {
        const EACH: u64 = 10_000;
        let (counters, cores) = Counters::new(3);
        let threads: Vec<_> = cores
            .into_iter()
            .enumerate()
            .map(|(n, core)| {
                std::thread::spawn(move || {
                    for _ in 0..EACH {
                        core.increment(Counter::Deliveries);
                    }
                    core.add(Counter::BytesOut, 7);
                    core.set(Gauge::Sockets, n as u64);
                    core.set(Gauge::Sockets, 2 * n as u64);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let sum = counters.snapshot();
        assert_eq!(sum.counter(Counter::Deliveries), 3 * EACH);
        assert_eq!(sum.counter(Counter::BytesOut), 21);
        assert_eq!(sum.gauge(Gauge::Sockets), 2 + 4);
        assert_eq!(sum.counter(Counter::Commits), 0);
        assert_eq!(counters.of(1).gauge(Gauge::Sockets), 2);
        assert_eq!(counters.of(9), Snapshot::default());
    }

    #[test]
    fn no_two_blocks_touch_one_pair_of_cache_lines() {
        assert_eq!(align_of::<Block>(), 128);
        assert_eq!(size_of::<Block>() % 128, 0);
    }
}
