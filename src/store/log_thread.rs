//! The log thread: runs the journal machine on real files. It takes all records there are, commits,
//! and tells; the wait for the disk is what forms the batches. It never calls sled.

use std::fs::File;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver as Inbox, Sender as Outbox};

use crate::mailbox::{Doorbell, Receiver};
use crate::model::{DirectoryChange, Mono, Now};
use crate::node::journal::{Done, Effect, FileWork, Journal, SegmentName};
use crate::node::outgoing::Outgoing;
use crate::node::ports::{FromLog, ToLog};

use super::files::{self, OpenSegment, SegmentDirectory};
use super::page_thread::PageJob;
use super::read::{Shared, wall_now};
use super::tally::Tally;

const SPACE_EVERY_MS: u64 = 1_000;
/// How soon mail that found a full ring is tried again.
const FULL_PAUSE_MS: u64 = 1;
/// How long the last mail waits for room.
const LAST_MAIL_MS: u64 = 5_000;

/// What other threads tell the log thread.
#[derive(Debug, Clone)]
pub enum Note {
    Sealed {
        segment: u64,
    },
    /// Pages lost something old: shards may have it in memory.
    ReadAnew,
    /// End the segment; answered with the last commit of what was appended until now.
    Rotate {
        answer: Outbox<u64>,
    },
    /// Message ids below this are set aside for good.
    Raise {
        floor: u64,
    },
    /// For the page thread: remove and rewrite nothing as long as somebody holds this.
    Hold {
        hold: Weak<AtomicBool>,
        answer: Outbox<()>,
    },
    /// Somebody let go.
    Release,
    File(Done),
    /// What [`sync_aside`] was told to sync.
    Synced {
        took: Duration,
    },
}

/// Tells the log thread something and wakes it.
#[derive(Clone)]
pub struct Notes {
    pub outbox: Outbox<Note>,
    pub bell: Arc<Doorbell>,
}

impl Notes {
    pub fn send(&self, note: Note) {
        // The log thread is gone only when nothing needs to be told any more.
        let _ = self.outbox.send(note);
        self.bell.ring();
    }
}

/// A segment to prepare aside.
#[derive(Debug)]
pub struct Prepare {
    pub file: SegmentName,
    pub bytes: u64,
    pub header: Vec<u8>,
}

/// A segment to sync aside.
#[derive(Debug)]
pub struct Sync {
    pub file: SegmentName,
    pub open: Arc<File>,
}

pub struct LogThread {
    pub journal: Journal,
    pub shared: Arc<Shared>,
    pub segments: SegmentDirectory,
    pub open: OpenSegment,
    pub inbox: Vec<Receiver<ToLog>>,
    pub outgoing: Vec<Outgoing>,
    pub notes: Inbox<Note>,
    pub prepare: Outbox<Prepare>,
    pub sync: Outbox<Sync>,
    pub pages: Outbox<PageJob>,
    pub bell: Arc<Doorbell>,
    pub begun: Instant,
    pub next_shard: usize,
    pub space_checked: Mono,
    pub tally: Tally,
}

impl LogThread {
    /// Runs until all shards stopped and everything is on disk; `Err` says why the process must end.
    pub fn run(&mut self) -> Result<(), String> {
        self.check_space()?;
        while !self.journal.is_finished() {
            let mut worked = self.take_records();
            worked |= self.take_notes();
            let now = self.now();
            if now.mono.since(self.space_checked) >= SPACE_EVERY_MS {
                self.check_space()?;
            }
            self.journal.handle_turn(now);
            worked |= self.perform()?;
            self.shared.watermark.rise(self.journal.durable());
            self.outgoing.iter_mut().for_each(Outgoing::flush);
            if !worked {
                self.sleep();
            }
        }
        self.say_the_last();
        Ok(())
    }

    fn now(&self) -> Now {
        let mono = Mono(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        Now { mono, wall: wall_now() }
    }

    /// Takes what there is, beginning with another shard each time.
    fn take_records(&mut self) -> bool {
        let shards = self.inbox.len();
        let mut worked = false;
        for turn in 0..shards {
            let shard = (self.next_shard + turn) % shards;
            while self.journal.has_room() {
                let Some(mail) = self.inbox[shard].pop() else { break };
                worked = true;
                match mail {
                    ToLog::Append { lsn, record } => {
                        self.tally.took_record();
                        self.journal.handle_append(shard, lsn, &record);
                    }
                    ToLog::Lease => self.journal.handle_lease(shard),
                    ToLog::Stop => self.journal.handle_stop(shard),
                }
            }
        }
        self.next_shard = (self.next_shard + 1) % shards.max(1);
        worked
    }

    fn take_notes(&mut self) -> bool {
        let mut worked = false;
        while let Ok(note) = self.notes.try_recv() {
            worked = true;
            match note {
                Note::ReadAnew => {
                    self.outgoing.iter_mut().for_each(|outgoing| outgoing.put(FromLog::ReadAnew));
                }
                // Who asked may have given up.
                Note::Rotate { answer } => drop(answer.send(self.journal.handle_rotate())),
                Note::Sealed { segment } => {
                    self.tally.sealed();
                    self.journal.handle_sealed(segment);
                }
                // A page thread that is gone holds everything.
                Note::Hold { hold, answer } => {
                    let _ = self.pages.send(PageJob::Hold { hold, answer });
                }
                Note::Release => drop(self.pages.send(PageJob::Release)),
                Note::Raise { floor } => self.journal.handle_raise(floor),
                Note::File(done) => self.journal.handle_done(done),
                Note::Synced { took } => {
                    self.tally.synced(took);
                    self.journal.handle_done(Done::Synced);
                }
            }
        }
        worked
    }

    fn check_space(&mut self) -> Result<(), String> {
        self.space_checked = self.now().mono;
        let path = self.segments.path();
        let free = files::free_bytes(path)
            .map_err(|error| format!("asking for free space at {}: {error}", path.display()))?;
        self.tally.free_bytes(free);
        self.journal.handle_space(free);
        Ok(())
    }

    fn perform(&mut self) -> Result<bool, String> {
        let mut worked = false;
        while let Some(effect) = self.journal.poll_effect() {
            worked = true;
            match effect {
                Effect::Files(work) => self.work(work),
                Effect::Directory { segment, changes } => self.change(segment, changes)?,
                Effect::Marks { segment, marks } => self.shared.overlay.put_marks(segment, marks),
                Effect::Publish { shard, message } => {
                    self.tally.told(&message);
                    self.outgoing[shard].put(message);
                }
                Effect::Ended { segment, last_commit } => {
                    self.tally.ended();
                    self.end(PageJob::Seal { segment, last_commit })?;
                }
                Effect::Fatal(what) => return Err(what),
            }
        }
        Ok(worked)
    }

    fn change(&mut self, segment: u64, changes: Vec<DirectoryChange>) -> Result<(), String> {
        let commit = self.journal.durable().commit;
        let imports = changes.iter().filter_map(|change| match change {
            DirectoryChange::ConversationImported(import) => Some(import.clone()),
            _ => None,
        });
        let imports: Vec<_> = imports.collect();
        // First: the page thread takes them away again when it has them.
        self.shared.overlay.put(segment, changes);
        for import in imports {
            self.end(PageJob::Import { segment, commit, import })?;
        }
        Ok(())
    }

    fn work(&mut self, work: FileWork) {
        let done = match work {
            FileWork::Create { file, bytes, header } => {
                let gone = self.prepare.send(Prepare { file, bytes, header }).is_err();
                if !gone {
                    return;
                }
                Done::Failed { what: "the thread that prepares segments is gone".to_owned() }
            }
            FileWork::Write { file, offset, bytes } => {
                self.tally.writes(bytes.len());
                match self.open.write(file.0, offset, &bytes) {
                    Ok(()) => Done::Written { buffer: bytes },
                    Err(error) => self.failed("writing", file, &error),
                }
            }
            FileWork::Sync { file } => {
                let begun = Instant::now();
                match self.open.sync(file.0) {
                    Ok(()) => {
                        self.tally.synced(begun.elapsed());
                        Done::Synced
                    }
                    Err(error) => self.failed("syncing", file, &error),
                }
            }
            FileWork::SyncAside { file } => {
                let open = self.open.file(file.0).cloned();
                match open.map(|open| self.sync.send(Sync { file, open })) {
                    Ok(Ok(())) => return,
                    Ok(Err(_)) => Done::Failed { what: "the thread that syncs is gone".to_owned() },
                    Err(error) => self.failed("opening", file, &error),
                }
            }
        };
        self.journal.handle_done(done);
    }

    fn failed(&self, doing: &str, file: SegmentName, error: &io::Error) -> Done {
        failed(doing, &self.segments, file, error)
    }

    fn end(&mut self, job: PageJob) -> Result<(), String> {
        self.pages.send(job).map_err(|_| "the page thread is gone".to_owned())
    }

    fn sleep(&self) {
        let ticket = self.bell.park();
        let can_take = self.journal.has_room();
        let has_mail = !self.notes.is_empty()
            || (can_take && self.inbox.iter().any(|inbox| !inbox.is_empty()));
        if !has_mail {
            std::thread::park_timeout(self.pause());
        }
        self.bell.unpark(ticket);
    }

    fn pause(&self) -> Duration {
        let now = self.now().mono;
        let mut until = self.space_checked.after(SPACE_EVERY_MS);
        if let Some(timeout) = self.journal.next_timeout() {
            until = until.min(timeout);
        }
        if self.outgoing.iter().any(Outgoing::is_waiting) {
            until = until.min(now.after(FULL_PAUSE_MS));
        }
        Duration::from_millis(until.since(now).max(1))
    }

    /// Shards wait for this mail: it goes out even if a ring is full for the moment. A shard that
    /// takes nothing for so long is not waiting any more.
    fn say_the_last(&mut self) {
        for _ in 0..LAST_MAIL_MS / FULL_PAUSE_MS {
            self.outgoing.iter_mut().for_each(Outgoing::flush);
            if !self.outgoing.iter().any(Outgoing::is_waiting) {
                return;
            }
            std::thread::sleep(Duration::from_millis(FULL_PAUSE_MS));
        }
    }
}

/// Prepares segments aside until nobody asks any more.
pub fn prepare_segments(jobs: &Inbox<Prepare>, segments: &SegmentDirectory, notes: &Notes) {
    for Prepare { file, bytes, header } in jobs {
        let done = match segments.create(file.0, bytes, &header) {
            Ok(()) => Done::Created { file },
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Done::NoRoom { file },
            Err(error) => failed("creating", segments, file, &error),
        };
        notes.send(Note::File(done));
    }
}

/// Syncs segments aside until nobody asks any more.
pub fn sync_aside(jobs: &Inbox<Sync>, segments: &SegmentDirectory, notes: &Notes) {
    for Sync { file, open } in jobs {
        let begun = Instant::now();
        notes.send(match open.sync_data() {
            Ok(()) => Note::Synced { took: begun.elapsed() },
            Err(error) => Note::File(failed("syncing", segments, file, &error)),
        });
    }
}

fn failed(doing: &str, segments: &SegmentDirectory, file: SegmentName, error: &io::Error) -> Done {
    let path = segments.path_of(file.0);
    Done::Failed { what: format!("{doing} {}: {error}", path.display()) }
}
