//! Cores, their rings, a log, readers and time, all in one thread. A core is run when its reactor would
//! run it: when there is work from a socket, when its bell was rung, or when its deadline came.
//!
//! After every round each socket's frames are held against the log ([`World::check`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use loquat::auth::{Algorithm, Key, Keys, Rules, Verifier};
use loquat::chat::RateLimits;
use loquat::limits::Limits;
use loquat::mailbox::{Doorbell, Receiver, Sender, Ticket, ring};
use loquat::model::*;
use loquat::node::admin::{AdminAnswer, AdminCommand};
use loquat::node::admission::{Admissions, Caps};
use loquat::node::core::{Core, CoreSettings, EchoEndpoint, RejectStyle, Reloadable};
use loquat::node::guard::Buckets;
use loquat::node::links::{AdminOrder, Links};
use loquat::node::placement::Placement;
use loquat::node::ports::*;
use loquat::node::shard::ShardSettings;
use loquat::telemetry::Counters;
use loquat::wire::upgrade::Listening;
use serde_json::Value;

use super::checked::Checked;
use super::past;
use super::pump::{Pump, Token};
use super::rings::{bell_of, mesh};
use super::store::Store;

const SECRET: &str = "only the tests of the cores sign with this";
/// Turns without time going on after which a core is said to spin.
const TURNS_MAX: u32 = 20_000;
const BEGIN: Now = Now { mono: Mono(1_000_000), wall: Wall(1_764_153_000_000) };

/// What a test may choose before the start.
#[derive(Clone)]
pub struct Setup {
    pub cores: u16,
    pub access: Access,
    pub limits: Limits,
    pub buckets: Buckets,
    pub rate_limits: RateLimits,
    pub offline_grace_ms: u64,
    pub history_on_connect: u32,
    pub wide_threshold: usize,
    pub mail_slots: usize,
    pub log_slots: usize,
    pub max_session_ms: u64,
    pub reject: RejectStyle,
    /// How many ids the log grants at a time.
    pub lease_ids: u64,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            cores: 1,
            access: Access::Open,
            limits: Limits::DEFAULT,
            buckets: Buckets::Off,
            rate_limits: RateLimits::Off,
            offline_grace_ms: 0,
            history_on_connect: 0,
            wide_threshold: 1_024,
            mail_slots: 64,
            log_slots: 1_024,
            max_session_ms: 24 * 3_600_000,
            reject: RejectStyle::Close,
            lease_ids: 1 << 16,
        }
    }
}

/// Who answers when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// At once.
    Auto,
    /// When the test says so.
    Held,
    /// Held, and even the ring is not emptied.
    Stuck,
    /// Readers: each request fails.
    Fails,
}

pub struct Seat {
    pub core: Core<Token>,
    bell: Arc<Doorbell>,
    woken: Arc<AtomicBool>,
    ticket: Option<Ticket>,
    has_work: bool,
    turns: u32,
    turns_ever: u64,
    sockets: BTreeMap<u32, usize>,
    to_log: Receiver<ToLog>,
    from_log: Sender<FromLog>,
    requests: Receiver<LoadRequest>,
    answers: Sender<LoadAnswer>,
    pub admin: Sender<AdminOrder>,
    /// Handed to the log and not durable.
    pub log: VecDeque<(u64, Record)>,
    pub lsn: u64,
    pub leases_asked: u32,
    pub has_stopped: bool,
    pub loads: VecDeque<LoadRequest>,
}

pub struct World {
    pub now: Now,
    pub setup: Setup,
    pub seats: Vec<Seat>,
    pub sockets: Vec<Pump>,
    pub store: Store,
    pub log_mode: Mode,
    pub lease_mode: Mode,
    pub reader_mode: Mode,
    pub segment: u64,
    /// Turns of all cores, ever.
    pub turns_run: u64,
    /// This core runs only when the test calls [`World::turn`].
    pub stands_still: Option<usize>,
    pub placement: Placement,
    pub key: Key,
    pub rules: Rules,
    pub admissions: Arc<Admissions>,
    pub counters: Counters,
    pub(super) clients: Vec<Checked>,
    pub next_id: u64,
    shown: HashMap<(ConversationId, u64), Value>,
    is_finished: bool,
}

impl World {
    pub fn new(setup: Setup) -> World {
        let key = Key::new(Algorithm::Hs256, SECRET).unwrap();
        let rules = Rules::default();
        let placement = Placement { seed: 7, cores: setup.cores };
        let admissions = Admissions::new(&setup.limits, Caps::On);
        let (counters, writers) = Counters::new(setup.cores.into());
        let mut world = World {
            now: BEGIN,
            seats: Vec::new(),
            sockets: Vec::new(),
            store: Store::default(),
            log_mode: Mode::Auto,
            lease_mode: Mode::Auto,
            reader_mode: Mode::Auto,
            segment: 1,
            turns_run: 0,
            stands_still: None,
            placement,
            key,
            rules,
            admissions,
            counters,
            clients: Vec::new(),
            next_id: 1,
            shown: HashMap::new(),
            is_finished: false,
            setup,
        };
        let wakes: Vec<_> =
            (0..world.setup.cores).map(|_| Arc::new(AtomicBool::new(false))).collect();
        let bells: Vec<_> = wakes.iter().map(|woken| bell_of(woken.clone())).collect();
        let peers = mesh(&bells, world.setup.mail_slots);
        let nobody = Arc::new(Doorbell::new(|| {}));
        for ((index, peers), counters) in peers.into_iter().enumerate().zip(writers.cores) {
            let (bell, woken) = (bells[index].clone(), wakes[index].clone());
            let (log_tx, to_log) = ring(world.setup.log_slots, nobody.clone());
            let (from_log, log_rx) = ring(1 << 16, bell.clone());
            let (request_tx, requests) = ring(1_024, nobody.clone());
            let (answers, answer_rx) = ring(1 << 16, bell.clone());
            let (admin, admin_rx) = ring(2_048, bell.clone());
            let links = Links {
                peers,
                to_log: log_tx,
                from_log: log_rx,
                to_readers: request_tx,
                from_readers: answer_rx,
                admin: admin_rx,
            };
            let reloadable = Arc::new(world.reloadable(world.setup.limits.clone()));
            let settings = world.core_settings(index as u16);
            let core = Core::new(settings, reloadable, world.admissions.clone(), links)
                .counted_by(counters);
            world.seats.push(Seat {
                core,
                bell,
                woken,
                ticket: None,
                has_work: true,
                turns: 0,
                turns_ever: 0,
                sockets: BTreeMap::new(),
                to_log,
                from_log,
                requests,
                answers,
                admin,
                log: VecDeque::new(),
                lsn: 0,
                leases_asked: 0,
                has_stopped: false,
                loads: VecDeque::new(),
            });
        }
        world.settle();
        world
    }

    pub fn reloadable(&self, limits: Limits) -> Reloadable {
        let keys = Keys::new(vec![self.key.clone()]).unwrap();
        let verifier = Verifier::new(keys, self.rules.clone()).unwrap();
        Reloadable { limits, verifier, allowed_origins: Vec::new() }
    }

    fn core_settings(&self, index: u16) -> CoreSettings {
        let setup = &self.setup;
        CoreSettings {
            index,
            shard: ShardSettings {
                access: setup.access,
                limits: setup.limits.clone(),
                rate_limits: setup.rate_limits,
                offline_grace_ms: setup.offline_grace_ms,
                history_on_connect: setup.history_on_connect,
                epoch: Epoch(0x9f3c_61d2),
                wide_threshold: setup.wide_threshold,
            },
            buckets: setup.buckets,
            trusted_proxies: Vec::new(),
            listening: Listening::Public,
            echo: EchoEndpoint::Served,
            reject: setup.reject,
            max_session_ms: setup.max_session_ms,
            placement: self.placement,
        }
    }

    /// Lets everything happen that can happen now.
    pub fn settle(&mut self) {
        for seat in &mut self.seats {
            seat.turns = 0;
        }
        while self.round() {}
        self.check();
    }

    /// One round; `false` when everybody sleeps.
    pub fn round(&mut self) -> bool {
        let mut went_on = false;
        for core in 0..self.seats.len() {
            went_on |= self.run_core(core);
            went_on |= self.run_log(core);
            went_on |= self.run_readers(core);
        }
        went_on
    }

    /// Time goes on, deadline by deadline.
    pub fn advance(&mut self, ms: u64) {
        let target = self.now.mono.after(ms);
        loop {
            let running = self.seats.iter().enumerate();
            let next = running
                .filter(|(core, seat)| Some(*core) != self.stands_still && !seat.core.is_stopped())
                .filter_map(|(_, seat)| seat.core.next_timeout())
                .min();
            let next = next.unwrap_or(target).min(target).max(self.now.mono);
            let passed = next.since(self.now.mono);
            self.now = Now { mono: next, wall: Wall(self.now.wall.0 + passed) };
            self.settle();
            if next == target {
                return;
            }
        }
    }

    fn run_core(&mut self, core: usize) -> bool {
        if self.stands_still == Some(core) {
            return false;
        }
        let seat = &mut self.seats[core];
        let is_due = seat.core.next_timeout().is_some_and(|at| at <= self.now.mono);
        let woken = seat.woken.swap(false, Ordering::Relaxed);
        if !(seat.has_work || woken || is_due) || seat.core.is_stopped() {
            return false;
        }
        self.turn(core);
        true
    }

    /// One turn of a core, as the reactor runs it, up to where it parks again.
    pub fn turn(&mut self, core: usize) {
        let now = self.now;
        let seat = &mut self.seats[core];
        seat.turns += 1;
        seat.turns_ever += 1;
        self.turns_run += 1;
        assert!(seat.turns < TURNS_MAX, "core {core} does not come to rest");
        seat.has_work = false;
        if let Some(ticket) = seat.ticket.take() {
            seat.bell.unpark(ticket);
        }
        seat.core.turn(now);
        while let Some((slot, token)) = self.seats[core].core.next_adopted() {
            let pump = &mut self.sockets[token.0];
            pump.core = core;
            pump.slot = slot;
            let before = self.seats[core].sockets.insert(slot, token.0);
            assert_eq!(before, None, "a slot has one tenant");
            pump.token = Some(token);
            self.drive(core, slot, Pump::advance);
        }
        while let Some(slot) = self.seats[core].core.next_attended() {
            self.drive(core, slot, Pump::attend);
        }
        let seat = &mut self.seats[core];
        seat.ticket = Some(seat.bell.park());
        seat.has_work |= !seat.core.may_sleep();
    }

    fn drive(&mut self, core: usize, slot: u32, run: fn(&mut Pump, &mut Core<Token>, Now) -> bool) {
        let seat = &mut self.seats[core];
        let Some(&socket) = seat.sockets.get(&slot) else { return };
        let pump = &mut self.sockets[socket];
        seat.has_work |= run(pump, &mut seat.core, self.now);
        if pump.token.is_none() {
            seat.sockets.remove(&slot);
        }
    }

    /// Something arrived for a socket, or the network takes more.
    pub fn drive_socket(&mut self, socket: usize) {
        let (core, slot) = (self.sockets[socket].core, self.sockets[socket].slot);
        if self.seats[core].sockets.get(&slot) == Some(&socket) {
            self.drive(core, slot, Pump::advance);
        }
    }

    pub(super) fn seat_socket(&mut self, core: usize, slot: u32, socket: usize) {
        self.seats[core].sockets.insert(slot, socket);
    }

    fn run_log(&mut self, core: usize) -> bool {
        let mut went_on = false;
        while self.log_mode != Mode::Stuck
            && let Some(mail) = self.seats[core].to_log.pop()
        {
            went_on = true;
            let seat = &mut self.seats[core];
            match mail {
                ToLog::Append { lsn, record } => {
                    assert!(!seat.has_stopped, "a record follows Stop: {record:?}");
                    assert_eq!(lsn, seat.lsn + 1);
                    seat.lsn = lsn;
                    seat.log.push_back((lsn, record));
                }
                ToLog::Lease => seat.leases_asked += 1,
                ToLog::Stop => seat.has_stopped = true,
            }
        }
        if self.log_mode == Mode::Auto {
            went_on |= self.durable(core, usize::MAX);
        }
        while self.lease_mode == Mode::Auto && self.seats[core].leases_asked > 0 {
            self.grant(core);
            went_on = true;
        }
        self.stop_log() || went_on
    }

    /// Once all shards stopped and all is on disk, each hears so once.
    fn stop_log(&mut self) -> bool {
        let is_over = self.seats.iter().all(|seat| seat.has_stopped && seat.log.is_empty());
        if !is_over || self.seats.iter().all(|seat| seat.core.is_stopped()) {
            return false;
        }
        (0..self.seats.len()).for_each(|core| self.tell(core, FromLog::Stopped));
        true
    }

    /// The log makes so many of the core's records durable.
    pub fn durable(&mut self, core: usize, records: usize) -> bool {
        let seat = &mut self.seats[core];
        let count = records.min(seat.log.len());
        let Some(&(through, _)) = count.checked_sub(1).and_then(|last| seat.log.get(last)) else {
            return false;
        };
        for (_, record) in seat.log.drain(..count) {
            self.store.commit(record);
        }
        self.tell(core, FromLog::Durable { through, segment: self.segment });
        true
    }

    pub fn tell(&mut self, core: usize, news: FromLog) {
        let seat = &mut self.seats[core];
        seat.from_log.push(news).unwrap();
        seat.from_log.ring();
    }

    pub fn grant(&mut self, core: usize) {
        let ids = self.next_id..self.next_id + self.setup.lease_ids;
        self.next_id = ids.end;
        self.seats[core].leases_asked -= 1;
        self.tell(core, FromLog::Lease { ids });
    }

    /// The segment ends and is built into pages: what it holds may leave memory.
    pub fn seal(&mut self) {
        self.store.build();
        for core in 0..self.seats.len() {
            self.tell(core, FromLog::Sealed { segment: self.segment });
        }
        self.segment += 1;
        self.settle();
    }

    fn run_readers(&mut self, core: usize) -> bool {
        let mut went_on = false;
        while let Some(request) = self.seats[core].requests.pop() {
            self.seats[core].loads.push_back(request);
            went_on = true;
        }
        if matches!(self.reader_mode, Mode::Auto | Mode::Fails) {
            while self.answer_load(core) {
                went_on = true;
            }
        }
        went_on
    }

    /// Answers the oldest request by what the store knows now.
    pub fn answer_load(&mut self, core: usize) -> bool {
        let Some(request) = self.seats[core].loads.pop_front() else { return false };
        let answer = match self.reader_mode {
            Mode::Fails => LoadResult::Failed,
            _ => self.store.answer(&request),
        };
        self.reply_load(core, request.ticket, answer);
        true
    }

    pub fn reply_load(&mut self, core: usize, ticket: u64, answer: LoadResult) {
        let seat = &mut self.seats[core];
        seat.answers.push(LoadAnswer { ticket, answer }).unwrap();
        seat.answers.ring();
    }

    /// An admin command, and where its answer will be.
    pub fn admin(&mut self, core: usize, command: AdminCommand) -> Arc<Mutex<Option<AdminAnswer>>> {
        let answer = Arc::new(Mutex::new(None));
        let slot = answer.clone();
        let reply = Box::new(move |answer| {
            let before = slot.lock().unwrap().replace(answer);
            assert_eq!(before, None, "one answer for one command");
        });
        let seat = &mut self.seats[core];
        assert!(seat.admin.push(AdminOrder::Change(command, reply)).is_ok());
        seat.admin.ring();
        self.settle();
        answer
    }

    pub fn owner(&self, conversation: u64) -> usize {
        let id = ConversationId::from_number(conversation).unwrap();
        usize::from(self.placement.of_conversation(&id))
    }

    /// Holds what the sockets saw since the last time against the log.
    pub fn check(&mut self) {
        for (client, checked) in self.clients.iter_mut().enumerate() {
            let seen = &self.sockets[client].seen;
            for frame in &seen[checked.at..] {
                let durable = self.store.durable_seq(&checked.conversation);
                checked.frame(client, frame, durable);
                if let Some(json) = frame.json().filter(|json| json["type"] == "ack")
                    && let (Some(seq), Some(name)) = (json["seq"].as_u64(), json["ref"].as_str())
                    && name.starts_with('c')
                {
                    let event = &self.store.events[&checked.conversation][seq as usize - 1];
                    let EventBody::Message(body) = &event.body else { panic!("{json}") };
                    let told = (body.content.as_str(), Some(body.id.0));
                    assert_eq!(told, (name, json["message_id"].as_u64()), "client {client}");
                }
                if let Some(page) = frame.json().filter(|json| json["type"] == "history") {
                    assert!(page["seq"].as_u64() <= Some(durable), "{page}");
                    let none = Vec::new();
                    let events = self.store.events.get(&checked.conversation).unwrap_or(&none);
                    past::check_page(page, events);
                }
                if let (Some(seq), Some(json)) = (frame.seq(), frame.json())
                    && json["message"]["is_read"].is_null()
                    && !self.store.is_without_text(&checked.conversation, seq, json)
                {
                    let mut json = json.clone();
                    json.as_object_mut().unwrap().remove("client_msg_id");
                    let key = (checked.conversation.clone(), seq);
                    let first = self.shown.entry(key).or_insert_with(|| json.clone());
                    assert_eq!(*first, json, "client {client} saw another event");
                }
            }
            checked.at = seen.len();
        }
    }

    pub fn turns_of(&self, core: usize) -> u64 {
        self.seats[core].turns_ever
    }

    /// Something outside the rings asks for a turn.
    pub fn wake(&mut self, core: usize) {
        self.seats[core].has_work = true;
    }

    /// The end of a test in which the cores were stopped: everything is on disk, nobody waits.
    pub fn finish_stopped(mut self) {
        self.check();
        for seat in &self.seats {
            assert!(seat.core.is_stopped() && seat.has_stopped && seat.log.is_empty());
        }
        self.is_finished = true;
    }

    /// Everybody goes, everything becomes durable and is sealed: nothing may be left.
    pub fn finish(mut self) {
        self.log_mode = Mode::Auto;
        self.lease_mode = Mode::Auto;
        self.reader_mode = Mode::Auto;
        for socket in 0..self.sockets.len() {
            let pump = &mut self.sockets[socket];
            pump.room = None;
            if pump.line == super::pump::Line::Up {
                pump.line = super::pump::Line::Eof;
            }
            self.drive_socket(socket);
        }
        (0..self.seats.len()).for_each(|core| self.tell(core, FromLog::Accepting(true)));
        self.settle();
        self.advance(200_000);
        self.seal();
        // Longer than a session: even entries for its end have gone.
        self.advance(self.setup.max_session_ms + 1);
        self.seal();
        for (index, seat) in self.seats.iter().enumerate() {
            assert_eq!(seat.core.sockets(), 0, "sockets of core {index}");
            assert_eq!(seat.core.rooms(), 0, "rooms of core {index}");
            assert!(seat.core.may_sleep() && seat.log.is_empty() && seat.loads.is_empty());
            assert_eq!(seat.core.next_timeout(), None, "a timer of core {index} is left");
        }
        assert!(self.sockets.iter().all(|socket| socket.token.is_none()), "a socket is lost");
        // Each place in the table holds it.
        assert_eq!(Arc::strong_count(&self.admissions), 1 + self.seats.len(), "places are left");
        self.is_finished = true;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        assert!(self.is_finished || std::thread::panicking(), "a test ends with World::finish");
    }
}
