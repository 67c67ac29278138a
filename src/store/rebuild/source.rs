//! What a rebuild reads from: copies of pages, opened apart, and what journals add up to as pages of their own.
//! Nothing here writes into a store that is read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::node::journal::frame::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::node::journal::{Scan, SealedMark, salvage};

use super::super::build;
use super::super::error::{OpenError, StoreError};
use super::super::files::{self, SegmentDirectory};
use super::super::keys::Kind;
use super::super::pages::{Pages, guarded};
use super::super::salvage::Salvage;
use super::super::values::ValueReader;
use super::{Stage, Told};

const CACHE_BYTES: u64 = 32 << 20;
/// Copied between two words about how far it is.
const COPY_PIECE_BYTES: u64 = 16 << 20;

/// Pages that are read, and what of them could not be.
pub struct Source {
    /// For people.
    pub name: &'static str,
    pub pages: Pages,
    /// What comes from the backup gives way to what the store itself knows.
    pub is_backup: bool,
    pub mark: SealedMark,
    /// Kinds of which something could not be read.
    damaged: RefCell<BTreeMap<u8, u64>>,
}

impl Source {
    fn new(name: &'static str, pages: Pages, is_backup: bool) -> Source {
        let mark = guarded(|| pages.sealed());
        let damaged = RefCell::default();
        let source = Source {
            name,
            pages,
            is_backup,
            mark: mark.as_ref().copied().unwrap_or_default(),
            damaged,
        };
        if mark.is_err() {
            source.found_damage(Kind::Sealed);
        }
        source
    }

    /// All good values whose keys begin so; what lacks is noted with its kind.
    pub fn each(
        &self,
        kind: Kind,
        prefix: &[u8],
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut pairs = Salvage::of(&self.pages, prefix);
        for (key, value) in pairs.by_ref() {
            if ValueReader::new(&value).is_err() {
                self.found_damage(kind);
                continue;
            }
            take(&key, &value)?;
        }
        self.note(kind, pairs.holes());
        Ok(())
    }

    pub fn found_damage(&self, kind: Kind) {
        self.note(kind, 1);
    }

    pub fn note(&self, kind: Kind, holes: u64) {
        if holes > 0 {
            *self.damaged.borrow_mut().entry(kind as u8).or_default() += holes;
        }
    }

    pub fn is_whole(&self, kind: Kind) -> bool {
        !self.damaged.borrow().contains_key(&(kind as u8))
    }

    /// Everything that was asked for until now could be read.
    pub fn is_all_whole(&self) -> bool {
        self.damaged.borrow().is_empty()
    }

    pub fn damage(&self) -> Option<String> {
        let damaged = self.damaged.borrow();
        let kinds: String = damaged.keys().map(|&kind| char::from(kind)).collect();
        (!kinds.is_empty()).then(|| format!("{}: values of kind {kinds} were damaged", self.name))
    }
}

/// Copies a store's pages to `to` and opens the copy. If they do not open, once more without sled's
/// snapshot, which is only a shortcut. An error of the pages is a sentence, one of the copy ends all.
pub fn open_copy(
    store: &Path,
    to: &Path,
    name: &'static str,
    told: &mut Told<'_>,
) -> Result<Result<Source, String>, OpenError> {
    let from = store.join("pages");
    if !Pages::file_of(&from).exists() {
        return Ok(Err(format!("{name}: there are no pages")));
    }
    let mut reason = String::new();
    for without_snapshot in [false, true] {
        let copied = copy(&from, to, without_snapshot, told);
        copied.map_err(OpenError::io("copying pages to", to))?;
        match Pages::open(to, CACHE_BYTES) {
            Ok(pages) => return Ok(Ok(Source::new(name, pages, name == "the backup's pages"))),
            Err(OpenError::Pages { reason: why, .. }) => reason = why,
            Err(other) => return Err(other),
        }
    }
    Ok(Err(format!("{name} do not open: {reason}")))
}

fn copy(from: &Path, to: &Path, without_snapshot: bool, told: &mut Told<'_>) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    files::create_directory(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_snapshot = name.to_string_lossy().starts_with("snap");
        if entry.file_type()?.is_file() && !(is_snapshot && without_snapshot) {
            copy_file(&entry.path(), &to.join(name), told)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, told: &mut Told<'_>) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut bytes = 0;
    loop {
        let copied = io::copy(&mut from.by_ref().take(COPY_PIECE_BYTES), &mut to)?;
        bytes += copied;
        (told.watch)(Stage::Copying { bytes });
        if copied == 0 {
            return Ok(());
        }
    }
}

/// What is left of a journal.
pub struct Journal {
    pub pages: Source,
    /// First and last commit of each run without holes, in rising order.
    pub runs: Vec<(u64, u64)>,
    pub leased_to: u64,
    pub last_segment: u64,
    segments: SegmentDirectory,
}

impl Journal {
    /// Builds pages at `to` from every good commit of the segments below `store`; what is not good is told.
    pub fn read(
        store: &Path,
        to: &Path,
        is_backup: bool,
        told: &mut Told<'_>,
    ) -> Result<Journal, OpenError> {
        let name = if is_backup { "the backup's journal" } else { "the journal" };
        let segments = SegmentDirectory::new(store.join("journal"));
        let pages = Source::new(name, Pages::open(to, CACHE_BYTES)?, is_backup);
        let mut journal =
            Journal { pages, runs: Vec::new(), leased_to: 0, last_segment: 0, segments };
        let never = AtomicBool::new(false);
        journal.each(told, |pages, scan| build::build(pages, scan, &never))?;
        Ok(journal)
    }

    /// Each segment with what is good of it, oldest first.
    pub fn each(
        &mut self,
        told: &mut Told<'_>,
        mut take: impl FnMut(&Pages, &Scan<'_>) -> Result<(), StoreError>,
    ) -> Result<(), OpenError> {
        let listed = match self.segments.list() {
            Ok(listed) => listed,
            Err(error) => {
                told.notes.push(format!("{}: {error}", self.segments.path().display()));
                return Ok(());
            }
        };
        self.runs.clear();
        let salts = self.salts(&listed);
        let segments = listed.len();
        for (at, segment) in listed.into_iter().enumerate() {
            (told.watch)(Stage::Journal { segment: at + 1, segments });
            self.last_segment = self.last_segment.max(segment);
            let path = self.segments.path_of(segment);
            let bytes = match self.segments.read(segment) {
                Ok(bytes) => bytes,
                Err(error) => {
                    told.notes.push(format!("{}: {error}", path.display()));
                    continue;
                }
            };
            let scan = found(&bytes, segment, &salts);
            for commit in &scan.commits {
                self.leased_to = self.leased_to.max(commit.head.leased_to);
                add(&mut self.runs, commit.head.commit);
            }
            if let Err(error) = guarded(|| take(&self.pages.pages, &scan)) {
                told.notes.push(format!("{}: {error}", path.display()));
            }
        }
        Ok(())
    }

    /// A header that is lost has its neighbours' salt, if they are of the same life.
    fn salts(&self, listed: &[u64]) -> Vec<SegmentHeader> {
        let read = listed.iter().filter_map(|&segment| self.segments.read(segment).ok());
        read.filter_map(|bytes| SegmentHeader::read(&bytes)).collect()
    }
}

fn found<'a>(bytes: &'a [u8], segment: u64, salts: &[SegmentHeader]) -> Scan<'a> {
    let own = SegmentHeader::read(bytes).filter(|header| header.segment == segment);
    let others = salts.iter().map(|header| SegmentHeader { segment, ..*header });
    let candidates = own.into_iter().chain(others.filter(|_| own.is_none()));
    let mut best = (SegmentHeader { segment, epoch: 0, salt: 0 }, Vec::new());
    for header in candidates {
        let commits = salvage(bytes, &header);
        if commits.len() >= best.1.len() {
            best = (header, commits);
        }
    }
    let (header, commits) = best;
    Scan { header, commits, end: SEGMENT_HEADER_BYTES, tail_is_dirty: false }
}

fn add(runs: &mut Vec<(u64, u64)>, commit: u64) {
    match runs.last_mut() {
        Some((_, last)) if *last + 1 == commit => *last = commit,
        Some((_, last)) if *last >= commit => {}
        _ => runs.push((commit, commit)),
    }
}

/// Whether all commits from `first` to `last` stand in these runs, taken together.
pub fn covers(runs: &[(u64, u64)], first: u64, last: u64) -> bool {
    let mut sorted = runs.to_vec();
    sorted.sort_unstable();
    let mut next = first;
    for (from, through) in sorted {
        if from <= next {
            next = next.max(through.saturating_add(1));
        }
    }
    next > last
}

/// The commits between `first` and `last` that stand in none of these runs.
pub fn holes(runs: &[(u64, u64)], first: u64, last: u64) -> Vec<(u64, u64)> {
    let mut sorted = runs.to_vec();
    sorted.sort_unstable();
    let (mut next, mut holes) = (first, Vec::new());
    for (from, through) in sorted.into_iter().filter(|(_, through)| *through >= first) {
        if from > next {
            holes.push((next, (from - 1).min(last)));
        }
        next = next.max(through.saturating_add(1));
    }
    if next <= last {
        holes.push((next, last));
    }
    holes.retain(|(from, to)| from <= to);
    holes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_taken_together() {
        let runs = [(1, 4), (8, 9), (3, 6)];
        assert!(covers(&runs, 2, 6) && !covers(&runs, 2, 7) && covers(&runs, 8, 9));
        assert_eq!(holes(&runs, 2, 12), [(7, 7), (10, 12)]);
        assert_eq!(holes(&runs, 5, 9), [(7, 7)]);
        assert_eq!(holes(&[], 1, 0), []);
    }
}
