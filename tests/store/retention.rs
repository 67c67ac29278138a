//! What is older than it may become leaves the store, and the rest stays whole.

use std::path::Path;
use std::sync::Arc;

use loquat::model::*;
use loquat::node::ports::Record;
use loquat::store::{Ended, ReadHandle, StoreSettings, verify};

use super::erasing::{files_with, values_with};
use super::rig::{conversation, message, settings, start, stop, user};

const OLD: &str = "from long ago";

fn kept_for(days: Option<u32>) -> StoreSettings {
    StoreSettings { retention_days: days, erase_after_ms: 0, ..settings() }
}

/// As `message`, but of today.
fn recent(of: u64, seq: u64, id: u64) -> Record {
    let Record::Event { conversation, event } = message(of, seq, id, seq - 1, "of today") else {
        panic!("a message is an event")
    };
    let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let event = Event { at: Wall(at.as_millis() as u64), ..(*event).clone() };
    Record::Event { conversation, event: Arc::new(event) }
}

/// Appends and stops; each life's events lie in pages of their own.
fn life(directory: &Path, settings: StoreSettings, records: Vec<Record>) {
    let (running, mut shards) = start(directory, settings, 1);
    for record in records {
        shards[0].append(record);
    }
    shards[0].wait_durable();
    assert_eq!(stop(running, shards), Ended::Sealed);
}

fn seqs(read: &ReadHandle, of: u64, after: u64) -> Vec<u64> {
    let events = read.events(&conversation(of), Seq(after), 1 << 20).unwrap();
    events.iter().map(|event| event.seq.0).collect()
}

/// A life in which what is too old is dropped and erased.
fn swept(directory: &Path, days: Option<u32>, gone: u64) {
    let (running, mut shards) = start(directory, kept_for(days), 1);
    let read = running.read_handle();
    let begun = std::time::Instant::now();
    while !read.events(&conversation(gone), Seq(0), 1).unwrap().is_empty()
        || read.texts_to_erase().unwrap() > 0
    {
        assert!(begun.elapsed().as_secs() < 30, "it is still there");
        std::thread::yield_now();
    }
    drop(read);
    shards[0].wait("the word for memory", |shard| shard.told_to_read_anew > 0);
    stop(running, shards);
}

fn old_records() -> Vec<Record> {
    let react = EventBody::Reaction {
        message: MessageId(10),
        user: user(2),
        emoji: "x".to_owned(),
        action: ReactionAction::Added,
    };
    let event = Event { seq: Seq(2), at: Wall(3), body: react };
    let mark = Mark { user: user(1), message: MessageId(10), ordinal: 0, at: Wall(1) };
    vec![
        message(1, 1, 10, 0, OLD),
        Record::Event { conversation: conversation(1), event: Arc::new(event) },
        Record::Mark { conversation: conversation(1), mark },
        message(2, 1, 20, 0, "of another"),
    ]
}

#[test]
fn old_pages_go_and_the_conversation_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    life(directory.path(), kept_for(None), old_records());
    let later = vec![recent(1, 3, 30), recent(1, 4, 40)];
    life(directory.path(), kept_for(None), later);
    swept(directory.path(), Some(1), 1);
    let (running, shards) = start(directory.path(), kept_for(Some(1)), 1);
    let read = running.read_handle();
    assert_eq!((seqs(&read, 1, 0), seqs(&read, 1, 1)), (vec![], vec![]));
    assert_eq!((seqs(&read, 1, 2), seqs(&read, 1, 3)), (vec![3, 4], vec![4]));
    let state = |key| read.state(&conversation(1), &key).unwrap();
    assert_eq!(state(LoadKey::Message(MessageId(10))), Loaded::Message(None));
    assert!(matches!(state(LoadKey::Message(MessageId(30))), Loaded::Message(Some(_))));
    assert!(matches!(state(LoadKey::Mark(user(1))), Loaded::Mark(Some(_))));
    let Loaded::Recent(recent) = state(LoadKey::Recent(9)) else { panic!("no messages") };
    assert_eq!(recent.iter().map(|message| message.id.0).collect::<Vec<_>>(), [30, 40]);
    let header = read.header(&conversation(1)).unwrap();
    assert_eq!((header.last_seq, header.last_message, header.messages), (Seq(4), 40, 4));
    // Nothing of the second conversation is left but where it stands.
    assert_eq!(read.header(&conversation(2)).unwrap().last_seq, Seq(1));
    assert!(!read.admission(&conversation(2), &user(1)).unwrap().is_deleted);
    drop(read);
    stop(running, shards);
    for text in [OLD, "of another"] {
        assert_eq!(values_with(directory.path(), text), 0, "{text}");
        let found = files_with(&directory.path().join("journal"), text);
        assert_eq!(found, Vec::<String>::new(), "{text}");
    }
    let report = verify(directory.path()).unwrap();
    assert!(report.is_whole(), "{report:?}");
}

#[test]
fn a_conversation_may_have_an_age_of_its_own() {
    let set = |of, days| {
        let conversation = conversation(of);
        Record::Directory(DirectoryChange::RetentionSet { conversation, days })
    };
    let directory = tempfile::tempdir().unwrap();
    let mut records = old_records();
    records.extend([message(3, 1, 50, 0, "kept"), set(1, Some(1)), set(2, Some(1)), set(2, None)]);
    life(directory.path(), kept_for(None), records);
    swept(directory.path(), None, 1);
    let (running, shards) = start(directory.path(), kept_for(None), 1);
    let read = running.read_handle();
    assert_eq!(
        (seqs(&read, 1, 0), seqs(&read, 2, 0), seqs(&read, 3, 0)),
        (vec![], vec![1], vec![1])
    );
    drop(read);
    stop(running, shards);
    // With an age for all, one of its own may be longer.
    life(directory.path(), kept_for(None), vec![set(3, Some(36_500))]);
    swept(directory.path(), Some(1), 2);
    let (running, shards) = start(directory.path(), kept_for(None), 1);
    let read = running.read_handle();
    assert_eq!((seqs(&read, 2, 0), seqs(&read, 3, 0)), (vec![], vec![1]));
    drop(read);
    stop(running, shards);
    assert!(verify(directory.path()).unwrap().is_whole());
}
