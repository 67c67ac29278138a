//! Peers that are slow, silent or gone, and a machine that runs out of descriptors: the others must
//! not notice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::harness::raw::{PING, PONG, TEXT, frame};
use crate::harness::{DEADLINE, Raw, Server, What, all_settled, person};

/// A socket in this conversation whose kernel takes only little for it, and that reads nothing.
async fn slow_reader(server: &Server, conversation: &str, user: u64) -> Raw {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 * 1024).expect("a TCP socket has it");
    let stream = socket.connect(server.address()).await.expect("it listens");
    let mut raw = Raw::over(stream);
    raw.upgrade(&server.path(conversation, &person(user))).await;
    raw
}

/// A message of 40 KB.
fn long(n: usize) -> Value {
    json!({"type": "chat_message", "content": format!("{n} {}", "👍".repeat(9_990))})
}

const FLOOD: usize = 300;

/// What a raw socket is shown from now on: the last seq of an unbroken run from `next` on, and the
/// close, if one ended it before `last`.
async fn followed(raw: &mut Raw, mut next: u64, last: u64) -> (u64, Option<(u16, String)>) {
    while next <= last {
        let Some(frame) = raw.frame().await else { break };
        if frame.close().is_some() {
            return (next - 1, frame.close());
        }
        let text = if frame.first == TEXT { frame.payload } else { b"null".to_vec() };
        let frame: Value = serde_json::from_slice(&text).expect("it is JSON");
        if let Some(seq) = frame["seq"].as_u64() {
            assert_eq!(seq, next, "a hole, or a repeat");
            next += 1;
        }
    }
    (next - 1, None)
}

/// P3 and P8: it sees each seq once and in order, however late, and costs no more than its outbox.
#[tokio::test]
async fn a_slow_reader_follows_the_log_until_it_is_level() {
    // A raw socket answers no pings.
    let settings =
        [("rate_limits", "off"), ("offline_grace_ms", "0"), ("limits.ping_after_ms", "3600000")];
    let server = Server::with(&settings);
    let mut room = server.room::<2>("1").await;
    let mut slow = slow_reader(&server, "1", 3).await;
    for client in &mut room {
        client.status(3, "online").await;
    }
    let before = server.resident_bytes();
    for said in 0..FLOOD {
        room[0].send(long(said)).await;
        for client in &mut room {
            client.expect_like(&json!({"seq": said + 1})).await;
        }
    }
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{FLOOD} messages of 40 KB to the others, {} KiB more memory", grown / 1024);
    assert!(grown < 64 << 20, "{grown} bytes more for one slow reader");
    assert!(room[0].presence().is_empty(), "it was let go");
    let last = FLOOD as u64;
    assert_eq!(followed(&mut slow, 1, last).await, (last, None));
    let live = all_settled(&mut room).await["seq"].as_u64().expect("a number");
    assert_eq!(followed(&mut slow, live, live).await, (live, None));
}

#[tokio::test]
async fn who_takes_nothing_at_all_is_let_go() {
    let settings =
        [("rate_limits", "off"), ("offline_grace_ms", "0"), ("limits.stalled_ms", "700")];
    let server = Server::with(&settings);
    let mut room = server.room::<2>("1").await;
    let mut slow = slow_reader(&server, "1", 3).await;
    for client in &mut room {
        client.status(3, "online").await;
    }
    for n in 0..FLOOD {
        room[0].send(long(n)).await;
        for client in &mut room {
            client.until_like(&json!({"seq": n + 1})).await;
        }
    }
    // Gone for the others, while it still has not read a byte.
    for client in &mut room {
        client.status(3, "offline").await;
    }
    all_settled(&mut room).await;
    // The close is best effort behind what was queued; the end itself is sure.
    let left = slow.rest().await;
    println!("{} KiB were under way when it was let go", left.len() / 1024);
}

#[tokio::test]
async fn a_dead_peer_is_found_by_a_ping_and_a_quiet_one_lives() {
    let settings = [
        ("limits.ping_after_ms", "300"),
        ("limits.dead_after_ms", "300"),
        ("offline_grace_ms", "0"),
    ];
    let server = Server::with(&settings);
    let mut watcher = server.join("1", &person(1)).await;
    let mut quiet = server.raw_socket("1", 2).await;
    watcher.status(2, "online").await;
    let started = Instant::now();
    // The quiet one answers pings and says nothing else.
    let living = tokio::spawn(async move {
        while started.elapsed() < Duration::from_secs(2) {
            let frame = quiet.frame().await.expect("it is not let go");
            if frame.first == PING {
                quiet.write(&crate::harness::raw::frame(PONG, &frame.payload)).await;
            }
        }
        quiet
    });
    let mut dead = server.raw_socket("1", 3).await;
    watcher.status(3, "online").await;
    watcher.status(3, "offline").await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(550), "let go after {took:?}");
    assert!(took < Duration::from_secs(3), "let go after {took:?}");
    let rest = dead.rest().await;
    assert!(rest.contains(&PING), "it was asked first");
    let quiet = living.await.expect("it lived");
    drop(quiet);
    watcher.status(2, "offline").await;
}

/// A machine that slept has no right to call its peers dead.
#[tokio::test]
async fn a_process_that_was_stopped_lets_nobody_go() {
    let settings = [("limits.ping_after_ms", "500"), ("limits.dead_after_ms", "1000")];
    let server = Server::with(&settings);
    let mut room = server.room::<3>("1").await;
    for pause_ms in [600, 1_400, 2_600] {
        server.signal(rustix::process::Signal::STOP);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        server.signal(rustix::process::Signal::CONT);
        all_settled(&mut room).await;
    }
}

/// nginx cuts an upstream that is silent for 60 s: who only listens, and who only talks, is pinged.
#[tokio::test]
async fn a_silent_direction_is_pinged_too() {
    let server = Server::with(&[("limits.ping_after_ms", "400")]);
    let mut raw = server.raw_socket("1", 1).await;
    let started = Instant::now();
    let mut pinged = false;
    // It talks all the time, and nothing needs to be answered.
    while !pinged && started.elapsed() < Duration::from_secs(3) {
        raw.write(&frame(PONG, b"")).await;
        let waiting = tokio::time::timeout(Duration::from_millis(100), raw.frame()).await;
        pinged = waiting.is_ok_and(|frame| frame.is_some_and(|frame| frame.first == PING));
    }
    assert!(pinged, "nothing was sent for {:?}", started.elapsed());
}

/// As an operator would limit it. The reserve is kept for the store.
#[tokio::test]
async fn out_of_descriptors_open_sockets_live_and_new_ones_are_told() {
    let wrapper = ["sh", "-c", "ulimit -n 160; exec \"$@\"", "sh"];
    let server = Server::through(&wrapper, &[("limits.sockets_per_user", "1000")]);
    let mut first = server.room::<2>("1").await;
    let mut more = Vec::new();
    let mut refused = 0;
    for user in 0..200 {
        let mut raw = server.raw().await;
        let path = server.path("2", &person(100 + user));
        raw.write(format!("{}\r\n", crate::harness::raw::request(&path, &[])).as_bytes()).await;
        match raw.head().await {
            Some(head) if head.status == 101 => more.push(raw),
            Some(head) => {
                assert_eq!(head.status, 503, "{}", head.text);
                refused += 1;
            }
            None => refused += 1,
        }
        if refused >= 10 {
            break;
        }
    }
    println!("{} were let in, {refused} refused", more.len());
    assert!(refused >= 10, "the limit was never reached");
    assert!(more.len() >= 20, "only {} were let in", more.len());
    all_settled(&mut first).await;
    // The store can still open files, and probes are answered.
    assert_eq!(server.admin().call("GET", "/readyz", None).await.status, 200);
    more.clear();
    let deadline = Instant::now() + DEADLINE;
    let path = server.path("3", &person(7));
    loop {
        assert!(Instant::now() < deadline, "nobody is let in any more");
        let mut raw = server.raw().await;
        raw.write(format!("{}\r\n", crate::harness::raw::request(&path, &[])).as_bytes()).await;
        if raw.head().await.is_some_and(|head| head.status == 101) {
            break;
        }
    }
}

/// The kernel itself refuses: accepting must neither end nor spin.
#[tokio::test]
async fn emfile_neither_ends_nor_spins() {
    let mut server = Server::start();
    let mut room = server.room::<2>("1").await;
    server.set_descriptor_limit(server.descriptors() as u64);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(server.raw().await);
    }
    let before = server.cpu();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1_500) {
        all_settled(&mut room).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let used = server.cpu() - before;
    assert!(used < Duration::from_millis(700), "{used:?} of CPU in {:?}", started.elapsed());
    assert!(server.is_running());
    all_settled(&mut room).await;
}

#[tokio::test]
async fn idle_sockets_cost_nothing() {
    let server = Server::with(&[("limits.sockets_per_user", "100")]);
    let mut clients = Vec::new();
    for n in 0..50 {
        clients.push(server.join(&format!("room-{n}"), &person(1)).await);
    }
    let before = server.cpu();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let used = server.cpu() - before;
    assert!(used <= Duration::from_millis(150), "{used:?} of CPU in 1.5 idle seconds");
    for client in &mut clients {
        while let Some(arrival) = client.try_arrival() {
            assert!(matches!(arrival.what, What::Frame(..)), "{arrival:?}");
        }
    }
}

/// A frame a byte at a time from one peer delays nobody else.
#[tokio::test]
async fn a_byte_at_a_time_holds_up_nobody() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    let mut slow = server.raw_socket("1", 3).await;
    for client in &mut room {
        client.status(3, "online").await;
    }
    let bytes = frame(TEXT, b"{\"type\":\"chat_message\",\"content\":\"finally\"}");
    let (last, first) = bytes.split_last().expect("it has some");
    for (at, byte) in first.iter().enumerate() {
        slow.write(&[*byte]).await;
        if at % 16 == 0 {
            all_settled(&mut room).await;
        }
    }
    slow.write(&[*last]).await;
    for client in &mut room {
        client.expect_like(&json!({"message": {"content": "finally"}})).await;
    }
}
