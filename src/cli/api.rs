//! What `/api` needs of the rest of the server: the way of questions to the shards, and who has to do
//! with which conversation.

use std::fmt::Display;
use std::sync::PoisonError;

use super::server::AdminGate;
use crate::http;
use crate::model::{Access, ConversationId, Identity, Scope, UserId, Wall};
use crate::node::links::AdminOrder;
use crate::node::question::{AnswerTo, Question};
use crate::store::{ReadHandle, StoreError};

impl http::Questions for AdminGate {
    fn ask(&self, question: Question, to: AnswerTo) -> Result<(), http::Busy> {
        let owner = self.placement.of_conversation(&question.conversation);
        let ring = &self.rings[usize::from(owner)];
        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.push(AdminOrder::Question(Box::new(question), to)).map_err(|_| http::Busy)?;
        ring.ring();
        Ok(())
    }
}

/// Memberships as the store's read handle knows them.
pub struct Memberships {
    pub read: ReadHandle,
    pub access: Access,
}

impl Memberships {
    fn conversations(
        &self,
        identity: &Identity,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let user = &identity.user;
        match (self.access, &identity.scope) {
            (Access::Members, _) => {
                let found = self.read.conversations_of(user, after, limit)?;
                Ok(found.into_iter().map(|(conversation, _)| conversation).collect())
            }
            (Access::Claim, None) => Ok(Vec::new()),
            (Access::Claim, Some(scope)) => self.read.marked_by(user, scope, after, limit),
            (Access::Open, _) => self.read.marked_by(user, &Scope::All, after, limit),
        }
    }
}

fn unreadable(error: impl Display) -> http::Unreadable {
    tracing::error!(%error, "what a user belongs to cannot be read");
    http::Unreadable
}

impl http::Memberships for Memberships {
    fn revoked_before(&self, user: &UserId) -> Result<Option<Wall>, http::Unreadable> {
        self.read.revoked_before(user).map_err(unreadable)
    }

    fn of_user(
        &self,
        identity: &Identity,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, http::Unreadable> {
        self.conversations(identity, after, limit).map_err(unreadable)
    }
}
