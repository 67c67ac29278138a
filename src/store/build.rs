//! Makes pages, overlays and indexes of a segment, and marks it sealed.
//!
//! Building the same segment again (a crash came between) gives the same tree: keys say what they
//! hold, counts know up to which seq they count, and numbers are taken from what stands *before* the
//! segment. Only when all of it is on disk the mark `Z` moves on.

use std::sync::atomic::AtomicBool;

use crate::model::{ConversationId, Erasure, MessageId, Seq, UserId};
use crate::node::journal::archive::role_code;
use crate::node::journal::{Scan, SealedMark};

use super::changes::{Changes, apply};
use super::erase;
use super::error::{StoreError, ValueError};
use super::gather::{DirectoryShare, Gathered, Share, gather};
use super::keys::{Day, Key, KeyReader, Kind};
use super::page::{self, PageEntry};
use super::pages::Pages;
use super::values::{self, Gone, ReplyCount, ToErase, ValueReader, ValueWriter, Why};

/// Changes that are collected, and so sorted, before they are put in.
const CHANGES_BYTES_MAX: usize = 4 << 20;

/// Builds the segment and seals it. `stop` ends the work between two slices: nothing is sealed then,
/// and the next start does it again.
pub fn build(pages: &Pages, segment: &Scan<'_>, stop: &AtomicBool) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (segment.commits.first(), segment.commits.last()) else {
        return Ok(());
    };
    let gathered = gather(segment)?;
    delete(pages, &gathered, stop)?;
    put(pages, &gathered, segment.header.segment, stop)?;
    pages.sync()?;
    let commits = ValueWriter::default()
        .u64(first.head.commit)
        .u64(last.head.commit)
        .u64(last.head.at.0)
        .finish();
    pages.insert(&Key::new(Kind::Segment).number(segment.header.segment), commits)?;
    let sealed = SealedMark {
        segment: segment.header.segment,
        commit: last.head.commit,
        leased_to: last.head.leased_to,
    };
    pages.insert(&Key::new(Kind::Sealed), values::write_sealed(&sealed))?;
    pages.sync()
}

/// Puts what commits of this segment add up to into pages; on disk only after a sync.
pub fn put(
    pages: &Pages,
    gathered: &Gathered<'_>,
    segment: u64,
    stop: &AtomicBool,
) -> Result<(), StoreError> {
    let mut builder = Builder::new(pages);
    builder.all(gathered, segment, stop)?;
    apply(pages, builder.changes, stop)
}

/// Puts only what a segment says about the directory, marks and what was deleted, not its events.
pub fn put_directory(
    pages: &Pages,
    gathered: &Gathered<'_>,
    stop: &AtomicBool,
) -> Result<(), StoreError> {
    delete(pages, gathered, stop)?;
    let mut builder = Builder::new(pages);
    for (conversation, share) in &gathered.conversations {
        builder.marks(conversation, share)?;
    }
    builder.directory(&gathered.directory)?;
    apply(pages, builder.changes, stop)
}

fn delete(pages: &Pages, gathered: &Gathered<'_>, stop: &AtomicBool) -> Result<(), StoreError> {
    for (conversation, share) in &gathered.conversations {
        if let Some(through) = share.tombstone {
            let gone = Gone { why: Why::Deleted, through };
            erase::conversation(pages, conversation, gone, stop)?;
        }
    }
    Ok(())
}

pub(super) struct Builder<'a> {
    pub(super) pages: &'a Pages,
    changes: Changes,
    /// Of the values among them.
    bytes: usize,
}

impl<'a> Builder<'a> {
    fn new(pages: &'a Pages) -> Builder<'a> {
        Builder { pages, changes: Changes::new(), bytes: 0 }
    }

    /// What one conversation adds up to never depends on what another one's changes made of the tree, so
    /// conversations may be put in one by one.
    fn all(
        &mut self,
        gathered: &Gathered<'_>,
        segment: u64,
        stop: &AtomicBool,
    ) -> Result<(), StoreError> {
        for (conversation, share) in &gathered.conversations {
            self.events(conversation, share, segment);
            self.header(conversation, share)?;
            self.replies(conversation, share)?;
            self.edits(conversation, share)?;
            self.facts(conversation, share);
            self.marks(conversation, share)?;
            if self.bytes >= CHANGES_BYTES_MAX {
                self.bytes = 0;
                apply(self.pages, std::mem::take(&mut self.changes), stop)?;
            }
        }
        self.given_ids(gathered)?;
        self.imports(gathered, segment)?;
        self.directory(&gathered.directory)
    }

    pub(super) fn put(&mut self, key: Key, value: Vec<u8>) {
        self.bytes += value.len();
        self.changes.insert(key.into_bytes(), Some(value.into()));
    }

    fn remove(&mut self, key: Key) {
        self.changes.insert(key.into_bytes(), None);
    }

    fn events(&mut self, conversation: &ConversationId, share: &Share<'_>, segment: u64) {
        let Some((first, last)) = share.seqs else { return };
        // A page holds consecutive seqs; a hole is for `verify` to name, not to be papered over.
        for run in share.events.chunk_by(|one, next| one.seq.0.checked_add(1) == Some(next.seq.0)) {
            for entries in page::split(run) {
                self.page(conversation, entries);
            }
        }
        let seqs = ValueWriter::default().u64(first.0).u64(last.0).finish();
        let key = Key::new(Kind::SegmentSeqs).number(segment).conversation(conversation);
        self.put(key, seqs);
    }

    fn page(&mut self, conversation: &ConversationId, entries: &[PageEntry<'_>]) {
        let Some(first) = entries.first() else { return };
        let key = Key::new(Kind::Page).conversation(conversation).seq(first.seq);
        self.put(key, page::write(entries));
        let mut messages = entries.iter().map(|entry| entry.message).filter(|&id| id != 0);
        if let Some(first_message) = messages.next() {
            let last_message = messages.next_back().unwrap_or(first_message);
            let value = ValueWriter::default().u64(first.seq.0).u64(last_message).finish();
            let key = Key::new(Kind::MessagePage).conversation(conversation).number(first_message);
            self.put(key, value);
        }
    }

    fn header(
        &mut self,
        conversation: &ConversationId,
        share: &Share<'_>,
    ) -> Result<(), StoreError> {
        if share.events.is_empty() && share.tombstone.is_none() {
            return Ok(());
        }
        let key = Key::new(Kind::Header).conversation(conversation);
        let known = self.pages.get(&key)?.map(|value| values::read_header(&value)).transpose()?;
        let mut header = share.header;
        if let Some(known) = known.filter(|_| share.tombstone.is_none()) {
            if known.last_seq > header.last_seq {
                return Ok(());
            }
            if !share.has_messages {
                header.last_message = known.last_message;
                header.messages = known.messages;
            }
        }
        self.put(key, values::write_header(&header));
        Ok(())
    }

    fn replies(
        &mut self,
        conversation: &ConversationId,
        share: &Share<'_>,
    ) -> Result<(), StoreError> {
        for (&parent, replies) in &share.replies {
            let key = Key::new(Kind::ReplyCount).conversation(conversation).message(parent);
            let known = match self.pages.get(&key)? {
                Some(value) => values::read_reply_count(&value)?,
                None => ReplyCount::default(),
            };
            let new = replies.iter().filter(|(_, seq)| *seq > known.through).count() as u32;
            let through = replies.iter().map(|(_, seq)| *seq).max().unwrap_or_default();
            let count = ReplyCount {
                count: known.count.saturating_add(new),
                through: through.max(known.through),
            };
            self.put(key, values::write_reply_count(count));
            for &(reply, seq) in replies {
                let key = Key::new(Kind::Reply).conversation(conversation).message(parent);
                self.put(key.message(reply), ValueWriter::default().u64(seq.0).finish());
            }
        }
        Ok(())
    }

    fn edits(
        &mut self,
        conversation: &ConversationId,
        share: &Share<'_>,
    ) -> Result<(), StoreError> {
        for (&message, edits) in &share.edits {
            let prefix = Key::new(Kind::Edit).conversation(conversation).message(message);
            let first = edits.first().map_or(Seq(0), |(seq, _)| *seq);
            let mut number = self.edits_before(&prefix, first)?;
            for (seq, record) in edits {
                number += 1;
                let value = ValueWriter::default().u32(number).bytes(record).finish();
                self.put(prefix.clone().seq(*seq), value);
            }
        }
        Ok(())
    }

    /// The number of the last edit before this seq.
    fn edits_before(&self, prefix: &Key, seq: Seq) -> Result<u32, StoreError> {
        let below = prefix.clone().number(seq.0.saturating_sub(1));
        match self.pages.at_or_below(prefix, &below)? {
            Some((_, value)) => Ok(ValueReader::new(&value)?.u32()?),
            None => Ok(0),
        }
    }

    fn facts(&mut self, conversation: &ConversationId, share: &Share<'_>) {
        for (&message, &(since, record)) in &share.deletions {
            let key = Key::new(Kind::Deletion).conversation(conversation).message(message);
            self.put(key, ValueWriter::default().bytes(record).finish());
            let key = Key::new(Kind::ToErase).conversation(conversation).message(message);
            let text = ToErase { through: Seq(0), since };
            self.put(key, values::write_to_erase(&text));
        }
        for ((message, emoji, user), holds) in &share.reactions {
            let key = reaction_key(conversation, *message, emoji, user);
            match holds {
                Some(seq) => self.put(key, ValueWriter::default().u64(seq.0).finish()),
                None => self.remove(key),
            }
        }
        for (user, client_msg_id, first) in &share.first_sends {
            let key = Key::new(Kind::FirstSend)
                .day(Day::of(first.created_at))
                .conversation(conversation)
                .user(user)
                .text(client_msg_id);
            self.put(key, values::write_first_send(first));
        }
    }

    fn marks(
        &mut self,
        conversation: &ConversationId,
        share: &Share<'_>,
    ) -> Result<(), StoreError> {
        for (user, (mark, record)) in &share.marks {
            let marked = Key::new(Kind::Marked).user(user).conversation(conversation);
            self.put(marked, ValueWriter::default().finish());
            let key = Key::new(Kind::Mark).conversation(conversation).user(user);
            let known = match self.pages.get(&key)? {
                Some(value) => Some(ValueReader::new(&value)?.u64()?),
                None => None,
            };
            if known.is_none_or(|known| known < mark.message.0) {
                self.put(key, ValueWriter::default().u64(mark.message.0).bytes(record).finish());
            }
        }
        Ok(())
    }

    fn directory(&mut self, share: &DirectoryShare<'_>) -> Result<(), StoreError> {
        for (conversation, &at) in &share.created {
            let key = Key::new(Kind::Created).conversation(conversation);
            if self.pages.get(&key)?.is_none() {
                self.put(key, values::write_wall(at));
            }
        }
        for ((conversation, user), role) in &share.roles {
            let member = Key::new(Kind::Member).conversation(conversation).user(user);
            let membership = Key::new(Kind::Membership).user(user).conversation(conversation);
            for key in [member, membership] {
                match role {
                    Some(role) => {
                        self.put(key, ValueWriter::default().u8(role_code(*role)).finish())
                    }
                    None => self.remove(key),
                }
            }
        }
        for (conversation, days) in &share.retention {
            let key = Key::new(Kind::Retention).conversation(conversation);
            match days {
                Some(days) => self.put(key, ValueWriter::default().u32(*days).finish()),
                None => self.remove(key),
            }
        }
        for (user, record) in &share.profiles {
            let key = Key::new(Kind::Profile).user(user);
            match record {
                Some(record) => self.put(key, ValueWriter::default().bytes(record).finish()),
                None => self.remove(key),
            }
        }
        for (user, &begun_at) in &share.erasures {
            let running = values::write_erasure(&Erasure::Running { begun_at });
            self.put(Key::new(Kind::Erasure).user(user), running);
        }
        for (user, &issued_before) in &share.revoked {
            let key = Key::new(Kind::Revoked).user(user);
            let known = self.pages.get(&key)?.map(|value| values::read_wall(&value)).transpose()?;
            let until = known.map_or(issued_before, |known| known.max(issued_before));
            self.put(key, values::write_wall(until));
        }
        Ok(())
    }
}

fn reaction_key(
    conversation: &ConversationId,
    message: MessageId,
    emoji: &str,
    user: &UserId,
) -> Key {
    Key::new(Kind::Reaction).conversation(conversation).message(message).text(emoji).user(user)
}

/// Forgets first sends of days before `day`.
pub fn purge_first_sends(pages: &Pages, day: Day, stop: &AtomicBool) -> Result<(), StoreError> {
    let prefix = Key::new(Kind::FirstSend);
    loop {
        let mut old = Changes::new();
        for pair in pages.scan(&prefix).take(1_000) {
            let (key, _) = pair?;
            if KeyReader::new(&key, Kind::FirstSend)?.day()? >= day {
                break;
            }
            old.insert(key.to_vec(), None);
        }
        if old.is_empty() {
            return Ok(());
        }
        apply(pages, old, stop)?;
    }
}

/// The last commit's time of a sealed segment, in ms; `None` if the segment is not sealed.
pub fn sealed_at(pages: &Pages, segment: u64) -> Result<Option<u64>, StoreError> {
    let Some(value) = pages.get(&Key::new(Kind::Segment).number(segment))? else { return Ok(None) };
    let mut reader = ValueReader::new(&value)?;
    let read = reader.u64().and_then(|_| reader.u64()).and_then(|_| reader.u64());
    Ok(Some(read.map_err(|_: ValueError| ValueError::Content)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::pages::Batch;
    use super::*;
    use crate::model::DirectoryChange;
    use crate::model::{Event, EventBody, Mark, MessageBody, Profile, ReactionAction, Role};
    use crate::model::{Tombstone, Wall};
    use crate::node::journal::frame::{CommitHead, FrameBuilder, SegmentHeader};
    use crate::node::journal::{Tail, scan};
    use crate::node::ports::Record;

    static NEVER: AtomicBool = AtomicBool::new(false);

    fn event(seq: u64, body: EventBody) -> Record {
        let event = Arc::new(Event { seq: Seq(seq), at: Wall(seq), body });
        Record::Event { conversation: ConversationId::from_number(1).unwrap(), event }
    }

    /// Twelve events about messages `first` and `first + 1`, of which one answers message 1.
    fn records(first: u64) -> Vec<Record> {
        let by = UserId::from_number(1).unwrap();
        let conversation = ConversationId::from_number(1).unwrap();
        let message = |id: u64, parent: Option<u64>| {
            EventBody::Message(MessageBody {
                id: MessageId(id),
                ordinal: id - 1,
                sender: Profile::nameless(by.clone()).into(),
                content: "x".repeat(40_000),
                parent: parent.map(MessageId),
                client_msg_id: Some(format!("c-{id}")),
            })
        };
        let react = |action| EventBody::Reaction {
            message: MessageId(1),
            user: by.clone(),
            emoji: "👍".to_owned(),
            action,
        };
        let edit = || EventBody::Edit {
            message: MessageId(1),
            by: by.clone(),
            content: "edited".to_owned(),
        };
        let bodies = [
            message(first, None),
            message(first + 1, Some(1)),
            edit(),
            react(ReactionAction::Added),
            edit(),
            react(ReactionAction::Removed),
            EventBody::Delete { message: MessageId(first), by: by.clone() },
        ];
        let begin = (first - 1) / 2 * bodies.len() as u64 + 1;
        let mut records: Vec<Record> =
            bodies.into_iter().zip(begin..).map(|(body, seq)| event(seq, body)).collect();
        let mark = Mark { user: by.clone(), message: MessageId(first), ordinal: 0, at: Wall(1) };
        records.push(Record::Mark { conversation: conversation.clone(), mark });
        let role = Role::Member;
        let set = DirectoryChange::MemberSet { conversation, user: by, role };
        records.push(Record::Directory(set));
        records
    }

    fn segment(number: u64, records: &[Record]) -> Vec<u8> {
        let header = SegmentHeader { segment: number, epoch: 1, salt: 9 };
        let mut frame = FrameBuilder::default();
        records.iter().for_each(|record| frame.push(&record.into()).unwrap());
        let head = CommitHead { segment: number, commit: number, leased_to: 1, at: Wall(number) };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(frame.finish(&head, 9));
        bytes
    }

    fn tree(pages: &Pages) -> Vec<(Vec<u8>, Vec<u8>)> {
        pages
            .between(&[], &[u8::MAX])
            .map(|pair| pair.unwrap())
            .map(|(k, v)| (k.to_vec(), v.to_vec()))
            .collect()
    }

    /// Builds both segments; the second is begun so many changes deep before, as a crash leaves it.
    fn built(changes_before_the_crash: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let directory = tempfile::tempdir().unwrap();
        let pages = Pages::open(&directory.path().join("pages"), 1 << 20).unwrap();
        let (first, second) = (segment(1, &records(1)), segment(2, &records(3)));
        let first = scan(&first, 1, Tail::Strict).unwrap();
        let second = scan(&second, 2, Tail::Strict).unwrap();
        build(&pages, &first, &NEVER).unwrap();
        let mut builder = Builder::new(&pages);
        builder.all(&gather(&second).unwrap(), 2, &NEVER).unwrap();
        let some = builder.changes.into_iter().take(changes_before_the_crash).collect();
        apply(&pages, some, &NEVER).unwrap();
        build(&pages, &second, &NEVER).unwrap();
        tree(&pages)
    }

    #[test]
    fn building_again_after_a_crash_halfway_gives_the_same_tree() {
        let expected = built(0);
        assert!(expected.len() > 15);
        for changes in 1..=expected.len() {
            assert_eq!(built(changes), expected, "{changes}");
        }
    }

    /// Two segments, of which the second deletes the conversation, creates it again and goes on.
    fn deleting() -> (Vec<u8>, Vec<u8>) {
        let conversation = ConversationId::from_number(1).unwrap();
        let tombstone = Tombstone { at: Wall(20), last_seq: Seq(7), last_message: 2 };
        let mut second = vec![
            Record::Directory(DirectoryChange::ConversationDeleted {
                conversation: conversation.clone(),
                tombstone,
            }),
            Record::Directory(DirectoryChange::ConversationCreated { conversation, at: Wall(21) }),
        ];
        second.extend(records(3));
        (segment(1, &records(1)), segment(2, &second))
    }

    /// Builds both; the building of the second stops once before each slice of its work, and is cut short
    /// so many changes deep.
    fn rebuilt(keys_removed: usize, changes_before_the_crash: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let directory = tempfile::tempdir().unwrap();
        let pages = Pages::open(&directory.path().join("pages"), 1 << 20).unwrap();
        let (first, second) = deleting();
        build(&pages, &scan(&first, 1, Tail::Strict).unwrap(), &NEVER).unwrap();
        let second = scan(&second, 2, Tail::Strict).unwrap();
        let conversation = ConversationId::from_number(1).unwrap();
        let gathered = gather(&second).unwrap();
        let gone = Gone {
            why: Why::Deleted,
            through: gathered.conversations[&conversation].tombstone.unwrap(),
        };
        let before = tree(&pages);
        let copy = tempfile::tempdir().unwrap();
        let other = Pages::open(&copy.path().join("pages"), 1 << 20).unwrap();
        for (key, value) in &before {
            let mut batch = Batch::default();
            batch.insert(key.clone(), value.clone());
            other.apply(batch).unwrap();
        }
        erase::conversation(&other, &conversation, gone, &NEVER).unwrap();
        let left = tree(&other);
        let removed = before.iter().filter(|(key, _)| !left.iter().any(|(held, _)| held == key));
        for (key, _) in removed.take(keys_removed) {
            let mut batch = Batch::default();
            batch.remove(key.clone());
            pages.apply(batch).unwrap();
        }
        let mut builder = Builder::new(&other);
        builder.all(&gathered, 2, &NEVER).unwrap();
        if keys_removed == usize::MAX {
            let some = builder.changes.into_iter().take(changes_before_the_crash).collect();
            apply(&pages, some, &NEVER).unwrap();
        }
        build(&pages, &second, &NEVER).unwrap();
        tree(&pages)
    }

    #[test]
    fn deleting_again_after_a_crash_halfway_gives_the_same_tree() {
        let expected = rebuilt(0, 0);
        let of = |kind: Kind| expected.iter().filter(|(key, _)| key[0] == kind as u8).count();
        let (pages, gone, edits) = (of(Kind::Page), of(Kind::Gone), of(Kind::Edit));
        assert_eq!((gone, edits, of(Kind::Member), of(Kind::Mark)), (1, 2, 1, 1));
        assert!(pages > 0 && expected.len() > 10);
        for keys in 1..30 {
            assert_eq!(rebuilt(keys, 0), expected, "{keys} keys removed");
        }
        for changes in 0..30 {
            assert_eq!(rebuilt(usize::MAX, changes), expected, "{changes} changes made");
        }
    }

    #[test]
    fn a_stop_leaves_the_segment_unsealed() {
        let directory = tempfile::tempdir().unwrap();
        let pages = Pages::open(&directory.path().join("pages"), 1 << 20).unwrap();
        let bytes = segment(1, &records(1));
        let scanned = scan(&bytes, 1, Tail::Strict).unwrap();
        let outcome = build(&pages, &scanned, &AtomicBool::new(true));
        assert!(matches!(outcome, Err(StoreError::Stopped)));
        assert_eq!(pages.sealed().unwrap(), SealedMark::default());
    }

    #[test]
    fn first_sends_are_forgotten_by_day() {
        let directory = tempfile::tempdir().unwrap();
        let pages = Pages::open(&directory.path().join("pages"), 1 << 20).unwrap();
        for day in 10..20 {
            let key = Key::new(Kind::FirstSend).day(Day(day)).text("c");
            pages.insert(&key, ValueWriter::default().finish()).unwrap();
        }
        let others = Key::new(Kind::Mark).number(1);
        pages.insert(&others, ValueWriter::default().finish()).unwrap();
        purge_first_sends(&pages, Day(17), &NEVER).unwrap();
        assert_eq!(pages.scan(&Key::new(Kind::FirstSend)).count(), 3);
        assert!(pages.get(&others).unwrap().is_some());
    }
}
