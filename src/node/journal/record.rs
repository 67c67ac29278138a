//! One record as bytes: a version byte, then its rkyv archive. The same bytes lie in the journal, in
//! pages and in overlays.
//!
//! Whatever is read is checked first; wrong bytes are an error, never a panic. Bytes that pass the
//! check but name an impossible id or role are an error too.

use std::sync::Arc;

use rkyv::rancor;

use super::archive::{
    ArchivedBody, ArchivedChange, ArchivedEntry, ArchivedId, ArchivedMessage, ArchivedPerson,
    Entry, role_of,
};
use crate::model::{
    ConversationId, DirectoryChange, Event, EventBody, Import, Mark, MessageBody, MessageId,
    Profile, ReactionAction, Seq, Tombstone, UserId, Wall,
};
use crate::node::ports::Record;

/// First byte of every record.
pub const RECORD_VERSION: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record is empty")]
    Empty,
    #[error("record version {0} is not known")]
    Version(u8),
    #[error("the record's archive does not hold")]
    Archive,
    #[error("the record names an id or a role that cannot be")]
    Value,
    #[error("the record cannot be archived")]
    Unarchivable,
}

/// Appends the record's bytes to `out`, which stays as it was on an error.
pub fn encode(entry: &Entry<'_>, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let start = out.len();
    let mut buffer = std::mem::take(out);
    buffer.push(RECORD_VERSION);
    match rkyv::api::high::to_bytes_in::<_, rancor::Failure>(entry, buffer) {
        Ok(buffer) => {
            *out = buffer;
            debug_assert!(out.len() > start);
            Ok(())
        }
        // The writer takes the buffer with it; a Vec takes any length, so this is for form only.
        Err(_) => Err(RecordError::Unarchivable),
    }
}

/// The record's bytes in a buffer of their own.
pub fn to_bytes(record: &Record) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::new();
    encode(&record.into(), &mut out)?;
    Ok(out)
}

/// Reads a record back.
pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    record(access(bytes)?)
}

/// What an index needs of a message, and nothing copied.
#[derive(Debug, PartialEq, Eq)]
pub struct MessageOutline<'a> {
    pub seq: Seq,
    pub at: Wall,
    pub id: MessageId,
    pub ordinal: u64,
    pub parent: Option<MessageId>,
    pub sender: UserId,
    pub client_msg_id: Option<&'a str>,
    pub content: &'a str,
}

impl<'a> MessageOutline<'a> {
    pub fn of(event: &Event, body: &'a MessageBody) -> MessageOutline<'a> {
        MessageOutline {
            seq: event.seq,
            at: event.at,
            id: body.id,
            ordinal: body.ordinal,
            parent: body.parent,
            sender: body.sender.id.clone(),
            client_msg_id: body.client_msg_id.as_deref(),
            content: &body.content,
        }
    }
}

#[derive(Debug)]
pub enum Outline<'a> {
    Message(ConversationId, MessageOutline<'a>),
    Other(Record),
}

/// Reads a record back, of a message only what an index needs. Errors are those of [`decode`].
pub fn outline(bytes: &[u8]) -> Result<Outline<'_>, RecordError> {
    let entry = access(bytes)?;
    let ArchivedEntry::Event { conversation: id, seq, at, body: ArchivedBody::Message(body) } =
        entry
    else {
        return record(entry).map(Outline::Other);
    };
    let outline = MessageOutline {
        seq: Seq(seq.to_native()),
        at: Wall(at.to_native()),
        id: MessageId(body.id.to_native()),
        ordinal: body.ordinal.to_native(),
        parent: body.parent.as_ref().map(|parent| MessageId(parent.to_native())),
        sender: user(&body.sender.id)?,
        client_msg_id: body.client_msg_id.as_ref().map(|id| id.as_ref()),
        content: body.content.as_ref(),
    };
    Ok(Outline::Message(conversation(id)?, outline))
}

fn access(bytes: &[u8]) -> Result<&ArchivedEntry<'_>, RecordError> {
    let (&version, archive) = bytes.split_first().ok_or(RecordError::Empty)?;
    if version != RECORD_VERSION {
        return Err(RecordError::Version(version));
    }
    rkyv::access::<ArchivedEntry<'_>, rancor::Failure>(archive).map_err(|_| RecordError::Archive)
}

fn record(entry: &ArchivedEntry<'_>) -> Result<Record, RecordError> {
    Ok(match entry {
        ArchivedEntry::Event { conversation: id, seq, at, body } => Record::Event {
            conversation: conversation(id)?,
            event: Arc::new(Event {
                seq: Seq(seq.to_native()),
                at: Wall(at.to_native()),
                body: event_body(body)?,
            }),
        },
        ArchivedEntry::Mark { conversation: id, user: by, message, ordinal, at } => Record::Mark {
            conversation: conversation(id)?,
            mark: Mark {
                user: user(by)?,
                message: MessageId(message.to_native()),
                ordinal: ordinal.to_native(),
                at: Wall(at.to_native()),
            },
        },
        ArchivedEntry::Directory(change) => Record::Directory(directory(change)?),
        ArchivedEntry::Erased => Record::Erased,
    })
}

fn event_body(body: &ArchivedBody<'_>) -> Result<EventBody, RecordError> {
    Ok(match body {
        ArchivedBody::Message(body) => EventBody::Message(message(body)?),
        ArchivedBody::Edit { message, by, content } => EventBody::Edit {
            message: MessageId(message.to_native()),
            by: user(by)?,
            content: content.as_ref().to_owned(),
        },
        ArchivedBody::Delete { message, by } => {
            EventBody::Delete { message: MessageId(message.to_native()), by: user(by)? }
        }
        ArchivedBody::Reaction { message, user: by, emoji, added } => EventBody::Reaction {
            message: MessageId(message.to_native()),
            user: user(by)?,
            emoji: emoji.as_ref().to_owned(),
            action: if *added { ReactionAction::Added } else { ReactionAction::Removed },
        },
    })
}

fn message(body: &ArchivedMessage<'_>) -> Result<MessageBody, RecordError> {
    Ok(MessageBody {
        id: MessageId(body.id.to_native()),
        ordinal: body.ordinal.to_native(),
        sender: Arc::new(profile(&body.sender)?),
        content: body.content.as_ref().to_owned(),
        parent: body.parent.as_ref().map(|parent| MessageId(parent.to_native())),
        client_msg_id: body.client_msg_id.as_ref().map(|id| id.as_ref().to_owned()),
    })
}

fn directory(change: &ArchivedChange<'_>) -> Result<DirectoryChange, RecordError> {
    Ok(match change {
        ArchivedChange::ConversationCreated { conversation: id, at } => {
            DirectoryChange::ConversationCreated {
                conversation: conversation(id)?,
                at: Wall(at.to_native()),
            }
        }
        ArchivedChange::MemberSet { conversation: id, user: member, role } => {
            DirectoryChange::MemberSet {
                conversation: conversation(id)?,
                user: user(member)?,
                role: role_of(*role).ok_or(RecordError::Value)?,
            }
        }
        ArchivedChange::MemberRemoved { conversation: id, user: member } => {
            DirectoryChange::MemberRemoved { conversation: conversation(id)?, user: user(member)? }
        }
        ArchivedChange::ProfileSet { profile: person } => {
            DirectoryChange::ProfileSet { profile: profile(person)? }
        }
        ArchivedChange::Revoked { user: whose, issued_before } => DirectoryChange::Revoked {
            user: user(whose)?,
            issued_before: Wall(issued_before.to_native()),
        },
        ArchivedChange::ErasureBegun { user: whose, at } => {
            DirectoryChange::ErasureBegun { user: user(whose)?, at: Wall(at.to_native()) }
        }
        ArchivedChange::RetentionSet { conversation: id, days } => DirectoryChange::RetentionSet {
            conversation: conversation(id)?,
            days: days.as_ref().map(|days| days.to_native()),
        },
        ArchivedChange::ConversationDeleted { conversation: id, at, last_seq, last_message } => {
            DirectoryChange::ConversationDeleted {
                conversation: conversation(id)?,
                tombstone: Tombstone {
                    at: Wall(at.to_native()),
                    last_seq: Seq(last_seq.to_native()),
                    last_message: last_message.to_native(),
                },
            }
        }
        ArchivedChange::ConversationImported { conversation: id, at, number, events, messages } => {
            DirectoryChange::ConversationImported(Import {
                conversation: conversation(id)?,
                at: Wall(at.to_native()),
                number: number.to_native(),
                events: events.to_native(),
                messages: messages.to_native(),
            })
        }
    })
}

fn profile(person: &ArchivedPerson<'_>) -> Result<Profile, RecordError> {
    Ok(Profile {
        id: user(&person.id)?,
        email: person.email.as_ref().to_owned(),
        first_name: person.first_name.as_ref().to_owned(),
        last_name: person.last_name.as_ref().to_owned(),
    })
}

fn conversation(id: &ArchivedId<'_>) -> Result<ConversationId, RecordError> {
    match id {
        ArchivedId::Number(number) => ConversationId::from_number(number.to_native()),
        ArchivedId::Text(text) => ConversationId::parse(text),
    }
    .map_err(|_| RecordError::Value)
}

fn user(id: &ArchivedId<'_>) -> Result<UserId, RecordError> {
    match id {
        ArchivedId::Number(number) => UserId::from_number(number.to_native()),
        ArchivedId::Text(text) => UserId::parse(text),
    }
    .map_err(|_| RecordError::Value)
}
