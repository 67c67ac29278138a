//! The workloads, by their letters, and one run of each.

use std::path::Path;
use std::time::Duration;

use crate::crowd::{Crowd, Silent};
use crate::fail::Fail;
use crate::flood::{Flood, Pace, Shape, Span};
use crate::history::{self, Archive};
use crate::outcome::{Outcome, Reading};
use crate::resume::{self, Storm};
use crate::seats::seats;
use crate::server::{Server, Subject};
use crate::{idle, outcome};

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
    pub span: Span,
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

/// One run's figures, under the name of its row.
pub struct Run {
    pub row: String,
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

impl Bench<'_> {
    /// Runs one workload on one server.
    pub fn run(&mut self, workload: Workload, subject: &Subject) -> Result<Vec<Run>, Fail> {
        if let Some(shape) = workload.flood() {
            let outcome = self.flood(subject, shape, Pace::Closed { in_flight: 1 })?;
            return Ok(vec![Run { row: format!("{workload:?}"), readings: outcome.readings() }]);
        }
        if workload == Workload::F {
            return self.ladder(subject);
        }
        let server = Server::start(subject, self.folder)?;
        let is_trial = self.extent.is_trial;
        let readings = match workload {
            Workload::E => {
                let shape = self.extent.of(Shape { rooms: 2_500, members: 4, senders: 0 });
                idle::measure(&server, shape, self.extent.idle)?
            }
            Workload::G => {
                let (clients_per_room, events) = if is_trial { (5, 100) } else { (100, 500) };
                resume::measure(&server, Storm { rooms: 20, clients_per_room, events })?
            }
            _ => {
                let (messages_per_room, stored_per_second) =
                    if is_trial { (200, 4_000.0) } else { (50_000, 40_000.0) };
                let archive =
                    Archive { rooms: 100, messages_per_room, readers: 4, stored_per_second };
                history::measure(&server, archive, self.extent.span.measured)?
            }
        };
        Ok(vec![Run { row: format!("{workload:?}"), readings }])
    }

    fn flood(&self, subject: &Subject, shape: Shape, pace: Pace) -> Result<Outcome, Fail> {
        let shape = self.extent.of(shape);
        let server = Server::start(subject, self.folder)?;
        let mut crowd = Crowd::new()?;
        let at_a_time = subject.connecting_max();
        crowd.connect_wave(server.address, &seats(shape, ""), at_a_time, &mut Silent)?;
        Flood::new(shape, pace)?.run(&mut crowd, &server, self.extent.span)
    }

    fn ladder(&mut self, subject: &Subject) -> Result<Vec<Run>, Fail> {
        let most = match self.most {
            Some(most) => most,
            None => {
                let outcome = self.flood(&self.yardstick, BUSY, Pace::Closed { in_flight: 1 })?;
                outcome.messages as f64 / outcome.seconds
            }
        };
        self.most = Some(most);
        let gentle = (format!("F {GENTLE_PER_SECOND:.0}/s"), GENTLE_PER_SECOND);
        let steps = STEPS_PERCENT
            .map(|percent| (format!("F {percent} %"), most * f64::from(percent) / 100.0));
        let mut runs = Vec::new();
        for (row, per_second) in std::iter::once(gentle).chain(steps) {
            let outcome = self.flood(subject, BUSY, Pace::Open { per_second })?;
            let mut readings = outcome.readings();
            readings.push(outcome::Reading::new("offered", "/s", per_second));
            runs.push(Run { row, readings });
        }
        Ok(runs)
    }
}
