//! What a shard says to the log, to the readers and to the admin side, and what it hears back.
//! The store implements the other end; the simulation may, too.

use std::ops::Range;
use std::sync::Arc;

use crate::model::{
    Admission, ConversationId, DirectoryChange, EditsQuery, Event, HistoryQuery, LoadKey, Loaded,
    Mark, RepliesQuery, Seq, StandingQuery, StoredEdits, StoredMarks, StoredPage, StoredStanding,
    UserId,
};

/// What the log keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    Event {
        conversation: ConversationId,
        event: Arc<Event>,
    },
    Mark {
        conversation: ConversationId,
        mark: Mark,
    },
    Directory(DirectoryChange),
    /// In the place of one that was erased.
    Erased,
}

/// Shard → log. A shard reserves room in the ring before it decides a command, so a record is never
/// numbered and then refused.
#[derive(Debug)]
pub enum ToLog {
    /// `lsn`: the shard's own count of its records, 1, 2, 3 …
    Append { lsn: u64, record: Record },
    /// Asks for a block of message ids; answered by [`FromLog::Lease`] once the grant is durable.
    Lease,
    /// No record follows. When all shards said so the log commits, seals what it can and stops.
    Stop,
}

/// Log → shard.
#[derive(Debug, Clone, PartialEq)]
pub enum FromLog {
    /// Everything up to and including this lsn is durable, and lies in this segment or earlier ones.
    Durable { through: u64, segment: u64 },
    /// Ids that no other shard and no other life of the server uses.
    Lease { ids: Range<u64> },
    /// Segments up to this one are wholly in sled: what they hold may leave memory.
    Sealed { segment: u64 },
    /// Free space fell below the reserve, or two segments wait to be sealed (`false`), or the store
    /// takes records again (`true`).
    Accepting(bool),
    /// Something old was taken out of pages: what is in memory of what they have is read anew.
    ReadAnew,
    /// After [`ToLog::Stop`]: everything is on disk.
    Stopped,
}

/// Shard → reader thread.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadRequest {
    /// Names the request; comes back with the answer.
    pub ticket: u64,
    pub conversation: ConversationId,
    pub query: LoadQuery,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LoadQuery {
    State(LoadKey),
    Admission(UserId),
    Past(PastQuery),
}

/// What of a conversation's past is asked for: what pages have of it, no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PastQuery {
    /// Events behind `after`, oldest first, as many as one answer takes. Texts of deleted messages
    /// are left out of them.
    Events {
        after: Seq,
    },
    /// A page of messages, with the marks that say who has read them.
    Messages(HistoryQuery),
    Replies(RepliesQuery),
    Edits(EditsQuery),
    /// The marks that may be shown, and how many there are.
    Marks,
    Standing(StandingQuery),
}

/// Reader thread → shard.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadAnswer {
    pub ticket: u64,
    pub answer: LoadResult,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LoadResult {
    State(Loaded),
    Admission(Box<Admission>),
    Past(Past),
    /// The store could not read: the socket is refused with 503 or 4100.
    Failed,
}

/// The answer to a [`PastQuery`].
#[derive(Debug, Clone, PartialEq)]
pub enum Past {
    /// Dense, from the first that is asked for on; empty when pages have no such event.
    Events(Vec<Arc<Event>>),
    /// Of messages or of replies.
    Page(Box<StoredPage>),
    Edits(StoredEdits),
    Marks(StoredMarks),
    Standing(Box<StoredStanding>),
}
