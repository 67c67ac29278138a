//! Retention: whole pages whose newest event is too old are dropped, with everything that is kept about
//! their messages. Where the conversation stands, its members and its marks stay.
//!
//! A page goes in one step that cannot be halved: what is left always begins behind what is marked as gone.
//! The text in kept segments is queued for erasing in that same step.

use crate::model::{ConversationId, Event, EventBody, MessageId, Seq, Tombstone, Wall};

use super::erasing::Progress;
use super::error::StoreError;
use super::keys::{Day, Key, KeyReader, Kind};
use super::overlay::Overlay;
use super::page;
use super::pages::{Batch, Pages};
use super::read::event_of;
use super::values::{self, Gone, ToErase, ValueReader, Why};

const DAY_MS: u64 = 86_400_000;
/// Conversations that one step looks at, and pages that it drops.
const STEP_CONVERSATIONS: usize = 256;
const STEP_PAGES: usize = 16;

/// Goes through the conversations once.
pub struct Sweep {
    days: Option<u32>,
    now: Wall,
    after: Option<ConversationId>,
    has_dropped: bool,
}

impl Sweep {
    /// `days`: of conversations that have none of their own.
    pub fn new(days: Option<u32>, now: Wall) -> Sweep {
        Sweep { days, now, after: None, has_dropped: false }
    }

    /// Pages lost something.
    pub fn has_dropped(&self) -> bool {
        self.has_dropped
    }

    /// A bounded piece of the work.
    pub fn step(&mut self, pages: &Pages, overlay: &Overlay) -> Result<Progress, StoreError> {
        // Without an age for all only those that have their own are looked at.
        let kind = if self.days.is_some() { Kind::Header } else { Kind::Retention };
        let prefix = Key::new(kind);
        let from = self.after.as_ref().map_or(prefix.clone(), |id| prefix.clone().conversation(id));
        let mut dropped = 0;
        let mut is_last = true;
        for pair in pages.scan_from(&prefix, &from).take(STEP_CONVERSATIONS) {
            let conversation = KeyReader::new(&pair?.0, kind)?.conversation()?;
            if self.after.as_ref() == Some(&conversation) {
                continue;
            }
            is_last = false;
            if overlay.importing(&conversation).is_some() {
                // Its pages are built from the first on: they go once they are whole.
                self.after = Some(conversation);
                continue;
            }
            if let Some(until) = self.until(pages, &conversation)? {
                dropped += drop_pages(pages, &conversation, until, STEP_PAGES)?;
            }
            self.has_dropped |= dropped > 0;
            if dropped >= STEP_PAGES {
                // There may be more of the same conversation.
                return Ok(Progress::More);
            }
            self.after = Some(conversation);
        }
        Ok(if is_last { Progress::Done } else { Progress::More })
    }

    /// Events up to this time are too old.
    fn until(
        &self,
        pages: &Pages,
        conversation: &ConversationId,
    ) -> Result<Option<Wall>, StoreError> {
        let own = pages.get(&Key::new(Kind::Retention).conversation(conversation))?;
        let days = match own {
            Some(value) => Some(ValueReader::new(&value)?.u32()?),
            None => self.days,
        };
        Ok(days.map(|days| Wall(self.now.0.saturating_sub(u64::from(days) * DAY_MS))))
    }
}

/// Drops at most so many pages from the front; says how many.
fn drop_pages(
    pages: &Pages,
    conversation: &ConversationId,
    until: Wall,
    most: usize,
) -> Result<usize, StoreError> {
    let prefix = Key::new(Kind::Page).conversation(conversation);
    let mut dropped = 0;
    for pair in pages.scan(&prefix).take(most) {
        let (key, value) = pair?;
        let page = page::open(&value)?;
        let entries = page.entries()?;
        let mut events = Vec::with_capacity(entries.len());
        for entry in &entries {
            events.push(event_of(entry.record)?);
        }
        if events.last().is_none_or(|newest| newest.at > until) {
            break;
        }
        let mut batch = Batch::default();
        batch.remove(&key[..]);
        events.iter().try_for_each(|event| forget(pages, conversation, event, &mut batch))?;
        mark_gone(pages, conversation, &events, &mut batch)?;
        pages.apply(batch)?;
        dropped += 1;
    }
    Ok(dropped)
}

/// All that is kept about an event of a page that goes. What it happened to is as old or older.
fn forget(
    pages: &Pages,
    conversation: &ConversationId,
    event: &Event,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let of = |kind: Kind| Key::new(kind).conversation(conversation);
    match &event.body {
        EventBody::Message(body) => {
            batch.remove(of(Kind::MessagePage).message(body.id).into_bytes());
            batch.remove(of(Kind::Deletion).message(body.id).into_bytes());
            batch.remove(of(Kind::ReplyCount).message(body.id).into_bytes());
            batch.remove(of(Kind::ToErase).message(body.id).into_bytes());
            for kind in [Kind::Edit, Kind::Reaction, Kind::Reply] {
                for pair in pages.scan(&of(kind).message(body.id)) {
                    batch.remove(pair?.0);
                }
            }
            if let Some(parent) = body.parent {
                batch.remove(of(Kind::Reply).message(parent).message(body.id).into_bytes());
            }
            if let Some(client_msg_id) = &body.client_msg_id {
                let key = Key::new(Kind::FirstSend).day(Day::of(event.at));
                let key = key.conversation(conversation).user(&body.sender.id).text(client_msg_id);
                batch.remove(key.into_bytes());
            }
        }
        EventBody::Edit { message, .. } => {
            batch.remove(of(Kind::Edit).message(*message).seq(event.seq).into_bytes());
        }
        EventBody::Delete { message, .. } => {
            batch.remove(of(Kind::Deletion).message(*message).into_bytes());
        }
        EventBody::Reaction { message, user, emoji, .. } => {
            let key = of(Kind::Reaction).message(*message).text(emoji).user(user);
            batch.remove(key.into_bytes());
        }
    }
    Ok(())
}

fn mark_gone(
    pages: &Pages,
    conversation: &ConversationId,
    events: &[Event],
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let Some(newest) = events.last() else { return Ok(()) };
    let gone = Key::new(Kind::Gone).conversation(conversation);
    let before = pages.get(&gone)?.map(|value| values::read_gone(&value)).transpose()?;
    let newest_message = events.iter().rev().find_map(|event| match &event.body {
        EventBody::Message(body) => Some(body.id.0),
        _ => None,
    });
    let last_message = newest_message.or(before.map(|gone| gone.through.last_message));
    let through =
        Tombstone { at: newest.at, last_seq: newest.seq, last_message: last_message.unwrap_or(0) };
    let value = values::write_gone(&Gone { why: Why::Retention, through });
    batch.insert(gone.into_bytes(), value);
    let text = Key::new(Kind::ToErase).conversation(conversation).message(MessageId(0));
    let queued = pages.get(&text)?.map(|value| values::read_to_erase(&value)).transpose()?;
    let value = values::write_to_erase(&ToErase {
        through: newest.seq.max(queued.map_or(Seq(0), |queued| queued.through)),
        since: newest.at,
    });
    batch.insert(text.into_bytes(), value);
    Ok(())
}
