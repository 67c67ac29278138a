//! What holds for every frame that any client is shown, looked at as it comes.

use loquat::model::ConversationId;

use super::decode::Seen;

/// What the checks know of a client.
pub(super) struct Checked {
    pub conversation: ConversationId,
    pub at: usize,
    /// The newest event that it was shown, or begins after.
    pub last: Option<u64>,
    pub last_replayed: u64,
    /// Where it asked to go on.
    pub since: Option<u64>,
    /// That cannot be: a `resync` is on its way.
    awaits_resync: bool,
}

impl Checked {
    pub fn new(conversation: ConversationId) -> Checked {
        Checked {
            conversation,
            at: 0,
            last: None,
            last_replayed: 0,
            since: None,
            awaits_resync: false,
        }
    }

    pub fn frame(&mut self, client: usize, frame: &Seen, durable: u64) {
        let Some(json) = frame.json() else { return };
        if json["type"] == "hello" {
            let seq = json["seq"].as_u64();
            assert!(seq <= Some(durable), "client {client}: {json} before {durable}");
            self.last = self.since.or(seq);
            self.awaits_resync = self.since > seq;
        } else if json["type"] == "resync" {
            assert!(self.since.is_some() && json["seq"].as_u64() <= Some(durable), "{json}");
            self.since = None;
            self.awaits_resync = false;
            self.last = json["seq"].as_u64();
        } else if json["type"] == "resumed" {
            let found = (json["from"].as_u64(), json["to"].as_u64());
            assert_eq!(found, (self.since.take(), self.last), "client {client}: {json}");
        } else if json["type"] == "pong" && !self.awaits_resync {
            // Behind all that it names, and before anything else.
            assert_eq!(json["seq"].as_u64(), self.last, "client {client}: {json}");
        } else if json["type"] == "ack" {
            let seq = json["seq"].as_u64();
            assert!(seq.is_none_or(|seq| seq <= durable), "client {client}: an early ack {json}");
        }
        let Some(seq) = frame.seq() else { return };
        assert!(seq <= durable, "client {client} was shown {json}, durable is {durable}");
        if json["message"]["is_read"].is_null() {
            let expected = self.last.map_or(seq, |last| last + 1);
            assert_eq!(seq, expected, "client {client}: a hole or a double: {json}");
            assert!(seq > self.last_replayed, "client {client}: replayed and live: {json}");
            self.last = Some(seq);
        } else {
            assert!(self.last.is_none() && seq > self.last_replayed, "client {client}: {json}");
            self.last_replayed = seq;
        }
    }
}
