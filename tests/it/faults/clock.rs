//! Clocks that jump and a process that stands still: timers are monotonic, times that are shown never go back.

use std::time::Duration;

use serde_json::{Value, json};

use super::short_or_long;
use crate::harness::token::now_s;
use crate::harness::{Client, Faults, Server, all_settled, is_like, person};

const HOUR: Duration = Duration::from_secs(3600);
const SETTINGS: [(&str, &str); 2] = [("history_on_connect", "200"), ("offline_grace_ms", "500")];

fn created_at(frame: &Value) -> String {
    frame["message"]["created_at"].as_str().expect("checked by the witness").to_owned()
}

/// Somebody whose token holds an hour before and after now.
async fn newcomer(server: &Server, id: u64) -> Client {
    let person =
        person(id).claim("iat", json!(now_s() - 3 * 3600)).claim("exp", json!(now_s() + 3 * 3600));
    server.join("1", &person).await
}

/// The room is there and talks, nobody was let go, whoever comes is let in and sees rising times
/// (the witness of each socket looks at them).
async fn goes_on(server: &Server, room: &mut [Client], id: u64) -> String {
    let said = created_at(&all_settled(room).await);
    for client in room.iter_mut() {
        client.quiet().await;
        let gone = json!({"status": "offline"});
        assert!(client.presence().iter().all(|status| !is_like(status, &gone)), "somebody left");
    }
    let mut late = newcomer(server, id).await;
    while created_at(&late.expect("chat_message").await) < said {}
    for client in room.iter_mut() {
        client.status(id, "online").await;
    }
    late.close().await;
    for client in room.iter_mut() {
        client.status(id, "offline").await;
    }
    said
}

/// An hour ahead, back, and an hour behind: nobody is timed out, nothing goes back, and a restart under a clock
/// that is behind goes on from the newest time there is.
#[tokio::test]
async fn a_wall_clock_that_jumps_times_nobody_out_and_times_never_go_back() {
    let faults = Faults::none();
    let mut server = Server::faulty(&faults, &SETTINGS);
    let mut room = server.room::<3>("1").await;
    let before = goes_on(&server, &mut room, 10).await;
    faults.wall_clock(HOUR, 1);
    let ahead = goes_on(&server, &mut room, 11).await;
    assert!(ahead[..13] > before[..13], "the clock jumped: {before}, {ahead}");
    faults.wall_clock(Duration::ZERO, 1);
    let back = goes_on(&server, &mut room, 12).await;
    assert!(back >= ahead, "created_at goes back: {ahead}, {back}");
    faults.wall_clock(HOUR, -1);
    assert!(goes_on(&server, &mut room, 13).await >= back);
    drop(room);
    server.kill9();
    // The machine's own clock, an hour behind what was stored last.
    server.start_again();
    let mut late = newcomer(&server, 14).await;
    for _ in 0..4 {
        late.expect("chat_message").await;
    }
    let after = created_at(&late.say("after the restart").await);
    assert!(after >= back, "created_at goes back over a restart: {back}, {after}");
}

/// A token's end is counted from when it came: a clock that jumps ends no session.
#[tokio::test]
async fn a_session_outlives_a_jump_over_the_end_of_its_token() {
    let faults = Faults::none();
    let server = Server::faulty(&faults, &[]);
    let mut session = server.join_v2("1", &person(1), "").await;
    faults.wall_clock(2 * HOUR, 1);
    session.client.send(json!({"type": "ping", "ref": "still here"})).await;
    session.client.expect_like(&json!({"type": "pong", "ref": "still here"})).await;
    // A newcomer's is judged by the clock as it is now.
    let mut late = server.connect(&server.path("1", &person(2))).await;
    assert_eq!(late.closed().await.0, 4001);
    session.client.quiet().await;
}

/// The whole process stands still for longer than its peers may be silent.
#[tokio::test]
async fn a_process_that_stood_still_lets_nobody_go() {
    let pause = short_or_long(Duration::from_secs(4), Duration::from_secs(40));
    let quick = [("limits.ping_after_ms", "1000"), ("limits.dead_after_ms", "1000")];
    // With the limits of `serve` it takes 35 s of silence.
    let server = Server::with(short_or_long(&quick[..], &[]));
    let mut rooms = Vec::new();
    for n in 0..8 {
        rooms.push(server.room::<3>(&format!("room-{n}")).await);
    }
    server.signal(rustix::process::Signal::STOP);
    tokio::time::sleep(pause).await;
    server.signal(rustix::process::Signal::CONT);
    for room in &mut rooms {
        all_settled(room).await;
    }
}
