//! Pages of history at random depth: how long one takes when there is much that could be asked for.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::crowd::{Crowd, Outgoing, Role};
use crate::fail::Fail;
use crate::flood::{Flood, Pace, Shape};
use crate::frames::{is_kind, text};
use crate::outcome::{Latency, Reading};
use crate::seats::{seat, seats};
use crate::server::Server;

const PAGE: usize = 50;
/// Every so many messages, one is remembered to be asked for.
const SAMPLE_EVERY: u32 = 61;
const WARM_UP: u64 = 200;
const LOOK: Duration = Duration::from_secs(1);

/// How much is stored, and how many ask for it.
#[derive(Debug, Clone, Copy)]
pub struct Archive {
    pub rooms: u32,
    pub messages_per_room: u32,
    pub readers: u32,
    /// Slow enough for the pages to be built on the same core meanwhile.
    pub stored_per_second: f64,
}

pub fn measure(
    server: &Server,
    archive: Archive,
    how_long: Duration,
) -> Result<Vec<Reading>, Fail> {
    let samples = fill(server, archive)?;
    // Until the pages of what was stored are built, as far as they will be.
    server.wait_until_it_rests(LOOK);
    let seats: Vec<_> = (0..archive.readers)
        .map(|reader| seat(reader % archive.rooms, 1_000_000 + reader, "v=2&"))
        .collect();
    let mut crowd = Crowd::new()?;
    let mut asking = Asking::new(archive, samples)?;
    crowd.connect(server.address, &seats, &mut asking)?;
    for reader in 0..archive.readers {
        asking.ask(reader, crowd.now_ns(), &mut crowd.outgoing);
    }
    let (before, begun) = (server.usage(), Instant::now());
    while begun.elapsed() < how_long {
        crowd.pump(Duration::ZERO, &mut asking)?;
    }
    let after = server.usage();
    asking.check()?;
    let latency = Latency::of(&asking.latency);
    let cpu_us = (after.cpu - before.cpu).as_secs_f64() * 1e6 / asking.pages.max(1) as f64;
    Ok(vec![
        Reading::new("page p50", "ms", latency.p50_ms),
        Reading::new("page p99", "ms", latency.p99_ms),
        Reading::new("pages", "/s", asking.pages as f64 / begun.elapsed().as_secs_f64()),
        Reading::new("CPU per page", "µs", cpu_us),
        Reading::new("own memory", "MiB", after.own_bytes as f64 / 1024.0 / 1024.0),
    ])
}

/// Stores the messages; gives some of their ids, by room.
fn fill(server: &Server, archive: Archive) -> Result<Vec<Vec<u64>>, Fail> {
    let shape = Shape { rooms: archive.rooms, members: 1, senders: 1 };
    let flood = Flood::new(shape, Pace::Open { per_second: archive.stored_per_second })?;
    let mut crowd = Crowd::new()?;
    let mut flood = flood.noting_ids(SAMPLE_EVERY);
    crowd.connect(server.address, &seats(shape, ""), &mut flood)?;
    flood.fill(&mut crowd, archive.messages_per_room)?;
    Ok(flood.ids())
}

struct Asking {
    rooms: u32,
    /// Some ids of each room.
    samples: Vec<Vec<u64>>,
    asked_ns: Vec<u64>,
    random: u64,
    pages: u64,
    short: u64,
    latency: Histogram<u64>,
}

impl Asking {
    fn new(archive: Archive, samples: Vec<Vec<u64>>) -> Result<Asking, Fail> {
        let latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)
            .map_err(|error| Fail::new(format!("a histogram: {error}")))?;
        Ok(Asking {
            rooms: archive.rooms,
            samples,
            asked_ns: vec![0; archive.readers as usize],
            random: 0x9e37_79b9_7f4a_7c15,
            pages: 0,
            short: 0,
            latency,
        })
    }

    fn ask(&mut self, reader: u32, now_ns: u64, say: &mut Outgoing) {
        // xorshift64: any depth is as likely as any other.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let ids = &self.samples[(reader % self.rooms) as usize];
        let before = ids[self.random as usize % ids.len()];
        self.asked_ns[reader as usize] = now_ns;
        let question =
            format!(r#"{{"type":"history","before":{before},"limit":{PAGE},"ref":"h"}}"#);
        say.push(reader, text(&question));
    }

    fn check(&self) -> Result<(), Fail> {
        match (self.pages, self.short) {
            (0, _) => Err(Fail::new("no page came")),
            (_, 0) => Ok(()),
            (_, short) => Err(Fail::new(format!("{short} pages had not {PAGE} messages"))),
        }
    }
}

impl Role for Asking {
    fn hear(&mut self, client: u32, text: &[u8], now_ns: u64, say: &mut Outgoing) {
        if !is_kind(text, "history") {
            // An error is not a page, and nothing else comes in answer.
            self.short += u64::from(is_kind(text, "error"));
            return;
        }
        self.pages += 1;
        if self.pages > WARM_UP {
            self.latency.saturating_record(now_ns - self.asked_ns[client as usize]);
        }
        let messages = memchr::memmem::find_iter(text, br#""reply_count":"#).count();
        self.short += u64::from(messages != PAGE);
        self.ask(client, now_ns, say);
    }
}
