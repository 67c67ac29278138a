//! Sockets that follow the log at their own pace: who resumes, and who does not take what is live.
//!
//! ```text
//! admitted with `since` ─┐                        ┌─ level: live from here on
//! fallen behind ─────────┴► idle ─feed─► hungry ──┤
//!                            ▲                    ├─ the next piece, from memory
//!                            └── piece is taken ──┤
//!                                                 └─ asked of a reader ──loaded──► hungry
//! ```
//! A socket asks for its next piece when it has taken the last one, so what waits for it is bounded, and
//! one that replays a million events takes its turn with all others. It becomes live in the turn in which
//! it has everything: the room's batch is cut there, so nothing is lost or doubled.
//!
//! It hears of receipts and presence, as net state, when it is level; of typing not at all.

use std::sync::Arc;

use super::missed::Stamp;
use super::recent::Recent;
use super::{Load, Output, Shard};
use crate::limits::{FEED_LOADS_MAX, FEEDS_PER_TURN_MAX, PAST_BYTES_MAX};
use crate::model::{
    CloseReason, Event, EventBody, Reply, ResumeFrom, Resumed, Seq, SessionId, UserId, Version,
};
use crate::node::mail::Told;
#[cfg(feature = "planted")]
use crate::node::planted::{self, Bug};
use crate::node::ports::{LoadQuery, LoadResult, Past, PastQuery};
use crate::wire::json;

pub struct Follower {
    user: UserId,
    version: Version,
    /// The last event that it was sent.
    at: Seq,
    state: State,
    /// A client that has been here before: where it went on.
    resume: Option<Seq>,
    /// Signals from here on are owed to it.
    missed_from: Stamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It takes its last piece.
    Idle,
    /// In the queue of those who want a piece.
    Hungry,
    /// A reader was asked.
    Loading,
}

impl Follower {
    pub fn resuming(user: UserId, from: Seq) -> Follower {
        Follower { resume: Some(from), ..Follower::behind(user, Version::V2, from) }
    }

    pub fn behind(user: UserId, version: Version, at: Seq) -> Follower {
        let missed_from = Stamp::default();
        Follower { user, version, at, state: State::Idle, resume: None, missed_from }
    }

    /// Sends it the next event, without the text of a message that was deleted since.
    fn take(&mut self, event: &Event, recent: &Recent, out: &mut Vec<u8>) {
        match event.text_of().filter(|message| recent.is_deleted(*message)) {
            Some(_) => self.encode(out, &event.without_text()),
            None => self.encode(out, event),
        }
        self.at = event.seq;
    }

    fn encode(&self, out: &mut Vec<u8>, event: &Event) {
        let own = match &event.body {
            EventBody::Message(body) if body.sender.id == self.user => {
                body.client_msg_id.as_deref()
            }
            _ => None,
        };
        json::event(out, event, own.filter(|_| self.version == Version::V2));
    }
}

/// What a reader was asked for a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetch {
    pub room: usize,
    pub session: SessionId,
    /// What pages had when they were asked, of its events and at all: an answer that is older than a seal
    /// may lack what has left memory since.
    sealed: Seq,
    segments: u64,
}

/// Where a client that has been here before goes on: `None` when it cannot.
pub(super) fn position(
    resume: ResumeFrom,
    durable: Seq,
    epoch: crate::model::Epoch,
) -> Option<Seq> {
    #[cfg(feature = "planted")]
    if planted::is(Bug::ResumeOffByOne) && resume.since < durable {
        return Some(resume.since.next());
    }
    let is_of_this_log = resume.epoch.is_none_or(|theirs| theirs == epoch);
    (is_of_this_log && resume.since <= durable).then_some(resume.since)
}

impl Shard {
    /// A live socket does not keep up: it has everything up to `at`, or that is on its way.
    /// What was said in this turn before is still for it, events apart; what is said later is remembered.
    pub fn fall_behind(&mut self, room: usize, session: SessionId, at: Seq) {
        self.cut(room);
        let held = &mut self.rooms[room];
        let Some(chat) = &held.chat else { return };
        let (Some(user), Some(version)) = (chat.user_of(session), chat.version_of(session)) else {
            // It was removed meanwhile; its close is on the way.
            return;
        };
        let follower = Follower::behind(user.clone(), version, at);
        held.leave_live(session, self.core);
        self.follow(room, session, follower);
        self.narrow(room);
    }

    /// The same for a socket on another core.
    pub fn remote_fall_behind(&mut self, session: SessionId, at: Seq) {
        if let Some(&room) = self.remotes.get(&session) {
            self.fall_behind(room, session, at);
            self.tell(session, Told::Follows);
        }
    }

    pub(super) fn follow(&mut self, room: usize, session: SessionId, mut follower: Follower) {
        let held = &mut self.rooms[room];
        follower.missed_from = held.missed.now();
        held.followers.insert(session, follower);
    }

    /// A follower has taken what it was sent.
    pub fn feed(&mut self, room: usize, session: SessionId) {
        let followers = self.rooms.get_mut(room).map(|held| &mut held.followers);
        if let Some(follower) = followers.and_then(|followers| followers.get_mut(&session))
            && follower.state == State::Idle
        {
            follower.state = State::Hungry;
            self.hungry.push_back((room, session));
        }
    }

    pub fn remote_feed(&mut self, session: SessionId) {
        if let Some(&room) = self.remotes.get(&session) {
            self.feed(room, session);
        }
    }

    /// Somebody can be fed now: the core does not sleep.
    pub fn has_hungry(&self) -> bool {
        !self.hungry.is_empty() || (self.has_free_reader() && !self.starved.is_empty())
    }

    /// Otherwise those who want in would wait long behind those who follow.
    fn has_free_reader(&self) -> bool {
        self.fetches < FEED_LOADS_MAX
    }

    fn next_hungry(&mut self) -> Option<(usize, SessionId)> {
        let starved = if self.has_free_reader() { self.starved.pop_front() } else { None };
        starved.or_else(|| self.hungry.pop_front())
    }

    /// A piece for each of those who wait longest, as many as one turn takes.
    pub fn feed_hungry(&mut self) {
        for _ in 0..FEEDS_PER_TURN_MAX {
            let Some((room, session)) = self.next_hungry() else { return };
            self.serve(room, session);
        }
    }

    fn serve(&mut self, room: usize, session: SessionId) {
        // The room may have left memory, and its place may be another's.
        let Some(held) = self.rooms.get_mut(room) else { return };
        let Some(follower) = held.followers.get_mut(&session) else { return };
        let level = held.durable_seq;
        if follower.at < level && held.recent.behind(follower.at).is_none() {
            let query = LoadQuery::Past(PastQuery::Events { after: follower.at });
            return self.fetch(room, session, query);
        }
        let mut frames = Vec::new();
        for event in held.recent.behind(follower.at).into_iter().flatten() {
            if frames.len() >= PAST_BYTES_MAX {
                break;
            }
            follower.take(event, &held.recent, &mut frames);
        }
        self.hand_out(room, session, frames);
    }

    fn hand_out(&mut self, room: usize, session: SessionId, frames: Vec<u8>) {
        let held = &mut self.rooms[room];
        let Some(follower) = held.followers.get_mut(&session) else { return };
        if !frames.is_empty() {
            let told = Told::Piece { frames, through: follower.at };
            self.outputs.push_back(Output::Told { session, told });
        }
        follower.state = State::Idle;
        if follower.at < held.durable_seq {
            return;
        }
        if follower.resume.is_none() || held.has_marks_of(self.sealed) {
            self.rejoin(room, session);
        } else {
            self.fetch(room, session, LoadQuery::Past(PastQuery::Marks));
        }
    }

    /// Asks a reader, or waits until one is free.
    fn fetch(&mut self, room: usize, session: SessionId, query: LoadQuery) {
        let has_free_reader = self.has_free_reader();
        let held = &mut self.rooms[room];
        let sealed = held.chat.as_ref().map(|chat| chat.sealed_seq()).unwrap_or_default();
        let Some(follower) = held.followers.get_mut(&session) else { return };
        if !has_free_reader {
            follower.state = State::Hungry;
            self.starved.push_back((room, session));
            return;
        }
        follower.state = State::Loading;
        self.fetches += 1;
        let segments = self.sealed;
        self.load(room, query, Load::Follow(Fetch { room, session, sealed, segments }));
    }

    pub(super) fn fetched(&mut self, fetch: Fetch, answer: LoadResult) {
        let Fetch { room, session, sealed, segments } = fetch;
        self.fetches -= 1;
        let held = &mut self.rooms[room];
        held.under_way -= 1;
        self.idle.push(room);
        let Some(follower) = held.followers.get_mut(&session) else { return };
        let is_old = held.chat.as_ref().is_some_and(|chat| chat.sealed_seq() != sealed);
        match answer {
            LoadResult::Past(Past::Events(_)) if is_old => {
                follower.state = State::Hungry;
                self.hungry.push_back((room, session));
            }
            LoadResult::Past(Past::Events(events)) => self.fetched_events(room, session, events),
            LoadResult::Past(Past::Marks(marks)) => {
                held.stored_marks = Some((segments, marks));
                follower.state = State::Hungry;
                self.hungry.push_back((room, session));
            }
            // It comes back and tries again: what it has is not lost.
            _ => self.tell(session, Told::Close(CloseReason::Overload)),
        }
    }

    fn fetched_events(&mut self, room: usize, session: SessionId, events: Vec<Arc<Event>>) {
        let held = &mut self.rooms[room];
        let Some(follower) = held.followers.get_mut(&session) else { return };
        if events.first().is_none_or(|event| event.seq != follower.at.next()) {
            return self.resync(room, session);
        }
        let mut frames = Vec::new();
        // Pages may be ahead of the news that their events are durable: those are shown when it comes.
        for event in events.iter().take_while(|event| event.seq <= held.durable_seq) {
            follower.take(event, &held.recent, &mut frames);
        }
        self.hand_out(room, session, frames);
    }

    /// What comes next is not stored any more. v2 fetches history; v1 has no word for it, and comes
    /// back.
    fn resync(&mut self, room: usize, session: SessionId) {
        let (epoch, seq) = (self.settings.epoch, self.rooms[room].durable_seq);
        let Some(follower) = self.rooms[room].followers.get_mut(&session) else { return };
        if follower.version == Version::V1 {
            return self.tell(session, Told::Close(CloseReason::FellBehind));
        }
        follower.resume = None;
        follower.at = seq;
        self.rejoin(room, session);
        self.tell(session, Told::Reply(Reply::Resync { seq, epoch }));
    }

    /// It has everything: what was missed beside events, and from here on it is live.
    fn rejoin(&mut self, room: usize, session: SessionId) {
        self.cut(room);
        let held = &mut self.rooms[room];
        let Some(follower) = held.followers.remove(&session) else { return };
        let Follower { user, version, at, resume, missed_from, .. } = follower;
        for signal in held.missed.since(missed_from, &user, version) {
            let told = Told::Signal(signal);
            self.outputs.push_back(Output::Told { session, told });
        }
        if let Some(from) = resume {
            let resumed = held.resumed(from, at);
            self.tell(session, Told::Reply(Reply::Resumed(Box::new(resumed))));
        }
        self.rooms[room].follower_left();
        self.tell(session, Told::Level { seq: at });
        self.rooms[room].join_live(session, self.core);
        self.widen(room);
    }

    /// So much is owed to followers that remembering it costs more than their coming back.
    pub(super) fn drop_followers(&mut self, room: usize) {
        self.rooms[room].missed.clear();
        let sessions: Vec<_> = self.rooms[room].followers.keys().copied().collect();
        for session in sessions {
            self.tell(session, Told::Close(CloseReason::FellBehind));
        }
    }
}

impl super::room::Room {
    /// The store's marks were read, and none was sealed since: such a one may have left memory.
    fn has_marks_of(&self, sealed: u64) -> bool {
        self.stored_marks.as_ref().is_some_and(|(segments, _)| *segments == sealed)
    }

    fn resumed(&self, from: Seq, to: Seq) -> Resumed {
        let (marks, marks_count) = match (&self.chat, &self.stored_marks) {
            (Some(chat), Some((_, stored))) => chat.all_marks(stored.clone()),
            _ => Default::default(),
        };
        Resumed { from, to, marks, marks_count }
    }
}
