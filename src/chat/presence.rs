//! Who is here (PROTOCOL, `user_status`). Counts sockets per user: `online` on the first, `offline` when
//! the grace after the last is over.
//!
//! ```text
//!            first socket              last socket gone
//!   absent ───────────────► present ────────────────────► in grace ──┐
//!      ▲                       ▲ └─ a socket comes back ──────┘      │ grace over, kicked
//!      └──────────────────────────────────────────────────────────────┘
//! ```
//! A joining socket is told at once: itself first, then everyone who is here. Those who were there before
//! hear of it with the next tick, as net state: `is_announced` is what they were told last. So a room that
//! fills within a tick costs each socket one write beside its first, and its last one none. When all who are
//! here came at one moment the first tick is that moment: it goes out with what they are told anyway.
//!
//! In a crowd (more than [`CROWD`] present) nothing is announced: `is_announced` stands still, a joining
//! socket hears of itself only, v2 hears how many there are. The crowd is over at nine tenths of
//! [`CROWD`]; then everybody is told everything once.

use std::collections::VecDeque;

use super::agenda::Task;
use super::conversation::Conversation;
use super::people::UserIndex;
use super::{Audience, Effect, Effects};
use crate::limits::{CROWD, PRESENCE_TICK_MS};
use crate::model::{Mono, Reply, SessionId, Signal, Version};

/// A crowd is over when so few are left.
const CROWD_OVER: usize = CROWD * 9 / 10;
/// A crowd hears of its size at most this often.
const COUNT_EVERY_MS: u64 = 1_000;

/// How a user is seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Has a socket, or had one within the grace.
    is_present: bool,
    /// The others were told `online` last.
    is_announced: bool,
    /// Whoever comes in is told `online`.
    is_shown: bool,
    /// Of the socket with which the user came: those behind it have been shown the user.
    entrance: u64,
    /// In the list of the next tick.
    is_queued: bool,
    /// When the grace ends.
    offline_at: Option<Mono>,
}

impl Seen {
    /// Everybody was told how it is.
    fn is_settled(&self) -> bool {
        self.is_announced == self.is_present && self.is_shown == self.is_present
    }

    /// Something about the user is still to be told.
    pub fn is_held(&self) -> bool {
        self.is_present || self.is_announced || self.is_shown || self.is_queued
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Crowd {
    #[default]
    No,
    Yes,
    /// Few enough again; the next tick tells everybody everything.
    Over,
}

#[derive(Debug, Default)]
pub(super) struct Presence {
    present: usize,
    crowd: Crowd,
    /// In order of their coming.
    shown: Vec<UserIndex>,
    last_entrance: u64,
    /// When the first socket came into the empty conversation; `None` from the first tick on.
    began_at: Option<Mono>,
    /// Whose state may differ from what was told, in order of the change.
    changed: Vec<UserIndex>,
    /// Ends of graces, in order; those of users who came back meanwhile are stale.
    absences: VecDeque<(Mono, UserIndex)>,
    count_told: Option<usize>,
    count_told_at: Mono,
}

impl Conversation {
    pub(super) fn is_crowd(&self) -> bool {
        self.presence.crowd != Crowd::No
    }

    /// A socket of the user came in.
    pub(super) fn appear(&mut self, user: UserIndex, entrance: u64) {
        self.presence.last_entrance = entrance;
        if self.people.sockets() == 1 {
            self.presence.began_at = Some(self.mono);
        }
        let seen = &mut self.people[user].seen;
        seen.offline_at = None;
        if !std::mem::replace(&mut seen.is_present, true) {
            self.presence.present += 1;
            self.size_changed();
        }
        if !self.is_crowd() {
            self.show(user);
        }
        self.presence_changed(user);
    }

    /// What a socket that comes in is told: its own user first, then the others.
    pub(super) fn tell_who_is_here(
        &self,
        user: UserIndex,
        session: SessionId,
        version: Version,
        out: &mut Effects,
    ) {
        if version == Version::V2 {
            out.push(Effect::Reply { session, reply: self.who_is_online() });
            return;
        }
        self.tell_status(user, Audience::One(session), out);
        if !self.is_crowd() {
            for &other in &self.presence.shown {
                if other != user {
                    let id = self.people[other].profile.id.clone();
                    let signal = Signal::Status { user: id, online: true, at: self.wall };
                    out.push(Effect::Signal { audience: Audience::One(session), signal });
                }
            }
        }
    }

    /// For a v2 socket that comes in: everyone who is here, or how many a crowd is.
    fn who_is_online(&self) -> Reply {
        if self.is_crowd() {
            return Reply::Presence { online: Vec::new(), count: self.present() };
        }
        let shown = self.presence.shown.iter();
        let mut online: Vec<_> = shown.map(|user| self.people[*user].profile.id.clone()).collect();
        online.sort();
        let count = u32::try_from(online.len()).unwrap_or(u32::MAX);
        Reply::Presence { online, count }
    }

    fn present(&self) -> u32 {
        u32::try_from(self.presence.present).unwrap_or(u32::MAX)
    }

    /// The last socket of the user is gone.
    pub(super) fn begin_absence(&mut self, user: UserIndex) {
        let grace_ms = self.settings.offline_grace_ms;
        if grace_ms == 0 {
            self.disappear(user);
            return;
        }
        let due = self.mono.after(grace_ms);
        self.people[user].seen.offline_at = Some(due);
        self.presence.absences.push_back((due, user));
        self.agenda.set_earliest(Task::Offline, due);
    }

    pub(super) fn absences_due(&mut self) {
        while let Some(&(due, user)) = self.presence.absences.front() {
            if due > self.mono {
                self.agenda.set(Task::Offline, due);
                return;
            }
            self.presence.absences.pop_front();
            if self.people.get(user).is_some_and(|user| user.seen.offline_at == Some(due)) {
                self.disappear(user);
                self.may_release(user);
            }
        }
    }

    /// The user counts as absent from now on.
    pub(super) fn disappear(&mut self, user: UserIndex) {
        let seen = &mut self.people[user].seen;
        seen.offline_at = None;
        if std::mem::take(&mut seen.is_present) {
            self.presence.present -= 1;
            self.size_changed();
            self.presence_changed(user);
        }
    }

    pub(super) fn presence_tick(&mut self, out: &mut Effects) {
        self.presence.began_at = None;
        let mut changed = std::mem::take(&mut self.presence.changed);
        for &user in &changed {
            self.people[user].seen.is_queued = false;
            if !self.is_crowd() && self.settle(user) {
                let held = &self.people[user];
                let (than, but) = (held.seen.entrance, held.profile.id.clone());
                self.announce(user, Audience::Earlier { than, but }, out);
            }
            self.may_release(user);
        }
        changed.clear();
        self.presence.changed = changed;
        if self.presence.crowd == Crowd::Over {
            self.tell_everything(out);
        }
    }

    pub(super) fn count_due(&mut self, out: &mut Effects) {
        let presence = &mut self.presence;
        if presence.crowd == Crowd::Yes && presence.count_told != Some(presence.present) {
            presence.count_told = Some(presence.present);
            presence.count_told_at = self.mono;
            out.push(Effect::Signal { audience: Audience::AllV2, signal: self.count() });
        }
    }

    /// With nobody else to hear it there is nothing to tell, now or later.
    fn presence_changed(&mut self, user: UserIndex) {
        let held = &self.people[user];
        let is_alone = self.people.sockets() == held.sessions.len();
        if is_alone && !self.is_crowd() {
            self.settle(user);
        } else if !held.seen.is_queued && !held.seen.is_settled() {
            self.people[user].seen.is_queued = true;
            self.presence.changed.push(user);
            let is_beginning = self.presence.began_at == Some(self.mono);
            let wait_ms = if is_beginning { 0 } else { PRESENCE_TICK_MS };
            self.agenda.set_earliest(Task::PresenceTick, self.mono.after(wait_ms));
        }
    }

    /// Whoever comes in from here on is told of the user.
    fn show(&mut self, user: UserIndex) {
        let seen = &mut self.people[user].seen;
        if !std::mem::replace(&mut seen.is_shown, true) {
            seen.entrance = self.presence.last_entrance;
            self.presence.shown.push(user);
        }
    }

    /// Makes the user's state the one that was told; `true` when there is somebody to tell. For those
    /// who were there before, who came and went within a tick was never here.
    fn settle(&mut self, user: UserIndex) -> bool {
        let held = &mut self.people[user];
        let (is_gone, seen) = (held.sessions.is_empty(), &mut held.seen);
        if seen.is_present {
            if seen.is_announced || is_gone {
                return false;
            }
            seen.is_announced = true;
            self.show(user);
            return true;
        }
        let is_known =
            seen.is_announced || (seen.is_shown && seen.entrance < self.presence.last_entrance);
        (seen.is_announced, seen.is_shown) = (false, false);
        self.presence.shown.retain(|held| *held != user);
        is_known
    }

    /// Tells `to` that the user is here, or everybody that it is not any more.
    fn announce(&self, user: UserIndex, to: Audience, out: &mut Effects) {
        let audience = match self.people[user].seen.is_present {
            true => to,
            false => Audience::All,
        };
        self.tell_status(user, audience, out);
    }

    fn tell_status(&self, user: UserIndex, audience: Audience, out: &mut Effects) {
        let held = &self.people[user];
        let (user, online) = (held.profile.id.clone(), held.seen.is_present);
        out.push(Effect::Signal {
            audience,
            signal: Signal::Status { user, online, at: self.wall },
        });
    }

    fn size_changed(&mut self) {
        let presence = &mut self.presence;
        match presence.crowd {
            Crowd::No | Crowd::Over if presence.present > CROWD => presence.crowd = Crowd::Yes,
            Crowd::Yes if presence.present <= CROWD_OVER => {
                presence.crowd = Crowd::Over;
                presence.count_told = None;
                self.agenda.set_earliest(Task::PresenceTick, self.mono.after(PRESENCE_TICK_MS));
            }
            _ => {}
        }
        if self.presence.crowd == Crowd::Yes {
            let next = self.presence.count_told_at.after(COUNT_EVERY_MS);
            let due = next.max(self.mono.after(PRESENCE_TICK_MS));
            self.agenda.set_earliest(Task::PresenceCount, due);
        }
    }

    /// The crowd is over: sockets that came meanwhile know nobody, others know who has left.
    fn tell_everything(&mut self, out: &mut Effects) {
        self.presence.crowd = Crowd::No;
        let users: Vec<_> = self
            .people
            .users()
            .filter(|(_, user)| user.seen.is_present || !user.seen.is_settled())
            .map(|(user, _)| user)
            .collect();
        for user in users {
            self.settle(user);
            let but = self.people[user].profile.id.clone();
            self.announce(user, Audience::AllBut(but), out);
            self.may_release(user);
        }
    }

    fn count(&self) -> Signal {
        Signal::PresenceCount { count: self.present() }
    }
}
