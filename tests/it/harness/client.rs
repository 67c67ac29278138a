//! A WebSocket client: tungstenite's framing, a task that always reads, deadlines on all waiting.
//!
//! Everything that comes is checked by a `Witness`; what it finds fails the test at the next look,
//! or when the client is dropped.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::process::{DEADLINE, Secrets};
use super::witness::Witness;

/// How many of the last arrivals a failure shows.
const TAIL: usize = 6;

type Socket = WebSocketStream<TcpStream>;

/// One thing that came, and when.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub at: Instant,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    /// A text frame: as it came, and parsed.
    Frame(String, Value),
    Pong(Vec<u8>),
    Closed(u16, String),
    /// The end without a close frame.
    Dropped(String),
    /// A frame that no client should be sent.
    Wrong(String),
}

pub struct Client {
    outgoing: SplitSink<Socket, Message>,
    incoming: mpsc::UnboundedReceiver<Arrival>,
    reading: tokio::task::JoinHandle<()>,
    presence: VecDeque<Value>,
    /// Taken by `join` while it waited for the own status.
    early: VecDeque<(String, Value)>,
    /// The last things that came, for failures.
    tail: VecDeque<String>,
    wrong: Arc<Mutex<Option<String>>>,
    secrets: Arc<Secrets>,
    pings: u64,
    pub response: Response,
    pub name: String,
}

impl Client {
    pub async fn connect(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
        secrets: Arc<Secrets>,
    ) -> Client {
        let connecting = Client::try_connect(address, path, headers, secrets);
        let made = timeout(DEADLINE, connecting).await.expect("the handshake takes too long");
        made.unwrap_or_else(|e| panic!("refused: {e}"))
    }

    async fn try_connect(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
        secrets: Arc<Secrets>,
    ) -> Result<Client, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        for (name, value) in headers {
            let name: tokio_tungstenite::tungstenite::http::HeaderName =
                name.parse().expect("a test's header is valid");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("it is valid"));
        }
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
        let (outgoing, reading) = socket.split();
        let (sender, incoming) = mpsc::unbounded_channel();
        let wrong = Arc::new(Mutex::new(None));
        let witness = Witness::of(path);
        let reading = tokio::spawn(read_all(reading, witness, sender, Arc::clone(&wrong)));
        let name = path.split('?').next().unwrap_or("").to_owned();
        let (presence, early, tail) = Default::default();
        let pings = 0;
        Ok(Client {
            outgoing,
            incoming,
            reading,
            presence,
            early,
            tail,
            wrong,
            secrets,
            pings,
            response,
            name,
        })
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.secrets.add_sent(text);
        self.send_message(Message::text(text)).await;
    }

    pub async fn send_message(&mut self, message: Message) {
        let sending = timeout(DEADLINE, self.outgoing.send(message)).await;
        let sent = sending.expect("the server does not read");
        sent.unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }

    /// Hands many frames to the kernel in few writes; an error is told by what is read.
    pub async fn send_all(&mut self, frames: impl IntoIterator<Item = Value>) {
        for frame in frames {
            let text = frame.to_string();
            self.secrets.add_sent(&text);
            let feeding = timeout(DEADLINE, self.outgoing.feed(Message::text(text)));
            feeding.await.expect("the server does not read").ok();
        }
        timeout(DEADLINE, self.outgoing.flush()).await.expect("the server does not read").ok();
    }

    /// The same for frames that were made before.
    pub async fn send_many(&mut self, frames: &[Message]) {
        for frame in frames {
            frame.to_text().into_iter().for_each(|text| self.secrets.add_sent(text));
            let feeding = timeout(DEADLINE, self.outgoing.feed(frame.clone()));
            feeding.await.expect("the server does not read").ok();
        }
        timeout(DEADLINE, self.outgoing.flush()).await.expect("the server does not read").ok();
    }

    /// The next thing that comes, whatever it is.
    pub async fn arrival(&mut self) -> Arrival {
        self.arrival_within(DEADLINE).await
    }

    /// The same, where it may take longer.
    pub async fn arrival_within(&mut self, patience: Duration) -> Arrival {
        let arrival = timeout(patience, self.incoming.recv()).await;
        let Ok(Some(arrival)) = arrival else {
            let tail: Vec<&str> = self.tail.iter().map(String::as_str).collect();
            panic!("{}: nothing comes any more after\n  {}", self.name, tail.join("\n  "));
        };
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(format!("{:?}", arrival.what));
        if let What::Wrong(why) = &arrival.what {
            self.wrong.lock().expect("no poison").take();
            panic!("{}: {why}", self.name);
        }
        arrival
    }

    /// What has come so far.
    pub fn try_arrival(&mut self) -> Option<Arrival> {
        self.incoming.try_recv().ok()
    }

    /// The next text frame, presence too.
    pub async fn raw_frame(&mut self) -> Value {
        self.text_frame().await.1
    }

    async fn text_frame(&mut self) -> (String, Value) {
        if let Some(early) = self.early.pop_front() {
            return early;
        }
        self.fresh_frame().await
    }

    /// The own status after the 101. What is replayed before it is put back, in its order.
    pub async fn own_status(&mut self) -> Value {
        let mut replayed = VecDeque::new();
        loop {
            let (text, frame) = self.fresh_frame().await;
            if frame["type"] == "user_status" {
                self.early = replayed;
                return frame;
            }
            assert!(frame["message"].get("is_deleted").is_some(), "{}: {text}", self.name);
            replayed.push_back((text, frame));
        }
    }

    async fn fresh_frame(&mut self) -> (String, Value) {
        match self.arrival().await.what {
            What::Frame(text, value) => (text, value),
            other => panic!("{}: a frame was expected, not {other:?}", self.name),
        }
    }

    /// The next frame. Presence is put aside: `status` looks there.
    pub async fn next(&mut self) -> Value {
        self.next_text().await.1
    }

    pub async fn next_text(&mut self) -> (String, Value) {
        loop {
            let (text, frame) = self.text_frame().await;
            if frame["type"] != "user_status" {
                return (text, frame);
            }
            self.presence.push_back(frame);
        }
    }

    /// The next frame, which must be of this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        self.expect_like(&json!({ "type": kind })).await
    }

    /// The next frame, which must have these fields with these values.
    pub async fn expect_like(&mut self, pattern: &Value) -> Value {
        let frame = self.next().await;
        assert!(is_like(&frame, pattern), "{}: expected {pattern}, came {frame}", self.name);
        frame
    }

    /// Skips to the next frame with these fields.
    pub async fn until_like(&mut self, pattern: &Value) -> Value {
        loop {
            let frame = self.next().await;
            if is_like(&frame, pattern) {
                return frame;
            }
        }
    }

    pub async fn until(&mut self, kind: &str) -> Value {
        self.until_like(&json!({ "type": kind })).await
    }

    /// The next frame, which must be an error with this code.
    pub async fn error(&mut self, code: &str) -> Value {
        self.expect_like(&json!({"type": "error", "code": code})).await
    }

    /// Waits until this user was said to be `online` or `offline`. Other presence before it is
    /// dropped; other frames are a failure.
    pub async fn status(&mut self, user: impl Into<Value>, status: &str) -> Value {
        let pattern = json!({"type": "user_status", "user_id": user.into(), "status": status});
        while let Some(frame) = self.presence.pop_front() {
            if is_like(&frame, &pattern) {
                return frame;
            }
        }
        loop {
            let frame = self.raw_frame().await;
            assert_eq!(frame["type"], "user_status", "{}: {pattern} was expected", self.name);
            if is_like(&frame, &pattern) {
                return frame;
            }
        }
    }

    /// Presence that came and was not looked at.
    pub fn presence(&mut self) -> Vec<Value> {
        self.presence.drain(..).collect()
    }

    /// Two round trips: after the first the server has read all that was sent before, and before
    /// the second its turn with the answers is over. Frames that come meanwhile are given back.
    pub async fn ping(&mut self) -> Vec<Value> {
        let mut frames = self.ping_once().await;
        frames.extend(self.ping_once().await);
        frames
    }

    async fn ping_once(&mut self) -> Vec<Value> {
        self.pings += 1;
        let payload = self.pings.to_be_bytes().to_vec();
        self.send_message(Message::Ping(payload.clone().into())).await;
        let mut frames = Vec::new();
        loop {
            match self.arrival().await.what {
                What::Pong(echo) if echo == payload => return frames,
                What::Frame(_, frame) if frame["type"] == "user_status" => {
                    self.presence.push_back(frame);
                }
                What::Frame(_, frame) => frames.push(frame),
                other => panic!("{}: a pong was expected, not {other:?}", self.name),
            }
        }
    }

    /// Nothing comes before the answer to a ping.
    pub async fn quiet(&mut self) {
        let frames = self.ping().await;
        assert!(frames.is_empty(), "{}: silence was expected, not {frames:?}", self.name);
    }

    /// Sends a message, and takes it as the next frame: so nothing else was under way to this
    /// socket in this conversation.
    pub async fn say(&mut self, content: &str) -> Value {
        self.send(json!({"type": "chat_message", "content": content})).await;
        let pattern = json!({"type": "chat_message", "message": {"content": content.trim()}});
        self.expect_like(&pattern).await
    }

    /// Closes as a browser does when its page goes.
    pub async fn close(mut self) {
        self.send_message(Message::Close(None)).await;
        self.closed().await;
    }

    /// Skips to the end: the close frame's code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.arrival().await.what {
                What::Closed(code, reason) => return (code, reason),
                What::Dropped(why) => panic!("{}: dropped without a close: {why}", self.name),
                _ => {}
            }
        }
    }

    /// Whether the first thing after the 101 is a frame, and not a close.
    pub async fn let_in(mut self) -> bool {
        matches!(self.arrival().await.what, What::Frame(..))
    }

    /// The next thing must be a close with this code and reason.
    pub async fn closed_with(&mut self, code: u16, reason: &str) {
        match self.arrival().await.what {
            What::Closed(c, r) => assert_eq!((c, r.as_str()), (code, reason), "{}", self.name),
            other => panic!("{}: close {code} was expected, not {other:?}", self.name),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // With the other half gone, the connection ends without a close frame.
        self.reading.abort();
        let wrong = self.wrong.lock().expect("no poison").take();
        if let (Some(why), false) = (wrong, std::thread::panicking()) {
            panic!("{}: {why}", self.name);
        }
    }
}

async fn read_all(
    mut reading: SplitStream<Socket>,
    mut witness: Witness,
    sender: mpsc::UnboundedSender<Arrival>,
    wrong: Arc<Mutex<Option<String>>>,
) {
    let mut closed = false;
    while let Some(message) = reading.next().await {
        let what = match message {
            Ok(Message::Text(text)) => match witness.see(&text) {
                Ok(value) => What::Frame(text.to_string(), value),
                Err(why) => What::Wrong(why),
            },
            Ok(Message::Binary(_)) => What::Wrong("the server never sends binary".to_owned()),
            Ok(Message::Pong(bytes)) => What::Pong(bytes.to_vec()),
            Ok(Message::Close(frame)) => {
                closed = true;
                let frame = frame.map(|f| (u16::from(f.code), f.reason.to_string()));
                let (code, reason) = frame.unwrap_or((1005, String::new()));
                What::Closed(code, reason)
            }
            Ok(Message::Ping(_) | Message::Frame(_)) => continue,
            Err(_) if closed => return,
            Err(error) => What::Dropped(error.to_string()),
        };
        if let What::Wrong(why) = &what {
            wrong.lock().expect("no poison").get_or_insert(why.clone());
        }
        // Nobody listens any more: go on reading, so that the server can finish.
        let _ = sender.send(Arrival { at: Instant::now(), what });
    }
    if !closed {
        let what = What::Dropped("the end of the stream".to_owned());
        let _ = sender.send(Arrival { at: Instant::now(), what });
    }
}

/// Whether all that the pattern says is so; what it does not name may be anything.
pub fn is_like(value: &Value, pattern: &Value) -> bool {
    match pattern {
        Value::Object(fields) => {
            fields.iter().all(|(key, wanted)| value.get(key).is_some_and(|v| is_like(v, wanted)))
        }
        other => value == other,
    }
}

/// The next frame of each, which must be the same to the byte and like this.
pub async fn all_see(clients: &mut [Client], pattern: &Value) -> Value {
    let mut first: Option<(String, Value)> = None;
    for client in clients {
        let (text, frame) = client.next_text().await;
        assert!(is_like(&frame, pattern), "{}: expected {pattern}, came {text}", client.name);
        let (same, _) = first.get_or_insert((text.clone(), frame));
        assert_eq!(*same, text, "{}: not the bytes that the others got", client.name);
    }
    first.expect("there is at least one client").1
}

/// The first one says something, and all see that next: nothing else was under way.
pub async fn all_settled(clients: &mut [Client]) -> Value {
    let content = "nothing else was under way";
    let frame = json!({"type": "chat_message", "content": content});
    clients[0].send(frame).await;
    all_see(clients, &json!({"type": "chat_message", "message": {"content": content}})).await
}
