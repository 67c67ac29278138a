//! `loquat verify`: reads a whole store that no server uses, and says what does not hold.
//!
//! The report goes to stdout, a line for each damage; how far it is, to stderr. It repairs nothing.

use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};

use super::{flags, print, refuse, say, warn};
use crate::config::resolve;
use crate::store::{Report, verify_watched};

const EXAMPLES: &str = "\
Examples:
  loquat verify --config /etc/loquat/loquat.toml
  loquat verify --data /var/lib/loquat

Stop the server first. Exit code 0: everything holds. 1: damage, named on stdout. 2: it could not be checked.";

/// It could not be done, and says nothing about the store.
pub(super) const NOT_DONE: u8 = 2;
const DAMAGE: u8 = 1;

pub fn command() -> Command {
    Command::new("verify")
        .about("Check a store from end to end")
        .after_help(EXAMPLES)
        .arg(flags::config())
        .args(flags::settings(|entry| entry.key == "data"))
}

pub fn run(matches: &ArgMatches) -> ExitCode {
    let resolved = resolve(&flags::sources(matches));
    warn(&resolved.warnings);
    // A secret that is missing says nothing about the store.
    let mistakes: Vec<_> =
        resolved.mistakes.into_iter().filter(|mistake| mistake.key == "data").collect();
    if !mistakes.is_empty() {
        return refuse(&mistakes);
    }
    quiet_about_sled();
    check(&resolved.settings.data)
}

fn check(directory: &Path) -> ExitCode {
    let mut progress = Progress::new();
    let outcome = verify_watched(directory, &mut |report| {
        let Report { values, events, segments, .. } = report;
        progress.tell(&format!("{segments} segments, {values} values, {events} events"));
    });
    progress.end();
    match outcome {
        Ok(report) => {
            let printed = print(&listing(&report));
            if report.is_whole() { printed } else { ExitCode::from(DAMAGE) }
        }
        Err(error) => {
            say(&format!("loquat: {error}"));
            ExitCode::from(NOT_DONE)
        }
    }
}

fn listing(report: &Report) -> String {
    let mut page = String::new();
    for missing in &report.missing {
        let (id, from, to) = (&missing.conversation, missing.from.0, missing.to.0);
        // Writing to a String cannot fail.
        let _ = writeln!(page, "damage: conversation {id}, seqs {from} to {to}: not in pages");
    }
    for what in &report.damaged {
        let _ = writeln!(page, "damage: {what}");
    }
    if report.untold > 0 {
        let _ = writeln!(page, "damage: {} more", report.untold);
    }
    let Report { conversations, events, messages, pages, values, segments, .. } = report;
    let _ = writeln!(
        page,
        "{conversations} conversations, {events} events, {messages} messages; {pages} pages, {values} values; \
         {segments} segments, {} commits not in pages yet",
        report.unsealed_commits
    );
    page.push_str(if report.is_whole() { "everything holds\n" } else { "the store is damaged\n" });
    page
}

/// A line on stderr that says how far the work is: written over on a terminal, a new one now and then
/// elsewhere.
pub(super) struct Progress {
    is_terminal: bool,
    told: Instant,
    is_open: bool,
}

impl Progress {
    const ON_TERMINAL: Duration = Duration::from_millis(200);
    const ELSEWHERE: Duration = Duration::from_secs(5);

    pub fn new() -> Progress {
        let is_terminal = std::io::stderr().is_terminal();
        Progress { is_terminal, told: Instant::now(), is_open: false }
    }

    pub fn tell(&mut self, what: &str) {
        let pause = if self.is_terminal { Progress::ON_TERMINAL } else { Progress::ELSEWHERE };
        if self.told.elapsed() < pause {
            return;
        }
        self.told = Instant::now();
        if self.is_terminal {
            self.is_open = true;
            // A closed stderr is no reason to stop.
            let _ = write!(std::io::stderr(), "\r\x1b[Kreading: {what}");
        } else {
            say(&format!("reading: {what}"));
        }
    }

    pub fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// sled panics at some damage. That is caught and told as damage; the panic's own words add nothing.
pub(super) fn quiet_about_sled() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_sleds = panic.location().is_some_and(|place| place.file().contains("sled-"));
        if !is_sleds {
            default(panic);
        }
    }));
}
