//! Deciding a command against the decided state, once all that it touches is in memory.
//!
//! A decision is an event (numbered here, and only here), nothing new, a repeat, or a refusal. Answers
//! that show decided state go out when it is durable. v1 hears of events and errors only.

use std::borrow::Cow;
use std::sync::Arc;

use super::access::{Action, can};
use super::conversation::Conversation;
use super::dedupe::Repeat;
use super::people::UserIndex;
use super::refusals::{GONE, NO_MESSAGE, NO_PARENT, NOT_YOURS, OTHER_CONTENT, STORAGE_UNAVAILABLE};
use super::{Effect, Effects, Ids, Origin, reaction};
use crate::model::{
    Ack, Command, ErrorCode, Event, EventBody, FirstSend, MessageBody, MessageId, ReactAction,
    Refusal, Reply, Request, Role, SessionId, Version,
};

/// Who asks, on which socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speaker {
    pub session: SessionId,
    pub user: UserIndex,
    pub role: Role,
    pub version: Version,
}

enum Verdict {
    Event(EventBody),
    NothingNew,
    /// A repeat, with its `client_msg_id`.
    Again(FirstSend, Option<String>),
}

/// A refusal, with the command's `client_msg_id`.
struct Refused(Refusal, Option<String>);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused(refusal, None)
    }
}

/// A message that may be sent.
enum Sending {
    New { id: MessageId, parent: Option<MessageId> },
    Again(FirstSend),
}

/// The parts of `Command::Send`.
struct Send<'a> {
    content: Cow<'a, str>,
    parent: Option<MessageId>,
    client_msg_id: Option<Cow<'a, str>>,
}

impl Conversation {
    /// `stored`: the first send under the command's `client_msg_id`, when the store has one.
    pub(super) fn decide(
        &mut self,
        speaker: Speaker,
        request: Request<'_>,
        stored: Option<FirstSend>,
        ids: &mut dyn Ids,
        out: &mut Effects,
    ) {
        let reference = request.reference.map(Cow::into_owned);
        match self.judge(speaker, request.command, stored, ids) {
            Ok(Verdict::Event(body)) if !ids.may_append() => {
                let name = match body {
                    EventBody::Message(body) => body.client_msg_id,
                    _ => None,
                };
                self.refuse(speaker.session, STORAGE_UNAVAILABLE, reference.or(name), out);
            }
            Ok(Verdict::Event(body)) => self.append(speaker, reference, body, out),
            Ok(Verdict::NothingNew) => {
                self.acknowledge(speaker, Ack { reference, ..Ack::default() }, out);
            }
            Ok(Verdict::Again(first, name)) => {
                self.acknowledge(speaker, first_ack(reference, name, &first), out);
            }
            Err(Refused(refusal, name)) => {
                self.refuse(speaker.session, refusal, reference.or(name), out);
            }
        }
    }

    fn judge(
        &self,
        speaker: Speaker,
        command: Command<'_>,
        stored: Option<FirstSend>,
        ids: &mut dyn Ids,
    ) -> Result<Verdict, Refused> {
        match command {
            Command::Send { content, parent, client_msg_id } => {
                self.judge_send(speaker, Send { content, parent, client_msg_id }, stored, ids)
            }
            Command::React { message, emoji, action } => {
                Ok(self.judge_reaction(speaker, message, emoji, action)?)
            }
            Command::Edit { message, content } => Ok(self.judge_edit(speaker, message, content)?),
            Command::Delete { message } => Ok(self.judge_delete(speaker, message)?),
            Command::Typing { .. } | Command::Read { .. } => Ok(Verdict::NothingNew),
        }
    }

    fn judge_send(
        &self,
        speaker: Speaker,
        send: Send<'_>,
        stored: Option<FirstSend>,
        ids: &mut dyn Ids,
    ) -> Result<Verdict, Refused> {
        let name = |send: Send<'_>| send.client_msg_id.map(Cow::into_owned);
        match self.check_send(speaker, &send, stored, ids) {
            Ok(Sending::Again(first)) => Ok(Verdict::Again(first, name(send))),
            Ok(Sending::New { id, parent }) => {
                Ok(Verdict::Event(EventBody::Message(MessageBody {
                    id,
                    ordinal: self.header.messages,
                    sender: self.sender(speaker).clone(),
                    content: send.content.into_owned(),
                    parent,
                    client_msg_id: send.client_msg_id.map(Cow::into_owned),
                })))
            }
            Err(refusal) => Err(Refused(refusal, name(send))),
        }
    }

    fn check_send(
        &self,
        speaker: Speaker,
        send: &Send<'_>,
        stored: Option<FirstSend>,
        ids: &mut dyn Ids,
    ) -> Result<Sending, Refusal> {
        if let Some(client_msg_id) = &send.client_msg_id {
            let user = &self.people[speaker.user].profile.id;
            match self.dedupe.find(user, client_msg_id, &send.content) {
                Some(Repeat::Same(first)) => return Ok(Sending::Again(first)),
                Some(Repeat::Conflict) => return Err(OTHER_CONTENT),
                None => {}
            }
        }
        if let Some(first) = stored {
            let is_same = first.content_hash == FirstSend::hash_content(&send.content);
            return if is_same { Ok(Sending::Again(first)) } else { Err(OTHER_CONTENT) };
        }
        let parent = send.parent.filter(|parent| self.messages.contains(*parent));
        if parent != send.parent && speaker.version == Version::V2 {
            return Err(NO_PARENT);
        }
        let id = ids.next(self.header.last_message).ok_or(STORAGE_UNAVAILABLE)?;
        Ok(Sending::New { id, parent })
    }

    fn judge_reaction(
        &self,
        speaker: Speaker,
        message: MessageId,
        emoji: Cow<'_, str>,
        action: ReactAction,
    ) -> Result<Verdict, Refusal> {
        let held = self.messages.get(message).ok_or(NO_MESSAGE)?;
        if held.is_deleted {
            return Err(GONE);
        }
        let user = &self.people[speaker.user].profile.id;
        let action = reaction::decide(self.messages.reactions(message), user, &emoji, action)?;
        Ok(action.map_or(Verdict::NothingNew, |action| {
            let (user, emoji) = (user.clone(), emoji.into_owned());
            Verdict::Event(EventBody::Reaction { message, user, emoji, action })
        }))
    }

    fn judge_edit(
        &self,
        speaker: Speaker,
        message: MessageId,
        content: Cow<'_, str>,
    ) -> Result<Verdict, Refusal> {
        let held = self.messages.get(message).ok_or(NO_MESSAGE)?;
        let by = &self.people[speaker.user].profile.id;
        if held.sender != by && !can(speaker.role, Action::ChangeOthers) {
            return Err(NOT_YOURS);
        }
        if held.is_deleted {
            return Err(GONE);
        }
        if held.content == content {
            return Ok(Verdict::NothingNew);
        }
        let (by, content) = (by.clone(), content.into_owned());
        Ok(Verdict::Event(EventBody::Edit { message, by, content }))
    }

    fn judge_delete(&self, speaker: Speaker, message: MessageId) -> Result<Verdict, Refusal> {
        let held = self.messages.get(message).ok_or(NO_MESSAGE)?;
        let by = &self.people[speaker.user].profile.id;
        if held.sender != by && !can(speaker.role, Action::ChangeOthers) {
            return Err(NOT_YOURS);
        }
        if held.is_deleted {
            return Ok(Verdict::NothingNew);
        }
        Ok(Verdict::Event(EventBody::Delete { message, by: by.clone() }))
    }

    /// Numbers an event: from here on it has happened.
    fn append(
        &mut self,
        speaker: Speaker,
        reference: Option<String>,
        body: EventBody,
        out: &mut Effects,
    ) {
        let seq = self.header.last_seq.next();
        let sent = match &body {
            EventBody::Message(body) => Some((body.id, body.ordinal)),
            _ => None,
        };
        self.header.last_seq = seq;
        self.header.last_at = self.wall;
        let event = Arc::new(Event { seq, at: self.wall, body });
        self.messages.apply(&event);
        if let Some((id, _)) = sent {
            self.header.last_message = id.0;
            self.header.messages += 1;
            self.dedupe.remember(&event);
            self.recall.happened(&event);
            self.stop_typing(speaker.user, out);
        }
        let session = Some(speaker.session).filter(|session| self.is_heard(*session));
        let user = self.people[speaker.user].profile.id.clone();
        out.push(Effect::Append { event, origin: Origin { session, user, reference } });
        if let Some((id, ordinal)) = sent.filter(|_| !self.is_system(speaker)) {
            self.raise_mark(speaker.user, id, ordinal, out);
        }
    }

    /// An error shows decided state when it rests on what was decided about a message.
    pub(super) fn refuse(
        &self,
        session: SessionId,
        refusal: Refusal,
        reference: Option<String>,
        out: &mut Effects,
    ) {
        if !self.is_heard(session) {
            return;
        }
        use ErrorCode::{Gone, IdempotencyConflict, TooLong};
        let shows_state = matches!(refusal.code, Gone | IdempotencyConflict | TooLong);
        let reply = Reply::Error { refusal, reference };
        out.push(match shows_state {
            true => Effect::ReplyWhenDurable { session, reply },
            false => Effect::Reply { session, reply },
        });
    }

    /// An ack that shows decided state; v1 knows no acks.
    fn acknowledge(&self, speaker: Speaker, ack: Ack, out: &mut Effects) {
        let Speaker { session, version, .. } = speaker;
        if version == Version::V2 && self.is_heard(session) {
            out.push(Effect::ReplyWhenDurable { session, reply: Reply::Ack(ack) });
        }
    }

    /// An ack of what is never logged.
    pub(super) fn acknowledge_now(&self, speaker: Speaker, ack: Ack, out: &mut Effects) {
        let Speaker { session, version, .. } = speaker;
        if version == Version::V2 && self.is_heard(session) {
            out.push(Effect::Reply { session, reply: Reply::Ack(ack) });
        }
    }
}

fn first_ack(reference: Option<String>, name: Option<String>, first: &FirstSend) -> Ack {
    Ack {
        reference,
        client_msg_id: name,
        message: Some(first.message),
        seq: Some(first.seq),
        created_at: Some(first.created_at),
    }
}
