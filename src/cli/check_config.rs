//! `loquat check-config`: what `serve` would run with, and where each value was written.
//!
//! Its output is a settings file that says the same, secrets apart.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::serve::checked;
use super::{flags, print, refuse, warn};
use crate::config::table::{Entry, Group, entries};
use crate::config::{KeySource, Resolved, Shape};

const EXAMPLES: &str = "\
Examples:
  loquat check-config --config loquat.toml
  LOQUAT_FSYNC=interval loquat check-config

Exit code 0: `serve` would start with these settings. 2: it would not, for the reasons given.";

pub fn command() -> Command {
    Command::new("check-config")
        .about("Show the settings and where they come from, or all mistakes in them")
        .after_help(EXAMPLES)
        .arg(flags::config())
        .args(flags::settings(|_| true))
}

pub fn run(matches: &ArgMatches) -> ExitCode {
    let resolved = checked(&flags::sources(matches));
    warn(&resolved.warnings);
    match resolved.mistakes.is_empty() {
        true => print(&listing(&resolved)),
        false => refuse(&resolved.mistakes),
    }
}

fn listing(resolved: &Resolved) -> String {
    let mut page = String::new();
    for group in Group::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "# {}", group.title());
        for entry in entries().filter(|entry| entry.group == group) {
            page.push_str(&line(entry, resolved));
        }
        page.push('\n');
    }
    page
}

fn line(entry: &Entry, resolved: &Resolved) -> String {
    let (key, origin) = (entry.key, resolved.origin(entry.key));
    match (entry.text(&resolved.settings), entry.shape) {
        (None, _) => format!("# {key} is not set\n"),
        (Some(_), Shape::Secret) => format!("# {key} is set  # {origin}\n"),
        // A listed secret cannot be repeated here, so neither can the list be a setting.
        (Some(value), Shape::Keys) if has_inline_secret(resolved) => {
            format!("# {key} is {value}  # {origin}\n")
        }
        (Some(value), Shape::Count { .. }) => format!("{key} = {value}  # {origin}\n"),
        (Some(value), _) => format!("{key} = {}  # {origin}\n", quoted(&value)),
    }
}

fn has_inline_secret(resolved: &Resolved) -> bool {
    resolved.settings.jwt.listed.iter().any(|key| matches!(key.source, KeySource::Inline(_)))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
