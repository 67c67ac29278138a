//! Rooms full of clients of which some send: in a closed loop (the next message when one's own has come
//! back) or in an open one (at fixed times, whatever comes back; latency counts from the time at which a
//! message was meant to be sent, so a server that stalls cannot hide it).
//!
//! Every delivery is checked: all members of a room get the same messages in the same order, each
//! sender's in the order of sending, and none is missing at the end.

use std::io::Write as _;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::crowd::{Crowd, Outgoing, Role};
use crate::fail::Fail;
use crate::frames::{Reader, Stamp, is_kind, message};
use crate::outcome::{Latency, Outcome};
use crate::server::Server;

/// How long the last deliveries may take.
const DRAIN_MAX: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(20);
const FILL_TICK: Duration = Duration::from_millis(1);
/// How long a server is looked at for whether it rests.
const REST_LOOK: Duration = Duration::from_millis(20);

/// Who is there, and who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub rooms: u32,
    pub members: u32,
    pub senders: u32,
}

impl Shape {
    pub fn clients(self) -> u32 {
        self.rooms * self.members
    }

    pub fn room_of(self, client: u32) -> u32 {
        client / self.members
    }

    fn sends(self, client: u32) -> bool {
        client % self.members < self.senders
    }
}

/// When messages are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each sender has so many messages under way.
    Closed { in_flight: u32 },
    /// All senders together send so many a second.
    Open { per_second: f64 },
}

/// How long a slice is.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub warm_up: Duration,
    pub measured: Duration,
}

pub struct Flood {
    shape: Shape,
    pace: Pace,
    reader: Reader,
    heard: Vec<Heard>,
    /// By client: how many it sent.
    sent: Vec<u32>,
    /// By client, what its room's first member heard of it last.
    last_of: Vec<u32>,
    stray: u64,
    disorder: u64,
    deliveries: u64,
    own_back: u64,
    is_measuring: bool,
    is_over: bool,
    refusal: Option<String>,
    /// A sender sends no more than this.
    sent_max: u32,
    latency: Histogram<u64>,
    outcome: Outcome,
    /// Every so many messages, the id of one is kept; 0: none.
    note_every: u32,
    ids: Vec<Vec<u64>>,
}

/// What one member has heard, as a number and a digest of the order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Heard {
    count: u32,
    digest: u64,
}

impl Heard {
    fn add(&mut self, stamp: Stamp) {
        // FNV-1a's step with a 64-bit word: order matters.
        let word = u64::from(stamp.sender) << 32 | u64::from(stamp.number);
        self.digest = (self.digest ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
        self.count += 1;
    }
}

impl Flood {
    pub fn new(shape: Shape, pace: Pace) -> Result<Flood, Fail> {
        let clients = shape.clients() as usize;
        let latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)
            .map_err(|error| Fail::new(format!("a histogram: {error}")))?;
        Ok(Flood {
            shape,
            pace,
            reader: Reader::default(),
            heard: vec![Heard::default(); clients],
            sent: vec![0; clients],
            last_of: vec![0; clients],
            stray: 0,
            disorder: 0,
            deliveries: 0,
            own_back: 0,
            is_measuring: false,
            is_over: false,
            refusal: None,
            sent_max: u32::MAX,
            latency,
            outcome: Outcome::default(),
            note_every: 0,
            ids: vec![Vec::new(); shape.rooms as usize],
        })
    }

    /// Keeps the id of every so-many-th message of a sender, but not of its first ones.
    pub fn noting_ids(mut self, every: u32) -> Flood {
        self.note_every = every;
        self
    }

    /// The ids that were kept, by room.
    pub fn ids(self) -> Vec<Vec<u64>> {
        self.ids
    }

    /// One slice: warms up, measures, and waits until everything sent has come to everybody and the server has
    /// done what it put off. All of that counts as its work; only latency is measured without the warm-up.
    pub fn slice(&mut self, crowd: &mut Crowd, server: &Server, span: Span) -> Result<(), Fail> {
        let (usage, begun) = (server.usage(), Instant::now());
        let (deliveries, messages) = (self.deliveries, self.own_back);
        self.is_over = false;
        self.begin(crowd);
        let mut schedule = Schedule::new(self.shape, self.pace, crowd.now_ns());
        self.go_on(crowd, &mut schedule, span.warm_up)?;
        self.is_measuring = true;
        self.go_on(crowd, &mut schedule, span.measured)?;
        self.is_measuring = false;
        self.drain(crowd)?;
        let own_bytes = server.usage().own_bytes;
        let seconds = begun.elapsed().as_secs_f64();
        server.wait_until_it_rests(REST_LOOK);
        self.check()?;
        let sum = &mut self.outcome;
        sum.deliveries += self.deliveries - deliveries;
        sum.messages += self.own_back - messages;
        sum.seconds += seconds;
        sum.cpu_ns += (server.usage().cpu - usage.cpu).as_nanos() as u64;
        sum.own_bytes = sum.own_bytes.max(own_bytes);
        Ok(())
    }

    /// Forgets the slices so far.
    pub fn forget(&mut self) {
        self.outcome = Outcome::default();
        self.latency.reset();
    }

    /// What all slices have measured.
    pub fn outcome(&self) -> Outcome {
        Outcome { latency: Latency::of(&self.latency), ..self.outcome }
    }

    fn go_on(
        &mut self,
        crowd: &mut Crowd,
        schedule: &mut Schedule,
        how_long: Duration,
    ) -> Result<(), Fail> {
        let begun = Instant::now();
        let mut progress = Progress::new(self.deliveries);
        while begun.elapsed() < how_long {
            while let Some((client, at_ns)) = schedule.next_due(crowd.now_ns()) {
                self.say(client, at_ns, &mut crowd.outgoing);
            }
            crowd.pump(Duration::ZERO, self)?;
            self.fail_if_refused()?;
            progress.show(self.deliveries);
        }
        progress.clear();
        Ok(())
    }

    /// No limit of a server is meant to be reached here.
    fn fail_if_refused(&self) -> Result<(), Fail> {
        match &self.refusal {
            Some(refusal) => Err(Fail::new(format!("the server refused a message: {refusal}"))),
            None => Ok(()),
        }
    }

    fn stamp(&self, client: u32, at_ns: u64) -> Stamp {
        let number = self.sent[client as usize];
        Stamp { room: self.shape.room_of(client), sender: client, number, at_ns }
    }

    fn say(&mut self, client: u32, at_ns: u64, outgoing: &mut Outgoing) {
        self.sent[client as usize] += 1;
        outgoing.push(client, message(self.stamp(client, at_ns)));
    }

    /// Sends until every sender has sent `each`, without measuring.
    pub fn fill(&mut self, crowd: &mut Crowd, each: u32) -> Result<(), Fail> {
        self.sent_max = each;
        self.begin(crowd);
        let mut schedule = Schedule::new(self.shape, self.pace, crowd.now_ns());
        let mut progress = Progress::new(self.deliveries);
        while self.own_back < u64::from(each) * u64::from(self.shape.rooms * self.shape.senders) {
            while let Some((client, at_ns)) = schedule.next_due(crowd.now_ns()) {
                if self.sent[client as usize] < each {
                    self.say(client, at_ns, &mut crowd.outgoing);
                }
            }
            crowd.pump(FILL_TICK, self)?;
            self.fail_if_refused()?;
            progress.show(self.deliveries);
        }
        progress.clear();
        self.drain(crowd)?;
        self.check()
    }

    fn begin(&mut self, crowd: &mut Crowd) {
        let Pace::Closed { in_flight } = self.pace else { return };
        for client in (0..self.shape.clients()).filter(|&client| self.shape.sends(client)) {
            for _ in 0..in_flight.min(self.sent_max) {
                self.sent[client as usize] += 1;
                let stamp = self.stamp(client, crowd.now_ns());
                crowd.outgoing.push(client, message(stamp));
            }
        }
    }

    /// Nobody sends any more: what is under way arrives.
    fn drain(&mut self, crowd: &mut Crowd) -> Result<(), Fail> {
        self.is_over = true;
        let begun = Instant::now();
        while self.missing() > 0 && begun.elapsed() < DRAIN_MAX {
            crowd.pump(TICK, self)?;
        }
        Ok(())
    }

    fn sent_in(&self, room: u32) -> u32 {
        let first = (room * self.shape.members) as usize;
        self.sent[first..first + self.shape.members as usize].iter().sum()
    }

    fn missing(&self) -> u64 {
        let due = |room| u64::from(self.sent_in(room)) * u64::from(self.shape.members);
        let due: u64 = (0..self.shape.rooms).map(due).sum();
        due.saturating_sub(self.deliveries)
    }

    fn check(&self) -> Result<(), Fail> {
        let problem = |what: String| Err(Fail::new(format!("the server failed the check: {what}")));
        if self.stray + self.disorder > 0 {
            return problem(format!(
                "{} deliveries to a wrong room, {} out of a sender's order",
                self.stray, self.disorder
            ));
        }
        for room in 0..self.shape.rooms {
            let first = (room * self.shape.members) as usize;
            let members = &self.heard[first..first + self.shape.members as usize];
            let sent = self.sent_in(room);
            if let Some(member) = members.iter().find(|member| member.count != sent) {
                return problem(format!("room {room}: {sent} sent, {} heard", member.count));
            }
            if members.iter().any(|member| *member != members[0]) {
                return problem(format!("room {room}: two members heard different orders"));
            }
        }
        Ok(())
    }
}

impl Role for Flood {
    fn hear(&mut self, client: u32, text: &[u8], now_ns: u64, say: &mut Outgoing) {
        let Some(stamp) = self.reader.stamp(text) else {
            if is_kind(text, "error") {
                self.refusal = Some(String::from_utf8_lossy(text).into_owned());
            }
            return;
        };
        if stamp.room != self.shape.room_of(client) || stamp.sender as usize >= self.sent.len() {
            self.stray += 1;
            return;
        }
        self.deliveries += 1;
        self.heard[client as usize].add(stamp);
        if self.is_measuring {
            self.latency.saturating_record(now_ns.saturating_sub(stamp.at_ns));
        }
        if client.is_multiple_of(self.shape.members) {
            let last = &mut self.last_of[stamp.sender as usize];
            self.disorder += u64::from(stamp.number != *last + 1);
            *last = stamp.number;
        }
        if self.note_every > 0
            && stamp.number % self.note_every == 0
            && let Some(id) = id_of(text)
        {
            self.ids[stamp.room as usize].push(id);
        }
        if stamp.sender == client {
            self.own_back += 1;
            let goes_on = !self.is_over && self.sent[client as usize] < self.sent_max;
            if goes_on && matches!(self.pace, Pace::Closed { .. }) {
                self.say(client, now_ns, say);
            }
        }
    }
}

/// The message's id in an event.
fn id_of(text: &[u8]) -> Option<u64> {
    let key = br#""message":{"id":"#;
    let from = memchr::memmem::find(text, key)? + key.len();
    let digits = text[from..].iter().take_while(|digit| digit.is_ascii_digit());
    Some(digits.fold(0, |id, digit| id * 10 + u64::from(digit - b'0')))
}

/// Fixed times of an open loop, the senders in turn.
struct Schedule {
    senders: Vec<u32>,
    interval_ns: f64,
    begun_ns: u64,
    next: u64,
}

impl Schedule {
    fn new(shape: Shape, pace: Pace, now_ns: u64) -> Schedule {
        let mut senders: Vec<u32> =
            (0..shape.clients()).filter(|&client| shape.sends(client)).collect();
        // Room after room rather than all senders of one room in a row.
        senders.sort_by_key(|client| client % shape.members);
        let interval_ns = match pace {
            Pace::Open { per_second } => 1e9 / per_second,
            Pace::Closed { .. } => f64::INFINITY,
        };
        Schedule { senders, interval_ns, begun_ns: now_ns, next: 1 }
    }

    fn due_ns(&self) -> u64 {
        // The cast saturates: never, for a closed loop.
        (self.begun_ns as f64 + self.interval_ns * self.next as f64) as u64
    }

    fn next_due(&mut self, now_ns: u64) -> Option<(u32, u64)> {
        let at_ns = self.due_ns();
        if at_ns > now_ns {
            return None;
        }
        let sender = self.senders[self.next as usize % self.senders.len()];
        self.next += 1;
        Some((sender, at_ns))
    }
}

/// A line that says how it goes, once a second.
struct Progress {
    said: Instant,
    before: u64,
    has_said: bool,
}

impl Progress {
    fn new(deliveries: u64) -> Progress {
        Progress { said: Instant::now(), before: deliveries, has_said: false }
    }

    fn show(&mut self, deliveries: u64) {
        let since = self.said.elapsed();
        if since < Duration::from_secs(1) {
            return;
        }
        let rate = (deliveries - self.before) as f64 / since.as_secs_f64();
        let mut out = std::io::stderr();
        let _ = write!(out, "\r\x1b[K  {rate:>12.0} deliveries/s");
        let _ = out.flush();
        (self.said, self.before, self.has_said) = (Instant::now(), deliveries, true);
    }

    fn clear(&self) {
        if self.has_said {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
