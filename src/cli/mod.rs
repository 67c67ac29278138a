//! The commands: `demo`, `serve`, `token`, `check-config`, `verify`, `backup`, `restore`, `import`, `top`,
//! `completions` and `man`. One file each, or one folder.
//!
//! Exit codes: 0 it went well, 1 it failed while running, 2 the settings or the command line are
//! wrong. Results go to stdout, everything else to stderr; no secret goes anywhere.

mod admin_port;
mod api;
mod backup;
mod check_config;
mod demo;
mod demo_secret;
mod erasure;
mod flags;
mod import;
mod launch;
mod manual;
mod metrics;
mod preflight;
mod progress;
mod restore;
mod serve;
mod server;
mod signing;
mod token;
mod top;
mod upload;
mod verify;

pub use demo::DemoUser;
pub use launch::{Launch, Mode};
pub use serve::checked;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::config::Mistake;

/// It failed while running.
const FAILED: u8 = 1;
/// The settings or the command line are wrong.
const WRONG_SETTINGS: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  loquat demo                                   try it: http://127.0.0.1:8000/
  loquat serve --jwt-secret-file jwt-secret     run it
  loquat check-config --config loquat.toml      what would `serve` do?
  loquat token --user 1 --data ./loquat-demo    a token for the demo

Every setting can be given in the file, in the environment and as a flag:
  access = \"claim\"      LOQUAT_ACCESS=claim      --access claim
`loquat serve --help` lists them all.";

/// Runs what the command line asks for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match command().try_get_matches_from(arguments) {
        Ok(matches) => dispatch(&matches),
        Err(error) => {
            // Help and version come as errors as well, with 0 for an exit code.
            let code = u8::try_from(error.exit_code()).unwrap_or(WRONG_SETTINGS);
            // There is nowhere left to report that stderr is closed.
            let _ = error.print();
            ExitCode::from(code)
        }
    }
}

fn command() -> Command {
    Command::new("loquat")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A chat server: every message is on disk before anyone sees it")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(demo::command())
        .subcommand(serve::command())
        .subcommand(token::command())
        .subcommand(check_config::command())
        .subcommand(verify::command())
        .subcommand(backup::command())
        .subcommand(restore::command())
        .subcommand(import::command())
        .subcommand(top::command())
        .subcommand(manual::completions())
        .subcommand(manual::man())
}

fn dispatch(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("demo", matches)) => demo::run(matches),
        Some(("serve", matches)) => serve::run(matches),
        Some(("token", matches)) => token::run(matches),
        Some(("check-config", matches)) => check_config::run(matches),
        Some(("verify", matches)) => verify::run(matches),
        Some(("backup", matches)) => backup::run(matches),
        Some(("restore", matches)) => restore::run(matches),
        Some(("import", matches)) => import::run(matches),
        Some(("top", matches)) => top::run(matches),
        Some(("completions", matches)) => manual::run_completions(matches),
        Some(("man", matches)) => manual::run_man(matches),
        _ => unreachable!("clap knows the subcommands and asks for one"),
    }
}

/// All mistakes on stderr, and the exit code they mean.
fn refuse(mistakes: &[Mistake]) -> ExitCode {
    let count = match mistakes.len() {
        1 => "1 mistake".to_owned(),
        n => format!("{n} mistakes"),
    };
    say(&format!("loquat: {count} in the settings"));
    for mistake in mistakes {
        say(&format!("  {mistake}"));
    }
    ExitCode::from(WRONG_SETTINGS)
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        say(&format!("loquat: warning: {warning}"));
    }
}

/// One sentence about what went wrong while running.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    say(&format!("loquat: {error}"));
    ExitCode::from(FAILED)
}

/// To stderr; a closed stderr is no reason to panic.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A result to stdout. A reader that has gone (`| head`) has all it wants.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }
}
