//! What happens to unsealed segments at start, a machine: read all, check that their commits form one
//! chain, then replace each by a copy of its good part.
//!
//! Replay trusts no page cache: after a sync that failed the kernel may show bytes that never reached
//! the disk. So each segment is written anew and synced before anyone hears what is in it. A copy takes
//! its original's name in one step, and both hold the same commits: a crash at any point leaves a
//! journal that is recovered again with the same outcome.
//!
//! Nothing is changed before everything was read and found whole.
//!
//! sled, when a bit of its file flips, may open as it was at an earlier time. Its mark of what is sealed
//! is then an earlier one, too, and the kept segments behind that mark are recovered like any others; if
//! they do not reach back to it, that is damage with a name.

use super::frame::SEGMENT_HEADER_BYTES;
use super::scan::{Damage, Tail, scan};
#[cfg(feature = "planted")]
use crate::node::planted::{self, Bug};

/// Up to where the pages hold everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SealedMark {
    pub segment: u64,
    pub commit: u64,
    pub leased_to: u64,
}

/// What to do next; say so with [`Recovery::next`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryStep {
    /// Answer with the segment's bytes.
    Read {
        segment: u64,
    },
    /// A new file with these bytes, synced, in the place of the old one.
    Replace {
        segment: u64,
        bytes: Vec<u8>,
    },
    /// It has no commit.
    Remove {
        segment: u64,
    },
    /// Sync the directory: what was replaced and removed stays so.
    SyncDirectory,
    Finished(Recovered),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub next_segment: u64,
    pub next_commit: u64,
    pub leased_to: u64,
    /// Segments whose pages are to be built, oldest first, each with its last commit.
    pub unsealed: Vec<Unsealed>,
    /// Bytes behind the last good commit that said nothing: what a crash cut short.
    pub dropped_tail_in: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsealed {
    pub segment: u64,
    pub last_commit: u64,
    pub leased_to: u64,
}

#[derive(Debug)]
struct ReadBack {
    segment: u64,
    bytes: Vec<u8>,
    end: usize,
    tail_is_dirty: bool,
    last: Option<Unsealed>,
}

#[derive(Debug)]
enum Phase {
    Reading { at: usize },
    Copying { at: usize },
    Ending,
}

#[derive(Debug)]
pub struct Recovery {
    segments: Vec<u64>,
    sealed: SealedMark,
    tail: Tail,
    read: Vec<ReadBack>,
    phase: Phase,
    /// Something was sealed, but neither that segment nor a later one is there.
    is_unwitnessed: bool,
}

impl Recovery {
    /// `segments`: the numbers of all segment files, in any order; sealed ones are left alone.
    pub fn new(segments: &[u64], sealed: SealedMark, tail: Tail) -> Recovery {
        let mut unsealed: Vec<u64> =
            segments.iter().copied().filter(|&segment| segment > sealed.segment).collect();
        unsealed.sort_unstable();
        Recovery {
            segments: unsealed,
            sealed,
            tail,
            read: Vec::new(),
            phase: Phase::Reading { at: 0 },
            is_unwitnessed: sealed.segment > 0
                && segments.iter().all(|&segment| segment < sealed.segment),
        }
    }

    /// The next step; `bytes` answers the last one if that was a `Read`.
    pub fn next(&mut self, bytes: Option<Vec<u8>>) -> Result<RecoveryStep, Damage> {
        if self.is_unwitnessed {
            return Err(Damage::Gone { segment: self.sealed.segment });
        }
        if let Phase::Reading { at } = self.phase {
            if let Some(bytes) = bytes {
                self.take(self.segments[at - 1], bytes)?;
            }
            if let Some(&segment) = self.segments.get(at) {
                self.phase = Phase::Reading { at: at + 1 };
                return Ok(RecoveryStep::Read { segment });
            }
            self.check_chain()?;
            self.phase = Phase::Copying { at: 0 };
        }
        Ok(self.next_change())
    }

    fn take(&mut self, segment: u64, bytes: Vec<u8>) -> Result<(), Damage> {
        #[cfg_attr(not(feature = "planted"), expect(unused_mut))]
        let mut found = scan(&bytes, segment, self.tail)?;
        #[cfg(feature = "planted")]
        if found.tail_is_dirty
            && planted::is(Bug::SeqReused)
            && let Some(last) = found.commits.pop()
        {
            found.end -= last.len_bytes();
        }
        let last = found.commits.last().map(|commit| Unsealed {
            segment,
            last_commit: commit.head.commit,
            leased_to: commit.head.leased_to,
        });
        if let Some(first) = found.commits.first() {
            let expected = self.next_commit();
            if first.head.commit != expected {
                return Err(Damage::Gap { segment, expected, found: first.head.commit });
            }
        }
        let (end, tail_is_dirty) = (found.end, found.tail_is_dirty);
        self.read.push(ReadBack { segment, bytes, end, tail_is_dirty, last });
        Ok(())
    }

    fn last(&self) -> Option<Unsealed> {
        self.read.iter().rev().find_map(|read| read.last)
    }

    fn next_commit(&self) -> u64 {
        self.last().map_or(self.sealed.commit, |last| last.last_commit).saturating_add(1)
    }

    /// Only the last segment in which anything was ever written may end in bad bytes.
    fn check_chain(&self) -> Result<(), Damage> {
        let is_written = |read: &ReadBack| read.last.is_some() || read.tail_is_dirty;
        let Some(last_written) = self.read.iter().rposition(is_written) else { return Ok(()) };
        match self.read[..last_written].iter().find(|read| read.tail_is_dirty) {
            Some(read) => Err(Damage::Middle {
                segment: read.segment,
                offset: read.end as u64,
                expected: (read.last.map_or(self.sealed.commit, |last| last.last_commit))
                    .saturating_add(1),
            }),
            None => Ok(()),
        }
    }

    fn next_change(&mut self) -> RecoveryStep {
        if let Phase::Copying { at } = self.phase {
            if let Some(read) = self.read.get_mut(at) {
                self.phase = Phase::Copying { at: at + 1 };
                return change(read);
            }
            self.phase = Phase::Ending;
            if !self.read.is_empty() {
                return RecoveryStep::SyncDirectory;
            }
        }
        RecoveryStep::Finished(self.outcome())
    }

    fn outcome(&self) -> Recovered {
        let last_segment = self.segments.last().copied().unwrap_or(0).max(self.sealed.segment);
        let leased_to = self.last().map_or(0, |last| last.leased_to).max(self.sealed.leased_to);
        Recovered {
            next_segment: last_segment.saturating_add(1),
            next_commit: self.next_commit(),
            leased_to,
            unsealed: self.read.iter().filter_map(|read| read.last).collect(),
            dropped_tail_in: self
                .read
                .iter()
                .find(|read| read.tail_is_dirty)
                .map(|read| read.segment),
        }
    }
}

fn change(read: &mut ReadBack) -> RecoveryStep {
    let segment = read.segment;
    if read.last.is_none() {
        return RecoveryStep::Remove { segment };
    }
    debug_assert!(read.end > SEGMENT_HEADER_BYTES);
    let mut bytes = std::mem::take(&mut read.bytes);
    bytes.truncate(read.end);
    RecoveryStep::Replace { segment, bytes }
}
