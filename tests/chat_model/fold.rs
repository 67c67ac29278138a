//! What events and records mean to the model: the fold of a message, and which question to the store a
//! record would have to answer.

use std::collections::BTreeMap;

use loquat::model::{Event, EventBody, LoadKey, MessageId, MessageState};

use super::world::Record;

pub fn fold(messages: &mut BTreeMap<MessageId, MessageState>, event: &Event) {
    messages.values_mut().for_each(|state| state.apply(event));
    if let Some(state) = MessageState::created(event) {
        messages.insert(state.id, state);
    }
}

pub fn touches(record: &Record, key: &LoadKey) -> bool {
    match (record, key) {
        (Record::Mark(mark), LoadKey::Mark(user)) => mark.user == *user,
        (Record::Event(event), LoadKey::Message(id)) => match &event.body {
            EventBody::Message(body) => body.id == *id || body.parent == Some(*id),
            EventBody::Edit { message, .. }
            | EventBody::Delete { message, .. }
            | EventBody::Reaction { message, .. } => message == id,
        },
        (Record::Event(event), LoadKey::FirstSend { user, client_msg_id }) => match &event.body {
            EventBody::Message(body) => {
                body.sender.id == *user && body.client_msg_id.as_ref() == Some(client_msg_id)
            }
            _ => false,
        },
        _ => false,
    }
}
