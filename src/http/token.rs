//! The admin API's token: read from a file once, kept only as an HMAC under a key of this process,
//! and compared in constant time. It has no `Debug` and is in no error text.

use std::io;
use std::path::Path;

use ring::{hmac, rand::SystemRandom};

use crate::limits::SECRET_BYTES_MIN;

/// More than any sensible token, less than a file that was named by mistake.
const TOKEN_FILE_BYTES_MAX: u64 = 4 * 1024;

pub struct AdminToken {
    key: hmac::Key,
    tag: hmac::Tag,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the admin token file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the admin token has fewer than {SECRET_BYTES_MIN} bytes")]
    TooShort,
    #[error("the admin token file has more than {TOKEN_FILE_BYTES_MAX} bytes")]
    TooLong,
    #[error("the admin token may only have printable ASCII characters without spaces")]
    NotPrintable,
    #[error("the system gave no random bytes")]
    NoRandomness,
}

impl AdminToken {
    /// The file's text without white space around it.
    pub fn read(path: &Path) -> Result<AdminToken, TokenError> {
        use std::io::Read;
        let mut text = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(TOKEN_FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > TOKEN_FILE_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        AdminToken::new(text.trim_ascii())
    }

    pub fn new(token: &[u8]) -> Result<AdminToken, TokenError> {
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::NotPrintable);
        }
        if token.len() < SECRET_BYTES_MIN {
            return Err(TokenError::TooShort);
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| TokenError::NoRandomness)?;
        let tag = hmac::sign(&key, token);
        Ok(AdminToken { key, tag })
    }

    /// Takes as long for a wrong token as for the right one.
    pub fn matches(&self, presented: &[u8]) -> bool {
        hmac::verify(&self.key, presented, self.tag.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_matches() {
        let token = AdminToken::new(&[b'k'; 32]).unwrap_or_else(|error| panic!("{error}"));
        assert!(token.matches(&[b'k'; 32]));
        for wrong in [&[b'k'; 31][..], &[b'k'; 33], &[b'K'; 32], b""] {
            assert!(!token.matches(wrong));
        }
    }

    #[test]
    fn a_token_file_is_trimmed_and_checked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let check = |text: &[u8], expected: Option<&str>| {
            std::fs::write(&path, text).unwrap();
            let found = AdminToken::read(&path).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), expected);
        };
        let good = [b'x'; 32];
        check(&good, None);
        check(&[b"  ", &good[..], b"\r\n"].concat(), None);
        check(&good[1..], Some("the admin token has fewer than 32 bytes"));
        check(&[b'x'; 5000], Some("the admin token file has more than 4096 bytes"));
        let spaced = [&good[..], b" ", &good].concat();
        check(
            &spaced,
            Some("the admin token may only have printable ASCII characters without spaces"),
        );
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(AdminToken::read(&path), Err(TokenError::Unreadable(_))));
    }
}
