//! `loquat completions` and `loquat man`: what shells and `man` know about the commands, made from the
//! command line itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::{fail, print, say};

const COMPLETIONS: &str = "\
Examples:
  loquat completions bash > /etc/bash_completion.d/loquat
  loquat completions zsh > \"${fpath[1]}/_loquat\"
  loquat completions fish > ~/.config/fish/completions/loquat.fish";

const MAN: &str = "\
Examples:
  loquat man | man -l -                          the page of loquat itself
  loquat man /usr/local/share/man/man1           one page for each command";

pub fn completions() -> Command {
    let shell = Arg::new("shell").value_name("SHELL").required(true);
    Command::new("completions")
        .about("Print what a shell needs to complete the command line")
        .after_help(COMPLETIONS)
        .arg(shell.value_parser(value_parser!(Shell)))
}

pub fn man() -> Command {
    let directory = Arg::new("dir").value_name("DIR").value_parser(value_parser!(PathBuf));
    Command::new("man")
        .about("Print the manual page, or write all pages into a directory")
        .after_help(MAN)
        .arg(directory.help("A directory for loquat.1, loquat-serve.1 and the others"))
}

pub fn run_completions(matches: &ArgMatches) -> ExitCode {
    let Some(shell) = matches.get_one::<Shell>("shell") else { unreachable!("SHELL is required") };
    let mut text = Vec::new();
    clap_complete::generate(*shell, &mut super::command(), "loquat", &mut text);
    print(&String::from_utf8_lossy(&text))
}

pub fn run_man(matches: &ArgMatches) -> ExitCode {
    let outcome = match matches.get_one::<PathBuf>("dir") {
        None => page(super::command()).map(|text| print(&String::from_utf8_lossy(&text))),
        Some(directory) => pages(directory).map(|count| {
            say(&format!("{count} pages are in {}", directory.display()));
            ExitCode::SUCCESS
        }),
    };
    outcome.unwrap_or_else(|error| fail(&error))
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    Ok(text)
}

fn pages(directory: &Path) -> io::Result<usize> {
    fs::create_dir_all(directory)?;
    let mut whole = super::command();
    // Gives the commands their whole names.
    whole.build();
    let mut count = 1;
    for command in whole.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("loquat-{}", command.get_name());
        fs::write(directory.join(format!("{name}.1")), page(command.clone())?)?;
        count += 1;
    }
    fs::write(directory.join("loquat.1"), page(whole)?)?;
    Ok(count)
}
