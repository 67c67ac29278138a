//! Whole sessions of several people in one conversation, against a small model of it (tests/chat_model):
//! joins, leaves, commands, a store that answers late or not at all, seals, short memory. The bytes say
//! what happens; the model and its checks say what must come of it.

#[allow(dead_code, reason = "the model's own test uses all of it")]
#[path = "../../tests/chat_model/checks.rs"]
mod checks;
#[allow(dead_code, reason = "the model's own test uses all of it")]
#[path = "../../tests/chat_model/model.rs"]
mod model;
#[allow(dead_code, reason = "the model's own test uses all of it")]
#[path = "../../tests/chat_model/world.rs"]
mod world;

use world::{Step, World};

const STEPS_MAX: usize = 300;

pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let mut world = World::new();
    for _ in 0..STEPS_MAX {
        let Some(step) = script.step() else { break };
        world.step(&step);
    }
    world.finish();
}

/// Bytes, taken from the front; there are zeros behind them.
struct Script<'d>(&'d [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let (&first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first
    }

    fn pick(&mut self, of: u8) -> usize {
        usize::from(self.byte() % of)
    }

    /// One of so many, or none.
    fn maybe(&mut self, of: u8) -> Option<usize> {
        let byte = self.byte();
        (byte & 0x80 != 0).then_some(usize::from(byte % of))
    }

    fn step(&mut self) -> Option<Step> {
        if self.0.is_empty() {
            return None;
        }
        let by_whom = |script: &mut Self| script.pick(16);
        Some(match self.byte() % 32 {
            0..=3 => {
                let byte = self.byte();
                let user = u64::from(byte & 3);
                Step::Join { user, is_v2: byte & 4 != 0, role: usize::from(byte >> 3) % 6 }
            }
            4 => Step::Leave(by_whom(self)),
            5..=11 => Step::Send {
                by: by_whom(self),
                text: self.pick(3),
                parent: self.maybe(16),
                key: self.maybe(4),
            },
            12..=13 => Step::Edit { by: by_whom(self), message: self.pick(16), text: self.pick(3) },
            14 => Step::Delete { by: by_whom(self), message: self.pick(16) },
            15..=17 => Step::React {
                by: by_whom(self),
                message: self.pick(16),
                emoji: self.pick(3),
                action: self.pick(3),
            },
            18..=19 => Step::Read { by: by_whom(self), message: self.pick(16) },
            20 => Step::Type { by: by_whom(self), is_typing: self.byte() & 1 == 0 },
            21..=22 => Step::Answer { which: by_whom(self), luck: self.byte() % 8 },
            23..=24 => Step::Durable(1 + self.pick(5)),
            25 => Step::FlushMarks,
            26 => Step::Seal,
            27 => match self.byte() % 4 {
                0 => Step::Shrink,
                1 => Step::Forget,
                2 => Step::Settle,
                _ => Step::Empty,
            },
            28..=29 => Step::Pass(u64::from(self.byte()) * 28),
            30 => Step::SetMember { user: u64::from(self.byte() % 4), role: self.pick(6) },
            _ => Step::Recent(1 + self.pick(7)),
        })
    }
}
