//! The log's side of a shard: records out, and what may be shown once they are durable.
//!
//! Invariant: reveals run in the order in which their records were numbered, and none runs before the
//! log's watermark has passed the last record decided before it.

use std::sync::Arc;

use super::admit::Waiting;
use super::question::Asking;
use super::{AdminReply, Shard};
use crate::chat::Origin;
use crate::model::{
    Ack, DirectoryChange, Event, EventBody, MessageId, Now, Reply, SessionId, UserId, Version,
};
use crate::node::admin::AdminAnswer;
use crate::node::batch::Audience;
use crate::node::mail::Told;
use crate::node::ports::{FromLog, Record, ToLog};
use crate::node::question::Answer;
use crate::telemetry::Counter;
use crate::wire::json;

/// What is held back until it is on disk.
pub(super) enum Reveal {
    Event {
        room: usize,
        event: Arc<Event>,
        origin: Origin,
    },
    Mark {
        room: usize,
        user: UserId,
        message: MessageId,
    },
    Directory {
        room: Option<usize>,
        change: DirectoryChange,
    },
    Told {
        session: SessionId,
        told: Told,
    },
    Enter {
        waiting: Box<Waiting>,
        frames: Vec<u8>,
    },
    Answer {
        asking: Box<Asking>,
        answer: Answer,
    },
    /// To the admin side: all that was numbered before is durable.
    Renewed {
        reply: AdminReply,
    },
}

fn text_bytes(record: &Record) -> usize {
    match record {
        Record::Event { event, .. } => match &event.body {
            EventBody::Message(body) => body.content.len(),
            EventBody::Edit { content, .. } => content.len(),
            EventBody::Delete { .. } | EventBody::Reaction { .. } => 0,
        },
        Record::Mark { .. } | Record::Directory(_) | Record::Erased => 0,
    }
}

impl Shard {
    /// Numbers a record, hands it to the log, and remembers what it will show.
    pub(super) fn log(&mut self, room: Option<usize>, record: Record, reveal: Reveal) {
        self.lsn += 1;
        let text_bytes = text_bytes(&record);
        self.to_log_texts.push_back(text_bytes as u32);
        self.to_log_bytes += text_bytes;
        self.to_log.push_back(ToLog::Append { lsn: self.lsn, record });
        if let Some(room) = room {
            self.rooms[room].under_way += 1;
        }
        self.reveals.push_back((self.lsn, reveal));
    }

    /// Records were given to the log that are not durable yet.
    pub fn awaits_commit(&self) -> bool {
        self.handed > self.durable
    }

    /// What is not in `to_log` any more is the log's.
    pub fn handed_over(&mut self) {
        let waiting = self.to_log.iter().find_map(|mail| match mail {
            ToLog::Append { lsn, .. } => Some(*lsn),
            _ => None,
        });
        let handed = waiting.map_or(self.lsn, |first| first - 1);
        let texts = self.to_log_texts.drain(..(handed - self.handed) as usize);
        self.to_log_bytes -= texts.map(|bytes| bytes as usize).sum::<usize>();
        self.handed = handed;
    }

    /// Shows something as soon as everything decided up to now is durable.
    pub(super) fn reveal_later(&mut self, reveal: Reveal, now: Now) {
        if self.reveals.is_empty() {
            self.reveal(reveal, 0, now);
            return;
        }
        if let Some(room) = reveal.room() {
            self.rooms[room].under_way += 1;
        }
        self.reveals.push_back((self.lsn, reveal));
    }

    pub fn from_log(&mut self, news: FromLog, now: Now) {
        match news {
            FromLog::Durable { through, segment } => {
                assert!(through <= self.lsn, "the log knows records that were never sent");
                self.durable = through;
                while self.reveals.front().is_some_and(|(lsn, _)| *lsn <= through) {
                    if let Some((_, reveal)) = self.reveals.pop_front() {
                        if let Some(room) = reveal.room() {
                            self.rooms[room].under_way -= 1;
                            self.may_be_idle(room);
                        }
                        self.reveal(reveal, segment, now);
                    }
                }
            }
            FromLog::Lease { ids } => {
                self.lease.granted(ids);
                self.lease_changed(now);
            }
            FromLog::Sealed { segment } => self.sealed(segment),
            FromLog::Accepting(is_accepting) => self.set_accepting(is_accepting),
            FromLog::ReadAnew => self.shrink(),
            FromLog::Stopped => self.is_stopped = true,
        }
    }

    fn set_accepting(&mut self, is_accepting: bool) {
        if self.is_accepting != is_accepting {
            match is_accepting {
                true => tracing::info!(shard = self.core, "the store takes messages again"),
                false => tracing::warn!(
                    shard = self.core,
                    "the store takes no messages now: the disk is full or the pages are behind"
                ),
            }
        }
        self.is_accepting = is_accepting && !self.has_ended;
    }

    /// What lies in this segment may leave memory: machines do that bit by bit, by their timers.
    fn sealed(&mut self, segment: u64) {
        self.sealed = segment;
        let rooms: Vec<usize> = self.rooms.iter().map(|(room, _)| room).collect();
        for room in rooms {
            let held = &mut self.rooms[room];
            if let Some(chat) = &mut held.chat {
                chat.sealed(segment);
                held.recent.sealed(chat.sealed_seq());
            }
            self.arm(room);
            self.may_be_idle(room);
        }
    }

    fn reveal(&mut self, reveal: Reveal, segment: u64, now: Now) {
        match reveal {
            Reveal::Event { room, event, origin } => self.show_event(room, event, origin, segment),
            Reveal::Mark { room, user, message } => {
                if let Some(chat) = &mut self.rooms[room].chat {
                    chat.mark_durable(&user, message, segment);
                }
            }
            Reveal::Directory { room, change } => self.directory_changed(room, change, now),
            Reveal::Told { session, told } => self.tell(session, told),
            Reveal::Renewed { reply } => reply(AdminAnswer::Done),
            Reveal::Enter { waiting, frames } => self.enter(*waiting, frames, now),
            Reveal::Answer { asking, answer } => self.show_answer(*asking, answer),
        }
    }

    /// Acks the sender and shows the event to the room; the ack comes first on that socket.
    fn show_event(&mut self, room: usize, event: Arc<Event>, origin: Origin, segment: u64) {
        let held = &mut self.rooms[room];
        held.durable_seq = event.seq;
        let Some(chat) = &mut held.chat else { return };
        chat.durable(event.seq, segment);
        held.recent.push(event.clone());
        held.recent.sealed(chat.sealed_seq());
        let event = &*event;
        let version = origin.session.and_then(|session| chat.version_of(session));
        if let (Some(session), Some(Version::V2)) = (origin.session, version) {
            let ack = ack_of(event, origin.reference);
            self.tell(session, Told::Reply(Reply::Ack(ack)));
        }
        let held = &mut self.rooms[room];
        match client_msg_id(event) {
            Some(id) => {
                let own = Audience::OnlyV2Of(origin.user.clone());
                held.push_event(own, |out| json::event(out, event, Some(id)));
                let others = Audience::AllButV2Of(origin.user);
                held.push_event(others, |out| json::event(out, event, None));
            }
            None => {
                held.push_event(Audience::All, |out| json::event(out, event, None));
            }
        }
        self.counters.increment(Counter::event(&event.body));
        self.touch(room);
    }

    /// The last that the log hears: all marks, whatever the store says of its room. What other
    /// cores' sockets still ask for is refused from here on.
    pub fn end_log(&mut self, now: Now) {
        self.is_accepting = true;
        self.log_marks(now);
        self.to_log.push_back(ToLog::Stop);
        self.is_accepting = false;
        self.has_ended = true;
    }

    /// Hands every mark that rose since the last time to the log.
    pub(super) fn log_marks(&mut self, now: Now) {
        if self.has_ended {
            return;
        }
        if !self.is_accepting {
            let due = now.mono.after(super::MARKS_EVERY_MS);
            self.timers.set(super::Timer::Marks, &mut self.marks_alarm, due);
            return;
        }
        for room in std::mem::take(&mut self.marked) {
            let Some(held) = self.rooms.get_mut(room) else { continue };
            let conversation = held.id.clone();
            let mut marks: Vec<_> = held.marks.drain().map(|(_, mark)| mark).collect();
            // The order of a hash map must not reach the log: one seed, one log.
            marks.sort_by(|a, b| a.user.cmp(&b.user));
            for mark in marks {
                let (user, message) = (mark.user.clone(), mark.message);
                let record = Record::Mark { conversation: conversation.clone(), mark };
                self.log(Some(room), record, Reveal::Mark { room, user, message });
            }
        }
    }
}

impl Reveal {
    /// The room that this keeps in memory.
    fn room(&self) -> Option<usize> {
        match self {
            Reveal::Event { room, .. } | Reveal::Mark { room, .. } => Some(*room),
            Reveal::Directory { room, .. } => *room,
            Reveal::Told { .. } | Reveal::Renewed { .. } => None,
            Reveal::Enter { waiting, .. } => Some(waiting.room()),
            Reveal::Answer { asking, .. } => Some(asking.room()),
        }
    }
}

fn client_msg_id(event: &Event) -> Option<&str> {
    match &event.body {
        EventBody::Message(body) => body.client_msg_id.as_deref(),
        _ => None,
    }
}

fn ack_of(event: &Event, reference: Option<String>) -> Ack {
    let message = match &event.body {
        EventBody::Message(body) => body.id,
        EventBody::Edit { message, .. }
        | EventBody::Delete { message, .. }
        | EventBody::Reaction { message, .. } => *message,
    };
    Ack {
        reference,
        client_msg_id: client_msg_id(event).map(str::to_owned),
        message: Some(message),
        seq: Some(event.seq),
        created_at: Some(event.at),
    }
}
