//! Two hundred clients that come and go at random, each going on where it stopped, over one kill −9:
//! in the end everybody has the whole log, and what each of them sent is in it once.
//!
//! `LOQUAT_CHURN_S` makes it last longer than the few seconds of an ordinary run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{DEADLINE, Server, person};

const CLIENTS: usize = 200;
const CONVERSATIONS: usize = 8;
const SECONDS: u64 = 15;

type Socket = WebSocketStream<TcpStream>;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// One client over all of its connections.
struct Wanderer {
    who: usize,
    token: String,
    address: Arc<Mutex<SocketAddr>>,
    dice: Dice,
    epoch: Option<String>,
    /// Every event from the first on, without `client_msg_id`.
    events: Vec<Value>,
    sent: usize,
    /// Sent, and not known to be stored.
    open: BTreeMap<String, String>,
    connections: usize,
}

impl Wanderer {
    fn path(&self) -> String {
        let (conversation, since) = (self.who % CONVERSATIONS, self.events.len());
        let epoch = self.epoch.as_ref().map(|epoch| format!("&epoch={epoch}")).unwrap_or_default();
        format!("/ws/chat/room-{conversation}/?v=2&since={since}{epoch}&token={}", self.token)
    }

    /// Until the server takes it: it may be down, or on another port.
    async fn connect(&mut self) -> Socket {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < DEADLINE, "{}: not let in", self.who);
            let address = *self.address.lock().expect("no poison");
            let url = format!("ws://{address}{}", self.path());
            if let Ok(stream) = TcpStream::connect(address).await
                && let Ok((socket, _)) = tokio_tungstenite::client_async(url, stream).await
            {
                self.connections += 1;
                return socket;
            }
            sleep(Duration::from_millis(20 + self.dice.roll(80))).await;
        }
    }

    /// One connection of some time; `false` when it broke before.
    async fn visit(&mut self, stay: Duration, is_talking: bool) -> bool {
        let mut socket = self.connect().await;
        let until = Instant::now() + stay;
        // What may have been lost with the last connection is sent again under its name.
        for (name, content) in self.open.clone() {
            if !self.say(&mut socket, &name, &content).await {
                return false;
            }
        }
        let mut next_words = Instant::now();
        while Instant::now() < until {
            if is_talking && Instant::now() >= next_words {
                next_words += Duration::from_millis(250 + self.dice.roll(750));
                self.sent += 1;
                let name = format!("{}-{}", self.who, self.sent);
                let content = format!("words {} of {}", self.sent, self.who);
                self.open.insert(name.clone(), content.clone());
                if !self.say(&mut socket, &name, &content).await {
                    return false;
                }
            }
            let patience = next_words.min(until).saturating_duration_since(Instant::now());
            let patience = if is_talking { patience } else { until - Instant::now() };
            match timeout(patience, socket.next()).await {
                Err(_) => {}
                Ok(Some(Ok(Message::Text(text)))) => {
                    self.told(&serde_json::from_str(&text).expect("it is JSON"));
                }
                Ok(Some(Ok(Message::Ping(_)))) => {}
                Ok(_) => return false,
            }
        }
        true
    }

    async fn say(&self, socket: &mut Socket, name: &str, content: &str) -> bool {
        let frame = json!({"type": "chat_message", "content": content, "client_msg_id": name});
        socket.send(Message::text(frame.to_string())).await.is_ok()
    }

    fn told(&mut self, frame: &Value) {
        match frame["type"].as_str().unwrap_or_default() {
            "hello" => self.epoch = frame["epoch"].as_str().map(str::to_owned),
            "chat_message" => {
                let seq = frame["seq"].as_u64().expect("an event has a seq");
                let expected = self.events.len() as u64 + 1;
                assert_eq!(seq, expected, "{}: a hole or a double", self.who);
                let mut event = frame.clone();
                event.as_object_mut().expect("an object").remove("client_msg_id");
                self.events.push(event);
            }
            "ack" => {
                let name = frame["client_msg_id"].as_str().expect("all have a name");
                self.open.remove(name);
            }
            "presence" | "user_status" | "resumed" | "read_receipt" => {}
            "error" if frame["code"] == "rate_limited" => {}
            other => panic!("{}: {other}: {frame}", self.who),
        }
    }

    async fn wander(&mut self, until: Instant) {
        while Instant::now() < until {
            let stay = Duration::from_millis(100 + self.dice.roll(2_500));
            self.visit(stay, true).await;
            if self.dice.roll(3) == 0 {
                sleep(Duration::from_millis(self.dice.roll(1_500))).await;
            }
        }
    }

    /// Stays until nothing that it sent is open and it has so many events.
    async fn rest(&mut self, events: usize) {
        let begun = Instant::now();
        while !self.open.is_empty() || self.events.len() < events {
            let state = (self.open.len(), self.events.len());
            assert!(begun.elapsed() < DEADLINE, "{}: {state:?} of {events}", self.who);
            self.visit(Duration::from_millis(200), false).await;
        }
    }
}

async fn all<F: Future<Output = Wanderer> + Send + 'static>(
    clients: Vec<Wanderer>,
    each: impl Fn(Wanderer) -> F,
) -> Vec<Wanderer> {
    let tasks: Vec<_> = clients.into_iter().map(|client| tokio::spawn(each(client))).collect();
    let mut back = Vec::new();
    for task in tasks {
        back.push(task.await.expect("its failure was printed"));
    }
    back
}

#[tokio::test]
async fn whoever_comes_and_goes_has_the_whole_log_in_the_end() {
    let seconds = std::env::var("LOQUAT_CHURN_S").map_or(SECONDS, |s| s.parse().expect("seconds"));
    let mut server = Server::with(&[("shards", "2")]);
    let address = Arc::new(Mutex::new(server.address()));
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|who| Wanderer {
            who,
            token: server.token(&person(who + 1)),
            address: Arc::clone(&address),
            dice: Dice(seed + who as u64),
            epoch: None,
            events: Vec::new(),
            sent: 0,
            open: BTreeMap::new(),
            connections: 0,
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(seconds);
    let wandering = tokio::spawn(all(clients, move |mut client| async move {
        client.wander(until).await;
        client
    }));
    sleep(Duration::from_secs(seconds / 2)).await;
    server.kill9();
    server.start_again();
    *address.lock().expect("no poison") = server.address();
    let clients = wandering.await.expect("its failure was printed");

    let clients = all(clients, |mut client| async move {
        client.rest(0).await;
        client
    })
    .await;
    let longest: Vec<usize> = (0..CONVERSATIONS)
        .map(|of| clients.iter().filter(move |c| c.who % CONVERSATIONS == of))
        .map(|here| here.map(|c| c.events.len()).max().unwrap_or_default())
        .collect();
    let clients = all(clients, move |mut client| {
        let events = longest[client.who % CONVERSATIONS];
        async move {
            client.rest(events).await;
            client
        }
    })
    .await;
    check(&clients);
}

fn check(clients: &[Wanderer]) {
    let connections: usize = clients.iter().map(|client| client.connections).sum();
    let sent: usize = clients.iter().map(|client| client.sent).sum();
    println!("{connections} connections, {sent} messages");
    let mut stored = 0;
    for of in 0..CONVERSATIONS {
        let here: Vec<_> = clients.iter().filter(|c| c.who % CONVERSATIONS == of).collect();
        let log = &here[0].events;
        for client in &here {
            assert_eq!(client.events, *log, "{} has another history", client.who);
        }
        let contents: Vec<_> =
            log.iter().map(|event| event["message"]["content"].clone()).collect();
        let unique: BTreeSet<String> = contents.iter().map(Value::to_string).collect();
        assert_eq!(unique.len(), contents.len(), "something is stored twice");
        stored += contents.len();
    }
    assert_eq!(stored, sent, "everything that was sent is stored once");
    assert!(connections > 2 * CLIENTS && sent > CLIENTS);
}
