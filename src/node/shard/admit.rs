//! Who wants in: asks the store, decides, and lets the socket in at one place in the order of events.
//!
//! ```text
//! candidate → Load(Admission) → refused
//!                             → entered at once
//!                             → Load(Recent) → snapshot of the decided state
//!                                 ──when all of it is durable──► entered, behind its history
//! ```
//! Live events begin right after what the socket was told at its entry: the room's batch is cut there.
//! A change of members meanwhile sends the candidate back to the start.

use std::sync::Arc;

use super::follow::{self, Follower};
use super::reveal::Reveal;
use super::room::Room;
use super::{Load, News, Shard};
use crate::chat::{self, Conversation, Joiner};
use crate::limits::MARKS_SHOWN_MAX;
use crate::model::{
    Admission, CloseReason, ConversationId, LoadKey, Loaded, Mark, MessageState, Now, Profile,
    Reply, Role, SessionId, Version,
};
use crate::node::mail::{Candidate, Pace, Told};
use crate::node::ports::{LoadQuery, LoadResult};
use crate::wire::json;

/// A candidate on its way in.
pub struct Waiting {
    candidate: Candidate,
    room: usize,
    /// The room's `directory_stamp` when the store was asked.
    stamp: u64,
    /// How many segments were sealed when the store was asked.
    sealed: u64,
    entry: Option<(Arc<Profile>, Role)>,
    /// The store's part of the recent messages; the marks come next.
    stored: Option<Vec<MessageState>>,
    /// The socket went away meanwhile.
    is_gone: bool,
}

impl Waiting {
    pub(super) fn room(&self) -> usize {
        self.room
    }
}

impl Shard {
    /// A socket with a verified token wants into a conversation of this shard.
    pub fn admit(&mut self, candidate: Candidate) {
        let room = self.room_of(&candidate.conversation);
        self.ask(Waiting {
            candidate,
            room,
            stamp: 0,
            sealed: 0,
            entry: None,
            stored: None,
            is_gone: false,
        });
    }

    pub(super) fn room_of(&mut self, conversation: &ConversationId) -> usize {
        if let Some(&room) = self.by_id.get(conversation) {
            return room;
        }
        let room = self.rooms.insert(Room::new(conversation.clone()));
        self.by_id.insert(conversation.clone(), room);
        room
    }

    fn ask(&mut self, mut waiting: Waiting) {
        let room = waiting.room;
        if self.rooms[room].is_deleting {
            // The store does not know yet; when it does it says the same.
            self.tell(waiting.candidate.session, Told::Refused(CloseReason::Forbidden));
            self.may_be_idle(room);
            return;
        }
        waiting.stamp = self.rooms[room].directory_stamp;
        waiting.stored = None;
        let query = LoadQuery::Admission(waiting.candidate.identity.user.clone());
        self.load(room, query, Load::Admission(Box::new(waiting)));
    }

    /// The socket of a candidate is gone before it got in.
    pub fn forget_candidate(&mut self, session: SessionId) {
        let in_loads = self.loads.values_mut().filter_map(|load| match load {
            Load::Admission(waiting) | Load::History(waiting) => Some(&mut **waiting),
            _ => None,
        });
        let in_reveals = self.reveals.iter_mut().filter_map(|(_, reveal)| match reveal {
            Reveal::Enter { waiting, .. } => Some(&mut **waiting),
            _ => None,
        });
        for waiting in in_loads.chain(in_reveals) {
            waiting.is_gone |= waiting.candidate.session == session;
        }
    }

    pub(super) fn admission_known(&mut self, mut waiting: Waiting, answer: LoadResult, now: Now) {
        let room = waiting.room;
        self.rooms[room].under_way -= 1;
        self.may_be_idle(room);
        if waiting.is_gone {
            return;
        }
        let session = waiting.candidate.session;
        let LoadResult::Admission(admission) = answer else {
            self.tell(session, Told::Unavailable);
            return;
        };
        if self.rooms[room].is_importing {
            self.tell(session, Told::Unavailable);
            return;
        }
        if waiting.stamp != self.rooms[room].directory_stamp {
            self.ask(waiting);
            return;
        }
        let candidate = &waiting.candidate;
        let verdict = chat::access::admit(
            self.settings.access,
            &candidate.identity,
            &admission,
            &candidate.conversation,
        );
        match verdict {
            Err(reason) => self.tell(session, Told::Refused(reason)),
            Ok((role, profile)) => {
                waiting.entry = Some((Arc::new(profile), role));
                self.open(room, &admission);
                self.show_history_or_enter(waiting, now);
            }
        }
    }

    /// The first admission brings where the conversation stands.
    pub(super) fn open(&mut self, room: usize, admission: &Admission) {
        let held = &mut self.rooms[room];
        debug_assert!(!held.is_importing, "nobody is let in while a past comes in");
        if held.chat.is_none() && !held.is_deleting {
            held.durable_seq = admission.header.last_seq;
            let settings = self.chat_settings.clone();
            held.chat = Some(Conversation::new(held.id.clone(), admission.header, settings));
        }
    }

    fn show_history_or_enter(&mut self, mut waiting: Waiting, now: Now) {
        let room = waiting.room;
        let count = self.settings.history_on_connect;
        let has_messages =
            self.rooms[room].chat.as_ref().is_some_and(|chat| chat.header().messages > 0);
        if count == 0 || waiting.candidate.version == Version::V2 || !has_messages {
            self.enter(waiting, Vec::new(), now);
            return;
        }
        waiting.sealed = self.sealed;
        let query = LoadQuery::State(LoadKey::Recent(count));
        self.load(room, query, Load::History(Box::new(waiting)));
    }

    /// The store's part of the recent messages is here. What was sealed meanwhile may have left
    /// memory without being in that part: then it is read again.
    pub(super) fn history_known(&mut self, mut waiting: Waiting, answer: LoadResult, now: Now) {
        let room = waiting.room;
        self.rooms[room].under_way -= 1;
        self.may_be_idle(room);
        if waiting.is_gone {
            return;
        }
        if waiting.stamp != self.rooms[room].directory_stamp {
            self.ask(waiting);
            return;
        }
        if waiting.sealed != self.sealed {
            waiting.stored = None;
            self.show_history_or_enter(waiting, now);
            return;
        }
        match (answer, waiting.stored.take()) {
            (LoadResult::State(Loaded::Recent(stored)), _) => {
                waiting.stored = Some(stored);
                let query = LoadQuery::State(LoadKey::Marks(MARKS_SHOWN_MAX));
                self.load(room, query, Load::History(Box::new(waiting)));
            }
            (LoadResult::State(Loaded::Marks(marks)), Some(stored)) => {
                self.replay(waiting, stored, &marks, now);
            }
            _ => self.tell(waiting.candidate.session, Told::Unavailable),
        }
    }

    /// The snapshot: what the store has, overlaid with what is in memory; marks only rise, so whoever
    /// has read a message by either has read it.
    fn replay(&mut self, waiting: Waiting, stored: Vec<MessageState>, marks: &[Mark], now: Now) {
        let Some(chat) = &self.rooms[waiting.room].chat else { return };
        let viewer = &waiting.candidate.identity.user;
        let mut frames = Vec::new();
        for message in chat.recent(self.settings.history_on_connect as usize, stored) {
            let mut read_by = chat.readers_of(message.id);
            let stored = marks.iter().filter(|mark| mark.message >= message.id);
            read_by.extend(stored.map(|mark| mark.user.clone()));
            read_by.sort();
            read_by.dedup();
            let is_read = read_by.contains(viewer);
            json::replayed_message(&mut frames, &message, &read_by, is_read);
        }
        self.reveal_later(Reveal::Enter { waiting: Box::new(waiting), frames }, now);
    }

    /// Everything the history shows is durable and was shown: the socket goes live here.
    pub(super) fn enter(&mut self, waiting: Waiting, frames: Vec<u8>, now: Now) {
        if waiting.is_gone {
            return;
        }
        let room = waiting.room;
        if waiting.stamp != self.rooms[room].directory_stamp {
            self.ask(waiting);
            return;
        }
        let Some((profile, role)) = waiting.entry else { return };
        let Candidate { session, version, resume, .. } = waiting.candidate;
        self.cut(room);
        let seq = self.rooms[room].durable_seq;
        let epoch = self.settings.epoch;
        let from = resume.map(|resume| follow::position(resume, seq, epoch));
        let pace = match from {
            Some(Some(_)) => Pace::Following { is_asked: true },
            Some(None) | None => Pace::Live,
        };
        let held = &mut self.rooms[room];
        held.entrances += 1;
        let entrance = held.entrances;
        self.tell(session, Told::Admitted { room, seq, pace, entrance });
        if session.core != self.core {
            self.remotes.insert(session, room);
        }
        match from {
            Some(Some(from)) => {
                self.follow(room, session, Follower::resuming(profile.id.clone(), from));
                self.feed(room, session);
            }
            Some(None) | None => self.rooms[room].join_live(session, self.core),
        }
        self.widen(room);
        let joiner = Joiner { profile, role, version, entrance };
        self.with_chat(room, now, |chat, _, out| chat.join(session, joiner, now, out));
        if from == Some(None) {
            self.tell(session, Told::Reply(Reply::Resync { seq, epoch }));
        }
        // Behind its own `online`, which comes first on every socket.
        if !frames.is_empty() {
            self.tell(session, Told::Frames(frames));
        }
    }

    pub(super) fn widen(&mut self, room: usize) {
        let held = &mut self.rooms[room];
        if !held.is_wide && held.sockets_here() >= self.settings.wide_threshold {
            held.is_wide = true;
            self.news.push_back(News::Wide(held.id.clone()));
        }
    }

    /// Half of the threshold: a conversation at the edge does not flap.
    pub(super) fn narrow(&mut self, room: usize) {
        let held = &mut self.rooms[room];
        if held.is_wide && held.sockets_here() < self.settings.wide_threshold / 2 {
            held.is_wide = false;
            self.news.push_back(News::Narrow(held.id.clone()));
        }
    }
}
