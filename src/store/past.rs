//! Reads of the past, a page at a time: events for a replay, messages, replies, edits, marks. None of
//! them reads more than a page of it, however long the conversation is.
//!
//! While a segment is being built its facts come before its pages. What is found of it then is left
//! out or newer than the rest; all of it is in memory, which is laid over what is read here.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits::{HISTORY_BYTES_MAX, HISTORY_MESSAGES_MAX, MARKS_SHOWN_MAX};
use crate::model::{
    ConversationId, Edited, EditsQuery, Event, EventBody, HistoryQuery, Mark, MessageId,
    MessageState, ReadersQuery, RepliesQuery, Seq, StandingQuery, StoredEdits, StoredMarks,
    StoredPage, StoredStanding,
};

use super::error::{StoreError, ValueError};
use super::keys::{Key, KeyReader, Kind};
use super::page::{self, PageEntry};
use super::pages::guarded;
use super::read::{ReadHandle, event_of, mark_of};
use super::values::ValueReader;

/// Takes messages until there are enough, or until they are long enough together.
struct Taken {
    states: Vec<MessageState>,
    count_max: usize,
    bytes: usize,
    bytes_max: usize,
    is_cut: bool,
}

impl Taken {
    fn new(count_max: usize, bytes_max: usize) -> Taken {
        Taken { states: Vec::new(), count_max, bytes: 0, bytes_max, is_cut: false }
    }

    fn is_full(&self) -> bool {
        self.is_cut || self.states.len() >= self.count_max
    }

    /// How many more may be wanted.
    fn room(&self) -> usize {
        self.count_max.saturating_sub(self.states.len())
    }

    fn take(&mut self, state: MessageState) {
        self.bytes += state.weight();
        self.states.push(state);
        self.is_cut = self.bytes >= self.bytes_max;
    }

    /// Something lies behind what was taken, or may.
    fn has_rest(&self) -> bool {
        self.is_full()
    }
}

impl ReadHandle {
    /// Events behind `after`, oldest first and without holes, until they are about `bytes_max` of
    /// records. None when the first of them is gone. The texts of deleted messages are empty.
    pub fn events(
        &self,
        conversation: &ConversationId,
        after: Seq,
        bytes_max: usize,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        let tombstone = self.overlay().tombstone(conversation);
        if tombstone.is_some_and(|tombstone| after < tombstone.last_seq) {
            return Ok(Vec::new());
        }
        guarded(|| {
            let prefix = Key::new(Kind::Page).conversation(conversation);
            let mut next = Seq(after.0.saturating_add(1));
            let from = match self.pages().at_or_below(&prefix, &prefix.clone().seq(next))? {
                Some((key, _)) => {
                    prefix.clone().number(KeyReader::behind(&key, &prefix)?.number()?)
                }
                None => return Ok(Vec::new()),
            };
            let mut deleted = HashMap::new();
            let mut events = Vec::new();
            let mut bytes = 0;
            for pair in self.pages().scan_from(&prefix, &from) {
                let (_, value) = pair?;
                let page = page::open(&value)?;
                for entry in page.entries()?.iter().filter(|entry| entry.seq > after) {
                    if bytes >= bytes_max || entry.seq != next {
                        return Ok(events);
                    }
                    bytes += entry.record.len();
                    let event = event_of(entry.record)?;
                    events.push(Arc::new(self.as_told(conversation, event, &mut deleted)?));
                    next = next.next();
                }
            }
            Ok(events)
        })
    }

    /// The event without its text, if its message was deleted since.
    fn as_told(
        &self,
        conversation: &ConversationId,
        mut event: Event,
        deleted: &mut HashMap<MessageId, bool>,
    ) -> Result<Event, StoreError> {
        let (message, content) = match &mut event.body {
            EventBody::Message(body) => (body.id, &mut body.content),
            EventBody::Edit { message, content, .. } => (*message, content),
            EventBody::Delete { .. } | EventBody::Reaction { .. } => return Ok(event),
        };
        let is_deleted = match deleted.get(&message) {
            Some(&known) => known,
            None => {
                let found = self.is_deleted(conversation, message)?;
                deleted.insert(message, found);
                found
            }
        };
        if is_deleted {
            content.clear();
        }
        Ok(event)
    }

    /// Whether pages say that the message was deleted.
    pub(super) fn is_deleted(
        &self,
        conversation: &ConversationId,
        message: MessageId,
    ) -> Result<bool, StoreError> {
        let key = Key::new(Kind::Deletion).conversation(conversation).message(message);
        Ok(self.pages().get(&key)?.is_some())
    }

    /// A page of messages: on each side one more than was asked for, if there is one.
    pub fn messages(
        &self,
        conversation: &ConversationId,
        query: HistoryQuery,
    ) -> Result<StoredPage, StoreError> {
        guarded(|| {
            let limit = query.limit.min(HISTORY_MESSAGES_MAX);
            let sides = HistoryQuery { limit, ..query }.sides();
            let mut page = StoredPage {
                covers_from: MessageId(sides.pivot.0.saturating_add(1)),
                covers_to: sides.pivot,
                marks: self.marks(conversation, MARKS_SHOWN_MAX)?,
                ..StoredPage::default()
            };
            if sides.older > 0 {
                let mut older = Taken::new(sides.older + 1, HISTORY_BYTES_MAX);
                self.take_older(conversation, sides.pivot, &mut older)?;
                older.states.reverse();
                let first = older.states.first().filter(|_| older.has_rest());
                page.covers_from = first.map_or(MessageId(0), |state| state.id);
                page.messages = older.states;
            }
            if sides.newer > 0 {
                let mut newer = Taken::new(sides.newer + 1, HISTORY_BYTES_MAX);
                self.take_newer(conversation, sides.pivot, &mut newer)?;
                let last = newer.states.last().filter(|_| newer.has_rest());
                page.covers_to = last.map_or(MessageId(u64::MAX), |state| state.id);
                page.messages.extend(newer.states);
            }
            Ok(page)
        })
    }

    /// The last `n` messages, oldest first.
    pub(super) fn recent(
        &self,
        conversation: &ConversationId,
        n: usize,
    ) -> Result<Vec<MessageState>, StoreError> {
        let mut newest_first = Taken::new(n, usize::MAX);
        self.take_older(conversation, MessageId(u64::MAX), &mut newest_first)?;
        newest_first.states.reverse();
        Ok(newest_first.states)
    }

    /// Messages up to `pivot`, newest first.
    fn take_older(
        &self,
        conversation: &ConversationId,
        pivot: MessageId,
        taken: &mut Taken,
    ) -> Result<(), StoreError> {
        let gone = self.gone_message(conversation);
        let prefix = Key::new(Kind::MessagePage).conversation(conversation);
        let to = prefix.clone().message(pivot);
        for pair in self.pages().scan_back(&prefix, &to) {
            if taken.is_full() {
                break;
            }
            let (_, value) = pair?;
            let Some(page) = self.page_of(conversation, &value)? else { continue };
            let page = page::open(&page)?;
            let entries = page.entries()?;
            let older = entries.iter().rev().filter(|entry| entry.message > gone);
            let older = older.filter(|entry| entry.message <= pivot.0);
            self.take(conversation, older.take(taken.room()).collect(), taken)?;
        }
        Ok(())
    }

    /// Messages behind `pivot`, oldest first.
    fn take_newer(
        &self,
        conversation: &ConversationId,
        pivot: MessageId,
        taken: &mut Taken,
    ) -> Result<(), StoreError> {
        let pivot = MessageId(pivot.0.max(self.gone_message(conversation)));
        let prefix = Key::new(Kind::MessagePage).conversation(conversation);
        let at = prefix.clone().message(pivot);
        // The pivot's own page may have newer ones, too.
        let from = match self.pages().at_or_below(&prefix, &at)? {
            Some((key, _)) => prefix.clone().number(KeyReader::behind(&key, &prefix)?.number()?),
            None => at,
        };
        for pair in self.pages().scan_from(&prefix, &from) {
            if taken.is_full() {
                break;
            }
            let (_, value) = pair?;
            let Some(page) = self.page_of(conversation, &value)? else { continue };
            let page = page::open(&page)?;
            let entries = page.entries()?;
            let newer = entries.iter().filter(|entry| entry.message > pivot.0);
            self.take(conversation, newer.take(taken.room()).collect(), taken)?;
        }
        Ok(())
    }

    /// As many of these messages of one page as there is room for.
    fn take(
        &self,
        conversation: &ConversationId,
        entries: Vec<&PageEntry<'_>>,
        taken: &mut Taken,
    ) -> Result<(), StoreError> {
        let touched = self.touched(conversation, entries.iter().copied())?;
        for entry in entries {
            if !taken.is_full() {
                taken.take(self.folded(conversation, entry, &touched)?);
            }
        }
        Ok(())
    }

    /// The page that an entry of the messages' index names; none while it is being built.
    fn page_of(
        &self,
        conversation: &ConversationId,
        index: &[u8],
    ) -> Result<Option<sled::IVec>, StoreError> {
        let first_seq = Seq(ValueReader::new(index)?.u64()?);
        self.pages().get(&Key::new(Kind::Page).conversation(conversation).seq(first_seq))
    }

    /// A page of a message's replies, one more than was asked for, if there is one.
    pub fn replies(
        &self,
        conversation: &ConversationId,
        query: RepliesQuery,
    ) -> Result<StoredPage, StoreError> {
        guarded(|| {
            let limit = query.limit.min(HISTORY_MESSAGES_MAX) as usize;
            let mut taken = Taken::new(limit + 1, HISTORY_BYTES_MAX);
            let prefix = Key::new(Kind::Reply).conversation(conversation).message(query.parent);
            let behind = MessageId(query.after.0.saturating_add(1));
            for pair in self.pages().scan_from(&prefix, &prefix.clone().message(behind)) {
                if taken.is_full() {
                    break;
                }
                let (key, _) = pair?;
                let reply = MessageId(KeyReader::behind(&key, &prefix)?.number()?);
                if let Some(state) = self.message(conversation, reply)? {
                    taken.take(state);
                }
            }
            let last = taken.states.last().filter(|_| taken.has_rest());
            Ok(StoredPage {
                covers_from: behind,
                covers_to: last.map_or(MessageId(u64::MAX), |state| state.id),
                messages: taken.states,
                has_parent: self.message(conversation, query.parent)?.is_some(),
                marks: self.marks(conversation, MARKS_SHOWN_MAX)?,
            })
        })
    }

    /// A page of a message's contents, one more than was asked for, if there is one.
    pub fn edits(
        &self,
        conversation: &ConversationId,
        query: EditsQuery,
    ) -> Result<StoredEdits, StoreError> {
        guarded(|| {
            let EditsQuery { message, after, limit } = query;
            let is_deleted = self.is_deleted(conversation, message)?;
            let Some(original) = self.original(conversation, message)? else {
                return Ok(StoredEdits { is_deleted, ..StoredEdits::default() });
            };
            let prefix = Key::new(Kind::Edit).conversation(conversation).message(message);
            let newest = prefix.clone().seq(Seq(u64::MAX));
            let last = match self.pages().at_or_below(&prefix, &newest)? {
                Some((_, value)) => edit_of(&value)?,
                None => original.clone(),
            };
            let behind = prefix.clone().number(after.0.saturating_add(1));
            let edits = self.pages().scan_from(&prefix, &behind).map(|pair| edit_of(&pair?.1));
            let first = (original.seq > after).then_some(Ok(original));
            let mut found = StoredEdits {
                is_known: true,
                is_deleted,
                last_number: last.number,
                last_seq: last.seq,
                ..StoredEdits::default()
            };
            let mut bytes = 0;
            for edit in first.into_iter().chain(edits).take(limit as usize + 1) {
                let edit = edit?;
                bytes += edit.content.len();
                found.edits.push(edit);
                found.is_cut = bytes >= HISTORY_BYTES_MAX;
                if found.is_cut {
                    break;
                }
            }
            Ok(found)
        })
    }

    /// A message's first content, as its sender wrote it.
    fn original(
        &self,
        conversation: &ConversationId,
        message: MessageId,
    ) -> Result<Option<Edited>, StoreError> {
        let Some(event) = self.message_event(conversation, message)? else { return Ok(None) };
        let EventBody::Message(body) = event.body else { return Err(ValueError::Content.into()) };
        let (by, content) = (body.sender.id.clone(), body.content);
        Ok(Some(Edited { number: 0, seq: event.seq, by, at: event.at, content }))
    }

    /// The first marks in order of the users' ids, and how many there are, counted up to a bound.
    pub fn marks(
        &self,
        conversation: &ConversationId,
        counted_max: u32,
    ) -> Result<StoredMarks, StoreError> {
        let prefix = Key::new(Kind::Mark).conversation(conversation);
        let gone = self.gone_message(conversation);
        let mut found = StoredMarks::default();
        for pair in self.pages().scan(&prefix) {
            if found.count >= counted_max {
                break;
            }
            let (_, value) = pair?;
            // All marks are looked at only until the pages of a deletion are built.
            if gone > 0 && mark_of(&value)?.message.0 <= gone {
                continue;
            }
            if found.count < MARKS_SHOWN_MAX {
                found.marks.push(mark_of(&value)?);
            }
            found.count += 1;
        }
        Ok(found)
    }

    /// Where the user stands, and how far others have read.
    pub fn standing(
        &self,
        conversation: &ConversationId,
        query: &StandingQuery,
    ) -> Result<StoredStanding, StoreError> {
        guarded(|| {
            let mark = match &query.user {
                Some(user) => self.mark(conversation, user)?,
                None => None,
            };
            Ok(StoredStanding {
                last_message: self.recent(conversation, 1)?.pop(),
                mark,
                readers: self.readers(conversation, &query.readers)?,
            })
        })
    }

    fn readers(
        &self,
        conversation: &ConversationId,
        query: &ReadersQuery,
    ) -> Result<Vec<Mark>, StoreError> {
        match query {
            ReadersQuery::Nobody => Ok(Vec::new()),
            ReadersQuery::These(users) => {
                users.iter().filter_map(|user| self.mark(conversation, user).transpose()).collect()
            }
            ReadersQuery::Behind { after, limit } => {
                let prefix = Key::new(Kind::Mark).conversation(conversation);
                let from = match after {
                    Some(user) => prefix.clone().user(user),
                    None => prefix.clone(),
                };
                let marks = self.pages().scan_from(&prefix, &from).map(|pair| mark_of(&pair?.1));
                let gone = self.gone_message(conversation);
                let is_behind = |mark: &Result<Mark, StoreError>| match mark {
                    Ok(mark) => Some(&mark.user) != after.as_ref() && mark.message.0 > gone,
                    Err(_) => true,
                };
                marks.filter(is_behind).take(*limit as usize + 1).collect()
            }
        }
    }
}

fn edit_of(value: &[u8]) -> Result<Edited, StoreError> {
    let mut reader = ValueReader::new(value)?;
    let number = reader.u32()?;
    let event = event_of(reader.rest())?;
    let EventBody::Edit { by, content, .. } = event.body else {
        return Err(ValueError::Content.into());
    };
    Ok(Edited { number, seq: event.seq, by, at: event.at, content })
}

#[cfg(test)]
mod tests {
    use super::super::life::Lock;
    use super::super::overlay::Overlay;
    use super::super::page::PageEntry;
    use super::super::pages::Pages;
    use super::super::read::Shared;
    use super::super::watermark::Watermark;
    use super::*;
    use crate::model::{Epoch, UserId, Wall};
    use crate::node::journal::record;
    use crate::node::ports::Record;

    fn put(pages: &Pages, conversation: &ConversationId, seqs: std::ops::RangeInclusive<u64>) {
        let record = |seq| {
            let by = UserId::from_number(1).unwrap();
            let body = EventBody::Delete { message: MessageId(1), by };
            let event = Arc::new(Event { seq: Seq(seq), at: Wall(1), body });
            record::to_bytes(&Record::Event { conversation: conversation.clone(), event }).unwrap()
        };
        let records: Vec<(u64, Vec<u8>)> = seqs.map(|seq| (seq, record(seq))).collect();
        let entries: Vec<PageEntry> = records
            .iter()
            .map(|(seq, record)| PageEntry {
                seq: Seq(*seq),
                commit: 1,
                place: 0,
                message: 0,
                record,
            })
            .collect();
        let key = Key::new(Kind::Page).conversation(conversation).seq(entries[0].seq);
        pages.insert(&key, page::write(&entries)).unwrap();
    }

    #[test]
    fn a_replay_stops_at_a_hole() {
        let directory = tempfile::tempdir().unwrap();
        let pages = Pages::open(&directory.path().join("pages"), 1 << 20).unwrap();
        let conversation = ConversationId::from_number(1).unwrap();
        for seqs in [1..=3, 4..=6, 9..=11, 12..=13] {
            put(&pages, &conversation, seqs);
        }
        let lock = Lock::take(directory.path()).unwrap();
        let shared = Shared {
            pages,
            overlay: Overlay::default(),
            watermark: Watermark::default(),
            epoch: Epoch(1),
            _lock: lock,
        };
        let read = ReadHandle::new(Arc::new(shared));
        let check = |after: u64, bytes_max: usize, expected: &[u64]| {
            let events = read.events(&conversation, Seq(after), bytes_max).unwrap();
            let seqs: Vec<u64> = events.iter().map(|event| event.seq.0).collect();
            assert_eq!(seqs, expected, "behind {after}");
        };
        check(0, usize::MAX, &[1, 2, 3, 4, 5, 6]);
        check(2, usize::MAX, &[3, 4, 5, 6]);
        check(5, 1, &[6]);
        check(6, usize::MAX, &[]);
        check(7, usize::MAX, &[]);
        check(8, usize::MAX, &[9, 10, 11, 12, 13]);
        check(13, usize::MAX, &[]);
        check(u64::MAX, usize::MAX, &[]);
        let other = ConversationId::from_number(2).unwrap();
        assert!(read.events(&other, Seq(0), usize::MAX).unwrap().is_empty());
    }
}
