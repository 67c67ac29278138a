//! Everything around the conversation: sockets, a log, a store, time; and the checks on each effect.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use loquat::chat::{Audience, Conversation, Effect, Effects, Ids, Joiner, RateLimits, Settings};
use loquat::limits::Limits;
use loquat::model::{
    Command, ConversationId, Event, EventBody, FirstSend, FirstSendPlace, FirstSends, Header,
    LoadKey, Loaded, Mark, MessageId, MessageState, Mono, Now, Profile, ReactAction, Reply,
    Request, Role, Seq, SessionId, Signal, UserId, Version, Wall,
};

use super::checks::fold;
use super::model::Asked;

/// Numbers pick one of what there is.
#[derive(Debug, Clone)]
pub enum Step {
    Join { user: u64, is_v2: bool, role: usize },
    Leave(usize),
    Send { by: usize, text: usize, parent: Option<usize>, key: Option<usize> },
    Edit { by: usize, message: usize, text: usize },
    Delete { by: usize, message: usize },
    React { by: usize, message: usize, emoji: usize, action: usize },
    Read { by: usize, message: usize },
    Type { by: usize, is_typing: bool },
    Answer { which: usize, luck: u8 },
    Durable(usize),
    FlushMarks,
    Seal,
    Shrink,
    Forget,
    Pass(u64),
    SetMember { user: u64, role: usize },
    Recent(usize),
    Settle,
    Empty,
}

/// The bound of `chat::receipt`: above it receipts are dropped, and v2 is told.
const RECEIPTS_WAITING_MAX: usize = 64;
const TEXTS: [&str; 3] = ["one", "two", "three"];
const EMOJI: [&str; 3] = ["👍", "❤️", "x"];
const KEYS: [&str; 4] = ["k0", "k1", "k2", "k3"];

enum Record {
    Event(Arc<Event>),
    Mark(Mark),
}

pub struct Member {
    pub session: SessionId,
    user: UserId,
    role: Role,
    version: Version,
    /// Who is online and who types, as this socket was told.
    online: BTreeMap<UserId, bool>,
    typing: BTreeMap<UserId, bool>,
}

struct Counter(u64);

impl Ids for Counter {
    fn next(&mut self, after: u64) -> Option<MessageId> {
        // Other conversations take ids, too.
        self.0 = self.0.max(after) + 1 + self.0 % 2;
        Some(MessageId(self.0))
    }
}

pub struct World {
    pub chat: Conversation,
    ids: Counter,
    now: Now,
    out: Effects,
    pub here: Vec<Member>,
    sockets: u32,
    /// Records that are not durable, then those that are not sealed.
    log: VecDeque<Record>,
    unsealed: Vec<Record>,
    marks: BTreeMap<UserId, Mark>,
    segment: u64,
    pub stored: BTreeMap<MessageId, MessageState>,
    stored_sends: BTreeMap<(UserId, String), FirstSend>,
    stored_marks: BTreeMap<UserId, Mark>,
    pub loads: Vec<LoadKey>,
    pub has_failed: bool,
    pub asked: Vec<Asked>,
    pub replies: BTreeMap<String, Reply>,
    pub events: Vec<Arc<Event>>,
    pub event_of: BTreeMap<String, Arc<Event>>,
    durable: Seq,
    /// The highest receipt that was told, and the newest mark, of each user.
    told: BTreeMap<UserId, MessageId>,
    pub newest: BTreeMap<UserId, Mark>,
    /// The highest message of which a receipt had to count.
    pub owed: BTreeMap<UserId, MessageId>,
    /// Receipts of each user since the store was asked something: as many of them may wait.
    receipts: BTreeMap<UserId, usize>,
    pub trace: Vec<String>,
}

fn user(id: u64) -> UserId {
    UserId::from_number(id).unwrap()
}

fn open(header: Header) -> Conversation {
    let settings = Settings {
        limits: Limits::default(),
        offline_grace_ms: 5_000,
        rate_limits: RateLimits::Off,
    };
    Conversation::new(ConversationId::parse("room").unwrap(), header, Arc::new(settings))
}

fn role(pick: usize) -> Role {
    match pick {
        0 => Role::ReadOnly,
        1 => Role::Moderator,
        2 => Role::Admin,
        _ => Role::Member,
    }
}

impl World {
    pub fn new() -> World {
        World {
            chat: open(Header::default()),
            ids: Counter(0),
            now: Now { mono: Mono(1_000), wall: Wall(1_000_000) },
            out: Vec::new(),
            here: Vec::new(),
            sockets: 0,
            log: VecDeque::new(),
            unsealed: Vec::new(),
            marks: BTreeMap::new(),
            segment: 1,
            stored: BTreeMap::new(),
            stored_sends: BTreeMap::new(),
            stored_marks: BTreeMap::new(),
            loads: Vec::new(),
            has_failed: false,
            asked: Vec::new(),
            replies: BTreeMap::new(),
            events: Vec::new(),
            event_of: BTreeMap::new(),
            durable: Seq(0),
            told: BTreeMap::new(),
            newest: BTreeMap::new(),
            owed: BTreeMap::new(),
            receipts: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    pub fn step(&mut self, step: &Step) {
        self.trace.push(format!("{step:?}"));
        match *step {
            Step::Join { user: id, is_v2, role: pick } => self.join(id, is_v2, role(pick)),
            Step::Leave(pick) => self.leave(pick),
            Step::Type { by, is_typing } => self.ask(by, Command::Typing { is_typing }),
            Step::Answer { which, luck } => self.answer(which, luck),
            Step::Durable(count) => self.make_durable(count),
            Step::FlushMarks => self.flush_marks(),
            Step::Seal => self.seal(),
            Step::Shrink => self.chat.shrink(),
            Step::Forget => self.forget(),
            Step::Pass(ms) => self.pass(ms),
            Step::SetMember { user: id, role: pick } => self.set_member(&user(id), pick),
            Step::Recent(count) => self.check_recent(count),
            Step::Settle => self.settle(),
            Step::Empty => self.empty(),
            _ => self.command(step),
        }
        self.carry_out();
    }

    fn command(&mut self, step: &Step) {
        let (by, command) = match *step {
            Step::Send { by, text, parent, key } => {
                let parent = parent.map(|pick| self.message(pick));
                let client_msg_id = key.map(|key| Cow::Borrowed(KEYS[key]));
                (by, Command::Send { content: TEXTS[text].into(), parent, client_msg_id })
            }
            Step::Edit { by, message, text } => {
                let message = self.message(message);
                (by, Command::Edit { message, content: TEXTS[text].into() })
            }
            Step::Delete { by, message } => {
                (by, Command::Delete { message: self.message(message) })
            }
            Step::React { by, message, emoji, action } => {
                let action = [ReactAction::Toggle, ReactAction::Add, ReactAction::Remove][action];
                let message = self.message(message);
                (by, Command::React { message, emoji: EMOJI[emoji].into(), action })
            }
            Step::Read { by, message } => (by, Command::Read { message: self.message(message) }),
            _ => return,
        };
        self.ask(by, command);
    }

    /// One of the messages, or now and then an id that is none.
    fn message(&self, pick: usize) -> MessageId {
        let known: Vec<_> = self.sent().map(|body| body.0).collect();
        match known.len() {
            0 => MessageId(pick as u64),
            _ if pick == 15 => MessageId(known[0].0 + 1),
            _ if pick == 14 => MessageId(1_000_000),
            len => known[(pick * 7 + 3) % len],
        }
    }

    fn sent(&self) -> impl Iterator<Item = (MessageId, Seq)> {
        self.events.iter().filter_map(|event| match &event.body {
            EventBody::Message(body) => Some((body.id, event.seq)),
            _ => None,
        })
    }

    fn join(&mut self, id: u64, is_v2: bool, role: Role) {
        self.sockets += 1;
        let session = SessionId { core: 0, slot: self.sockets % 3, generation: self.sockets };
        let version = if is_v2 { Version::V2 } else { Version::V1 };
        let user = user(id);
        let (online, typing) = (BTreeMap::new(), BTreeMap::new());
        self.here.push(Member { session, user: user.clone(), role, version, online, typing });
        let entrance = self.sockets.into();
        let joiner = Joiner { profile: Arc::new(Profile::nameless(user)), role, version, entrance };
        self.chat.join(session, joiner, self.now, &mut self.out);
    }

    fn leave(&mut self, pick: usize) {
        if self.here.is_empty() {
            return;
        }
        let member = self.here.remove(pick % self.here.len());
        self.chat.leave(member.session, self.now, &mut self.out);
    }

    fn ask(&mut self, by: usize, command: Command<'static>) {
        if self.here.is_empty() {
            return;
        }
        let member = &self.here[by % self.here.len()];
        let (session, user) = (member.session, member.user.clone());
        let (role, version) = (member.role, member.version);
        let reference = format!("r{}", self.asked.len());
        if self.loads.is_empty() {
            self.receipts.clear();
        }
        if let Command::Read { message } = command
            && self.may_wait(&user)
            && self.sent().any(|(id, seq)| id == message && seq <= self.durable)
        {
            let owed = self.owed.entry(user.clone()).or_insert(message);
            *owed = (*owed).max(message);
        }
        let asked = Asked { reference: reference.clone(), session, user, role, version, command };
        let request = Request { reference: Some(reference.into()), command: asked.command.clone() };
        self.asked.push(asked);
        self.chat.handle(session, request, &mut self.ids, self.now, &mut self.out);
    }

    /// One receipt more, where it can be one too many.
    fn may_wait(&mut self, user: &UserId) -> bool {
        let receipts = self.receipts.entry(user.clone()).or_default();
        *receipts += 1;
        *receipts <= RECEIPTS_WAITING_MAX
    }

    /// Roles change only while nothing waits: the model decides in the order of asking.
    fn set_member(&mut self, user: &UserId, pick: usize) {
        if !self.loads.is_empty() {
            return;
        }
        let role = (pick != 5).then(|| role(pick));
        self.chat.set_member(user, role, self.now, &mut self.out);
        match role {
            Some(role) => {
                self.here.iter_mut().filter(|held| held.user == *user).for_each(|m| m.role = role);
            }
            None => {
                let gone: BTreeSet<_> = self
                    .here
                    .extract_if(.., |held| held.user == *user)
                    .map(|m| m.session)
                    .collect();
                let closed = |effect: &Effect| match effect {
                    Effect::Close { session, .. } => Some(*session),
                    _ => None,
                };
                assert_eq!(gone, self.out.iter().filter_map(closed).collect());
                self.out.retain(|effect| !matches!(effect, Effect::Close { .. }));
            }
        }
    }

    /// A reader thread answers: now and then it fails.
    pub fn answer(&mut self, which: usize, luck: u8) {
        if self.loads.is_empty() {
            return;
        }
        let key = self.loads.remove(which % self.loads.len());
        let state = if luck == 7 { Loaded::Failed } else { self.state(&key) };
        self.has_failed |= luck == 7;
        self.chat.loaded(key, state, &mut self.ids, self.now, &mut self.out);
        self.carry_out();
    }

    fn state(&self, key: &LoadKey) -> Loaded {
        match key {
            LoadKey::Message(id) => Loaded::Message(self.stored.get(id).cloned().map(Box::new)),
            LoadKey::Mark(user) => Loaded::Mark(self.stored_marks.get(user).cloned()),
            LoadKey::FirstSend { user, client_msg_id } => {
                let key = (user.clone(), client_msg_id.clone());
                Loaded::FirstSend(self.stored_sends.get(&key).cloned())
            }
            LoadKey::FirstSends(behind) => Loaded::FirstSends(self.first_sends(behind.as_ref())),
            LoadKey::Recent(_) | LoadKey::Marks(_) => Loaded::Failed,
        }
    }

    /// Two of them at a time: a filter takes many steps.
    fn first_sends(&self, behind: Option<&FirstSendPlace>) -> FirstSends {
        let place = |(user, name): &(UserId, String)| FirstSendPlace {
            day: 0,
            user: user.clone(),
            client_msg_id: name.clone(),
        };
        let is_behind = |place: &FirstSendPlace| {
            behind.is_none_or(|last| {
                (&place.user, &place.client_msg_id) > (&last.user, &last.client_msg_id)
            })
        };
        let mut places: Vec<_> = self.stored_sends.keys().map(place).filter(is_behind).collect();
        let is_last = places.len() <= 2;
        places.truncate(2);
        FirstSends { places, is_last }
    }

    fn make_durable(&mut self, count: usize) {
        for _ in 0..count {
            let Some(record) = self.log.pop_front() else { return };
            match &record {
                Record::Event(event) => {
                    self.durable = event.seq;
                    self.chat.durable(event.seq, self.segment);
                }
                Record::Mark(mark) => {
                    self.chat.mark_durable(&mark.user, mark.message, self.segment);
                }
            }
            self.unsealed.push(record);
        }
    }

    fn flush_marks(&mut self) {
        self.log.extend(std::mem::take(&mut self.marks).into_values().map(Record::Mark));
    }

    /// What is durable is in the store from now on.
    fn seal(&mut self) {
        for record in std::mem::take(&mut self.unsealed) {
            match record {
                Record::Event(event) => self.store(&event),
                Record::Mark(mark) => {
                    self.stored_marks.insert(mark.user.clone(), mark);
                }
            }
        }
        self.chat.sealed(self.segment);
        self.segment += 1;
    }

    fn store(&mut self, event: &Event) {
        fold(&mut self.stored, event);
        if let EventBody::Message(body) = &event.body
            && let Some(key) = &body.client_msg_id
        {
            let first = FirstSend {
                message: body.id,
                seq: event.seq,
                created_at: event.at,
                content_hash: FirstSend::hash_content(&body.content),
            };
            let key = (body.sender.id.clone(), key.clone());
            assert!(self.stored_sends.insert(key, first).is_none(), "stored twice");
        }
    }

    /// The shard drops an idle conversation and opens it again.
    fn forget(&mut self) {
        if self.chat.is_idle() && self.marks.is_empty() && self.loads.is_empty() {
            assert!(self.log.is_empty() && self.unsealed.is_empty() && self.here.is_empty());
            self.chat = open(self.chat.header());
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now.mono.after(ms);
        while let Some(due) = self.chat.next_timeout().filter(|due| *due <= end) {
            self.at(due.max(self.now.mono));
            self.chat.handle_timeout(self.now, &mut self.out);
            self.carry_out();
        }
        self.at(end);
    }

    fn at(&mut self, mono: Mono) {
        self.now.wall.0 += mono.since(self.now.mono);
        self.now.mono = mono;
    }

    fn check_recent(&mut self, count: usize) {
        let mut all = BTreeMap::new();
        self.events.iter().for_each(|event| fold(&mut all, event));
        let last = |from: &BTreeMap<MessageId, MessageState>| -> Vec<MessageState> {
            from.values().skip(from.len().saturating_sub(count)).cloned().collect()
        };
        assert_eq!(self.chat.recent(count, last(&self.stored)), last(&all));
    }

    /// After a while everybody knows who is here, and nobody types.
    pub fn settle(&mut self) {
        self.pass(6_000);
        for member in &self.here {
            for id in (0..4).map(user).filter(|id| *id != member.user) {
                let is_here = self.here.iter().any(|other| other.user == id);
                let told = member.online.get(&id).copied().unwrap_or(false);
                assert_eq!(told, is_here, "{id} as {:?} sees it", member.session);
            }
            assert!(member.typing.values().all(|is_typing| !is_typing));
        }
    }

    /// Everybody leaves, everything is answered, durable and sealed.
    pub fn empty(&mut self) {
        while !self.here.is_empty() {
            self.leave(0);
        }
        self.carry_out();
        while !self.loads.is_empty() {
            self.answer(0, 0);
        }
        self.pass(6_000);
        self.flush_marks();
        self.make_durable(usize::MAX);
        self.seal();
        assert!(self.chat.is_idle());
        assert_eq!(self.chat.next_timeout(), None);
    }

    pub fn carry_out(&mut self) {
        for effect in std::mem::take(&mut self.out) {
            self.trace.push(format!("{effect:?}"));
            match effect {
                Effect::Append { event, origin } => {
                    let is_here = |session| self.here.iter().any(|held| held.session == session);
                    assert!(origin.session.is_none_or(is_here));
                    self.appended(event, origin.reference);
                }
                Effect::Mark(mark) => self.marked(mark),
                Effect::Signal { audience, signal } => self.signalled(&audience, &signal),
                Effect::Reply { session, reply } | Effect::ReplyWhenDurable { session, reply } => {
                    self.replied(session, reply);
                }
                Effect::Close { .. } => panic!("nobody was removed"),
                Effect::Load(key) => self.asked_store(key),
            }
        }
    }

    fn appended(&mut self, event: Arc<Event>, reference: Option<String>) {
        let last = self.events.last();
        assert_eq!(event.seq, last.map_or(Seq(1), |last| last.seq.next()));
        assert!(last.is_none_or(|last| last.at <= event.at));
        if let EventBody::Message(body) = &event.body {
            assert!(self.sent().last().is_none_or(|(last, _)| last < body.id));
        }
        let reference = reference.expect("every command has a name here");
        assert!(self.event_of.insert(reference, event.clone()).is_none(), "decided twice");
        self.log.push_back(Record::Event(event.clone()));
        self.events.push(event);
    }

    fn marked(&mut self, mark: Mark) {
        let before = self.newest.insert(mark.user.clone(), mark.clone());
        assert!(before.is_none_or(|before| before.message < mark.message));
        assert!(self.sent().any(|(id, _)| id == mark.message));
        self.marks.insert(mark.user.clone(), mark);
    }

    fn signalled(&mut self, audience: &Audience, signal: &Signal) {
        if let Audience::One(session) = audience {
            assert!(self.here.iter().any(|held| held.session == *session), "{signal:?}");
        }
        if let Signal::Read { message, user, .. } = signal {
            assert!(self.sent().any(|(id, seq)| id == *message && seq <= self.durable));
            let before = self.told.insert(user.clone(), *message);
            assert!(before.is_none_or(|before| before < *message), "told twice");
        }
        for member in self.here.iter_mut().filter(|held| hears(audience, held)) {
            match signal {
                Signal::Status { user, online, .. } => {
                    member.online.insert(user.clone(), *online);
                }
                Signal::Typing { user, is_typing, .. } => {
                    member.typing.insert(user.clone(), *is_typing);
                }
                _ => {}
            }
        }
    }

    fn told_who_is_here(&mut self, session: SessionId, online: Vec<UserId>, count: u32) {
        assert_eq!(online.len(), count as usize, "no crowd here");
        let member = self.here.iter_mut().find(|held| held.session == session).unwrap();
        assert!(member.version == Version::V2 && member.online.is_empty());
        assert!(online.contains(&member.user));
        member.online.extend(online.into_iter().map(|user| (user, true)));
    }

    fn replied(&mut self, session: SessionId, reply: Reply) {
        if let Reply::Presence { online, count } = reply {
            return self.told_who_is_here(session, online, count);
        }
        assert!(self.here.iter().any(|held| held.session == session), "{reply:?}");
        let reference = match &reply {
            Reply::Error { reference, .. } => reference.clone(),
            Reply::Ack(ack) => ack.reference.clone(),
            other => panic!("not the machine's to say: {other:?}"),
        };
        let reference = reference.expect("every command has a name here");
        assert!(self.asked.iter().any(|a| a.reference == reference && a.session == session));
        assert!(self.replies.insert(reference, reply).is_none(), "answered twice");
    }

    /// Nothing is asked twice at once, and only what the store wholly has.
    fn asked_store(&mut self, key: LoadKey) {
        assert!(!self.loads.contains(&key), "{key:?} is under way");
        // A mark that could not be read is asked for again, also when a send has raised it meanwhile.
        let is_again = self.has_failed && matches!(key, LoadKey::Mark(_));
        for record in self.log.iter().chain(&self.unsealed) {
            assert!(is_again || !touches(record, &key), "{key:?} is not wholly in the store");
        }
        if let LoadKey::Mark(user) = &key {
            assert!(is_again || !self.marks.contains_key(user), "{key:?} is not in the store");
        }
        self.loads.push(key);
    }
}

fn hears(audience: &Audience, member: &Member) -> bool {
    match audience {
        Audience::All => true,
        Audience::AllBut(user) => member.user != *user,
        Audience::Earlier { than, but } => {
            u64::from(member.session.generation) < *than && member.user != *but
        }
        Audience::One(session) => member.session == *session,
        Audience::AllV1 => member.version == Version::V1,
        Audience::AllV2 => member.version == Version::V2,
    }
}

fn touches(record: &Record, key: &LoadKey) -> bool {
    match (record, key) {
        (Record::Mark(mark), LoadKey::Mark(user)) => mark.user == *user,
        (Record::Event(event), LoadKey::Message(id)) => match &event.body {
            EventBody::Message(body) => body.id == *id || body.parent == Some(*id),
            EventBody::Edit { message, .. }
            | EventBody::Delete { message, .. }
            | EventBody::Reaction { message, .. } => message == id,
        },
        (Record::Event(event), LoadKey::FirstSend { user, client_msg_id }) => match &event.body {
            EventBody::Message(body) => {
                body.sender.id == *user && body.client_msg_id.as_ref() == Some(client_msg_id)
            }
            _ => false,
        },
        _ => false,
    }
}
