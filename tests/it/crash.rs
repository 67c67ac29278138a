//! kill −9 at any moment: what any socket was shown is there afterwards, in the same order, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{Client, DEADLINE, Server, What, person};

/// What was shown in one conversation: seq → (id, content). Two sockets must agree on each.
pub type Shown = BTreeMap<u64, (u64, String)>;

const CONVERSATIONS: usize = 4;
/// A newcomer is shown this many, so no more are said in one conversation.
const MESSAGES_MAX: usize = 200;
const ROUNDS: usize = 5;

pub fn note(shown: &mut Shown, frame: &Value) {
    let number = |value: &Value| value.as_u64().expect("checked by the witness");
    let content = frame["message"]["content"].as_str().expect("checked by the witness").to_owned();
    let said = (number(&frame["message"]["id"]), content);
    let before = shown.insert(number(&frame["seq"]), said.clone());
    assert!(before.as_ref().is_none_or(|b| *b == said), "two sockets differ: {before:?}, {said:?}");
}

/// How many messages the writers have seen of their own and others', in all conversations.
type Count = Arc<AtomicUsize>;

/// Sends until the connection breaks, a few messages ahead of what comes back; returns what it saw.
async fn chatter(mut client: Client, who: usize, count: Count) -> Vec<Value> {
    const AHEAD: usize = 3;
    let (mut seen, mut sent) = (Vec::new(), 0);
    let most = MESSAGES_MAX / 2 - 10;
    loop {
        while sent < most && sent < seen.len() + AHEAD {
            let content = format!("message {sent} of {who}");
            client.send_all([json!({"type": "chat_message", "content": content})]).await;
            sent += 1;
        }
        match client.arrival().await.what {
            What::Frame(_, frame) if frame["type"] == "chat_message" => {
                count.fetch_add(1, Ordering::Relaxed);
                seen.push(frame);
            }
            What::Frame(..) => {}
            What::Dropped(_) => return seen,
            other => panic!("{}: {other:?}", client.name),
        }
    }
}

/// Reads until the connection breaks.
async fn listener(mut client: Client) -> Vec<Value> {
    let mut seen = Vec::new();
    let reading = async {
        loop {
            match client.arrival().await.what {
                What::Frame(_, frame) if frame["type"] == "chat_message" => seen.push(frame),
                What::Frame(..) => {}
                What::Dropped(_) => return,
                other => panic!("{}: {other:?}", client.name),
            }
        }
    };
    timeout(2 * DEADLINE, reading).await.expect("the server is killed sooner");
    seen
}

/// Two writers and a reader in each conversation; killed in their midst, when so many were seen.
async fn load_until_killed(server: &mut Server, round: usize, most: usize) -> Vec<Shown> {
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for conversation in 0..CONVERSATIONS {
        let name = format!("round-{round}-{conversation}");
        for who in 1..=2 {
            let client = server.join(&name, &person(10 * conversation + who)).await;
            writers.push((conversation, who, client));
        }
        let client = server.join(&name, &person(10 * conversation + 3)).await;
        readers.push((conversation, tokio::spawn(listener(client))));
    }
    let count = Count::default();
    let mut tasks = readers;
    for (conversation, who, client) in writers {
        tasks.push((conversation, tokio::spawn(chatter(client, who, Arc::clone(&count)))));
    }
    let deadline = Instant::now() + DEADLINE;
    while count.load(Ordering::Relaxed) < most {
        assert!(Instant::now() < deadline, "{count:?} of {most} messages came in time");
        tokio::task::yield_now().await;
    }
    server.kill9();
    let mut shown = vec![Shown::new(); CONVERSATIONS];
    for (conversation, task) in tasks {
        let seen = task.await.expect("its failure was printed");
        seen.iter().for_each(|frame| note(&mut shown[conversation], frame));
    }
    shown
}

/// All messages of a conversation as a newcomer is shown them, up to one that it says itself.
pub async fn stored(server: &Server, name: &str) -> Shown {
    let mut client = server.join(name, &person(99)).await;
    client.send(json!({"type": "chat_message", "content": "looking back"})).await;
    let mut all = Shown::new();
    loop {
        let frame = client.next().await;
        assert_eq!(frame["type"], "chat_message", "{frame}");
        if frame["message"].get("is_deleted").is_none() {
            let next = frame["seq"].as_u64().expect("checked by the witness");
            let last = all.last_key_value().map_or(0, |(seq, _)| *seq);
            assert_eq!(next, last + 1, "no seq is left out or given again");
            return all;
        }
        note(&mut all, &frame);
    }
}

pub fn check(name: &str, shown: &Shown, stored: &Shown) {
    for (seq, said) in shown {
        let kept = stored.get(seq);
        assert_eq!(kept, Some(said), "{name}: seq {seq} was shown and is not there");
    }
    let seqs: Vec<u64> = stored.keys().copied().collect();
    let dense: Vec<u64> = (1..=seqs.len() as u64).collect();
    assert_eq!(seqs, dense, "{name}: the stored seqs have a hole");
    let mut ids: Vec<u64> = stored.values().map(|(id, _)| *id).collect();
    let count = ids.len();
    ids.dedup();
    assert!(ids.is_sorted() && ids.len() == count, "{name}: ids are not rising");
    let mut texts: Vec<&str> = stored.values().map(|(_, text)| text.as_str()).collect();
    texts.retain(|text| *text != "looking back");
    texts.sort_unstable();
    let count = texts.len();
    texts.dedup();
    assert_eq!(texts.len(), count, "{name}: something is stored twice");
}

/// A moment that differs from run to run: after so many messages. A failure's output has it.
fn moment() -> usize {
    const ALL: usize = 2 * CONVERSATIONS * (MESSAGES_MAX - 20);
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    clock.expect("after 1970").subsec_micros() as usize % (ALL / 2) + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_shown_survives_kill_9_under_load() {
    let settings = [("rate_limits", "off"), ("history_on_connect", "200"), ("log.level", "info")];
    let mut server = Server::with(&settings);
    let mut all: Vec<(String, Shown)> = Vec::new();
    let (started, mut cut_off) = (Instant::now(), 0);
    for round in 0..ROUNDS {
        let moment = moment();
        println!("round {round}: killed when {moment} messages were seen");
        let shown = load_until_killed(&mut server, round, moment).await;
        let total: usize = shown.iter().map(Shown::len).sum();
        println!("  {total} messages were shown");
        cut_off += usize::from(total < CONVERSATIONS * (MESSAGES_MAX - 20));
        server.start_again();
        for (conversation, shown) in shown.into_iter().enumerate() {
            let name = format!("round-{round}-{conversation}");
            let stored = stored(&server, &name).await;
            check(&name, &shown, &stored);
            all.push((name, stored));
        }
    }
    // The rounds before are not forgotten by those after them.
    for (name, before) in &all {
        check(name, before, &stored(&server, name).await);
    }
    assert!(cut_off > 0, "the load was over before each kill");
    println!("{} conversations in {:.1} s", all.len(), started.elapsed().as_secs_f64());
}

/// Small segments and long texts: killed while full segments become pages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_while_pages_are_built_loses_nothing() {
    let settings = [("rate_limits", "off"), ("history_on_connect", "200"), ("log.level", "info")];
    let mut server = Server::with(&settings);
    let mut all = Vec::new();
    for round in 0..2 {
        // 6.4 MB in segments of 4 MiB: the second fills while the first is made into pages. Each
        // conversation is small enough to be replayed whole.
        let mut said = Vec::new();
        for conversation in 0..40 {
            let name = format!("long-{round}-{conversation}");
            let mut client = server.join(&name, &person(1)).await;
            let mut shown = Shown::new();
            for n in 0..4 {
                let content = format!("{n} {}", "👍".repeat(9_990));
                client.send(json!({"type": "chat_message", "content": content})).await;
                let frame = client.next().await;
                // Both segments are full: refused before numbering, and no harm.
                if frame["code"] != "storage_unavailable" {
                    note(&mut shown, &frame);
                }
            }
            said.push((name, shown));
        }
        server.kill9();
        server.start_again();
        for (name, shown) in said {
            let stored = stored(&server, &name).await;
            check(&name, &shown, &stored);
            all.push((name, stored));
        }
    }
    for (name, before) in all.iter().step_by(7) {
        check(name, before, &stored(&server, name).await);
    }
}

/// Killed while it starts, again and again: a start changes nothing that another cannot go on from.
#[tokio::test]
async fn kill_9_during_the_start_loses_nothing() {
    let mut server = Server::with(&[("history_on_connect", "200"), ("rate_limits", "off")]);
    let mut client = server.join("1", &person(1)).await;
    let mut shown = Shown::new();
    for n in 0..50 {
        note(&mut shown, &client.say(&format!("message {n}")).await);
    }
    server.kill9();
    for round in 0..8 {
        server.start_and_kill_after(Duration::from_millis(3 * round)).await;
    }
    server.start_again();
    check("1", &shown, &stored(&server, "1").await);
}

/// SIGTERM under load, and a second one while it drains: still nothing that was shown is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_twice_under_load_loses_nothing() {
    let settings = [("rate_limits", "off"), ("history_on_connect", "200")];
    let mut server = Server::with(&settings);
    let (mut tasks, count) = (Vec::new(), Count::default());
    for who in 1..=2 {
        let client = server.join("1", &person(who)).await;
        tasks.push(tokio::spawn(until_closed(client, who, Arc::clone(&count))));
    }
    let deadline = Instant::now() + DEADLINE;
    while count.load(Ordering::Relaxed) < 100 {
        assert!(Instant::now() < deadline, "{count:?} messages came in time");
        tokio::task::yield_now().await;
    }
    server.sigterm();
    server.sigterm();
    server.exited();
    let mut shown = Shown::new();
    for task in tasks {
        task.await.expect("its failure was printed").iter().for_each(|f| note(&mut shown, f));
    }
    assert!(!shown.is_empty());
    server.start_again();
    check("1", &shown, &stored(&server, "1").await);
}

async fn until_closed(mut client: Client, who: usize, count: Count) -> Vec<Value> {
    let (mut seen, mut sent) = (Vec::new(), 0);
    loop {
        while sent < MESSAGES_MAX / 2 - 10 && sent < seen.len() + 4 {
            let content = format!("message {sent} of {who}");
            client.send_all([json!({"type": "chat_message", "content": content})]).await;
            sent += 1;
        }
        match client.arrival().await.what {
            What::Frame(_, frame) if frame["type"] == "chat_message" => {
                count.fetch_add(1, Ordering::Relaxed);
                seen.push(frame);
            }
            What::Frame(..) => {}
            _ => return seen,
        }
    }
}
