//! What happened as lines of JSON, as `/admin/events` tells it; described in `docs/http.md`.

use serde::Serialize;

use super::instant;
use super::ndjson::push;
use crate::model::{
    ConversationId, DirectoryChange, Event, EventBody, MessageId, Profile, ReactionAction, Role,
    UserId,
};
use crate::store::Happening;

const DELETED: &str = "Message deleted";

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum HappeningOut<'a> {
    Message {
        #[serde(flatten)]
        place: PlaceOut<'a>,
        message: MessageOut<'a>,
    },
    Edit {
        #[serde(flatten)]
        place: PlaceOut<'a>,
        message_id: MessageId,
        by: &'a UserId,
        content: &'a str,
    },
    Deletion {
        #[serde(flatten)]
        place: PlaceOut<'a>,
        message_id: MessageId,
        by: &'a UserId,
    },
    Reaction {
        #[serde(flatten)]
        place: PlaceOut<'a>,
        message_id: MessageId,
        user_id: &'a UserId,
        emoji: &'a str,
        action: &'static str,
    },
    ConversationCreated {
        cursor: String,
        conversation_id: &'a ConversationId,
        created_at: String,
    },
    ConversationImported {
        cursor: String,
        conversation_id: &'a ConversationId,
        created_at: String,
        events: u64,
        messages: u64,
    },
    ConversationDeleted {
        cursor: String,
        conversation_id: &'a ConversationId,
        deleted_at: String,
    },
    RetentionSet {
        cursor: String,
        conversation_id: &'a ConversationId,
        retention_days: Option<u32>,
    },
    UserErased {
        cursor: String,
        user_id: &'a UserId,
        begun_at: String,
    },
    MemberSet {
        cursor: String,
        conversation_id: &'a ConversationId,
        user_id: &'a UserId,
        role: Role,
    },
    MemberRemoved {
        cursor: String,
        conversation_id: &'a ConversationId,
        user_id: &'a UserId,
    },
    ProfileSet {
        cursor: String,
        profile: &'a Profile,
    },
    TokensRevoked {
        cursor: String,
        user_id: &'a UserId,
        issued_before: String,
    },
    End {
        cursor: String,
        has_more: bool,
    },
}

#[derive(Serialize)]
struct PlaceOut<'a> {
    cursor: String,
    conversation_id: &'a ConversationId,
    seq: u64,
    at: String,
}

#[derive(Serialize)]
struct MessageOut<'a> {
    id: MessageId,
    content: &'a str,
    sender: &'a Profile,
    parent_message_id: Option<MessageId>,
    client_msg_id: Option<&'a str>,
    is_deleted: bool,
}

/// One thing that happened, and the cursor behind it.
pub fn push_happening(out: &mut Vec<u8>, cursor: String, happening: &Happening) {
    match happening {
        Happening::Event { conversation, event, is_deleted } => {
            let (seq, at) = (event.seq.0, instant::format(event.at));
            let place = PlaceOut { cursor, conversation_id: conversation, seq, at };
            push(out, &event_out(place, event, *is_deleted));
        }
        Happening::Directory(change) => push(out, &change_out(cursor, change)),
    }
}

pub fn push_end(out: &mut Vec<u8>, cursor: String, has_more: bool) {
    push(out, &HappeningOut::End { cursor, has_more });
}

fn event_out<'a>(place: PlaceOut<'a>, event: &'a Event, is_deleted: bool) -> HappeningOut<'a> {
    let shown = |content: &'a str| if is_deleted { DELETED } else { content };
    match &event.body {
        EventBody::Message(body) => HappeningOut::Message {
            place,
            message: MessageOut {
                id: body.id,
                content: shown(&body.content),
                sender: &body.sender,
                parent_message_id: body.parent,
                client_msg_id: body.client_msg_id.as_deref(),
                is_deleted,
            },
        },
        EventBody::Edit { message, by, content } => {
            HappeningOut::Edit { place, message_id: *message, by, content: shown(content) }
        }
        EventBody::Delete { message, by } => {
            HappeningOut::Deletion { place, message_id: *message, by }
        }
        EventBody::Reaction { message, user, emoji, action } => HappeningOut::Reaction {
            place,
            message_id: *message,
            user_id: user,
            emoji,
            action: match action {
                ReactionAction::Added => "added",
                ReactionAction::Removed => "removed",
            },
        },
    }
}

fn change_out(cursor: String, change: &DirectoryChange) -> HappeningOut<'_> {
    match change {
        DirectoryChange::ConversationCreated { conversation, at } => {
            let created_at = instant::format(*at);
            HappeningOut::ConversationCreated { cursor, conversation_id: conversation, created_at }
        }
        DirectoryChange::ConversationImported(import) => HappeningOut::ConversationImported {
            cursor,
            conversation_id: &import.conversation,
            created_at: instant::format(import.at),
            events: import.events,
            messages: import.messages,
        },
        DirectoryChange::ConversationDeleted { conversation, tombstone } => {
            let deleted_at = instant::format(tombstone.at);
            HappeningOut::ConversationDeleted { cursor, conversation_id: conversation, deleted_at }
        }
        DirectoryChange::RetentionSet { conversation, days } => HappeningOut::RetentionSet {
            cursor,
            conversation_id: conversation,
            retention_days: *days,
        },
        DirectoryChange::ErasureBegun { user, at } => {
            HappeningOut::UserErased { cursor, user_id: user, begun_at: instant::format(*at) }
        }
        DirectoryChange::MemberSet { conversation, user, role } => HappeningOut::MemberSet {
            cursor,
            conversation_id: conversation,
            user_id: user,
            role: *role,
        },
        DirectoryChange::MemberRemoved { conversation, user } => {
            HappeningOut::MemberRemoved { cursor, conversation_id: conversation, user_id: user }
        }
        DirectoryChange::ProfileSet { profile } => HappeningOut::ProfileSet { cursor, profile },
        DirectoryChange::Revoked { user, issued_before } => HappeningOut::TokensRevoked {
            cursor,
            user_id: user,
            issued_before: instant::format(*issued_before),
        },
    }
}
