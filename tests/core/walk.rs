//! A random walk: clients, commands, a slow disk, slow readers, cut writes, hang-ups, kicks, reloads,
//! short memory. The checks of [`World::check`] hold after every step; at the end the cores stop, or,
//! with all faults off, everybody who is still there has seen everything, and nothing is left.
//!
//! One seed is one walk, to the byte. A failure names its seed: `LOQUAT_WALK=seed` runs that one, and
//! `LOQUAT_WALKS=count` so many.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use loquat::limits::Limits;
use loquat::model::{ConversationId, UserId, Version};
use loquat::node::admin::AdminCommand;
use loquat::node::core::Pressure;
use loquat::node::ports::FromLog;
use serde_json::{Value, json};

use super::client::{Knock, chat, receipt, typing};
use super::decode::masked;
use super::dice::Dice;
use super::past;
use super::pump::Line;
use super::questions::forget_sealed;
use super::world::{Mode, Setup, World};

const SEEDS: u64 = 300;
const STEPS: usize = 120;
const CONVERSATIONS: u64 = 3;

struct Walk {
    world: World,
    dice: Dice,
    open: Vec<usize>,
    /// Of each client.
    users: Vec<u64>,
    sent: u64,
    /// What this seed may do at all: a swarm of different walks.
    faults: u64,
}

impl Walk {
    fn new(seed: u64) -> Walk {
        let mut dice = Dice::new(seed);
        let setup = Setup {
            cores: dice.pick(&[1, 1, 2, 3, 4]),
            wide_threshold: dice.pick(&[1, 2, 1_024]),
            history_on_connect: dice.pick(&[0, 3, 50]),
            mail_slots: dice.pick(&[1, 2, 64]),
            log_slots: dice.pick(&[4, 1_024]),
            offline_grace_ms: dice.pick(&[0, 5_000]),
            lease_ids: dice.pick(&[3, 1 << 16]),
            limits: Limits {
                outbox_bytes: dice.pick(&[600, 3_000, 256 * 1024]),
                ..Limits::DEFAULT
            },
            ..Setup::default()
        };
        let faults = dice.roll(1 << 12);
        let (open, users) = (Vec::new(), Vec::new());
        Walk { world: World::new(setup), dice, open, users, sent: 0, faults }
    }

    fn may(&self, fault: u64) -> bool {
        self.faults & (1 << fault) != 0
    }

    fn step(&mut self) {
        match self.dice.roll(26) {
            0..3 => self.knock(),
            3..12 => self.command(),
            12 => self.leave(),
            13 => self.network(),
            14 => self.disk(),
            15 => self.readers(),
            16 if self.may(0) => {
                self.world.seal();
                if self.may(7) {
                    let core = self.core();
                    forget_sealed(&mut self.world, core);
                }
            }
            17 => {
                let ms = self.dice.pick(&[1, 40, 600, 3_000, 20_000]);
                self.world.advance(ms);
            }
            18 if self.may(1) => {
                let accepting = FromLog::Accepting(self.dice.roll(2) == 0);
                let core = self.core();
                self.world.tell(core, accepting);
            }
            19 if self.may(2) => {
                let core = self.core();
                self.world.stands_still = (self.dice.roll(2) == 0).then_some(core);
            }
            20 => {
                let core = self.core();
                self.world.turn(core);
            }
            21 if self.may(8) => self.admin(),
            22 if self.may(9) => self.reload(),
            23 if self.may(10) => self.press(),
            _ => self.world.settle(),
        }
        self.world.check();
        let world = &self.world;
        self.open.retain(|&client| world.end(client).is_none());
    }

    fn core(&mut self) -> usize {
        self.dice.roll(self.world.seats.len() as u64) as usize
    }

    fn knock(&mut self) {
        if self.open.len() >= 12 {
            return;
        }
        let behind = match self.dice.roll(4) {
            0 => masked(1, self.message().to_string().as_bytes()),
            _ => Vec::new(),
        };
        let conversation = 1 + self.dice.roll(CONVERSATIONS);
        let id = ConversationId::from_number(conversation).unwrap();
        let durable = self.world.store.durable_seq(&id);
        // Sometimes from the future.
        let since = (self.dice.roll(2) == 0).then(|| self.dice.roll(durable + 2));
        let user = 1 + self.dice.roll(5);
        let knock = Knock {
            core: self.core(),
            user,
            conversation,
            since,
            version: self.dice.pick(&[Version::V1, Version::V2]),
            behind: &behind,
            ..Knock::default()
        };
        let client = self.world.knock(knock);
        self.open.push(client);
        self.users.resize(client + 1, user);
    }

    fn admin(&mut self) {
        let user = UserId::from_number(1 + self.dice.roll(5)).unwrap();
        let of = 1 + self.dice.roll(CONVERSATIONS);
        let conversation = ConversationId::from_number(of).unwrap();
        let command = match self.dice.roll(4) {
            0 => AdminCommand::Revoke { user, issued_before: Some(self.world.now.wall) },
            _ => AdminCommand::Kick { conversation, user },
        };
        let core = self.world.owner(of);
        self.world.admin(core, command);
    }

    /// SIGHUP.
    fn reload(&mut self) {
        let outbox_bytes = self.dice.pick(&[600, 3_000, 256 * 1024]);
        let limits = Limits { outbox_bytes, ..self.world.setup.limits.clone() };
        let (core, now) = (self.core(), self.world.now);
        let reloadable = Arc::new(self.world.reloadable(limits));
        self.world.seats[core].core.reload(reloadable, now);
        self.world.wake(core);
    }

    /// Memory runs short, for a moment.
    fn press(&mut self) {
        let (core, now) = (self.core(), self.world.now);
        let pressure = self.dice.pick(&[Pressure::Shed, Pressure::RefuseSends]);
        self.world.seats[core].core.set_pressure(pressure, now);
        self.world.settle();
        self.world.seats[core].core.set_pressure(Pressure::None, now);
        self.world.wake(core);
    }

    fn message(&mut self) -> Value {
        self.sent += 1;
        let content = format!("c{}", self.sent);
        json!({"type": "chat_message", "content": content, "ref": content})
    }

    fn command(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let client = self.dice.pick(&self.open);
        let ids = self.world.ids(client);
        let id = if ids.is_empty() { 1 } else { self.dice.pick(&ids) };
        let is_v2 = self.world.count(client, "hello") > 0;
        let mut frame = match self.dice.roll(13) {
            12 => {
                let of = self.dice.pick(&[self.users[client], self.users[client], 1]);
                json!({"type": "token_refresh", "token": self.world.token(of)})
            }
            10.. if is_v2 => {
                let place = self.dice.pick(&["newest", "before", "after", "around"]);
                past::ask(place, id + self.dice.roll(2), self.dice.pick(&[1, 2, 5, 200]))
            }
            9 => json!({"type": "ping"}),
            0..3 => self.message(),
            3 => typing(),
            4 => receipt(id),
            5 => json!({"type": "message_edit", "message_id": id, "content": format!("e{id}")}),
            6 => json!({"type": "message_delete", "message_id": id, "ref": "d"}),
            7 => json!({"type": "message_reaction", "message_id": id, "emoji": "👍"}),
            _ => json!({"type": "chat_message", "content": "again", "client_msg_id": "same"}),
        };
        if self.dice.roll(4) == 0 && frame["content"].is_string() && !ids.is_empty() {
            frame["parent_message_id"] = json!(id);
        }
        self.world.push(client, &frame);
    }

    fn leave(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let client = self.dice.pick(&self.open);
        match self.dice.roll(3) {
            0 => self.world.bytes(client, &masked(8, &1000u16.to_be_bytes())),
            1 => self.world.reset(client),
            _ => {
                self.world.sockets[client].line = Line::Eof;
                self.world.drive_socket(client);
            }
        }
    }

    fn network(&mut self) {
        if self.open.is_empty() || !self.may(3) {
            return;
        }
        let client = self.dice.pick(&self.open);
        let socket = &mut self.world.sockets[client];
        socket.send_max = self.dice.pick(&[0, 1, 7, 100]);
        socket.receive_max = self.dice.pick(&[1, 9, 512]);
        socket.room = self.dice.pick(&[None, None, Some(0), Some(3), Some(200)]);
        self.world.drive_socket(client);
    }

    fn disk(&mut self) {
        if !self.may(4) {
            return;
        }
        self.world.log_mode = self.dice.pick(&[Mode::Auto, Mode::Held, Mode::Held, Mode::Stuck]);
        let (core, records) = (self.core(), self.dice.roll(4) as usize);
        self.world.durable(core, records);
    }

    fn readers(&mut self) {
        if !self.may(5) {
            return;
        }
        let fails = if self.may(6) { Mode::Fails } else { Mode::Auto };
        self.world.reader_mode = self.dice.pick(&[Mode::Auto, Mode::Held, Mode::Held, fails]);
        let core = self.core();
        self.world.answer_load(core);
    }

    /// All faults off: who is still there is told everything.
    fn calm(&mut self) {
        let world = &mut self.world;
        world.log_mode = Mode::Auto;
        world.reader_mode = Mode::Auto;
        world.stands_still = None;
        for client in 0..world.sockets.len() {
            let socket = &mut world.sockets[client];
            (socket.room, socket.send_max) = (None, 0);
            world.drive_socket(client);
        }
        for core in 0..world.seats.len() {
            world.tell(core, FromLog::Accepting(true));
        }
        world.settle();
        world.advance(6_000);
        let open: Vec<_> = self.open.iter().copied().filter(|&c| world.is_open(c)).collect();
        for conversation in 1..=CONVERSATIONS {
            let id = ConversationId::from_number(conversation).unwrap();
            let here: Vec<_> =
                open.iter().copied().filter(|&c| world.clients[c].conversation == id).collect();
            let Some(&speaker) = here.first() else { continue };
            world.send(speaker, &chat("the last word"));
            world.advance(100);
            // And who died a moment ago, and is still within the grace.
            let users = online(world, speaker);
            assert!(here.iter().all(|&client| users.contains(&self.users[client])), "{users:?}");
            for client in here {
                let last = world.contents(client).pop();
                assert_eq!(last.as_deref(), Some("the last word"), "client {client}");
                assert!(world.sockets[client].decoder.is_level(), "client {client}");
                assert_eq!(world.clients[client].since, None, "client {client} is not told");
                assert_eq!(online(world, client), users, "client {client} knows who is here");
            }
        }
    }
}

/// Who is online, by all that a client was told.
fn online(world: &World, client: usize) -> BTreeSet<u64> {
    let mut online = BTreeSet::new();
    for json in world.seen(client).iter().filter_map(|seen| seen.json()) {
        let user = json["user_id"].as_u64();
        match (json["type"].as_str(), json["status"].as_str()) {
            (Some("presence"), _) => {
                online = serde_json::from_value(json["online"].clone()).unwrap();
            }
            (Some("user_status"), Some("online")) => online.extend(user),
            (Some("user_status"), _) => online.retain(|other| Some(*other) != user),
            _ => {}
        }
    }
    online
}

/// Stops all cores, while everybody is as the walk left them: it ends, and nothing is lost of what was
/// decided.
fn stop(mut walk: Walk) {
    let world = &mut walk.world;
    for core in 0..world.seats.len() {
        let now = world.now;
        world.seats[core].core.begin_drain(5_000, now);
        world.wake(core);
        if walk.dice.roll(2) == 0 {
            world.settle();
        }
    }
    world.settle();
    world.log_mode = Mode::Auto;
    world.lease_mode = Mode::Auto;
    world.reader_mode = Mode::Auto;
    world.stands_still = None;
    world.advance(5_000);
    for core in 0..world.seats.len() {
        world.wake(core);
    }
    for _ in 0..5 {
        world.advance(5_000);
    }
    walk.world.finish_stopped();
}

/// Runs one walk; answers a hash of all that anybody saw.
fn walk(seed: u64) -> u64 {
    let mut walk = Walk::new(seed);
    for _ in 0..STEPS {
        walk.step();
    }
    if walk.may(11) {
        stop(walk);
        return 0;
    }
    walk.calm();
    let mut hash = DefaultHasher::new();
    for socket in &walk.world.sockets {
        format!("{:?}", socket.seen).hash(&mut hash);
    }
    walk.world.finish();
    hash.finish()
}

fn named(seed: u64) -> u64 {
    let result = std::panic::catch_unwind(|| walk(seed));
    result.unwrap_or_else(|_| panic!("seed {seed} failed: LOQUAT_WALK={seed}"))
}

#[test]
fn a_random_walk_keeps_the_promises() {
    match std::env::var("LOQUAT_WALK") {
        Ok(seed) => {
            walk(seed.parse().expect("LOQUAT_WALK is a seed"));
        }
        Err(_) => {
            let seeds = std::env::var("LOQUAT_WALKS").ok().and_then(|seeds| seeds.parse().ok());
            (0..seeds.unwrap_or(SEEDS)).for_each(|seed| {
                named(seed);
            });
        }
    }
}

#[test]
fn the_same_seed_is_the_same_walk() {
    for seed in [1, 22, 333, 4_444] {
        assert_eq!(named(seed), named(seed), "seed {seed}");
    }
}
