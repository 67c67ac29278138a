//! Pages of the past from a store that was filled by an import, and sled beside it.

use std::cell::LazyCell;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use loquat::mailbox::Doorbell;
use loquat::model::{
    Anchor, ConversationId, DirectoryChange, Event, EventBody, HistoryQuery, MessageBody,
    MessageId, Profile, Seq, UserId, Wall,
};
use loquat::node::journal::record;
use loquat::node::ports::{FromLog, Record, ToLog};
use loquat::store::{
    Line, LineMessage, ReadHandle, Running, ShardEnds, ShardPorts, Store, StoreSettings,
};

const MESSAGES: u64 = 200_000;
const PAGE: u32 = 50;
const CONTENT: &str = "Shall we meet at ten? I will bring the drafts and the coffee too";
/// First bytes of the keys of pages (docs/store.md).
const PAGE_KIND: &[u8] = b"P";
/// An odd step that visits every place before it comes back to one.
const STEP: u64 = 7_919 * 13;

/// A store with one long conversation, and what sled alone is asked for.
struct Filled {
    read: ReadHandle,
    /// The store's own tree, copied: keys of pages, and their values.
    pages: sled::Db,
    page_keys: Vec<sled::IVec>,
    /// One key a message.
    plain: sled::Db,
    _directory: tempfile::TempDir,
}

impl Filled {
    fn new() -> Filled {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store");
        fill(&path);
        let copy = directory.path().join("copy");
        fs::create_dir(&copy).expect("a directory");
        for entry in fs::read_dir(path.join("pages")).expect("pages") {
            let entry = entry.expect("an entry");
            if entry.path().is_file() {
                fs::copy(entry.path(), copy.join(entry.file_name())).expect("a copy");
            }
        }
        let opened = Store::open(&path, StoreSettings::default()).expect("the store");
        let pages = open_sled(&copy);
        let page_keys: Vec<_> =
            pages.scan_prefix(PAGE_KIND).keys().collect::<Result<_, _>>().expect("keys");
        let plain = open_sled(&directory.path().join("plain"));
        for id in 1..=MESSAGES {
            let value = record::to_bytes(&stored(id)).expect("a record");
            plain.insert(id.to_be_bytes(), value).expect("an insert");
        }
        Filled { read: opened.read_handle(), pages, page_keys, plain, _directory: directory }
    }

    /// The ids of a page that ends before `id`.
    fn page(&self, id: u64) -> Vec<MessageId> {
        let query = HistoryQuery { anchor: Anchor::Before(MessageId(id)), limit: PAGE };
        let page = self.read.messages(&conversation(), query).expect("a page");
        page.messages.iter().map(|message| message.id).collect()
    }

    fn range(&self, id: u64) -> Vec<MessageId> {
        let from = id.saturating_sub(u64::from(PAGE)).to_be_bytes();
        let pairs = self.plain.range(from..id.to_be_bytes());
        let read = pairs.map(|pair| record::decode(&pair.expect("a pair").1).expect("a record"));
        read.filter_map(|record| match record {
            Record::Event { event, .. } => event.text_of(),
            _ => None,
        })
        .collect()
    }

    fn value(&self, at: u64) -> usize {
        let key = &self.page_keys[at as usize % self.page_keys.len()];
        self.pages.get(key).expect("a read").map_or(0, |value| value.len())
    }
}

fn conversation() -> ConversationId {
    ConversationId::from_number(7).expect("a small number")
}

fn sender(id: u64) -> Profile {
    Profile {
        email: "user@example.com".to_owned(),
        first_name: "John".to_owned(),
        last_name: "Doe".to_owned(),
        ..Profile::nameless(UserId::from_number(id % 50).expect("a small number"))
    }
}

fn stored(id: u64) -> Record {
    let body = MessageBody {
        id: MessageId(id),
        ordinal: id - 1,
        sender: sender(id).into(),
        content: CONTENT.to_owned(),
        parent: None,
        client_msg_id: None,
    };
    let event = Event { seq: Seq(id), at: Wall(id), body: EventBody::Message(body) };
    Record::Event { conversation: conversation(), event: Arc::new(event) }
}

fn open_sled(path: &Path) -> sled::Db {
    let config = sled::Config::new().path(path).cache_capacity(64 << 20).segment_size(8 << 20);
    config.flush_every_ms(None).open().expect("sled")
}

/// A store in `path` with the conversation, whole and closed again.
fn fill(path: &Path) {
    let opened = Store::open(path, StoreSettings::default()).expect("a new store");
    let ports = vec![ShardPorts { doorbell: Arc::new(Doorbell::new(|| {})) }];
    let (running, ends) = opened.start(ports, Arc::new(|why| panic!("{why}"))).expect("threads");
    let mut ends: ShardEnds = ends.into_iter().next().expect("one shard");
    import(&running, &mut ends);
    ends.to_log.push(ToLog::Stop).expect("room");
    ends.to_log.ring();
    until(|| ends.from_log.pop() == Some(FromLog::Stopped));
    running.join();
}

fn import(running: &Running, ends: &mut ShardEnds) {
    let transfers = running.transfers();
    let mut staging = transfers.stage(conversation()).expect("a staged import");
    for id in 1..=MESSAGES {
        let message = LineMessage {
            id: MessageId(id),
            at: Wall(id),
            sender: sender(id),
            parent: None,
            content: Some(CONTENT.to_owned()),
            edited_at: None,
        };
        let line = Line::Message(Box::new(message));
        staging.take(id as u32, line).expect("a good line");
    }
    let mut staged = staging.finish(Some(Wall(1)), Wall(MESSAGES + 1)).expect("a whole import");
    staged.keep();
    let record = Record::Directory(DirectoryChange::ConversationImported(staged.import.clone()));
    ends.to_log.push(ToLog::Append { lsn: 1, record }).expect("room");
    ends.to_log.ring();
    until(|| matches!(ends.from_log.pop(), Some(FromLog::Durable { through: 1, .. })));
    until(|| transfers.importing(&conversation()).is_none());
}

fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        thread::sleep(Duration::from_millis(1));
    }
}

pub fn page_reads(c: &mut Criterion) {
    let filled = LazyCell::new(Filled::new);
    let mut group = c.benchmark_group("page_read");
    group.throughput(Throughput::Elements(u64::from(PAGE)));
    let mut at = 0;
    let mut next = || {
        at = (at + STEP) % (MESSAGES - u64::from(PAGE));
        at + u64::from(PAGE) + 1
    };
    group.bench_function("loquat", |bench| {
        let id = next();
        let page = filled.page(id);
        // One more than was asked for says that there are more.
        assert_eq!((page.len(), page.last()), (51, Some(&MessageId(id - 1))));
        assert_eq!(page[1..], filled.range(id));
        bench.iter(|| black_box(filled.page(next())));
    });
    group.bench_function("sled_range", |bench| bench.iter(|| black_box(filled.range(next()))));
    group.bench_function("sled_get", |bench| {
        assert!(filled.page_keys.len() as u64 * 10 < MESSAGES, "pages of many messages");
        assert!(filled.value(next()) > 0, "a page");
        bench.iter(|| black_box(filled.value(next())));
    });
    group.finish();
}
