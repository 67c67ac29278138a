//! A conversation's past as it is shown: pages of messages, replies and edits, and where somebody
//! stands in a conversation. First what is asked for, then what the store has of it, then what the
//! asker gets: the store's part with what is in memory laid over it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::Mark;
use super::id::{ConversationId, Epoch, MessageId, Seq, UserId};
use super::identity::{Profile, Role};
use super::state::{Anchor, HistoryQuery, MessageState, REACTION_BYTES};
use super::time::Wall;
use crate::limits::LISTED_USERS_MAX;

/// A history query as two counts: `older` messages up to the pivot, `newer` ones behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides {
    pub pivot: MessageId,
    pub older: usize,
    pub newer: usize,
}

impl HistoryQuery {
    pub fn sides(&self) -> Sides {
        let limit = self.limit as usize;
        match self.anchor {
            Anchor::Newest => Sides { pivot: MessageId(u64::MAX), older: limit, newer: 0 },
            Anchor::Before(id) => {
                Sides { pivot: MessageId(id.0.saturating_sub(1)), older: limit, newer: 0 }
            }
            Anchor::After(id) => Sides { pivot: id, older: 0, newer: limit },
            Anchor::Around(id) => Sides { pivot: id, older: limit.div_ceil(2), newer: limit / 2 },
        }
    }
}

/// Replies of a message, oldest first, with ids above `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepliesQuery {
    pub parent: MessageId,
    /// 0: from the first on.
    pub after: MessageId,
    pub limit: u32,
}

/// The contents that a message had, oldest first, with seqs above `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditsQuery {
    pub message: MessageId,
    /// 0: from the original on.
    pub after: Seq,
    pub limit: u32,
}

/// Where somebody stands in a conversation, and how far others have read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StandingQuery {
    /// `None`: nobody's own mark is asked for.
    pub user: Option<UserId>,
    pub readers: ReadersQuery,
}

/// Whose marks are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ReadersQuery {
    #[default]
    Nobody,
    These(Vec<UserId>),
    /// Those who have a mark, in order of their ids.
    Behind {
        after: Option<UserId>,
        limit: u32,
    },
}

/// The store's part of a page of messages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredPage {
    /// Oldest first: more than were asked for, if there are more.
    pub messages: Vec<MessageState>,
    /// Ids for which `messages` is all that pages have.
    pub covers_from: MessageId,
    pub covers_to: MessageId,
    /// Of a page of replies: pages have the message that they answer.
    pub has_parent: bool,
    pub marks: StoredMarks,
}

/// The store's marks of a conversation, in order of the users' ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredMarks {
    pub marks: Vec<Mark>,
    /// How many there are, counted up to a bound.
    pub count: u32,
}

/// One content of a message: the original has number 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    pub number: u32,
    pub seq: Seq,
    pub by: UserId,
    pub at: Wall,
    pub content: String,
}

/// The store's part of a message's contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredEdits {
    /// Pages have the message.
    pub is_known: bool,
    pub is_deleted: bool,
    /// Behind `after`: more than were asked for, if there are more.
    pub edits: Vec<Edited>,
    /// They end for their length, not because there are no more.
    pub is_cut: bool,
    /// The last content that pages have.
    pub last_number: u32,
    pub last_seq: Seq,
}

/// The store's part of where somebody stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredStanding {
    pub last_message: Option<MessageState>,
    pub mark: Option<Mark>,
    pub readers: Vec<Mark>,
}

/// Users of a list that may be long: the first of them, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    pub ids: Vec<UserId>,
    pub count: u64,
}

impl Listed {
    pub fn of<'a>(users: impl IntoIterator<Item = &'a UserId>) -> Listed {
        users.into_iter().fold(Listed::default(), |mut listed, user| {
            if listed.ids.len() < LISTED_USERS_MAX {
                listed.ids.push(user.clone());
            }
            listed.count += 1;
            listed
        })
    }
}

/// A message as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownMessage {
    pub id: MessageId,
    pub seq: Seq,
    pub sender: Arc<Profile>,
    /// Empty once deleted.
    pub content: String,
    pub parent: Option<MessageId>,
    pub created_at: Wall,
    pub edited_at: Option<Wall>,
    pub is_deleted: bool,
    pub reactions: BTreeMap<String, Listed>,
    /// `None` where nobody asked for it.
    pub read_by: Option<Listed>,
    pub reply_count: u32,
}

/// What a message takes as JSON beside its text and its reactions, about.
const SHOWN_BYTES: usize = 256;

impl ShownMessage {
    /// About how long it is as JSON.
    pub fn weight(&self) -> usize {
        let reactions: usize = self.reactions.values().map(|users| users.ids.len()).sum();
        SHOWN_BYTES + self.content.len() + reactions * REACTION_BYTES
    }

    pub fn new(state: MessageState, read_by: Option<Listed>) -> ShownMessage {
        let list = |(emoji, users)| (emoji, Listed::of(&users));
        ShownMessage {
            id: state.id,
            seq: state.seq,
            sender: state.sender,
            content: state.content,
            parent: state.parent,
            created_at: state.created_at,
            edited_at: state.edited_at,
            is_deleted: state.deleted_at.is_some(),
            reactions: state.reactions.into_iter().map(list).collect(),
            read_by,
            reply_count: state.reply_count,
        }
    }
}

/// A page of messages, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    pub reference: Option<String>,
    pub messages: Vec<ShownMessage>,
    /// What a page that is too long as JSON is cut around: messages up to it are the older ones.
    pub pivot: MessageId,
    /// There are more in the direction in which was asked.
    pub has_more: bool,
    /// The last event that the page knows of.
    pub seq: Seq,
}

/// A page of a message's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edits {
    pub message: MessageId,
    pub edits: Vec<Edited>,
    pub has_more: bool,
}

/// Where somebody stands in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub conversation: ConversationId,
    pub epoch: Epoch,
    /// The asker's, if it is a user.
    pub role: Option<Role>,
    /// The last event.
    pub seq: Seq,
    /// Deleted ones count.
    pub messages: u64,
    pub last_message: Option<ShownMessage>,
    /// The asker's own mark.
    pub mark: Option<MessageId>,
    /// Messages behind it.
    pub unread: u64,
    pub readers: Vec<Reader>,
    /// There are more readers behind these.
    pub has_more_readers: bool,
}

/// How far somebody has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    pub user: UserId,
    pub mark: MessageId,
}

/// Somebody who belongs to a conversation, or has read in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    pub user: UserId,
    /// Where the directory says who belongs.
    pub role: Option<Role>,
    pub mark: Option<MessageId>,
}
