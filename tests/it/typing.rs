//! Typing: who hears of it, how often, and how it looks in a page that clears it on a timer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{sleep_until, timeout};

use crate::harness::{Client, DEADLINE, Server, What, all_see, all_settled, nameless, person};

fn typing(is_typing: bool) -> Value {
    json!({"type": "typing_indicator", "is_typing": is_typing})
}

fn seen(user: u64, is_typing: bool) -> Value {
    json!({"type": "typing_indicator", "user_id": user, "is_typing": is_typing})
}

#[tokio::test]
async fn others_see_typing_with_a_name_and_the_typist_does_not() {
    let server = Server::start();
    let mut room = server.room::<3>("1").await;
    let mut tab = server.join("1", &person(1)).await;
    room[0].send(typing(true)).await;
    for client in &mut room[1..] {
        let frame = client.expect_like(&seen(1, true)).await;
        assert_eq!(frame["user_name"], "First1 Last1");
    }
    room[0].send(typing(false)).await;
    all_see(&mut room[1..], &seen(1, false)).await;
    room[0].quiet().await;
    tab.quiet().await;
}

#[tokio::test]
async fn a_name_is_first_and_last_else_the_mail_else_the_id() {
    let server = Server::start();
    let mut watcher = server.join("1", &person(1)).await;
    let cases = [
        (person(2), "First2 Last2"),
        (nameless(3).claim("first_name", json!(" Ann ")), "Ann"),
        (nameless(4).claim("last_name", json!("Lee")), "Lee"),
        (nameless(5).claim("email", json!("five@chat.test")), "five@chat.test"),
        (nameless(6), "User 6"),
        (nameless("ann"), "User ann"),
    ];
    for (who, name) in cases {
        let mut typist = server.join("1", &who).await;
        watcher.status(who.id.clone(), "online").await;
        typist.send(typing(true)).await;
        let frame = watcher.expect_like(&json!({"user_id": who.id, "is_typing": true})).await;
        assert_eq!(frame["user_name"], name);
        typist.send(typing(false)).await;
        watcher.expect_like(&json!({"user_id": who.id, "is_typing": false})).await;
    }
}

#[tokio::test]
async fn keystrokes_close_together_are_one_frame() {
    let server = Server::start();
    let mut room = server.room::<3>("1").await;
    for _ in 0..200 {
        room[0].send(typing(true)).await;
    }
    room[0].ping().await;
    for client in &mut room[1..] {
        client.expect_like(&seen(1, true)).await;
    }
    // A frame per keystroke would come before this.
    room[1].say("somebody else speaks").await;
    room[2].expect("chat_message").await;
}

#[tokio::test]
async fn a_message_ends_its_senders_typing() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    room[0].send(typing(true)).await;
    room[1].expect_like(&seen(1, true)).await;
    room[0].say("what I was typing").await;
    let mut kinds = [room[1].next().await, room[1].next().await];
    kinds.sort_by_key(|frame| frame["type"].to_string());
    assert_eq!(kinds[0]["type"], "chat_message");
    assert!(crate::harness::is_like(&kinds[1], &seen(1, false)), "{kinds:?}");
    // Anew, at once: the burst has ended.
    room[0].send(typing(true)).await;
    room[1].expect_like(&seen(1, true)).await;
}

#[tokio::test]
async fn leaving_ends_typing() {
    let server = Server::start();
    let [typist, mut other] = server.room("1").await;
    let mut typist = typist;
    typist.send(typing(true)).await;
    other.expect_like(&seen(1, true)).await;
    let left = Instant::now();
    typist.close().await;
    other.expect_like(&seen(1, false)).await;
    assert!(left.elapsed() < Duration::from_secs(3), "not by its own time-out");
}

#[tokio::test]
async fn silence_ends_typing_by_itself() {
    let server = Server::start();
    let mut room = server.room::<2>("1").await;
    room[0].send(typing(true)).await;
    let mut times = Vec::new();
    for is_typing in [true, false] {
        let arrival = next_typing(&mut room[1]).await;
        assert_eq!(arrival.1, is_typing);
        times.push(arrival.0);
    }
    let after = times[1] - times[0];
    let expected = Duration::from_millis(3_000)..Duration::from_millis(4_500);
    assert!(expected.contains(&after), "ended after {after:?}");
    all_settled(&mut room).await;
}

async fn next_typing(client: &mut Client) -> (Instant, bool) {
    loop {
        let arrival = client.arrival().await;
        if let What::Frame(_, frame) = arrival.what
            && frame["type"] == "typing_indicator"
        {
            return (arrival.at, frame["is_typing"] == true);
        }
    }
}

/// What somebody does at the keyboard, in ms from the start.
const TYPES: [std::ops::Range<u64>; 2] = [0..4_000, 4_500..9_000];
const KEYSTROKE_MS: u64 = 150;

/// The guide's hook starts a 3 s timer on each `true` and never clears one: the line is gone when
/// any of them ends. Typed, sent, typed on: an old timer must not hide the new line for long.
#[tokio::test]
async fn in_the_guides_page_the_line_is_there_while_somebody_types() {
    let server = Server::start();
    let [mut typist, mut watcher] = server.room("1").await;
    let start = Instant::now();
    let watching = tokio::spawn(async move {
        let mut arrivals = Vec::new();
        let until = start + Duration::from_millis(TYPES[1].end);
        while let Ok(arrival) = timeout(left(until), next_typing(&mut watcher)).await {
            arrivals.push(arrival);
        }
        arrivals
    });
    for keys in TYPES {
        for at in keys.clone().step_by(KEYSTROKE_MS as usize) {
            sleep_until((start + Duration::from_millis(at)).into()).await;
            typist.send(typing(true)).await;
        }
        if keys.start == 0 {
            typist.send(json!({"type": "chat_message", "content": "half of it"})).await;
            typist.send(typing(false)).await;
        }
    }
    let arrivals = timeout(DEADLINE, watching).await.expect("it ends by its clock");
    let arrivals = arrivals.expect("the watcher did not panic");
    let visible = visible_share(&arrivals, start);
    println!("visible {:.1} % of the time, {} frames", visible * 100.0, arrivals.len());
    assert!(visible >= 0.93, "visible {:.1} %: {arrivals:?}", visible * 100.0);
    assert!(arrivals.len() <= 14, "{} frames in nine seconds", arrivals.len());
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// The share of the typing time in which the hook's line is there.
fn visible_share(arrivals: &[(Instant, bool)], start: Instant) -> f64 {
    let ms = |at: Instant| at.saturating_duration_since(start).as_millis() as u64;
    let mut changes = Vec::new();
    for &(at, is_typing) in arrivals {
        changes.push((ms(at), is_typing));
        if is_typing {
            changes.push((ms(at) + 3_000, false));
        }
    }
    changes.sort_unstable();
    let shown_at = |now: u64| changes.iter().rev().find(|(at, _)| *at <= now).is_some_and(|c| c.1);
    let times: Vec<u64> = TYPES.into_iter().flatten().collect();
    let shown = times.iter().filter(|now| shown_at(**now)).count();
    shown as f64 / times.len() as f64
}

#[test]
fn the_share_is_what_the_hook_shows() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let check = |arrivals: &[(Instant, bool)], percent: u64| {
        assert_eq!((visible_share(arrivals, start) * 100.0) as u64, percent);
    };
    check(&[], 0);
    check(&[(at(0), true), (at(3_000), true), (at(6_000), true)], 100);
    // 3 s of 8.5 s.
    check(&[(at(0), true)], 35);
    // The first timer hides what the second started.
    check(&[(at(0), true), (at(2_000), true)], 35);
}
