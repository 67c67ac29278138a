//! The request head that opens a socket, and the answers to it (RFC 6455 §4, RFC 9112).
//!
//! ```text
//! bytes ──► head_reader ──► request ──► Head::Upgrade ──► origin, client_address ──► accept
//!             (once a byte)  (once)  └─► Head::Plain: all bytes go to the HTTP side
//!                 └───────────────┴────► Refused ──► a short answer, then the end
//! ```
//! Invariants: nothing that two HTTP parsers could read in two ways passes, for plain requests
//! neither; no body passes; a token is never in a `Debug` output or an error text.

mod accept;
mod client_address;
mod head_reader;
mod origin;
mod refused;
mod request;
mod target;
mod token;

pub use accept::{Subprotocol, WebSocketKey, accept_response};
pub use client_address::client_address;
pub use head_reader::{HeadBytes, HeadProgress, HeadReader};
pub use origin::{Listening, origin_allowed};
pub use refused::{Refused, refuse_response};
pub use request::{Head, UpgradeRequest, parse};
pub use target::{EchoLimits, Path};
pub use token::{TokenField, TokenText};
