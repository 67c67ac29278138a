//! Deleting a conversation. From the moment of the decision on its sockets are closed, nobody enters and
//! nothing is decided in it; the tombstone is the last record of what it was.
//!
//! Invariant: every event, mark and change of members that was decided before stands before the tombstone
//! in the log, and none that belongs to what was deleted behind it. A crash before the tombstone is durable
//! leaves the conversation as it was; nobody was told otherwise.

use super::recent::Recent;
use super::{Load, Shard};
use crate::chat::Conversation;
use crate::model::{
    Admission, CloseReason, ConversationId, DirectoryChange, Header, Now, Seq, Tombstone,
};
use crate::node::admin::AdminAnswer;

impl Shard {
    /// The store has said what it knows of the conversation; memory may know more. Without a directory
    /// entry there is still something to delete where `access` lets people in without one.
    pub(super) fn delete(
        &mut self,
        room: usize,
        conversation: ConversationId,
        admission: &Admission,
        now: Now,
    ) {
        let held = &self.rooms[room];
        let header = held.chat.as_ref().map_or(admission.header, Conversation::header);
        let is_known =
            admission.conversation_exists || header.last_seq > Seq(0) || held.chat.is_some();
        if admission.is_deleted || !is_known {
            self.answer_admin(AdminAnswer::NotFound, now);
            return;
        }
        if self.is_accepting {
            self.empty(room, now);
        }
        let Header { last_seq, last_message, last_at, .. } = header;
        let tombstone = Tombstone { at: now.wall.max(last_at), last_seq, last_message };
        self.change(
            Some(room),
            DirectoryChange::ConversationDeleted { conversation, tombstone },
            now,
        );
    }

    /// Closes the sockets and forgets what was decided, what waits to be logged, and what the store was
    /// asked: an answer from before must not reach what is created again.
    fn empty(&mut self, room: usize, now: Now) {
        self.with_chat(room, now, |chat, _, out| {
            chat.close_all(CloseReason::Forbidden, now, out);
        });
        let before = self.loads.len();
        self.loads.retain(|_, load| !matches!(load, Load::State { room: of, .. } if *of == room));
        let forgotten = before - self.loads.len();
        let held = &mut self.rooms[room];
        held.under_way -= forgotten as u32;
        held.chat = None;
        held.recent = Recent::default();
        held.marks.clear();
        held.followers.clear();
        held.missed.clear();
        held.is_deleting = true;
        // Whoever is on the way in asks again, and is refused.
        held.directory_stamp += 1;
    }
}
