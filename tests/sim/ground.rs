//! What outlives a process: the disk, the pages, how the last life ended; and what all parts of the
//! simulation share: the time, the dice, the plan, and the witness.

use std::hash::{DefaultHasher, Hash, Hasher};

use loquat::model::{ConversationId, DirectoryChange, Event, Now};
use loquat::node::journal::{Damage, Fsync, SealedMark, SegmentName, Tail, record, scan};
use loquat::node::ports::Record;

use super::dice::Dice;
use super::disk::Disk;
use super::plan::Plan;
use super::store::Store;
use super::witness::Witness;

/// How the last life ended, as the store's `life` file tells it.
#[derive(Debug, Clone, Copy)]
pub struct Note {
    pub epoch: u32,
    pub boot: u64,
    pub syncs_each_commit: bool,
    pub is_clean: bool,
}

pub struct Ground {
    pub now: Now,
    pub dice: Dice,
    pub plan: Plan,
    pub disk: Disk,
    pub witness: Witness,
    /// Pages of sealed segments: what a crash leaves of them.
    pub pages: Store,
    pub sealed: SealedMark,
    /// The pages as readers see them: with what is being built, and the directory's newest changes.
    pub seen: Store,
    pub note: Option<Note>,
    /// Counts the machine's starts.
    pub boot: u64,
    trace: DefaultHasher,
    /// Things that happened, for whoever looks at one seed.
    pub is_told: bool,
}

impl Ground {
    pub fn new(mut dice: Dice, plan: Plan, now: Now) -> Ground {
        let events_per_read = dice.pick(&[1, 3, 50]);
        let mut store = Store::default();
        store.events_per_read = events_per_read;
        let mut disk = Disk::default();
        disk.free_bytes = 1 << 30;
        Ground {
            now,
            dice,
            plan,
            disk,
            witness: Witness::default(),
            pages: store.clone(),
            sealed: SealedMark::default(),
            seen: store,
            note: None,
            boot: 1,
            trace: DefaultHasher::new(),
            is_told: std::env::var("LOQUAT_SIM_TELL").is_ok(),
        }
    }

    /// For whoever looks at one seed; part of the trace.
    pub fn happened(&mut self, what: &dyn Fn() -> String) {
        let what = what();
        self.tell(&|| what.clone());
        self.traced(what.as_bytes());
    }

    pub fn tell(&self, what: &dyn Fn() -> String) {
        if self.is_told {
            eprintln!("{:>9} {}", self.now.mono.0, what());
        }
    }

    /// Adds to the trace: the same seed gives the same one.
    pub fn traced(&mut self, what: &[u8]) {
        (self.now.mono.0, what).hash(&mut self.trace);
    }

    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    pub fn is_lazy(&self) -> bool {
        self.plan.journal.fsync != Fsync::Commit
    }

    /// The witness looks at what of a segment is on disk; without a sync per commit, in caches.
    pub fn look_at(&mut self, segment: u64) {
        let name = SegmentName(segment).to_string();
        let is_lazy = self.is_lazy();
        let Ground { disk, witness, .. } = self;
        witness.read(segment, if is_lazy { disk.read(&name) } else { disk.image(&name) });
    }

    /// What is in a segment that ended, as whoever builds its pages reads it.
    pub fn records_of(&self, segment: u64, last_commit: u64) -> Result<Sealable, Damage> {
        let bytes = self.disk.read(&SegmentName(segment).to_string());
        let scanned = scan(bytes, segment, Tail::Strict)?;
        let expected = self.sealed.commit + 1;
        let found = scanned.commits.first().map_or(u64::MAX, |first| first.head.commit);
        if found != expected {
            return Err(Damage::Gap { segment, expected, found });
        }
        let Some(last) = scanned.commits.last().filter(|last| last.head.commit == last_commit)
        else {
            let offset = scanned.end as u64;
            return Err(Damage::Middle { segment, offset, expected: last_commit });
        };
        let records = scanned.commits.iter().flat_map(|commit| commit.records());
        let records = records.map(|bytes| record::decode(bytes).expect("it was checked"));
        let leased_to = last.head.leased_to;
        let mark = SealedMark { segment, commit: last_commit, leased_to };
        Ok(Sealable { mark, end: scanned.end, records: records.collect() })
    }

    /// The pages of a segment are on disk.
    pub fn seal(&mut self, sealable: &Sealable) {
        for record in &sealable.records {
            self.pages.commit(record.clone());
        }
        self.pages.build();
        self.sealed = sealable.mark;
        let name = SegmentName(sealable.mark.segment).to_string();
        self.disk.truncate(&name, sealable.end);
        self.happened(&|| format!("sealed {:?}", sealable.mark));
        if self.dice.roll(3) == 0 {
            self.remove_old_segments();
        }
    }

    /// As when `journal_keep_days` have passed.
    fn remove_old_segments(&mut self) {
        for name in self.disk.list() {
            let number = SegmentName::parse(&name).map(|name| name.0);
            if number.is_some_and(|number| number < self.sealed.segment) {
                self.disk.remove(&name);
            }
        }
        self.disk.sync_directory();
    }

    /// Directory changes are seen as soon as they are durable.
    pub fn overlay(&mut self, changes: Vec<DirectoryChange>) {
        for change in changes {
            self.seen.commit(Record::Directory(change));
        }
    }

    /// All of a conversation's events in pages.
    pub fn paged(&self, conversation: &ConversationId) -> Vec<Event> {
        self.pages.events.get(conversation).cloned().unwrap_or_default()
    }
}

/// A segment that ended, read back.
pub struct Sealable {
    pub mark: SealedMark,
    pub end: usize,
    pub records: Vec<Record>,
}
