//! The events of a conversation that are durable and not in pages yet: where a replay goes on when it
//! has read the pages, and where it meets what is live.
//!
//! Invariants: the events are dense and end with the last one that was shown; what is not here and not
//! above them is in pages.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashSet;

use crate::model::{Event, EventBody, MessageId, Seq};

#[derive(Debug, Default)]
pub struct Recent {
    events: VecDeque<Arc<Event>>,
    /// Messages whose deletion is among them: their text is not told any more.
    deleted: HashSet<MessageId>,
}

impl Recent {
    /// An event became durable.
    pub fn push(&mut self, event: Arc<Event>) {
        debug_assert!(self.events.back().is_none_or(|last| last.seq.next() == event.seq));
        if let EventBody::Delete { message, .. } = &event.body {
            self.deleted.insert(*message);
        }
        self.events.push_back(event);
    }

    /// Pages have everything up to this one.
    pub fn sealed(&mut self, through: Seq) {
        while let Some(event) = self.events.pop_front_if(|event| event.seq <= through) {
            if let EventBody::Delete { message, .. } = &event.body {
                self.deleted.remove(message);
            }
        }
        if self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to(self.events.len() * 2);
        }
    }

    /// The first event that pages may not have.
    pub fn first(&self) -> Option<Seq> {
        self.events.front().map(|event| event.seq)
    }

    /// The events behind `after`, oldest first; `None` when some of them are only in pages.
    pub fn behind(&self, after: Seq) -> Option<impl Iterator<Item = &Arc<Event>>> {
        let first = self.first()?;
        let skip = (after.0 + 1).checked_sub(first.0)?;
        Some(self.events.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.events.iter()
    }

    /// Whether the message was deleted by one of these events.
    pub fn is_deleted(&self, message: MessageId) -> bool {
        self.deleted.contains(&message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{UserId, Wall};

    fn deletion(seq: u64) -> Arc<Event> {
        let by = UserId::from_number(1).unwrap();
        let body = EventBody::Delete { message: MessageId(seq * 10), by };
        Arc::new(Event { seq: Seq(seq), at: Wall(0), body })
    }

    #[test]
    fn what_is_asked_for_is_here_or_in_pages() {
        let mut recent = Recent::default();
        assert!(recent.behind(Seq(0)).is_none());
        (5..9).for_each(|seq| recent.push(deletion(seq)));
        let seqs = |recent: &Recent, after| {
            recent.behind(Seq(after)).map(|it| it.map(|event| event.seq.0).collect::<Vec<_>>())
        };
        assert_eq!(seqs(&recent, 3), None);
        assert_eq!(seqs(&recent, 4), Some(vec![5, 6, 7, 8]));
        assert_eq!(seqs(&recent, 7), Some(vec![8]));
        assert_eq!(seqs(&recent, 8), Some(vec![]));
        assert!(recent.is_deleted(MessageId(60)));
        recent.sealed(Seq(6));
        assert_eq!(seqs(&recent, 5), None);
        assert_eq!(seqs(&recent, 6), Some(vec![7, 8]));
        assert!(!recent.is_deleted(MessageId(60)) && recent.is_deleted(MessageId(70)));
        recent.sealed(Seq(8));
        assert!(recent.first().is_none() && recent.deleted.is_empty());
    }
}
