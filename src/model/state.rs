//! What the past adds up to: the fold of events into a message's state, and what the store can be
//! asked for about state that is not in memory.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::event::{Event, EventBody, Mark, ReactionAction};
use super::id::{MessageId, Seq, UserId};
use super::identity::{Profile, Role};
use super::time::Wall;

/// What a reaction counts for in a page's length.
pub(super) const REACTION_BYTES: usize = 64;

/// A message after everything that happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageState {
    pub id: MessageId,
    pub seq: Seq,
    pub ordinal: u64,
    pub sender: Arc<Profile>,
    /// Empty once deleted: the text itself is gone.
    pub content: String,
    pub parent: Option<MessageId>,
    pub client_msg_id: Option<String>,
    pub created_at: Wall,
    pub edited_at: Option<Wall>,
    /// How often it was edited: the next edit's number in the edit history.
    pub edits: u32,
    pub deleted_at: Option<Wall>,
    /// Per emoji, who; an emoji without users is not kept.
    pub reactions: BTreeMap<String, BTreeSet<UserId>>,
    pub reply_count: u32,
}

impl MessageState {
    /// The state right after a message event; `None` for any other event.
    pub fn created(event: &Event) -> Option<MessageState> {
        let EventBody::Message(body) = &event.body else { return None };
        Some(MessageState {
            id: body.id,
            seq: event.seq,
            ordinal: body.ordinal,
            sender: body.sender.clone(),
            content: body.content.clone(),
            parent: body.parent,
            client_msg_id: body.client_msg_id.clone(),
            created_at: event.at,
            edited_at: None,
            edits: 0,
            deleted_at: None,
            reactions: BTreeMap::new(),
            reply_count: 0,
        })
    }

    /// Folds a later event about this message in. Events about other messages change nothing,
    /// except that a message whose parent this is counts as a reply.
    pub fn apply(&mut self, event: &Event) {
        match &event.body {
            EventBody::Message(body) if body.parent == Some(self.id) => self.reply_count += 1,
            EventBody::Edit { message, content, .. } if *message == self.id => {
                self.content.clone_from(content);
                self.edited_at = Some(event.at);
                self.edits += 1;
            }
            EventBody::Delete { message, .. } if *message == self.id => {
                self.content = String::new();
                self.deleted_at = Some(event.at);
            }
            EventBody::Reaction { message, user, emoji, action } if *message == self.id => {
                self.react(user, emoji, *action);
            }
            _ => {}
        }
    }

    /// About how long it is when it is shown: pages are cut by this before anything is encoded.
    pub fn weight(&self) -> usize {
        let reactions: usize = self.reactions.values().map(BTreeSet::len).sum();
        self.content.len() + reactions * REACTION_BYTES
    }

    fn react(&mut self, user: &UserId, emoji: &str, action: ReactionAction) {
        match action {
            ReactionAction::Added => {
                self.reactions.entry(emoji.to_owned()).or_default().insert(user.clone());
            }
            ReactionAction::Removed => {
                if let Some(users) = self.reactions.get_mut(emoji) {
                    users.remove(user);
                    if users.is_empty() {
                        self.reactions.remove(emoji);
                    }
                }
            }
        }
    }
}

/// Where a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    pub last_seq: Seq,
    /// 0 when there is no message yet.
    pub last_message: u64,
    /// How many messages there are (deleted ones count): the next message's ordinal.
    pub messages: u64,
    /// Time of the last event.
    pub last_at: Wall,
}

/// What stays of a deleted conversation: where it stood. Created again, it goes on from there, so that
/// no seq and no message id ever names two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    pub at: Wall,
    pub last_seq: Seq,
    pub last_message: u64,
}

impl Tombstone {
    /// Where the conversation stands when it is created again.
    pub fn header(&self) -> Header {
        let Tombstone { at, last_seq, last_message } = *self;
        Header { last_seq, last_message, messages: 0, last_at: at }
    }
}

/// How far the erasing of a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    Running { begun_at: Wall },
    Done { begun_at: Wall, done_at: Wall, messages: u64, reactions: u64 },
}

/// The first time a `client_msg_id` was used, as much of it as a repeat's answer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstSend {
    pub message: MessageId,
    pub seq: Seq,
    pub created_at: Wall,
    /// Tells a repeat from another message under the same id.
    pub content_hash: u64,
}

impl FirstSend {
    /// The hash that `content_hash` holds (FNV-1a, 64 bits). It is stored, so it never changes.
    pub fn hash_content(content: &str) -> u64 {
        content.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

/// The place of a first send in the store's order: by day, user and id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FirstSendPlace {
    /// Since the Unix epoch.
    pub day: u32,
    pub user: UserId,
    pub client_msg_id: String,
}

/// One step through the store's first sends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirstSends {
    pub places: Vec<FirstSendPlace>,
    /// There are none behind these.
    pub is_last: bool,
}

/// What a command needs to know that is not in memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LoadKey {
    Message(MessageId),
    Mark(UserId),
    FirstSend {
        user: UserId,
        client_msg_id: String,
    },
    /// A step through all first sends of the last days, behind this one: for a filter of them.
    FirstSends(Option<FirstSendPlace>),
    /// The last `n` messages, oldest first.
    Recent(u32),
    /// Marks of at most `n` users.
    Marks(u32),
}

/// The store's answer to a [`LoadKey`].
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    Message(Option<Box<MessageState>>),
    Mark(Option<Mark>),
    FirstSend(Option<FirstSend>),
    FirstSends(FirstSends),
    Recent(Vec<MessageState>),
    Marks(Vec<Mark>),
    /// The store could not read it: the command is answered with `storage_unavailable`.
    Failed,
}

/// A page of a conversation's messages, oldest first: at most `limit` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    pub anchor: Anchor,
    pub limit: u32,
}

/// Where a page of messages lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The last ones.
    Newest,
    /// The last ones with a lower id.
    Before(MessageId),
    /// The first ones with a higher id.
    After(MessageId),
    /// Half of them up to this one, half behind it.
    Around(MessageId),
}

/// What the store knows when a socket wants in: asked once per connect, and again when the
/// directory changed meanwhile.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Admission {
    pub conversation_exists: bool,
    /// It was deleted and not created again: nobody enters, whatever a token says.
    pub is_deleted: bool,
    /// The directory's role, if the user is a member.
    pub role: Option<Role>,
    pub profile: Option<Profile>,
    /// Tokens issued before this are refused.
    pub revoked_before: Option<Wall>,
    pub header: Header,
}
