//! Load: loquat and other servers under the same work, side by side.
//!
//!     cargo bench --bench load -- --workloads A,B,C --servers loquat,socketify --rounds 5
//!
//! The generator has one core and the server the other. What is compared is the server's CPU time per
//! delivery (or per message, or per connect), so the figures say what the work costs, not how fast this
//! machine is. docs/performance.md tells how to read them.

mod crowd;
mod fail;
mod flood;
mod frames;
mod outcome;
mod pinning;
mod seats;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::crowd::{Crowd, Silent};
use crate::fail::Fail;
use crate::flood::{Flood, Pace, Shape, Span};
use crate::server::{Server, Subject};

#[derive(Debug, Parser)]
#[command(name = "load", about = "loquat and other servers under the same load")]
struct Flags {
    #[arg(long, value_delimiter = ',', default_value = "A,B,C")]
    workloads: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "loquat")]
    servers: Vec<String>,
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<(), Fail> {
    let span =
        Span { warm_up: Duration::from_secs(1), measured: Duration::from_secs_f64(flags.seconds) };
    pinning::on_core(pinning::Core::Generator, || ());
    raise_descriptor_limit();
    for round in 0..flags.rounds {
        for workload in &flags.workloads {
            let (shape, in_flight) = match workload.as_str() {
                "A" => (Shape { rooms: 10, members: 100, senders: 1 }, 1),
                "B" => (Shape { rooms: 10, members: 100, senders: 10 }, 1),
                "C" => (Shape { rooms: 500, members: 2, senders: 2 }, 1),
                "D" => (Shape { rooms: 1, members: 2000, senders: 4 }, 1),
                other => return Err(Fail::new(format!("no workload {other}"))),
            };
            for name in &flags.servers {
                let subject = Subject::parse(name);
                let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("load");
                let server = Server::start(&subject, &folder)?;
                let mut crowd = Crowd::new()?;
                let seats = seats::seats(shape, "");
                crowd.connect(server.address, &seats, &mut Silent)?;
                let mut flood = Flood::new(shape, Pace::Closed { in_flight })?;
                let outcome = flood.run(&mut crowd, &server, span)?;
                println!(
                    "{round} {workload} {name:>12} {:.3} us/delivery {:.2} us/message {:.0} deliveries/s {:.2} cores p50 {:.2} p99 {:.2}",
                    outcome.cpu_us_per_delivery(),
                    outcome.cpu_us_per_message(),
                    outcome.deliveries_per_second(),
                    outcome.cores(),
                    outcome.latency.p50_ms,
                    outcome.latency.p99_ms
                );
            }
        }
    }
    Ok(())
}

/// As far as allowed; servers inherit it.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
