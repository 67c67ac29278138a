//! Settings: defaults < file < environment < flags, described by one table ([`table`]) that also
//! makes the flags, the help, the docs and the checks.
//!
//! Everything that is wrong is reported at once, and nothing here prints a secret. Reading files
//! (the settings file, secret files) happens here, at start and on SIGHUP only.

mod docs;
mod entries;
mod field;
mod file;
mod keys;
mod limit_entries;
mod lists;
mod mistake;
mod reload;
mod resolve;
mod secret;
mod settings;
mod sources;
pub mod table;
mod words;

pub use docs::markdown;
pub use field::Shape;
pub use keys::{JwtKey, KeySource, ListedKey};
pub use mistake::{Mistake, Origin};
pub use reload::Reload;
pub use resolve::{Resolved, load, resolve};
pub use secret::{Exposure, SECRET_BYTES_MAX, Secret, SecretFile, SecretFileError, read_file};
pub use settings::{Admin, Auth, Jwt, Log, Reloadable, Settings, loopback};
pub use sources::{CONFIG_VARIABLE, Flag, Sources};
pub use words::{Algorithm, AuthReject, Fsync, Switch, Word};

/// The warning about a file whose secret others can read.
fn exposed(path: &std::path::Path, bits: u32) -> String {
    format!("{} holds a secret and has mode {bits:04o}: make it 0600", path.display())
}
