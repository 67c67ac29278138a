//! What an operator got wrong: which setting, where it was written, what was written (never a
//! secret) and what is allowed. Mistakes are collected, not thrown: all are told at once.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Longest part of a value that a mistake repeats, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// Where a value was written. Later ones win over earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: Arc<Path>, line: usize },
    Variable(String),
    Flag(String),
}

impl Origin {
    /// Rises with precedence; equal for two values of one source.
    pub fn rank(&self) -> u8 {
        match self {
            Origin::Default => 0,
            Origin::File { .. } => 1,
            Origin::Variable(_) => 2,
            Origin::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{} line {line}", path.display()),
            Origin::Variable(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// In the order in which an operator goes through them: file by line, environment, flags.
pub fn sort(mistakes: &mut [Mistake]) {
    mistakes.sort_by_key(|mistake| match mistake.origin {
        Origin::File { line, .. } => (mistake.origin.rank(), line),
        _ => (mistake.origin.rank(), 0),
    });
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The setting's key, or the unknown name; empty where no single setting is at fault.
    pub key: String,
    pub origin: Origin,
    /// What was written; `None` where that may be a secret.
    pub value: Option<String>,
    pub problem: String,
    pub allowed: Option<String>,
}

impl Mistake {
    pub fn new(key: &str, origin: Origin, problem: impl Into<String>) -> Mistake {
        Mistake { key: key.to_owned(), origin, value: None, problem: problem.into(), allowed: None }
    }

    pub fn with_value(mut self, value: impl Into<String>) -> Mistake {
        self.value = Some(value.into());
        self
    }

    pub fn with_allowed(mut self, allowed: impl Into<String>) -> Mistake {
        self.allowed = Some(allowed.into());
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        match (self.key.as_str(), &self.value) {
            ("", _) => {}
            (key, Some(value)) => write!(f, "{key} = {}: ", shortened(value))?,
            (key, None) => write!(f, "{key}: ")?,
        }
        f.write_str(&self.problem)?;
        match &self.allowed {
            Some(allowed) => write!(f, "; allowed: {allowed}"),
            None => Ok(()),
        }
    }
}

/// Quoted, control characters escaped, cut where it gets long.
fn shortened(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((cut, _)) => format!("{:?}…", &value[..cut]),
        None => format!("{value:?}"),
    }
}

/// The candidate an unknown name was probably meant to be, if one is near enough.
pub fn near_miss<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Distances cost the product of both lengths; nobody mistypes a name this long.
    if name.len() > 100 {
        return None;
    }
    let within = (name.len() / 4).clamp(1, 3);
    candidates
        .map(|candidate| (closeness(name, candidate), candidate))
        .filter(|&(distance, _)| distance <= within)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between the two; a forgotten group (`secret_file` for `jwt.secret_file`) counts as one, and so does a
/// setting that slipped into a group (`shards` below `[jwt]`).
fn closeness(name: &str, candidate: &str) -> usize {
    let last = |name: &str| name.rsplit_once('.').map(|(_, last)| last.to_owned());
    match (last(name), last(candidate)) {
        (_, Some(last)) if last == name => 1,
        (Some(last), None) if last == candidate => 1,
        _ => edits(name.as_bytes(), candidate.as_bytes()),
    }
}

/// Levenshtein's distance, one row at a time.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_right_finds_the_right_one() {
        let check = |name: &str, expected: Option<&str>| {
            let known = ["listen", "jwt.secret_file", "limits.frames", "fsync"];
            assert_eq!(near_miss(name, known.into_iter()), expected, "{name}");
        };
        check("lisen", Some("listen"));
        check("secret_file", Some("jwt.secret_file"));
        check("jwt.secretfile", Some("jwt.secret_file"));
        check("limit.frames", Some("limits.frames"));
        check("fsnc", Some("fsync"));
        check("colour", None);
        check(&"x".repeat(10_000), None);
    }

    #[test]
    fn a_mistake_reads_as_a_sentence() {
        let path: Arc<Path> = Path::new("loquat.toml").into();
        let mistake = Mistake::new("shards", Origin::File { path, line: 3 }, "out of range")
            .with_value("300\n")
            .with_allowed("1 to 256");
        let expected = r#"loquat.toml line 3: shards = "300\n": out of range; allowed: 1 to 256"#;
        assert_eq!(mistake.to_string(), expected);
    }
}
