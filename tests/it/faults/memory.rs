//! Little memory: overload is an answer, never a kill. The limit is `memory_limit`, which counts as a control group's
//! does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpSocket;

use super::short_or_long;
use crate::harness::raw::{TEXT, frame, request};
use crate::harness::{DEADLINE, Faults, Raw, Server, nameless, person};

const LIMIT: u64 = 256 << 20;

/// The largest resident memory of its own that the process had while it was watched.
struct Peak {
    bytes: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Peak {
    fn watch(server: &Server) -> Peak {
        let bytes = Arc::new(AtomicU64::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let (most, stop, own_bytes) = (bytes.clone(), is_over.clone(), server.own_bytes());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                most.fetch_max(own_bytes().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Peak { bytes, is_over }
    }

    fn mib(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) >> 20
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// A socket that reads nothing, with next to no room in the kernel.
async fn reads_nothing(server: &Server, user: usize) -> Option<Raw> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 * 1024).expect("a TCP socket has it");
    let mut raw = Raw::over(socket.connect(server.address()).await.ok()?);
    let path = format!("{}&v=2", server.path("long", &nameless(1_000 + user as u64)));
    raw.write(format!("{}\r\n", request(&path, &[])).as_bytes()).await;
    (raw.head().await?.status == 101).then_some(raw)
}

/// A server with little memory and a conversation of 160 KB, and sockets that read nothing.
async fn crowded(sockets: usize) -> (Server, Vec<Raw>) {
    let settings = [
        ("memory_limit", "256MiB"),
        ("journal_segment", "8MiB"),
        ("disk_reserve", "16MiB"),
        ("sled_cache", "16MiB"),
        ("rate_limits", "off"),
        ("log.level", "info"),
    ];
    // The kernel keeps next to nothing for them, so it is all the server's.
    let faults = Faults::none();
    faults.send_buffers(4 * 1024);
    let server = Server::faulty(&faults, &settings);
    let mut writer = server.join("long", &person(1)).await;
    for n in 0..80 {
        writer.say(&format!("{n} {}", "x".repeat(2_000))).await;
    }
    writer.close().await;
    let mut crowd = Vec::new();
    for user in 0..sockets {
        crowd.push(reads_nothing(&server, user).await.expect("there is room still"));
    }
    println!("{:?} MiB before", server.own_bytes()().map(|bytes| bytes >> 20));
    (server, crowd)
}

/// Thousands of sockets ask for eight pages of 128 KiB each: as many are given as there is memory for, however
/// fast they are asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_the_past_stop_before_memory_is_short() {
    let (mut server, mut crowd) = crowded(short_or_long(1_200, 5_000)).await;
    let mut healthy = server.room::<2>("healthy").await;
    let peak = Peak::watch(&server);
    let ask = frame(TEXT, json!({"type": "history", "limit": 200}).to_string().as_bytes());
    let asks = ask.repeat(8);
    for raw in &mut crowd {
        raw.write(&asks).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let most = peak.mib();
    let shed = told_4100(crowd).await;
    println!("{most} MiB at most");
    assert!(server.is_running(), "{}", server.stderr());
    // Where newcomers are refused, and what the allocator rounds up.
    assert!(most < (LIMIT >> 20) * 70 / 100 + 24, "{most} MiB at most");
    assert_eq!(shed, 0, "sockets were told to go");
    recovers(&server, &mut healthy).await;
}

/// Thousands of full queues would be far more than there is: some are shed and told so, newcomers wait, the
/// process stays below its limit; then everything is as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_queues_are_shed_and_the_process_is_not_killed() {
    let sockets = short_or_long(3_000, 5_000);
    let (mut server, mut crowd) = crowded(sockets).await;
    let mut healthy = server.room::<2>("healthy").await;
    let peak = Peak::watch(&server);
    // The answers stay just below what may wait for one socket.
    let reference = "r".repeat(64);
    let ask = frame(TEXT, json!({"type": "ping", "ref": reference}).to_string().as_bytes());
    let asks = ask.repeat(2_300);
    for raw in &mut crowd {
        raw.write(&asks).await;
    }
    let refused = tokio::time::timeout(DEADLINE, async {
        while reads_nothing(&server, sockets).await.is_some() {}
    });
    let was_refused = refused.await.is_ok();
    // As long as it lasts, the limit is kept.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let most = peak.mib();
    let shed = told_4100(crowd).await;
    println!("{most} MiB at most, {shed} of {} were told to go", sockets / 8);
    for line in server.stderr().lines().filter(|line| line.contains("memory pressure")) {
        println!("{line}");
    }
    assert!(server.is_running(), "{}", server.stderr());
    assert!(was_refused, "newcomers were let in all the time");
    assert!(shed > 0, "nobody was told to go");
    assert!(most < LIMIT >> 20, "{most} MiB at most");
    recovers(&server, &mut healthy).await;
}

/// How many of them end with 4100 when they read at last.
async fn told_4100(crowd: Vec<Raw>) -> usize {
    let mut shed = 0;
    for mut raw in crowd.into_iter().step_by(8) {
        raw.may_be_cut = true;
        // What came so far; who is served still has no end.
        let reading = async {
            while let Some(frame) = raw.frame().await {
                if let Some((code, _)) = frame.close() {
                    return code == 4100;
                }
            }
            false
        };
        shed +=
            usize::from(tokio::time::timeout(Duration::from_millis(20), reading).await == Ok(true));
    }
    shed
}

/// Newcomers are let in and messages are taken again.
async fn recovers(server: &Server, healthy: &mut [crate::harness::Client]) {
    let begun = Instant::now();
    while reads_nothing(server, 0).await.is_none() {
        assert!(begun.elapsed() < DEADLINE, "nobody is let in any more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("newcomers again after {:?}", begun.elapsed());
    crate::harness::all_settled(healthy).await;
}
