//! What holds for every frame that one socket is given, looked at the moment the network takes it: P1,
//! P2, P3 and P7, and that nothing is for somebody else.

use std::collections::BTreeSet;

use loquat::model::{Access, ConversationId, EventBody, UserId, Version};
use serde_json::Value;

use super::decode::Seen;
use super::pages;
use super::witness::Witness;

pub struct Watch {
    pub conversation: ConversationId,
    pub user: UserId,
    pub version: Version,
    pub access: Access,
    /// What this socket called its commands.
    pub names: BTreeSet<String>,
    /// Where it asked to go on, until it was told how that ended.
    pub since: Option<u64>,
    /// The last event before the live ones.
    pub from: Option<u64>,
    /// The event that comes next.
    pub next: Option<u64>,
    last_replayed: u64,
    pub epoch: String,
    /// It asked for what cannot be: for another epoch, or from the future.
    pub may_resync: bool,
    has_begun: bool,
}

impl Watch {
    pub fn new(
        conversation: ConversationId,
        user: UserId,
        version: Version,
        access: Access,
        epoch: String,
    ) -> Watch {
        Watch {
            conversation,
            user,
            version,
            access,
            names: BTreeSet::new(),
            since: None,
            from: None,
            next: None,
            last_replayed: 0,
            epoch,
            may_resync: false,
            has_begun: false,
        }
    }

    pub fn frame(&mut self, frame: &Seen, witness: &mut Witness) {
        let Some(json) = frame.json() else { return };
        if self.version == Version::V2 && !self.has_begun {
            assert_eq!(json["type"], "hello", "a v2 socket begins with hello: {json}");
        }
        self.has_begun = true;
        match frame.kind() {
            "hello" => self.hello(json, witness),
            "ack" => self.ack(json, witness),
            "error" => self.is_own(json, "ref"),
            "typing_indicator" => {
                assert_ne!(json["user_id"], id_of(&self.user), "one's own typing: {json}");
            }
            "chat_message" | "message_edit" | "message_delete" | "message_reaction" => {
                self.event(json, witness);
            }
            "resumed" => self.resumed(json),
            "resync" => self.resync(json, witness),
            "pong" => self.pong(json),
            "history" => {
                self.is_own(json, "ref");
                pages::check(json, &self.conversation, witness);
            }
            "user_status" | "read_receipt" | "presence" | "token_expiring" => {}
            _ => panic!("a frame that nobody knows: {json}"),
        }
        if self.version == Version::V1 {
            let is_new = ["hello", "ack", "presence", "pong", "resumed", "resync", "history"];
            assert!(!is_new.contains(&frame.kind()), "v1 is shown {json}");
        }
    }

    fn hello(&mut self, json: &Value, witness: &Witness) {
        assert_eq!(self.from, None, "one hello: {json}");
        assert_eq!(json["user_id"], id_of(&self.user), "another's hello: {json}");
        assert_eq!(json["conversation_id"].to_string(), self.conversation.to_string());
        assert_eq!(json["epoch"], self.epoch.as_str());
        let seq = json["seq"].as_u64().expect("a seq");
        assert!(seq <= witness.last_seq(&self.conversation), "P1: {json} is not on disk");
        self.from = Some(seq);
        self.next = Some(self.since.unwrap_or(seq) + 1);
    }

    /// P4: everything behind `since` was shown, and nothing else.
    fn resumed(&mut self, json: &Value) {
        assert!(self.since.is_some(), "P4: it did not ask: {json}");
        assert_eq!(json["from"].as_u64(), self.since.take(), "P4: {json}");
        assert_eq!(json["to"].as_u64().map(|to| to + 1), self.next, "P4: a hole: {json}");
    }

    fn resync(&mut self, json: &Value, witness: &Witness) {
        assert!(self.since.take().is_some(), "P4: it did not ask: {json}");
        assert_eq!(json["epoch"], self.epoch.as_str());
        let seq = json["seq"].as_u64().expect("a seq");
        assert!(seq <= witness.last_seq(&self.conversation), "P1: {json} is not on disk");
        assert!(self.may_resync, "P4: all that it asked for is stored: {json}");
        self.next = Some(seq + 1);
    }

    fn pong(&self, json: &Value) {
        self.is_own(json, "ref");
        if !self.may_resync {
            let last = self.next.map(|next| next - 1);
            assert_eq!(json["seq"].as_u64(), last, "P3: not the last that was sent: {json}");
        }
    }

    /// An answer to something that this socket asked.
    fn is_own(&self, json: &Value, field: &str) {
        let Some(name) = json[field].as_str() else { return };
        assert!(self.names.contains(name), "an answer to somebody else: {json}");
    }

    fn ack(&mut self, json: &Value, witness: &Witness) {
        self.is_own(json, "ref");
        self.is_own(json, "client_msg_id");
        let Some(seq) = json["seq"].as_u64() else { return };
        let event = witness.event_at(&self.conversation, seq);
        let Some(event) = event else { panic!("P1: {json} is not on disk") };
        let message = match &event.body {
            EventBody::Message(body) => {
                let name = json["client_msg_id"].as_str();
                assert_eq!(body.client_msg_id.as_deref(), name, "another's ack: {json}");
                assert_eq!(body.sender.id, self.user, "another's ack: {json}");
                assert!(
                    name.is_none_or(|name| body.content.starts_with(name)),
                    "another text: {json}"
                );
                body.id
            }
            EventBody::Edit { message, .. }
            | EventBody::Delete { message, .. }
            | EventBody::Reaction { message, .. } => *message,
        };
        assert_eq!(json["message_id"], message.0, "an ack of another message: {json}");
    }

    fn event(&mut self, json: &Value, witness: &mut Witness) {
        let seq = json["seq"].as_u64().expect("an event has a seq");
        let known = witness.last_seq(&self.conversation);
        assert!(seq >= 1 && seq <= known, "P1: shown and not on disk (it ends at {known}): {json}");
        if !json["message"]["is_read"].is_null() {
            assert!(self.next.is_none(), "history behind live events: {json}");
            assert!(seq > self.last_replayed, "history twice: {json}");
            let id = json["message"]["id"].as_u64().expect("an id");
            assert!(witness.is_message(&self.conversation, id), "no such message: {json}");
            self.last_replayed = seq;
            return;
        }
        let next = self.next.unwrap_or(seq);
        assert_eq!(seq, next, "P3: a hole or a double: {json}");
        assert!(seq > self.last_replayed, "P3: replayed and live: {json}");
        self.next = Some(seq + 1);
        let mut shown = json.clone();
        if let Some(name) = shown.as_object_mut().and_then(|map| map.remove("client_msg_id")) {
            self.is_own_message(&name, json, witness);
        }
        if !witness.is_shown(&self.conversation, seq, &shown) {
            panic!("P2: another event than on disk: {json}");
        }
        let is_live = self.from.is_none_or(|from| seq > from);
        if let Some(from) = self.from.filter(|from| seq <= *from)
            && witness.is_erased_by(&self.conversation, seq, from)
        {
            let texts = [&json["content"], &json["message"]["content"]];
            let is_gone = texts.iter().any(|text| **text == "Message deleted");
            assert!(is_gone, "a replay tells a deleted text: {json}");
        }
        if is_live && self.access == Access::Members {
            let is_member = witness.is_member_at(&self.conversation, &self.user, seq);
            assert!(is_member, "P7: user {} was no member: {json}", self.user);
        }
    }

    fn is_own_message(&self, name: &Value, json: &Value, witness: &Witness) {
        let seq = json["seq"].as_u64().expect("an event has a seq");
        let event = witness.event_at(&self.conversation, seq).expect("looked at before");
        let EventBody::Message(body) = &event.body else { panic!("no message: {json}") };
        assert_eq!(body.client_msg_id.as_deref(), name.as_str(), "another's name: {json}");
        assert_eq!(body.sender.id, self.user, "a name is only for its own user: {json}");
        assert_eq!(self.version, Version::V2, "a name is only for v2: {json}");
    }
}

fn id_of(user: &UserId) -> Value {
    serde_json::to_value(user).expect("an id is JSON")
}
