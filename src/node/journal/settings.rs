//! How the journal writes: when it syncs, how large and old a segment becomes, what space it leaves.

/// When a record counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// When the fdatasync of its commit returned.
    Commit,
    /// When its write returned; a sync follows within so many ms.
    Interval { ms: u64 },
    /// When its write returned; the kernel writes back when it likes.
    Never,
}

/// What `interval` means unless said otherwise.
pub const FSYNC_INTERVAL_MS: u64 = 100;
/// Smallest segment that an operator may set.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 20;
/// Largest one: replay reads a segment whole.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Smallest one that works at all (tests): it takes the longest record.
pub const SEGMENT_BYTES_FLOOR: u64 = 128 << 10;
/// From this size on a commit takes no further record.
const COMMIT_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalSettings {
    pub fsync: Fsync,
    pub segment_bytes: u64,
    pub segment_age_ms: u64,
    /// Free space below which nothing new is accepted.
    pub disk_reserve_bytes: u64,
}

impl Default for JournalSettings {
    fn default() -> Self {
        JournalSettings {
            fsync: Fsync::Commit,
            segment_bytes: 32 << 20,
            segment_age_ms: 3_600_000,
            disk_reserve_bytes: 256 << 20,
        }
    }
}

impl JournalSettings {
    pub fn commit_bytes_max(&self) -> usize {
        COMMIT_BYTES_MAX.min(self.segment_bytes / 4) as usize
    }
}
