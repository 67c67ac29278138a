//! The demo's own secret: made at its first start, kept in its data directory for the next ones.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::{Secret, SecretFileError, read_file};
use crate::limits::SECRET_BYTES_MIN;

const FILE_NAME: &str = "demo-secret";
const RANDOM_BYTES: usize = 48;

#[derive(Debug, thiserror::Error)]
pub enum DemoSecretError {
    #[error("the demo's secret {} {error}", path.display())]
    Read { path: PathBuf, error: SecretFileError },
    #[error("the demo's secret {} is shorter than {SECRET_BYTES_MIN} bytes: remove the file", path.display())]
    Short { path: PathBuf },
    #[error("the demo's secret {} cannot be written: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("the system gave no random bytes")]
    NoRandomness,
}

/// The secret of the demo in this directory, if one ever ran there.
pub fn existing(data: &Path) -> Result<Option<Secret>, DemoSecretError> {
    let path = data.join(FILE_NAME);
    match read_file(&path) {
        Ok(file) if file.secret.expose().len() >= SECRET_BYTES_MIN => Ok(Some(file.secret)),
        Ok(_) => Err(DemoSecretError::Short { path }),
        Err(SecretFileError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DemoSecretError::Read { path, error }),
    }
}

/// The secret of the demo in this directory, made now if there is none.
pub fn existing_or_new(data: &Path) -> Result<Secret, DemoSecretError> {
    if let Some(secret) = existing(data)? {
        return Ok(secret);
    }
    let text = random_text(RANDOM_BYTES)?;
    let path = data.join(FILE_NAME);
    publish(&path, &text).map_err(|error| DemoSecretError::Write { path: path.clone(), error })?;
    // Read back: a demo that started at the same time may have been first.
    let missing = || SecretFileError::Io(io::Error::from(ErrorKind::NotFound));
    existing(data)?.ok_or_else(|| DemoSecretError::Read { path, error: missing() })
}

/// Random bytes as text that needs no quoting anywhere.
pub fn random_text(bytes: usize) -> Result<String, DemoSecretError> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|_| DemoSecretError::NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

/// The file appears with its whole content or not at all, and never replaces another one.
fn publish(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let written = write_draft(&draft, text).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = fs::remove_file(&draft);
    written.and(removed)
}

fn write_draft(draft: &Path, text: &str) -> io::Result<()> {
    // A draft of this name is one that a killed process of our number left behind.
    let _ = fs::remove_file(draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_secret_is_made_once_and_for_its_owner_only() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(existing(data.path()).unwrap(), None);
        let first = existing_or_new(data.path()).unwrap();
        assert_eq!(first.expose().len(), 64);
        assert_eq!(existing_or_new(data.path()).unwrap(), first);
        let path = data.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_demo_that_was_first_wins() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(FILE_NAME);
        publish(&path, "first").unwrap();
        publish(&path, "second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
    }

    #[test]
    fn a_cut_off_secret_is_refused() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(FILE_NAME), "short\n").unwrap();
        assert!(matches!(existing_or_new(data.path()), Err(DemoSecretError::Short { .. })));
    }
}
