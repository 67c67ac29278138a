//! Keys of the pages' one tree. A byte says the kind; ids follow so that no id is a prefix of another
//! and keys sort as ids do.
//!
//! ```text
//! id      number: 0x00 and 8 bytes, big endian      text: 0x01, the text, 0x00
//! C conversation                       created          H conversation                     header
//! D conversation user                  member           U user conversation                the same, by user
//! W user                               profile          V user                             revoked before
//! P conversation first-seq             page             I conversation first-message       page of messages
//! E conversation message seq           an edit          X conversation message             the deletion
//! R conversation message emoji user    a reaction       N conversation parent              number of replies
//! Q conversation parent message        a reply          M conversation user                mark
//! K day conversation user client-id    first send       S segment                          its commits
//! T segment conversation               its seqs         Z                                  sealed so far
//! A conversation                       import           B number                           ids given
//! G conversation                       what is gone     Y conversation message             text to erase
//! O conversation                       days kept        F user                             how far it is erased
//! L user conversation                  there is a mark
//! ```
//! Numbers are big endian: 8 bytes, the day 4. Emoji and client ids have a length byte in front.

use crate::model::{ConversationId, IdRef, MessageId, Seq, UserId, Wall};

use super::error::ValueError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Created = b'C',
    Header = b'H',
    Member = b'D',
    Membership = b'U',
    Profile = b'W',
    Revoked = b'V',
    Page = b'P',
    MessagePage = b'I',
    Edit = b'E',
    Deletion = b'X',
    Reaction = b'R',
    ReplyCount = b'N',
    Reply = b'Q',
    Mark = b'M',
    Marked = b'L',
    FirstSend = b'K',
    Segment = b'S',
    SegmentSeqs = b'T',
    Sealed = b'Z',
    Import = b'A',
    GivenIds = b'B',
    Gone = b'G',
    ToErase = b'Y',
    Retention = b'O',
    Erasure = b'F',
}

const DAY_MS: u64 = 86_400_000;

/// Day since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub u32);

impl Day {
    pub fn of(at: Wall) -> Day {
        Day(u32::try_from(at.0 / DAY_MS).unwrap_or(u32::MAX))
    }

    pub fn before(self, days: u32) -> Day {
        Day(self.0.saturating_sub(days))
    }
}

/// A key under construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    pub fn new(kind: Kind) -> Key {
        let mut bytes = Vec::with_capacity(96);
        bytes.push(kind as u8);
        Key(bytes)
    }

    pub fn conversation(self, id: &ConversationId) -> Key {
        self.id(id.as_ref())
    }

    pub fn user(self, id: &UserId) -> Key {
        self.id(id.as_ref())
    }

    pub fn message(self, id: MessageId) -> Key {
        self.number(id.0)
    }

    pub fn seq(self, seq: Seq) -> Key {
        self.number(seq.0)
    }

    pub fn number(mut self, number: u64) -> Key {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub fn day(mut self, day: Day) -> Key {
        self.0.extend_from_slice(&day.0.to_be_bytes());
        self
    }

    /// At most 255 bytes: emoji and client ids are bounded by 64 where they come in.
    pub fn text(mut self, text: &str) -> Key {
        let bytes = &text.as_bytes()[..text.len().min(255)];
        self.0.push(bytes.len() as u8);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn id(mut self, id: IdRef<'_>) -> Key {
        match id {
            IdRef::Number(number) => {
                self.0.push(0);
                self.0.extend_from_slice(&number.to_be_bytes());
            }
            IdRef::Text(text) => {
                self.0.push(1);
                self.0.extend_from_slice(text.as_bytes());
                self.0.push(0);
            }
        }
        self
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Reads a key's parts one after the other.
#[derive(Debug, Clone, Copy)]
pub struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    pub fn new(key: &'a [u8], kind: Kind) -> Result<KeyReader<'a>, ValueError> {
        match key.split_first() {
            Some((&first, rest)) if first == kind as u8 => Ok(KeyReader(rest)),
            _ => Err(ValueError::Key),
        }
    }

    /// Reads behind a prefix that the key was found by.
    pub fn behind(key: &'a [u8], prefix: &Key) -> Result<KeyReader<'a>, ValueError> {
        key.strip_prefix(prefix.as_ref()).map(KeyReader).ok_or(ValueError::Key)
    }

    pub fn conversation(&mut self) -> Result<ConversationId, ValueError> {
        match self.id()? {
            IdRef::Number(number) => ConversationId::from_number(number),
            IdRef::Text(text) => ConversationId::parse(text),
        }
        .map_err(|_| ValueError::Key)
    }

    pub fn user(&mut self) -> Result<UserId, ValueError> {
        match self.id()? {
            IdRef::Number(number) => UserId::from_number(number),
            IdRef::Text(text) => UserId::parse(text),
        }
        .map_err(|_| ValueError::Key)
    }

    pub fn number(&mut self) -> Result<u64, ValueError> {
        let (number, rest) = self.0.split_first_chunk::<8>().ok_or(ValueError::Key)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*number))
    }

    pub fn day(&mut self) -> Result<Day, ValueError> {
        let (day, rest) = self.0.split_first_chunk::<4>().ok_or(ValueError::Key)?;
        self.0 = rest;
        Ok(Day(u32::from_be_bytes(*day)))
    }

    pub fn text(&mut self) -> Result<&'a str, ValueError> {
        let (&length, rest) = self.0.split_first().ok_or(ValueError::Key)?;
        let text = rest.get(..usize::from(length)).ok_or(ValueError::Key)?;
        self.0 = &rest[usize::from(length)..];
        std::str::from_utf8(text).map_err(|_| ValueError::Key)
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn id(&mut self) -> Result<IdRef<'a>, ValueError> {
        match self.0.split_first() {
            Some((0, rest)) => {
                self.0 = rest;
                self.number().map(IdRef::Number)
            }
            Some((1, rest)) => {
                let end = memchr::memchr(0, rest).ok_or(ValueError::Key)?;
                self.0 = &rest[end + 1..];
                std::str::from_utf8(&rest[..end]).map(IdRef::Text).map_err(|_| ValueError::Key)
            }
            _ => Err(ValueError::Key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_ids_do_and_read_back() {
        let ids: Vec<UserId> = ["0", "7", "256", "65536", "a", "a-b", "a.b", "ab", "b"]
            .iter()
            .map(|text| UserId::parse(text).unwrap())
            .collect();
        let mut sorted = ids.clone();
        sorted.sort();
        assert_eq!(ids, sorted);
        let keys: Vec<Key> =
            ids.iter().map(|id| Key::new(Kind::Profile).user(id).number(u64::MAX)).collect();
        assert!(keys.windows(2).all(|pair| pair[0].as_ref() < pair[1].as_ref()));
        for (id, key) in ids.iter().zip(&keys) {
            let mut reader = KeyReader::new(key.as_ref(), Kind::Profile).unwrap();
            assert_eq!(reader.user(), Ok(id.clone()));
            assert_eq!(reader.number(), Ok(u64::MAX));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_key_of_another_kind_or_length_is_an_error() {
        let check = |bytes: &[u8]| {
            let read = KeyReader::new(bytes, Kind::Page)
                .and_then(|mut reader| Ok((reader.conversation()?, reader.number()?)));
            assert_eq!(read.err(), Some(ValueError::Key), "{bytes:?}");
        };
        check(b"");
        check(b"Q");
        check(b"P");
        check(b"P\x00\x01");
        check(b"P\x01abc");
        check(b"P\x02abc\x00");
        check(b"P\x01a b\x0012345678");
        check(b"P\x01ab\x001234567");
    }
}
