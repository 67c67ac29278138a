//! `loquat token`: a token for trying things out, signed with the server's own secret.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::demo_secret::{self, DemoSecretError};
use super::serve::missing_secret;
use super::signing::{Bearer, SigningError, parse_scope, sign};
use super::{fail, flags, print, refuse, warn};
use crate::config::table::Entry;
use crate::config::{JwtKey, Mistake, Origin, Resolved, resolve};
use crate::model::{Role, Scope, UserId};

const EXAMPLES: &str = "\
Examples:
  loquat token --user 1 --jwt-secret-file jwt-secret
  loquat token --user 7 --first-name Ann --role moderator --conversations 1,2 --config loquat.toml
  loquat token --user 3 --data ./loquat-demo          for a running demo

The secret comes from the settings, as for `serve`; with --data, from the demo in that directory.
The token is the only thing on stdout.";

/// Ten years: a token for longer is a mistake.
const TTL_S_MAX: u64 = 10 * 365 * 86_400;

pub fn command() -> Command {
    let text = |name: &'static str| Arg::new(name).long(name).value_name("TEXT");
    Command::new("token")
        .about("Make a token")
        .after_help(EXAMPLES)
        .arg(text("user").value_name("ID").required(true).value_parser(parse_user).help("User id"))
        .arg(text("first-name").help("The first_name claim"))
        .arg(text("last-name").help("The last_name claim"))
        .arg(text("email").help("The email claim"))
        .arg(
            text("role")
                .value_name("ROLE")
                .value_parser(parse_role)
                .help("read_only, member, moderator or admin; for access = claim and open"),
        )
        .arg(
            text("conversations")
                .value_name("ID,…|*")
                .value_parser(parse_scope)
                .help("Conversations it opens; for access = claim"),
        )
        .arg(ttl())
        .arg(
            text("kid")
                .value_name("KID")
                .help("The key of jwt.keys to sign with, if not with the single secret"),
        )
        .arg(flags::config())
        .args(flags::settings(is_about_keys))
}

fn ttl() -> Arg {
    Arg::new("ttl")
        .long("ttl")
        .value_name("SECONDS")
        .default_value("3600")
        .value_parser(value_parser!(u64).range(1..=TTL_S_MAX))
        .help("How long it is valid")
}

fn is_about_keys(entry: &Entry) -> bool {
    entry.key == "data" || (entry.key.starts_with("jwt.") && entry.key != "jwt.leeway_s")
}

fn parse_user(text: &str) -> Result<UserId, String> {
    match UserId::parse(text) {
        Ok(user) if user.is_system() => {
            Err("the operator's own name, for which no token is good".to_owned())
        }
        Ok(user) => Ok(user),
        Err(_) => Err("1 to 64 of A-Z a-z 0-9 _ . @ + -".to_owned()),
    }
}

fn parse_role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "read_only, member, moderator or admin".to_owned())
}

pub fn run(matches: &ArgMatches) -> ExitCode {
    let resolved = resolve(&flags::sources(matches));
    warn(&resolved.warnings);
    if !resolved.mistakes.is_empty() {
        return refuse(&resolved.mistakes);
    }
    let key = match choose_key(&resolved, matches.get_one::<String>("kid")) {
        Ok(key) => key,
        Err(NoKey::Mistake(mistake)) => return refuse(&[*mistake]),
        Err(NoKey::Demo(error)) => return fail(&error),
    };
    let Some(bearer) = bearer(matches) else { unreachable!("--user is required") };
    finish(sign(&resolved.settings.jwt, &key, &bearer))
}

fn finish(token: Result<String, SigningError>) -> ExitCode {
    match token {
        Ok(token) => print(&format!("{token}\n")),
        Err(error) => fail(&error),
    }
}

fn bearer(matches: &ArgMatches) -> Option<Bearer> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    Some(Bearer {
        user: matches.get_one::<UserId>("user")?.clone(),
        email: text("email"),
        first_name: text("first-name"),
        last_name: text("last-name"),
        role: matches.get_one::<Role>("role").copied(),
        conversations: matches.get_one::<Scope>("conversations").cloned(),
        ttl_s: *matches.get_one::<u64>("ttl")?,
    })
}

enum NoKey {
    Mistake(Box<Mistake>),
    Demo(DemoSecretError),
}

/// A demo's secret counts when its directory was named on the command line and no secret was, or
/// when there is no other.
fn choose_key(resolved: &Resolved, kid: Option<&String>) -> Result<JwtKey, NoKey> {
    let is_flag = |key| matches!(resolved.origin(key), Origin::Flag(_));
    let names_key = ["jwt.secret_file", "jwt.keys"].into_iter().any(is_flag) || kid.is_some();
    let keys = &resolved.settings.jwt.keys;
    if keys.is_empty() || (is_flag("data") && !names_key) {
        let found = demo_secret::existing(&resolved.settings.data).map_err(NoKey::Demo)?;
        if let Some(secret) = found {
            return Ok(JwtKey { kid: None, secret, not_after_s: None });
        }
    }
    let chosen = match kid {
        Some(_) => keys.iter().find(|key| key.kid.as_ref() == kid),
        None => keys.first(),
    };
    chosen.cloned().ok_or_else(|| {
        NoKey::Mistake(Box::new(match kid {
            Some(kid) => {
                let problem = format!("{kid:?} is the kid of no key in the settings");
                Mistake::new("jwt.keys", Origin::Flag("--kid".to_owned()), problem)
            }
            None => missing_secret(),
        }))
    })
}
