//! Stopping: what is under way is finished, then every socket is told when to come back.
//!
//! ```text
//! No ─► Settling (nothing more is read, which all cores are told; decided records become durable and
//!         │        are shown, until no core sends commands any more and nothing waits)
//!         └─► Settled (which all cores are told, behind the last batches; until all say the same)
//!               └─► Closing (1012 to everyone; until all are gone or the time is up)
//!                     └─► Stopping (the log writes its last commit) ─► Stopped
//! ```
//! A socket of a wide conversation hears from the core that owns it what was decided last, so no core
//! closes its sockets before all are settled. One that does not answer is waited for until half of the
//! time is up; the rest is for the goodbyes. A receive that is in flight when a core stops reading may
//! still bring something: it is taken while nobody relies on the core's last word.

use super::Core;
use super::handshake::OVERLOADED;
use crate::limits::DRAIN_MS_MAX;
use crate::model::{CloseReason, Mono, Now};
use crate::node::connection::{Adoption, Phase, Place};
use crate::node::mail::Mail;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    No,
    Settling(Times),
    Settled(Times),
    Closing { until: Mono },
    Stopping,
    Stopped,
}

/// Half of the time is for settling, so that what is left is enough to say goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    settle_by: Mono,
    close_by: Mono,
}

impl Drain {
    pub(super) fn next_timeout(&self) -> Option<Mono> {
        match self {
            Drain::Settling(times) | Drain::Settled(times) => Some(times.settle_by),
            Drain::Closing { until } => Some(*until),
            _ => None,
        }
    }
}

/// How many other cores have said so.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub quiet: usize,
    pub settled: usize,
}

/// A multiplier that spreads neighbouring slots over the whole range (Knuth, TAOCP 3, §6.4).
const SPREAD: u32 = 2_654_435_769;

impl<S> Core<S> {
    /// Begins to stop, within `timeout_ms`; clients are asked to come back within
    /// [`DRAIN_MS_MAX`], each at its own time.
    pub fn begin_drain(&mut self, timeout_ms: u64, now: Now) {
        if self.drain != Drain::No {
            return;
        }
        let timeout_ms = timeout_ms.min(DRAIN_MS_MAX);
        self.drain = Drain::Settling(Times {
            settle_by: now.mono.after(timeout_ms / 2),
            close_by: now.mono.after(timeout_ms),
        });
        let waiting: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, c)| matches!(c.phase, Phase::Head(_) | Phase::Admitting(_)))
            .map(|(slot, _)| slot as u32)
            .collect();
        for slot in waiting {
            self.refuse(slot, OVERLOADED, now);
        }
        self.tell_cores(|| Mail::Quiet);
    }

    fn tell_cores(&mut self, mail: impl Fn() -> Mail<S, Adoption>) {
        for peer in self.links.peers.iter_mut().flatten() {
            peer.send(mail());
        }
    }

    fn other_cores(&self) -> usize {
        self.links.peers.iter().flatten().count()
    }

    /// Whether what an open socket brings is not handled any more: other cores were told that nothing
    /// follows.
    pub(super) fn comes_too_late(&self, slot: u32) -> bool {
        match (&self.drain, &self.connections[slot as usize].phase) {
            (Drain::No, _) => false,
            (Drain::Settling(_), Phase::Open(open)) => {
                matches!(open.place, Place::Far { .. })
            }
            (_, phase) => matches!(phase, Phase::Open(_)),
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
                (_, Drain::Settled(_)) => self.tell_cores(|| Mail::Settled),
                (_, Drain::Closing { .. }) => self.close_all(now),
                (_, Drain::Stopping) => self.shard.end_log(now),
                _ => {}
            }
            self.drain = next;
        }
    }

    fn next_stage(&self, now: Now) -> Option<Drain> {
        match self.drain {
            Drain::No | Drain::Stopped => None,
            Drain::Settling(times) | Drain::Settled(times) if now.mono >= times.settle_by => {
                Some(Drain::Closing { until: times.close_by })
            }
            Drain::Settling(times) => {
                let is_settled = self.heard.quiet == self.other_cores() && self.shard.is_settled();
                is_settled.then_some(Drain::Settled(times))
            }
            Drain::Settled(times) => {
                let are_settled = self.heard.settled == self.other_cores();
                are_settled.then_some(Drain::Closing { until: times.close_by })
            }
            Drain::Closing { until } => {
                (self.connections.is_empty() || now.mono >= until).then_some(Drain::Stopping)
            }
            Drain::Stopping => self.shard.is_stopped().then_some(Drain::Stopped),
        }
    }

    fn close_all(&mut self, now: Now) {
        let open: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, c)| matches!(c.phase, Phase::Open(_) | Phase::Echo(_)))
            .map(|(slot, _)| slot as u32)
            .collect();
        let (index, cores) = (u32::from(self.settings.index), self.settings.placement.cores.into());
        for slot in open {
            let place = slot.wrapping_mul(cores).wrapping_add(index);
            let reconnect_in_ms = place.wrapping_mul(SPREAD) % DRAIN_MS_MAX as u32;
            self.close(slot, CloseReason::Restart { reconnect_in_ms }, now);
        }
    }
}
