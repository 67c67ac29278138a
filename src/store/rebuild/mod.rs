//! Makes a new store of a damaged one: of its pages as far as their checksums hold, of a backup, and of the kept
//! segments of both. The old store is only read.
//!
//! ```text
//! copies of pages, pages of journals ─► what is known (`facts`) ─► conversation by conversation ─► journal, life, format
//! ```
//! Invariants
//! - A directory is a store only with its `format`, which is written last: a rebuild that was cut short leaves none.
//! - What was deleted, erased or too old does not come back, whoever still has it.
//! - Every (conversation, seqs) that nothing has is named; the epoch is a new one then, and whenever it cannot be
//!   told that nothing else is lost.

mod conversation;
mod facts;
mod source;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::limits::LOST_IDS_SKIPPED;
use crate::model::{ConversationId, Epoch, Wall};
use crate::node::journal::SealedMark;
use crate::node::journal::frame::{CommitHead, FrameBuilder, SegmentHeader};

use self::conversation::Writer;
use self::facts::{Known, Putter};
use self::source::{Journal, Source, covers, holes, open_copy};
use super::error::{OpenError, StoreError};
use super::files::{self, SegmentDirectory};
use super::import;
use super::keys::{Key, Kind};
use super::life::{self, Life, Lock};
use super::pages::Pages;
use super::salvage::Salvage;
use super::values;
use super::verify::Missing;

const CACHE_BYTES: u64 = 32 << 20;

/// What to make of what.
#[derive(Debug, Clone)]
pub struct Rebuild {
    pub store: PathBuf,
    pub backup: Option<PathBuf>,
    /// New or empty.
    pub into: PathBuf,
}

/// What a rebuild came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    pub conversations: u64,
    pub events: u64,
    pub epoch: Epoch,
    /// Cursors of clients still hold.
    pub is_same_epoch: bool,
    /// What nothing has.
    pub lost: Vec<Missing>,
    /// What else was damaged or may be lost, each a sentence.
    pub notes: Vec<String>,
}

/// Everything that is read, in the order of who knows best.
pub struct Sources {
    store: Option<Source>,
    journal: Journal,
    backup: Option<Source>,
    backup_journal: Option<Journal>,
}

impl Sources {
    fn all(&self) -> impl Iterator<Item = &Source> {
        let store = self.store.iter().chain([&self.journal.pages]);
        let backup = self.backup.iter().chain(self.backup_journal.iter().map(|it| &it.pages));
        store.chain(backup)
    }

    fn journals(&self) -> impl Iterator<Item = &Journal> {
        [&self.journal].into_iter().chain(&self.backup_journal)
    }

    /// The highest number that a segment ever had, as far as anything tells.
    fn last_segment(&self) -> u64 {
        let marks = self.all().map(|source| source.mark.segment);
        let files = self.journals().map(|journal| journal.last_segment);
        marks.chain(files).max().unwrap_or(0)
    }

    fn last_commit(&self) -> u64 {
        self.all()
            .map(|source| source.mark.commit)
            .chain(self.runs().map(|run| run.1))
            .max()
            .unwrap_or(0)
    }

    fn leased_to(&self) -> u64 {
        let marks = self.all().map(|source| source.mark.leased_to);
        marks.chain(self.journals().map(|journal| journal.leased_to)).max().unwrap_or(0)
    }

    fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.journals().flat_map(|journal| journal.runs.iter().copied())
    }

    /// Commits of which nothing but what pages have can be known.
    fn lost_commits(&self) -> Option<Vec<(u64, u64)>> {
        let runs: Vec<(u64, u64)> = self.runs().collect();
        let last = self.last_commit();
        let whole =
            [&self.store, &self.backup].into_iter().flatten().filter(|it| it.is_all_whole());
        let begins = whole.map(|source| source.mark.commit).chain([0]);
        let best = begins.max().unwrap_or(0);
        if covers(&runs, best + 1, last) || best >= last {
            return None;
        }
        Some(holes(&runs, best + 1, last))
    }
}

/// How far a rebuild is. Stages come in this order; the journal is read more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Bytes of a file of pages.
    Copying {
        bytes: u64,
    },
    Journal {
        segment: usize,
        segments: usize,
    },
    /// What is done of the new store.
    Writing {
        conversations: u64,
        events: u64,
    },
}

/// Told now and then how far it is.
pub type Watch<'a> = &'a mut dyn FnMut(Stage);

/// What is told on the way: for the report, and about how far it is.
pub struct Told<'a> {
    pub notes: Vec<String>,
    pub watch: Watch<'a>,
}

pub fn rebuild(job: &Rebuild, watch: Watch<'_>) -> Result<Rebuilt, OpenError> {
    let _locks = [check(&job.store)?, job.backup.as_deref().map(check).transpose()?.flatten()];
    files::create_directory(&job.into).map_err(OpenError::io("creating", &job.into))?;
    let is_empty = fs::read_dir(&job.into).map(|mut entries| entries.next().is_none());
    if !is_empty.map_err(OpenError::io("reading", &job.into))? {
        return Err(OpenError::NotEmpty { path: job.into.clone() });
    }
    let salvage = job.into.join("salvage");
    files::create_directory(&salvage).map_err(OpenError::io("creating", &salvage))?;
    check_space(job)?;
    let mut told = Told { notes: Vec::new(), watch };
    let mut sources = open(job, &salvage, &mut told)?;
    let new = Pages::open(&job.into.join("pages"), CACHE_BYTES)?;
    let (mut rebuilt, leased_to) = fill(&new, &mut sources, told)?;
    let epoch = rebuilt.is_same_epoch.then(|| Life::epoch_of(&job.store)).flatten();
    rebuilt.is_same_epoch = epoch.is_some();
    finish(&new, &sources, leased_to).map_err(failed)?;
    let last = (sources.last_segment(), sources.last_commit());
    drop((sources, new));
    fs::remove_dir_all(&salvage).map_err(OpenError::io("removing", &salvage))?;
    rebuilt.epoch = Life::restored(&job.into, epoch)?;
    begin_journal(&job.into, rebuilt.epoch, (last, leased_to))?;
    files::sync_directory(&job.into).map_err(OpenError::io("syncing", &job.into))?;
    life::write_format(&job.into)?;
    Ok(rebuilt)
}

/// A store of our format that nobody uses.
fn check(store: &Path) -> Result<Option<Lock>, OpenError> {
    life::has_format(store)?;
    Lock::look(store)
}

fn check_space(job: &Rebuild) -> Result<(), OpenError> {
    let path = &job.into;
    let free_bytes = files::free_bytes(path).map_err(OpenError::io("asking for space at", path))?;
    let stores = [Some(&job.store), job.backup.as_ref()];
    // A copy of the pages, pages of the journal, and the new ones.
    let all = stores
        .into_iter()
        .flatten()
        .map(|store| 2 * bytes_in(&store.join("pages")) + bytes_in(&store.join("journal")));
    let needed_bytes = all.sum::<u64>() + (64 << 20);
    if free_bytes < needed_bytes {
        return Err(OpenError::NoSpace { path: path.clone(), free_bytes, needed_bytes });
    }
    Ok(())
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
}

fn open(job: &Rebuild, salvage: &Path, told: &mut Told<'_>) -> Result<Sources, OpenError> {
    let store = pages(&job.store, &salvage.join("pages"), "the pages", told)?;
    let backup = match &job.backup {
        Some(backup) => pages(backup, &salvage.join("backup-pages"), "the backup's pages", told)?,
        None => None,
    };
    let journal = Journal::read(&job.store, &salvage.join("journal"), false, told)?;
    let backup_journal = match &job.backup {
        Some(backup) => Some(Journal::read(backup, &salvage.join("backup-journal"), true, told)?),
        None => None,
    };
    let imports = job.store.join("imports");
    for source in store.iter().chain([&journal.pages]) {
        if let Err(error) = import::build_staged(&source.pages, &journal.pages.pages, &imports) {
            told.notes.push(format!("an import that was on its way: {error}"));
        }
    }
    Ok(Sources { store, journal, backup, backup_journal })
}

/// A copy of a store's pages; why there is none is noted.
fn pages(
    store: &Path,
    to: &Path,
    name: &'static str,
    told: &mut Told<'_>,
) -> Result<Option<Source>, OpenError> {
    Ok(match open_copy(store, to, name, told)? {
        Ok(source) => Some(source),
        Err(what) => {
            told.notes.push(what);
            None
        }
    })
}

/// Everything but the mark; gives what came of it, and up to where ids are leased.
fn fill(
    new: &Pages,
    sources: &mut Sources,
    mut told: Told<'_>,
) -> Result<(Rebuilt, u64), OpenError> {
    let mut known = Known::of(sources).map_err(failed)?;
    facts::put(new, sources, &mut known, &mut told)?;
    let last_commit = sources.last_commit();
    let spans = facts::spans(new, sources, last_commit).map_err(failed)?;
    let (sources, known) = (&*sources, &known);
    let writer = Writer { new, sources, known, spans: &spans };
    let mut rebuilt = Rebuilt {
        conversations: 0,
        events: 0,
        epoch: Epoch(0),
        is_same_epoch: false,
        lost: Vec::new(),
        notes: Vec::new(),
    };
    let mut last_message = 0;
    for id in conversation::all(sources).map_err(failed)? {
        let outcome = writer.write(&id).map_err(|error| of_conversation(&id, error))?;
        rebuilt.conversations += 1;
        rebuilt.events += outcome.events;
        rebuilt.lost.extend(outcome.lost);
        last_message = last_message.max(outcome.last_message);
        let Rebuilt { conversations, events, .. } = rebuilt;
        (told.watch)(Stage::Writing { conversations, events });
    }
    facts::first_sends(new, sources, known).map_err(failed)?;
    let mut notes = told.notes;
    notes.extend(sources.all().filter_map(Source::damage));
    let lost_commits = sources.lost_commits();
    for (from, to) in lost_commits.iter().flatten() {
        notes.push(format!(
            "commits {from} to {to} stand in no journal: what they said of members, profiles and marks may be lost"
        ));
    }
    rebuilt.is_same_epoch = rebuilt.lost.is_empty() && lost_commits.is_none();
    rebuilt.notes = notes;
    let leased_to = sources.leased_to().max(last_message + 1);
    // Ids may have been given that nothing here knows of.
    let skipped = if rebuilt.is_same_epoch { 0 } else { LOST_IDS_SKIPPED };
    Ok((rebuilt, leased_to + skipped))
}

fn finish(new: &Pages, sources: &Sources, leased_to: u64) -> Result<(), StoreError> {
    let mut putter = Putter::new(new);
    // Nothing of what was to be erased was taken over.
    for (key, _) in Salvage::of(new, &[Kind::ToErase as u8]) {
        putter.remove(&key)?;
    }
    putter.end()?;
    let last = facts::spans(new, sources, sources.last_commit())?.last();
    let (segment, commit) = last.map_or((0, 0), |span| (span.segment, span.through));
    let sealed = SealedMark { segment, commit, leased_to };
    new.insert(&Key::new(Kind::Sealed), values::write_sealed(&sealed))?;
    new.sync()
}

/// A first segment that says only up to where ids are leased: it is the witness that every start wants.
fn begin_journal(
    into: &Path,
    epoch: Epoch,
    ((last_segment, last_commit), leased_to): ((u64, u64), u64),
) -> Result<(), OpenError> {
    let path = into.join("journal");
    files::create_directory(&path).map_err(OpenError::io("creating", &path))?;
    let segments = SegmentDirectory::new(path.clone());
    let (segment, salt) = (last_segment + 1, life::random_u64()?);
    let mut bytes = SegmentHeader { segment, epoch: epoch.0, salt }.to_bytes().to_vec();
    let at = super::read::wall_now();
    let head = CommitHead { segment, commit: last_commit + 1, leased_to, at: Wall(at.0) };
    bytes.extend(FrameBuilder::default().finish(&head, salt));
    let written = segments.replace(segment, &bytes).and_then(|()| segments.sync());
    written.map_err(OpenError::io("writing a segment to", &path))
}

fn of_conversation(id: &ConversationId, error: StoreError) -> OpenError {
    let what = format!("conversation {id}: {error}");
    OpenError::Rebuild { what }
}

fn failed(error: StoreError) -> OpenError {
    match error {
        StoreError::Io { what, source } => {
            OpenError::Io { what, path: PathBuf::new(), source: io::Error::from(source.kind()) }
        }
        other => OpenError::Rebuild { what: other.to_string() },
    }
}
