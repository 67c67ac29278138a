//! What a segment's commits add up to: per conversation its events, and facts about messages, marks
//! and the directory as one change per key. Pure: reads no page yet.

use std::collections::BTreeMap;

use crate::model::{
    ConversationId, DirectoryChange, Event, EventBody, FirstSend, Header, Import, Mark, MessageId,
    ReactionAction, Role, Seq, Tombstone, UserId, Wall,
};
use crate::node::journal::record::{self, MessageOutline, Outline};
use crate::node::journal::{Damage, Scan};
use crate::node::ports::Record;

use super::error::StoreError;
use super::page::PageEntry;

/// A conversation's share of a segment.
#[derive(Debug, Default)]
pub struct Share<'a> {
    /// It was deleted in this segment: the rest is what came after.
    pub tombstone: Option<Tombstone>,
    pub events: Vec<PageEntry<'a>>,
    /// Ids of messages that were deleted with the conversation.
    pub given: Vec<u64>,
    /// First and last seq in this segment, what was deleted included.
    pub seqs: Option<(Seq, Seq)>,
    pub header: Header,
    pub has_messages: bool,
    pub first_sends: Vec<(UserId, String, FirstSend)>,
    /// Parent → replies, oldest first.
    pub replies: BTreeMap<MessageId, Vec<(MessageId, Seq)>>,
    /// Message → edits, oldest first, as records.
    pub edits: BTreeMap<MessageId, Vec<(Seq, &'a [u8])>>,
    pub deletions: BTreeMap<MessageId, (Wall, &'a [u8])>,
    /// What holds at the end of the segment: the seq that added it, or nothing.
    pub reactions: BTreeMap<(MessageId, String, UserId), Option<Seq>>,
    pub marks: BTreeMap<UserId, (Mark, &'a [u8])>,
}

/// The directory's changes: the last word about each.
#[derive(Debug, Default)]
pub struct DirectoryShare<'a> {
    pub created: BTreeMap<ConversationId, Wall>,
    pub roles: BTreeMap<(ConversationId, UserId), Option<Role>>,
    /// As a record; `None`: erased.
    pub profiles: BTreeMap<UserId, Option<&'a [u8]>>,
    pub erasures: BTreeMap<UserId, Wall>,
    pub revoked: BTreeMap<UserId, Wall>,
    pub retention: BTreeMap<ConversationId, Option<u32>>,
    pub imported: Vec<(At, Import)>,
}

#[derive(Debug, Default)]
pub struct Gathered<'a> {
    pub conversations: BTreeMap<ConversationId, Share<'a>>,
    pub directory: DirectoryShare<'a>,
}

/// Where a record stands in the log.
#[derive(Debug, Clone, Copy)]
pub struct At {
    pub commit: u64,
    pub place: u32,
}

pub fn gather<'a>(segment: &Scan<'a>) -> Result<Gathered<'a>, StoreError> {
    let mut gathered = Gathered::default();
    for commit in &segment.commits {
        let damage = Damage::Record { segment: commit.head.segment, commit: commit.head.commit };
        let mut count = 0;
        for bytes in commit.records() {
            let at = At { commit: commit.head.commit, place: count };
            match record::outline(bytes).map_err(|_| damage)? {
                Outline::Message(conversation, message) => {
                    gathered.share(conversation).message(at, &message, bytes)?;
                }
                Outline::Other(record) => gathered.add(at, record, bytes)?,
            }
            count += 1;
        }
        if count != commit.record_count() {
            return Err(damage.into());
        }
    }
    Ok(gathered)
}

/// What one conversation's events add up to, each with its place in the log.
pub fn gather_events<'a>(
    conversation: &ConversationId,
    events: impl IntoIterator<Item = (At, Event, &'a [u8])>,
) -> Result<Gathered<'a>, StoreError> {
    let mut share = Share::default();
    for (at, event, bytes) in events {
        share.event(at, &event, bytes)?;
    }
    let conversations = BTreeMap::from([(conversation.clone(), share)]);
    Ok(Gathered { conversations, ..Gathered::default() })
}

impl<'a> Gathered<'a> {
    fn share(&mut self, conversation: ConversationId) -> &mut Share<'a> {
        self.conversations.entry(conversation).or_default()
    }

    fn add(&mut self, at: At, record: Record, bytes: &'a [u8]) -> Result<(), StoreError> {
        match record {
            Record::Event { conversation, event } => {
                self.share(conversation).event(at, &event, bytes)?;
            }
            Record::Erased => {}
            Record::Mark { conversation, mark } => {
                self.share(conversation).mark(mark, bytes);
            }
            Record::Directory(change) => {
                if let DirectoryChange::ConversationDeleted { conversation, tombstone } = &change {
                    self.share(conversation.clone()).end(*tombstone);
                }
                self.directory.change(at, change, bytes);
            }
        }
        Ok(())
    }
}

impl<'a> Share<'a> {
    /// What came before the tombstone is gone.
    fn end(&mut self, tombstone: Tombstone) {
        let given = self.events.iter().map(|entry| entry.message).filter(|&id| id != 0);
        *self = Share {
            given: self.given.iter().copied().chain(given).collect(),
            tombstone: Some(tombstone),
            header: tombstone.header(),
            seqs: self.seqs,
            ..Share::default()
        };
    }

    fn event(&mut self, at: At, event: &Event, bytes: &'a [u8]) -> Result<(), StoreError> {
        if let EventBody::Message(body) = &event.body {
            return self.message(at, &MessageOutline::of(event, body), bytes);
        }
        self.place(at, (event.seq, event.at), MessageId(0), bytes)?;
        match &event.body {
            EventBody::Message(_) => {}
            EventBody::Edit { message, .. } => {
                self.edits.entry(*message).or_default().push((event.seq, bytes));
            }
            EventBody::Delete { message, .. } => {
                self.deletions.entry(*message).or_insert((event.at, bytes));
            }
            EventBody::Reaction { message, user, emoji, action } => {
                let holds = (*action == ReactionAction::Added).then_some(event.seq);
                self.reactions.insert((*message, emoji.clone(), user.clone()), holds);
            }
        }
        Ok(())
    }

    fn message(
        &mut self,
        at: At,
        message: &MessageOutline<'_>,
        bytes: &'a [u8],
    ) -> Result<(), StoreError> {
        self.place(at, (message.seq, message.at), message.id, bytes)?;
        self.has_messages = true;
        self.header.last_message = message.id.0;
        self.header.messages = message.ordinal.saturating_add(1);
        if let Some(parent) = message.parent {
            self.replies.entry(parent).or_default().push((message.id, message.seq));
        }
        if let Some(client_msg_id) = message.client_msg_id {
            let first = FirstSend {
                message: message.id,
                seq: message.seq,
                created_at: message.at,
                content_hash: FirstSend::hash_content(message.content),
            };
            self.first_sends.push((message.sender.clone(), client_msg_id.to_owned(), first));
        }
        Ok(())
    }

    /// The next event; `message` is 0 if it is no message.
    fn place(
        &mut self,
        At { commit, place }: At,
        (seq, at): (Seq, Wall),
        message: MessageId,
        record: &'a [u8],
    ) -> Result<(), StoreError> {
        let last = self.header.last_seq;
        if seq <= last {
            return Err(StoreError::SeqRepeated { last: last.0, found: seq.0 });
        }
        self.seqs = Some((self.seqs.map_or(seq, |(first, _)| first), seq));
        self.header.last_seq = seq;
        self.header.last_at = at;
        self.events.push(PageEntry { seq, commit, place, message: message.0, record });
        Ok(())
    }

    fn mark(&mut self, mark: Mark, bytes: &'a [u8]) {
        let is_higher =
            self.marks.get(&mark.user).is_none_or(|(known, _)| known.message < mark.message);
        if is_higher {
            self.marks.insert(mark.user.clone(), (mark, bytes));
        }
    }
}

impl<'a> DirectoryShare<'a> {
    fn change(&mut self, at: At, change: DirectoryChange, bytes: &'a [u8]) {
        match change {
            DirectoryChange::ConversationDeleted { conversation, .. } => {
                self.created.remove(&conversation);
                self.retention.remove(&conversation);
                self.imported.retain(|(_, import)| import.conversation != conversation);
                self.roles.retain(|(of, _), _| *of != conversation);
            }
            DirectoryChange::ConversationCreated { conversation, at } => {
                self.created.entry(conversation).or_insert(at);
            }
            DirectoryChange::MemberSet { conversation, user, role } => {
                self.roles.insert((conversation, user), Some(role));
            }
            DirectoryChange::MemberRemoved { conversation, user } => {
                self.roles.insert((conversation, user), None);
            }
            DirectoryChange::RetentionSet { conversation, days } => {
                self.retention.insert(conversation, days);
            }
            DirectoryChange::ProfileSet { profile } => {
                self.profiles.insert(profile.id, Some(bytes));
            }
            DirectoryChange::ErasureBegun { user, at } => {
                self.profiles.insert(user.clone(), None);
                self.erasures.insert(user.clone(), at);
                self.revoke(user, at);
            }
            DirectoryChange::Revoked { user, issued_before } => self.revoke(user, issued_before),
            DirectoryChange::ConversationImported(import) => self.imported.push((at, import)),
        }
    }

    fn revoke(&mut self, user: UserId, issued_before: Wall) {
        let known = self.revoked.entry(user).or_insert(issued_before);
        *known = (*known).max(issued_before);
    }
}
