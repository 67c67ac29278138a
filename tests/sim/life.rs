//! One life of the server: cores in their rings, the log, the readers. A core is run when its reactor
//! would run it: when one of its sockets is ready, when it has work, when its bell rang, when its
//! deadline came.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use loquat::auth::{Algorithm, Key, Keys, Rules, Verifier};
use loquat::chat::RateLimits;
use loquat::mailbox::{Doorbell, Receiver, Sender, Ticket, ring};
use loquat::model::*;
use loquat::node::admin::{AdminAnswer, AdminCommand};
use loquat::node::admission::{Admissions, Caps};
use loquat::node::core::{Core, CoreSettings, EchoEndpoint, RejectStyle, Reloadable};
use loquat::node::guard::Buckets;
use loquat::node::journal::{Journal, JournalStart};
use loquat::node::links::{AdminOrder, Links};
use loquat::node::outgoing::Outgoing;
use loquat::node::placement::Placement;
use loquat::node::ports::*;
use loquat::node::shard::ShardSettings;
use loquat::wire::upgrade::Listening;

use super::ground::Ground;
use super::log::Log;
use super::plan::Fault;
use super::pump::{Pump, Token};
use super::rings::{bell_of, mesh};
use super::wire::Wire;

const SECRET: &str = "only the tests of the cores sign with this";
pub const MAX_SESSION_MS: u64 = 600_000;

/// A question to the readers; `answer` is what the store said when it was asked.
struct Asked {
    request: LoadRequest,
    answer: Option<LoadResult>,
    until: Mono,
}

pub struct Seat {
    pub core: Core<Token>,
    bell: Arc<Doorbell>,
    woken: Arc<AtomicBool>,
    ticket: Option<Ticket>,
    has_work: bool,
    sockets: BTreeMap<u32, usize>,
    /// Sockets for which the kernel has a completion.
    ready: BTreeSet<u32>,
    pub stands_until: Mono,
    requests: Receiver<LoadRequest>,
    asked: VecDeque<Asked>,
    answers: Sender<LoadAnswer>,
    admin: Sender<AdminOrder>,
}

/// Changes of members that were answered with *done*.
pub type Answers = Arc<Mutex<Vec<(AdminCommand, AdminAnswer)>>>;

pub struct Life {
    pub seats: Vec<Seat>,
    pub log: Log,
    pub epoch: String,
    pub placement: Placement,
    pub admissions: Arc<Admissions>,
    pub answers: Answers,
}

pub fn key() -> Key {
    Key::new(Algorithm::Hs256, SECRET).expect("a key")
}

fn reloadable(ground: &Ground) -> Reloadable {
    let keys = Keys::new(vec![key()]).expect("keys");
    let verifier = Verifier::new(keys, Rules::default()).expect("a verifier");
    Reloadable { limits: ground.plan.limits.clone(), verifier, allowed_origins: Vec::new() }
}

fn settings(ground: &Ground, index: u16, epoch: u32, placement: Placement) -> CoreSettings {
    let plan = &ground.plan;
    CoreSettings {
        index,
        shard: ShardSettings {
            access: plan.access,
            limits: plan.limits.clone(),
            rate_limits: if plan.has_rates { RateLimits::On } else { RateLimits::Off },
            offline_grace_ms: plan.offline_grace_ms,
            history_on_connect: plan.history_on_connect,
            epoch: Epoch(epoch),
            wide_threshold: plan.wide_threshold,
        },
        buckets: if plan.has_rates { Buckets::On } else { Buckets::Off },
        trusted_proxies: Vec::new(),
        listening: Listening::Public,
        echo: EchoEndpoint::Absent,
        reject: RejectStyle::Close,
        max_session_ms: MAX_SESSION_MS,
        placement,
    }
}

impl Life {
    pub fn new(ground: &mut Ground, start: JournalStart) -> Life {
        let cores = ground.plan.cores;
        let placement = Placement { seed: ground.dice.next(), cores };
        let admissions = Admissions::new(&ground.plan.limits, Caps::On);
        let wakes: Vec<_> = (0..cores).map(|_| Arc::new(AtomicBool::new(false))).collect();
        let bells: Vec<_> = wakes.iter().map(|woken| bell_of(woken.clone())).collect();
        let nobody = Arc::new(Doorbell::new(|| {}));
        let (mut seats, mut inbox, mut outgoing) = (Vec::new(), Vec::new(), Vec::new());
        for (index, peers) in mesh(&bells, ground.plan.mail_slots).into_iter().enumerate() {
            let (bell, woken) = (bells[index].clone(), wakes[index].clone());
            let (log_tx, to_log) = ring(ground.plan.log_slots, nobody.clone());
            let (from_log, log_rx) = ring(ground.plan.from_log_slots, bell.clone());
            let (request_tx, requests) = ring(ground.plan.reader_slots, nobody.clone());
            let (answers, answer_rx) = ring(1 << 12, bell.clone());
            let (admin, admin_rx) = ring(64, bell.clone());
            inbox.push(to_log);
            outgoing.push(Outgoing::new(from_log));
            let links = Links {
                peers,
                to_log: log_tx,
                from_log: log_rx,
                to_readers: request_tx,
                from_readers: answer_rx,
                admin: admin_rx,
            };
            let settings = settings(ground, index as u16, start.epoch, placement);
            let reloadable = Arc::new(reloadable(ground));
            seats.push(Seat {
                core: Core::new(settings, reloadable, admissions.clone(), links),
                bell,
                woken,
                ticket: None,
                has_work: true,
                sockets: BTreeMap::new(),
                ready: BTreeSet::new(),
                stands_until: Mono(0),
                requests,
                asked: VecDeque::new(),
                answers,
                admin,
            });
        }
        let journal = Journal::new(ground.plan.journal, start, usize::from(cores), ground.now);
        Life {
            seats,
            log: Log::new(journal, inbox, outgoing),
            epoch: Epoch(start.epoch).to_string(),
            placement,
            admissions,
            answers: Answers::default(),
        }
    }

    /// All shards stopped, and the log has nothing left to do.
    pub fn is_over(&self) -> bool {
        self.seats.iter().all(|seat| seat.core.is_stopped()) && self.log.is_over()
    }

    /// A socket of this slot can go on.
    pub fn ready(&mut self, core: usize, slot: u32, socket: usize) {
        if self.seats[core].sockets.get(&slot) == Some(&socket) {
            self.seats[core].ready.insert(slot);
        }
    }

    pub fn seat_socket(&mut self, core: usize, slot: u32, socket: usize) {
        self.seats[core].sockets.insert(slot, socket);
        self.seats[core].ready.insert(slot);
    }

    pub fn admin(&mut self, command: AdminCommand) {
        let core = match &command {
            AdminCommand::SetProfile { profile } => self.placement.of_user(&profile.id),
            AdminCommand::Revoke { user, .. } => self.placement.of_user(user),
            AdminCommand::CreateConversation { conversation }
            | AdminCommand::SetMember { conversation, .. }
            | AdminCommand::RemoveMember { conversation, .. }
            | AdminCommand::Kick { conversation, .. } => {
                self.placement.of_conversation(conversation)
            }
            other => unreachable!("the operators of the simulation do not ask for {other:?}"),
        };
        let (answers, asked) = (self.answers.clone(), command.clone());
        let reply =
            Box::new(move |answer| answers.lock().expect("one thread").push((asked, answer)));
        let seat = &mut self.seats[usize::from(core)];
        // A full ring is an operator who has to try again.
        if seat.admin.push(AdminOrder::Change(command, reply)).is_ok() {
            seat.admin.ring();
        }
    }
}

impl Seat {
    pub fn is_ready(&self, now: Mono) -> bool {
        let is_due = self.core.next_timeout().is_some_and(|at| at <= now);
        let has_work = self.has_work || self.woken.load(Ordering::Relaxed) || is_due;
        now >= self.stands_until
            && (!self.ready.is_empty() || (has_work && !self.core.is_stopped()))
    }

    pub fn next_at(&self) -> Option<Mono> {
        let has_work = self.has_work || self.woken.load(Ordering::Relaxed);
        let is_waiting = !self.ready.is_empty() || (has_work && !self.core.is_stopped());
        let stands = is_waiting.then_some(self.stands_until);
        let own = self.core.next_timeout().map(|at| at.max(self.stands_until));
        own.filter(|_| !self.core.is_stopped()).into_iter().chain(stands).min()
    }

    /// The tasks of its sockets, then a turn if anything asks for one, up to where it parks again.
    pub fn run(&mut self, index: usize, wires: &mut [Wire], now: Now) -> BTreeSet<usize> {
        let mut touched = BTreeSet::new();
        for slot in std::mem::take(&mut self.ready) {
            self.drive(slot, wires, now, Pump::advance, &mut touched);
        }
        let is_due = self.core.next_timeout().is_some_and(|at| at <= now.mono);
        let woken = self.woken.swap(false, Ordering::Relaxed);
        if !(self.has_work || woken || is_due) || self.core.is_stopped() {
            return touched;
        }
        self.has_work = false;
        if let Some(ticket) = self.ticket.take() {
            self.bell.unpark(ticket);
        }
        self.core.turn(now);
        while let Some((slot, token)) = self.core.next_adopted() {
            let socket = token.0;
            let pump = &mut wires[socket].pump;
            (pump.core, pump.slot, pump.token) = (index, slot, Some(token));
            assert_eq!(self.sockets.insert(slot, socket), None, "a slot has one tenant");
            self.drive(slot, wires, now, Pump::advance, &mut touched);
        }
        while let Some(slot) = self.core.next_attended() {
            self.drive(slot, wires, now, Pump::attend, &mut touched);
        }
        self.ticket = Some(self.bell.park());
        self.has_work |= !self.core.may_sleep();
        touched
    }

    fn drive(
        &mut self,
        slot: u32,
        wires: &mut [Wire],
        now: Now,
        run: fn(&mut Pump, &mut Core<Token>, Now) -> bool,
        touched: &mut BTreeSet<usize>,
    ) {
        let Some(&socket) = self.sockets.get(&slot) else { return };
        touched.insert(socket);
        let pump = &mut wires[socket].pump;
        self.has_work |= run(pump, &mut self.core, now);
        if pump.token.is_none() {
            self.sockets.remove(&slot);
        }
    }

    pub fn wake(&mut self) {
        self.has_work = true;
    }

    /// When a reader has something to do for this shard.
    pub fn reader_at(&self, now: Mono) -> Option<Mono> {
        if !self.requests.is_empty() {
            return Some(now);
        }
        self.asked.front().map(|asked| asked.until)
    }

    /// A reader takes a question, looks, or answers: in the order in which it was asked.
    pub fn run_reader(&mut self, ground: &mut Ground) {
        let now = ground.now.mono;
        if let Some(request) = self.requests.pop() {
            let until = now.after(delay(ground));
            self.asked.push_back(Asked { request, answer: None, until });
            return;
        }
        let Some(asked) = self.asked.front_mut().filter(|asked| asked.until <= now) else { return };
        match asked.answer.take() {
            None => {
                let fails = ground.plan.may(Fault::ReaderFails) && ground.dice.roll(20) == 0;
                asked.answer = Some(match fails {
                    true => LoadResult::Failed,
                    false => ground.seen.answer(&asked.request),
                });
                asked.until = now.after(delay(ground));
            }
            Some(answer) => {
                let ticket = asked.request.ticket;
                self.asked.pop_front();
                let answer = LoadAnswer { ticket, answer };
                assert!(self.answers.push(answer).is_ok(), "the ring of answers is large enough");
                self.answers.ring();
            }
        }
    }

    /// It waits for nobody and nobody waits for it.
    pub fn is_at_rest(&self) -> bool {
        self.core.may_sleep()
            && self.asked.is_empty()
            && self.requests.is_empty()
            && self.sockets.is_empty()
    }
}

fn delay(ground: &mut Ground) -> u64 {
    let ms = ground.dice.roll(ground.plan.read_ms + 1);
    let is_slow = ground.plan.may(Fault::SlowReader) && ground.dice.roll(8) == 0;
    if is_slow { ms + ground.dice.roll(2_000) } else { ms }
}
