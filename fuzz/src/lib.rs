//! The bodies of the fuzz targets. `tests/corpus.rs` of the server includes the same files.

#[path = "../bodies/mod.rs"]
pub mod bodies;
