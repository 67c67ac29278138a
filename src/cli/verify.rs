//! `loquat verify`: reads a whole store that no server uses, and says what does not hold; with `--rebuild` it
//! makes a new one of what is left.
//!
//! The report goes to stdout, a line for each damage; how far it is, to stderr. The store itself is never
//! repaired.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::progress::{Progress, size};
use super::server::STORE;
use super::{flags, print, refuse, say, warn};
use crate::config::resolve;
use crate::store::{OpenError, Rebuild, RebuildStage, Rebuilt, Report, rebuild, verify_watched};

const EXAMPLES: &str = "\
Examples:
  loquat verify --config /etc/loquat/loquat.toml
  loquat verify --data /var/lib/loquat
  loquat verify --data /var/lib/loquat --rebuild /var/lib/loquat-new --backup /backup/loquat

Stop the server first. Exit code 0: everything holds, or was restored. 1: damage, or something is lost, named on
stdout. 2: it could not be done.";

/// It could not be done, and says nothing about the store.
const NOT_DONE: u8 = 2;
const DAMAGE: u8 = 1;

pub fn command() -> Command {
    Command::new("verify")
        .about("Check a store from end to end")
        .after_help(EXAMPLES)
        .arg(flags::config())
        .args(flags::settings(|entry| entry.key == "data"))
        .arg(directory("rebuild").help("Make a new data directory here, of all that is left"))
        .arg(
            directory("backup")
                .requires("rebuild")
                .help("A copy of the data directory from before, for what the store has lost"),
        )
}

fn directory(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("DIR").value_parser(value_parser!(PathBuf))
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
    match matches.get_one::<PathBuf>("rebuild") {
        Some(into) => make_anew(&Rebuild {
            store: resolved.settings.data.join(STORE),
            backup: matches.get_one::<PathBuf>("backup").map(|backup| backup.join(STORE)),
            into: into.join(STORE),
        }),
        None => tell(&resolved.settings.data.join(STORE)),
    }
}

/// Looks through a store and reports.
pub fn tell(store: &Path) -> ExitCode {
    match look_through(store) {
        Ok(report) => {
            let printed = print(&listing(&report));
            if report.is_whole() { printed } else { ExitCode::from(DAMAGE) }
        }
        Err(error) => not_done(&error),
    }
}

fn make_anew(job: &Rebuild) -> ExitCode {
    let mut progress = Progress::new("copying");
    let outcome = rebuild(job, &mut |stage| show(&mut progress, stage));
    progress.end();
    let rebuilt = match outcome {
        Ok(rebuilt) => rebuilt,
        Err(error) => return not_done(&error),
    };
    let printed = print(&outcome_of(job, &rebuilt));
    match look_through(&job.into) {
        Ok(report) if report.is_whole() => {
            if rebuilt.lost.is_empty() {
                printed
            } else {
                ExitCode::from(DAMAGE)
            }
        }
        Ok(report) => {
            print(&listing(&report));
            ExitCode::from(DAMAGE)
        }
        Err(error) => not_done(&error),
    }
}

fn show(progress: &mut Progress, stage: RebuildStage) {
    match stage {
        RebuildStage::Copying { bytes } => {
            progress.turn_to("copying");
            progress.tell(|| format!("{} of pages", size(bytes)));
        }
        RebuildStage::Journal { segment, segments } => {
            progress.turn_to("reading");
            progress.tell(|| format!("segment {segment} of {segments}"));
        }
        RebuildStage::Writing { conversations, events } => {
            progress.turn_to("writing");
            progress.tell(|| format!("{conversations} conversations, {events} events"));
        }
    }
}

fn outcome_of(job: &Rebuild, rebuilt: &Rebuilt) -> String {
    let mut page = String::new();
    for note in &rebuilt.notes {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "note: {note}");
    }
    for lost in &rebuilt.lost {
        let (id, from, to) = (&lost.conversation, lost.from.0, lost.to.0);
        let _ = writeln!(page, "lost: conversation {id}, seqs {from} to {to}");
    }
    let Rebuilt { conversations, events, epoch, .. } = rebuilt;
    let which = if rebuilt.is_same_epoch { "the same" } else { "a new" };
    let path = job.into.display();
    let _ = writeln!(
        page,
        "{conversations} conversations with {events} events are in {path}; it has {which} epoch, {epoch}"
    );
    page
}

fn not_done(error: &OpenError) -> ExitCode {
    say(&format!("loquat: {error}"));
    ExitCode::from(NOT_DONE)
}

fn look_through(directory: &Path) -> Result<Report, OpenError> {
    let mut progress = Progress::new("reading");
    let outcome = verify_watched(directory, &mut |report| {
        let Report { values, events, segments, .. } = report;
        progress.tell(|| format!("{segments} segments, {values} values, {events} events"));
    });
    progress.end();
    outcome
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

/// sled panics at some damage. That is caught and told as damage; the panic's own words add nothing.
pub fn quiet_about_sled() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_sleds = panic.location().is_some_and(|place| place.file().contains("sled-"));
        if !is_sleds {
            default(panic);
        }
    }));
}
