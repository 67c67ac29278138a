//! Values by message id, in order. Ids rise, so almost every value is put at the end and taken from the
//! front: a sorted ring touches one cache line where a tree touches one per level.
//!
//! A value that belongs in the middle moves those on its shorter side. Only old messages that somebody
//! asked for come so, and few of them are kept.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::model::MessageId;

const GROWTH_MIN: usize = 8;

#[derive(Debug)]
pub(super) struct Timeline<V> {
    entries: VecDeque<(MessageId, V)>,
}

impl<V> Default for Timeline<V> {
    fn default() -> Timeline<V> {
        Timeline { entries: VecDeque::new() }
    }
}

impl<V> Timeline<V> {
    /// Where the message is, or would be.
    fn find(&self, message: MessageId) -> Result<usize, usize> {
        match self.entries.back() {
            Some((last, _)) if *last < message => Err(self.entries.len()),
            _ => self.entries.binary_search_by_key(&message, |(id, _)| *id),
        }
    }

    pub fn get(&self, message: MessageId) -> Option<&V> {
        self.find(message).ok().map(|at| &self.entries[at].1)
    }

    pub fn get_mut(&mut self, message: MessageId) -> Option<&mut V> {
        self.find(message).ok().map(|at| &mut self.entries[at].1)
    }

    pub fn contains(&self, message: MessageId) -> bool {
        self.find(message).is_ok()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// By its place among all.
    pub fn at(&self, place: usize) -> Option<&(MessageId, V)> {
        self.entries.get(place)
    }

    pub fn at_mut(&mut self, place: usize) -> Option<&mut (MessageId, V)> {
        self.entries.get_mut(place)
    }

    /// Grows by a quarter and not to the double: most of what a busy server holds lies in rings like this.
    pub fn insert(&mut self, message: MessageId, value: V) {
        match self.find(message) {
            Ok(at) => self.entries[at].1 = value,
            Err(at) => {
                if self.entries.len() == self.entries.capacity() {
                    self.entries.reserve_exact((self.entries.len() / 4).max(GROWTH_MIN));
                }
                self.entries.insert(at, (message, value));
            }
        }
    }

    pub fn remove(&mut self, message: MessageId) -> Option<V> {
        let at = self.find(message).ok()?;
        let (_, value) = self.entries.remove(at)?;
        if self.entries.len() < self.entries.capacity() / 2 {
            self.entries.shrink_to(self.entries.len() * 5 / 4);
        }
        Some(value)
    }

    /// Ids in this range, in order.
    pub fn ids(
        &self,
        range: RangeInclusive<MessageId>,
    ) -> impl DoubleEndedIterator<Item = MessageId> {
        let start = self.find(*range.start()).unwrap_or_else(|at| at);
        let end = self.find(*range.end()).map_or_else(|at| at, |at| at + 1);
        self.entries.range(start.min(end)..end).map(|(message, _)| *message)
    }

    /// From the newest on.
    pub fn newest(&self) -> impl Iterator<Item = (MessageId, &V)> {
        self.entries.iter().rev().map(|(message, value)| (*message, value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_tree_holds(
            steps in prop::collection::vec((0u64..40, any::<bool>()), 0..200),
            from in 0u64..40,
            to in 0u64..40,
        ) {
            let (mut timeline, mut tree) = (Timeline::default(), BTreeMap::new());
            for (step, (id, is_put)) in steps.into_iter().enumerate() {
                let message = MessageId(id);
                if is_put {
                    timeline.insert(message, step);
                    tree.insert(message, step);
                } else {
                    prop_assert_eq!(timeline.remove(message), tree.remove(&message));
                }
                prop_assert_eq!(timeline.get(message), tree.get(&message));
            }
            let all: Vec<_> = timeline.newest().map(|(message, value)| (message, *value)).collect();
            let expected: Vec<_> = tree.iter().rev().map(|(&message, &value)| (message, value)).collect();
            prop_assert_eq!(all, expected);
            let ids: Vec<_> = timeline.ids(MessageId(from)..=MessageId(to)).collect();
            let expected: Vec<_> =
                tree.keys().copied().filter(|id| (from..=to).contains(&id.0)).collect();
            prop_assert_eq!(ids, expected);
        }
    }
}
