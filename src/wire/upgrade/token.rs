//! A token on its way from the request to whoever checks it. It must not be shown on that way.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::limits::TOKEN_BYTES_MAX;

/// A token's text, at most `TOKEN_BYTES_MAX` bytes. Its `Debug` tells only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(String);

impl TokenText {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenText({} bytes)", self.0.len())
    }
}

/// What the request has for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenField {
    /// Close with `token_missing`.
    Missing,
    /// Too long, or no text: close with `token_invalid`.
    Unreadable,
    Text(TokenText),
}

impl TokenField {
    pub(super) fn new(text: &str) -> TokenField {
        match text.len() {
            0 => TokenField::Missing,
            1..=TOKEN_BYTES_MAX => TokenField::Text(TokenText(text.to_owned())),
            _ => TokenField::Unreadable,
        }
    }

    pub(super) fn from_percent_encoded(text: &str) -> TokenField {
        // A JWT has nothing to encode, and this looks at many bytes at a time.
        if memchr::memchr(b'%', text.as_bytes()).is_none() {
            return TokenField::new(text);
        }
        percent_decode_str(text)
            .decode_utf8()
            .map_or(TokenField::Unreadable, |text| TokenField::new(&text))
    }

    /// The first that is there counts.
    pub(super) fn or(self, other: impl FnOnce() -> TokenField) -> TokenField {
        match self {
            TokenField::Missing => other(),
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_bounded_and_not_shown() {
        let check = |encoded: &str, expected: &str| {
            assert_eq!(format!("{:?}", TokenField::from_percent_encoded(encoded)), expected);
        };
        check("", "Missing");
        check("abc", "Text(TokenText(3 bytes))");
        check("a%2Ec", "Text(TokenText(3 bytes))");
        check("%ff", "Unreadable");
        check(&"x".repeat(4096), "Text(TokenText(4096 bytes))");
        check(&"x".repeat(4097), "Unreadable");
        assert_eq!(TokenField::from_percent_encoded("a%2Ec%"), TokenField::new("a.c%"));
    }
}
