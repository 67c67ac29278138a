//! Deadlines of a core: a heap with lazy deletion.
//!
//! An owner knows its entries by an [`Alarm`] and adds another one only when its deadline moves
//! forward. A deadline that moves back costs nothing: the old entry fires, the owner finds that nothing
//! is due, and sets itself again. Entries that still wait are not added a second time: an owner whose
//! deadline goes back and forth would have more of them each time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use smallvec::SmallVec;

use crate::model::Mono;

/// When the owner's entries fire: each is earlier than the one before it.
#[derive(Debug, Clone, Default)]
pub struct Alarm(SmallVec<[Mono; 2]>);

impl Alarm {
    /// The entry of this time fired; `false` when it is not the owner's: what had its place before
    /// may have left one.
    pub fn fired(&mut self, at: Mono) -> bool {
        let is_own = self.0.last() == Some(&at);
        if is_own {
            self.0.pop();
        }
        is_own
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
        if alarm.0.last().is_none_or(|earliest| deadline < *earliest) {
            alarm.0.push(deadline);
            self.heap.push(Reverse((deadline, key)));
        }
    }

    /// The next entry that is due, and its time for [`Alarm::fired`].
    pub fn pop_due(&mut self, now: Mono) -> Option<(Mono, K)> {
        let Reverse((deadline, _)) = self.heap.peek()?;
        if *deadline > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub fn next(&self) -> Option<Mono> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "thousands of turns, nothing unsafe")]
    fn a_deadline_that_goes_back_and_forth_leaves_one_entry() {
        let mut timers = Timers::default();
        let mut alarm = Alarm::default();
        timers.set('a', &mut alarm, Mono(25_000));
        for pause in (0..20_000).step_by(2) {
            timers.set('a', &mut alarm, Mono(pause));
            assert_eq!(timers.pop_due(Mono(pause)), Some((Mono(pause), 'a')));
            assert!(alarm.fired(Mono(pause)));
            timers.set('a', &mut alarm, Mono(25_000 + pause));
        }
        assert_eq!(timers.heap.len(), 1);
        assert_eq!(timers.pop_due(Mono(25_000)), Some((Mono(25_000), 'a')));
        assert!(alarm.fired(Mono(25_000)));
        timers.set('a', &mut alarm, Mono(45_000));
        assert_eq!(timers.next(), Some(Mono(45_000)));
    }

    #[test]
    fn an_entry_of_the_last_tenant_does_not_count() {
        let mut timers = Timers::default();
        timers.set('a', &mut Alarm::default(), Mono(10));
        let mut alarm = Alarm::default();
        timers.set('a', &mut alarm, Mono(20));
        let fired: Vec<bool> = std::iter::from_fn(|| timers.pop_due(Mono(20)))
            .map(|(at, _)| alarm.fired(at))
            .collect();
        assert_eq!(fired, [false, true]);
    }

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
        assert_eq!(timers.pop_due(Mono(20)), Some((Mono(20), 'a')));
        assert_eq!(timers.pop_due(Mono(60)), Some((Mono(50), 'a')));
        assert_eq!(timers.pop_due(Mono(60)), None);
    }
}
