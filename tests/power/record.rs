//! Runs of the store under strace: a child writes by the plan and says in a file what it sends and what it was
//! told, so that those words stand between the file operations in the order in which all of it happened.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loquat::node::ports::Record;
use loquat::store::StoreSettings;

use super::disk::Disk;
use super::plan::{Life, Plan};
use super::trace::{Call, Step, parse};
use crate::dice::Dice;
use crate::rig::{conversation, settings, start, stop};

const CHILD: &str = "LOQUAT_POWER_CHILD";
const CALLS: &str = "trace=open,openat,creat,close,write,pwrite64,writev,pwritev,pwritev2,fsync,\
    fdatasync,sync_file_range,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,mkdir,\
    mkdirat,lseek,link,linkat,copy_file_range,sendfile,dup,dup2,dup3,splice";
/// Longer than the longest write there is, so that none is cut.
const STRING_MAX: &str = "40000000";

pub fn settings_of(life: &Life) -> StoreSettings {
    let mut settings = settings();
    settings.journal.segment_bytes = life.segment_bytes;
    settings.journal.disk_reserve_bytes = 2 * life.segment_bytes;
    // All but the last sealed one go at the next look.
    settings.journal_keep_days = 0;
    settings
}

/// Everything that happened, over all lives.
pub struct Recording {
    pub seed: u64,
    pub root: PathBuf,
    pub lives: Vec<Life>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Default)]
pub struct Counts {
    pub writes: usize,
    pub syncs: usize,
    pub renames: usize,
    pub removed: usize,
    pub truncated: usize,
    pub told: usize,
    pub sealed_segments: usize,
}

/// What became of one file.
#[derive(Debug, Default)]
pub struct Written {
    pub bytes: u64,
    pub syncs: usize,
    pub unsynced_max: u64,
}

/// A call on it that has not returned.
#[derive(Debug)]
enum Under {
    Write(u64),
    Sync { covers: u64 },
}

impl Under {
    fn bytes(&self) -> u64 {
        match self {
            Under::Write(bytes) => *bytes,
            Under::Sync { .. } => 0,
        }
    }
}

impl Recording {
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for step in &self.steps {
            let Step::Enter { call, .. } = step else { continue };
            match call {
                Call::Write { .. } => counts.writes += 1,
                Call::Sync { .. } => counts.syncs += 1,
                Call::Rename { .. } => counts.renames += 1,
                Call::Unlink { .. } => counts.removed += 1,
                Call::Truncate { .. } => counts.truncated += 1,
                Call::Said(text) => {
                    counts.told += text.matches("told").count();
                    counts.sealed_segments += text.matches("sealed").count();
                }
                _ => {}
            }
        }
        counts
    }

    /// How much was written to the file of this name, how often it was synced, and the most that no sync had
    /// covered at any moment: one that began after the write was over, and that has returned. Zeros at the end of
    /// a write do not count: sled fills up its segments with them.
    pub fn written(&self, name: &str) -> Written {
        let mut written = Written::default();
        let (mut inodes, mut covered) = (Vec::new(), 0);
        let mut under_way: BTreeMap<u64, Under> = BTreeMap::new();
        for step in &self.steps {
            match step {
                Step::Enter { call: Call::Create { path, inode }, .. } if path.ends_with(name) => {
                    inodes.push(*inode);
                }
                Step::Enter { call: Call::Write { inode, bytes, .. }, id }
                    if inodes.contains(inode) =>
                {
                    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
                    let bytes = (bytes.len() - zeros) as u64;
                    written.bytes += bytes;
                    under_way.insert(*id, Under::Write(bytes));
                    written.unsynced_max = written.unsynced_max.max(written.bytes - covered);
                }
                Step::Enter { call: Call::Sync { inode }, id } if inodes.contains(inode) => {
                    let open = under_way.values().map(Under::bytes).sum::<u64>();
                    under_way.insert(*id, Under::Sync { covers: written.bytes - open });
                }
                Step::Exit { id } => {
                    if let Some(Under::Sync { covers }) = under_way.remove(id) {
                        written.syncs += 1;
                        covered = covers.max(covered);
                    }
                }
                _ => {}
            }
        }
        written
    }

    /// The moments at which a file whose name begins so has just lost it.
    pub fn removals(&self, name: &str) -> Vec<usize> {
        let is_it =
            |path: &Path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(name));
        let is_removal = |step: &Step| matches!(step, Step::Enter { call: Call::Unlink { path }, .. } if is_it(path));
        let steps = self.steps.iter().enumerate();
        steps.filter(|(_, step)| is_removal(step)).map(|(at, _)| at + 1).collect()
    }

    /// As if files whose names begin so had never been synced.
    pub fn forget_syncs_of(&mut self, name: &str) {
        let is_it =
            |path: &Path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(name));
        let mut inodes = Vec::new();
        for step in &self.steps {
            if let Step::Enter { call: Call::Create { path, inode }, .. } = step
                && is_it(path)
            {
                inodes.push(*inode);
            }
        }
        let is_forgotten = |step: &Step| matches!(step, Step::Enter { call: Call::Sync { inode }, .. } if inodes.contains(inode));
        self.steps.retain(|step| !is_forgotten(step));
    }

    /// Points of the run, half of them right behind a call that changes what is durable or has which name.
    pub fn points(&self, count: usize, dice: &mut Dice) -> Vec<usize> {
        let is_turn = |(_, step): &(usize, &Step)| matches!(step, Step::Enter { call, .. } if !matches!(call, Call::Write { .. } | Call::Said(_)));
        let turns: Vec<usize> =
            self.steps.iter().enumerate().filter(is_turn).map(|(at, _)| at).collect();
        let mut points: Vec<usize> = (0..count)
            .map(|number| match number % 2 {
                0 => dice.roll(self.steps.len() as u64 + 1) as usize,
                _ => {
                    let turn = turns[dice.roll(turns.len() as u64) as usize];
                    (turn + dice.roll(3) as usize).min(self.steps.len())
                }
            })
            .collect();
        points.sort_unstable();
        points
    }
}

pub fn can_record() -> bool {
    let tried = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Recordings that are taken before giving up.
const TAKES_MAX: u32 = 10;

/// Lets the store live these lives, one after the other, on one directory. Whether a file was made or removed by a
/// call that was under way when its process was killed is not in the trace: such a recording is taken again.
pub fn record(seed: u64, lives: &[Life]) -> Recording {
    let mut why = String::new();
    for _ in 0..TAKES_MAX {
        match take(seed, lives) {
            Ok(recording) => return recording,
            Err(what) => why = what,
        }
        println!("the recording is not what happened, and is taken again: {why}");
    }
    panic!("no recording is what happened: {why}");
}

fn take(seed: u64, lives: &[Life]) -> Result<Recording, String> {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    std::fs::create_dir(&root).unwrap();
    let mut steps = Vec::new();
    for (number, life) in lives.iter().enumerate() {
        let said = directory.path().join("said");
        let log = directory.path().join("strace");
        let ending = if life.stops { "stop" } else { "kill" };
        let job = format!(
            "{seed} {} {} {ending} {} {}",
            life.records,
            life.segment_bytes,
            root.display(),
            said.display()
        );
        let status = Command::new("strace")
            .args(["-f", "--seccomp-bpf", "-qq", "-xx", "-s", STRING_MAX, "-e", "signal=none"])
            .args(["-e", CALLS, "-o"])
            .arg(&log)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "power::record::child_that_lives_one_life", "--nocapture"])
            .env(CHILD, job)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .status()
            .unwrap();
        assert_eq!(status.success(), life.stops, "life {number} ended otherwise: {status}");
        let before = steps.len();
        parse(File::open(&log).unwrap(), &root, &said, &mut steps);
        settle(&root, &mut steps, before)?;
    }
    Ok(Recording { seed, root, lives: lives.to_vec(), steps })
}

/// What a killed process had under way is looked up in what it left; then all files have to be what the steps
/// add up to, or the recording is of no use.
fn settle(root: &Path, steps: &mut Vec<Step>, from: usize) -> Result<(), String> {
    let mut disk = Disk::new(root);
    steps.iter().for_each(|step| disk.take(step));
    let mut ended = Vec::new();
    for step in &mut steps[from..] {
        if let Step::Enter { id, call: Call::Write { inode, offset, bytes } } = step
            && disk.is_under_way(*id)
        {
            let path = disk.path_of(*inode);
            let file = path.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
            let there = file.get(*offset as usize..).unwrap_or_default();
            let same =
                there.iter().zip(bytes.iter()).take_while(|(one, other)| one == other).count();
            *bytes = bytes[..same].into();
            ended.push(Step::Exit { id: *id });
        }
    }
    steps.append(&mut ended);
    let mut disk = Disk::new(root);
    steps.iter().for_each(|step| disk.take(step));
    disk.differs().map_or(Ok(()), Err)
}

/// Not a test: one life of the store, in a process of its own.
#[test]
fn child_that_lives_one_life() {
    let Ok(job) = std::env::var(CHILD) else { return };
    let parts: Vec<&str> = job.split(' ').collect();
    let number = |at: usize| parts[at].parse::<u64>().unwrap();
    let life = Life { records: number(1), segment_bytes: number(2), stops: parts[3] == "stop" };
    live(number(0), &life, Path::new(parts[4]), Path::new(parts[5]));
}

fn live(seed: u64, life: &Life, root: &Path, said: &Path) {
    let mut said = File::create(said).unwrap();
    let (running, mut shards) = start(root, settings_of(life), 1);
    let mut plan = Plan::new(seed);
    let read = running.read_handle();
    let stored: u64 = (1..=super::plan::CONVERSATIONS)
        .map(|id| read.header(&conversation(id)).unwrap().last_seq.0)
        .sum();
    // Goes on behind the last event that is there; what has no seq may be said again.
    let mut first = 0;
    while plan.seqs().values().sum::<u64>() < stored {
        plan.next();
        first += 1;
    }
    let (mut told, mut sealed, mut leased) = (0, 0, 0);
    let shard = &mut shards[0];
    let mut sent = 0;
    while told < life.records {
        if sent < life.records && shard.accepting && sent < told + 40 {
            let most = 1 + (sent * 7) % 13;
            said.write_all(format!("sent {}\n", first + sent + most).as_bytes()).unwrap();
            for record in plan.by_ref().take(most as usize) {
                append(shard, record);
            }
            sent += most;
        }
        shard.take();
        let ids = shard.ids.last().map_or(0, |ids| ids.end);
        let news = [
            (shard.durable > told).then(|| format!("told {}\n", first + shard.durable)),
            (ids > leased).then(|| format!("leased {ids}\n")),
            (shard.sealed > sealed).then(|| format!("sealed {}\n", shard.sealed)),
        ];
        let news: String = news.into_iter().flatten().collect();
        if !news.is_empty() {
            said.write_all(news.as_bytes()).unwrap();
        }
        (told, sealed, leased) = (shard.durable, shard.sealed, ids);
        std::thread::yield_now();
    }
    if life.stops {
        stop(running, shards);
    } else {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
            .unwrap();
    }
}

fn append(shard: &mut crate::rig::Shard, record: Record) {
    shard.append(record);
}
