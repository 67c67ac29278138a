//! Directory changes, and where users have marks: what is durable but not yet in pages, for all who read.
//!
//! The log thread puts a change in before its shard hears that it is durable; the page thread takes it
//! out after sled holds it. Readers look here first and in sled second, so no change is ever unseen.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{ConversationId, DirectoryChange, Profile, Role, Tombstone, UserId, Wall};

/// A change, and the segment whose pages will hold it.
#[derive(Debug, Clone)]
struct Held<T> {
    segment: u64,
    value: T,
}

#[derive(Debug, Default)]
struct Changes {
    created: BTreeMap<ConversationId, Held<Wall>>,
    /// Hides what pages still have of a conversation.
    deleted: HashMap<ConversationId, Held<Tombstone>>,
    /// `None`: removed.
    members: BTreeMap<(ConversationId, UserId), Held<Option<Role>>>,
    memberships: BTreeMap<(UserId, ConversationId), Held<Option<Role>>>,
    /// `None`: erased.
    profiles: HashMap<UserId, Held<Option<Profile>>>,
    erasures: BTreeMap<UserId, Held<Wall>>,
    revoked: HashMap<UserId, Held<Wall>>,
    /// With the segment whose pages will hold it.
    marks: BTreeMap<(UserId, ConversationId), u64>,
    /// Imports that are durable while pages do not have all of them: how many events pages have.
    importing: BTreeMap<ConversationId, Progress>,
}

/// How far pages are with an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    pub events: u64,
    pub built: u64,
}

#[derive(Debug, Default)]
pub struct Overlay {
    changes: Mutex<Changes>,
}

impl Overlay {
    pub fn put(&self, segment: u64, changes: Vec<DirectoryChange>) {
        let mut held = self.lock();
        for change in changes {
            held.put(segment, change);
        }
    }

    pub fn put_marks(&self, segment: u64, marks: Vec<(UserId, ConversationId)>) {
        let mut held = self.lock();
        held.marks.extend(marks.into_iter().map(|mark| (mark, segment)));
    }

    /// Pages of all segments up to this one hold what they brought.
    pub fn forget_through(&self, segment: u64) {
        let mut held = self.lock();
        held.created.retain(|_, change| change.segment > segment);
        held.deleted.retain(|_, change| change.segment > segment);
        held.members.retain(|_, change| change.segment > segment);
        held.memberships.retain(|_, change| change.segment > segment);
        held.profiles.retain(|_, change| change.segment > segment);
        held.erasures.retain(|_, change| change.segment > segment);
        held.revoked.retain(|_, change| change.segment > segment);
        held.marks.retain(|_, at| *at > segment);
    }

    /// The conversation is being brought in; until pages have all of it nobody may look at it.
    pub fn importing(&self, conversation: &ConversationId) -> Option<Progress> {
        self.lock().importing.get(conversation).copied()
    }

    pub fn has_imports(&self) -> bool {
        !self.lock().importing.is_empty()
    }

    pub fn import_built(&self, conversation: &ConversationId, built: u64) {
        if let Some(progress) = self.lock().importing.get_mut(conversation) {
            progress.built = built;
        }
    }

    pub fn import_done(&self, conversation: &ConversationId) {
        self.lock().importing.remove(conversation);
    }

    pub fn is_created(&self, conversation: &ConversationId) -> bool {
        self.lock().created.contains_key(conversation)
    }

    pub fn created_at(&self, conversation: &ConversationId) -> Option<Wall> {
        self.lock().created.get(conversation).map(|change| change.value)
    }

    pub fn tombstone(&self, conversation: &ConversationId) -> Option<Tombstone> {
        self.lock().deleted.get(conversation).map(|change| change.value)
    }

    pub fn created_after(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Vec<(ConversationId, Wall)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let held = self.lock();
        let behind = held.created.range((from, Bound::Unbounded)).take(limit);
        behind.map(|(id, change)| (id.clone(), change.value)).collect()
    }

    /// `None`: nothing is known here; `Some(None)`: removed.
    pub fn role(&self, conversation: &ConversationId, user: &UserId) -> Option<Option<Role>> {
        let key = (conversation.clone(), user.clone());
        self.lock().members.get(&key).map(|change| change.value)
    }

    /// Changes of a conversation's members, in order of their ids.
    pub fn members(&self, conversation: &ConversationId) -> BTreeMap<UserId, Option<Role>> {
        let Some(first) = UserId::from_number(0).ok() else { return BTreeMap::new() };
        let held = self.lock();
        let from = held.members.range((conversation.clone(), first)..);
        let of_it = from.take_while(|((id, _), _)| id == conversation);
        of_it.map(|((_, user), change)| (user.clone(), change.value)).collect()
    }

    /// Changes of where a user belongs, in order of the conversations' ids.
    pub fn memberships(&self, user: &UserId) -> BTreeMap<ConversationId, Option<Role>> {
        let Some(first) = ConversationId::from_number(0).ok() else { return BTreeMap::new() };
        let held = self.lock();
        let from = held.memberships.range((user.clone(), first)..);
        let of_it = from.take_while(|((id, _), _)| id == user);
        of_it.map(|((_, id), change)| (id.clone(), change.value)).collect()
    }

    /// Conversations in which the user has a mark, in order of their ids, behind `after`.
    pub fn marked(
        &self,
        user: &UserId,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Vec<ConversationId> {
        let Some(first) = ConversationId::from_number(0).ok() else { return Vec::new() };
        let from = match after {
            Some(after) => Bound::Excluded((user.clone(), after.clone())),
            None => Bound::Included((user.clone(), first)),
        };
        let held = self.lock();
        let behind = held.marks.range((from, Bound::Unbounded));
        let of_it = behind.take_while(|((of, _), _)| of == user).take(limit);
        of_it.map(|((_, conversation), _)| conversation.clone()).collect()
    }

    pub fn has_mark(&self, user: &UserId, conversation: &ConversationId) -> bool {
        self.lock().marks.contains_key(&(user.clone(), conversation.clone()))
    }

    /// `None`: nothing is known here; `Some(None)`: erased.
    pub fn profile(&self, user: &UserId) -> Option<Option<Profile>> {
        self.lock().profiles.get(user).map(|change| change.value.clone())
    }

    pub fn erasure(&self, user: &UserId) -> Option<Wall> {
        self.lock().erasures.get(user).map(|change| change.value)
    }

    /// Erasures that began, with the time.
    pub fn erasures(&self) -> BTreeMap<UserId, Wall> {
        let held = self.lock();
        held.erasures.iter().map(|(user, change)| (user.clone(), change.value)).collect()
    }

    pub fn revoked_before(&self, user: &UserId) -> Option<Wall> {
        self.lock().revoked.get(user).map(|change| change.value)
    }

    /// A thread that panicked here left whole entries behind: every change is one insertion.
    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    fn put(&mut self, segment: u64, change: DirectoryChange) {
        match change {
            // Only the page thread needs it, and has it from the segment.
            DirectoryChange::RetentionSet { .. } => {}
            DirectoryChange::ConversationDeleted { conversation, tombstone } => {
                self.created.remove(&conversation);
                self.members.retain(|(of, _), _| *of != conversation);
                self.memberships.retain(|(_, of), _| *of != conversation);
                self.marks.retain(|(_, of), _| *of != conversation);
                self.deleted.insert(conversation, Held { segment, value: tombstone });
            }
            DirectoryChange::ConversationCreated { conversation, at } => {
                self.created.insert(conversation, Held { segment, value: at });
            }
            DirectoryChange::MemberSet { conversation, user, role } => {
                self.put_role(segment, conversation, user, Some(role));
            }
            DirectoryChange::MemberRemoved { conversation, user } => {
                self.put_role(segment, conversation, user, None);
            }
            DirectoryChange::ProfileSet { profile } => {
                self.profiles.insert(profile.id.clone(), Held { segment, value: Some(profile) });
            }
            DirectoryChange::ErasureBegun { user, at } => {
                self.profiles.insert(user.clone(), Held { segment, value: None });
                self.erasures.insert(user.clone(), Held { segment, value: at });
                self.revoke(segment, user, at);
            }
            DirectoryChange::Revoked { user, issued_before } => {
                self.revoke(segment, user, issued_before);
            }
            DirectoryChange::ConversationImported(import) => {
                let progress = Progress { events: import.events, built: 0 };
                self.importing.insert(import.conversation, progress);
            }
        }
    }

    fn revoke(&mut self, segment: u64, user: UserId, issued_before: Wall) {
        let known = self.revoked.get(&user).map(|known| known.value);
        let value = known.map_or(issued_before, |known| known.max(issued_before));
        self.revoked.insert(user, Held { segment, value });
    }

    fn put_role(
        &mut self,
        segment: u64,
        conversation: ConversationId,
        user: UserId,
        role: Option<Role>,
    ) {
        let held = Held { segment, value: role };
        self.members.insert((conversation.clone(), user.clone()), held.clone());
        self.memberships.insert((user, conversation), held);
    }
}
