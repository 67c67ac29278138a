//! Why a measurement cannot be made: one sentence for whoever started it.

use std::fmt;

#[derive(Debug)]
pub struct Fail(String);

impl Fail {
    pub fn new(what: impl Into<String>) -> Fail {
        Fail(what.into())
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what was being done when something went wrong.
pub trait Context<T> {
    fn context(self, doing: &str) -> Result<T, Fail>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, doing: &str) -> Result<T, Fail> {
        self.map_err(|error| Fail(format!("{doing}: {error}")))
    }
}
