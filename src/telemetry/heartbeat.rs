//! A thread's sign of life, for whoever watches it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct Heartbeat {
    beats: AtomicU64,
    is_over: AtomicBool,
}

impl Heartbeat {
    /// By the thread, about once a second.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// By the thread: it ends in good order.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// How often it has beaten; `None` once the thread has ended in good order.
    pub fn beats(&self) -> Option<u64> {
        (!self.is_over.load(Ordering::Relaxed)).then(|| self.beats.load(Ordering::Relaxed))
    }
}
