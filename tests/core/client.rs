//! What the clients of a test do and see.

use std::net::{IpAddr, Ipv4Addr};

use loquat::auth::{NewToken, issue};
use loquat::model::{ConversationId, UserId, Version};
use serde_json::{Value, json};

use super::checked::Checked;
use super::decode::{Seen, masked};
use super::pump::{End, Line, Pump, Token};
use super::world::World;

/// A knock at the door.
pub struct Knock<'a> {
    pub core: usize,
    pub user: u64,
    pub conversation: u64,
    pub version: Version,
    /// v2: where to go on, in which log.
    pub since: Option<u64>,
    pub epoch: Option<&'a str>,
    pub address: Ipv4Addr,
    /// Bytes right behind the head.
    pub behind: &'a [u8],
    /// In place of a good one.
    pub token: Option<&'a str>,
}

impl Default for Knock<'_> {
    fn default() -> Self {
        Knock {
            core: 0,
            user: 1,
            conversation: 1,
            version: Version::V2,
            since: None,
            epoch: None,
            address: Ipv4Addr::LOCALHOST,
            behind: &[],
            token: None,
        }
    }
}

impl World {
    pub fn token(&self, user: u64) -> String {
        let user = UserId::from_number(user).unwrap();
        let claims = NewToken::new(&user, 3_600, &self.rules);
        issue(&self.key, &claims, self.now.wall, "0123456789abcdef").unwrap()
    }

    /// Connects and lets everything happen.
    pub fn connect(&mut self, knock: Knock<'_>) -> usize {
        let client = self.knock(knock);
        self.settle();
        client
    }

    /// A v2 socket of `user` in `conversation`, accepted by its owner's core.
    pub fn enter(&mut self, user: u64, conversation: u64) -> usize {
        let core = self.owner(conversation);
        self.connect(Knock { core, user, conversation, ..Knock::default() })
    }

    pub fn enter_v1(&mut self, user: u64, conversation: u64) -> usize {
        let core = self.owner(conversation);
        let version = Version::V1;
        self.connect(Knock { core, user, conversation, version, ..Knock::default() })
    }

    /// A v2 socket that has been here before, and has everything up to `since`.
    pub fn come_back(&mut self, user: u64, since: u64) -> usize {
        let core = self.owner(1);
        self.connect(Knock { core, user, since: Some(since), ..Knock::default() })
    }

    /// Connects and sends the request, no more.
    pub fn knock(&mut self, knock: Knock<'_>) -> usize {
        let token = knock.token.map_or_else(|| self.token(knock.user), str::to_owned);
        let version = if knock.version == Version::V2 { "&v=2" } else { "" };
        let since = knock.since.map(|since| format!("&since={since}")).unwrap_or_default();
        let epoch = knock.epoch.map(|epoch| format!("&epoch={epoch}")).unwrap_or_default();
        let conversation = knock.conversation;
        let path = format!("/ws/chat/{conversation}/?token={token}{version}{since}{epoch}");
        let mut bytes = head(&path).into_bytes();
        bytes.extend(knock.behind);
        let client = self.open(knock.core, knock.address.into(), knock.conversation);
        self.clients[client].since = knock.since.filter(|_| knock.version == Version::V2);
        self.bytes(client, &bytes);
        client
    }

    /// A bare connection.
    pub fn open(&mut self, core: usize, address: IpAddr, conversation: u64) -> usize {
        let client = self.sockets.len();
        let slot = self.seats[core].core.accept(address, self.now).expect("accepted");
        let pump = Pump::new(Token(client), core, slot);
        self.sockets.push(pump);
        self.clients.push(Checked::new(ConversationId::from_number(conversation).unwrap()));
        self.seat_socket(core, slot, client);
        self.drive_socket(client);
        client
    }

    /// Bytes on their way to the server; the core has received what it wanted to read.
    pub fn bytes(&mut self, client: usize, bytes: &[u8]) {
        self.sockets[client].inbound.extend(bytes);
        self.drive_socket(client);
    }

    /// A text frame, received but no turn run.
    pub fn push(&mut self, client: usize, frame: &Value) {
        self.bytes(client, &masked(1, frame.to_string().as_bytes()));
    }

    pub fn send(&mut self, client: usize, frame: &Value) {
        self.push(client, frame);
        self.settle();
    }

    pub fn say(&mut self, client: usize, content: &str) {
        self.send(client, &chat(content));
    }

    /// Closed without a close frame: the server reads an end.
    pub fn hang_up(&mut self, client: usize) {
        self.sockets[client].line = Line::Eof;
        self.drive_socket(client);
        self.settle();
    }

    pub fn reset(&mut self, client: usize) {
        self.sockets[client].line = Line::Reset;
        self.drive_socket(client);
    }

    /// The network takes so many bytes more.
    pub fn take(&mut self, client: usize, bytes: Option<usize>) {
        self.sockets[client].room = bytes;
        self.drive_socket(client);
        self.settle();
    }

    pub fn seen(&self, client: usize) -> &[Seen] {
        &self.sockets[client].seen
    }

    /// The texts of the messages that a client saw.
    pub fn contents(&self, client: usize) -> Vec<String> {
        let messages = self.seen(client).iter().filter(|seen| seen.kind() == "chat_message");
        messages
            .map(|seen| seen.json().unwrap()["message"]["content"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The last frame of this type that a client saw.
    pub fn last(&self, client: usize, kind: &str) -> Value {
        let found = self.seen(client).iter().rev().find(|seen| seen.kind() == kind);
        found.and_then(|seen| seen.json().cloned()).unwrap_or_default()
    }

    /// The seqs of the events that a client saw.
    pub fn seqs(&self, client: usize) -> Vec<u64> {
        self.seen(client).iter().filter_map(|seen| seen.seq()).collect()
    }

    /// How many frames of a type a client saw.
    pub fn count(&self, client: usize, kind: &str) -> usize {
        self.seen(client).iter().filter(|seen| seen.kind() == kind).count()
    }

    /// The codes of the error frames.
    pub fn errors(&self, client: usize) -> Vec<String> {
        let errors = self.seen(client).iter().filter(|seen| seen.kind() == "error");
        errors.map(|seen| seen.json().unwrap()["code"].as_str().unwrap().to_owned()).collect()
    }

    pub fn close_code(&self, client: usize) -> Option<u16> {
        self.seen(client).iter().find_map(|seen| match seen {
            Seen::Close(code, _) => *code,
            _ => None,
        })
    }

    pub fn http_status(&self, client: usize) -> Option<u16> {
        match self.seen(client).first() {
            Some(Seen::Http(status, _)) => Some(*status),
            _ => None,
        }
    }

    pub fn end(&self, client: usize) -> Option<End> {
        self.sockets[client].end
    }

    /// In the conversation, as far as the client knows.
    pub fn is_open(&self, client: usize) -> bool {
        self.http_status(client) == Some(101)
            && self.close_code(client).is_none()
            && self.end(client).is_none()
    }

    /// The ids of the messages that a client saw, in order.
    pub fn ids(&self, client: usize) -> Vec<u64> {
        let messages = self.seen(client).iter().filter(|seen| seen.kind() == "chat_message");
        messages.map(|seen| seen.json().unwrap()["message"]["id"].as_u64().unwrap()).collect()
    }
}

pub fn head(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: chat.example.com\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

pub fn chat(content: &str) -> Value {
    json!({"type": "chat_message", "content": content})
}

pub fn typing() -> Value {
    json!({"type": "typing_indicator", "is_typing": true})
}

pub fn receipt(message: u64) -> Value {
    json!({"type": "read_receipt", "message_id": message})
}
