//! The log and page threads of one life: the journal machine on the simulated disk. The steps are those
//! of `store::log_thread` and `store::page_thread`, in their order; only what waits takes virtual time.

use std::collections::VecDeque;

use loquat::mailbox::Receiver;
use loquat::model::{ConversationId, Mono};
use loquat::node::journal::{Done, Effect, FileWork, Journal, SegmentName};
use loquat::node::outgoing::Outgoing;
use loquat::node::ports::{FromLog, Record, ToLog};

use super::ground::{Ground, Sealable};
use super::plan::Fault;

const SPACE_EVERY_MS: u64 = 1_000;
const FULL_PAUSE_MS: u64 = 1;

struct Syncing {
    file: SegmentName,
    until: Mono,
    fails: bool,
}

struct Creating {
    file: SegmentName,
    bytes: u64,
    header: Vec<u8>,
    until: Mono,
}

/// Pages in the making: readers see some conversations before others.
struct Sealing {
    sealable: Sealable,
    unseen: Vec<Record>,
    until: Mono,
}

pub struct Log {
    pub journal: Journal,
    inbox: Vec<Receiver<ToLog>>,
    outgoing: Vec<Outgoing>,
    next_shard: usize,
    space_checked: Option<Mono>,
    syncing: Option<Syncing>,
    /// When a sync aside ends.
    catching_up: Option<Mono>,
    creating: Option<Creating>,
    ended: VecDeque<(u64, u64)>,
    sealing: Option<Sealing>,
    flush_at: Option<Mono>,
}

impl Log {
    pub fn new(journal: Journal, inbox: Vec<Receiver<ToLog>>, outgoing: Vec<Outgoing>) -> Log {
        Log {
            journal,
            inbox,
            outgoing,
            next_shard: 0,
            space_checked: None,
            syncing: None,
            catching_up: None,
            creating: None,
            ended: VecDeque::new(),
            sealing: None,
            flush_at: None,
        }
    }

    /// Everything is on disk and in pages. Mail may be left for shards that have stopped.
    pub fn is_over(&self) -> bool {
        self.journal.is_finished() && self.ended.is_empty() && self.sealing.is_none()
    }

    /// Nothing is under way.
    pub fn is_at_rest(&self) -> bool {
        self.syncing.is_none()
            && self.catching_up.is_none()
            && self.ended.is_empty()
            && self.sealing.is_none()
            && self.inbox.iter().all(Receiver::is_empty)
    }

    pub fn is_ready(&self, now: Mono) -> bool {
        if self.next_at(now).is_some_and(|at| at <= now) {
            return true;
        }
        self.syncing.is_none()
            && self.journal.has_room()
            && self.inbox.iter().any(|inbox| !inbox.is_empty())
    }

    /// When there is something to do although nothing else happens.
    pub fn next_at(&self, now: Mono) -> Option<Mono> {
        let aside = self.creating.iter().map(|creating| creating.until).chain(self.catching_up);
        let pages = self.sealing.iter().map(|sealing| sealing.until);
        let jobs = (self.sealing.is_none() && !self.ended.is_empty()).then_some(now);
        if let Some(syncing) = &self.syncing {
            return pages.chain(jobs).chain([syncing.until]).min();
        }
        if self.journal.is_finished() {
            return pages.chain(jobs).chain(self.flush_at).min();
        }
        let space = self.space_checked.map_or(now, |at| at.after(SPACE_EVERY_MS));
        let own = [space].into_iter().chain(self.journal.next_timeout()).chain(self.flush_at);
        own.chain(aside).chain(pages).chain(jobs).min()
    }

    /// `Err`: the process must end.
    pub fn run(&mut self, ground: &mut Ground) -> Result<(), String> {
        self.go_on_sealing(ground)?;
        if let Some(syncing) = self.syncing.take_if(|syncing| syncing.until <= ground.now.mono) {
            self.synced(syncing, ground);
        }
        if self.syncing.is_some() {
            return Ok(());
        }
        if self.journal.is_finished() {
            self.perform(ground)?;
            self.flush(ground);
            return Ok(());
        }
        self.take_records(ground);
        self.go_on_creating(ground);
        if self.catching_up.take_if(|until| *until <= ground.now.mono).is_some() {
            self.journal.handle_done(Done::Synced);
        }
        let checked = self.space_checked;
        if checked.is_none_or(|at| ground.now.mono.since(at) >= SPACE_EVERY_MS) {
            self.space_checked = Some(ground.now.mono);
            self.journal.handle_space(ground.disk.free_bytes);
        }
        self.journal.handle_turn(ground.now);
        self.perform(ground)?;
        self.flush(ground);
        Ok(())
    }

    fn flush(&mut self, ground: &Ground) {
        self.outgoing.iter_mut().for_each(Outgoing::flush);
        let is_waiting = self.outgoing.iter().any(Outgoing::is_waiting);
        self.flush_at = is_waiting.then(|| ground.now.mono.after(FULL_PAUSE_MS));
    }

    fn take_records(&mut self, ground: &Ground) {
        let shards = self.inbox.len();
        for turn in 0..shards {
            let shard = (self.next_shard + turn) % shards;
            let mut left = ground.plan.records_per_turn;
            while left > 0 && self.journal.has_room() {
                let Some(mail) = self.inbox[shard].pop() else { break };
                left -= 1;
                match mail {
                    ToLog::Append { lsn, record } => {
                        self.journal.handle_append(shard, lsn, &record);
                    }
                    ToLog::Lease => self.journal.handle_lease(shard),
                    ToLog::Stop => self.journal.handle_stop(shard),
                }
            }
        }
        self.next_shard = (self.next_shard + 1) % shards;
    }

    fn perform(&mut self, ground: &mut Ground) -> Result<(), String> {
        while self.syncing.is_none()
            && let Some(effect) = self.journal.poll_effect()
        {
            match effect {
                Effect::Files(FileWork::Create { file, bytes, header }) => {
                    let until = ground.now.mono.after(ground.dice.roll(ground.plan.sync_ms + 1));
                    self.creating = Some(Creating { file, bytes, header, until });
                }
                Effect::Files(FileWork::Write { file, offset, bytes }) => {
                    self.write(file, offset, bytes, ground);
                }
                Effect::Files(FileWork::Sync { file }) => self.begin_sync(file, ground),
                Effect::Files(FileWork::SyncAside { file }) => self.sync_aside(file, ground),
                Effect::Directory { changes, .. } => ground.overlay(changes),
                // For readers of the HTTP side, of which there are none.
                Effect::Marks { .. } => {}
                Effect::Publish { shard, message } => self.publish(shard, message, ground),
                Effect::Ended { segment, last_commit } => {
                    self.ended.push_back((segment, last_commit));
                }
                Effect::Fatal(what) => return Err(what),
            }
        }
        Ok(())
    }

    fn publish(&mut self, shard: usize, message: FromLog, ground: &Ground) {
        let message = match message {
            FromLog::Lease { ids } => {
                let end = ids.end.min(ids.start + ground.plan.lease_ids);
                FromLog::Lease { ids: ids.start..end }
            }
            other => other,
        };
        self.outgoing[shard].put(message);
    }

    fn write(&mut self, file: SegmentName, offset: u64, bytes: Vec<u8>, ground: &mut Ground) {
        let name = file.to_string();
        if ground.plan.may(Fault::WriteFails) && ground.dice.roll(60) == 0 {
            let part = ground.dice.roll(bytes.len() as u64) as usize;
            ground.disk.write(&name, offset as usize, &bytes[..part]);
            ground.happened(&|| format!("a write of {name} fails"));
            return self.journal.handle_done(Done::Failed { what: "writing".to_owned() });
        }
        ground.disk.write(&name, offset as usize, &bytes);
        if ground.is_lazy() {
            ground.look_at(file.0);
        }
        self.journal.handle_done(Done::Written { buffer: bytes });
    }

    fn sync_ms(ground: &mut Ground) -> u64 {
        let mut ms = ground.dice.roll(ground.plan.sync_ms + 1);
        if ground.plan.may(Fault::SlowSync) && ground.dice.roll(10) == 0 {
            ms += ground.dice.roll(3_000);
        }
        ms
    }

    fn begin_sync(&mut self, file: SegmentName, ground: &mut Ground) {
        let ms = Self::sync_ms(ground);
        let may_fail = ground.plan.may(Fault::SyncFails) && !ground.is_lazy();
        let fails = may_fail && ground.dice.roll(30) == 0;
        self.syncing = Some(Syncing { file, until: ground.now.mono.after(ms), fails });
    }

    /// It promises no more than what was written before it began.
    fn sync_aside(&mut self, file: SegmentName, ground: &mut Ground) {
        ground.disk.sync(&file.to_string());
        ground.look_at(file.0);
        self.catching_up = Some(ground.now.mono.after(Self::sync_ms(ground)));
    }

    fn synced(&mut self, syncing: Syncing, ground: &mut Ground) {
        let name = syncing.file.to_string();
        if syncing.fails {
            ground.disk.fail_sync(&name);
            ground.happened(&|| format!("a sync of {name} fails"));
            return self.journal.handle_done(Done::Failed { what: "syncing".to_owned() });
        }
        ground.disk.sync(&name);
        ground.look_at(syncing.file.0);
        self.journal.handle_done(Done::Synced);
    }

    /// A segment that is prepared aside is there whole or not at all.
    fn go_on_creating(&mut self, ground: &mut Ground) {
        let now = ground.now.mono;
        let Some(creating) = self.creating.take_if(|creating| creating.until <= now) else {
            return;
        };
        let Creating { file, bytes, header, .. } = creating;
        if ground.disk.free_bytes < bytes {
            ground.happened(&|| format!("no room for {file}"));
            return self.journal.handle_done(Done::NoRoom { file });
        }
        let unnamed = format!("{file}.new");
        ground.disk.create(&unnamed);
        ground.disk.write(&unnamed, 0, &header);
        ground.disk.write(&unnamed, bytes as usize - 1, &[0]);
        ground.disk.sync(&unnamed);
        ground.disk.rename(&unnamed, &file.to_string());
        ground.disk.sync_directory();
        self.journal.handle_done(Done::Created { file });
    }

    fn go_on_sealing(&mut self, ground: &mut Ground) -> Result<(), String> {
        let now = ground.now.mono;
        if let Some(mut sealing) = self.sealing.take_if(|sealing| sealing.until <= now) {
            show(ground, sealing.unseen.drain(..));
            ground.seal(&sealing.sealable);
            self.journal.handle_sealed(sealing.sealable.mark.segment);
        }
        if self.sealing.is_some() {
            return Ok(());
        }
        let Some((segment, last_commit)) = self.ended.pop_front() else { return Ok(()) };
        let sealable =
            ground.records_of(segment, last_commit).map_err(|damage| damage.to_string())?;
        let early: Vec<ConversationId> = (1..=ground.plan.conversations)
            .filter(|_| ground.dice.roll(2) == 0)
            .map(|number| ConversationId::from_number(number).expect("an id"))
            .collect();
        let (seen, unseen) = sealable.records.iter().cloned().partition(|record| match record {
            Record::Event { conversation, .. } | Record::Mark { conversation, .. } => {
                early.contains(conversation)
            }
            Record::Directory(_) | Record::Erased => false,
        });
        show::<Vec<Record>>(ground, seen);
        let mut ms = 1 + ground.dice.roll(5);
        if ground.plan.may(Fault::SlowSeal) && ground.dice.roll(2) == 0 {
            ms += ground.dice.roll(8_000);
        }
        self.sealing = Some(Sealing { sealable, unseen, until: now.after(ms) });
        Ok(())
    }
}

fn show<I: IntoIterator<Item = Record>>(ground: &mut Ground, records: I) {
    // The directory is seen since it is durable; newer changes would be undone here.
    for record in records.into_iter().filter(|record| !matches!(record, Record::Directory(_))) {
        ground.seen.commit(record);
    }
    ground.seen.build();
}
