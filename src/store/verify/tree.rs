//! The pages' part of `verify`: every value in order of its key. What is gone and headers come before pages
//! in the tree, so both ends of each conversation's run are known when it is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{ConversationId, Event, EventBody, Header, Seq, Tombstone};
use crate::node::journal::record;
use crate::node::ports::Record;

use super::super::error::{StoreError, ValueError};
use super::super::keys::{KeyReader, Kind};
use super::super::page::{self, PageEntry};
use super::super::pages::{Pages, guarded};
use super::super::salvage::Salvage;
use super::super::values;
use super::indexes::{self, Indexes};
use super::{Report, Sealed, Watch};

/// Values between two words to whoever watches.
const WATCH_EVERY: u64 = 1_024;

/// The run of one conversation's pages.
struct Run {
    conversation: ConversationId,
    next: Seq,
    /// What pages add up to, as far as messages go.
    messages: Option<(u64, u64)>,
}

pub fn check(pages: &Pages, sealed: Sealed<'_>, report: &mut Report, watch: Watch<'_>) {
    let mut check = Check {
        indexes: Indexes::new(pages, sealed),
        sealed,
        report,
        headers: BTreeMap::new(),
        gone: BTreeMap::new(),
        run: None,
    };
    for kind in 0..u8::MAX {
        check.kind(pages, kind, watch);
    }
    check.end_of_run();
    for (conversation, header) in std::mem::take(&mut check.headers) {
        let first = check.first_of(&conversation);
        check.missing(conversation, first, header.last_seq);
    }
    let found = check.indexes.at_the_end();
    found.into_iter().for_each(|what| check.report.damaged(what));
}

struct Check<'a> {
    indexes: Indexes<'a>,
    sealed: Sealed<'a>,
    report: &'a mut Report,
    headers: BTreeMap<ConversationId, Header>,
    /// Up to where conversations are gone on purpose.
    gone: BTreeMap<ConversationId, Tombstone>,
    run: Option<Run>,
}

impl Check<'_> {
    fn kind(&mut self, pages: &Pages, kind: u8, watch: Watch<'_>) {
        let mut pairs = Salvage::of(pages, &[kind]);
        for (key, value) in pairs.by_ref() {
            self.report.values += 1;
            if self.report.values.is_multiple_of(WATCH_EVERY) {
                watch(self.report);
            }
            if let Err(error) = guarded(|| self.pair(&key, &value)) {
                self.report.damaged(format!("{}: {error}", what_is(&key)));
            }
        }
        if pairs.holes() > 0 {
            let (holes, name) = (pairs.holes(), char::from(kind).escape_default());
            self.report.damaged(format!("values of kind {name} cannot be read at {holes} places"));
        }
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        match key.first() {
            Some(&kind) if kind == Kind::Gone as u8 => {
                let conversation = KeyReader::new(key, Kind::Gone)?.conversation()?;
                self.gone.insert(conversation, values::read_gone(value)?.through);
                Ok(())
            }
            Some(&kind) if kind == Kind::Header as u8 => {
                let conversation = KeyReader::new(key, Kind::Header)?.conversation()?;
                self.headers.insert(conversation, values::read_header(value)?);
                self.report.conversations += 1;
                Ok(())
            }
            Some(&kind) if kind == Kind::Page as u8 => self.page(key, value),
            _ => self.indexes.value(key, value, &self.gone),
        }
    }

    fn page(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.report.pages += 1;
        let mut reader = KeyReader::new(key, Kind::Page)?;
        let (conversation, first) = (reader.conversation()?, Seq(reader.number()?));
        if self.run.as_ref().is_none_or(|run| run.conversation != conversation) {
            self.end_of_run();
        }
        let page = page::open(value)?;
        let entries = page.entries()?;
        let next = self.run.as_ref().map_or_else(|| self.first_of(&conversation), |run| run.next);
        if first > next {
            self.missing(conversation.clone(), next, Seq(first.0 - 1));
        }
        let after = Seq(first.0.saturating_add(entries.len() as u64)).max(next);
        let messages = self.run.take().and_then(|run| run.messages);
        self.run = Some(Run { conversation: conversation.clone(), next: after, messages });
        if entries.first().is_none_or(|entry| entry.seq != first) || first < next {
            return Err(ValueError::Content.into());
        }
        let events = self.events(&conversation, &entries)?;
        let gone = self.gone.get(&conversation).map_or(0, |gone| gone.last_message);
        for what in self.indexes.page(&conversation, &events, gone)? {
            self.report.damaged(format!("conversation {conversation}, {what}"));
        }
        Ok(())
    }

    /// A page's events, each of which must be what its entry says.
    fn events(
        &mut self,
        conversation: &ConversationId,
        entries: &[PageEntry<'_>],
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        let mut events = Vec::with_capacity(entries.len());
        for entry in entries {
            self.report.events += 1;
            let event = match record::decode(entry.record).map_err(ValueError::from)? {
                Record::Event { conversation: of, event }
                    if of == *conversation && event.seq == entry.seq =>
                {
                    event
                }
                _ => return Err(ValueError::Content.into()),
            };
            if let EventBody::Message(body) = &event.body {
                self.report.messages += 1;
                if let Some(run) = &mut self.run {
                    run.messages = Some((body.id.0, body.ordinal.saturating_add(1)));
                }
                if entry.message != body.id.0 {
                    return Err(ValueError::Content.into());
                }
            }
            events.push(event);
        }
        Ok(events)
    }

    /// The first seq that a conversation must have.
    fn first_of(&self, conversation: &ConversationId) -> Seq {
        self.gone.get(conversation).map_or(Seq(1), |through| through.last_seq.next())
    }

    fn end_of_run(&mut self) {
        let Some(Run { conversation, next, messages }) = self.run.take() else { return };
        for what in self.indexes.end_of(&conversation) {
            self.report.damaged(format!("conversation {conversation}, {what}"));
        }
        let Some(header) = self.headers.remove(&conversation) else {
            if !self.sealed.1.touches(&conversation) {
                self.report.damaged(format!("conversation {conversation} has no header"));
            }
            return;
        };
        let is_told = messages
            .is_none_or(|messages| messages == (header.last_message, header.messages))
            && header.last_seq.next() >= next;
        if !is_told && !self.sealed.1.touches(&conversation) {
            let text = "its header does not say what its pages add up to";
            self.report.damaged(format!("conversation {conversation}: {text}"));
        }
        self.missing(conversation, next, header.last_seq);
    }

    /// What is not sealed need not be in pages.
    fn missing(&mut self, conversation: ConversationId, from: Seq, to: Seq) {
        if !self.sealed.1.is_changing(&conversation) {
            let sealed = Seq(self.sealed.1.from(&conversation).0.saturating_sub(1));
            self.report.missing(conversation, from, to.min(sealed));
        }
    }
}

/// What a key stands for, as far as it can be told, without anything that somebody wrote.
fn what_is(key: &[u8]) -> String {
    let Some(&kind) = key.first() else { return "an empty key".to_owned() };
    let name = char::from(kind).escape_default();
    let known = indexes::PER_CONVERSATION.into_iter().find(|known| *known as u8 == kind);
    let Some(kind) = known else { return format!("a value of kind {name}") };
    let read = KeyReader::new(key, kind)
        .and_then(|mut reader| Ok((reader.conversation()?, reader.number().ok())));
    match read {
        Ok((conversation, Some(number))) if kind == Kind::Page => {
            format!("page of conversation {conversation} from seq {number}")
        }
        Ok((conversation, _)) => format!("a value of kind {name} of conversation {conversation}"),
        Err(_) => format!("a value of kind {name}"),
    }
}
