//! One shard's side of the store, driven by hand, and records to put in.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loquat::mailbox::Doorbell;
use loquat::model::*;
use loquat::node::journal::{Fsync, JournalSettings};
use loquat::node::ports::{FromLog, LoadAnswer, LoadQuery, LoadRequest, LoadResult, Record, ToLog};
use loquat::store::{Ended, Running, ShardEnds, ShardPorts, Store, StoreSettings};

const PATIENCE: Duration = Duration::from_secs(30);

pub fn settings() -> StoreSettings {
    StoreSettings {
        journal: JournalSettings {
            fsync: Fsync::Commit,
            segment_bytes: 256 << 10,
            segment_age_ms: 3_600_000,
            disk_reserve_bytes: 1 << 20,
        },
        cache_bytes: 8 << 20,
        ..StoreSettings::default()
    }
}

pub fn conversation(number: u64) -> ConversationId {
    ConversationId::from_number(number).unwrap()
}

pub fn user(number: u64) -> UserId {
    UserId::from_number(number).unwrap()
}

/// One shard's side of the store, driven by hand.
pub struct Shard {
    pub ends: ShardEnds,
    pub lsn: u64,
    pub durable: u64,
    pub sealed: u64,
    pub accepting: bool,
    pub stopped: bool,
    pub told_to_read_anew: usize,
    pub ids: Vec<std::ops::Range<u64>>,
}

impl Shard {
    pub fn append(&mut self, record: Record) -> u64 {
        self.lsn += 1;
        let mut mail = ToLog::Append { lsn: self.lsn, record };
        let begun = Instant::now();
        while let Err(back) = self.ends.to_log.push(mail) {
            mail = back;
            self.ends.to_log.ring();
            self.take();
            std::thread::yield_now();
            assert!(begun.elapsed() < PATIENCE, "the log takes nothing");
        }
        self.ends.to_log.ring();
        self.lsn
    }

    pub fn take(&mut self) {
        while let Some(mail) = self.ends.from_log.pop() {
            match mail {
                FromLog::Durable { through, .. } => {
                    assert!(through > self.durable && through <= self.lsn);
                    self.durable = through;
                }
                FromLog::Lease { ids } => self.ids.push(ids),
                FromLog::Sealed { segment } => {
                    assert!(segment > self.sealed);
                    self.sealed = segment;
                }
                FromLog::Accepting(accepting) => self.accepting = accepting,
                FromLog::ReadAnew => self.told_to_read_anew += 1,
                FromLog::Stopped => self.stopped = true,
            }
        }
    }

    pub fn wait(&mut self, what: &str, until: impl Fn(&Shard) -> bool) {
        let begun = Instant::now();
        while !until(self) {
            self.take();
            std::thread::yield_now();
            assert!(begun.elapsed() < PATIENCE, "waited for {what}");
        }
    }

    pub fn wait_durable(&mut self) {
        self.wait("durable", |shard| shard.durable == shard.lsn);
    }

    pub fn load(&mut self, conversation: ConversationId, query: LoadQuery) -> LoadResult {
        let request = LoadRequest { ticket: 77, conversation, query };
        self.ends.to_readers.push(request).unwrap();
        self.ends.to_readers.ring();
        let begun = Instant::now();
        loop {
            if let Some(LoadAnswer { ticket, answer }) = self.ends.from_readers.pop() {
                assert_eq!(ticket, 77);
                return answer;
            }
            std::thread::yield_now();
            assert!(begun.elapsed() < PATIENCE, "waited for an answer");
        }
    }
}

pub fn start(directory: &Path, settings: StoreSettings, shards: usize) -> (Running, Vec<Shard>) {
    let opened = Store::open(directory, settings).unwrap();
    let ports =
        (0..shards).map(|_| ShardPorts { doorbell: Arc::new(Doorbell::new(|| {})) }).collect();
    let fatal = Arc::new(|why: String| panic!("{why}"));
    let (running, ends) = opened.start(ports, fatal).unwrap();
    let shard = |ends| Shard {
        ends,
        lsn: 0,
        durable: 0,
        sealed: 0,
        accepting: true,
        stopped: false,
        told_to_read_anew: 0,
        ids: Vec::new(),
    };
    (running, ends.into_iter().map(shard).collect())
}

pub fn stop(running: Running, mut shards: Vec<Shard>) -> Ended {
    for shard in &mut shards {
        shard.ends.to_log.push(ToLog::Stop).unwrap();
        shard.ends.to_log.ring();
    }
    for shard in &mut shards {
        shard.wait("stopped", |shard| shard.stopped);
    }
    running.join()
}

pub fn message(of: u64, seq: u64, id: u64, ordinal: u64, content: &str) -> Record {
    let body = MessageBody {
        id: MessageId(id),
        ordinal,
        sender: Profile::nameless(user(1)).into(),
        content: content.to_owned(),
        parent: None,
        client_msg_id: None,
    };
    let event = Event { seq: Seq(seq), at: Wall(seq), body: EventBody::Message(body) };
    Record::Event { conversation: conversation(of), event: Arc::new(event) }
}
