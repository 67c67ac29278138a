//! What changed between two readings of the same sources.

use super::settings::Settings;
use super::table::{Applies, entries};

/// Keys whose values differ, by what it takes to apply them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reload {
    /// Applied by SIGHUP.
    pub applied: Vec<&'static str>,
    /// Wait for the next start.
    pub needs_restart: Vec<&'static str>,
}

impl Reload {
    pub fn between(running: &Settings, read: &Settings) -> Reload {
        let mut reload = Reload::default();
        for entry in entries().filter(|entry| !entry.same(running, read)) {
            match entry.applies {
                Applies::Reload => reload.applied.push(entry.key),
                Applies::Restart => reload.needs_restart.push(entry.key),
            }
        }
        // The files' contents: no key names them, and they change while their paths stay.
        if running.jwt.keys != read.jwt.keys
            && !reload.applied.iter().any(|k| k.starts_with("jwt."))
        {
            reload.applied.push("jwt.keys");
        }
        let token_differs = running.admin.token != read.admin.token;
        if token_differs && !reload.needs_restart.contains(&"admin.token_file") {
            reload.needs_restart.push("admin.token_file");
        }
        reload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;
    use crate::config::words::Fsync;

    #[test]
    fn changes_are_named_by_what_they_need() {
        let running = Settings::default();
        let mut read = Settings { fsync: Fsync::Never, ..Settings::default() };
        read.limits.json_depth = 9;
        read.admin.token = Secret::new("changed content of the file");
        let reload = Reload::between(&running, &read);
        assert_eq!(reload.applied, ["limits.json_depth"]);
        assert_eq!(reload.needs_restart, ["fsync", "admin.token_file"]);
        assert_eq!(Reload::between(&read, &read), Reload::default());
    }
}
