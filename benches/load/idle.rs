//! Many sockets that say nothing: what each costs to let in, to keep, and to keep alive.

use std::time::{Duration, Instant};

use crate::crowd::{Crowd, Silent};
use crate::fail::Fail;
use crate::flood::Shape;
use crate::outcome::Reading;
use crate::seats::seats;
use crate::server::Server;

/// What happens right after the last connect (presence, timers) belongs to connecting; what happens before the first does
/// not.
const SETTLE: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(20);

pub fn measure(server: &Server, shape: Shape, idle: Duration) -> Result<Vec<Reading>, Fail> {
    let seats = seats(shape, "");
    let mut crowd = Crowd::new()?;
    // A server that answers may still be starting: that is no socket's cost.
    wait(&mut crowd, SETTLE)?;
    let (before, begun) = (server.usage(), Instant::now());
    crowd.connect(server.address, &seats, &mut Silent)?;
    let seconds = begun.elapsed().as_secs_f64();
    wait(&mut crowd, SETTLE)?;
    let connected = server.usage();
    let idle_begun = Instant::now();
    wait(&mut crowd, idle)?;
    let (after, idle_seconds) = (server.usage(), idle_begun.elapsed().as_secs_f64());
    let sockets = f64::from(shape.clients());
    let connect_us = (connected.cpu - before.cpu).as_secs_f64() * 1e6 / sockets;
    let own = connected.own_bytes.saturating_sub(before.own_bytes) as f64 / 1024.0 / sockets;
    let idle_percent = (after.cpu - connected.cpu).as_secs_f64() / idle_seconds * 100.0;
    Ok(vec![
        Reading::new("CPU per connect", "µs", connect_us),
        Reading::new("connects", "/s", sockets / seconds),
        Reading::new("own memory per socket", "KiB", own),
        Reading::new("idle CPU", "%", idle_percent),
    ])
}

fn wait(crowd: &mut Crowd, how_long: Duration) -> Result<(), Fail> {
    let begun = Instant::now();
    while begun.elapsed() < how_long {
        crowd.pump(TICK, &mut Silent)?;
    }
    Ok(())
}
