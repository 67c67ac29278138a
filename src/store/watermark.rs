//! Up to where the log is durable, for those who read it from outside of the shards. The log thread
//! raises it with one store, and rings only when somebody waits.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::node::journal::Durable;

type Bell = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub struct Watermark {
    commit: AtomicU64,
    leased_to: AtomicU64,
    /// Counts what may be news to those who wait.
    changes: AtomicU64,
    waiting: AtomicUsize,
    bell: OnceLock<Bell>,
}

impl Watermark {
    pub fn new(durable: Durable) -> Watermark {
        Watermark {
            commit: AtomicU64::new(durable.commit),
            leased_to: AtomicU64::new(durable.leased_to),
            ..Watermark::default()
        }
    }

    /// Only one thread does this.
    pub fn rise(&self, durable: Durable) {
        if self.commit() == durable.commit {
            return;
        }
        self.leased_to.store(durable.leased_to, Ordering::SeqCst);
        self.commit.store(durable.commit, Ordering::SeqCst);
        self.ring();
    }

    /// Wakes those who wait for something else to become readable.
    pub fn ring(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        // Sequentially consistent like the stores: who counted itself in sees them, or is seen here.
        if self.waiting.load(Ordering::SeqCst) > 0
            && let Some(bell) = self.bell.get()
        {
            bell();
        }
    }

    pub fn commit(&self) -> u64 {
        self.commit.load(Ordering::SeqCst)
    }

    pub fn leased_to(&self) -> u64 {
        self.leased_to.load(Ordering::SeqCst)
    }

    /// Another number whenever there may be something new.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// What wakes all who wait. Only the first call counts.
    pub fn set_bell(&self, bell: impl Fn() + Send + Sync + 'static) {
        let _ = self.bell.set(Box::new(bell));
    }

    /// From here until it is dropped the bell rings; look at what you wait for after this.
    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }
}

impl fmt::Debug for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watermark({})", self.commit())
    }
}

/// Somebody waits.
pub struct Waiting<'a>(&'a Watermark);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_rings_only_for_those_who_wait() {
        let watermark = Watermark::new(Durable { commit: 4, leased_to: 9 });
        let rung = Arc::new(AtomicUsize::new(0));
        let count = rung.clone();
        watermark.set_bell(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        watermark.rise(Durable { commit: 5, leased_to: 9 });
        assert_eq!((watermark.commit(), rung.load(Ordering::SeqCst)), (5, 0));
        let waiting = watermark.wait();
        watermark.rise(Durable { commit: 5, leased_to: 9 });
        assert_eq!(rung.load(Ordering::SeqCst), 0);
        watermark.rise(Durable { commit: 6, leased_to: 99 });
        assert_eq!((watermark.leased_to(), rung.load(Ordering::SeqCst)), (99, 1));
        drop(waiting);
        watermark.rise(Durable { commit: 7, leased_to: 99 });
        assert_eq!(rung.load(Ordering::SeqCst), 1);
    }
}
