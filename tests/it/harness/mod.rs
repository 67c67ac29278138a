//! The outside view: a real process, real sockets, and clients that check everything they are sent.
//!
//! Nothing here uses loquat's own code. Waiting is always for an event, with a deadline.

pub mod admin;
pub mod client;
pub mod exposition;
pub mod fake;
pub mod faults;
pub mod process;
pub mod raw;
pub mod server;
pub mod token;
pub mod witness;

pub use client::{Client, What, all_see, all_settled, is_like};
pub use faults::{Faults, Files};
pub use process::DEADLINE;
pub use raw::Raw;
pub use server::{Server, Session};
pub use token::{nameless, person};
