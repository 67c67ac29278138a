//! What every socket of every test checks about every frame it is sent, whatever the test is about.
//!
//! The types and fields of the guide, `seq` dense, ids and times rising, each message once, receipts
//! rising, reactions that were stored, nothing more of what was deleted. A v2 socket is also told frames
//! of its own, and begins where it asked to go on.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// Type, and the fields that the guide shows.
const GUIDE: [(&str, &[&str]); 8] = [
    ("chat_message", &["message", "seq"]),
    ("typing_indicator", &["user_id", "user_name", "is_typing", "timestamp"]),
    ("read_receipt", &["message_id", "user_id", "timestamp"]),
    ("message_reaction", &["message_id", "emoji", "user_id", "action", "timestamp", "seq"]),
    ("message_edit", &["message_id", "content", "edited_at", "timestamp", "seq"]),
    ("message_delete", &["message_id", "timestamp", "seq"]),
    ("user_status", &["user_id", "status", "timestamp"]),
    ("error", &["error", "code", "ref"]),
];
/// The same for what only v2 is told.
const SESSION: [(&str, &[&str]); 8] = [
    ("hello", &["conversation_id", "user_id", "seq", "epoch", "heartbeat_ms", "limits"]),
    ("presence", &["count"]),
    ("ack", &["ref", "client_msg_id", "message_id", "seq", "created_at"]),
    ("resumed", &["from", "to", "marks", "marks_count"]),
    ("resync", &["seq", "epoch"]),
    ("history", &["ref", "messages", "has_more", "seq"]),
    ("pong", &["ref", "seq"]),
    ("token_expiring", &["expires_in_ms"]),
];
const MESSAGE: [&str; 6] =
    ["id", "content", "sender", "parent_message_id", "created_at", "is_edited"];
const SENDER: [&str; 4] = ["id", "email", "first_name", "last_name"];
const CODES: [&str; 13] = [
    "invalid_json",
    "invalid",
    "unknown_type",
    "empty",
    "too_long",
    "not_found",
    "forbidden",
    "gone",
    "parent_not_found",
    "rate_limited",
    "idempotency_conflict",
    "storage_unavailable",
    "unexpected_binary",
];
/// The first integer that not every client holds exactly.
const UNSAFE_INTEGER: u64 = 1 << 53;

/// One socket's memory of what it was shown.
#[derive(Debug, Default)]
pub struct Witness {
    seq: Option<u64>,
    /// The last frame was replayed: the next seq may be any later one.
    replaying: bool,
    message: u64,
    at: String,
    seen: HashSet<u64>,
    deleted: HashSet<u64>,
    marks: HashMap<String, u64>,
    /// (message, emoji, user) → whether it stands.
    reactions: HashMap<(u64, String, String), bool>,
    is_v2: bool,
    /// Where it asked to go on.
    since: Option<u64>,
}

type Verdict = Result<(), String>;

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(why()) }
}

impl Witness {
    /// Of a socket that was opened on this path.
    pub fn of(path: &str) -> Witness {
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
        Witness {
            is_v2: value("v=") == Some("2"),
            since: value("since=").and_then(|since| since.parse().ok()),
            ..Witness::default()
        }
    }

    /// An error says what is wrong with this frame.
    pub fn see(&mut self, text: &str) -> Result<Value, String> {
        let frame: Value = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
        self.check(&frame).map_err(|why| format!("{why}: {text}"))?;
        Ok(frame)
    }

    fn check(&mut self, frame: &Value) -> Verdict {
        let kind = frame["type"].as_str().ok_or("no type")?;
        if let Some((_, fields)) = SESSION.iter().find(|(name, _)| self.is_v2 && *name == kind) {
            has_all(frame, fields)?;
            return self.session(kind, frame);
        }
        let known = GUIDE.iter().find(|(name, _)| *name == kind);
        let (_, fields) = known.ok_or_else(|| format!("a v1 client does not know {kind}"))?;
        has_all(frame, fields)?;
        let is_event = fields.contains(&"seq");
        ensure(is_event == frame.get("seq").is_some(), || "only events have a seq".to_owned())?;
        let replayed = frame["message"].get("is_deleted").is_some();
        if is_event {
            self.seq(frame, replayed)?;
        }
        for field in ["timestamp", "edited_at"] {
            frame.get(field).map_or(Ok(()), instant)?;
        }
        match kind {
            "chat_message" => self.message(&frame["message"]),
            "read_receipt" => self.receipt(frame),
            "message_reaction" => self.reaction(frame),
            "message_edit" => self.edit(frame),
            "message_delete" => self.delete(frame),
            "user_status" => one_of(&frame["status"], &["online", "offline"]),
            "error" => error(frame),
            _ => typing(frame),
        }
    }

    fn session(&mut self, kind: &str, frame: &Value) -> Verdict {
        let seq = frame["seq"].as_u64();
        match kind {
            "hello" => {
                ensure(self.seq.is_none(), || "two hellos".to_owned())?;
                self.seq = self.since.filter(|since| Some(*since) <= seq).or(seq);
                Ok(())
            }
            "resync" => {
                ensure(self.since.take().is_some(), || "it asked for no replay".to_owned())?;
                self.seq = seq;
                Ok(())
            }
            "resumed" => {
                let found = (frame["from"].as_u64(), frame["to"].as_u64());
                let expected = (self.since.take(), self.seq);
                ensure(found == expected, || format!("{expected:?} was replayed"))
            }
            "pong" => ensure(seq == self.seq, || format!("it was sent {:?}", self.seq)),
            _ => Ok(()),
        }
    }

    fn seq(&mut self, frame: &Value, replayed: bool) -> Verdict {
        let seq = frame["seq"].as_u64().ok_or("seq is a number")?;
        ensure((1..UNSAFE_INTEGER).contains(&seq), || format!("seq {seq} is out of range"))?;
        if let Some(last) = self.seq {
            let loose = replayed || self.replaying;
            let right = if loose { seq > last } else { seq == last + 1 };
            ensure(right, || format!("seq {seq} after {last}"))?;
        }
        (self.seq, self.replaying) = (Some(seq), replayed);
        let at = frame.get("timestamp").unwrap_or(&frame["message"]["created_at"]);
        let at = at.as_str().ok_or("an event has a time")?;
        ensure(*at >= *self.at, || format!("time goes back from {}", self.at))?;
        at.clone_into(&mut self.at);
        Ok(())
    }

    fn message(&mut self, message: &Value) -> Verdict {
        has_all(message, &MESSAGE)?;
        has_all(&message["sender"], &SENDER)?;
        for name in &SENDER[1..] {
            ensure(message["sender"][name].is_string(), || format!("sender.{name} is no text"))?;
        }
        instant(&message["created_at"])?;
        ensure(message["is_edited"].is_boolean(), || "is_edited is no boolean".to_owned())?;
        ensure(message["content"].is_string(), || "content is no text".to_owned())?;
        let id = id(&message["id"])?;
        ensure(id > self.message, || format!("message {id} after {}", self.message))?;
        self.message = id;
        ensure(self.seen.insert(id), || format!("message {id} twice"))?;
        let parent = &message["parent_message_id"];
        ensure(parent.is_null() || parent.as_u64().is_some_and(|p| p < id), || {
            "a parent is older".to_owned()
        })?;
        self.replayed_reactions(id, message)
    }

    /// The hook's own shape: `{emoji: [ids]}`.
    fn replayed_reactions(&mut self, id: u64, message: &Value) -> Verdict {
        if message["is_deleted"] == true {
            self.deleted.insert(id);
        }
        let Some(reactions) = message.get("reactions") else { return Ok(()) };
        let reactions = reactions.as_object().ok_or("reactions is no object")?;
        for (emoji, users) in reactions {
            let users = users.as_array().ok_or("reactions are lists of users")?;
            for user in users {
                self.reactions.insert((id, emoji.clone(), user.to_string()), true);
            }
        }
        Ok(())
    }

    fn receipt(&mut self, frame: &Value) -> Verdict {
        let (user, message) = (frame["user_id"].to_string(), id(&frame["message_id"])?);
        let before = self.marks.insert(user.clone(), message);
        ensure(before.is_none_or(|b| message > b), || format!("{user}'s mark was {before:?}"))
    }

    fn reaction(&mut self, frame: &Value) -> Verdict {
        let message = id(&frame["message_id"])?;
        one_of(&frame["action"], &["added", "removed"])?;
        ensure(!self.deleted.contains(&message), || "a reaction to what was deleted".to_owned())?;
        let emoji = frame["emoji"].as_str().ok_or("emoji is no text")?.to_owned();
        let adds = frame["action"] == "added";
        let before = self.reactions.insert((message, emoji, frame["user_id"].to_string()), adds);
        // A message seen from its start has all of its reactions here.
        let stood = before.unwrap_or(!adds && !self.seen.contains(&message));
        ensure(stood != adds, || format!("stood before: {stood}"))
    }

    fn edit(&mut self, frame: &Value) -> Verdict {
        let message = id(&frame["message_id"])?;
        ensure(!self.deleted.contains(&message), || "an edit of what was deleted".to_owned())
    }

    fn delete(&mut self, frame: &Value) -> Verdict {
        let message = id(&frame["message_id"])?;
        ensure(self.deleted.insert(message), || "deleted twice".to_owned())
    }
}

fn has_all(value: &Value, fields: &[&str]) -> Verdict {
    let missing = fields.iter().find(|field| value.get(field).is_none());
    missing.map_or(Ok(()), |field| Err(format!("{field} is missing")))
}

fn one_of(value: &Value, allowed: &[&str]) -> Verdict {
    ensure(value.as_str().is_some_and(|v| allowed.contains(&v)), || format!("{value} is new"))
}

fn id(value: &Value) -> Result<u64, String> {
    let id = value.as_u64().ok_or("a message id is a whole number")?;
    ensure((1..UNSAFE_INTEGER).contains(&id), || format!("id {id} is out of range"))?;
    Ok(id)
}

fn error(frame: &Value) -> Verdict {
    one_of(&frame["code"], &CODES)?;
    let waits = frame.get("retry_after_ms").is_some_and(Value::is_u64);
    ensure(waits == (frame["code"] == "rate_limited"), || {
        "retry_after_ms belongs to rate_limited".to_owned()
    })?;
    ensure(frame["error"].as_str().is_some_and(|e| e.len() > 8), || "no sentence".to_owned())
}

fn typing(frame: &Value) -> Verdict {
    ensure(frame["is_typing"].is_boolean(), || "is_typing is no boolean".to_owned())?;
    ensure(frame["user_name"].as_str().is_some_and(|n| !n.is_empty()), || "nameless".to_owned())
}

/// `2025-11-26T10:30:00.123Z`: UTC, milliseconds, nothing else.
pub fn instant(value: &Value) -> Verdict {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd.dddZ";
    let text = value.as_str().unwrap_or_default().as_bytes();
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        fixed => byte == fixed,
    };
    let right = text.len() == SHAPE.len() && text.iter().zip(SHAPE).all(fits);
    ensure(right, || format!("{value} is no time as the protocol writes it"))
}
