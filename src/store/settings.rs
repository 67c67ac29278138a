//! What an operator may choose about the store.

use crate::node::journal::JournalSettings;
use crate::node::journal::settings::{SEGMENT_BYTES_FLOOR, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSettings {
    pub journal: JournalSettings,
    /// sled's cache.
    pub cache_bytes: u64,
    /// How long sealed segments are kept, to repair pages from.
    pub journal_keep_days: u32,
    /// How long after a deletion its text is taken out of pages and kept segments.
    pub erase_after_ms: u64,
    /// Age at which messages are dropped, where a conversation has none of its own.
    pub retention_days: Option<u32>,
    /// Threads that read old state for the shards.
    pub readers: usize,
    /// How long a stop waits for pages; what is left is replayed at the next start.
    pub stop_within_ms: u64,
}

impl Default for StoreSettings {
    fn default() -> Self {
        StoreSettings {
            journal: JournalSettings::default(),
            cache_bytes: 32 << 20,
            journal_keep_days: 7,
            // Looked at every hour, once its segment has ended: well within a day.
            erase_after_ms: 12 * 3_600_000,
            retention_days: None,
            readers: 2,
            stop_within_ms: 5_000,
        }
    }
}

impl StoreSettings {
    /// Every setting that does not hold, as a sentence.
    pub fn conflicts(&self) -> Vec<String> {
        let journal = &self.journal;
        let checks = [
            (
                (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&journal.segment_bytes),
                "journal_segment is 4 MiB to 1 GiB",
            ),
            (
                journal.disk_reserve_bytes >= 2 * journal.segment_bytes,
                "is less than twice journal_segment: two segments may wait to be sealed",
            ),
            (self.cache_bytes >= 1 << 20, "the cache of the store is at least 1 MiB"),
            ((1..=16).contains(&self.readers), "readers of the store are 1 to 16"),
            (journal.segment_age_ms >= 1_000, "a segment is at least one second old when it ends"),
        ];
        checks.iter().filter(|(holds, _)| !holds).map(|(_, text)| (*text).to_owned()).collect()
    }

    /// As it is used: never below what the format needs.
    pub(super) fn workable(mut self) -> StoreSettings {
        let bytes = self.journal.segment_bytes;
        self.journal.segment_bytes = bytes.clamp(SEGMENT_BYTES_FLOOR, SEGMENT_BYTES_MAX);
        self.readers = self.readers.clamp(1, 16);
        self
    }
}
