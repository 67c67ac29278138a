//! What the JSON of requests and answers looks like, as types that only describe it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// A number below 2^53 where an id reads as one, else a text.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Id {
    Number(u64),
    Text(String),
}

/// A whole number from 0 to 2^53 − 1.
#[derive(ToSchema)]
#[schema(value_type = u64)]
pub struct Number(u64);

/// How many at most: 1 to 200, for lists of the admin API 1 to 1000.
#[derive(ToSchema)]
#[schema(value_type = u32)]
pub struct Limit(u32);

/// Rising rights.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    ReadOnly,
    Member,
    Moderator,
    Admin,
}

#[derive(ToSchema)]
pub struct Failure {
    /// A sentence.
    error: String,
    /// The same for programs.
    code: String,
}

#[derive(ToSchema)]
pub struct Profile {
    id: Id,
    email: String,
    first_name: String,
    last_name: String,
}

/// Users of a list that may be long: the first 50 of them, and how many there are.
#[derive(ToSchema)]
pub struct Users {
    ids: Vec<Id>,
    count: u64,
}

#[derive(ToSchema)]
pub struct Message {
    id: Number,
    seq: Number,
    /// `Message deleted` once it is.
    content: String,
    sender: Profile,
    #[schema(required = true)]
    parent_message_id: Option<Number>,
    created_at: String,
    is_edited: bool,
    #[schema(required = true)]
    edited_at: Option<String>,
    is_deleted: bool,
    /// By emoji.
    reactions: BTreeMap<String, Users>,
    /// Not in lists of conversations.
    #[schema(required = false)]
    read_by: Users,
    reply_count: u32,
}

/// Messages, oldest first.
#[derive(ToSchema)]
pub struct History {
    messages: Vec<Message>,
    /// There are more in the direction in which was asked.
    has_more: bool,
    /// The last event that the page knows of.
    seq: Number,
}

/// A content of a message; the original has number 0.
#[derive(ToSchema)]
pub struct Edit {
    number: u32,
    seq: Number,
    content: String,
    user_id: Id,
    created_at: String,
}

#[derive(ToSchema)]
pub struct Edits {
    message_id: Number,
    edits: Vec<Edit>,
    has_more: bool,
}

/// Where the caller stands in a conversation.
#[derive(ToSchema)]
pub struct Standing {
    conversation_id: Id,
    epoch: String,
    seq: Number,
    #[schema(required = true)]
    role: Option<Role>,
    messages: u64,
    unread: u64,
    /// The newest message that the caller has read.
    #[schema(required = true)]
    mark: Option<Number>,
    #[schema(required = true)]
    last_message: Option<Message>,
}

#[derive(ToSchema)]
pub struct Participant {
    user_id: Id,
    #[schema(required = true)]
    role: Option<Role>,
    #[schema(required = true)]
    mark: Option<Number>,
}

/// The same with those who take part.
#[derive(ToSchema)]
pub struct Conversation {
    conversation_id: Id,
    epoch: String,
    seq: Number,
    #[schema(required = true)]
    role: Option<Role>,
    messages: u64,
    unread: u64,
    #[schema(required = true)]
    mark: Option<Number>,
    #[schema(required = true)]
    last_message: Option<Message>,
    participants: Vec<Participant>,
    has_more: bool,
}

#[derive(ToSchema)]
pub struct Conversations {
    conversations: Vec<Standing>,
    has_more: bool,
}

#[derive(ToSchema)]
pub struct ConversationName {
    conversation_id: Id,
}

#[derive(ToSchema)]
pub struct ConversationEntry {
    conversation_id: Id,
    created_at: String,
}

#[derive(ToSchema)]
pub struct ConversationEntries {
    conversations: Vec<ConversationEntry>,
    has_more: bool,
}

#[derive(ToSchema)]
pub struct Member {
    user_id: Id,
    role: Role,
}

#[derive(ToSchema)]
pub struct Members {
    conversation_id: Id,
    members: Vec<Member>,
    has_more: bool,
}

#[derive(ToSchema)]
pub struct Membership {
    conversation_id: Id,
    user_id: Id,
    role: Role,
}

#[derive(ToSchema)]
pub struct MemberBody {
    role: Role,
}

/// What is left out becomes empty.
#[derive(ToSchema)]
pub struct ProfileBody {
    #[schema(required = false)]
    email: String,
    #[schema(required = false)]
    first_name: String,
    #[schema(required = false)]
    last_name: String,
}

#[derive(ToSchema)]
pub struct RevokeBody {
    /// UTC with `Z`, not in the future; now, if it is left out.
    #[schema(required = false)]
    issued_before: String,
}

/// Either `user_id` or `system`.
#[derive(ToSchema)]
pub struct PostBody {
    content: String,
    #[schema(required = false)]
    user_id: Id,
    #[schema(required = false)]
    system: bool,
    #[schema(required = false)]
    parent_message_id: Option<u64>,
    /// 1 to 64 bytes.
    #[schema(required = false)]
    client_msg_id: Option<String>,
}

#[derive(ToSchema)]
pub struct Posted {
    id: u64,
    seq: u64,
    created_at: String,
}

/// Days, 1 to 36500, or null for the server's.
#[derive(ToSchema)]
pub struct RetentionBody {
    #[schema(required = true)]
    retention_days: Option<u32>,
}

#[derive(ToSchema)]
pub struct Retention {
    conversation_id: Id,
    #[schema(required = true)]
    retention_days: Option<u32>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasureStatus {
    Running,
    Done,
}

/// The counts come when it is done.
#[derive(ToSchema)]
pub struct Erasure {
    user_id: Id,
    status: ErasureStatus,
    #[schema(required = false)]
    begun_at: String,
    #[schema(required = false)]
    done_at: String,
    #[schema(required = false)]
    messages: u64,
    #[schema(required = false)]
    reactions: u64,
}

/// Where in the log; opaque.
#[derive(ToSchema)]
#[schema(value_type = String)]
pub struct Cursor(String);

/// An import that is there.
#[derive(ToSchema)]
pub struct Import {
    conversation_id: Id,
    /// `building`: its pages are not all there yet, and nobody may enter; `done`.
    state: String,
    #[schema(required = false)]
    events: u64,
    /// How many of the events pages have.
    #[schema(required = false)]
    built: u64,
    #[schema(required = false)]
    messages: u64,
}

/// What does not hold in an import.
#[derive(ToSchema)]
pub struct ImportFailure {
    /// A sentence.
    error: String,
    /// The same for programs.
    code: String,
    /// Of the body; not there when no single line is to blame.
    #[schema(required = false)]
    line: u32,
}
