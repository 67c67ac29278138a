//! Who is it? A token's text and the time go in, an [`Identity`] comes out.
//!
//! Pure: no clock, no I/O, no lookup driven by what a token says. Order matters: sizes, then the
//! header (only to pick one of the configured keys), then the signature, and only then is anything
//! of the payload read. Nothing here holds or returns a token's text beyond the identity itself,
//! so that neither a log nor an error can show it.
//!
//! Read [`jwt`] for the form, [`keys`] for who signed, [`claims`] for what it says; `object` is the
//! strict JSON under both; [`issue`] makes tokens. What is refused beyond the standard, and why,
//! is in `docs/tokens.md`.

pub mod claims;
pub mod issue;
pub mod jwt;
pub mod keys;
mod object;

pub use claims::Rules;
pub use issue::{IssueError, NewToken, issue};
pub use keys::{Algorithm, Key, Keys, SetupError, short_secret, weak_secret};

use std::fmt;

use crate::limits::TOKEN_BYTES_MAX;
use crate::model::{CloseReason, Identity, Wall};

/// Checks tokens against one set of keys and rules. A reload makes a new one.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: Keys,
    rules: Rules,
}

impl Verifier {
    pub fn new(keys: Keys, rules: Rules) -> Result<Verifier, SetupError> {
        rules.check()?;
        Ok(Verifier { keys, rules })
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whose token this is, if it is one and `now` lies within its time.
    pub fn verify(&self, token: &str, now: Wall) -> Result<Identity, TokenError> {
        let mut payload = [0; TOKEN_BYTES_MAX / 4 * 3];
        let payload = jwt::open(token, &self.keys, now, &mut payload)?;
        claims::read(payload, &self.rules, now)
    }
}

/// The token does not open the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not valid: {0}")]
    Invalid(Why),
    /// All is well with it but its time: a fresh one would do.
    #[error("the token has expired")]
    Expired,
}

impl TokenError {
    pub fn close_reason(self) -> CloseReason {
        match self {
            TokenError::Invalid(_) => CloseReason::TokenInvalid,
            TokenError::Expired => CloseReason::TokenExpired,
        }
    }
}

impl From<Why> for TokenError {
    fn from(why: Why) -> TokenError {
        TokenError::Invalid(why)
    }
}

macro_rules! whys {
    ($($(#[$doc:meta])* $name:ident = $slug:literal,)*) => {
        /// What is wrong with a token, for a debug log and a counter. Peers are never told.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Why {
            $($(#[$doc])* $name,)*
        }

        impl Why {
            /// In the order of their discriminants: `ALL[why as usize] == why`.
            pub const ALL: &[Why] = &[$(Why::$name),*];

            /// The label of its counter.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Why::$name => $slug,)*
                }
            }
        }
    };
}

whys! {
    /// Longer than any token we take.
    TooLong = "too_long",
    /// Not three parts, or a part is empty.
    Parts = "parts",
    /// Not base64url without padding, in the one spelling that its bytes have.
    Base64 = "base64",
    /// Not one JSON object, not UTF-8, or a number that is none.
    Json = "json",
    /// The same name twice in one object.
    DuplicateName = "duplicate_name",
    TooManyMembers = "too_many_members",
    TooDeep = "too_deep",
    /// `alg` is missing or is not the configured one.
    Algorithm = "algorithm",
    /// `alg` is `none`: somebody tries.
    AlgorithmNone = "algorithm_none",
    /// The header demands an extension (RFC 7515 §4.1.11); we know none.
    Critical = "crit",
    /// `typ` is there and is not `JWT`.
    Type = "typ",
    /// `kid` is not 1–64 of the allowed characters.
    Kid = "kid",
    /// No configured key has this `kid`.
    UnknownKid = "unknown_kid",
    /// The key has passed its `not_after`, or none is left in force.
    KeyNotInForce = "key_not_in_force",
    /// Signed by nobody whom we know, or changed since.
    Signature = "signature",
    /// `exp` is missing or no time.
    Expiry = "exp",
    /// `nbf` is no time.
    NotBefore = "nbf",
    /// `nbf` is still to come.
    NotYet = "not_yet",
    /// `iat` is no time.
    IssuedAt = "iat",
    /// `iat` is still to come: a clock is wrong.
    IssuedLater = "issued_later",
    /// `jti` is missing or not a text.
    TokenId = "jti",
    /// `token_type` is missing or is not `access`: a refresh token, most likely.
    TokenType = "token_type",
    /// The user claim is missing or not an id.
    User = "user",
    Audience = "aud",
    Issuer = "iss",
    Email = "email",
    FirstName = "first_name",
    LastName = "last_name",
    Role = "role",
    Conversations = "conversations",
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place_and_its_own_slug() {
        for (place, why) in Why::ALL.iter().enumerate() {
            assert_eq!(*why as usize, place);
            let same = Why::ALL.iter().filter(|other| other.as_str() == why.as_str()).count();
            assert_eq!(same, 1, "{why}");
        }
    }

    #[test]
    fn clients_are_told_invalid_or_expired_and_no_more() {
        assert_eq!(TokenError::Expired.close_reason(), CloseReason::TokenExpired);
        for why in Why::ALL {
            assert_eq!(TokenError::from(*why).close_reason(), CloseReason::TokenInvalid);
        }
        assert_eq!(TokenError::from(Why::Kid).to_string(), "the token is not valid: kid");
    }
}
