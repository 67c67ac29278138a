//! A start: what `store::open` does before any shard serves, on the simulated disk, step by step, so
//! that another crash may come between any two.

use loquat::node::journal::{
    Fsync, JournalStart, Recovered, Recovery, RecoveryStep, SegmentName, Tail,
};

use super::ground::{Ground, Note};

/// The start did not get to its end.
pub struct Interrupted;

/// Burns down with each step; at zero the start is interrupted.
pub struct Fuse(Option<u64>);

impl Fuse {
    pub fn new(steps: Option<u64>) -> Fuse {
        Fuse(steps)
    }

    fn burn(&mut self) -> Result<(), Interrupted> {
        match &mut self.0 {
            Some(0) => Err(Interrupted),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// The machine went down under a log that did not sync each commit.
fn tail_after(note: Option<Note>, boot: u64) -> Tail {
    match note {
        Some(note) if !note.is_clean && note.boot != boot && !note.syncs_each_commit => Tail::Loose,
        _ => Tail::Strict,
    }
}

pub fn open(ground: &mut Ground, fuse: &mut Fuse) -> Result<JournalStart, Interrupted> {
    let tail = tail_after(ground.note, ground.boot);
    let epoch = match ground.note {
        Some(note) if tail == Tail::Strict => note.epoch,
        _ => ground.dice.next() as u32,
    };
    for name in ground.disk.list().into_iter().filter(|name| name.ends_with(".new")) {
        fuse.burn()?;
        ground.disk.remove(&name);
    }
    let recovered = recover(ground, tail, fuse)?;
    ground.happened(&|| format!("recovered {recovered:?}"));
    match tail {
        Tail::Strict => ground.witness.recovered(recovered.next_commit),
        Tail::Loose => ground.witness.forget_behind(recovered.next_commit),
    }
    for unsealed in &recovered.unsealed {
        fuse.burn()?;
        ground.look_at(unsealed.segment);
        let sealable = ground.records_of(unsealed.segment, unsealed.last_commit);
        let sealable = sealable.unwrap_or_else(|damage| panic!("a start stops: {damage}"));
        ground.seal(&sealable);
    }
    fuse.burn()?;
    let syncs_each_commit = ground.plan.journal.fsync == Fsync::Commit;
    let boot = ground.boot;
    ground.note = Some(Note { epoch, boot, syncs_each_commit, is_clean: false });
    ground.seen = ground.pages.clone();
    ground.witness.is_in_pages(&|conversation| ground.paged(conversation));
    Ok(JournalStart {
        epoch,
        next_segment: recovered.next_segment,
        next_commit: recovered.next_commit,
        leased_to: recovered.leased_to,
        salt: ground.dice.next(),
    })
}

fn recover(ground: &mut Ground, tail: Tail, fuse: &mut Fuse) -> Result<Recovered, Interrupted> {
    let names = ground.disk.list();
    let numbers: Vec<u64> =
        names.iter().filter_map(|name| SegmentName::parse(name)).map(|name| name.0).collect();
    let mut recovery = Recovery::new(&numbers, ground.sealed, tail);
    let mut answer = None;
    loop {
        fuse.burn()?;
        let step = recovery.next(answer.take());
        match step.unwrap_or_else(|damage| panic!("P1: a start stops: {damage}")) {
            RecoveryStep::Read { segment } => {
                answer = Some(ground.disk.read(&SegmentName(segment).to_string()).to_vec());
            }
            RecoveryStep::Replace { segment, bytes } => replace(ground, segment, &bytes, fuse)?,
            RecoveryStep::Remove { segment } => {
                ground.disk.remove(&SegmentName(segment).to_string());
            }
            RecoveryStep::SyncDirectory => ground.disk.sync_directory(),
            RecoveryStep::Finished(recovered) => return Ok(recovered),
        }
    }
}

fn replace(
    ground: &mut Ground,
    segment: u64,
    bytes: &[u8],
    fuse: &mut Fuse,
) -> Result<(), Interrupted> {
    let name = SegmentName(segment).to_string();
    let unnamed = format!("{name}.new");
    ground.disk.create(&unnamed);
    ground.disk.write(&unnamed, 0, bytes);
    fuse.burn()?;
    ground.disk.sync(&unnamed);
    fuse.burn()?;
    ground.disk.rename(&unnamed, &name);
    Ok(())
}
