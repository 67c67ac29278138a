//! From sources to settings: applies what was given, reads the secret files, checks relations.

use std::collections::BTreeMap;
use std::path::Path;

use super::exposed;
use super::field::Raw;
use super::keys::{JwtKey, KeySource};
use super::mistake::{self, Mistake, Origin};
use super::secret::{self, Exposure, Secret};
use super::settings::Settings;
use super::sources::{Given, Sources, gather};
use super::table::{self, Entry};
use crate::limits::SECRET_BYTES_MIN;

/// The outcome of reading all sources. With mistakes, `settings` has the defaults in their places.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    pub settings: Settings,
    origins: BTreeMap<&'static str, Origin>,
    pub mistakes: Vec<Mistake>,
    pub warnings: Vec<String>,
}

/// The settings, or everything that is wrong with them.
pub fn load(sources: &Sources) -> Result<Settings, Vec<Mistake>> {
    let resolved = resolve(sources);
    match resolved.mistakes.is_empty() {
        true => Ok(resolved.settings),
        false => Err(resolved.mistakes),
    }
}

pub fn resolve(sources: &Sources) -> Resolved {
    let gathered = gather(sources);
    let mut resolved = Resolved {
        mistakes: gathered.mistakes,
        warnings: gathered.warnings,
        ..Resolved::default()
    };
    for given in &gathered.given {
        resolved.apply(given);
    }
    resolved.choose_secret();
    resolved.read_keys();
    resolved.read_admin_token();
    resolved.check_limits();
    resolved.check_admin();
    mistake::sort(&mut resolved.mistakes);
    resolved
}

impl Resolved {
    /// Where the value of this setting was written.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// For checks that cannot be made here.
    pub fn add(&mut self, mistakes: Vec<Mistake>) {
        self.mistakes.extend(mistakes);
        mistake::sort(&mut self.mistakes);
    }

    fn is_mistaken(&self, key: &str) -> bool {
        self.mistakes.iter().any(|mistake| mistake.key == key)
    }

    fn apply(&mut self, given: &Given) {
        let Given { entry, raw, origin } = given;
        match entry.set(&mut self.settings, raw) {
            Ok(()) => {
                self.origins.insert(entry.key, origin.clone());
            }
            Err(why) => {
                let allowed = entry.shape.allowed();
                let mut mistake =
                    Mistake::new(entry.key, origin.clone(), why).with_allowed(allowed);
                mistake.value = written(entry, raw);
                self.mistakes.push(mistake);
            }
        }
    }

    /// A secret and a file with a secret: the one from the stronger source counts.
    fn choose_secret(&mut self) {
        let jwt = &mut self.settings.jwt;
        if jwt.secret.is_none() || jwt.secret_file.is_none() {
            return;
        }
        let text = self.origins.get("jwt.secret").cloned().unwrap_or(Origin::Default);
        let file = self.origins.get("jwt.secret_file").cloned().unwrap_or(Origin::Default);
        match text.rank().cmp(&file.rank()) {
            std::cmp::Ordering::Less => jwt.secret = None,
            std::cmp::Ordering::Greater => jwt.secret_file = None,
            std::cmp::Ordering::Equal => {
                let problem = format!("jwt.secret_file is given as well ({file})");
                let mistake = Mistake::new("jwt.secret", text, problem);
                self.mistakes.push(mistake.with_allowed("one of the two"));
            }
        }
    }

    fn read_keys(&mut self) {
        let jwt = self.settings.jwt.clone();
        let single = match (&jwt.secret, &jwt.secret_file) {
            (Some(secret), _) => Some(secret.clone()),
            (None, Some(path)) => self.read_secret("jwt.secret_file", path),
            (None, None) => None,
        };
        let mut keys: Vec<JwtKey> = single
            .map(|secret| JwtKey { kid: None, secret, not_after_s: None })
            .into_iter()
            .collect();
        for listed in &jwt.listed {
            let secret = match &listed.source {
                KeySource::Inline(secret) => Some(secret.clone()),
                KeySource::File(path) => self.read_secret("jwt.keys", path),
            };
            keys.extend(secret.map(|secret| JwtKey {
                kid: Some(listed.kid.clone()),
                secret,
                not_after_s: listed.not_after_s,
            }));
        }
        self.settings.jwt.keys = keys;
    }

    fn read_admin_token(&mut self) {
        if let Some(path) = self.settings.admin.token_file.clone() {
            self.settings.admin.token = self.read_secret("admin.token_file", &path);
        }
        let Some(token) = &self.settings.admin.token else { return };
        // It travels in a header.
        let printable = token.expose().bytes().all(|b| b.is_ascii_graphic());
        if !printable || token.expose().len() < SECRET_BYTES_MIN {
            let problem = "holds a text that cannot be an admin token";
            let mistake =
                Mistake::new("admin.token_file", self.origin("admin.token_file"), problem);
            self.mistakes.push(mistake.with_allowed(format!(
                "at least {SECRET_BYTES_MIN} printable ASCII characters without spaces"
            )));
        }
    }

    fn read_secret(&mut self, key: &str, path: &Path) -> Option<Secret> {
        match secret::read_file(path) {
            Ok(file) => {
                if let Exposure::Others(bits) = file.exposure {
                    self.warnings.push(exposed(path, bits));
                }
                Some(file.secret)
            }
            Err(why) => {
                let problem = format!("{} {why}", path.display());
                self.mistakes.push(Mistake::new(key, self.origin(key), problem));
                None
            }
        }
    }

    fn check_limits(&mut self) {
        for sentence in self.settings.limits.conflicts() {
            let named: Vec<&'static Entry> =
                table::entries().filter(|entry| mentions(&sentence, entry.key)).collect();
            // What was not understood has its default here: it cannot be held against the others.
            if named.iter().any(|entry| self.is_mistaken(entry.key)) {
                continue;
            }
            let values: Vec<String> = named.iter().map(|entry| self.described(entry)).collect();
            let guilty = named.iter().max_by_key(|entry| self.origin(entry.key).rank());
            let (key, origin) = guilty
                .map_or(("limits", Origin::Default), |entry| (entry.key, self.origin(entry.key)));
            let problem = format!("does not fit: {}", values.join(", "));
            self.mistakes.push(Mistake::new(key, origin, problem).with_allowed(sentence));
        }
    }

    fn described(&self, entry: &Entry) -> String {
        let value = entry.text(&self.settings).unwrap_or_default();
        format!("{} is {value} ({})", entry.key, self.origin(entry.key))
    }

    fn check_admin(&mut self) {
        let Some(admin) = self.settings.admin.listen else { return };
        let origin = self.origin("admin.listen");
        let mistake = |problem: &str| {
            Mistake::new("admin.listen", origin.clone(), problem).with_value(admin.to_string())
        };
        let has_token =
            self.settings.admin.token_file.is_some() || self.is_mistaken("admin.token_file");
        // The default address without a token is no mistake: there is no admin side then.
        if self.settings.admin.listen != Settings::default().admin.listen && !has_token {
            self.mistakes.push(
                mistake("wants an admin side, and there is no admin.token_file")
                    .with_allowed("off, or an address and an admin.token_file"),
            );
        }
        if admin == self.settings.listen && admin.port() != 0 && has_token {
            self.mistakes.push(mistake("is also the address of listen"));
        }
    }
}

/// Does the sentence name this key, and not merely a longer one?
fn mentions(sentence: &str, key: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    sentence.split(|c: char| !is_part(c)).any(|word| word == key)
}

/// The value for an error text, unless it may be a secret.
fn written(entry: &Entry, raw: &Raw) -> Option<String> {
    if entry.shape.is_hidden() {
        return None;
    }
    match raw {
        Raw::Text(text) | Raw::Number(text) => Some(text.clone()),
        Raw::Bool(value) => Some(value.to_string()),
        Raw::List(items) => Some(items.join(",")),
        Raw::Tables(_) | Raw::Other => None,
    }
}
