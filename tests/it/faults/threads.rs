//! A thread that panics or stands still ends the process, with its name: there is no half-dead server.

use std::time::Duration;

use super::talk_until_the_end;
use crate::crash::{check, stored};
use crate::harness::{Faults, Server, person};

/// EX_SOFTWARE of sysexits.h.
const EXIT: i32 = 70;
/// After so long a thread without a sign of life counts as stuck.
const STALL: Duration = Duration::from_secs(15);

const SETTINGS: [(&str, &str); 3] =
    [("rate_limits", "off"), ("history_on_connect", "200"), ("log.level", "info")];

/// What was shown until `fault` ended the process, which says each of these, is there after the next start.
async fn ends(fault: impl FnOnce(&Faults), patience: Duration, says: &[&str]) {
    let faults = Faults::none();
    let mut server = Server::faulty(&faults, &SETTINGS);
    server.may_panic();
    let mut tasks = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let client = server.join(name, &person(1)).await;
        tasks.push((name, tokio::spawn(talk_until_the_end(client, "words".to_owned(), 150))));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    fault(&faults);
    let status = server.exited_within(patience);
    assert_eq!(status.code(), Some(EXIT), "{status}");
    let said = server.stderr();
    for part in says {
        assert!(said.contains(part), "nothing about {part:?} in\n{said}");
    }
    let mut all = Vec::new();
    for (name, task) in tasks {
        all.push((name, task.await.expect("its failure was printed")));
    }
    server.start_again();
    for (name, shown) in &all {
        check(name, shown, &stored(&server, name).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reactor_that_panics_ends_the_process_at_once() {
    let says = ["panicked at", "reactor 1 panicked; the server stops"];
    ends(|faults| faults.panic_in("reactor-1"), Duration::from_secs(5), &says).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_thread_that_panics_ends_the_process_at_once() {
    let says = ["panicked at", "the store's thread \"log\" failed: it panicked"];
    ends(|faults| faults.panic_in("store-log"), Duration::from_secs(5), &says).await;
}

/// It may take the watchdog to see it: the thread is gone without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_thread_that_panics_ends_the_process() {
    let patience = STALL + Duration::from_secs(10);
    ends(|faults| faults.panic_in("http"), patience, &["panicked at", "HTTP"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reactor_that_stands_still_ends_the_process() {
    let patience = STALL + Duration::from_secs(10);
    ends(|faults| faults.stall("reactor-0"), patience, &["reactor 0 has been stuck for"]).await;
}
