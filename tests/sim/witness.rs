//! What is on disk beyond doubt: read, commit by commit, from the disk's own image as syncs return, by
//! the codec that replay uses. Everything that anybody is shown is held against it.
//!
//! Checks: P1 (shown only what is here, and after a crash all of it is still here), P2 (seqs dense, ids
//! rising and used once, commits without holes), P5 (a client's name for a message stored once).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use loquat::model::*;
use loquat::node::journal::frame::{Commit, SEGMENT_HEADER_BYTES, SegmentHeader};
use loquat::node::journal::record;
use loquat::node::ports::Record;
use loquat::wire::json;
use serde_json::Value;

struct Known {
    event: Arc<Event>,
    commit: u64,
    /// The frame that shows it, once somebody was shown it.
    frame: Option<Value>,
}

/// A change of membership.
struct Change {
    commit: u64,
    /// The last event before it.
    after: u64,
    is_member: bool,
}

#[derive(Default)]
struct Past {
    events: Vec<Known>,
    deleted: BTreeSet<u64>,
    last_message: u64,
}

#[derive(Default)]
pub struct Witness {
    past: BTreeMap<ConversationId, Past>,
    next_commit: u64,
    /// Up to where each segment was read.
    read_to: BTreeMap<u64, usize>,
    ids: BTreeSet<u64>,
    firsts: BTreeSet<(ConversationId, UserId, String)>,
    members: BTreeMap<(ConversationId, UserId), Vec<Change>>,
    pub commits: u64,
    /// Commits were lost with an epoch: segments may be read a second time.
    has_forgotten: bool,
}

impl Witness {
    /// Takes what of this segment's bytes was not read before.
    pub fn read(&mut self, segment: u64, bytes: &[u8]) {
        let Some(header) = SegmentHeader::read(bytes) else { return };
        let mut at = self.read_to.get(&segment).copied().unwrap_or(SEGMENT_HEADER_BYTES);
        while let Some(commit) = bytes.get(at..).and_then(|rest| Commit::read(rest, &header)) {
            at += commit.len_bytes();
            let number = commit.head.commit;
            if self.has_forgotten && number < self.next_commit {
                continue;
            }
            assert_eq!(number, self.next_commit.max(1), "commits have no holes");
            self.next_commit = number + 1;
            self.commits += 1;
            for bytes in commit.records() {
                let record = record::decode(bytes).expect("a record that was written is read");
                self.take(record);
            }
        }
        self.read_to.insert(segment, at);
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Event { conversation, event } => self.event(conversation, event),
            Record::Directory(DirectoryChange::MemberSet { conversation, user, .. }) => {
                self.member(conversation, user, true);
            }
            Record::Directory(DirectoryChange::MemberRemoved { conversation, user }) => {
                self.member(conversation, user, false);
            }
            Record::Directory(_) | Record::Mark { .. } | Record::Erased => {}
        }
    }

    fn member(&mut self, conversation: ConversationId, user: UserId, is_member: bool) {
        let (after, commit) = (self.last_seq(&conversation), self.next_commit - 1);
        let change = Change { commit, after, is_member };
        self.members.entry((conversation, user)).or_default().push(change);
    }

    fn event(&mut self, conversation: ConversationId, event: Arc<Event>) {
        let past = self.past.entry(conversation.clone()).or_default();
        assert_eq!(event.seq.0, past.events.len() as u64 + 1, "P2: seqs are dense on disk");
        if let Some(last) = past.events.last() {
            assert!(last.event.at <= event.at, "times do not go back: {event:?}");
        }
        match &event.body {
            EventBody::Message(body) => {
                assert!(body.id.0 > past.last_message, "P2: ids rise: {event:?}");
                assert!(self.ids.insert(body.id.0), "P2: an id is used once: {event:?}");
                past.last_message = body.id.0;
                if let Some(name) = &body.client_msg_id {
                    let key = (conversation, body.sender.id.clone(), name.clone());
                    assert!(self.firsts.insert(key), "P5: stored twice: {event:?}");
                }
            }
            EventBody::Delete { message, .. } => {
                past.deleted.insert(message.0);
            }
            _ => {}
        }
        past.events.push(Known { event, commit: self.next_commit - 1, frame: None });
    }

    pub fn last_seq(&self, conversation: &ConversationId) -> u64 {
        self.past.get(conversation).map_or(0, |past| past.events.len() as u64)
    }

    pub fn event_at(&self, conversation: &ConversationId, seq: u64) -> Option<&Event> {
        let past = self.past.get(conversation)?;
        past.events.get(usize::try_from(seq).ok()?.checked_sub(1)?).map(|known| &*known.event)
    }

    pub fn events(&self, conversation: &ConversationId) -> impl Iterator<Item = &Event> {
        let past = self.past.get(conversation);
        past.into_iter().flat_map(|past| past.events.iter().map(|known| &*known.event))
    }

    /// By this event at the latest the event's message was deleted.
    pub fn is_erased_by(&self, conversation: &ConversationId, seq: u64, by: u64) -> bool {
        let text = self.event_at(conversation, seq).and_then(Event::text_of);
        let Some(message) = text else { return false };
        let known = self.events(conversation).take_while(|event| event.seq.0 <= by);
        known.into_iter().any(|event| match &event.body {
            EventBody::Delete { message: deleted, .. } => *deleted == message,
            _ => false,
        })
    }

    pub fn is_message(&self, conversation: &ConversationId, message: u64) -> bool {
        self.past.get(conversation).is_some_and(|past| {
            past.events.iter().any(|known| match &known.event.body {
                EventBody::Message(body) => body.id.0 == message,
                _ => false,
            })
        })
    }

    /// What a client holds of an event: the text of a message that is deleted may be gone from it.
    pub fn is_shown(&mut self, conversation: &ConversationId, seq: u64, shown: &Value) -> bool {
        let Some(past) = self.past.get_mut(conversation) else { return false };
        let Some(Known { event, frame, .. }) = past.events.get_mut(seq as usize - 1) else {
            return false;
        };
        let frame = frame.get_or_insert_with(|| frame_of(event));
        *frame == *shown
            || is_erased(event, &past.deleted) && {
                let mut erased = frame.clone();
                let holder = if erased["message"].is_object() { "message" } else { "" };
                let held = if holder.is_empty() { &mut erased } else { &mut erased[holder] };
                held["content"] = "Message deleted".into();
                erased == *shown
            }
    }

    /// Whether the user was a member when this event was shown.
    pub fn is_member_at(&self, conversation: &ConversationId, user: &UserId, seq: u64) -> bool {
        let changes = self.members.get(&(conversation.clone(), user.clone()));
        let before = changes.into_iter().flatten().rev().find(|change| change.after < seq);
        before.is_some_and(|change| change.is_member)
    }

    /// The log has this change.
    pub fn has_change(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        is_member: bool,
    ) -> bool {
        let changes = self.members.get(&(conversation.clone(), user.clone()));
        changes.into_iter().flatten().any(|change| change.is_member == is_member)
    }

    /// A start found this to be the next commit's number: nothing that was on disk is missing.
    pub fn recovered(&self, next_commit: u64) {
        let known = self.next_commit.max(1);
        assert!(
            next_commit >= known,
            "P1: commits up to {} were on disk, and a start found them up to {}",
            known - 1,
            next_commit - 1
        );
    }

    /// Pages hold exactly what is on disk.
    pub fn is_in_pages(&self, events: &dyn Fn(&ConversationId) -> Vec<Event>) {
        for (conversation, past) in &self.past {
            let paged = events(conversation);
            let known: Vec<&Event> = past.events.iter().map(|known| &*known.event).collect();
            assert_eq!(paged.iter().collect::<Vec<_>>(), known, "P1: pages of {conversation}");
        }
    }

    /// A log that does not sync each commit lost those from this one on, with its epoch.
    pub fn forget_behind(&mut self, next_commit: u64) {
        self.has_forgotten = true;
        self.next_commit = self.next_commit.min(next_commit);
        self.read_to.clear();
        for changes in self.members.values_mut() {
            changes.retain(|change| change.commit < next_commit);
        }
        let (mut kept, past) = (Vec::new(), std::mem::take(&mut self.past));
        for (conversation, past) in past {
            let events = past.events.into_iter().filter(|known| known.commit < next_commit);
            kept.extend(events.map(|known| (conversation.clone(), known)));
        }
        self.ids.clear();
        self.firsts.clear();
        let last = self.next_commit;
        for (conversation, known) in kept {
            self.next_commit = known.commit + 1;
            self.event(conversation, known.event);
        }
        self.next_commit = last;
    }
}

/// The text of the event belongs to a message that was deleted.
fn is_erased(event: &Event, deleted: &BTreeSet<u64>) -> bool {
    match &event.body {
        EventBody::Message(body) => deleted.contains(&body.id.0),
        EventBody::Edit { message, .. } => deleted.contains(&message.0),
        _ => false,
    }
}

/// The event's frame as JSON, without a client's own name for it.
pub fn frame_of(event: &Event) -> Value {
    let mut bytes = Vec::new();
    json::event(&mut bytes, event, None);
    let payload = match bytes[1] {
        126 => &bytes[4..],
        127 => &bytes[10..],
        _ => &bytes[2..],
    };
    serde_json::from_slice(payload).expect("a frame is JSON")
}
