//! What a v2 session asks for itself: to go on with a newer token.

use std::sync::Arc;

use super::{Load, Shard};
use crate::chat;
use crate::model::{Identity, Now, SessionId};
use crate::node::mail::Told;
use crate::node::ports::{LoadQuery, LoadResult};

/// A newer token on its way to be admitted like the first one.
pub(super) struct Refresh {
    room: usize,
    session: SessionId,
    identity: Arc<Identity>,
    reference: Option<String>,
    /// The room's `directory_stamp` when the store was asked.
    stamp: u64,
}

impl Shard {
    /// A newer token of the socket's user, verified: it is looked at as if the socket came in now.
    pub fn refresh(
        &mut self,
        room: usize,
        session: SessionId,
        identity: Arc<Identity>,
        reference: Option<String>,
    ) {
        self.ask_for_refresh(Refresh { room, session, identity, reference, stamp: 0 });
    }

    /// The same for a socket on another core.
    pub fn remote_refresh(
        &mut self,
        session: SessionId,
        identity: Arc<Identity>,
        reference: Option<String>,
    ) {
        if let Some(&room) = self.remotes.get(&session) {
            self.refresh(room, session, identity, reference);
        }
    }

    fn ask_for_refresh(&mut self, mut refresh: Refresh) {
        let room = refresh.room;
        refresh.stamp = self.rooms[room].directory_stamp;
        let query = LoadQuery::Admission(refresh.identity.user.clone());
        self.load(room, query, Load::Refresh(Box::new(refresh)));
    }

    pub(super) fn refresh_known(&mut self, refresh: Refresh, answer: LoadResult, now: Now) {
        let room = refresh.room;
        self.rooms[room].under_way -= 1;
        self.idle.push(room);
        let session = refresh.session;
        let LoadResult::Admission(admission) = answer else {
            let (outcome, reference) = (Err(super::STORAGE_UNAVAILABLE), refresh.reference);
            self.tell(session, Told::Refreshed { outcome, reference });
            return;
        };
        if refresh.stamp != self.rooms[room].directory_stamp {
            return self.ask_for_refresh(refresh);
        }
        let Refresh { identity, reference, .. } = refresh;
        let conversation = &self.rooms[room].id;
        match chat::access::admit(self.settings.access, &identity, &admission, conversation) {
            Err(reason) => self.tell(session, Told::Close(reason)),
            Ok((role, profile)) => {
                self.with_chat(room, now, |chat, _, _| chat.renew(session, role, profile));
                self.tell(session, Told::Refreshed { outcome: Ok(identity), reference });
            }
        }
    }
}
