//! JSON in, frames out.
//!
//! - [`Decoder`]: the text of one message → [`crate::model::Request`], or a refusal that says why
//! - [`event`], [`signal`], [`reply`], [`replayed_message`]: the model → one complete, unfragmented
//!   text frame, appended to a buffer
//!
//! Both are pure functions of their arguments; nothing here knows a socket, a room or a clock. In
//! the steady state neither allocates: the decoder keeps its buffers, and what it hands out borrows
//! the text; the encoder writes straight into the caller's buffer.

mod decode;
mod encode;
mod history;
#[cfg(test)]
mod protocol_tests;
mod shape;
mod time;
mod verbatim;
mod writer;

pub use decode::{Decoder, JsonRules, Rejected};
pub use encode::{event, event_bytes, replayed_message, reply, signal};
pub use history::{edits, page, shown_message, standing};
pub use time::rfc3339_ms;
