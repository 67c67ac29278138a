//! The words that settings are made of: small enums, each with the text an operator writes.

use crate::model::Access;
use tracing::level_filters::LevelFilter;

/// A closed set of words. The list is what help, docs and checks show.
pub trait Word: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];

    fn parse(text: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(word, _)| *word == text).map(|&(_, value)| value)
    }

    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, value)| *value == self)
            .map_or_else(|| unreachable!("every value of a Word is listed"), |(word, _)| word)
    }
}

/// When an event counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// `fdatasync` returned: survives power loss.
    Commit,
    /// The write returned; synced a moment later: survives kill −9.
    Interval,
    /// The write returned; the kernel decides: survives kill −9.
    Never,
}

impl Word for Fsync {
    const WORDS: &'static [(&'static str, Fsync)] =
        &[("commit", Fsync::Commit), ("interval", Fsync::Interval), ("never", Fsync::Never)];
}

/// How a connection that may not come in is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthReject {
    /// 101, then a close frame with a code that a browser can read.
    Close,
    /// 401 or 403 instead of the 101.
    Http,
}

impl Word for AuthReject {
    const WORDS: &'static [(&'static str, AuthReject)] =
        &[("close", AuthReject::Close), ("http", AuthReject::Http)];
}

/// The one algorithm that tokens are signed with; a token's header never chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
}

impl Word for Algorithm {
    const WORDS: &'static [(&'static str, Algorithm)] =
        &[("HS256", Algorithm::Hs256), ("HS384", Algorithm::Hs384), ("HS512", Algorithm::Hs512)];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
}

impl Switch {
    pub fn is_on(self) -> bool {
        self == Switch::On
    }
}

impl Word for Switch {
    const WORDS: &'static [(&'static str, Switch)] = &[("on", Switch::On), ("off", Switch::Off)];
}

impl Word for Access {
    const WORDS: &'static [(&'static str, Access)] =
        &[("members", Access::Members), ("claim", Access::Claim), ("open", Access::Open)];
}

impl Word for LevelFilter {
    const WORDS: &'static [(&'static str, LevelFilter)] = &[
        ("off", LevelFilter::OFF),
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
}
