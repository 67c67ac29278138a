//! One to four cores driven by hand: one thread, virtual time, a log and readers that answer when the
//! test says so, and sockets that are cut, slow, broken or gone. What a client sees is decoded by a
//! second, naive decoder. Everything must be back at zero when a test ends.

#[path = "core/admin.rs"]
mod admin;
#[path = "core/checked.rs"]
mod checked;
#[path = "core/client.rs"]
mod client;
#[path = "core/counting.rs"]
mod counting;
#[path = "core/decode.rs"]
mod decode;
#[path = "core/deletion.rs"]
mod deletion;
#[path = "core/drain.rs"]
mod drain;
#[path = "core/durable.rs"]
mod durable;
#[path = "core/entry.rs"]
mod entry;
#[path = "core/handshake.rs"]
mod handshake;
#[path = "core/import.rs"]
mod import;
#[path = "core/liveness.rs"]
mod liveness;
#[path = "core/operation.rs"]
mod operation;
#[path = "core/overload.rs"]
mod overload;
#[path = "core/past.rs"]
mod past;
#[path = "core/pump.rs"]
mod pump;
#[path = "core/questions.rs"]
mod questions;
#[path = "core/resume.rs"]
mod resume;
#[path = "core/rings.rs"]
mod rings;
#[path = "core/session.rs"]
mod session;
#[path = "core/slow.rs"]
mod slow;
#[path = "core/store.rs"]
mod store;
#[path = "core/violations.rs"]
mod violations;
#[path = "core/walk.rs"]
mod walk;
#[path = "core/wide.rs"]
mod wide;
#[path = "core/world.rs"]
mod world;
