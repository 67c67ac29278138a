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

/// So many characters, of three bytes each, that packing does not shorten; every seed has its own.
pub fn noise(seed: u64, characters: usize) -> String {
    let ideograph = |at: u64| {
        let mixed = (seed << 20 | at).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        char::from_u32(0x4e00 + (mixed >> 50) as u32).unwrap()
    };
    (0..characters as u64).map(ideograph).collect()
}

pub use client::{Client, What, all_see, all_settled, is_like};
pub use faults::{Faults, Files};
pub use process::DEADLINE;
pub use raw::Raw;
pub use server::{Server, Session};
pub use token::{nameless, person};
