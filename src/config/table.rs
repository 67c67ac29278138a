//! The table of settings: what one entry knows, and how to find one.
//!
//! The three outer forms of a key follow from it by rule: `jwt.secret_file` in the file,
//! `LOQUAT_JWT_SECRET_FILE` in the environment, `--jwt-secret-file` on the command line.

use super::entries::ENTRIES;
use super::field::{Raw, Refused, Shape};
use super::limit_entries::LIMIT_ENTRIES;
use super::settings::Settings;

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// On SIGHUP.
    Reload,
    /// At the next start.
    Restart,
}

/// Headings of help and docs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Server,
    Tokens,
    Storage,
    Behaviour,
    Limits,
}

impl Group {
    pub const ALL: [Group; 5] =
        [Group::Server, Group::Tokens, Group::Storage, Group::Behaviour, Group::Limits];

    pub fn title(self) -> &'static str {
        match self {
            Group::Server => "Server",
            Group::Tokens => "Tokens and access",
            Group::Storage => "Storage",
            Group::Behaviour => "Behaviour",
            Group::Limits => "Limits",
        }
    }
}

pub struct Entry {
    pub key: &'static str,
    pub group: Group,
    pub shape: Shape,
    pub applies: Applies,
    /// One sentence, without the full stop.
    pub about: &'static str,
    /// Said instead of the default's value where that depends on the machine.
    pub default_is: Option<&'static str>,
    pub(super) set: fn(&mut Settings, &Raw, &Shape) -> Result<(), Refused>,
    pub(super) show: fn(&Settings) -> Option<String>,
    pub(super) same: fn(&Settings, &Settings) -> bool,
}

impl Entry {
    pub(super) fn set(&self, settings: &mut Settings, raw: &Raw) -> Result<(), Refused> {
        (self.set)(settings, raw, &self.shape)
    }

    pub fn same(&self, a: &Settings, b: &Settings) -> bool {
        (self.same)(a, b)
    }

    pub fn variable(&self) -> String {
        format!("LOQUAT_{}", self.key.to_ascii_uppercase().replace('.', "_"))
    }

    /// Without the two dashes.
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// The value in `settings` as an operator would write it, secrets hidden.
    pub fn text(&self, settings: &Settings) -> Option<String> {
        let shown = (self.show)(settings)?;
        match self.shape {
            Shape::Bytes { .. } => Some(shown.parse().map_or(shown, super::field::bytes)),
            _ => Some(shown),
        }
    }

    pub fn default_text(&self) -> String {
        match (self.default_is, self.text(&Settings::default())) {
            (Some(text), _) => text.to_owned(),
            (None, Some(value)) if !value.is_empty() => value,
            _ => "none".to_owned(),
        }
    }
}

pub fn entries() -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().chain(&LIMIT_ENTRIES)
}

pub fn by_key(key: &str) -> Option<&'static Entry> {
    entries().find(|entry| entry.key == key)
}

pub fn by_variable(name: &str) -> Option<&'static Entry> {
    entries().find(|entry| entry.variable() == name)
}

/// Is this the first part of a dotted key (`jwt` of `jwt.secret_file`)?
pub fn is_table(name: &str) -> bool {
    entries().any(|entry| entry.key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// One entry; the field's type brings the functions.
macro_rules! entry {
    ($group:ident, $applies:ident, $key:literal, $($field:ident).+, $shape:expr, $about:literal) => {
        Entry {
            key: $key,
            group: $crate::config::table::Group::$group,
            shape: $shape,
            applies: $crate::config::table::Applies::$applies,
            about: $about,
            default_is: None,
            set: |settings, raw, shape| {
                settings.$($field).+ = $crate::config::field::Field::read(raw, shape)?;
                Ok(())
            },
            show: |settings| $crate::config::field::Field::show(&settings.$($field).+),
            same: |a, b| a.$($field).+ == b.$($field).+,
        }
    };
}
pub(super) use entry;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_settings_share_a_name() {
        let count = entries().count();
        let distinct = |names: Vec<String>| names.into_iter().collect::<BTreeSet<_>>().len();
        assert_eq!(distinct(entries().map(|e| e.key.to_owned()).collect()), count);
        assert_eq!(distinct(entries().map(Entry::variable).collect()), count);
        assert_eq!(distinct(entries().map(Entry::flag).collect()), count);
        assert!(entries().all(|entry| !is_table(entry.key)));
    }

    #[test]
    fn every_default_is_allowed() {
        for entry in entries() {
            let mut settings = Settings::default();
            let Some(shown) = entry.text(&settings) else { continue };
            let read = entry.set(&mut settings, &Raw::Text(shown));
            assert_eq!(read, Ok(()), "{}", entry.key);
            assert!(entry.same(&settings, &Settings::default()), "{}", entry.key);
        }
    }

    #[test]
    fn every_limit_is_a_setting() {
        let fields = format!("{:?}", crate::limits::Limits::DEFAULT);
        // The two fields of each `Rate` stand in the text as well.
        let names = fields.matches(": ").count();
        let rates = fields.matches("Rate {").count();
        assert_eq!(LIMIT_ENTRIES.len(), names - 2 * rates);
    }
}
