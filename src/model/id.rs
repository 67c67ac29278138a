//! Names of things: conversations, users, messages, places in the log.
//!
//! An id that reads as `0` or `[1-9][0-9]*` below 2^53 is a number everywhere (frames, hashing,
//! comparing), so `1` and `"1"` are one user. Other all-digit ids are refused; the rest is text.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::limits::{ID_BYTES_MAX, SAFE_INTEGER_MAX};

/// The text is not an id: too long, empty, a character that is not allowed, or a number that a
/// JavaScript client could not hold exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Id {
    Number(u64),
    Text(Arc<str>),
}

impl Id {
    fn parse(text: &str, allowed: fn(u8) -> bool) -> Result<Id, InvalidId> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > ID_BYTES_MAX || !bytes.iter().all(|&b| allowed(b)) {
            return Err(InvalidId);
        }
        if !bytes.iter().all(u8::is_ascii_digit) {
            return Ok(Id::Text(text.into()));
        }
        if bytes.len() > 1 && bytes[0] == b'0' {
            return Err(InvalidId);
        }
        text.parse()
            .ok()
            .filter(|&number| number <= SAFE_INTEGER_MAX)
            .map(Id::Number)
            .ok_or(InvalidId)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(number) => number.fmt(f),
            Id::Text(text) => text.fmt(f),
        }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Id::Number(number) => serializer.serialize_u64(*number),
            Id::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// How an id looks to code that encodes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdRef<'a> {
    Number(u64),
    Text(&'a str),
}

macro_rules! named_id {
    ($(#[$doc:meta])* $name:ident, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Id);

        impl $name {
            /// Reads an id as it stands in a path, a claim or a record.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                Id::parse(text, $allowed).map(Self)
            }

            /// A numeric id; refused from 2^53 on.
            pub fn from_number(number: u64) -> Result<Self, InvalidId> {
                if number > SAFE_INTEGER_MAX {
                    return Err(InvalidId);
                }
                Ok(Self(Id::Number(number)))
            }

            pub fn as_ref(&self) -> IdRef<'_> {
                match &self.0 {
                    Id::Number(number) => IdRef::Number(*number),
                    Id::Text(text) => IdRef::Text(text),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

named_id!(
    /// 1–64 of `A-Z a-z 0-9 _ -`.
    ConversationId,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')
);
named_id!(
    /// 1–64 of `A-Z a-z 0-9 _ . @ + -`.
    UserId,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'@' | b'+' | b'-')
);

impl UserId {
    const SYSTEM: &str = "system";

    /// Who speaks for the operator; no token is good for it.
    pub fn system() -> UserId {
        UserId(Id::Text(UserId::SYSTEM.into()))
    }

    pub fn is_system(&self) -> bool {
        self.as_ref() == IdRef::Text(UserId::SYSTEM)
    }
}

/// Unique in the server, increasing within a conversation, below 2^53, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct MessageId(pub u64);

/// Place of an event in its conversation: 1, 2, 3 … without holes. 0 stands for "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// Names one life of the log; written as eight hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// One socket, wherever it lives: the core that holds it, its slot there, and how often that slot
/// was used before, so that a late answer never reaches the slot's next tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    pub core: u16,
    pub slot: u32,
    pub generation: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_told_apart() {
        let check = |text: &str, expected: Option<IdRef>| {
            assert_eq!(UserId::parse(text).ok().as_ref().map(UserId::as_ref), expected, "{text}");
        };
        check("0", Some(IdRef::Number(0)));
        check("1", Some(IdRef::Number(1)));
        check("9007199254740991", Some(IdRef::Number(9_007_199_254_740_991)));
        check("9007199254740992", None);
        check("01", None);
        check("00", None);
        check("99999999999999999999999", None);
        check("", None);
        check("a", Some(IdRef::Text("a")));
        check("1a", Some(IdRef::Text("1a")));
        check("ann.lee+1@x-y_z", Some(IdRef::Text("ann.lee+1@x-y_z")));
        check("a b", None);
        check("é", None);
        check(&"a".repeat(64), Some(IdRef::Text(&"a".repeat(64))));
        check(&"a".repeat(65), None);
        assert!(ConversationId::parse("a.b").is_err());
    }
}
