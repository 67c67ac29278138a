//! What commands decide. Everything that they look at is in memory, or known not to exist.

use std::borrow::Cow;
use std::sync::Arc;

use super::conversation::Conversation;
use super::{Effect, Ids, Origin, access, reaction};
use crate::model::{
    Ack, Command, ErrorCode, Event, EventBody, FirstSend, Mark, MessageBody, MessageId,
    MessageState, Now, ReactAction, Refusal, Reply, Request, SessionId, Version, Wall,
};

const NOT_FOUND: Refusal =
    Refusal::new(ErrorCode::NotFound, "there is no such message in this conversation");
const GONE: Refusal = Refusal::new(ErrorCode::Gone, "the message was deleted");
const NOT_YOURS: Refusal =
    Refusal::new(ErrorCode::Forbidden, "only its author or a moderator may change a message");
const PARENT_NOT_FOUND: Refusal =
    Refusal::new(ErrorCode::ParentNotFound, "the message that this answers is not here");
const CONFLICT: Refusal =
    Refusal::new(ErrorCode::IdempotencyConflict, "this client_msg_id was used for another message");
pub(super) const STORAGE_UNAVAILABLE: Refusal = Refusal::new(
    ErrorCode::StorageUnavailable,
    "the server cannot store or read at the moment; try again later",
);

/// Who asks, and how the answer is named.
struct Asker {
    session: SessionId,
    user: usize,
    version: Version,
    may_moderate: bool,
    reference: Option<String>,
}

impl Conversation {
    pub(super) fn decide(
        &mut self,
        session: SessionId,
        request: Request<'_>,
        ids: &mut dyn Ids,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(known) = self.people.sessions.get(&session) else { return };
        let asker = Asker {
            session,
            user: known.user,
            version: known.version,
            may_moderate: access::may_moderate(known.role),
            reference: request.reference.map(Cow::into_owned),
        };
        let reference = asker.reference.clone();
        let decided = match request.command {
            Command::Send { content, parent, client_msg_id } => {
                let wanted = Wanted { content, parent, client_msg_id };
                self.send(asker, wanted, ids, now, out)
            }
            Command::Read { message } => self.read(asker, message, now, out),
            Command::React { message, emoji, action } => {
                self.react(asker, message, &emoji, action, now, out)
            }
            Command::Edit { message, content } => {
                self.edit(asker, message, content.into_owned(), now, out)
            }
            Command::Delete { message } => self.delete(asker, message, now, out),
            Command::Typing { .. } => unreachable!("typing is handled before anything waits"),
        };
        if let Err(refusal) = decided {
            Self::reply_error(session, reference, refusal, out);
        }
    }

    fn send(
        &mut self,
        asker: Asker,
        wanted: Wanted<'_>,
        ids: &mut dyn Ids,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Wanted { content, parent, client_msg_id } = wanted;
        let profile = self.people.users[asker.user].profile.clone();
        let content_hash = FirstSend::hash_content(&content);
        let at = self.time(now);
        if let Some(id) = &client_msg_id
            && let Some(first) = self.sends.find(&profile.id, id, at)
        {
            if first.content_hash != content_hash {
                return Err(CONFLICT);
            }
            if asker.version == Version::V2 {
                let ack = Ack {
                    reference: asker.reference,
                    client_msg_id: client_msg_id.map(Cow::into_owned),
                    message: Some(first.message),
                    seq: Some(first.seq),
                    created_at: Some(first.created_at),
                };
                let (session, reply) = (asker.session, Reply::Ack(ack));
                out.push(Effect::ReplyWhenDurable { session, reply });
            }
            return Ok(());
        }
        let parent = match parent {
            Some(id) if self.window.contains(id) => Some(id),
            Some(_) if asker.version == Version::V2 => return Err(PARENT_NOT_FOUND),
            _ => None,
        };
        let id = ids.next(self.header.last_message).ok_or(STORAGE_UNAVAILABLE)?;
        self.stop_typing(asker.user, now, out);
        let ordinal = self.header.messages;
        self.header.last_message = id.0;
        self.header.messages += 1;
        let client_msg_id = client_msg_id.map(Cow::into_owned);
        if let Some(client_msg_id) = &client_msg_id {
            let seq = self.header.last_seq.next();
            let first = FirstSend { message: id, seq, created_at: at, content_hash };
            self.sends.decided(&profile.id, client_msg_id, first);
        }
        let body = MessageBody {
            id,
            ordinal,
            sender: (*profile).clone(),
            content: content.into_owned(),
            parent,
            client_msg_id,
        };
        let user = asker.user;
        self.append(asker, EventBody::Message(body), now, out);
        let mark = Mark { user: profile.id.clone(), message: id, ordinal, at };
        out.extend(self.people.users[user].marks.raise(mark).map(Effect::Mark));
        Ok(())
    }

    fn read(
        &mut self,
        asker: Asker,
        message: MessageId,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let user = &mut self.people.users[asker.user];
        if user.marks.shown() >= Some(message) {
            return Ok(());
        }
        let Some(state) = self.window.get(message) else {
            // A page that changes rooms sends receipts for the old room's messages into the new one.
            return match asker.version {
                Version::V1 => Ok(()),
                Version::V2 => Err(NOT_FOUND),
            };
        };
        let mark = Mark { user: user.id().clone(), message, ordinal: state.ordinal, at: now.wall };
        out.extend(user.marks.raise(mark).map(Effect::Mark));
        user.marks.show(message);
        self.tell_receipt(asker.user, now, out);
        if asker.version == Version::V2 {
            self.nothing_changed(&asker, Some(message), out);
        }
        Ok(())
    }

    fn react(
        &mut self,
        asker: Asker,
        message: MessageId,
        emoji: &str,
        action: ReactAction,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let state = self.living(message)?;
        let user = self.people.users[asker.user].id().clone();
        match reaction::decide(state, &user, emoji, action)? {
            None => self.nothing_changed(&asker, Some(message), out),
            Some(action) => {
                let emoji = emoji.to_owned();
                let body = EventBody::Reaction { message, user, emoji, action };
                self.append(asker, body, now, out);
            }
        }
        Ok(())
    }

    fn edit(
        &mut self,
        asker: Asker,
        message: MessageId,
        content: String,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let state = self.living(message)?;
        self.may_change(&asker, state)?;
        if state.content == content {
            self.nothing_changed(&asker, Some(message), out);
        } else {
            let by = self.people.users[asker.user].id().clone();
            self.append(asker, EventBody::Edit { message, by, content }, now, out);
        }
        Ok(())
    }

    fn delete(
        &mut self,
        asker: Asker,
        message: MessageId,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let state = self.window.get(message).ok_or(NOT_FOUND)?;
        self.may_change(&asker, state)?;
        if state.deleted_at.is_some() {
            self.nothing_changed(&asker, Some(message), out);
        } else {
            let by = self.people.users[asker.user].id().clone();
            self.append(asker, EventBody::Delete { message, by }, now, out);
        }
        Ok(())
    }

    fn living(&self, message: MessageId) -> Result<&MessageState, Refusal> {
        let state = self.window.get(message).ok_or(NOT_FOUND)?;
        if state.deleted_at.is_some() { Err(GONE) } else { Ok(state) }
    }

    fn may_change(&self, asker: &Asker, state: &MessageState) -> Result<(), Refusal> {
        let is_author = state.sender.id == *self.people.users[asker.user].id();
        if is_author || asker.may_moderate { Ok(()) } else { Err(NOT_YOURS) }
    }

    /// Numbers an event, folds it in, and hands it out.
    fn append(&mut self, asker: Asker, body: EventBody, now: Now, out: &mut Vec<Effect>) {
        let at = self.time(now);
        let event = Event { seq: self.header.last_seq.next(), at, body };
        self.header.last_seq = event.seq;
        self.header.last_at = at;
        self.window.decide(&event);
        let origin = Origin {
            session: Some(asker.session),
            user: self.people.users[asker.user].id().clone(),
            reference: asker.reference,
        };
        out.push(Effect::Append { event: Arc::new(event), origin });
    }

    /// Never before an earlier event's time, whatever the wall clock does.
    fn time(&self, now: Now) -> Wall {
        now.wall.max(self.header.last_at)
    }

    /// v2 is told that its command was understood and changed nothing; v1 hears nothing.
    fn nothing_changed(&self, asker: &Asker, message: Option<MessageId>, out: &mut Vec<Effect>) {
        if asker.version == Version::V2 {
            let reference = asker.reference.clone();
            let ack = Ack { reference, message, ..Ack::default() };
            let (session, reply) = (asker.session, Reply::Ack(ack));
            out.push(Effect::ReplyWhenDurable { session, reply });
        }
    }
}

struct Wanted<'a> {
    content: Cow<'a, str>,
    parent: Option<MessageId>,
    client_msg_id: Option<Cow<'a, str>>,
}
