//! Power loss: the file operations of real runs of the store are recorded, every kind of disk that a power loss
//! may leave is made of them, and the store has to open each with everything that it had told.
//!
//! Recorded by strace, which sees sled's calls as well. What it proves and how to run it for longer: docs/testing.md.

#[allow(dead_code)]
#[path = "core/dice.rs"]
mod dice;
#[allow(dead_code)]
#[path = "store/rig.rs"]
mod rig;

mod power {
    pub mod check;
    pub mod disk;
    pub mod plan;
    pub mod record;
    pub mod trace;
}

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use dice::Dice;
use power::check::check;
use power::disk::{Disk, Fate};
use power::plan::Life;
use power::record::{Recording, can_record, record};
use power::trace::{Call, Step, parse};

/// How many points, how many disks at each, and of what runs.
struct Scope {
    points: usize,
    disks: usize,
    seed: u64,
    lives: Vec<Life>,
}

impl Scope {
    /// Runs end by a kill, all but the last: the next one replays.
    fn lives(records: &[u64], segment_bytes: u64) -> Vec<Life> {
        let last = records.len() - 1;
        let life =
            |(at, &records): (usize, &u64)| Life { records, segment_bytes, stops: at == last };
        records.iter().enumerate().map(life).collect()
    }

    fn short() -> Scope {
        let lives = Scope::lives(&[500, 60, 500], 256 << 10);
        Scope { points: 40, disks: 2, seed: 1, lives }
    }

    /// From the environment: `LOQUAT_POWER=points,disks,seed`.
    fn long() -> Option<Scope> {
        let asked = std::env::var("LOQUAT_POWER").ok()?;
        let mut numbers = asked.split(',').map(|part| part.parse().expect("points,disks,seed"));
        let mut next = || numbers.next().expect("points,disks,seed");
        let (points, disks, seed) = (next() as usize, next() as usize, next());
        let lives = Scope::lives(&[3_000, 400, 4_000, 1_500, 5_000], 4 << 20);
        Some(Scope { points, disks, seed, lives })
    }
}

#[test]
fn what_was_told_survives_a_power_loss_at_any_point() {
    if !can_record() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing, or may not trace");
        println!("skipped: strace is missing, or may not trace");
        return;
    }
    let begun = Instant::now();
    let scope = Scope::long().unwrap_or_else(Scope::short);
    let recording = record(scope.seed, &scope.lives);
    let (steps, counts) = (recording.steps.len(), recording.counts());
    println!("{steps} steps in {:.1} s: {counts:?}", begun.elapsed().as_secs_f64());
    assert!(counts.sealed_segments > 0 && counts.removed > 0);
    println!("pages: {:?}", recording.written("db"));
    let failed = run(&scope, &recording);
    failed.iter().take(20).for_each(|failed| println!("  {failed}"));
    println!("{:.1} s in all", begun.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{} disks do not hold what was told", failed.len());
}

/// The eye itself: the same run, as if nothing of the journal had been synced, is found to lose messages.
#[test]
fn a_journal_that_was_not_synced_would_be_seen() {
    if !can_record() {
        println!("skipped: strace is missing, or may not trace");
        return;
    }
    let scope = Scope { points: 12, disks: 1, ..Scope::short() };
    let mut recording = record(scope.seed, &scope.lives);
    recording.forget_syncs_of("segment-");
    assert!(!run(&scope, &recording).is_empty());
}

/// The recorder itself: a thread that has closed a file is told so when another has the number already.
#[test]
fn a_number_that_is_another_files_when_its_close_returns_stays_that_files() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let (old, new) = (root.join("old"), root.join("new"));
    let hex = |path: &Path| {
        path.to_str().unwrap().bytes().map(|b| format!("\\x{b:02x}")).collect::<String>()
    };
    let log = directory.path().join("log");
    let lines = [
        format!("1 openat(AT_FDCWD, \"{}\", O_RDWR|O_CREAT, 0666) = 5", hex(&old)),
        "1 close(5 <unfinished ...>".to_owned(),
        format!("2 openat(AT_FDCWD, \"{}\", O_RDWR|O_CREAT, 0666) = 5", hex(&new)),
        "1 <... close resumed>) = 0".to_owned(),
        "2 pwrite64(5, \"\\x41\", 1, 0) = 1".to_owned(),
    ];
    std::fs::write(&log, lines.join("\n")).unwrap();
    let mut steps = Vec::new();
    parse(std::fs::File::open(&log).unwrap(), &root, &directory.path().join("said"), &mut steps);
    let is_write = |step: &Step| matches!(step, Step::Enter { call: Call::Write { .. }, .. });
    assert_eq!(steps.iter().filter(|step| is_write(step)).count(), 1, "{steps:?}");
}

/// sled takes what it wrote for synced and writes over the old places 8 MiB later. The store puts in 256 KiB and at most
/// one slice of 256 KiB more before it syncs, and sled makes five to ten times as much of it (docs/store.md).
#[test]
fn pages_are_synced_piece_by_piece_and_before_their_segment_goes() {
    const PIECE_BYTES: u64 = (256 + 256) << 10;
    const WRITTEN_FOR_EACH: u64 = 10;
    if !can_record() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing, or may not trace");
        println!("skipped: strace is missing, or may not trace");
        return;
    }
    let scope = Scope { points: 0, disks: 1, seed: 3, lives: Scope::lives(&[4_000], 2 << 20) };
    let mut recording = record(scope.seed, &scope.lives);
    let (pages, counts) = (recording.written("db"), recording.counts());
    println!("{pages:?}, {counts:?}");
    assert!(pages.bytes > 3 * WRITTEN_FOR_EACH * PIECE_BYTES, "enough to see it: {pages:?}");
    assert!(pages.unsynced_max <= WRITTEN_FOR_EACH * PIECE_BYTES, "a sync is missing: {pages:?}");
    // A disk that forgets all that it may at the moment at which a segment is gone.
    let removals = recording.removals("segment-");
    assert!(!removals.is_empty(), "no segment was removed: {counts:?}");
    let failed = run_at(&scope, &recording, &removals, Fate::forgetful);
    assert!(failed.is_empty(), "{failed:?}");
    // The eye itself: had pages not been synced, those disks would not do.
    recording.forget_syncs_of("db");
    let removals = recording.removals("segment-");
    assert!(!run_at(&scope, &recording, &removals, Fate::forgetful).is_empty());
}

/// Makes the disks and looks at each; gives what does not hold.
fn run(scope: &Scope, recording: &Recording) -> Vec<String> {
    let mut dice = Dice::new(scope.seed);
    let points = recording.points(scope.points, &mut dice);
    run_at(scope, recording, &points, || Fate::roll(&mut dice))
}

fn run_at(
    scope: &Scope,
    recording: &Recording,
    points: &[usize],
    mut fate: impl FnMut() -> Fate,
) -> Vec<String> {
    let mut disk = Disk::new(&recording.root);
    let (mut at, mut made, mut failed) = (0, 0, Vec::new());
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    for &point in points {
        recording.steps[at..point].iter().for_each(|step| disk.take(step));
        at = point;
        for fate in (0..scope.disks).map(|_| fate()) {
            made += 1;
            match check(&disk, recording, &fate) {
                Ok(outcome) => *found.entry(outcome.kind()).or_default() += 1,
                Err(why) => failed.push(format!("point {point}, {fate:?}: {why}")),
            }
        }
    }
    println!("{made} disks: {found:?}, {} failed", failed.len());
    failed
}
