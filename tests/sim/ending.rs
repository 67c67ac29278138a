//! The end of a seed: all faults off, everybody reaches the same history; then everybody goes, and
//! nothing may be left.

use std::sync::Arc;

use loquat::model::*;
use loquat::node::core::Pressure;
use serde_json::json;

use super::disk::Crash;
use super::life::MAX_SESSION_MS;
use super::pump::Line;
use super::world::{Alarm, Sim};

/// The faults end after so much virtual time.
const MISFORTUNE_MS: u64 = 200_000;
/// Virtual time after which somebody who has not got everything will never get it.
const PATIENCE_MS: u64 = 400_000;

impl Sim {
    /// One seed, from the first byte to the last; its trace.
    pub fn run(mut self) -> u64 {
        let until = self.ground.now.mono.after(MISFORTUNE_MS);
        while self.actions_left > 0 && self.step(until) {}
        self.calm();
        self.reach_the_same();
        self.say_the_last();
        match self.ground.dice.roll(3) {
            0 => self.leave_all(),
            1 => self.stop_all(),
            _ => self.crash_at_last(),
        }
        self.ground.trace()
    }

    fn calm(&mut self) {
        self.ground.happened(&|| "calm".to_owned());
        self.ground.plan.calm();
        self.ground.disk.free_bytes = 1 << 30;
        self.is_calm = true;
        let now = self.ground.now.mono;
        for socket in 0..self.wires.len() {
            self.wires[socket].stalls_until = now;
            self.wires[socket].moves_at = None;
            self.wires[socket].pump.send_max = 1_500;
            self.moves(socket);
        }
        let relaxed = self.ground.now;
        for seat in self.life.iter_mut().flat_map(|life| &mut life.seats) {
            seat.stands_until = now;
            seat.core.set_pressure(Pressure::None, relaxed);
            seat.wake();
        }
        for client in 0..self.clients.len() {
            self.set(10, Alarm::Client(client));
        }
        self.run_for(20_000);
        // Whoever was sent away is let in again.
        self.found();
        self.run_for(5_000);
    }

    fn reach_the_same(&mut self) {
        let until = self.ground.now.mono.after(PATIENCE_MS);
        while !self.is_level() && self.step(until) {}
        let waiting: Vec<String> = (self.clients.iter())
            .filter(|client| !client.is_content())
            .map(|client| format!("client {}: {:?}", client.number, client.pending))
            .collect();
        assert!(waiting.is_empty(), "liveness: with all faults off these still wait: {waiting:#?}");
        assert!(self.is_level(), "liveness: with all faults off the server does not come to rest");
    }

    fn is_level(&self) -> bool {
        let Some(life) = &self.life else { return false };
        self.clients.iter().all(|client| client.is_content())
            && life.log.is_at_rest()
            && self.wires.iter().all(|wire| !wire.is_moving() && wire.moves_at.is_none())
    }

    /// In each conversation somebody says one more thing, and all get it, behind all before it.
    fn say_the_last(&mut self) {
        for conversation in 1..=self.ground.plan.conversations {
            let id = ConversationId::from_number(conversation).expect("an id");
            let here: Vec<usize> = (0..self.clients.len())
                .filter(|&client| self.clients[client].conversation == conversation)
                .collect();
            let Some(&speaker) = here.first() else { continue };
            let before = self.ground.witness.last_seq(&id);
            let frame = json!({"type": "chat_message", "content": "the last word"}).to_string();
            let socket = self.clients[speaker].wire.expect("everybody is connected");
            self.say(socket, 1, frame.as_bytes());
            self.run_for(10_000);
            let last = self.ground.witness.last_seq(&id);
            assert!(last > before, "liveness: the last word is not said");
            for client in here {
                self.has_the_last(client, &id, last);
            }
        }
    }

    fn has_the_last(&mut self, client: usize, id: &ConversationId, last: u64) {
        let held = &self.clients[client];
        assert_eq!(held.last, Some(last), "liveness: client {client} lacks the last word");
        let first = held.events.first_key_value().map_or(last, |(seq, _)| *seq);
        for (expected, (&seq, frame)) in (first..).zip(&held.events) {
            assert_eq!(seq, expected, "P4: client {client} has a hole in its history");
            let mut shown = frame.clone();
            if let Some(map) = shown.as_object_mut() {
                map.remove("client_msg_id");
            }
            let is_same = self.ground.witness.is_shown(id, seq, &shown);
            assert!(is_same, "client {client} holds another history: {frame}");
        }
    }

    fn leave_all(&mut self) {
        self.is_ending = true;
        for client in 0..self.clients.len() {
            if let Some(socket) = self.clients[client].wire {
                self.wires[socket].hangs_up = true;
                self.moves(socket);
            }
        }
        self.run_for(200_000);
        for wire in &self.wires {
            assert!(
                wire.pump.token.is_none(),
                "a socket is left: {:?}",
                wire.pump.line == Line::Up
            );
        }
        // Longer than a session, and than a segment lives: even entries for their ends are gone.
        self.run_for(MAX_SESSION_MS + 1_000);
        self.run_for(self.ground.plan.journal.segment_age_ms + 10_000);
        let life = self.life.as_ref().expect("nothing ended it");
        for (index, seat) in life.seats.iter().enumerate() {
            assert_eq!(seat.core.sockets(), 0, "sockets of core {index}");
            assert_eq!(seat.core.rooms(), 0, "rooms of core {index}");
            assert_eq!(seat.core.next_timeout(), None, "a timer of core {index} is left");
            assert!(seat.is_at_rest(), "core {index} is not at rest");
        }
        let holders = Arc::strong_count(&life.admissions);
        assert_eq!(holders, 1 + life.seats.len(), "places are left");
        self.ground.witness.is_in_pages(&|conversation| self.ground.paged(conversation));
    }

    fn stop_all(&mut self) {
        self.is_ending = true;
        self.restart();
        self.run_for(60_000);
        assert!(self.life.is_none(), "the order to stop was not followed");
        self.ground.witness.is_in_pages(&|conversation| self.ground.paged(conversation));
    }

    /// What was shown is still there.
    fn crash_at_last(&mut self) {
        let power = self.ground.dice.roll(2) == 0;
        self.crash(if power { Crash::PowerLoss } else { Crash::Killed });
        self.run_for(5_000);
        assert!(self.life.is_some(), "the server does not come back");
    }
}
