//! The group commit that is being gathered: records of all shards in the order in which they came,
//! and what must be told once it is durable.

use std::ops::Range;

use crate::limits::COMMIT_EVENTS_MAX;
use crate::model::{ConversationId, DirectoryChange, UserId};
use crate::node::ports::Record;

use super::frame::{CommitHead, FrameBuilder};
use super::record::RecordError;

/// Up to where the log is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durable {
    pub commit: u64,
    /// Message ids below this are never leased again, in no life of the server.
    pub leased_to: u64,
}

/// What a commit owes to those who wait for it.
#[derive(Debug, Default)]
pub struct Owed {
    pub durable_log: Durable,
    /// (shard, its highest lsn in the commit).
    pub durable: Vec<(usize, u64)>,
    pub leases: Vec<(usize, Range<u64>)>,
    pub directory: Vec<DirectoryChange>,
    /// Whose marks it has, and where.
    pub marks: Vec<(UserId, ConversationId)>,
}

#[derive(Debug)]
pub struct Batch {
    frame: FrameBuilder,
    bytes_max: usize,
    through: Vec<Option<u64>>,
    leases: Vec<(usize, Range<u64>)>,
    directory: Vec<DirectoryChange>,
    /// Ids were set aside: the next commit says so even if it has no record.
    is_raised: bool,
    marks: Vec<(UserId, ConversationId)>,
}

impl Batch {
    /// `bytes_max`: from this size on the commit takes no further record.
    pub fn new(shards: usize, bytes_max: usize) -> Batch {
        Batch {
            frame: FrameBuilder::default(),
            bytes_max,
            through: vec![None; shards],
            leases: Vec::new(),
            directory: Vec::new(),
            is_raised: false,
            marks: Vec::new(),
        }
    }

    pub fn has_room(&self) -> bool {
        (self.frame.records() as usize) < COMMIT_EVENTS_MAX
            && self.frame.len_bytes() < self.bytes_max
    }

    pub fn is_empty(&self) -> bool {
        self.frame.records() == 0 && self.leases.is_empty() && !self.is_raised
    }

    pub fn len_bytes(&self) -> usize {
        self.frame.len_bytes()
    }

    pub fn push(&mut self, shard: usize, lsn: u64, record: &Record) -> Result<(), RecordError> {
        self.frame.push(&record.into())?;
        self.through[shard] = Some(lsn);
        match record {
            Record::Directory(change) => self.directory.push(change.clone()),
            Record::Mark { conversation, mark } => {
                self.marks.push((mark.user.clone(), conversation.clone()));
            }
            Record::Event { .. } | Record::Erased => {}
        }
        Ok(())
    }

    pub fn lease(&mut self, shard: usize, block: Range<u64>) {
        self.leases.push((shard, block));
    }

    pub fn raised(&mut self) {
        self.is_raised = true;
    }

    /// Takes what was gathered as a finished frame and starts anew in `buffer`.
    pub fn take(&mut self, head: &CommitHead, salt: u64, buffer: Vec<u8>) -> (Vec<u8>, Owed) {
        let frame = std::mem::replace(&mut self.frame, FrameBuilder::reusing(buffer));
        let durable = self
            .through
            .iter_mut()
            .enumerate()
            .filter_map(|(shard, lsn)| lsn.take().map(|lsn| (shard, lsn)))
            .collect();
        self.is_raised = false;
        let owed = Owed {
            durable_log: Durable { commit: head.commit, leased_to: head.leased_to },
            durable,
            leases: std::mem::take(&mut self.leases),
            directory: std::mem::take(&mut self.directory),
            marks: std::mem::take(&mut self.marks),
        };
        (frame.finish(head, salt), owed)
    }
}
