//! The workloads, by their letters, and one run of each.

use std::path::Path;
use std::time::Duration;

use crate::crowd::{Crowd, Silent};
use crate::disk;
use crate::fail::{Context as _, Fail};
use crate::flood::{Flood, Pace, Shape, Span};
use crate::history::{self, Archive};
use crate::idle;
use crate::outcome::Reading;
use crate::resume::{self, Storm};
use crate::seats::seats;
use crate::server::{Server, Subject};

/// Into how many slices a round's time is cut; one more comes before them and does not count.
const SLICES: u32 = 6;
const WARM_UP_MAX: Duration = Duration::from_millis(100);
const BUSY: Shape = Shape { rooms: 10, members: 100, senders: 10 };
/// Of the yardstick's most, in percent: where the open loops of F stand.
const STEPS_PERCENT: [u32; 3] = [25, 50, 75];
const GENTLE_PER_SECOND: f64 = 300.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "verbatim")]
pub enum Workload {
    /// 10 rooms × 100 members, one sender each, one message under way.
    A,
    /// The same with ten senders.
    B,
    /// 500 rooms × 2, both send.
    C,
    /// One room of 2,000, four senders.
    D,
    /// One room of 5,000, four senders.
    D5,
    /// 10,000 idle sockets in rooms of four.
    E,
    /// B's rooms at fixed rates: 300 messages/s, and parts of what the yardstick can do at most.
    F,
    /// 2,000 clients, each 500 events behind, come back at once.
    G,
    /// Pages of 50 at random depth in five million messages.
    H,
}

/// How long and how large; smaller in a trial of the generator itself.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Of one server, in all slices of a round.
    pub measured: Duration,
    pub idle: Duration,
    pub is_trial: bool,
}

impl Extent {
    fn of(self, shape: Shape) -> Shape {
        if !self.is_trial {
            return shape;
        }
        Shape { rooms: shape.rooms.min(5), members: shape.members.min(20), ..shape }
    }
}

/// One server's figures, under the name of their row.
pub struct Run {
    pub row: String,
    pub server: String,
    pub readings: Vec<Reading>,
}

impl Workload {
    /// Peers have no log to come back to.
    pub fn needs_loquat(self) -> bool {
        matches!(self, Workload::G | Workload::H)
    }

    fn flood(self) -> Option<Shape> {
        match self {
            Workload::A => Some(Shape { senders: 1, ..BUSY }),
            Workload::B => Some(BUSY),
            Workload::C => Some(Shape { rooms: 500, members: 2, senders: 2 }),
            Workload::D => Some(Shape { rooms: 1, members: 2_000, senders: 4 }),
            Workload::D5 => Some(Shape { rooms: 1, members: 5_000, senders: 4 }),
            _ => None,
        }
    }
}

pub struct Bench<'a> {
    pub folder: &'a Path,
    pub extent: Extent,
    pub yardstick: Subject,
    /// Messages per second that the yardstick can do in B, once it was measured.
    pub most: Option<f64>,
}

/// A server with its crowd.
struct Stage {
    server: Server,
    crowd: Crowd,
    flood: Flood,
}

impl Bench<'_> {
    /// Runs one workload on all `subjects`.
    pub fn run(&mut self, workload: Workload, subjects: &[Subject]) -> Result<Vec<Run>, Fail> {
        if let Some(shape) = workload.flood() {
            let row = format!("{workload:?}");
            return self.floods(row, subjects, (shape, Pace::Closed { in_flight: 1 }));
        }
        if workload == Workload::F {
            return self.ladder(subjects);
        }
        let mut runs = Vec::new();
        for subject in subjects {
            let readings = self.measure(workload, subject)?;
            let server = subject.name().to_owned();
            runs.push(Run { row: format!("{workload:?}"), server, readings });
        }
        Ok(runs)
    }

    fn measure(&self, workload: Workload, subject: &Subject) -> Result<Vec<Reading>, Fail> {
        let server = Server::start(subject, self.folder)?;
        let is_trial = self.extent.is_trial;
        match workload {
            Workload::G => {
                let (clients_per_room, events) = if is_trial { (5, 100) } else { (100, 500) };
                resume::measure(&server, Storm { rooms: 20, clients_per_room, events })
            }
            Workload::H => {
                let (messages_per_room, stored_per_second) =
                    if is_trial { (200, 4_000.0) } else { (50_000, 40_000.0) };
                let archive =
                    Archive { rooms: 100, messages_per_room, readers: 4, stored_per_second };
                history::measure(&server, archive, self.extent.measured)
            }
            _ => {
                let shape = self.extent.of(Shape { rooms: 2_500, members: 4, senders: 0 });
                idle::measure(&server, shape, self.extent.idle)
            }
        }
    }

    /// The same flood on all servers, which are measured in turn, a slice of time each: what changes in the
    /// machine changes for all. Who is not measured is held: socketify wakes two hundred times a second for nothing.
    fn floods(
        &self,
        row: String,
        subjects: &[Subject],
        (shape, pace): (Shape, Pace),
    ) -> Result<Vec<Run>, Fail> {
        // Nobody answers a server's pings while others connect: those that take long for it come first.
        let mut slow_first: Vec<&Subject> = subjects.iter().collect();
        slow_first.sort_by_key(|subject| subject.connecting_max());
        let mut stages = Vec::new();
        for subject in &slow_first {
            stages.push(self.stage(subject, self.extent.of(shape), pace)?);
        }
        stages.iter().for_each(|stage| stage.server.hold());
        let measured = self.extent.measured / SLICES;
        let span = Span { warm_up: (measured / 4).min(WARM_UP_MAX), measured };
        for slice in 0..=SLICES {
            for (Stage { server, crowd, flood }, subject) in stages.iter_mut().zip(&slow_first) {
                server.go_on();
                flood.slice(crowd, server, span).context(subject.name())?;
                server.hold();
                if slice == 0 {
                    flood.forget();
                }
            }
        }
        let run = |(stage, subject): (&Stage, &&Subject)| {
            let mut readings = stage.flood.outcome().readings();
            if let Pace::Open { per_second } = pace {
                readings.push(Reading::new("offered", "/s", per_second));
            }
            Run { row: row.clone(), server: subject.name().to_owned(), readings }
        };
        let mut runs: Vec<Run> = stages.iter().zip(&slow_first).map(run).collect();
        runs.sort_by_key(|run| subjects.iter().position(|subject| subject.name() == run.server));
        Ok(runs)
    }

    fn stage(&self, subject: &Subject, shape: Shape, pace: Pace) -> Result<Stage, Fail> {
        let server = Server::start(subject, self.folder)?;
        let mut crowd = Crowd::new()?;
        let at_a_time = subject.connecting_max();
        crowd.connect_wave(server.address, &seats(shape, ""), at_a_time, &mut Silent)?;
        Ok(Stage { server, crowd, flood: Flood::new(shape, pace)? })
    }

    fn ladder(&mut self, subjects: &[Subject]) -> Result<Vec<Run>, Fail> {
        let most = match self.most {
            Some(most) => most,
            None => self.most_of_yardstick()?,
        };
        self.most = Some(most);
        let gentle = (format!("F {GENTLE_PER_SECOND:.0}/s"), GENTLE_PER_SECOND);
        let readings = disk::measure(self.folder, GENTLE_PER_SECOND, self.extent.measured)?;
        let steps = STEPS_PERCENT
            .map(|percent| (format!("F {percent} %"), most * f64::from(percent) / 100.0));
        let mut runs = vec![Run { row: gentle.0.clone(), server: "disk".to_owned(), readings }];
        for (row, per_second) in std::iter::once(gentle).chain(steps) {
            runs.extend(self.floods(row, subjects, (BUSY, Pace::Open { per_second }))?);
        }
        Ok(runs)
    }

    /// Messages per second in B.
    fn most_of_yardstick(&self) -> Result<f64, Fail> {
        let shape = self.extent.of(BUSY);
        let mut stage = self.stage(&self.yardstick, shape, Pace::Closed { in_flight: 1 })?;
        let span = Span { warm_up: WARM_UP_MAX, measured: self.extent.measured / 2 };
        stage.flood.slice(&mut stage.crowd, &stage.server, span)?;
        Ok(stage.flood.outcome().messages_per_second())
    }
}
