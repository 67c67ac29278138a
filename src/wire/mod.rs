//! Bytes ↔ model, without I/O and without a clock.
//!
//! - [`upgrade`]: the HTTP request head that opens a socket, and the answers to it
//! - [`frame`], [`close`]: RFC 6455 frames as bytes, both directions
//! - [`session`]: one socket's incoming bytes → messages and control frames, in place
//! - [`utf8`]: UTF-8 that arrives in pieces
//!
//! Everything a peer sends has a bound here, and a violation is a value, never a panic.

pub mod close;
pub mod frame;
pub mod json;
pub mod session;
pub mod upgrade;
pub mod utf8;
