//! Taking a user out of the store, once all of the user's messages are deleted and sealed: names, marks
//! and reactions in pages, everything of the user in kept segments, then the queued texts.
//!
//! ```text
//! Pages ─► Marks ─► Segments ─► Texts ─► done
//! ```
//! It may be begun again at any point: what is gone is not met again, and only the counts tell.

use std::collections::VecDeque;

use crate::model::{ConversationId, Erasure, Event, EventBody, Seq, UserId, Wall};
use crossbeam_channel::Sender;

use super::erasing::{self, Progress, Round};
use super::error::StoreError;
use super::files::SegmentDirectory;
use super::keys::{Key, KeyReader, Kind};
use super::page;
use super::pages::{Batch, Pages};
use super::read::{event_of, mark_of, wall_now};
use super::redaction::Redaction;
use super::values::{self, ValueReader};

/// Pages that one step rewrites, and conversations that it looks at for marks.
const STEP_PAGES: usize = 16;
const STEP_CONVERSATIONS: usize = 256;

enum Stage {
    Pages { after: Option<(ConversationId, Seq)> },
    Marks { after: Option<ConversationId> },
    Segments { left: VecDeque<u64> },
    Texts { round: Box<Round> },
}

pub struct UserRound {
    user: UserId,
    redaction: Redaction,
    stage: Stage,
    met: Met,
    /// Told at the end; hung up on when it could not be done.
    answer: Sender<Met>,
    is_incomplete: bool,
}

/// How many events of the user there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Met {
    pub messages: u64,
    pub reactions: u64,
}

impl UserRound {
    /// Everything of the user up to `until`.
    pub fn new(user: UserId, until: Wall, answer: Sender<Met>) -> UserRound {
        UserRound {
            redaction: Redaction { user: Some((user.clone(), until)), ..Redaction::default() },
            user,
            stage: Stage::Pages { after: None },
            met: Met::default(),
            answer,
            is_incomplete: false,
        }
    }

    pub fn step(
        &mut self,
        pages: &Pages,
        segments: &SegmentDirectory,
    ) -> Result<Progress, StoreError> {
        match &mut self.stage {
            Stage::Pages { after } => {
                let after = after.take();
                self.stage = match self.out_of_pages(pages, after)? {
                    Some(after) => Stage::Pages { after: Some(after) },
                    None => Stage::Marks { after: None },
                };
            }
            Stage::Marks { after } => {
                let after = after.take();
                self.stage = match self.out_of_marks(pages, after)? {
                    Some(after) => Stage::Marks { after: Some(after) },
                    None => {
                        pages.sync()?;
                        Stage::Segments { left: erasing::kept(pages, segments)?.into() }
                    }
                };
            }
            Stage::Segments { left } => match left.pop_front() {
                Some(segment) => {
                    let done = erasing::out_of_segment(&self.redaction, segments, segment)?;
                    self.is_incomplete |= done == Progress::Failed;
                }
                None => self.stage = Stage::Texts { round: Box::new(Round::begin(pages)?) },
            },
            Stage::Texts { round } => match round.step(pages, segments)? {
                Progress::More => {}
                Progress::Failed => return Ok(Progress::Failed),
                // More may be queued than one round takes.
                Progress::Done if erasing::is_due(pages, Wall(u64::MAX))? => {
                    **round = Round::begin(pages)?;
                }
                Progress::Done if self.is_incomplete => return Ok(Progress::Failed),
                Progress::Done => {
                    let _ = self.answer.send(self.met);
                    return Ok(Progress::Done);
                }
            },
        }
        Ok(Progress::More)
    }

    /// Rewrites some pages behind `after`; gives the last of them, or nothing at the end.
    fn out_of_pages(
        &mut self,
        pages: &Pages,
        after: Option<(ConversationId, Seq)>,
    ) -> Result<Option<(ConversationId, Seq)>, StoreError> {
        let prefix = Key::new(Kind::Page);
        let from = match after {
            Some((conversation, seq)) => prefix.clone().conversation(&conversation).seq(seq.next()),
            None => prefix.clone(),
        };
        let mut last = None;
        for pair in pages.scan_from(&prefix, &from).take(STEP_PAGES) {
            let (key, value) = pair?;
            let mut reader = KeyReader::new(&key, Kind::Page)?;
            let (conversation, first) = (reader.conversation()?, Seq(reader.number()?));
            self.out_of_page(pages, &conversation, &value)?;
            last = Some((conversation, first));
        }
        Ok(last)
    }

    fn out_of_page(
        &mut self,
        pages: &Pages,
        conversation: &ConversationId,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let page = page::open(value)?;
        let entries = page.entries()?;
        let Some(first) = entries.first() else { return Ok(()) };
        let met = self.met;
        for entry in &entries {
            self.note(pages, conversation, &event_of(entry.record)?)?;
        }
        if met != self.met {
            erasing::rewrite_page(pages, &self.redaction, conversation, first.seq)?;
        }
        Ok(())
    }

    /// Counts what is the user's; a reaction that still holds goes.
    fn note(
        &mut self,
        pages: &Pages,
        conversation: &ConversationId,
        event: &Event,
    ) -> Result<(), StoreError> {
        if self.redaction.user.as_ref().is_none_or(|(_, until)| event.at > *until) {
            return Ok(());
        }
        match &event.body {
            EventBody::Message(body) if body.sender.id == self.user => self.met.messages += 1,
            EventBody::Reaction { message, user, emoji, .. } if *user == self.user => {
                self.met.reactions += 1;
                let key = Key::new(Kind::Reaction).conversation(conversation).message(*message);
                let key = key.text(emoji).user(user);
                let held = pages.get(&key)?.map(|value| ValueReader::new(&value)?.u64());
                if held.transpose()? == Some(event.seq.0) {
                    remove(pages, key)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn out_of_marks(
        &self,
        pages: &Pages,
        after: Option<ConversationId>,
    ) -> Result<Option<ConversationId>, StoreError> {
        let Some((_, until)) = &self.redaction.user else { return Ok(None) };
        let prefix = Key::new(Kind::Header);
        let from = after.as_ref().map_or(prefix.clone(), |id| prefix.clone().conversation(id));
        let mut last = None;
        for pair in pages.scan_from(&prefix, &from).take(STEP_CONVERSATIONS) {
            let conversation = KeyReader::new(&pair?.0, Kind::Header)?.conversation()?;
            if after.as_ref() == Some(&conversation) {
                continue;
            }
            let key = Key::new(Kind::Mark).conversation(&conversation).user(&self.user);
            let mark = pages.get(&key)?.map(|value| mark_of(&value)).transpose()?;
            if mark.is_some_and(|mark| mark.at <= *until) {
                remove(pages, key)?;
                remove(pages, Key::new(Kind::Marked).user(&self.user).conversation(&conversation))?;
            }
            last = Some(conversation);
        }
        Ok(last)
    }
}

/// Notes that nothing of the user is left, unless it was asked for again meanwhile.
pub fn finish(pages: &Pages, user: &UserId, begun_at: Wall, met: Met) -> Result<(), StoreError> {
    let key = Key::new(Kind::Erasure).user(user);
    let held = pages.get(&key)?.map(|value| values::read_erasure(&value)).transpose()?;
    if held == Some(Erasure::Running { begun_at }) {
        let Met { messages, reactions } = met;
        let done = Erasure::Done { begun_at, done_at: wall_now(), messages, reactions };
        pages.insert(&key, values::write_erasure(&done))?;
    }
    pages.sync()
}

fn remove(pages: &Pages, key: Key) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.remove(key.into_bytes());
    pages.apply(batch)
}
