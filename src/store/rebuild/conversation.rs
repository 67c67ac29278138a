//! One conversation of a rebuild: its events of all sources, merged by seq, without what must not come back, and
//! written with all their indexes by the same code that builds pages of a segment.
//!
//! A seq that no source has keeps its place: an event that tells nobody anything stands there, so that
//! whoever follows the conversation gets past it. What lacks at the front is gone as if it had been too old.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::limits::CLIENT_MSG_ID_KEPT_MS;
use crate::model::{
    ConversationId, Event, EventBody, Header, MessageId, Profile, ReactionAction, Seq, Tombstone,
    Wall,
};
use crate::node::journal::record;
use crate::node::ports::Record;

use super::super::build;
use super::super::error::{StoreError, ValueError};
use super::super::gather::{At, gather_events};
use super::super::keys::{Key, KeyReader, Kind};
use super::super::page;
use super::super::pages::Pages;
use super::super::read::{event_of, wall_now};
use super::super::redaction::{Redaction, Target};
use super::super::salvage::Salvage;
use super::super::values::{self, Gone, ValueReader, ValueWriter, Why};
use super::super::verify::Missing;
use super::Sources;
use super::facts::{Known, Putter, Spans};
use super::source::Source;

const CHUNK_BYTES: usize = 1 << 20;

/// An event with its place in the log.
#[derive(Debug, Clone)]
struct Found {
    at: At,
    event: Event,
    record: Vec<u8>,
}

/// What was made of one conversation.
#[derive(Debug, Default)]
pub struct Outcome {
    pub events: u64,
    pub lost: Vec<Missing>,
    /// The highest id that a message has.
    pub last_message: u64,
}

pub struct Writer<'a> {
    pub new: &'a Pages,
    pub sources: &'a Sources,
    pub known: &'a Known,
    pub spans: &'a Spans,
}

impl Writer<'_> {
    pub fn write(&self, id: &ConversationId) -> Result<Outcome, StoreError> {
        let survey = self.survey(id)?;
        let mut outcome = Outcome { lost: survey.lost(id), ..Outcome::default() };
        let gone = survey.gone_with_front();
        if let Some(gone) = &gone {
            let key = Key::new(Kind::Gone).conversation(id);
            self.new.insert(&key, values::write_gone(gone))?;
        }
        let mut chunk = Chunk::new(self, id);
        let mut last: Option<(Seq, At, Wall)> = None;
        let from = gone.map_or(Seq(0), |gone| gone.through.last_seq);
        for found in self.merged(id, from)? {
            let found = self.redacted(id, found?, &survey)?;
            let next = last.map_or(from, |(seq, ..)| seq).next();
            for seq in next.0..found.event.seq.0 {
                chunk.push(filler(id, Seq(seq), last, found.event.at)?)?;
            }
            let at = match found.at.commit {
                0 => last.map_or(At { commit: 1, place: 0 }, |(_, at, _)| at),
                _ => found.at,
            };
            last = Some((found.event.seq, at, found.event.at));
            if let EventBody::Message(body) = &found.event.body {
                outcome.last_message = outcome.last_message.max(body.id.0);
            }
            outcome.events += 1;
            chunk.push(Found { at, ..found })?;
        }
        if let Some((seq, _, at)) = last {
            for seq in seq.0 + 1..=survey.last_seq.0 {
                chunk.push(filler(id, Seq(seq), last, at)?)?;
            }
        }
        chunk.end()?;
        self.header(id, gone, &survey)?;
        Ok(outcome)
    }

    /// Events behind `from`, each seq once, from the source that knows best.
    fn merged<'s>(
        &'s self,
        id: &'s ConversationId,
        from: Seq,
    ) -> Result<impl Iterator<Item = Result<Found, StoreError>> + 's, StoreError> {
        let mut cursors = Vec::new();
        for source in self.sources.all() {
            cursors.push(Cursor::pages(source, id, from));
        }
        for source in self.sources.all() {
            cursors.push(Cursor::overlays(source, id, from)?);
        }
        Ok(std::iter::from_fn(move || {
            cursors.iter_mut().for_each(Cursor::fill);
            let seq = cursors.iter().filter_map(Cursor::seq).min()?;
            let mut chosen: Option<(Found, bool)> = None;
            for cursor in cursors.iter_mut().filter(|cursor| cursor.seq() == Some(seq)) {
                let Some(found) = cursor.ready.pop_front() else { continue };
                match &chosen {
                    None => chosen = Some((found, cursor.is_overlay)),
                    Some((first, _)) if !cursor.is_overlay && !is_same(first, &found) => {
                        return Some(Err(StoreError::AnotherStore { seq: seq.0 }));
                    }
                    Some(_) => {}
                }
            }
            chosen.map(|(found, _)| Ok(found))
        }))
    }

    /// Reads everything once, to know what must not come back and what lacks.
    fn survey(&self, id: &ConversationId) -> Result<Survey, StoreError> {
        let gone = self.known.gone.get(id).copied();
        let from = gone.map_or(Seq(0), |gone| gone.through.last_seq);
        let mut survey = Survey { gone, last_seq: from, next: from.next(), ..Survey::default() };
        self.told(id, &mut survey)?;
        for found in self.merged(id, from)? {
            survey.take(&found?);
        }
        survey.last_seq = survey.last_seq.max(Seq(survey.next.0 - 1));
        Ok(survey)
    }

    /// What headers and deletions say, whether the events are there or not.
    fn told(&self, id: &ConversationId, survey: &mut Survey) -> Result<(), StoreError> {
        let of = |kind: Kind| Key::new(kind).conversation(id);
        for source in self.sources.all() {
            match source
                .pages
                .get(&of(Kind::Header))
                .map(|value| value.map(|v| values::read_header(&v)))
            {
                Ok(Some(Ok(header))) => {
                    let own = source.pages.get(&of(Kind::Gone))?;
                    let own = own.map(|value| values::read_gone(&value)).transpose()?;
                    let is_of_now = header.last_seq > survey.last_gone() || own == survey.gone;
                    if is_of_now {
                        survey.headers.push(header);
                        survey.last_seq = survey.last_seq.max(header.last_seq);
                    }
                }
                Ok(None) => {}
                _ => source.found_damage(Kind::Header),
            }
            source.each(Kind::Deletion, of(Kind::Deletion).as_ref(), |key, _| {
                let message = KeyReader::behind(key, &of(Kind::Deletion))?.number()?;
                survey.deleted.insert(MessageId(message));
                Ok(())
            })?;
        }
        if let Some(import) = self.known.imports.get(id) {
            survey.last_seq = survey.last_seq.max(Seq(import.events));
        }
        Ok(())
    }

    /// Without the text of what was deleted, and without all of users who were erased.
    fn redacted(
        &self,
        id: &ConversationId,
        found: Found,
        survey: &Survey,
    ) -> Result<Found, StoreError> {
        let (message, user) = match &found.event.body {
            EventBody::Message(body) => (Some(body.id), Some(&body.sender.id)),
            EventBody::Edit { message, .. } => (Some(*message), None),
            EventBody::Reaction { user, .. } => (None, Some(user)),
            EventBody::Delete { .. } => (None, None),
        };
        let is_deleted = message.is_some_and(|message| survey.deleted.contains(&message));
        let erased = user.and_then(|user| self.known.erased.get_key_value(user));
        if !is_deleted && erased.is_none() {
            return Ok(found);
        }
        let seqs = if is_deleted { [found.event.seq].into() } else { BTreeSet::new() };
        let target = Target { through: Seq(0), seqs };
        let redaction = Redaction {
            conversations: BTreeMap::from([(id.clone(), target)]),
            user: erased.map(|(user, until)| (user.clone(), *until)),
        };
        let event = Arc::new(found.event.clone());
        match redaction.of(&Record::Event { conversation: id.clone(), event }) {
            Some(record) => of_record(found.at, &record),
            None => Ok(found),
        }
    }

    /// At least what sources said it is: the newest messages may lack.
    fn header(
        &self,
        id: &ConversationId,
        gone: Option<Gone>,
        survey: &Survey,
    ) -> Result<(), StoreError> {
        let key = Key::new(Kind::Header).conversation(id);
        let mut header = match self.new.get(&key)? {
            Some(value) => values::read_header(&value)?,
            None => gone.map_or(Header::default(), |gone| gone.through.header()),
        };
        let has_lost = !survey.lost(id).is_empty();
        for told in &survey.headers {
            // Without a loss the events themselves say it better, if there is any message.
            if has_lost || header.messages == 0 {
                header.last_message = header.last_message.max(told.last_message);
                header.messages = header.messages.max(told.messages);
            }
            header.last_seq = header.last_seq.max(told.last_seq);
            header.last_at = header.last_at.max(told.last_at);
        }
        if header.last_seq == Seq(0) {
            return Ok(());
        }
        self.new.insert(&key, values::write_header(&header))
    }
}

/// What is known of a conversation before it is written.
#[derive(Debug, Default)]
struct Survey {
    gone: Option<Gone>,
    headers: Vec<Header>,
    deleted: BTreeSet<MessageId>,
    /// The last seq there ever was, as far as anything tells.
    last_seq: Seq,
    next: Seq,
    holes: Vec<(Seq, Seq)>,
    first: Option<(Seq, Wall)>,
    first_message: Option<u64>,
}

impl Survey {
    fn last_gone(&self) -> Seq {
        self.gone.map_or(Seq(0), |gone| gone.through.last_seq)
    }

    fn take(&mut self, found: &Found) {
        let Event { seq, at, body } = &found.event;
        if *seq > self.next {
            self.holes.push((self.next, Seq(seq.0 - 1)));
        }
        self.next = seq.next();
        self.first.get_or_insert((*seq, *at));
        match body {
            EventBody::Message(body) => drop(self.first_message.get_or_insert(body.id.0)),
            EventBody::Delete { message, .. } => drop(self.deleted.insert(*message)),
            _ => {}
        }
    }

    fn lost(&self, id: &ConversationId) -> Vec<Missing> {
        let tail = (self.next <= self.last_seq).then_some((self.next, self.last_seq));
        let holes = self.holes.iter().copied().chain(tail);
        holes.map(|(from, to)| Missing { conversation: id.clone(), from, to }).collect()
    }

    /// What lacks at the front is gone, too.
    fn gone_with_front(&self) -> Option<Gone> {
        let last_header = self.headers.iter().max_by_key(|header| header.last_seq);
        let before = |seq: Seq, at: Wall| {
            let known = last_header.map_or(0, |header| header.last_message);
            let last_message = self.first_message.map_or(known, |first| first - 1);
            let through = Tombstone { at, last_seq: seq, last_message };
            Gone { why: self.gone.map_or(Why::Retention, |gone| gone.why), through }
        };
        match self.first {
            Some((first, at)) if first > self.last_gone().next() => {
                Some(before(Seq(first.0 - 1), at))
            }
            None if self.last_seq > self.last_gone() => {
                let at = last_header.map_or(Wall(0), |header| header.last_at);
                Some(before(self.last_seq, at))
            }
            _ => self.gone,
        }
    }
}

/// The events of one source, in order.
struct Cursor<'a> {
    source: &'a Source,
    id: &'a ConversationId,
    from: Seq,
    pages: Option<Salvage<'a>>,
    ready: VecDeque<Found>,
    is_overlay: bool,
}

impl<'a> Cursor<'a> {
    fn pages(source: &'a Source, id: &'a ConversationId, from: Seq) -> Cursor<'a> {
        let prefix = Key::new(Kind::Page).conversation(id);
        let pages = Some(Salvage::of(&source.pages, prefix.as_ref()));
        Cursor { source, id, from, pages, ready: VecDeque::new(), is_overlay: false }
    }

    /// Edits and deletions stand in overlays once more.
    fn overlays(
        source: &'a Source,
        id: &'a ConversationId,
        from: Seq,
    ) -> Result<Cursor<'a>, StoreError> {
        let mut found = BTreeMap::new();
        for (kind, skip_bytes) in [(Kind::Edit, 4), (Kind::Deletion, 0)] {
            let prefix = Key::new(kind).conversation(id);
            source.each(kind, prefix.as_ref(), |_, value| {
                let mut reader = ValueReader::new(value)?;
                reader.bytes(skip_bytes)?;
                let record = reader.rest().to_vec();
                let event = event_of(&record)?;
                if event.seq > from {
                    let at = At { commit: 0, place: 0 };
                    found.insert(event.seq, Found { at, event, record });
                }
                Ok(())
            })?;
        }
        let ready = found.into_values().collect();
        Ok(Cursor { source, id, from, pages: None, ready, is_overlay: true })
    }

    fn seq(&self) -> Option<Seq> {
        self.ready.front().map(|found| found.event.seq)
    }

    fn fill(&mut self) {
        while self.ready.is_empty()
            && let Some(pages) = &mut self.pages
        {
            let Some((key, value)) = pages.next() else {
                self.source.note(Kind::Page, pages.holes());
                self.pages = None;
                return;
            };
            if self.page(&key, &value).is_err() {
                self.source.found_damage(Kind::Page);
            }
        }
    }

    fn page(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let prefix = Key::new(Kind::Page).conversation(self.id);
        let first = Seq(KeyReader::behind(key, &prefix)?.number()?);
        let page = page::open(value)?;
        let entries = page.entries()?;
        if entries.first().is_none_or(|entry| entry.seq != first) {
            return Err(ValueError::Content.into());
        }
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| entry.seq > self.from) {
            let record = record::decode(entry.record).map_err(ValueError::from)?;
            let at = At { commit: entry.commit, place: entry.place };
            match &record {
                Record::Event { conversation, event }
                    if conversation == self.id && event.seq == entry.seq =>
                {
                    let event = Event::clone(event);
                    found.push(Found { at, event, record: entry.record.to_vec() });
                }
                _ => return Err(ValueError::Content.into()),
            }
        }
        self.ready.extend(found);
        Ok(())
    }
}

/// The same event, though one of them may have lost its text.
fn is_same(one: &Found, other: &Found) -> bool {
    let place = |found: &Found| (found.at.commit, found.at.place, found.event.at);
    place(one) == place(other)
}

fn of_record(at: At, record: &Record) -> Result<Found, StoreError> {
    let bytes = record::to_bytes(record).map_err(ValueError::from)?;
    Ok(Found { at, event: event_of(&bytes)?, record: bytes })
}

/// Keeps the place of an event that is lost.
fn filler(
    id: &ConversationId,
    seq: Seq,
    last: Option<(Seq, At, Wall)>,
    at: Wall,
) -> Result<Found, StoreError> {
    let body = EventBody::Reaction {
        message: MessageId(0),
        user: Profile::system().id,
        emoji: String::new(),
        action: ReactionAction::Removed,
    };
    let (place, at) = last.map_or((At { commit: 1, place: 0 }, at), |(_, place, at)| (place, at));
    let event = Arc::new(Event { seq, at, body });
    of_record(place, &Record::Event { conversation: id.clone(), event })
}

/// Events that are written together.
struct Chunk<'a> {
    writer: &'a Writer<'a>,
    id: &'a ConversationId,
    events: Vec<Found>,
    bytes: usize,
    /// First and last seq of each segment of before.
    seqs: BTreeMap<u64, (Seq, Seq)>,
}

impl<'a> Chunk<'a> {
    fn new(writer: &'a Writer<'a>, id: &'a ConversationId) -> Chunk<'a> {
        Chunk { writer, id, events: Vec::new(), bytes: 0, seqs: BTreeMap::new() }
    }

    fn push(&mut self, found: Found) -> Result<(), StoreError> {
        let segment = self.writer.spans.of(found.at.commit);
        let seqs = self.seqs.entry(segment).or_insert((found.event.seq, found.event.seq));
        seqs.1 = found.event.seq;
        self.bytes += found.record.len();
        self.events.push(found);
        if self.bytes >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let never = AtomicBool::new(false);
        let events = std::mem::take(&mut self.events);
        self.bytes = 0;
        let told = events.iter().map(|found| (found.at, found.event.clone(), &found.record[..]));
        let mut gathered = gather_events(self.id, told)?;
        let oldest = wall_now().0.saturating_sub(CLIENT_MSG_ID_KEPT_MS);
        for share in gathered.conversations.values_mut() {
            share.first_sends.retain(|(.., first)| first.created_at.0 >= oldest);
        }
        build::put(self.writer.new, &gathered, 0, &never)
    }

    fn end(mut self) -> Result<(), StoreError> {
        if !self.events.is_empty() {
            self.flush()?;
        }
        let of = |segment: u64| Key::new(Kind::SegmentSeqs).number(segment).conversation(self.id);
        let mut putter = Putter::new(self.writer.new);
        putter.remove(of(0).as_ref())?;
        for (segment, (first, last)) in &self.seqs {
            let value = ValueWriter::default().u64(first.0).u64(last.0).finish();
            putter.put(of(*segment).as_ref(), value)?;
        }
        putter.end()
    }
}

/// All conversations that any source knows, by their headers, tombstones and creation, and by their pages
/// where headers are damaged.
pub fn all(sources: &Sources) -> Result<BTreeSet<ConversationId>, StoreError> {
    let mut found = BTreeSet::new();
    let kinds = [Kind::Header, Kind::Gone, Kind::Created, Kind::Import];
    for source in sources.all() {
        for kind in kinds {
            source.each(kind, &[kind as u8], |key, _| {
                found.insert(KeyReader::new(key, kind)?.conversation()?);
                Ok(())
            })?;
        }
        if !source.is_whole(Kind::Header) {
            source.each(Kind::Page, &[Kind::Page as u8], |key, _| {
                found.insert(KeyReader::new(key, Kind::Page)?.conversation()?);
                Ok(())
            })?;
        }
    }
    Ok(found)
}
