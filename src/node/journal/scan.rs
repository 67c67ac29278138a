//! Reads a whole segment: its commits from the first on, and what lies behind the last good one.
//!
//! A torn, zeroed or garbled tail is what a crash leaves and ends the segment quietly. A good commit
//! behind bad bytes is not: something that was durable is damaged, and is named instead of dropped.

use super::frame::{Commit, SEGMENT_HEADER_BYTES, SegmentHeader, next_magic};

/// What is wrong with a journal. `offset` is where in the segment's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("the header of segment {segment} does not hold")]
    Header { segment: u64 },
    #[error(
        "segment {segment} is damaged at byte {offset}: commit {expected} does not hold, but there \
         are commits behind it"
    )]
    Middle { segment: u64, offset: u64, expected: u64 },
    #[error("segment {segment} begins with commit {found}, but commit {expected} is due")]
    Gap { segment: u64, expected: u64, found: u64 },
    #[error(
        "segment {segment} is gone, and nothing tells whether the pages are complete: at least the \
         last sealed segment is always kept"
    )]
    Gone { segment: u64 },
    #[error("segment {segment}, commit {commit}: a record cannot be read")]
    Record { segment: u64, commit: u64 },
}

impl Damage {
    pub fn segment(self) -> u64 {
        match self {
            Damage::Header { segment }
            | Damage::Middle { segment, .. }
            | Damage::Gap { segment, .. }
            | Damage::Gone { segment }
            | Damage::Record { segment, .. } => segment,
        }
    }
}

/// Whether good commits behind bad bytes are damage, or what a power loss may leave: without a sync
/// per commit the kernel writes pages back in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// The last life synced each commit, or ended cleanly, or only its process died.
    Strict,
    /// It did not sync each commit and the machine went down: the first bad byte is the end.
    Loose,
}

/// A segment that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan<'a> {
    pub header: SegmentHeader,
    pub commits: Vec<Commit<'a>>,
    /// Length of header and good commits; what is behind says nothing.
    pub end: usize,
    /// The bytes behind `end` are not all zero: something was being written there.
    pub tail_is_dirty: bool,
}

/// Reads segment number `segment` from the bytes of its file.
pub fn scan(bytes: &[u8], segment: u64, tail: Tail) -> Result<Scan<'_>, Damage> {
    let header = SegmentHeader::read(bytes)
        .filter(|header| header.segment == segment)
        .ok_or(Damage::Header { segment })?;
    let mut commits: Vec<Commit<'_>> = Vec::new();
    let mut end = SEGMENT_HEADER_BYTES;
    while let Some(commit) = next_commit(&bytes[end..], &header, commits.last()) {
        end += commit.len_bytes();
        commits.push(commit);
    }
    let expected = commits.last().map_or(0, |last| last.head.commit.saturating_add(1));
    if tail == Tail::Strict && has_commit_behind(bytes, end, &header, expected) {
        return Err(Damage::Middle { segment, offset: end as u64, expected });
    }
    let tail_is_dirty = bytes[end..].iter().any(|&byte| byte != 0);
    Ok(Scan { header, commits, end, tail_is_dirty })
}

/// Every good commit that can be found in these bytes, in rising order, whatever lies between: what a
/// damaged segment still has. The header may be lost, so it is given.
pub fn salvage<'a>(bytes: &'a [u8], header: &SegmentHeader) -> Vec<Commit<'a>> {
    let mut commits: Vec<Commit<'_>> = Vec::new();
    let mut from = SEGMENT_HEADER_BYTES;
    while let Some(at) = next_magic(bytes, from) {
        let last = commits.last().map_or(0, |last| last.head.commit);
        match Commit::read(&bytes[at..], header).filter(|commit| commit.head.commit > last) {
            Some(commit) => {
                from = at + commit.len_bytes();
                commits.push(commit);
            }
            None => from = at + 1,
        }
    }
    commits
}

fn next_commit<'a>(
    bytes: &'a [u8],
    header: &SegmentHeader,
    last: Option<&Commit<'_>>,
) -> Option<Commit<'a>> {
    Commit::read(bytes, header).filter(|commit| {
        last.is_none_or(|last| last.head.commit.checked_add(1) == Some(commit.head.commit))
    })
}

fn has_commit_behind(bytes: &[u8], end: usize, header: &SegmentHeader, expected: u64) -> bool {
    let mut from = end;
    while let Some(at) = next_magic(bytes, from) {
        let found = Commit::read(&bytes[at..], header);
        if found.is_some_and(|commit| commit.head.commit >= expected) {
            return true;
        }
        from = at + 1;
    }
    false
}
