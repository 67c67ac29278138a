//! One conversation: its state, the way in for commands and answers, and what may leave memory.
//!
//! Invariants: seq is dense, message ids and times never go back; a session that left, or was removed,
//! is never addressed again; what is not sealed is in memory. Each concern has its state in a file of
//! its own, with the part of this machine that belongs to it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::access::{Action, can};
use super::agenda::{Agenda, Task};
use super::decide::Speaker;
use super::dedupe::{Dedupe, Filter};
use super::message::Messages;
use super::operator::Operators;
use super::people::{People, UserIndex};
use super::presence::Presence;
use super::queue::{Queue, error_reference};
use super::rate::Bucket;
use super::recall::Recall;
use super::refusals::{NOT_ALLOWED, too_fast};
use super::seal::Seals;
use super::{Effects, Ids, RateLimits, Settings};
use crate::model::{
    Command, ConversationId, Header, LoadKey, Loaded, MessageId, MessageState, Mono, Now, Refusal,
    Request, Seq, SessionId, UserId, Version, Wall,
};

/// What a command, and a turn of its own, sweep of what was sealed: a seal frees much at once.
const SWEEP_PER_COMMAND: usize = 16;
const SWEEP_PER_TURN: usize = 1024;
const SWEEP_EVERY_MS: u64 = 5;

#[derive(Debug)]
pub struct Conversation {
    pub(super) id: ConversationId,
    pub(super) settings: Arc<Settings>,
    pub(super) header: Header,
    /// The newest times seen: time as shown here never goes back.
    pub(super) mono: Mono,
    pub(super) wall: Wall,
    pub(super) people: People,
    pub(super) presence: Presence,
    /// How many users are seen typing.
    pub(super) typists: usize,
    pub(super) agenda: Agenda,
    pub(super) messages: Messages,
    pub(super) dedupe: Dedupe,
    pub(super) recall: Recall,
    pub(super) queue: Queue,
    pub(super) seals: Seals,
    /// Marks in segments that are not sealed, in the order of the log.
    pub(super) marks_in_log: VecDeque<(u64, UserIndex)>,
    /// The store may have marks of users who are not in memory.
    pub(super) has_stored_marks: bool,
    pub(super) operators: Operators,
    /// Users with receipts that wait for the store.
    pub(super) receipts_waiting: BTreeSet<UserIndex>,
    pub(super) bucket: Bucket,
}

impl Conversation {
    /// `header` is the store's; memory starts empty.
    pub fn new(id: ConversationId, header: Header, settings: Arc<Settings>) -> Conversation {
        let is_new = header.last_seq == Seq(0);
        let filter = if is_new { Filter::empty() } else { Filter::Unknown };
        let bucket = Bucket::new(settings.limits.events_per_conversation);
        Conversation {
            id,
            settings,
            header,
            mono: Mono(0),
            wall: header.last_at,
            people: People::default(),
            presence: Presence::default(),
            typists: 0,
            agenda: Agenda::default(),
            messages: Messages::default(),
            dedupe: Dedupe::new(filter),
            recall: Recall::default(),
            queue: Queue::default(),
            seals: Seals::new(header.last_seq),
            marks_in_log: VecDeque::new(),
            has_stored_marks: !is_new,
            operators: Operators::default(),
            receipts_waiting: BTreeSet::new(),
            bucket,
        }
    }

    /// A command of a socket that joined; of any other it is ignored.
    pub fn handle(
        &mut self,
        session: SessionId,
        request: Request<'_>,
        ids: &mut dyn Ids,
        now: Now,
        out: &mut Effects,
    ) {
        self.observe(now);
        let Some(held) = self.people.session(session) else { return };
        let (user, role, version) = (held.user, held.role, held.version);
        let speaker = Speaker { session, user, role, version };
        match request.command {
            Command::Read { message } => self.read(speaker, message, request.reference, out),
            Command::Typing { is_typing } => {
                self.typing_command(speaker, is_typing, request.reference, out);
            }
            _ => {
                match self.may(speaker, &request.command) {
                    Ok(()) => self.decide_or_wait(speaker, request, ids, out),
                    Err(refusal) => {
                        self.refuse(session, refusal, error_reference(&request), out);
                    }
                }
                self.sweep_some();
            }
        }
    }

    fn may(&mut self, speaker: Speaker, command: &Command<'_>) -> Result<(), Refusal> {
        if !can(speaker.role, Action::of(command)) {
            return Err(NOT_ALLOWED);
        }
        if self.settings.rate_limits == RateLimits::Off {
            return Ok(());
        }
        let of_user = &mut self.people[speaker.user].bucket;
        of_user.take(self.mono).map_err(too_fast)?;
        self.bucket.take(self.mono).map_err(|retry_after_ms| {
            of_user.give_back();
            too_fast(retry_after_ms)
        })
    }

    /// The store's answer to an `Effect::Load`.
    pub fn loaded(
        &mut self,
        key: LoadKey,
        state: Loaded,
        ids: &mut dyn Ids,
        now: Now,
        out: &mut Effects,
    ) {
        self.observe(now);
        match key {
            LoadKey::Mark(user) => self.mark_loaded(&user, state, out),
            LoadKey::FirstSends(_) => self.filter_loaded(state, out),
            key => self.recalled(key, state, ids, out),
        }
        self.sweep_some();
    }

    /// Events up to `through` are on disk, in `segment` or earlier ones.
    pub fn durable(&mut self, through: Seq, segment: u64) {
        self.seals.durable_through(through, segment);
    }

    /// What lies in segments up to this one is in the store's pages and may leave memory: all at once
    /// when nobody is here, else little by little.
    pub fn sealed(&mut self, segment: u64) {
        self.seals.sealed_through(segment);
        if self.people.sockets() == 0 {
            self.sweep(usize::MAX);
        } else if self.has_backlog() {
            self.agenda.set_earliest(Task::Sweep, self.mono.after(SWEEP_EVERY_MS));
        }
    }

    /// Memory is short: what the store has leaves it at once.
    pub fn shrink(&mut self) {
        self.sweep(usize::MAX);
        let recall = &self.recall;
        self.messages.forget_sealed(|message| recall.is_pinned(message));
    }

    pub(super) fn sweep_some(&mut self) {
        self.sweep(SWEEP_PER_COMMAND);
    }

    fn sweep(&mut self, mut budget: usize) {
        let sealed = self.seals.sealed();
        self.sweep_marks(&mut budget);
        self.dedupe.sweep(sealed, &mut budget);
        let recall = &self.recall;
        self.messages.sweep(sealed, &mut budget, |message| recall.is_pinned(message));
    }

    fn has_backlog(&self) -> bool {
        let sealed = self.seals.sealed();
        let has_marks = self
            .marks_in_log
            .front()
            .is_some_and(|(segment, _)| self.seals.is_sealed_segment(*segment));
        has_marks || self.dedupe.has_backlog(sealed) || self.messages.has_backlog(sealed)
    }

    /// When [`Conversation::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Mono> {
        self.agenda.next()
    }

    pub fn handle_timeout(&mut self, now: Now, out: &mut Effects) {
        self.observe(now);
        while let Some(task) = self.agenda.pop_due(self.mono) {
            match task {
                Task::Offline => self.absences_due(),
                Task::PresenceTick => self.presence_tick(out),
                Task::PresenceCount => self.count_due(out),
                Task::Typing(user) => self.typing_due(user, out),
                Task::Receipt(user) => self.receipt_due(user, out),
                Task::Rested(user) => self.may_release(user),
                Task::Sweep => self.sweep_turn(),
            }
        }
    }

    fn sweep_turn(&mut self) {
        self.sweep(SWEEP_PER_TURN);
        if self.has_backlog() {
            self.agenda.set(Task::Sweep, self.mono.after(SWEEP_EVERY_MS));
        }
    }

    pub(super) fn observe(&mut self, now: Now) {
        self.mono = self.mono.max(now.mono);
        self.wall = self.wall.max(now.wall);
    }

    /// Nobody is here, nothing waits, and the store has all of it: the machine may be dropped.
    pub fn is_idle(&self) -> bool {
        let sealed = self.seals.sealed();
        self.people.is_empty()
            && self.queue.is_empty()
            && self.recall.is_empty()
            && self.messages.are_sealed(sealed)
            && self.dedupe.are_sealed(sealed)
    }

    pub fn id(&self) -> &ConversationId {
        &self.id
    }

    /// Where the conversation stands, as decided.
    pub fn header(&self) -> Header {
        self.header
    }

    pub fn user_of(&self, session: SessionId) -> Option<&UserId> {
        let held = self.people.session(session)?;
        self.people.get(held.user).map(|user| &user.profile.id)
    }

    pub fn version_of(&self, session: SessionId) -> Option<Version> {
        match self.operators.has(session) {
            true => Some(Version::V2),
            false => Some(self.people.session(session)?.version),
        }
    }

    /// The last `count` messages, oldest first: `stored` are the store's last ones, memory is newer.
    pub fn recent(&self, count: usize, stored: Vec<MessageState>) -> Vec<MessageState> {
        self.messages.recent(count, stored)
    }

    /// Who of the users in memory has read this message: those whose mark is not below it.
    pub fn readers_of(&self, message: MessageId) -> Vec<UserId> {
        self.people
            .users()
            .filter(|(_, user)| user.receipt.mark() >= message)
            .map(|(_, user)| user.profile.id.clone())
            .collect()
    }
}
