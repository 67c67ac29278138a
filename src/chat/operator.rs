//! What the operator's own backend says and takes back in a conversation, without a socket: numbered,
//! idempotent and answered like a socket's commands, with every right and no rate.
//!
//! Each operation has a session of its own, which is in no list of sockets: it is nobody's presence, and
//! what is done to its user does not touch it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::conversation::Conversation;
use super::decide::Speaker;
use super::people::{Unknown, UserIndex};
use super::receipt::Receipt;
use super::{Effects, Ids};
use crate::model::{Now, Profile, Request, Role, SessionId, Version};

/// One thing that the operator asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Addressed by the answer; given up by [`Conversation::operated`].
    pub session: SessionId,
    /// In whose name.
    pub sender: Arc<Profile>,
    pub request: Request<'static>,
}

#[derive(Debug)]
struct Operator {
    user: UserIndex,
    sender: Arc<Profile>,
}

/// Operations that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Operators {
    by_session: BTreeMap<SessionId, Operator>,
}

impl Operators {
    pub fn has(&self, session: SessionId) -> bool {
        self.by_session.contains_key(&session)
    }

    /// All of them, in order; none is left.
    pub fn take(&mut self) -> impl Iterator<Item = SessionId> {
        std::mem::take(&mut self.by_session).into_keys()
    }
}

impl Conversation {
    /// Decides it, or has it wait for old state behind what came before. Answered exactly once: by an ack,
    /// an error, or a close.
    pub fn operate(
        &mut self,
        operation: Operation,
        ids: &mut dyn Ids,
        now: Now,
        out: &mut Effects,
    ) {
        self.observe(now);
        let Operation { session, sender, request } = operation;
        let receipt = match self.has_stored_marks {
            true => Receipt::unknown(),
            false => Receipt::none_stored(),
        };
        let rate = self.settings.limits.events_per_user;
        let user = self.people.find_or_insert(&sender, Unknown { receipt, rate });
        // Its user stays until it is answered.
        self.people[user].commands_waiting += 1;
        self.operators.by_session.insert(session, Operator { user, sender });
        let speaker = Speaker { session, user, role: Role::Admin, version: Version::V2 };
        self.decide_or_wait(speaker, request, ids, out);
        self.sweep_some();
    }

    /// The operation was answered.
    pub fn operated(&mut self, session: SessionId) {
        if let Some(Operator { user, .. }) = self.operators.by_session.remove(&session) {
            self.people[user].commands_waiting -= 1;
            self.may_release(user);
        }
    }

    /// Whoever asked is still there to be answered.
    pub(super) fn is_heard(&self, session: SessionId) -> bool {
        self.people.is_here(session) || self.operators.has(session)
    }

    /// How a message of this speaker names its sender.
    pub(super) fn sender(&self, speaker: Speaker) -> &Arc<Profile> {
        match self.operators.by_session.get(&speaker.session) {
            Some(operator) => &operator.sender,
            None => &self.people[speaker.user].profile,
        }
    }

    /// The system reads nothing: it has no mark.
    pub(super) fn is_system(&self, speaker: Speaker) -> bool {
        let operator = self.operators.by_session.get(&speaker.session);
        operator.is_some_and(|operator| *operator.sender == Profile::system())
    }
}
