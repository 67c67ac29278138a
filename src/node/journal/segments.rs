//! Which segment takes commits, which is prepared ahead, and which wait for their pages.
//!
//! ```text
//! created aside → spare → current → ended → sealed (then kept or deleted by the page thread)
//! ```
//! Numbers rise and are never used twice.

use std::collections::VecDeque;

use crate::model::Mono;

use super::frame::SEGMENT_HEADER_BYTES;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spare {
    None,
    Creating(u64),
    Ready(u64),
}

/// The segment that takes commits.
#[derive(Debug, Clone, Copy)]
pub struct Current {
    pub segment: u64,
    /// Where the next frame goes.
    pub end: u64,
    pub first_commit_at: Option<Mono>,
}

#[derive(Debug)]
pub struct Segments {
    segment_bytes: u64,
    next: u64,
    current: Option<Current>,
    spare: Spare,
    ended: VecDeque<u64>,
}

impl Segments {
    pub fn new(segment_bytes: u64, next: u64) -> Segments {
        Segments { segment_bytes, next, current: None, spare: Spare::None, ended: VecDeque::new() }
    }

    pub fn current(&self) -> Option<&Current> {
        self.current.as_ref()
    }

    /// Bytes that are free in the current segment.
    pub fn room(&self) -> u64 {
        self.current.map_or(0, |current| self.segment_bytes - current.end)
    }

    /// Where a frame of this length goes, if the current segment has room.
    pub fn place(&self, frame_bytes: usize) -> Option<Current> {
        self.current.filter(|_| frame_bytes as u64 <= self.room())
    }

    pub fn took(&mut self, frame_bytes: usize, now: Mono) {
        if let Some(current) = &mut self.current {
            current.end += frame_bytes as u64;
            current.first_commit_at.get_or_insert(now);
        }
    }

    /// The current segment has commits and was begun so long ago.
    pub fn is_aged(&self, now: Mono, age_ms: u64) -> bool {
        self.begun_at().is_some_and(|begun| now.since(begun) >= age_ms)
    }

    pub fn begun_at(&self) -> Option<Mono> {
        self.current.and_then(|current| current.first_commit_at)
    }

    pub fn needs_spare(&self) -> bool {
        self.spare == Spare::None
    }

    pub fn has_spare(&self) -> bool {
        matches!(self.spare, Spare::Ready(_))
    }

    pub fn is_preparing(&self) -> bool {
        matches!(self.spare, Spare::Creating(_))
    }

    /// The number of the spare that is created now.
    pub fn begin_spare(&mut self) -> u64 {
        let segment = self.next;
        self.next += 1;
        self.spare = Spare::Creating(segment);
        segment
    }

    pub fn spare_created(&mut self, segment: u64) {
        if self.spare == Spare::Creating(segment) {
            self.spare = Spare::Ready(segment);
        }
    }

    pub fn spare_failed(&mut self, segment: u64) {
        if self.spare == Spare::Creating(segment) {
            self.spare = Spare::None;
        }
    }

    /// Makes the spare current, if there is no current segment and the spare is ready.
    pub fn open_spare(&mut self) -> bool {
        let Spare::Ready(segment) = self.spare else { return false };
        if self.current.is_some() {
            return false;
        }
        let end = SEGMENT_HEADER_BYTES as u64;
        self.current = Some(Current { segment, end, first_commit_at: None });
        self.spare = Spare::None;
        true
    }

    /// The current segment takes nothing more; its number, if it has commits.
    pub fn end_current(&mut self) -> Option<u64> {
        let segment = self.current.filter(|current| current.first_commit_at.is_some())?.segment;
        self.current = None;
        self.ended.push_back(segment);
        Some(segment)
    }

    pub fn sealed(&mut self, through: u64) {
        self.ended.retain(|&segment| segment > through);
    }

    /// Segments that wait for their pages.
    pub fn waiting(&self) -> usize {
        self.ended.len()
    }
}
