//! Reads of the directory: who exists, who belongs where, whose tokens are revoked. What is durable but
//! not yet in pages is laid over what pages say, so nobody is let in or kept out by an old answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Admission, ConversationId, DirectoryChange, Erasure, MessageId, Profile, Role, Scope, UserId,
    Wall,
};
use crate::node::journal::archive::role_of;
use crate::node::journal::record;
use crate::node::ports::Record;

use super::error::{StoreError, ValueError};
use super::keys::{Key, KeyReader, Kind};
use super::overlay::Progress;
use super::pages::guarded;
use super::read::ReadHandle;
use super::values::{self, ValueReader, Why};

impl ReadHandle {
    /// What admitting this user to this conversation needs to know.
    pub fn admission(
        &self,
        conversation: &ConversationId,
        user: &UserId,
    ) -> Result<Admission, StoreError> {
        if self.importing(conversation).is_some() {
            return Err(StoreError::Importing);
        }
        guarded(|| {
            Ok(Admission {
                conversation_exists: self.exists(conversation)?,
                is_deleted: self.is_gone(conversation)?,
                role: self.role(conversation, user)?,
                profile: self.profile(user)?,
                revoked_before: self.revoked_before(user)?,
                header: self.header(conversation)?,
            })
        })
    }

    /// How far pages are with an import; `None` when there is none.
    pub fn importing(&self, conversation: &ConversationId) -> Option<Progress> {
        self.overlay().importing(conversation)
    }

    /// Pages are building some import.
    pub(super) fn is_importing(&self) -> bool {
        self.overlay().has_imports()
    }

    /// The user's name and address, where the directory has them.
    pub fn profile(&self, user: &UserId) -> Result<Option<Profile>, StoreError> {
        if let Some(profile) = self.overlay().profile(user) {
            return Ok(profile);
        }
        let Some(value) = self.pages().get(&Key::new(Kind::Profile).user(user))? else {
            return Ok(None);
        };
        let reader = ValueReader::new(&value)?;
        match record::decode(reader.rest()).map_err(ValueError::from)? {
            Record::Directory(DirectoryChange::ProfileSet { profile }) => Ok(Some(profile)),
            _ => Err(ValueError::Content.into()),
        }
    }

    /// When the conversation was created, if it was.
    pub fn created_at(&self, conversation: &ConversationId) -> Result<Option<Wall>, StoreError> {
        if let Some(at) = self.overlay().created_at(conversation) {
            return Ok(Some(at));
        }
        if self.overlay().tombstone(conversation).is_some() {
            return Ok(None);
        }
        let key = Key::new(Kind::Created).conversation(conversation);
        guarded(|| {
            Ok(self.pages().get(&key)?.map(|value| values::read_wall(&value)).transpose()?)
        })
    }

    /// Conversations that were created, with the time, in order of their ids, behind `after`.
    pub fn created(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<(ConversationId, Wall)>, StoreError> {
        let prefix = Key::new(Kind::Created);
        let from = after.map_or(prefix.clone(), |id| prefix.clone().conversation(id));
        guarded(|| {
            let mut found: BTreeMap<ConversationId, Wall> =
                self.overlay().created_after(after, limit).into_iter().collect();
            let mut paged = 0;
            for pair in self.pages().scan_from(&prefix, &from) {
                if paged >= limit {
                    break;
                }
                let (key, value) = pair?;
                let id = KeyReader::new(&key, Kind::Created)?.conversation()?;
                // `after` itself may be the first of the scan.
                if after != Some(&id) && self.overlay().tombstone(&id).is_none() {
                    found.insert(id, values::read_wall(&value)?);
                    paged += 1;
                }
            }
            Ok(found.into_iter().take(limit).collect())
        })
    }

    /// Members with their roles, in order of their ids, behind `after`.
    pub fn members(
        &self,
        conversation: &ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(UserId, Role)>, StoreError> {
        let changed = self.overlay().members(conversation);
        let prefix = Key::new(Kind::Member).conversation(conversation);
        let from = after.map_or(prefix.clone(), |user| prefix.clone().user(user));
        let is_gone = self.overlay().tombstone(conversation).is_some();
        guarded(|| {
            self.merged((changed, |_| is_gone), after, limit, (&prefix, &from), |key| key.user())
        })
    }

    /// Where a user belongs, in order of the conversations' ids, behind `after`.
    pub fn conversations_of(
        &self,
        user: &UserId,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<(ConversationId, Role)>, StoreError> {
        let changed = self.overlay().memberships(user);
        let prefix = Key::new(Kind::Membership).user(user);
        let from = after.map_or(prefix.clone(), |id| prefix.clone().conversation(id));
        let is_gone = |id: &ConversationId| self.overlay().tombstone(id).is_some();
        guarded(|| {
            let id_of = |key: &mut KeyReader<'_>| key.conversation();
            self.merged((changed, is_gone), after, limit, (&prefix, &from), id_of)
        })
    }

    /// Where a user has a mark, in order of the conversations' ids, behind `after`. Of a listed scope each
    /// one is looked at; else the index by user says where.
    pub fn marked_by(
        &self,
        user: &UserId,
        scope: &Scope,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        guarded(|| match scope {
            Scope::All => self.indexed(user, after, limit),
            Scope::Listed(listed) => {
                let behind = listed.iter().filter(|id| after.is_none_or(|after| *id > after));
                let mut sorted: Vec<&ConversationId> = behind.collect();
                sorted.sort();
                sorted.dedup();
                let mut found = Vec::new();
                for conversation in sorted {
                    if found.len() < limit && self.has_mark(user, conversation)? {
                        found.push(conversation.clone());
                    }
                }
                Ok(found)
            }
        })
    }

    fn indexed(
        &self,
        user: &UserId,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let mut found: BTreeSet<ConversationId> =
            self.overlay().marked(user, after, limit).into_iter().collect();
        let prefix = Key::new(Kind::Marked).user(user);
        let from = after.map_or(prefix.clone(), |id| prefix.clone().conversation(id));
        let mut paged = 0;
        for pair in self.pages().scan_from(&prefix, &from) {
            if paged >= limit {
                break;
            }
            let (key, _) = pair?;
            let conversation = KeyReader::behind(&key, &prefix)?.conversation()?;
            // The index may outlive the mark, when the conversation is deleted.
            if after != Some(&conversation) && self.has_mark(user, &conversation)? {
                found.insert(conversation);
                paged += 1;
            }
        }
        Ok(found.into_iter().take(limit).collect())
    }

    fn has_mark(&self, user: &UserId, conversation: &ConversationId) -> Result<bool, StoreError> {
        Ok(self.overlay().has_mark(user, conversation) || self.mark(conversation, user)?.is_some())
    }

    /// Roles from pages, those that are gone apart, with the overlay's changes laid over them.
    fn merged<T: Ord + Clone>(
        &self,
        (changed, is_gone): (BTreeMap<T, Option<Role>>, impl Fn(&T) -> bool),
        after: Option<&T>,
        limit: usize,
        (prefix, from): (&Key, &Key),
        id_of: fn(&mut KeyReader<'_>) -> Result<T, ValueError>,
    ) -> Result<Vec<(T, Role)>, StoreError> {
        let mut found = Vec::new();
        let mut changed =
            changed.into_iter().filter(|(id, _)| after.is_none_or(|after| id > after)).peekable();
        for pair in self.pages().scan_from(prefix, from) {
            if found.len() >= limit {
                break;
            }
            let (key, value) = pair?;
            let id = id_of(&mut KeyReader::behind(&key, prefix)?)?;
            if after == Some(&id) {
                continue;
            }
            while let Some((new, role)) = changed.next_if(|(new, _)| *new < id) {
                found.extend(role.map(|role| (new, role)));
            }
            match changed.next_if(|(new, _)| *new == id) {
                Some((_, role)) => found.extend(role.map(|role| (id, role))),
                None if is_gone(&id) => {}
                None => found.push((id, read_role(&value)?)),
            }
        }
        found.extend(changed.filter_map(|(id, role)| Some((id, role?))));
        found.truncate(limit);
        Ok(found)
    }

    fn exists(&self, conversation: &ConversationId) -> Result<bool, StoreError> {
        Ok(self.overlay().is_created(conversation)
            || (self.overlay().tombstone(conversation).is_none()
                && self
                    .pages()
                    .get(&Key::new(Kind::Created).conversation(conversation))?
                    .is_some()))
    }

    /// Deleted, and not created again.
    pub(super) fn is_gone(&self, conversation: &ConversationId) -> Result<bool, StoreError> {
        if self.overlay().tombstone(conversation).is_some() {
            return Ok(!self.overlay().is_created(conversation));
        }
        let gone = self.pages().get(&Key::new(Kind::Gone).conversation(conversation))?;
        let gone = gone.map(|value| values::read_gone(&value)).transpose()?;
        Ok(gone.is_some_and(|gone| gone.why == Why::Deleted) && !self.exists(conversation)?)
    }

    /// How far the erasing of a user is, if it was ever asked for.
    pub fn erasure(&self, user: &UserId) -> Result<Option<Erasure>, StoreError> {
        if let Some(begun_at) = self.overlay().erasure(user) {
            return Ok(Some(Erasure::Running { begun_at }));
        }
        let value = guarded(|| self.pages().get(&Key::new(Kind::Erasure).user(user)))?;
        Ok(value.map(|value| values::read_erasure(&value)).transpose()?)
    }

    /// Users whose erasing is not done, with the time when it began.
    pub fn erasures_running(&self) -> Result<BTreeMap<UserId, Wall>, StoreError> {
        let mut running = BTreeMap::new();
        guarded(|| {
            for pair in self.pages().scan(&Key::new(Kind::Erasure)) {
                let (key, value) = pair?;
                if let Erasure::Running { begun_at } = values::read_erasure(&value)? {
                    running.insert(KeyReader::new(&key, Kind::Erasure)?.user()?, begun_at);
                }
            }
            Ok(())
        })?;
        running.extend(self.overlay().erasures());
        Ok(running)
    }

    /// The message went with its conversation, or by age, whatever kept segments still have of it.
    pub(super) fn is_gone_message(
        &self,
        conversation: &ConversationId,
        message: MessageId,
    ) -> Result<bool, StoreError> {
        if message.0 <= self.gone_message(conversation) {
            return Ok(true);
        }
        let gone = self.pages().get(&Key::new(Kind::Gone).conversation(conversation))?;
        let gone = gone.map(|value| values::read_gone(&value)).transpose()?;
        Ok(gone.is_some_and(|gone| message.0 <= gone.through.last_message))
    }

    /// Messages up to this one are gone although pages may still have them; 0 for none.
    pub(super) fn gone_message(&self, conversation: &ConversationId) -> u64 {
        self.overlay().tombstone(conversation).map_or(0, |tombstone| tombstone.last_message)
    }

    fn role(
        &self,
        conversation: &ConversationId,
        user: &UserId,
    ) -> Result<Option<Role>, StoreError> {
        if let Some(role) = self.overlay().role(conversation, user) {
            return Ok(role);
        }
        if self.overlay().tombstone(conversation).is_some() {
            return Ok(None);
        }
        let key = Key::new(Kind::Member).conversation(conversation).user(user);
        self.pages().get(&key)?.map(|value| read_role(&value)).transpose()
    }

    /// Tokens issued before this are refused.
    pub fn revoked_before(&self, user: &UserId) -> Result<Option<Wall>, StoreError> {
        let held = self.overlay().revoked_before(user);
        let paged = self.pages().get(&Key::new(Kind::Revoked).user(user))?;
        let paged = paged.map(|value| values::read_wall(&value)).transpose()?;
        Ok(held.max(paged))
    }
}

fn read_role(value: &[u8]) -> Result<Role, StoreError> {
    let code = ValueReader::new(value)?.u8()?;
    role_of(code).ok_or(ValueError::Content.into())
}
