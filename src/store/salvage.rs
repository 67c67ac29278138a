//! Reads pages of which a part is damaged: what can be read comes out in order, and each place where
//! something could not be read is told. It changes nothing.
//!
//! sled gives an error (or panics) at a node that is damaged. Behind it the reading goes on: the next good
//! node is looked for in growing steps of the key taken as a number, and then back to its first key. Between
//! two damaged nodes that are near to each other good ones may be passed over.

use sled::IVec;

use super::pages::{Pages, Pair, guarded};

type Pairs<'a> = Box<dyn DoubleEndedIterator<Item = Result<Pair, super::error::StoreError>> + 'a>;

/// One pair after the other; [`Salvage::holes`] counts the places that could not be read.
pub struct Salvage<'a> {
    pages: &'a Pages,
    end: Vec<u8>,
    /// The last key that was read, or where the reading began.
    last: Vec<u8>,
    pairs: Option<Pairs<'a>>,
    holes: u64,
}

impl<'a> Salvage<'a> {
    /// All pairs whose keys begin with `prefix`.
    pub fn of(pages: &'a Pages, prefix: &[u8]) -> Salvage<'a> {
        let end = behind(prefix);
        let pairs: Pairs<'a> = Box::new(pages.between(prefix, &end));
        Salvage { pages, end, last: prefix.to_vec(), pairs: Some(pairs), holes: 0 }
    }

    /// Places at which something could not be read so far.
    pub fn holes(&self) -> u64 {
        self.holes
    }

    /// Behind a damaged node: where the next good one begins.
    fn resume(&mut self) {
        self.holes += 1;
        let found = steps(&self.last).find_map(|from| self.first_from(&from));
        self.pairs = found.map(|found| {
            let from = self.back_from(&found);
            Box::new(self.pages.between(&from, &self.end)) as Pairs<'a>
        });
    }

    fn first_from(&self, from: &[u8]) -> Option<IVec> {
        if from >= &self.end[..] {
            return None;
        }
        let first = guarded(|| self.pages.between(from, &self.end).next().transpose());
        first.ok().flatten().map(|(key, _)| key)
    }

    /// The lowest key that can be read from this one down, above the one that was read last.
    fn back_from(&self, key: &IVec) -> Vec<u8> {
        let mut lowest = key.to_vec();
        let mut behind_last = self.last.clone();
        behind_last.push(0);
        let mut pairs = self.pages.between(&behind_last, key).rev();
        while let Ok(Some((key, _))) = guarded(|| pairs.next().transpose()) {
            lowest = key.to_vec();
        }
        lowest
    }
}

impl Iterator for Salvage<'_> {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        loop {
            let pairs = self.pairs.as_mut()?;
            match guarded(|| pairs.next().transpose()) {
                Ok(Some((key, value))) => {
                    self.last.clear();
                    self.last.extend_from_slice(&key);
                    return Some((key, value));
                }
                Ok(None) => self.pairs = None,
                Err(_) => self.resume(),
            }
        }
    }
}

/// The first key behind all that begin with `prefix`; prefixes begin with a kind, which is a letter.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return end;
        }
        end.pop();
    }
    vec![u8::MAX; 8]
}

/// The key and 1, 2, 4, 8 … more, as a number of many bytes.
fn steps(key: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..8 * key.len()).filter_map(|bit| {
        let mut at = key.len() - 1 - bit / 8;
        let mut stepped = key.to_vec();
        let mut carry = u16::from(1u8 << (bit % 8));
        loop {
            let sum = u16::from(stepped[at]) + carry;
            stepped[at] = sum as u8;
            carry = sum >> 8;
            if carry == 0 {
                return Some(stepped);
            }
            at = at.checked_sub(1)?;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_and_carry() {
        let all: Vec<Vec<u8>> = steps(&[7, 255]).collect();
        assert_eq!(all[0], [8, 0]);
        assert_eq!(all[7], [8, 127]);
        assert_eq!(all[8], [8, 255]);
        assert_eq!(all.len(), 16);
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(behind(b"P"), b"Q");
        assert_eq!(behind(&[80, 255]), [81]);
    }
}
