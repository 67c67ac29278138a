//! The journal's writing side, a machine: records in, effects out. It knows no file, thread or clock.
//!
//! ```text
//!            append, lease                 Written              Synced
//! gathering ──────────────► write frame ──────────► sync ──────────────► tell the shards
//!                           (segment full: end it, go on in the spare)
//! ```
//! With fsync = interval the shards are told after `Written`, and syncs go on aside: nobody waits for
//! them, unless one takes so long that more would be told than an interval may lose.
//!
//! Invariants
//! - One commit is under way at a time; a shard hears of a record only after its frame's sync returned
//!   (fsync = commit) or its write returned (interval, never).
//! - A write or sync that fails ends the process; it is never tried again.
//! - Commits are numbered without holes and lie in segments of rising number.
//! - What a shard numbered is never refused here. Lack of space or of sealed segments is said with
//!   `Accepting(false)` while there still is room for what is on its way; a third segment and the
//!   reserve of free space take the rest.

use std::collections::VecDeque;

use crate::model::{Mono, Now};
#[cfg(feature = "planted")]
use crate::node::planted::{self, Bug};
use crate::node::ports::{FromLog, Record};

use super::batch::{Batch, Durable, Owed};
use super::effect::{Done, Effect, FileWork, SegmentName};
use super::frame::{CommitHead, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::lease::Leases;
use super::segments::Segments;
use super::settings::{Fsync, JournalSettings};

/// A pause of the writing in which a sync may begin early: by then a small room's fan-out is over.
const SYNC_PAUSE_MS: u64 = 2;
/// How much earlier.
const SYNC_EARLY_MS: u64 = 10;

/// Where an earlier life of the log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalStart {
    pub epoch: u32,
    pub next_segment: u64,
    pub next_commit: u64,
    pub leased_to: u64,
    /// Random: tells frames from anything a message may hold.
    pub salt: u64,
}

/// What the disk is doing, and the next commit waits for.
#[derive(Debug)]
enum Flight {
    Write {
        segment: u64,
        frame_bytes: usize,
        owed: Owed,
    },
    /// Of a commit.
    Sync {
        segment: u64,
        owed: Owed,
    },
    /// The segment ends when all of it is synced (`interval`, `never`).
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Finished,
    Dead,
}

#[derive(Debug)]
pub struct Journal {
    settings: JournalSettings,
    start: JournalStart,
    segments: Segments,
    leases: Leases,
    batch: Batch,
    next_commit: u64,
    durable: Durable,
    flight: Option<Flight>,
    /// Since when something was written that no sync was begun for.
    unsynced_since: Option<Mono>,
    written_at: Mono,
    /// A sync is under way, aside, for what was told already.
    is_catching_up: bool,
    last_lsn: Vec<u64>,
    stopped: Vec<bool>,
    free_bytes: Option<u64>,
    space_is_low: bool,
    /// Somebody waits for the pages of what the current segment has.
    is_end_wanted: bool,
    accepting: bool,
    buffer: Vec<u8>,
    now: Now,
    life: Life,
    effects: VecDeque<Effect>,
}

impl Journal {
    /// A log for so many shards; each gets its first lease by itself.
    pub fn new(settings: JournalSettings, start: JournalStart, shards: usize, now: Now) -> Journal {
        let mut journal = Journal {
            segments: Segments::new(settings.segment_bytes, start.next_segment),
            leases: Leases::new(start.leased_to),
            batch: Batch::new(shards, settings.commit_bytes_max()),
            next_commit: start.next_commit,
            durable: Durable { commit: start.next_commit - 1, leased_to: start.leased_to },
            flight: None,
            unsynced_since: None,
            written_at: now.mono,
            is_catching_up: false,
            last_lsn: vec![0; shards],
            stopped: vec![false; shards],
            free_bytes: None,
            space_is_low: false,
            is_end_wanted: false,
            accepting: true,
            buffer: Vec::new(),
            now,
            life: Life::Running,
            effects: VecDeque::new(),
            settings,
            start,
        };
        for shard in 0..shards {
            journal.handle_lease(shard);
        }
        journal
    }

    /// The next commit takes another record. Without room, leave records where they are.
    pub fn has_room(&self) -> bool {
        self.life == Life::Running && self.batch.has_room()
    }

    /// Up to where the log is durable and was said to be.
    pub fn durable(&self) -> Durable {
        self.durable
    }

    /// All shards stopped, everything is on disk and said so.
    pub fn is_finished(&self) -> bool {
        self.life == Life::Finished
    }

    /// Takes a record into the next commit. Only after [`Journal::has_room`] said yes.
    pub fn handle_append(&mut self, shard: usize, lsn: u64, record: &Record) {
        if lsn != self.last_lsn[shard] + 1 {
            let last = self.last_lsn[shard];
            return self.die(format!("shard {shard} numbered a record {lsn} after {last}"));
        }
        self.last_lsn[shard] = lsn;
        if let Err(error) = self.batch.push(shard, lsn, record) {
            return self.die(format!("a record could not be encoded: {error}"));
        }
        let room = self.settings.segment_bytes - SEGMENT_HEADER_BYTES as u64;
        if self.batch.len_bytes() as u64 > room {
            self.die("a commit is larger than a segment of the journal".to_owned());
        }
    }

    pub fn handle_lease(&mut self, shard: usize) {
        match self.leases.take() {
            Some(block) => self.batch.lease(shard, block),
            None => self.die("all message ids below 2^53 are used".to_owned()),
        }
    }

    /// Ends the current segment as soon as the next one is there. Gives the last commit of what was
    /// appended so far.
    pub fn handle_rotate(&mut self) -> u64 {
        let pending = u64::from(!self.batch.is_empty());
        let has_commits = self.segments.begun_at().is_some() || self.flight.is_some();
        self.is_end_wanted = pending > 0 || has_commits;
        self.next_commit - 1 + pending
    }

    /// Sets all ids below `floor` aside: no block that is granted later has one of them. Durable once
    /// [`Journal::durable`] says so.
    pub fn handle_raise(&mut self, floor: u64) {
        self.leases.raise(floor);
        self.batch.raised();
    }

    pub fn handle_stop(&mut self, shard: usize) {
        self.stopped[shard] = true;
    }

    /// Pages of all segments up to this one are on disk.
    pub fn handle_sealed(&mut self, through: u64) {
        self.segments.sealed(through);
        self.publish_all(FromLog::Sealed { segment: through });
    }

    /// How much space the file system has left.
    pub fn handle_space(&mut self, free_bytes: u64) {
        self.free_bytes = Some(free_bytes);
        let reserve = self.settings.disk_reserve_bytes;
        // Some distance between the two, so that the answer does not flap.
        let enough = if self.space_is_low { reserve + reserve / 8 } else { reserve };
        self.space_is_low = free_bytes < enough;
    }

    /// Looks at what there is to do: call it after input and when [`Journal::next_timeout`] passed.
    pub fn handle_turn(&mut self, now: Now) {
        self.now = now;
        self.advance();
    }

    pub fn handle_done(&mut self, done: Done) {
        #[cfg(feature = "planted")]
        if let (Done::Failed { .. }, Some(Flight::Sync { segment, .. })) = (&done, &self.flight)
            && planted::is(Bug::RetriedSync)
        {
            let file = SegmentName(*segment);
            return self.effects.push_back(Effect::Files(FileWork::Sync { file }));
        }
        match done {
            Done::Created { file } => self.segments.spare_created(file.0),
            Done::NoRoom { file } => {
                self.segments.spare_failed(file.0);
                self.free_bytes = Some(0);
                self.space_is_low = true;
            }
            Done::Written { buffer } => self.written(buffer),
            Done::Synced => self.synced(),
            Done::Failed { what } => self.die(what),
        }
        self.advance();
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Journal::handle_turn`] is due although nothing else happened.
    pub fn next_timeout(&self) -> Option<Mono> {
        // The answer brings a turn of its own, and so does a spare, without which an aged segment goes on.
        if self.is_catching_up {
            return None;
        }
        let aged = (self.segments.begun_at())
            .filter(|_| self.segments.has_spare())
            .map(|begun| begun.after(self.settings.segment_age_ms));
        aged.into_iter().chain(self.sync_due_at()).min()
    }

    fn is_stopping(&self) -> bool {
        self.stopped.iter().all(|&stopped| stopped)
    }

    fn advance(&mut self) {
        if self.life != Life::Running {
            return;
        }
        self.segments.open_spare();
        if self.sync_is_due() && !self.is_catching_up {
            self.catch_up();
        }
        if self.flight.is_none() && !self.is_behind() {
            self.next_work();
        }
        self.prepare_spare();
        self.say_whether_accepting();
    }

    fn next_work(&mut self) {
        let frame_bytes = self.batch.len_bytes();
        let has_batch = !self.batch.is_empty();
        let place = self.segments.place(frame_bytes);
        match place {
            Some(current) if has_batch => self.write_commit(current.segment, current.end),
            None if has_batch => self.end_segment(),
            _ if self.is_stopping() => self.finish(),
            _ if self.rotation_is_due() => self.end_segment(),
            _ => {}
        }
    }

    fn rotation_is_due(&self) -> bool {
        let is_aged = self.segments.is_aged(self.now.mono, self.settings.segment_age_ms);
        let is_wanted = self.is_end_wanted && self.segments.begun_at().is_some();
        self.segments.has_spare() && (is_aged || is_wanted)
    }

    /// Half an interval after a write at the latest: while that half is being synced, no more than another
    /// is told. A little earlier if nothing is being written, so that the sync meets as few messages as can be.
    fn sync_due_at(&self) -> Option<Mono> {
        let latest = self.sync_due_at_latest()?;
        let earliest = Mono(latest.0.saturating_sub(SYNC_EARLY_MS));
        Some(self.written_at.after(SYNC_PAUSE_MS).clamp(earliest, latest))
    }

    fn sync_due_at_latest(&self) -> Option<Mono> {
        match self.settings.fsync {
            Fsync::Interval { ms } => self.unsynced_since.map(|since| since.after(ms / 2)),
            Fsync::Commit | Fsync::Never => None,
        }
    }

    fn sync_is_due(&self) -> bool {
        self.sync_due_at().is_some_and(|due| due <= self.now.mono)
    }

    /// More was told than may be, before the sync that is under way returns.
    fn is_behind(&self) -> bool {
        self.is_catching_up && self.sync_due_at_latest().is_some_and(|due| due <= self.now.mono)
    }

    fn write_commit(&mut self, segment: u64, offset: u64) {
        let head = CommitHead {
            segment,
            commit: self.next_commit,
            leased_to: self.leases.leased_to(),
            at: self.now.wall,
        };
        self.next_commit += 1;
        let buffer = std::mem::take(&mut self.buffer);
        let (bytes, owed) = self.batch.take(&head, self.start.salt, buffer);
        let frame_bytes = bytes.len();
        self.flight = Some(Flight::Write { segment, frame_bytes, owed });
        let file = SegmentName(segment);
        self.effects.push_back(Effect::Files(FileWork::Write { file, offset, bytes }));
    }

    fn written(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
        let Some(Flight::Write { segment, frame_bytes, owed }) = self.flight.take() else {
            return self.die("an answer to a write that was not asked for".to_owned());
        };
        self.segments.took(frame_bytes, self.now.mono);
        self.written_at = self.now.mono;
        #[cfg(feature = "planted")]
        if planted::is(Bug::AckBeforeSync) {
            self.unsynced_since.get_or_insert(self.now.mono);
            return self.pay(segment, owed);
        }
        match self.settings.fsync {
            Fsync::Commit => {
                self.flight = Some(Flight::Sync { segment, owed });
                self.effects
                    .push_back(Effect::Files(FileWork::Sync { file: SegmentName(segment) }));
            }
            Fsync::Interval { .. } | Fsync::Never => {
                self.unsynced_since.get_or_insert(self.now.mono);
                self.pay(segment, owed);
            }
        }
    }

    fn synced(&mut self) {
        let is_aside = std::mem::take(&mut self.is_catching_up);
        match self.flight.take() {
            Some(Flight::Sync { segment, owed }) => self.pay(segment, owed),
            Some(Flight::End) if is_aside => self.end_segment(),
            flight if is_aside => self.flight = flight,
            _ => self.die("an answer to a sync that was not asked for".to_owned()),
        }
    }

    fn pay(&mut self, segment: u64, owed: Owed) {
        self.durable = owed.durable_log;
        // First: the deletion of a conversation takes the marks that were logged before it.
        if !owed.marks.is_empty() {
            self.effects.push_back(Effect::Marks { segment, marks: owed.marks });
        }
        if !owed.directory.is_empty() {
            self.effects.push_back(Effect::Directory { segment, changes: owed.directory });
        }
        for (shard, through) in owed.durable {
            self.publish(shard, FromLog::Durable { through, segment });
        }
        for (shard, ids) in owed.leases {
            self.publish(shard, FromLog::Lease { ids });
        }
    }

    /// Syncs what the segment still has in caches, then ends it. The next segment is not written
    /// before, so only the last one can have a torn tail.
    fn end_segment(&mut self) {
        if !self.is_synced() {
            self.flight = Some(Flight::End);
            return;
        }
        let Some(segment) = self.segments.end_current() else { return };
        self.is_end_wanted = false;
        self.effects.push_back(Effect::Ended { segment, last_commit: self.next_commit - 1 });
        if self.segments.open_spare() {
            self.next_work();
        }
    }

    /// All that was told is on disk; begins to sync it otherwise.
    fn is_synced(&mut self) -> bool {
        if self.unsynced_since.is_some() && !self.is_catching_up {
            self.catch_up();
        }
        !self.is_catching_up
    }

    fn catch_up(&mut self) {
        let Some(current) = self.segments.current() else { return };
        let file = SegmentName(current.segment);
        self.unsynced_since = None;
        self.is_catching_up = true;
        self.effects.push_back(Effect::Files(FileWork::SyncAside { file }));
    }

    fn finish(&mut self) {
        if !self.is_synced() {
            return;
        }
        if let Some(segment) = self.segments.end_current() {
            self.effects.push_back(Effect::Ended { segment, last_commit: self.next_commit - 1 });
        }
        self.publish_all(FromLog::Stopped);
        self.life = Life::Finished;
    }

    fn prepare_spare(&mut self) {
        if self.life != Life::Running || !self.segments.needs_spare() {
            return;
        }
        let bytes = self.settings.segment_bytes;
        let reserve = self.settings.disk_reserve_bytes;
        let is_blocked = self.is_blocked();
        let least = if is_blocked { bytes } else { reserve + bytes };
        let has_space = self.free_bytes.is_none_or(|free| free >= least);
        if self.is_stopping() && is_blocked && !has_space {
            return self.die("no space left for the last records".to_owned());
        }
        if !has_space || (self.is_stopping() && !is_blocked) {
            return;
        }
        let segment = self.segments.begin_spare();
        let header = SegmentHeader { segment, epoch: self.start.epoch, salt: self.start.salt };
        self.effects.push_back(Effect::Files(FileWork::Create {
            file: SegmentName(segment),
            bytes,
            header: header.to_bytes().to_vec(),
        }));
    }

    /// Records wait for a segment that has room for them.
    fn is_blocked(&self) -> bool {
        !self.batch.is_empty() && self.segments.place(self.batch.len_bytes()).is_none()
    }

    fn say_whether_accepting(&mut self) {
        let has_headroom = self.segments.room() > self.settings.segment_bytes / 4;
        let pages_keep_up = match self.segments.waiting() {
            0 => true,
            1 => has_headroom,
            _ => false,
        };
        let goes_on = has_headroom || self.segments.has_spare() || self.segments.is_preparing();
        let accepting = !self.space_is_low && pages_keep_up && goes_on;
        if accepting != self.accepting && self.life == Life::Running {
            self.accepting = accepting;
            self.publish_all(FromLog::Accepting(accepting));
        }
    }

    fn publish(&mut self, shard: usize, message: FromLog) {
        self.effects.push_back(Effect::Publish { shard, message });
    }

    fn publish_all(&mut self, message: FromLog) {
        for shard in 0..self.stopped.len() {
            self.publish(shard, message.clone());
        }
    }

    /// Nothing more is said to anyone: whoever was not told is not told.
    fn die(&mut self, what: String) {
        if self.life != Life::Dead {
            self.life = Life::Dead;
            self.effects.clear();
            self.effects.push_back(Effect::Fatal(what));
        }
    }
}
