//! Imports that are not finished when something else looks at the store: half-built pages are no damage, and what comes to
//! nothing under a backup does not break it.

use std::path::Path;

use loquat::model::{DirectoryChange, Wall};
use loquat::node::ports::Record;
use loquat::store::{Store, restore, verify};

use crate::rig::{conversation, message, settings, start, stop};
use crate::transfers::{IMPORTED, copy, expected, export, forgetful, publish, staged, wait_built};

/// As a kill in the midst of a piece leaves it: headers are put in before pages.
fn half_build(store: &Path) {
    let tree = sled::Config::new()
        .path(store.join("pages"))
        .segment_size(8 << 20)
        .flush_every_ms(None)
        .open()
        .unwrap();
    let (key, value) = tree.scan_prefix(b"A").next().unwrap().unwrap();
    let mut value = value.to_vec();
    let state = &mut value[5];
    assert_eq!(*state, 1, "it is built");
    *state = 0;
    let sum = crc32c::crc32c(&value[5..]);
    value[1..5].copy_from_slice(&sum.to_le_bytes());
    tree.insert(key, value).unwrap();
    let of_it = |kind: u8| tree.scan_prefix([kind]).keys().flatten().collect::<Vec<_>>();
    let halves = [b'P', b'I', b'E', b'U'].map(|kind| of_it(kind).pop());
    for key in of_it(b'C').into_iter().chain(halves.into_iter().flatten()) {
        tree.remove(key).unwrap();
    }
    tree.flush().unwrap();
}

#[test]
fn pages_of_an_import_that_are_half_built_are_no_damage() {
    let (directory, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let transfers = running.transfers();
    let staged = staged(&transfers);
    let imports = directory.path().join("imports");
    copy(&imports, aside.path());
    publish(&mut shards[0], staged);
    wait_built(&transfers);
    drop(transfers);
    stop(running, shards);
    copy(aside.path(), &imports);
    half_build(directory.path());
    let report = verify(directory.path()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    // Without its file it is lost, and that is damage.
    let file = std::fs::read_dir(&imports).unwrap().next().unwrap().unwrap().path();
    let away = aside.path().join("away");
    std::fs::rename(&file, &away).unwrap();
    let report = verify(directory.path()).unwrap();
    assert!(report.damaged.iter().any(|what| what.contains("file of an import")), "{report:?}");
    std::fs::rename(&away, &file).unwrap();
    let opened = Store::open(directory.path(), settings()).unwrap();
    assert_eq!(export(&opened.transfers()), Some(expected()));
    drop(opened);
    let report = verify(directory.path()).unwrap();
    assert!(report.is_whole(), "{report:?}");
}

/// Its id was taken, or its conversation was there: nothing speaks of it.
#[test]
fn an_import_that_comes_to_nothing_does_not_break_a_backup() {
    let (directory, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (running, mut shards) = start(directory.path(), settings(), 1);
    shards[0].append(message(5, 1, 10_000, 0, "kept"));
    shards[0].wait_durable();
    let transfers = running.transfers();
    let staged = staged(&transfers);
    let mut backup = transfers.backup().unwrap();
    let mut taken = Vec::new();
    // Its head, and pages: behind them files are listed.
    for _ in 0..2 {
        taken.extend(backup.next().unwrap().unwrap());
    }
    drop(staged);
    for piece in backup {
        taken.extend(piece.unwrap());
    }
    drop(transfers);
    stop(running, shards);
    let made = into.path().join("store");
    restore(&taken[..], &made, &mut |_| {}).unwrap();
    let report = verify(&made).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let opened = Store::open(&made, settings()).unwrap();
    assert_eq!(opened.read_handle().header(&conversation(5)).unwrap().last_seq.0, 1);
    assert_eq!(export(&opened.transfers()), None);
}

/// Recorded while the backup holds the store, and sealed as well, so that only pages note it.
#[test]
fn an_import_that_is_recorded_under_a_backup_comes_with_it() {
    let (directory, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (running, mut shards) = start(directory.path(), forgetful(), 1);
    let shard = &mut shards[0];
    let transfers = running.transfers();
    let mut backup = transfers.backup().unwrap();
    let mut taken = backup.next().unwrap().unwrap();
    publish(shard, staged(&transfers));
    let from = shard.sealed;
    let long = "z".repeat(9_000);
    for n in 0..80 {
        shard.append(message(5, n + 1, 10_000 + n, n, &long));
    }
    shard.append(Record::Directory(DirectoryChange::ConversationCreated {
        conversation: conversation(6),
        at: Wall(1),
    }));
    shard.wait_durable();
    shard.wait("a seal", |shard| shard.sealed > from);
    let held = transfers.importing(&conversation(IMPORTED)).unwrap();
    assert_eq!(held.built, 0, "nothing is built under a backup");
    for piece in backup {
        taken.extend(piece.unwrap());
    }
    let made = into.path().join("store");
    restore(&taken[..], &made, &mut |_| {}).unwrap();
    let report = verify(&made).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let opened = Store::open(&made, forgetful()).unwrap();
    assert_eq!(export(&opened.transfers()), Some(expected()));
    drop(opened);
    // And where it was taken from, it goes on now.
    wait_built(&transfers);
    assert_eq!(export(&transfers), Some(expected()));
    drop(transfers);
    stop(running, shards);
}
