//! Where settings come from, and what each source says: defaults < file < environment < flags.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::field::Raw;
use super::file;
use super::mistake::{Mistake, Origin, near_miss};
use super::table::{self, Entry, entries};

/// Every variable with this prefix is ours: one that no setting has is a mistake.
pub const PREFIX: &str = "LOQUAT_";
/// Names the settings file, as `--config` does.
pub const CONFIG_VARIABLE: &str = "LOQUAT_CONFIG";
/// Variables with our prefix that are no settings: the second is for the test suite.
const OTHER_VARIABLES: [&str; 2] = [CONFIG_VARIABLE, "LOQUAT_BLESS"];

/// What settings are made from; kept by a server, so that SIGHUP can read all of it again.
#[derive(Clone, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    pub environment: Vec<(OsString, OsString)>,
    pub flags: Vec<Flag>,
}

/// One flag of the command line, by its setting's key.
#[derive(Clone)]
pub struct Flag {
    pub key: &'static str,
    /// More than one only for lists.
    pub values: Vec<String>,
}

impl fmt::Debug for Sources {
    /// Names only: values may be secrets, even where they should not be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        let flags: Vec<_> = self.flags.iter().map(|flag| flag.key).collect();
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("variables", &variables)
            .field("flags", &flags)
            .finish()
    }
}

impl Sources {
    /// The process's own `LOQUAT_*` variables, and the file that one of them may name.
    pub fn from_environment() -> Sources {
        let ours = |name: &OsString| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
        let environment: Vec<_> = std::env::vars_os().filter(|(name, _)| ours(name)).collect();
        let file = environment
            .iter()
            .find(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value));
        Sources { file, environment, flags: Vec::new() }
    }
}

/// One value of one source.
pub(super) struct Given {
    pub entry: &'static Entry,
    pub raw: Raw,
    pub origin: Origin,
}

/// All that the sources say, lowest precedence first, and what could not be understood.
#[derive(Default)]
pub(super) struct Gathered {
    pub given: Vec<Given>,
    pub mistakes: Vec<Mistake>,
    pub warnings: Vec<String>,
}

pub(super) fn gather(sources: &Sources) -> Gathered {
    let mut gathered = Gathered::default();
    if let Some(path) = &sources.file {
        file::read(path, &mut gathered);
    }
    let mut environment = sources.environment.clone();
    environment.sort();
    for (name, value) in &environment {
        gather_variable(name, value, &mut gathered);
    }
    for flag in &sources.flags {
        gather_flag(flag, &mut gathered);
    }
    gathered
}

fn gather_variable(name: &OsString, value: &OsString, gathered: &mut Gathered) {
    let shown = name.to_string_lossy().into_owned();
    let origin = Origin::Variable(shown.clone());
    if OTHER_VARIABLES.contains(&shown.as_str()) {
        return;
    }
    let Some(entry) = table::by_variable(&shown) else {
        let known: Vec<String> = entries().map(Entry::variable).collect();
        let near = near_miss(&shown, known.iter().map(String::as_str));
        gathered.mistakes.push(Mistake::new("", origin, unknown("variable", near)));
        return;
    };
    match value.to_str() {
        Some(text) => {
            gathered.given.push(Given { entry, raw: Raw::Text(text.to_owned()), origin });
        }
        None => gathered.mistakes.push(
            Mistake::new(entry.key, origin, "is not UTF-8").with_allowed(entry.shape.allowed()),
        ),
    }
}

fn gather_flag(flag: &Flag, gathered: &mut Gathered) {
    let Some(entry) = table::by_key(flag.key) else {
        unreachable!("flags are made from the table");
    };
    let origin = Origin::Flag(format!("--{}", entry.flag()));
    if matches!(entry.shape, super::field::Shape::Secret) {
        let why = "is not taken as a flag, because everyone on the machine can read command lines";
        let instead = format!("the variable {}, or {}_file", entry.variable(), entry.key);
        gathered.mistakes.push(Mistake::new(entry.key, origin, why).with_allowed(instead));
        return;
    }
    let raw = match flag.values.as_slice() {
        [value] => Raw::Text(value.clone()),
        values => Raw::List(values.to_vec()),
    };
    gathered.given.push(Given { entry, raw, origin });
}

/// The sentence for a name that no setting has.
pub(super) fn unknown(what: &str, near: Option<&str>) -> String {
    match near {
        Some(near) => format!("is no {what} of loquat; did you mean {near}?"),
        None => format!("is no {what} of loquat"),
    }
}
