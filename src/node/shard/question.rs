//! Questions about the past: admitted as a socket would be, read from the store, laid over with what is
//! in memory, and shown once all of that is durable.
//!
//! ```text
//! HTTP   → Load(Admission) → refused
//!                          → Load(Past) → merged ──when durable──► answered
//! socket ──────────────────→ Load(Past) → merged ──when durable──► told, behind what it knows of
//! ```
//! What was sealed while the store was read may have left memory without being in the store's part:
//! then it is read again. A change of members meanwhile sends a question back to the start.

use std::sync::Arc;

use super::reveal::Reveal;
use super::room::Room;
use super::{Load, Shard};
use crate::chat;
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_MESSAGES_MAX, QUESTION_BYTES_MAX, QUESTIONS_MAX};
use crate::model::{
    Admission, CloseReason, Edited, Edits, EditsQuery, ErrorCode, Event, EventBody, HistoryQuery,
    MessageId, Now, Refusal, Reply, Role, SessionId, ShownMessage, Standing, StandingQuery,
    StoredEdits, UserId,
};
use crate::node::links::AdminOrder;
use crate::node::mail::Told;
use crate::node::ports::{LoadQuery, LoadResult, Past, PastQuery};
use crate::node::question::{About, Answer, AnswerTo, Asker, Question};

const UNREADABLE: Refusal = Refusal::new(
    ErrorCode::StorageUnavailable,
    "the server cannot read what was said at the moment; try again later",
);

const BUSY: Refusal = Refusal {
    code: ErrorCode::RateLimited,
    sentence: "too many questions about the past wait for their answers; try again later",
    retry_after_ms: Some(1_000),
};

/// Where the answer goes.
enum To {
    Caller(AnswerTo),
    Socket { session: SessionId, reference: Option<String> },
}

/// A question on its way to its answer.
pub(super) struct Asking {
    room: usize,
    /// `None` for a socket, which is in already.
    asker: Option<Asker>,
    about: About,
    to: To,
    /// What the asker may do, once admitted.
    role: Option<Role>,
    /// The room's `directory_stamp` when the store was asked.
    stamp: u64,
    /// How many segments were sealed when the store was asked.
    sealed: u64,
}

impl Asking {
    pub(super) fn room(&self) -> usize {
        self.room
    }

    fn user(&self) -> Option<&UserId> {
        match &self.asker {
            Some(Asker::User(identity)) => Some(&identity.user),
            Some(Asker::Operator) | None => None,
        }
    }

    fn past(&self) -> PastQuery {
        match &self.about {
            About::Standing(_) => PastQuery::Standing(self.standing()),
            About::History(query) => PastQuery::Messages(*query),
            About::Replies(query) => PastQuery::Replies(*query),
            About::Edits(query) => PastQuery::Edits(*query),
        }
    }

    fn standing(&self) -> StandingQuery {
        let readers = match &self.about {
            About::Standing(readers) => readers.clone(),
            _ => Default::default(),
        };
        StandingQuery { user: self.user().cloned(), readers }
    }
}

impl Shard {
    /// Something from the HTTP side.
    pub fn order(&mut self, order: AdminOrder, now: Now) {
        match order {
            AdminOrder::Change(command, reply) => self.admin(command, reply, now),
            AdminOrder::Question(question, to) => self.question(*question, to),
        }
    }

    /// There is memory for one question more, even if each of them takes as much as it may.
    fn may_be_asked(&self) -> bool {
        let with_it = (self.questions + 1) as u64 * QUESTION_BYTES_MAX as u64;
        !self.is_short && self.questions < QUESTIONS_MAX && with_it <= self.room_bytes
    }

    /// A question about a conversation of this shard.
    pub fn question(&mut self, question: Question, to: AnswerTo) {
        if !self.may_be_asked() {
            to(Answer::Busy);
            return;
        }
        self.questions += 1;
        let room = self.room_of(&question.conversation);
        let Question { asker, about, .. } = question;
        let to = To::Caller(to);
        self.ask_whether_admitted(Asking {
            room,
            asker: Some(asker),
            about,
            to,
            role: None,
            stamp: 0,
            sealed: 0,
        });
    }

    /// A socket of this room asks for a page of messages; it is told in a
    /// [`Reply::History`] or an error.
    pub fn history(
        &mut self,
        room: usize,
        session: SessionId,
        query: HistoryQuery,
        reference: Option<String>,
    ) {
        if self.rooms[room].chat.as_ref().and_then(|chat| chat.user_of(session)).is_none() {
            return;
        }
        if !self.may_be_asked() {
            let reply = Reply::Error { refusal: BUSY, reference };
            self.tell(session, Told::Answer(reply));
            return;
        }
        self.questions += 1;
        let to = To::Socket { session, reference };
        let about = About::History(query);
        self.read_past(Asking { room, asker: None, about, to, role: None, stamp: 0, sealed: 0 });
    }

    /// The same for a socket on another core.
    pub fn remote_history(
        &mut self,
        session: SessionId,
        query: HistoryQuery,
        reference: Option<String>,
    ) {
        if let Some(&room) = self.remotes.get(&session) {
            self.history(room, session, query, reference);
        }
    }

    fn ask_whether_admitted(&mut self, mut asking: Asking) {
        let room = asking.room;
        asking.stamp = self.rooms[room].directory_stamp;
        let user = match asking.user() {
            Some(user) => user.clone(),
            // Any user will do: only where the conversation stands matters.
            None => match UserId::from_number(0) {
                Ok(anyone) => anyone,
                Err(_) => unreachable!("0 is a user id"),
            },
        };
        self.load(room, LoadQuery::Admission(user), Load::Question(Box::new(asking)));
    }

    fn read_past(&mut self, mut asking: Asking) {
        asking.sealed = self.sealed;
        let query = LoadQuery::Past(asking.past());
        self.load(asking.room, query, Load::Question(Box::new(asking)));
    }

    /// The store says who is admitted, or what it has of the past.
    pub(super) fn question_known(&mut self, asking: Asking, answer: LoadResult, now: Now) {
        let room = asking.room;
        self.rooms[room].under_way -= 1;
        self.may_be_idle(room);
        match answer {
            // Its past is on its way to the disk: nobody looks yet.
            LoadResult::Admission(_) if self.rooms[room].is_importing => {
                self.answer(asking, Answer::Unavailable);
            }
            LoadResult::Admission(admission) => self.question_admitted(asking, &admission),
            LoadResult::Past(_) if asking.sealed != self.sealed => self.read_past(asking),
            LoadResult::Past(past) => match self.answer_of(&asking, past) {
                Some(answer) => {
                    let asking = Box::new(asking);
                    self.reveal_later(Reveal::Answer { asking, answer }, now);
                }
                None => self.answer(asking, Answer::Unavailable),
            },
            LoadResult::State(_) | LoadResult::Failed => self.answer(asking, Answer::Unavailable),
        }
    }

    fn question_admitted(&mut self, mut asking: Asking, admission: &Admission) {
        let room = asking.room;
        if asking.stamp != self.rooms[room].directory_stamp {
            self.ask_whether_admitted(asking);
            return;
        }
        let is_deleted = admission.is_deleted || self.rooms[room].is_deleting;
        let refusal = match &asking.asker {
            Some(Asker::User(_)) if is_deleted => Some(Answer::Refused(CloseReason::Forbidden)),
            Some(Asker::Operator) if is_deleted => Some(Answer::NoConversation),
            Some(Asker::User(identity)) => {
                let conversation = &self.rooms[room].id;
                let access = self.settings.access;
                match chat::access::admit(access, identity, admission, conversation) {
                    Ok((role, _)) => {
                        asking.role = Some(role);
                        None
                    }
                    Err(reason) => Some(Answer::Refused(reason)),
                }
            }
            Some(Asker::Operator) => {
                let is_there = admission.conversation_exists
                    || admission.header.last_seq.0 > 0
                    || self.rooms[room].chat.is_some();
                (!is_there).then_some(Answer::NoConversation)
            }
            None => None,
        };
        match refusal {
            Some(refusal) => self.answer(asking, refusal),
            None => {
                self.open(room, admission);
                self.read_past(asking);
            }
        }
    }

    /// The store's part with what is in memory laid over it.
    fn answer_of(&self, asking: &Asking, past: Past) -> Option<Answer> {
        let room = &self.rooms[asking.room];
        let chat = room.chat.as_ref()?;
        Some(match (&asking.about, past) {
            (About::History(query), Past::Page(stored)) => {
                Answer::History(Box::new(chat.history(*query, *stored)))
            }
            (About::Replies(query), Past::Page(stored)) => match chat.replies(*query, *stored) {
                Some(page) => Answer::History(Box::new(page)),
                None => Answer::NoMessage,
            },
            (About::Standing(_), Past::Standing(stored)) => {
                let epoch = self.settings.epoch;
                let standing = chat.standing(&asking.standing(), *stored, epoch);
                Answer::Standing(Box::new(Standing { role: asking.role, ..standing }))
            }
            (About::Edits(query), Past::Edits(stored)) => edits(room, *query, stored),
            _ => return None,
        })
    }

    /// All that the answer shows is durable.
    pub(super) fn show_answer(&mut self, asking: Asking, answer: Answer) {
        let is_outdated =
            asking.asker.is_some() && asking.stamp != self.rooms[asking.room].directory_stamp;
        match is_outdated {
            true => self.ask_whether_admitted(asking),
            false => self.answer(asking, answer),
        }
    }

    fn answer(&mut self, asking: Asking, answer: Answer) {
        self.questions -= 1;
        if let Answer::History(page) = &answer {
            let bytes: usize = page.messages.iter().map(ShownMessage::weight).sum();
            self.room_bytes = self.room_bytes.saturating_sub(bytes as u64);
        }
        let (session, reference) = match asking.to {
            To::Caller(to) => return to(answer),
            To::Socket { session, reference } => (session, reference),
        };
        let room = asking.room;
        if self.rooms[room].chat.as_ref().and_then(|chat| chat.user_of(session)).is_none() {
            return;
        }
        let reply = match answer {
            // Memory has become short while the page was read.
            Answer::History(_) if self.is_short => Reply::Error { refusal: BUSY, reference },
            Answer::History(mut page) => {
                page.reference = reference;
                Reply::History(page)
            }
            _ => Reply::Error { refusal: UNREADABLE, reference },
        };
        // Behind every event that the page knows of.
        self.cut(room);
        self.tell(session, Told::Answer(reply));
    }
}

/// A message's contents: those of pages, then those that are durable and not in pages yet.
fn edits(room: &Room, query: EditsQuery, stored: StoredEdits) -> Answer {
    let EditsQuery { message, after, limit } = query;
    if stored.is_deleted || room.recent.is_deleted(message) {
        return Answer::Gone;
    }
    let limit = limit.min(HISTORY_MESSAGES_MAX) as usize;
    let mut page =
        Contents { is_known: stored.is_known, is_cut: stored.is_cut, ..Default::default() };
    stored.edits.into_iter().for_each(|edit| page.push(edit));
    let mut number = stored.last_number;
    // Only what was touched since it was sealed has more than pages know.
    let is_touched = room.chat.as_ref().is_some_and(|chat| chat.is_touched(message));
    for event in room.recent.iter().filter(|_| is_touched) {
        if stored.is_known && event.seq <= stored.last_seq {
            continue;
        }
        let Some(content) = content_of(event, message, &mut number) else { continue };
        page.is_known = true;
        if content.seq > after && page.edits.len() <= limit {
            page.push(content);
        }
    }
    if !page.is_known {
        return Answer::NoMessage;
    }
    let has_more = page.is_cut || page.edits.len() > limit;
    page.edits.truncate(limit);
    Answer::Edits(Edits { message, edits: page.edits, has_more })
}

#[derive(Default)]
struct Contents {
    is_known: bool,
    edits: Vec<Edited>,
    bytes: usize,
    is_cut: bool,
}

impl Contents {
    fn push(&mut self, edit: Edited) {
        if !self.edits.is_empty() && self.bytes >= HISTORY_BYTES_MAX {
            self.is_cut = true;
            return;
        }
        self.bytes += edit.content.len();
        self.edits.push(edit);
    }
}

/// The content that an event gave to the message; edits are counted on.
fn content_of(event: &Arc<Event>, of: MessageId, number: &mut u32) -> Option<Edited> {
    let (by, content) = match &event.body {
        EventBody::Message(body) if body.id == of => (&body.sender.id, &body.content),
        EventBody::Edit { message, by, content } if *message == of => {
            *number += 1;
            (by, content)
        }
        _ => return None,
    };
    let (by, content) = (by.clone(), content.clone());
    Some(Edited { number: *number, seq: event.seq, by, at: event.at, content })
}
