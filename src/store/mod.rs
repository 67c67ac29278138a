//! The durable store: a journal of group commits in front of sled.
//!
//! The journal is the commit path; pages in sled hold all history. This module runs the machines of
//! [`crate::node::journal`] on real files, and owns sled and the threads around both. The format is
//! described in docs/store.md.
//!
//! Reading order: `open` (what must hold before anyone serves), `running` (threads and rings),
//! `log_thread` with `tally`, `page_thread` with `gather` and `build`, `reader_thread` with `read`, `past` and
//! `directory`; below them `files`, `sizes`, `life`, `pages`, `page`, `keys`, `values`, `overlay`.
//!
//! Invariants
//! - What an unsealed event touched is in its shard's memory; what is not there is wholly in pages.
//! - The log thread never calls sled; the page thread is sled's only writer.
//! - An I/O error on write or sync ends the process; the next start replays.

mod backup;
mod build;
mod changes;
mod commits;
mod directory;
mod erase;
mod erasing;
mod error;
mod export;
mod files;
mod fold;
mod gather;
mod given;
mod import;
mod keys;
mod life;
mod log_thread;
mod open;
mod order;
mod overlay;
mod page;
mod page_thread;
mod pages;
mod pair;
mod past;
mod read;
mod reader_thread;
mod rebuild;
mod redaction;
mod retention;
mod running;
mod salvage;
mod settings;
mod sizes;
mod staging;
mod stream;
mod tally;
mod traces;
mod transfers;
mod user_erasing;
mod values;
mod verify;
mod watermark;

pub use backup::{
    ArchiveError, Backup, Counts as BackupCounts, Making, Part as BackupPart,
    Reader as BackupReader, RestoreError, Restored, restore,
};
pub use error::{OpenError, StoreError, ValueError};
pub use export::{Export, ExportHead, Line, LineMessage};
pub use open::{Opened, Replayed, Store};
pub use overlay::Progress;
pub use pair::{contents, read_pair};
pub use read::{RECENT_MAX, ReadHandle};
pub use rebuild::{Rebuild, Rebuilt, Stage as RebuildStage, rebuild};
pub use running::{Ended, Fatal, Orders, Running, ShardEnds, ShardPorts, StoreCounters};
pub use settings::StoreSettings;
pub use sizes::{SizeHandle, Sizes};
pub use staging::{ImportError, Staged, Staging};
pub use stream::{EventsError, EventsPage, Happening, Position};
pub use traces::{Trace, Traces};
pub use transfers::Transfers;
pub use user_erasing::Met;
pub use verify::{Missing, Report, Watch, verify, verify_watched};
