//! The log as machines: group commits in framed segments, id leases, replay. No file, thread or
//! clock: [`Journal`] writes, [`Recovery`] reads at start, and both say what is to be done as effects
//! on named files, so that a simulation can tear and lose writes.
//!
//! Reading order: [`archive`] and [`record`] (one record as bytes), [`frame`] (commits and segments as
//! bytes), [`scan`] (a segment read back), [`machine`], [`recovery`].

pub mod archive;
mod batch;
pub mod effect;
pub mod frame;
mod lease;
pub mod machine;
pub mod record;
pub mod recovery;
mod rewrite;
pub mod scan;
mod segments;
pub mod settings;

pub use batch::Durable;
pub use effect::{Done, Effect, FileWork, SegmentName};
pub use machine::{Journal, JournalStart};
pub use recovery::{Recovered, Recovery, RecoveryStep, SealedMark};
pub use rewrite::rewrite;
pub use scan::{Damage, Scan, Tail, salvage, scan};
pub use settings::{Fsync, JournalSettings};

#[cfg(test)]
mod tests;
