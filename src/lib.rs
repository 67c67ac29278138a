//! loquat: a chat server. Read the modules in this order:
//!
//! - [`limits`]: every bound; [`model`]: the words everyone shares
//! - [`telemetry`], [`mailbox`]: logs and counters; rings between threads
//! - [`wire`], [`auth`], [`chat`]: bytes ↔ model; token → identity; the domain
//! - [`node`]: the machines of a core and of the log, without clock, thread, socket or file
//! - [`store`]: the journal's files, sled, and the threads that own them
//! - [`config`][]: settings
//! - [`reactor`], [`http`]: io_uring and axum around it all
//! - [`cli`]: the commands

pub mod auth;
pub mod chat;
pub mod cli;
pub mod config;
pub mod http;
pub mod limits;
pub mod mailbox;
pub mod model;
pub mod node;
pub mod reactor;
pub mod store;
pub mod telemetry;
pub mod wire;
