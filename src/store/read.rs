//! Reads from pages: state of messages, marks, first sends, history. Blocking: for reader threads and
//! the HTTP side, never for a reactor.
//!
//! Events, marks and first sends that are not in pages yet are in their shard's memory and are not
//! seen here; the directory's changes are (see `directory`).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::limits::CLIENT_MSG_ID_KEPT_MS;
use crate::model::{
    ConversationId, Event, EventBody, FirstSend, Header, LoadKey, Loaded, Mark, MessageId,
    MessageState, Seq, UserId, Wall,
};
use crate::node::journal::record;
use crate::node::ports::Record;

use super::error::{StoreError, ValueError};
use super::keys::{Day, Key, KeyReader, Kind};
use super::life::Lock;
use super::overlay::Overlay;
use super::page::{self, PageEntry};
use super::pages::{Pages, guarded};
use super::values::{self, ValueReader};

/// Most messages that [`LoadKey::Recent`] gives.
pub const RECENT_MAX: u32 = 1_000;

/// What all threads of an open store share. The lock goes last.
#[derive(Debug)]
pub(super) struct Shared {
    pub pages: Pages,
    pub overlay: Overlay,
    pub _lock: Lock,
}

/// Reads the store; clone it freely.
#[derive(Debug, Clone)]
pub struct ReadHandle {
    shared: Arc<Shared>,
}

impl ReadHandle {
    pub(super) fn new(shared: Arc<Shared>) -> ReadHandle {
        ReadHandle { shared }
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.shared.pages
    }

    pub(super) fn overlay(&self) -> &Overlay {
        &self.shared.overlay
    }

    /// Old state of a conversation.
    pub fn state(
        &self,
        conversation: &ConversationId,
        key: &LoadKey,
    ) -> Result<Loaded, StoreError> {
        guarded(|| {
            Ok(match key {
                LoadKey::Message(id) => {
                    Loaded::Message(self.message(conversation, *id)?.map(Box::new))
                }
                LoadKey::Mark(user) => Loaded::Mark(self.mark(conversation, user)?),
                LoadKey::FirstSend { user, client_msg_id } => {
                    Loaded::FirstSend(self.first_send(conversation, user, client_msg_id)?)
                }
                LoadKey::Recent(n) => Loaded::Recent(self.recent(conversation, *n)?),
                LoadKey::Marks(n) => Loaded::Marks(self.marks(conversation, *n)?),
            })
        })
    }

    /// Where the conversation stands in pages; all zero when they do not know it.
    pub fn header(&self, conversation: &ConversationId) -> Result<Header, StoreError> {
        let key = Key::new(Kind::Header).conversation(conversation);
        let paged = match self.pages().get(&key)? {
            Some(value) => values::read_header(&value)?,
            None => Header::default(),
        };
        let tombstone = self.overlay().tombstone(conversation);
        Ok(match tombstone.filter(|tombstone| tombstone.last_seq >= paged.last_seq) {
            Some(tombstone) => tombstone.header(),
            None => paged,
        })
    }

    /// Events behind `after`, oldest first, until they are about `bytes_max` of records. None when the
    /// first of them is gone: what follows would leave a hole.
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
            let next = prefix.clone().seq(after.next());
            let from = match self.pages().at_or_below(&prefix, &next)? {
                Some((key, _)) => {
                    prefix.clone().number(KeyReader::behind(&key, &prefix)?.number()?)
                }
                None => next,
            };
            let mut events = Vec::new();
            let mut bytes = 0;
            for pair in self.pages().scan_from(&prefix, &from) {
                let (_, value) = pair?;
                for entry in page::read(&value)?.iter().filter(|entry| entry.seq > after) {
                    let is_hole = events.is_empty() && entry.seq != after.next();
                    if bytes >= bytes_max || is_hole {
                        return Ok(events);
                    }
                    bytes += entry.record.len();
                    events.push(Arc::new(event_of(entry.record)?));
                }
            }
            Ok(events)
        })
    }

    /// A message's edits, oldest first, at most `limit` behind edit number `after`.
    pub fn edits(
        &self,
        conversation: &ConversationId,
        message: MessageId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Edited>, StoreError> {
        if message.0 <= self.gone_message(conversation) {
            return Ok(Vec::new());
        }
        guarded(|| {
            let prefix = Key::new(Kind::Edit).conversation(conversation).message(message);
            let mut edits = Vec::new();
            for pair in self.pages().scan(&prefix) {
                let (_, value) = pair?;
                let mut reader = ValueReader::new(&value)?;
                let number = reader.u32()?;
                if number <= after {
                    continue;
                }
                if edits.len() >= limit {
                    break;
                }
                let event = event_of(reader.rest())?;
                let EventBody::Edit { by, content, .. } = event.body else {
                    return Err(ValueError::Content.into());
                };
                edits.push(Edited { number, by, at: event.at, content });
            }
            Ok(edits)
        })
    }

    /// How many deleted messages and conversations there are whose text pages or kept segments may have.
    pub fn texts_to_erase(&self) -> Result<usize, StoreError> {
        guarded(|| Ok(self.pages().scan(&Key::new(Kind::ToErase)).count()))
    }

    fn mark(
        &self,
        conversation: &ConversationId,
        user: &UserId,
    ) -> Result<Option<Mark>, StoreError> {
        let key = Key::new(Kind::Mark).conversation(conversation).user(user);
        let gone = self.gone_message(conversation);
        let mark = self.pages().get(&key)?.map(|value| mark_of(&value)).transpose()?;
        Ok(mark.filter(|mark| mark.message.0 > gone))
    }

    fn marks(&self, conversation: &ConversationId, count: u32) -> Result<Vec<Mark>, StoreError> {
        let marks = Key::new(Kind::Mark).conversation(conversation);
        let gone = self.gone_message(conversation);
        let found = self.pages().scan(&marks).map(|pair| mark_of(&pair?.1));
        let is_there = |mark: &Result<Mark, StoreError>| match mark {
            Ok(mark) => mark.message.0 > gone,
            Err(_) => true,
        };
        found.filter(is_there).take(count as usize).collect()
    }

    fn first_send(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        client_msg_id: &str,
    ) -> Result<Option<FirstSend>, StoreError> {
        let now = wall_now();
        let days = (CLIENT_MSG_ID_KEPT_MS / 86_400_000) as u32;
        // The clock may have been set back since: look a day ahead, too.
        let newest = Day(Day::of(now).0.saturating_add(1));
        for back in 0..=days + 1 {
            let key = Key::new(Kind::FirstSend)
                .day(newest.before(back))
                .conversation(conversation)
                .user(user)
                .text(client_msg_id);
            if let Some(value) = self.pages().get(&key)? {
                let first = values::read_first_send(&value)?;
                let age_ms = now.0.saturating_sub(first.created_at.0);
                let holds = age_ms <= CLIENT_MSG_ID_KEPT_MS
                    && first.message.0 > self.gone_message(conversation);
                return Ok(holds.then_some(first));
            }
        }
        Ok(None)
    }

    fn message(
        &self,
        conversation: &ConversationId,
        id: MessageId,
    ) -> Result<Option<MessageState>, StoreError> {
        if id.0 <= self.gone_message(conversation) {
            return Ok(None);
        }
        let prefix = Key::new(Kind::MessagePage).conversation(conversation);
        let Some((_, value)) = self.pages().at_or_below(&prefix, &prefix.clone().message(id))?
        else {
            return Ok(None);
        };
        let mut reader = ValueReader::new(&value)?;
        let (first_seq, last_message) = (Seq(reader.u64()?), reader.u64()?);
        if id.0 > last_message {
            return Ok(None);
        }
        let key = Key::new(Kind::Page).conversation(conversation).seq(first_seq);
        let page = self.pages().get(&key)?.ok_or(ValueError::Content)?;
        let entries = page::read(&page)?;
        match entries.iter().find(|entry| entry.message == id.0) {
            Some(entry) => self.folded(conversation, entry).map(Some),
            None => Ok(None),
        }
    }

    fn recent(
        &self,
        conversation: &ConversationId,
        n: u32,
    ) -> Result<Vec<MessageState>, StoreError> {
        let n = n.min(RECENT_MAX) as usize;
        let gone = self.gone_message(conversation);
        let mut newest_first = Vec::new();
        for pair in self.pages().scan(&Key::new(Kind::MessagePage).conversation(conversation)).rev()
        {
            if newest_first.len() >= n {
                break;
            }
            let first_seq = Seq(ValueReader::new(&pair?.1)?.u64()?);
            let key = Key::new(Kind::Page).conversation(conversation).seq(first_seq);
            let page = self.pages().get(&key)?.ok_or(ValueError::Content)?;
            let entries = page::read(&page)?;
            let missing = n - newest_first.len();
            let messages = entries.iter().rev().filter(|entry| entry.message > gone).take(missing);
            for entry in messages {
                newest_first.push(self.folded(conversation, entry)?);
            }
        }
        newest_first.reverse();
        Ok(newest_first)
    }

    /// A message's event with everything laid over it that happened since.
    fn folded(
        &self,
        conversation: &ConversationId,
        entry: &PageEntry<'_>,
    ) -> Result<MessageState, StoreError> {
        let event = event_of(entry.record)?;
        let mut state = MessageState::created(&event).ok_or(ValueError::Content)?;
        let of_it = |kind: Kind| Key::new(kind).conversation(conversation).message(state.id);
        let edit = self.pages().scan(&of_it(Kind::Edit)).next_back().transpose()?;
        let deletion = self.pages().get(&of_it(Kind::Deletion))?;
        let replies = self.pages().get(&of_it(Kind::ReplyCount))?;
        let reactions = of_it(Kind::Reaction);
        if let Some((_, value)) = edit {
            let mut reader = ValueReader::new(&value)?;
            state.edits = reader.u32()?.saturating_sub(1);
            state.apply(&event_of(reader.rest())?);
        }
        if let Some(value) = deletion {
            state.apply(&event_of(ValueReader::new(&value)?.rest())?);
        }
        if let Some(value) = replies {
            state.reply_count = values::read_reply_count(&value)?.count;
        }
        for pair in self.pages().scan(&reactions) {
            let (key, _) = pair?;
            let mut reader = KeyReader::behind(&key, &reactions)?;
            let emoji = reader.text()?.to_owned();
            state.reactions.entry(emoji).or_default().insert(reader.user()?);
        }
        Ok(state)
    }
}

pub(super) fn mark_of(value: &[u8]) -> Result<Mark, StoreError> {
    let mut reader = ValueReader::new(value)?;
    reader.u64()?;
    match record::decode(reader.rest()).map_err(ValueError::from)? {
        Record::Mark { mark, .. } => Ok(mark),
        _ => Err(ValueError::Content.into()),
    }
}

pub(super) fn event_of(bytes: &[u8]) -> Result<Event, StoreError> {
    match record::decode(bytes).map_err(ValueError::from)? {
        Record::Event { event, .. } => {
            Ok(Arc::try_unwrap(event).unwrap_or_else(|shared| (*shared).clone()))
        }
        _ => Err(ValueError::Content.into()),
    }
}

/// The wall clock, for what is kept for days only.
pub(super) fn wall_now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// An edit's content, read back for whoever shows a message's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    pub number: u32,
    pub by: UserId,
    pub at: Wall,
    pub content: String,
}
