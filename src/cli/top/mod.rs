//! `loquat top`: what a running server does, read from the metrics of its admin port once a second.
//!
//! `sample` reads a scrape, `view` makes of two of them what is shown, `screen` shows it. The terminal is given
//! back as it was, also after an error.

mod sample;
mod screen;
mod view;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::sample::Sample;
use self::view::View;
use super::admin_port::{AdminError, AdminPort, is_about_admin};
use super::{fail, flags, print};

const EXAMPLES: &str = "\
Examples:
  loquat top --config /etc/loquat/loquat.toml
  loquat top --admin-token-file admin-token --admin-listen 127.0.0.1:8001
  loquat top --once --config loquat.toml     plain text, and ends

q, Esc or Ctrl-C ends it. What the figures mean: the part about metrics in docs/operating.md.";

pub fn command() -> Command {
    Command::new("top")
        .about("Watch a running server")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("once")
                .long("once")
                .action(ArgAction::SetTrue)
                .help("Print one reading as plain text"),
        )
        .arg(
            Arg::new("every")
                .long("every")
                .value_name("SECONDS")
                .default_value("1")
                .value_parser(value_parser!(u64).range(1..=3_600))
                .help("How often the server is asked"),
        )
        .arg(flags::config())
        .args(flags::settings(is_about_admin))
}

#[derive(Debug, thiserror::Error)]
enum TopError {
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("what {0} answers are not loquat's metrics: is that its admin port?")]
    Other(std::net::SocketAddr),
    #[error("this is no terminal: `loquat top --once` prints plain text")]
    NoTerminal,
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
}

pub fn run(matches: &ArgMatches) -> ExitCode {
    let port = match AdminPort::of(matches) {
        Ok(port) => port,
        Err(code) => return code,
    };
    let every = Duration::from_secs(matches.get_one::<u64>("every").copied().unwrap_or(1));
    let shown = match matches.get_flag("once") {
        true => once(&port, every),
        false => watch(&port, every),
    };
    match shown {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn sample(port: &AdminPort) -> Result<Sample, TopError> {
    let text = port.text("/metrics")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let sample = Sample::parse(&text, now.as_secs_f64());
    if sample.is_loquat() { Ok(sample) } else { Err(TopError::Other(port.address())) }
}

fn once(port: &AdminPort, every: Duration) -> Result<ExitCode, TopError> {
    let old = sample(port)?;
    std::thread::sleep(every);
    Ok(print(&screen::plain(&View::of(&old, &sample(port)?))))
}

fn watch(port: &AdminPort, every: Duration) -> Result<ExitCode, TopError> {
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    // Before the screen is taken: what is wrong now is told on an ordinary one.
    let old = sample(port)?;
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, port, (old, every));
    ratatui::try_restore()?;
    shown.map(|()| ExitCode::SUCCESS)
}

fn show(
    terminal: &mut DefaultTerminal,
    port: &AdminPort,
    (mut old, every): (Sample, Duration),
) -> Result<(), TopError> {
    let title = port.address().to_string();
    let mut view = View::of(&old, &old);
    loop {
        terminal.draw(|frame| screen::draw(frame, &view, &title))?;
        if is_ended_within(terminal, (&view, &title), every)? {
            return Ok(());
        }
        match sample(port) {
            Ok(new) => {
                view = View::of(&old, &new);
                old = new;
            }
            // It may be restarting.
            Err(error) => view.warnings = vec![error.to_string()],
        }
    }
}

/// Waits so long for a key that ends it; draws anew when the terminal changes its size.
fn is_ended_within(
    terminal: &mut DefaultTerminal,
    (view, title): (&View, &str),
    every: Duration,
) -> Result<bool, TopError> {
    let until = Instant::now() + every;
    while event::poll(until.saturating_duration_since(Instant::now()))? {
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => {
                let is_interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    return Ok(true);
                }
            }
            Event::Resize(..) => {
                terminal.draw(|frame| screen::draw(frame, view, title))?;
            }
            _ => {}
        }
    }
    Ok(false)
}
