//! One conversation as it stands after a seq, line by line: members, messages with all that happened to
//! them, marks. Memory is bounded by what is not in pages yet and by one page.
//!
//! A snapshot without stopping anyone. The seq is chosen first: the last durable event. What pages do not
//! have is read once from the journal and kept. What happens later is left out by its seq; a reaction that
//! goes meanwhile is put back by looking at the later events.
//!
//! Texts of messages that were deleted up to that seq, or since, are not told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::model::{
    ConversationId, DirectoryChange, Event, EventBody, Mark, MessageBody, MessageId, Profile,
    ReactionAction, Role, Seq, UserId, Wall,
};
use crate::node::journal::record;
use crate::node::ports::Record;

use super::commits::Commits;
use super::error::{StoreError, ValueError};
use super::keys::{Key, KeyReader, Kind};
use super::page::{self, Page};
use super::pages::guarded;
use super::read::{ReadHandle, event_of, mark_of};
use super::values::ValueReader;

const MEMBERS_AT_ONCE: usize = 500;
/// Later events that are read at once.
const LATER_BYTES: usize = 256 << 10;
/// How often the journal is read anew when it was sealed under the reader.
const TRIES: usize = 5;

/// What an export brings, and an import takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    Member { user: UserId, role: Role, profile: Option<Profile> },
    Message(Box<LineMessage>),
    Edit { message: MessageId, at: Wall, by: UserId, content: String },
    Reaction { message: MessageId, at: Wall, user: UserId, emoji: String },
    Deletion { message: MessageId, at: Wall, by: UserId },
    Mark { user: UserId, message: MessageId, at: Wall },
}

#[derive(Debug, Clone, PartialEq)]
pub struct LineMessage {
    pub id: MessageId,
    pub at: Wall,
    pub sender: Profile,
    pub parent: Option<MessageId>,
    /// As first written. `None`: deleted.
    pub content: Option<String>,
    /// The last edit, where its text is not known.
    pub edited_at: Option<Wall>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportHead {
    pub conversation: ConversationId,
    /// `None` where the directory does not know the conversation.
    pub created_at: Option<Wall>,
    /// All lines tell how things stood after this event.
    pub seq: Seq,
    /// Messages up to there, deleted ones too.
    pub messages: u64,
}

/// What of the conversation is in the journal only.
#[derive(Debug, Default)]
struct Unsealed {
    events: Vec<Arc<Event>>,
    /// By message: places in `events` of what happened to it.
    about: HashMap<MessageId, Vec<usize>>,
    marks: BTreeMap<UserId, Mark>,
}

type ReactionKey = (MessageId, String, UserId);

/// A message's reactions, each with the seq that added it, where that is still known.
type Holding = HashMap<(String, UserId), Option<Seq>>;

/// The first thing that happened to a reaction after the snapshot.
#[derive(Debug, Default)]
struct Later {
    through: Seq,
    first: HashMap<ReactionKey, ReactionAction>,
}

#[derive(Debug)]
enum Phase {
    Members(Option<UserId>),
    Messages(Seq),
    Marks(Option<UserId>),
    Done,
}

pub struct Export {
    read: ReadHandle,
    pub head: ExportHead,
    unsealed: Unsealed,
    later: Later,
    phase: Phase,
    ready: VecDeque<Line>,
    last_message: u64,
    held: Option<Page<'static>>,
}

impl Export {
    /// `None`: there is no such conversation.
    pub(super) fn of(
        read: ReadHandle,
        commits: &mut Commits,
        conversation: ConversationId,
    ) -> Result<Option<Export>, StoreError> {
        if read.importing(&conversation).is_some() {
            return Err(StoreError::Importing);
        }
        if guarded(|| read.is_gone(&conversation))? {
            return Ok(None);
        }
        let unsealed = guarded(|| Unsealed::of(&read, commits, &conversation))?;
        let header = read.header(&conversation)?;
        let created_at = read.created_at(&conversation)?;
        let last = unsealed.events.last().map(|event| event.seq);
        let seq = last.unwrap_or(header.last_seq);
        if created_at.is_none() && seq == Seq::default() {
            return Ok(None);
        }
        let ordinal = unsealed.events.iter().rev().find_map(|event| match &event.body {
            EventBody::Message(body) => Some(body.ordinal + 1),
            _ => None,
        });
        let messages = ordinal.unwrap_or(header.messages);
        Ok(Some(Export {
            head: ExportHead { conversation, created_at, seq, messages },
            read,
            unsealed,
            later: Later { through: seq, ..Later::default() },
            phase: Phase::Members(None),
            ready: VecDeque::new(),
            last_message: 0,
            held: None,
        }))
    }

    fn refill(&mut self) -> Result<(), StoreError> {
        while self.ready.is_empty() {
            match std::mem::replace(&mut self.phase, Phase::Done) {
                Phase::Members(after) => self.members(after)?,
                Phase::Messages(next) => self.messages(next)?,
                Phase::Marks(after) => self.marks(after)?,
                Phase::Done => return Ok(()),
            }
        }
        Ok(())
    }

    fn members(&mut self, after: Option<UserId>) -> Result<(), StoreError> {
        let conversation = &self.head.conversation;
        let found = self.read.members(conversation, after.as_ref(), MEMBERS_AT_ONCE)?;
        self.phase = match found.last() {
            Some((user, _)) => Phase::Members(Some(user.clone())),
            None => Phase::Messages(Seq(1)),
        };
        for (user, role) in found {
            let profile = self.read.profile(&user)?;
            self.ready.push_back(Line::Member { user, role, profile });
        }
        Ok(())
    }

    /// The messages of one page, or those that pages do not have.
    fn messages(&mut self, next: Seq) -> Result<(), StoreError> {
        let last = self.head.seq;
        let found = match next <= last {
            true => self.read.page_from(&self.head.conversation, next)?,
            false => None,
        };
        let mut events = Vec::new();
        self.phase = Phase::Marks(None);
        match found.as_deref().map(page::open).transpose()? {
            Some(page) if *page.seqs().start() <= last => {
                let of_it = |seq: Seq| (next..=last).contains(&seq);
                for entry in page.entries()?.iter().filter(|it| it.message != 0) {
                    if of_it(entry.seq) {
                        events.push(Arc::new(event_of(entry.record)?));
                    }
                }
                self.phase = Phase::Messages(page.seqs().end().next());
            }
            _ => {
                let behind = self.unsealed.events.iter().filter(|event| event.seq >= next);
                events.extend(behind.cloned());
            }
        }
        for event in events {
            if let EventBody::Message(body) = &event.body {
                self.message(&event, body)?;
            }
        }
        Ok(())
    }

    fn message(&mut self, event: &Event, body: &MessageBody) -> Result<(), StoreError> {
        let id = body.id;
        self.last_message = id.0;
        let conversation = self.head.conversation.clone();
        let edits = self.edits(id)?;
        let deletion = self.deletion(id)?;
        let reactions = self.reactions(id, event.at)?;
        let is_gone = deletion.is_some() || self.read.is_deleted(&conversation, id)?;
        let edited_at = edits.last().map(|edit| edit.at).filter(|_| is_gone);
        self.ready.push_back(Line::Message(Box::new(LineMessage {
            id,
            at: event.at,
            sender: (*body.sender).clone(),
            parent: body.parent,
            content: (!is_gone).then(|| body.content.clone()),
            edited_at,
        })));
        if !is_gone {
            self.ready.extend(edits.iter().filter_map(|edit| line_about(edit)));
        }
        self.ready.extend(reactions);
        match deletion {
            Some(deletion) => self.ready.extend(line_about(&deletion)),
            // Deleted after the snapshot: its text is not told any more.
            None if is_gone => {
                let Some(deletion) = self.stored_deletion(id)? else { return Ok(()) };
                self.ready.extend(line_about(&deletion));
            }
            None => {}
        }
        Ok(())
    }

    /// Edits up to the snapshot, oldest first.
    fn edits(&self, id: MessageId) -> Result<Vec<Arc<Event>>, StoreError> {
        let last = self.head.seq;
        let mut edits = Vec::new();
        let prefix = Key::new(Kind::Edit).conversation(&self.head.conversation).message(id);
        for pair in self.read.pages().scan(&prefix) {
            let (_, value) = pair?;
            let mut reader = ValueReader::new(&value)?;
            reader.u32()?;
            let event = Arc::new(event_of(reader.rest())?);
            if event.seq <= last {
                edits.push(event);
            }
        }
        let paged = edits.last().map_or(Seq::default(), |edit| edit.seq);
        let unsealed = self.unsealed.about(id).filter(|event| event.seq > paged);
        edits.extend(unsealed.filter(|it| matches!(it.body, EventBody::Edit { .. })).cloned());
        Ok(edits)
    }

    fn deletion(&self, id: MessageId) -> Result<Option<Arc<Event>>, StoreError> {
        let is_one = |event: &&Arc<Event>| matches!(event.body, EventBody::Delete { .. });
        if let Some(event) = self.unsealed.about(id).find(is_one) {
            return Ok(Some(event.clone()));
        }
        Ok(self.stored_deletion(id)?.filter(|event| event.seq <= self.head.seq))
    }

    fn stored_deletion(&self, id: MessageId) -> Result<Option<Arc<Event>>, StoreError> {
        let key = Key::new(Kind::Deletion).conversation(&self.head.conversation).message(id);
        let Some(value) = self.read.pages().get(&key)? else { return Ok(None) };
        event_of(ValueReader::new(&value)?.rest()).map(|event| Some(Arc::new(event)))
    }

    /// Reactions that held at the snapshot, in the order in which they were added.
    fn reactions(&mut self, id: MessageId, created: Wall) -> Result<Vec<Line>, StoreError> {
        let mut holding = self.stored_reactions(id)?;
        for event in self.unsealed.about(id) {
            let EventBody::Reaction { user, emoji, action, .. } = &event.body else { continue };
            let key = (emoji.clone(), user.clone());
            match action {
                ReactionAction::Added => holding.insert(key, Some(event.seq)),
                ReactionAction::Removed => holding.remove(&key),
            };
        }
        let mut ordered: Vec<_> = holding.into_iter().map(|(key, seq)| (seq, key)).collect();
        // One that was removed meanwhile has lost its place: it goes first, at the message's time.
        ordered.sort_unstable();
        let mut lines = Vec::with_capacity(ordered.len());
        for (seq, (emoji, user)) in ordered {
            let at = match seq {
                Some(seq) => self.time_of(seq)?.unwrap_or(created),
                None => created,
            };
            lines.push(Line::Reaction { message: id, at, user, emoji });
        }
        Ok(lines)
    }

    /// As pages had them at the snapshot, whatever was removed since.
    fn stored_reactions(&mut self, id: MessageId) -> Result<Holding, StoreError> {
        let prefix = Key::new(Kind::Reaction).conversation(&self.head.conversation).message(id);
        let mut holding = Holding::new();
        for pair in self.read.pages().scan(&prefix) {
            let (key, value) = pair?;
            let seq = Seq(ValueReader::new(&value)?.u64()?);
            if seq <= self.head.seq {
                let mut reader = KeyReader::behind(&key, &prefix)?;
                holding.insert((reader.text()?.to_owned(), reader.user()?), Some(seq));
            }
        }
        // After the reactions were read: a page that was built meanwhile is seen here.
        self.later.follow(&self.read, &self.head.conversation)?;
        let removed = self.later.first.iter().filter(|((message, ..), action)| {
            *message == id && **action == ReactionAction::Removed
        });
        for ((_, emoji, user), _) in removed {
            holding.entry((emoji.clone(), user.clone())).or_insert(None);
        }
        Ok(holding)
    }

    /// When the event was; `None` when it is not stored any more.
    fn time_of(&mut self, seq: Seq) -> Result<Option<Wall>, StoreError> {
        let unsealed = &self.unsealed.events;
        if let Ok(at) = unsealed.binary_search_by_key(&seq, |event| event.seq) {
            return Ok(Some(unsealed[at].at));
        }
        if self.held.as_ref().is_none_or(|page| !page.seqs().contains(&seq)) {
            self.held = match self.read.page_from(&self.head.conversation, seq)? {
                Some(value) => Some(page::open(&value)?.into_owned()),
                None => None,
            };
        }
        let Some(page) = &self.held else { return Ok(None) };
        let entries = page.entries()?;
        let found = entries.iter().find(|entry| entry.seq == seq);
        found.map(|entry| event_of(entry.record).map(|event| event.at)).transpose()
    }

    fn marks(&mut self, after: Option<UserId>) -> Result<(), StoreError> {
        let gone = self.read.gone_message(&self.head.conversation);
        let prefix = Key::new(Kind::Mark).conversation(&self.head.conversation);
        let from = after.as_ref().map_or(prefix.clone(), |user| prefix.clone().user(user));
        let mut marks = Vec::new();
        for pair in self.read.pages().scan_from(&prefix, &from).take(MEMBERS_AT_ONCE + 1) {
            let mark = mark_of(&pair?.1)?;
            if mark.message.0 <= gone {
                continue;
            }
            if after.as_ref() != Some(&mark.user) {
                marks.push(mark);
            }
        }
        self.phase = match marks.last() {
            Some(last) => Phase::Marks(Some(last.user.clone())),
            None => Phase::Done,
        };
        if marks.is_empty() {
            marks.extend(std::mem::take(&mut self.unsealed.marks).into_values());
        }
        for mark in marks {
            let newer = self.unsealed.marks.remove(&mark.user);
            let mark = newer.filter(|newer| newer.message > mark.message).unwrap_or(mark);
            let message = MessageId(mark.message.0.min(self.last_message));
            let Mark { user, at, .. } = mark;
            if message.0 > 0 {
                self.ready.push_back(Line::Mark { user, message, at });
            }
        }
        Ok(())
    }
}

impl Iterator for Export {
    type Item = Result<Line, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        match guarded(|| self.refill()) {
            Ok(()) => self.ready.pop_front().map(Ok),
            Err(error) => {
                self.phase = Phase::Done;
                Some(Err(error))
            }
        }
    }
}

impl Unsealed {
    /// Everything durable that pages do not have. What is sealed meanwhile is in both; what is removed
    /// meanwhile is read again, from pages.
    fn of(
        read: &ReadHandle,
        commits: &mut Commits,
        conversation: &ConversationId,
    ) -> Result<Unsealed, StoreError> {
        for _ in 0..TRIES {
            if let Some(unsealed) = Unsealed::read(read, commits, conversation)? {
                return Ok(unsealed);
            }
        }
        Err(StoreError::CommitGone { commit: read.pages().sealed()?.commit + 1 })
    }

    fn read(
        read: &ReadHandle,
        commits: &mut Commits,
        conversation: &ConversationId,
    ) -> Result<Option<Unsealed>, StoreError> {
        let sealed = read.pages().sealed()?.commit;
        let mut unsealed = Unsealed::default();
        let whole = each_record(commits, (sealed + 1, read.watermark().commit()), |_, record| {
            unsealed.take(conversation, record);
        })?;
        Ok(whole.then_some(unsealed))
    }

    fn take(&mut self, conversation: &ConversationId, record: Record) {
        match record {
            Record::Event { conversation: of, event } if of == *conversation => {
                let message = match &event.body {
                    EventBody::Message(_) => None,
                    EventBody::Edit { message, .. }
                    | EventBody::Delete { message, .. }
                    | EventBody::Reaction { message, .. } => Some(*message),
                };
                if let Some(message) = message {
                    self.about.entry(message).or_default().push(self.events.len());
                }
                self.events.push(event);
            }
            Record::Directory(DirectoryChange::ConversationDeleted {
                conversation: of, ..
            }) if of == *conversation => {
                *self = Unsealed::default();
            }
            Record::Mark { conversation: of, mark } if of == *conversation => {
                self.marks.insert(mark.user.clone(), mark);
            }
            _ => {}
        }
    }

    fn about(&self, message: MessageId) -> impl Iterator<Item = &Arc<Event>> {
        self.about.get(&message).into_iter().flatten().map(|&at| &self.events[at])
    }
}

/// Gives every record of these commits with the commit's number; `false` when they are not all there.
pub(super) fn each_record(
    commits: &mut Commits,
    (first, last): (u64, u64),
    mut give: impl FnMut(u64, Record),
) -> Result<bool, StoreError> {
    let mut next = first;
    while next <= last {
        let before = next;
        let Some(mut at) = commits.find(next)? else { return Ok(false) };
        while next <= last
            && let Some(commit) = at.read()?
            && commit.head.commit == next
        {
            for bytes in commit.records() {
                give(next, record::decode(bytes).map_err(ValueError::from)?);
            }
            next += 1;
            at.advance();
        }
        commits.remember(next, &at);
        if next == before {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Later {
    fn follow(
        &mut self,
        read: &ReadHandle,
        conversation: &ConversationId,
    ) -> Result<(), StoreError> {
        let sealed = read.header(conversation)?.last_seq;
        while self.through < sealed {
            let events = read.events(conversation, self.through, LATER_BYTES)?;
            let Some(last) = events.last() else { break };
            self.through = last.seq;
            for event in events {
                if let EventBody::Reaction { message, user, emoji, action } = &event.body {
                    let key = (*message, emoji.clone(), user.clone());
                    self.first.entry(key).or_insert(*action);
                }
            }
        }
        Ok(())
    }
}

/// Something that happened to a message, as a line.
fn line_about(event: &Event) -> Option<Line> {
    let at = event.at;
    Some(match &event.body {
        EventBody::Edit { message, by, content } => {
            Line::Edit { message: *message, at, by: by.clone(), content: content.clone() }
        }
        EventBody::Delete { message, by } => {
            Line::Deletion { message: *message, at, by: by.clone() }
        }
        EventBody::Message(_) | EventBody::Reaction { .. } => return None,
    })
}
