//! The store on real files: what was told durable is there after every kind of end.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loquat::mailbox::Doorbell;
use loquat::model::*;
use loquat::node::journal::{Fsync, JournalSettings};
use loquat::node::ports::{FromLog, LoadAnswer, LoadQuery, LoadRequest, LoadResult, Record, ToLog};
use loquat::store::{Ended, Running, ShardEnds, ShardPorts, Store, StoreSettings};

const PATIENCE: Duration = Duration::from_secs(30);

fn settings() -> StoreSettings {
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

fn conversation(number: u64) -> ConversationId {
    ConversationId::from_number(number).unwrap()
}

fn user(number: u64) -> UserId {
    UserId::from_number(number).unwrap()
}

/// One shard's side of the store, driven by hand.
struct Shard {
    ends: ShardEnds,
    lsn: u64,
    durable: u64,
    sealed: u64,
    accepting: bool,
    stopped: bool,
    ids: Vec<std::ops::Range<u64>>,
}

impl Shard {
    fn append(&mut self, record: Record) -> u64 {
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

    fn take(&mut self) {
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
                FromLog::Stopped => self.stopped = true,
            }
        }
    }

    fn wait(&mut self, what: &str, until: impl Fn(&Shard) -> bool) {
        let begun = Instant::now();
        while !until(self) {
            self.take();
            std::thread::yield_now();
            assert!(begun.elapsed() < PATIENCE, "waited for {what}");
        }
    }

    fn wait_durable(&mut self) {
        self.wait("durable", |shard| shard.durable == shard.lsn);
    }

    fn load(&mut self, conversation: ConversationId, query: LoadQuery) -> LoadResult {
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

fn start(directory: &Path, settings: StoreSettings, shards: usize) -> (Running, Vec<Shard>) {
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
        ids: Vec::new(),
    };
    (running, ends.into_iter().map(shard).collect())
}

fn stop(running: Running, mut shards: Vec<Shard>) -> Ended {
    for shard in &mut shards {
        shard.ends.to_log.push(ToLog::Stop).unwrap();
        shard.ends.to_log.ring();
    }
    for shard in &mut shards {
        shard.wait("stopped", |shard| shard.stopped);
    }
    running.join()
}

fn message(of: u64, seq: u64, id: u64, ordinal: u64, content: &str) -> Record {
    let body = MessageBody {
        id: MessageId(id),
        ordinal,
        sender: Profile::nameless(user(1)),
        content: content.to_owned(),
        parent: None,
        client_msg_id: None,
    };
    let event = Event { seq: Seq(seq), at: Wall(seq), body: EventBody::Message(body) };
    Record::Event { conversation: conversation(of), event: Arc::new(event) }
}

#[test]
fn what_was_durable_is_in_pages_after_a_clean_stop() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 2);
    for seq in 1..=3_000 {
        shards[(seq % 2) as usize].append(message(
            seq % 2,
            seq.div_ceil(2),
            seq,
            seq.div_ceil(2) - 1,
            "hello there",
        ));
    }
    shards.iter_mut().for_each(Shard::wait_durable);
    assert_eq!(stop(running, shards), Ended::Sealed);

    let (running, mut shards) = start(directory.path(), settings(), 1);
    let read = running.read_handle();
    for of in [0, 1] {
        let header = read.header(&conversation(of)).unwrap();
        assert_eq!((header.last_seq, header.messages), (Seq(1_500), 1_500));
        let events = read.events(&conversation(of), Seq(0), usize::MAX).unwrap();
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == Seq(seq)));
        assert_eq!(events.len(), 1_500);
    }
    let LoadResult::State(Loaded::Recent(recent)) =
        shards[0].load(conversation(1), LoadQuery::State(LoadKey::Recent(10)))
    else {
        panic!("not the recent ones")
    };
    assert_eq!(
        recent.iter().map(|state| state.seq.0).collect::<Vec<_>>(),
        (1_491..=1_500).collect::<Vec<_>>()
    );
    shards[0].wait("a lease", |shard| !shard.ids.is_empty());
    assert!(shards[0].ids[0].start > 2 * 65_536, "{:?}", shards[0].ids);
    stop(running, shards);
}
