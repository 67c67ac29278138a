//! The reactors: tokio-uring around [`crate::node::core::Core`], one pinned thread per core. It moves
//! bytes, descriptors and time; it decides nothing.

mod accept;
mod clock;
mod launch;
mod memory;
mod pump;
pub mod ring;
pub mod socket;
mod turn;
mod watchdog;

pub use launch::{CorePlan, Plan, RingError, Running, Waker, fatal, listen, probe, start};
pub use turn::Pulse;
