//! What indexes and pages say about each other: every entry of an index must lead to its event, and every
//! event must be found by the entries that are kept about it.
//!
//! Left alone: conversations that unsealed commits touch, and what is gone with a message that is gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::{
    ConversationId, Erasure, Event, EventBody, MessageId, ReactionAction, Seq, Tombstone, UserId,
};
use crate::node::journal::record;

use super::super::error::{StoreError, ValueError};
use super::super::keys::{Key, KeyReader, Kind};
use super::super::page;
use super::super::pages::Pages;
use super::super::read::event_of;
use super::super::values::{self, ValueReader};
use super::Sealed;

/// Kinds whose keys begin with the conversation.
pub const PER_CONVERSATION: [Kind; 15] = [
    Kind::Created,
    Kind::Header,
    Kind::Member,
    Kind::Page,
    Kind::MessagePage,
    Kind::Edit,
    Kind::Deletion,
    Kind::Reaction,
    Kind::ReplyCount,
    Kind::Reply,
    Kind::Mark,
    Kind::Gone,
    Kind::ToErase,
    Kind::Import,
    Kind::Retention,
];

/// What pages add up to for a reaction.
type Reactions = HashMap<(MessageId, UserId, String), Option<Seq>>;

pub struct Indexes<'a> {
    pages: &'a Pages,
    sealed: Sealed<'a>,
    /// Of the conversation whose pages are read.
    reactions: Reactions,
    /// Users are being taken out of pages.
    is_erasing: bool,
    spans: BTreeMap<u64, (u64, u64)>,
}

impl<'a> Indexes<'a> {
    pub fn new(pages: &'a Pages, sealed: Sealed<'a>) -> Indexes<'a> {
        let is_running = |pair: Result<super::super::pages::Pair, StoreError>| {
            let erasure = values::read_erasure(&pair?.1)?;
            Ok::<_, StoreError>(matches!(erasure, Erasure::Running { .. }))
        };
        let erasures = Key::new(Kind::Erasure);
        // What cannot be read is told where it is read.
        let is_erasing = pages.scan(&erasures).any(|pair| is_running(pair).unwrap_or(true));
        let (reactions, spans) = (Reactions::new(), BTreeMap::new());
        Indexes { pages, sealed, reactions, is_erasing, spans }
    }

    fn has(&self, key: &Key) -> Result<bool, StoreError> {
        Ok(self.pages.get(key)?.is_some())
    }

    /// What lacks of the entries about a page's events.
    pub fn page(
        &mut self,
        conversation: &ConversationId,
        events: &[Arc<Event>],
        gone: u64,
    ) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        if self.sealed.1.touches(conversation) {
            return Ok(found);
        }
        for event in events {
            if let Some((key, what)) = self.entry(conversation, event, gone)
                && !self.has(&key)?
            {
                found.push(format!("seq {}: the {what} stands in its page only", event.seq.0));
            }
        }
        self.messages(conversation, events, &mut found)?;
        Ok(found)
    }

    /// The entry that must be there about an event; reactions are only added up.
    fn entry(
        &mut self,
        conversation: &ConversationId,
        event: &Event,
        gone: u64,
    ) -> Option<(Key, &'static str)> {
        let of = |kind: Kind| Key::new(kind).conversation(conversation);
        match &event.body {
            EventBody::Message(body) => {
                let parent = body.parent.filter(|parent| parent.0 > gone)?;
                Some((of(Kind::Reply).message(parent).message(body.id), "reply"))
            }
            EventBody::Edit { message, .. } if message.0 > gone => {
                Some((of(Kind::Edit).message(*message).seq(event.seq), "edit"))
            }
            EventBody::Delete { message, .. } if message.0 > gone => {
                Some((of(Kind::Deletion).message(*message), "deletion"))
            }
            EventBody::Reaction { message, user, emoji, action } if message.0 > gone => {
                let holds = (*action == ReactionAction::Added).then_some(event.seq);
                self.reactions.insert((*message, user.clone(), emoji.clone()), holds);
                None
            }
            _ => None,
        }
    }

    /// Each page's messages are found by the first of them.
    fn messages(
        &self,
        conversation: &ConversationId,
        events: &[Arc<Event>],
        found: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let mut ids = events.iter().filter_map(|event| match &event.body {
            EventBody::Message(body) => Some(body.id),
            _ => None,
        });
        let (Some(first_event), Some(first)) = (events.first(), ids.next()) else { return Ok(()) };
        let last = ids.next_back().unwrap_or(first);
        let key = Key::new(Kind::MessagePage).conversation(conversation).message(first);
        let told = match self.pages.get(&key)? {
            Some(value) => {
                let mut reader = ValueReader::new(&value)?;
                Some((reader.u64()?, reader.u64()?))
            }
            None => None,
        };
        if told != Some((first_event.seq.0, last.0)) {
            let seq = first_event.seq.0;
            found.push(format!("page from seq {seq}: its messages are not found by their ids"));
        }
        Ok(())
    }

    /// Reactions that pages add up to and that do not stand where they are looked for.
    pub fn end_of(&mut self, conversation: &ConversationId) -> Vec<String> {
        let mut found = Vec::new();
        for ((message, user, emoji), seq) in std::mem::take(&mut self.reactions) {
            let Some(Seq(seq)) = seq.filter(|_| !self.is_erasing) else { continue };
            let key = Key::new(Kind::Reaction).conversation(conversation).message(message);
            match self.pages.get(&key.text(&emoji).user(&user)) {
                Ok(Some(_)) => {}
                Ok(None) => found.push(format!("seq {seq}: the reaction stands in its page only")),
                Err(error) => found.push(format!("seq {seq}: the reaction: {error}")),
            }
        }
        found
    }

    /// Any other value: its checksum, its contents, and where it leads.
    pub fn value(
        &mut self,
        key: &[u8],
        value: &[u8],
        gone: &BTreeMap<ConversationId, Tombstone>,
    ) -> Result<(), StoreError> {
        let mut reader = ValueReader::new(value)?;
        let Some(kind) = kind_of(key) else { return Err(ValueError::Key.into()) };
        let mut parts = KeyReader::new(key, kind)?;
        match kind {
            Kind::Edit | Kind::Mark | Kind::Deletion | Kind::Profile => has_record(kind, reader)?,
            Kind::Segment => {
                self.spans.insert(parts.number()?, (reader.u64()?, reader.u64()?));
                return Ok(());
            }
            Kind::SegmentSeqs => {
                let segment = parts.number()?;
                parts.conversation()?;
                let is_sealed = segment <= self.sealed.0.segment;
                return holds(!is_sealed || self.spans.contains_key(&segment));
            }
            Kind::Member | Kind::Membership => {
                let other = other_way_round(kind, parts)?;
                return holds(self.sealed.1.has_commits() || self.has(&other)?);
            }
            Kind::FirstSend => drop(parts.day()?),
            _ => {}
        }
        if !PER_CONVERSATION.contains(&kind) && kind != Kind::FirstSend {
            return Ok(());
        }
        let conversation = parts.conversation()?;
        if self.sealed.1.touches(&conversation) {
            return Ok(());
        }
        let gone = gone.get(&conversation).map_or(Seq(0), |gone| gone.last_seq);
        self.leads(kind, (conversation, parts), value, gone)
    }

    /// Whether an entry about a conversation leads to what it speaks of.
    fn leads(
        &self,
        kind: Kind,
        (conversation, mut parts): (ConversationId, KeyReader<'_>),
        value: &[u8],
        gone: Seq,
    ) -> Result<(), StoreError> {
        let mut reader = ValueReader::new(value)?;
        match kind {
            Kind::MessagePage => {
                let seq = Seq(reader.u64()?);
                let first = MessageId(parts.number()?);
                let last = MessageId(reader.u64()?);
                let page = Key::new(Kind::Page).conversation(&conversation).seq(seq);
                let Some(value) = self.pages.get(&page)? else { return holds(false) };
                // A page that does not hold is told where it is read.
                let Ok(page) = page::open(&value) else { return Ok(()) };
                let Ok(entries) = page.entries() else { return Ok(()) };
                let mut ids = entries.iter().map(|entry| entry.message).filter(|&id| id != 0);
                let (lowest, highest) = (ids.next(), ids.next_back());
                holds(lowest == Some(first.0) && highest.or(lowest) == Some(last.0))
            }
            Kind::Edit => {
                let (message, seq) = (MessageId(parts.number()?), Seq(parts.number()?));
                self.is_event(
                    &conversation,
                    seq,
                    |body| matches!(body, EventBody::Edit { message: of, .. } if *of == message),
                )
            }
            Kind::Reaction => {
                let message = MessageId(parts.number()?);
                let (emoji, user) = (parts.text()?.to_owned(), parts.user()?);
                let action = ReactionAction::Added;
                let added = EventBody::Reaction { message, user, emoji, action };
                self.is_event(&conversation, Seq(reader.u64()?), |body| {
                    self.is_erasing || *body == added
                })
            }
            Kind::Reply => {
                let (parent, reply) = (MessageId(parts.number()?), MessageId(parts.number()?));
                self.is_event(&conversation, Seq(reader.u64()?), |body| match body {
                    EventBody::Message(body) => body.id == reply && body.parent == Some(parent),
                    _ => false,
                })
            }
            Kind::ReplyCount => {
                let parent = MessageId(parts.number()?);
                let counted = values::read_reply_count(value)?.count as usize;
                let prefix = Key::new(Kind::Reply).conversation(&conversation).message(parent);
                let found = self.pages.scan(&prefix).count();
                holds(counted == found || (gone.0 > 0 && counted > found))
            }
            Kind::FirstSend => {
                let first = values::read_first_send(value)?;
                self.is_event(
                    &conversation,
                    first.seq,
                    |body| matches!(body, EventBody::Message(body) if body.id == first.message),
                )
            }
            _ => Ok(()),
        }
    }

    /// Whether the event at this place is what it should be. A page that does not hold is told where it is read.
    fn is_event(
        &self,
        conversation: &ConversationId,
        seq: Seq,
        is_it: impl FnOnce(&EventBody) -> bool,
    ) -> Result<(), StoreError> {
        let prefix = Key::new(Kind::Page).conversation(conversation);
        let found = self.pages.at_or_below(&prefix, &prefix.clone().seq(seq))?;
        let Some((_, value)) = found else { return holds(false) };
        let Ok(page) = page::open(&value) else { return Ok(()) };
        let Ok(entries) = page.entries() else { return Ok(()) };
        match entries.iter().find(|entry| entry.seq == seq).map(|entry| event_of(entry.record)) {
            Some(Ok(event)) => holds(is_it(&event.body)),
            Some(Err(_)) => Ok(()),
            None => holds(false),
        }
    }

    /// Segments in their order, up to the mark of what is sealed.
    pub fn at_the_end(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        let mut last = 0;
        for (segment, (first, through)) in std::mem::take(&mut self.spans) {
            if last + 1 != first || through < first {
                found.push(format!("segment {segment} is noted with commits out of turn"));
            }
            last = through;
        }
        if last != self.sealed.0.commit {
            found.push("the mark of what is sealed is not the last sealed segment's".to_owned());
        }
        found
    }
}

fn kind_of(key: &[u8]) -> Option<Kind> {
    let others = [
        Kind::Membership,
        Kind::Profile,
        Kind::Revoked,
        Kind::Marked,
        Kind::FirstSend,
        Kind::Segment,
        Kind::SegmentSeqs,
        Kind::Sealed,
        Kind::GivenIds,
        Kind::Erasure,
    ];
    let kinds = PER_CONVERSATION.into_iter().chain(others);
    kinds.into_iter().find(|kind| key.first() == Some(&(*kind as u8)))
}

fn has_record(kind: Kind, mut value: ValueReader<'_>) -> Result<(), StoreError> {
    let skip_bytes = match kind {
        Kind::Edit => 4,
        Kind::Mark => 8,
        _ => 0,
    };
    value.bytes(skip_bytes)?;
    record::decode(value.rest()).map_err(ValueError::from)?;
    Ok(())
}

/// Who belongs where stands twice, by conversation and by user: the key of the other one.
pub fn other_way_round(kind: Kind, mut parts: KeyReader<'_>) -> Result<Key, ValueError> {
    Ok(match kind {
        Kind::Member => {
            let (conversation, user) = (parts.conversation()?, parts.user()?);
            Key::new(Kind::Membership).user(&user).conversation(&conversation)
        }
        _ => {
            let (user, conversation) = (parts.user()?, parts.conversation()?);
            Key::new(Kind::Member).conversation(&conversation).user(&user)
        }
    })
}

fn holds(it: bool) -> Result<(), StoreError> {
    if it { Ok(()) } else { Err(ValueError::Content.into()) }
}
