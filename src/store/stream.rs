//! All that happened, in the order of the log: read from the journal's files while they are kept, from
//! pages when they are gone. Whoever holds a position goes on from it, at any time.
//!
//! ```text
//! position   commit, place in it, seq (of an imported conversation's events, which have one place)
//! ```
//! Nothing above the log's watermark is read. Texts of messages that were deleted since are left out,
//! also where the deletion itself comes later in the log. Changes of the directory are not in pages: they
//! are told as long as their file is kept.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits::{EVENTS_PAGE_BYTES_MAX, EVENTS_PAGE_MAX};
use crate::model::{ConversationId, DirectoryChange, Event, EventBody, Import, MessageId, Seq};
use crate::node::journal::record;
use crate::node::ports::Record;

use super::commits::{At, Commits};
use super::error::{StoreError, ValueError};
use super::export::each_record;
use super::files::SegmentDirectory;
use super::keys::{Key, Kind};
use super::order::{Order, SealedSpans};
use super::page;
use super::read::{ReadHandle, event_of};

/// The next thing to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub commit: u64,
    pub place: u32,
    pub seq: u64,
}

impl Position {
    pub const START: Position = Position { commit: 1, place: 0, seq: 0 };

    fn commit(commit: u64) -> Position {
        Position { commit, place: 0, seq: 0 }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// The texts of a deleted message's events are empty.
    Event {
        conversation: ConversationId,
        event: Arc<Event>,
        is_deleted: bool,
    },
    Directory(DirectoryChange),
}

/// A run of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventsPage {
    /// Each with the position behind it.
    pub happenings: Vec<(Position, Happening)>,
    pub next: Position,
    /// More can be read at once.
    pub has_more: bool,
    limit: usize,
    bytes: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    #[error("the position lies behind the end of the log")]
    Future,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the log for those outside of the shards; one of them serves all, one page at a time.
#[derive(Debug)]
pub struct EventLog {
    read: ReadHandle,
    commits: Commits,
    deletions: Deletions,
    sealed: SealedSpans,
    order: Option<Order>,
}

impl EventLog {
    pub fn new(read: ReadHandle, segments: SegmentDirectory) -> EventLog {
        let commits = Commits::new(segments);
        EventLog {
            read,
            commits,
            deletions: Deletions::default(),
            sealed: SealedSpans::default(),
            order: None,
        }
    }

    /// At most `limit` things from a position on. Empty when there is nothing yet.
    pub fn page(&mut self, from: Position, limit: usize) -> Result<EventsPage, EventsError> {
        let through = self.read.watermark().commit();
        if from > Position::commit(through + 1) || from.commit == 0 {
            return Err(EventsError::Future);
        }
        self.deletions.follow(&self.read, &mut self.commits, through)?;
        let limit = limit.clamp(1, EVENTS_PAGE_MAX);
        let mut page =
            EventsPage { happenings: Vec::new(), next: from, has_more: false, limit, bytes: 0 };
        while page.next.commit <= through && !page.is_full() {
            let reached = page.next;
            match self.commits.find(reached.commit)? {
                Some(at) => self.read_file(at, through, &mut page)?,
                None => self.read_pages(&mut page)?,
            }
            if page.next == reached && self.is_sealed(reached)? {
                // The file does not have it as it should: pages do.
                self.read_pages(&mut page)?;
            }
            if page.next == reached {
                break;
            }
        }
        page.has_more = page.is_full() && page.next.commit <= through;
        Ok(page)
    }

    fn is_sealed(&self, position: Position) -> Result<bool, StoreError> {
        Ok(self.read.pages().sealed()?.commit >= position.commit)
    }

    /// Reads on in one file until the page is full or the file has no more.
    fn read_file(
        &mut self,
        mut at: At,
        through: u64,
        page: &mut EventsPage,
    ) -> Result<(), StoreError> {
        while page.next.commit <= through && !page.is_full() {
            let number = page.next.commit;
            let Some(commit) = at.read()? else { break };
            if commit.head.commit != number {
                break;
            }
            let records: Vec<Record> = commit
                .records()
                .map(record::decode)
                .collect::<Result<_, _>>()
                .map_err(ValueError::from)?;
            if !self.take_commit(records, page)? {
                break;
            }
            at.advance();
        }
        self.commits.remember(page.next.commit, &at);
        Ok(())
    }

    /// Whether all of the commit was taken.
    fn take_commit(&self, records: Vec<Record>, page: &mut EventsPage) -> Result<bool, StoreError> {
        let commit = page.next.commit;
        let count = records.len() as u32;
        let from = page.next.place as usize;
        for (place, record) in (0..count).zip(records).skip(from) {
            if page.is_full() {
                return Ok(false);
            }
            let here = Position { commit, place, seq: 0 };
            if page.next < here {
                page.next = here;
            }
            match record {
                // Told before: a position from pages lies behind the event, not at the next place.
                Record::Event { .. } if page.next.seq > 0 => page.next = here.behind(),
                Record::Event { conversation, event } => {
                    page.push(here.behind(), self.shown(conversation, event)?);
                }
                Record::Mark { .. } | Record::Erased => page.next = here.behind(),
                Record::Directory(DirectoryChange::ConversationImported(import)) => {
                    if !self.imported(here, import, page)? {
                        return Ok(false);
                    }
                }
                Record::Directory(change) => {
                    page.push(here.behind(), Happening::Directory(change));
                }
            }
        }
        page.next = Position::commit(commit + 1);
        Ok(true)
    }

    /// The events of an import are in pages only, and not before all of them are.
    fn imported(
        &self,
        here: Position,
        import: Import,
        page: &mut EventsPage,
    ) -> Result<bool, StoreError> {
        if self.read.importing(&import.conversation).is_some() {
            return Ok(false);
        }
        let (conversation, events) = (import.conversation.clone(), import.events);
        if page.next.seq == 0 {
            let change = DirectoryChange::ConversationImported(import);
            page.push(Position { seq: 1, ..here }, Happening::Directory(change));
        }
        while page.next.seq <= events && page.next.place == here.place {
            let before = page.next;
            if page.is_full() || !self.imported_run(here, &conversation, page)? {
                return Ok(false);
            }
            if page.next == before {
                break;
            }
        }
        page.next = here.behind();
        Ok(true)
    }

    /// The events of one page of an import; whether all of them were taken.
    fn imported_run(
        &self,
        here: Position,
        conversation: &ConversationId,
        page: &mut EventsPage,
    ) -> Result<bool, StoreError> {
        let next = Seq(page.next.seq);
        let Some(value) = self.read.page_from(conversation, next)? else { return Ok(true) };
        let place = (here.commit, here.place);
        let held = page::open(&value)?;
        for entry in held.entries()?.iter().filter(|it| (it.commit, it.place) == place) {
            if entry.seq < next {
                continue;
            }
            if page.is_full() {
                return Ok(false);
            }
            let event = Arc::new(event_of(entry.record)?);
            let behind = Position { seq: entry.seq.0 + 1, ..here };
            page.push(behind, self.shown(conversation.clone(), event)?);
        }
        Ok(true)
    }

    /// The file is gone: pages have the events, the segment's index their order.
    fn read_pages(&mut self, page: &mut EventsPage) -> Result<(), StoreError> {
        let from = page.next;
        if self.read.is_importing() {
            // Not all of what belongs here may be in pages yet.
            return Ok(());
        }
        let Some(span) = self.sealed.with(&self.read, from.commit)? else {
            return Err(StoreError::CommitGone { commit: from.commit });
        };
        if !self.order.as_ref().is_some_and(|order| order.covers(span.segment, from)) {
            self.order = Some(Order::of(&self.read, span, from)?);
        }
        let Some(order) = &self.order else { return Ok(()) };
        let mut held = None;
        for entry in order.behind(from) {
            if page.is_full() {
                return Ok(());
            }
            let conversation = order.conversation(entry);
            let found = order.read(&self.read, entry, &mut held)?;
            let behind = entry.behind();
            match found {
                Some(event) => page.push(behind, self.shown(conversation, event)?),
                // Deleted with its conversation since the order was read.
                None => page.next = behind,
            }
        }
        if order.is_complete() {
            page.next = Position::commit(span.last + 1);
        }
        Ok(())
    }

    fn shown(
        &self,
        conversation: ConversationId,
        event: Arc<Event>,
    ) -> Result<Happening, StoreError> {
        let message = match &event.body {
            EventBody::Message(body) => body.id,
            EventBody::Edit { message, .. } => *message,
            EventBody::Delete { .. } | EventBody::Reaction { .. } => {
                return Ok(Happening::Event { conversation, event, is_deleted: false });
            }
        };
        let is_deleted = self.deletions.has(&conversation, message)
            || self.read.is_deleted(&conversation, message)?
            || self.read.is_gone_message(&conversation, message)?;
        let event = if is_deleted { without_text(&event) } else { event };
        Ok(Happening::Event { conversation, event, is_deleted })
    }
}

impl Position {
    fn behind(self) -> Position {
        Position { commit: self.commit, place: self.place.saturating_add(1), seq: 0 }
    }
}

impl EventsPage {
    fn is_full(&self) -> bool {
        self.happenings.len() >= self.limit || self.bytes >= EVENTS_PAGE_BYTES_MAX
    }

    fn push(&mut self, behind: Position, happening: Happening) {
        self.bytes += size_of::<Happening>() + text_bytes(&happening);
        self.happenings.push((behind, happening));
        self.next = behind;
    }
}

fn text_bytes(happening: &Happening) -> usize {
    match happening {
        Happening::Event { event, .. } => match &event.body {
            EventBody::Message(body) => body.content.len(),
            EventBody::Edit { content, .. } => content.len(),
            EventBody::Delete { .. } | EventBody::Reaction { .. } => 0,
        },
        Happening::Directory(_) => 0,
    }
}

/// The event as it is told once its message was deleted.
pub fn without_text(event: &Event) -> Arc<Event> {
    let mut event = event.clone();
    match &mut event.body {
        EventBody::Message(body) => body.content = String::new(),
        EventBody::Edit { content, .. } => *content = String::new(),
        EventBody::Delete { .. } | EventBody::Reaction { .. } => {}
    }
    Arc::new(event)
}

/// Deletions that pages do not have yet.
#[derive(Debug, Default)]
struct Deletions {
    /// All commits up to this one were looked through, or pages have them.
    through: u64,
    of: HashMap<(ConversationId, MessageId), u64>,
}

impl Deletions {
    fn follow(
        &mut self,
        read: &ReadHandle,
        commits: &mut Commits,
        through: u64,
    ) -> Result<(), StoreError> {
        let sealed = read.pages().sealed()?.commit;
        self.through = self.through.max(sealed);
        self.of.retain(|_, commit| *commit > sealed);
        let span = (self.through + 1, through);
        let is_whole = each_record(commits, span, |commit, record| {
            if let Record::Event { conversation, event } = record
                && let EventBody::Delete { message, .. } = event.body
            {
                self.of.insert((conversation, message), commit);
            }
        })?;
        if is_whole {
            self.through = through;
        } else if read.pages().sealed()?.commit == sealed {
            return Err(StoreError::CommitGone { commit: self.through + 1 });
        }
        // Else it was sealed and removed meanwhile: pages have it.
        Ok(())
    }

    fn has(&self, conversation: &ConversationId, message: MessageId) -> bool {
        !self.of.is_empty() && self.of.contains_key(&(conversation.clone(), message))
    }
}

impl ReadHandle {
    /// The page that has this seq, or the first one behind it.
    pub(super) fn page_from(
        &self,
        conversation: &ConversationId,
        seq: Seq,
    ) -> Result<Option<sled::IVec>, StoreError> {
        let tombstone = self.overlay().tombstone(conversation);
        let seq = tombstone.map_or(seq, |tombstone| seq.max(tombstone.last_seq.next()));
        let prefix = Key::new(Kind::Page).conversation(conversation);
        let key = prefix.clone().seq(seq);
        if let Some((_, value)) = self.pages().at_or_below(&prefix, &key)?
            && page::last_seq(&value)? >= seq
        {
            return Ok(Some(value));
        }
        Ok(self.pages().scan_from(&prefix, &key).next().transpose()?.map(|(_, value)| value))
    }
}
