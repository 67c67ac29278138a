//! The user's conversations, and one of them with those who take part in it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::super::failure::Failure;
use super::super::input::InConversation;
use super::input::BehindId;
use super::{Api, Caller, REVOKED, awaited, failure_of, json};
use crate::limits::HISTORY_BYTES_MAX;
use crate::model::{Access, ConversationId, Participant, ReadersQuery, Role, Standing, UserId};
use crate::node::question::{About, Answer};
use crate::wire;

/// Conversations of one list that are asked about at once.
const ASKED_AT_ONCE: usize = 8;

type Asker = Extension<Arc<Caller>>;

/// A list under way.
struct List {
    body: Vec<u8>,
    count: usize,
    limit: usize,
}

impl List {
    /// `false`: this one and what follows belong on the next page.
    fn take(&mut self, standing: &Standing) -> bool {
        let is_full = self.count >= self.limit || self.body.len() >= HISTORY_BYTES_MAX;
        if is_full {
            return false;
        }
        if self.count > 0 {
            self.body.push(b',');
        }
        self.count += 1;
        wire::json::standing(&mut self.body, standing, None);
        true
    }

    fn finish(mut self, has_more: bool) -> Response {
        self.body.extend_from_slice(match has_more {
            true => b"],\"has_more\":true}",
            false => b"],\"has_more\":false}",
        });
        json(self.body)
    }
}

pub async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Asker,
    page: BehindId<ConversationId>,
) -> Result<Response, Failure> {
    api.check_not_revoked(&caller).await?;
    let BehindId { mut after, limit } = page;
    let body = b"{\"conversations\":[".to_vec();
    let mut list = List { body, count: 0, limit: limit as usize };
    loop {
        let found = api.conversations_behind(&caller, after.take()).await?;
        let is_last = found.len() < ASKED_AT_ONCE;
        for answer in api.standings(&caller, &found).await? {
            match answer {
                Answer::Standing(standing) if !list.take(&standing) => return Ok(list.finish(true)),
                Answer::Standing(_) => {}
                // It was removed, or the conversation deleted, since the list was read.
                Answer::Refused(_) => {}
                other => return Err(failure_of(&other)),
            }
        }
        if is_last {
            return Ok(list.finish(false));
        }
        after = found.into_iter().next_back();
    }
}

pub async fn show(
    State(api): State<Arc<Api>>,
    Extension(caller): Asker,
    InConversation(conversation): InConversation,
    page: BehindId<UserId>,
) -> Result<Response, Failure> {
    let members = api.members(&caller, &conversation, &page).await?;
    let readers = match &members {
        Some((members, _)) => {
            ReadersQuery::These(members.iter().map(|(user, _)| user.clone()).collect())
        }
        None => ReadersQuery::Behind { after: page.after, limit: page.limit },
    };
    match api.answer(&caller, conversation, About::Standing(readers)).await? {
        Answer::Standing(standing) => {
            let (participants, has_more) = participants(&standing, members);
            let mut body = Vec::new();
            let shown = Some((participants.as_slice(), has_more));
            wire::json::standing(&mut body, &standing, shown);
            Ok(json(body))
        }
        other => Err(failure_of(&other)),
    }
}

/// Members with their roles, and whether there are more.
type Members = (Vec<(UserId, Role)>, bool);

/// Members with how far they have read, or else everybody who has read.
fn participants(standing: &Standing, members: Option<Members>) -> (Vec<Participant>, bool) {
    let Some((members, has_more)) = members else {
        let readers = standing.readers.iter().map(|reader| Participant {
            user: reader.user.clone(),
            role: None,
            mark: Some(reader.mark),
        });
        return (readers.collect(), standing.has_more_readers);
    };
    let mark_of = |user: &UserId| {
        standing.readers.iter().find(|reader| reader.user == *user).map(|reader| reader.mark)
    };
    let members = members.into_iter().map(|(user, role)| Participant {
        mark: mark_of(&user),
        role: Some(role),
        user,
    });
    (members.collect(), has_more)
}

impl Api {
    /// Where no conversation is asked about nobody else would look at this.
    async fn check_not_revoked(&self, caller: &Caller) -> Result<(), Failure> {
        let memberships = self.memberships.clone();
        let user = caller.identity.user.clone();
        let before = self.read(caller, move || memberships.revoked_before(&user)).await?;
        let issued = caller.identity.issued_at_ms;
        match before {
            Some(before) if issued.is_none_or(|issued| issued < before.0) => Err(REVOKED),
            _ => Ok(()),
        }
    }

    async fn conversations_behind(
        &self,
        caller: &Caller,
        after: Option<ConversationId>,
    ) -> Result<Vec<ConversationId>, Failure> {
        let memberships = self.memberships.clone();
        let identity = caller.identity.clone();
        let read = move || memberships.of_user(&identity, after.as_ref(), ASKED_AT_ONCE);
        self.read(caller, read).await
    }

    async fn standings(
        &self,
        caller: &Caller,
        conversations: &[ConversationId],
    ) -> Result<Vec<Answer>, Failure> {
        let about = || About::Standing(ReadersQuery::Nobody);
        let asked: Result<Vec<_>, Failure> =
            conversations.iter().map(|id| self.ask(caller, id.clone(), about())).collect();
        let mut answers = Vec::new();
        for waiting in asked? {
            answers.push(awaited(caller, waiting).await?);
        }
        Ok(answers)
    }

    /// `None` where the directory does not say who belongs.
    async fn members(
        &self,
        caller: &Caller,
        conversation: &ConversationId,
        page: &BehindId<UserId>,
    ) -> Result<Option<Members>, Failure> {
        if self.settings.access != Access::Members {
            return Ok(None);
        }
        let (directory, conversation) = (self.directory.clone(), conversation.clone());
        let (after, limit) = (page.after.clone(), page.limit as usize);
        let read = move || directory.members(&conversation, after.as_ref(), limit + 1);
        let mut found = self.read(caller, read).await?;
        let has_more = found.len() > limit;
        found.truncate(limit);
        let members = found.into_iter().map(|entry| (entry.user, entry.role)).collect();
        Ok(Some((members, has_more)))
    }
}
