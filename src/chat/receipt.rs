//! Read receipts (PROTOCOL, `read_receipt`, "The receipt storm").
//!
//! Two marks per user. `mark` is what is stored and what unread counts are taken from: explicit receipts
//! and own messages raise it ("sending raises one's own mark"). `read` is the highest explicit receipt:
//! a receipt above it is told to all, the author of the message included, once. The store keeps `mark`
//! alone; for a user who comes back into memory it stands for both, so that a receipt for something old
//! stays a silent no-op.
//!
//! A repeat ends at one comparison: nothing is allocated, logged or answered (a v2 receipt with a `ref`
//! has its ack). A receipt waits in its user's own list, not in the commands' queue, while the store is
//! asked for the mark or the message: the mark is a maximum, so their order does not matter.
//!
//! A message that is not durable yet is no message here: its id must not be shown before it.

use std::borrow::Cow;

use super::agenda::Task;
use super::conversation::Conversation;
use super::decide::Speaker;
use super::people::UserIndex;
use super::recall::Answer;
use super::refusals::{NO_MESSAGE, RECEIPTS_WAITING, STORAGE_UNAVAILABLE};
use super::{Audience, Effect, Effects};
use crate::model::{Ack, LoadKey, Loaded, Mark, MessageId, Mono, Signal, UserId, Version};

/// In a crowd, receipts of one user are told at most this often.
const CROWD_RECEIPT_EVERY_MS: u64 = 1_000;
/// Receipts of one user that wait for the store. One more is dropped: the page sends it again.
const RECEIPTS_WAITING_MAX: usize = 64;

/// Whether the stored mark is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    No,
    Asked,
    Yes,
}

/// Where the newest mark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// In the store's pages.
    Store,
    /// On its way to the disk.
    Undurable,
    /// In the log, in this segment or an earlier one.
    Log { segment: u64 },
}

#[derive(Debug)]
struct WaitingReceipt {
    speaker: Speaker,
    message: MessageId,
    reference: Option<String>,
}

#[derive(Debug)]
pub(super) struct Receipt {
    knowledge: Knowledge,
    read: MessageId,
    mark: MessageId,
    /// The mark's message as counted from the conversation's first: unread counts are differences.
    ordinal: u64,
    kept: Kept,
    waiting: Vec<WaitingReceipt>,
    /// In a crowd: when one was told last, and whether a newer one waits for its second.
    told_at: Option<Mono>,
    is_due: bool,
}

impl Receipt {
    /// Of a conversation that has no marks in the store.
    pub fn none_stored() -> Receipt {
        Receipt { knowledge: Knowledge::Yes, ..Receipt::unknown() }
    }

    pub fn unknown() -> Receipt {
        Receipt {
            knowledge: Knowledge::No,
            read: MessageId(0),
            mark: MessageId(0),
            ordinal: 0,
            kept: Kept::Store,
            waiting: Vec::new(),
            told_at: None,
            is_due: false,
        }
    }

    /// Receipts at or below this say nothing new.
    pub fn read(&self) -> MessageId {
        self.read
    }

    pub fn mark(&self) -> MessageId {
        self.mark
    }

    /// The mark with its ordinal, as far as it is in memory.
    pub fn marked(&self) -> Option<(MessageId, u64)> {
        (self.mark > MessageId(0)).then_some((self.mark, self.ordinal))
    }

    /// Nothing is lost when this is forgotten.
    pub fn is_settled(&self) -> bool {
        self.kept == Kept::Store
            && self.knowledge != Knowledge::Asked
            && self.waiting.is_empty()
            && !self.is_due
    }
}

/// What is known of a message that a receipt names.
enum Named {
    Message { ordinal: u64 },
    Nothing,
    NotInMemory,
}

impl Conversation {
    pub(super) fn read(
        &mut self,
        speaker: Speaker,
        message: MessageId,
        reference: Option<Cow<'_, str>>,
        out: &mut Effects,
    ) {
        let receipt = &self.people[speaker.user].receipt;
        let is_known = receipt.knowledge == Knowledge::Yes;
        if message <= receipt.read && message.0 > 0 {
            self.acknowledge_receipt(speaker, None, reference, out);
        } else if !is_known || matches!(self.named(message), Named::NotInMemory) {
            self.wait_with_receipt(speaker, message, reference, out);
        } else {
            self.decide_receipt(speaker, message, reference, out);
        }
    }

    /// Both the mark and the message are known.
    fn decide_receipt(
        &mut self,
        speaker: Speaker,
        message: MessageId,
        reference: Option<Cow<'_, str>>,
        out: &mut Effects,
    ) {
        let read = self.people[speaker.user].receipt.read;
        match self.named(message) {
            Named::Message { .. } if message <= read => {
                self.acknowledge_receipt(speaker, None, reference, out);
            }
            Named::Message { ordinal } => {
                self.raise_read(speaker.user, message, ordinal, out);
                self.acknowledge_receipt(speaker, Some(message), reference, out);
            }
            Named::Nothing | Named::NotInMemory if speaker.version == Version::V2 => {
                let reference = reference.map(Cow::into_owned);
                self.refuse(speaker.session, NO_MESSAGE, reference, out);
            }
            Named::Nothing | Named::NotInMemory => {}
        }
    }

    fn named(&self, message: MessageId) -> Named {
        match self.messages.get(message) {
            Some(held) if held.seq <= self.seals.durable() => {
                Named::Message { ordinal: held.ordinal }
            }
            Some(_) => Named::Nothing,
            None if self.is_no_message(message) => Named::Nothing,
            None => Named::NotInMemory,
        }
    }

    fn raise_read(&mut self, user: UserIndex, message: MessageId, ordinal: u64, out: &mut Effects) {
        self.people[user].receipt.read = message;
        if message > self.people[user].receipt.mark {
            self.raise_mark(user, message, ordinal, out);
        }
        let is_crowd = self.is_crowd();
        let receipt = &mut self.people[user].receipt;
        let next = receipt.told_at.map_or(self.mono, |at| at.after(CROWD_RECEIPT_EVERY_MS));
        if is_crowd && next > self.mono {
            receipt.is_due = true;
            self.agenda.set_earliest(Task::Receipt(user), next);
        } else {
            self.tell_read(user, out);
        }
    }

    /// One's own message, or an explicit receipt, is the newest that the user has seen.
    pub(super) fn raise_mark(
        &mut self,
        user: UserIndex,
        message: MessageId,
        ordinal: u64,
        out: &mut Effects,
    ) {
        let held = &mut self.people[user];
        held.receipt.mark = message;
        held.receipt.ordinal = ordinal;
        held.receipt.kept = Kept::Undurable;
        let user = held.profile.id.clone();
        out.push(Effect::Mark(Mark { user, message, ordinal, at: self.wall }));
    }

    fn tell_read(&mut self, user: UserIndex, out: &mut Effects) {
        let held = &mut self.people[user];
        held.receipt.told_at = Some(self.mono);
        held.receipt.is_due = false;
        let (user, message) = (held.profile.id.clone(), held.receipt.read);
        let signal = Signal::Read { message, user, at: self.wall };
        out.push(Effect::Signal { audience: Audience::All, signal });
    }

    pub(super) fn receipt_due(&mut self, user: UserIndex, out: &mut Effects) {
        if self.people[user].receipt.is_due {
            self.tell_read(user, out);
        }
        self.may_release(user);
    }

    /// Receipts carry an ack only for a client that named them.
    fn acknowledge_receipt(
        &self,
        speaker: Speaker,
        message: Option<MessageId>,
        reference: Option<Cow<'_, str>>,
        out: &mut Effects,
    ) {
        if let Some(reference) = reference {
            let reference = Some(reference.into_owned());
            self.acknowledge_now(speaker, Ack { reference, message, ..Ack::default() }, out);
        }
    }

    /// The mark of a user who came in is asked for at once, so that receipts rarely wait.
    pub(super) fn ask_for_mark(&mut self, user: UserIndex, out: &mut Effects) {
        let held = &mut self.people[user];
        if held.receipt.knowledge == Knowledge::No {
            held.receipt.knowledge = Knowledge::Asked;
            out.push(Effect::Load(LoadKey::Mark(held.profile.id.clone())));
        }
    }

    fn wait_with_receipt(
        &mut self,
        speaker: Speaker,
        message: MessageId,
        reference: Option<Cow<'_, str>>,
        out: &mut Effects,
    ) {
        let waiting = &mut self.people[speaker.user].receipt.waiting;
        if waiting.len() >= RECEIPTS_WAITING_MAX {
            if speaker.version == Version::V2 {
                let reference = reference.map(Cow::into_owned);
                self.refuse(speaker.session, RECEIPTS_WAITING, reference, out);
            }
            return;
        }
        let is_repeat = |held: &WaitingReceipt| {
            held.message == message && held.speaker.session == speaker.session
        };
        if reference.is_none() && waiting.iter().any(is_repeat) {
            return;
        }
        let reference = reference.map(Cow::into_owned);
        waiting.push(WaitingReceipt { speaker, message, reference });
        self.receipts_waiting.insert(speaker.user);
        self.ask_for_mark(speaker.user, out);
        self.settle_receipts(speaker.user, out);
    }

    /// Decides what can be decided of a user's waiting receipts and asks for what the others lack.
    pub(super) fn settle_receipts(&mut self, user: UserIndex, out: &mut Effects) {
        if self.people[user].receipt.knowledge != Knowledge::Yes {
            return;
        }
        let waiting = std::mem::take(&mut self.people[user].receipt.waiting);
        for held in waiting {
            let is_above = held.message > self.people[user].receipt.read;
            if is_above && matches!(self.named(held.message), Named::NotInMemory) {
                self.recall_for_receipt(held, out);
            } else {
                let reference = held.reference.map(Cow::Owned);
                self.decide_receipt(held.speaker, held.message, reference, out);
            }
        }
        self.still_waiting(user);
    }

    /// Asks for the message, unless a command that waits for others still holds the answer.
    fn recall_for_receipt(&mut self, held: WaitingReceipt, out: &mut Effects) {
        let key = LoadKey::Message(held.message);
        match self.recall.answered(&key) {
            None => {
                self.recall.ask(key, out);
                self.people[held.speaker.user].receipt.waiting.push(held);
            }
            Some(Answer::Failed) => self.fail_receipt(held, out),
            Some(_) => {
                let reference = held.reference.map(Cow::Owned);
                self.decide_receipt(held.speaker, held.message, reference, out);
            }
        }
    }

    fn fail_receipt(&self, held: WaitingReceipt, out: &mut Effects) {
        if held.speaker.version == Version::V2 {
            self.refuse(held.speaker.session, STORAGE_UNAVAILABLE, held.reference, out);
        }
    }

    fn still_waiting(&mut self, user: UserIndex) {
        if self.people[user].receipt.waiting.is_empty() {
            self.receipts_waiting.remove(&user);
        }
    }

    /// A message is here, or is none, or could not be read.
    pub(super) fn receipts_of_message(
        &mut self,
        message: MessageId,
        answer: &Answer,
        out: &mut Effects,
    ) {
        let concerns = |user: &&UserIndex| {
            let waiting = &self.people[**user].receipt.waiting;
            waiting.iter().any(|held| held.message == message)
        };
        let concerned: Vec<_> = self.receipts_waiting.iter().filter(concerns).copied().collect();
        for user in concerned {
            if matches!(answer, Answer::Failed) {
                self.fail_receipts(user, |held| held.message == message, out);
            }
            self.settle_receipts(user, out);
            self.may_release(user);
        }
    }

    pub(super) fn mark_loaded(&mut self, id: &UserId, state: Loaded, out: &mut Effects) {
        let Some(user) = self.people.find(id) else { return };
        let receipt = &mut self.people[user].receipt;
        if receipt.knowledge != Knowledge::Asked {
            return;
        }
        let Loaded::Mark(mark) = state else {
            receipt.knowledge = Knowledge::No;
            self.fail_receipts(user, |_| true, out);
            self.may_release(user);
            return;
        };
        receipt.knowledge = Knowledge::Yes;
        if let Some(mark) = mark {
            receipt.read = receipt.read.max(mark.message);
            if mark.message > receipt.mark {
                receipt.mark = mark.message;
                receipt.ordinal = mark.ordinal;
            }
        }
        self.settle_receipts(user, out);
        self.may_release(user);
    }

    fn fail_receipts(
        &mut self,
        user: UserIndex,
        fails: impl Fn(&WaitingReceipt) -> bool,
        out: &mut Effects,
    ) {
        let waiting = std::mem::take(&mut self.people[user].receipt.waiting);
        let (failed, left): (Vec<_>, _) = waiting.into_iter().partition(|held| fails(held));
        self.people[user].receipt.waiting = left;
        self.still_waiting(user);
        for held in failed {
            self.fail_receipt(held, out);
        }
    }

    /// A user who was removed reads nothing more.
    pub(super) fn forget_receipts(&mut self, user: UserIndex) {
        let receipt = &mut self.people[user].receipt;
        receipt.waiting.clear();
        receipt.is_due = false;
        self.receipts_waiting.remove(&user);
        self.agenda.cancel(Task::Receipt(user));
    }

    /// A mark that was handed to the log is on disk, in `segment` or earlier.
    pub fn mark_durable(&mut self, user: &UserId, message: MessageId, segment: u64) {
        let Some(user) = self.people.find(user) else { return };
        let receipt = &mut self.people[user].receipt;
        if receipt.mark != message || receipt.kept == Kept::Store {
            return;
        }
        if self.seals.is_sealed_segment(segment) {
            receipt.kept = Kept::Store;
            self.may_release(user);
        } else {
            receipt.kept = Kept::Log { segment };
            self.marks_in_log.push_back((segment, user));
        }
    }

    /// Marks of sealed segments are in the store. Goes on until `budget` is used up.
    pub(super) fn sweep_marks(&mut self, budget: &mut usize) {
        while let Some(&(segment, user)) = self.marks_in_log.front() {
            if *budget == 0 || !self.seals.is_sealed_segment(segment) {
                return;
            }
            *budget -= 1;
            self.marks_in_log.pop_front();
            let Some(held) = self.people.get(user) else { continue };
            if held.receipt.kept == (Kept::Log { segment }) {
                self.people[user].receipt.kept = Kept::Store;
                self.may_release(user);
            }
        }
    }
}
