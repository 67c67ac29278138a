//! Load: loquat and other servers under the same work, side by side.
//!
//!     cargo bench --bench load -- --workloads A,B,C --servers loquat,socketify --rounds 5
//!
//! The generator has one core and the server the other. What is compared is the server's CPU time per
//! delivery (or per message, or per connect), so the figures say what the work costs, not how fast this
//! machine is. docs/performance.md tells how to read them.

mod crowd;
mod disk;
mod fail;
mod flood;
mod frames;
mod history;
mod idle;
mod outcome;
mod pinning;
mod report;
mod resume;
mod seats;
mod server;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::fail::Fail;
use crate::report::{Report, Row};
use crate::server::Subject;
use crate::workload::{Bench, Extent, Run, Workload};

#[derive(Debug, Parser)]
#[command(
    name = "load",
    about = "loquat and other servers under the same load",
    after_help = "Peers are installed by benches/load/peers/install. A second loquat of the same run, \
                  with fsync = \"interval\", is called loquat-interval."
)]
struct Flags {
    /// What to run.
    #[arg(long, value_delimiter = ',', default_value = "A,B,C,D")]
    workloads: Vec<Workload>,
    /// On which servers, in which order.
    #[arg(long, value_delimiter = ',', default_value = "loquat")]
    servers: Vec<String>,
    /// The server that the others are divided by.
    #[arg(long, default_value = "socketify")]
    yardstick: String,
    /// Times that everything is run, servers in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Measured seconds of a server in a round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds of E in which nothing is said.
    #[arg(long, default_value_t = 60.0)]
    idle_seconds: f64,
    /// Folder for results.json, results.md and latency.svg.
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/load-results"))]
    out: PathBuf,
    /// Small and short: shows that the generator and its checks work, and measures nothing.
    #[arg(long)]
    trial: bool,
    /// `cargo bench` says so.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<(), Fail> {
    let seconds = |wanted: f64, trial: f64| {
        Duration::try_from_secs_f64(if flags.trial { trial } else { wanted })
            .map_err(|error| Fail::new(format!("seconds: {error}")))
    };
    let (measured, idle) = (seconds(flags.seconds, 0.5)?, seconds(flags.idle_seconds, 0.5)?);
    let extent = Extent { measured, idle, is_trial: flags.trial };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("load");
    pinning::on_core(pinning::Core::Generator, || ());
    raise_descriptor_limit();
    let yardstick = Subject::parse(&flags.yardstick);
    let mut bench = Bench { folder: &folder, extent, yardstick, most: None };
    let mut report = Report::new(&flags.yardstick, pinning::are_apart());
    for round in 0..flags.rounds {
        for &workload in &flags.workloads {
            run_round(&mut bench, &mut report, (round, workload), &flags.servers)?;
        }
    }
    println!("{}", report.table());
    report.write(&flags.out)?;
    println!("Everything: {}", flags.out.display());
    Ok(())
}

fn run_round(
    bench: &mut Bench<'_>,
    report: &mut Report,
    (round, workload): (u32, Workload),
    servers: &[String],
) -> Result<(), Fail> {
    eprintln!("round {}: {workload:?} on {}", round + 1, servers.join(", "));
    let subjects = servers.iter().map(|name| Subject::parse(name));
    let subjects: Vec<_> =
        subjects.filter(|subject| subject.is_loquat() || !workload.needs_loquat()).collect();
    for Run { row, server, readings } in bench.run(workload, &subjects)? {
        report.rows.push(Row { round, workload: row, server, readings });
    }
    Ok(())
}

/// As far as allowed; servers inherit it.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
