//! `loquat restore`: a new data directory made of a backup, and looked through afterwards; or only the
//! backup's checksums.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::progress::{Progress, size};
use super::server::STORE;
use super::{FAILED, flags, print, refuse, say, verify, warn};
use crate::config::resolve;
use crate::store::{ArchiveError, BackupCounts, BackupReader, RestoreError, Restored, restore};

const EXAMPLES: &str = "\
Examples:
  loquat restore /backup/chat-2026-01-31.loquat --data /var/lib/loquat
  zstd -dc chat.loquat.zst | loquat restore - --data /var/lib/loquat
  loquat restore --check /backup/chat-2026-01-31.loquat     only the checksums; makes nothing

The data directory is new or empty: move an old one away. The new store has an epoch of its own: clients that come
back are told, and fetch the history anew. Afterwards the whole store is verified.";

const READ_BYTES: usize = 1 << 20;

pub fn command() -> Command {
    Command::new("restore")
        .about("Make a data directory of a backup")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("What `loquat backup` made, or - for stdin"),
        )
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Only read the backup to its end and check it"),
        )
        .arg(flags::config())
        .args(flags::settings(|entry| entry.key == "data"))
}

pub fn run(matches: &ArgMatches) -> ExitCode {
    let resolved = resolve(&flags::sources(matches));
    warn(&resolved.warnings);
    let mistakes: Vec<_> =
        resolved.mistakes.into_iter().filter(|mistake| mistake.key == "data").collect();
    if !mistakes.is_empty() {
        return refuse(&mistakes);
    }
    verify::quiet_about_sled();
    let Some(path) = matches.get_one::<PathBuf>("file") else { unreachable!("FILE is required") };
    let from = match open(path) {
        Ok(from) => BufReader::with_capacity(READ_BYTES, from),
        Err(error) => return failed(path, &error),
    };
    if matches.get_flag("check") {
        return match check(from) {
            Ok((bytes, counts)) => {
                print(&format!("{}\nthe backup is whole\n", told(bytes, counts)))
            }
            Err(error) => failed(path, &error),
        };
    }
    let store = resolved.settings.data.join(STORE);
    match make(from, &store) {
        Ok((bytes, restored)) => report(bytes, &restored, &store),
        Err(error) => failed(path, &error),
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    match path.to_str() {
        Some("-") => Ok(Box::new(io::stdin())),
        _ => File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
    }
}

fn failed(path: &Path, error: &dyn std::error::Error) -> ExitCode {
    say(&format!("loquat: {}: {error}", path.display()));
    ExitCode::from(FAILED)
}

fn told(bytes: u64, counts: BackupCounts) -> String {
    let BackupCounts { pairs, files, through, .. } = counts;
    let size = size(bytes);
    format!("{size}, {pairs} values of pages and {files} files, the log up to commit {through}")
}

fn check(from: impl Read) -> Result<(u64, BackupCounts), ArchiveError> {
    let mut progress = Progress::new("checking");
    let mut bytes = 0;
    let checked = BackupReader::new(from).and_then(|reader| {
        reader.check(|read, counts| {
            bytes = read;
            progress.tell(|| format!("{}, {} values of pages", size(read), counts.pairs));
        })
    });
    progress.end();
    checked.map(|counts| (bytes, counts))
}

fn make(from: impl Read, store: &Path) -> Result<(u64, Restored), RestoreError> {
    let mut progress = Progress::new("restoring");
    let mut bytes = 0;
    let restored = restore(from, store, &mut |making| {
        bytes = making.bytes;
        let counts = making.counts;
        progress.tell(|| {
            format!("{}, {} values of pages, {} files", size(bytes), counts.pairs, counts.files)
        });
    });
    progress.end();
    restored.map(|restored| (bytes, restored))
}

fn report(bytes: u64, restored: &Restored, store: &Path) -> ExitCode {
    let Restored { head, counts, epoch } = restored;
    let text = format!(
        "{}\nrestored into {}; its epoch is {epoch}, before it was {}\n",
        told(bytes, *counts),
        store.display(),
        head.epoch
    );
    print(&text);
    verify::tell(store)
}
