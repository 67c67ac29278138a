//! Changes of the directory: one at a time per shard, checked against the store, logged, applied to
//! live sockets once durable, and only then answered.

use super::reveal::Reveal;
use super::room::Room;
use super::{AdminReply, Load, News, Shard};
use crate::model::{ConversationId, DirectoryChange, Import, Now, UserId};
use crate::node::admin::{AdminAnswer, AdminCommand};
use crate::node::ports::{LoadQuery, LoadResult, Record};

/// Admin commands that wait for their turn; one more is answered `Unavailable`.
pub(super) const ADMIN_QUEUE_MAX: usize = 1024;

impl Shard {
    pub fn admin(&mut self, command: AdminCommand, reply: AdminReply, now: Now) {
        if let AdminCommand::RenewLease { floor } = command {
            self.renew_lease(floor, reply, now);
            return;
        }
        let Some((command, reply)) = self.operate(command, reply) else { return };
        if self.admin_queue.len() >= ADMIN_QUEUE_MAX || !self.is_accepting {
            reply(AdminAnswer::Unavailable);
            return;
        }
        self.admin_queue.push_back((command, reply));
        if self.admin_queue.len() == 1 {
            self.next_admin(now);
        }
    }

    /// Starts on the first command of the queue; it stays there until it is answered.
    fn next_admin(&mut self, now: Now) {
        if !self.is_accepting {
            self.admin_queue.drain(..).for_each(|(_, reply)| reply(AdminAnswer::Unavailable));
            return;
        }
        let Some((command, _)) = self.admin_queue.front() else { return };
        match command {
            AdminCommand::SetProfile { profile } => {
                let change = DirectoryChange::ProfileSet { profile: profile.clone() };
                self.change(None, change, now);
            }
            AdminCommand::Revoke { user, issued_before } => {
                let change = DirectoryChange::Revoked {
                    user: user.clone(),
                    issued_before: issued_before.unwrap_or(now.wall),
                };
                self.change(None, change, now);
            }
            AdminCommand::CreateConversation { conversation }
            | AdminCommand::DeleteConversation { conversation }
            | AdminCommand::SetRetention { conversation, .. } => {
                // Any user will do: only whether the conversation exists matters.
                let Ok(anyone) = UserId::from_number(0) else { unreachable!("0 is a user id") };
                self.ask_directory(conversation.clone(), anyone);
            }
            // These do not queue.
            AdminCommand::Post { .. }
            | AdminCommand::DeleteMessage { .. }
            | AdminCommand::RemoveReaction { .. } => {}
            AdminCommand::ReadAnew { .. } => {
                self.news.push_back(News::ReadAnew);
                self.answer_admin(AdminAnswer::Done, now);
            }
            AdminCommand::EraseUser { user } => {
                let (user, at) = (user.clone(), now.wall);
                self.change(None, DirectoryChange::ErasureBegun { user, at }, now);
            }
            AdminCommand::Import(Import { conversation, .. }) => {
                let Ok(anyone) = UserId::from_number(0) else { unreachable!("0 is a user id") };
                self.ask_directory(conversation.clone(), anyone);
            }
            AdminCommand::RenewLease { .. } => self.answer_admin(AdminAnswer::Done, now),
            AdminCommand::SetMember { conversation, user, .. }
            | AdminCommand::RemoveMember { conversation, user }
            | AdminCommand::Kick { conversation, user } => {
                self.ask_directory(conversation.clone(), user.clone());
            }
        }
    }

    fn ask_directory(&mut self, conversation: ConversationId, user: UserId) {
        let room = self.room_of(&conversation);
        self.load(room, LoadQuery::Admission(user), Load::Directory { room });
    }

    /// The store knows the conversation and the member, or not.
    pub(super) fn directory_known(&mut self, room: usize, answer: LoadResult, now: Now) {
        let held: &mut Room = &mut self.rooms[room];
        held.under_way -= 1;
        self.may_be_idle(room);
        let Some((command, _)) = self.admin_queue.front() else { return };
        let LoadResult::Admission(admission) = answer else {
            self.answer_admin(AdminAnswer::Unavailable, now);
            return;
        };
        let exists = admission.conversation_exists;
        match command.clone() {
            AdminCommand::CreateConversation { .. } if exists => {
                self.answer_admin(AdminAnswer::Exists, now);
            }
            AdminCommand::CreateConversation { conversation } => {
                let change = DirectoryChange::ConversationCreated { conversation, at: now.wall };
                self.change(Some(room), change, now);
            }
            AdminCommand::DeleteConversation { conversation } => {
                self.delete(room, conversation, &admission, now);
            }
            AdminCommand::SetRetention { conversation, days } if exists => {
                let change = DirectoryChange::RetentionSet { conversation, days };
                self.change(Some(room), change, now);
            }
            AdminCommand::Import(import) => {
                self.import_conversation(room, &admission, import, now);
            }
            AdminCommand::SetMember { conversation, user, role } if exists => {
                let change = DirectoryChange::MemberSet { conversation, user, role };
                self.change(Some(room), change, now);
            }
            AdminCommand::RemoveMember { conversation, user } if admission.role.is_some() => {
                let change = DirectoryChange::MemberRemoved { conversation, user };
                self.change(Some(room), change, now);
            }
            AdminCommand::Kick { user, .. } => {
                let known = exists || self.rooms[room].chat.is_some();
                self.with_chat(room, now, |chat, _, out| chat.kick(&user, now, out));
                let answer = if known { AdminAnswer::Done } else { AdminAnswer::NotFound };
                self.answer_admin(answer, now);
            }
            _ => self.answer_admin(AdminAnswer::NotFound, now),
        }
    }

    /// The store may have stopped taking records while the command waited.
    pub(super) fn change(&mut self, room: Option<usize>, change: DirectoryChange, now: Now) {
        if !self.is_accepting {
            self.answer_admin(AdminAnswer::Unavailable, now);
            return;
        }
        let record = Record::Directory(change.clone());
        self.log(room, record, Reveal::Directory { room, change });
    }

    /// A change is on disk: readers see it from now on, live sockets feel it.
    pub(super) fn directory_changed(
        &mut self,
        room: Option<usize>,
        change: DirectoryChange,
        now: Now,
    ) {
        if let Some(room) = room {
            self.rooms[room].directory_stamp += 1;
            self.rooms[room].is_deleting = false;
            self.rooms[room].is_importing = false;
        }
        match (change, room) {
            (DirectoryChange::MemberSet { user, role, .. }, Some(room)) => {
                self.member_changed(room, &user, Some(role), now);
            }
            (DirectoryChange::MemberRemoved { user, .. }, Some(room)) => {
                self.member_changed(room, &user, None, now);
            }
            (
                DirectoryChange::Revoked { user, issued_before }
                | DirectoryChange::ErasureBegun { user, at: issued_before },
                _,
            ) => {
                self.news.push_back(News::Revoked { user, issued_before });
            }
            _ => {}
        }
        self.answer_admin(AdminAnswer::Done, now);
    }

    /// Only where the directory decides who is in: elsewhere the token's role counts.
    fn member_changed(
        &mut self,
        room: usize,
        user: &UserId,
        role: Option<crate::model::Role>,
        now: Now,
    ) {
        if self.settings.access == crate::model::Access::Members {
            self.with_chat(room, now, |chat, _, out| chat.set_member(user, role, now, out));
        }
    }

    pub(super) fn answer_admin(&mut self, answer: AdminAnswer, now: Now) {
        if let Some((_, reply)) = self.admin_queue.pop_front() {
            reply(answer);
        }
        self.next_admin(now);
    }
}
