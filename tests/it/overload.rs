//! Twice what is taken, for a while: what was accepted is delivered, what was refused was told so, memory stays, and
//! at once afterwards all is as before. `LOQUAT_SOAK=1` takes a minute (`scripts/soak overload`).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::faults::short_or_long;
use crate::harness::{Client, DEADLINE, Server, What, person};

/// Users in one conversation: 5 a second each, 200 a second together may pass, twice as much is sent.
const USERS: usize = 40;
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Told {
    sent: usize,
    accepted: BTreeSet<u64>,
    refused: usize,
}

/// Sends at its own pace, whatever comes back, until the time is over; then waits for the last answers.
async fn sender(mut client: Client, who: usize, until: Instant) -> Told {
    let mut told = Told::default();
    let begun = Instant::now();
    while Instant::now() < until {
        // By the clock and not by the loop: a busy machine sends as many.
        let due = (begun.elapsed().as_millis() / PAUSE.as_millis()) as usize + 1;
        while told.sent < due {
            let name = format!("{who}-{}", told.sent);
            let frame = json!({
                "type": "chat_message", "content": &name, "client_msg_id": &name, "ref": &name
            });
            client.send(frame).await;
            told.sent += 1;
        }
        sleep(PAUSE).await;
        while let Some(arrival) = client.try_arrival() {
            note(&mut told, &arrival.what);
        }
    }
    while told.accepted.len() + told.refused < told.sent {
        note(&mut told, &client.arrival().await.what);
    }
    told
}

fn note(told: &mut Told, what: &What) {
    let What::Frame(_, frame) = what else { panic!("{what:?}") };
    match frame["type"].as_str() {
        Some("ack") => {
            assert!(told.accepted.insert(frame["seq"].as_u64().expect("a number")), "acked twice");
        }
        Some("error") => {
            assert_eq!(frame["code"], "rate_limited", "{frame}");
            told.refused += 1;
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accepted_is_delivered_and_what_is_not_is_told() {
    let server = Server::with(&[("log.level", "info")]);
    let mut listener = server.join_v2("1", &person(USERS + 1), "").await.client;
    let mut clients = Vec::new();
    for who in 0..USERS {
        clients.push(server.join_v2("1", &person(1 + who), "").await.client);
    }
    let before = server.resident_bytes();
    let until = Instant::now() + short_or_long(Duration::from_secs(6), Duration::from_secs(60));
    let senders: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(who, client)| tokio::spawn(sender(client, who, until)))
        .collect();
    let (mut accepted, mut sent, mut refused) = (BTreeSet::new(), 0, 0);
    for sender in senders {
        let told = sender.await.expect("its failure was printed");
        sent += told.sent;
        refused += told.refused;
        accepted.extend(told.accepted);
    }
    println!("{sent} sent, {} accepted, {refused} refused", accepted.len());
    assert_eq!(accepted.len() + refused, sent, "each has an answer of its own");
    assert!(refused > sent / 20, "it was no overload: {refused} of {sent} refused");
    let mut seen = BTreeSet::new();
    while seen.len() < accepted.len() {
        let frame = listener.next().await;
        if frame["type"] == "chat_message" {
            seen.insert(frame["seq"].as_u64().expect("a number"));
        }
    }
    assert_eq!(seen, accepted, "what was accepted is what was delivered");
    let grown = server.resident_bytes().saturating_sub(before) >> 20;
    println!("{grown} MiB more memory");
    // What two segments of 4 MiB may keep in memory, and some.
    assert!(grown < 48, "{grown} MiB more memory");
    recovers(&server).await;
}

/// Somebody new is let in, says something and sees it.
async fn recovers(server: &Server) {
    let begun = Instant::now();
    let mut client = server.join_v2("1", &person(USERS + 2), "").await.client;
    client
        .send(json!({"type": "chat_message", "content": "afterwards", "client_msg_id": "last"}))
        .await;
    while client.next().await["type"] != "ack" {
        assert!(begun.elapsed() < DEADLINE, "no ack after the load");
        client
            .send(json!({"type": "chat_message", "content": "afterwards", "client_msg_id": "last"}))
            .await;
    }
    println!("as before after {:?}", begun.elapsed());
}
