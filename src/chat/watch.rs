//! What the shard looks up in a conversation beside its effects.

use std::sync::Arc;

use super::{Conversation, Settings};
use crate::model::{MessageId, Now, Seq, SessionId};

impl Conversation {
    /// The newest receipt of the session's user: those at or below it say nothing new.
    pub fn receipt_of(&self, session: SessionId) -> Option<MessageId> {
        let user = self.people.session(session)?.user;
        self.people.get(user).map(|user| user.receipt.read())
    }

    /// Pages have everything up to this event.
    pub fn sealed_seq(&self) -> Seq {
        self.seals.sealed()
    }

    /// Settings that were reloaded. Buckets keep what is left in them.
    pub fn set_settings(&mut self, settings: Arc<Settings>, now: Now) {
        self.observe(now);
        let limits = &settings.limits;
        self.bucket.set_rate(limits.events_per_conversation, self.mono);
        self.people.set_rate(limits.events_per_user, self.mono);
        self.settings = settings;
    }
}
