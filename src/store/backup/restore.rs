//! Makes a new store of a backup. It has a new epoch, since what came after the backup is not in it: clients
//! that come with a cursor of before are told so.
//!
//! `format` is written last: what was cut short is no store. After an error nothing of it is left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::limits::{LOST_IDS_SKIPPED, RESTORE_FREE_BYTES_MIN};
use crate::model::Epoch;
use crate::node::journal::frame::{CommitHead, FrameBuilder, SegmentHeader};
use crate::node::journal::{SealedMark, Tail, scan};

use super::super::build;
use super::super::error::{OpenError, StoreError};
use super::super::files::{self, SegmentDirectory};
use super::super::import;
use super::super::keys::{Key, Kind};
use super::super::life::{self, Life};
use super::super::pages::{Batch, Pages};
use super::super::read::wall_now;
use super::super::values::{self, ValueReader};
use super::archive::{ArchiveError, Counts, Pairs, Part, Reader};
use super::{FileName, Head};

const CACHE_BYTES: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the backup cannot be used: {0}")]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the backup's values do not make a store: {0}")]
    Store(#[from] StoreError),
    #[error("{what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

/// What a restore came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub head: Head,
    pub counts: Counts,
    /// Of the new store.
    pub epoch: Epoch,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Making {
    pub bytes: u64,
    pub counts: Counts,
}

/// Makes a store in `into`, which is new or empty, of a backup that is read to its end.
pub fn restore(
    from: impl Read,
    into: &Path,
    watch: &mut dyn FnMut(Making),
) -> Result<Restored, RestoreError> {
    // Before anything is made: what this is at all.
    let mut reader = Reader::new(from)?;
    let head = match reader.part()? {
        Some(Part::Head(head)) => head,
        _ => return Err(ArchiveError::NotOne.into()),
    };
    files::create_directory(into).map_err(OpenError::io("creating", into))?;
    let is_empty = fs::read_dir(into).map(|mut entries| entries.next().is_none());
    if !is_empty.map_err(OpenError::io("reading", into))? {
        return Err(OpenError::NotEmpty { path: into.to_owned() }.into());
    }
    let made = make(reader, &head, into, watch);
    if made.is_err() {
        remove(into);
    }
    let (counts, epoch) = made?;
    Ok(Restored { head, counts, epoch })
}

/// All that a restore makes; the directory stays.
fn remove(into: &Path) {
    for name in ["pages", "pages.new", "journal", "imports"] {
        // What cannot be removed is found by the next try, which asks for an empty directory.
        let _ = fs::remove_dir_all(into.join(name));
    }
    let _ = fs::remove_file(into.join("life"));
}

fn make<R: Read>(
    mut reader: Reader<R>,
    head: &Head,
    into: &Path,
    watch: &mut dyn FnMut(Making),
) -> Result<(Counts, Epoch), RestoreError> {
    let mut new = New::begin(into, head.mark())?;
    loop {
        let making = Making { bytes: reader.bytes(), counts: reader.counts() };
        match reader.part()? {
            Some(Part::Pairs(pairs)) => new.pairs(pairs)?,
            Some(Part::File(name)) => new.file(name)?,
            Some(Part::Data(bytes)) => new.data(bytes)?,
            Some(Part::End(counts)) => {
                let epoch = new.end(counts)?;
                return Ok((counts, epoch));
            }
            Some(Part::Head(_)) | None => return Err(ArchiveError::NotOne.into()),
        }
        watch(making);
    }
}

/// A store in the making.
struct New {
    into: PathBuf,
    pages: Pages,
    segments: SegmentDirectory,
    imports: PathBuf,
    /// Up to where segments are built into pages.
    mark: SealedMark,
    last_segment: u64,
    are_pairs_in: bool,
    open: Option<(FileName, PathBuf, File)>,
}

impl New {
    fn begin(into: &Path, mark: SealedMark) -> Result<New, OpenError> {
        let (journal, imports) = (into.join("journal"), into.join("imports"));
        for path in [&journal, &imports] {
            files::create_directory(path).map_err(OpenError::io("creating", path))?;
        }
        let pages = Pages::open(&into.join("pages"), CACHE_BYTES)?;
        Ok(New {
            into: into.to_owned(),
            pages,
            segments: SegmentDirectory::new(journal),
            imports,
            mark,
            last_segment: mark.segment,
            are_pairs_in: false,
            open: None,
        })
    }

    /// sled must never meet a full disk.
    fn check_space(&self) -> Result<(), OpenError> {
        let path = &self.into;
        let free_bytes =
            files::free_bytes(path).map_err(OpenError::io("asking for space at", path))?;
        let needed_bytes = RESTORE_FREE_BYTES_MIN;
        if free_bytes < needed_bytes {
            return Err(OpenError::NoSpace { path: path.clone(), free_bytes, needed_bytes });
        }
        Ok(())
    }

    fn pairs(&mut self, pairs: Pairs<'_>) -> Result<(), RestoreError> {
        self.check_space()?;
        let mut batch = Batch::default();
        for (key, value) in pairs {
            ValueReader::new(value).map_err(StoreError::from)?;
            batch.insert(key, value);
        }
        Ok(self.pages.apply(batch)?)
    }

    /// The first file: what stood in pages is there.
    fn pages_are_in(&mut self) -> Result<(), StoreError> {
        if !std::mem::replace(&mut self.are_pairs_in, true) {
            self.pages.insert(&Key::new(Kind::Sealed), values::write_sealed(&self.mark))?;
            self.pages.sync()?;
        }
        Ok(())
    }

    fn file(&mut self, name: FileName) -> Result<(), RestoreError> {
        self.close()?;
        self.pages_are_in()?;
        self.check_space()?;
        let path = match name {
            FileName::Segment(number) => self.segments.path_of(number),
            FileName::Import(number) => import::file_of(&self.imports, number),
        };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|source| failed("creating", &path, source))?;
        self.open = Some((name, path, file));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let Some((_, path, file)) = &mut self.open else { return Ok(()) };
        file.write_all(bytes).map_err(|source| failed("writing", path, source))
    }

    /// A file is whole; a segment that pages do not have wholly is built into them.
    fn close(&mut self) -> Result<(), RestoreError> {
        let Some((name, path, file)) = self.open.take() else { return Ok(()) };
        file.sync_all().map_err(|source| failed("syncing", &path, source))?;
        let FileName::Segment(segment) = name else { return Ok(()) };
        self.last_segment = self.last_segment.max(segment);
        if segment <= self.mark.segment {
            return Ok(());
        }
        let reading = |source| failed("reading", &path, source);
        let bytes = self.segments.read(segment).map_err(reading)?;
        let scanned = scan(&bytes, segment, Tail::Strict).map_err(StoreError::from)?;
        let Some(last) = scanned.commits.last() else {
            // Prepared, and nothing was in it yet.
            return self.segments.remove(segment).map_err(reading);
        };
        build::build(&self.pages, &scanned, &AtomicBool::new(false))?;
        self.mark = SealedMark {
            segment,
            commit: last.head.commit,
            leased_to: last.head.leased_to.max(self.mark.leased_to),
        };
        Ok(())
    }

    fn end(mut self, counts: Counts) -> Result<Epoch, RestoreError> {
        self.close()?;
        self.pages_are_in()?;
        if self.mark.commit < counts.through {
            return Err(ArchiveError::Counts { what: "fewer commits" }.into());
        }
        self.pages.sync()?;
        for directory in [self.segments.path(), &self.imports] {
            files::sync_directory(directory)
                .map_err(|source| failed("syncing", directory, source))?;
        }
        let epoch = Life::restored(&self.into, None)?;
        self.skip_ids(epoch)?;
        drop(self.pages);
        files::sync_directory(&self.into)
            .map_err(|source| failed("syncing", &self.into, source))?;
        life::write_format(&self.into)?;
        Ok(epoch)
    }

    /// Ids may have been given after the backup: a commit without records sets more of them aside.
    fn skip_ids(&self, epoch: Epoch) -> Result<(), RestoreError> {
        let (segment, salt) = (self.last_segment + 1, life::random_u64()?);
        let mut bytes = SegmentHeader { segment, epoch: epoch.0, salt }.to_bytes().to_vec();
        let head = CommitHead {
            segment,
            commit: self.mark.commit + 1,
            leased_to: self.mark.leased_to + LOST_IDS_SKIPPED,
            at: wall_now(),
        };
        bytes.extend(FrameBuilder::default().finish(&head, salt));
        let path = self.segments.path();
        let written = self.segments.replace(segment, &bytes).and_then(|()| self.segments.sync());
        written.map_err(|source| failed("writing to", path, source))
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> RestoreError {
    RestoreError::Io { what, path: path.to_owned(), source }
}
