//! The machines of a core and of the log, without tokio, thread, clock or file.
//!
//! - [`core`]: one core as the reactor drives it; [`connection`]: one socket; [`outbox`], [`batch`]
//! - [`shard`]: the conversations a core owns; [`ports`]: what it says to the log and the readers;
//!   [`outgoing`]: what the log says back
//! - [`mail`], [`links`], [`placement`]: between cores; [`admission`]: what spans them
//! - [`admin`]: what operators ask for; [`journal`]: the log

pub mod admin;
pub mod admission;
pub mod batch;
mod ceiling;
mod closing;
pub mod connection;
pub mod core;
pub mod guard;
pub mod journal;
pub mod links;
pub mod mail;
pub mod outbox;
pub mod outgoing;
pub mod placement;
#[cfg(feature = "planted")]
pub mod planted;
pub mod ports;
pub mod question;
pub mod shard;
mod table;
pub mod timers;
