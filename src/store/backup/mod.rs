//! The whole store as one stream of bytes, taken while it is in use, and a new store made of it.
//!
//! ```text
//! hold (nothing is removed or rewritten; segments are still sealed)
//!   → the mark Z → every pair of pages, in order of keys → the journal up to the watermark → imports under way
//! restore: pairs, with the Z of the beginning → each segment behind it is built again, in order
//! ```
//! Pairs are read while segments are being sealed, so some are newer than Z. That is what a crash leaves, too:
//! building a segment again over them gives what it would have given, and the journal has every segment behind
//! Z. What is in no segment (retention, erasing, pages of imports) stands still meanwhile.
//!
//! Invariants
//! - All that was durable when the backup began is in it.
//! - A stream without its last frame is no backup; a frame that was altered, left out or moved is found.
//! - Nothing here asks a shard, and the log thread only passes the word to hold on.

mod archive;
mod restore;
mod take;

use crate::node::journal::SealedMark;

pub use archive::{ArchiveError, Counts, Part, Reader};
pub use restore::{Making, RestoreError, Restored, restore};
pub use take::Backup;
pub(super) use take::Sources;

/// What a backup says first.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// The log's epoch, as clients know it.
    pub epoch: String,
    /// When it was begun, in ms since the Unix epoch.
    pub taken_at_ms: u64,
    /// Of the server that made it.
    pub server: String,
    sealed_segment: u64,
    sealed_commit: u64,
    leased_to: u64,
}

impl Head {
    fn mark(&self) -> SealedMark {
        SealedMark {
            segment: self.sealed_segment,
            commit: self.sealed_commit,
            leased_to: self.leased_to,
        }
    }
}

/// A file of the store, beside its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileName {
    Segment(u64),
    Import(u64),
}
