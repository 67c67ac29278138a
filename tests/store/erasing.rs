//! Deleted text leaves pages and kept segments, and everything else stays as it was.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use loquat::model::*;
use loquat::node::ports::Record;
use loquat::store::{ReadHandle, StoreSettings, verify};

use super::rig::{Shard, conversation, message, settings, start, stop, user};

const SECRET: &str = "the-secret-text";

fn event(of: u64, seq: u64, body: EventBody) -> Record {
    let event = Arc::new(Event { seq: Seq(seq), at: Wall(seq), body });
    Record::Event { conversation: conversation(of), event }
}

fn edit(of: u64, seq: u64, message: u64, content: &str) -> Record {
    let (message, by) = (MessageId(message), user(1));
    event(of, seq, EventBody::Edit { message, by, content: content.to_owned() })
}

fn deletion(of: u64, seq: u64, message: u64) -> Record {
    event(of, seq, EventBody::Delete { message: MessageId(message), by: user(1) })
}

fn erasing() -> StoreSettings {
    StoreSettings { erase_after_ms: 0, ..settings() }
}

/// Message 10 with an edit, message 20, and message 30 that nobody deletes; 10 and 20 are deleted.
fn secrets(shard: &mut Shard) {
    let (first, second) = (format!("{SECRET} one"), format!("{SECRET} two"));
    for record in [
        message(1, 1, 10, 0, &first),
        edit(1, 2, 10, &second),
        message(1, 3, 20, 1, SECRET),
        message(1, 4, 30, 2, "it stays"),
        message(2, 1, 40, 0, "it stays, too"),
        deletion(1, 5, 10),
        deletion(1, 6, 20),
    ] {
        shard.append(record);
    }
    shard.wait_durable();
}

/// Ends the segment, and waits until it is sealed.
fn fill(shard: &mut Shard, from: u64) {
    let (sealed, content) = (shard.sealed, "f".repeat(9_000));
    for n in 0..40 {
        shard.append(message(9, from + n, 1_000 + from + n, from + n - 1, &content));
    }
    shard.wait("a sealed segment", |shard| shard.sealed > sealed);
    shard.wait_durable();
}

pub fn files_with(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        if holds(&bytes, text.as_bytes()) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// Live values of the store that hold the text.
pub fn values_with(directory: &Path, text: &str) -> usize {
    let tree = sled::Config::new()
        .path(directory.join("pages"))
        .segment_size(8 << 20)
        .flush_every_ms(None)
        .open()
        .unwrap();
    let has = |(key, value): (sled::IVec, sled::IVec)| {
        holds(&loquat::store::contents(&key, &value).unwrap(), text.as_bytes())
    };
    tree.iter().filter(|pair| has(pair.clone().unwrap())).count()
}

fn check_read(read: &ReadHandle) {
    let events = read.events(&conversation(1), Seq(0), 1 << 20).unwrap();
    let seqs: Vec<_> = events.iter().map(|event| event.seq.0).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);
    let texts: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Message(body) => Some(body.content.as_str()),
            EventBody::Edit { content, .. } => Some(content.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["", "", "", "it stays"]);
    let Loaded::Message(Some(state)) =
        read.state(&conversation(1), &LoadKey::Message(MessageId(10))).unwrap()
    else {
        panic!("the message is still one")
    };
    assert_eq!((state.edits, state.deleted_at.is_some(), &*state.content), (1, true, ""));
    assert_eq!(read.header(&conversation(1)).unwrap().messages, 3);
}

/// Begins lives until nothing of the text is left: one round needs no more than one.
fn erased(directory: &Path, settings: StoreSettings) {
    let (running, shards) = start(directory, settings, 1);
    let read = running.read_handle();
    let begun = std::time::Instant::now();
    while read.texts_to_erase().unwrap() > 0 {
        assert!(begun.elapsed().as_secs() < 30, "the text is still queued");
        std::thread::yield_now();
    }
    check_read(&read);
    drop(read);
    stop(running, shards);
}

#[test]
fn deleted_text_is_in_no_value_and_in_no_segment() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    // Before its time nothing is erased.
    let later = StoreSettings { erase_after_ms: u64::MAX, ..settings() };
    let (running, mut shards) = start(directory.path(), later, 1);
    secrets(&mut shards[0]);
    fill(&mut shards[0], 1);
    assert_eq!(running.read_handle().texts_to_erase().unwrap(), 2);
    stop(running, shards);
    assert!(!files_with(&journal, SECRET).is_empty());
    assert!(values_with(directory.path(), SECRET) > 0);

    erased(directory.path(), erasing());
    assert_eq!(files_with(&journal, SECRET), Vec::<String>::new());
    assert_eq!(values_with(directory.path(), SECRET), 0);
    assert!(!files_with(&journal, "it stays").is_empty());
    let report = verify(directory.path()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    erased(directory.path(), erasing());
}

#[test]
fn erasing_goes_on_while_the_store_works() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), erasing(), 1);
    let read = running.read_handle();
    for round in 0..4 {
        let of = 20 + round;
        let first = format!("{SECRET} {round}");
        shards[0].append(message(of, 1, 5_000 + 10 * round, 0, &first));
        fill(&mut shards[0], 1 + 80 * round);
        shards[0].append(deletion(of, 2, 5_000 + 10 * round));
        fill(&mut shards[0], 41 + 80 * round);
    }
    let begun = std::time::Instant::now();
    while read.texts_to_erase().unwrap() > 0 {
        assert!(begun.elapsed().as_secs() < 30, "the text is still queued");
        std::thread::yield_now();
    }
    assert_eq!(files_with(&directory.path().join("journal"), SECRET), Vec::<String>::new());
    let filler = read.header(&conversation(9)).unwrap();
    assert!(filler.last_seq.0 > 240);
    drop(read);
    stop(running, shards);
    assert_eq!(values_with(directory.path(), SECRET), 0);
    assert!(verify(directory.path()).unwrap().is_whole());
}

#[test]
fn a_deleted_conversation_leaves_no_text_and_no_names() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), erasing(), 1);
    secrets(&mut shards[0]);
    fill(&mut shards[0], 1);
    let tombstone = Tombstone { at: Wall(9), last_seq: Seq(6), last_message: 30 };
    shards[0].append(message(3, 1, 60, 0, "in the same segment"));
    let gone = Tombstone { at: Wall(9), last_seq: Seq(1), last_message: 60 };
    for (conversation, tombstone) in [(conversation(1), tombstone), (conversation(3), gone)] {
        let change = DirectoryChange::ConversationDeleted { conversation, tombstone };
        shards[0].append(Record::Directory(change));
    }
    fill(&mut shards[0], 41);
    let read = running.read_handle();
    let begun = std::time::Instant::now();
    while read.texts_to_erase().unwrap() > 0 {
        assert!(begun.elapsed().as_secs() < 30, "the text is still queued");
        std::thread::yield_now();
    }
    drop(read);
    stop(running, shards);
    for text in [SECRET, "in the same segment", "it stays"] {
        let found = files_with(&directory.path().join("journal"), text);
        let (values, is_other) = (values_with(directory.path(), text), text == "it stays");
        assert_eq!((found.is_empty(), values == 0), (!is_other, !is_other), "{text}");
    }
    assert!(verify(directory.path()).unwrap().is_whole());
}
