//! What the admin side asks of a shard, and what the shard answers. Plain values: who carries them
//! is decided elsewhere. An answer is given only once the change is durable.

use crate::model::{
    ConversationId, ErrorCode, Import, MessageId, Profile, Role, Seq, UserId, Wall,
};

/// A change that an operator, or the operator's own backend, asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminCommand {
    CreateConversation {
        conversation: ConversationId,
    },
    /// Closes its sockets with 4003 and erases it; only a tombstone stays.
    DeleteConversation {
        conversation: ConversationId,
    },
    /// Drops the conversation's messages at this age; `None`: at the server's.
    SetRetention {
        conversation: ConversationId,
        days: Option<u32>,
    },
    /// Makes the user a member, or gives a member another role.
    SetMember {
        conversation: ConversationId,
        user: UserId,
        role: Role,
    },
    /// Ends the membership; live sockets close with 4004.
    RemoveMember {
        conversation: ConversationId,
        user: UserId,
    },
    /// Closes the user's live sockets in the conversation with 4004; the membership stays.
    Kick {
        conversation: ConversationId,
        user: UserId,
    },
    /// Says something in a conversation.
    Post {
        conversation: ConversationId,
        post: Post,
    },
    /// Deletes a message, whoever sent it.
    DeleteMessage {
        conversation: ConversationId,
        message: MessageId,
        by: Sender,
    },
    /// Replaces how the user is shown where a token does not say it.
    SetProfile {
        profile: Profile,
    },
    /// Takes a reaction of a user back.
    RemoveReaction {
        conversation: ConversationId,
        message: MessageId,
        emoji: String,
        user: UserId,
    },
    /// Refuses the user's tokens of before, closes the live sockets with 4001, and notes that the user is
    /// to be erased.
    EraseUser {
        user: UserId,
    },
    /// Lets go of what the store has as well, on all cores: it was changed there behind their backs.
    ReadAnew {
        user: UserId,
    },
    /// Tokens issued before this are refused and live sockets that came with one close with 4001.
    /// `None` means now.
    Revoke {
        user: UserId,
        issued_before: Option<Wall>,
    },
    /// Makes a conversation that does not exist with all its past, which is staged.
    Import(Import),
    /// To every shard: gives up ids below `floor`, and answers when all that it numbered before is
    /// durable.
    RenewLease {
        floor: u64,
    },
}

/// A message without a socket. The shard checks its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    pub sender: Sender,
    pub content: String,
    pub parent: Option<MessageId>,
    pub client_msg_id: Option<String>,
}

/// In whose name the operator speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    System,
    /// Shown as the directory has the user.
    User(UserId),
}

impl Sender {
    pub fn id(&self) -> UserId {
        match self {
            Sender::System => Profile::system().id,
            Sender::User(user) => user.clone(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAnswer {
    Done,
    /// It became this event.
    Numbered {
        message: MessageId,
        seq: Seq,
        created_at: Wall,
    },
    /// The conversation does not take it.
    Refused(ErrorCode),
    /// No such conversation, or no such member of it.
    NotFound,
    /// The conversation was there already; nothing changed.
    Exists,
    /// The store takes no records now; nothing changed.
    Unavailable,
}
