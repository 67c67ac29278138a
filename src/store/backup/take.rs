//! Takes a backup, a bounded piece at a time; whoever wants it decides how fast.
//!
//! Each value's checksum is looked at: a damaged store gives no backup, so that good ones are not replaced by
//! it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::unbounded;

use crate::limits::{BACKUP_HOLD_MS, BACKUP_PIECE_BYTES};
use crate::node::journal::SealedMark;

use super::super::commits::At;
use super::super::error::StoreError;
use super::super::files::SegmentDirectory;
use super::super::import;
use super::super::keys::Kind;
use super::super::life;
use super::super::log_thread::{Note, Notes};
use super::super::pages::guarded;
use super::super::read::{ReadHandle, wall_now};
use super::super::values::ValueReader;
use super::archive::{Counts, Framer, push_pair};
use super::{FileName, Head};

/// As long as it lives the page thread removes and rewrites nothing; it goes on sealing segments.
pub struct Hold {
    /// Raised by the page thread when it cannot hold any longer.
    is_over: Arc<AtomicBool>,
    notes: Notes,
}

impl Hold {
    /// Waits until the page thread is between two jobs.
    pub fn begin(notes: Notes) -> Result<Hold, StoreError> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (answer, told) = unbounded();
        notes.send(Note::Hold { hold: Arc::downgrade(&is_over), answer });
        let hold = Hold { is_over, notes };
        let patience = Duration::from_millis(BACKUP_HOLD_MS);
        told.recv_timeout(patience).map_err(|_| StoreError::Stopped)?;
        Ok(hold)
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_over.load(Ordering::SeqCst) { Err(StoreError::Stopped) } else { Ok(()) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.is_over = Arc::default();
        self.notes.send(Note::Release);
    }
}

/// What a backup is taken from.
pub struct Sources {
    pub read: ReadHandle,
    pub segments: SegmentDirectory,
    pub imports: PathBuf,
}

/// The bytes of a backup, piece by piece. After an error there is no more.
pub struct Backup {
    sources: Sources,
    hold: Hold,
    framer: Framer,
    mark: SealedMark,
    counts: Counts,
    /// The last commit that a segment gave.
    reached: u64,
    stage: Stage,
}

enum Stage {
    /// What lies before the first piece of pages.
    Begun(Vec<u8>),
    Pairs {
        from: Vec<u8>,
    },
    Files {
        left: VecDeque<FileName>,
        open: Option<Open>,
    },
    Done,
}

enum Open {
    Whole(File),
    Commits(At),
}

impl Backup {
    pub fn begin(sources: Sources, notes: Notes) -> Result<Backup, StoreError> {
        let hold = Hold::begin(notes)?;
        let mark = guarded(|| sources.read.pages().sealed())?;
        let salt = life::random_u64().map_err(|_| StoreError::Stopped)?;
        let head = Head {
            epoch: sources.read.epoch().to_string(),
            taken_at_ms: wall_now().0,
            server: env!("CARGO_PKG_VERSION").to_owned(),
            sealed_segment: mark.segment,
            sealed_commit: mark.commit,
            leased_to: mark.leased_to,
        };
        let json = serde_json::to_vec(&head).map_err(|error| reading(error.into()))?;
        let mut begun = Vec::new();
        let mut framer = Framer::begin(salt, &mut begun);
        framer.put(b'h', &json, &mut begun);
        let (counts, reached, stage) = (Counts::default(), mark.commit, Stage::Begun(begun));
        Ok(Backup { sources, hold, framer, mark, counts, reached, stage })
    }

    fn step(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        self.hold.check()?;
        let mut out = Vec::new();
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Begun(begun) => {
                self.stage = Stage::Pairs { from: Vec::new() };
                out = begun;
            }
            Stage::Pairs { from } => self.stage = self.pairs(from, &mut out)?,
            Stage::Files { mut left, open: None } => match left.pop_front() {
                Some(name) => {
                    let open = self.open(name, &mut out)?;
                    self.stage = Stage::Files { left, open };
                }
                None => self.end(&mut out)?,
            },
            Stage::Files { left, open: Some(mut open) } => {
                let is_more = self.data(&mut open, &mut out)?;
                self.stage = Stage::Files { left, open: is_more.then_some(open) };
            }
            Stage::Done => return Ok(None),
        }
        Ok(Some(out))
    }

    /// One piece of pages; the mark is in the head.
    fn pairs(&mut self, from: Vec<u8>, out: &mut Vec<u8>) -> Result<Stage, StoreError> {
        let mut payload = Vec::new();
        let mut last = None;
        guarded(|| {
            for pair in self.sources.read.pages().between(&from, &[u8::MAX]) {
                let (key, value) = pair?;
                ValueReader::new(&value)?;
                if key[..] != [Kind::Sealed as u8] {
                    push_pair(&mut payload, &key, &value);
                    self.counts.pairs += 1;
                }
                last = Some(key);
                if payload.len() >= BACKUP_PIECE_BYTES {
                    break;
                }
            }
            Ok(())
        })?;
        if !payload.is_empty() {
            self.framer.put(b'p', &payload, out);
        }
        match last.filter(|_| payload.len() >= BACKUP_PIECE_BYTES) {
            Some(last) => {
                let mut from = last.to_vec();
                from.push(0);
                Ok(Stage::Pairs { from })
            }
            None => self.files(),
        }
    }

    /// What the journal has by now, and imports whose record may be in it.
    fn files(&mut self) -> Result<Stage, StoreError> {
        self.counts.through = self.sources.read.watermark().commit();
        let segments = self.sources.segments.list().map_err(reading)?;
        let imports = imports_in(&self.sources.imports).map_err(reading)?;
        let segments = segments.into_iter().map(FileName::Segment);
        let left = segments.chain(imports.into_iter().map(FileName::Import)).collect();
        Ok(Stage::Files { left, open: None })
    }

    /// `None`: an import that came to nothing since files were listed. What is recorded is held.
    fn open(&mut self, name: FileName, out: &mut Vec<u8>) -> Result<Option<Open>, StoreError> {
        let path = match name {
            FileName::Segment(number) => self.sources.segments.path_of(number),
            FileName::Import(number) => import::file_of(&self.sources.imports, number),
        };
        let open = match name {
            FileName::Segment(number) if number > self.mark.segment => {
                let at = At::open(&path, number)?;
                Open::Commits(at.ok_or(StoreError::CommitGone { commit: self.reached + 1 })?)
            }
            FileName::Segment(_) => Open::Whole(File::open(&path).map_err(reading)?),
            FileName::Import(_) => match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => Open::Whole(file.map_err(reading)?),
            },
        };
        let (kind, number) = match name {
            FileName::Segment(number) => (b's', number),
            FileName::Import(number) => (b'i', number),
        };
        self.framer.put(kind, &number.to_le_bytes(), out);
        self.counts.files += 1;
        if let Open::Commits(at) = &open {
            self.put_data(&at.header().to_bytes(), out);
        }
        Ok(Some(open))
    }

    /// Whether the file may have more.
    fn data(&mut self, open: &mut Open, out: &mut Vec<u8>) -> Result<bool, StoreError> {
        match open {
            Open::Whole(file) => {
                let mut bytes = Vec::with_capacity(BACKUP_PIECE_BYTES);
                let piece = file.by_ref().take(BACKUP_PIECE_BYTES as u64);
                let read = { piece }.read_to_end(&mut bytes).map_err(reading)?;
                self.put_data(&bytes, out);
                Ok(read > 0)
            }
            Open::Commits(at) => {
                while out.len() < BACKUP_PIECE_BYTES {
                    let commit = at.read()?.map(|commit| commit.head.commit);
                    let Some(commit) = commit.filter(|&commit| commit <= self.counts.through)
                    else {
                        return Ok(false);
                    };
                    if commit != self.reached + 1 {
                        return Err(StoreError::CommitGone { commit: self.reached + 1 });
                    }
                    self.reached = commit;
                    self.put_data(at.bytes(), out);
                    at.advance();
                }
                Ok(true)
            }
        }
    }

    fn put_data(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for piece in bytes.chunks(BACKUP_PIECE_BYTES) {
            self.framer.put(b'd', piece, out);
            self.counts.file_bytes += piece.len() as u64;
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StoreError> {
        if self.reached < self.counts.through {
            return Err(StoreError::CommitGone { commit: self.reached + 1 });
        }
        // What is said to be whole was held until here.
        self.hold.check()?;
        self.framer.end(&self.counts, out);
        Ok(())
    }
}

impl Iterator for Backup {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.step().transpose();
        if matches!(piece, Some(Err(_))) {
            self.stage = Stage::Done;
        }
        piece
    }
}

fn reading(source: io::Error) -> StoreError {
    StoreError::Io { what: "reading for a backup", source }
}

/// Numbers of imports that have their name.
fn imports_in(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("import-"));
        numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
    }
    Ok(numbers)
}
