//! Old state on its way from the store, and its answers until the commands that asked are decided.
//!
//! An answer stays while a waiting command holds it. The message of such an answer is in
//! [`super::message::Messages`] and pinned there, so that it is still in memory, and as new as anything
//! decided meanwhile, when the command's turn comes.
//!
//! Invariant: at most one question per key is under way.

use hashbrown::HashMap;

use super::{Effect, Effects};
use crate::model::{Event, EventBody, FirstSend, LoadKey, MessageId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The message is in memory.
    Present,
    Absent,
    First(FirstSend),
    /// The store could not read.
    Failed,
}

#[derive(Debug, Default)]
struct Question {
    /// Commands that wait for it.
    holders: u32,
    answer: Option<Answer>,
}

#[derive(Debug, Default)]
pub(super) struct Recall {
    questions: HashMap<LoadKey, Question>,
}

impl Recall {
    /// Asks the store, unless a question is under way; nobody holds the answer.
    pub fn ask(&mut self, key: LoadKey, out: &mut Effects) {
        self.question(key, out);
    }

    /// The same for a command that holds the answer until [`Recall::release`].
    pub fn hold(&mut self, key: LoadKey, out: &mut Effects) {
        self.question(key, out).holders += 1;
    }

    fn question(&mut self, key: LoadKey, out: &mut Effects) -> &mut Question {
        self.questions.entry(key).or_insert_with_key(|key| {
            out.push(Effect::Load(key.clone()));
            Question::default()
        })
    }

    /// Keeps an answer for those who hold it.
    pub fn answer(&mut self, key: &LoadKey, answer: Answer) {
        let Some(question) = self.questions.get_mut(key) else { return };
        question.answer = Some(answer);
        if question.holders == 0 {
            self.questions.remove(key);
        }
    }

    /// What was absent happened: commands that still hold the answer must not take it for absent when
    /// it was sealed and has left memory by their turn.
    pub fn happened(&mut self, event: &Event) {
        if self.questions.is_empty() {
            return;
        }
        let EventBody::Message(body) = &event.body else { return };
        let Some(client_msg_id) = body.client_msg_id.clone() else { return };
        let key = LoadKey::FirstSend { user: body.sender.id.clone(), client_msg_id };
        if let Some(Question { answer: Some(answer), .. }) = self.questions.get_mut(&key) {
            *answer = Answer::First(FirstSend {
                message: body.id,
                seq: event.seq,
                created_at: event.at,
                content_hash: FirstSend::hash_content(&body.content),
            });
        }
    }

    /// The answer to a question is under way.
    pub fn is_awaited(&self, key: &LoadKey) -> bool {
        self.questions.get(key).is_some_and(|question| question.answer.is_none())
    }

    pub fn is_answered(&self, key: &LoadKey) -> bool {
        self.answered(key).is_some()
    }

    /// The answer that a waiting command still holds.
    pub fn answered(&self, key: &LoadKey) -> Option<&Answer> {
        self.questions.get(key)?.answer.as_ref()
    }

    /// A command lets go of an answer that is there.
    pub fn release(&mut self, key: &LoadKey) -> Option<Answer> {
        let question = self.questions.get_mut(key)?;
        question.holders -= 1;
        if question.holders > 0 {
            return question.answer.clone();
        }
        self.questions.remove(key)?.answer
    }

    pub fn is_pinned(&self, message: MessageId) -> bool {
        !self.questions.is_empty() && self.questions.contains_key(&LoadKey::Message(message))
    }

    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }
}
