//! sled, kept on a short lead: one tree, one writer, and a flush that really is on disk.
//!
//! sled's own flush does not survive a power loss (it is a `sync_file_range`), so a second descriptor
//! on its file is fdatasynced behind it. sled also writes over segments of its file as soon as it has moved
//! what was live in them, and believes the new place to be on disk: so it is flushed and synced after every
//! [`UNSYNCED_BYTES_MAX`] that are put in, long before the next 8 MiB are full and the old place is taken. That
//! also keeps the disk's queue short, in which the journal's syncs wait. sled panics on some damaged files: that is
//! caught at open and at reads, and told as an error. Values above its blob threshold would become files that nothing
//! syncs: values are at most a page, and `blobs/` is checked at open.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sled::IVec;

use crate::node::journal::SealedMark;

use super::error::{OpenError, StoreError};
use super::files;
use super::keys::{Key, Kind};
use super::values;

const SEGMENT_BYTES: usize = 8 << 20;
/// A handle of this process that was just dropped gives its lock back a moment later.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// sled writes five times as much, now and then ten times.
const UNSYNCED_BYTES_MAX: usize = 256 << 10;
/// What a key costs in sled's file beside its bytes.
const KEY_BYTES: usize = 64;

#[derive(Debug)]
pub struct Pages {
    tree: sled::Db,
    file: File,
    kinds: Kinds,
    /// Put in since the last sync.
    unsynced_bytes: AtomicUsize,
}

/// Kinds of keys that there may be. Who wants in asks for six of them, of which most servers use two or
/// three: sled is not asked for the others.
#[derive(Debug)]
struct Kinds(AtomicU64);

impl Kinds {
    /// A kind is a letter (see [`Key`]), so each has a bit of its own.
    fn bit(key: &[u8]) -> u64 {
        key.first().map_or(0, |kind| 1 << (kind % 64))
    }

    fn of(tree: &sled::Db) -> Result<Kinds, StoreError> {
        guarded(|| {
            let (mut found, mut next) = (0, Some(0));
            while let Some(from) = next {
                let Some(pair) = tree.range([from]..).next() else { break };
                let (key, _) = pair?;
                found |= Kinds::bit(&key);
                next = key.first().and_then(|kind| kind.checked_add(1));
            }
            Ok(Kinds(AtomicU64::new(found)))
        })
    }

    /// Told before sled has the keys, so whoever does not see it looked before they were there.
    fn add(&self, bits: u64) {
        self.0.fetch_or(bits, Ordering::Release);
    }

    fn may_have(&self, key: &[u8]) -> bool {
        self.0.load(Ordering::Acquire) & Kinds::bit(key) != 0
    }
}

/// Changes that are made at once.
#[derive(Debug, Default)]
pub struct Batch {
    changes: sled::Batch,
    bytes: usize,
    kinds: u64,
}

impl Batch {
    pub fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += KEY_BYTES + key.len() + value.len();
        self.kinds |= Kinds::bit(&key);
        self.changes.insert(key, value);
    }

    pub fn remove(&mut self, key: impl Into<IVec>) {
        let key = key.into();
        self.bytes += KEY_BYTES + key.len();
        self.changes.remove(key);
    }

    /// About how much it adds to sled's file, what sled writes anew besides not counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A key with its value, as an iterator of sled gives them.
pub type Pair = (IVec, IVec);

impl Pages {
    /// The file without which there are no pages.
    pub fn file_of(directory: &Path) -> PathBuf {
        directory.join("db")
    }

    pub fn open(directory: &Path, cache_bytes: u64) -> Result<Pages, OpenError> {
        let fails = |reason: String| OpenError::Pages { path: directory.to_owned(), reason };
        check_no_blobs(directory)?;
        if !Pages::file_of(directory).exists() {
            create(directory, cache_bytes)?;
        }
        remove_unfinished(directory).map_err(OpenError::io("clearing", directory))?;
        let path = Pages::file_of(directory);
        let file = File::open(&path).map_err(OpenError::io("opening", &path))?;
        // What an earlier process wrote may be in the kernel's hands only, and sled writes over its old places.
        file.sync_data().map_err(OpenError::io("syncing", &path))?;
        let tree = open_patiently(directory, cache_bytes).map_err(fails)?;
        check_no_blobs(directory)?;
        let kinds = Kinds::of(&tree).map_err(|error| fails(error.to_string()))?;
        let pages = Pages { tree, file, kinds, unsynced_bytes: AtomicUsize::new(0) };
        pages.sync().map_err(|error| fails(error.to_string()))?;
        protect(directory).map_err(OpenError::io("protecting", directory))?;
        Ok(pages)
    }

    /// Blocks of 512 bytes that sled's file takes.
    pub fn blocks(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.blocks())
    }

    pub fn get(&self, key: &Key) -> Result<Option<IVec>, StoreError> {
        self.get_bytes(key.as_ref())
    }

    pub fn get_bytes(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        if !self.kinds.may_have(key) {
            return Ok(None);
        }
        guarded(|| Ok(self.tree.get(key)?))
    }

    /// The last pair whose key begins with `prefix` and is not above `key`.
    pub fn at_or_below(&self, prefix: &Key, key: &Key) -> Result<Option<Pair>, StoreError> {
        guarded(|| {
            let found = self.tree.range(prefix.as_ref()..=key.as_ref()).next_back().transpose()?;
            Ok(found.filter(|(key, _)| key.starts_with(prefix.as_ref())))
        })
    }

    /// Pairs whose keys begin with `prefix`, in order; both ends can be read.
    pub fn scan(&self, prefix: &Key) -> impl DoubleEndedIterator<Item = Result<Pair, StoreError>> {
        self.tree.scan_prefix(prefix).map(|pair| Ok(pair?))
    }

    /// Pairs from `from` on whose keys begin with `prefix`.
    pub fn scan_from<'a>(
        &self,
        prefix: &'a Key,
        from: &Key,
    ) -> impl Iterator<Item = Result<Pair, StoreError>> + use<'a> {
        self.tree
            .range(from.as_ref()..)
            .take_while(move |pair| match pair {
                Ok((key, _)) => key.starts_with(prefix.as_ref()),
                Err(_) => true,
            })
            .map(|pair| Ok(pair?))
    }

    /// Pairs whose keys begin with `prefix`, from `to` down.
    pub fn scan_back(
        &self,
        prefix: &Key,
        to: &Key,
    ) -> impl Iterator<Item = Result<Pair, StoreError>> + use<> {
        self.tree.range(prefix.as_ref()..=to.as_ref()).rev().map(|pair| Ok(pair?))
    }

    /// Pairs from `from` on and below `to`; both ends can be read.
    pub fn between(
        &self,
        from: &[u8],
        to: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<Pair, StoreError>> + use<> {
        self.tree.range(from..to).map(|pair| Ok(pair?))
    }

    /// Puts a small batch in; on disk only after [`Pages::sync`].
    pub fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.put(batch)?;
        self.settle()
    }

    /// The same without what must follow before the next batch: [`Pages::settle`].
    pub fn put(&self, batch: Batch) -> Result<(), StoreError> {
        self.unsynced_bytes.fetch_add(batch.bytes, Ordering::Relaxed);
        self.kinds.add(batch.kinds);
        Ok(self.tree.apply_batch(batch.changes)?)
    }

    pub fn insert(&self, key: &Key, value: Vec<u8>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.insert(key.as_ref(), value);
        self.apply(batch)
    }

    /// Syncs if much was put in since the last time.
    pub fn settle(&self) -> Result<(), StoreError> {
        match self.unsynced_bytes.load(Ordering::Relaxed) >= UNSYNCED_BYTES_MAX {
            true => self.sync(),
            false => Ok(()),
        }
    }

    /// Everything that was put in is on disk when this returns.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.tree.flush()?;
        let synced = self.file.sync_data();
        synced.map_err(|source| StoreError::Io { what: "syncing pages", source })?;
        self.unsynced_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    pub fn sealed(&self) -> Result<SealedMark, StoreError> {
        match self.get(&Key::new(Kind::Sealed))? {
            Some(value) => Ok(values::read_sealed(&value)?),
            None => Ok(SealedMark::default()),
        }
    }
}

/// Runs what reads sled; its panics on damaged bytes become errors.
pub fn guarded<T>(read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(StoreError::Panicked))
}

/// sled syncs neither its settings nor the names of its files. So it makes them aside, and the directory
/// gets its name when all of it is on disk.
fn create(directory: &Path, cache_bytes: u64) -> Result<(), OpenError> {
    let unnamed = directory.with_extension(files::UNNAMED);
    let io = |what| OpenError::io(what, &unnamed);
    if unnamed.exists() {
        fs::remove_dir_all(&unnamed).map_err(io("clearing"))?;
    }
    files::create_directory(&unnamed).map_err(io("creating"))?;
    let made = open_guarded(&unnamed, cache_bytes).and_then(|tree| {
        tree.flush().map_err(|error| error.to_string())?;
        drop(tree);
        Ok(())
    });
    made.map_err(|reason| OpenError::Pages { path: unnamed.clone(), reason })?;
    protect(&unnamed).map_err(io("protecting"))?;
    fs::rename(&unnamed, directory).map_err(OpenError::io("naming", directory))?;
    let parent = directory.parent().unwrap_or(directory);
    files::sync_directory(parent).map_err(OpenError::io("syncing", parent))
}

fn open_patiently(directory: &Path, cache_bytes: u64) -> Result<sled::Db, String> {
    let mut tries = 0;
    loop {
        match open_guarded(directory, cache_bytes) {
            Err(reason) if reason.contains("lock") && tries < LOCK_TRIES => {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

fn open_guarded(directory: &Path, cache_bytes: u64) -> Result<sled::Db, String> {
    let config = sled::Config::new()
        .path(directory)
        .cache_capacity(cache_bytes)
        .segment_size(SEGMENT_BYTES)
        .mode(sled::Mode::HighThroughput)
        .flush_every_ms(None);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(tree)) => Ok(tree),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("sled stopped at bytes that it could not have written".to_owned()),
    }
}

/// sled takes the snapshot with the highest name, also one that a crash cut short before it was whole. The
/// one before is still there then, and if it is not, sled reads its whole file instead.
fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn check_no_blobs(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join("blobs");
    match fs::read_dir(&path).map(|mut entries| entries.next().is_some()) {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::Blobs { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::io("reading", &path)(error)),
    }
}

/// sled makes its files with the process's mask; only we may read them. All of them are on disk on return.
fn protect(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let mode = if entry.file_type()?.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(entry.path(), Permissions::from_mode(mode))?;
        File::open(entry.path())?.sync_all()?;
    }
    files::sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_written_is_not_there_and_all_else_is_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let pages = || Pages::open(&directory.path().join("pages"), 1 << 20).unwrap();
        let kinds = [Kind::Import, Kind::Header, Kind::Member, Kind::Sealed];
        let key = |kind| Key::new(kind).number(7);
        let written = {
            let pages = pages();
            for kind in kinds {
                assert_eq!(pages.get(&key(kind)).unwrap(), None, "{kind:?}");
            }
            for kind in kinds {
                pages.insert(&key(kind), vec![kind as u8]).unwrap();
                let mut batch = Batch::default();
                batch.insert(Key::new(kind).number(8).as_ref(), vec![8]);
                pages.apply(batch).unwrap();
            }
            pages.sync().unwrap();
            pages.kinds.0.into_inner()
        };
        let pages = pages();
        assert_eq!(pages.kinds.0.load(Ordering::Relaxed), written);
        for kind in kinds {
            assert_eq!(pages.get(&key(kind)).unwrap().as_deref(), Some(&[kind as u8][..]));
            assert_eq!(pages.get(&Key::new(kind).number(8)).unwrap().as_deref(), Some(&[8][..]));
        }
        assert_eq!(pages.get(&key(Kind::Gone)).unwrap(), None);
        assert!(!pages.kinds.may_have(&[Kind::Gone as u8]));
    }
}
