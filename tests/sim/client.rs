//! A client: what it asks for, what it has seen, what it waits for. v1 forgets everything with its
//! socket, as a page that is loaded anew; v2 comes back and sends again what was never acknowledged.

use std::collections::{BTreeMap, VecDeque};

use loquat::model::{Mono, Version};
use serde_json::{Value, json};

use super::decode::Seen;
use super::dice::Dice;

/// How many message ids a client knows to speak of.
const KNOWN_MAX: usize = 12;

pub struct Client {
    pub number: usize,
    pub version: Version,
    pub user: u64,
    pub conversation: u64,
    pub wire: Option<usize>,
    pub comes_back_at: Mono,
    /// Sent under a name and not acknowledged: name, frame.
    pub pending: VecDeque<(String, Value)>,
    /// When what was refused for the moment is sent again.
    pub retries_at: Option<Mono>,
    pub epoch: Option<String>,
    /// Every event that it was shown in this epoch, by its seq.
    pub events: BTreeMap<u64, Value>,
    /// The last event that it was shown, or begins after.
    pub last: Option<u64>,
    pub is_open: bool,
    /// This time it came back with `since`.
    pub resumes: bool,
    known: VecDeque<u64>,
    said: u64,
}

/// What a frame asks of a client.
pub enum Reaction {
    Nothing,
    /// Answer with these frames.
    Say(Vec<(u8, Vec<u8>)>),
    /// The server closed: come back after so many ms.
    Closed(u64),
}

impl Client {
    pub fn new(number: usize, version: Version, user: u64, conversation: u64) -> Client {
        Client {
            number,
            version,
            user,
            conversation,
            wire: None,
            comes_back_at: Mono(0),
            pending: VecDeque::new(),
            retries_at: None,
            epoch: None,
            events: BTreeMap::new(),
            last: None,
            is_open: false,
            resumes: false,
            known: VecDeque::new(),
            said: 0,
        }
    }

    /// The socket is gone.
    pub fn disconnected(&mut self, comes_back_at: Mono) {
        self.wire = None;
        self.is_open = false;
        self.comes_back_at = comes_back_at;
        if self.version == Version::V1 {
            self.events.clear();
            self.last = None;
            self.pending.clear();
        }
    }

    pub fn see(&mut self, frame: &Seen) -> Reaction {
        match frame {
            Seen::Http(101, _) => {
                self.is_open = self.version == Version::V1;
                Reaction::Nothing
            }
            Seen::Http(..) => Reaction::Closed(1_000),
            Seen::Ping(payload) => Reaction::Say(vec![(10, payload.clone())]),
            Seen::Close(code, reason) => Reaction::Closed(pause_after(*code, reason)),
            Seen::Text(json) => self.see_text(frame, json),
            Seen::Pong(_) | Seen::Binary(_) => Reaction::Nothing,
        }
    }

    fn see_text(&mut self, frame: &Seen, json: &Value) -> Reaction {
        match frame.kind() {
            "hello" => return self.greeted(json),
            "resync" => {
                self.events.clear();
                self.last = json["seq"].as_u64();
            }
            "ack" => {
                let name = json["client_msg_id"].as_str();
                self.pending.retain(|(pending, _)| Some(pending.as_str()) != name);
            }
            "error" => self.refused(json),
            _ => {
                let is_live = json["message"]["is_read"].is_null();
                if let Some(seq) = frame.seq().filter(|_| is_live) {
                    self.last = Some(seq);
                    self.events.insert(seq, json.clone());
                }
                if let Some(id) = json["message"]["id"].as_u64() {
                    self.known.push_back(id);
                    if self.known.len() > KNOWN_MAX {
                        self.known.pop_front();
                    }
                }
            }
        }
        Reaction::Nothing
    }

    fn greeted(&mut self, json: &Value) -> Reaction {
        let epoch = json["epoch"].as_str().map(str::to_owned);
        if self.epoch != epoch {
            self.epoch = epoch;
            self.events.clear();
            self.last = None;
        }
        if self.last.is_none() || !self.resumes {
            self.events.clear();
            self.last = json["seq"].as_u64();
        }
        self.is_open = true;
        self.retries_at = None;
        Reaction::Say(self.pending_frames())
    }

    pub fn pending_frames(&self) -> Vec<(u8, Vec<u8>)> {
        self.pending.iter().map(|(_, frame)| (1, frame.to_string().into_bytes())).collect()
    }

    /// What may go better later is kept; the rest was in vain.
    fn refused(&mut self, json: &Value) {
        let name = json["ref"].as_str().map(|name| name.trim_start_matches("r-"));
        let is_passing =
            ["storage_unavailable", "rate_limited"].contains(&json["code"].as_str().unwrap_or(""));
        if !is_passing {
            self.pending.retain(|(pending, _)| Some(pending.as_str()) != name);
        } else if self.retries_at.is_none() {
            self.retries_at = Some(Mono(0));
        }
    }

    /// The next thing to ask for, with the names under which it may be answered.
    pub fn next_command(&mut self, dice: &mut Dice) -> Value {
        self.said += 1;
        let name = format!("c{}-{}", self.number, self.said);
        let id = match self.known.is_empty() {
            true => 1,
            false => self.known[dice.roll(self.known.len() as u64) as usize],
        };
        let mut frame = match dice.roll(14) {
            0..5 => return self.message(name, id, dice),
            5 => return json!({"type": "typing_indicator", "is_typing": dice.roll(3) > 0}),
            6 | 7 => return json!({"type": "read_receipt", "message_id": id}),
            8 => json!({"type": "message_edit", "message_id": id, "content": format!("e-{name}")}),
            9 => json!({"type": "message_delete", "message_id": id}),
            12 if self.version == Version::V2 => json!({"type": "ping"}),
            13 if self.version == Version::V2 => {
                let side = dice.pick(&["before", "after", "around"]);
                json!({"type": "history", side: id, "limit": 1 + dice.roll(5)})
            }
            10 => json!({"type": "message_reaction", "message_id": id, "emoji": "👍",
                "action": dice.pick(&["add", "remove"])}),
            _ => json!({"type": "message_reaction", "message_id": id, "emoji": "🎉"}),
        };
        if self.version == Version::V2 {
            frame["ref"] = json!(format!("r-{name}"));
        }
        frame
    }

    fn message(&mut self, name: String, parent: u64, dice: &mut Dice) -> Value {
        let padding = "x".repeat(dice.pick(&[0, 0, 20, 400]));
        let mut frame = json!({"type": "chat_message", "content": format!("{name}{padding}")});
        if dice.roll(6) == 0 {
            frame["parent_message_id"] = json!(parent);
        }
        if self.version == Version::V2 && dice.roll(4) > 0 {
            frame["client_msg_id"] = json!(name);
            self.pending.push_back((name, frame.clone()));
        } else if self.version == Version::V2 {
            frame["ref"] = json!(format!("r-{name}"));
        }
        frame
    }

    /// Where to go on: mostly behind the last event, at times at an earlier one or from the future.
    pub fn resume(&self, dice: &mut Dice) -> Option<(u64, Option<String>)> {
        let last = self.last?;
        let epoch = self.epoch.clone();
        Some(match dice.roll(12) {
            0 => (last - dice.roll(last + 1), epoch),
            1 => (last + 100_000, epoch),
            2 => (last, None),
            3 => return None,
            _ => (last, epoch),
        })
    }

    /// Nothing that it waits for is still to come.
    pub fn is_content(&self) -> bool {
        self.is_open && self.pending.is_empty()
    }
}

/// When to come back, by the ranges of docs/protocol.md.
fn pause_after(code: Option<u16>, reason: &str) -> u64 {
    match code.unwrap_or(1005) {
        1012 => reason.trim_start_matches("reconnect_in_ms=").parse().unwrap_or(1_000),
        4000..4100 => 3_000,
        4100..4200 => 1_000,
        _ => 50,
    }
}
