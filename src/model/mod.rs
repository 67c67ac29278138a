//! The words everyone shares. Plain values: no clock, no I/O, nothing of ours below but the limits.

pub mod command;
pub mod event;
pub mod history;
pub mod id;
pub mod identity;
pub mod reply;
pub mod state;
pub mod time;

pub use command::{
    Asked, Command, ReactAction, Request, ResumeFrom, SessionCommand, SessionRequest, Version,
};
pub use event::{
    DirectoryChange, Event, EventBody, Import, Mark, MessageBody, ReactionAction, Signal,
};
pub use history::{
    Edited, Edits, EditsQuery, History, Listed, Participant, Reader, ReadersQuery, RepliesQuery,
    ShownMessage, Sides, Standing, StandingQuery, StoredEdits, StoredMarks, StoredPage,
    StoredStanding,
};
pub use id::{ConversationId, Epoch, IdRef, MessageId, Seq, SessionId, UserId};
pub use identity::{Access, Identity, Profile, Role, Scope};
pub use reply::{Ack, CloseReason, ErrorCode, HelloLimits, Refusal, Reply, Resumed};
pub use state::{
    Admission, Anchor, Erasure, FirstSend, FirstSendPlace, FirstSends, Header, HistoryQuery,
    LoadKey, Loaded, MessageState, Tombstone,
};
pub use time::{Mono, Now, Wall};
