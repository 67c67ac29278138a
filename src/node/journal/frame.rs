//! The journal's bytes: a segment file is a header and then commits, one frame each, without gaps.
//!
//! ```text
//! segment header, 32 bytes              commit frame, 48 bytes and the payload
//!  0  4  "LQS" and version 1             0  4  "LQC" and version 1
//!  4  4  epoch                           4  4  payload length
//!  8  8  segment number                  8  8  segment number
//! 16  8  salt                           16  8  commit number
//! 24  4  zero                           24  8  ids leased so far: all below this
//! 28  4  CRC32C of the 28 before        32  8  wall clock, ms
//!                                       40  4  records
//!                                       44  4  CRC32C of salt, the 44 before, payload
//! payload: per record a length of 4 bytes and the record (version byte, rkyv archive)
//! ```
//! All numbers are little endian. The salt is random, so no message text can pass for a frame; a
//! commit number never repeats and has no holes, across segments and lives of the server.

use crate::model::Wall;

use super::archive::Entry;
use super::record::{self, RecordError};

pub const SEGMENT_HEADER_BYTES: usize = 32;
pub const FRAME_HEADER_BYTES: usize = 48;
const RECORD_HEADER_BYTES: usize = 4;
const SEGMENT_MAGIC: [u8; 4] = *b"LQS\x01";
const FRAME_MAGIC: [u8; 4] = *b"LQC\x01";

/// What a segment's first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub segment: u64,
    pub epoch: u32,
    pub salt: u64,
}

impl SegmentHeader {
    pub fn to_bytes(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&SEGMENT_MAGIC);
        bytes[4..8].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.salt.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub fn read(bytes: &[u8]) -> Option<SegmentHeader> {
        let head = bytes.get(..SEGMENT_HEADER_BYTES)?;
        let holds = head[..4] == SEGMENT_MAGIC && u32_at(head, 28)? == crc32c::crc32c(&head[..28]);
        if !holds {
            return None;
        }
        Some(SegmentHeader {
            epoch: u32_at(head, 4)?,
            segment: u64_at(head, 8)?,
            salt: u64_at(head, 16)?,
        })
    }
}

/// What a frame says about its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitHead {
    pub segment: u64,
    pub commit: u64,
    /// Message ids below this belong to some lease, whether used or not.
    pub leased_to: u64,
    pub at: Wall,
}

/// A commit being gathered.
#[derive(Debug)]
pub struct FrameBuilder {
    bytes: Vec<u8>,
    records: u32,
}

impl Default for FrameBuilder {
    fn default() -> Self {
        FrameBuilder::reusing(Vec::new())
    }
}

impl FrameBuilder {
    /// A new frame in the memory of an old one.
    pub fn reusing(mut bytes: Vec<u8>) -> FrameBuilder {
        bytes.clear();
        bytes.resize(FRAME_HEADER_BYTES, 0);
        FrameBuilder { bytes, records: 0 }
    }

    pub fn push(&mut self, entry: &Entry<'_>) -> Result<(), RecordError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        record::encode(entry, &mut self.bytes)?;
        let length = (self.bytes.len() - start - RECORD_HEADER_BYTES) as u32;
        self.bytes[start..start + RECORD_HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        self.records += 1;
        Ok(())
    }

    /// A record that was read back, as it is.
    pub fn push_bytes(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(record);
        self.records += 1;
    }

    pub fn records(&self) -> u32 {
        self.records
    }

    /// Length of the frame as it is now, header included.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Fills in the header: the frame is ready to be written.
    pub fn finish(mut self, head: &CommitHead, salt: u64) -> Vec<u8> {
        let payload_bytes = (self.bytes.len() - FRAME_HEADER_BYTES) as u32;
        let bytes = &mut self.bytes;
        bytes[0..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&head.segment.to_le_bytes());
        bytes[16..24].copy_from_slice(&head.commit.to_le_bytes());
        bytes[24..32].copy_from_slice(&head.leased_to.to_le_bytes());
        bytes[32..40].copy_from_slice(&head.at.0.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.records.to_le_bytes());
        let sum = checksum(bytes, salt);
        bytes[44..48].copy_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

/// What the first bytes of a frame claim, before the rest was read and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Length of the whole frame.
    pub frame_bytes: u64,
    pub commit: u64,
}

impl Claim {
    pub fn read(header: &[u8], segment: u64) -> Option<Claim> {
        let header = header.get(..FRAME_HEADER_BYTES)?;
        if header[..4] != FRAME_MAGIC || u64_at(header, 8)? != segment {
            return None;
        }
        let frame_bytes = FRAME_HEADER_BYTES as u64 + u64::from(u32_at(header, 4)?);
        Some(Claim { frame_bytes, commit: u64_at(header, 16)? })
    }
}

/// A commit read back; its bytes passed the checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit<'a> {
    pub head: CommitHead,
    records: u32,
    payload: &'a [u8],
}

impl<'a> Commit<'a> {
    /// The whole commit of this segment at the start of `bytes`, or `None` where there is none.
    pub fn read(bytes: &'a [u8], segment: &SegmentHeader) -> Option<Commit<'a>> {
        let header = bytes.get(..FRAME_HEADER_BYTES)?;
        if header[..4] != FRAME_MAGIC || u64_at(header, 8)? != segment.segment {
            return None;
        }
        let end = FRAME_HEADER_BYTES.checked_add(u32_at(header, 4)? as usize)?;
        let frame = bytes.get(..end)?;
        if checksum(frame, segment.salt) != u32_at(header, 44)? {
            return None;
        }
        let head = CommitHead {
            segment: segment.segment,
            commit: u64_at(header, 16)?,
            leased_to: u64_at(header, 24)?,
            at: Wall(u64_at(header, 32)?),
        };
        Some(Commit { head, records: u32_at(header, 40)?, payload: &frame[FRAME_HEADER_BYTES..] })
    }

    /// Length of the frame in the file.
    pub fn len_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload.len()
    }

    pub fn record_count(&self) -> u32 {
        self.records
    }

    /// The records' bytes, in the order in which they were decided; ends early if the payload does
    /// not divide into records (then fewer than [`Commit::record_count`] come out).
    pub fn records(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.payload;
        std::iter::from_fn(move || {
            let length = u32_at(rest, 0)? as usize;
            let record = rest.get(RECORD_HEADER_BYTES..)?.get(..length)?;
            rest = &rest[RECORD_HEADER_BYTES + length..];
            Some(record)
        })
    }
}

fn checksum(frame: &[u8], salt: u64) -> u32 {
    let sum = crc32c::crc32c(&salt.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &frame[..44]);
    crc32c::crc32c_append(sum, &frame[FRAME_HEADER_BYTES..])
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Where the next frame's magic is at or behind `from`.
pub(super) fn next_magic(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(bytes.get(from..)?, &FRAME_MAGIC).map(|found| from + found)
}
