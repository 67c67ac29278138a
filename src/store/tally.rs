//! What the log thread counts of its commits.
//!
//! A commit begins with its write and ends when the first shard is told: then it is durable, whatever
//! the mode. It takes all the records that were taken since the last one began.

use std::time::{Duration, Instant};

use crate::node::ports::FromLog;
use crate::telemetry::{CoreCounters, Gauge, Histogram};

pub struct Tally {
    counters: CoreCounters,
    records: u64,
    /// The commit that is not durable yet.
    begun: Option<Instant>,
    segments_waiting: u64,
}

impl Tally {
    pub fn new(counters: CoreCounters) -> Tally {
        Tally { counters, records: 0, begun: None, segments_waiting: 0 }
    }

    pub fn took_record(&mut self) {
        self.records += 1;
    }

    pub fn writes(&mut self, bytes: usize) {
        self.begun = Some(Instant::now());
        self.counters.observe(Histogram::CommitBytes, bytes as u64);
        self.counters.observe(Histogram::CommitRecords, std::mem::take(&mut self.records));
    }

    pub fn synced(&self, took: Duration) {
        self.counters.observe(Histogram::SyncMicros, micros(took));
    }

    pub fn told(&mut self, message: &FromLog) {
        if matches!(message, FromLog::Durable { .. } | FromLog::Lease { .. })
            && let Some(begun) = self.begun.take()
        {
            self.counters.observe(Histogram::CommitMicros, micros(begun.elapsed()));
        }
    }

    /// A segment takes nothing more: its pages are to be built.
    pub fn ended(&mut self) {
        self.segments_waiting += 1;
        self.counters.set(Gauge::SegmentsWaiting, self.segments_waiting);
    }

    pub fn sealed(&mut self) {
        self.segments_waiting = self.segments_waiting.saturating_sub(1);
        self.counters.set(Gauge::SegmentsWaiting, self.segments_waiting);
    }

    pub fn free_bytes(&self, bytes: u64) {
        self.counters.set(Gauge::DiskFreeBytes, bytes);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
