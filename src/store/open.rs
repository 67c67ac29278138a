//! Opening a store: everything that must hold before any shard serves.
//!
//! Lock, format, pages, then the unsealed segments: read, checked, copied and synced (see
//! [`crate::node::journal::recovery`]), built into pages, and only then is the life noted as begun.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::model::Epoch;
use crate::node::journal::{Durable, JournalStart, Recovered, Recovery, RecoveryStep, Tail};

use super::error::{OpenError, StoreError};
use super::files::{self, SegmentDirectory};
use super::import;
use super::life::{self, Existing, Life, Lock};
use super::overlay::Overlay;
use super::page_thread::{self, Span};
use super::pages::Pages;
use super::read::{ReadHandle, Shared};
use super::running::{self, Begin, Fatal, Running, ShardEnds, ShardPorts, StoreCounters};
use super::settings::StoreSettings;
use super::transfers::Transfers;
use super::watermark::Watermark;

/// A store whose past is on disk and in pages; nothing runs yet.
pub struct Opened {
    pub epoch: Epoch,
    /// What the start found and did, for the log.
    pub replayed: Replayed,
    begin: Begin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    pub segments: usize,
    /// Commits that are on disk, all lives together.
    pub commits: u64,
    /// The segment in which bytes behind the last commit said nothing.
    pub dropped_tail_in: Option<u64>,
}

impl Opened {
    /// Starts the threads. The ends come in the order of the shards; each shard's first lease comes by
    /// itself.
    pub fn start(
        self,
        shards: Vec<ShardPorts>,
        fatal: Fatal,
    ) -> Result<(Running, Vec<ShardEnds>), OpenError> {
        running::start(self.begin, shards, fatal)
    }

    /// Where the threads count, if anybody wants to know.
    #[must_use]
    pub fn counted_by(mut self, counters: StoreCounters) -> Opened {
        self.begin.counters = counters;
        self
    }

    pub fn read_handle(&self) -> ReadHandle {
        ReadHandle::new(self.begin.shared.clone())
    }

    /// The ways out; the way in opens with [`Running::transfers`].
    pub fn transfers(&self) -> Transfers {
        self.begin.transfers(None)
    }
}

/// The store in a directory.
#[derive(Debug)]
pub struct Store;

impl Store {
    /// Opens the store in `directory`, or makes one there if it is new or empty.
    pub fn open(directory: &Path, settings: StoreSettings) -> Result<Opened, OpenError> {
        let settings = settings.workable();
        files::create_directory(directory).map_err(OpenError::io("creating", directory))?;
        let lock = Lock::take(directory)?;
        life::check_format(directory)?;
        let place = Place::of(directory);
        let existing = place.existing()?;
        let life = Life::read(directory, settings.journal.fsync, existing)?;
        let segments = place.segments(existing)?;
        let pages = Pages::open(&place.pages, settings.cache_bytes)?;
        files::sync_directory(directory).map_err(OpenError::io("syncing", directory))?;

        let recovered = recover(&pages, &segments, life.tail())?;
        let durable = Durable { commit: recovered.next_commit - 1, leased_to: recovered.leased_to };
        let shared = Arc::new(Shared {
            pages,
            overlay: Overlay::default(),
            watermark: Watermark::new(durable),
            epoch: life.epoch(),
            _lock: lock,
        });
        replay(&shared, &segments, &recovered)?;
        import::finish_all(&shared, &place.imports).map_err(|error| match error {
            StoreError::ImportGone { path } => OpenError::ImportGone { path },
            other => broken_pages(&segments, &other),
        })?;
        life.begin()?;
        let start = JournalStart {
            epoch: life.epoch().0,
            next_segment: recovered.next_segment,
            next_commit: recovered.next_commit,
            leased_to: recovered.leased_to,
            salt: life::random_u64()?,
        };
        let replayed = Replayed {
            segments: recovered.unsealed.len(),
            commits: recovered.next_commit - 1,
            dropped_tail_in: recovered.dropped_tail_in,
        };
        let epoch = life.epoch();
        let imports = place.imports;
        let counters = StoreCounters::default();
        let begin = Begin { shared, segments, imports, settings, start, life, counters };
        Ok(Opened { epoch, replayed, begin })
    }
}

/// Where things lie in a store's directory.
pub(super) struct Place {
    pub journal: PathBuf,
    pub pages: PathBuf,
    life: PathBuf,
    pub imports: PathBuf,
}

impl Place {
    pub fn of(directory: &Path) -> Place {
        Place {
            journal: directory.join("journal"),
            pages: directory.join("pages"),
            life: directory.join("life"),
            imports: directory.join("imports"),
        }
    }

    /// A store that began a life once has journal and pages; what is missing then is lost, and is not
    /// made anew.
    pub fn existing(&self) -> Result<Existing, OpenError> {
        let is_there = |path: &Path| path.try_exists().map_err(OpenError::io("looking at", path));
        let has_life = is_there(&self.life)?;
        let database = Pages::file_of(&self.pages);
        if has_life && !is_there(&database)? {
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(OpenError::io("opening", &database)(source));
        }
        let has_segments = is_there(&self.journal)?
            && !SegmentDirectory::new(self.journal.clone())
                .list()
                .map_err(OpenError::io("listing", &self.journal))?
                .is_empty();
        Ok(if has_life || has_segments { Existing::Something } else { Existing::Nothing })
    }

    fn segments(&self, existing: Existing) -> Result<SegmentDirectory, OpenError> {
        let segments = SegmentDirectory::new(self.journal.clone());
        if existing == Existing::Nothing {
            files::create_directory(&self.journal)
                .map_err(OpenError::io("creating", &self.journal))?;
        }
        segments.remove_unnamed().map_err(OpenError::io("clearing", &self.journal))?;
        Ok(segments)
    }
}

fn recover(pages: &Pages, segments: &SegmentDirectory, tail: Tail) -> Result<Recovered, OpenError> {
    let path = segments.path();
    let numbers = segments.list().map_err(OpenError::io("listing", path))?;
    let sealed = pages.sealed().map_err(|error| broken_pages(segments, &error))?;
    check_space(segments, &numbers, sealed.segment)?;
    let mut recovery = Recovery::new(&numbers, sealed, tail);
    let mut answer = None;
    loop {
        let step = recovery.next(answer.take()).map_err(|damage| OpenError::Journal {
            path: segments.path_of(damage.segment()),
            damage,
        })?;
        let done = match step {
            RecoveryStep::Read { segment } => {
                segments.read(segment).map(|bytes| answer = Some(bytes))
            }
            RecoveryStep::Replace { segment, bytes } => segments.replace(segment, &bytes),
            RecoveryStep::Remove { segment } => segments.remove(segment),
            RecoveryStep::SyncDirectory => segments.sync(),
            RecoveryStep::Finished(recovered) => return Ok(recovered),
        };
        done.map_err(OpenError::io("recovering the journal at", path))?;
    }
}

/// Copies and pages of what is to be replayed must fit.
fn check_space(segments: &SegmentDirectory, numbers: &[u64], sealed: u64) -> Result<(), OpenError> {
    let path = segments.path();
    let mut unsealed_bytes = 0;
    for &segment in numbers.iter().filter(|&&segment| segment > sealed) {
        let path = segments.path_of(segment);
        let length = path.metadata().map_err(OpenError::io("reading", &path))?.len();
        unsealed_bytes += length;
    }
    if unsealed_bytes == 0 {
        return Ok(());
    }
    let free_bytes = files::free_bytes(path).map_err(OpenError::io("asking for space at", path))?;
    let needed_bytes = page_thread::needed_bytes(unsealed_bytes);
    if free_bytes < needed_bytes {
        return Err(OpenError::NoSpace { path: path.to_owned(), free_bytes, needed_bytes });
    }
    Ok(())
}

fn replay(
    shared: &Shared,
    segments: &SegmentDirectory,
    recovered: &Recovered,
) -> Result<(), OpenError> {
    let never = AtomicBool::new(false);
    for unsealed in &recovered.unsealed {
        let span = Span { segment: unsealed.segment, last_commit: unsealed.last_commit };
        page_thread::seal(shared, segments, span, &never).map_err(|error| match error {
            StoreError::Journal(damage) => {
                OpenError::Journal { path: segments.path_of(damage.segment()), damage }
            }
            other => broken_pages(segments, &other),
        })?;
    }
    Ok(())
}

fn broken_pages(segments: &SegmentDirectory, error: &StoreError) -> OpenError {
    let path = segments.path().with_file_name("pages");
    OpenError::Pages { path, reason: error.to_string() }
}
