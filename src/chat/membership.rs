//! Who comes, goes, gets another role or is removed; and when a user may leave memory.

use std::sync::Arc;

use super::agenda::Task;
use super::conversation::Conversation;
use super::people::{Unknown, UserIndex};
use super::receipt::Receipt;
use super::{Effect, Effects, Joiner};
use crate::model::{CloseReason, MessageId, Now, Profile, Role, SessionId, UserId};

impl Conversation {
    /// A socket that was admitted. It hears of everything from here on.
    pub fn join(&mut self, session: SessionId, joiner: Joiner, now: Now, out: &mut Effects) {
        self.observe(now);
        if self.people.is_here(session) {
            return;
        }
        let (version, entrance) = (joiner.version, joiner.entrance);
        let receipt = match self.has_stored_marks {
            true => Receipt::unknown(),
            false => Receipt::none_stored(),
        };
        let rate = self.settings.limits.events_per_user;
        let user = self.people.enter(session, joiner, Unknown { receipt, rate });
        self.appear(user, entrance);
        self.tell_who_is_here(user, session, version, out);
        self.ask_for_mark(user, out);
    }

    /// A socket that is gone.
    pub fn leave(&mut self, session: SessionId, now: Now, out: &mut Effects) {
        self.observe(now);
        let Some(user) = self.people.leave(session) else { return };
        self.typist_left(user, session, out);
        if self.people[user].sessions.is_empty() {
            self.begin_absence(user);
        }
        self.may_release(user);
        self.sweep_some();
    }

    /// The directory has another role for the user, or none any more.
    pub fn set_member(&mut self, user: &UserId, role: Option<Role>, now: Now, out: &mut Effects) {
        let Some(role) = role else {
            self.kick(user, now, out);
            return;
        };
        self.observe(now);
        let Some(user) = self.people.find(user) else { return };
        for at in 0..self.people[user].sessions.len() {
            let session = self.people[user].sessions[at];
            if let Some(held) = self.people.session_mut(session) {
                held.role = role;
            }
        }
        self.change_waiting(user, role);
        if role == Role::ReadOnly {
            self.stop_typing(user, out);
        }
    }

    /// The socket's user has a newer token, which may bring another role and other names.
    pub fn renew(&mut self, session: SessionId, role: Role, profile: Profile) {
        let Some(held) = self.people.session_mut(session) else { return };
        held.role = role;
        let user = held.user;
        self.people[user].profile = Arc::new(profile);
    }

    /// Closes the user's sockets; what they still wait for is dropped. They hear nothing more.
    pub fn kick(&mut self, user: &UserId, now: Now, out: &mut Effects) {
        self.observe(now);
        let Some(user) = self.people.find(user) else { return };
        self.drop_waiting(user);
        self.forget_receipts(user);
        self.stop_typing(user, out);
        for session in self.people[user].sessions.clone() {
            self.people.leave(session);
            out.push(Effect::Close { session, reason: CloseReason::Kicked });
        }
        self.disappear(user);
        self.may_release(user);
    }

    /// Closes every socket: the conversation is deleted, and this machine with it.
    pub fn close_all(&mut self, reason: CloseReason, now: Now, out: &mut Effects) {
        self.observe(now);
        let everyone: Vec<SessionId> =
            self.people.users().flat_map(|(_, user)| user.sessions.iter().copied()).collect();
        for session in everyone {
            self.people.leave(session);
            out.push(Effect::Close { session, reason });
        }
        out.extend(self.operators.take().map(|session| Effect::Close { session, reason }));
    }

    /// Forgets a user of whom nothing is left to tell or to store.
    pub(super) fn may_release(&mut self, user: UserIndex) {
        let Some(held) = self.people.get(user) else { return };
        if !held.sessions.is_empty() {
            return;
        }
        if !held.bucket.is_full(self.mono) {
            // Otherwise a new socket would bring a new burst.
            self.agenda.set(Task::Rested(user), held.bucket.full_at());
            return;
        }
        if held.seen.is_held() || !held.receipt.is_settled() || held.commands_waiting > 0 {
            return;
        }
        self.has_stored_marks |= held.receipt.mark() > MessageId(0);
        for task in [Task::Typing(user), Task::Receipt(user), Task::Rested(user)] {
            self.agenda.cancel(task);
        }
        self.people.remove(user);
    }
}
