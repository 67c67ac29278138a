//! `loquat serve`: the server for production. It refuses to start without a secret or with a weak one.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::launch::{Launch, Mode, launch};
use super::{flags, refuse, warn};
use crate::config::{JwtKey, Mistake, Origin, Resolved, Sources, resolve};
use crate::limits::{MEMORY_BYTES_MIN, SECRET_BYTES_MIN};
use crate::model::Access;

const EXAMPLES: &str = "\
Make a secret once:
  (umask 077; head -c 48 /dev/urandom | base64 -w 0 > jwt-secret)

Examples:
  loquat serve --jwt-secret-file jwt-secret
  loquat serve --config /etc/loquat/loquat.toml --listen 0.0.0.0:8000
  LOQUAT_ACCESS=claim loquat serve --config loquat.toml

SIGHUP reads keys, origins, limits and the log level again; SIGTERM ends cleanly.";

pub fn command() -> Command {
    Command::new("serve")
        .about("Run the server")
        .after_help("`loquat serve --help` (not -h) also lists the limits.")
        .after_long_help(EXAMPLES)
        .arg(flags::config())
        .args(flags::settings(|_| true))
}

pub fn run(matches: &ArgMatches) -> ExitCode {
    let sources = flags::sources(matches);
    let resolved = checked(&sources);
    warn(&resolved.warnings);
    if !resolved.mistakes.is_empty() {
        return refuse(&resolved.mistakes);
    }
    launch(Launch { settings: resolved.settings, mode: Mode::Serve(sources) })
}

/// The settings with everything that `serve` would refuse. Also what SIGHUP has to ask for.
pub fn checked(sources: &Sources) -> Resolved {
    let mut resolved = resolve(sources);
    let mut found: Vec<Mistake> = Vec::new();
    for key in &resolved.settings.jwt.keys {
        found.extend(weakness(&resolved, key));
    }
    // A file of settings that could not be read may well name one.
    let secret_was_tried = resolved.mistakes.iter().any(|mistake| {
        let is_of_file = mistake.key.is_empty() && !matches!(mistake.origin, Origin::Variable(_));
        is_of_file || matches!(&*mistake.key, "jwt.secret" | "jwt.secret_file" | "jwt.keys")
    });
    if resolved.settings.jwt.keys.is_empty() && !secret_was_tried {
        found.push(missing_secret());
    }
    for sentence in super::server::store_settings(&resolved.settings).conflicts() {
        let origin = resolved.origin("disk_reserve");
        found.push(Mistake::new("disk_reserve", origin, sentence));
    }
    let memory = resolved.settings.memory_limit_bytes;
    if (1..MEMORY_BYTES_MIN).contains(&memory) {
        let sentence = "is 0 or at least 64MiB: the server would take nobody in";
        found.push(Mistake::new("memory_limit", resolved.origin("memory_limit"), sentence));
    }
    resolved.add(found);
    if resolved.settings.access == Access::Open {
        let text = "access is open: anyone with a valid token may enter every conversation";
        resolved.warnings.push(text.to_owned());
    }
    resolved
}

pub fn missing_secret() -> Mistake {
    let problem = "there is no secret to verify tokens with. Make one: \
                   (umask 077; head -c 48 /dev/urandom | base64 -w 0 > jwt-secret), \
                   and start with --jwt-secret-file jwt-secret";
    Mistake::new("jwt.secret_file", Origin::Default, problem)
}

fn weakness(resolved: &Resolved, key: &JwtKey) -> Option<Mistake> {
    let why = crate::auth::weak_secret(key.secret.expose())?;
    let name = match (&key.kid, &resolved.settings.jwt.secret) {
        (Some(_), _) => "jwt.keys",
        (None, Some(_)) => "jwt.secret",
        (None, None) => "jwt.secret_file",
    };
    let which = key.kid.as_ref().map_or(String::new(), |kid| format!("key {kid}: "));
    let problem = format!("{which}{why}");
    let allowed = format!("at least {SECRET_BYTES_MIN} random bytes");
    Some(Mistake::new(name, resolved.origin(name), problem).with_allowed(allowed))
}
