//! Commands that wait for old state, first in, first out: what must not overtake each other are the
//! decisions, so a command behind a waiting one waits as well. What each needs is asked for when it is
//! queued, all at once.
//!
//! A queued command is decided even when its socket left meanwhile; when its user was removed it is
//! dropped.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::access::{Action, can};
use super::conversation::Conversation;
use super::decide::Speaker;
use super::people::UserIndex;
use super::recall::Answer;
use super::refusals::{COMMANDS_WAITING, NOT_ALLOWED, STORAGE_UNAVAILABLE};
use super::{Effect, Effects, Ids};
use crate::limits::WAITING_COMMANDS_MAX;
use crate::model::{Command, LoadKey, Loaded, MessageId, Request, Role};

/// What a command needs and memory does not have.
pub(super) type Missing = SmallVec<[LoadKey; 2]>;

#[derive(Debug)]
struct Waiting {
    speaker: Speaker,
    request: Request<'static>,
    /// Answers that it holds in `recall`.
    holds: Missing,
    /// Its user was removed. It keeps its place: only an answer moves the queue on.
    is_dropped: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    commands: VecDeque<Waiting>,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}

impl Conversation {
    /// Decides a command, or queues it behind what it has to wait for.
    pub(super) fn decide_or_wait(
        &mut self,
        speaker: Speaker,
        request: Request<'_>,
        ids: &mut dyn Ids,
        out: &mut Effects,
    ) {
        if let Command::Send { client_msg_id: Some(_), .. } = &request.command
            && self.dedupe.begin_filter()
        {
            out.push(Effect::Load(LoadKey::FirstSends(None)));
        }
        let missing = self.missing(speaker.user, &request.command);
        if self.queue.is_empty() && missing.is_empty() {
            self.decide(speaker, request, None, ids, out);
            return;
        }
        if self.queue.commands.len() >= WAITING_COMMANDS_MAX {
            self.refuse(speaker.session, COMMANDS_WAITING, error_reference(&request), out);
            return;
        }
        for key in &missing {
            self.recall.hold(key.clone(), out);
        }
        self.people[speaker.user].commands_waiting += 1;
        let request = request.into_owned();
        self.queue.commands.push_back(Waiting {
            speaker,
            request,
            holds: missing,
            is_dropped: false,
        });
    }

    fn missing(&self, user: UserIndex, command: &Command<'_>) -> Missing {
        let mut missing = Missing::new();
        let message = match command {
            Command::Send { parent, client_msg_id, .. } => {
                if let Some(client_msg_id) = client_msg_id {
                    missing.extend(self.missing_first_send(user, client_msg_id));
                }
                *parent
            }
            Command::React { message, .. }
            | Command::Edit { message, .. }
            | Command::Delete { message } => Some(*message),
            Command::Typing { .. } | Command::Read { .. } => None,
        };
        let unknown = message
            .filter(|message| !self.messages.contains(*message) && !self.is_no_message(*message));
        missing.extend(unknown.map(LoadKey::Message));
        missing
    }

    fn missing_first_send(&self, user: UserIndex, client_msg_id: &str) -> Option<LoadKey> {
        let user = &self.people[user].profile.id;
        let is_needed = self.dedupe.may_be_stored(user, client_msg_id)
            && !self.dedupe.is_in_memory(user, client_msg_id);
        is_needed.then(|| LoadKey::FirstSend {
            user: user.clone(),
            client_msg_id: client_msg_id.to_owned(),
        })
    }

    /// A step of the filter of first sends.
    pub(super) fn filter_loaded(&mut self, state: Loaded, out: &mut Effects) {
        let Loaded::FirstSends(step) = state else {
            self.dedupe.give_up_filter();
            return;
        };
        if let Some(last) = self.dedupe.go_on_with_filter(step) {
            out.push(Effect::Load(LoadKey::FirstSends(Some(last))));
        }
    }

    /// The store surely has no message of this id here.
    pub(super) fn is_no_message(&self, message: MessageId) -> bool {
        message.0 == 0 || message.0 > self.header.last_message || self.messages.is_absent(message)
    }

    /// The store's answer to a question of this conversation.
    pub(super) fn recalled(
        &mut self,
        key: LoadKey,
        state: Loaded,
        ids: &mut dyn Ids,
        out: &mut Effects,
    ) {
        if !self.recall.is_awaited(&key) {
            return;
        }
        let answer = match (&key, state) {
            (LoadKey::Message(id), Loaded::Message(Some(state))) if state.id == *id => {
                self.messages.insert_loaded(*state);
                Answer::Present
            }
            (LoadKey::Message(id), Loaded::Message(None)) => {
                self.messages.insert_absent(*id);
                Answer::Absent
            }
            (LoadKey::FirstSend { .. }, Loaded::FirstSend(first)) => {
                first.map_or(Answer::Absent, Answer::First)
            }
            _ => Answer::Failed,
        };
        self.recall.answer(&key, answer.clone());
        if let LoadKey::Message(message) = key {
            self.receipts_of_message(message, &answer, out);
        }
        self.advance(ids, out);
    }

    /// Decides the commands at the head of the queue that wait for nothing any more.
    fn advance(&mut self, ids: &mut dyn Ids, out: &mut Effects) {
        while let Some(head) = self.queue.commands.front() {
            if !head.holds.iter().all(|key| self.recall.is_answered(key)) {
                return;
            }
            let missing: Missing = self
                .missing(head.speaker.user, &head.request.command)
                .into_iter()
                .filter(|key| !head.holds.contains(key))
                .collect();
            if missing.is_empty() {
                self.decide_head(ids, out);
                continue;
            }
            // What was in memory when it was queued was sealed and has left meanwhile. Another
            // command may hold the answer already.
            for key in &missing {
                self.recall.hold(key.clone(), out);
            }
            if let Some(head) = self.queue.commands.front_mut() {
                head.holds.extend(missing);
            }
        }
    }

    fn decide_head(&mut self, ids: &mut dyn Ids, out: &mut Effects) {
        let Some(head) = self.queue.commands.pop_front() else { return };
        let Waiting { speaker, request, holds, is_dropped } = head;
        let mut first = None;
        let mut refusal = None;
        for key in &holds {
            match self.recall.release(key) {
                Some(Answer::First(send)) => first = Some(send),
                Some(Answer::Present | Answer::Absent) => {}
                Some(Answer::Failed) | None => refusal = Some(STORAGE_UNAVAILABLE),
            }
        }
        if !can(speaker.role, Action::of(&request.command)) {
            refusal = Some(NOT_ALLOWED);
        }
        match refusal {
            _ if is_dropped => {}
            Some(refusal) => {
                self.refuse(speaker.session, refusal, error_reference(&request), out);
            }
            None => self.decide(speaker, request, first, ids, out),
        }
        self.people[speaker.user].commands_waiting -= 1;
        self.may_release(speaker.user);
    }

    /// The user's role changed: what waits is decided by the new one.
    pub(super) fn change_waiting(&mut self, user: UserIndex, role: Role) {
        for waiting in self.waiting_of(user) {
            waiting.speaker.role = role;
        }
    }

    /// The user was removed: what waits will not be decided.
    pub(super) fn drop_waiting(&mut self, user: UserIndex) {
        for waiting in self.waiting_of(user) {
            waiting.is_dropped = true;
        }
    }

    /// What the user's own sockets asked for; the operator's word does not depend on the user's rights.
    fn waiting_of(&mut self, user: UserIndex) -> impl Iterator<Item = &mut Waiting> {
        let operators = &self.operators;
        let is_own = move |held: &&mut Waiting| {
            held.speaker.user == user && !operators.has(held.speaker.session)
        };
        self.queue.commands.iter_mut().filter(is_own)
    }
}

/// What an error is told apart by: the `ref`, or else the `client_msg_id`.
pub(super) fn error_reference(request: &Request<'_>) -> Option<String> {
    let name = match &request.command {
        Command::Send { client_msg_id, .. } => client_msg_id.as_deref(),
        _ => None,
    };
    request.reference.as_deref().or(name).map(str::to_owned)
}
