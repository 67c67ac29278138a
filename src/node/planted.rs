//! Bugs on purpose: each is one marked place that `scripts/planted` turns on, to prove that the
//! simulation sees it. Compiled only with the feature `planted`, and off until a test asks for one.

use std::sync::atomic::{AtomicU8, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A record counts as durable when it is written.
    AckBeforeSync = 1,
    /// A write that was cut short counts as whole.
    IgnoredShortSend,
    /// A start forgets the last commit: its seqs are given again.
    SeqReused,
    /// A sync that failed is tried again.
    RetriedSync,
    /// What finds a full ring is dropped.
    SilentDrop,
    /// What was meant for a socket that is gone reaches the next one in its slot.
    LateCompletion,
    /// A removed member's sockets stay.
    DeliveryAfterRemoval,
    /// A resume begins one event late.
    ResumeOffByOne,
}

pub const ALL: [(&str, Bug); 8] = [
    ("ack_before_sync", Bug::AckBeforeSync),
    ("ignored_short_send", Bug::IgnoredShortSend),
    ("seq_reused", Bug::SeqReused),
    ("retried_sync", Bug::RetriedSync),
    ("silent_drop", Bug::SilentDrop),
    ("late_completion", Bug::LateCompletion),
    ("delivery_after_removal", Bug::DeliveryAfterRemoval),
    ("resume_off_by_one", Bug::ResumeOffByOne),
];

static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// From here on this bug is in, and no other.
pub fn choose(bug: Option<Bug>) {
    CHOSEN.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
}

pub fn is(bug: Bug) -> bool {
    CHOSEN.load(Ordering::Relaxed) == bug as u8
}
