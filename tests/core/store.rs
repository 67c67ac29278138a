//! The store as the cores see it: what was sealed, by conversation, and the directory. Like sled it
//! knows nothing of an event before its segment is built; the directory is known once durable.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use loquat::model::*;
use serde_json::Value;

use loquat::node::ports::{LoadQuery, LoadRequest, LoadResult, Past, PastQuery, Record};

use super::past;

#[derive(Default)]
pub struct Room {
    header: Header,
    pub messages: BTreeMap<MessageId, MessageState>,
    pub marks: HashMap<UserId, Mark>,
    firsts: HashMap<(UserId, String), FirstSend>,
}

/// What is on disk.
pub struct Store {
    /// How many events one read brings.
    pub events_per_read: usize,
    /// Durable, in this order, and not built into pages yet.
    unsealed: Vec<Record>,
    rooms: HashMap<ConversationId, Room>,
    created: Vec<ConversationId>,
    tombstones: HashMap<ConversationId, Tombstone>,
    /// Recorded, while pages do not have all of it: nobody may look.
    pub importing: Option<Import>,
    members: HashMap<(ConversationId, UserId), Role>,
    profiles: HashMap<UserId, Profile>,
    revoked: HashMap<UserId, Wall>,
    /// Every event that was ever durable.
    pub events: HashMap<ConversationId, Vec<Event>>,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            events_per_read: 3,
            unsealed: Vec::new(),
            rooms: HashMap::new(),
            created: Vec::new(),
            tombstones: HashMap::new(),
            importing: None,
            members: HashMap::new(),
            profiles: HashMap::new(),
            revoked: HashMap::new(),
            events: HashMap::new(),
        }
    }
}

impl Store {
    pub fn commit(&mut self, record: Record) {
        match &record {
            Record::Directory(change) => return self.directory(change.clone()),
            Record::Event { conversation, event } => {
                let events = self.events.entry(conversation.clone()).or_default();
                assert_eq!(event.seq.0, events.len() as u64 + 1, "the log's seqs are dense");
                events.push((**event).clone());
            }
            Record::Mark { .. } | Record::Erased => {}
        }
        self.unsealed.push(record);
    }

    /// The newest event that survives anything.
    pub fn durable_seq(&self, conversation: &ConversationId) -> u64 {
        self.events.get(conversation).map_or(0, |events| events.len() as u64)
    }

    /// The event is shown as one whose message was deleted; that must have happened.
    pub fn is_without_text(&self, of: &ConversationId, seq: u64, shown: &Value) -> bool {
        let texts = [&shown["content"], &shown["message"]["content"]];
        let message = self.events[of][seq as usize - 1].text_of();
        let Some(message) =
            message.filter(|_| texts.iter().any(|text| **text == "Message deleted"))
        else {
            return false;
        };
        let is_its_end = |event: &Event| matches!(event.body, EventBody::Delete { message: m, .. } if m == message);
        assert!(self.events[of].iter().any(is_its_end), "{shown} was not deleted");
        true
    }

    fn directory(&mut self, change: DirectoryChange) {
        match change {
            DirectoryChange::ConversationCreated { conversation, .. } => {
                self.created.push(conversation);
            }
            DirectoryChange::ConversationDeleted { conversation, tombstone } => {
                self.created.retain(|of| *of != conversation);
                self.members.retain(|(of, _), _| *of != conversation);
                self.unsealed.retain(|record| !is_of(record, &conversation));
                let room = Room { header: tombstone.header(), ..Room::default() };
                self.rooms.insert(conversation.clone(), room);
                self.tombstones.insert(conversation, tombstone);
            }
            DirectoryChange::RetentionSet { .. } => {}
            DirectoryChange::ErasureBegun { user, at } => {
                self.profiles.remove(&user);
                self.revoked.insert(user, at);
            }
            DirectoryChange::MemberSet { conversation, user, role } => {
                self.members.insert((conversation, user), role);
            }
            DirectoryChange::MemberRemoved { conversation, user } => {
                self.members.remove(&(conversation, user));
            }
            DirectoryChange::ProfileSet { profile } => {
                self.profiles.insert(profile.id.clone(), profile);
            }
            DirectoryChange::Revoked { user, issued_before } => {
                self.revoked.insert(user, issued_before);
            }
            DirectoryChange::ConversationImported(import) => self.importing = Some(import),
        }
    }

    /// Pages have all of the import.
    pub fn finish_import(&mut self) {
        let import = self.importing.take().unwrap();
        let header = Header {
            last_seq: Seq(import.events),
            last_message: import.messages,
            messages: import.messages,
            last_at: import.at,
        };
        let event = |seq| {
            let (message, by) = (MessageId(1), UserId::from_number(1).unwrap());
            Event { seq: Seq(seq), at: import.at, body: EventBody::Delete { message, by } }
        };
        let events = (1..=import.events).map(event).collect();
        self.events.insert(import.conversation.clone(), events);
        self.rooms.insert(import.conversation.clone(), Room { header, ..Room::default() });
        self.created.push(import.conversation);
    }

    /// Builds everything durable into pages.
    pub fn build(&mut self) {
        for record in std::mem::take(&mut self.unsealed) {
            match record {
                Record::Event { conversation, event } => {
                    self.rooms.entry(conversation).or_default().fold(&event);
                }
                Record::Mark { conversation, mark } => {
                    let room = self.rooms.entry(conversation).or_default();
                    room.marks.insert(mark.user.clone(), mark);
                }
                Record::Directory(_) | Record::Erased => {}
            }
        }
    }

    /// As retention does: of what is in pages, the messages go.
    pub fn drop_old_messages(&mut self) {
        self.rooms.values_mut().for_each(|room| room.messages.clear());
    }

    pub fn answer(&self, request: &LoadRequest) -> LoadResult {
        let conversation = &request.conversation;
        let none = Room::default();
        let room = self.rooms.get(conversation).unwrap_or(&none);
        LoadResult::State(match &request.query {
            LoadQuery::Admission(_)
                if self.importing.as_ref().is_some_and(|it| it.conversation == *conversation) =>
            {
                return LoadResult::Failed;
            }
            LoadQuery::Admission(user) => {
                return LoadResult::Admission(Box::new(self.admission(conversation, user, room)));
            }
            LoadQuery::Past(PastQuery::Events { after }) => {
                let events = self.events.get(conversation).map_or(&[][..], |events| events);
                let paged = events.iter().take(room.header.last_seq.0 as usize);
                let gone = self.tombstones.get(conversation).map_or(Seq(0), |it| it.last_seq);
                let count = if *after < gone { 0 } else { self.events_per_read };
                let found = paged.skip(after.0 as usize).take(count);
                let found = found.map(|event| Arc::new(event.clone())).collect();
                return LoadResult::Past(Past::Events(found));
            }
            LoadQuery::Past(query) => {
                let events = self.events.get(conversation).map_or(&[][..], |events| events);
                let paged = &events[..room.header.last_seq.0 as usize];
                return LoadResult::Past(past::answer(room, paged, query));
            }
            LoadQuery::State(LoadKey::Message(id)) => {
                Loaded::Message(room.messages.get(id).cloned().map(Box::new))
            }
            LoadQuery::State(LoadKey::Mark(user)) => Loaded::Mark(room.marks.get(user).cloned()),
            LoadQuery::State(LoadKey::FirstSend { user, client_msg_id }) => {
                let key = (user.clone(), client_msg_id.clone());
                Loaded::FirstSend(room.firsts.get(&key).cloned())
            }
            LoadQuery::State(LoadKey::FirstSends(_)) => Loaded::FirstSends(room.first_sends()),
            LoadQuery::State(LoadKey::Recent(count)) => {
                let skip = room.messages.len().saturating_sub(*count as usize);
                Loaded::Recent(room.messages.values().skip(skip).cloned().collect())
            }
            LoadQuery::State(LoadKey::Marks(count)) => {
                Loaded::Marks(room.marks.values().take(*count as usize).cloned().collect())
            }
        })
    }

    fn admission(&self, conversation: &ConversationId, user: &UserId, room: &Room) -> Admission {
        Admission {
            conversation_exists: self.created.contains(conversation),
            is_deleted: self.tombstones.contains_key(conversation)
                && !self.created.contains(conversation),
            role: self.members.get(&(conversation.clone(), user.clone())).copied(),
            profile: self.profiles.get(user).cloned(),
            revoked_before: self.revoked.get(user).copied(),
            header: room.header,
        }
    }
}

impl Room {
    /// All in one step.
    fn first_sends(&self) -> FirstSends {
        let place = |((user, name), first): (&(UserId, String), &FirstSend)| FirstSendPlace {
            day: u32::try_from(first.created_at.0 / 86_400_000).unwrap(),
            user: user.clone(),
            client_msg_id: name.clone(),
        };
        let mut places: Vec<_> = self.firsts.iter().map(place).collect();
        places.sort_by(|a, b| (&a.user, &a.client_msg_id).cmp(&(&b.user, &b.client_msg_id)));
        FirstSends { places, is_last: true }
    }

    fn fold(&mut self, event: &Event) {
        self.header.last_seq = event.seq;
        self.header.last_at = event.at;
        for message in self.messages.values_mut() {
            message.apply(event);
        }
        let EventBody::Message(body) = &event.body else { return };
        self.header.last_message = body.id.0;
        self.header.messages += 1;
        if let Some(name) = &body.client_msg_id {
            let first = FirstSend {
                message: body.id,
                seq: event.seq,
                created_at: event.at,
                content_hash: FirstSend::hash_content(&body.content),
            };
            self.firsts.insert((body.sender.id.clone(), name.clone()), first);
        }
        self.messages.extend(MessageState::created(event).map(|state| (body.id, state)));
    }
}

fn is_of(record: &Record, id: &ConversationId) -> bool {
    match record {
        Record::Event { conversation, .. } | Record::Mark { conversation, .. } => {
            conversation == id
        }
        Record::Directory(_) | Record::Erased => false,
    }
}
