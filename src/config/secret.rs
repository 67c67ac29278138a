//! Secrets: a text that no log, error or listing can show, and the file it is kept in.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// Longest secret, in bytes: more is surely the wrong file.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;

/// A secret. `Debug` hides it and there is no `Display`; reading it takes [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// `None` for an empty text or one over [`SECRET_BYTES_MAX`].
    pub fn new(text: &str) -> Option<Secret> {
        (!text.is_empty() && text.len() <= SECRET_BYTES_MAX).then(|| Secret(text.into()))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("is not a regular file")]
    NotAFile,
    #[error("is empty")]
    Empty,
    #[error("is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong,
    #[error("is not UTF-8 text")]
    NotText,
}

/// A secret from a file, and whether others than the owner can get at that file.
#[derive(Debug)]
pub struct SecretFile {
    pub secret: Secret,
    pub exposure: Exposure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    OwnerOnly,
    /// The permission bits, as in 0644.
    Others(u32),
}

/// Who, by its permission bits, can read or write a file of this mode.
pub fn exposure(mode: u32) -> Exposure {
    match mode & 0o777 {
        bits if bits & 0o077 != 0 => Exposure::Others(bits),
        _ => Exposure::OwnerOnly,
    }
}

/// Reads a secret; the line end that editors and `echo` leave behind is not part of it.
pub fn read_file(path: &Path) -> Result<SecretFile, SecretFileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(SecretFileError::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES_MAX as u64 + 3).read_to_end(&mut bytes)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretFileError::NotText)?;
    let text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
    if text.len() > SECRET_BYTES_MAX {
        return Err(SecretFileError::TooLong);
    }
    let secret = Secret::new(text).ok_or(SecretFileError::Empty)?;
    Ok(SecretFile { secret, exposure: exposure(metadata.permissions().mode()) })
}
