//! What the journal asks of the world: work on named files, mail to shards, and what else follows a
//! commit. Whoever runs it (the log thread, or a simulation) answers file work with
//! [`super::Journal::handle_done`].

use std::fmt;

use crate::model::{ConversationId, DirectoryChange, UserId};
use crate::node::ports::FromLog;

/// A segment's file name within the journal's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName(pub u64);

impl SegmentName {
    /// Reads a file name; `None` for a file that is no segment.
    pub fn parse(name: &str) -> Option<SegmentName> {
        let digits = name.strip_prefix("segment-")?;
        let holds = digits.len() == 16
            && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !holds {
            return None;
        }
        u64::from_str_radix(digits, 16).ok().map(SegmentName)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment-{:016x}", self.0)
    }
}

/// Work on files. `Create` and `SyncAside` may take long: they are done aside, and other work goes on meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileWork {
    /// A file of `bytes` bytes, `header` first and zeros behind, written out and synced with its
    /// directory: it appears under its name whole or not at all.
    Create { file: SegmentName, bytes: u64, header: Vec<u8> },
    /// The buffer comes back with the answer.
    Write { file: SegmentName, offset: u64, bytes: Vec<u8> },
    /// fdatasync.
    Sync { file: SegmentName },
    /// The same for what was told already; at most one at a time, and never beside a `Sync`.
    SyncAside { file: SegmentName },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Files(FileWork),
    /// Directory changes that just became durable, before their shard hears of it.
    Directory {
        segment: u64,
        changes: Vec<DirectoryChange>,
    },
    /// Users who have a mark somewhere that just became durable, before their shard hears of it.
    Marks {
        segment: u64,
        marks: Vec<(UserId, ConversationId)>,
    },
    Publish {
        shard: usize,
        message: FromLog,
    },
    /// This segment takes nothing more: build its pages, up to this commit, then say
    /// [`super::Journal::handle_sealed`].
    Ended {
        segment: u64,
        last_commit: u64,
    },
    /// The process must end at once: what is on disk decides at the next start.
    Fatal(String),
}

/// How file work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    Created {
        file: SegmentName,
    },
    /// There was no room for it; nothing of it is left.
    NoRoom {
        file: SegmentName,
    },
    Written {
        buffer: Vec<u8>,
    },
    Synced,
    /// What was tried and what the system said.
    Failed {
        what: String,
    },
}
