//! The machines of a core and of the log, without tokio, thread, clock or file.

pub mod journal;
pub mod ports;
