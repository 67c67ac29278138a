//! Which message ids were ever given to a message of this server: one bit each, in values of 4,096. They
//! stay when a message or its conversation goes, so that no id is ever used twice.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::build::Builder;
use super::error::{StoreError, ValueError};
use super::gather::Gathered;
use super::keys::{Key, Kind};
use super::pages::Pages;
use super::values::{ValueReader, ValueWriter};

const BLOCK_BYTES: usize = 512;
const BLOCK_IDS: u64 = 8 * BLOCK_BYTES as u64;

type Block = [u8; BLOCK_BYTES];

fn key(block: u64) -> Key {
    Key::new(Kind::GivenIds).number(block)
}

/// An id's block, and its byte and bit there.
fn place(id: u64) -> (u64, usize, u8) {
    let within = (id % BLOCK_IDS) as usize;
    (id / BLOCK_IDS, within / 8, 1 << (within % 8))
}

fn block(pages: &Pages, number: u64) -> Result<Block, StoreError> {
    let Some(value) = pages.get(&key(number))? else { return Ok([0; BLOCK_BYTES]) };
    let bytes = ValueReader::new(&value)?.bytes(BLOCK_BYTES)?;
    Ok(bytes.try_into().map_err(|_| ValueError::Short)?)
}

impl Builder<'_> {
    pub(super) fn given_ids(&mut self, gathered: &Gathered<'_>) -> Result<(), StoreError> {
        let mut blocks: BTreeMap<u64, Block> = BTreeMap::new();
        let shares = gathered.conversations.values();
        let given = shares.clone().flat_map(|share| share.given.iter().copied());
        let events = shares.flat_map(|share| &share.events).map(|entry| entry.message);
        for id in given.chain(events).filter(|&id| id != 0) {
            let (number, byte, bit) = place(id);
            let bits = match blocks.entry(number) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(block(self.pages, number)?),
            };
            bits[byte] |= bit;
        }
        for (number, bits) in blocks {
            self.put(key(number), ValueWriter::default().bytes(&bits).finish());
        }
        Ok(())
    }
}

/// Takes over what another store's pages say of a block.
pub fn add(pages: &Pages, number: u64, value: &[u8]) -> Result<(), StoreError> {
    let bytes = ValueReader::new(value)?.bytes(BLOCK_BYTES)?;
    let mut bits = block(pages, number)?;
    bits.iter_mut().zip(bytes).for_each(|(bit, other)| *bit |= other);
    pages.insert(&key(number), ValueWriter::default().bytes(&bits).finish())
}

/// The first of these ids, which rise, that pages know as given; by its place in the list.
pub fn first_given(pages: &Pages, ids: &[u64]) -> Result<Option<usize>, StoreError> {
    let mut held: Option<(u64, Block)> = None;
    for (at, &id) in ids.iter().enumerate() {
        let (number, byte, bit) = place(id);
        let bits = match held {
            Some((of, bits)) if of == number => bits,
            _ => held.insert((number, block(pages, number)?)).1,
        };
        if bits[byte] & bit != 0 {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_a_bit_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for id in [1, 7, 8, 4_095, 4_096, 4_097, 1 << 52].iter().chain(&[(1 << 52) - 1]) {
            assert!(seen.insert(place(*id)), "{id}");
        }
        assert_eq!(place(4_096 + 9), (1, 1, 2));
    }
}
