//! Erasing: deleted text leaves pages, overlays and kept segments.
//!
//! ```text
//! queue (Y) ─► Pages: pages and edits rewritten, so many messages a step ─► sync
//!           ─► Segments: each kept one that has something of it, rewritten, one a step
//!           ─► done: what was queued is taken off the queue
//! ```
//! A round may end anywhere: nothing leaves the queue before all of it is erased, and to erase again
//! changes nothing. The page thread runs it between its jobs.

use std::collections::VecDeque;
use std::io;

use crate::model::{ConversationId, MessageId, Seq, Wall};
use crate::node::journal::record;
use crate::node::journal::{Tail, rewrite, scan};

use super::error::{StoreError, ValueError};
use super::files::{self, SegmentDirectory};
use super::keys::{Key, KeyReader, Kind};
use super::page::{self, PageEntry};
use super::pages::{Batch, Pages, Pair};
use super::redaction::Redaction;
use super::values::{self, ToErase, ValueReader, ValueWriter};

/// Entries of the queue that one round takes.
const ROUND_MAX: usize = 50_000;
/// Entries whose pages one step rewrites.
const STEP_ENTRIES: usize = 64;

struct Entry {
    key: Vec<u8>,
    text: ToErase,
    conversation: ConversationId,
    message: MessageId,
}

/// What a step left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    More,
    Done,
    /// Something could not be erased and is queued still: a later round tries again.
    Failed,
}

pub struct Round {
    queued: Vec<Entry>,
    /// So many of them are out of pages.
    paged: usize,
    redaction: Redaction,
    /// `None` until all pages are done.
    segments: Option<VecDeque<u64>>,
    /// A segment could not be rewritten: what was queued stays queued.
    is_incomplete: bool,
}

/// Whether something is queued since before `until`.
pub fn is_due(pages: &Pages, until: Wall) -> Result<bool, StoreError> {
    for pair in pages.scan(&Key::new(Kind::ToErase)) {
        if values::read_to_erase(&pair?.1)?.since <= until {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Round {
    pub fn begin(pages: &Pages) -> Result<Round, StoreError> {
        let mut queued = Vec::new();
        for pair in pages.scan(&Key::new(Kind::ToErase)).take(ROUND_MAX) {
            let (key, value) = pair?;
            let mut reader = KeyReader::new(&key, Kind::ToErase)?;
            let (conversation, message) = (reader.conversation()?, MessageId(reader.number()?));
            let text = values::read_to_erase(&value)?;
            queued.push(Entry { key: key.to_vec(), text, conversation, message });
        }
        Ok(Round {
            queued,
            paged: 0,
            redaction: Redaction::default(),
            segments: None,
            is_incomplete: false,
        })
    }

    /// A bounded piece of the work.
    pub fn step(
        &mut self,
        pages: &Pages,
        segments: &SegmentDirectory,
    ) -> Result<Progress, StoreError> {
        if self.paged < self.queued.len() {
            let end = (self.paged + STEP_ENTRIES).min(self.queued.len());
            for at in self.paged..end {
                self.out_of_pages(pages, at)?;
            }
            self.paged = end;
            return Ok(Progress::More);
        }
        let Some(left) = &mut self.segments else {
            pages.sync()?;
            self.segments = Some(kept(pages, segments)?.into());
            return Ok(Progress::More);
        };
        match left.pop_front() {
            Some(segment) => {
                self.out_of_kept(pages, segments, segment)?;
                Ok(Progress::More)
            }
            None if self.is_incomplete => Ok(Progress::Failed),
            None => {
                self.finish(pages)?;
                Ok(Progress::Done)
            }
        }
    }

    fn out_of_pages(&mut self, pages: &Pages, at: usize) -> Result<(), StoreError> {
        let Entry { text, conversation, message, .. } = &self.queued[at];
        let target = self.redaction.conversations.entry(conversation.clone()).or_default();
        if message.0 == 0 {
            target.through = target.through.max(text.through);
            return Ok(());
        }
        let mut seqs = edits_of(pages, conversation, *message)?;
        seqs.extend(seq_of(pages, conversation, *message)?);
        target.seqs.extend(&seqs);
        for seq in seqs {
            rewrite_page(pages, &self.redaction, conversation, seq)?;
        }
        rewrite_edits(pages, &self.redaction, conversation, *message)
    }

    /// Rewrites a kept segment that has something of what is erased. Which seqs of a conversation it has
    /// matters as long as one of them is there.
    fn out_of_kept(
        &mut self,
        pages: &Pages,
        segments: &SegmentDirectory,
        segment: u64,
    ) -> Result<(), StoreError> {
        let prefix = Key::new(Kind::SegmentSeqs).number(segment);
        let mut forgotten = Batch::default();
        let mut is_touched = false;
        for pair in pages.scan(&prefix) {
            let (key, value) = pair?;
            let conversation = KeyReader::behind(&key, &prefix)?.conversation()?;
            let Some(target) = self.redaction.conversations.get(&conversation) else { continue };
            let mut reader = ValueReader::new(&value)?;
            let (first, last) = (Seq(reader.u64()?), Seq(reader.u64()?));
            is_touched |= target.touches(first, last);
            if last <= target.through {
                forgotten.remove(key);
            }
        }
        if !is_touched {
            return Ok(());
        }
        match out_of_segment(&self.redaction, segments, segment)? {
            Progress::Failed => self.is_incomplete = true,
            Progress::More | Progress::Done => pages.apply(forgotten)?,
        }
        Ok(())
    }

    /// What was queued anew meanwhile stays.
    fn finish(&mut self, pages: &Pages) -> Result<(), StoreError> {
        for entries in self.queued.chunks(STEP_ENTRIES) {
            let mut batch = Batch::default();
            for entry in entries {
                let held = pages.get_bytes(&entry.key)?;
                let held = held.map(|value| values::read_to_erase(&value)).transpose()?;
                if held == Some(entry.text) {
                    batch.remove(&entry.key[..]);
                }
            }
            pages.apply(batch)?;
        }
        pages.sync()
    }
}

/// Segments that are sealed and still there.
pub(super) fn kept(pages: &Pages, segments: &SegmentDirectory) -> Result<Vec<u64>, StoreError> {
    let sealed = pages.sealed()?.segment;
    let listed = segments.list();
    let mut kept =
        listed.map_err(|source| StoreError::Io { what: "listing the journal", source })?;
    kept.retain(|&segment| segment <= sealed);
    Ok(kept)
}

/// Copied without what is erased, synced, and put in its place. A segment that is damaged, or for whose
/// copy there is no room, is left for a later round.
pub(super) fn out_of_segment(
    redaction: &Redaction,
    segments: &SegmentDirectory,
    segment: u64,
) -> Result<Progress, StoreError> {
    let failed = |what| move |source| StoreError::Io { what, source };
    let bytes = match segments.read(segment) {
        Ok(bytes) => bytes,
        // It became too old to be kept since the round began.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Progress::Done),
        Err(error) => return Err(failed("reading a kept segment")(error)),
    };
    let rewritten = scan(&bytes, segment, Tail::Strict)
        .and_then(|found| rewrite(&found, |record| redaction.of(record)));
    let rewritten = match rewritten {
        Ok(Some(rewritten)) => rewritten,
        Ok(None) => return Ok(Progress::Done),
        Err(damage) => {
            tracing::error!(%damage, "deleted text cannot be erased from a kept segment");
            return Ok(Progress::Failed);
        }
    };
    let free = files::free_bytes(segments.path()).map_err(failed("asking for free space"))?;
    if free < 2 * rewritten.len() as u64 {
        tracing::warn!(segment, "no room to erase deleted text from a kept segment");
        return Ok(Progress::Failed);
    }
    segments.replace(segment, &rewritten).map_err(failed("rewriting a kept segment"))?;
    segments.sync().map_err(failed("syncing the journal's directory"))?;
    Ok(Progress::Done)
}

/// Where the message itself is, if pages have it.
fn seq_of(
    pages: &Pages,
    conversation: &ConversationId,
    message: MessageId,
) -> Result<Option<Seq>, StoreError> {
    let prefix = Key::new(Kind::MessagePage).conversation(conversation);
    let Some((_, value)) = pages.at_or_below(&prefix, &prefix.clone().message(message))? else {
        return Ok(None);
    };
    let first = Seq(ValueReader::new(&value)?.u64()?);
    let key = Key::new(Kind::Page).conversation(conversation).seq(first);
    let Some(value) = pages.get(&key)? else { return Ok(None) };
    let page = page::open(&value)?;
    let entries = page.entries()?;
    Ok(entries.iter().find(|entry| entry.message == message.0).map(|entry| entry.seq))
}

fn edits_of(
    pages: &Pages,
    conversation: &ConversationId,
    message: MessageId,
) -> Result<Vec<Seq>, StoreError> {
    let prefix = Key::new(Kind::Edit).conversation(conversation).message(message);
    let seq = |pair: Result<Pair, StoreError>| {
        let (key, _) = pair?;
        Ok(Seq(KeyReader::behind(&key, &prefix)?.number()?))
    };
    pages.scan(&prefix).map(seq).collect()
}

/// Writes the page with this event anew, if something of it is to be erased.
pub(super) fn rewrite_page(
    pages: &Pages,
    redaction: &Redaction,
    conversation: &ConversationId,
    seq: Seq,
) -> Result<(), StoreError> {
    let prefix = Key::new(Kind::Page).conversation(conversation);
    match pages.at_or_below(&prefix, &prefix.clone().seq(seq))? {
        Some((key, value)) => match redacted_page(redaction, &value)? {
            Some(rewritten) => put(pages, &key, rewritten),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

/// A page's value without what is to be erased; `None` when it has nothing of it.
fn redacted_page(redaction: &Redaction, value: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let page = page::open(value)?;
    let entries = page.entries()?;
    let mut records = Vec::with_capacity(entries.len());
    for entry in &entries {
        records.push(redacted(redaction, entry.record)?);
    }
    if records.iter().all(Option::is_none) {
        return Ok(None);
    }
    let rewritten: Vec<PageEntry<'_>> = entries
        .iter()
        .zip(&records)
        .map(|(entry, new)| PageEntry { record: new.as_deref().unwrap_or(entry.record), ..*entry })
        .collect();
    Ok(Some(page::write(&rewritten)))
}

fn rewrite_edits(
    pages: &Pages,
    redaction: &Redaction,
    conversation: &ConversationId,
    message: MessageId,
) -> Result<(), StoreError> {
    let prefix = Key::new(Kind::Edit).conversation(conversation).message(message);
    for pair in pages.scan(&prefix) {
        let (key, value) = pair?;
        let mut reader = ValueReader::new(&value)?;
        let number = reader.u32()?;
        if let Some(record) = redacted(redaction, reader.rest())? {
            put(pages, &key, ValueWriter::default().u32(number).bytes(&record).finish())?;
        }
    }
    Ok(())
}

fn redacted(redaction: &Redaction, bytes: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let record = record::decode(bytes).map_err(ValueError::from)?;
    let Some(record) = redaction.of(&record) else { return Ok(None) };
    Ok(Some(record::to_bytes(&record).map_err(ValueError::from)?))
}

fn put(pages: &Pages, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.insert(key, value);
    pages.apply(batch)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::model::{
        DirectoryChange, Event, EventBody, MessageBody, Profile, Tombstone, UserId,
    };
    use crate::node::journal::frame::{CommitHead, FrameBuilder, SegmentHeader};
    use crate::node::ports::Record;
    use crate::store::build::build;

    const TEXT: &str = "not to be found";

    fn id(number: u64) -> ConversationId {
        ConversationId::from_number(number).unwrap()
    }

    fn event(of: u64, seq: u64, body: EventBody) -> Record {
        Record::Event {
            conversation: id(of),
            event: Arc::new(Event { seq: Seq(seq), at: Wall(seq), body }),
        }
    }

    fn message(of: u64, seq: u64) -> Record {
        let sender = Profile::nameless(UserId::from_number(1).unwrap());
        let (id, content) = (MessageId(seq), format!("{TEXT} {seq}"));
        let body = MessageBody {
            id,
            ordinal: seq - 1,
            sender: sender.into(),
            content,
            parent: None,
            client_msg_id: None,
        };
        event(of, seq, EventBody::Message(body))
    }

    fn change(of: u64, seq: u64, content: Option<&str>) -> Record {
        let (message, by) = (MessageId(1), UserId::from_number(1).unwrap());
        event(
            of,
            seq,
            match content {
                Some(content) => EventBody::Edit { message, by, content: content.to_owned() },
                None => EventBody::Delete { message, by },
            },
        )
    }

    fn segment(number: u64, records: &[Record]) -> Vec<u8> {
        let header = SegmentHeader { segment: number, epoch: 1, salt: 9 };
        let mut bytes = header.to_bytes().to_vec();
        for (commit, records) in (2 * number - 1..).zip(records.chunks(records.len().div_ceil(2))) {
            let mut frame = FrameBuilder::default();
            records.iter().for_each(|record| frame.push(&record.into()).unwrap());
            let head = CommitHead { segment: number, commit, leased_to: 1, at: Wall(number) };
            bytes.extend(frame.finish(&head, 9));
        }
        bytes
    }

    /// Three segments: two conversations with text in each, of which one loses a message and one goes.
    fn store(directory: &Path) -> (Pages, SegmentDirectory) {
        let pages = Pages::open(&directory.join("pages"), 1 << 20).unwrap();
        let journal = directory.join("journal");
        fs::create_dir(&journal).unwrap();
        let segments = SegmentDirectory::new(journal);
        let tombstone = Tombstone { at: Wall(9), last_seq: Seq(2), last_message: 2 };
        let conversation = id(2);
        let records = [
            vec![message(1, 1), message(2, 1), change(1, 2, Some(TEXT))],
            vec![change(1, 3, Some(TEXT)), message(2, 2)],
            vec![
                change(1, 4, None),
                Record::Directory(DirectoryChange::ConversationDeleted { conversation, tombstone }),
            ],
        ];
        for (number, records) in (1..).zip(&records) {
            let bytes = segment(number, records);
            fs::write(segments.path_of(number), &bytes).unwrap();
            let found = scan(&bytes, number, Tail::Strict).unwrap();
            build(&pages, &found, &AtomicBool::new(false)).unwrap();
        }
        (pages, segments)
    }

    type Contents = (Vec<(Vec<u8>, Vec<u8>)>, Vec<Vec<u8>>);

    fn contents(pages: &Pages, segments: &SegmentDirectory) -> Contents {
        let values = pages.between(&[], &[u8::MAX]).map(|pair| pair.unwrap());
        let files = (1..=3).map(|number| segments.read(number).unwrap());
        (values.map(|(k, v)| (k.to_vec(), v.to_vec())).collect(), files.collect())
    }

    /// Ends one round after so many steps, as a crash would, and begins another.
    fn erased(steps_before_the_crash: usize) -> (Contents, usize) {
        let directory = tempfile::tempdir().unwrap();
        let (pages, segments) = store(directory.path());
        let mut round = Round::begin(&pages).unwrap();
        for _ in 0..steps_before_the_crash {
            if round.step(&pages, &segments).unwrap() != Progress::More {
                break;
            }
        }
        let mut round = Round::begin(&pages).unwrap();
        let mut steps = 1;
        while round.step(&pages, &segments).unwrap() == Progress::More {
            steps += 1;
        }
        (contents(&pages, &segments), steps)
    }

    #[test]
    fn a_round_that_is_begun_again_leaves_the_same() {
        let (expected, steps) = erased(0);
        assert!(steps >= 5);
        let is_in = |bytes: &[u8]| memchr::memmem::find(bytes, TEXT.as_bytes()).is_some();
        assert!(!expected.0.iter().any(|(_, value)| is_in(value)));
        assert!(!expected.1.iter().any(|file| is_in(file)));
        assert!(!expected.0.iter().any(|(key, _)| key[0] == Kind::ToErase as u8));
        for crash in 1..=steps {
            assert_eq!(erased(crash).0, expected, "after {crash} steps");
        }
    }

    #[test]
    fn commits_keep_their_numbers_and_records_their_places() {
        let directory = tempfile::tempdir().unwrap();
        let (pages, segments) = store(directory.path());
        let shape = |number: u64| -> Vec<_> {
            let bytes = segments.read(number).unwrap();
            let found = scan(&bytes, number, Tail::Strict).unwrap();
            let commit = |commit: &crate::node::journal::frame::Commit<'_>| {
                (commit.head, commit.record_count(), commit.records().count())
            };
            found.commits.iter().map(commit).collect()
        };
        let before: Vec<_> = (1..=3).map(shape).collect();
        let mut round = Round::begin(&pages).unwrap();
        while round.step(&pages, &segments).unwrap() == Progress::More {}
        assert_eq!((1..=3).map(shape).collect::<Vec<_>>(), before);
    }

    #[test]
    fn a_segment_that_is_too_old_meanwhile_ends_no_round() {
        let directory = tempfile::tempdir().unwrap();
        let (pages, segments) = store(directory.path());
        let mut round = Round::begin(&pages).unwrap();
        while round.segments.is_none() {
            assert_eq!(round.step(&pages, &segments).unwrap(), Progress::More);
        }
        segments.remove(2).unwrap();
        let end = loop {
            match round.step(&pages, &segments).unwrap() {
                Progress::More => {}
                end => break end,
            }
        };
        assert_eq!(end, Progress::Done);
        assert_eq!(segments.list().unwrap(), [1, 3]);
    }

    #[test]
    fn a_damaged_segment_keeps_its_text_queued() {
        let directory = tempfile::tempdir().unwrap();
        let (pages, segments) = store(directory.path());
        let mut bytes = segments.read(1).unwrap();
        let whole = bytes.clone();
        bytes[60] ^= 1;
        fs::write(segments.path_of(1), &bytes).unwrap();
        let end = || {
            let mut round = Round::begin(&pages).unwrap();
            loop {
                match round.step(&pages, &segments).unwrap() {
                    Progress::More => {}
                    end => return end,
                }
            }
        };
        assert_eq!(end(), Progress::Failed);
        assert!(is_due(&pages, Wall(100)).unwrap() && !is_due(&pages, Wall(3)).unwrap());
        fs::write(segments.path_of(1), &whole).unwrap();
        assert_eq!(end(), Progress::Done);
        assert!(!is_due(&pages, Wall(100)).unwrap());
    }
}
