//! Builds the pages of an import, the page thread's part: from the staged file, a chunk at a time, so
//! that segments are sealed meanwhile.
//!
//! ```text
//! the record is durable → pending (A) → chunks → synced → created (C), built (A) → synced → file removed
//! ```
//! Invariants
//! - The file is whole and synced before the record is written. It is removed only when pages have it all.
//! - `A` stands from the seal of the record's segment on, at the latest: what is pending is never forgotten.
//! - Building again from the start gives the same tree, wherever it was cut.
//! - The conversation exists for nobody before its last chunk is on disk: `C` comes last.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::model::{ConversationId, DirectoryChange, Import, Wall};
use crate::node::journal::record;
use crate::node::journal::{Scan, frame::SEGMENT_HEADER_BYTES};
use crate::node::ports::Record;

use super::build::{self, Builder};
use super::commits::{self, Commits};
use super::error::{StoreError, ValueError};
use super::files;
use super::gather::{At, Gathered, gather};
use super::keys::{Key, KeyReader, Kind};
use super::pages::{Batch, Pages};
use super::read::Shared;
use super::salvage::Salvage;
use super::values::{self, ValueReader, ValueWriter};

const SAID_EVERY: Duration = Duration::from_secs(5);

/// An import whose record is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pending {
    import: Import,
    /// Where its record lies.
    segment: u64,
    commit: u64,
    place: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Pending = 0,
    Built = 1,
}

fn key(conversation: &ConversationId) -> Key {
    Key::new(Kind::Import).conversation(conversation)
}

fn value(state: State, pending: &Pending) -> Vec<u8> {
    let Pending { import, segment, commit, place } = pending;
    ValueWriter::default()
        .u8(state as u8)
        .u64(*segment)
        .u64(*commit)
        .u32(*place)
        .u64(import.at.0)
        .u64(import.number)
        .u64(import.events)
        .u64(import.messages)
        .finish()
}

fn read(conversation: ConversationId, value: &[u8]) -> Result<(State, Pending), ValueError> {
    let mut reader = ValueReader::new(value)?;
    let state = match reader.u8()? {
        0 => State::Pending,
        1 => State::Built,
        _ => return Err(ValueError::Content),
    };
    let (segment, commit, place) = (reader.u64()?, reader.u64()?, reader.u32()?);
    let import = Import {
        conversation,
        at: Wall(reader.u64()?),
        number: reader.u64()?,
        events: reader.u64()?,
        messages: reader.u64()?,
    };
    Ok((state, Pending { import, segment, commit, place }))
}

/// The file of an import in the directory for them.
pub fn file_of(imports: &Path, number: u64) -> PathBuf {
    imports.join(format!("import-{number:016x}"))
}

impl Builder<'_> {
    /// What the segment of an import's record says about it: what is pending, and that its events are
    /// this segment's.
    pub(super) fn imports(
        &mut self,
        gathered: &Gathered<'_>,
        segment: u64,
    ) -> Result<(), StoreError> {
        for (at, import) in &gathered.directory.imported {
            let share = gathered.conversations.get(&import.conversation);
            let last = share.map_or(0, |share| share.header.last_seq.0).max(import.events);
            self.put(seqs_key(segment, &import.conversation), seqs(last));
            if self.pages.get(&key(&import.conversation))?.is_none() {
                let At { commit, place } = *at;
                let pending = Pending { import: import.clone(), segment, commit, place };
                self.put(key(&import.conversation), value(State::Pending, &pending));
            }
        }
        Ok(())
    }
}

fn seqs_key(segment: u64, conversation: &ConversationId) -> Key {
    Key::new(Kind::SegmentSeqs).number(segment).conversation(conversation)
}

fn seqs(last: u64) -> Vec<u8> {
    ValueWriter::default().u64(1).u64(last).finish()
}

/// One import on its way into pages.
struct Building {
    pending: Pending,
    at: commits::At,
    built: u64,
    said: Instant,
}

impl Building {
    fn open(imports: &Path, pending: Pending) -> Result<Building, StoreError> {
        let path = file_of(imports, pending.import.number);
        let opened = commits::At::open(&path, pending.import.number)?;
        let at = opened.ok_or(StoreError::ImportGone { path })?;
        Ok(Building { pending, at, built: 0, said: Instant::now() })
    }

    /// Whether there was a chunk.
    fn step(&mut self, pages: &Pages, stop: &AtomicBool) -> Result<bool, StoreError> {
        let header = self.at.header();
        let Some(commit) = self.at.read()? else { return Ok(false) };
        let commits = vec![commit];
        let scan = Scan { header, commits, end: SEGMENT_HEADER_BYTES, tail_is_dirty: false };
        let mut gathered = gather(&scan)?;
        let (commit, place) = (self.pending.commit, self.pending.place);
        for entry in gathered.conversations.values_mut().flat_map(|share| &mut share.events) {
            (entry.commit, entry.place) = (commit, place);
            self.built = self.built.max(entry.seq.0);
        }
        // Who is known already is known better: an import only adds people.
        let mut known = Vec::new();
        for user in gathered.directory.profiles.keys() {
            if pages.get(&Key::new(Kind::Profile).user(user))?.is_some() {
                known.push(user.clone());
            }
        }
        for user in known {
            gathered.directory.profiles.remove(&user);
        }
        build::put(pages, &gathered, self.pending.segment, stop)?;
        self.at.advance();
        let import = &self.pending.import;
        if self.said.elapsed() >= SAID_EVERY {
            self.said = Instant::now();
            let (built, events) = (self.built, import.events);
            tracing::info!(conversation = %import.conversation, built, events, "importing");
        }
        Ok(true)
    }

    /// All chunks are in: the conversation is there from here on.
    fn finish(&self, pages: &Pages, imports: &Path) -> Result<(), StoreError> {
        let import = &self.pending.import;
        if self.built != import.events {
            return Err(StoreError::ImportGone { path: file_of(imports, import.number) });
        }
        pages.sync()?;
        let mut batch = Batch::default();
        let created = Key::new(Kind::Created).conversation(&import.conversation);
        batch.insert(created.into_bytes(), values::write_wall(import.at));
        let of_segment = seqs_key(self.pending.segment, &import.conversation);
        batch.insert(of_segment.into_bytes(), seqs(import.events));
        let built = value(State::Built, &self.pending);
        batch.insert(key(&import.conversation).into_bytes(), built);
        pages.apply(batch)?;
        pages.sync()
    }

    fn tell(&self, shared: &Shared) {
        let import = &self.pending.import;
        shared.overlay.import_done(&import.conversation);
        shared.watermark.ring();
        let (messages, events) = (import.messages, import.events);
        tracing::info!(conversation = %import.conversation, messages, events, "imported");
    }
}

/// The imports that the page thread has not finished.
pub struct Imports {
    directory: PathBuf,
    queue: VecDeque<Building>,
}

impl Imports {
    pub fn new(directory: PathBuf) -> Imports {
        Imports { directory, queue: VecDeque::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes up an import whose record became durable in this commit of this segment.
    pub fn begin(
        &mut self,
        shared: &Shared,
        commits: &mut Commits,
        (segment, commit): (u64, u64),
        import: Import,
    ) -> Result<(), StoreError> {
        let place = place_of(commits, commit, import.number)?;
        let pending = Pending { import, segment, commit, place };
        let key = key(&pending.import.conversation);
        shared.pages.insert(&key, value(State::Pending, &pending))?;
        self.queue.push_back(Building::open(&self.directory, pending)?);
        Ok(())
    }

    /// One chunk more; whether there is more to do.
    pub fn step(&mut self, shared: &Shared, stop: &AtomicBool) -> Result<bool, StoreError> {
        let Some(building) = self.queue.front_mut() else { return Ok(false) };
        let has_more = building.step(&shared.pages, stop)?;
        let import = &building.pending.import;
        shared.overlay.import_built(&import.conversation, building.built);
        if !has_more && let Some(done) = self.queue.pop_front() {
            done.finish(&shared.pages, &self.directory)?;
            remove(&file_of(&self.directory, done.pending.import.number))?;
            done.tell(shared);
        }
        Ok(!self.queue.is_empty())
    }
}

/// The record's place in its commit.
fn place_of(commits: &mut Commits, commit: u64, number: u64) -> Result<u32, StoreError> {
    if let Some(mut at) = commits.find(commit)?
        && let Some(found) = at.read()?
    {
        for (place, bytes) in (0..).zip(found.records()) {
            match record::decode(bytes).map_err(ValueError::from)? {
                Record::Directory(DirectoryChange::ConversationImported(import))
                    if import.number == number =>
                {
                    return Ok(place);
                }
                _ => {}
            }
        }
    }
    Err(StoreError::CommitGone { commit })
}

/// At start: builds what is pending, then removes files that no record speaks of.
pub fn finish_all(shared: &Shared, directory: &Path) -> Result<(), StoreError> {
    static NEVER: AtomicBool = AtomicBool::new(false);
    let prefix = Key::new(Kind::Import);
    let mut imports = Imports::new(directory.to_owned());
    for pair in shared.pages.scan(&prefix) {
        let (key, value) = pair?;
        let conversation = KeyReader::behind(&key, &prefix)?.conversation()?;
        let (state, pending) = read(conversation, &value)?;
        if state == State::Pending {
            imports.queue.push_back(Building::open(directory, pending)?);
        }
    }
    while imports.step(shared, &NEVER)? {}
    remove_all(directory)
}

/// Builds what `from` notes as pending into `pages`, as far as the staged files are there; they stay.
pub fn build_staged(from: &Pages, pages: &Pages, directory: &Path) -> Result<(), StoreError> {
    let never = AtomicBool::new(false);
    let prefix = Key::new(Kind::Import);
    for (key, value) in Salvage::of(from, prefix.as_ref()) {
        let conversation = KeyReader::behind(&key, &prefix)?.conversation()?;
        let Ok((State::Pending, pending)) = read(conversation, &value) else { continue };
        if let Ok(mut building) = Building::open(directory, pending) {
            while building.step(pages, &never)? {}
            building.finish(pages, directory)?;
        }
    }
    Ok(())
}

/// A note of an import as it is once pages have it, with how many events it brought and when.
pub fn as_built(
    conversation: &ConversationId,
    value: &[u8],
) -> Result<(Vec<u8>, Import), ValueError> {
    let (_, pending) = read(conversation.clone(), value)?;
    Ok((self::value(State::Built, &pending), pending.import))
}

/// An import that pages do not have wholly, and its file, which must be there.
pub struct Due {
    pub conversation: ConversationId,
    pub path: PathBuf,
}

/// What the next start will build.
pub fn due(pages: &Pages, directory: &Path) -> Result<Vec<Due>, StoreError> {
    let prefix = Key::new(Kind::Import);
    let mut due = Vec::new();
    for pair in pages.scan(&prefix) {
        let (key, value) = pair?;
        let conversation = KeyReader::behind(&key, &prefix)?.conversation()?;
        let (state, pending) = read(conversation, &value)?;
        if state == State::Pending {
            let Import { conversation, number, .. } = pending.import;
            due.push(Due { conversation, path: file_of(directory, number) });
        }
    }
    Ok(due)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    let what = "removing an import's file";
    fs::remove_file(path).map_err(|source| StoreError::Io { what, source })
}

/// Files of imports that came to nothing: refused, or cut short before their record.
fn remove_all(directory: &Path) -> Result<(), StoreError> {
    let what = "clearing the directory of imports";
    let io = |source| StoreError::Io { what, source };
    if !directory.try_exists().map_err(io)? {
        return Ok(());
    }
    for entry in fs::read_dir(directory).map_err(io)? {
        fs::remove_file(entry.map_err(io)?.path()).map_err(io)?;
    }
    files::sync_directory(directory).map_err(io)
}
