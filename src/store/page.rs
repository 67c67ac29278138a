//! A page: a run of one conversation's events, with the place that each has in the log.
//!
//! ```text
//! value head (5 bytes, see values)
//!  5  8  first seq            13  4  events
//! then for each event: 8 commit, 4 place in it, 8 message id (0: no message), 4 length, the record
//! ```
//! Seqs are dense, so an event's place in the page says its seq. A page is at most [`PAGE_BYTES`],
//! unless a single event is larger: that one is below `PAGE_BYTES_MAX`.

use crate::limits::PAGE_BYTES;
use crate::model::Seq;
#[cfg(test)]
use crate::model::{ConversationId, Event};

use super::error::ValueError;
use super::values::{VALUE_HEADER_BYTES, ValueReader, ValueWriter};

const PAGE_HEADER_BYTES: usize = VALUE_HEADER_BYTES + 12;
const ENTRY_HEADER_BYTES: usize = 24;

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
    let bytes = entries.iter().map(PageEntry::len_bytes).sum::<usize>() + PAGE_HEADER_BYTES;
    let head = ValueWriter::with_capacity(bytes).u64(first).u32(entries.len() as u32);
    let page = entries.iter().fold(head, |page, entry| {
        page.u64(entry.commit)
            .u32(entry.place)
            .u64(entry.message)
            .u32(entry.record.len() as u32)
            .bytes(entry.record)
    });
    page.finish()
}

/// Reads a page's entries; an error stands where the page stops making sense.
pub fn read(value: &[u8]) -> Result<Vec<PageEntry<'_>>, ValueError> {
    let mut reader = ValueReader::new(value)?;
    let first = reader.u64()?;
    let count = reader.u32()?;
    let mut entries = Vec::with_capacity((count as usize).min(value.len() / ENTRY_HEADER_BYTES));
    for place_in_page in 0..u64::from(count) {
        let commit = reader.u64()?;
        let place = reader.u32()?;
        let message = reader.u64()?;
        let length = reader.u32()? as usize;
        let record = reader.bytes(length)?;
        let seq = Seq(first.checked_add(place_in_page).ok_or(ValueError::Content)?);
        entries.push(PageEntry { seq, commit, place, message, record });
    }
    if reader.is_empty() { Ok(entries) } else { Err(ValueError::Content) }
}

/// The first seq of a page.
pub fn first_seq(value: &[u8]) -> Result<Seq, ValueError> {
    ValueReader::new(value)?.u64().map(Seq)
}

/// The last seq of a page.
pub fn last_seq(value: &[u8]) -> Result<Seq, ValueError> {
    let mut reader = ValueReader::new(value)?;
    let (first, count) = (reader.u64()?, u64::from(reader.u32()?));
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
        let read_back: Vec<PageEntry> = pages.iter().flat_map(|page| read(page).unwrap()).collect();
        assert_eq!(read_back, entries);
    }

    #[test]
    fn several_events_make_pages_of_a_common_length() {
        let records: Vec<Vec<u8>> = (1..=900).map(|seq| event(seq, "hello")).collect();
        let entries = entries_of(&records);
        let lengths: Vec<usize> = split(&entries).map(|page| write(page).len()).collect();
        let entry_bytes = ENTRY_HEADER_BYTES + records[0].len();
        let (last, full) = lengths.split_last().unwrap();
        assert!(full.len() > 2 && *last <= PAGE_BYTES);
        assert!(full.iter().all(|&bytes| bytes <= PAGE_BYTES && bytes + entry_bytes > PAGE_BYTES));
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let record = event(1, "hello");
        let entry = PageEntry { seq: Seq(1), commit: 1, place: 0, message: 1, record: &record };
        let page = write(&[entry]);
        for bit in 0..page.len() * 8 {
            let mut flipped = page.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped).is_err(), "bit {bit}");
        }
    }
}
