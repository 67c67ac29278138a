//! A network that breaks: peers that vanish without a word or in the middle of a write, sends that take little or fail,
//! receives that find no buffer. Each touches its own socket and nobody else's.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::{Value, json};
use socket2::{SockFilter, SockRef};
use tokio::net::TcpSocket;

use super::short_or_long;
use crate::harness::raw::{TEXT, frame};
use crate::harness::{Client, DEADLINE, Faults, Raw, Server, What, all_settled, person};

/// From here on the peer's kernel drops all that comes, as if the cable were cut: no answer, no reset.
fn cut(raw: &Raw) {
    /// `BPF_RET | BPF_K`: of each packet so many bytes are taken.
    const RETURN: u16 = 0x06;
    let nothing = [SockFilter::new(RETURN, 0, 0, 0)];
    SockRef::from(&raw.stream)
        .attach_filter(&nothing)
        .expect("a socket's own filter needs no right");
}

fn long(n: usize) -> Value {
    json!({"type": "chat_message", "content": format!("{n} {}", "👍".repeat(5_000))})
}

/// Idle, it is found by a ping that nobody acknowledges; in a busy room by what it does not take.
#[tokio::test]
async fn a_half_open_peer_is_let_go_idle_or_in_a_busy_room() {
    let quick = [
        ("limits.ping_after_ms", "400"),
        ("limits.dead_after_ms", "300"),
        ("limits.stalled_ms", "900"),
    ];
    let base = [("offline_grace_ms", "0"), ("rate_limits", "off")];
    let settings = [&base[..], short_or_long(&quick[..], &[])].concat();
    let server = Server::with(&settings);
    let (idle_s, busy_s) = short_or_long((5, 6), (40, 70));
    for (is_busy, most_s) in [(false, idle_s), (true, busy_s)] {
        let mut watcher = server.join("1", &person(1)).await;
        let gone = server.raw_socket("1", 2).await;
        watcher.status(2, "online").await;
        cut(&gone);
        let begun = Instant::now();
        let mut said = 0;
        while !left(&mut watcher, 2) {
            let waited = begun.elapsed();
            assert!(waited < Duration::from_secs(most_s), "still there after {waited:?}");
            if is_busy {
                watcher.send(long(said)).await;
                said += 1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("busy: {is_busy}: let go after {:?}", begun.elapsed());
        watcher.close().await;
    }
}

/// Whether this user was said to be offline in what came so far.
fn left(watcher: &mut Client, user: u64) -> bool {
    let mut found = false;
    while let Some(arrival) = watcher.try_arrival() {
        let What::Frame(_, frame) = arrival.what else { panic!("{arrival:?}") };
        found |= frame["type"] == "user_status"
            && frame["status"] == "offline"
            && frame["user_id"] == json!(user);
    }
    found
}

/// They read up to some byte of a long message and reset: the rest of the room sees every message whole.
#[tokio::test]
async fn resets_in_the_middle_of_writes_touch_nobody_else() {
    let server = Server::with(&[("rate_limits", "off"), ("offline_grace_ms", "0")]);
    let mut room = server.room::<2>("1").await;
    for round in 0..short_or_long(25, 500) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 * 1024).expect("a TCP socket has it");
        let mut raw = Raw::over(socket.connect(server.address()).await.expect("it listens"));
        raw.upgrade(&server.path("1", &person(3))).await;
        for client in &mut room {
            client.status(3, "online").await;
        }
        room[0].send_all((0..3).map(|n| long(3 * round + n))).await;
        // Anywhere in what is under way: 997 has no small factor in common with a frame's length.
        let mut some = vec![0; 1 + round * 997 % 20_000];
        tokio::io::AsyncReadExt::read_exact(&mut raw.stream, &mut some).await.expect("it is sent");
        SockRef::from(&raw.stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket has it");
        drop(raw);
        for client in &mut room {
            for n in 0..3 {
                client.expect_like(&json!({"seq": 3 * round + n + 1})).await;
            }
            client.status(3, "offline").await;
        }
    }
    all_settled(&mut room).await;
}

/// Each send is cut to a few bytes, and each socket has hardly a buffer: no frame is torn or mixed with another
/// (each client parses all it gets).
#[tokio::test]
async fn sends_that_are_cut_short_never_mix_frames() {
    let faults = Faults::none();
    faults.send_buffers(4 * 1024);
    let server =
        Server::faulty(&faults, &[("rate_limits", "off"), ("limits.sockets_per_user", "99")]);
    let mut room = server.room::<4>("1").await;
    for bytes in [1, 7, 100, 4_000] {
        faults.sends_take(bytes);
        for client in &mut room {
            let frames =
                (0..3).map(|n| json!({"type": "chat_message", "content": format!("m {n}")}));
            client.send_all(frames).await;
            client.send_text("{\"type\":\"nothing\"}").await;
        }
        for client in &mut room {
            let mut seen = 0;
            while seen < 12 + 1 {
                let frame = client.next().await;
                seen += usize::from(frame["type"] == "chat_message" || frame["type"] == "error");
            }
        }
        room[0].send(long(bytes as usize)).await;
        for client in &mut room {
            client.expect("chat_message").await;
        }
    }
    assert!(faults.sends_changed() > 1_000, "only {} sends were cut", faults.sends_changed());
    faults.sends_take(0);
    all_settled(&mut room).await;
}

/// The kernel has no memory for a send: that socket ends, and is told nothing wrong; all can come back, resume, and
/// have missed nothing.
#[tokio::test]
async fn sends_without_buffers_end_sockets_and_lose_nothing() {
    for error in [Errno::NOBUFS, Errno::NOMEM] {
        let faults = Faults::none();
        let mut server = Server::faulty(&faults, &[("rate_limits", "off")]);
        let mut session = server.join_v2("1", &person(1), "").await;
        let name = |n: usize| format!("name-{n}");
        let send = |n: usize| json!({"type": "chat_message", "content": format!("message {n}"), "client_msg_id": name(n)});
        session.client.send(send(0)).await;
        session.client.until("ack").await;
        faults.sends_fail(Some(error));
        session.client.send_all((1..10).map(send)).await;
        let deadline = Instant::now() + DEADLINE;
        while !matches!(session.client.arrival().await.what, What::Dropped(_)) {
            assert!(Instant::now() < deadline, "{error}: the socket stays");
        }
        assert!(faults.sends_changed() > 0);
        faults.sends_fail(None);
        assert!(server.is_running(), "{error}");
        let mut session = server.join_v2("1", &person(1), "").await;
        session.client.send_all((0..10).map(send)).await;
        for _ in 0..10 {
            session.client.until("ack").await;
        }
        session.client.send(send(10)).await;
        let last = session.client.until("ack").await;
        assert_eq!(last["seq"], 11, "{error}: something is missing, or stored twice");
    }
}

/// More bytes at once than a core's pool has buffers: receiving goes on where it stopped, and nothing is lost.
#[tokio::test]
async fn receives_without_buffers_go_on() {
    const SOCKETS: usize = 60;
    const MESSAGES: usize = 60;
    let faults = Faults::none();
    let settings = [("shards", "1"), ("rate_limits", "off"), ("log.level", "info")];
    let server = Server::faulty(&faults, &settings);
    let mut sockets = Vec::new();
    for user in 0..SOCKETS {
        sockets.push(server.raw_socket(&format!("room-{user}"), 1 + user as u64).await);
    }
    // While it stands still 60 × 50 KB pile up in the kernel: three pools full.
    server.signal(Signal::STOP);
    for socket in &mut sockets {
        for n in 0..MESSAGES {
            let content = format!("{n} {}", "x".repeat(800));
            let text = json!({"type": "chat_message", "content": content}).to_string();
            socket.write(&frame(TEXT, text.as_bytes())).await;
        }
    }
    server.signal(Signal::CONT);
    for socket in &mut sockets {
        let mut next = 1;
        while next <= MESSAGES as u64 {
            let text = socket.frame().await.expect("it stays open").text();
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            if value["type"] == "chat_message" {
                assert_eq!(value["seq"], next);
                next += 1;
            }
        }
    }
    let empty = faults.pool_was_empty();
    println!("{empty} receives found the pool empty");
    assert!(empty > 0, "the pool was never empty: this shows nothing");
}
