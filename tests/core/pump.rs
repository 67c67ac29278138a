//! One simulated socket between a client and the core that holds it: the same steps, in the same
//! order, as the reactor's pump, over a network of which the test decides what it takes.

use std::collections::VecDeque;

use loquat::model::Now;
use loquat::node::core::{Core, Step};
use loquat::node::outbox::Write;

use super::decode::{Decoder, Seen};

/// The socket itself while it changes hands: there is exactly one of each.
#[derive(Debug, PartialEq, Eq)]
pub struct Token(pub usize);

/// How a socket ended, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything that was said arrived.
    Fin,
    Reset,
    /// Given to the HTTP side.
    Plain,
}

/// What the client's side does with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Line {
    #[default]
    Up,
    /// The client closed its sending side.
    Eof,
    /// Gone without a word: both operations fail.
    Reset,
}

#[derive(Default)]
pub struct Pump {
    pub token: Option<Token>,
    pub core: usize,
    pub slot: u32,
    /// On its way to the server.
    pub inbound: VecDeque<u8>,
    /// Most bytes per receive and per send; 0 is no bound for sends and 512 for receives.
    pub receive_max: usize,
    pub send_max: usize,
    /// Bytes that the network still takes; `None` is without end.
    pub room: Option<usize>,
    /// What the kernel would say is unsent, when asked.
    pub unsent: u32,
    pub probes: u32,
    pub line: Line,
    pub end: Option<End>,
    pub plain: Vec<u8>,
    pub decoder: Decoder,
    pub seen: Vec<Seen>,
    is_receiving: bool,
    sending: Option<Write>,
    is_shut: bool,
    is_killed: bool,
}

impl Pump {
    pub fn new(token: Token, core: usize, slot: u32) -> Pump {
        Pump { token: Some(token), core, slot, ..Pump::default() }
    }

    /// Runs until only a completion or the core can bring something new. `true` when the core has
    /// work from it.
    pub fn advance(&mut self, core: &mut Core<Token>, now: Now) -> bool {
        let mut has_work = false;
        while self.end.is_none() && self.token.is_some() {
            let went_on = self.go_on_sending(core, now, &mut has_work)
                | self.go_on_receiving(core, now, &mut has_work);
            if !went_on && !self.next_step(core, &mut has_work) {
                break;
            }
        }
        has_work
    }

    fn go_on_sending(&mut self, core: &mut Core<Token>, now: Now, has_work: &mut bool) -> bool {
        let Some(write) = self.sending.take() else {
            self.sending = core.take_write(self.slot);
            return self.sending.is_some();
        };
        if self.is_killed || self.line == Line::Reset {
            core.wrote(self.slot, write, None, now);
            return true;
        }
        let mut whole = Vec::new();
        write.slices().for_each(|bytes| whole.extend_from_slice(bytes));
        assert!(!whole.is_empty(), "an empty write");
        let mut most = self.room.unwrap_or(usize::MAX).min(whole.len());
        if self.send_max > 0 {
            most = most.min(self.send_max);
        }
        if most == 0 {
            self.sending = Some(write);
            return false;
        }
        assert!(!self.is_shut, "a write after the sending side was shut");
        self.room = self.room.map(|room| room - most);
        self.decoder.push(&whole[..most], &mut self.seen);
        core.wrote(self.slot, write, Some(most), now);
        *has_work |= core.needs_turn();
        true
    }

    fn go_on_receiving(&mut self, core: &mut Core<Token>, now: Now, has_work: &mut bool) -> bool {
        if !self.is_receiving {
            return false;
        }
        let most = if self.receive_max > 0 { self.receive_max } else { 512 };
        let count = self.inbound.len().min(most);
        if count > 0 && !self.is_killed && self.line != Line::Reset {
            let mut bytes: Vec<u8> = self.inbound.drain(..count).collect();
            self.is_receiving = false;
            core.received(self.slot, &mut bytes, now);
        } else if self.is_killed || self.line != Line::Up {
            self.is_receiving = false;
            core.hung_up(self.slot, now);
        } else {
            return false;
        }
        *has_work = true;
        true
    }

    fn next_step(&mut self, core: &mut Core<Token>, has_work: &mut bool) -> bool {
        let step = core.step(self.slot);
        let is_busy = self.is_receiving || self.sending.is_some();
        match step {
            Step::Read | Step::ReadOn if !self.is_receiving => self.is_receiving = true,
            Step::ShutdownWrite => self.is_shut = true,
            Step::Drop if is_busy => {
                assert!(!self.is_killed, "operations of a killed socket return");
                self.is_killed = true;
            }
            Step::Drop => {
                self.end = Some(if self.is_shut { End::Fin } else { End::Reset });
                self.gone(core, has_work);
            }
            Step::HandOver if !is_busy => {
                let token = self.token.take().expect("a socket that is handed over is here");
                core.hand_over(self.slot, token);
                core.release(self.slot);
                *has_work = true;
                return false;
            }
            Step::Plain if !is_busy => {
                self.plain = core.plain_bytes(self.slot);
                self.end = Some(End::Plain);
                self.gone(core, has_work);
            }
            _ => return false,
        }
        true
    }

    fn gone(&mut self, core: &mut Core<Token>, has_work: &mut bool) {
        core.release(self.slot);
        self.token = None;
        *has_work = true;
    }

    /// The turn has something for this socket.
    pub fn attend(&mut self, core: &mut Core<Token>, now: Now) -> bool {
        if core.take_probe(self.slot) {
            self.probes += 1;
            core.probed(self.slot, self.unsent, now);
        }
        self.advance(core, now)
    }
}
