//! What of a core's state operators see: gauges, set about once a second. What needs a walk over all
//! sockets is done bit by bit, so that no turn is long because of it.

use super::Core;
use crate::model::{Mono, Now, Reply};
use crate::node::connection::Phase;
use crate::node::mail::Pace;
use crate::telemetry::{Counter, Gauge};

const EVERY_MS: u64 = 1_000;
/// Sockets that one turn looks at.
const SOCKETS_PER_TURN: usize = 8 * 1024;

/// The walk under way, and what it found so far.
#[derive(Debug, Default)]
pub(super) struct Survey {
    due: Mono,
    /// The slot that comes next; `None` between two walks.
    at: Option<usize>,
    found: Found,
}

#[derive(Debug, Default)]
struct Found {
    sockets: u64,
    handshakes: u64,
    closing: u64,
    outbox_bytes: u64,
    outbox_largest_bytes: u64,
    catching_up: u64,
}

impl<S> Core<S> {
    pub(super) fn survey(&mut self, now: Now) {
        self.counters.increment(Counter::Turns);
        if self.survey.at.is_some() {
            self.walk_on();
        } else if now.mono >= self.survey.due {
            self.survey.due = now.mono.after(EVERY_MS);
            self.look_around();
            self.survey.at = Some(0);
            self.walk_on();
        }
    }

    /// What one look tells.
    fn look_around(&mut self) {
        let counters = &self.counters;
        let (mut items, mut overflow_bytes) = (0, 0);
        for peer in self.links.peers.iter_mut().flatten() {
            items += peer.from.len() + peer.waiting();
            overflow_bytes += peer.waiting_bytes();
            let (had_to_wait, were_shed) = peer.take_counts();
            counters.add(Counter::MailboxOverflows, had_to_wait);
            counters.add(Counter::BatchesShed, were_shed);
        }
        let (for_log, for_load) = self.shard.waiting();
        counters.set(Gauge::MailboxItems, items as u64);
        counters.set(Gauge::MailboxOverflowBytes, overflow_bytes as u64);
        counters.set(Gauge::WaitingForLog, for_log as u64);
        counters.set(Gauge::WaitingForLoad, for_load as u64);
        counters.set(Gauge::Conversations, self.shard.rooms() as u64);
        counters.set(Gauge::Accepting, u64::from(self.shard.is_accepting()));
        counters.set(Gauge::MemoryPressure, self.pressure as u64);
    }

    /// The next sockets of the walk; its end sets the gauges.
    fn walk_on(&mut self) {
        let Some(from) = self.survey.at else { return };
        let to = from + SOCKETS_PER_TURN;
        let found = &mut self.survey.found;
        for slot in from..to.min(self.generations.len()) {
            let Some(connection) = self.connections.get(slot) else { continue };
            let bytes = connection.outbox.bytes() as u64;
            found.outbox_bytes += bytes;
            found.outbox_largest_bytes = found.outbox_largest_bytes.max(bytes);
            match &connection.phase {
                Phase::Open(open) => {
                    found.sockets += 1;
                    found.catching_up += u64::from(open.pace != Pace::Live);
                }
                Phase::Echo(_) => found.sockets += 1,
                Phase::Head(_) | Phase::Admitting(_) => found.handshakes += 1,
                Phase::Closing(_) => found.closing += 1,
                Phase::Plain(_) | Phase::Leaving { .. } | Phase::Gone => {}
            }
        }
        if to < self.generations.len() {
            self.survey.at = Some(to);
            return;
        }
        self.survey.at = None;
        let found = std::mem::take(&mut self.survey.found);
        self.counters.set(Gauge::Sockets, found.sockets);
        self.counters.set(Gauge::Handshakes, found.handshakes);
        self.counters.set(Gauge::SocketsClosing, found.closing);
        self.counters.set(Gauge::CatchingUp, found.catching_up);
        self.counters.set(Gauge::OutboxBytes, found.outbox_bytes);
        self.counters.set(Gauge::OutboxLargestBytes, found.outbox_largest_bytes);
    }

    pub(super) fn count_reply(&self, reply: &Reply) {
        self.counters.increment(Counter::reply(reply));
        if let Reply::Error { refusal, .. } = reply {
            self.counters.increment(Counter::refused(refusal.code));
        }
    }
}
