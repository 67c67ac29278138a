//! What the shard looks up in a conversation beside its effects.

use std::sync::Arc;

use super::{Conversation, Settings};
use crate::model::{MessageId, Seq, SessionId, UserId};

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

    /// How far the users in memory have read.
    pub fn marks(&self) -> impl Iterator<Item = (UserId, MessageId)> {
        self.people
            .users()
            .map(|(_, user)| (user.profile.id.clone(), user.receipt.mark()))
            .filter(|(_, mark)| mark.0 > 0)
    }

    /// Settings that were reloaded, for what comes. Buckets that are in use keep their rate.
    pub fn set_settings(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }
}
