//! One connection: the server's socket, the client's side of it, and the bytes between them, which are
//! split, merged, held up and lost.

use std::collections::VecDeque;

use loquat::model::Mono;

use super::decode::Seen;
use super::ground::Ground;
use super::pump::{End, Line, Pump};
use super::watch::Watch;

pub struct Wire {
    pub pump: Pump,
    pub client: usize,
    pub watch: Watch,
    /// Which life of the server holds the other end.
    pub life: u64,
    /// From the client, on their way.
    pub outgoing: VecDeque<u8>,
    /// How many of the server's bytes the client has.
    arrived: usize,
    /// Frames that were looked at as the network took them, and that the client has taken in.
    checked: usize,
    traced: usize,
    pub taken: usize,
    /// The peer is gone without a word: nothing moves any more.
    pub is_half_open: bool,
    /// The client reads nothing until then.
    pub stalls_until: Mono,
    /// The client says nothing more.
    pub hangs_up: bool,
    /// What is still on its way is lost.
    pub is_cut: bool,
    pub moves_at: Option<Mono>,
}

impl Wire {
    pub fn new(pump: Pump, client: usize, watch: Watch, life: u64) -> Wire {
        Wire {
            pump,
            client,
            watch,
            life,
            outgoing: VecDeque::new(),
            arrived: 0,
            checked: 0,
            traced: 0,
            taken: 0,
            is_half_open: false,
            stalls_until: Mono(0),
            hangs_up: false,
            is_cut: false,
            moves_at: None,
        }
    }

    /// The server's end went on: looks at what it said.
    pub fn check(&mut self, ground: &mut Ground) {
        for frame in &self.pump.seen[self.checked..] {
            ground.tell(&|| format!("client {}: {frame:?}", self.client));
            self.watch.frame(frame, &mut ground.witness);
        }
        self.checked = self.pump.seen.len();
        let bytes = self.pump.decoder.bytes();
        ground.traced(&bytes[self.traced..]);
        self.traced = bytes.len();
    }

    fn unread(&self) -> usize {
        self.pump.decoder.received_bytes() - self.arrived
    }

    /// Something is on its way, and will arrive.
    pub fn is_moving(&self) -> bool {
        if self.is_half_open || self.is_cut {
            return false;
        }
        let is_here = self.pump.token.is_some();
        let goes_up = is_here && self.has_room_up() && !self.outgoing.is_empty();
        let ends_up = is_here && self.hangs_up && self.pump.line == Line::Up;
        goes_up || ends_up || self.unread() > 0
    }

    fn has_room_up(&self) -> bool {
        self.pump.inbound.len() < 64 * 1024
    }

    /// Moves some bytes both ways.
    pub fn move_bytes(&mut self, ground: &mut Ground) {
        self.moves_at = None;
        if self.is_half_open || self.is_cut {
            return;
        }
        let chunk = ground.plan.chunk as u64;
        let up = (1 + ground.dice.roll(chunk)) as usize;
        if self.has_room_up() {
            let up = up.min(self.outgoing.len());
            self.pump.inbound.extend(self.outgoing.drain(..up));
        }
        if self.outgoing.is_empty() && self.hangs_up && self.pump.line == Line::Up {
            self.pump.line = Line::Eof;
        }
        if ground.now.mono >= self.stalls_until {
            let down = (1 + ground.dice.roll(chunk)) as usize;
            self.arrived += down.min(self.unread());
        }
        self.pump.room = Some(ground.plan.kernel_bytes.saturating_sub(self.unread()));
        self.pump.unsent = self.unread() as u32;
    }

    /// The next frame that has arrived whole.
    pub fn next_frame(&mut self) -> Option<Seen> {
        let frame = self.pump.seen.get(self.taken)?;
        if self.taken >= self.pump.decoder.within(self.arrived) {
            return None;
        }
        self.taken += 1;
        Some(frame.clone())
    }

    /// The client sees the end of the connection.
    pub fn has_ended(&self) -> bool {
        let is_read = self.unread() == 0 || self.is_cut;
        match self.pump.end {
            Some(End::Fin | End::Plain) => is_read,
            Some(End::Reset) => true,
            None => self.is_cut,
        }
    }

    /// The process that held the other end is gone.
    pub fn orphan(&mut self, ground: &mut Ground, is_silent: bool) {
        self.check(ground);
        self.pump.token = None;
        self.life = 0;
        if is_silent {
            self.is_half_open = true;
        } else if self.pump.end.is_none() {
            self.is_cut = ground.dice.roll(2) == 0;
            self.pump.end = Some(if self.is_cut { End::Reset } else { End::Fin });
        }
    }
}
