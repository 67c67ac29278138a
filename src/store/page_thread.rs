//! The page thread: sled's only writer. It builds pages of segments that ended, keeps sealed segments
//! for some days, forgets first sends after theirs, and between its jobs drops what is too old and erases deleted text.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::limits::CLIENT_MSG_ID_KEPT_MS;
use crate::model::{Import, UserId, Wall};
use crate::node::journal::{Damage, Tail, scan};
use crate::telemetry::{CoreCounters, Counter, Histogram};

use super::build;
use super::commits::Commits;
use super::erasing::{self, Progress, Round};
use super::error::StoreError;
use super::files::{self, SegmentDirectory};
use super::import::Imports;
use super::keys::Day;
use super::log_thread::{Note, Notes};
use super::read::{Shared, wall_now};
use super::retention::Sweep;
use super::user_erasing::{self, Met, UserRound};

const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(3_600);
const SPACE_PAUSE: Duration = Duration::from_millis(500);
/// About one chunk of an import.
const CHUNK_BYTES: u64 = 2 << 20;
const DAY_MS: u64 = 86_400_000;

#[derive(Debug, Clone)]
pub enum PageJob {
    Seal {
        segment: u64,
        last_commit: u64,
    },
    /// Everything of the user up to `until`; all of it is sealed.
    EraseUser {
        user: UserId,
        until: Wall,
        answer: Sender<Met>,
    },
    /// Nobody has anything of the user any more.
    UserErased {
        user: UserId,
        begun_at: Wall,
        met: Met,
    },
    /// The record of an import is durable in this commit.
    Import {
        segment: u64,
        commit: u64,
        import: Import,
    },
    /// Remove and rewrite nothing as long as somebody holds this; only segments are sealed.
    Hold {
        hold: Weak<AtomicBool>,
        answer: Sender<()>,
    },
    /// Somebody let go.
    Release,
    /// No job follows.
    Finish,
}

pub struct PageThread {
    pub shared: Arc<Shared>,
    pub segments: SegmentDirectory,
    pub imports: PathBuf,
    pub keep_days: u32,
    pub erase_after_ms: u64,
    pub retention_days: Option<u32>,
    /// Dropping what is too old, under way; and when it was last begun.
    pub sweep: Option<Sweep>,
    pub swept_at: Option<Instant>,
    /// Erasing that is under way.
    pub round: Option<Round>,
    /// Users who are being erased, one after the other.
    pub users: VecDeque<UserRound>,
    /// Who copies the store: told when it moves on all the same.
    pub holds: Vec<Weak<AtomicBool>>,
    pub jobs: Receiver<PageJob>,
    pub notes: Notes,
    /// Set when a stop waited long enough.
    pub stop: Arc<AtomicBool>,
    pub counters: CoreCounters,
}

impl PageThread {
    /// Works until told to finish or to stop; everything that ended before is sealed in the first
    /// case, and left to the next start in the second.
    pub fn run(&mut self) -> Result<(), StoreError> {
        self.housekeeping()?;
        let mut imports = Imports::new(self.imports.clone());
        let mut commits = Commits::new(self.segments.clone());
        loop {
            let is_held = self.is_held();
            let patience = match is_held || (imports.is_empty() && self.is_idle()) {
                true => HOUSEKEEPING_EVERY,
                false => Duration::ZERO,
            };
            match self.jobs.recv_timeout(patience) {
                Ok(PageJob::Seal { segment, last_commit }) => self.seal(segment, last_commit)?,
                Ok(PageJob::Import { segment, commit, import }) => {
                    imports.begin(&self.shared, &mut commits, (segment, commit), import)?;
                }
                Ok(PageJob::EraseUser { user, until, answer }) => {
                    self.users.push_back(UserRound::new(user, until, answer));
                }
                Ok(PageJob::UserErased { user, begun_at, met }) => {
                    user_erasing::finish(&self.shared.pages, &user, begun_at, met)?;
                }
                Ok(PageJob::Hold { hold, answer }) => {
                    self.holds.push(hold);
                    // Who asked may have given up.
                    let _ = answer.send(());
                }
                Ok(PageJob::Release) => {}
                // What is still to be erased is queued, and goes on after the next start.
                Ok(PageJob::Finish) | Err(RecvTimeoutError::Disconnected) => {
                    self.end_holds();
                    while imports.step(&self.shared, &self.stop)? {}
                    return Ok(());
                }
                Err(RecvTimeoutError::Timeout) if is_held => {}
                Err(RecvTimeoutError::Timeout) if !imports.is_empty() => {
                    wait_for_room(&self.segments, CHUNK_BYTES, &self.stop)?;
                    imports.step(&self.shared, &self.stop)?;
                }
                Err(RecvTimeoutError::Timeout) => self.between_jobs()?,
            }
        }
    }

    fn is_held(&mut self) -> bool {
        self.holds.retain(|hold| hold.strong_count() > 0);
        !self.holds.is_empty()
    }

    fn end_holds(&mut self) {
        for hold in self.holds.drain(..).filter_map(|hold| hold.upgrade()) {
            hold.store(true, Ordering::SeqCst);
        }
    }

    fn is_idle(&self) -> bool {
        self.round.is_none() && self.sweep.is_none() && self.users.is_empty()
    }

    /// A piece of what goes on beside the jobs, one after the other.
    fn between_jobs(&mut self) -> Result<(), StoreError> {
        if !self.users.is_empty() {
            self.erase_user()
        } else if self.sweep.is_some() {
            self.drop_old()
        } else if self.round.is_some() {
            self.erase()
        } else {
            self.housekeeping()
        }
    }

    /// What was dropped is queued for erasing.
    fn drop_old(&mut self) -> Result<(), StoreError> {
        if let Some(sweep) = &mut self.sweep
            && sweep.step(&self.shared.pages, &self.shared.overlay)? == Progress::Done
        {
            if sweep.has_dropped() {
                self.notes.send(Note::ReadAnew);
            }
            self.sweep = None;
            self.begin_round()?;
        }
        Ok(())
    }

    /// One that could not be finished is asked for again.
    fn erase_user(&mut self) -> Result<(), StoreError> {
        let Some(user) = self.users.front_mut() else { return Ok(()) };
        if user.step(&self.shared.pages, &self.segments)? != Progress::More {
            self.users.pop_front();
        }
        Ok(())
    }

    fn begin_sweep(&mut self) {
        if self.swept_at.is_none_or(|at| at.elapsed() >= HOUSEKEEPING_EVERY) {
            self.swept_at = Some(Instant::now());
            self.sweep = Some(Sweep::new(self.retention_days, wall_now()));
        }
    }

    fn erase(&mut self) -> Result<(), StoreError> {
        let Some(round) = &mut self.round else { return Ok(()) };
        match round.step(&self.shared.pages, &self.segments)? {
            Progress::More => {}
            // More may have been queued meanwhile.
            Progress::Done => {
                self.round = None;
                self.begin_round()?;
            }
            Progress::Failed => self.round = None,
        }
        Ok(())
    }

    fn begin_round(&mut self) -> Result<(), StoreError> {
        let until = Wall(wall_now().0.saturating_sub(self.erase_after_ms));
        if self.round.is_none() && erasing::is_due(&self.shared.pages, until)? {
            self.round = Some(Round::begin(&self.shared.pages)?);
        }
        Ok(())
    }

    fn seal(&mut self, segment: u64, last_commit: u64) -> Result<(), StoreError> {
        wait_for_space(&self.segments, segment, &self.stop)?;
        let begun = Instant::now();
        seal(&self.shared, &self.segments, Span { segment, last_commit }, &self.stop)?;
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.counters.observe(Histogram::PageBuildMillis, took_ms);
        self.counters.increment(Counter::SegmentsSealed);
        self.shared.overlay.forget_through(segment);
        self.notes.send(Note::Sealed { segment });
        self.housekeeping()
    }

    fn housekeeping(&mut self) -> Result<(), StoreError> {
        if self.is_held() {
            return Ok(());
        }
        self.begin_sweep();
        self.begin_round()?;
        let io = |what| move |source| StoreError::Io { what, source };
        let today = Day::of(wall_now());
        // One day more: a first send of the oldest day's last second has its full time.
        let kept_days = (CLIENT_MSG_ID_KEPT_MS / DAY_MS) as u32 + 1;
        build::purge_first_sends(&self.shared.pages, today.before(kept_days), &self.stop)?;
        let keep_ms = u64::from(self.keep_days) * DAY_MS;
        let mut removed = false;
        // The last sealed one stays: it tells if sled ever opens as it was at an earlier time.
        let last_sealed = self.shared.pages.sealed()?.segment;
        let segments = self.segments.list().map_err(io("listing the journal"))?;
        for segment in segments.into_iter().filter(|&segment| segment < last_sealed) {
            let sealed_at = build::sealed_at(&self.shared.pages, segment)?;
            if sealed_at.is_some_and(|at| wall_now().0.saturating_sub(at) > keep_ms) {
                self.segments.remove(segment).map_err(io("removing a sealed segment"))?;
                removed = true;
            }
        }
        if removed {
            self.segments.sync().map_err(io("syncing the journal's directory"))?;
        }
        Ok(())
    }
}

/// A segment that ended, and the commit that it must reach.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub segment: u64,
    pub last_commit: u64,
}

/// Builds and seals one segment, then gives back the room behind its last commit.
pub fn seal(
    shared: &Shared,
    segments: &SegmentDirectory,
    Span { segment, last_commit }: Span,
    stop: &AtomicBool,
) -> Result<(), StoreError> {
    let io = |what| move |source| StoreError::Io { what, source };
    let bytes = segments.read(segment).map_err(io("reading a segment"))?;
    let scanned = scan(&bytes, segment, Tail::Strict)?;
    let first_expected = shared.pages.sealed()?.commit + 1;
    let first = scanned.commits.first().map_or(u64::MAX, |first| first.head.commit);
    if first != first_expected {
        return Err(Damage::Gap { segment, expected: first_expected, found: first }.into());
    }
    if scanned.commits.last().is_none_or(|last| last.head.commit != last_commit) {
        let offset = scanned.end as u64;
        return Err(Damage::Middle { segment, offset, expected: last_commit }.into());
    }
    build::build(&shared.pages, &scanned, stop)?;
    let file = OpenOptions::new().write(true).open(segments.path_of(segment));
    file.and_then(|file| file.set_len(scanned.end as u64)).map_err(io("trimming a segment"))
}

/// sled must never meet a full disk: afterwards it serves what it could not store.
fn wait_for_space(
    segments: &SegmentDirectory,
    segment: u64,
    stop: &AtomicBool,
) -> Result<(), StoreError> {
    let segment_bytes = segments
        .path_of(segment)
        .metadata()
        .map_err(|source| StoreError::Io { what: "reading a segment", source })?
        .len();
    wait_for_room(segments, segment_bytes, stop)
}

/// The same before pages of so many bytes are built.
fn wait_for_room(
    segments: &SegmentDirectory,
    pages_bytes: u64,
    stop: &AtomicBool,
) -> Result<(), StoreError> {
    let what = "asking for free space";
    loop {
        let free =
            files::free_bytes(segments.path()).map_err(|source| StoreError::Io { what, source })?;
        if free >= needed_bytes(pages_bytes) {
            return Ok(());
        }
        if stop.load(Ordering::Relaxed) {
            return Err(StoreError::Stopped);
        }
        std::thread::sleep(SPACE_PAUSE);
    }
}

/// What building the pages of so many bytes may take on disk: the pages, what sled moves meanwhile,
/// and two of its own segments.
pub fn needed_bytes(segment_bytes: u64) -> u64 {
    2 * segment_bytes + (16 << 20)
}
