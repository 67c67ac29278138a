//! The archived (rkyv) shape of a record: what journal and pages hold, byte for byte.
//!
//! These types only lend from the model while they are written, and are read in their archived form
//! through a check. They know nothing of frames, versions or files. Changing a field here changes the
//! format: raise [`super::record::RECORD_VERSION`] and keep reading the old one.

use rkyv::with::{InlineAsBox, Map};
use rkyv::{Archive, Serialize};

use crate::model::{
    ConversationId, DirectoryChange, Event, EventBody, IdRef, Mark, Profile, ReactionAction, Role,
    UserId,
};
use crate::node::ports::Record;

#[derive(Archive, Serialize)]
pub enum Id<'a> {
    Number(u64),
    Text(#[rkyv(with = InlineAsBox)] &'a str),
}

#[derive(Archive, Serialize)]
pub struct Person<'a> {
    pub id: Id<'a>,
    #[rkyv(with = InlineAsBox)]
    pub email: &'a str,
    #[rkyv(with = InlineAsBox)]
    pub first_name: &'a str,
    #[rkyv(with = InlineAsBox)]
    pub last_name: &'a str,
}

#[derive(Archive, Serialize)]
pub struct Message<'a> {
    pub id: u64,
    pub ordinal: u64,
    pub sender: Person<'a>,
    #[rkyv(with = InlineAsBox)]
    pub content: &'a str,
    pub parent: Option<u64>,
    #[rkyv(with = Map<InlineAsBox>)]
    pub client_msg_id: Option<&'a str>,
}

#[derive(Archive, Serialize)]
pub enum Body<'a> {
    Message(Message<'a>),
    Edit {
        message: u64,
        by: Id<'a>,
        #[rkyv(with = InlineAsBox)]
        content: &'a str,
    },
    Delete {
        message: u64,
        by: Id<'a>,
    },
    Reaction {
        message: u64,
        user: Id<'a>,
        #[rkyv(with = InlineAsBox)]
        emoji: &'a str,
        added: bool,
    },
}

#[derive(Archive, Serialize)]
pub enum Change<'a> {
    ConversationCreated { conversation: Id<'a>, at: u64 },
    MemberSet { conversation: Id<'a>, user: Id<'a>, role: u8 },
    MemberRemoved { conversation: Id<'a>, user: Id<'a> },
    ProfileSet { profile: Person<'a> },
    Revoked { user: Id<'a>, issued_before: u64 },
    ConversationImported { conversation: Id<'a>, at: u64, number: u64, events: u64, messages: u64 },
    ConversationDeleted { conversation: Id<'a>, at: u64, last_seq: u64, last_message: u64 },
    RetentionSet { conversation: Id<'a>, days: Option<u32> },
    ErasureBegun { user: Id<'a>, at: u64 },
}

#[derive(Archive, Serialize)]
pub enum Entry<'a> {
    Event {
        conversation: Id<'a>,
        seq: u64,
        at: u64,
        body: Body<'a>,
    },
    Mark {
        conversation: Id<'a>,
        user: Id<'a>,
        message: u64,
        ordinal: u64,
        at: u64,
    },
    Directory(Change<'a>),
    /// Keeps the place of a record that was erased.
    Erased,
}

/// The root of an archive is found from its end by its size: a variant that is added must not make it
/// larger, or no older record can be read.
const _: () = assert!(size_of::<ArchivedEntry<'static>>() == 102);

impl<'a> From<IdRef<'a>> for Id<'a> {
    fn from(id: IdRef<'a>) -> Self {
        match id {
            IdRef::Number(number) => Id::Number(number),
            IdRef::Text(text) => Id::Text(text),
        }
    }
}

impl<'a> From<&'a ConversationId> for Id<'a> {
    fn from(id: &'a ConversationId) -> Self {
        id.as_ref().into()
    }
}

impl<'a> From<&'a UserId> for Id<'a> {
    fn from(id: &'a UserId) -> Self {
        id.as_ref().into()
    }
}

impl<'a> From<&'a Profile> for Person<'a> {
    fn from(profile: &'a Profile) -> Self {
        Person {
            id: (&profile.id).into(),
            email: &profile.email,
            first_name: &profile.first_name,
            last_name: &profile.last_name,
        }
    }
}

impl<'a> From<&'a EventBody> for Body<'a> {
    fn from(body: &'a EventBody) -> Self {
        match body {
            EventBody::Message(message) => Body::Message(Message {
                id: message.id.0,
                ordinal: message.ordinal,
                sender: (&*message.sender).into(),
                content: &message.content,
                parent: message.parent.map(|parent| parent.0),
                client_msg_id: message.client_msg_id.as_deref(),
            }),
            EventBody::Edit { message, by, content } => {
                Body::Edit { message: message.0, by: by.into(), content }
            }
            EventBody::Delete { message, by } => Body::Delete { message: message.0, by: by.into() },
            EventBody::Reaction { message, user, emoji, action } => Body::Reaction {
                message: message.0,
                user: user.into(),
                emoji,
                added: *action == ReactionAction::Added,
            },
        }
    }
}

impl<'a> From<&'a DirectoryChange> for Change<'a> {
    fn from(change: &'a DirectoryChange) -> Self {
        match change {
            DirectoryChange::ConversationCreated { conversation, at } => {
                Change::ConversationCreated { conversation: conversation.into(), at: at.0 }
            }
            DirectoryChange::MemberSet { conversation, user, role } => Change::MemberSet {
                conversation: conversation.into(),
                user: user.into(),
                role: role_code(*role),
            },
            DirectoryChange::MemberRemoved { conversation, user } => {
                Change::MemberRemoved { conversation: conversation.into(), user: user.into() }
            }
            DirectoryChange::ProfileSet { profile } => {
                Change::ProfileSet { profile: profile.into() }
            }
            DirectoryChange::Revoked { user, issued_before } => {
                Change::Revoked { user: user.into(), issued_before: issued_before.0 }
            }
            DirectoryChange::ConversationImported(import) => Change::ConversationImported {
                conversation: (&import.conversation).into(),
                at: import.at.0,
                number: import.number,
                events: import.events,
                messages: import.messages,
            },
            DirectoryChange::ErasureBegun { user, at } => {
                Change::ErasureBegun { user: user.into(), at: at.0 }
            }
            DirectoryChange::RetentionSet { conversation, days } => {
                Change::RetentionSet { conversation: conversation.into(), days: *days }
            }
            DirectoryChange::ConversationDeleted { conversation, tombstone } => {
                Change::ConversationDeleted {
                    conversation: conversation.into(),
                    at: tombstone.at.0,
                    last_seq: tombstone.last_seq.0,
                    last_message: tombstone.last_message,
                }
            }
        }
    }
}

impl<'a> Entry<'a> {
    pub fn event(conversation: &'a ConversationId, event: &'a Event) -> Entry<'a> {
        Entry::Event {
            conversation: conversation.into(),
            seq: event.seq.0,
            at: event.at.0,
            body: (&event.body).into(),
        }
    }

    pub fn mark(conversation: &'a ConversationId, mark: &'a Mark) -> Entry<'a> {
        Entry::Mark {
            conversation: conversation.into(),
            user: (&mark.user).into(),
            message: mark.message.0,
            ordinal: mark.ordinal,
            at: mark.at.0,
        }
    }
}

impl<'a> From<&'a Record> for Entry<'a> {
    fn from(record: &'a Record) -> Self {
        match record {
            Record::Event { conversation, event } => Entry::event(conversation, event),
            Record::Mark { conversation, mark } => Entry::mark(conversation, mark),
            Record::Directory(change) => Entry::Directory(change.into()),
            Record::Erased => Entry::Erased,
        }
    }
}

/// A role as it stands on disk.
pub fn role_code(role: Role) -> u8 {
    match role {
        Role::ReadOnly => 1,
        Role::Member => 2,
        Role::Moderator => 3,
        Role::Admin => 4,
    }
}

/// The role behind a stored code; `None` for a code that no version wrote.
pub fn role_of(code: u8) -> Option<Role> {
    Some(match code {
        1 => Role::ReadOnly,
        2 => Role::Member,
        3 => Role::Moderator,
        4 => Role::Admin,
        _ => return None,
    })
}
