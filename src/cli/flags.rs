//! The flags of the settings, made from their table, and the sources that a command line names.
//!
//! Their values are not checked here: `config` does that for all sources alike, so that every
//! mistake is told at once.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::config::table::{Entry, Group, entries};
use crate::config::{Flag, Shape, Sources};

struct SettingFlag {
    entry: &'static Entry,
    long: String,
    help: String,
}

/// clap borrows the names for as long as the program runs.
static FLAGS: LazyLock<Vec<SettingFlag>> = LazyLock::new(|| {
    entries().map(|entry| SettingFlag { entry, long: entry.flag(), help: help(entry) }).collect()
});

fn help(entry: &Entry) -> String {
    let (about, default, variable) = (entry.about, entry.default_text(), entry.variable());
    format!("{about} [default: {default}] [env: {variable}]")
}

/// The flags of all settings that `wanted` picks.
pub fn settings(wanted: fn(&Entry) -> bool) -> impl Iterator<Item = Arg> {
    FLAGS.iter().filter(move |flag| wanted(flag.entry)).map(arg)
}

fn arg(flag: &'static SettingFlag) -> Arg {
    let entry = flag.entry;
    let action = if entry.shape.is_list() { ArgAction::Append } else { ArgAction::Set };
    Arg::new(entry.key)
        .long(flag.long.as_str())
        .value_name(entry.shape.placeholder())
        .help(flag.help.as_str())
        .long_help(format!("{}\nAllowed: {}", flag.help, entry.shape.allowed()))
        .help_heading(entry.group.title())
        .action(action)
        .allow_hyphen_values(true)
        // Known only to be refused with a reason: command lines are visible to everyone.
        .hide(matches!(entry.shape, Shape::Secret))
        .hide_short_help(entry.group == Group::Limits)
}

/// `--config`.
pub fn config() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("Settings file (TOML) [env: LOQUAT_CONFIG]")
        .value_parser(value_parser!(PathBuf))
}

/// The process's environment and what this command line says.
pub fn sources(matches: &ArgMatches) -> Sources {
    let mut sources = Sources::from_environment();
    if let Ok(Some(path)) = matches.try_get_one::<PathBuf>("config") {
        sources.file = Some(path.clone());
    }
    for entry in entries() {
        // An error means that this subcommand has no such flag, or one of its own by that name.
        if let Ok(Some(values)) = matches.try_get_many::<String>(entry.key) {
            sources.flags.push(Flag { key: entry.key, values: values.cloned().collect() });
        }
    }
    sources
}
