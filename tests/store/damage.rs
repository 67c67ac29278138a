//! Damaged files: named, or cut off where nothing was promised; never a panic, never overwritten.

use std::fs;
use std::path::{Path, PathBuf};

use loquat::model::*;
use loquat::node::journal::Damage;
use loquat::store::{OpenError, Store, verify};

use crate::rig::{conversation, message, settings, start, stop};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            match fs::copy(entry.path(), target) {
                // The next segment was being prepared under another name.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

fn segments(store: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(store.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none())
        .collect();
    paths.sort();
    paths
}

/// A store as a kill would leave it: so many messages durable, none in pages.
fn crashed(at: &Path, messages: u64) {
    let live = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(live.path(), settings(), 1);
    for seq in 1..=messages {
        shards[0].append(message(1, seq, seq, seq - 1, "hello"));
        shards[0].wait_durable();
    }
    copy(live.path(), at);
    stop(running, shards);
}

fn last_seq(store: &Path) -> Result<u64, OpenError> {
    let opened = Store::open(store, settings())?;
    let header = opened.read_handle().header(&conversation(1)).unwrap();
    Ok(header.last_seq.0)
}

/// Where the last byte that is not zero lies, and the commits' beginnings.
fn commits(bytes: &[u8]) -> Vec<usize> {
    commits_of(bytes, b"LQC\x01")
}

fn commits_of(bytes: &[u8], what: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(what.len()).enumerate();
    windows.filter(|(_, window)| *window == what).map(|(at, _)| at).collect()
}

#[test]
fn a_torn_end_gives_exactly_the_commits_before_it() {
    let origin = tempfile::tempdir().unwrap();
    crashed(origin.path(), 6);
    let segment = segments(origin.path())[0].file_name().unwrap().to_owned();
    let original = fs::read(origin.path().join("journal").join(&segment)).unwrap();
    let begin = *commits(&original).last().unwrap();
    let end = original.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: u64| {
        let store = tempfile::tempdir().unwrap();
        copy(origin.path(), store.path());
        let mut bytes = original.clone();
        change(&mut bytes);
        fs::write(store.path().join("journal").join(&segment), bytes).unwrap();
        assert_eq!(last_seq(store.path()).unwrap(), expected);
        assert!(verify(store.path()).unwrap().is_whole());
    };
    for cut in (begin..end).step_by(11) {
        check(&|bytes| bytes.truncate(cut), 5);
    }
    check(&|bytes| bytes[begin + 30..].fill(0), 5);
    check(&|bytes| bytes[begin + 30..].fill(0xee), 5);
    check(&|bytes| bytes[end + 100..end + 200].fill(0xee), 6);
    check(&|_| {}, 6);
}

#[test]
fn a_flipped_bit_in_the_middle_is_named_and_nothing_is_changed() {
    let store = tempfile::tempdir().unwrap();
    crashed(store.path(), 6);
    let path = segments(store.path())[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    let third = commits(&bytes)[2];
    bytes[third + 60] ^= 0x20;
    fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        let error = last_seq(store.path()).err().unwrap();
        let text = error.to_string();
        assert!(matches!(error, OpenError::Journal { .. }), "{text}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(text.contains(&format!("byte {third}")), "{text}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    assert!(!verify(store.path()).unwrap().is_whole());
}

#[test]
fn damaged_pages_are_refused_named_or_made_again_from_the_journal() {
    let origin = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(origin.path(), settings(), 1);
    for seq in 1..=2_000 {
        shards[0].append(message(1, seq, seq, seq - 1, "hello there, how are you?"));
    }
    shards[0].wait_durable();
    stop(running, shards);
    let original = fs::read(origin.path().join("pages/db")).unwrap();
    let texts: Vec<usize> = commits_of(&original, b"hello there");
    let written = original.iter().rposition(|&byte| byte != 0).unwrap();
    let positions = (0..12).map(|part| written * part / 12 + 7);
    let positions = positions.chain((0..6).map(|part| texts[texts.len() * part / 6] + 3));
    let sound = verify(origin.path()).unwrap();
    let mut seen = 0;
    for position in positions {
        let store = tempfile::tempdir().unwrap();
        copy(origin.path(), store.path());
        let mut bytes = original.clone();
        bytes[position] ^= 0x40;
        fs::write(store.path().join("pages/db"), &bytes).unwrap();
        let report = verify(store.path());
        seen += u32::from(!report.as_ref().is_ok_and(|report| *report == sound));
        if report.unwrap().is_whole() {
            // sled may have opened as it was at an earlier time: the journal knows the rest.
            assert_eq!(last_seq(store.path()).unwrap(), 2_000, "byte {position}");
            assert_eq!(verify(store.path()).unwrap().events, 2_000);
        }
    }
    assert!(seen > 0);
}

/// A kill or a power loss while sled writes its snapshot leaves such a file, and the one before.
#[test]
fn a_snapshot_that_sled_was_writing_is_no_damage() {
    let store = tempfile::tempdir().unwrap();
    crashed(store.path(), 3);
    assert_eq!(last_seq(store.path()).unwrap(), 3);
    let unfinished = store.path().join("pages/snap.00000000FFFFFFFF.generating");
    for bytes in ["", "a part of it, which is more than nothing"] {
        fs::write(&unfinished, bytes).unwrap();
        assert_eq!(last_seq(store.path()).unwrap(), 3);
        assert!(!unfinished.exists());
        fs::write(&unfinished, bytes).unwrap();
        assert!(verify(store.path()).unwrap().is_whole());
    }
}

#[test]
fn pages_that_went_back_in_time_without_a_journal_are_named() {
    let store = tempfile::tempdir().unwrap();
    for seq in 1..=3 {
        let (running, mut shards) = start(store.path(), settings(), 1);
        shards[0].append(message(1, seq, seq, seq - 1, "hello"));
        stop(running, shards);
    }
    let sealed = segments(store.path());
    assert!(sealed.len() >= 3);
    for path in &sealed {
        fs::remove_file(path).unwrap();
    }
    let error = last_seq(store.path()).err().unwrap();
    assert!(matches!(error, OpenError::Journal { damage: Damage::Gone { .. }, .. }), "{error}");
}

#[test]
fn a_directory_that_is_no_store_or_another_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("letters.txt"), "dear all").unwrap();
    let error = last_seq(directory.path()).err().unwrap();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    let store = tempfile::tempdir().unwrap();
    assert_eq!(last_seq(store.path()).unwrap(), 0);
    fs::write(store.path().join("format"), "loquat store 9\n").unwrap();
    assert!(matches!(last_seq(store.path()), Err(OpenError::Format { .. })));
}

#[test]
fn a_store_of_the_format_before_is_opened_and_is_of_ours_from_then_on() {
    let store = tempfile::tempdir().unwrap();
    assert_eq!(last_seq(store.path()).unwrap(), 0);
    let format = store.path().join("format");
    fs::write(&format, "loquat store 1\n").unwrap();
    assert!(loquat::store::verify(store.path()).unwrap().is_whole());
    assert_eq!(fs::read_to_string(&format).unwrap(), "loquat store 1\n", "verify writes nothing");
    assert_eq!(last_seq(store.path()).unwrap(), 0);
    assert_eq!(fs::read_to_string(&format).unwrap(), "loquat store 2\n");
}

#[test]
fn a_part_of_the_store_that_is_gone_is_not_made_anew() {
    let check = |gone: &str| {
        let store = tempfile::tempdir().unwrap();
        crashed(store.path(), 2);
        let path = store.path().join(gone);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
        assert!(matches!(last_seq(store.path()), Err(OpenError::Io { .. })), "{gone}");
        assert!(!path.exists(), "{gone}");
    };
    check("pages/db");
    check("pages");
    check("journal");
    check("life");
}

#[test]
fn a_second_opener_is_refused_with_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Store::open(directory.path(), settings()).unwrap();
    let error = Store::open(directory.path(), settings()).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains(directory.path().to_str().unwrap()));
    assert!(matches!(verify(directory.path()), Err(OpenError::Locked { .. })));
    let epoch = opened.epoch;
    drop(opened);
    let again = Store::open(directory.path(), settings()).unwrap();
    assert_eq!((again.epoch, again.replayed.commits), (epoch, 0));
}

#[test]
fn only_the_owner_may_read_the_store() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let store = parent.path().join("new/store");
    crashed(&store, 1);
    assert_eq!(last_seq(&store).unwrap(), 1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["lock", "format", "life", "pages/db"] {
        assert_eq!(mode(&store.join(name)), 0o600, "{name}");
    }
    let made = parent.path().join("made");
    assert_eq!(last_seq(&made).unwrap(), 0);
    for path in [made.clone(), made.join("journal"), made.join("pages")] {
        assert_eq!(mode(&path), 0o700, "{}", path.display());
    }
    let unknown = MessageId(99);
    let opened = Store::open(&made, settings()).unwrap();
    let found = opened.read_handle().state(&conversation(1), &LoadKey::Message(unknown)).unwrap();
    assert_eq!(found, Loaded::Message(None));
}
