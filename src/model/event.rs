//! What happened: decided, numbered, and (once the log says so) shown to everyone.

use std::sync::Arc;

use super::id::{ConversationId, MessageId, Seq, UserId};
use super::identity::{Profile, Role};
use super::state::Tombstone;
use super::time::Wall;

/// One numbered happening of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub seq: Seq,
    /// Never before an earlier event's of the same conversation.
    pub at: Wall,
    pub body: EventBody,
}

impl Event {
    /// The message whose text this event carries.
    pub fn text_of(&self) -> Option<MessageId> {
        match &self.body {
            EventBody::Message(body) => Some(body.id),
            EventBody::Edit { message, .. } => Some(*message),
            EventBody::Delete { .. } | EventBody::Reaction { .. } => None,
        }
    }

    /// The same event once its message was deleted: no text at all, which no live message has.
    pub fn without_text(&self) -> Event {
        let mut event = self.clone();
        match &mut event.body {
            EventBody::Message(MessageBody { content, .. }) | EventBody::Edit { content, .. } => {
                content.clear();
            }
            EventBody::Delete { .. } | EventBody::Reaction { .. } => {}
        }
        event
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum EventBody {
    Message(MessageBody),
    Edit { message: MessageId, by: UserId, content: String },
    Delete { message: MessageId, by: UserId },
    Reaction { message: MessageId, user: UserId, emoji: String, action: ReactionAction },
}

#[derive(Debug, Clone, PartialEq)]
pub struct MessageBody {
    pub id: MessageId,
    /// How many messages the conversation had before this one: unread counts are differences.
    pub ordinal: u64,
    pub sender: Arc<Profile>,
    pub content: String,
    pub parent: Option<MessageId>,
    pub client_msg_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReactionAction {
    Added,
    Removed,
}

/// How far a user has read: it only rises. State, not an event: it has no `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub user: UserId,
    pub message: MessageId,
    pub ordinal: u64,
    pub at: Wall,
}

/// A change of the directory: who exists, who belongs where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryChange {
    ConversationCreated {
        conversation: ConversationId,
        at: Wall,
    },
    MemberSet {
        conversation: ConversationId,
        user: UserId,
        role: Role,
    },
    MemberRemoved {
        conversation: ConversationId,
        user: UserId,
    },
    ProfileSet {
        profile: Profile,
    },
    /// Tokens of this user issued before `issued_before` are refused.
    Revoked {
        user: UserId,
        issued_before: Wall,
    },
    /// The conversation, its members and its marks are gone; only the tombstone stays.
    ConversationDeleted {
        conversation: ConversationId,
        tombstone: Tombstone,
    },
    /// The user's tokens of before are refused, the profile is gone, and everything else of the user is
    /// being taken out of the store.
    ErasureBegun {
        user: UserId,
        at: Wall,
    },
    /// Its messages are dropped at this age; `None`: at the server's.
    RetentionSet {
        conversation: ConversationId,
        days: Option<u32>,
    },
    /// A conversation that did not exist is there with all its past, which lies in a file of this
    /// number until pages have it.
    ConversationImported(Import),
}

/// A conversation that was brought in whole: its events have the seqs 1 to `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub conversation: ConversationId,
    /// When the conversation was created, there where it comes from.
    pub at: Wall,
    /// Names the file, and tells imports apart.
    pub number: u64,
    pub events: u64,
    pub messages: u64,
}

/// What is told at once and never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    Typing {
        user: UserId,
        user_name: String,
        is_typing: bool,
        at: Wall,
    },
    Read {
        message: MessageId,
        user: UserId,
        at: Wall,
    },
    Status {
        user: UserId,
        online: bool,
        at: Wall,
    },
    /// v2, above 200 online: how many there are.
    PresenceCount {
        count: u32,
    },
}
