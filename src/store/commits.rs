//! Commits read back from the journal's files, by their number, while the log thread writes on. Nothing
//! here waits for it: whoever asks keeps below the watermark.
//!
//! A file may vanish or be replaced by a shorter copy at any moment, so no descriptor is kept and every
//! frame is checked; a place that is remembered is only where the search begins.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::node::journal::frame::{
    Claim, Commit, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader,
};

use super::error::StoreError;
use super::files::SegmentDirectory;

/// Places that are remembered.
const PLACES_MAX: usize = 1_024;
/// A frame is a quarter of a segment at most, and one record.
const FRAME_BYTES_MAX: u64 = 8 << 20;

/// Where a commit may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    segment: u64,
    offset: u64,
}

#[derive(Debug)]
pub struct Commits {
    segments: SegmentDirectory,
    /// The first commit of each segment that has one; it never changes.
    first: HashMap<u64, u64>,
    places: BTreeMap<u64, Place>,
}

/// A segment's file at a commit.
pub struct At {
    file: File,
    header: SegmentHeader,
    offset: u64,
    buffer: Vec<u8>,
}

impl Commits {
    pub fn new(segments: SegmentDirectory) -> Commits {
        Commits { segments, first: HashMap::new(), places: BTreeMap::new() }
    }

    /// Where this commit lies, or `None` when no file has it.
    pub fn find(&mut self, commit: u64) -> Result<Option<At>, StoreError> {
        if let Some(at) = self.remembered(commit)? {
            return Ok(Some(at));
        }
        let segments = self.segments.list().map_err(reading)?;
        let mut found = None;
        for segment in segments.into_iter().rev() {
            if self.first_of(segment)?.is_some_and(|first| first <= commit) {
                found = Some(segment);
                break;
            }
        }
        let Some(segment) = found else { return Ok(None) };
        let start = Place { segment, offset: SEGMENT_HEADER_BYTES as u64 };
        self.walk(start, commit)
    }

    /// The next time this commit is looked for, the search begins here.
    pub fn remember(&mut self, commit: u64, at: &At) {
        if self.places.len() >= PLACES_MAX {
            self.places.pop_first();
        }
        let place = Place { segment: at.header.segment, offset: at.offset };
        self.places.insert(commit, place);
    }

    fn remembered(&mut self, commit: u64) -> Result<Option<At>, StoreError> {
        let Some((&near, &place)) = self.places.range(..=commit).next_back() else {
            return Ok(None);
        };
        let at = self.walk(place, commit)?;
        if at.is_none() && near == commit {
            self.places.remove(&near);
        }
        Ok(at)
    }

    /// From a place on, over the heads of commits, to the one that is looked for.
    fn walk(&self, from: Place, commit: u64) -> Result<Option<At>, StoreError> {
        let Some(mut at) = self.open(from.segment)? else { return Ok(None) };
        at.offset = from.offset;
        loop {
            match at.claim().map_err(reading)? {
                Some(claim) if claim.commit < commit => at.offset += claim.frame_bytes,
                Some(claim) if claim.commit == commit => return Ok(Some(at)),
                _ => return Ok(None),
            }
        }
    }

    fn open(&self, segment: u64) -> Result<Option<At>, StoreError> {
        At::open(&self.segments.path_of(segment), segment)
    }

    fn first_of(&mut self, segment: u64) -> Result<Option<u64>, StoreError> {
        if let Some(&first) = self.first.get(&segment) {
            return Ok(Some(first));
        }
        let Some(mut at) = self.open(segment)? else { return Ok(None) };
        // Checked, because it is kept.
        let first = at.read()?.map(|commit| commit.head.commit);
        self.first.extend(first.map(|first| (segment, first)));
        Ok(first)
    }
}

impl At {
    /// The first commit of a file with this number.
    pub fn open(path: &Path, segment: u64) -> Result<Option<At>, StoreError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(reading(error)),
        };
        let mut header = [0; SEGMENT_HEADER_BYTES];
        if !read_whole(&file, &mut header, 0).map_err(reading)? {
            return Ok(None);
        }
        let offset = SEGMENT_HEADER_BYTES as u64;
        Ok(SegmentHeader::read(&header)
            .filter(|header| header.segment == segment)
            .map(|header| At { file, header, offset, buffer: Vec::new() }))
    }

    pub fn header(&self) -> SegmentHeader {
        self.header
    }

    fn claim(&self) -> io::Result<Option<Claim>> {
        let mut head = [0; FRAME_HEADER_BYTES];
        if !read_whole(&self.file, &mut head, self.offset)? {
            return Ok(None);
        }
        Ok(Claim::read(&head, self.header.segment).filter(|it| it.frame_bytes <= FRAME_BYTES_MAX))
    }

    /// The commit here, checked; `None` where the file has none.
    pub fn read(&mut self) -> Result<Option<Commit<'_>>, StoreError> {
        let Some(claim) = self.claim().map_err(reading)? else { return Ok(None) };
        self.buffer.resize(claim.frame_bytes as usize, 0);
        if !read_whole(&self.file, &mut self.buffer, self.offset).map_err(reading)? {
            return Ok(None);
        }
        Ok(Commit::read(&self.buffer, &self.header))
    }

    /// The commit that was read last, as it stands in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Goes behind a commit that was read.
    pub fn advance(&mut self) {
        self.offset += self.buffer.len() as u64;
    }
}

fn reading(source: io::Error) -> StoreError {
    StoreError::Io { what: "reading the journal", source }
}

/// `false` when the file ends before.
fn read_whole(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
