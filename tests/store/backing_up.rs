//! A backup that is taken while segments are sealed under it: what comes of it is whole, and the same in
//! every event as the store it was taken from.

use std::collections::BTreeMap;
use std::path::Path;

use loquat::model::*;
use loquat::node::ports::Record;
use loquat::store::{
    ArchiveError, Backup, Happening, Position, RestoreError, Store, StoreSettings, Transfers,
    restore, verify,
};

use crate::rig::{Shard, conversation, message, settings, start, stop, user};

fn forgetful() -> StoreSettings {
    StoreSettings { journal_keep_days: 0, ..settings() }
}

/// What a shard would have put into the log.
#[derive(Default)]
struct World {
    /// Seq and messages of each conversation.
    stands: BTreeMap<u64, (u64, u64)>,
    id: u64,
}

/// Sixteen digits that no other number has.
fn digits(number: u64) -> String {
    format!("{:016x}", number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl World {
    fn step(&mut self, shard: &mut Shard, n: u64) {
        let of = (n * n + n / 7) % 5;
        let stand = self.stands.entry(of).or_default();
        let last = *stand;
        stand.0 += 1;
        if n % 10 == 9 && last.1 > 0 {
            let target = MessageId(self.id);
            let body = match n % 3 {
                0 => EventBody::Edit { message: target, by: user(1), content: format!("edit {n}") },
                1 => EventBody::Reaction {
                    message: target,
                    user: user(2),
                    emoji: "👍".to_owned(),
                    action: ReactionAction::Added,
                },
                _ => EventBody::Delete { message: target, by: user(1) },
            };
            // The newest message is of another conversation, which is nothing that pages look at.
            let event = Event { seq: Seq(last.0 + 1), at: Wall(last.0 + 1), body };
            shard.append(Record::Event { conversation: conversation(of), event: event.into() });
            return;
        }
        self.id += 1;
        stand.1 += 1;
        // Packing does not shorten it.
        let content: String = (n * 57..).take(57).map(digits).collect();
        shard.append(message(of, last.0 + 1, self.id, last.1, &content));
        if n.is_multiple_of(97) {
            let mark = Mark {
                user: user(n % 7),
                message: MessageId(self.id),
                ordinal: last.1,
                at: Wall(n),
            };
            shard.append(Record::Mark { conversation: conversation(of), mark });
            let role = if n.is_multiple_of(2) { Role::Member } else { Role::Admin };
            shard.append(Record::Directory(DirectoryChange::MemberSet {
                conversation: conversation(of),
                user: user(n % 7),
                role,
            }));
        }
    }

    /// Conversation 3 goes, and goes on.
    fn delete(&mut self, shard: &mut Shard) {
        let (last_seq, messages) = self.stands[&3];
        let tombstone = Tombstone { at: Wall(9), last_seq: Seq(last_seq), last_message: self.id };
        let conversation = conversation(3);
        shard.append(Record::Directory(DirectoryChange::ConversationDeleted {
            conversation: conversation.clone(),
            tombstone,
        }));
        let created = DirectoryChange::ConversationCreated { conversation, at: Wall(10) };
        shard.append(Record::Directory(created));
        assert!(messages > 0);
        self.stands.insert(3, (last_seq, 0));
    }
}

/// Every event that the store has, from pages and journal.
fn events(transfers: &Transfers) -> BTreeMap<(String, u64), String> {
    let mut found = BTreeMap::new();
    let mut from = Position::START;
    loop {
        let page = transfers.events(from, 1_000).unwrap();
        for (_, happening) in page.happenings {
            if let Happening::Event { conversation, event, .. } = happening {
                found.insert((conversation.to_string(), event.seq.0), format!("{event:?}"));
            }
        }
        from = page.next;
        if !page.has_more {
            return found;
        }
    }
}

fn journal_files(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("journal")).unwrap().count()
}

/// Takes the rest of a backup.
fn rest(backup: Backup, taken: &mut Vec<u8>) {
    for piece in backup {
        taken.extend(piece.unwrap());
    }
}

#[test]
fn a_backup_that_segments_are_sealed_under_is_whole() {
    let (directory, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (running, mut shards) = start(directory.path(), forgetful(), 1);
    let shard = &mut shards[0];
    let mut world = World::default();
    (0..1_500).for_each(|n| world.step(shard, n));
    shard.wait_durable();
    shard.wait("a seal", |shard| shard.sealed >= 3);
    let transfers = running.transfers();
    let mut backup = transfers.backup().unwrap();
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.extend(backup.next().unwrap().unwrap());
    }
    let held_from = shard.sealed;
    (1_500..2_500).for_each(|n| world.step(shard, n));
    world.delete(shard);
    (2_500..3_500).for_each(|n| world.step(shard, n));
    shard.wait_durable();
    shard.wait("seals under the backup", |shard| shard.sealed >= held_from + 5);
    let held = journal_files(directory.path());
    assert!(held >= 6, "the journal is held");
    rest(backup, &mut taken);
    let expected = events(&transfers);
    drop(transfers);

    let made = into.path().join("store");
    let restored = restore(&taken[..], &made, &mut |_| {}).unwrap();
    let report = verify(&made).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let opened = Store::open(&made, forgetful()).unwrap();
    assert_eq!(opened.epoch, restored.epoch);
    assert_ne!(opened.epoch.to_string(), restored.head.epoch);
    let read = opened.read_handle();
    for n in 0..7 {
        let (old, new) = (running.read_handle(), &read);
        let of =
            |read: &loquat::store::ReadHandle| read.conversations_of(&user(n), None, 100).unwrap();
        assert_eq!(of(new), of(&old), "user {n}");
    }
    let found = events(&opened.transfers());
    assert!(found.len() > 2_000);
    // Behind the tombstone as well; what was before it is in neither.
    let missing: Vec<_> = expected.keys().filter(|key| !found.contains_key(*key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(expected.iter().all(|(key, event)| found[key] == *event));
    drop(opened);

    // The page thread goes on where it held.
    let shard = &mut shards[0];
    (3_500..4_500).for_each(|n| world.step(shard, n));
    shard.wait_durable();
    shard.wait("the journal to be let go", |_| journal_files(directory.path()) < held);
    stop(running, shards);
}

#[test]
fn a_backup_that_a_stop_comes_upon_does_not_end_well() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let mut world = World::default();
    (0..500).for_each(|n| world.step(&mut shards[0], n));
    shards[0].wait_durable();
    let mut backup = running.transfers().backup().unwrap();
    assert!(backup.next().unwrap().is_ok());
    stop(running, shards);
    assert!(backup.any(|piece| piece.is_err()));
}

#[test]
fn what_is_no_whole_backup_leaves_nothing_behind() {
    let (directory, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let mut world = World::default();
    (0..800).for_each(|n| world.step(&mut shards[0], n));
    shards[0].wait_durable();
    let mut taken = Vec::new();
    rest(running.transfers().backup().unwrap(), &mut taken);
    stop(running, shards);
    let made = into.path().join("store");
    let check = |bytes: &[u8], is: fn(&ArchiveError) -> bool| {
        match restore(bytes, &made, &mut |_| {}) {
            Err(RestoreError::Archive(error)) => assert!(is(&error), "{error}"),
            other => panic!("{other:?}"),
        }
        let left = std::fs::read_dir(&made).map(|entries| entries.count()).unwrap_or(0);
        assert_eq!(left, 0);
    };
    check(b"something else, of some length", |error| matches!(error, ArchiveError::NotOne));
    for part in [2, 3, 10] {
        let cut = &taken[..taken.len() - taken.len() / part];
        check(cut, |error| matches!(error, ArchiveError::Cut { .. }));
        let mut altered = taken.clone();
        altered[taken.len() / part] ^= 4;
        check(&altered, |error| matches!(error, ArchiveError::Altered { .. }));
    }
    check(&taken[..taken.len() - 1], |error| matches!(error, ArchiveError::Cut { .. }));
    restore(&taken[..], &made, &mut |_| {}).unwrap();
    let again = restore(&taken[..], &made, &mut |_| {});
    assert!(matches!(again, Err(RestoreError::Open(_))), "{again:?}");
}
