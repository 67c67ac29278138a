//! Mail to one shard that never gets lost: when the ring is full the newest watermark stands for all
//! before it, and what has no newer form waits in order.

use std::collections::VecDeque;
use std::ops::Range;

use crate::mailbox::Sender;
use crate::node::ports::FromLog;

pub struct Outgoing {
    ring: Sender<FromLog>,
    durable: Option<(u64, u64)>,
    leases: VecDeque<Range<u64>>,
    sealed: Option<u64>,
    accepting: Option<bool>,
    read_anew: bool,
    stopped: bool,
}

impl Outgoing {
    pub fn new(ring: Sender<FromLog>) -> Outgoing {
        Outgoing {
            ring,
            durable: None,
            leases: VecDeque::new(),
            sealed: None,
            accepting: None,
            read_anew: false,
            stopped: false,
        }
    }

    /// Takes a message; [`Outgoing::flush`] sends it.
    pub fn put(&mut self, message: FromLog) {
        match message {
            FromLog::Durable { through, segment } => self.durable = Some((through, segment)),
            FromLog::Lease { ids } => self.leases.push_back(ids),
            FromLog::Sealed { segment } => self.sealed = Some(segment),
            FromLog::Accepting(accepting) => self.accepting = Some(accepting),
            FromLog::ReadAnew => self.read_anew = true,
            FromLog::Stopped => self.stopped = true,
        }
    }

    /// Sends what the ring takes and wakes the shard. A watermark goes before the seal that rests on
    /// it; `Stopped` goes last.
    pub fn flush(&mut self) {
        let mut sent = false;
        while let Some(message) = self.next() {
            if let Err(message) = self.ring.push(message) {
                self.put_back(message);
                break;
            }
            sent = true;
        }
        if sent {
            self.ring.ring();
        }
    }

    /// Something did not fit; nobody is there to take it if the shard is gone.
    pub fn is_waiting(&self) -> bool {
        let has_mail = self.durable.is_some()
            || !self.leases.is_empty()
            || self.sealed.is_some()
            || self.accepting.is_some()
            || self.read_anew
            || self.stopped;
        has_mail && !self.ring.is_abandoned()
    }

    fn next(&mut self) -> Option<FromLog> {
        if let Some((through, segment)) = self.durable.take() {
            return Some(FromLog::Durable { through, segment });
        }
        if let Some(ids) = self.leases.pop_front() {
            return Some(FromLog::Lease { ids });
        }
        if let Some(segment) = self.sealed.take() {
            return Some(FromLog::Sealed { segment });
        }
        if let Some(accepting) = self.accepting.take() {
            return Some(FromLog::Accepting(accepting));
        }
        if std::mem::take(&mut self.read_anew) {
            return Some(FromLog::ReadAnew);
        }
        std::mem::take(&mut self.stopped).then_some(FromLog::Stopped)
    }

    fn put_back(&mut self, message: FromLog) {
        match message {
            FromLog::Lease { ids } => self.leases.push_front(ids),
            other => self.put(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::{Doorbell, ring};
    use std::sync::Arc;

    #[test]
    fn a_full_ring_loses_nothing_that_matters() {
        let (sender, mut receiver) = ring(2, Arc::new(Doorbell::new(|| {})));
        let mut outgoing = Outgoing::new(sender);
        outgoing.put(FromLog::Lease { ids: 1..3 });
        outgoing.put(FromLog::Lease { ids: 3..5 });
        for through in 1..=3 {
            outgoing.put(FromLog::Durable { through, segment: 1 });
            outgoing.flush();
        }
        outgoing.put(FromLog::ReadAnew);
        outgoing.put(FromLog::ReadAnew);
        outgoing.put(FromLog::Accepting(false));
        outgoing.put(FromLog::Accepting(true));
        outgoing.put(FromLog::Stopped);
        let mut got = Vec::new();
        while outgoing.is_waiting() || !receiver.is_empty() {
            got.extend(receiver.pop());
            outgoing.flush();
        }
        assert_eq!(
            got,
            [
                FromLog::Durable { through: 1, segment: 1 },
                FromLog::Lease { ids: 1..3 },
                FromLog::Durable { through: 3, segment: 1 },
                FromLog::Lease { ids: 3..5 },
                FromLog::Accepting(true),
                FromLog::ReadAnew,
                FromLog::Stopped,
            ]
        );
    }
}
