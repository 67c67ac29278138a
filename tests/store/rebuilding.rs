//! Planted damage: `verify` finds each kind of it, and a rebuild restores what segments and a backup cover,
//! names the rest, leaves the old store alone, and brings nothing back that was deleted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use loquat::model::*;
use loquat::node::ports::Record;
use loquat::store::{Missing, OpenError, Rebuild, RebuildStage, Rebuilt, Store, rebuild, verify};

use crate::plan::{CONVERSATIONS, Plan, Sum};
use crate::rig::{conversation, message, settings, start, stop, user};

const SEED: u64 = 11;
const RECORDS: u64 = 1_000;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Every file with its bytes.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(contents(&path)),
            false => drop(all.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    all
}

fn write(store: &Path, records: impl Iterator<Item = Record>) {
    let (running, mut shards) = start(store, settings(), 1);
    let mut unsaid = 0;
    for record in records {
        shards[0].append(record);
        unsaid += 1;
        if unsaid % 50 == 0 {
            shards[0].wait_durable();
            shards[0].wait("room", |shard| shard.accepting);
        }
    }
    stop(running, shards);
}

/// All that the plan says, in one store that ended well, and a copy of its first two thirds.
struct Origin {
    directory: tempfile::TempDir,
}

impl Origin {
    fn new() -> Origin {
        let directory = tempfile::tempdir().unwrap();
        let origin = Origin { directory };
        let two_thirds = RECORDS as usize * 2 / 3;
        write(&origin.store(), Plan::new(SEED).take(two_thirds));
        copy(&origin.store(), &origin.backup());
        write(&origin.store(), Plan::new(SEED).take(RECORDS as usize).skip(two_thirds));
        assert!(verify(&origin.store()).unwrap().is_whole());
        origin
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn backup(&self) -> PathBuf {
        self.directory.path().join("backup")
    }
}

fn segments(store: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(store.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// Looks at the pages as sled has them, and changes them.
fn in_sled(store: &Path, change: impl FnOnce(&sled::Db)) {
    let tree = (0..100)
        .find_map(|_| {
            let config = sled::Config::new().path(store.join("pages")).segment_size(8 << 20);
            let opened = config.flush_every_ms(None).open();
            // A handle that was just dropped gives its lock back a moment later.
            opened.inspect_err(|_| std::thread::sleep(std::time::Duration::from_millis(50))).ok()
        })
        .unwrap();
    change(&tree);
    tree.flush().unwrap();
}

fn made_anew(store: &Path, backup: Option<&Path>, into: &Path) -> Rebuilt {
    let before = contents(store);
    let (store_path, backup) = (store.to_owned(), backup.map(Path::to_owned));
    let job = Rebuild { store: store_path, backup, into: into.to_owned() };
    let mut stages = Vec::new();
    let rebuilt = rebuild(&job, &mut |stage| stages.push(stage)).unwrap();
    assert!(are_in_order(&stages), "{stages:?}");
    assert!(contents(store) == before, "the old store was changed");
    let report = verify(into).unwrap();
    assert!(report.is_whole(), "{report:?}");
    rebuilt
}

/// First copies, then the journal, as often as it is needed, then what is written, which only grows.
fn are_in_order(stages: &[RebuildStage]) -> bool {
    let rank = |stage: &RebuildStage| match *stage {
        RebuildStage::Copying { .. } => (0, 0),
        RebuildStage::Journal { .. } => (1, 0),
        RebuildStage::Writing { conversations, .. } => (2, conversations),
    };
    let ends_well = matches!(stages.last(), Some(RebuildStage::Writing { .. }));
    ends_well && stages.is_sorted_by_key(rank)
}

/// Everything of the plan is there, and a life can begin; events of `lost` apart.
fn has_all(store: &Path, lost: &[Missing]) {
    let sum = Sum::of(SEED, RECORDS);
    let opened = Store::open(store, settings()).unwrap();
    let read = opened.read_handle();
    for id in 1..=CONVERSATIONS {
        let due = &sum.events[&id];
        let id_of = conversation(id);
        assert_eq!(read.header(&id_of).unwrap().last_seq.0, due.len() as u64);
        let begin = lost
            .iter()
            .find(|lost| lost.conversation == id_of && lost.from == Seq(1))
            .map_or(Seq(0), |lost| lost.to);
        let found = read.events(&id_of, begin, usize::MAX).unwrap();
        assert_eq!(found.len() as u64 + begin.0, due.len() as u64, "conversation {id}");
        for (found, due) in found.iter().zip(&due[begin.0 as usize..]) {
            let is_lost = lost
                .iter()
                .any(|lost| lost.conversation == id_of && (lost.from..=lost.to).contains(&due.seq));
            let mut due = Event::clone(due);
            match &mut due.body {
                EventBody::Message(body) if sum.deleted.contains(&body.id) => body.content.clear(),
                EventBody::Edit { message, content, .. } if sum.deleted.contains(message) => {
                    content.clear();
                }
                _ => {}
            }
            assert!(is_lost || **found == due, "conversation {id}, seq {}", due.seq.0);
        }
        assert!(read.created_at(&id_of).unwrap().is_some());
        let members = read.members(&id_of, None, 1_000).unwrap();
        assert_eq!(members.len(), sum.members.get(&id).copied().unwrap_or(0));
        let mark = read.marks(&id_of, 9).unwrap().marks.first().map(|mark| mark.message.0);
        assert_eq!(mark, sum.marks.get(&id).copied());
    }
    drop(read);
    drop(opened);
    let (running, mut shards) = start(store, settings(), 1);
    shards[0].append(Plan::new(SEED).nth(RECORDS as usize).unwrap());
    shards[0].wait_durable();
    stop(running, shards);
    assert!(verify(store).unwrap().is_whole());
}

type Plant<'a> = (&'a str, Box<dyn Fn(&Path)>, &'a str);

fn in_files() -> Vec<Plant<'static>> {
    let in_segment = |number: usize, at: usize| -> Box<dyn Fn(&Path)> {
        Box::new(move |store| flip(&segments(store)[number], at))
    };
    let without = |name: &'static str| -> Box<dyn Fn(&Path)> {
        Box::new(move |store| fs::remove_file(store.join(name)).unwrap())
    };
    let cut = |part: u64| -> Box<dyn Fn(&Path)> {
        Box::new(move |store| {
            let path = store.join("pages/db");
            // sled's file is longer than what is in it.
            let written = fs::read(&path).unwrap().iter().rposition(|&byte| byte != 0).unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(written as u64 * part / 10).unwrap();
        })
    };
    vec![
        ("a segment's header", in_segment(1, 9), "header"),
        ("a commit's head", in_segment(1, 32 + 20), "segment"),
        ("a commit's records", in_segment(1, 32 + 400), "segment"),
        (
            "a segment that is gone",
            Box::new(|store| fs::remove_file(&segments(store)[1]).unwrap()),
            "follows on commit",
        ),
        (
            "a segment that was cut",
            Box::new(|store| {
                let path = &segments(store)[1];
                let bytes = fs::read(path).unwrap();
                fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            }),
            "follows on commit",
        ),
        ("pages that are gone", without("pages/db"), "db"),
        ("pages that were cut to nothing", cut(0), "db"),
        ("pages that were cut in the middle", cut(5), ""),
        ("sled's settings", Box::new(|store| flip(&store.join("pages/conf"), 3)), "does not open"),
        ("the note of the last life", without("life"), "life"),
        (
            "something in blobs",
            Box::new(|store| {
                fs::create_dir_all(store.join("pages/blobs")).unwrap();
                fs::write(store.join("pages/blobs/1"), "x").unwrap();
            }),
            "blobs",
        ),
    ]
}

fn nth(tree: &sled::Db, kind: u8, number: usize) -> (sled::IVec, sled::IVec) {
    tree.scan_prefix([kind]).nth(number).unwrap().unwrap()
}

fn in_values() -> Vec<Plant<'static>> {
    let bit = |kind: u8| -> Box<dyn Fn(&Path)> {
        Box::new(move |store| {
            in_sled(store, |tree| {
                let (key, value) = nth(tree, kind, 0);
                let mut value = value.to_vec();
                *value.last_mut().unwrap() ^= 4;
                tree.insert(key, value).unwrap();
            });
        })
    };
    let gone = |kind: u8| -> Box<dyn Fn(&Path)> {
        Box::new(move |store| {
            in_sled(store, |tree| {
                let (key, _) = nth(tree, kind, 0);
                tree.remove(key).unwrap();
            });
        })
    };
    let swapped = |kind: u8| -> Box<dyn Fn(&Path)> {
        Box::new(move |store| {
            in_sled(store, |tree| {
                let (one, other) = (nth(tree, kind, 0), nth(tree, kind, 1));
                tree.insert(one.0, other.1).unwrap();
                tree.insert(other.0, one.1).unwrap();
            });
        })
    };
    vec![
        ("a bit of a page", bit(b'P'), "page of conversation 1 from seq 1"),
        ("a page that is gone", gone(b'P'), ""),
        ("pages that were swapped", swapped(b'P'), "page of conversation 1"),
        ("a bit of an index of messages", bit(b'I'), "kind I"),
        ("an index of messages that is gone", gone(b'I'), "not found by their ids"),
        ("indexes of messages that were swapped", swapped(b'I'), "kind I"),
        ("a bit of an edit", bit(b'E'), "kind E"),
        ("an edit that is gone", gone(b'E'), "the edit stands in its page only"),
        ("a deletion that is gone", gone(b'X'), "the deletion stands in its page only"),
        ("a bit of a reaction", bit(b'R'), "kind R"),
        ("a reaction that is gone", gone(b'R'), "the reaction stands in its page only"),
        ("a reply that is gone", gone(b'Q'), "the reply stands in its page only"),
        ("replies that were swapped", swapped(b'Q'), "kind Q"),
        ("a bit of a header", bit(b'H'), "kind H"),
        ("a header that is gone", gone(b'H'), "conversation 1 has no header"),
        ("a bit of a member", bit(b'D'), "kind D"),
        ("a member that is gone", gone(b'D'), "kind U"),
        ("a membership that is gone", gone(b'U'), "kind D"),
        ("a bit of a mark", bit(b'M'), "kind M"),
        ("a bit of a segment's span", bit(b'S'), "kind S"),
        ("a segment's span that is gone", gone(b'S'), "out of turn"),
        ("a bit of the mark of what is sealed", bit(b'Z'), "sealed"),
        ("a bit of the ids that were given", bit(b'B'), "kind B"),
        ("a bit of a creation", bit(b'C'), "kind C"),
    ]
}

#[test]
fn damage_of_every_file_is_found_and_made_good_from_kept_segments() {
    all_found_and_made_good(in_files());
}

#[test]
fn damage_of_every_kind_of_value_is_found_and_made_good_from_kept_segments() {
    all_found_and_made_good(in_values());
}

fn all_found_and_made_good(plants: Vec<Plant<'_>>) {
    let origin = Origin::new();
    for (what, plant, named) in plants {
        let place = tempfile::tempdir().unwrap();
        let store = place.path().join("store");
        copy(&origin.store(), &store);
        plant(&store);
        let looked = place.path().join("looked");
        copy(&store, &looked);
        let report = verify(&looked).unwrap();
        assert!(!report.is_whole(), "{what} was not found");
        let text = format!("{:?}", report.damaged);
        assert!(text.contains(named), "{what}: {text}");
        let anew = place.path().join("anew");
        let is_covered = !what.contains("segment that");
        let backup = origin.backup();
        let rebuilt = made_anew(&store, (!is_covered).then_some(&backup), &anew);
        assert_eq!(rebuilt.lost, [], "{what}");
        // Without the note of the life before nobody knows which epoch it had.
        assert_eq!(rebuilt.is_same_epoch, !what.contains("life"), "{what}: {rebuilt:?}");
        has_all(&anew, &[]);
    }
}

#[test]
fn what_neither_segments_nor_backup_have_is_named_and_keeps_its_place() {
    let origin = Origin::new();
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    copy(&origin.store(), &store);
    let kept = segments(&store);
    kept[..kept.len() - 1].iter().for_each(|path| fs::remove_file(path).unwrap());
    let mut lost = Vec::new();
    in_sled(&store, |tree| {
        // The second page of one conversation, and the first of another.
        for (id, place) in [(1_u64, 1), (2, 0)] {
            let prefix = [&[b'P', 0][..], &id.to_be_bytes()].concat();
            let pages: Vec<_> = tree.scan_prefix(&prefix).map(|pair| pair.unwrap().0).collect();
            let seq =
                |key: &sled::IVec| u64::from_be_bytes(key[key.len() - 8..].try_into().unwrap());
            let (from, next) = (seq(&pages[place]), seq(&pages[place + 1]));
            lost.push(Missing {
                conversation: conversation(id),
                from: Seq(from),
                to: Seq(next - 1),
            });
            tree.remove(&pages[place]).unwrap();
        }
    });
    let report = verify(&store).unwrap();
    assert_eq!(report.missing, lost);
    let rebuilt = made_anew(&store, None, &place.path().join("anew"));
    // Edits and deletions stand in overlays once more: of what is lost they are not.
    let is_in_lost = |it: &Missing| {
        lost.iter().any(|all| {
            all.conversation == it.conversation && all.from <= it.from && it.to <= all.to
        })
    };
    assert!(!rebuilt.lost.is_empty() && rebuilt.lost.iter().all(is_in_lost), "{rebuilt:?}");
    assert!(!rebuilt.is_same_epoch);
    has_all(&place.path().join("anew"), &rebuilt.lost);
    // The backup has both of them.
    let rebuilt = made_anew(&store, Some(&origin.backup()), &place.path().join("restored"));
    assert_eq!(rebuilt.lost, []);
    has_all(&place.path().join("restored"), &[]);
}

#[test]
fn a_flipped_bit_anywhere_in_pages_is_made_good_from_kept_segments() {
    let origin = Origin::new();
    let length = fs::metadata(origin.store().join("pages/db")).unwrap().len() as usize;
    for part in 0..14 {
        let place = tempfile::tempdir().unwrap();
        let store = place.path().join("store");
        copy(&origin.store(), &store);
        flip(&store.join("pages/db"), length * part / 14 + 11);
        let rebuilt = made_anew(&store, None, &place.path().join("anew"));
        assert_eq!((&rebuilt.lost[..], rebuilt.is_same_epoch), (&[][..], true), "part {part}");
        has_all(&place.path().join("anew"), &[]);
    }
}

#[test]
fn a_backup_of_another_store_and_a_target_that_is_not_empty_are_refused() {
    let origin = Origin::new();
    let place = tempfile::tempdir().unwrap();
    let (other, into) = (place.path().join("other"), place.path().join("into"));
    write(&other, (1..=20).map(|seq| message(1, seq, seq, seq - 1, "of another server")));
    let job = Rebuild { store: origin.store(), backup: Some(other.clone()), into: into.clone() };
    let error = rebuild(&job, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("another store"), "{error}");
    // What was begun is no store.
    assert!(matches!(Store::open(&into, settings()), Err(OpenError::NotAStore { .. })));
    let job = Rebuild { backup: None, ..job };
    assert!(matches!(rebuild(&job, &mut |_| {}), Err(OpenError::NotEmpty { .. })));
    let opened = Store::open(&other, settings()).unwrap();
    let job = Rebuild { store: other, into: place.path().join("elsewhere"), backup: None };
    assert!(matches!(rebuild(&job, &mut |_| {}), Err(OpenError::Locked { .. })));
    drop(opened);
}

fn now() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Wall(since.unwrap().as_millis() as u64)
}

/// Deleted messages, a deleted conversation and an erased user, all since the backup was made; then the pages
/// are lost.
#[test]
fn nothing_comes_back_from_a_backup_that_was_deleted_since() {
    const TEXT: &str = "not to be found again";
    let place = tempfile::tempdir().unwrap();
    let (store, backup, anew) =
        (place.path().join("store"), place.path().join("backup"), place.path().join("anew"));
    let created = |of: u64| DirectoryChange::ConversationCreated {
        conversation: conversation(of),
        at: Wall(1),
    };
    let profile = Profile { first_name: TEXT.to_owned(), ..Profile::nameless(user(9)) };
    let of_nine = |seq: u64| match message(3, seq, 30 + seq, seq - 1, TEXT) {
        Record::Event { conversation, event } => {
            let mut event = Event::clone(&event);
            if let EventBody::Message(body) = &mut event.body {
                body.sender = profile.clone().into();
            }
            Record::Event { conversation, event: event.into() }
        }
        other => other,
    };
    let mut records: Vec<Record> = (1..=3).map(created).map(Record::Directory).collect();
    records.push(Record::Directory(DirectoryChange::ProfileSet { profile: profile.clone() }));
    records.extend((1..=4).map(|seq| message(1, seq, 10 + seq, seq - 1, TEXT)));
    records.extend((1..=4).map(|seq| message(2, seq, 20 + seq, seq - 1, TEXT)));
    records.extend((1..=4).map(of_nine));
    write(&store, records.into_iter());
    copy(&store, &backup);
    let deletion = |seq: u64| {
        let body = EventBody::Delete { message: MessageId(6 + seq), by: user(1) };
        let event = Event { seq: Seq(seq), at: Wall(50), body };
        Record::Event { conversation: conversation(1), event: event.into() }
    };
    let tombstone = Tombstone { at: Wall(60), last_seq: Seq(4), last_message: 24 };
    let gone = DirectoryChange::ConversationDeleted { conversation: conversation(2), tombstone };
    let erased = DirectoryChange::ErasureBegun { user: user(9), at: now() };
    let records = (5..=8).map(deletion).chain([gone, erased].map(Record::Directory));
    write(&store, records);
    fs::remove_file(store.join("pages/db")).unwrap();
    // Only the last segments are still kept: the first of them are the backup's.
    let rebuilt = made_anew(&store, Some(&backup), &anew);
    assert_eq!((&rebuilt.lost[..], rebuilt.is_same_epoch), (&[][..], true), "{rebuilt:?}");
    let is_in = |bytes: &[u8]| bytes.windows(TEXT.len()).any(|part| part == TEXT.as_bytes());
    for (path, bytes) in contents(&anew) {
        assert!(!is_in(&bytes), "{}", path.display());
    }
    assert_eq!(super::erasing::values_with(&anew, TEXT), 0, "packed");
    let opened = Store::open(&anew, settings()).unwrap();
    let read = opened.read_handle();
    assert_eq!(read.created_at(&conversation(2)).unwrap(), None);
    assert_eq!(read.header(&conversation(2)).unwrap(), tombstone.header());
    assert_eq!(read.events(&conversation(2), Seq(0), usize::MAX).unwrap(), []);
    assert_eq!(read.events(&conversation(1), Seq(0), usize::MAX).unwrap().len(), 8);
    assert_eq!(read.profile(&user(9)).unwrap(), None);
    assert!(read.erasures_running().unwrap().contains_key(&user(9)));
}
