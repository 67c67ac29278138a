//! The journal's machines against a disk in memory that loses and tears what was not synced.

mod aside;
mod records;
mod rotation;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::frame::Commit;
use super::*;
use crate::limits::LEASE_IDS;
use crate::model::{
    ConversationId, DirectoryChange, Event, EventBody, Import, Mark, MessageBody, MessageId, Mono,
    Now, Profile, ReactionAction, Role, Seq, Tombstone, UserId, Wall,
};
use crate::node::ports::{FromLog, Record};

const SEGMENT_BYTES: u64 = 4_096;

fn settings(fsync: Fsync) -> JournalSettings {
    JournalSettings {
        fsync,
        segment_bytes: SEGMENT_BYTES,
        segment_age_ms: 3_600_000,
        disk_reserve_bytes: 100_000,
    }
}

fn user(number: u64) -> UserId {
    UserId::from_number(number).unwrap()
}

fn text(seq: u64, content: &str) -> Record {
    let body = MessageBody {
        id: MessageId(seq),
        ordinal: seq - 1,
        sender: Profile::nameless(user(1)).into(),
        content: content.to_owned(),
        parent: None,
        client_msg_id: Some(format!("c-{seq}")),
    };
    let event = Event { seq: Seq(seq), at: Wall(seq), body: EventBody::Message(body) };
    let conversation = ConversationId::parse("room").unwrap();
    Record::Event { conversation, event: Arc::new(event) }
}

fn at(ms: u64) -> Now {
    Now { mono: Mono(ms), wall: Wall(1_000_000 + ms) }
}

fn first_start() -> JournalStart {
    JournalStart { epoch: 7, next_segment: 1, next_commit: 1, leased_to: 0, salt: 0x5a17 }
}

/// Segment number → what its file holds.
type Files = BTreeMap<u64, Vec<u8>>;

/// What a file holds, and what a crash would leave of it for sure.
#[derive(Debug, Clone, Default)]
struct FakeFile {
    synced: Vec<u8>,
    seen: Vec<u8>,
}

/// Runs a journal on files in memory.
struct Rig {
    journal: Journal,
    files: BTreeMap<u64, FakeFile>,
    told: Vec<(usize, FromLog)>,
    ended: Vec<(u64, u64)>,
    fatal: Option<String>,
    syncs: usize,
    fails: Option<&'static str>,
    /// Syncs aside are not answered by themselves.
    is_slow: bool,
}

impl Rig {
    fn new(settings: JournalSettings, start: JournalStart, shards: usize) -> Rig {
        Rig {
            journal: Journal::new(settings, start, shards, at(0)),
            files: BTreeMap::new(),
            told: Vec::new(),
            ended: Vec::new(),
            fatal: None,
            syncs: 0,
            fails: None,
            is_slow: false,
        }
    }

    /// Does all there is to do; `steps` bounds how many effects the disk lives to see.
    fn run_for(&mut self, now: Now, steps: &mut usize) {
        self.journal.handle_turn(now);
        while *steps > 0
            && let Some(effect) = self.journal.poll_effect()
        {
            *steps -= 1;
            match effect {
                Effect::Files(work) => {
                    let is_left_open = self.is_slow && matches!(work, FileWork::SyncAside { .. });
                    let done = self.work(work);
                    if !is_left_open {
                        self.journal.handle_done(done);
                    }
                }
                Effect::Publish { shard, message } => self.told.push((shard, message)),
                Effect::Ended { segment, last_commit } => self.ended.push((segment, last_commit)),
                Effect::Directory { .. } | Effect::Marks { .. } => {}
                Effect::Fatal(why) => self.fatal = Some(why),
            }
        }
    }

    fn run(&mut self, now: Now) {
        self.run_for(now, &mut usize::MAX.clone());
    }

    fn work(&mut self, work: FileWork) -> Done {
        match work {
            FileWork::Create { file, bytes, header } => {
                let mut content = header;
                content.resize(bytes as usize, 0);
                let file_bytes = FakeFile { synced: content.clone(), seen: content };
                self.files.insert(file.0, file_bytes);
                Done::Created { file }
            }
            FileWork::Write { file, offset, bytes } => {
                if self.fails == Some("write") {
                    return Done::Failed { what: "writing: EIO".to_owned() };
                }
                let start = offset as usize;
                let seen = &mut self.files.get_mut(&file.0).unwrap().seen;
                seen[start..start + bytes.len()].copy_from_slice(&bytes);
                Done::Written { buffer: bytes }
            }
            FileWork::Sync { file } | FileWork::SyncAside { file } => {
                if self.fails == Some("sync") {
                    return Done::Failed { what: "syncing: EIO".to_owned() };
                }
                self.syncs += 1;
                let file = self.files.get_mut(&file.0).unwrap();
                file.synced.clone_from(&file.seen);
                Done::Synced
            }
        }
    }

    fn durable(&self, shard: usize) -> u64 {
        let mut through = 0;
        for (to, message) in &self.told {
            if let (true, FromLog::Durable { through: lsn, .. }) = (*to == shard, message) {
                assert!(*lsn > through, "a watermark only rises");
                through = *lsn;
            }
        }
        through
    }

    fn last_accepting(&self) -> Option<bool> {
        self.told.iter().rev().find_map(|(_, message)| match message {
            FromLog::Accepting(accepting) => Some(*accepting),
            _ => None,
        })
    }
}

/// Recovers from these files and gives back the contents that replay sees, in order.
fn recover(
    files: &mut Files,
    sealed: SealedMark,
    tail: Tail,
) -> Result<(Recovered, Vec<u64>), Damage> {
    let numbers: Vec<u64> = files.keys().copied().collect();
    let mut recovery = Recovery::new(&numbers, sealed, tail);
    let mut answer = None;
    let recovered = loop {
        match recovery.next(answer.take())? {
            RecoveryStep::Read { segment } => answer = Some(files[&segment].clone()),
            RecoveryStep::Replace { segment, bytes } => {
                files.insert(segment, bytes);
            }
            RecoveryStep::Remove { segment } => {
                files.remove(&segment);
            }
            RecoveryStep::SyncDirectory => {}
            RecoveryStep::Finished(recovered) => break recovered,
        }
    };
    let mut seqs = Vec::new();
    for unsealed in &recovered.unsealed {
        let found = scan(&files[&unsealed.segment], unsealed.segment, Tail::Strict)?;
        assert!(!found.tail_is_dirty);
        for bytes in found.commits.iter().flat_map(Commit::records) {
            let Ok(Record::Event { event, .. }) = record::decode(bytes) else { panic!("a record") };
            seqs.push(event.seq.0);
        }
    }
    Ok((recovered, seqs))
}

fn seen(rig: &Rig) -> Files {
    rig.files.iter().map(|(segment, file)| (*segment, file.seen.clone())).collect()
}

/// A journal of so many commits of one record each; the files and where each commit of the first
/// segment begins and ends.
fn written(commits: u64) -> (Files, Vec<(usize, usize)>) {
    let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 1);
    rig.run(at(0));
    for lsn in 1..=commits {
        rig.journal.handle_append(0, lsn, &text(lsn, "hello"));
        rig.run(at(lsn));
    }
    let files = seen(&rig);
    let found = scan(&files[&1], 1, Tail::Strict).unwrap();
    let mut begin = frame::SEGMENT_HEADER_BYTES;
    let spans = found.commits.iter().map(|commit| {
        let span = (begin, begin + commit.len_bytes());
        begin = span.1;
        span
    });
    let spans = spans.collect();
    (files, spans)
}

#[test]
fn records_of_all_shards_share_one_commit_and_are_told_after_its_sync() {
    let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 3);
    rig.run(at(0));
    let syncs = rig.syncs;
    for shard in 0..3 {
        rig.journal.handle_append(shard, 1, &text(1, "a"));
        rig.journal.handle_append(shard, 2, &text(2, "b"));
    }
    rig.journal.handle_turn(at(1));
    assert!(matches!(rig.journal.poll_effect(), Some(Effect::Files(FileWork::Write { .. }))));
    assert_eq!(rig.journal.poll_effect(), None);
    rig.journal.handle_done(Done::Written { buffer: Vec::new() });
    assert!(matches!(rig.journal.poll_effect(), Some(Effect::Files(FileWork::Sync { .. }))));
    assert_eq!(rig.journal.poll_effect(), None);
    rig.journal.handle_done(Done::Synced);
    rig.run(at(1));
    assert_eq!(rig.syncs, syncs);
    assert_eq!([0, 1, 2].map(|shard| rig.durable(shard)), [2, 2, 2]);
}

#[test]
fn without_a_sync_per_commit_a_returned_write_is_told_and_a_sync_follows() {
    let check = |fsync: Fsync, expected_syncs: usize| {
        let mut rig = Rig::new(settings(fsync), first_start(), 1);
        rig.run(at(0));
        rig.journal.handle_append(0, 1, &text(1, "a"));
        rig.run(at(1));
        assert_eq!((rig.durable(0), rig.syncs), (1, 0));
        if let Some(due) = rig.journal.next_timeout().filter(|due| due.0 < 1_000) {
            rig.run(Now { mono: due, wall: Wall(0) });
        }
        assert_eq!(rig.syncs, expected_syncs);
        rig.journal.handle_append(0, 2, &text(2, "b"));
        rig.journal.handle_stop(0);
        rig.run(at(2_000));
        assert!(rig.journal.is_finished());
        assert_eq!(rig.syncs, expected_syncs + 1, "a stop syncs");
    };
    check(Fsync::Interval { ms: 100 }, 1);
    check(Fsync::Never, 0);
}

#[test]
fn a_failed_write_or_sync_ends_the_process_and_nobody_is_told() {
    let check = |fails: &'static str| {
        let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 1);
        rig.run(at(0));
        rig.fails = Some(fails);
        rig.journal.handle_append(0, 1, &text(1, "a"));
        rig.run(at(1));
        assert!(rig.fatal.as_deref().is_some_and(|why| why.ends_with("EIO")), "{fails}");
        rig.fails = None;
        rig.run(at(2));
        assert_eq!((rig.durable(0), rig.journal.has_room()), (0, false));
    };
    check("write");
    check("sync");
}

#[test]
fn two_segments_that_wait_for_pages_stop_new_commands_but_lose_no_record() {
    let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 1);
    rig.run(at(0));
    let mut lsn = 0;
    while rig.last_accepting() != Some(false) {
        lsn += 1;
        rig.journal.handle_append(0, lsn, &text(lsn, "hello"));
        rig.run(at(lsn));
        assert!(lsn < 200);
    }
    assert_eq!(rig.ended.len(), 1, "the first waits and the second is nearly full");
    let numbered_before_it_was_heard = lsn + 60;
    while lsn < numbered_before_it_was_heard {
        lsn += 1;
        rig.journal.handle_append(0, lsn, &text(lsn, "hello"));
        rig.run(at(lsn));
    }
    assert_eq!(rig.durable(0), lsn);
    assert!(rig.ended.len() >= 2);
    assert_eq!(rig.last_accepting(), Some(false));
    let through = rig.ended.last().unwrap().0;
    rig.journal.handle_sealed(through);
    rig.run(at(lsn));
    assert_eq!(rig.last_accepting(), Some(true));
    assert!(rig.told.contains(&(0, FromLog::Sealed { segment: through })));
    let (_, seqs) = recover(&mut seen(&rig), SealedMark::default(), Tail::Strict).unwrap();
    assert_eq!(seqs, (1..=lsn).collect::<Vec<_>>());
}

#[test]
fn low_space_is_said_and_taken_back_by_itself() {
    let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 1);
    let mut check = |free_bytes: u64, expected: Option<bool>| {
        rig.journal.handle_space(free_bytes);
        rig.run(at(0));
        assert_eq!(rig.last_accepting(), expected, "{free_bytes}");
    };
    check(1_000_000, None);
    check(99_999, Some(false));
    check(100_001, Some(false));
    check(112_500, Some(true));
    rig.journal.handle_done(Done::NoRoom { file: SegmentName(99) });
    rig.run(at(1));
    assert_eq!(rig.last_accepting(), Some(false));
}

#[test]
fn a_stop_without_room_for_the_last_records_ends_the_process() {
    let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 1);
    rig.journal.handle_space(SEGMENT_BYTES - 1);
    rig.journal.handle_append(0, 1, &text(1, "a"));
    rig.run(at(0));
    assert_eq!((rig.fatal.clone(), rig.durable(0)), (None, 0));
    rig.journal.handle_stop(0);
    rig.run(at(1));
    assert!(rig.fatal.is_some_and(|why| why.contains("no space")));
}

#[test]
fn a_segment_ends_by_age_and_an_empty_one_does_not() {
    let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 0);
    rig.run(at(0));
    rig.run(at(10_000_000));
    assert_eq!(rig.ended, []);
    let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 1);
    rig.run(at(5));
    rig.run(at(6));
    assert_eq!(rig.journal.next_timeout(), Some(Mono(3_600_005)));
    rig.run(at(3_600_004));
    assert_eq!(rig.ended, []);
    rig.run(at(3_600_005));
    assert_eq!(rig.ended, [(1, 1)]);
}

#[test]
fn a_number_that_is_skipped_or_repeated_stops_the_process() {
    let check = |lsn: u64| {
        let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 1);
        rig.journal.handle_append(0, 1, &text(1, "a"));
        rig.journal.handle_append(0, lsn, &text(2, "b"));
        rig.run(at(0));
        assert!(rig.fatal.is_some(), "{lsn}");
    };
    check(1);
    check(3);
}

#[test]
fn a_new_life_leases_above_all_that_was_ever_granted() {
    let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 2);
    rig.journal.handle_lease(1);
    rig.run(at(0));
    let (recovered, _) = recover(&mut seen(&rig), SealedMark::default(), Tail::Strict).unwrap();
    assert_eq!(recovered.leased_to, 1 + 3 * LEASE_IDS);
    let granted = |rig: &Rig| -> Vec<_> {
        let leases = rig.told.iter().filter_map(|(shard, message)| match message {
            FromLog::Lease { ids } => Some((*shard, ids.start)),
            _ => None,
        });
        leases.collect()
    };
    assert_eq!(granted(&rig), [(0, 1), (1, 1 + LEASE_IDS), (1, 1 + 2 * LEASE_IDS)]);
    let start = JournalStart {
        next_segment: recovered.next_segment,
        next_commit: recovered.next_commit,
        leased_to: recovered.leased_to,
        ..first_start()
    };
    let mut rig = Rig::new(settings(Fsync::Commit), start, 1);
    rig.run(at(0));
    assert_eq!(granted(&rig), [(0, 1 + 3 * LEASE_IDS)]);
}

#[test]
fn ids_that_are_set_aside_are_so_on_disk_and_are_never_leased() {
    let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 1);
    rig.run(at(0));
    rig.journal.handle_raise(1_000_000);
    assert_eq!(rig.journal.durable(), Durable { commit: 1, leased_to: 1 + LEASE_IDS });
    rig.run(at(1));
    assert_eq!(rig.journal.durable(), Durable { commit: 2, leased_to: 1_000_000 });
    rig.journal.handle_raise(5);
    rig.journal.handle_lease(0);
    rig.run(at(2));
    let last = rig.told.last().cloned();
    let ids = 1_000_000..1_000_000 + LEASE_IDS;
    assert_eq!(last, Some((0, FromLog::Lease { ids: ids.clone() })));
    let (recovered, _) = recover(&mut seen(&rig), SealedMark::default(), Tail::Strict).unwrap();
    assert_eq!(recovered.leased_to, ids.end);
}

#[test]
fn cut_at_any_byte_of_the_last_commit_exactly_the_ones_before_are_there() {
    let (files, spans) = written(5);
    let &(begin, end) = spans.last().unwrap();
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: u64| {
        let mut files = files.clone();
        change(files.get_mut(&1).unwrap());
        let (recovered, seqs) = recover(&mut files, SealedMark::default(), Tail::Strict).unwrap();
        assert_eq!(seqs, (1..=expected).collect::<Vec<_>>());
        // The commit of the leases is the first.
        assert_eq!(recovered.next_commit, expected + 2);
        let again = recover(&mut files, SealedMark::default(), Tail::Strict).unwrap();
        assert_eq!(again.1, seqs, "recovering twice is recovering once");
    };
    for cut in begin..end {
        check(&|bytes| bytes.truncate(cut), 4);
        // A commit may end in zeros of its own.
        let is_hurt = files[&1][cut..end].iter().any(|&byte| byte != 0);
        check(&|bytes| bytes[cut..].fill(0), if is_hurt { 4 } else { 5 });
        check(&|bytes| bytes[cut..].fill(0xa7), 4);
        check(&|bytes| bytes[cut] ^= 0x10, 4);
    }
    check(&|bytes| bytes.truncate(end), 5);
    check(&|bytes| bytes[end..end + 64].fill(0x4c), 5);
}

#[test]
fn a_flipped_bit_in_front_of_good_commits_is_named_and_nothing_is_changed() {
    let (files, spans) = written(5);
    let (begin, end) = spans[2];
    for at in begin..end {
        let mut damaged = files.clone();
        damaged.get_mut(&1).unwrap()[at] ^= 0x04;
        let before = damaged.clone();
        let outcome = recover(&mut damaged, SealedMark::default(), Tail::Strict);
        let expected = Damage::Middle { segment: 1, offset: begin as u64, expected: 3 };
        assert_eq!(outcome.err(), Some(expected), "byte {at}");
        assert_eq!(damaged, before);
        // After a power loss without a sync per commit the same bytes are an end.
        let (_, seqs) = recover(&mut damaged, SealedMark::default(), Tail::Loose).unwrap();
        assert_eq!(seqs, [1]);
    }
    let mut damaged = files.clone();
    damaged.get_mut(&1).unwrap()[3] ^= 1;
    let outcome = recover(&mut damaged, SealedMark::default(), Tail::Strict);
    assert_eq!(outcome.err(), Some(Damage::Header { segment: 1 }));
}

#[test]
fn a_lost_end_in_front_of_another_segment_is_named() {
    let (files, _) = written(60);
    assert!(files.len() >= 3);
    let first = scan(&files[&1], 1, Tail::Strict).unwrap();
    let last = *first.commits.last().unwrap();
    let begin = first.end - last.len_bytes();
    let mut zeroed = files.clone();
    zeroed.get_mut(&1).unwrap()[begin..].fill(0);
    assert!(matches!(
        recover(&mut zeroed, SealedMark::default(), Tail::Strict).err(),
        Some(Damage::Gap { segment: 2, .. })
    ));
    // Nothing readable in the second, but something was written there: the first's end is no tail.
    let mut both = files.clone();
    both.get_mut(&1).unwrap()[begin] ^= 1;
    let second = both.get_mut(&2).unwrap();
    second[frame::SEGMENT_HEADER_BYTES..].fill(0);
    second[frame::SEGMENT_HEADER_BYTES] = b'L';
    both.retain(|&segment, _| segment <= 2);
    assert!(matches!(
        recover(&mut both, SealedMark::default(), Tail::Strict).err(),
        Some(Damage::Middle { segment: 1, .. })
    ));
    let sealed = SealedMark { segment: 1, commit: last.head.commit - 1, leased_to: 0 };
    assert!(matches!(
        recover(&mut files.clone(), sealed, Tail::Strict).err(),
        Some(Damage::Gap { segment: 2, .. })
    ));
}

/// A small generator: the same seed gives the same run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// What a crash leaves of a file: of each sector that was not synced the old or the new bytes.
fn torn(file: &FakeFile, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = file.synced.clone();
    for begin in (0..bytes.len()).step_by(512) {
        let end = (begin + 512).min(bytes.len());
        if dice.roll(2) == 0 {
            bytes[begin..end].copy_from_slice(&file.seen[begin..end]);
        }
    }
    bytes
}

#[test]
fn whatever_a_crash_tears_everything_that_was_told_is_there_in_order() {
    for seed in 1..=300 {
        let mut dice = Dice(seed * 0x9e37_79b9);
        let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 1);
        rig.run(at(0));
        let mut lsn = 0;
        let mut steps = 20 + dice.roll(200) as usize;
        while steps > 0 {
            for _ in 0..1 + dice.roll(5) {
                lsn += 1;
                let content = "x".repeat(dice.roll(200) as usize);
                rig.journal.handle_append(0, lsn, &text(lsn, &content));
            }
            rig.run_for(at(lsn), &mut steps);
        }
        let mut files: Files =
            rig.files.iter().map(|(segment, file)| (*segment, torn(file, &mut dice))).collect();
        let (recovered, seqs) = recover(&mut files, SealedMark::default(), Tail::Strict)
            .unwrap_or_else(|damage| panic!("seed {seed}: {damage}"));
        let told = rig.durable(0);
        assert!(seqs.len() as u64 >= told, "seed {seed}: {told} were told");
        assert!(seqs.iter().zip(1..).all(|(seq, expected)| *seq == expected), "seed {seed}");
        assert!(recovered.next_segment > *rig.files.keys().max().unwrap_or(&0) || files.is_empty());
    }
}
