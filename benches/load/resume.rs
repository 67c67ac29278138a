//! A resume storm: many clients that missed the same time come back at once, as after a restart of what lies
//! between them and the server. Each must get exactly what it missed, in order.

use std::time::{Duration, Instant};

use crate::crowd::{Crowd, Outgoing, Role};
use crate::fail::Fail;
use crate::flood::{Flood, Pace, Shape};
use crate::frames::{Reader, is_kind};
use crate::outcome::Reading;
use crate::seats::{seat, seats};
use crate::server::Server;

/// More than the clients there are: nobody waits for others.
const AT_ONCE: usize = 1 << 20;
const STORM_MAX: Duration = Duration::from_secs(60);
const IN_FLIGHT: u32 = 16;

/// Clients that have missed events.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    pub rooms: u32,
    pub clients_per_room: u32,
    pub events: u32,
}

pub fn measure(server: &Server, storm: Storm) -> Result<Vec<Reading>, Fail> {
    write_what_is_missed(server, storm)?;
    let clients = storm.rooms * storm.clients_per_room;
    let seats: Vec<_> = (0..clients)
        .map(|client| seat(client % storm.rooms, 1_000_000 + client, "v=2&since=0&"))
        .collect();
    let mut crowd = Crowd::new()?;
    let mut heard = Catching::new(clients as usize);
    let (before, begun) = (server.usage(), Instant::now());
    crowd.connect_wave(server.address, &seats, AT_ONCE, &mut heard)?;
    while heard.resumed < clients {
        crowd.pump(Duration::ZERO, &mut heard)?;
        if begun.elapsed() > STORM_MAX {
            return Err(Fail::new(format!("{} of {clients} caught up", heard.resumed)));
        }
    }
    let (after, seconds) = (server.usage(), begun.elapsed().as_secs_f64());
    heard.check(storm.events)?;
    Ok(vec![
        Reading::new("all caught up", "s", seconds),
        Reading::new("CPU", "s", (after.cpu - before.cpu).as_secs_f64()),
        Reading::new("own memory", "MiB", after.own_bytes as f64 / 1024.0 / 1024.0),
    ])
}

/// One client per room writes what the others have missed, and leaves.
fn write_what_is_missed(server: &Server, storm: Storm) -> Result<(), Fail> {
    let shape = Shape { rooms: storm.rooms, members: 1, senders: 1 };
    let mut crowd = Crowd::new()?;
    let mut flood = Flood::new(shape, Pace::Closed { in_flight: IN_FLIGHT })?;
    crowd.connect(server.address, &seats(shape, ""), &mut flood)?;
    flood.fill(&mut crowd, storm.events)
}

struct Catching {
    reader: Reader,
    /// By client: how many events in order.
    events: Vec<u32>,
    resumed: u32,
    disorder: u32,
}

impl Catching {
    fn new(clients: usize) -> Catching {
        Catching { reader: Reader::default(), events: vec![0; clients], resumed: 0, disorder: 0 }
    }

    fn check(&self, events: u32) -> Result<(), Fail> {
        let short = self.events.iter().filter(|&&heard| heard != events).count();
        if short + self.disorder as usize > 0 {
            return Err(Fail::new(format!(
                "{short} clients did not get exactly {events} events, {} came out of order",
                self.disorder
            )));
        }
        Ok(())
    }
}

impl Role for Catching {
    fn hear(&mut self, client: u32, text: &[u8], _: u64, _: &mut Outgoing) {
        if is_kind(text, "resumed") {
            self.resumed += 1;
        } else if is_kind(text, "chat_message") {
            let events = &mut self.events[client as usize];
            *events += 1;
            let number = self.reader.stamp(text).map(|stamp| stamp.number);
            self.disorder += u32::from(number != Some(*events));
        }
    }
}
