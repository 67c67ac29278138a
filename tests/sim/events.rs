//! What clients, operators and bad luck do, and when.

use loquat::model::*;
use loquat::node::admin::{AdminAnswer, AdminCommand};
use loquat::node::core::Pressure;

use super::decode::masked;
use super::disk::Crash;
use super::plan::Fault;
use super::pump::Line;
use super::world::{Alarm, Sim, token};

impl Sim {
    /// A client does what it does next.
    pub(super) fn run_client(&mut self, client: usize) {
        let now = self.ground.now.mono;
        let held = &self.clients[client];
        let Some(socket) = held.wire else {
            if self.is_ending || now < held.comes_back_at {
                return;
            }
            self.connect(client);
            let ms = 200 + self.ground.dice.roll(self.ground.plan.every_ms + 200);
            return self.set(ms, Alarm::Client(client));
        };
        if held.is_open {
            self.speak(client, socket);
        }
        if !self.is_calm {
            let ms = 1 + self.ground.dice.roll(2 * self.ground.plan.every_ms);
            self.set(ms, Alarm::Client(client));
        } else if !self.clients[client].is_content() && !self.is_ending {
            self.set(300, Alarm::Client(client));
        }
    }

    fn speak(&mut self, client: usize, socket: usize) {
        let now = self.ground.now.mono;
        let held = &mut self.clients[client];
        let held_version = held.version;
        if held.retries_at == Some(Mono(0)) {
            held.retries_at = Some(now.after(500));
        } else if held.retries_at.is_some_and(|at| at <= now) {
            held.retries_at = None;
            for (opcode, payload) in held.pending_frames() {
                self.say(socket, opcode, &payload);
            }
        }
        if self.is_calm || self.actions_left == 0 {
            return;
        }
        self.actions_left -= 1;
        if self.ground.plan.may(Fault::BadFrames) && self.ground.dice.roll(20) == 0 {
            let bad: &[u8] = self.ground.dice.pick(&[b"{", b"[]", b"{\"type\":\"x\"}", b"\xff"]);
            return self.say(socket, 1, bad);
        }
        let frame = match self.ground.dice.roll(30) {
            0 if held_version == Version::V2 => self.refresh(client),
            _ => self.clients[client].next_command(&mut self.ground.dice),
        };
        self.ground.happened(&|| format!("client {client} says {frame}"));
        self.say(socket, 1, frame.to_string().as_bytes());
    }

    /// A newer token, now and then another user's.
    fn refresh(&mut self, client: usize) -> serde_json::Value {
        let own = self.clients[client].user;
        let user = if self.ground.dice.roll(4) == 0 { own + 1 } else { own };
        let user = UserId::from_number(user).expect("an id");
        let token = token(&self.ground, &user);
        serde_json::json!({"type": "token_refresh", "token": token, "ref": "t"})
    }

    /// Something goes wrong, or somebody comes, goes, or is sent away.
    pub(super) fn run_fault(&mut self) {
        if self.is_calm {
            return;
        }
        match self.ground.dice.roll(16) {
            0 if self.may(Fault::Kill) && self.life.is_some() => self.crash(Crash::Killed),
            1 if self.may(Fault::PowerLoss) && self.life.is_some() => self.crash(Crash::PowerLoss),
            2 if self.may(Fault::Restart) => self.restart(),
            3 if self.may(Fault::DiskFull) => self.fill_disk(),
            4 if self.may(Fault::Quiet) => {
                // Everybody is silent for so long that timers of liveness come.
                let ms = self.ground.dice.pick(&[2_000, 30_000, 70_000]);
                self.put_off_clients(ms);
            }
            5..8 if self.may(Fault::Members) => self.operate(),
            8..10 if self.may(Fault::Stall) => self.trouble(Fault::Stall),
            10..12 if self.may(Fault::Reset) => self.trouble(Fault::Reset),
            12 if self.may(Fault::HalfOpen) => self.trouble(Fault::HalfOpen),
            13..15 if self.may(Fault::HangUp) => self.trouble(Fault::HangUp),
            15 if self.may(Fault::SlowNetwork) => {
                self.ground.plan.latency_ms = self.ground.dice.pick(&[0, 5, 300]);
                self.ground.plan.chunk = self.ground.dice.pick(&[1, 30, 1_500]);
            }
            15 if self.may(Fault::Memory) => self.press(),
            _ => {}
        }
        let ms = 1 + self.ground.dice.roll(2 * self.ground.plan.fault_every_ms);
        self.set(ms, Alarm::Fault);
    }

    fn may(&self, fault: Fault) -> bool {
        self.ground.plan.may(fault)
    }

    /// The process is short of memory, more or less.
    fn press(&mut self) {
        let percent = self.ground.dice.pick(&[10, 10, 75, 85, 95]);
        self.ground.happened(&|| format!("{percent} % of the memory"));
        let now = self.ground.now;
        for seat in self.life.iter_mut().flat_map(|life| &mut life.seats) {
            seat.core.set_pressure(Pressure::of(percent), now);
            seat.wake();
        }
    }

    fn put_off_clients(&mut self, ms: u64) {
        let alarms = std::mem::take(&mut self.alarms);
        for ((at, rank), alarm) in alarms {
            let is_client = matches!(alarm, Alarm::Client(_) | Alarm::Fault);
            self.alarms.insert((if is_client { at + ms } else { at }, rank), alarm);
        }
    }

    pub(super) fn restart(&mut self) {
        let now = self.ground.now;
        let Some(life) = &mut self.life else { return };
        for seat in &mut life.seats {
            seat.core.begin_drain(5_000, now);
            // As the order to stop wakes a reactor.
            seat.wake();
        }
        self.ground.happened(&|| "the order to stop".to_owned());
    }

    fn fill_disk(&mut self) {
        self.ground.disk.free_bytes = self.ground.dice.pick(&[0, 4_096, 70_000]);
        let ms = self.ground.dice.roll(5_000);
        self.set(ms, Alarm::FreeDisk);
    }

    fn trouble(&mut self, fault: Fault) {
        let client = self.ground.dice.roll(self.clients.len() as u64) as usize;
        let Some(socket) = self.clients[client].wire else { return };
        self.ground.happened(&|| format!("{fault:?} of client {client}"));
        let ms = self.ground.dice.roll(1_500);
        let wire = &mut self.wires[socket];
        match fault {
            Fault::Stall => {
                let ms = self.ground.dice.pick(&[300, 3_000, 70_000]);
                wire.stalls_until = self.ground.now.mono.after(ms);
                return;
            }
            Fault::Reset => {
                wire.is_cut = true;
                wire.pump.line = Line::Reset;
            }
            Fault::HalfOpen => wire.is_half_open = true,
            _ if self.ground.dice.roll(2) == 0 => {
                wire.outgoing.extend(masked(8, &1_000u16.to_be_bytes()));
                wire.hangs_up = true;
            }
            _ => wire.hangs_up = true,
        }
        self.ready(socket);
        self.moves(socket);
        self.disconnect(client, ms);
    }

    /// What the operator makes of a new life: conversations and their members.
    pub(super) fn found(&mut self) {
        let plan = &self.ground.plan;
        let (users, conversations) = (plan.users, plan.conversations);
        let Some(life) = &mut self.life else { return };
        if self.ground.plan.access != Access::Members {
            return;
        }
        for number in 1..=conversations {
            let conversation = ConversationId::from_number(number).expect("an id");
            life.admin(AdminCommand::CreateConversation { conversation: conversation.clone() });
            for user in 1..=users {
                let user = UserId::from_number(user).expect("an id");
                let conversation = conversation.clone();
                life.admin(AdminCommand::SetMember { conversation, user, role: Role::Member });
            }
        }
    }

    fn operate(&mut self) {
        let dice = &mut self.ground.dice;
        let user = UserId::from_number(1 + dice.roll(self.ground.plan.users)).expect("an id");
        let number = 1 + dice.roll(self.ground.plan.conversations);
        let conversation = ConversationId::from_number(number).expect("an id");
        let command = match dice.roll(8) {
            0..3 => AdminCommand::RemoveMember { conversation, user },
            3..6 => {
                let role = dice.pick(&[Role::Member, Role::ReadOnly, Role::Moderator]);
                AdminCommand::SetMember { conversation, user, role }
            }
            6 => AdminCommand::Kick { conversation, user },
            _ => AdminCommand::Revoke { user, issued_before: None },
        };
        self.ground.happened(&|| format!("the operator: {command:?}"));
        if let Some(life) = &mut self.life {
            life.admin(command);
        }
    }

    /// What was answered with *done* is on disk.
    pub(super) fn hear_answers(&mut self) {
        let Some(life) = &self.life else { return };
        let answers = std::mem::take(&mut *life.answers.lock().expect("one thread"));
        for (command, answer) in answers {
            let change = match &command {
                AdminCommand::SetMember { conversation, user, .. } => (conversation, user, true),
                AdminCommand::RemoveMember { conversation, user } => (conversation, user, false),
                _ => continue,
            };
            let (conversation, user, is_member) = change;
            if answer == AdminAnswer::Done {
                let is_there = self.ground.witness.has_change(conversation, user, is_member);
                assert!(is_there, "P1: done, and not on disk: {command:?}");
            }
        }
    }
}
