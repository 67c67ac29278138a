//! What the HTTP side needs from the rest of the server, as traits: whoever wires the process
//! together implements them. No tokio here, so that implementers need none.

use super::handover::HttpCounts;
use crate::model::{ConversationId, Erasure, Identity, Role, UserId, Wall};
use crate::node::admin::{AdminAnswer, AdminCommand};
use crate::node::question::{AnswerTo, Question};

/// Called at most once, from any thread, when the outcome is durable. Dropping it uncalled is
/// answered with 503.
pub type AdminReply = Box<dyn FnOnce(AdminAnswer) + Send>;

/// The way to the shards' mailboxes is full; nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shards take no more commands now")]
pub struct Busy;

/// The shards, as the admin routes see them.
pub trait Shards: Send + Sync {
    /// Must not block: it is called on the HTTP thread.
    fn send(&self, command: AdminCommand, reply: AdminReply) -> Result<(), Busy>;

    /// To every shard; the one reply is called when all have answered.
    fn send_to_all(&self, command: AdminCommand, reply: AdminReply) -> Result<(), Busy>;
}

/// The shards, as `/api` sees them.
pub trait Questions: Send + Sync {
    /// Must not block: it is called on the HTTP thread. The answer comes at most once, from any thread.
    fn ask(&self, question: Question, to: AnswerTo) -> Result<(), Busy>;
}

/// The store could not read; what was wrong is in its own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the directory could not be read")]
pub struct Unreadable;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationEntry {
    pub conversation: ConversationId,
    pub created_at: Wall,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEntry {
    pub user: UserId,
    pub role: Role,
}

/// Who exists and who belongs where, as it is stored. These may block: each call runs on a thread
/// of its own kind, never on the HTTP thread. Lists are in the order of the ids and start behind
/// `after`.
pub trait Directory: Send + Sync {
    fn conversation(
        &self,
        conversation: &ConversationId,
    ) -> Result<Option<ConversationEntry>, Unreadable>;

    fn conversations(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationEntry>, Unreadable>;

    /// Empty for a conversation that does not exist.
    fn members(
        &self,
        conversation: &ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<MemberEntry>, Unreadable>;

    /// How far the erasing of a user is; `None` if nobody asked for it.
    fn erasure(&self, user: &UserId) -> Result<Option<Erasure>, Unreadable>;
}

/// What `/api` lists before any shard is asked; it may block like [`Directory`].
pub trait Memberships: Send + Sync {
    /// Tokens of this user that were issued before are refused.
    fn revoked_before(&self, user: &UserId) -> Result<Option<Wall>, Unreadable>;

    /// The conversations of the list that is this user's own: memberships, or, where tokens or nothing
    /// say who may enter, those in which the user has sent or read anything.
    fn of_user(
        &self,
        identity: &Identity,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, Unreadable>;
}

/// How the process is doing, read on each probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    /// How long ago the slowest reactor last finished a turn.
    pub oldest_turn_ms: u64,
    /// All listeners are up.
    pub is_listening: bool,
    /// The store takes records.
    pub is_accepting: bool,
    /// There is memory for more sockets.
    pub has_room: bool,
    /// SIGTERM came.
    pub is_draining: bool,
}

pub trait Health: Send + Sync {
    fn vitals(&self) -> Vitals;
}

/// The metrics, as text that Prometheus reads. This may block: it runs on a thread of its own kind.
pub trait Metrics: Send + Sync {
    /// `http`: what the HTTP side itself has counted.
    fn exposition(&self, http: HttpCounts) -> String;
}
