//! What a core does when the process is short of memory: overload is an answer, never an OOM kill.

use super::Core;
use crate::limits::Limits;
use crate::model::{CloseReason, Now};
use crate::node::connection::Phase;

/// How much of the memory limit the process uses, in the steps that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    None,
    /// 70 %: no new sockets (503), no pages of the past, and less is read from who does not take the answers.
    StopAccepting,
    /// 80 %: the sockets with the most unsent bytes are closed (4100).
    Shed,
    /// 90 %: commands that store something are refused as well, and who was closed and takes nothing is reset.
    RefuseSends,
}

impl Pressure {
    const FIRST_PERCENT: u64 = 70;

    /// Where it begins.
    pub fn first_bytes(limit: u64) -> u64 {
        limit / 100 * Pressure::FIRST_PERCENT
    }

    /// Unsent bytes of a socket above which nothing is read from it.
    pub(super) fn unread(self, limits: &Limits) -> usize {
        match self {
            Pressure::None => limits.outbox_bytes,
            Pressure::StopAccepting => limits.outbox_bytes / 4,
            Pressure::Shed => limits.outbox_bytes / 16,
            Pressure::RefuseSends => SHED_BYTES_MIN.min(limits.outbox_bytes),
        }
    }

    /// By the share of the limit that is in use, in percent.
    pub fn of(percent: u64) -> Pressure {
        match percent {
            0..Pressure::FIRST_PERCENT => Pressure::None,
            Pressure::FIRST_PERCENT..80 => Pressure::StopAccepting,
            80..90 => Pressure::Shed,
            _ => Pressure::RefuseSends,
        }
    }
}

/// Sockets with fewer unsent bytes are never shed: closing them would give nothing back.
const SHED_BYTES_MIN: usize = 4 * 1024;
/// How long what was shed has to be given back before more is: the allocator takes a moment.
const SHED_EVERY_MS: u64 = 1_000;
/// The same when there is hardly any memory left.
const CUT_EVERY_MS: u64 = 200;

impl<S> Core<S> {
    /// New sockets are taken.
    pub fn has_room(&self) -> bool {
        self.pressure < Pressure::StopAccepting
    }

    /// What this core's answers about the past may take until memory is measured again.
    pub fn set_room(&mut self, bytes: u64) {
        self.shard.set_room(bytes);
    }

    /// Called when the pressure was measured: once a second, and more often the less memory there is.
    pub fn set_pressure(&mut self, pressure: Pressure, now: Now) {
        let before = std::mem::replace(&mut self.pressure, pressure);
        if pressure != before {
            tracing::warn!(core = self.settings.index, from = ?before, to = ?pressure,
                "memory pressure changed");
        }
        self.shard.set_short(pressure >= Pressure::StopAccepting);
        self.shard.set_refusing(pressure == Pressure::RefuseSends);
        if pressure < Pressure::Shed {
            return;
        }
        let every_ms = if pressure == Pressure::RefuseSends { CUT_EVERY_MS } else { SHED_EVERY_MS };
        if pressure > before || now.mono.since(self.shed_at) >= every_ms {
            self.shed_at = now.mono;
            self.shard.shrink();
            if pressure == Pressure::RefuseSends {
                self.cut_who_goes(now);
            }
            self.shed(now);
        }
    }

    /// Sockets that were told to go and do not take what is under way keep their memory until they are reset.
    fn cut_who_goes(&mut self, now: Now) {
        let going: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, c)| matches!(c.phase, Phase::Closing(_)))
            .filter(|(_, c)| c.outbox.bytes() >= SHED_BYTES_MIN)
            .map(|(slot, _)| slot as u32)
            .collect();
        for slot in going {
            self.abort(slot, now);
        }
    }

    /// Unsent bytes of the socket that has most of them to be blamed for.
    pub fn largest_backlog(&self) -> usize {
        self.connections.iter().map(|(_, c)| c.outbox.backlog_bytes()).max().unwrap_or(0)
    }

    /// Closes the sockets with the largest queues until half of what is queued is gone. Who is being
    /// closed already goes soon, and keeps its close frame.
    fn shed(&mut self, now: Now) {
        let mut queued: Vec<(usize, u32)> = self
            .connections
            .iter()
            .filter(|(_, c)| matches!(c.phase, Phase::Open(_) | Phase::Echo(_)))
            .map(|(slot, connection)| (connection.outbox.bytes(), slot as u32))
            .filter(|(bytes, _)| *bytes >= SHED_BYTES_MIN)
            .collect();
        let total: usize = queued.iter().map(|(bytes, _)| bytes).sum();
        queued.sort_unstable_by(|a, b| b.cmp(a));
        let mut freed = 0;
        for (bytes, slot) in queued {
            if freed >= total / 2 {
                break;
            }
            freed += bytes;
            self.connections[slot as usize].outbox.drop_queued();
            self.close(slot, CloseReason::Overload, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_at_70_80_and_90_percent() {
        let steps = [69, 70, 79, 80, 89, 90, 400].map(Pressure::of);
        use Pressure::*;
        let expected = [None, StopAccepting, StopAccepting, Shed, Shed, RefuseSends, RefuseSends];
        assert_eq!(steps, expected);
    }
}
