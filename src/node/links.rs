//! A core's rings to everyone else: other cores, the log, the readers, the admin side.
//!
//! A full ring never blocks. What does not fit waits here in order, bounded: past the bound batches of
//! wide conversations are replaced by one marker per conversation (its sockets there follow the log), while
//! everything else (joins, leaves, removals, answers) keeps its place.

use std::collections::VecDeque;

use super::admin::AdminCommand;
use super::mail::{Mail, Told};
#[cfg(feature = "planted")]
use super::planted::{self, Bug};
use super::ports::{FromLog, LoadAnswer, LoadRequest, ToLog};
use super::question::{AnswerTo, Question};
use super::shard::AdminReply;
use crate::limits::{MAILBOX_OVERFLOW_BYTES_MAX, MAILBOX_SLOTS};
use crate::mailbox::{Receiver, Sender};
use crate::model::ConversationId;

/// One ring to and from another core.
pub struct Peer<S, A> {
    pub to: Sender<Mail<S, A>>,
    pub from: Receiver<Mail<S, A>>,
    overflow: VecDeque<Mail<S, A>>,
    overflow_bytes: usize,
    /// Since somebody asked: mail that had to wait, and batches that were lost.
    had_to_wait: u64,
    were_shed: u64,
    /// Conversations whose batches are shed until the overflow is gone.
    shed: Vec<ConversationId>,
    /// Something lies in the ring of which the other core was not told. Without mail no bell: two
    /// cores that wake each other for nothing would never sleep.
    has_news: bool,
}

impl<S, A> Peer<S, A> {
    pub fn new(to: Sender<Mail<S, A>>, from: Receiver<Mail<S, A>>) -> Peer<S, A> {
        Peer {
            to,
            from,
            overflow: VecDeque::new(),
            overflow_bytes: 0,
            had_to_wait: 0,
            were_shed: 0,
            shed: Vec::new(),
            has_news: false,
        }
    }

    pub fn send(&mut self, mail: Mail<S, A>) {
        if self.overflow.is_empty() {
            match self.to.push(mail) {
                Ok(()) => self.has_news = true,
                Err(mail) => self.keep(mail),
            }
        } else {
            self.keep(mail);
        }
    }

    fn keep(&mut self, mail: Mail<S, A>) {
        #[cfg(feature = "planted")]
        if matches!(mail, Mail::Batch { .. }) && planted::is(Bug::SilentDrop) {
            return;
        }
        self.had_to_wait += 1;
        if let Mail::Batch { conversation, batch } = &mail {
            let bytes = batch.bytes().len();
            if self.shed.contains(conversation) {
                self.were_shed += 1;
                return;
            }
            if self.overflow_bytes + bytes > MAILBOX_OVERFLOW_BYTES_MAX {
                let conversation = conversation.clone();
                self.shed.push(conversation.clone());
                self.were_shed += 1;
                self.overflow.push_back(Mail::BatchesLost { conversation });
                return;
            }
            self.overflow_bytes += bytes;
        }
        if let Mail::Tell { told: Told::Admitted { .. } | Told::Level { .. }, .. } = &mail {
            // Whoever comes in behind a marker would miss what is shed after it, and not know.
            self.shed.clear();
        }
        self.overflow.push_back(mail);
    }

    /// Moves what waits into the ring, and wakes the other core if it sleeps.
    pub fn flush(&mut self) {
        while let Some(mail) = self.overflow.pop_front() {
            let bytes = match &mail {
                Mail::Batch { batch, .. } => batch.bytes().len(),
                _ => 0,
            };
            if let Err(mail) = self.to.push(mail) {
                self.overflow.push_front(mail);
                break;
            }
            self.has_news = true;
            self.overflow_bytes -= bytes;
        }
        if self.overflow.is_empty() {
            self.shed.clear();
        }
        if std::mem::take(&mut self.has_news) {
            self.to.ring();
        }
    }

    /// So much waits that nothing should be added which can be refused.
    pub fn is_congested(&self) -> bool {
        self.overflow.len() >= MAILBOX_SLOTS
    }

    /// How much mail had to wait since the last call, and how many batches were lost.
    pub fn take_counts(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.had_to_wait), std::mem::take(&mut self.were_shed))
    }

    /// Bytes of batches that wait for room.
    pub fn waiting_bytes(&self) -> usize {
        self.overflow_bytes
    }

    /// Items that wait for room in the ring.
    pub fn waiting(&self) -> usize {
        self.overflow.len()
    }
}

/// What the HTTP side asks of a core, and where the answer goes.
pub enum AdminOrder {
    Change(AdminCommand, AdminReply),
    Question(Box<Question>, AnswerTo),
}

impl From<(AdminCommand, AdminReply)> for AdminOrder {
    fn from((command, reply): (AdminCommand, AdminReply)) -> AdminOrder {
        AdminOrder::Change(command, reply)
    }
}

/// Everything a core is connected to.
pub struct Links<S, A> {
    /// By core; `None` at the core's own place.
    pub peers: Vec<Option<Peer<S, A>>>,
    pub to_log: Sender<ToLog>,
    pub from_log: Receiver<FromLog>,
    pub to_readers: Sender<LoadRequest>,
    pub from_readers: Receiver<LoadAnswer>,
    pub admin: Receiver<AdminOrder>,
}

impl<S, A> Links<S, A> {
    pub fn peer(&mut self, core: u16) -> &mut Peer<S, A> {
        match self.peers.get_mut(usize::from(core)) {
            Some(Some(peer)) => peer,
            _ => unreachable!("mail goes to other cores of this process"),
        }
    }

    /// Moves as much as there is room for, in order, and wakes the receiver.
    pub fn send_all<T>(to: &mut Sender<T>, waiting: &mut VecDeque<T>) {
        if waiting.is_empty() {
            return;
        }
        while let Some(item) = waiting.pop_front() {
            if let Err(item) = to.push(item) {
                waiting.push_front(item);
                break;
            }
        }
        to.ring();
    }

    /// Nothing has arrived: the core may sleep.
    pub fn is_empty(&self) -> bool {
        self.from_log.is_empty()
            && self.from_readers.is_empty()
            && self.admin.is_empty()
            && self.peers.iter().flatten().all(|peer| peer.from.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::{Doorbell, ring};
    use crate::node::batch::{Audience, Batch, Keep};
    use std::sync::Arc;

    fn batch_mail(bytes: usize) -> Mail<(), ()> {
        let mut batch = Batch::default();
        batch.push(Audience::All, Keep::Always, |out| out.resize(bytes, b'x'));
        let conversation = ConversationId::from_number(1).unwrap();
        Mail::Batch { conversation, batch: Arc::new(batch) }
    }

    #[test]
    #[cfg_attr(miri, ignore = "megabytes, one by one")]
    fn past_the_bound_batches_become_one_marker_and_leaves_are_kept() {
        let bell = Arc::new(Doorbell::new(|| {}));
        let (to, mut other) = ring(1, bell.clone());
        let (_, from) = ring(1, bell);
        let mut peer: Peer<(), ()> = Peer::new(to, from);
        let half = MAILBOX_OVERFLOW_BYTES_MAX / 2;
        for _ in 0..6 {
            peer.send(batch_mail(half));
        }
        peer.send(Mail::Revoked {
            user: crate::model::UserId::from_number(1).unwrap(),
            issued_before: crate::model::Wall(1),
        });
        let mut kinds = Vec::new();
        while let Some(mail) = other.pop() {
            kinds.push(match mail {
                Mail::Batch { .. } => "batch",
                Mail::BatchesLost { .. } => "marker",
                _ => "other",
            });
            peer.flush();
        }
        assert_eq!(kinds, ["batch", "batch", "batch", "marker", "other"]);
        assert_eq!((peer.waiting(), peer.waiting_bytes()), (0, 0));
        // All but the first one had to wait; three of them were lost.
        assert_eq!((peer.take_counts(), peer.take_counts()), ((6, 3), (0, 0)));
    }
}
