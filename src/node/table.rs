//! Entries under small numbers that are used again, like `slab`'s, but in pieces: growing moves nothing. A core
//! that gets its millionth socket does not stop to copy the others, and no doubled tables are left in the heap.

use std::ops::{Index, IndexMut};

/// Entries of a piece.
const PIECE: usize = 64;

#[derive(Debug)]
enum Place<T> {
    Used(T),
    /// The next free place, or one that is not there yet.
    Free(usize),
}

/// A number stays with its entry until [`Table::remove`]; the number that was freed last is given first.
#[derive(Debug)]
pub struct Table<T> {
    /// All full but the last, which has room for the rest of its piece.
    pieces: Vec<Vec<Place<T>>>,
    next: usize,
    used: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { pieces: Vec::new(), next: 0, used: 0 }
    }
}

impl<T> Table<T> {
    pub fn len(&self) -> usize {
        self.used
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The number of the next entry.
    pub fn vacant_key(&self) -> usize {
        self.next
    }

    pub fn insert(&mut self, entry: T) -> usize {
        let at = self.next;
        match self.place_mut(at) {
            Some(place) => {
                if let Place::Free(next) = std::mem::replace(place, Place::Used(entry)) {
                    self.next = next;
                }
            }
            None => {
                if at.is_multiple_of(PIECE) {
                    self.pieces.push(Vec::with_capacity(PIECE));
                }
                self.pieces[at / PIECE].push(Place::Used(entry));
                self.next = at + 1;
            }
        }
        self.used += 1;
        at
    }

    /// # Panics
    /// If there is no such entry.
    pub fn remove(&mut self, at: usize) -> T {
        let next = self.next;
        match self.place_mut(at).map(|place| std::mem::replace(place, Place::Free(next))) {
            Some(Place::Used(entry)) => {
                self.next = at;
                self.used -= 1;
                entry
            }
            _ => absent(at),
        }
    }

    pub fn contains(&self, at: usize) -> bool {
        self.get(at).is_some()
    }

    pub fn get(&self, at: usize) -> Option<&T> {
        match self.pieces.get(at / PIECE)?.get(at % PIECE)? {
            Place::Used(entry) => Some(entry),
            Place::Free(_) => None,
        }
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        match self.place_mut(at)? {
            Place::Used(entry) => Some(entry),
            Place::Free(_) => None,
        }
    }

    /// Entries with their numbers, in order of these.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.pieces.iter().flatten().enumerate().filter_map(|(at, place)| match place {
            Place::Used(entry) => Some((at, entry)),
            Place::Free(_) => None,
        })
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.pieces.iter_mut().flatten().enumerate().filter_map(|(at, place)| match place {
            Place::Used(entry) => Some((at, entry)),
            Place::Free(_) => None,
        })
    }

    fn place_mut(&mut self, at: usize) -> Option<&mut Place<T>> {
        self.pieces.get_mut(at / PIECE)?.get_mut(at % PIECE)
    }
}

impl<T> Index<usize> for Table<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        self.get(at).unwrap_or_else(|| absent(at))
    }
}

impl<T> IndexMut<usize> for Table<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        self.get_mut(at).unwrap_or_else(|| absent(at))
    }
}

#[cold]
fn absent(at: usize) -> ! {
    panic!("a table has no entry {at}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The same calls to a slab give the same answers.
        #[test]
        fn it_is_a_slab(calls in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..600)) {
            let (mut table, mut slab) = (Table::default(), slab::Slab::new());
            for (number, (adds, which)) in calls.into_iter().enumerate() {
                let held: Vec<usize> = slab.iter().map(|(at, _)| at).collect();
                if adds || held.is_empty() {
                    prop_assert_eq!(table.vacant_key(), slab.vacant_key());
                    prop_assert_eq!(table.insert(number), slab.insert(number));
                } else {
                    let at = held[which.index(held.len())];
                    prop_assert_eq!(table.remove(at), slab.remove(at));
                }
                prop_assert_eq!(table.len(), slab.len());
            }
            let all: Vec<(usize, usize)> = slab.iter().map(|(at, &entry)| (at, entry)).collect();
            prop_assert_eq!(table.iter().map(|(at, &entry)| (at, entry)).collect::<Vec<_>>(), all.clone());
            prop_assert_eq!(table.iter_mut().map(|(at, entry)| (at, *entry)).collect::<Vec<_>>(), all);
            for at in 0..700 {
                prop_assert_eq!(table.get(at), slab.get(at));
                prop_assert_eq!(table.get_mut(at), slab.get_mut(at));
                prop_assert_eq!(table.contains(at), slab.contains(at));
            }
        }
    }

    #[test]
    fn growing_moves_nothing() {
        let mut table = Table::default();
        table.insert(0);
        let first: *const u64 = &table[0];
        (1..10_000).for_each(|number| {
            table.insert(number);
        });
        assert_eq!(&table[0] as *const u64, first);
        assert_eq!(table.pieces.iter().map(Vec::capacity).max(), Some(PIECE));
    }

    #[test]
    #[should_panic = "no entry 64"]
    fn what_is_not_there_panics() {
        let mut table = Table::default();
        (0..64).for_each(|number| {
            table.insert(number);
        });
        let _ = table[64];
    }
}
