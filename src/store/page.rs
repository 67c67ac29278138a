//! A page: a run of one conversation's events, with the place that each has in the log.
//!
//! ```text
//! value head (5 bytes, see values)
//!  5  8  first seq            13  4  events; the highest bit: packed
//! if packed: 4 length of the rest when it is unpacked, then the rest as one LZ4 block
//! for each event: 8 commit, 4 place in it, 8 message id (0: no message), 4 length, the record
//! ```
//! Seqs are dense, so an event's place in the page says its seq. A page is at most [`PAGE_BYTES`] before it is
//! packed, unless a single event is larger: that one is below `PAGE_BYTES_MAX`. Records of a conversation
//! repeat its id and its members' names; sled writes what it is given several times, and packing it first is less work
//! for both (docs/decisions/0013-packed-pages.md).

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::limits::{PAGE_BYTES, PAGE_BYTES_MAX};
use crate::model::Seq;
#[cfg(test)]
use crate::model::{ConversationId, Event};

use super::error::ValueError;
use super::values::{VALUE_HEADER_BYTES, ValueReader, ValueWriter};

const PAGE_HEADER_BYTES: usize = VALUE_HEADER_BYTES + 12;
const ENTRY_HEADER_BYTES: usize = 24;
/// In the number of events: the entries are packed.
const PACKED: u32 = 1 << 31;
/// Packing must save this part at least.
const WORTH: usize = 8;

/// One event of a page: the record's bytes, and where the log had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageEntry<'a> {
    pub seq: Seq,
    pub commit: u64,
    pub place: u32,
    /// 0 for an event that is no message.
    pub message: u64,
    pub record: &'a [u8],
}

impl PageEntry<'_> {
    pub fn len_bytes(&self) -> usize {
        ENTRY_HEADER_BYTES + self.record.len()
    }
}

/// Cuts a run of events into pages.
pub fn split<'a, 'b>(entries: &'b [PageEntry<'a>]) -> impl Iterator<Item = &'b [PageEntry<'a>]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut bytes = PAGE_HEADER_BYTES;
        let mut length = 0;
        for entry in rest {
            bytes += entry.len_bytes();
            if length > 0 && bytes > PAGE_BYTES {
                break;
            }
            length += 1;
        }
        let (page, behind) = rest.split_at(length);
        rest = behind;
        Some(page)
    })
}

/// Entries of consecutive seqs as one value.
pub fn write(entries: &[PageEntry<'_>]) -> Vec<u8> {
    let first = entries.first().map_or(0, |entry| entry.seq.0);
    let mut body = Vec::with_capacity(entries.iter().map(PageEntry::len_bytes).sum());
    for entry in entries {
        body.extend_from_slice(&entry.commit.to_le_bytes());
        body.extend_from_slice(&entry.place.to_le_bytes());
        body.extend_from_slice(&entry.message.to_le_bytes());
        body.extend_from_slice(&(entry.record.len() as u32).to_le_bytes());
        body.extend_from_slice(entry.record);
    }
    let count = entries.len() as u32;
    let packed = lz4_flex::block::compress(&body);
    let worth = body.len() - body.len() / WORTH;
    if packed.len() < worth && body.len() <= PAGE_BYTES_MAX {
        let head = ValueWriter::with_capacity(PAGE_HEADER_BYTES + packed.len());
        return head.u64(first).u32(count | PACKED).u32(body.len() as u32).bytes(&packed).finish();
    }
    let head = ValueWriter::with_capacity(PAGE_HEADER_BYTES + body.len());
    head.u64(first).u32(count).bytes(&body).finish()
}

/// A page whose entries can be read: its checksum held, and it is unpacked.
#[derive(Debug)]
pub struct Page<'a> {
    first: u64,
    count: u32,
    body: Cow<'a, [u8]>,
}

/// An error if the value is none of [`write`].
pub fn open(value: &[u8]) -> Result<Page<'_>, ValueError> {
    let mut reader = ValueReader::new(value)?;
    let (first, count) = (reader.u64()?, reader.u32()?);
    if count & PACKED == 0 {
        return Ok(Page { first, count, body: Cow::Borrowed(reader.rest()) });
    }
    let body_bytes = reader.u32()? as usize;
    if body_bytes > PAGE_BYTES_MAX {
        return Err(ValueError::Content);
    }
    let mut body = vec![0; body_bytes];
    match lz4_flex::block::decompress_into(reader.rest(), &mut body) {
        Ok(bytes) if bytes == body_bytes => {
            Ok(Page { first, count: count & !PACKED, body: Cow::Owned(body) })
        }
        _ => Err(ValueError::Content),
    }
}

impl<'a> Page<'a> {
    /// The entries' bytes.
    pub fn into_body(self) -> Cow<'a, [u8]> {
        self.body
    }

    pub fn into_owned(self) -> Page<'static> {
        Page { body: Cow::Owned(self.body.into_owned()), ..self }
    }

    pub fn seqs(&self) -> RangeInclusive<Seq> {
        let behind = u64::from(self.count).saturating_sub(1);
        Seq(self.first)..=Seq(self.first.saturating_add(behind))
    }

    /// The entries; an error if the page stops making sense before its end.
    pub fn entries(&self) -> Result<Vec<PageEntry<'_>>, ValueError> {
        let mut reader = ValueReader::inside(&self.body);
        let count_max = self.body.len() / ENTRY_HEADER_BYTES;
        let mut entries = Vec::with_capacity((self.count as usize).min(count_max));
        for place_in_page in 0..u64::from(self.count) {
            let commit = reader.u64()?;
            let place = reader.u32()?;
            let message = reader.u64()?;
            let length = reader.u32()? as usize;
            let record = reader.bytes(length)?;
            let seq = Seq(self.first.checked_add(place_in_page).ok_or(ValueError::Content)?);
            entries.push(PageEntry { seq, commit, place, message, record });
        }
        if reader.is_empty() { Ok(entries) } else { Err(ValueError::Content) }
    }
}

/// The last seq of a page.
pub fn last_seq(value: &[u8]) -> Result<Seq, ValueError> {
    let mut reader = ValueReader::new(value)?;
    let (first, count) = (reader.u64()?, u64::from(reader.u32()? & !PACKED));
    Ok(Seq(first.saturating_add(count.saturating_sub(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PAGE_BYTES_MAX;
    use crate::model::{EventBody, MessageBody, MessageId, Profile, UserId, Wall};
    use crate::node::journal::record;
    use crate::node::ports::Record;
    use std::sync::Arc;

    fn event(seq: u64, content: &str) -> Vec<u8> {
        let body = MessageBody {
            id: MessageId(seq),
            ordinal: seq - 1,
            sender: Profile::nameless(UserId::from_number(1).unwrap()).into(),
            content: content.to_owned(),
            parent: None,
            client_msg_id: None,
        };
        let event = Event { seq: Seq(seq), at: Wall(1), body: EventBody::Message(body) };
        let conversation = ConversationId::from_number(7).unwrap();
        record::to_bytes(&Record::Event { conversation, event: Arc::new(event) }).unwrap()
    }

    fn entries_of(records: &[Vec<u8>]) -> Vec<PageEntry<'_>> {
        let numbered = records.iter().zip(1..);
        numbered
            .map(|(record, seq)| PageEntry {
                seq: Seq(seq),
                commit: 9,
                place: 0,
                message: seq,
                record,
            })
            .collect()
    }

    #[test]
    fn the_longest_content_fits_and_pages_are_cut_below_their_bound() {
        let longest = "𝄞".repeat(10_000);
        let records: Vec<Vec<u8>> =
            (1..=5).map(|seq| event(seq, if seq % 2 == 0 { "short" } else { &longest })).collect();
        let entries = entries_of(&records);
        let pages: Vec<Vec<u8>> = split(&entries).map(write).collect();
        assert_eq!(pages.len(), 5);
        assert!(pages.iter().all(|page| page.len() <= PAGE_BYTES_MAX));
        let opened: Vec<Page<'_>> = pages.iter().map(|page| open(page).unwrap()).collect();
        let read_back: Vec<PageEntry> =
            opened.iter().flat_map(|page| page.entries().unwrap()).collect();
        assert_eq!(read_back, entries);
    }

    /// Bytes of the entries, packed or not.
    fn body_bytes(value: &[u8]) -> usize {
        PAGE_HEADER_BYTES + open(value).unwrap().body.len()
    }

    #[test]
    fn several_events_make_pages_of_a_common_length() {
        let records: Vec<Vec<u8>> = (1..=900).map(|seq| event(seq, "hello")).collect();
        let entries = entries_of(&records);
        let pages: Vec<Vec<u8>> = split(&entries).map(write).collect();
        let lengths: Vec<usize> = pages.iter().map(|page| body_bytes(page)).collect();
        let entry_bytes = ENTRY_HEADER_BYTES + records[0].len();
        let (last, full) = lengths.split_last().unwrap();
        assert!(full.len() > 2 && *last <= PAGE_BYTES);
        assert!(full.iter().all(|&bytes| bytes <= PAGE_BYTES && bytes + entry_bytes > PAGE_BYTES));
        assert!(pages.iter().all(|page| page.len() < PAGE_BYTES / 3), "records of one sender");
        let second = open(&pages[1]).unwrap();
        let (first, last) = (second.entries().unwrap()[0].seq, last_seq(&pages[1]).unwrap());
        assert_eq!(second.seqs(), first..=last);
        assert_eq!(open(&pages[2]).unwrap().seqs().start(), &last.next());
    }

    /// Bytes without any order.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        (0..length).map(next).collect()
    }

    #[test]
    fn what_packing_does_not_shorten_stays_as_it_is() {
        let record = noise(1_000);
        let entry = PageEntry { seq: Seq(1), commit: 1, place: 0, message: 1, record: &record };
        let page = write(&[entry]);
        assert_eq!(page.len(), PAGE_HEADER_BYTES + entry.len_bytes());
        let opened = open(&page).unwrap();
        assert_eq!(opened.entries().unwrap(), [entry]);
        assert!(matches!(opened.body, Cow::Borrowed(_)));
    }

    /// Whose checksum holds: somebody else wrote it.
    #[test]
    fn a_packed_page_says_its_length_and_it_is_bounded() {
        let packed = lz4_flex::block::compress(&[0; 1_000]);
        let page = |count: u32, length: u32, packed: &[u8]| {
            ValueWriter::default().u64(1).u32(count).u32(length).bytes(packed).finish()
        };
        assert!(open(&page(PACKED | 1, 1_000, &packed)).is_ok());
        for length in [0, 999, 1_001, PAGE_BYTES_MAX as u32 + 1, u32::MAX] {
            let page = page(PACKED | 1, length, &packed);
            assert_eq!(open(&page).err(), Some(ValueError::Content), "{length}");
        }
        let cut = page(PACKED | 1, 1_000, &packed[..packed.len() - 1]);
        assert_eq!(open(&cut).err(), Some(ValueError::Content));
        let short = page(PACKED | 42, 1_000, &packed);
        assert!(open(&short).unwrap().entries().is_err(), "42 heads are longer");
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let records: Vec<Vec<u8>> = (1..=9).map(|seq| event(seq, "hello")).collect();
        for entries in [&entries_of(&records)[..], &entries_of(&records)[..1]] {
            let page = write(entries);
            for bit in 0..page.len() * 8 {
                let mut flipped = page.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&flipped).is_err(), "bit {bit}");
            }
        }
    }
}
