//! The store's ways in and out, for the admin side: the log as a stream, one conversation out, one
//! conversation in. Blocking, and never on a reactor's or the log's way.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{ConversationId, Epoch, EventBody};
use crate::node::ports::Record;

use super::backup::{Backup, Sources};
use super::commits::Commits;
use super::error::StoreError;
use super::export::{Export, each_record};
use super::files::{self, SegmentDirectory};
use super::given;
use super::log_thread::{Note, Notes};
use super::overlay::Progress;
use super::pages::guarded;
use super::read::ReadHandle;
use super::staging::{ImportError, Staged, Staging};
use super::stream::{EventLog, EventsError, EventsPage, Position};
use super::watermark::Waiting;

/// Clone it freely.
#[derive(Clone)]
pub struct Transfers {
    inner: Arc<Inner>,
}

struct Inner {
    read: ReadHandle,
    segments: SegmentDirectory,
    imports: PathBuf,
    /// Free space that an import leaves.
    reserve_bytes: u64,
    /// `None` before the store's threads run.
    notes: Option<Notes>,
    log: Mutex<EventLog>,
}

/// What an import needs of the disk for each byte that it stages, pages and all.
const DISK_FACTOR: u64 = 3;

/// Where [`Transfers`] finds things.
pub(super) struct Places {
    pub segments: SegmentDirectory,
    pub imports: PathBuf,
    pub reserve_bytes: u64,
}

impl Transfers {
    pub(super) fn new(read: ReadHandle, places: Places, notes: Option<Notes>) -> Transfers {
        let Places { segments, imports, reserve_bytes } = places;
        let log = Mutex::new(EventLog::new(read.clone(), segments.clone()));
        Transfers { inner: Arc::new(Inner { read, segments, imports, reserve_bytes, notes, log }) }
    }

    pub fn epoch(&self) -> Epoch {
        self.inner.read.epoch()
    }

    /// At most `limit` things that happened, from a position on.
    pub fn events(&self, from: Position, limit: usize) -> Result<EventsPage, EventsError> {
        // Whoever panicked here left caches only, and every use of them checks what it finds.
        let mut log = self.inner.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcome = Err(EventsError::Future);
        guarded(|| {
            outcome = log.page(from, limit);
            Ok(())
        })?;
        outcome
    }

    /// Called whenever something new may be there for those who wait.
    pub fn set_bell(&self, bell: impl Fn() + Send + Sync + 'static) {
        self.inner.read.watermark().set_bell(bell);
    }

    /// Another number whenever there may be something new.
    pub fn changes(&self) -> u64 {
        self.inner.read.watermark().changes()
    }

    /// As long as it is held, the bell rings.
    pub fn wait(&self) -> Waiting<'_> {
        self.inner.read.watermark().wait()
    }

    /// The conversation as it stands; `None` when there is none.
    pub fn export(&self, conversation: ConversationId) -> Result<Option<Export>, StoreError> {
        let mut commits = Commits::new(self.inner.segments.clone());
        Export::of(self.inner.read.clone(), &mut commits, conversation)
    }

    /// Everything that is stored, as it stands; the store holds still meanwhile as far as it must. One at a time.
    pub fn backup(&self) -> Result<Backup, StoreError> {
        let Inner { read, segments, imports, notes, .. } = &*self.inner;
        let Some(notes) = notes.clone() else { return Err(StoreError::Stopped) };
        let sources =
            Sources { read: read.clone(), segments: segments.clone(), imports: imports.clone() };
        Backup::begin(sources, notes)
    }

    /// Begins to take a conversation in. Nothing is there before its record is in the log.
    pub fn stage(&self, conversation: ConversationId) -> Result<Staging, ImportError> {
        if self.inner.notes.is_none() {
            return Err(ImportError::Store(StoreError::Stopped));
        }
        Staging::begin(&self.inner.imports, conversation)
    }

    /// Whether there is room for so many bytes more, in the file and in pages.
    pub fn has_room(&self, bytes: u64) -> Result<bool, StoreError> {
        let what = "asking for free space";
        let free = files::free_bytes(self.inner.segments.path())
            .map_err(|source| StoreError::Io { what, source })?;
        Ok(free >= self.inner.reserve_bytes.saturating_add(bytes.saturating_mul(DISK_FACTOR)))
    }

    /// Sets all ids below `floor` aside; see [`Transfers::is_raised`].
    pub fn raise(&self, floor: u64) {
        if let Some(notes) = &self.inner.notes {
            notes.send(Note::Raise { floor });
        }
    }

    /// No lease that is granted from now on has an id below `floor`, in no life of the server.
    pub fn is_raised(&self, floor: u64) -> bool {
        self.inner.read.watermark().leased_to() >= floor
    }

    /// The first staged id that some message of this server has, or had; by its place.
    pub fn clash(&self, staged: &Staged) -> Result<Option<usize>, StoreError> {
        let ids = staged.ids();
        let sealed = self.inner.read.pages().sealed()?.commit;
        let through = self.inner.read.watermark().commit();
        let mut commits = Commits::new(self.inner.segments.clone());
        let mut found: Option<usize> = None;
        let whole = each_record(&mut commits, (sealed + 1, through), |_, record| {
            if let Record::Event { event, .. } = record
                && let EventBody::Message(body) = &event.body
                && let Ok(at) = ids.binary_search(&body.id.0)
            {
                found = Some(found.map_or(at, |found| found.min(at)));
            }
        })?;
        if !whole {
            return Err(StoreError::CommitGone { commit: sealed + 1 });
        }
        let given = guarded(|| given::first_given(self.inner.read.pages(), ids))?;
        Ok(found.into_iter().chain(given).min())
    }

    /// How far pages are with an import; `None` when there is none.
    pub fn importing(&self, conversation: &ConversationId) -> Option<Progress> {
        self.inner.read.importing(conversation)
    }

    /// The directory or pages know the conversation.
    pub fn exists(&self, conversation: &ConversationId) -> Result<bool, StoreError> {
        let is_created = self.inner.read.created_at(conversation)?.is_some();
        Ok(is_created || self.inner.read.header(conversation)?.last_seq.0 > 0)
    }
}
