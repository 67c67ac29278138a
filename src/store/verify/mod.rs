//! Looks through a whole store that nobody uses. It repairs nothing, and reports everything that it finds:
//! checksums and records of every value (`tree`), what indexes and pages say about each other (`indexes`), and
//! whether the journal's commits form one chain that a start would take (`journal`).
//!
//! Pages of what is not sealed yet, or of an import that is not finished, may be half built; a start builds them
//! again. So what unsealed commits touch is checked only as far as it was sealed, and what is brought in not at all.

mod indexes;
mod journal;
mod tree;

use std::fs;
use std::path::Path;

use crate::limits::VERIFY_LINES_MAX;
use crate::model::{ConversationId, Seq};
use crate::node::journal::{Fsync, SealedMark, Tail};

pub(super) use self::indexes::other_way_round;
use self::journal::Unsealed;
use super::error::OpenError;
use super::files::SegmentDirectory;
use super::import;
use super::life::{self, Existing, Life, Lock};
use super::open::Place;
use super::pages::{Pages, guarded};

const CACHE_BYTES: u64 = 16 << 20;

/// Events that ought to be in pages and are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub conversation: ConversationId,
    pub from: Seq,
    pub to: Seq,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub conversations: u64,
    pub events: u64,
    pub messages: u64,
    pub pages: u64,
    pub values: u64,
    pub segments: u64,
    /// Commits that are in the journal only: the next start builds their pages.
    pub unsealed_commits: u64,
    pub missing: Vec<Missing>,
    /// Each thing that does not hold, as a sentence.
    pub damaged: Vec<String>,
    /// What was found behind the most lines that are kept.
    pub untold: u64,
}

impl Report {
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.damaged.is_empty()
    }

    pub(super) fn damaged(&mut self, what: impl Into<String>) {
        match self.damaged.len() < VERIFY_LINES_MAX {
            true => self.damaged.push(what.into()),
            false => self.untold += 1,
        }
    }

    fn missing(&mut self, conversation: ConversationId, from: Seq, to: Seq) {
        match self.missing.len() < VERIFY_LINES_MAX {
            true if from <= to => self.missing.push(Missing { conversation, from, to }),
            true => {}
            false => self.untold += 1,
        }
    }
}

/// Told now and then how far the reading is.
pub type Watch<'a> = &'a mut dyn FnMut(&Report);

/// Checks the store in `directory`, which no other process may use meanwhile. An error says why it could
/// not be checked; damage stands in the report.
pub fn verify(directory: &Path) -> Result<Report, OpenError> {
    verify_watched(directory, &mut |_| {})
}

/// The same, with somebody who wants to know how far it is.
pub fn verify_watched(directory: &Path, watch: Watch<'_>) -> Result<Report, OpenError> {
    life::has_format(directory)?;
    let _lock = Lock::take(directory)?;
    let place = Place::of(directory);
    let mut report = Report::default();
    if is_new(&place, &mut report) {
        return Ok(report);
    }
    let tail = Life::read(directory, Fsync::Commit, Existing::Something).map(|life| life.tail());
    let tail = tail.unwrap_or_else(|error| {
        report.damaged(error.to_string());
        Tail::Strict
    });
    let pages = match open(&place) {
        Ok(pages) => Some(pages),
        Err(what) => {
            report.damaged(what);
            None
        }
    };
    let sealed = pages.as_ref().map(|pages| sealed(pages, &mut report));
    let segments = SegmentDirectory::new(place.journal.clone());
    let mut unsealed = journal::check(&segments, (sealed, tail), &mut report, watch);
    if let (Some(pages), Some(sealed)) = (&pages, sealed) {
        // A note that cannot be read is told with the other values.
        for due in guarded(|| import::due(pages, &place.imports)).unwrap_or_default() {
            if !due.path.exists() {
                let path = due.path.display();
                report.damaged(format!("{path}: the file of an import is missing"));
            }
            unsealed.brings_in(due.conversation);
        }
        tree::check(pages, (sealed, &unsealed), &mut report, watch);
    }
    Ok(report)
}

/// Nothing was ever stored, or all of it is gone.
fn is_new(place: &Place, report: &mut Report) -> bool {
    match place.existing() {
        Ok(Existing::Nothing) => true,
        Ok(Existing::Something) => false,
        Err(error) => {
            report.damaged(error.to_string());
            false
        }
    }
}

/// Makes nothing where there is nothing.
fn open(place: &Place) -> Result<Pages, String> {
    let path = Pages::file_of(&place.pages);
    match fs::metadata(&path) {
        Ok(found) if found.len() > 0 => {}
        Ok(_) => return Err(format!("{} is empty", path.display())),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    }
    Pages::open(&place.pages, CACHE_BYTES).map_err(|error| match error {
        OpenError::Pages { path, reason } => format!("{} does not open: {reason}", path.display()),
        OpenError::Blobs { path } => {
            format!("{} is not empty: nothing that was synced lies there", path.display())
        }
        other => other.to_string(),
    })
}

fn sealed(pages: &Pages, report: &mut Report) -> SealedMark {
    pages.sealed().unwrap_or_else(|error| {
        report.damaged(format!("the mark of what is sealed: {error}"));
        SealedMark::default()
    })
}

/// What unsealed commits touch, and up to where the rest goes.
type Sealed<'a> = (SealedMark, &'a Unsealed);
