//! The store at work: its threads, what connects them to the shards, and how they end.
//!
//! ```text
//! shard ──ToLog──► log thread ──FromLog──► shard          log thread ──► preparer (segments ahead)
//!   └──LoadRequest──► reader ──LoadAnswer──► shard              └──► page thread ──► sled
//! ```
//! A thread that fails or panics says so through `fatal`, once, with context; nothing is told to shards
//! after that. The process must then end.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver as Inbox, RecvTimeoutError, Sender as Outbox, unbounded};

use crate::limits::MAILBOX_SLOTS;
use crate::mailbox::{Doorbell, Receiver, Sender, ring};
use crate::model::{Mono, Now, UserId, Wall};
use crate::node::journal::{Journal, JournalStart};
use crate::node::outgoing::Outgoing;
use crate::node::ports::{FromLog, LoadAnswer, LoadRequest, ToLog};
use crate::telemetry::CoreCounters;

use super::error::{OpenError, StoreError};
use super::files::{OpenSegment, SegmentDirectory};
use super::life::Life;
use super::log_thread::{LogThread, Note, Notes, prepare_segments, sync_aside};
use super::page_thread::{PageJob, PageThread};
use super::read::{ReadHandle, Shared, wall_now};
use super::reader_thread::{Client, ReaderThread};
use super::settings::StoreSettings;
use super::sizes::SizeHandle;
use super::tally::Tally;
use super::transfers::{Places, Transfers};
use super::user_erasing::Met;

/// Mail from the log to a shard: watermarks are coalesced when it is full.
const FROM_LOG_SLOTS: usize = 256;
/// Questions of one shard that are under way.
const LOAD_SLOTS: usize = MAILBOX_SLOTS;

/// Told why the process must end. It may be called from any thread of the store.
pub type Fatal = Arc<dyn Fn(String) + Send + Sync>;

/// What the store needs from a shard.
pub struct ShardPorts {
    /// Wakes the shard when mail from the log or a reader is there.
    pub doorbell: Arc<Doorbell>,
}

/// A shard's ends of its rings. Ring a sender's bell (`Sender::ring`) once per turn after pushing.
pub struct ShardEnds {
    pub to_log: Sender<ToLog>,
    pub from_log: Receiver<FromLog>,
    pub to_readers: Sender<LoadRequest>,
    pub from_readers: Receiver<LoadAnswer>,
}

/// What [`start`] begins with.
pub(super) struct Begin {
    pub shared: Arc<Shared>,
    pub segments: SegmentDirectory,
    pub imports: PathBuf,
    pub settings: StoreSettings,
    pub start: JournalStart,
    pub life: Life,
    pub counters: StoreCounters,
}

/// Where the store's threads count. What nobody reads is counted by default.
#[derive(Default)]
pub struct StoreCounters {
    pub log: CoreCounters,
    pub pages: CoreCounters,
}

impl Begin {
    pub fn transfers(&self, notes: Option<Notes>) -> Transfers {
        let places = Places {
            segments: self.segments.clone(),
            imports: self.imports.clone(),
            reserve_bytes: self.settings.journal.disk_reserve_bytes,
        };
        Transfers::new(ReadHandle::new(self.shared.clone()), places, notes)
    }
}

/// A store at work.
pub struct Running {
    log: JoinHandle<bool>,
    preparer: JoinHandle<bool>,
    syncer: JoinHandle<bool>,
    pages: Pages,
    readers: Readers,
    stop_within: Duration,
    life: Life,
    read: ReadHandle,
    orders: Orders,
    transfers: Transfers,
    sizes: SizeHandle,
}

/// What the running store can be told to do besides. Clone it freely; after the end nobody obeys.
#[derive(Clone)]
pub struct Orders {
    notes: Notes,
    pages: Outbox<PageJob>,
}

impl Orders {
    /// Ends the journal's segment, and says up to which commit everything was appended until now: once
    /// [`ReadHandle::sealed_commit`] has reached it, pages have all of that.
    pub fn rotate(&self) -> Inbox<u64> {
        let (answer, told) = unbounded();
        self.notes.send(Note::Rotate { answer });
        told
    }

    /// Takes the user out of pages and kept segments. What the user did up to `until` is sealed, and the
    /// messages are deleted. Hung up on when it cannot be done now.
    pub fn erase_user(&self, user: UserId, until: Wall) -> Inbox<Met> {
        let (answer, told) = unbounded();
        // A page thread that is gone is begun again with the next start, and so is this.
        let _ = self.pages.send(PageJob::EraseUser { user, until, answer });
        told
    }

    /// Nobody has anything of the user any more: [`ReadHandle::erasure`] says so from then on.
    pub fn user_erased(&self, user: UserId, begun_at: Wall, met: Met) {
        let _ = self.pages.send(PageJob::UserErased { user, begun_at, met });
    }
}

/// How a run of the store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything is on disk and in pages.
    Sealed,
    /// Everything is on disk; the next start builds some pages.
    ToReplay,
    /// A thread failed: `fatal` was told why.
    Failed,
}

impl Running {
    pub fn read_handle(&self) -> ReadHandle {
        self.read.clone()
    }

    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// The ways in and out.
    pub fn transfers(&self) -> Transfers {
        self.transfers.clone()
    }

    pub fn size_handle(&self) -> SizeHandle {
        self.sizes.clone()
    }

    /// Waits for the end, after every shard sent `ToLog::Stop`.
    pub fn join(self) -> Ended {
        // Whoever may still give orders keeps the page thread from ending.
        drop(self.orders);
        let log_ended = joined(self.log);
        let sealed = self.pages.end_within(self.stop_within);
        joined(self.preparer);
        joined(self.syncer);
        self.readers.end();
        if !log_ended {
            return Ended::Failed;
        }
        if let Err(error) = self.life.end() {
            tracing::error!(%error, "the clean end of the store could not be noted");
        }
        if sealed { Ended::Sealed } else { Ended::ToReplay }
    }
}

/// The thread's own word on whether it did all it should; it never unwinds out.
fn joined(thread: JoinHandle<bool>) -> bool {
    thread.join().unwrap_or(false)
}

pub(super) fn start(
    mut begin: Begin,
    shards: Vec<ShardPorts>,
    fatal: Fatal,
) -> Result<(Running, Vec<ShardEnds>), OpenError> {
    let (log_bell, log_sleeper) = sleeper();
    let rings = connect(&shards, &log_bell, begin.settings.readers);
    let (notes_out, notes) = unbounded();
    let notes_out = Notes { outbox: notes_out, bell: log_bell.clone() };
    let (prepare_out, prepare) = unbounded();
    let (sync_out, sync) = unbounded();
    let (pages_out, jobs) = unbounded();
    let orders = Orders { notes: notes_out.clone(), pages: pages_out.clone() };
    let StoreCounters { log: log_counters, pages: page_counters } =
        std::mem::take(&mut begin.counters);
    let pages = start_pages(&begin, page_counters, Mail { jobs, notes: &notes_out }, &fatal)?;
    let readers = start_readers(&begin, rings.readers, &fatal)?;
    let transfers = begin.transfers(Some(notes_out.clone()));
    let (segments, notes_in) = (begin.segments.clone(), notes_out.clone());
    let syncer = spawn("sync", &fatal, move || {
        sync_aside(&sync, &segments, &notes_in);
        Ok(true)
    })?;
    let segments = begin.segments.clone();
    let preparer = spawn("segments", &fatal, move || {
        prepare_segments(&prepare, &segments, &notes_out);
        Ok(true)
    })?;
    let sizes = SizeHandle::new(begin.shared.clone(), begin.segments.clone());
    let now = Now { mono: Mono(0), wall: wall_now() };
    let mut log_thread = LogThread {
        journal: Journal::new(begin.settings.journal, begin.start, shards.len(), now),
        shared: begin.shared.clone(),
        open: OpenSegment::new(begin.segments.clone()),
        segments: begin.segments,
        inbox: rings.inbox,
        outgoing: rings.outgoing,
        notes,
        prepare: prepare_out,
        sync: sync_out,
        pages: pages_out,
        bell: log_bell,
        begun: Instant::now(),
        next_shard: 0,
        space_checked: Mono(0),
        tally: Tally::new(log_counters),
    };
    let log = spawn("log", &fatal, move || {
        log_sleeper.is_me();
        log_thread.run()?;
        // A page thread that is gone already said why.
        let _ = log_thread.pages.send(PageJob::Finish);
        Ok(true)
    })?;
    let stop_within = Duration::from_millis(begin.settings.stop_within_ms);
    let (life, read) = (begin.life, ReadHandle::new(begin.shared));
    let running = Running {
        log,
        preparer,
        syncer,
        pages,
        readers,
        stop_within,
        life,
        read,
        orders,
        transfers,
        sizes,
    };
    Ok((running, rings.ends))
}

/// The page thread, and what ends it.
struct Pages {
    thread: JoinHandle<bool>,
    /// Disconnected when the thread has ended.
    ended: Inbox<()>,
    stop: Arc<AtomicBool>,
}

/// What the page thread hears and says.
struct Mail<'m> {
    jobs: Inbox<PageJob>,
    notes: &'m Notes,
}

fn start_pages(
    begin: &Begin,
    counters: CoreCounters,
    Mail { jobs, notes }: Mail<'_>,
    fatal: &Fatal,
) -> Result<Pages, OpenError> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut page_thread = PageThread {
        shared: begin.shared.clone(),
        segments: begin.segments.clone(),
        imports: begin.imports.clone(),
        keep_days: begin.settings.journal_keep_days,
        erase_after_ms: begin.settings.erase_after_ms,
        retention_days: begin.settings.retention_days,
        sweep: None,
        swept_at: None,
        round: None,
        users: VecDeque::new(),
        holds: Vec::new(),
        jobs,
        notes: notes.clone(),
        stop: stop.clone(),
        counters,
    };
    let (alive, ended) = unbounded();
    let thread = spawn("pages", fatal, move || {
        let outcome = page_thread.run();
        drop(alive);
        match outcome {
            Ok(()) => Ok(true),
            Err(StoreError::Stopped) => Ok(false),
            Err(error) => Err(format!("building pages: {error}")),
        }
    })?;
    Ok(Pages { thread, ended, stop })
}

impl Pages {
    /// Waits so long for what is left to be sealed; says whether all of it was.
    fn end_within(self, patience: Duration) -> bool {
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            self.stop.store(true, Ordering::Relaxed);
        }
        joined(self.thread)
    }
}

struct Readers {
    threads: Vec<JoinHandle<bool>>,
    bells: Vec<Arc<Doorbell>>,
    stop: Arc<AtomicBool>,
}

fn start_readers(begin: &Begin, readers: Vec<Reader>, fatal: &Fatal) -> Result<Readers, OpenError> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = Readers { threads: Vec::new(), bells: Vec::new(), stop: stop.clone() };
    for Reader { clients, bell, sleeper } in readers {
        running.bells.push(bell.clone());
        let read = ReadHandle::new(begin.shared.clone());
        let mut thread = ReaderThread { read, clients, bell, stop: stop.clone() };
        running.threads.push(spawn("reader", fatal, move || {
            sleeper.is_me();
            thread.run();
            Ok(true)
        })?);
    }
    Ok(running)
}

impl Readers {
    fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.bells.iter().for_each(|bell| bell.ring());
        for thread in self.threads {
            joined(thread);
        }
    }
}

struct Reader {
    clients: Vec<Client>,
    bell: Arc<Doorbell>,
    sleeper: Sleeper,
}

struct Rings {
    inbox: Vec<Receiver<ToLog>>,
    outgoing: Vec<Outgoing>,
    readers: Vec<Reader>,
    ends: Vec<ShardEnds>,
}

/// Shards are spread over the readers; a reader without a shard is not started.
fn connect(shards: &[ShardPorts], log_bell: &Arc<Doorbell>, readers: usize) -> Rings {
    let mut readers: Vec<Reader> = (0..readers.min(shards.len()))
        .map(|_| {
            let (bell, sleeper) = sleeper();
            Reader { clients: Vec::new(), bell, sleeper }
        })
        .collect();
    let count = readers.len();
    let mut rings =
        Rings { inbox: Vec::new(), outgoing: Vec::new(), readers: Vec::new(), ends: Vec::new() };
    for (index, shard) in shards.iter().enumerate() {
        let reader = &mut readers[index % count];
        let (to_log, inbox) = ring(MAILBOX_SLOTS, log_bell.clone());
        let (outgoing, from_log) = ring(FROM_LOG_SLOTS, shard.doorbell.clone());
        let (to_readers, requests) = ring(LOAD_SLOTS, reader.bell.clone());
        let (answers, from_readers) = ring(LOAD_SLOTS, shard.doorbell.clone());
        rings.inbox.push(inbox);
        rings.outgoing.push(Outgoing::new(outgoing));
        reader.clients.push(Client { requests, answers, unsent: None });
        rings.ends.push(ShardEnds { to_log, from_log, to_readers, from_readers });
    }
    rings.readers = readers;
    rings
}

/// Who a doorbell wakes, once that thread runs.
struct Sleeper(Arc<OnceLock<Thread>>);

impl Sleeper {
    fn is_me(&self) {
        self.0.get_or_init(std::thread::current);
    }
}

fn sleeper() -> (Arc<Doorbell>, Sleeper) {
    let thread: Arc<OnceLock<Thread>> = Arc::default();
    let waker = thread.clone();
    let bell = Doorbell::new(move || {
        // A thread that has not yet begun is not asleep either.
        if let Some(thread) = waker.get() {
            thread.unpark();
        }
    });
    (Arc::new(bell), Sleeper(thread))
}

/// Starts a thread whose failure ends the process.
fn spawn(
    name: &'static str,
    fatal: &Fatal,
    work: impl FnOnce() -> Result<bool, String> + Send + 'static,
) -> Result<JoinHandle<bool>, OpenError> {
    let fatal = fatal.clone();
    let body = move || {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        let why = match outcome {
            Ok(Ok(did_all)) => return did_all,
            Ok(Err(why)) => why,
            Err(panic) => format!("it panicked: {}", panic_text(panic.as_ref())),
        };
        fatal(format!("the store's thread \"{name}\" failed: {why}"));
        false
    };
    let thread = std::thread::Builder::new().name(format!("store-{name}")).spawn(body);
    thread.map_err(|error: io::Error| OpenError::Thread(error))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return text;
    }
    panic.downcast_ref::<String>().map_or("without a text", String::as_str)
}
