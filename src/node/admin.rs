//! What the admin side asks of a shard, and what the shard answers. Plain values: who carries them
//! is decided elsewhere. An answer is given only once the change is durable.

use crate::model::{ConversationId, Profile, Role, UserId, Wall};

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
    /// Replaces how the user is shown where a token does not say it.
    SetProfile {
        profile: Profile,
    },
    /// Tokens issued before this are refused and live sockets that came with one close with 4001.
    /// `None` means now.
    Revoke {
        user: UserId,
        issued_before: Option<Wall>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAnswer {
    Done,
    /// No such conversation, or no such member of it.
    NotFound,
    /// The conversation was there already; nothing changed.
    Exists,
    /// The store takes no records now; nothing changed.
    Unavailable,
}
