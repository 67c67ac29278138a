//! The keys that tokens are verified with: how they are listed, and where their secrets come from.
//!
//! In a variable or a flag: `kid=path,kid=path;not_after`. In the file also tables:
//! `[[jwt.keys]]` with `kid`, `secret_file` or `secret`, and `not_after`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use toml::value::{Datetime, Offset};

use super::field::{Field, LIST_ITEMS_MAX, Raw, Refused, Shape, items_of};
use super::secret::Secret;
use crate::limits::KID_BYTES_MAX;

/// A key as it is used: with its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtKey {
    /// `None`: for tokens without a `kid`.
    pub kid: Option<String>,
    pub secret: Secret,
    /// Seconds since the Unix epoch; after it the key verifies nothing.
    pub not_after_s: Option<u64>,
}

/// A key as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    pub kid: String,
    pub source: KeySource,
    pub not_after_s: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    File(PathBuf),
    Inline(Secret),
}

impl Field for Vec<ListedKey> {
    fn read(raw: &Raw, _: &Shape) -> Result<Vec<ListedKey>, Refused> {
        let read: Vec<Result<ListedKey, &'static str>> = match raw {
            Raw::Tables(tables) if tables.len() <= LIST_ITEMS_MAX => {
                tables.iter().map(|table| from_table(table)).collect()
            }
            Raw::Tables(_) => return Err("has too many keys".into()),
            _ => items_of(raw)?.into_iter().map(from_text).collect(),
        };
        let problems: Vec<String> = read
            .iter()
            .enumerate()
            .filter_map(|(n, key)| key.as_ref().err().map(|why| format!("key {}: {why}", n + 1)))
            .collect();
        if !problems.is_empty() {
            return Err(problems.join(", ").into());
        }
        let keys: Vec<ListedKey> = read.into_iter().flatten().collect();
        let distinct: BTreeSet<&str> = keys.iter().map(|key| key.kid.as_str()).collect();
        match distinct.len() == keys.len() {
            true => Ok(keys),
            false => Err("names one kid twice".into()),
        }
    }

    fn show(&self) -> Option<String> {
        let shown = |key: &ListedKey| {
            let source = match &key.source {
                KeySource::File(path) => path.display().to_string(),
                KeySource::Inline(_) => "(hidden)".to_owned(),
            };
            let until = key.not_after_s.map_or(String::new(), |seconds| format!(";{seconds}"));
            format!("{}={source}{until}", key.kid)
        };
        let keys: Vec<String> = self.iter().map(shown).collect();
        (!keys.is_empty()).then(|| keys.join(","))
    }
}

fn from_text(item: &str) -> Result<ListedKey, &'static str> {
    let (kid, rest) = item.split_once('=').ok_or("is not kid=path")?;
    let (path, not_after) = match rest.rsplit_once(';') {
        Some((path, date)) => (path, Some(date)),
        None => (rest, None),
    };
    if path.trim().is_empty() {
        return Err("has no path");
    }
    Ok(ListedKey {
        kid: valid_kid(kid.trim())?,
        source: KeySource::File(PathBuf::from(path.trim())),
        not_after_s: not_after.map(parse_time).transpose()?,
    })
}

fn from_table(table: &[(String, String)]) -> Result<ListedKey, &'static str> {
    if table.iter().any(|(name, _)| !FIELDS.contains(&name.as_str())) {
        return Err("takes only kid, secret_file, secret and not_after, as texts");
    }
    let get = |wanted: &str| table.iter().find(|(name, _)| name == wanted).map(|(_, v)| v.as_str());
    let source = match (get("secret_file"), get("secret")) {
        (Some(path), None) if !path.is_empty() => KeySource::File(PathBuf::from(path)),
        (None, Some(text)) => {
            KeySource::Inline(Secret::new(text).ok_or("has an empty or too long secret")?)
        }
        (Some(_), Some(_)) => return Err("has both secret and secret_file"),
        _ => return Err("has neither secret_file nor secret"),
    };
    Ok(ListedKey {
        kid: valid_kid(get("kid").ok_or("has no kid")?)?,
        source,
        not_after_s: get("not_after").map(parse_time).transpose()?,
    })
}

const FIELDS: [&str; 4] = ["kid", "secret_file", "secret", "not_after"];

fn valid_kid(kid: &str) -> Result<String, &'static str> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match !kid.is_empty() && kid.len() <= KID_BYTES_MAX && kid.bytes().all(ok) {
        true => Ok(kid.to_owned()),
        false => Err("kid is not 1 to 64 of A-Z a-z 0-9 . _ -"),
    }
}

/// Seconds since the Unix epoch, from that number, a date (its midnight, UTC) or an RFC 3339 time.
fn parse_time(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "not_after is not a date such as 2030-01-31 or 2030-01-31T12:00:00Z";
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let parsed = Datetime::from_str(text).map_err(|_| WRONG)?;
    let date = parsed.date.ok_or(WRONG)?;
    let days = days_from_epoch(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let seconds = match (parsed.time, parsed.offset) {
        (None, None) => 0,
        (Some(time), Some(offset)) => {
            let minutes = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => i64::from(minutes),
            };
            let of_day = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60;
            of_day + i64::from(time.second.unwrap_or(0)) - minutes * 60
        }
        // A time without its offset names no instant.
        _ => return Err(WRONG),
    };
    u64::try_from(days * 86_400 + seconds).map_err(|_| WRONG)
}

/// Days since 1970-01-01 in the Gregorian calendar: years begin in March, so that the leap day is
/// the last of its year.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before_year = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let before_month = (153 * month + 2) / 5;
    before_year + before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_seconds() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse_time(text).ok(), expected, "{text}");
        };
        check("1970-01-01", Some(0));
        check("2000-03-01", Some(951_868_800));
        check("2024-02-29T12:00:00Z", Some(1_709_208_000));
        check("2030-01-31T12:00:00+02:00", Some(1_896_084_000));
        check("1893456000", Some(1_893_456_000));
        check("2030-01-31T12:00:00", None);
        check("12:00:00", None);
        check("1969-12-31", None);
        check("2023-02-29", None);
        check("soon", None);
    }

    #[test]
    fn keys_are_read_from_a_line() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let keys = Vec::<ListedKey>::read(&Raw::Text(text.to_owned()), &Shape::Keys);
            let shown = keys.map(|keys| keys.show().unwrap_or_default());
            assert_eq!(shown.as_deref().map_err(|why| why.as_ref()), expected, "{text}");
        };
        check("a=/run/a, b=/run/b;2030-01-01", Ok("a=/run/a,b=/run/b;1893456000"));
        check("", Ok(""));
        check("a=/run/a,a=/run/b", Err("names one kid twice"));
        check("a,b=", Err("key 1: is not kid=path, key 2: has no path"));
        check("ä=/run/a", Err("key 1: kid is not 1 to 64 of A-Z a-z 0-9 . _ -"));
    }
}
