//! `loquat backup`: takes everything that a running server has stored, checks it on the way, and gives the file
//! its name when it is whole and on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::admin_port::{AdminError, AdminPort, is_about_admin};
use super::progress::{Progress, size};
use super::{fail, flags, say};
use crate::store::{ArchiveError, BackupCounts, BackupReader};

const EXAMPLES: &str = "\
Examples:
  loquat backup /backup/chat-2026-01-31.loquat --config /etc/loquat/loquat.toml
  loquat backup - --admin-token-file admin-token | zstd | ssh elsewhere 'cat > chat.loquat.zst'
  loquat restore --check /backup/chat-2026-01-31.loquat

The server goes on serving. Everything that was stored when the backup began is in it. The file is readable for
you alone, and has its name only when it is whole. Settings and secrets are not in it.";

pub fn command() -> Command {
    Command::new("backup")
        .about("Copy everything that a running server has stored into a file")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("A file that does not exist yet, or - for stdout"),
        )
        .arg(flags::config())
        .args(flags::settings(is_about_admin))
}

#[derive(Debug, thiserror::Error)]
enum BackupError {
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("{} exists: name another file, or move it away", .0.display())]
    Exists(PathBuf),
    #[error("{what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "what the server sent is not a whole backup: {0}. The server's log says why it broke off"
    )]
    Archive(#[from] ArchiveError),
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { what, path, source }
}

pub fn run(matches: &ArgMatches) -> ExitCode {
    let port = match AdminPort::of(matches) {
        Ok(port) => port,
        Err(code) => return code,
    };
    let Some(path) = matches.get_one::<PathBuf>("file") else { unreachable!("FILE is required") };
    let taken = match path.to_str() {
        Some("-") => copy(&port, &mut io::stdout().lock()),
        _ => into_file(&port, path),
    };
    match taken {
        Ok((bytes, counts)) => {
            let BackupCounts { pairs, files, through, .. } = counts;
            let size = size(bytes);
            say(&format!(
                "backup: {size}, {pairs} values of pages and {files} files, the log up to commit {through}"
            ));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

type Taken = Result<(u64, BackupCounts), BackupError>;

fn into_file(port: &AdminPort, path: &Path) -> Taken {
    if path.try_exists().map_err(io_error("looking at", path))? {
        return Err(BackupError::Exists(path.to_owned()));
    }
    let mut unnamed = path.as_os_str().to_owned();
    unnamed.push(".part");
    let unnamed = PathBuf::from(unnamed);
    let file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unnamed);
    let mut file = file.map_err(io_error("creating", &unnamed))?;
    let taken = copy(port, &mut file).and_then(|taken| {
        file.sync_all().map_err(io_error("syncing", &unnamed))?;
        // Never in the place of another file.
        fs::hard_link(&unnamed, path).map_err(io_error("naming", path))?;
        Ok(taken)
    });
    fs::remove_file(&unnamed).map_err(io_error("removing", &unnamed))?;
    let taken = taken?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(io_error("syncing", directory))?;
    Ok(taken)
}

fn copy(port: &AdminPort, to: &mut dyn Write) -> Taken {
    let mut progress = Progress::new("copying");
    let mut wrote = Ok(());
    let answer = port.open("/admin/backup")?;
    let copied = BackupReader::new(Tee { answer, to, wrote: &mut wrote }).and_then(|reader| {
        let mut bytes = 0;
        let counts = reader.check(|read, counts| {
            bytes = read;
            progress.tell(|| format!("{}, {} values of pages", size(read), counts.pairs));
        })?;
        Ok((bytes, counts))
    });
    progress.end();
    wrote.map_err(io_error("writing", Path::new("the backup")))?;
    let copied = copied?;
    to.flush().map_err(io_error("writing", Path::new("the backup")))?;
    Ok(copied)
}

/// What is read is also written.
struct Tee<'a, R> {
    answer: R,
    to: &'a mut dyn Write,
    /// Why it could not be written.
    wrote: &'a mut io::Result<()>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.answer.read(into)?;
        if let Err(error) = self.to.write_all(&into[..read]) {
            let kind = error.kind();
            *self.wrote = Err(error);
            return Err(kind.into());
        }
        Ok(read)
    }
}
