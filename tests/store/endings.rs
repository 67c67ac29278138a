//! Every kind of end: a kill at any moment, a full disk, another epoch.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use loquat::mailbox::Doorbell;
use loquat::model::*;
use loquat::node::journal::{Fsync, JournalSettings};
use loquat::store::{ShardPorts, Store, StoreSettings, verify};

use crate::rig::{conversation, message, settings, start, stop};

const CHILD: &str = "LOQUAT_STORE_CHILD";
/// How the child's log syncs: `commit` or `never`.
const CHILD_FSYNC: &str = "LOQUAT_STORE_CHILD_FSYNC";

fn settings_of(fsync: &str) -> StoreSettings {
    let fsync = if fsync == "never" { Fsync::Never } else { Fsync::Commit };
    StoreSettings { journal: JournalSettings { fsync, ..settings().journal }, ..settings() }
}

/// Not a test: what the killed process does. It writes until it is killed, and says after each
/// watermark up to which seq it was told.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    let settings = settings_of(&std::env::var(CHILD_FSYNC).unwrap());
    let (running, mut shards) = start(Path::new(&directory), settings, 1);
    let header = running.read_handle().header(&conversation(1)).unwrap();
    let (first, ordinal) = (header.last_seq.0, header.messages);
    println!("opened {first}");
    let content = "y".repeat(700);
    let shard = &mut shards[0];
    let mut told = 0;
    loop {
        let lsn = shard.lsn;
        shard.append(message(1, first + lsn + 1, first + lsn + 1, ordinal + lsn, &content));
        shard.take();
        if shard.durable > told {
            told = shard.durable;
            println!("told {}", first + told);
        }
    }
}

/// Runs the child until it has said `lines` lines, kills it, and gives the last seq that it was told.
fn killed_after(directory: &Path, fsync: &str, lines: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "endings::child_that_writes_until_it_is_killed", "--nocapture"])
        .env(CHILD, directory)
        .env(CHILD_FSYNC, fsync)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = 0;
    let mut take = |line: String| {
        if let Some((_, seq)) = line.split_once("told ").or(line.split_once("opened ")) {
            last = seq.parse().unwrap();
        }
    };
    said.by_ref().take(lines).for_each(|line| take(line.unwrap()));
    child.kill().unwrap();
    // What was still in the pipe was told, too; the last line may be cut.
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    if let Some((_, whole)) = rest.split_last() {
        whole.iter().cloned().for_each(take);
    }
    child.wait().unwrap();
    last
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_told() {
    let check = |fsync: &str, rounds: usize| {
        let directory = tempfile::tempdir().unwrap();
        let mut total = 0;
        for round in 0..rounds {
            let told = killed_after(directory.path(), fsync, 3 + 37 * round);
            assert!(told >= total, "{fsync}, round {round}: {told} after {total}");
            total = told;
        }
        let opened = Store::open(directory.path(), settings_of(fsync)).unwrap();
        let header = opened.read_handle().header(&conversation(1)).unwrap();
        assert!(header.last_seq.0 >= total, "{total} was told, {header:?} is there");
        assert!(total > 0);
        drop(opened);
        let report = verify(directory.path()).unwrap();
        assert!(report.is_whole(), "{report:?}");
        assert_eq!(report.events, header.last_seq.0);
    };
    check("commit", 8);
    check("never", 4);
}

#[test]
fn an_epoch_lasts_unless_the_machine_went_down_under_a_lazy_log() {
    let lazy = StoreSettings {
        journal: JournalSettings { fsync: Fsync::Never, ..settings().journal },
        ..settings()
    };
    let check = |settings: StoreSettings, edit: &dyn Fn(String) -> String, same: bool| {
        let directory = tempfile::tempdir().unwrap();
        let opened = Store::open(directory.path(), settings).unwrap();
        let epoch = opened.epoch;
        drop(opened);
        let path = directory.path().join("life");
        let life = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, edit(life)).unwrap();
        let opened = Store::open(directory.path(), settings).unwrap();
        assert_eq!(opened.epoch == epoch, same);
    };
    let rebooted = |life: String| {
        let lines = life.lines().map(|line| match line.strip_prefix("boot") {
            Some(_) => "boot another\n".to_owned(),
            None => format!("{line}\n"),
        });
        lines.collect()
    };
    let ended = |life: String| life.replace("clean no", "clean yes");
    check(settings(), &|life| life, true);
    check(lazy, &|life| life, true);
    check(settings(), &rebooted, true);
    check(lazy, &rebooted, false);
    check(lazy, &|life| ended(rebooted(life)), true);
}

#[test]
fn a_clean_stop_is_noted() {
    let directory = tempfile::tempdir().unwrap();
    let (running, shards) = start(directory.path(), settings(), 2);
    let life = || std::fs::read_to_string(directory.path().join("life")).unwrap();
    assert!(life().contains("clean no"));
    stop(running, shards);
    assert!(life().contains("clean yes"));
}

#[test]
fn a_thread_that_fails_says_so_once_and_tells_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Store::open(directory.path(), settings()).unwrap();
    // Where segments should be made there is a file now.
    let journal = directory.path().join("journal");
    std::fs::rename(&journal, directory.path().join("elsewhere")).unwrap();
    std::fs::write(&journal, "").unwrap();
    let (said, heard) = std::sync::mpsc::channel();
    let ports = vec![ShardPorts { doorbell: Arc::new(Doorbell::new(|| {})) }];
    let fatal = Arc::new(move |why: String| said.send(why).unwrap());
    let (running, mut ends) = opened.start(ports, fatal).unwrap();
    let why = heard.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    assert!(why.contains("journal") && why.contains("store"), "{why}");
    assert_eq!(running.join(), loquat::store::Ended::Failed);
    assert_eq!(ends[0].from_log.pop(), None);
}

/// A small file system of its own; `None` where we may not mount.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(bytes: u64) -> Option<Small> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={bytes},mode=0700");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "loquat-test"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then_some(Small(directory))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_full_disk_refuses_before_numbering_and_recovers_by_itself() {
    let Some(small) = Small::mount(64 << 20) else {
        println!("skipped: mounting a tmpfs needs root");
        return;
    };
    let settings = StoreSettings {
        journal: JournalSettings { disk_reserve_bytes: 16 << 20, ..settings().journal },
        ..settings()
    };
    let (running, mut shards) = start(small.0.path(), settings, 1);
    let shard = &mut shards[0];
    for seq in 1..=50 {
        shard.append(message(1, seq, seq, seq - 1, "before"));
    }
    shard.wait_durable();
    let ballast = small.0.path().join("ballast");
    let free = rustix::fs::statvfs(small.0.path()).map(|s| s.f_bavail * s.f_frsize).unwrap();
    std::fs::write(&ballast, vec![1; (free - (8 << 20)) as usize]).unwrap();
    shard.wait("a refusal", |shard| !shard.accepting);
    // What was numbered before the refusal was heard is still taken.
    for seq in 51..=500 {
        shard.append(message(1, seq, seq, seq - 1, &"late".repeat(200)));
    }
    shard.wait_durable();
    assert_eq!(running.read_handle().header(&conversation(9)).unwrap(), Header::default());
    std::fs::remove_file(&ballast).unwrap();
    shard.wait("room again", |shard| shard.accepting);
    for seq in 501..=600 {
        shard.append(message(1, seq, seq, seq - 1, "after"));
    }
    shard.wait_durable();
    stop(running, shards);
    let report = verify(small.0.path()).unwrap();
    assert!(report.is_whole(), "{report:?}");
}
