//! Changes to the tree, put in bit by bit: its lock is the process's, and readers want their turn.
//!
//! Nothing here is on disk before [`Pages::settle`] or a sync says so; what was cut short is done again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sled::IVec;

use super::error::StoreError;
use super::pages::{Batch, Pages};

/// What is put in at a time.
const SLICE_BYTES_MAX: usize = 256 << 10;
const SLICE_BYTES_MIN: usize = 16 << 10;
const SLICE_TIME_MAX: Duration = Duration::from_millis(2);
/// Keys with their new values; `None` removes.
pub type Changes = BTreeMap<Vec<u8>, Option<IVec>>;

/// Puts changes in, in order of their keys and in slices, so that readers get their turn between.
pub fn apply(pages: &Pages, changes: Changes, stop: &AtomicBool) -> Result<(), StoreError> {
    let mut slice_bytes_max = SLICE_BYTES_MAX;
    let mut changes = changes.into_iter().peekable();
    while changes.peek().is_some() {
        if stop.load(Ordering::Relaxed) {
            return Err(StoreError::Stopped);
        }
        let mut batch = Batch::default();
        while batch.bytes() < slice_bytes_max
            && let Some((key, value)) = changes.next()
        {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let begun = Instant::now();
        pages.put(batch)?;
        let took = begun.elapsed();
        // The wait for the disk says nothing about the tree's lock.
        pages.settle()?;
        slice_bytes_max = match took {
            took if took > SLICE_TIME_MAX => (slice_bytes_max / 2).max(SLICE_BYTES_MIN),
            _ => (slice_bytes_max * 2).min(SLICE_BYTES_MAX),
        };
        std::thread::yield_now();
    }
    Ok(())
}
