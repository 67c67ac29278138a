//! A conversation with everything around it in one hand: ids, time, and what came out.

use std::sync::Arc;

use super::super::{Audience, Conversation, Effect, Effects, Ids, Joiner, RateLimits, Settings};
use crate::limits::Limits;
use crate::model::{
    Ack, Command, ConversationId, ErrorCode, Event, EventBody, Header, LoadKey, Loaded, MessageId,
    MessageState, Mono, Now, Profile, ReactAction, ReactionAction, Reply, Request, Role, Seq,
    SessionId, Signal, UserId, Version, Wall,
};

pub struct Counter {
    pub last: u64,
    pub has_ids: bool,
    pub has_room: bool,
}

impl Ids for Counter {
    fn next(&mut self, after: u64) -> Option<MessageId> {
        self.last = self.last.max(after) + 1;
        self.has_ids.then_some(MessageId(self.last))
    }

    fn may_append(&self) -> bool {
        self.has_room
    }
}

pub struct Stage {
    pub chat: Conversation,
    pub ids: Counter,
    pub now: Now,
    pub out: Effects,
    /// Sockets given out.
    slots: u32,
}

pub const START: Now = Now { mono: Mono(10_000), wall: Wall(1_000_000) };

pub fn settings() -> Settings {
    Settings { limits: Limits::default(), offline_grace_ms: 5_000, rate_limits: RateLimits::Off }
}

/// A conversation whose ten messages, ids 101 to 110, are in the store.
pub fn old_header() -> Header {
    Header { last_seq: Seq(10), last_message: 110, messages: 10, last_at: Wall(900_000) }
}

pub fn user(id: u64) -> UserId {
    UserId::from_number(id).unwrap()
}

impl Stage {
    pub fn new() -> Stage {
        Stage::with(Header::default(), settings())
    }

    pub fn old() -> Stage {
        Stage::with(old_header(), settings())
    }

    pub fn with(header: Header, settings: Settings) -> Stage {
        let id = ConversationId::from_number(7).unwrap();
        Stage {
            chat: Conversation::new(id, header, Arc::new(settings)),
            ids: Counter { last: header.last_message, has_ids: true, has_room: true },
            now: START,
            out: Vec::new(),
            slots: 0,
        }
    }

    pub fn join_as(&mut self, id: u64, role: Role, version: Version) -> SessionId {
        self.slots += 1;
        let session = SessionId { core: 0, slot: self.slots, generation: 1 };
        let profile = Profile { first_name: format!("U{id}"), ..Profile::nameless(user(id)) };
        let joiner =
            Joiner { profile: Arc::new(profile), role, version, entrance: self.slots.into() };
        self.chat.join(session, joiner, self.now, &mut self.out);
        session
    }

    pub fn join(&mut self, id: u64) -> SessionId {
        self.join_as(id, Role::Member, Version::V1)
    }

    pub fn join_v2(&mut self, id: u64) -> SessionId {
        self.join_as(id, Role::Member, Version::V2)
    }

    pub fn leave(&mut self, session: SessionId) {
        self.chat.leave(session, self.now, &mut self.out);
    }

    pub fn handle(&mut self, session: SessionId, command: Command<'_>) {
        let request = Request { reference: None, command };
        self.chat.handle(session, request, &mut self.ids, self.now, &mut self.out);
    }

    pub fn handle_ref(&mut self, session: SessionId, reference: &str, command: Command<'_>) {
        let request = Request { reference: Some(reference.into()), command };
        self.chat.handle(session, request, &mut self.ids, self.now, &mut self.out);
    }

    pub fn send(&mut self, session: SessionId, content: &str) -> MessageId {
        self.handle(session, send(content));
        MessageId(self.chat.header().last_message)
    }

    /// Sends and makes it durable.
    pub fn post(&mut self, session: SessionId, content: &str) -> MessageId {
        let message = self.send(session, content);
        self.durable(1);
        message
    }

    pub fn read(&mut self, session: SessionId, message: MessageId) {
        self.handle(session, Command::Read { message });
    }

    pub fn loaded(&mut self, key: LoadKey, state: Loaded) {
        self.chat.loaded(key, state, &mut self.ids, self.now, &mut self.out);
    }

    /// All that was decided is durable.
    pub fn durable(&mut self, segment: u64) {
        self.chat.durable(self.chat.header().last_seq, segment);
    }

    /// Lets time pass, with every timer at its time.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.mono.after(ms);
        while let Some(due) = self.chat.next_timeout().filter(|due| *due <= end) {
            self.at(due.max(self.now.mono));
            self.chat.handle_timeout(self.now, &mut self.out);
        }
        self.at(end);
    }

    fn at(&mut self, mono: Mono) {
        self.now.wall.0 += mono.since(self.now.mono);
        self.now.mono = mono;
    }

    pub fn take(&mut self) -> Effects {
        std::mem::take(&mut self.out)
    }

    /// What came out since the last time, in short.
    pub fn told(&mut self) -> Vec<String> {
        self.take().iter().map(brief).collect()
    }

    pub fn check(&mut self, expected: &[&str]) {
        assert_eq!(self.told(), expected);
    }
}

pub fn send(content: &str) -> Command<'_> {
    Command::Send { content: content.into(), parent: None, client_msg_id: None }
}

pub fn send_once<'a>(content: &'a str, client_msg_id: &'a str) -> Command<'a> {
    let client_msg_id = Some(client_msg_id.into());
    Command::Send { content: content.into(), parent: None, client_msg_id }
}

pub fn answer_to(parent: MessageId, content: &str) -> Command<'_> {
    Command::Send { content: content.into(), parent: Some(parent), client_msg_id: None }
}

pub fn edit(message: MessageId, content: &str) -> Command<'_> {
    Command::Edit { message, content: content.into() }
}

pub fn delete(message: MessageId) -> Command<'static> {
    Command::Delete { message }
}

pub fn react(message: MessageId, emoji: &str) -> Command<'_> {
    react_as(message, emoji, ReactAction::Toggle)
}

pub fn react_as(message: MessageId, emoji: &str, action: ReactAction) -> Command<'_> {
    Command::React { message, emoji: emoji.into(), action }
}

/// A message as the store has it: `id` 101 to 110 of [`old_header`].
pub fn stored(id: u64, sender: u64) -> MessageState {
    MessageState {
        id: MessageId(id),
        seq: Seq(id - 100),
        ordinal: id - 101,
        sender: Profile::nameless(user(sender)).into(),
        content: format!("old {id}"),
        parent: None,
        client_msg_id: None,
        created_at: Wall(800_000 + id),
        edited_at: None,
        edits: 0,
        deleted_at: None,
        reactions: Default::default(),
        reply_count: 0,
    }
}

pub fn event_of(effect: &Effect) -> Option<&Arc<Event>> {
    match effect {
        Effect::Append { event, .. } => Some(event),
        _ => None,
    }
}

fn brief(effect: &Effect) -> String {
    match effect {
        Effect::Append { event, .. } => format!("#{} {}", event.seq.0, brief_body(&event.body)),
        Effect::Mark(mark) => format!("mark {} {}", mark.user, mark.message.0),
        Effect::Signal { audience, signal } => {
            format!("{}: {}", brief_audience(audience), brief_signal(signal))
        }
        Effect::Reply { session, reply } => format!("to {}: {}", session.slot, brief_reply(reply)),
        Effect::ReplyWhenDurable { session, reply } => {
            format!("later to {}: {}", session.slot, brief_reply(reply))
        }
        Effect::Close { session, reason } => format!("close {} {}", session.slot, reason.code()),
        Effect::Load(LoadKey::Message(id)) => format!("load message {}", id.0),
        Effect::Load(LoadKey::Mark(user)) => format!("load mark {user}"),
        Effect::Load(LoadKey::FirstSend { user, client_msg_id }) => {
            format!("load send {user} {client_msg_id}")
        }
        Effect::Load(LoadKey::FirstSends(None)) => "load sends".to_owned(),
        Effect::Load(LoadKey::FirstSends(Some(place))) => {
            format!("load sends behind {} {}", place.user, place.client_msg_id)
        }
        Effect::Load(LoadKey::Recent(count)) => format!("load recent {count}"),
        Effect::Load(LoadKey::Marks(count)) => format!("load marks {count}"),
    }
}

fn brief_body(body: &EventBody) -> String {
    match body {
        EventBody::Message(body) => {
            let parent = body.parent.map(|parent| format!(" to {}", parent.0)).unwrap_or_default();
            format!("message {} by {}{parent}: {}", body.id.0, body.sender.id, body.content)
        }
        EventBody::Edit { message, by, content } => {
            format!("edit {} by {by}: {content}", message.0)
        }
        EventBody::Delete { message, by } => format!("delete {} by {by}", message.0),
        EventBody::Reaction { message, user, emoji, action } => {
            let sign = if *action == ReactionAction::Added { '+' } else { '-' };
            format!("reaction {} by {user}: {sign}{emoji}", message.0)
        }
    }
}

fn brief_audience(audience: &Audience) -> String {
    match audience {
        Audience::All => "all".into(),
        Audience::AllBut(user) => format!("but {user}"),
        Audience::Earlier { than, but } => format!("before {than} but {but}"),
        Audience::One(session) => format!("one {}", session.slot),
        Audience::AllV1 => "v1".into(),
        Audience::AllV2 => "v2".into(),
    }
}

fn brief_signal(signal: &Signal) -> String {
    match signal {
        Signal::Typing { user_name, is_typing, .. } => format!("{user_name} typing {is_typing}"),
        Signal::Read { message, user, .. } => format!("{user} read {}", message.0),
        Signal::Status { user, online: true, .. } => format!("{user} online"),
        Signal::Status { user, online: false, .. } => format!("{user} offline"),
        Signal::PresenceCount { count } => format!("count {count}"),
    }
}

fn brief_reply(reply: &Reply) -> String {
    match reply {
        Reply::Error { refusal, reference } => {
            let wait = refusal.retry_after_ms.map(|ms| format!(" in {ms}")).unwrap_or_default();
            let reference = reference.as_deref().unwrap_or("-");
            assert_eq!(refusal.code == ErrorCode::RateLimited, refusal.retry_after_ms.is_some());
            format!("{} {reference}{wait}", refusal.code.as_str())
        }
        Reply::Ack(Ack { reference, client_msg_id, message, seq, created_at }) => {
            assert_eq!(seq.is_some(), created_at.is_some());
            let text = |text: &Option<String>| text.clone().unwrap_or("-".into());
            let number = |number: Option<u64>| number.map_or("-".into(), |n| n.to_string());
            let (message, seq) = (number(message.map(|m| m.0)), number(seq.map(|s| s.0)));
            format!("ack {} {} {message} #{seq}", text(reference), text(client_msg_id))
        }
        Reply::Presence { online, count } => {
            let online: Vec<_> = online.iter().map(ToString::to_string).collect();
            format!("here {} of {count}", online.join(","))
        }
        other => panic!("a conversation does not say {other:?}"),
    }
}
