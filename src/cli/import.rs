//! `loquat import`: brings conversations into a running server, one file after the other, and waits until each is there.
//!
//! What a line may be is for the server to say. Of a file only the first line is looked at here, for the conversation's id.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::admin_port::{AdminError, AdminPort, is_about_admin};
use super::progress::{Progress, size};
use super::upload::{UploadError, upload};
use super::{FAILED, flags, print, say};
use crate::limits::{IMPORT_LINE_BYTES_MAX, IMPORT_RETRY_MS};
use crate::model::ConversationId;

const EXAMPLES: &str = "\
Examples:
  loquat import exports/*.ndjson --config /etc/loquat/loquat.toml
  loquat import 77.ndjson --conversation 78 --admin-token-file admin-token
  zcat 77.ndjson.gz | loquat import - --admin-token-file admin-token

A conversation comes in whole, or not at all. It goes on with the next file only when one is there, and ends at the
first that is refused; what came in before stays. To go on after it was mended: --skip-existing.";

const POLL: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_millis(IMPORT_RETRY_MS);

pub fn command() -> Command {
    Command::new("import")
        .about("Bring conversations into a running server")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .num_args(1..)
                .value_parser(value_parser!(PathBuf))
                .help("Lines of an export or of scripts/django_export.py, or - for stdin"),
        )
        .arg(
            Arg::new("conversation")
                .long("conversation")
                .value_name("ID")
                .value_parser(|text: &str| ConversationId::parse(text))
                .help("Take the one file in under this id, not under the one in its first line"),
        )
        .arg(
            Arg::new("skip-existing")
                .long("skip-existing")
                .action(ArgAction::SetTrue)
                .help("Pass over files whose conversation is there already"),
        )
        .arg(flags::config())
        .args(flags::settings(is_about_admin))
}

#[derive(Debug, thiserror::Error)]
enum ImportError {
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("its first line names no conversation_id: give one with --conversation")]
    Nameless,
    #[error("{0}")]
    Refused(String),
    #[error("conversation {conversation} is there, but how far its pages are is not known: {why}")]
    Unwatched { conversation: ConversationId, why: AdminError },
}

/// The part of an answer that is read here.
#[derive(Deserialize)]
struct Answer {
    error: Option<String>,
    code: Option<String>,
    state: Option<String>,
    events: Option<u64>,
    built: Option<u64>,
    messages: Option<u64>,
}

pub fn run(matches: &ArgMatches) -> ExitCode {
    let port = match AdminPort::of(matches) {
        Ok(port) => port,
        Err(code) => return code,
    };
    let files: Vec<_> = matches.get_many::<PathBuf>("file").into_iter().flatten().collect();
    let conversation = matches.get_one::<ConversationId>("conversation");
    if conversation.is_some() && files.len() > 1 {
        say("loquat: --conversation is for one file");
        return ExitCode::from(super::WRONG_SETTINGS);
    }
    for (done, file) in files.iter().enumerate() {
        match import(&port, file, conversation) {
            Ok(text) => drop(print(&format!("{}: {text}\n", file.display()))),
            Err(Outcome::Exists(text)) if matches.get_flag("skip-existing") => {
                say(&format!("{}: passed over: {text}", file.display()));
            }
            Err(Outcome::Exists(text)) => return ended(file, &text, (done, files.len())),
            Err(Outcome::Failed(error)) => {
                return ended(file, &error.to_string(), (done, files.len()));
            }
        }
    }
    ExitCode::SUCCESS
}

fn ended(file: &Path, why: &str, (done, all): (usize, usize)) -> ExitCode {
    say(&format!("loquat: {}: {why}", file.display()));
    if all > 1 {
        let left = all - done - 1;
        say(&format!("loquat: {done} files before it are done, {left} after it were not begun"));
    }
    ExitCode::from(FAILED)
}

/// Why a file did not come in.
enum Outcome {
    Exists(String),
    Failed(ImportError),
}

impl<E: Into<ImportError>> From<E> for Outcome {
    fn from(error: E) -> Outcome {
        Outcome::Failed(error.into())
    }
}

/// One file; tells what came of it.
fn import(
    port: &AdminPort,
    file: &Path,
    conversation: Option<&ConversationId>,
) -> Result<String, Outcome> {
    let begun = Instant::now();
    loop {
        let (mut from, conversation) = open(file, conversation)?;
        let (status, answer) = send(port, file, &mut from, &conversation)?;
        let is_busy = status == StatusCode::SERVICE_UNAVAILABLE
            && answer.code.as_deref() == Some("overload")
            && file != Path::new("-");
        match status {
            StatusCode::CREATED | StatusCode::ACCEPTED => {
                if answer.state.as_deref() == Some("building") {
                    wait(port, &conversation)?;
                }
                let (messages, events) = (answer.messages, answer.events);
                let [messages, events] = [messages, events].map(Option::unwrap_or_default);
                return Ok(format!(
                    "conversation {conversation}: {messages} messages, {events} events"
                ));
            }
            // The import before is not quite over.
            _ if is_busy && begun.elapsed() < PATIENCE => std::thread::sleep(POLL),
            StatusCode::CONFLICT if answer.code.as_deref() == Some("exists") => {
                let text = format!("there is a conversation {conversation}; nothing was imported");
                return Err(Outcome::Exists(text));
            }
            status => {
                let text = answer.error.unwrap_or_else(|| format!("the server answered {status}"));
                return Err(ImportError::Refused(text).into());
            }
        }
    }
}

/// The file from its first line on, and the conversation that it is of.
fn open(
    file: &Path,
    conversation: Option<&ConversationId>,
) -> Result<(impl Read + use<>, ConversationId), ImportError> {
    let whole: Box<dyn Read> =
        if file == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(file)?) };
    let mut whole = BufReader::new(whole);
    let mut first = Vec::new();
    whole.by_ref().take(IMPORT_LINE_BYTES_MAX as u64).read_until(b'\n', &mut first)?;
    let conversation = match conversation {
        Some(conversation) => conversation.clone(),
        None => named(&first).ok_or(ImportError::Nameless)?,
    };
    Ok((io::Cursor::new(first).chain(whole), conversation))
}

fn named(line: &[u8]) -> Option<ConversationId> {
    let head: Value = serde_json::from_slice(line).ok()?;
    match head.get("conversation_id")? {
        Value::String(text) => ConversationId::parse(text).ok(),
        Value::Number(number) => ConversationId::from_number(number.as_u64()?).ok(),
        _ => None,
    }
}

fn path_of(conversation: &ConversationId) -> String {
    format!("/admin/conversations/{conversation}/import")
}

fn send(
    port: &AdminPort,
    file: &Path,
    from: &mut dyn Read,
    conversation: &ConversationId,
) -> Result<(StatusCode, Answer), ImportError> {
    let bytes = file.metadata().ok().filter(|found| found.is_file()).map(|found| found.len());
    let of = bytes.map(|bytes| format!(" of {}", size(bytes))).unwrap_or_default();
    let mut progress = Progress::new("sending");
    let sent = upload(port, &path_of(conversation), from, &mut |sent| {
        progress.tell(|| format!("{}{of}", size(sent)));
    });
    progress.end();
    let (status, text) = sent?;
    let answer = serde_json::from_str(&text).map_err(|_| {
        ImportError::Refused(format!("the server on {} answered {status}", port.address()))
    })?;
    Ok((status, answer))
}

/// Until pages have all of it.
fn wait(port: &AdminPort, conversation: &ConversationId) -> Result<(), ImportError> {
    let mut progress = Progress::new("building pages");
    let unwatched = |why| ImportError::Unwatched { conversation: conversation.clone(), why };
    loop {
        let text = port.text(&path_of(conversation)).map_err(unwatched)?;
        let state = serde_json::from_str::<Answer>(&text);
        let state = state.map_err(|error| unwatched(AdminError::Broken(error.to_string())))?;
        if state.state.as_deref() != Some("building") {
            progress.end();
            return Ok(());
        }
        let [built, events] = [state.built, state.events].map(Option::unwrap_or_default);
        progress.tell(|| format!("{built} of {events} events"));
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_conversation() {
        let check = |line: &str, expected: Option<&str>| {
            let found = named(line.as_bytes()).map(|id| id.to_string());
            assert_eq!(found.as_deref(), expected, "{line}");
        };
        check("{\"type\":\"conversation\",\"conversation_id\":77}\n", Some("77"));
        check("{\"conversation_id\":\"general\"}", Some("general"));
        check("{\"conversation_id\":\"../x\"}", None);
        check("{\"conversation_id\":-1}", None);
        check("{\"type\":\"conversation\"}", None);
        check("[]", None);
        check("\u{1f}\u{8b}", None);
    }
}
