//! The log's order, restored from pages when a segment's file is gone: each event in a page carries its
//! commit and place, the segment's index (`S`, `T`) says which conversations it had.
//!
//! Of a large segment only a window is held: the next so many events behind a position.

use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::limits::ORDER_WINDOW_EVENTS;
use crate::model::{ConversationId, Event, Seq};

use super::error::StoreError;
use super::keys::{Key, KeyReader, Kind};
use super::page::{self, Page, PageEntry};
use super::read::{ReadHandle, event_of};
use super::stream::Position;
use super::values::ValueReader;

/// A sealed segment and its commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedSpan {
    pub segment: u64,
    pub first: u64,
    pub last: u64,
}

/// All sealed segments, oldest first. What was read once stays true.
#[derive(Debug, Default)]
pub struct SealedSpans(Vec<SealedSpan>);

impl SealedSpans {
    /// The segment whose pages have this commit.
    pub fn with(
        &mut self,
        read: &ReadHandle,
        commit: u64,
    ) -> Result<Option<SealedSpan>, StoreError> {
        if self.0.last().is_none_or(|last| last.last < commit) {
            let prefix = Key::new(Kind::Segment);
            let next = self.0.last().map_or(0, |last| last.segment + 1);
            for pair in read.pages().scan_from(&prefix, &prefix.clone().number(next)) {
                let (key, value) = pair?;
                let segment = KeyReader::behind(&key, &prefix)?.number()?;
                let mut reader = ValueReader::new(&value)?;
                self.0.push(SealedSpan { segment, first: reader.u64()?, last: reader.u64()? });
            }
        }
        let at = self.0.partition_point(|span| span.last < commit);
        Ok(self.0.get(at).copied().filter(|span| span.first <= commit))
    }
}

/// An event's place in the log and in its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ordered {
    commit: u64,
    place: u32,
    seq: u64,
    conversation: u32,
}

impl Ordered {
    fn of(entry: &PageEntry<'_>, conversation: u32) -> Ordered {
        let PageEntry { seq, commit, place, .. } = *entry;
        Ordered { commit, place, seq: seq.0, conversation }
    }

    /// Events of an import share their place.
    fn position(&self) -> Position {
        Position { commit: self.commit, place: self.place, seq: self.seq }
    }

    pub fn behind(&self) -> Position {
        Position { seq: self.seq + 1, ..self.position() }
    }
}

#[derive(Debug)]
pub struct Order {
    segment: u64,
    from: Position,
    entries: Vec<Ordered>,
    conversations: Vec<ConversationId>,
    /// Nothing of the segment lies behind the last entry.
    is_complete: bool,
}

/// A page that was read last: neighbours in the log are often neighbours in a page.
pub type Held = Option<(u32, Page<'static>)>;

impl Order {
    pub fn of(read: &ReadHandle, span: SealedSpan, from: Position) -> Result<Order, StoreError> {
        let mut order = Order {
            segment: span.segment,
            from,
            entries: Vec::new(),
            conversations: Vec::new(),
            is_complete: true,
        };
        let mut window = BinaryHeap::new();
        let prefix = Key::new(Kind::SegmentSeqs).number(span.segment);
        for pair in read.pages().scan(&prefix) {
            let (key, value) = pair?;
            let conversation = KeyReader::behind(&key, &prefix)?.conversation()?;
            let mut reader = ValueReader::new(&value)?;
            let (first, last) = (Seq(reader.u64()?), Seq(reader.u64()?));
            order.gather(read, span, (&conversation, first, last), &mut window)?;
        }
        order.entries = window.into_sorted_vec();
        Ok(order)
    }

    /// One conversation's events of the segment; the window keeps the lowest.
    fn gather(
        &mut self,
        read: &ReadHandle,
        span: SealedSpan,
        (conversation, first, last): (&ConversationId, Seq, Seq),
        window: &mut BinaryHeap<Ordered>,
    ) -> Result<(), StoreError> {
        let number = self.conversations.len() as u32;
        self.conversations.push(conversation.clone());
        let mut next = first;
        while next <= last
            && let Some(value) = read.page_from(conversation, next)?
        {
            let page = page::open(&value)?;
            let entries = page.entries()?;
            let Some(end) = entries.last().map(|entry| entry.seq) else { break };
            if end < next {
                break;
            }
            let is_of_it = |entry: &&PageEntry<'_>| {
                (first..=last).contains(&entry.seq)
                    && (span.first..=span.last).contains(&entry.commit)
            };
            for entry in entries.iter().filter(is_of_it) {
                let ordered = Ordered::of(entry, number);
                if ordered.position() < self.from {
                    continue;
                }
                window.push(ordered);
                if window.len() > ORDER_WINDOW_EVENTS {
                    window.pop();
                    self.is_complete = false;
                }
            }
            next = end.next();
        }
        Ok(())
    }

    /// Whether the window holds what comes next at this position.
    pub fn covers(&self, segment: u64, position: Position) -> bool {
        let reaches = self.entries.last().is_some_and(|last| last.position() >= position);
        self.segment == segment && self.from <= position && (self.is_complete || reaches)
    }

    /// The segment has nothing behind the last entry.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub fn behind(&self, position: Position) -> &[Ordered] {
        let at = self.entries.partition_point(|entry| entry.position() < position);
        &self.entries[at..]
    }

    pub fn conversation(&self, entry: &Ordered) -> ConversationId {
        self.conversations[entry.conversation as usize].clone()
    }

    /// The event itself; `None` when it is gone since.
    pub fn read(
        &self,
        read: &ReadHandle,
        entry: &Ordered,
        held: &mut Held,
    ) -> Result<Option<Arc<Event>>, StoreError> {
        let is_held = held.as_ref().is_some_and(|(of, _)| *of == entry.conversation);
        if !is_held || !has(held, entry) {
            let conversation = &self.conversations[entry.conversation as usize];
            *held = match read.page_from(conversation, Seq(entry.seq))? {
                Some(value) => Some((entry.conversation, page::open(&value)?.into_owned())),
                None => None,
            };
        }
        let Some((_, page)) = held else { return Ok(None) };
        let entries = page.entries()?;
        let found = entries
            .iter()
            .find(|it| (it.commit, it.place, it.seq.0) == (entry.commit, entry.place, entry.seq));
        found.map(|found| event_of(found.record).map(Arc::new)).transpose()
    }
}

fn has(held: &Held, entry: &Ordered) -> bool {
    held.as_ref().is_some_and(|(_, page)| page.seqs().contains(&Seq(entry.seq)))
}
