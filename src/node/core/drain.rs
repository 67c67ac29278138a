//! Stopping: what is under way is finished, then every socket is told when to come back.
//!
//! ```text
//! No ─► Settling (nothing more is read; decided records become durable and are shown)
//!         └─► Closing (1012 to everyone; until all are gone or the time is up)
//!               └─► Stopping (the log writes its last commit) ─► Stopped
//! ```

use super::Core;
use super::handshake::OVERLOADED;
use crate::limits::DRAIN_MS_MAX;
use crate::model::{CloseReason, Mono, Now};
use crate::node::connection::Phase;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    No,
    Settling { until: Mono, spread_ms: u32 },
    Closing { until: Mono },
    Stopping,
    Stopped,
}

impl Drain {
    pub(super) fn next_timeout(&self) -> Option<Mono> {
        match self {
            Drain::Settling { until, .. } | Drain::Closing { until } => Some(*until),
            _ => None,
        }
    }
}

/// A multiplier that spreads neighbouring slots over the whole range (Knuth, TAOCP 3, §6.4).
const SPREAD: u32 = 2_654_435_769;

impl<S> Core<S> {
    /// Begins to stop; clients are asked to come back within `spread_ms`, each at its own time.
    pub fn begin_drain(&mut self, timeout_ms: u64, now: Now) {
        if self.drain != Drain::No {
            return;
        }
        let timeout_ms = timeout_ms.min(DRAIN_MS_MAX);
        let until = now.mono.after(timeout_ms);
        self.drain = Drain::Settling { until, spread_ms: DRAIN_MS_MAX as u32 };
        let waiting: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, c)| matches!(c.phase, Phase::Head(_) | Phase::Admitting(_)))
            .map(|(slot, _)| slot as u32)
            .collect();
        for slot in waiting {
            self.refuse(slot, OVERLOADED, now);
        }
    }

    pub fn is_draining(&self) -> bool {
        self.drain != Drain::No
    }

    /// Everything is on disk and every socket is gone: the process may end.
    pub fn is_stopped(&self) -> bool {
        self.drain == Drain::Stopped
    }

    /// Called at the end of each turn: goes as far as it can.
    pub(super) fn go_on_draining(&mut self, now: Now) {
        while let Some(next) = self.next_stage(now) {
            match (self.drain, next) {
                (Drain::Settling { spread_ms, .. }, _) => self.close_all(spread_ms, now),
                (_, Drain::Stopping) => self.shard.end_log(now),
                _ => {}
            }
            self.drain = next;
        }
    }

    fn next_stage(&self, now: Now) -> Option<Drain> {
        match self.drain {
            Drain::No | Drain::Stopped => None,
            Drain::Settling { until, .. } => {
                (self.shard.is_settled() || now.mono >= until).then_some(Drain::Closing { until })
            }
            Drain::Closing { until } => {
                (self.connections.is_empty() || now.mono >= until).then_some(Drain::Stopping)
            }
            Drain::Stopping => self.shard.is_stopped().then_some(Drain::Stopped),
        }
    }

    fn close_all(&mut self, spread_ms: u32, now: Now) {
        let open: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, c)| matches!(c.phase, Phase::Open(_) | Phase::Echo(_)))
            .map(|(slot, _)| slot as u32)
            .collect();
        let (index, cores) = (u32::from(self.settings.index), self.settings.placement.cores.into());
        for slot in open {
            let place = slot.wrapping_mul(cores).wrapping_add(index);
            let reconnect_in_ms = place.wrapping_mul(SPREAD) % spread_ms.max(1);
            self.close(slot, CloseReason::Restart { reconnect_in_ms }, now);
        }
    }
}
