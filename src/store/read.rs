//! Reads from pages: state of messages, marks, first sends; whole pages of the past are in `past`. Blocking: for reader threads and
//! the HTTP side, never for a reactor.
//!
//! Events, marks and first sends that are not in pages yet are in their shard's memory and are not
//! seen here; the directory's changes are (see `directory`).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::limits::{CLIENT_MSG_ID_KEPT_MS, FIRST_SENDS_MAX, MARKS_SHOWN_MAX};
use crate::model::{
    ConversationId, Epoch, Event, FirstSend, FirstSendPlace, FirstSends, Header, LoadKey, Loaded,
    Mark, MessageId, MessageState, Seq, UserId, Wall,
};
use crate::node::journal::record;
use crate::node::ports::Record;

use super::error::{StoreError, ValueError};
use super::keys::{Day, Key, KeyReader, Kind};
use super::life::Lock;
use super::overlay::Overlay;
use super::page;
use super::pages::{Pages, guarded};
use super::values::{self, ValueReader};
use super::watermark::Watermark;

/// Most messages that [`LoadKey::Recent`] gives.
pub const RECENT_MAX: u32 = 1_000;

/// What all threads of an open store share. The lock goes last.
#[derive(Debug)]
pub(super) struct Shared {
    pub pages: Pages,
    pub overlay: Overlay,
    pub watermark: Watermark,
    pub epoch: Epoch,
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

    pub(super) fn watermark(&self) -> &Watermark {
        &self.shared.watermark
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.shared.epoch
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
                LoadKey::FirstSends(behind) => {
                    Loaded::FirstSends(self.first_sends(conversation, behind.as_ref())?)
                }
                LoadKey::Recent(n) => {
                    Loaded::Recent(self.recent(conversation, (*n).min(RECENT_MAX) as usize)?)
                }
                LoadKey::Marks(n) => {
                    Loaded::Marks(self.marks(conversation, (*n).min(MARKS_SHOWN_MAX))?.marks)
                }
            })
        })
    }

    /// How many deleted messages and conversations there are whose text pages or kept segments may have.
    pub fn texts_to_erase(&self) -> Result<usize, StoreError> {
        guarded(|| Ok(self.pages().scan(&Key::new(Kind::ToErase)).count()))
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

    pub(super) fn mark(
        &self,
        conversation: &ConversationId,
        user: &UserId,
    ) -> Result<Option<Mark>, StoreError> {
        let key = Key::new(Kind::Mark).conversation(conversation).user(user);
        let gone = self.gone_message(conversation);
        let mark = self.pages().get(&key)?.map(|value| mark_of(&value)).transpose()?;
        Ok(mark.filter(|mark| mark.message.0 > gone))
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

    /// A step through the first sends that still count, oldest day first.
    fn first_sends(
        &self,
        conversation: &ConversationId,
        behind: Option<&FirstSendPlace>,
    ) -> Result<FirstSends, StoreError> {
        let days = (CLIENT_MSG_ID_KEPT_MS / 86_400_000) as u32;
        let newest = Day::of(wall_now()).0.saturating_add(1);
        let oldest = newest.saturating_sub(days + 1);
        let mut found = FirstSends::default();
        for day in behind.map_or(oldest, |place| place.day.max(oldest))..=newest {
            let prefix = Key::new(Kind::FirstSend).day(Day(day)).conversation(conversation);
            let of_day = behind.filter(|place| place.day == day);
            let from = of_day.map_or(prefix.clone(), |place| {
                prefix.clone().user(&place.user).text(&place.client_msg_id)
            });
            for pair in self.pages().scan_from(&prefix, &from) {
                let (key, _) = pair?;
                let mut reader = KeyReader::behind(&key, &prefix)?;
                let (user, client_msg_id) = (reader.user()?, reader.text()?.to_owned());
                let place = FirstSendPlace { day, user, client_msg_id };
                if behind == Some(&place) {
                    continue;
                }
                if found.places.len() >= FIRST_SENDS_MAX {
                    return Ok(found);
                }
                found.places.push(place);
            }
        }
        found.is_last = true;
        Ok(found)
    }

    pub(super) fn message(
        &self,
        conversation: &ConversationId,
        id: MessageId,
    ) -> Result<Option<MessageState>, StoreError> {
        let Some(first_seq) = self.page_with(conversation, id)? else { return Ok(None) };
        let key = Key::new(Kind::Page).conversation(conversation).seq(first_seq);
        let Some(page) = self.pages().get(&key)? else {
            // Retention may have dropped the page and its index since the index was read.
            return match self.page_with(conversation, id)? {
                Some(_) => Err(ValueError::Content.into()),
                None => Ok(None),
            };
        };
        let page = page::open(&page)?;
        let entries = page.entries()?;
        let entry = entries.iter().find(|entry| entry.message == id.0);
        let Some(entry) = entry else { return Ok(None) };
        let touched = self.touched(conversation, [entry])?;
        self.folded(conversation, entry, &touched).map(Some)
    }

    /// The event that began a message, as it was then. While its segment is being built the index may be
    /// there before the page: then it is not found yet.
    pub(super) fn message_event(
        &self,
        conversation: &ConversationId,
        id: MessageId,
    ) -> Result<Option<Event>, StoreError> {
        let Some(first_seq) = self.page_with(conversation, id)? else { return Ok(None) };
        let key = Key::new(Kind::Page).conversation(conversation).seq(first_seq);
        let Some(page) = self.pages().get(&key)? else { return Ok(None) };
        let page = page::open(&page)?;
        let entries = page.entries()?;
        let entry = entries.iter().find(|entry| entry.message == id.0);
        entry.map(|entry| event_of(entry.record)).transpose()
    }

    /// The first seq of the page that has the message, if there is one.
    fn page_with(
        &self,
        conversation: &ConversationId,
        id: MessageId,
    ) -> Result<Option<Seq>, StoreError> {
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
        Ok((id.0 <= last_message).then_some(first_seq))
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
