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
    /// Nothing happened to it since.
    Sent {
        event: Arc<Event>,
        is_sealed: bool,
    },
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
    /// Clean ones to which nothing happened, oldest first, and some that are not clean any more.
    clean_sent: VecDeque<MessageId>,
    /// The other clean ones.
    clean_folded: BTreeSet<MessageId>,
    clean_count: usize,
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
            Held::Sent { event, .. } => {
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
            Held::Sent { .. } => None,
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
                let held = Held::Sent { event: event.clone(), is_sealed: false };
                self.held.insert(body.id, held);
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
        if !held.is_touched() {
            self.clean_folded.remove(&message);
            self.clean_count -= 1;
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
        self.clean_count += 1;
        self.clean_bytes += bytes_of(&state);
        self.held.insert(message, Held::Folded(Box::new(Folded { state, touched: Seq(0) })));
        self.clean_folded.insert(message);
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
        if let Held::Sent { is_sealed, .. } = held {
            *is_sealed = true;
            self.clean_sent.push_back(*message);
            self.clean_count += 1;
            self.clean_bytes += held.bytes();
        }
    }

    fn touch_sealed(&mut self, seq: Seq, message: MessageId) {
        if let Some(Held::Folded(folded)) = self.held.get_mut(message)
            && folded.touched == seq
        {
            folded.touched = Seq(0);
            self.clean_folded.insert(message);
            self.clean_count += 1;
            self.clean_bytes += bytes_of(&folded.state);
        }
    }

    fn evict(&mut self, budget: &mut usize, is_pinned: impl Fn(MessageId) -> bool) {
        while *budget > 0 && self.is_over() {
            let Some(message) = self.oldest_clean(&is_pinned) else { return };
            *budget -= 1;
            self.forget(message);
        }
    }

    /// The oldest clean message that is not pinned.
    fn oldest_clean(&mut self, is_pinned: impl Fn(MessageId) -> bool) -> Option<MessageId> {
        let mut sent = None;
        let mut at = 0;
        while let Some(&message) = self.clean_sent.get(at) {
            match self.held.get(message) {
                Some(Held::Sent { .. }) if is_pinned(message) => at += 1,
                Some(Held::Sent { .. }) => {
                    sent = Some(message);
                    break;
                }
                // Something happened to it, or it is gone.
                _ => drop(self.clean_sent.remove(at)),
            }
        }
        let folded = self.clean_folded.iter().copied().find(|message| !is_pinned(*message));
        [sent, folded].into_iter().flatten().min()
    }

    /// Lets all that is sealed leave memory, the pinned apart.
    pub fn forget_sealed(&mut self, is_pinned: impl Fn(MessageId) -> bool) {
        while let Some(message) = self.oldest_clean(&is_pinned) {
            self.forget(message);
        }
        self.clean_sent.shrink_to_fit();
    }

    /// One that is clean.
    fn forget(&mut self, message: MessageId) {
        self.clean_folded.remove(&message);
        if let Some(held) = self.held.remove(message) {
            self.clean_count -= 1;
            self.clean_bytes -= held.bytes();
            if let Some(parent) = held.parent() {
                self.replies.remove(&(parent, message));
            }
        }
    }

    /// More clean messages are held than should be.
    fn is_over(&self) -> bool {
        self.clean_count > CLEAN_MESSAGES_MAX || self.clean_bytes > CLEAN_BYTES_MAX
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
            Held::Sent { event, .. } => event.seq,
            Held::Folded(folded) => folded.state.seq,
        }
    }

    fn is_touched(&self) -> bool {
        match self {
            Held::Sent { is_sealed, .. } => !is_sealed,
            Held::Folded(folded) => folded.touched > Seq(0),
        }
    }

    /// What it counts for while it is clean.
    fn bytes(&self) -> usize {
        match self {
            Held::Sent { event, .. } => MESSAGE_BYTES + body_of(event).content.len(),
            Held::Folded(folded) => bytes_of(&folded.state),
        }
    }

    fn parent(&self) -> Option<MessageId> {
        match self {
            Held::Sent { event, .. } => body_of(event).parent,
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
            Held::Sent { event, .. } => match MessageState::created(event) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Profile, Wall};

    fn event(seq: u64, body: EventBody) -> Arc<Event> {
        Arc::new(Event { seq: Seq(seq), at: Wall(seq), body })
    }

    fn user() -> UserId {
        UserId::from_number(1).unwrap()
    }

    fn sent(seq: u64, id: u64) -> Arc<Event> {
        let body = MessageBody {
            id: MessageId(id),
            ordinal: 0,
            sender: Profile::nameless(user()).into(),
            content: "x".repeat(id as usize % 7),
            parent: None,
            client_msg_id: None,
        };
        event(seq, EventBody::Message(body))
    }

    fn edited(seq: u64, id: u64) -> Arc<Event> {
        let (message, content) = (MessageId(id), "y".repeat(seq as usize % 5));
        event(seq, EventBody::Edit { message, by: user(), content })
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Send,
        /// The newest but so many.
        Edit(u64),
        /// All but the last so many events are sealed, and so much may be swept.
        Sweep(u64, usize),
        Load(u64),
        Forget,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Send),
            2 => (0..20u64).prop_map(Step::Edit),
            3 => (0..10u64, 0..20usize).prop_map(|(left, budget)| Step::Sweep(left, budget)),
            1 => (1..1_000u64).prop_map(Step::Load),
            1 => Just(Step::Forget),
        ]
    }

    proptest! {
        #[test]
        fn what_is_clean_is_counted_and_the_rest_stays(
            steps in prop::collection::vec(step(), 0..300),
            pinned in 1_000..1_100u64,
        ) {
            let mut messages = Messages::default();
            let (mut seq, mut last, mut sealed) = (0, 1_000, 0);
            // By message, the last event that touched it.
            let mut touched = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Send => {
                        (seq, last) = (seq + 1, last + 1);
                        messages.apply(&sent(seq, last));
                        touched.insert(last, seq);
                    }
                    Step::Edit(back) if messages.contains(MessageId(last - back)) => {
                        seq += 1;
                        messages.apply(&edited(seq, last - back));
                        touched.insert(last - back, seq);
                    }
                    Step::Edit(_) => {}
                    Step::Sweep(left, mut budget) => {
                        sealed = sealed.max(seq.saturating_sub(left));
                        messages.sweep(Seq(sealed), &mut budget, |id| id.0 == pinned);
                    }
                    Step::Load(id) => {
                        let state = MessageState::created(&sent(0, id)).unwrap();
                        messages.insert_loaded(state);
                    }
                    Step::Forget => messages.forget_sealed(|id| id.0 == pinned),
                }
                let clean = messages.held.newest().filter(|(_, held)| !held.is_touched());
                let (count, bytes) = clean.fold((0, 0), |(n, sum), (_, held)| (n + 1, sum + held.bytes()));
                prop_assert_eq!((messages.clean_count, messages.clean_bytes), (count, bytes));
                let all_here = touched.iter().all(|(id, at)| *at <= sealed || messages.contains(MessageId(*id)));
                prop_assert!(all_here, "what is not sealed has left memory");
            }
            let was_pinned = messages.contains(MessageId(pinned));
            messages.sweep(Seq(seq), &mut usize::MAX.clone(), |id| id.0 == pinned);
            prop_assert!(!messages.has_backlog(Seq(seq)) && messages.are_sealed(Seq(seq)));
            messages.forget_sealed(|id| id.0 == pinned);
            prop_assert_eq!(messages.held.len(), usize::from(was_pinned));
            messages.forget_sealed(|_| false);
            prop_assert_eq!((messages.held.len(), messages.clean_count, messages.clean_bytes), (0, 0, 0));
        }
    }
}
