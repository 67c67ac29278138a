//! From what was written to a typed value and back, one implementation per type of field.
//!
//! [`Shape`] says what is allowed, in data: the same value makes the check, the help, the docs and
//! the error text.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::secret::{SECRET_BYTES_MAX, Secret};
use super::words::Word;
use crate::limits::Rate;

/// Most entries of a list.
pub const LIST_ITEMS_MAX: usize = 256;
/// Longest text or path, in bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// Highest part of a rate.
const RATE_MAX: u32 = 10_000_000;

/// A value as it was written, before anyone knows what it should be. No `Debug`: it may be a secret.
#[derive(Clone, PartialEq)]
pub enum Raw {
    /// A variable, a flag, or a string of the file.
    Text(String),
    Number(String),
    Bool(bool),
    List(Vec<String>),
    /// `[[jwt.keys]]`: each table's entries in the order of their names.
    Tables(Vec<Vec<(String, String)>>),
    /// Something that no setting takes: a float, a time, a table.
    Other,
}

/// Why a value was not taken; never repeats the value itself.
pub type Refused = Cow<'static, str>;

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    Count { min: u64, max: u64 },
    Bytes { min: u64, max: u64 },
    Rate,
    Words(fn() -> String),
    Address,
    AddressOrOff,
    Path,
    Text,
    Secret,
    Origins,
    Networks,
    Keys,
}

impl Shape {
    /// What is allowed, for errors and docs.
    pub fn allowed(&self) -> String {
        match self {
            Shape::Count { min, max } => format!("{min} to {max}"),
            Shape::Bytes { min, max } => {
                format!("{} to {}, as bytes or with KiB, MiB, GiB", bytes(*min), bytes(*max))
            }
            Shape::Rate => format!("per_second/burst such as 5/20, each 1 to {RATE_MAX}"),
            Shape::Words(list) => list(),
            Shape::Address => "an IP address and port such as 127.0.0.1:8000 or [::]:8000".into(),
            Shape::AddressOrOff => "an IP address and port such as 127.0.0.1:8001, or off".into(),
            Shape::Path => "a path".into(),
            Shape::Text => "a text".into(),
            Shape::Secret => format!("a text of 32 to {SECRET_BYTES_MAX} bytes"),
            Shape::Origins => {
                "origins such as https://chat.example.org, separated by commas, or *".into()
            }
            Shape::Networks => {
                "networks such as 10.0.0.0/8 or single addresses, separated by commas".into()
            }
            Shape::Keys => "kid=path or kid=path;not_after, separated by commas; in the file also \
                            [[jwt.keys]] tables of kid, secret_file or secret, and not_after"
                .into(),
        }
    }

    /// What help texts put in the value's place.
    pub fn placeholder(&self) -> &'static str {
        match self {
            Shape::Count { .. } => "NUMBER",
            Shape::Bytes { .. } => "BYTES",
            Shape::Rate => "PER_SECOND/BURST",
            Shape::Words(_) => "WORD",
            Shape::Address => "IP:PORT",
            Shape::AddressOrOff => "IP:PORT|off",
            Shape::Path => "PATH",
            Shape::Text | Shape::Secret => "TEXT",
            Shape::Origins => "ORIGIN,…",
            Shape::Networks => "NETWORK,…",
            Shape::Keys => "KID=PATH,…",
        }
    }

    pub fn is_list(&self) -> bool {
        matches!(self, Shape::Origins | Shape::Networks | Shape::Keys)
    }

    /// Values of this shape may hold a secret: they are never shown.
    pub fn is_hidden(&self) -> bool {
        matches!(self, Shape::Secret | Shape::Keys)
    }
}

/// The words of a type, as a list to read.
pub fn words_of<W: Word>() -> String {
    let words: Vec<&str> = W::WORDS.iter().map(|&(word, _)| word).collect();
    words.join(", ")
}

/// A type that a setting can have.
pub trait Field: Sized + PartialEq {
    fn read(raw: &Raw, shape: &Shape) -> Result<Self, Refused>;

    /// As an operator would write it; `None` when it is not set.
    fn show(&self) -> Option<String>;
}

fn text_of(raw: &Raw) -> Result<&str, Refused> {
    let Raw::Text(text) = raw else { return Err("is not a text".into()) };
    match text.trim() {
        "" => Err("is empty".into()),
        trimmed if trimmed.len() > TEXT_BYTES_MAX => Err("is too long".into()),
        trimmed => Ok(trimmed),
    }
}

/// The items of a list, or of a text with commas; empty ones are no items.
pub fn items_of(raw: &Raw) -> Result<Vec<&str>, Refused> {
    let items: Vec<&str> = match raw {
        Raw::Text(text) => text.split(',').collect(),
        Raw::List(list) => list.iter().flat_map(|text| text.split(',')).collect(),
        _ => return Err("is not a list of texts".into()),
    };
    let items: Vec<&str> = items.into_iter().map(str::trim).filter(|i| !i.is_empty()).collect();
    if items.len() > LIST_ITEMS_MAX {
        return Err(format!("has more than {LIST_ITEMS_MAX} items").into());
    }
    Ok(items)
}

fn number_of(raw: &Raw, shape: &Shape) -> Result<u64, Refused> {
    let text = match raw {
        Raw::Number(text) => text.as_str(),
        _ => text_of(raw).map_err(|_| Refused::from("is not a whole number"))?,
    };
    let (value, min, max) = match *shape {
        Shape::Count { min, max } => (text.parse().ok(), min, max),
        Shape::Bytes { min, max } => (parse_bytes(text), min, max),
        _ => unreachable!("number fields have the shape Count or Bytes"),
    };
    match value {
        Some(value) if (min..=max).contains(&value) => Ok(value),
        Some(_) => Err("is out of range".into()),
        None => Err("is not a whole number".into()),
    }
}

const UNITS: [(&str, u64); 4] = [("gib", 1 << 30), ("mib", 1 << 20), ("kib", 1 << 10), ("b", 1)];

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    for (suffix, unit) in UNITS {
        if let Some(number) = text.strip_suffix(suffix) {
            return number.trim_end().parse::<u64>().ok()?.checked_mul(unit);
        }
    }
    text.parse().ok()
}

/// Bytes in the largest unit that divides them.
pub fn bytes(value: u64) -> String {
    const NAMES: [&str; 3] = ["GiB", "MiB", "KiB"];
    for ((_, unit), name) in UNITS.iter().zip(NAMES) {
        if value != 0 && value.is_multiple_of(*unit) {
            return format!("{}{name}", value / unit);
        }
    }
    value.to_string()
}

impl Field for u64 {
    fn read(raw: &Raw, shape: &Shape) -> Result<u64, Refused> {
        number_of(raw, shape)
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Field for u32 {
    fn read(raw: &Raw, shape: &Shape) -> Result<u32, Refused> {
        u32::try_from(number_of(raw, shape)?).map_err(|_| "is out of range".into())
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Field for usize {
    fn read(raw: &Raw, shape: &Shape) -> Result<usize, Refused> {
        usize::try_from(number_of(raw, shape)?).map_err(|_| "is out of range".into())
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Field for Rate {
    fn read(raw: &Raw, _: &Shape) -> Result<Rate, Refused> {
        let part = |text: &str| {
            text.trim().parse::<u32>().ok().filter(|part| (1..=RATE_MAX).contains(part))
        };
        text_of(raw)
            .ok()
            .and_then(|text| text.split_once('/'))
            .and_then(|(rate, burst)| Some(Rate { per_second: part(rate)?, burst: part(burst)? }))
            .ok_or_else(|| "is not a rate".into())
    }

    fn show(&self) -> Option<String> {
        Some(format!("{}/{}", self.per_second, self.burst))
    }
}

impl<W: Word> Field for W {
    fn read(raw: &Raw, _: &Shape) -> Result<W, Refused> {
        let text = match raw {
            // Only `on` and `off` have these; other words then do not match.
            Raw::Bool(true) => "on",
            Raw::Bool(false) => "off",
            _ => text_of(raw)?,
        };
        W::parse(text).ok_or_else(|| "is not one of the words".into())
    }

    fn show(&self) -> Option<String> {
        Some(self.word().to_owned())
    }
}

impl Field for SocketAddr {
    fn read(raw: &Raw, _: &Shape) -> Result<SocketAddr, Refused> {
        let text = text_of(raw)?;
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        }
        text.parse().map_err(|_| "is not an IP address and port (names are not looked up)".into())
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Field for Option<SocketAddr> {
    fn read(raw: &Raw, shape: &Shape) -> Result<Option<SocketAddr>, Refused> {
        match raw {
            Raw::Bool(false) => Ok(None),
            Raw::Text(text) if text.trim() == "off" => Ok(None),
            _ => SocketAddr::read(raw, shape).map(Some),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.map_or_else(|| "off".to_owned(), |address| address.to_string()))
    }
}

impl Field for PathBuf {
    fn read(raw: &Raw, _: &Shape) -> Result<PathBuf, Refused> {
        text_of(raw).map(PathBuf::from)
    }

    fn show(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

impl Field for Option<PathBuf> {
    fn read(raw: &Raw, shape: &Shape) -> Result<Option<PathBuf>, Refused> {
        PathBuf::read(raw, shape).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Field::show)
    }
}

impl Field for String {
    fn read(raw: &Raw, _: &Shape) -> Result<String, Refused> {
        let text = text_of(raw)?;
        if text.chars().any(char::is_control) {
            return Err("has control characters".into());
        }
        Ok(text.to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl Field for Option<String> {
    fn read(raw: &Raw, shape: &Shape) -> Result<Option<String>, Refused> {
        String::read(raw, shape).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.clone()
    }
}

impl Field for Option<Secret> {
    /// Taken as it is, spaces included: it is a key, not a text.
    fn read(raw: &Raw, _: &Shape) -> Result<Option<Secret>, Refused> {
        let Raw::Text(text) = raw else { return Err("is not a text".into()) };
        match Secret::new(text) {
            Some(secret) => Ok(Some(secret)),
            None if text.is_empty() => Err("is empty".into()),
            None => Err("is too long".into()),
        }
    }

    fn show(&self) -> Option<String> {
        self.as_ref().map(|_| "(hidden)".to_owned())
    }
}
