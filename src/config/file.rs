//! The settings file: TOML, read with line numbers so that a mistake can be pointed at.
//!
//! It does not print what stands in the file: the TOML library's own error texts quote the line,
//! and the line may be the one with the secret.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeInteger, DeTable, DeValue};

use super::field::{Raw, Shape};
use super::mistake::{Mistake, Origin, near_miss};
use super::secret::{self, Exposure};
use super::sources::{Gathered, Given, unknown};
use super::table::{self, entries, is_table};

/// Longest settings file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Longest part of an unknown name that is shown, in characters.
const NAME_CHARS_MAX: usize = 80;
/// Deepest table: our own keys have two parts.
const DEPTH_MAX: usize = 8;

pub(super) fn read(path: &Path, gathered: &mut Gathered) {
    let (text, mode) = match open(path) {
        Ok(opened) => opened,
        Err(why) => {
            let origin = Origin::Flag("--config".to_owned());
            let problem = format!("{} {why}", path.display());
            gathered.mistakes.push(Mistake::new("", origin, problem));
            return;
        }
    };
    let mut walk = Walk { path: path.into(), text: &text, found: Vec::new() };
    let (table, errors) = DeTable::parse_recoverable(&text);
    walk.table("", table.get_ref(), 0);
    let broken: Vec<usize> =
        errors.iter().map(|error| error.span().map_or(1, |span| walk.line(span.start))).collect();
    // What the parser made of a broken line means nothing.
    walk.found.retain(|(line, _)| !broken.contains(line));
    for (error, line) in errors.iter().zip(broken) {
        let problem = format!("is not TOML: {}", first_line(error.message()));
        walk.found.push((line, Err(Mistake::new("", walk.origin(line), problem))));
    }
    walk.found.sort_by_key(|(line, _)| *line);
    for (_, what) in walk.found {
        match what {
            Ok(given) => gathered.given.push(given),
            Err(mistake) => gathered.mistakes.push(mistake),
        }
    }
    if let (true, Exposure::Others(bits)) =
        (gathered.given.iter().any(holds_secret), secret::exposure(mode))
    {
        gathered.warnings.push(super::exposed(path, bits));
    }
}

fn open(path: &Path) -> Result<(String, u32), String> {
    let read = || -> std::io::Result<(Vec<u8>, u32)> {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok((bytes, mode))
    };
    let (bytes, mode) = read().map_err(|why| format!("cannot be read: {why}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is longer than {FILE_BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    Ok((text, mode))
}

/// The file is read first, so what was given so far stands in it.
fn holds_secret(given: &Given) -> bool {
    match &given.raw {
        Raw::Tables(tables) => tables.iter().flatten().any(|(name, _)| name == "secret"),
        _ => matches!(given.entry.shape, Shape::Secret),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

struct Walk<'a> {
    path: Arc<Path>,
    text: &'a str,
    found: Vec<(usize, Result<Given, Mistake>)>,
}

impl Walk<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        1 + memchr::memchr_iter(b'\n', before).count()
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::File { path: self.path.clone(), line }
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>, depth: usize) {
        for (name, value) in table {
            let key = match prefix {
                "" => name.get_ref().to_string(),
                _ => format!("{prefix}.{}", name.get_ref()),
            };
            let line = self.line(name.span().start);
            self.value(key, value.get_ref(), Place { line, depth });
        }
    }

    fn value(&mut self, key: String, value: &DeValue<'_>, place: Place) {
        let line = place.line;
        if let Some(entry) = table::by_key(&key) {
            let given = Given { entry, raw: raw(value), origin: self.origin(line) };
            self.found.push((line, Ok(given)));
            return;
        }
        match value {
            DeValue::Table(inner) if !inner.is_empty() && place.depth < DEPTH_MAX => {
                self.table(&key, inner, place.depth + 1);
            }
            DeValue::Table(inner) if inner.is_empty() && is_table(&key) => {}
            _ => self.unknown(&key, line),
        }
    }

    fn unknown(&mut self, key: &str, line: usize) {
        let problem = match is_table(key) {
            true => format!("is a group of settings: write [{key}] and its settings below"),
            false => unknown("setting", near_miss(key, entries().map(|entry| entry.key))),
        };
        // An unknown name may be a misspelt secret's, and part of what stands in the file: the
        // name is shown, the value is not.
        let shown: String = key.escape_debug().take(NAME_CHARS_MAX).collect();
        self.found.push((line, Err(Mistake::new(&shown, self.origin(line), problem))));
    }
}

#[derive(Clone, Copy)]
struct Place {
    line: usize,
    depth: usize,
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => integer(number).map_or(Raw::Other, Raw::Number),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|i| scalar(i.get_ref())).collect();
            let tables: Option<Vec<_>> = items.iter().map(|i| flat_table(i.get_ref())).collect();
            match (texts, tables) {
                (Some(texts), _) => Raw::List(texts),
                (None, Some(tables)) => Raw::Tables(tables),
                (None, None) => Raw::Other,
            }
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => Raw::Other,
    }
}

fn integer(number: &DeInteger<'_>) -> Option<String> {
    i128::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    }
}

/// A table of texts; what is no text comes under a name that no reader accepts.
fn flat_table(value: &DeValue<'_>) -> Option<Vec<(String, String)>> {
    let DeValue::Table(table) = value else { return None };
    let field = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        match value.get_ref() {
            DeValue::String(text) => (name.to_string(), text.to_string()),
            DeValue::Datetime(time) => (name.to_string(), time.to_string()),
            DeValue::Integer(n) if name == "not_after" => {
                (name.to_string(), integer(n).unwrap_or_default())
            }
            _ => (format!("{name} (not a text)"), String::new()),
        }
    };
    Some(table.iter().map(field).collect())
}
