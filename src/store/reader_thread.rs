//! A reader thread: answers shards' questions about old state. Each shard has one ring to one reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::limits::{MARKS_COUNTED_MAX, PAST_BYTES_MAX};
use crate::mailbox::{Doorbell, Receiver, Sender};
use crate::model::{ConversationId, Loaded};
use crate::node::ports::{LoadAnswer, LoadQuery, LoadRequest, LoadResult, Past, PastQuery};

use super::error::StoreError;
use super::pages::guarded;
use super::read::ReadHandle;

/// How long an answer waits for room before the ring is looked at again.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// One shard's rings, with the answer that found no room.
pub struct Client {
    pub requests: Receiver<LoadRequest>,
    pub answers: Sender<LoadAnswer>,
    pub unsent: Option<LoadAnswer>,
}

pub struct ReaderThread {
    pub read: ReadHandle,
    pub clients: Vec<Client>,
    pub bell: Arc<Doorbell>,
    pub stop: Arc<AtomicBool>,
}

impl ReaderThread {
    pub fn run(&mut self) {
        while !self.stop.load(Ordering::Acquire) {
            let mut worked = false;
            for client in &mut self.clients {
                worked |= client.serve(&self.read);
            }
            if !worked {
                self.sleep();
            }
        }
    }

    fn sleep(&self) {
        let ticket = self.bell.park();
        let has_mail = self.clients.iter().any(|client| !client.requests.is_empty());
        let is_full = self.clients.iter().any(|client| client.unsent.is_some());
        if is_full {
            std::thread::park_timeout(FULL_PAUSE);
        } else if !has_mail && !self.stop.load(Ordering::Acquire) {
            std::thread::park();
        }
        self.bell.unpark(ticket);
    }
}

impl Client {
    /// Answers one question, so that shards take turns; says whether it did anything.
    fn serve(&mut self, read: &ReadHandle) -> bool {
        let answer = match self.unsent.take() {
            Some(answer) => answer,
            None => match self.requests.pop() {
                Some(request) => answer(read, &request),
                None => return false,
            },
        };
        match self.answers.push(answer) {
            Ok(()) => {
                self.answers.ring();
                true
            }
            Err(answer) => {
                // A shard that is gone wants no answer.
                self.unsent = (!self.answers.is_abandoned()).then_some(answer);
                false
            }
        }
    }
}

fn answer(read: &ReadHandle, request: &LoadRequest) -> LoadAnswer {
    let conversation = &request.conversation;
    let answer = match &request.query {
        LoadQuery::State(key) => read.state(conversation, key).map(LoadResult::State),
        LoadQuery::Past(query) => past(read, conversation, query).map(LoadResult::Past),
        LoadQuery::Admission(user) => {
            read.admission(conversation, user).map(|found| LoadResult::Admission(Box::new(found)))
        }
    };
    let answer = answer.unwrap_or_else(|error| {
        match error {
            // Nobody may look at it yet.
            StoreError::Importing => tracing::debug!(%error, "old state is not given yet"),
            error => tracing::error!(%error, "old state could not be read"),
        }
        match request.query {
            LoadQuery::State(_) => LoadResult::State(Loaded::Failed),
            LoadQuery::Admission(_) | LoadQuery::Past(_) => LoadResult::Failed,
        }
    });
    LoadAnswer { ticket: request.ticket, answer }
}

fn past(
    read: &ReadHandle,
    conversation: &ConversationId,
    query: &PastQuery,
) -> Result<Past, StoreError> {
    Ok(match query {
        PastQuery::Events { after } => {
            Past::Events(read.events(conversation, *after, PAST_BYTES_MAX)?)
        }
        PastQuery::Messages(query) => Past::Page(Box::new(read.messages(conversation, *query)?)),
        PastQuery::Replies(query) => Past::Page(Box::new(read.replies(conversation, *query)?)),
        PastQuery::Edits(query) => Past::Edits(read.edits(conversation, *query)?),
        PastQuery::Marks => Past::Marks(guarded(|| read.marks(conversation, MARKS_COUNTED_MAX))?),
        PastQuery::Standing(query) => Past::Standing(Box::new(read.standing(conversation, query)?)),
    })
}
