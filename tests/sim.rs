//! The seeded simulation: one thread, virtual time, one seed. Cores with their rings, the journal on a
//! disk that tears and loses writes, readers, a network and clients, over several lives of the server;
//! docs/testing.md says what it checks.
//!
//! A failure names its seed: `LOQUAT_SIM=seed` runs that one, with `LOQUAT_SIM_TELL=1` in all detail.

// What is shared with the tests of the cores is not all used here.
#[allow(dead_code)]
#[path = "core/decode.rs"]
mod decode;
#[path = "core/dice.rs"]
mod dice;
#[allow(dead_code)]
#[path = "core/past.rs"]
mod past;
#[allow(dead_code)]
#[path = "core/pump.rs"]
mod pump;
#[path = "core/rings.rs"]
mod rings;
#[allow(dead_code)]
#[path = "core/store.rs"]
mod store;

#[path = "sim/client.rs"]
mod client;
#[path = "sim/disk.rs"]
mod disk;
#[path = "sim/ending.rs"]
mod ending;
#[path = "sim/events.rs"]
mod events;
#[path = "sim/ground.rs"]
mod ground;
#[path = "sim/life.rs"]
mod life;
#[path = "sim/log.rs"]
mod log;
#[path = "sim/open.rs"]
mod open;
#[path = "sim/pages.rs"]
mod pages;
#[path = "sim/plan.rs"]
mod plan;
#[path = "sim/watch.rs"]
mod watch;
#[path = "sim/wire.rs"]
mod wire;
#[path = "sim/witness.rs"]
mod witness;
#[path = "sim/world.rs"]
mod world;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use world::{Sim, TIME};

/// What every run of the tests looks at.
const SEEDS: std::ops::Range<u64> = 0..200;
/// Failures that one run names at most.
const NAMED_MAX: usize = 20;

thread_local! {
    /// What the last panic said, and where.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs one seed: its trace, or a report of its failure.
fn run(seed: u64) -> Result<u64, String> {
    let outcome = std::panic::catch_unwind(|| Sim::new(seed).run());
    outcome.map_err(|_| {
        let (ms, said) = (TIME.get(), SAID.take());
        format!("seed {seed}, {ms} ms after its begin: {said}\n    again: {}", command(seed))
    })
}

fn command(seed: u64) -> String {
    format!("LOQUAT_SIM={seed} cargo nextest run --test sim seeds")
}

/// Keeps what a panic says for the report, in place of printing it; of a single seed it is printed.
fn quietly(is_single: bool) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        SAID.set(panic.to_string());
        if is_single {
            before(panic);
        }
    }));
}

/// `LOQUAT_SIM`: one seed, or `from..to`; `LOQUAT_SIM_SECONDS`: no seed is begun after so long.
fn chosen() -> (std::ops::Range<u64>, Duration) {
    let number = |text: &str| text.parse::<u64>().expect("LOQUAT_SIM is a seed, or from..to");
    let seeds = match std::env::var("LOQUAT_SIM") {
        Ok(text) => match text.split_once("..") {
            Some((from, to)) => number(from)..number(to),
            None => number(&text)..number(&text) + 1,
        },
        Err(_) => SEEDS,
    };
    let seconds = std::env::var("LOQUAT_SIM_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    (seeds, Duration::from_secs(seconds))
}

#[test]
fn seeds_keep_the_promises() {
    let (seeds, budget) = chosen();
    quietly(seeds.end - seeds.start == 1);
    let (begun, mut count, mut failed) = (Instant::now(), 0, Vec::new());
    for seed in seeds {
        if begun.elapsed() >= budget || failed.len() >= NAMED_MAX {
            break;
        }
        count += 1;
        failed.extend(run(seed).err());
    }
    let _ = std::panic::take_hook();
    println!("{count} seeds in {} s", begun.elapsed().as_secs());
    assert!(failed.is_empty(), "of {count} seeds these failed:\n{}", failed.join("\n"));
}

#[test]
fn the_same_seed_is_the_same_to_the_byte() {
    quietly(false);
    for seed in [1, 22, 333, 4_444] {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

/// Each bug that is planted in the server is found by some seed (`scripts/planted` runs this alone).
#[cfg(feature = "planted")]
#[test]
fn planted_bugs_are_found() {
    use loquat::node::planted;
    const PATIENCE: u64 = 2_000;
    quietly(false);
    let mut missed = Vec::new();
    for (name, bug) in planted::ALL {
        planted::choose(Some(bug));
        match (0..PATIENCE).find_map(|seed| Some((seed + 1, run(seed).err()?))) {
            Some((seeds, report)) => println!("{name}: found after {seeds} seeds\n    {report}"),
            None => missed.push(name),
        }
    }
    planted::choose(None);
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found within {PATIENCE} seeds: {missed:?}");
}
