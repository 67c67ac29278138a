//! What somebody asks about one conversation's past, and what a shard answers. Plain values: who carries
//! them is decided elsewhere. Nothing that is not durable is ever in an answer.

use std::sync::Arc;

use crate::model::{
    CloseReason, ConversationId, Edits, EditsQuery, History, HistoryQuery, Identity, ReadersQuery,
    RepliesQuery, Standing,
};

/// A question, and who asks it.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub conversation: ConversationId,
    pub asker: Asker,
    pub about: About,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Asker {
    /// Answered where a socket of this user would be let in.
    User(Arc<Identity>),
    /// Answered always.
    Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Where the asker stands, and how far these have read.
    Standing(ReadersQuery),
    History(HistoryQuery),
    Replies(RepliesQuery),
    Edits(EditsQuery),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Standing(Box<Standing>),
    /// Of messages or of replies.
    History(Box<History>),
    Edits(Edits),
    /// Only an operator hears this: others are refused.
    NoConversation,
    /// The conversation has no such message.
    NoMessage,
    /// The message was deleted, and its contents with it.
    Gone,
    /// As a socket would be.
    Refused(CloseReason),
    /// Too many questions wait.
    Busy,
    /// The store could not read.
    Unavailable,
}

/// Called at most once, from the shard's thread. Dropped uncalled when the server stops first.
pub type AnswerTo = Box<dyn FnOnce(Answer) + Send>;
