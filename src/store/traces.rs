//! What a user left in conversations: messages that are not deleted and reactions that hold, found by going
//! through all pages. For the erasing of a user; a few pages at a time.

use crate::model::{ConversationId, Event, EventBody, MessageId, Seq, UserId, Wall};

use super::error::StoreError;
use super::keys::{Key, KeyReader, Kind};
use super::page;
use super::pages::guarded;
use super::read::{ReadHandle, event_of};

const PAGES_AT_A_TIME: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trace {
    Message { conversation: ConversationId, message: MessageId },
    Reaction { conversation: ConversationId, message: MessageId, emoji: String },
}

/// A part of what there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traces {
    pub found: Vec<Trace>,
    /// Behind what to go on; `None` at the end.
    pub next: Option<(ConversationId, Seq)>,
}

impl ReadHandle {
    /// Traces of the user that are not newer than `until`, behind the page `after`.
    pub fn traces(
        &self,
        user: &UserId,
        until: Wall,
        after: Option<&(ConversationId, Seq)>,
    ) -> Result<Traces, StoreError> {
        let prefix = Key::new(Kind::Page);
        let from = match after {
            Some((conversation, seq)) => prefix.clone().conversation(conversation).seq(seq.next()),
            None => prefix.clone(),
        };
        guarded(|| {
            let mut traces = Traces::default();
            for pair in self.pages().scan_from(&prefix, &from).take(PAGES_AT_A_TIME) {
                let (key, value) = pair?;
                let mut reader = KeyReader::new(&key, Kind::Page)?;
                let (conversation, first) = (reader.conversation()?, Seq(reader.number()?));
                for entry in page::open(&value)?.entries()? {
                    let event = event_of(entry.record)?;
                    if event.at <= until {
                        traces.found.extend(self.trace(user, &conversation, event)?);
                    }
                }
                traces.next = Some((conversation, first));
            }
            Ok(traces)
        })
    }

    fn trace(
        &self,
        user: &UserId,
        conversation: &ConversationId,
        event: Event,
    ) -> Result<Option<Trace>, StoreError> {
        let conversation = conversation.clone();
        let of = |kind: Kind, message| Key::new(kind).conversation(&conversation).message(message);
        Ok(match event.body {
            EventBody::Message(body) if body.sender.id == *user => {
                let is_deleted = self.pages().get(&of(Kind::Deletion, body.id))?.is_some();
                (!is_deleted).then_some(Trace::Message { conversation, message: body.id })
            }
            EventBody::Reaction { message, user: by, emoji, .. } if by == *user => {
                let key = of(Kind::Reaction, message).text(&emoji).user(user);
                let holds = self.pages().get(&key)?.is_some();
                holds.then_some(Trace::Reaction { conversation, message, emoji })
            }
            _ => None,
        })
    }

    /// The last commit whose events pages have.
    pub fn sealed_commit(&self) -> Result<u64, StoreError> {
        Ok(self.pages().sealed()?.commit)
    }
}
