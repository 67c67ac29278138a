//! Values of the pages' tree: a version byte, a CRC32C of what follows, then numbers (little endian)
//! and records. None of them grows with use.
//!
//! ```text
//! 0  1  version, 1          1  4  CRC32C of the rest          5  …  contents
//! ```

use crate::model::{Erasure, FirstSend, Header, MessageId, Seq, Tombstone, Wall};
use crate::node::journal::SealedMark;

use super::error::ValueError;

const VALUE_VERSION: u8 = 1;
pub const VALUE_HEADER_BYTES: usize = 5;

/// A value being written; the head is filled in at the end.
#[derive(Debug)]
pub struct ValueWriter(Vec<u8>);

impl Default for ValueWriter {
    fn default() -> Self {
        ValueWriter(vec![0; VALUE_HEADER_BYTES])
    }
}

impl ValueWriter {
    /// A value of about so many bytes, its head not counted.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut value = Vec::with_capacity(VALUE_HEADER_BYTES + bytes);
        value.resize(VALUE_HEADER_BYTES, 0);
        ValueWriter(value)
    }

    pub fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    pub fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn finish(mut self) -> Vec<u8> {
        let sum = crc32c::crc32c(&self.0[VALUE_HEADER_BYTES..]);
        self.0[0] = VALUE_VERSION;
        self.0[1..VALUE_HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        self.0
    }
}

/// A value being read; its checksum held.
#[derive(Debug, Clone, Copy)]
pub struct ValueReader<'a>(&'a [u8]);

impl<'a> ValueReader<'a> {
    pub fn new(value: &'a [u8]) -> Result<ValueReader<'a>, ValueError> {
        let (head, contents) =
            value.split_first_chunk::<VALUE_HEADER_BYTES>().ok_or(ValueError::Short)?;
        let [version, sum @ ..] = *head;
        if version != VALUE_VERSION {
            return Err(ValueError::Version(version));
        }
        if u32::from_le_bytes(sum) != crc32c::crc32c(contents) {
            return Err(ValueError::Checksum);
        }
        Ok(ValueReader(contents))
    }

    /// What stands inside a value, whose checksum held.
    pub fn inside(contents: &'a [u8]) -> ValueReader<'a> {
        ValueReader(contents)
    }

    pub fn u8(&mut self) -> Result<u8, ValueError> {
        self.take().map(|[byte]: [u8; 1]| byte)
    }

    pub fn u32(&mut self) -> Result<u32, ValueError> {
        self.take().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, ValueError> {
        self.take().map(u64::from_le_bytes)
    }

    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], ValueError> {
        let bytes = self.0.get(..length).ok_or(ValueError::Short)?;
        self.0 = &self.0[length..];
        Ok(bytes)
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(ValueError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }
}

pub fn write_header(header: &Header) -> Vec<u8> {
    ValueWriter::default()
        .u64(header.last_seq.0)
        .u64(header.last_message)
        .u64(header.messages)
        .u64(header.last_at.0)
        .finish()
}

pub fn read_header(value: &[u8]) -> Result<Header, ValueError> {
    let mut reader = ValueReader::new(value)?;
    Ok(Header {
        last_seq: Seq(reader.u64()?),
        last_message: reader.u64()?,
        messages: reader.u64()?,
        last_at: Wall(reader.u64()?),
    })
}

pub fn write_first_send(first: &FirstSend) -> Vec<u8> {
    ValueWriter::default()
        .u64(first.message.0)
        .u64(first.seq.0)
        .u64(first.created_at.0)
        .u64(first.content_hash)
        .finish()
}

pub fn read_first_send(value: &[u8]) -> Result<FirstSend, ValueError> {
    let mut reader = ValueReader::new(value)?;
    Ok(FirstSend {
        message: MessageId(reader.u64()?),
        seq: Seq(reader.u64()?),
        created_at: Wall(reader.u64()?),
        content_hash: reader.u64()?,
    })
}

pub fn write_sealed(sealed: &SealedMark) -> Vec<u8> {
    ValueWriter::default().u64(sealed.segment).u64(sealed.commit).u64(sealed.leased_to).finish()
}

pub fn read_sealed(value: &[u8]) -> Result<SealedMark, ValueError> {
    let mut reader = ValueReader::new(value)?;
    Ok(SealedMark { segment: reader.u64()?, commit: reader.u64()?, leased_to: reader.u64()? })
}

pub fn write_wall(at: Wall) -> Vec<u8> {
    ValueWriter::default().u64(at.0).finish()
}

pub fn read_wall(value: &[u8]) -> Result<Wall, ValueError> {
    ValueReader::new(value)?.u64().map(Wall)
}

/// Why the first part of a conversation is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Deleted,
    /// Older than what is kept.
    Retention,
}

/// Up to where a conversation is gone on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    pub why: Why,
    pub through: Tombstone,
}

pub fn write_gone(gone: &Gone) -> Vec<u8> {
    let Tombstone { at, last_seq, last_message } = gone.through;
    let why = match gone.why {
        Why::Deleted => 1,
        Why::Retention => 2,
    };
    ValueWriter::default().u8(why).u64(at.0).u64(last_seq.0).u64(last_message).finish()
}

pub fn read_gone(value: &[u8]) -> Result<Gone, ValueError> {
    let mut reader = ValueReader::new(value)?;
    let why = match reader.u8()? {
        1 => Why::Deleted,
        2 => Why::Retention,
        _ => return Err(ValueError::Content),
    };
    let (at, last_seq, last_message) = (Wall(reader.u64()?), Seq(reader.u64()?), reader.u64()?);
    Ok(Gone { why, through: Tombstone { at, last_seq, last_message } })
}

/// Text that pages or kept segments may still have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToErase {
    /// Of the whole conversation up to this seq; 0 for that of one message.
    pub through: Seq,
    pub since: Wall,
}

pub fn write_to_erase(text: &ToErase) -> Vec<u8> {
    ValueWriter::default().u64(text.through.0).u64(text.since.0).finish()
}

pub fn read_to_erase(value: &[u8]) -> Result<ToErase, ValueError> {
    let mut reader = ValueReader::new(value)?;
    Ok(ToErase { through: Seq(reader.u64()?), since: Wall(reader.u64()?) })
}

pub fn write_erasure(erasure: &Erasure) -> Vec<u8> {
    let writer = ValueWriter::default();
    match *erasure {
        Erasure::Running { begun_at } => writer.u8(1).u64(begun_at.0).finish(),
        Erasure::Done { begun_at, done_at, messages, reactions } => {
            writer.u8(2).u64(begun_at.0).u64(done_at.0).u64(messages).u64(reactions).finish()
        }
    }
}

pub fn read_erasure(value: &[u8]) -> Result<Erasure, ValueError> {
    let mut reader = ValueReader::new(value)?;
    let (stage, begun_at) = (reader.u8()?, Wall(reader.u64()?));
    match stage {
        1 => Ok(Erasure::Running { begun_at }),
        2 => {
            let (done_at, messages, reactions) =
                (Wall(reader.u64()?), reader.u64()?, reader.u64()?);
            Ok(Erasure::Done { begun_at, done_at, messages, reactions })
        }
        _ => Err(ValueError::Content),
    }
}

/// How many replies there are, counted up to a seq: replies up to it are never counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplyCount {
    pub count: u32,
    pub through: Seq,
}

pub fn write_reply_count(replies: ReplyCount) -> Vec<u8> {
    ValueWriter::default().u32(replies.count).u64(replies.through.0).finish()
}

pub fn read_reply_count(value: &[u8]) -> Result<ReplyCount, ValueError> {
    let mut reader = ValueReader::new(value)?;
    Ok(ReplyCount { count: reader.u32()?, through: Seq(reader.u64()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_a_short_value_and_another_version_are_errors() {
        let good = write_header(&Header { messages: 3, ..Header::default() });
        assert_eq!(read_header(&good).map(|header| header.messages), Ok(3));
        let check = |change: &dyn Fn(&mut Vec<u8>), expected: ValueError| {
            let mut value = good.clone();
            change(&mut value);
            assert_eq!(read_header(&value), Err(expected));
        };
        check(&|value| value[7] ^= 1, ValueError::Checksum);
        check(&|value| value[2] ^= 1, ValueError::Checksum);
        check(&|value| value[0] = 2, ValueError::Version(2));
        check(&|value| value.truncate(4), ValueError::Short);
        check(&|value| *value = ValueWriter::default().u64(1).finish(), ValueError::Short);
    }
}
