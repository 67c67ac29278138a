//! The keys that tokens are signed with, and which secrets are too weak to be one.
//!
//! A key is the UTF-8 bytes of its secret, like Django's `SECRET_KEY`. The secret itself is not
//! kept, only the two hash states that HMAC needs. All keys have one algorithm, the configured one:
//! what a token's header says can only agree with it.

use std::fmt;

use ring::hmac;

use crate::limits::{KID_BYTES_MAX, SECRET_BYTES_MIN, TOKEN_KEYS_MAX};
use crate::model::Wall;

/// The settings do not make a usable set of keys or rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    #[error("at least one key is needed to check tokens")]
    NoKeys,
    #[error("at most {TOKEN_KEYS_MAX} keys can be in use at once")]
    TooManyKeys,
    #[error("a secret is empty")]
    EmptySecret,
    #[error("a kid is 1 to {KID_BYTES_MAX} of A-Z a-z 0-9 . _ -")]
    InvalidKid,
    #[error("two keys have the same kid")]
    DuplicateKid,
    #[error("all keys must have the same algorithm")]
    MixedAlgorithms,
    #[error("the user claim is empty, or has another meaning in a token")]
    InvalidUserClaim,
    #[error("the leeway is longer than a day")]
    LongLeeway,
}

/// How tokens are signed. Only HMAC: whoever checks tokens shares the secret of whoever issues them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    #[default]
    Hs256,
    Hs384,
    Hs512,
}

impl Algorithm {
    /// As a header's `alg` spells it; case counts (RFC 7515 §4.1.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
        }
    }

    pub fn parse(text: &str) -> Option<Algorithm> {
        [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
    }

    /// Bytes of a signature; also the length that RFC 7518 §3.2 asks of a secret.
    pub fn tag_bytes(self) -> usize {
        self.hmac().digest_algorithm().output_len()
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Algorithm::Hs256 => hmac::HMAC_SHA256,
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
        }
    }
}

/// One secret, with an optional name (`kid`) and an optional end.
#[derive(Clone)]
pub struct Key {
    algorithm: Algorithm,
    hmac: hmac::Key,
    kid: Option<Box<str>>,
    not_after: Option<Wall>,
}

impl Key {
    pub fn new(algorithm: Algorithm, secret: &str) -> Result<Key, SetupError> {
        if secret.is_empty() {
            return Err(SetupError::EmptySecret);
        }
        let hmac = hmac::Key::new(algorithm.hmac(), secret.as_bytes());
        Ok(Key { algorithm, hmac, kid: None, not_after: None })
    }

    /// Tokens whose header has this `kid` are checked with this key alone.
    pub fn named(self, kid: &str) -> Result<Key, SetupError> {
        if !is_kid(kid) {
            return Err(SetupError::InvalidKid);
        }
        Ok(Key { kid: Some(kid.into()), ..self })
    }

    /// The key counts up to this moment and not after it.
    pub fn until(self, not_after: Wall) -> Key {
        Key { not_after: Some(not_after), ..self }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    fn in_force(&self, now: Wall) -> bool {
        self.not_after.is_none_or(|end| now <= end)
    }

    pub(super) fn sign(&self, message: &[u8]) -> hmac::Tag {
        hmac::sign(&self.hmac, message)
    }

    /// Takes the same time wherever the signatures begin to differ.
    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.hmac, message, signature).is_ok()
    }
}

/// Nothing of the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Why no key vouches for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    UnknownKid,
    NotInForce,
    Signature,
}

/// All keys that may verify, one algorithm for all.
#[derive(Debug, Clone)]
pub struct Keys {
    algorithm: Algorithm,
    keys: Box<[Key]>,
}

impl Keys {
    pub fn new(keys: Vec<Key>) -> Result<Keys, SetupError> {
        let Some(first) = keys.first() else {
            return Err(SetupError::NoKeys);
        };
        if keys.len() > TOKEN_KEYS_MAX {
            return Err(SetupError::TooManyKeys);
        }
        let algorithm = first.algorithm;
        if keys.iter().any(|key| key.algorithm != algorithm) {
            return Err(SetupError::MixedAlgorithms);
        }
        for (place, key) in keys.iter().enumerate() {
            if key.kid.is_some() && keys[..place].iter().any(|earlier| earlier.kid == key.kid) {
                return Err(SetupError::DuplicateKid);
            }
        }
        Ok(Keys { algorithm, keys: keys.into() })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The first key in force: what `loquat token` and the demo sign with.
    pub fn signing(&self, now: Wall) -> Option<&Key> {
        self.keys.iter().find(|key| key.in_force(now))
    }

    /// A token that names a key is checked with that one. One that names none is tried with every
    /// key in force, in the configured order: SimpleJWT writes no `kid`, and its tokens must live
    /// through a rotation.
    pub(super) fn check(&self, signed: &Signed<'_>, now: Wall) -> Result<(), Mismatch> {
        let Some(kid) = signed.kid else {
            return self.check_all(signed, now);
        };
        let named = self.keys.iter().find(|key| key.kid() == Some(kid));
        let key = named.ok_or(Mismatch::UnknownKid)?;
        if !key.in_force(now) {
            return Err(Mismatch::NotInForce);
        }
        if key.signed(signed.message, signed.signature) { Ok(()) } else { Err(Mismatch::Signature) }
    }

    fn check_all(&self, signed: &Signed<'_>, now: Wall) -> Result<(), Mismatch> {
        let mut mismatch = Mismatch::NotInForce;
        for key in self.keys.iter().filter(|key| key.in_force(now)) {
            if key.signed(signed.message, signed.signature) {
                return Ok(());
            }
            mismatch = Mismatch::Signature;
        }
        Err(mismatch)
    }
}

/// What a key has to vouch for.
pub(super) struct Signed<'a> {
    pub(super) message: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) kid: Option<&'a str>,
}

/// 1–64 of `A-Z a-z 0-9 . _ -`: nothing that could mean a path, a query or a line break to anybody
/// whom a `kid` is ever shown to.
pub(super) fn is_kid(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !text.is_empty() && text.len() <= KID_BYTES_MAX && text.bytes().all(allowed)
}

/// Secrets that stand in tutorials, templates and on jwt.io.
const KNOWN_SECRETS: [&str; 12] = [
    "secret",
    "changeme",
    "change-me",
    "change_me",
    "password",
    "your-secret-key",
    "your_secret_key",
    "your-256-bit-secret",
    "your-384-bit-secret",
    "your-512-bit-secret",
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
];
/// Fewer different bytes than this is a pattern and no secret (Django's `check --deploy` says so too).
const DISTINCT_BYTES_MIN: usize = 5;

/// Why `serve` should not run with this secret, as a sentence; `None` if it will do.
pub fn weak_secret(secret: &str) -> Option<&'static str> {
    let lower = secret.trim().to_ascii_lowercase();
    if lower.starts_with("django-insecure-") {
        return Some("the secret is Django's generated development key (django-insecure-…)");
    }
    if KNOWN_SECRETS.contains(&lower.as_str()) {
        return Some("the secret is a well-known default that anybody would try first");
    }
    if secret.len() < SECRET_BYTES_MIN {
        return Some("the secret is shorter than 32 bytes, so it can be guessed from one token");
    }
    let mut seen = [false; 256];
    secret.bytes().for_each(|b| seen[usize::from(b)] = true);
    if seen.iter().filter(|&&seen| seen).count() < DISTINCT_BYTES_MIN {
        return Some("the secret repeats fewer than five different characters");
    }
    None
}

/// Not weak, but shorter than the hash: RFC 7518 §3.2 asks for as many bytes as the signature has.
pub fn short_secret(algorithm: Algorithm, secret: &str) -> Option<&'static str> {
    if secret.len() >= algorithm.tag_bytes() {
        return None;
    }
    Some(match algorithm {
        Algorithm::Hs256 => "HS256 wants a secret of at least 32 bytes (RFC 7518)",
        Algorithm::Hs384 => "HS384 wants a secret of at least 48 bytes (RFC 7518)",
        Algorithm::Hs512 => "HS512 wants a secret of at least 64 bytes (RFC 7518)",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "k2J9-vQ0x_7sLm4Wz8Rb1TnYp6Hc3GdE";

    fn key(secret: &str) -> Key {
        Key::new(Algorithm::Hs256, secret).unwrap()
    }

    #[test]
    fn weak_secrets_are_named() {
        let check = |secret: &str, expected: Option<&str>| {
            let found = weak_secret(secret);
            assert_eq!(found.is_some(), expected.is_some(), "{secret}: {found:?}");
            assert!(found.unwrap_or("").contains(expected.unwrap_or("")), "{secret}: {found:?}");
        };
        check("", Some("shorter than 32"));
        check("secret", Some("well-known"));
        check("ChangeMe\n", Some("well-known"));
        check("a-string-secret-at-least-256-bits-long", Some("well-known"));
        check(&"x".repeat(31), Some("shorter than 32"));
        check(&"x".repeat(64), Some("different characters"));
        check(&"abcd".repeat(16), Some("different characters"));
        check(&format!("django-insecure-{SECRET}"), Some("Django"));
        check(SECRET, None);
        check("00112233445566778899aabbccddeeff", None);
        // Bytes count, not characters: this is what the HMAC sees.
        check("éèêëàâäôöûüîïçñÿ", None);
    }

    #[test]
    fn a_secret_shorter_than_the_hash_is_worth_a_word() {
        assert_eq!(short_secret(Algorithm::Hs256, SECRET), None);
        assert!(short_secret(Algorithm::Hs384, SECRET).is_some_and(|s| s.contains("48")));
        assert!(short_secret(Algorithm::Hs512, SECRET).is_some_and(|s| s.contains("64")));
        assert_eq!(short_secret(Algorithm::Hs512, &SECRET.repeat(2)), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn sets_of_keys_that_make_no_sense_are_refused() {
        let check = |keys: Vec<Key>, expected: SetupError| {
            assert_eq!(Keys::new(keys).err(), Some(expected));
        };
        check(vec![], SetupError::NoKeys);
        check(vec![key(SECRET); TOKEN_KEYS_MAX + 1], SetupError::TooManyKeys);
        let twin = key(SECRET).named("a").unwrap();
        check(vec![twin.clone(), key("other"), twin], SetupError::DuplicateKid);
        let other = Key::new(Algorithm::Hs512, SECRET).unwrap();
        check(vec![key(SECRET), other], SetupError::MixedAlgorithms);
        assert_eq!(Key::new(Algorithm::Hs256, "").err(), Some(SetupError::EmptySecret));
        for kid in ["", "../../etc/passwd", "a b", "a/b", "é", "a\n", "a'--", &"k".repeat(65)] {
            assert_eq!(key(SECRET).named(kid).err(), Some(SetupError::InvalidKid), "{kid}");
        }
        assert!(key(SECRET).named(&"k".repeat(64)).is_ok());
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn the_first_key_in_force_signs() {
        let old = key(SECRET).named("old").unwrap().until(Wall(1_000));
        let keys = Keys::new(vec![old, key(SECRET).named("new").unwrap()]).unwrap();
        let kid = |now| keys.signing(Wall(now)).and_then(Key::kid);
        assert_eq!(kid(1_000), Some("old"));
        assert_eq!(kid(1_001), Some("new"));
        let gone = Keys::new(vec![key(SECRET).until(Wall(5))]).unwrap();
        assert!(gone.signing(Wall(6)).is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn nothing_of_a_secret_is_shown() {
        let shown = format!("{:?}", Keys::new(vec![key(SECRET)]).unwrap());
        assert!(!shown.contains(SECRET) && shown.contains("Hs256"), "{shown}");
    }

    #[test]
    fn algorithms_are_spelled_one_way() {
        for name in ["HS256", "HS384", "HS512"] {
            assert_eq!(Algorithm::parse(name).map(Algorithm::as_str), Some(name));
        }
        for name in ["hs256", "none", "RS256", "", "HS1"] {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
    }
}
