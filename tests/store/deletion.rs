//! A deleted conversation is gone at once, whether its tombstone is in pages yet or not; created again it
//! goes on from there.

use std::path::Path;

use loquat::model::*;
use loquat::node::ports::Record;
use loquat::store::{Ended, ReadHandle, verify};

use super::rig::{Shard, conversation, message, settings, start, stop, user};

const EVERYTHING: usize = 1 << 20;

fn created(of: u64) -> Record {
    let conversation = conversation(of);
    Record::Directory(DirectoryChange::ConversationCreated { conversation, at: Wall(1) })
}

fn member(of: u64, whose: u64) -> Record {
    let (conversation, user) = (conversation(of), user(whose));
    Record::Directory(DirectoryChange::MemberSet { conversation, user, role: Role::Member })
}

fn mark(of: u64, whose: u64, message: u64) -> Record {
    let mark = Mark { user: user(whose), message: MessageId(message), ordinal: 0, at: Wall(1) };
    Record::Mark { conversation: conversation(of), mark }
}

fn deleted(of: u64, last_seq: u64, last_message: u64) -> Record {
    let tombstone = Tombstone { at: Wall(50), last_seq: Seq(last_seq), last_message };
    Record::Directory(DirectoryChange::ConversationDeleted {
        conversation: conversation(of),
        tombstone,
    })
}

fn append(shard: &mut Shard, records: Vec<Record>) {
    for record in records {
        shard.append(record);
    }
}

/// Appends, stops, and so seals what was appended.
fn life(directory: &Path, records: Vec<Record>) {
    let (running, mut shards) = start(directory, settings(), 1);
    append(&mut shards[0], records);
    shards[0].wait_durable();
    assert_eq!(stop(running, shards), Ended::Sealed);
}

/// Nothing of conversation 1 can be read; conversation 2 is whole.
fn check_gone(read: &ReadHandle) {
    let one = conversation(1);
    let state = |key| read.state(&one, &key).unwrap();
    assert_eq!(state(LoadKey::Message(MessageId(10))), Loaded::Message(None));
    assert_eq!(state(LoadKey::Mark(user(1))), Loaded::Mark(None));
    assert_eq!(state(LoadKey::Recent(9)), Loaded::Recent(Vec::new()));
    assert_eq!(state(LoadKey::Marks(9)), Loaded::Marks(Vec::new()));
    assert_eq!(read.events(&one, Seq(0), EVERYTHING).unwrap(), []);
    assert_eq!(read.members(&one, None, 9).unwrap(), []);
    let memberships = read.conversations_of(&user(1), None, 9).unwrap();
    assert_eq!(memberships, [(conversation(2), Role::Member)]);
    let created = read.created(None, 9).unwrap();
    assert_eq!(created.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), [conversation(2)]);
    assert_eq!(read.created_at(&one).unwrap(), None);
    let admission = read.admission(&one, &user(1)).unwrap();
    assert!(admission.is_deleted && !admission.conversation_exists && admission.role.is_none());
    let header = Header { last_seq: Seq(2), last_message: 20, messages: 0, last_at: Wall(50) };
    assert_eq!(admission.header, header);
    assert!(!read.admission(&conversation(2), &user(1)).unwrap().is_deleted);
    assert_eq!(read.events(&conversation(2), Seq(0), EVERYTHING).unwrap().len(), 1);
}

fn begun() -> Vec<Record> {
    vec![
        created(1),
        created(2),
        member(1, 1),
        member(2, 1),
        message(1, 1, 10, 0, "one"),
        message(1, 2, 20, 1, "two"),
        message(2, 1, 30, 0, "other"),
        mark(1, 1, 20),
    ]
}

#[test]
fn it_is_gone_before_and_after_its_tombstone_is_in_pages() {
    for is_paged in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        if is_paged {
            life(directory.path(), begun());
        }
        let (running, mut shards) = start(directory.path(), settings(), 1);
        if !is_paged {
            append(&mut shards[0], begun());
        }
        shards[0].append(deleted(1, 2, 20));
        shards[0].wait_durable();
        let read = running.read_handle();
        if is_paged {
            check_gone(&read);
        }
        drop(read);
        stop(running, shards);
        assert!(verify(directory.path()).unwrap().is_whole());
        let (running, shards) = start(directory.path(), settings(), 1);
        check_gone(&running.read_handle());
        stop(running, shards);
    }
}

/// What is created again has its own members, marks and messages, and goes on from the tombstone.
fn check_again(read: &ReadHandle, sealed: bool) {
    let one = conversation(1);
    let admission = read.admission(&one, &user(1)).unwrap();
    assert!(!admission.is_deleted && admission.conversation_exists && admission.role.is_none());
    assert_eq!(read.members(&one, None, 9).unwrap(), [(user(2), Role::Member)]);
    assert_eq!(read.events(&one, Seq(1), EVERYTHING).unwrap(), []);
    assert_eq!(read.state(&one, &LoadKey::Mark(user(1))).unwrap(), Loaded::Mark(None));
    let events = read.events(&one, Seq(2), EVERYTHING).unwrap();
    let (seqs, last) = if sealed { (vec![3], 3) } else { (vec![], 2) };
    assert_eq!(events.iter().map(|event| event.seq.0).collect::<Vec<_>>(), seqs);
    assert_eq!(admission.header.last_seq.0, last);
    assert_eq!(admission.header.messages, u64::from(sealed));
}

#[test]
fn created_again_it_goes_on_from_the_tombstone() {
    let again = || vec![created(1), member(1, 2), message(1, 3, 40, 0, "three")];
    for lives in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let mut records = begun();
        if lives > 0 {
            life(directory.path(), std::mem::take(&mut records));
        }
        records.push(deleted(1, 2, 20));
        if lives > 1 {
            life(directory.path(), std::mem::take(&mut records));
        }
        let (running, mut shards) = start(directory.path(), settings(), 1);
        records.extend(again());
        append(&mut shards[0], records);
        shards[0].wait_durable();
        check_again(&running.read_handle(), false);
        stop(running, shards);
        assert!(verify(directory.path()).unwrap().is_whole());
        let (running, shards) = start(directory.path(), settings(), 1);
        check_again(&running.read_handle(), true);
        stop(running, shards);
    }
}

#[test]
fn a_seq_that_a_tombstone_covers_is_never_taken_again() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let records = vec![created(1), message(1, 1, 10, 0, "one"), deleted(1, 1, 10)];
    append(&mut shards[0], records);
    shards[0].append(message(1, 1, 20, 0, "the same seq"));
    shards[0].wait_durable();
    // What the log took cannot be built: better to stop than to give one seq two meanings.
    assert_ne!(stop(running, shards), Ended::Sealed);
}
