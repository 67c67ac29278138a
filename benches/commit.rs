//! The store: what a group commit costs, and what a page of the past costs.
//!
//! `commit`: encode, write, fdatasync of 1, 10, 100, 1,000 records; in the same run a peer that puts the same
//! records into sled, one insert each, and flushes (with the fdatasync that makes it as durable, and without).
//!
//! `page_read`: 50 messages from a random place of a conversation of 200,000, as a reader thread finds them for
//! a `history` question, with everything laid over them that happened since (`loquat`). Beside it a raw get
//! of one of the values it reads (`sled_get`: a page of up to 64 KiB, not looked into), and what a store with one key a
//! message would do: a range of 50 values, each decoded (`sled_range`), nothing laid over.
//!
//! Put `TMPDIR` on the disk that is to be measured, not on a tmpfs.
//!
//! What the numbers do not say: the disk is the virtual one of the machine, and its fdatasync may be far cheaper than a
//! real drive's. Pages are read from sled's cache and the kernel's. Nobody writes meanwhile.

#[path = "commit/past.rs"]
mod past;

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use loquat::model::{
    ConversationId, Event, EventBody, MessageBody, MessageId, Mono, Now, Profile, Seq, UserId, Wall,
};
use loquat::node::journal::{
    Done, Effect, FileWork, Fsync, Journal, JournalSettings, JournalStart, record,
};
use loquat::node::ports::{FromLog, Record};

const SIZES: [u64; 4] = [1, 10, 100, 1_000];
const SEGMENT_BYTES: u64 = 64 << 20;

fn message(seq: u64) -> Record {
    let profile = Profile {
        email: "user@example.com".to_owned(),
        first_name: "John".to_owned(),
        last_name: "Doe".to_owned(),
        ..Profile::nameless(UserId::from_number(1).unwrap_or_else(|_| unreachable!("1 is an id")))
    };
    let body = MessageBody {
        id: MessageId(seq),
        ordinal: seq - 1,
        sender: profile.into(),
        content: "Hello, this is a message of a usual length, more or less.".to_owned(),
        parent: None,
        client_msg_id: Some("c-17".to_owned()),
    };
    let conversation =
        ConversationId::from_number(seq % 10).unwrap_or_else(|_| unreachable!("a digit is an id"));
    let event = Event { seq: Seq(seq), at: Wall(seq), body: EventBody::Message(body) };
    Record::Event { conversation, event: Arc::new(event) }
}

/// The journal on one preallocated file; a segment that is full begins again at its start.
struct Log {
    journal: Journal,
    file: File,
    lsn: u64,
    durable: u64,
}

impl Log {
    fn new(file: File, fsync: Fsync) -> Log {
        let settings = JournalSettings { fsync, ..JournalSettings::default() };
        let start =
            JournalStart { epoch: 1, next_segment: 1, next_commit: 1, leased_to: 0, salt: 3 };
        let mut log =
            Log { journal: Journal::new(settings, start, 1, now()), file, lsn: 0, durable: 0 };
        log.run();
        log
    }

    fn commit(&mut self, records: &[Record]) {
        for record in records {
            self.lsn += 1;
            self.journal.handle_append(0, self.lsn, record);
        }
        self.run();
    }

    fn run(&mut self) {
        self.journal.handle_turn(now());
        while let Some(effect) = self.journal.poll_effect() {
            let done = match effect {
                Effect::Files(FileWork::Create { file, .. }) => Done::Created { file },
                Effect::Files(FileWork::Write { offset, bytes, .. }) => {
                    self.file.write_all_at(&bytes, offset).expect("a write");
                    Done::Written { buffer: bytes }
                }
                Effect::Files(FileWork::Sync { .. } | FileWork::SyncAside { .. }) => {
                    self.file.sync_data().expect("a sync");
                    Done::Synced
                }
                Effect::Ended { segment, .. } => {
                    self.journal.handle_sealed(segment);
                    continue;
                }
                Effect::Fatal(why) => unreachable!("the journal stopped: {why}"),
                Effect::Publish { message, .. } => {
                    if let FromLog::Durable { through, .. } = message {
                        self.durable = through;
                    }
                    continue;
                }
                Effect::Directory { .. } | Effect::Marks { .. } => continue,
            };
            self.journal.handle_done(done);
        }
    }
}

fn now() -> Now {
    Now { mono: Mono(0), wall: Wall(1_700_000_000_000) }
}

fn commits(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("segment");
    std::fs::write(&path, vec![0; SEGMENT_BYTES as usize]).expect("room for a segment");
    let open = || OpenOptions::new().write(true).open(&path).expect("the segment");
    open().sync_all().expect("a sync");
    let tree = sled::Config::new()
        .path(directory.path().join("sled"))
        .flush_every_ms(None)
        .segment_size(8 << 20)
        .open()
        .expect("sled");
    let tree_file = File::open(directory.path().join("sled/db")).expect("sled's file");

    let mut group = criterion.benchmark_group("commit");
    for size in SIZES {
        let records: Vec<Record> = (1..=size).map(message).collect();
        group.throughput(Throughput::Elements(size));
        group.bench_with_input(BenchmarkId::new("encode", size), &records, |bench, records| {
            let mut out = Vec::new();
            bench.iter(|| {
                out.clear();
                for record in records {
                    record::encode(&record.into(), &mut out).expect("a record");
                }
                black_box(out.len())
            });
        });
        for (name, fsync) in [("journal_written", Fsync::Never), ("journal", Fsync::Commit)] {
            let mut log = Log::new(open(), fsync);
            log.commit(&records);
            assert_eq!(log.durable, size);
            group.bench_with_input(BenchmarkId::new(name, size), &records, |bench, records| {
                bench.iter(|| log.commit(records));
            });
        }
        let mut key = 0_u64;
        let mut insert = |records: &[Record]| {
            for record in records {
                key += 1;
                let value = record::to_bytes(record).expect("a record");
                tree.insert(key.to_be_bytes(), value).expect("an insert");
            }
            tree.flush().expect("a flush");
        };
        group.bench_with_input(BenchmarkId::new("sled_flush", size), &records, |bench, records| {
            bench.iter(|| insert(records));
        });
        group.bench_with_input(
            BenchmarkId::new("sled_synced", size),
            &records,
            |bench, records| {
                bench.iter(|| {
                    insert(records);
                    tree_file.sync_data().expect("a sync");
                });
            },
        );
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = commits, past::page_reads
}
criterion_main!(benches);
