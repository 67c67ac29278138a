//! An import as the owner of its conversation sees it: the name must be free, one record brings all of
//! the past in, and nobody is let in before pages have it. And the ids: a shard gives up those that
//! an import may bring.
//!
//! Invariant: from the moment when the record is numbered until it is durable the room takes nobody in;
//! from then on the store answers for the conversation only when its pages are whole.

use super::reveal::Reveal;
use super::{AdminReply, Shard};
use crate::model::{Admission, DirectoryChange, Import, Now};
use crate::node::admin::AdminAnswer;
use crate::node::ports::ToLog;

impl Shard {
    /// Whether the name is free: nobody is in there, and the store has never heard of it. The name of a
    /// deleted conversation is not: its seqs were given.
    fn may_be_imported(&self, room: usize, admission: &Admission) -> bool {
        let is_known = admission.conversation_exists
            || admission.is_deleted
            || admission.header.last_seq.0 > 0;
        !is_known && self.rooms[room].chat.is_none()
    }

    pub(super) fn import_conversation(
        &mut self,
        room: usize,
        admission: &Admission,
        import: Import,
        now: Now,
    ) {
        if !self.may_be_imported(room, admission) {
            self.answer_admin(AdminAnswer::Exists, now);
            return;
        }
        self.rooms[room].is_importing = self.is_accepting();
        self.change(Some(room), DirectoryChange::ConversationImported(import), now);
    }

    /// Ids below `floor` are given up as soon as others are there; sending goes on meanwhile.
    pub(super) fn renew_lease(&mut self, floor: u64, reply: AdminReply, now: Now) {
        if self.lease.renew(floor) {
            self.to_log.push_back(ToLog::Lease);
        }
        self.renewals.push(reply);
        self.lease_changed(now);
    }

    /// Answers those who wait for ids to be given up: when all that bears one of them is durable.
    pub(super) fn lease_changed(&mut self, now: Now) {
        if self.lease.is_renewed() {
            for reply in std::mem::take(&mut self.renewals) {
                self.reveal_later(Reveal::Renewed { reply }, now);
            }
        }
    }
}
