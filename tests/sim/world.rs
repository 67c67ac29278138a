//! The whole of one seed: the ground, the server's lives, the clients, and who comes next. One agent at
//! a time runs (a core, the log, a reader, a connection, a client, a fault), chosen by the dice among
//! those that can; when nobody can, time goes on to the next deadline.

use std::cell::Cell;
use std::collections::BTreeMap;

use loquat::auth::{NewToken, Rules, issue};
use loquat::model::*;

use super::client::{Client, Reaction};
use super::decode::masked;
use super::dice::Dice;
use super::disk::Crash;
use super::ground::Ground;
use super::life::{self, Life};
use super::open::{Fuse, open};
use super::plan::{Fault, Plan};
use super::pump::{Pump, Token};
use super::watch::Watch;
use super::wire::Wire;

const BEGIN: Now = Now { mono: Mono(1_000_000), wall: Wall(1_764_153_000_000) };
/// Steps without time going on after which the server is said to spin.
const STEPS_MAX: u64 = 200_000;

/// What may be queued in one piece for a socket that is not over its limit yet: a turn's batch, a piece
/// of the log, an answer. Everything is small here.
const LAST_BYTES_MAX: usize = 16 * 1024;
/// So many lives of the server are enough for one seed.
const LIVES_MAX: u64 = 12;

thread_local! {
    /// The virtual time, for the report of a failure.
    pub static TIME: Cell<u64> = const { Cell::new(0) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agent {
    Core(usize),
    Reader(usize),
    Log,
    Alarm,
}

/// What happens at a time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    Wire(usize),
    Client(usize),
    Fault,
    Start,
    FreeDisk,
}

pub struct Sim {
    pub ground: Ground,
    pub life: Option<Life>,
    /// Counts the server's lives.
    pub lives: u64,
    pub wires: Vec<Wire>,
    pub clients: Vec<Client>,
    pub(super) alarms: BTreeMap<(u64, u64), Alarm>,
    pub(super) actions_left: u32,
    pub(super) is_calm: bool,
    /// Nobody comes back any more.
    pub(super) is_ending: bool,
    steps: u64,
    counter: u64,
}

impl Sim {
    pub fn new(seed: u64) -> Sim {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&mut dice);
        let actions_left = plan.actions;
        let mut ground = Ground::new(dice, plan, BEGIN);
        ground.happened(&|| format!("seed {seed}"));
        let plan = ground.plan.clone();
        ground.happened(&|| format!("{plan:?}"));
        let clients =
            (0..ground.plan.clients).map(|number| newcomer(&mut ground, number)).collect();
        let mut sim = Sim {
            ground,
            life: None,
            lives: 0,
            wires: Vec::new(),
            clients,
            alarms: BTreeMap::new(),
            actions_left,
            is_calm: false,
            is_ending: false,
            steps: 0,
            counter: 0,
        };
        sim.set(0, Alarm::Start);
        sim.set(50, Alarm::Fault);
        for client in 0..sim.clients.len() {
            let ms = sim.ground.dice.roll(100);
            sim.set(ms, Alarm::Client(client));
        }
        sim
    }

    /// In so many ms; among those of one time the dice choose.
    pub(super) fn set(&mut self, ms: u64, alarm: Alarm) {
        self.counter += 1;
        let rank = (self.ground.dice.roll(1 << 20) << 40) | self.counter;
        self.alarms.insert((self.ground.now.mono.0 + ms, rank), alarm);
    }

    /// Runs one agent, or lets time go on; not beyond `until`. `false` when that is reached.
    pub fn step(&mut self, until: Mono) -> bool {
        self.steps += 1;
        let now = self.ground.now.mono;
        let mut ready: Vec<Agent> = Vec::new();
        if let Some(life) = &self.life {
            for (index, seat) in life.seats.iter().enumerate() {
                ready.extend(seat.is_ready(now).then_some(Agent::Core(index)));
                let is_due = seat.reader_at(now).is_some_and(|at| at <= now);
                ready.extend(is_due.then_some(Agent::Reader(index)));
            }
            ready.extend(life.log.is_ready(now).then_some(Agent::Log));
        }
        let alarm = self.alarms.first_key_value().is_some_and(|((at, _), _)| *at <= now.0);
        ready.extend(alarm.then_some(Agent::Alarm));
        assert!(self.steps < STEPS_MAX, "the server does not come to rest: {ready:?} run in turn");
        if ready.is_empty() {
            return self.pass_time(until);
        }
        match self.ground.dice.pick(&ready) {
            Agent::Core(core) => self.run_core(core),
            Agent::Reader(core) => {
                let life = self.life.as_mut().expect("chosen from it");
                life.seats[core].run_reader(&mut self.ground);
            }
            Agent::Log => self.run_log(),
            Agent::Alarm => self.run_alarm(),
        }
        true
    }

    fn pass_time(&mut self, until: Mono) -> bool {
        self.steps = 0;
        let now = self.ground.now.mono;
        let mut next = until;
        if let Some(life) = &self.life {
            for seat in &life.seats {
                next = seat.next_at().into_iter().chain(seat.reader_at(now)).fold(next, Mono::min);
            }
            next = life.log.next_at(now).into_iter().fold(next, Mono::min);
        }
        if let Some(((at, _), _)) = self.alarms.first_key_value() {
            next = next.min(Mono(*at));
        }
        let next = next.max(now);
        let wall = Wall(self.ground.now.wall.0 + next.since(now));
        self.ground.now = Now { mono: next, wall };
        TIME.set(next.since(BEGIN.mono));
        next < until
    }

    pub fn run_for(&mut self, ms: u64) {
        let until = self.ground.now.mono.after(ms);
        while self.step(until) {}
    }

    fn run_core(&mut self, core: usize) {
        let life = self.life.as_mut().expect("chosen from it");
        let now = self.ground.now;
        let touched = life.seats[core].run(core, &mut self.wires, now);
        if self.ground.plan.may(Fault::CoreStandsStill) && self.ground.dice.roll(200) == 0 {
            let ms = self.ground.dice.roll(1_500);
            life.seats[core].stands_until = now.mono.after(ms);
        }
        let largest = life.seats[core].core.largest_backlog();
        let limit = self.ground.plan.limits.outbox_bytes + LAST_BYTES_MAX;
        assert!(largest <= limit, "P8: {largest} bytes wait for one socket, at most {limit}");
        for socket in touched {
            self.wires[socket].check(&mut self.ground);
            self.moves(socket);
        }
        self.hear_answers();
        self.may_be_over();
    }

    /// Bytes of this connection go on their way.
    pub(super) fn moves(&mut self, socket: usize) {
        let wire = &self.wires[socket];
        let is_held = self.clients[wire.client].wire == Some(socket);
        let has_news = wire.is_moving() || (is_held && wire.has_ended());
        if has_news && wire.moves_at.is_none() {
            let ms = self.ground.dice.roll(self.ground.plan.latency_ms + 1);
            let stalls = wire.stalls_until.since(self.ground.now.mono);
            let ms = ms.max(stalls);
            self.wires[socket].moves_at = Some(self.ground.now.mono.after(ms));
            self.set(ms, Alarm::Wire(socket));
        }
    }

    fn run_log(&mut self) {
        let life = self.life.as_mut().expect("chosen from it");
        if let Err(what) = life.log.run(&mut self.ground) {
            self.ground.happened(&|| format!("the log ends the process: {what}"));
            return self.crash(Crash::Killed);
        }
        self.may_be_over();
    }

    fn may_be_over(&mut self) {
        if self.life.as_ref().is_some_and(Life::is_over) {
            self.ground.happened(&|| "a clean end".to_owned());
            if let Some(note) = &mut self.ground.note {
                note.is_clean = true;
            }
            self.end_life(false);
        }
    }

    fn run_alarm(&mut self) {
        let Some((_, alarm)) = self.alarms.pop_first() else { return };
        match alarm {
            Alarm::Wire(socket) => self.run_wire(socket),
            Alarm::Client(client) => self.run_client(client),
            Alarm::Fault => self.run_fault(),
            Alarm::Start => self.start(),
            Alarm::FreeDisk => self.ground.disk.free_bytes = 1 << 30,
        }
    }

    fn run_wire(&mut self, socket: usize) {
        self.wires[socket].move_bytes(&mut self.ground);
        self.ready(socket);
        let client = self.wires[socket].client;
        while let Some(frame) = self.wires[socket].next_frame() {
            if self.clients[client].wire != Some(socket) {
                continue;
            }
            match self.clients[client].see(&frame) {
                Reaction::Nothing => {}
                Reaction::Say(frames) => {
                    for (opcode, payload) in frames {
                        self.say(socket, opcode, &payload);
                    }
                }
                Reaction::Closed(ms) => {
                    self.say(socket, 8, &[]);
                    self.wires[socket].hangs_up = true;
                    self.disconnect(client, ms);
                }
            }
        }
        if self.wires[socket].has_ended() && self.clients[client].wire == Some(socket) {
            self.disconnect(client, 100);
        }
        self.moves(socket);
    }

    pub(super) fn disconnect(&mut self, client: usize, ms: u64) {
        let at = self.ground.now.mono.after(ms);
        self.clients[client].disconnected(at);
        self.set(ms, Alarm::Client(client));
    }

    pub(super) fn ready(&mut self, socket: usize) {
        let wire = &self.wires[socket];
        if wire.life == self.lives
            && let Some(life) = &mut self.life
        {
            life.ready(wire.pump.core, wire.pump.slot, socket);
        }
    }

    /// A frame of the client, on its way.
    pub(super) fn say(&mut self, socket: usize, opcode: u8, payload: &[u8]) {
        if opcode == 1
            && let Ok(json) = serde_json::from_slice::<serde_json::Value>(payload)
        {
            for field in ["ref", "client_msg_id"] {
                let names = json[field].as_str().map(str::to_owned);
                self.wires[socket].watch.names.extend(names);
            }
        }
        self.wires[socket].outgoing.extend(masked(opcode, payload));
        self.moves(socket);
    }

    /// The client knocks, if there is a door.
    pub(super) fn connect(&mut self, client: usize) {
        let Some(life) = &mut self.life else { return };
        let core = self.ground.dice.roll(life.seats.len() as u64) as usize;
        let seat = &mut life.seats[core];
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        if !seat.core.is_ready() {
            return;
        }
        let Ok(slot) = seat.core.accept(address, self.ground.now) else { return };
        let held = &mut self.clients[client];
        let (number, version) = (self.wires.len(), held.version);
        let conversation = ConversationId::from_number(held.conversation).expect("an id");
        let user = UserId::from_number(held.user).expect("an id");
        let mut resume = held.resume(&mut self.ground.dice);
        if version == Version::V1 || !self.ground.plan.resumes {
            resume = None;
        }
        let head = head(&self.ground, held.conversation, &user, version, &resume);
        let known = self.ground.witness.last_seq(&conversation);
        let mut watch =
            Watch::new(conversation, user, version, self.ground.plan.access, life.epoch.clone());
        let is_resuming = resume.is_some();
        if let Some((since, epoch)) = resume {
            watch.since = Some(since);
            watch.may_resync = since > known || epoch.is_some_and(|epoch| epoch != watch.epoch);
        }
        let mut pump = Pump::new(Token(number), core, slot);
        pump.room = Some(self.ground.plan.kernel_bytes);
        pump.receive_max = self.ground.plan.chunk.min(512);
        pump.send_max = self.ground.plan.chunk;
        let mut wire = Wire::new(pump, client, watch, self.lives);
        wire.outgoing.extend(head.as_bytes());
        held.wire = Some(number);
        held.resumes = is_resuming;
        self.wires.push(wire);
        life.seat_socket(core, slot, number);
        self.ground.happened(&|| format!("client {client} connects as {number}, core {core}"));
        self.moves(number);
    }

    /// The store opens and cores begin to serve, unless another crash comes between.
    fn start(&mut self) {
        if self.life.is_some() {
            return;
        }
        let is_cut = self.ground.plan.may(Fault::CrashAtStart) && self.ground.dice.roll(2) == 0;
        let steps = is_cut.then(|| self.ground.dice.roll(14));
        match open(&mut self.ground, &mut Fuse::new(steps)) {
            Ok(start) => {
                self.lives += 1;
                if self.lives >= LIVES_MAX {
                    self.ground.plan.stop_crashing();
                }
                self.life = Some(Life::new(&mut self.ground, start));
                self.ground.happened(&|| "a life begins".to_owned());
                self.found();
            }
            Err(_) => {
                let power = self.ground.plan.may(Fault::PowerLoss);
                self.crash(if power { Crash::PowerLoss } else { Crash::Killed });
            }
        }
    }

    pub(super) fn crash(&mut self, crash: Crash) {
        self.ground.happened(&|| format!("{crash:?}"));
        if crash == Crash::PowerLoss {
            self.ground.boot += 1;
        }
        let Ground { disk, dice, .. } = &mut self.ground;
        disk.crash(crash, dice);
        self.end_life(crash == Crash::PowerLoss);
    }

    /// The process is gone; the next one comes soon.
    fn end_life(&mut self, is_silent: bool) {
        self.life = None;
        for socket in 0..self.wires.len() {
            // Also a socket that was on its way from one core to another.
            if self.wires[socket].life == self.lives && self.wires[socket].pump.end.is_none() {
                self.wires[socket].orphan(&mut self.ground, is_silent);
                let client = self.wires[socket].client;
                if is_silent && self.clients[client].wire == Some(socket) {
                    let ms = self.ground.dice.roll(3_000);
                    self.disconnect(client, ms);
                }
                self.moves(socket);
            }
        }
        self.ground.seen = self.ground.pages.clone();
        if !self.is_ending {
            let ms = self.ground.dice.roll(400);
            self.set(ms, Alarm::Start);
        }
    }
}

/// A client of this seed.
pub(super) fn newcomer(ground: &mut Ground, number: usize) -> Client {
    let is_v1 = ground.dice.roll(10) < ground.plan.v1_of_ten;
    let version = if is_v1 { Version::V1 } else { Version::V2 };
    let user = 1 + ground.dice.roll(ground.plan.users);
    let conversation = 1 + ground.dice.roll(ground.plan.conversations);
    Client::new(number, version, user, conversation)
}

/// What the user's backend signs for it now.
pub(super) fn token(ground: &Ground, user: &UserId) -> String {
    let rules = Rules::default();
    let claims = NewToken::new(user, ground.plan.token_s, &rules);
    let token = issue(&life::key(), &claims, ground.now.wall, "0123456789abcdef");
    token.expect("a token")
}

fn head(
    ground: &Ground,
    conversation: u64,
    user: &UserId,
    version: Version,
    resume: &Option<(u64, Option<String>)>,
) -> String {
    let token = token(ground, user);
    let version = if version == Version::V2 { "&v=2" } else { "" };
    let resume = match resume {
        Some((since, Some(epoch))) => format!("&since={since}&epoch={epoch}"),
        Some((since, None)) => format!("&since={since}"),
        None => String::new(),
    };
    format!(
        "GET /ws/chat/{conversation}/?token={token}{version}{resume} HTTP/1.1\r\nHost: chat.example.com\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}
