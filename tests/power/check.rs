//! Opens what a power loss left, and looks for everything that was told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use loquat::model::*;
use loquat::store::{ReadHandle, Store, StoreSettings, verify};

use super::disk::{Disk, Fate};
use super::plan::{Plan, Sum};
use super::record::{Recording, settings_of};
use crate::rig::{conversation, start, stop};

/// No start takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

pub enum Outcome {
    /// No more is there than what was told.
    Told,
    /// Some of what was still on its way is there, too.
    More,
    /// And another life was begun on it.
    GoesOn,
}

impl Outcome {
    pub fn kind(&self) -> &'static str {
        match self {
            Outcome::Told => "told",
            Outcome::More => "more",
            Outcome::GoesOn => "goes on",
        }
    }
}

/// A file system in memory where there is one: the disks are many, and nobody pulls this machine's plug.
fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}

/// Looks at one disk; says what is wrong.
pub fn check(disk: &Disk, recording: &Recording, fate: &Fate) -> Result<Outcome, String> {
    let place = place();
    let directory = place.path().join("store");
    std::fs::create_dir(&directory).unwrap();
    disk.leave(fate, &directory);
    let outcome = in_time(Look::new(disk, recording, fate), directory);
    if outcome.is_err() && std::env::var_os("LOQUAT_POWER_KEEP").is_some() {
        println!("kept: {}", place.keep().display());
    }
    outcome
}

/// What has to be there.
#[derive(Debug, Clone)]
struct Look {
    seed: u64,
    settings: StoreSettings,
    sent: u64,
    told: u64,
    leased: u64,
    goes_on: bool,
}

impl Look {
    fn new(disk: &Disk, recording: &Recording, fate: &Fate) -> Look {
        let Disk { sent, told, leased, .. } = *disk;
        let (seed, settings) = (recording.seed, settings_of(&recording.lives[0]));
        Look { seed, settings, sent, told, leased, goes_on: fate.seed().is_multiple_of(6) }
    }
}

/// A store that never opens is as bad as one that does not.
fn in_time(disk: Look, directory: PathBuf) -> Result<Outcome, String> {
    let (answer, answered) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let looked = catch_unwind(AssertUnwindSafe(|| look(&disk, &directory)));
        // Who asked may have given up.
        let _ = answer.send(looked.unwrap_or_else(|_| Err("it panicked".to_owned())));
    });
    answered.recv_timeout(PATIENCE).unwrap_or_else(|_| Err("it hangs".to_owned()))
}

fn look(disk: &Look, directory: &Path) -> Result<Outcome, String> {
    let settings = disk.settings;
    let opened = Store::open(directory, settings).map_err(|error| error.to_string())?;
    let records = holds(disk, &opened.read_handle())?;
    drop(opened);
    sound(directory)?;
    if !disk.goes_on {
        return Ok(if records > disk.told { Outcome::More } else { Outcome::Told });
    }
    let (running, mut shards) = start(directory, settings, 1);
    shards[0].wait("a lease", |shard| !shard.ids.is_empty());
    let ids = shards[0].ids[0].start;
    if ids < disk.leased {
        return Err(format!("ids are leased from {ids} on, and {} were before", disk.leased));
    }
    for record in Plan::new(disk.seed).skip(records as usize).take(20) {
        shards[0].append(record);
    }
    shards[0].wait_durable();
    stop(running, shards);
    sound(directory)?;
    Ok(Outcome::GoesOn)
}

fn sound(directory: &Path) -> Result<(), String> {
    let report = verify(directory).map_err(|error| error.to_string())?;
    if report.is_whole() { Ok(()) } else { Err(format!("it does not verify: {report:?}")) }
}

/// Everything that was told is there, in order, once, and nothing that was never sent; all of it is what one
/// run of records adds up to. Gives how many.
fn holds(disk: &Look, read: &ReadHandle) -> Result<u64, String> {
    let header = |id: u64| read.header(&conversation(id)).unwrap().last_seq.0;
    let ids = 1..=super::plan::CONVERSATIONS;
    let stored: u64 = ids.clone().map(header).sum();
    let mut plan = Plan::new(disk.seed);
    let mut records = 0;
    while plan.seqs().values().sum::<u64>() < stored || records < disk.told {
        if records >= disk.sent {
            return Err(format!("{stored} events are there, more than {} records", disk.sent));
        }
        plan.next();
        records += 1;
    }
    let sum = Sum::of(disk.seed, records);
    for id in ids {
        let expected = sum.events.get(&id).map_or(&[][..], Vec::as_slice);
        if header(id) != expected.len() as u64 {
            let (there, told) = (header(id), disk.told);
            return Err(format!(
                "conversation {id} ends at {there} instead of {}; {told} records were told",
                expected.len()
            ));
        }
        events(read, id, expected, &sum)?;
    }
    directory(read, &Sum::of(disk.seed, disk.told), &sum)?;
    Ok(records)
}

fn events(
    read: &ReadHandle,
    id: u64,
    expected: &[std::sync::Arc<Event>],
    sum: &Sum,
) -> Result<(), String> {
    let found = read.events(&conversation(id), Seq(0), usize::MAX);
    let found = found.map_err(|error| format!("conversation {id}: {error}"))?;
    if found.len() != expected.len() {
        let (there, due) = (found.len(), expected.len());
        return Err(format!("conversation {id} has {there} events of {due}"));
    }
    for (found, expected) in found.iter().zip(expected) {
        let mut expected = Event::clone(expected);
        match &mut expected.body {
            EventBody::Message(body) if sum.deleted.contains(&body.id) => body.content.clear(),
            EventBody::Edit { message, content, .. } if sum.deleted.contains(message) => {
                content.clear();
            }
            _ => {}
        }
        if **found != expected {
            return Err(format!("conversation {id}, seq {}: {found:?}", expected.seq.0));
        }
    }
    Ok(())
}

/// At least what was told stands in the directory, and no more than what was sent.
fn directory(read: &ReadHandle, told: &Sum, most: &Sum) -> Result<(), String> {
    for id in 1..=told.created {
        if read.created_at(&conversation(id)).unwrap().is_none() {
            return Err(format!("conversation {id} was created and is not there"));
        }
    }
    for (&id, &count) in &told.members {
        let members = read.members(&conversation(id), None, usize::MAX).unwrap().len();
        // What has no seq may have been on its way behind the last event.
        if members < count || members > most.members.get(&id).unwrap_or(&0) + 2 {
            return Err(format!("conversation {id} has {members} members, {count} were told"));
        }
    }
    for (&id, &message) in &told.marks {
        let marks = read.marks(&conversation(id), 9).unwrap().marks;
        if marks.iter().all(|mark| mark.message.0 < message) {
            return Err(format!("conversation {id}: the mark at {message} is not there"));
        }
    }
    Ok(())
}
