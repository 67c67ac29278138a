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

/// Two who talk while others attack: how long each message took to be shown to the other.
pub struct Healthy {
    is_over: Arc<AtomicBool>,
    talking: tokio::task::JoinHandle<Vec<Duration>>,
}

impl Healthy {
    pub async fn begin(server: &Server) -> Healthy {
        let pair = [
            server.join("healthy", &person(90_001)).await,
            server.join("healthy", &person(90_002)).await,
        ];
        let is_over = Arc::new(AtomicBool::new(false));
        let talking = tokio::spawn(talk(pair, is_over.clone()));
        Healthy { is_over, talking }
    }

    /// Ends the talk: the slowest but one in a hundred.
    pub async fn p99(self) -> Duration {
        self.is_over.store(true, Ordering::Relaxed);
        let mut took = self.talking.await.expect("its failure was printed");
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

/// What a busy machine of two cores takes by itself, attackers and victims being on it.
const SCHEDULING: Duration = Duration::from_millis(10);

/// The figures of a run, and a bound that only a server that stands still passes.
pub fn not_still(what: &str, quiet: Duration, attacked: Duration) -> f64 {
    let ratio = attacked.as_secs_f64() / quiet.as_secs_f64().max(1e-6);
    println!(
        "{what}: p99 of others {quiet:?} in quiet, {attacked:?} under attack: {ratio:.1} times"
    );
    assert!(attacked < Duration::from_secs(3), "{what}: others wait for {attacked:?}");
    ratio
}

/// The same; the long form, which has the machine to itself, takes three times of what it was in quiet.
pub fn compare(what: &str, quiet: Duration, attacked: Duration) {
    let ratio = not_still(what, quiet, attacked);
    if is_soak() {
        assert!(attacked <= SCHEDULING.max(quiet * 3), "{what}: {ratio:.1} times, {attacked:?}");
    }
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
