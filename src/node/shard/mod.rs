//! A shard: the conversations that one core owns. It numbers, logs and (once the log says *durable*)
//! shows.
//!
//! ```text
//! command → chat decides → record → log ──durable──► reveal → batch of the room → outboxes
//!                └ old state? → reader thread → loaded ┘
//! ```
//! Decided and durable: the machines in `chat` hold the decided state. Whatever shows it waits in
//! `reveals`, in the order of the shard's records, until the log's watermark has passed it.
//!
//! It knows sockets only as [`SessionId`]s; it never sees bytes, time or files.

mod admit;
mod batches;
mod deletion;
mod directory;
mod follow;
mod import;
mod lease;
mod missed;
mod operation;
mod question;
mod recent;
mod reveal;
mod room;
mod session;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;

use self::admit::Waiting;
pub(super) use self::batches::FullBatch;
use self::follow::Fetch;
use self::lease::Lease;
use self::operation::Operations;
use self::question::Asking;
use self::reveal::Reveal;
use self::room::Room;
use self::session::Refresh;
use super::admin::{AdminAnswer, AdminCommand};
use super::mail::Told;
use super::ports::{LoadQuery, LoadRequest, LoadResult, Record, ToLog};
use super::table::Table;
use super::timers::Timers;
use crate::chat::rate::Bucket;
use crate::chat::{self, Conversation, Effect};
use crate::limits::{Limits, Rate};
use crate::model::{
    Access, Command, ConversationId, Epoch, ErrorCode, LoadKey, Loaded, Mono, Now, Refusal, Reply,
    Request, SessionId, UserId,
};
use crate::telemetry::{CoreCounters, Counter};

/// Where a session's answer to an admin command goes.
pub type AdminReply = Box<dyn FnOnce(AdminAnswer) + Send>;

/// Marks are stored within a second: they are handed to the log this often.
const MARKS_EVERY_MS: u64 = 500;
/// Full buckets of users are forgotten this often.
const BUCKETS_SWEPT_EVERY_MS: u64 = 60_000;
/// When a client that met a server short of memory may try again.
const OVERLOAD_RETRY_MS: u64 = 2_000;
/// Records that wait for a commit before commands are refused: more than a second of a core's work, for disks stall.
const TO_LOG_MAX: usize = 64 * 1024;
/// The same in bytes of text.
const TO_LOG_BYTES_MAX: usize = 16 << 20;

/// What of the settings a shard needs.
#[derive(Debug, Clone)]
pub struct ShardSettings {
    pub access: Access,
    pub limits: Limits,
    pub rate_limits: chat::RateLimits,
    pub offline_grace_ms: u64,
    pub history_on_connect: u32,
    pub epoch: Epoch,
    /// Sockets of one conversation on this core from which on later ones stay elsewhere.
    pub wide_threshold: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Room(usize),
    Marks,
    Buckets,
}

/// A question to the reader threads, by its ticket.
enum Load {
    State { room: usize, key: LoadKey },
    Admission(Box<Waiting>),
    History(Box<Waiting>),
    Directory { room: usize },
    Operation { room: usize, at: usize },
    Question(Box<Asking>),
    Follow(Fetch),
    Refresh(Box<Refresh>),
}

impl Load {
    /// A command waits for the answer.
    fn is_awaited(&self) -> bool {
        matches!(self, Load::State { key, .. } if !matches!(key, LoadKey::FirstSends(_)))
    }
}

pub struct Shard {
    core: u16,
    settings: ShardSettings,
    chat_settings: Arc<chat::Settings>,
    rooms: Table<Room>,
    by_id: HashMap<ConversationId, usize>,
    /// The room of each socket that lives on another core.
    remotes: HashMap<SessionId, usize>,
    lease: Lease,
    /// The last record's number, and the last one that is on disk.
    lsn: u64,
    durable: u64,
    /// The last record that the log was given.
    handed: u64,
    sealed: u64,
    is_accepting: bool,
    /// The log was told that no record follows.
    has_ended: bool,
    is_refusing: bool,
    /// There is too little memory for large answers.
    is_short: bool,
    /// What answers about the past may still take until memory is measured again.
    room_bytes: u64,
    reveals: VecDeque<(u64, Reveal)>,
    loads: HashMap<u64, Load>,
    /// Questions about the past that are under way.
    questions: usize,
    /// Followers that want their next piece, those who wait longest first; those who wait for a reader
    /// to be free; and how many readers' answers are under way for followers.
    hungry: VecDeque<(usize, SessionId)>,
    starved: VecDeque<(usize, SessionId)>,
    fetches: usize,
    ticket: u64,
    timers: Timers<Timer>,
    marks_alarm: super::timers::Alarm,
    buckets_alarm: super::timers::Alarm,
    user_buckets: HashMap<UserId, Bucket>,
    admin_queue: VecDeque<(AdminCommand, AdminReply)>,
    operations: Operations,
    /// Who waits for this shard to give up ids.
    renewals: Vec<AdminReply>,
    /// Rooms with marks that are not in the log yet.
    marked: Vec<usize>,
    is_stopped: bool,
    dirty: Vec<usize>,
    idle: Vec<usize>,
    effects: Vec<Effect>,
    counters: Rc<CoreCounters>,
    /// For the log, in order; the core moves them into its ring.
    pub(super) to_log: VecDeque<ToLog>,
    /// Bytes of text of each record in `to_log`, and of all of them.
    pub(super) to_log_texts: VecDeque<u32>,
    pub(super) to_log_bytes: usize,
    pub(super) to_readers: VecDeque<LoadRequest>,
    /// For single sockets, and batches cut short, in order.
    pub(super) outputs: VecDeque<Output>,
    /// News for all cores.
    pub(super) news: VecDeque<News>,
}

/// What the core passes on at the end of the turn, in order.
pub(super) enum Output {
    Told {
        session: SessionId,
        told: Told,
    },
    /// What was said to those who were in before somebody entered.
    Batch(FullBatch),
}

/// What every core must hear.
pub(super) enum News {
    Wide(ConversationId),
    Narrow(ConversationId),
    ReadAnew,
    Revoked { user: UserId, issued_before: crate::model::Wall },
}

impl Shard {
    pub fn new(core: u16, settings: ShardSettings) -> Shard {
        let chat_settings = Arc::new(chat::Settings {
            limits: settings.limits.clone(),
            offline_grace_ms: settings.offline_grace_ms,
            rate_limits: settings.rate_limits,
        });
        let mut lease = Lease::default();
        // Asked for before anybody comes, so that the first message need not be refused.
        let to_log = lease.wants_more().then_some(ToLog::Lease);
        Shard {
            core,
            settings,
            chat_settings,
            rooms: Table::default(),
            by_id: HashMap::new(),
            remotes: HashMap::new(),
            lease,
            lsn: 0,
            durable: 0,
            handed: 0,
            sealed: 0,
            is_accepting: true,
            has_ended: false,
            is_refusing: false,
            is_short: false,
            room_bytes: u64::MAX,
            reveals: VecDeque::new(),
            loads: HashMap::new(),
            questions: 0,
            hungry: VecDeque::new(),
            starved: VecDeque::new(),
            fetches: 0,
            ticket: 0,
            timers: Timers::default(),
            marks_alarm: super::timers::Alarm::default(),
            buckets_alarm: super::timers::Alarm::default(),
            user_buckets: HashMap::new(),
            dirty: Vec::new(),
            idle: Vec::new(),
            effects: Vec::new(),
            counters: Rc::default(),
            to_log: to_log.into_iter().collect(),
            to_log_texts: VecDeque::new(),
            to_log_bytes: 0,
            to_readers: VecDeque::new(),
            outputs: VecDeque::new(),
            admin_queue: VecDeque::new(),
            operations: Operations::default(),
            renewals: Vec::new(),
            marked: Vec::new(),
            is_stopped: false,
            news: VecDeque::new(),
        }
    }

    pub(super) fn count_in(&mut self, counters: Rc<CoreCounters>) {
        self.counters = counters;
    }

    /// What was decided and waits for the log, and questions that wait for an answer.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.reveals.len(), self.loads.len())
    }

    pub fn is_accepting(&self) -> bool {
        self.is_accepting
    }

    /// There are ids to number messages with, or the store has said that it takes nothing now.
    pub fn is_ready(&self) -> bool {
        !self.lease.is_empty() || !self.is_accepting
    }

    /// Nothing decided waits for the disk, and no answer is owed.
    pub fn is_settled(&self) -> bool {
        self.reveals.is_empty()
            && self.to_log.is_empty()
            && self.admin_queue.is_empty()
            && self.operations.is_empty()
            && !self.loads.values().any(Load::is_awaited)
    }

    /// A command of a socket on this core, in the room it was admitted to.
    pub fn command(&mut self, room: usize, session: SessionId, request: Request<'_>, now: Now) {
        if let Err(refusal) = self.may_decide(room, session, &request.command, now) {
            let reference = request.reference.map(|r| r.into_owned());
            let reply = Reply::Error { refusal, reference };
            self.tell(session, Told::Reply(reply));
            return;
        }
        let mut is_repeated = false;
        let is_receipt = matches!(request.command, Command::Read { .. });
        self.with_chat(room, now, |chat, ids, out| {
            chat.handle(session, request, ids, now, out);
            is_repeated = is_receipt && out.is_empty();
        });
        if is_repeated {
            self.counters.increment(Counter::ReceiptsRepeated);
        }
    }

    /// The same for a socket on another core.
    pub fn remote_command(&mut self, session: SessionId, request: Request<'static>, now: Now) {
        let Some(&room) = self.remotes.get(&session) else { return };
        let is_receipt = matches!(request.command, Command::Read { .. });
        self.command(room, session, request, now);
        let read = self.rooms[room].chat.as_ref().and_then(|chat| chat.receipt_of(session));
        if is_receipt && let Some(message) = read {
            self.tell(session, Told::Read(message));
        }
    }

    /// New limits, also for the buckets that are in use.
    pub fn set_limits(&mut self, limits: &Limits, now: Now) {
        self.settings.limits = limits.clone();
        for bucket in self.user_buckets.values_mut() {
            bucket.set_rate(limits.events_per_user_and_shard, now.mono);
        }
        self.chat_settings =
            Arc::new(chat::Settings { limits: limits.clone(), ..(*self.chat_settings).clone() });
        for (_, room) in self.rooms.iter_mut() {
            if let Some(chat) = &mut room.chat {
                chat.set_settings(self.chat_settings.clone(), now);
            }
        }
    }

    /// Lets go at once of everything that the store has as well.
    pub fn shrink(&mut self) {
        for (_, room) in self.rooms.iter_mut() {
            if let Some(chat) = &mut room.chat {
                chat.shrink();
            }
        }
    }

    /// Whether questions about the past are refused for want of memory.
    pub fn set_short(&mut self, is_short: bool) {
        self.is_short = is_short;
    }

    /// What answers about the past may take until memory is measured again: a turn can give thousands.
    pub fn set_room(&mut self, bytes: u64) {
        self.room_bytes = bytes;
    }

    /// Whether commands that store something are refused for want of memory.
    pub fn set_refusing(&mut self, is_refusing: bool) {
        self.is_refusing = is_refusing;
    }

    /// What must hold before anything is numbered: the log has room, the user keeps to the rate.
    fn may_decide(
        &mut self,
        room: usize,
        session: SessionId,
        command: &Command<'_>,
        now: Now,
    ) -> Result<(), Refusal> {
        if matches!(command, Command::Typing { .. } | Command::Read { .. }) {
            return Ok(());
        }
        if self.is_refusing {
            return Err(Refusal { retry_after_ms: Some(OVERLOAD_RETRY_MS), ..OVERLOADED });
        }
        if !self.may_append() {
            return Err(STORAGE_UNAVAILABLE);
        }
        if self.settings.rate_limits == chat::RateLimits::Off {
            return Ok(());
        }
        let rate: Rate = self.settings.limits.events_per_user_and_shard;
        let Some(user) = self.rooms[room].chat.as_ref().and_then(|chat| chat.user_of(session))
        else {
            return Ok(());
        };
        let bucket = match self.user_buckets.get_mut(user) {
            Some(bucket) => bucket,
            None => {
                let due = now.mono.after(BUCKETS_SWEPT_EVERY_MS);
                self.timers.set(Timer::Buckets, &mut self.buckets_alarm, due);
                self.user_buckets.entry(user.clone()).or_insert_with(|| Bucket::new(rate))
            }
        };
        bucket.take(now.mono).map_err(|retry_after_ms| Refusal {
            retry_after_ms: Some(retry_after_ms),
            ..RATE_LIMITED
        })
    }

    fn may_append(&self) -> bool {
        self.is_accepting
            && self.to_log.len() <= TO_LOG_MAX
            && self.to_log_bytes <= TO_LOG_BYTES_MAX
    }

    /// Runs the room's machine and carries out what it wants.
    fn with_chat(
        &mut self,
        room: usize,
        now: Now,
        run: impl FnOnce(&mut Conversation, &mut Ids<'_>, &mut Vec<Effect>),
    ) {
        let mut effects = std::mem::take(&mut self.effects);
        let may_append = self.may_append();
        if let Some(chat) = self.rooms[room].chat.as_mut() {
            run(chat, &mut Ids { lease: &mut self.lease, may_append }, &mut effects);
        }
        for effect in effects.drain(..) {
            self.carry_out(room, effect, now);
        }
        self.effects = effects;
        self.arm(room);
        if !self.has_ended && self.lease.wants_more() {
            self.to_log.push_back(ToLog::Lease);
        }
    }

    fn carry_out(&mut self, room: usize, effect: Effect, now: Now) {
        match effect {
            Effect::Append { event, origin } => {
                let conversation = self.rooms[room].id.clone();
                let record = Record::Event { conversation, event: event.clone() };
                self.log(Some(room), record, Reveal::Event { room, event, origin });
            }
            Effect::Mark(mark) => {
                let held = &mut self.rooms[room];
                if held.marks.is_empty() {
                    self.marked.push(room);
                }
                held.marks.insert(mark.user.clone(), mark);
                let due = now.mono.after(MARKS_EVERY_MS);
                self.timers.set(Timer::Marks, &mut self.marks_alarm, due);
            }
            Effect::Signal { audience, signal } => self.signal(room, audience, &signal),
            Effect::Reply { session, reply } => self.tell(session, Told::Reply(reply)),
            Effect::ReplyWhenDurable { session, reply } => {
                self.reveal_later(Reveal::Told { session, told: Told::Reply(reply) }, now);
            }
            Effect::Close { session, reason } => self.tell(session, Told::Close(reason)),
            Effect::Load(key) => {
                let query = LoadQuery::State(key.clone());
                self.load(room, query, Load::State { room, key });
            }
        }
    }

    fn load(&mut self, room: usize, query: LoadQuery, load: Load) {
        self.ticket += 1;
        self.counters.increment(Counter::Loads);
        let conversation = self.rooms[room].id.clone();
        self.rooms[room].under_way += 1;
        self.loads.insert(self.ticket, load);
        self.to_readers.push_back(LoadRequest { ticket: self.ticket, conversation, query });
    }

    /// A reader thread answered.
    pub fn loaded(&mut self, ticket: u64, answer: LoadResult, now: Now) {
        let Some(load) = self.loads.remove(&ticket) else { return };
        match load {
            Load::State { room, key } => {
                self.rooms[room].under_way -= 1;
                let state = match answer {
                    LoadResult::State(state) => state,
                    _ => Loaded::Failed,
                };
                self.with_chat(room, now, |chat, ids, out| chat.loaded(key, state, ids, now, out));
                self.may_be_idle(room);
            }
            Load::Admission(waiting) => self.admission_known(*waiting, answer, now),
            Load::History(waiting) => self.history_known(*waiting, answer, now),
            Load::Operation { room, at } => self.operation_known(room, at, answer, now),
            Load::Directory { room } => self.directory_known(room, answer, now),
            Load::Question(asking) => self.question_known(*asking, answer, now),
            Load::Follow(fetch) => self.fetched(fetch, answer),
            Load::Refresh(refresh) => self.refresh_known(*refresh, answer, now),
        }
    }

    /// Sets the room's timer by what its machine waits for.
    fn arm(&mut self, room: usize) {
        let held = &mut self.rooms[room];
        if let Some(deadline) = held.chat.as_ref().and_then(Conversation::next_timeout) {
            self.timers.set(Timer::Room(room), &mut held.alarm, deadline);
        }
    }

    pub fn next_timeout(&self) -> Option<Mono> {
        self.timers.next()
    }

    pub fn handle_timeouts(&mut self, now: Now) {
        while let Some((at, timer)) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Room(room) => {
                    // The entry may be that of a room which has left, or of its slot's next tenant.
                    let Some(held) = self.rooms.get_mut(room) else { continue };
                    if held.alarm.fired(at) {
                        self.with_chat(room, now, |chat, _, out| chat.handle_timeout(now, out));
                        self.may_be_idle(room);
                    }
                }
                Timer::Marks => {
                    if self.marks_alarm.fired(at) {
                        self.log_marks(now);
                    }
                }
                Timer::Buckets => {
                    if !self.buckets_alarm.fired(at) {
                        continue;
                    }
                    self.user_buckets.retain(|_, bucket| !bucket.is_full(now.mono));
                    if !self.user_buckets.is_empty() {
                        let due = now.mono.after(BUCKETS_SWEPT_EVERY_MS);
                        self.timers.set(Timer::Buckets, &mut self.buckets_alarm, due);
                    }
                }
            }
        }
    }

    /// A socket is gone, or its reading ended.
    pub fn leave(&mut self, room: usize, session: SessionId, now: Now) {
        let held = &mut self.rooms[room];
        if held.followers.remove(&session).is_none() {
            held.leave_live(session, self.core);
        }
        held.follower_left();
        self.remotes.remove(&session);
        self.with_chat(room, now, |chat, _, out| chat.leave(session, now, out));
        self.narrow(room);
        self.may_be_idle(room);
    }

    pub fn remote_leave(&mut self, session: SessionId, now: Now) {
        if let Some(&room) = self.remotes.get(&session) {
            self.leave(room, session, now);
        } else {
            self.forget_candidate(session);
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    fn may_be_idle(&mut self, room: usize) {
        self.idle.push(room);
    }

    /// Drops rooms that nothing holds in memory; called between turns.
    pub fn forget_idle(&mut self) {
        while let Some(room) = self.idle.pop() {
            if self.rooms.get(room).is_some_and(Room::may_leave_memory) {
                let room = self.rooms.remove(room);
                self.by_id.remove(&room.id);
            }
        }
    }

    /// How many rooms are in memory.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }
}

/// The lease as a machine sees it.
pub struct Ids<'a> {
    lease: &'a mut Lease,
    may_append: bool,
}

impl chat::Ids for Ids<'_> {
    fn next(&mut self, after: u64) -> Option<crate::model::MessageId> {
        self.lease.next(after)
    }

    fn may_append(&self) -> bool {
        self.may_append
    }
}

pub(super) const STORAGE_UNAVAILABLE: Refusal = Refusal::new(
    ErrorCode::StorageUnavailable,
    "the server cannot store anything at the moment; try again later",
);
const OVERLOADED: Refusal =
    Refusal::new(ErrorCode::RateLimited, "the server is short of memory; try again later");
pub(super) const RATE_LIMITED: Refusal =
    Refusal::new(ErrorCode::RateLimited, "too many messages at once; slow down");
