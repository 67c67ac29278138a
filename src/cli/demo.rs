//! `loquat demo`: the whole server on this machine only, with two users who need no set-up.
//!
//! It reads no settings file and no environment: what it does must not depend on what else is set
//! on the machine.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::demo_secret::{self, DemoSecretError};
use super::launch::{Launch, Mode, launch};
use super::preflight::{self, Unready};
use super::signing::{Bearer, SigningError, sign};
use super::{fail, flags, refuse};
use crate::config::{JwtKey, Settings, Sources, loopback, resolve};
use crate::model::id::InvalidId;
use crate::model::{Access, UserId};

const EXAMPLES: &str = "\
Examples:
  loquat demo
  loquat demo --port 9000 --data /tmp/demo

Everyone with a token may enter every conversation, and only this machine can connect.";

/// Tokens of the demo users live for a day.
const TTL_S: u64 = 24 * 3600;
/// Messages that a page of the demo is shown when it opens.
const HISTORY_ON_CONNECT: u32 = 50;
/// The conversation that the printed addresses lead to.
const CONVERSATION: &str = "1";
const USERS: [(u64, &str, &str); 2] = [(1, "Ada", "Lovelace"), (2, "Grace", "Hopper")];

/// Someone a visitor of the demo can be. No `Debug`: it holds a token.
pub struct DemoUser {
    pub id: UserId,
    pub name: String,
    pub token: String,
}

#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Unready(#[from] Unready),
    #[error(transparent)]
    Secret(#[from] DemoSecretError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error("a demo user has no valid id")]
    User(#[from] InvalidId),
}

pub fn command() -> Command {
    Command::new("demo")
        .about("Try it: a server for this machine only, with a page and two users")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .default_value("8000")
                .value_parser(value_parser!(u16))
                .help("Port on 127.0.0.1; 0 takes any free one"),
        )
        .arg(
            Arg::new("data")
                .long("data")
                .value_name("DIR")
                .default_value("./loquat-demo")
                .value_parser(value_parser!(PathBuf))
                .help("Directory that everything is stored in"),
        )
        .args(flags::settings(|entry| matches!(entry.key, "shards" | "log.level")))
}

pub fn run(matches: &ArgMatches) -> ExitCode {
    let sources = Sources { flags: flags::sources(matches).flags, ..Sources::default() };
    let resolved = resolve(&sources);
    if !resolved.mistakes.is_empty() {
        return refuse(&resolved.mistakes);
    }
    let (Some(&port), Some(data)) =
        (matches.get_one::<u16>("port"), matches.get_one::<PathBuf>("data"))
    else {
        unreachable!("both have defaults")
    };
    match prepare(resolved.settings, loopback(port), data) {
        Ok(ready) => launch(ready),
        Err(error) => fail(&error),
    }
}

fn prepare(mut settings: Settings, listen: SocketAddr, data: &Path) -> Result<Launch, DemoError> {
    settings.listen = listen;
    settings.data = data.to_owned();
    settings.access = Access::Open;
    settings.admin.listen = None;
    // A reload of the page, or a restart of the server, shows that what was said is still there.
    settings.history_on_connect = HISTORY_ON_CONNECT;
    preflight::address(listen, "--port")?;
    preflight::data_directory(data)?;
    let secret = demo_secret::existing_or_new(data)?;
    let key = JwtKey { kid: None, secret, not_after_s: None };
    let users = USERS.map(|user| demo_user(&settings, &key, user));
    let users = users.into_iter().collect::<Result<Vec<_>, _>>()?;
    settings.jwt.keys = vec![key];
    Ok(Launch { settings, mode: Mode::Demo(users) })
}

fn demo_user(
    settings: &Settings,
    key: &JwtKey,
    (id, first, last): (u64, &str, &str),
) -> Result<DemoUser, DemoError> {
    let bearer = Bearer {
        user: UserId::from_number(id)?,
        email: Some(format!("{}@example.org", first.to_ascii_lowercase())),
        first_name: Some(first.to_owned()),
        last_name: Some(last.to_owned()),
        role: None,
        conversations: None,
        ttl_s: TTL_S,
    };
    let token = sign(&settings.jwt, key, &bearer)?;
    Ok(DemoUser { id: bearer.user, name: format!("{first} {last}"), token })
}

/// How to connect, printed once the server listens.
pub fn greeting(listening: SocketAddr, data: &Path, users: &[DemoUser]) -> String {
    let url =
        |user: &DemoUser| format!("ws://{listening}/ws/chat/{CONVERSATION}/?token={}", user.token);
    let mut page = format!(
        "The demo is running. Open this page, and there the link to a second window, to be both users:\n\n  \
         http://{listening}/\n\n"
    );
    // Writing to a String cannot fail.
    for user in users {
        let _ = writeln!(page, "{} (user {}):\n  {}\n", user.name, user.id, url(user));
    }
    if let Some(first) = users.first() {
        let url = url(first);
        let _ = writeln!(page, "From a terminal, with websocat or Python's websockets:\n");
        let _ = writeln!(page, "  websocat '{url}'\n");
        let _ = writeln!(page, "  python3 -m websockets '{url}'\n");
        let _ =
            writeln!(page, "and then type:  {{\"type\":\"chat_message\",\"content\":\"Hello\"}}\n");
    }
    let _ = writeln!(
        page,
        "The tokens are good for a day. Everything is kept in {}. Ctrl-C ends the demo.",
        data.display()
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_is_open_and_for_this_machine_only() {
        let data = tempfile::tempdir().unwrap();
        let Launch { settings, mode } = prepare(Settings::default(), loopback(0), data.path())
            .unwrap_or_else(|e| panic!("{e}"));
        assert!(settings.listen.ip().is_loopback());
        assert_eq!((settings.access, settings.admin.listen), (Access::Open, None));
        assert_eq!(settings.jwt.keys.len(), 1);
        let Mode::Demo(users) = mode else { panic!("a demo was asked for") };
        let page = greeting(loopback(8123), data.path(), &users);
        assert!(page.contains("http://127.0.0.1:8123/\n"), "{page}");
        for user in &users {
            let url = format!("ws://127.0.0.1:8123/ws/chat/1/?token={}\n", user.token);
            assert!(page.contains(&url), "{page}");
        }
        assert!(!page.contains(settings.jwt.keys[0].secret.expose()));
    }
}
