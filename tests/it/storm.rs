//! The receipt storm: the guide's ChatRoom sends a receipt for every message it holds each time its
//! list changes, and each receipt that comes changes the list. It must end, cheaply.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Server, all_settled};

/// The guide's component: what it holds, and what it does when that changes.
struct ChatRoom {
    client: Client,
    held: Vec<u64>,
    receipts: Vec<Message>,
    marks: HashMap<String, u64>,
    sent: usize,
    received: usize,
}

struct Size {
    users: usize,
    messages: usize,
}

impl ChatRoom {
    fn new(client: Client) -> ChatRoom {
        let (held, receipts, marks) = Default::default();
        ChatRoom { client, held, receipts, marks, sent: 0, received: 0 }
    }

    /// `setMessages` with a new list, and the effect that runs on it.
    async fn changed(&mut self) {
        self.sent += self.receipts.len();
        self.client.send_many(&self.receipts).await;
    }

    async fn handle(&mut self, frame: &Value) {
        self.received += 1;
        match frame["type"].as_str() {
            Some("chat_message") => {
                let id = frame["message"]["id"].as_u64().expect("checked by the witness");
                self.held.push(id);
                let receipt = json!({"type": "read_receipt", "message_id": id});
                self.receipts.push(Message::text(receipt.to_string()));
            }
            Some("read_receipt") => {
                let id = frame["message_id"].as_u64().expect("checked by the witness");
                self.marks.insert(frame["user_id"].to_string(), id);
            }
            // Presence and typing change other state; errors and closes fail the test.
            Some("user_status") => return,
            _ => panic!("{}: {frame}", self.client.name),
        }
        self.changed().await;
    }

    /// All messages are there, and everybody has read the last: by a receipt, or by writing it.
    fn has_converged(&self, size: &Size, author_of_last: &str) -> bool {
        let last = self.held.last().copied();
        let readers = self
            .marks
            .iter()
            .filter(|(user, mark)| Some(**mark) == last && *user != author_of_last);
        self.held.len() == size.messages && readers.count() >= size.users - 1
    }
}

/// Lets them chat until all have seen that all have read all; frames in and out.
async fn storm(server: &Server, size: Size, room: Vec<Client>) -> (usize, usize, Vec<Client>) {
    let mut tasks = Vec::new();
    for (who, mut client) in room.into_iter().enumerate() {
        let own = (0..size.messages).filter(move |n| n % size.users == who);
        let author_of_last = ((size.messages - 1) % size.users + 1).to_string();
        let size = Size { ..size };
        tasks.push(tokio::spawn(async move {
            let say = |n| json!({"type": "chat_message", "content": format!("message {n}")});
            client.send_all(own.map(say)).await;
            let mut page = ChatRoom::new(client);
            while !page.has_converged(&size, &author_of_last) {
                let frame = page.client.raw_frame().await;
                page.handle(&frame).await;
            }
            page
        }));
    }
    let (mut sent, mut received, mut clients) = (0, 0, Vec::new());
    for task in tasks {
        let page = task.await.expect("a page's failure was printed");
        sent += page.sent;
        received += page.received;
        clients.push(page.client);
    }
    assert!(server.resident_bytes() < 512 << 20, "{} bytes", server.resident_bytes());
    (sent, received, clients)
}

/// After the last receipts are digested nothing more comes: the storm has ended.
async fn ended(clients: &mut [Client]) {
    let done = json!({"type": "chat_message", "content": "the end"});
    clients[0].send(done).await;
    for client in clients.iter_mut() {
        client.until_like(&json!({"message": {"content": "the end"}})).await;
    }
    all_settled(clients).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_pages_with_a_hundred_messages_come_to_rest() {
    let size = Size { users: 10, messages: 100 };
    let server = Server::with(&[("rate_limits", "off"), ("log.level", "info")]);
    let room: Vec<Client> = server.room::<10>("storm").await.into();
    let started = Instant::now();
    let (sent, received, mut clients) = storm(&server, size, room).await;
    println!(
        "{sent} receipts in, {received} frames out, {:.2} s until all agreed",
        started.elapsed().as_secs_f64(),
    );
    // 100 messages and at most a receipt per user and message, to each of 10.
    assert!(received <= 10 * (100 + 10 * 100), "{received} frames went out");
    ended(&mut clients).await;
    println!("{:.2} s until rest", started.elapsed().as_secs_f64());
}

/// With the limits of production: receipts are paced, never taken for a flood or a bad frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storm_is_no_flood() {
    let size = Size { users: 6, messages: 48 };
    let server = Server::start();
    let room: Vec<Client> = server.room::<6>("storm").await.into();
    let started = Instant::now();
    let (sent, _, mut clients) = storm(&server, size, room).await;
    println!("{sent} receipts in, within limits, in {:.2} s", started.elapsed().as_secs_f64());
    ended(&mut clients).await;
    assert!(started.elapsed() < Duration::from_secs(40));
}
