//! Counters without shared cache lines: each core owns a block of cells that only it writes.
//!
//! Counting is a load and a store of one's own line, no locked instruction; whoever wants figures
//! reads the blocks. What is read is not a moment's picture, but each cell of a counter only rises, so
//! differences over time are right.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::names::{Counter, Gauge, Histogram};

/// Cells for the buckets of a histogram; the last one that it uses has no upper bound.
pub(super) const BUCKETS: usize = 16;

/// 128: x86 fetches cache lines in pairs, and some ARM cores have lines of this size.
#[derive(Debug)]
#[repr(align(128))]
struct Block {
    counters: [AtomicU64; Counter::COUNT],
    gauges: [AtomicU64; Gauge::COUNT],
    buckets: [[AtomicU64; BUCKETS]; Histogram::COUNT],
    sums: [AtomicU64; Histogram::COUNT],
}

impl Default for Block {
    fn default() -> Block {
        Block {
            counters: [const { AtomicU64::new(0) }; Counter::COUNT],
            gauges: [const { AtomicU64::new(0) }; Gauge::COUNT],
            buckets: [const { [const { AtomicU64::new(0) }; BUCKETS] }; Histogram::COUNT],
            sums: [const { AtomicU64::new(0) }; Histogram::COUNT],
        }
    }
}

/// The reading side: every writer's block.
#[derive(Debug, Clone)]
pub struct Counters {
    cores: Arc<[Arc<Block>]>,
    store: Arc<[Arc<Block>]>,
}

/// The writing sides, one for each thread that counts.
pub struct Writers {
    pub cores: Vec<CoreCounters>,
    pub log: CoreCounters,
    pub pages: CoreCounters,
}

/// The writing side of one block. It can move to its thread but not be shared (nor cloned), which
/// is what makes load + store enough. The default one is read by nobody.
#[derive(Debug, Default)]
pub struct CoreCounters {
    block: Arc<Block>,
    one_writer: PhantomData<Cell<()>>,
}

impl Counters {
    pub fn new(cores: usize) -> (Counters, Writers) {
        let writers = Writers {
            cores: (0..cores).map(|_| CoreCounters::default()).collect(),
            log: CoreCounters::default(),
            pages: CoreCounters::default(),
        };
        let counters = Counters {
            cores: writers.cores.iter().map(|writer| writer.block.clone()).collect(),
            store: [&writers.log, &writers.pages].map(|writer| writer.block.clone()).into(),
        };
        (counters, writers)
    }

    pub fn cores(&self) -> usize {
        self.cores.len()
    }

    /// One core's figures; zeros for one that does not exist.
    pub fn of_core(&self, core: usize) -> Snapshot {
        let mut snapshot = Snapshot::default();
        if let Some(block) = self.cores.get(core) {
            snapshot.add(block);
        }
        snapshot
    }

    /// The figures of the store's threads, added up.
    pub fn of_store(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.store.iter().for_each(|block| snapshot.add(block));
        snapshot
    }
}

impl CoreCounters {
    pub fn add(&self, counter: Counter, n: u64) {
        raise(&self.block.counters[counter as usize], n);
    }

    pub fn increment(&self, counter: Counter) {
        self.add(counter, 1);
    }

    pub fn set(&self, gauge: Gauge, value: u64) {
        self.block.gauges[gauge as usize].store(value, Ordering::Relaxed);
    }

    pub fn observe(&self, histogram: Histogram, value: u64) {
        let bounds = histogram.bounds();
        let bucket = bounds.partition_point(|&bound| bound < value);
        raise(&self.block.buckets[histogram as usize][bucket.min(BUCKETS - 1)], 1);
        raise(&self.block.sums[histogram as usize], value);
    }
}

/// By the cell's only writer.
fn raise(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// Figures at (about) one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    counters: [u64; Counter::COUNT],
    gauges: [u64; Gauge::COUNT],
    buckets: [[u64; BUCKETS]; Histogram::COUNT],
    sums: [u64; Histogram::COUNT],
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot {
            counters: [0; Counter::COUNT],
            gauges: [0; Gauge::COUNT],
            buckets: [[0; BUCKETS]; Histogram::COUNT],
            sums: [0; Histogram::COUNT],
        }
    }
}

impl Snapshot {
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize]
    }

    /// What was counted in each bucket, the one above the last bound included, and the sum of what
    /// was measured.
    pub fn histogram(&self, histogram: Histogram) -> (&[u64], u64) {
        let used = histogram.bounds().len() + 1;
        (&self.buckets[histogram as usize][..used], self.sums[histogram as usize])
    }

    fn add(&mut self, block: &Block) {
        add_all(&mut self.counters, &block.counters);
        add_all(&mut self.gauges, &block.gauges);
        for (to, from) in self.buckets.iter_mut().zip(&block.buckets) {
            add_all(to, from);
        }
        add_all(&mut self.sums, &block.sums);
    }
}

fn add_all(to: &mut [u64], from: &[AtomicU64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = to.wrapping_add(from.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_core_s_figures_are_its_own_and_the_store_s_are_added_up() {
        const EACH: u64 = 10_000;
        let (counters, writers) = Counters::new(3);
        let threads: Vec<_> = writers
            .cores
            .into_iter()
            .enumerate()
            .map(|(n, core)| {
                std::thread::spawn(move || {
                    for _ in 0..EACH {
                        core.increment(Counter::DeliveredEvents);
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
        let last = counters.of_core(2);
        assert_eq!(last.counter(Counter::DeliveredEvents), EACH);
        assert_eq!((last.counter(Counter::BytesOut), last.gauge(Gauge::Sockets)), (7, 4));
        assert_eq!(counters.of_core(3), Snapshot::default());
        writers.log.set(Gauge::DiskFreeBytes, 5);
        writers.pages.increment(Counter::SegmentsSealed);
        let store = counters.of_store();
        assert_eq!(store.gauge(Gauge::DiskFreeBytes), 5);
        assert_eq!(store.counter(Counter::SegmentsSealed), 1);
    }

    #[test]
    fn what_was_measured_lies_below_the_bound_of_its_bucket() {
        let (counters, writers) = Counters::new(0);
        for value in [0, 1, 2, 3, 4, 4_096, 4_097, u64::from(u32::MAX)] {
            writers.log.observe(Histogram::CommitRecords, value);
        }
        let store = counters.of_store();
        let (buckets, sum) = store.histogram(Histogram::CommitRecords);
        assert_eq!(buckets, [1, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(sum, 10 + 4_096 + 4_097 + u64::from(u32::MAX));
    }

    #[test]
    fn no_two_blocks_touch_one_pair_of_cache_lines() {
        assert_eq!(align_of::<Block>(), 128);
        assert_eq!(size_of::<Block>() % 128, 0);
    }
}
