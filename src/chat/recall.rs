//! Old state on its way from the store, and its answers until the commands that asked are decided.
//!
//! An answer stays while a waiting command holds it. The message of such an answer is in
//! [`super::message::Messages`] and pinned there, so that it is still in memory, and as new as anything
//! decided meanwhile, when the command's turn comes.
//!
//! Invariant: at most one question per key is under way.

use hashbrown::HashMap;

use super::{Effect, Effects};
use crate::model::{FirstSend, LoadKey, MessageId};

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
    /// Asks the store, unless it was asked already; nobody holds the answer.
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

    /// The answer to a question is under way.
    pub fn is_awaited(&self, key: &LoadKey) -> bool {
        self.questions.get(key).is_some_and(|question| question.answer.is_none())
    }

    pub fn is_answered(&self, key: &LoadKey) -> bool {
        self.questions.get(key).is_some_and(|question| question.answer.is_some())
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
