//! What must be so before the server starts, each failure told in one clear sentence.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::server::STORE;

/// How long an address may still be held by a server that has just ended, and how often to look.
const IN_USE_PATIENCE: Duration = Duration::from_secs(1);
const IN_USE_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, thiserror::Error)]
pub enum Unready {
    #[error(
        "{address} is in use by another program: stop that one, or give another address with {flag}"
    )]
    InUse { address: SocketAddr, flag: &'static str },
    #[error("{address} is no address of this machine: change {flag}")]
    NotOurs { address: SocketAddr, flag: &'static str },
    #[error(
        "{address}: ports below 1024 need the right CAP_NET_BIND_SERVICE, or another {flag} behind a proxy"
    )]
    Privileged { address: SocketAddr, flag: &'static str },
    #[error("{address} cannot be listened on: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("the data directory {} cannot be made: {error}", path.display())]
    Create { path: PathBuf, error: io::Error },
    #[error("the data directory {} is not a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("the data directory {} cannot be written to: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error(
        "{} belongs to user {owner}, and this process is user {us}, who may not write there: start it as that \
         user, or `chown -R {us}` the data directory",
        path.display()
    )]
    NotOurFile { path: PathBuf, owner: u32, us: u32 },
}

/// Makes the directory if it is missing (for its owner only) and tries a file in it.
pub fn data_directory(path: &Path) -> Result<(), Unready> {
    let at = || path.to_owned();
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(Unready::NotADirectory { path: at() }),
        Err(_) => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| Unready::Create { path: at(), error })?,
    }
    let probe = path.join(format!(".writable-{}", std::process::id()));
    let tried = fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe));
    tried.map_err(|error| unwritable(path, error))?;
    // A store that another user made, as `loquat restore` by root does.
    let lock = path.join(STORE).join("lock");
    match fs::OpenOptions::new().write(true).open(&lock) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(unwritable(&lock, error)),
        // What else is wrong with it is told by who opens the store.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whose it is, where that is why.
fn unwritable(path: &Path, error: io::Error) -> Unready {
    let us = rustix::process::geteuid().as_raw();
    // The directory of what cannot even be looked at.
    let found = path.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)));
    match found.map(|(path, found)| (path, found.uid())) {
        Some((path, owner)) if error.kind() == ErrorKind::PermissionDenied && owner != us => {
            Unready::NotOurFile { path: path.to_owned(), owner, us }
        }
        _ => Unready::Write { path: path.to_owned(), error },
    }
}

/// Listens for a moment. Reactors share their port (SO_REUSEPORT), so a second server of the same
/// user would get it as well, and half of the connections; this socket does not share.
pub fn address(address: SocketAddr, flag: &'static str) -> Result<(), Unready> {
    let begun = Instant::now();
    loop {
        let is_early = begun.elapsed() < IN_USE_PATIENCE;
        return match TcpListener::bind(address) {
            Ok(_) => Ok(()),
            // The kernel takes down a ring, and lets go of its sockets, a moment after the process ended:
            // a server that is started right behind another waits for that.
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_early => {
                std::thread::sleep(IN_USE_PAUSE);
                continue;
            }
            Err(error) => Err(unready(error, address, flag)),
        };
    }
}

fn unready(error: io::Error, address: SocketAddr, flag: &'static str) -> Unready {
    match error.kind() {
        ErrorKind::AddrInUse => Unready::InUse { address, flag },
        ErrorKind::AddrNotAvailable => Unready::NotOurs { address, flag },
        ErrorKind::PermissionDenied => Unready::Privileged { address, flag },
        _ => Unready::Listen { address, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_becomes_free_in_a_moment_is_waited_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken_address = taken.local_addr().unwrap();
        let holder = std::thread::spawn(move || {
            std::thread::sleep(IN_USE_PAUSE * 3);
            drop(taken);
        });
        assert!(address(taken_address, "--port").is_ok());
        holder.join().unwrap();
    }

    #[test]
    fn an_address_in_use_is_named_with_the_flag_that_changes_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken_address = taken.local_addr().unwrap();
        let error = address(taken_address, "--port").unwrap_err().to_string();
        assert!(error.starts_with(&format!("{taken_address} is in use")), "{error}");
        assert!(error.ends_with("--port"), "{error}");
        drop(taken);
        assert!(address(taken_address, "--port").is_ok());
        // A documentation address (RFC 5737) is nobody's.
        let error = address("192.0.2.1:0".parse().unwrap(), "--listen").unwrap_err();
        assert!(matches!(error, Unready::NotOurs { .. }), "{error}");
    }

    #[test]
    fn what_belongs_to_another_user_is_told_with_both() {
        let denied = || io::Error::from(ErrorKind::PermissionDenied);
        let us = rustix::process::geteuid().as_raw();
        let base = tempfile::tempdir().unwrap();
        let own = unwritable(base.path(), denied());
        assert!(matches!(own, Unready::Write { .. }), "{own}");
        let ours = us == 0;
        // The root directory is nobody's but root's.
        let root = unwritable(Path::new("/"), denied());
        assert_eq!(ours, matches!(root, Unready::Write { .. }), "{root}");
        std::os::unix::fs::chown(base.path(), Some(us + 1), None).unwrap_or_default();
        if ours {
            let error = unwritable(&base.path().join("store/lock"), denied()).to_string();
            let parts = [format!("belongs to user {}", us + 1), format!("chown -R {us}")];
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn a_data_directory_is_made_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        data_directory(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        let file = base.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(data_directory(&file), Err(Unready::NotADirectory { .. })));
        assert!(matches!(data_directory(&file.join("x")), Err(Unready::Create { .. })));
    }
}
