//! What can go wrong with the store: at open (told to the operator, with the path and what to do) and
//! while it runs. No error holds a text that somebody wrote into a conversation.

use std::io;
use std::path::{Path, PathBuf};

use crate::node::journal::Damage;
use crate::node::journal::record::RecordError;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("another process uses the store at {}: stop it, or give each its own directory", path.display())]
    Locked { path: PathBuf },
    #[error("{} is not empty and holds no loquat store: name an empty or new directory", path.display())]
    NotAStore { path: PathBuf },
    #[error("there is no loquat store in {}: name the data directory of a server, which has `store` in it", path.display())]
    NoStore { path: PathBuf },
    #[error("the store at {} has a format that this version does not know: use the version that wrote it", path.display())]
    Format { path: PathBuf },
    #[error(
        "the journal is damaged, {}: {damage}. Nothing was changed. Copy the whole directory away, \
         check the disk, then try `loquat verify --rebuild`, or restore a backup",
        path.display()
    )]
    Journal { path: PathBuf, damage: Damage },
    #[error(
        "the pages of the store do not open, {}: {reason}. Nothing was overwritten. Copy the whole \
         directory away, check the disk, then try `loquat verify --rebuild`, or restore a backup",
        path.display()
    )]
    Pages { path: PathBuf, reason: String },
    #[error(
        "the pages of the store hold a value that was never synced, {}: nothing may lie there. Copy \
         the whole directory away, then try `loquat verify --rebuild`, or restore a backup",
        path.display()
    )]
    Blobs { path: PathBuf },
    #[error(
        "{} has {free_bytes} bytes free, {needed_bytes} are needed to start: make room",
        path.display()
    )]
    NoSpace { path: PathBuf, free_bytes: u64, needed_bytes: u64 },
    #[error(
        "the file of an import that pages do not have is missing: {}. Nothing was changed. Restore a backup",
        path.display()
    )]
    ImportGone { path: PathBuf },
    #[error("{} is not empty: name a new or empty directory", path.display())]
    NotEmpty { path: PathBuf },
    #[error("the store cannot be rebuilt: {what}")]
    Rebuild { what: String },
    #[error("the store could not start a thread: {0}")]
    Thread(io::Error),
}

impl OpenError {
    pub(super) fn io<'a>(
        what: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> OpenError + 'a {
        move |source| OpenError::Io { what, path: path.to_owned(), source }
    }
}

/// A read or a page build that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("a stored value does not hold: {0}")]
    Value(#[from] ValueError),
    #[error("the pages hold bytes at which sled stopped")]
    Panicked,
    #[error("a conversation's seq {found} stands in the journal behind {last}")]
    SeqRepeated { last: u64, found: u64 },
    #[error("commit {commit} is in no journal file that can be read, and pages do not have it")]
    CommitGone { commit: u64 },
    #[error("the conversation is being imported")]
    Importing,
    #[error(
        "the file of an import that pages do not have is missing: {}. Restore a backup, or take the \
         conversation from where it came",
        path.display()
    )]
    ImportGone { path: PathBuf },
    #[error("the backup is one of another store: seq {seq} is another event there")]
    AnotherStore { seq: u64 },
    #[error("the work was cut short by a stop")]
    Stopped,
    #[error("the journal: {0}")]
    Journal(#[from] Damage),
}

/// Stored bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("too short")]
    Short,
    #[error("wrong checksum")]
    Checksum,
    #[error("unknown version {0}")]
    Version(u8),
    #[error("not a key of this kind")]
    Key,
    #[error("not what belongs here")]
    Content,
    #[error(transparent)]
    Record(#[from] RecordError),
}
