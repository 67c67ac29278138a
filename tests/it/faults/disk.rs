//! A disk that says no. What was shown before is there afterwards, nothing is shown that is not; the process says
//! which file and why, and ends: a sync that failed is never tried again, since the kernel may have dropped what it
//! could not write.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde_json::json;

use super::{answer, talk_until_the_end};
use crate::crash::{check, stored};
use crate::harness::{DEADLINE, Faults, Files, Server, person};

/// EX_SOFTWARE of sysexits.h, as after a panic: whoever runs it starts it again.
const EXIT: i32 = 70;

const SETTINGS: [(&str, &str); 3] =
    [("rate_limits", "off"), ("history_on_connect", "200"), ("log.level", "info")];

#[derive(Debug, Clone, Copy)]
enum Fault {
    Sync(Files, Errno),
    Write(Files, Errno),
}

impl Fault {
    fn files(self) -> Files {
        match self {
            Fault::Sync(files, _) | Fault::Write(files, _) => files,
        }
    }

    fn begin(self, faults: &Faults) {
        match self {
            Fault::Sync(files, error) => faults.syncs_fail(files, error),
            Fault::Write(files, error) => faults.writes_fail(files, error),
        }
    }
}

/// Three write in three conversations when it begins. The process ends and says each of these, and the
/// next start has all that was shown.
async fn ends_and_loses_nothing(fault: Fault, text: &str, says: &[&str]) {
    let faults = Faults::none();
    let mut server = Server::faulty(&faults, &SETTINGS);
    let mut tasks = Vec::new();
    for name in ["a", "b", "c"] {
        let client = server.join(name, &person(1)).await;
        tasks.push((name, tokio::spawn(talk_until_the_end(client, text.to_owned(), 190))));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    fault.begin(&faults);
    faults.wait_until_failed(fault.files());
    let status = server.exited();
    assert_eq!(status.code(), Some(EXIT), "{fault:?}: {status}");
    let said = server.stderr();
    for part in says {
        assert!(said.contains(part), "{fault:?}: nothing about {part:?} in\n{said}");
    }
    // Of pages, threads of sled may be on their way to a sync when another fails.
    assert_eq!(faults.synced_after(Files::Journal), 0, "{fault:?}: synced again after a failure");
    let mut shown = BTreeMap::new();
    for (name, task) in tasks {
        shown.insert(name, task.await.expect("its failure was printed"));
    }
    assert!(shown.values().any(|shown| !shown.is_empty()), "{fault:?}: it came before anything");
    server.start_again();
    for (name, shown) in &shown {
        check(name, shown, &stored(&server, name).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_cannot_be_synced_ends_the_process() {
    for error in [Errno::IO, Errno::NOSPC] {
        let fault = Fault::Sync(Files::Journal, error);
        ends_and_loses_nothing(fault, "words", &["syncing", "journal/"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_cannot_be_written_ends_the_process() {
    for error in [Errno::IO, Errno::ROFS, Errno::NOSPC] {
        let fault = Fault::Write(Files::Journal, error);
        ends_and_loses_nothing(fault, "words", &["writing", "journal/"]).await;
    }
}

/// With fsync = interval messages are shown before their sync: a power loss may take them, the end of the process not.
#[tokio::test]
async fn a_sync_that_nobody_waits_for_ends_the_process_when_it_fails() {
    let faults = Faults::none();
    let settings: Vec<_> = SETTINGS.into_iter().chain([("fsync", "interval")]).collect();
    let mut server = Server::faulty(&faults, &settings);
    let client = server.join("a", &person(1)).await;
    // The next segment is prepared with syncs of its own, and named when it is whole.
    let next = server.data().join("store/journal/segment-0000000000000002");
    let begun = Instant::now();
    while !next.exists() {
        assert!(begun.elapsed() < DEADLINE, "no second segment");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    faults.syncs_fail(Files::Journal, Errno::IO);
    let shown = talk_until_the_end(client, "words".to_owned(), 190).await;
    assert_eq!(server.exited().code(), Some(EXIT));
    let said = server.stderr();
    assert!(said.contains("syncing") && said.contains("journal/"), "{said}");
    assert_eq!(faults.synced_after(Files::Journal), 0, "synced again after a failure");
    assert!(!shown.is_empty(), "nothing was shown before its sync");
    server.start_again();
    check("a", &shown, &stored(&server, "a").await);
}

/// 40 KB a message: a segment of 4 MiB is full soon, and pages are built.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_cannot_be_written_or_synced_end_the_process() {
    for fault in [Fault::Sync(Files::Pages, Errno::IO), Fault::Write(Files::Pages, Errno::IO)] {
        ends_and_loses_nothing(fault, &"👍".repeat(9_990), &["store's thread"]).await;
    }
}

/// P5: what got no ack is sent again after the next start, and is stored once whether it had been written or not.
#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_and_stored_once() {
    const MESSAGES: usize = 40;
    let faults = Faults::none();
    let mut server = Server::faulty(&faults, &SETTINGS);
    let mut session = server.join_v2("1", &person(1), "").await;
    let send = |n: usize| {
        let name = format!("name-{n}");
        json!({"type": "chat_message", "content": format!("message {n}"), "client_msg_id": name})
    };
    session.client.send_all((0..MESSAGES / 2).map(send)).await;
    let mut acked = 0;
    while acked < MESSAGES / 4 {
        let frame = answer(&mut session.client).await.expect("all is well");
        acked += usize::from(frame["type"] == "ack");
    }
    faults.syncs_fail(Files::Journal, Errno::IO);
    session.client.send_all((MESSAGES / 2..MESSAGES).map(send)).await;
    while let Some(frame) = answer(&mut session.client).await {
        acked += usize::from(frame["type"] == "ack");
    }
    assert_eq!(server.exited().code(), Some(EXIT));
    assert!(acked < MESSAGES, "the failure came too late");
    server.start_again();
    let mut session = server.join_v2("1", &person(1), "").await;
    session.client.send_all((0..MESSAGES).map(send)).await;
    let mut seqs = BTreeMap::new();
    while seqs.len() < MESSAGES {
        let frame = answer(&mut session.client).await.expect("all is well");
        if frame["type"] == "ack" {
            let name = frame["client_msg_id"].as_str().expect("each has one").to_owned();
            seqs.insert(name, frame["seq"].as_u64().expect("a number"));
        }
    }
    let mut all: Vec<u64> = seqs.into_values().collect();
    all.sort_unstable();
    assert_eq!(all, (1..=MESSAGES as u64).collect::<Vec<_>>(), "each is stored once");
}

/// What cannot be finished at a stop is said by the exit code, and is done by the next start.
#[tokio::test]
async fn a_stop_whose_pages_fail_says_so_and_loses_nothing() {
    let faults = Faults::none();
    let mut server = Server::faulty(&faults, &SETTINGS);
    let mut client = server.join("1", &person(1)).await;
    let mut shown = crate::crash::Shown::new();
    for n in 0..20 {
        crate::crash::note(&mut shown, &client.say(&format!("message {n}")).await);
    }
    faults.syncs_fail(Files::Pages, Errno::IO);
    server.sigterm();
    let status = server.exited();
    assert!(!status.success(), "it says that all is well");
    server.start_again();
    check("1", &shown, &stored(&server, "1").await);
}
