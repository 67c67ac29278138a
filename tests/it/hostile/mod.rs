//! Peers that mean harm. Whatever they do, the process lives, its memory stays below a bound that `src/limits.rs`
//! knows, and others are served. `LOQUAT_SOAK=1` takes the long forms (`scripts/soak hostile`).

mod crowds;
mod cves;
mod floods;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

pub use crate::faults::{is_soak, short_or_long};
use crate::harness::{Client, Server, person};

/// So many pairs talk: with 90 messages a second, ten seconds have nine that are slower than 99 in a hundred.
const PAIRS: u64 = 10;

/// Pairs who talk while others attack: how long each message took to be shown to the other.
pub struct Healthy {
    is_over: Arc<AtomicBool>,
    talking: Vec<tokio::task::JoinHandle<Vec<Duration>>>,
}

impl Healthy {
    pub async fn begin(server: &Server) -> Healthy {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut talking = Vec::new();
        for number in 0..PAIRS {
            let (room, first) = (format!("healthy-{number}"), 90_001 + 2 * number);
            let pair = [
                server.join(&room, &person(first)).await,
                server.join(&room, &person(first + 1)).await,
            ];
            talking.push(tokio::spawn(talk(pair, is_over.clone())));
        }
        Healthy { is_over, talking }
    }

    /// Ends the talk: the slowest but one in a hundred.
    pub async fn p99(self) -> Duration {
        self.is_over.store(true, Ordering::Relaxed);
        let mut took = Vec::new();
        for pair in self.talking {
            took.extend(pair.await.expect("its failure was printed"));
        }
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }

    /// The same for a time without attack.
    pub async fn quiet_p99(server: &Server) -> Duration {
        let healthy = Healthy::begin(server).await;
        tokio::time::sleep(short_or_long(Duration::from_millis(500), Duration::from_secs(10)))
            .await;
        healthy.p99().await
    }
}

/// Four a second each may say, so that no rate stops them. Each wait has its own deadline.
async fn talk(mut pair: [Client; 2], is_over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = Vec::new();
    while !is_over.load(Ordering::Relaxed) || took.len() < 2 {
        let begun = Instant::now();
        let (content, by) = (format!("message {}", took.len()), took.len() % 2);
        pair[by].send(json!({"type": "chat_message", "content": content})).await;
        let pattern = json!({"type": "chat_message", "message": {"content": content}});
        pair[1 - by].expect_like(&pattern).await;
        took.push(begun.elapsed());
        pair[by].expect_like(&pattern).await;
        tokio::time::sleep(Duration::from_millis(110)).await;
    }
    took
}

/// The figures of a run, and a bound that only a server that stands still passes.
pub fn not_still(what: &str, quiet: Duration, attacked: Duration) -> f64 {
    let ratio = attacked.as_secs_f64() / quiet.as_secs_f64().max(1e-6);
    println!(
        "{what}: p99 of others {quiet:?} in quiet, {attacked:?} under attack: {ratio:.1} times"
    );
    assert!(attacked < Duration::from_secs(3), "{what}: others wait for {attacked:?}");
    ratio
}

/// A virtual machine's core, or its disk, can stand still for tens of milliseconds by itself: three runs decide.
const RUNS_MAX: usize = 3;

/// Attackers have machines of their own: here they leave the cores to the server and to those who are measured.
const ATTACKERS_NICENESS: i32 = 10;

/// Runs an attack beside those who talk. The long form, which has the machine to itself, wants them to wait at most three
/// times as long as in quiet.
pub async fn beside_others(server: &Server, what: &str, attack: impl AsyncFn() + Sync) {
    for run in 1..=RUNS_MAX {
        let quiet = Healthy::quiet_p99(server).await;
        let healthy = Healthy::begin(server).await;
        tokio::task::block_in_place(|| in_a_nice_thread(&attack));
        let ratio = not_still(what, quiet, healthy.p99().await);
        if !is_soak() || ratio <= 3.0 {
            return;
        }
        assert!(run < RUNS_MAX, "{what}: {ratio:.1} times, and so in all {RUNS_MAX} runs");
    }
}

/// A thread's niceness is its own on Linux, and what it starts inherits it.
fn in_a_nice_thread(attack: &(impl AsyncFn() + Sync)) {
    let runtime = tokio::runtime::Handle::current();
    let run = || {
        rustix::process::setpriority_process(None, ATTACKERS_NICENESS).expect("nicer than before");
        runtime.block_on(attack());
    };
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Resident memory now must not be over `before` by more than `most` bytes.
#[track_caller]
pub fn bounded(server: &Server, what: &str, before: u64, most: usize) {
    // What watches the heap takes memory too: its red zones, and what was freed a moment ago.
    let factor = std::env::var("LOQUAT_TEST_MEMORY_FACTOR").ok().and_then(|text| text.parse().ok());
    let most = most * factor.unwrap_or(1);
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{what}: {} KiB more memory of {} KiB that are allowed", grown >> 10, most >> 10);
    assert!(grown <= most as u64, "{what}: {grown} bytes more, {most} are allowed");
}
