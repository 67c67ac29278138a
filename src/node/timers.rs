//! Deadlines of a core: a heap with lazy deletion.
//!
//! An owner keeps the time of its earliest entry in an [`Alarm`] and adds another entry only when its
//! deadline moves forward. A deadline that moves back costs nothing: the old entry fires, the owner
//! finds that nothing is due, and sets itself again. An entry that an earlier one has overtaken is
//! stale and goes unheard: answered, each would leave a copy of itself, for ever.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::Mono;

/// When the owner's earliest entry fires.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alarm(Option<Mono>);

impl Alarm {
    /// An entry of the owner fired; `false` when it is stale and another one will.
    #[must_use]
    pub fn fired(&mut self, at: Mono) -> bool {
        let is_earliest = self.0 == Some(at);
        if is_earliest {
            self.0 = None;
        }
        is_earliest
    }
}

#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<(Mono, K)>>,
}

impl<K: Ord> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers { heap: BinaryHeap::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Makes sure that an entry fires no later than `deadline`.
    pub fn set(&mut self, key: K, alarm: &mut Alarm, deadline: Mono) {
        if alarm.0.is_none_or(|earliest| deadline < earliest) {
            alarm.0 = Some(deadline);
            self.heap.push(Reverse((deadline, key)));
        }
    }

    /// The next entry that is due, and for when it was set.
    pub fn pop_due(&mut self, now: Mono) -> Option<(K, Mono)> {
        let Reverse((deadline, _)) = self.heap.peek()?;
        if *deadline > now {
            return None;
        }
        self.heap.pop().map(|Reverse((deadline, key))| (key, deadline))
    }

    pub fn next(&self) -> Option<Mono> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_deadline_adds_an_entry() {
        let mut timers = Timers::default();
        let mut alarm = Alarm::default();
        timers.set('a', &mut alarm, Mono(50));
        timers.set('a', &mut alarm, Mono(80));
        timers.set('a', &mut alarm, Mono(20));
        assert_eq!(timers.heap.len(), 2);
        assert_eq!(timers.next(), Some(Mono(20)));
        assert_eq!(timers.pop_due(Mono(19)), None);
        assert_eq!(timers.pop_due(Mono(20)), Some(('a', Mono(20))));
        assert_eq!(timers.pop_due(Mono(60)), Some(('a', Mono(50))));
        assert_eq!(timers.pop_due(Mono(60)), None);
    }

    #[test]
    fn entries_that_were_overtaken_leave_nothing_behind() {
        let mut timers = Timers::default();
        let mut alarm = Alarm::default();
        for round in 1..100 {
            timers.set('a', &mut alarm, Mono(round * 100));
            timers.set('a', &mut alarm, Mono(round * 100 - 50));
            while let Some((key, at)) = timers.pop_due(Mono(round * 100)) {
                if alarm.fired(at) {
                    timers.set(key, &mut alarm, Mono(round * 100 + 100));
                }
            }
            assert_eq!(timers.heap.len(), 1);
        }
    }
}
