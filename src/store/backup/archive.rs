//! The form of a backup: frames with checksums that also know their place.
//!
//! | start | 16 bytes, little endian |
//! |---|---|
//! | 0 | `LQB` 0x02; 0x01 has no packed pages |
//! | 4 | u64 salt, random for each backup |
//! | 12 | u32 CRC32C of bytes 0–11 |
//!
//! | frame | 9 bytes, then the payload |
//! |---|---|
//! | 0 | u8 kind |
//! | 1 | u32 payload length |
//! | 5 | u32 CRC32C of salt, number of the frame (u64), bytes 0–4 and payload |
//!
//! Kinds: `h` head (JSON), `p` pairs (per pair u32 and u32 lengths, key, value), `s` segment and `i` import (u64
//! number; a file begins), `d` bytes of that file, `e` end: u64 pairs, u64 files, u64 bytes of files, u64 last commit.

use std::io::{self, Read};

use crate::limits::BACKUP_FRAME_BYTES_MAX;

use super::{FileName, Head};

const MAGIC: [u8; 4] = *b"LQB\x02";
const START_BYTES: usize = 16;
const FRAME_HEAD_BYTES: usize = 9;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("this is no backup of loquat")]
    NotOne,
    #[error("it was made by a newer version of loquat (form {0}): use that one")]
    Version(u8),
    #[error(
        "it ends in the middle, behind {bytes} bytes: it was cut short, and nothing can be restored from it"
    )]
    Cut { bytes: u64 },
    #[error("it was altered at about byte {bytes}: a checksum does not hold")]
    Altered { bytes: u64 },
    #[error("it does not hold what its end says: {what}")]
    Counts { what: &'static str },
    #[error("bytes follow behind its end")]
    TooLong,
    #[error("reading it: {0}")]
    Io(#[from] io::Error),
}

/// What a backup holds, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub pairs: u64,
    pub files: u64,
    pub file_bytes: u64,
    /// The last commit of the log that is in it.
    pub through: u64,
}

#[derive(Debug)]
pub enum Part<'a> {
    Head(Head),
    Pairs(Pairs<'a>),
    File(FileName),
    Data(&'a [u8]),
    End(Counts),
}

/// Writes frames.
#[derive(Debug)]
pub struct Framer {
    salt: u64,
    frames: u64,
}

impl Framer {
    /// The start is put into `out`.
    pub fn begin(salt: u64, out: &mut Vec<u8>) -> Framer {
        let from = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&salt.to_le_bytes());
        let sum = crc32c::crc32c(&out[from..]);
        out.extend_from_slice(&sum.to_le_bytes());
        Framer { salt, frames: 0 }
    }

    pub fn put(&mut self, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
        let mut head = [0; FRAME_HEAD_BYTES];
        head[0] = kind;
        head[1..5].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        let sum = checksum(self.salt, self.frames, &head[..5], payload);
        head[5..].copy_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(payload);
        self.frames += 1;
    }

    pub fn end(&mut self, counts: &Counts, out: &mut Vec<u8>) {
        let Counts { pairs, files, file_bytes, through } = *counts;
        let numbers = [pairs, files, file_bytes, through].map(u64::to_le_bytes);
        self.put(b'e', numbers.as_flattened(), out);
    }
}

/// Puts a pair into the payload of a frame.
pub fn push_pair(payload: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    payload.extend_from_slice(&(key.len() as u32).to_le_bytes());
    payload.extend_from_slice(&(value.len() as u32).to_le_bytes());
    payload.extend_from_slice(key);
    payload.extend_from_slice(value);
}

fn checksum(salt: u64, frame: u64, head: &[u8], payload: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&salt.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &frame.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(sum, head), payload)
}

/// The pairs of one frame.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (key_bytes, rest) = self.0.split_first_chunk()?;
        let (value_bytes, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_bytes) as usize)?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_bytes) as usize)?;
        self.0 = rest;
        Some((key, value))
    }
}

/// Reads a backup part by part and checks it on the way. Only when `End` came it is whole.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    salt: u64,
    frames: u64,
    bytes: u64,
    payload: Vec<u8>,
    counts: Counts,
    is_over: bool,
}

impl<R: Read> Reader<R> {
    pub fn new(mut from: R) -> Result<Reader<R>, ArchiveError> {
        let mut start = [0; START_BYTES];
        from.read_exact(&mut start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::NotOne,
            _ => error.into(),
        })?;
        if start[..3] != MAGIC[..3] {
            return Err(ArchiveError::NotOne);
        }
        if !(1..=MAGIC[3]).contains(&start[3]) {
            return Err(ArchiveError::Version(start[3]));
        }
        let [.., a, b, c, d] = start;
        if crc32c::crc32c(&start[..12]) != u32::from_le_bytes([a, b, c, d]) {
            return Err(ArchiveError::Altered { bytes: 0 });
        }
        let mut salt = [0; 8];
        salt.copy_from_slice(&start[4..12]);
        Ok(Reader {
            from,
            salt: u64::from_le_bytes(salt),
            frames: 0,
            bytes: START_BYTES as u64,
            payload: Vec::new(),
            counts: Counts::default(),
            is_over: false,
        })
    }

    /// Bytes that were read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The next part; `None` behind the end.
    pub fn part(&mut self) -> Result<Option<Part<'_>>, ArchiveError> {
        if self.is_over {
            return Ok(None);
        }
        let first = self.frames == 0;
        let kind = self.frame()?;
        let altered = ArchiveError::Altered { bytes: self.bytes };
        if first != (kind == b'h') {
            return Err(altered);
        }
        match kind {
            b'h' => serde_json::from_slice(&self.payload)
                .map(|head| Some(Part::Head(head)))
                .map_err(|_| altered),
            b'p' => {
                let pairs = Pairs(&self.payload);
                let found = pairs.map(|(key, value)| 8 + key.len() + value.len());
                let (count, bytes) = found.fold((0, 0), |(n, sum), bytes| (n + 1, sum + bytes));
                if bytes != self.payload.len() {
                    return Err(altered);
                }
                self.counts.pairs += count;
                Ok(Some(Part::Pairs(pairs)))
            }
            b's' | b'i' => {
                let number = u64::from_le_bytes(self.payload[..].try_into().map_err(|_| altered)?);
                self.counts.files += 1;
                let name = if kind == b's' { FileName::Segment } else { FileName::Import };
                Ok(Some(Part::File(name(number))))
            }
            b'd' if self.counts.files > 0 => {
                self.counts.file_bytes += self.payload.len() as u64;
                Ok(Some(Part::Data(&self.payload)))
            }
            b'e' => self.end().map(|counts| Some(Part::End(counts))),
            _ => Err(altered),
        }
    }

    /// Reads to the end, for the checksums only.
    pub fn check(mut self, mut watch: impl FnMut(u64, Counts)) -> Result<Counts, ArchiveError> {
        while self.part()?.is_some() {
            watch(self.bytes, self.counts);
        }
        Ok(self.counts)
    }

    fn frame(&mut self) -> Result<u8, ArchiveError> {
        let mut head = [0; FRAME_HEAD_BYTES];
        self.fill(&mut head)?;
        let [kind, l0, l1, l2, l3, s0, s1, s2, s3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let altered = ArchiveError::Altered { bytes: self.bytes };
        if length > BACKUP_FRAME_BYTES_MAX {
            return Err(altered);
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(length, 0);
        self.fill(&mut payload)?;
        self.payload = payload;
        let sum = checksum(self.salt, self.frames, &head[..5], &self.payload);
        if sum != u32::from_le_bytes([s0, s1, s2, s3]) {
            return Err(altered);
        }
        self.frames += 1;
        Ok(kind)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        match self.from.read_exact(bytes) {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ArchiveError::Cut { bytes: self.bytes })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn end(&mut self) -> Result<Counts, ArchiveError> {
        let mut numbers = self
            .payload
            .chunks_exact(8)
            .map(|number| number.iter().rev().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte)));
        let mut next = || numbers.next().unwrap_or_default();
        let said = Counts { pairs: next(), files: next(), file_bytes: next(), through: next() };
        self.counts.through = said.through;
        let found = self.counts;
        let wrong = [
            (said.pairs != found.pairs, "other values of pages"),
            (said.files != found.files, "other files"),
            (said.file_bytes != found.file_bytes, "other bytes of files"),
        ];
        if let Some((_, what)) = wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            return Err(ArchiveError::Counts { what });
        }
        if self.from.read(&mut [0])? > 0 {
            return Err(ArchiveError::TooLong);
        }
        self.is_over = true;
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            epoch: "9f3c61d2".to_owned(),
            taken_at_ms: 7,
            server: "0.1.0".to_owned(),
            sealed_segment: 1,
            sealed_commit: 2,
            leased_to: 3,
        }
    }

    fn backup(salt: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let mut framer = Framer::begin(salt, &mut out);
        framer.put(b'h', &serde_json::to_vec(&head()).unwrap(), &mut out);
        let mut pairs = Vec::new();
        push_pair(&mut pairs, b"key", b"value");
        push_pair(&mut pairs, b"other", b"");
        framer.put(b'p', &pairs, &mut out);
        framer.put(b's', &5u64.to_le_bytes(), &mut out);
        framer.put(b'd', b"some bytes", &mut out);
        framer.put(b'd', b"and more", &mut out);
        framer.end(&Counts { pairs: 2, files: 1, file_bytes: 18, through: 9 }, &mut out);
        out
    }

    fn check(bytes: &[u8]) -> Result<Counts, ArchiveError> {
        Reader::new(bytes)?.check(|_, _| {})
    }

    #[test]
    fn the_form_before_is_read_and_one_to_come_is_named() {
        let of_form = |form: u8| {
            let mut bytes = backup(1);
            bytes[3] = form;
            let sum = crc32c::crc32c(&bytes[..12]).to_le_bytes();
            bytes[12..16].copy_from_slice(&sum);
            check(&bytes)
        };
        assert_eq!(of_form(1).unwrap(), of_form(2).unwrap());
        for form in [0, 3, 255] {
            assert!(matches!(of_form(form), Err(ArchiveError::Version(named)) if named == form));
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = backup(1);
        let mut reader = Reader::new(&bytes[..]).unwrap();
        let mut seen = Vec::new();
        while let Some(part) = reader.part().unwrap() {
            seen.push(match part {
                Part::Head(found) => {
                    assert_eq!(found, head());
                    "head".to_owned()
                }
                Part::Pairs(pairs) => format!("{:?}", pairs.collect::<Vec<_>>().len()),
                Part::File(name) => format!("{name:?}"),
                Part::Data(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Part::End(counts) => format!("through {}", counts.through),
            });
        }
        assert_eq!(seen, ["head", "2", "Segment(5)", "some bytes", "and more", "through 9"]);
        assert_eq!(reader.bytes(), bytes.len() as u64);
    }

    #[test]
    fn cut_anywhere_it_is_none() {
        let bytes = backup(1);
        for end in 0..bytes.len() {
            let error = check(&bytes[..end]).unwrap_err();
            let is_named = matches!(error, ArchiveError::NotOne | ArchiveError::Cut { .. });
            assert!(is_named, "{end}: {error}");
        }
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is() {
        let bytes = backup(1);
        for at in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(check(&bytes).is_err(), "bit {at}");
        }
    }

    #[test]
    fn frames_that_were_moved_or_come_from_another_are_found() {
        let (one, other) = (backup(1), backup(2));
        let mixed = [&one[..START_BYTES + 20], &other[START_BYTES + 20..]].concat();
        assert!(matches!(check(&mixed), Err(ArchiveError::Altered { .. })));
        let longer = [&one[..], b"x"].concat();
        assert!(matches!(check(&longer), Err(ArchiveError::TooLong)));
        let data = FRAME_HEAD_BYTES + 10;
        let at = one.windows(10).position(|bytes| bytes == b"some bytes").unwrap();
        let without =
            [&one[..at - FRAME_HEAD_BYTES], &one[at - FRAME_HEAD_BYTES + data..]].concat();
        assert!(matches!(check(&without), Err(ArchiveError::Altered { .. })));
    }
}
