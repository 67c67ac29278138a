//! The machine itself: sockets in and out, commands and the queue behind old state, timers, memory.
//!
//! ```text
//! handle ─► rights, rate ─► needs old state, or others wait? ─no─► decide (commands.rs)
//!                                    │ yes: Load, queue               ▲
//!                                    └──────── loaded ────────────────┘
//! ```
//! Typing never waits. Everything else keeps its order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::dedupe::Sends;
use super::message::Window;
use super::people::{People, Session};
use super::presence::Presence;
use super::rate::Bucket;
use super::typing::Line;
use super::waiting::{Nothing, Queued, Waiting};
use super::{Audience, Effect, Ids, Joiner, RateLimits, Settings, access};
use crate::limits::CROWD;
use crate::model::{
    CloseReason, Command, ConversationId, ErrorCode, Header, LoadKey, Loaded, MessageId,
    MessageState, Mono, Now, Refusal, Reply, Request, Role, Seq, SessionId, Signal, UserId,
    Version,
};

const FORBIDDEN: Refusal = Refusal::new(ErrorCode::Forbidden, "you may not do this here");
const RATE_LIMITED: Refusal =
    Refusal::new(ErrorCode::RateLimited, "too many messages at once; slow down");
/// When a client that met a full queue may try again, in ms.
const QUEUE_RETRY_MS: u64 = 1_000;

#[derive(Debug)]
pub struct Conversation {
    #[allow(dead_code, reason = "names the machine in a debug print")]
    id: ConversationId,
    pub(super) header: Header,
    settings: Arc<Settings>,
    pub(super) people: People,
    pub(super) window: Window,
    pub(super) sends: Sends,
    waiting: Waiting,
    presence: Presence,
    events: Bucket,
    typists: usize,
    /// When to look at which user; entries may be late, never missing.
    alarms: BinaryHeap<Reverse<(Mono, usize)>>,
    /// The store may know messages or sends that are not in memory.
    has_past: bool,
    /// The newest segment that holds something of this conversation, and the newest sealed one.
    segment: u64,
    sealed: u64,
}

impl Conversation {
    /// `header` is where the store says the conversation stands.
    pub fn new(id: ConversationId, header: Header, settings: Arc<Settings>) -> Conversation {
        Conversation {
            id,
            header,
            people: People::default(),
            window: Window::default(),
            sends: Sends::default(),
            waiting: Waiting::default(),
            presence: Presence::default(),
            events: Bucket::new(settings.limits.events_per_conversation),
            typists: 0,
            alarms: BinaryHeap::new(),
            has_past: header.last_seq > Seq(0),
            segment: 0,
            sealed: 0,
            settings,
        }
    }

    pub fn header(&self) -> Header {
        self.header
    }

    /// New limits for what comes.
    pub fn set_settings(&mut self, settings: Arc<Settings>) {
        self.events = Bucket::new(settings.limits.events_per_conversation);
        self.settings = settings;
    }

    pub fn user_of(&self, session: SessionId) -> Option<&UserId> {
        self.people.sessions.get(&session).map(|s| self.people.users[s.user].id())
    }

    pub fn version_of(&self, session: SessionId) -> Option<Version> {
        self.people.sessions.get(&session).map(|session| session.version)
    }

    /// The newest receipt of the session's user: those at or below it say nothing new.
    pub fn receipt_of(&self, session: SessionId) -> Option<MessageId> {
        let session = self.people.sessions.get(&session)?;
        self.people.users[session.user].marks.shown()
    }

    /// The last `count` messages: what the store has of them, overlaid with what is here.
    pub fn recent(&self, count: usize, stored: Vec<MessageState>) -> Vec<MessageState> {
        let mut all: std::collections::BTreeMap<MessageId, MessageState> =
            stored.into_iter().map(|message| (message.id, message)).collect();
        all.extend(self.window.newest(count).map(|message| (message.id, message.clone())));
        let skip = all.len().saturating_sub(count);
        // What is older than the newest may still have changed here.
        all.into_values()
            .skip(skip)
            .map(|message| self.window.get(message.id).cloned().unwrap_or(message))
            .collect()
    }

    /// Who of those in memory has read a message, in the order of their ids.
    pub fn readers_of(&self, message: MessageId) -> Vec<UserId> {
        let readers = self.people.users.iter().filter(|(_, user)| user.marks.has_read(message));
        let mut readers: Vec<UserId> = readers.map(|(_, user)| user.id().clone()).collect();
        readers.sort();
        readers
    }

    pub fn join(&mut self, session: SessionId, joiner: Joiner, now: Now, out: &mut Vec<Effect>) {
        let Joiner { profile, role, version } = joiner;
        let number = self.people.enter(profile, &self.settings.limits);
        self.people.sessions.insert(session, Session { user: number, role, version });
        let user = &mut self.people.users[number];
        if !user.marks.is_known() {
            let key = LoadKey::Mark(user.id().clone());
            if !self.has_past {
                user.marks.read(None);
            } else if self.waiting.ask(&key) {
                out.push(Effect::Load(key));
            }
        }
        if !user.is_announced {
            self.presence.changed(number, now.mono);
        }
        self.greet(session, number, now, out);
    }

    /// Its own `online` first, then one per user whom the others know to be there.
    fn greet(&self, session: SessionId, number: usize, now: Now, out: &mut Vec<Effect>) {
        let online = |user: &UserId| Effect::Signal {
            audience: Audience::One(session),
            signal: Signal::Status { user: user.clone(), online: true, at: now.wall },
        };
        out.push(online(self.people.users[number].id()));
        if self.is_crowd() {
            return;
        }
        for (other, user) in &self.people.users {
            if other != number && user.is_announced {
                out.push(online(user.id()));
            }
        }
    }

    pub fn leave(&mut self, session: SessionId, now: Now, out: &mut Vec<Effect>) {
        let Some(Session { user: number, .. }) = self.people.sessions.remove(&session) else {
            return;
        };
        let user = &mut self.people.users[number];
        user.sockets -= 1;
        if user.typing.is_by(session) {
            self.stop_typing(number, now, out);
        }
        let user = &mut self.people.users[number];
        if user.sockets == 0 {
            user.offline_at = Some(now.mono.after(self.settings.offline_grace_ms));
            if self.settings.offline_grace_ms == 0 {
                self.went_offline(number, now);
            }
            self.arm(number);
        }
    }

    fn went_offline(&mut self, number: usize, now: Now) {
        self.people.went_offline(number);
        if self.people.users[number].is_announced {
            self.presence.changed(number, now.mono);
        }
        self.people.forget_if_done(number, self.sealed);
    }

    pub(super) fn is_crowd(&self) -> bool {
        self.people.online() > CROWD
    }

    /// A command of a socket that is in.
    pub fn handle(
        &mut self,
        session: SessionId,
        request: Request<'_>,
        ids: &mut dyn Ids,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(&Session { user, role, .. }) = self.people.sessions.get(&session) else { return };
        if !access::may(role, &request.command) {
            return refuse(session, request.reference, FORBIDDEN, out);
        }
        if let Command::Typing { is_typing } = request.command {
            return self.type_on(session, user, is_typing, now, out);
        }
        if let Err(refusal) = self.keep_to_rate(user, &request.command, now) {
            return refuse(session, request.reference, refusal, out);
        }
        if let Command::Read { message } = request.command
            && self.people.users[user].marks.shown() >= Some(message)
        {
            return;
        }
        let needs = self.needs(user, &request.command);
        if needs.is_empty() && self.waiting.is_empty() {
            return self.decide(session, request, ids, now, out);
        }
        if self.waiting.is_full() {
            let refusal = Refusal { retry_after_ms: Some(QUEUE_RETRY_MS), ..RATE_LIMITED };
            return refuse(session, request.reference, refusal, out);
        }
        for key in needs {
            if self.waiting.ask(&key) {
                out.push(Effect::Load(key));
            }
        }
        self.waiting.push(Queued { session, request: request.into_owned() });
    }

    fn keep_to_rate(
        &mut self,
        user: usize,
        command: &Command<'_>,
        now: Now,
    ) -> Result<(), Refusal> {
        let counts = !matches!(command, Command::Read { .. } | Command::Typing { .. });
        if !counts || self.settings.rate_limits == RateLimits::Off {
            return Ok(());
        }
        let limited = |ms| Refusal { retry_after_ms: Some(ms), ..RATE_LIMITED };
        self.people.users[user].events.take(now.mono).map_err(limited)?;
        self.events.take(now.mono).map_err(limited)
    }

    /// What the store must be asked before this can be decided.
    fn needs(&self, user: usize, command: &Command<'_>) -> SmallVec<[LoadKey; 2]> {
        let mut needs = SmallVec::new();
        if !self.has_past {
            return needs;
        }
        let user = &self.people.users[user];
        let (message, send) = match command {
            Command::Send { parent, client_msg_id, .. } => (*parent, client_msg_id.as_deref()),
            Command::Read { message } => {
                if !user.marks.is_known() {
                    needs.push(LoadKey::Mark(user.id().clone()));
                }
                (Some(*message), None)
            }
            Command::React { message, .. }
            | Command::Edit { message, .. }
            | Command::Delete { message } => (Some(*message), None),
            Command::Typing { .. } => (None, None),
        };
        if let Some(id) = message
            && id.0 <= self.header.last_message
            && !self.window.contains(id)
        {
            needs.push(LoadKey::Message(id));
        }
        if let Some(id) = send
            && self.sends.find(user.id(), id, self.header.last_at).is_none()
        {
            let (user, client_msg_id) = (user.id().clone(), id.to_owned());
            needs.push(LoadKey::FirstSend { user, client_msg_id });
        }
        needs.retain(|key| self.waiting.nothing(key).is_none());
        needs
    }

    /// The store's answer to an [`Effect::Load`].
    pub fn loaded(
        &mut self,
        key: LoadKey,
        state: Loaded,
        ids: &mut dyn Ids,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.waiting.answered(&key);
        match (&key, state) {
            (LoadKey::Message(_), Loaded::Message(Some(message))) => self.window.read(*message),
            (LoadKey::Mark(user), Loaded::Mark(mark)) => {
                if let Some(number) = self.people.number_of(user) {
                    self.people.users[number].marks.read(mark);
                }
                // A user who has left meanwhile: whoever waits is answered all the same.
                self.waiting.found_nothing(key, Nothing::Absent);
            }
            (LoadKey::FirstSend { user, client_msg_id }, Loaded::FirstSend(Some(first))) => {
                self.sends.read(user, client_msg_id, first);
                self.waiting.found_nothing(key, Nothing::Absent);
            }
            (_, Loaded::Failed) => self.waiting.found_nothing(key, Nothing::Failed),
            _ => self.waiting.found_nothing(key, Nothing::Absent),
        }
        self.go_on(ids, now, out);
    }

    /// Decides what waits, in order, as far as everything needed is here.
    fn go_on(&mut self, ids: &mut dyn Ids, now: Now, out: &mut Vec<Effect>) {
        while let Some(queued) = self.waiting.front() {
            let Some(&Session { user, .. }) = self.people.sessions.get(&queued.session) else {
                // The socket is gone, and with it whoever wanted this: nothing was promised.
                self.waiting.pop();
                continue;
            };
            let needs = self.needs(user, &queued.request.command);
            let mut is_blocked = false;
            for key in needs {
                is_blocked = true;
                if self.waiting.ask(&key) {
                    // It had come and has left memory again.
                    out.push(Effect::Load(key));
                }
            }
            if is_blocked {
                return;
            }
            let has_failed = self.has_failed(user);
            let Some(Queued { session, request }) = self.waiting.pop() else { return };
            if has_failed {
                refuse(session, request.reference, super::commands::STORAGE_UNAVAILABLE, out);
            } else {
                self.decide(session, request, ids, now, out);
            }
        }
        self.waiting.forget_if_empty();
    }

    /// Whether the store could not say something that the first command in the queue needs.
    fn has_failed(&self, user: usize) -> bool {
        let Some(queued) = self.waiting.front() else { return false };
        let user = self.people.users[user].id();
        let failed = |key: LoadKey| self.waiting.nothing(&key) == Some(Nothing::Failed);
        match &queued.request.command {
            Command::Send { parent, client_msg_id, .. } => {
                parent.is_some_and(|id| failed(LoadKey::Message(id)))
                    || client_msg_id.as_ref().is_some_and(|id| {
                        let (user, client_msg_id) = (user.clone(), id.clone().into_owned());
                        failed(LoadKey::FirstSend { user, client_msg_id })
                    })
            }
            Command::Read { message } => {
                failed(LoadKey::Message(*message)) || failed(LoadKey::Mark(user.clone()))
            }
            Command::React { message, .. }
            | Command::Edit { message, .. }
            | Command::Delete { message } => failed(LoadKey::Message(*message)),
            Command::Typing { .. } => false,
        }
    }

    fn type_on(
        &mut self,
        session: SessionId,
        number: usize,
        is_typing: bool,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if !is_typing {
            return self.stop_typing(number, now, out);
        }
        let is_full = self.is_crowd() && self.typists >= crate::limits::CROWD_TYPISTS_MAX;
        let typing = &mut self.people.users[number].typing;
        if !typing.is_typing() {
            if is_full {
                return;
            }
            self.typists += 1;
        }
        let line = typing.key(session, now.mono);
        self.tell_typing(number, line, now, out);
        self.arm(number);
    }

    pub(super) fn stop_typing(&mut self, number: usize, now: Now, out: &mut Vec<Effect>) {
        let line = self.people.users[number].typing.stop();
        self.tell_typing(number, line, now, out);
    }

    fn tell_typing(&mut self, number: usize, line: Line, now: Now, out: &mut Vec<Effect>) {
        let is_typing = match line {
            Line::Unchanged => return,
            Line::Shown => true,
            Line::Hidden => {
                self.typists -= 1;
                false
            }
        };
        let profile = &self.people.users[number].profile;
        out.push(Effect::Signal {
            audience: Audience::AllBut(profile.id.clone()),
            signal: Signal::Typing {
                user: profile.id.clone(),
                user_name: profile.display_name(),
                is_typing,
                at: now.wall,
            },
        });
    }

    /// Events up to `through` are on disk, in `segment` or an earlier one.
    pub fn durable(&mut self, through: Seq, segment: u64) {
        self.segment = self.segment.max(segment);
        self.window.durable(through.0, segment);
        self.sends.durable(through.0, segment);
    }

    /// The mark that was handed out for this user is on disk.
    pub fn mark_durable(&mut self, user: &UserId, message: MessageId, segment: u64) {
        self.segment = self.segment.max(segment);
        if let Some(number) = self.people.number_of(user) {
            self.people.users[number].marks.durable(message, segment);
        }
    }

    /// What lies in this segment and in earlier ones is wholly in the store.
    pub fn sealed(&mut self, segment: u64) {
        self.sealed = segment;
        self.has_past |= self.header.last_seq > Seq(0) && self.segment <= segment;
        self.has_past |= self.sends.sealed(segment);
        let before = self.window.len();
        self.window.sealed(segment);
        self.has_past |= self.window.len() < before;
        self.people.forget_done(segment);
    }

    /// Nobody is here, nothing waits, and the store has everything: the machine may be dropped.
    pub fn is_idle(&self) -> bool {
        self.people.users.is_empty()
            && self.presence.is_quiet()
            && self.waiting.is_quiet()
            && !self.window.has_undurable()
            && self.segment <= self.sealed
    }

    pub fn next_timeout(&self) -> Option<Mono> {
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
        [alarm, self.presence.next_timeout()].into_iter().flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(&Reverse((at, number))) = self.alarms.peek()
            && at <= now.mono
        {
            self.alarms.pop();
            self.look_at(number, now, out);
        }
        if self.presence.is_due(now.mono) {
            self.tell_presence(now, out);
        }
    }

    /// The alarm of a user (or of one whose number it was) rang.
    fn look_at(&mut self, number: usize, now: Now, out: &mut Vec<Effect>) {
        let Some(user) = self.people.users.get_mut(number) else { return };
        if user.typing.next_timeout().is_some_and(|at| at <= now.mono) {
            let line = user.typing.handle_timeout(now.mono);
            self.tell_typing(number, line, now, out);
        }
        let user = &mut self.people.users[number];
        if user.marks.next_timeout().is_some_and(|at| at <= now.mono) {
            self.tell_receipt(number, now, out);
        }
        if self.people.users[number].offline_at.is_some_and(|at| at <= now.mono) {
            self.went_offline(number, now);
        }
        self.arm(number);
    }

    fn arm(&mut self, number: usize) {
        let Some(user) = self.people.users.get(number) else { return };
        let deadlines = [user.offline_at, user.typing.next_timeout(), user.marks.next_timeout()];
        if let Some(at) = deadlines.into_iter().flatten().min() {
            let entry = Reverse((at, number));
            // A user who types on has one entry, not one per keystroke.
            if self.alarms.peek() != Some(&entry) {
                self.alarms.push(entry);
            }
        }
    }

    fn tell_presence(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.is_crowd() {
            let online = u32::try_from(self.people.online()).unwrap_or(u32::MAX);
            if let Some(count) = self.presence.crowd_tick(online, now.mono) {
                let signal = Signal::PresenceCount { count };
                out.push(Effect::Signal { audience: Audience::AllV2, signal });
            }
            return;
        }
        for number in self.presence.take_changed() {
            let Some(user) = self.people.users.get_mut(number) else { continue };
            let is_online = user.is_online();
            if user.is_announced != is_online {
                user.is_announced = is_online;
                out.push(Effect::Signal {
                    audience: Audience::AllBut(user.id().clone()),
                    signal: Signal::Status {
                        user: user.id().clone(),
                        online: is_online,
                        at: now.wall,
                    },
                });
            }
            self.people.forget_if_done(number, self.sealed);
        }
    }

    /// Tells a receipt, or keeps it for its time.
    pub(super) fn tell_receipt(&mut self, number: usize, now: Now, out: &mut Vec<Effect>) {
        let is_crowd = self.is_crowd();
        let user = &mut self.people.users[number];
        if is_crowd && !user.marks.may_tell(now.mono) {
            return self.arm(number);
        }
        user.marks.told();
        let Some(message) = user.marks.shown() else { return };
        out.push(Effect::Signal {
            audience: Audience::All,
            signal: Signal::Read { message, user: user.id().clone(), at: now.wall },
        });
    }

    /// The directory gave the user another role, or none: then the user's sockets are closed.
    pub fn set_member(
        &mut self,
        user: &UserId,
        role: Option<Role>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(role) = role else { return self.kick(user, now, out) };
        let Some(number) = self.people.number_of(user) else { return };
        for session in self.people.sessions.values_mut().filter(|s| s.user == number) {
            session.role = role;
        }
        if role < Role::Member {
            self.stop_typing(number, now, out);
        }
    }

    /// Closes the user's sockets; they are told to leave as sockets do.
    pub fn kick(&mut self, user: &UserId, _now: Now, out: &mut Vec<Effect>) {
        let Some(number) = self.people.number_of(user) else { return };
        for session in self.people.sessions_of(number) {
            out.push(Effect::Close { session, reason: CloseReason::Kicked });
        }
    }

    pub(super) fn reply_error(
        session: SessionId,
        reference: Option<String>,
        refusal: Refusal,
        out: &mut Vec<Effect>,
    ) {
        out.push(Effect::Reply { session, reply: Reply::Error { refusal, reference } });
    }
}

fn refuse(
    session: SessionId,
    reference: Option<std::borrow::Cow<'_, str>>,
    refusal: Refusal,
    out: &mut Vec<Effect>,
) {
    Conversation::reply_error(session, reference.map(|r| r.into_owned()), refusal, out);
}
