//! Pages of the past: what the store has of them, with what is in memory laid over it. A message that
//! is in memory is newer than the store's copy; marks only rise, so the higher of two is the newer.
//!
//! All of it is decided state: whoever shows it waits until that is durable.

use std::collections::{BTreeMap, BTreeSet};

use super::conversation::Conversation;
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_MESSAGES_MAX, MARKS_SHOWN_MAX};
use crate::model::{
    Epoch, History, HistoryQuery, Listed, Mark, MessageId, MessageState, Reader, ReadersQuery,
    RepliesQuery, ShownMessage, Sides, Standing, StandingQuery, StoredMarks, StoredPage,
    StoredStanding, UserId,
};

/// How far each user has read, by user.
type Marks = BTreeMap<UserId, MessageId>;

impl Conversation {
    /// A page of messages.
    pub fn history(&self, query: HistoryQuery, stored: StoredPage) -> History {
        let limit = query.limit.min(HISTORY_MESSAGES_MAX);
        let Sides { pivot, older, newer } = HistoryQuery { limit, ..query }.sides();
        let behind = MessageId(pivot.0.saturating_add(1));
        let below = self.messages.ids(stored.covers_from..=pivot).rev().take(older + 1);
        let above = self.messages.ids(behind..=stored.covers_to).take(newer + 1);
        let has_more_stored = (older > 0 && stored.covers_from > MessageId(0))
            || (newer > 0 && stored.covers_to < MessageId(u64::MAX));
        let marks = self.marks_over(stored.marks.marks);
        let mut laid = LaidOver::new(stored.messages, below.chain(above));
        let below = laid.ids.range(..=pivot).rev().copied().collect();
        let above = laid.ids.range(behind..).copied().collect();
        let (mut messages, has_older) = self.taken(&mut laid, below, older);
        messages.reverse();
        let (newer_ones, has_newer) = self.taken(&mut laid, above, newer);
        messages.extend(newer_ones);
        History {
            reference: None,
            messages: messages.into_iter().map(|state| shown(state, &marks)).collect(),
            pivot,
            has_more: has_more_stored || has_older || has_newer,
            seq: self.header.last_seq,
        }
    }

    /// A page of a message's replies; `None` when there is no such message.
    pub fn replies(&self, query: RepliesQuery, stored: StoredPage) -> Option<History> {
        if !stored.has_parent && !self.messages.contains(query.parent) {
            return None;
        }
        let limit = query.limit.min(HISTORY_MESSAGES_MAX) as usize;
        let behind = MessageId(query.after.0.saturating_add(1));
        let fresh = self.messages.replies(query.parent, behind..=stored.covers_to);
        let marks = self.marks_over(stored.marks.marks);
        let mut laid = LaidOver::new(stored.messages, fresh.take(limit + 1));
        let ids = laid.ids.iter().copied().collect();
        let (messages, is_cut) = self.taken(&mut laid, ids, limit);
        Some(History {
            reference: None,
            has_more: stored.covers_to < MessageId(u64::MAX) || is_cut,
            messages: messages.into_iter().map(|state| shown(state, &marks)).collect(),
            pivot: query.after,
            seq: self.header.last_seq,
        })
    }

    /// Where somebody stands.
    pub fn standing(
        &self,
        query: &StandingQuery,
        stored: StoredStanding,
        epoch: Epoch,
    ) -> Standing {
        let mark = query.user.as_ref().and_then(|user| self.own_mark(user, stored.mark));
        let (readers, has_more_readers) = self.readers(&query.readers, stored.readers);
        Standing {
            conversation: self.id.clone(),
            epoch,
            role: None,
            seq: self.header.last_seq,
            messages: self.header.messages,
            last_message: self
                .last_message(stored.last_message)
                .map(|state| ShownMessage::new(state, None)),
            mark: mark.map(|(message, _)| message),
            unread: mark.map_or(self.header.messages, |(_, ordinal)| {
                self.header.messages.saturating_sub(ordinal.saturating_add(1))
            }),
            readers,
            has_more_readers,
        }
    }

    /// The marks that may be shown, in order of the users' ids, and how many there are.
    pub fn all_marks(&self, stored: StoredMarks) -> (Vec<Reader>, u32) {
        let is_whole = stored.count as usize == stored.marks.len();
        let merged = self.marks_over(stored.marks);
        let count = match is_whole {
            true => u32::try_from(merged.len()).unwrap_or(u32::MAX),
            false => stored.count,
        };
        let shown = merged.into_iter().take(MARKS_SHOWN_MAX as usize);
        (shown.map(|(user, mark)| Reader { user, mark }).collect(), count)
    }

    /// Whether something happened to the message that pages may not have.
    pub fn is_touched(&self, message: MessageId) -> bool {
        self.messages.is_touched(message)
    }

    /// The first of these messages, as many as were asked for or as are long enough together; and
    /// whether some are left. Only what is taken is copied.
    fn taken(
        &self,
        laid: &mut LaidOver,
        ids: Vec<MessageId>,
        count_max: usize,
    ) -> (Vec<MessageState>, bool) {
        let (mut states, mut bytes) = (Vec::new(), 0);
        for id in ids {
            if states.len() >= count_max || bytes >= HISTORY_BYTES_MAX {
                return (states, true);
            }
            // What is in memory is newer.
            let Some(state) = self.messages.state(id).or_else(|| laid.stored.remove(&id)) else {
                continue;
            };
            bytes += state.weight();
            states.push(state);
        }
        (states, false)
    }

    fn last_message(&self, stored: Option<MessageState>) -> Option<MessageState> {
        let last = MessageId(self.header.last_message);
        self.messages.state(last).or(stored)
    }

    fn own_mark(&self, user: &UserId, stored: Option<Mark>) -> Option<(MessageId, u64)> {
        let held = self.people.find(user).and_then(|user| self.people[user].receipt.marked());
        held.max(stored.map(|mark| (mark.message, mark.ordinal)))
    }

    fn marks_over(&self, stored: Vec<Mark>) -> Marks {
        let mut marks: Marks = stored.into_iter().map(|mark| (mark.user, mark.message)).collect();
        for (_, user) in self.people.users() {
            if let Some((message, _)) = user.receipt.marked() {
                let mark = marks.entry(user.profile.id.clone()).or_insert(message);
                *mark = message.max(*mark);
            }
        }
        marks
    }

    fn readers(&self, query: &ReadersQuery, stored: Vec<Mark>) -> (Vec<Reader>, bool) {
        let merged = self.marks_over(stored);
        let reader = |(user, mark)| Reader { user, mark };
        match query {
            ReadersQuery::Nobody => (Vec::new(), false),
            ReadersQuery::These(users) => {
                let asked = merged.into_iter().filter(|(user, _)| users.contains(user));
                (asked.map(reader).collect(), false)
            }
            ReadersQuery::Behind { after, limit } => {
                let is_behind = |user: &UserId| after.as_ref().is_none_or(|after| user > after);
                let mut found: Vec<Reader> =
                    merged.into_iter().filter(|(user, _)| is_behind(user)).map(reader).collect();
                let has_more = found.len() > *limit as usize;
                found.truncate(*limit as usize);
                (found, has_more)
            }
        }
    }
}

/// The store's messages, and the ids of these and of those in memory.
struct LaidOver {
    stored: BTreeMap<MessageId, MessageState>,
    ids: BTreeSet<MessageId>,
}

impl LaidOver {
    fn new(stored: Vec<MessageState>, fresh: impl Iterator<Item = MessageId>) -> LaidOver {
        let stored: BTreeMap<_, _> = stored.into_iter().map(|state| (state.id, state)).collect();
        let ids = stored.keys().copied().chain(fresh).collect();
        LaidOver { stored, ids }
    }
}

fn shown(state: MessageState, marks: &Marks) -> ShownMessage {
    let readers = marks.iter().filter(|(_, mark)| **mark >= state.id).map(|(user, _)| user);
    let read_by = Listed::of(readers);
    ShownMessage::new(state, Some(read_by))
}
