//! One core with full rooms, driven by hand as the reactor drives it: no sockets, no log, no readers. Time
//! stands still, so no ping and no timeout comes in between.
//!
//! Invariant: between two calls all outboxes are empty and every record is durable, but for those of
//! [`Hall::say`].

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use loquat::auth::{Algorithm, Key, Keys, NewToken, Rules, Verifier, issue};
use loquat::chat::RateLimits;
use loquat::limits::Limits;
use loquat::mailbox::{Doorbell, Receiver, Sender, ring};
use loquat::model::{
    Access, Admission, Epoch, FirstSends, Header, LoadKey, Loaded, Mono, Now, UserId, Wall,
};
use loquat::node::admission::{Admissions, Caps};
use loquat::node::core::{Core, CoreSettings, EchoEndpoint, RejectStyle, Reloadable};
use loquat::node::guard::Buckets;
use loquat::node::links::{AdminOrder, Links};
use loquat::node::placement::Placement;
use loquat::node::ports::{FromLog, LoadAnswer, LoadQuery, LoadRequest, LoadResult, ToLog};
use loquat::node::shard::ShardSettings;
use loquat::wire::frame::text_head;
use loquat::wire::upgrade::Listening;

pub const CONTENT: &str = "Shall we meet at ten? I will bring the drafts and the coffee too";

const SECRET: &str = "only-for-benches-4fG7kQ2mZx9Lw0Rb8TnYp6Hc3GdEsVuA1iOjXe5KrNqBtM";
const NOW: Now = Now { mono: Mono(1_000_000), wall: Wall(1_764_153_000_000) };
const RING_SLOTS: usize = 1 << 15;
const LEASE_IDS: u64 = 1 << 20;
const MESSAGES_AT_ONCE: usize = 100;

pub struct Hall {
    core: Core<()>,
    to_log: Receiver<ToLog>,
    from_log: Sender<FromLog>,
    requests: Receiver<LoadRequest>,
    answers: Sender<LoadAnswer>,
    _admin: Sender<AdminOrder>,
    key: Key,
    members: usize,
    /// The socket of each room that speaks.
    speakers: Vec<u32>,
    /// Another socket of the first room.
    reader: u32,
    lsn: u64,
    ids: u64,
    segment: u64,
    said: u64,
}

impl Hall {
    pub fn new(rooms: usize, members: usize) -> Hall {
        let key = Key::new(Algorithm::Hs256, SECRET).expect("a secret");
        let bell = Arc::new(Doorbell::new(|| {}));
        let (log_tx, to_log) = ring(RING_SLOTS, bell.clone());
        let (from_log, log_rx) = ring(RING_SLOTS, bell.clone());
        let (request_tx, requests) = ring(RING_SLOTS, bell.clone());
        let (answers, answer_rx) = ring(RING_SLOTS, bell.clone());
        let (admin, admin_rx) = ring(1, bell);
        let links = Links {
            peers: vec![None],
            to_log: log_tx,
            from_log: log_rx,
            to_readers: request_tx,
            from_readers: answer_rx,
            admin: admin_rx,
        };
        let limits = Limits { ping_after_ms: 1 << 40, ..Limits::DEFAULT };
        let keys = Keys::new(vec![key.clone()]).expect("one key");
        let verifier = Verifier::new(keys, Rules::default()).expect("plain rules");
        let admissions = Admissions::new(&limits, Caps::Off);
        let settings = settings(&limits);
        let reloadable = Arc::new(Reloadable { limits, verifier, allowed_origins: Vec::new() });
        let mut hall = Hall {
            core: Core::new(settings, reloadable, admissions, links),
            to_log,
            from_log,
            requests,
            answers,
            _admin: admin,
            key,
            members,
            speakers: Vec::new(),
            reader: 0,
            lsn: 0,
            ids: 1,
            segment: 1,
            said: 0,
        };
        hall.settle();
        for room in 0..rooms {
            hall.fill(room as u64 + 1);
        }
        hall
    }

    fn fill(&mut self, room: u64) {
        for member in 0..self.members {
            let slot = self.enter(room, member as u64 + 1);
            match (room, member) {
                (_, 0) => self.speakers.push(slot),
                (1, 1) => self.reader = slot,
                _ => {}
            }
        }
    }

    fn enter(&mut self, room: u64, user: u64) -> u32 {
        let user = UserId::from_number(user).expect("a small number");
        let rules = Rules::default();
        let claims = NewToken {
            email: Some("user@example.com"),
            first_name: Some("John"),
            last_name: Some("Doe"),
            ..NewToken::new(&user, 3_600, &rules)
        };
        let token = issue(&self.key, &claims, NOW.wall, "0123456789abcdef").expect("a token");
        let head = format!(
            "GET /ws/chat/{room}/?token={token}&v=2 HTTP/1.1\r\nHost: chat.example.com\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let slot = self.core.accept(address, NOW).expect("room for a socket");
        self.core.received(slot, &mut head.into_bytes(), NOW);
        self.settle();
        slot
    }

    /// Everything happens that can happen, and everything is sent.
    fn settle(&mut self) {
        loop {
            self.core.turn(NOW);
            let had_news = self.answer();
            if self.take_records() > 0 {
                self.durable();
            } else if !had_news {
                break;
            }
        }
        self.empty();
    }

    /// Answers the readers' part: nothing is known of anything.
    fn answer(&mut self) -> bool {
        let mut had_some = false;
        while let Some(LoadRequest { ticket, query, .. }) = self.requests.pop() {
            had_some = true;
            let answer = match query {
                LoadQuery::Admission(_) => LoadResult::Admission(Box::new(nobody_known())),
                LoadQuery::State(LoadKey::FirstSends(_)) => {
                    let none = FirstSends { places: Vec::new(), is_last: true };
                    LoadResult::State(Loaded::FirstSends(none))
                }
                LoadQuery::State(LoadKey::FirstSend { .. }) => {
                    LoadResult::State(Loaded::FirstSend(None))
                }
                other => unreachable!("nothing here asks for {other:?}"),
            };
            assert!(self.answers.push(LoadAnswer { ticket, answer }).is_ok());
        }
        had_some
    }

    /// Takes what the core gave to the log; how many records that was.
    fn take_records(&mut self) -> usize {
        let mut records = 0;
        while let Some(mail) = self.to_log.pop() {
            match mail {
                ToLog::Append { lsn, .. } => {
                    self.lsn = lsn;
                    records += 1;
                }
                ToLog::Lease => {
                    let ids = self.ids..self.ids + LEASE_IDS;
                    self.ids = ids.end;
                    assert!(self.from_log.push(FromLog::Lease { ids }).is_ok());
                    self.core.turn(NOW);
                }
                ToLog::Stop => unreachable!("nobody stops it"),
            }
        }
        records
    }

    /// In each of the first `rooms` rooms somebody says so many things, which are not durable yet.
    pub fn say(&mut self, rooms: usize, events: usize) {
        for room in 0..rooms {
            for _ in 0..events {
                self.said += 1;
                let text = format!(
                    r#"{{"type":"chat_message","content":"{CONTENT}","client_msg_id":"c-{}"}}"#,
                    self.said
                );
                self.core.received(self.speakers[room], &mut masked(&text), NOW);
            }
        }
        loop {
            self.core.work(NOW);
            if !self.answer() {
                break;
            }
        }
        self.core.commit();
        assert_eq!(self.take_records(), rooms * events, "one commit takes all of it");
        self.empty();
    }

    /// So many messages are said in the first room and are durable; the receipts of all of them, as frames.
    pub fn receipts(&mut self, messages: usize) -> Vec<u8> {
        let mut left = messages;
        while left > 0 {
            // More would be refused: each waits for the store to say that it is no repetition.
            let now = left.min(MESSAGES_AT_ONCE);
            self.say(1, now);
            self.durable();
            self.empty();
            left -= now;
        }
        // The ids of one lease are used one after the other.
        let ids = self.said - messages as u64 + 1..=self.said;
        ids.flat_map(|id| masked(&format!(r#"{{"type":"read_receipt","message_id":{id}}}"#)))
            .collect()
    }

    /// The reader sends these frames.
    pub fn read(&mut self, frames: &mut [u8]) {
        self.core.received(self.reader, frames, NOW);
        self.core.turn(NOW);
    }

    /// The log says that everything is durable, and the core runs a turn.
    pub fn durable(&mut self) {
        let news = FromLog::Durable { through: self.lsn, segment: self.segment };
        assert!(self.from_log.push(news).is_ok());
        self.core.turn(NOW);
    }

    /// Sends everything; how many sockets got something, and how many bytes that was. What the core
    /// keeps of it until it is in pages goes, too.
    pub fn empty(&mut self) -> (usize, usize) {
        let (mut sockets, mut bytes) = (0, 0);
        while let Some(slot) = self.core.next_attended() {
            let before = bytes;
            while let Some(write) = self.core.take_write(slot) {
                let sent = write.slices().map(<[u8]>::len).sum();
                bytes += sent;
                self.core.wrote(slot, write, Some(sent), NOW);
            }
            sockets += usize::from(bytes > before);
        }
        assert!(self.from_log.push(FromLog::Sealed { segment: self.segment }).is_ok());
        self.segment += 1;
        self.core.turn(NOW);
        (sockets, bytes)
    }

    /// Every socket gets every event, and none gets more than that.
    pub fn check(&mut self, events: usize) {
        let rooms = self.speakers.len();
        self.say(rooms, events);
        self.durable();
        let (sockets, bytes) = self.empty();
        assert_eq!(sockets, rooms * self.members);
        let per_frame = bytes / (sockets * events);
        assert!((CONTENT.len()..600).contains(&per_frame), "{per_frame} bytes for each event");
    }
}

fn settings(limits: &Limits) -> CoreSettings {
    CoreSettings {
        index: 0,
        shard: ShardSettings {
            access: Access::Open,
            limits: limits.clone(),
            rate_limits: RateLimits::Off,
            offline_grace_ms: 0,
            history_on_connect: 0,
            epoch: Epoch(1),
            wide_threshold: usize::MAX,
        },
        buckets: Buckets::Off,
        trusted_proxies: Vec::new(),
        listening: Listening::Public,
        echo: EchoEndpoint::Absent,
        reject: RejectStyle::Close,
        max_session_ms: 1 << 40,
        placement: Placement { seed: 7, cores: 1 },
    }
}

fn nobody_known() -> Admission {
    Admission {
        conversation_exists: false,
        is_deleted: false,
        role: None,
        profile: None,
        revoked_before: None,
        header: Header::default(),
    }
}

/// A client's text frame.
fn masked(text: &str) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = Vec::new();
    text_head(&mut out, text.len());
    out[1] |= 0x80;
    out.extend_from_slice(&mask);
    out.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}
