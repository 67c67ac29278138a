//! The messages that are in memory: all that an unsealed event touched, and some sealed ones for speed.
//!
//! A new message is held as its event, which the log holds anyway; only what happens to it later makes a
//! [`MessageState`] of it. Sealed ("clean") messages stay while there are at most
//! [`CLEAN_MESSAGES_MAX`] of at most [`CLEAN_BYTES_MAX`] bytes; then the oldest goes first.
//!
//! Invariants: the last `unsealed` messages are those whose own event is not known to be sealed: ids and seqs
//! rise together, and what the store loads is sealed. `touches` has one entry per later event and message
//! that it touched, in order of seq. A message is clean when the last event that touched it is sealed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::timeline::Timeline;
use crate::model::{Event, EventBody, MessageBody, MessageId, MessageState, Seq, UserId};

/// Sealed messages that are kept for speed.
const CLEAN_MESSAGES_MAX: usize = 512;
const CLEAN_BYTES_MAX: usize = 1 << 20;
/// What a message takes besides its text, about.
const MESSAGE_BYTES: usize = 256;
/// Ids that the store does not know as messages of this conversation. Ids are never given twice, so it
/// will never know them.
const ABSENT_IDS_MAX: usize = 128;

#[derive(Debug)]
enum Held {
    /// As it was sent; its event is not known to be sealed.
    Fresh(Arc<Event>),
    /// As it was sent, and sealed.
    Sealed(Arc<Event>),
    Folded(Box<Folded>),
}

#[derive(Debug)]
struct Folded {
    state: MessageState,
    /// The last event that touched it and is not known to be sealed; 0 when all are.
    touched: Seq,
}

#[derive(Debug, Default)]
pub(super) struct Messages {
    held: Timeline<Held>,
    unsealed: usize,
    touches: VecDeque<(Seq, MessageId)>,
    clean: BTreeSet<MessageId>,
    clean_bytes: usize,
    absent: VecDeque<MessageId>,
    /// (parent, reply) of the replies in memory.
    replies: BTreeSet<(MessageId, MessageId)>,
}

/// What decisions need of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub seq: Seq,
    pub ordinal: u64,
    pub sender: &'a UserId,
    pub content: &'a str,
    pub is_deleted: bool,
}

impl Messages {
    pub fn get(&self, message: MessageId) -> Option<View<'_>> {
        Some(match self.held.get(message)? {
            Held::Fresh(event) | Held::Sealed(event) => {
                let body = body_of(event);
                View {
                    seq: event.seq,
                    ordinal: body.ordinal,
                    sender: &body.sender.id,
                    content: &body.content,
                    is_deleted: false,
                }
            }
            Held::Folded(folded) => View {
                seq: folded.state.seq,
                ordinal: folded.state.ordinal,
                sender: &folded.state.sender.id,
                content: &folded.state.content,
                is_deleted: folded.state.deleted_at.is_some(),
            },
        })
    }

    /// Who reacted with an emoji: empty for a kind that the message does not have.
    pub fn reactions(&self, message: MessageId) -> Option<&BTreeMap<String, BTreeSet<UserId>>> {
        match self.held.get(message)? {
            Held::Fresh(_) | Held::Sealed(_) => None,
            Held::Folded(folded) => Some(&folded.state.reactions),
        }
    }

    pub fn contains(&self, message: MessageId) -> bool {
        self.held.contains(message)
    }

    /// Folds a decided event in. What it touches is in memory: a command waits until it is.
    pub fn apply(&mut self, event: &Arc<Event>) {
        match &event.body {
            EventBody::Message(body) => {
                self.held.insert(body.id, Held::Fresh(event.clone()));
                self.unsealed += 1;
                if let Some(parent) = body.parent {
                    self.replies.insert((parent, body.id));
                    self.touch(parent, event);
                }
            }
            EventBody::Edit { message, .. }
            | EventBody::Delete { message, .. }
            | EventBody::Reaction { message, .. } => self.touch(*message, event),
        }
    }

    fn touch(&mut self, message: MessageId, event: &Event) {
        let Some(held) = self.held.get_mut(message) else {
            unreachable!("an event touches only what is in memory")
        };
        if self.clean.remove(&message) {
            self.clean_bytes -= held.bytes();
        }
        held.fold(event);
        self.touches.push_back((event.seq, message));
    }

    /// The store's state of a message. What is in memory is newer and stays.
    pub fn insert_loaded(&mut self, state: MessageState) {
        let message = state.id;
        if self.contains(message) {
            return;
        }
        self.clean_bytes += bytes_of(&state);
        self.held.insert(message, Held::Folded(Box::new(Folded { state, touched: Seq(0) })));
        self.clean.insert(message);
    }

    /// The store has no such message in this conversation.
    pub fn insert_absent(&mut self, message: MessageId) {
        if !self.is_absent(message) {
            if self.absent.len() >= ABSENT_IDS_MAX {
                self.absent.pop_front();
            }
            self.absent.push_back(message);
        }
    }

    pub fn is_absent(&self, message: MessageId) -> bool {
        self.absent.contains(&message)
    }

    /// Lets what is sealed leave memory, as far as it is too much and not pinned. Goes on until `budget`
    /// is used up.
    pub fn sweep(
        &mut self,
        sealed: Seq,
        budget: &mut usize,
        is_pinned: impl Fn(MessageId) -> bool,
    ) {
        while *budget > 0 && self.has_sealed_birth(sealed) {
            *budget -= 1;
            self.birth_sealed();
        }
        while *budget > 0 && self.has_sealed_touch(sealed) {
            *budget -= 1;
            let Some((seq, message)) = self.touches.pop_front() else { break };
            self.touch_sealed(seq, message);
        }
        self.evict(budget, is_pinned);
    }

    /// There is something to sweep.
    pub fn has_backlog(&self, sealed: Seq) -> bool {
        self.has_sealed_birth(sealed) || self.has_sealed_touch(sealed) || self.is_over()
    }

    fn has_sealed_birth(&self, sealed: Seq) -> bool {
        let first = self.held.len() - self.unsealed;
        self.held.at(first).is_some_and(|(_, held)| held.seq() <= sealed)
    }

    fn has_sealed_touch(&self, sealed: Seq) -> bool {
        self.touches.front().is_some_and(|(seq, _)| *seq <= sealed)
    }

    fn birth_sealed(&mut self) {
        let first = self.held.len() - self.unsealed;
        let Some((message, held)) = self.held.at_mut(first) else { return };
        self.unsealed -= 1;
        if let Held::Fresh(event) = held {
            *held = Held::Sealed(event.clone());
            self.clean.insert(*message);
            self.clean_bytes += held.bytes();
        }
    }

    fn touch_sealed(&mut self, seq: Seq, message: MessageId) {
        if let Some(Held::Folded(folded)) = self.held.get_mut(message)
            && folded.touched == seq
        {
            folded.touched = Seq(0);
            self.clean.insert(message);
            self.clean_bytes += bytes_of(&folded.state);
        }
    }

    fn evict(&mut self, budget: &mut usize, is_pinned: impl Fn(MessageId) -> bool) {
        while *budget > 0 && self.is_over() {
            let Some(message) = self.clean.iter().copied().find(|message| !is_pinned(*message))
            else {
                return;
            };
            *budget -= 1;
            self.forget(message);
        }
    }

    /// Lets all that is sealed leave memory, the pinned apart.
    pub fn forget_sealed(&mut self, is_pinned: impl Fn(MessageId) -> bool) {
        for message in self.clean.clone() {
            if !is_pinned(message) {
                self.forget(message);
            }
        }
    }

    fn forget(&mut self, message: MessageId) {
        self.clean.remove(&message);
        if let Some(held) = self.held.remove(message) {
            self.clean_bytes -= held.bytes();
            if let Some(parent) = held.parent() {
                self.replies.remove(&(parent, message));
            }
        }
    }

    /// More clean messages are held than should be.
    fn is_over(&self) -> bool {
        self.clean.len() > CLEAN_MESSAGES_MAX || self.clean_bytes > CLEAN_BYTES_MAX
    }

    /// Every event that touched a message in memory is sealed.
    pub fn are_sealed(&self, sealed: Seq) -> bool {
        let births =
            || self.held.at(self.held.len() - 1).is_none_or(|(_, last)| last.seq() <= sealed);
        (self.unsealed == 0 || births())
            && self.touches.back().is_none_or(|(seq, _)| *seq <= sealed)
    }

    /// A message as it is now, if it is in memory.
    pub fn state(&self, message: MessageId) -> Option<MessageState> {
        self.held.get(message).map(Held::state)
    }

    /// An event that touched it is not known to be sealed.
    pub fn is_touched(&self, message: MessageId) -> bool {
        self.held.get(message).is_some_and(Held::is_touched)
    }

    /// Ids in memory in this range, in order.
    pub fn ids(
        &self,
        range: RangeInclusive<MessageId>,
    ) -> impl DoubleEndedIterator<Item = MessageId> {
        self.held.ids(range)
    }

    /// Replies in memory with ids in this range, in order.
    pub fn replies(
        &self,
        parent: MessageId,
        range: RangeInclusive<MessageId>,
    ) -> impl Iterator<Item = MessageId> {
        let to = *range.end();
        let from = self.replies.range((parent, *range.start())..);
        from.take_while(move |(of, reply)| *of == parent && *reply <= to).map(|&(_, reply)| reply)
    }

    /// The last `count` messages of the store's `stored` and of memory, oldest first.
    pub fn recent(&self, count: usize, stored: Vec<MessageState>) -> Vec<MessageState> {
        let mut newest: BTreeMap<MessageId, MessageState> =
            stored.into_iter().map(|state| (state.id, state)).collect();
        for (message, held) in self.held.newest().take(count) {
            newest.insert(message, held.state());
        }
        // Older ones of memory are newer than the store's copies.
        for (message, state) in &mut newest {
            if let Some(held) = self.held.get(*message) {
                *state = held.state();
            }
        }
        let surplus = newest.len().saturating_sub(count);
        newest.into_values().skip(surplus).collect()
    }
}

impl Held {
    /// Of the message's own event.
    fn seq(&self) -> Seq {
        match self {
            Held::Fresh(event) | Held::Sealed(event) => event.seq,
            Held::Folded(folded) => folded.state.seq,
        }
    }

    fn is_touched(&self) -> bool {
        match self {
            Held::Fresh(_) => true,
            Held::Sealed(_) => false,
            Held::Folded(folded) => folded.touched > Seq(0),
        }
    }

    /// What it counts for while it is clean.
    fn bytes(&self) -> usize {
        match self {
            Held::Fresh(event) | Held::Sealed(event) => {
                MESSAGE_BYTES + body_of(event).content.len()
            }
            Held::Folded(folded) => bytes_of(&folded.state),
        }
    }

    fn parent(&self) -> Option<MessageId> {
        match self {
            Held::Fresh(event) | Held::Sealed(event) => body_of(event).parent,
            Held::Folded(folded) => folded.state.parent,
        }
    }

    fn fold(&mut self, event: &Event) {
        if !matches!(self, Held::Folded(_)) {
            *self = Held::Folded(Box::new(Folded { state: self.state(), touched: event.seq }));
        }
        if let Held::Folded(folded) = self {
            folded.state.apply(event);
            folded.touched = event.seq;
        }
    }

    fn state(&self) -> MessageState {
        match self {
            Held::Fresh(event) | Held::Sealed(event) => match MessageState::created(event) {
                Some(state) => state,
                None => unreachable!("only a message event begins a message"),
            },
            Held::Folded(folded) => folded.state.clone(),
        }
    }
}

fn body_of(event: &Event) -> &MessageBody {
    match &event.body {
        EventBody::Message(body) => body,
        _ => unreachable!("only a message event begins a message"),
    }
}

/// About what a message takes in memory.
fn bytes_of(state: &MessageState) -> usize {
    let reactions: usize =
        state.reactions.iter().map(|(emoji, users)| emoji.len() + users.len() * 64).sum();
    MESSAGE_BYTES + state.content.len() + reactions
}
