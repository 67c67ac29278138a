//! A message as it is now: its event with its last edit, its deletion, its reactions and the number of its
//! replies laid over it.
//!
//! Nothing of that exists for most messages, and a look for what does not exist costs as much as one that finds.
//! So for a run of messages it is asked first which of them have something: one look of each kind, and one more
//! for each message that has.

use std::collections::BTreeSet;

use crate::model::{ConversationId, MessageState};

use super::error::{StoreError, ValueError};
use super::keys::{Key, KeyReader, Kind};
use super::page::PageEntry;
use super::read::{ReadHandle, event_of};
use super::values::{self, ValueReader};

/// Ids of those of some messages that have something of a kind.
#[derive(Debug, Default)]
pub(super) struct Touched {
    edited: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    answered: BTreeSet<u64>,
    reacted: BTreeSet<u64>,
}

impl ReadHandle {
    /// What there is to lay over these messages, which are near each other.
    pub(super) fn touched<'a>(
        &self,
        conversation: &ConversationId,
        entries: impl IntoIterator<Item = &'a PageEntry<'a>>,
    ) -> Result<Touched, StoreError> {
        let ids: BTreeSet<u64> = entries.into_iter().map(|entry| entry.message).collect();
        let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else {
            return Ok(Touched::default());
        };
        let of = |kind| self.ids_with(Key::new(kind).conversation(conversation), first, last);
        Ok(Touched {
            edited: of(Kind::Edit)?,
            deleted: of(Kind::Deletion)?,
            answered: of(Kind::ReplyCount)?,
            reacted: of(Kind::Reaction)?,
        })
    }

    /// The ids from `first` to `last` that follow `prefix` in keys. However many keys an id has, it is one look.
    fn ids_with(&self, prefix: Key, first: u64, last: u64) -> Result<BTreeSet<u64>, StoreError> {
        let end = prefix.clone().number(last.saturating_add(1));
        let mut found = BTreeSet::new();
        let mut next = first;
        while next <= last {
            let from = prefix.clone().number(next);
            let pair = self.pages().between(from.as_ref(), end.as_ref()).next().transpose()?;
            let Some((key, _)) = pair else { break };
            let id = KeyReader::behind(&key, &prefix)?.number()?;
            found.insert(id);
            next = id.saturating_add(1);
        }
        Ok(found)
    }

    /// One of the messages that `touched` was asked for.
    pub(super) fn folded(
        &self,
        conversation: &ConversationId,
        entry: &PageEntry<'_>,
        touched: &Touched,
    ) -> Result<MessageState, StoreError> {
        let event = event_of(entry.record)?;
        let mut state = MessageState::created(&event).ok_or(ValueError::Content)?;
        let of_it = |kind: Kind| Key::new(kind).conversation(conversation).message(state.id);
        let (edits, reactions) = (of_it(Kind::Edit), of_it(Kind::Reaction));
        let (deletion, replies) = (of_it(Kind::Deletion), of_it(Kind::ReplyCount));
        let id = entry.message;
        if touched.edited.contains(&id)
            && let Some((_, value)) = self.pages().scan(&edits).next_back().transpose()?
        {
            let mut reader = ValueReader::new(&value)?;
            state.edits = reader.u32()?.saturating_sub(1);
            state.apply(&event_of(reader.rest())?);
        }
        if touched.deleted.contains(&id)
            && let Some(value) = self.pages().get(&deletion)?
        {
            state.apply(&event_of(ValueReader::new(&value)?.rest())?);
        }
        if touched.answered.contains(&id)
            && let Some(value) = self.pages().get(&replies)?
        {
            state.reply_count = values::read_reply_count(&value)?.count;
        }
        if touched.reacted.contains(&id) {
            self.lay_reactions(&reactions, &mut state)?;
        }
        Ok(state)
    }

    fn lay_reactions(&self, prefix: &Key, state: &mut MessageState) -> Result<(), StoreError> {
        for pair in self.pages().scan(prefix) {
            let (key, _) = pair?;
            let mut reader = KeyReader::behind(&key, prefix)?;
            let emoji = reader.text()?.to_owned();
            state.reactions.entry(emoji).or_default().insert(reader.user()?);
        }
        Ok(())
    }
}
