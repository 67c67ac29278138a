//! What operators see of a running server: logs and counters.
//!
//! Neither ever blocks or slows a reactor: a log line goes through a bounded queue and is dropped
//! (and counted) when that is full; a counter is a cell that only its own core writes. No line and
//! no counter holds a secret, a token, a message's text or an e-mail.

pub mod counters;
pub mod exposition;
mod heartbeat;
pub mod logs;
mod names;
pub mod process;

pub use counters::{CoreCounters, Counters, Snapshot, Writers};
pub use heartbeat::Heartbeat;
pub use names::{Counter, Gauge, Histogram};
