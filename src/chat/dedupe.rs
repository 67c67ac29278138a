//! `client_msg_id` makes sending idempotent (PROTOCOL, "v2"): unique per conversation and user, kept for
//! seven days.
//!
//! The first sends that are not sealed are in memory, as their events. Whether an id that is not there
//! may be in the store says a [`Filter`]; only then it is asked.
//!
//! The filter of a conversation that comes from the store is made when the first id is sent in it, step
//! by step. Until it is whole any key may be in the store, and keys that leave memory go into it.
//!
//! ```text
//! Unknown ──first id sent──► Building ──last step──► Bloom
//!    ▲                          │
//!    └─────could not be read────┘
//! ```
//! Invariant: a key is in memory, or in the filter, or the filter is not a whole one.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::limits::CLIENT_MSG_ID_KEPT_MS;
use crate::model::{
    Event, EventBody, FirstSend, FirstSendPlace, FirstSends, IdRef, MessageBody, Seq, UserId, Wall,
};

const DAY_MS: u64 = 24 * 3600 * 1000;
/// Bits of a key in a Bloom filter, and how many of them it sets: 1 % of strange keys are taken for known.
const BITS_PER_KEY: usize = 10;
const PROBES: u64 = 7;
/// The first layer of a day, and all of a day's layers.
const LAYER_BYTES_MIN: usize = 1 << 10;
const DAY_BYTES_MAX: usize = 2 << 20;

/// Which keys may be in the store.
#[derive(Debug, Clone, Default)]
pub(super) enum Filter {
    /// Any.
    #[default]
    Unknown,
    /// Any, until the store's keys are all in it.
    Building(Bloom),
    Bloom(Bloom),
}

impl Filter {
    /// Of a conversation that has nothing in the store.
    pub fn empty() -> Filter {
        Filter::Bloom(Bloom::default())
    }

    pub fn insert(&mut self, user: &UserId, client_msg_id: &str, at: Wall) {
        if let Filter::Bloom(bloom) | Filter::Building(bloom) = self {
            bloom.insert(user, client_msg_id, at);
        }
    }

    pub fn may_contain(&self, user: &UserId, client_msg_id: &str) -> bool {
        match self {
            Filter::Unknown | Filter::Building(_) => true,
            Filter::Bloom(bloom) => bloom.may_contain(user, client_msg_id),
        }
    }
}

/// A Bloom filter per day, each growing in layers of twice the size, up to 2 MiB a day. A day with more
/// keys than that is full: everything may be in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Bloom {
    days: VecDeque<Day>,
}

#[derive(Debug, Clone)]
struct Day {
    number: u64,
    layers: Vec<Layer>,
    is_full: bool,
}

#[derive(Debug, Clone)]
struct Layer {
    bits: Box<[u64]>,
    /// How many more keys it takes.
    room: usize,
}

impl Bloom {
    /// Adds a key that was first used at `at`, and forgets days that are too old to matter then.
    pub fn insert(&mut self, user: &UserId, client_msg_id: &str, at: Wall) {
        let number = at.0 / DAY_MS;
        let oldest = number.saturating_sub(CLIENT_MSG_ID_KEPT_MS / DAY_MS + 1);
        while self.days.front().is_some_and(|day| day.number < oldest) {
            self.days.pop_front();
        }
        if self.days.back().is_none_or(|day| day.number < number) {
            self.days.push_back(Day { number, layers: Vec::new(), is_full: false });
        }
        if let Some(day) = self.days.back_mut() {
            day.insert(key_hash(user, client_msg_id));
        }
    }

    pub fn may_contain(&self, user: &UserId, client_msg_id: &str) -> bool {
        if self.days.is_empty() {
            return false;
        }
        let hash = key_hash(user, client_msg_id);
        self.days.iter().any(|day| {
            day.is_full || day.layers.iter().any(|layer| layer.probes(hash).all(|at| layer.has(at)))
        })
    }

    /// What it takes in memory.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.days.iter().map(Day::bytes).sum()
    }
}

impl Day {
    fn insert(&mut self, hash: u64) {
        if self.is_full {
            return;
        }
        if self.layers.last().is_none_or(|layer| layer.room == 0) {
            let bytes = self.layers.last().map_or(LAYER_BYTES_MIN, |last| last.bytes() * 2);
            if self.bytes() + bytes > DAY_BYTES_MAX {
                self.is_full = true;
                self.layers = Vec::new();
                return;
            }
            self.layers.push(Layer::new(bytes));
        }
        if let Some(layer) = self.layers.last_mut() {
            layer.insert(hash);
        }
    }

    fn bytes(&self) -> usize {
        self.layers.iter().map(Layer::bytes).sum()
    }
}

impl Layer {
    fn new(bytes: usize) -> Layer {
        Layer { bits: vec![0; bytes / 8].into(), room: bytes * 8 / BITS_PER_KEY }
    }

    fn insert(&mut self, hash: u64) {
        self.room = self.room.saturating_sub(1);
        for probe in 0..PROBES {
            let at = self.bit(hash, probe);
            self.bits[at / 64] |= 1 << (at % 64);
        }
    }

    fn probes(&self, hash: u64) -> impl Iterator<Item = usize> {
        (0..PROBES).map(move |probe| self.bit(hash, probe))
    }

    fn bit(&self, hash: u64, probe: u64) -> usize {
        let step = (hash >> 32) | 1;
        let at = hash.wrapping_add(probe.wrapping_mul(step));
        (at % (self.bits.len() as u64 * 64)) as usize
    }

    fn has(&self, at: usize) -> bool {
        self.bits[at / 64] & (1 << (at % 64)) != 0
    }

    fn bytes(&self) -> usize {
        self.bits.len() * 8
    }
}

/// The same in every life of the server: a filter may come from the store.
fn key_hash(user: &UserId, client_msg_id: &str) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    match user.as_ref() {
        IdRef::Number(number) => hash.add(&number.to_le_bytes()),
        IdRef::Text(text) => hash.add(text.as_bytes()),
    }
    hash.add(&[0]);
    hash.add(client_msg_id.as_bytes());
    hash.mixed()
}

/// FNV-1a, mixed at the end: the low and the high half are used apart.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn mixed(self) -> u64 {
        let hash = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 29)
    }
}

/// What a repeat is to its first send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    Same(FirstSend),
    /// Another message under the same id.
    Conflict,
}

/// A first send, with the hash of its key: a table that grows must not visit every event.
type Entry = (u64, Arc<Event>);

#[derive(Debug, Default)]
pub(super) struct Dedupe {
    sent: HashTable<Entry>,
    hasher: DefaultHashBuilder,
    /// The same in order of seq.
    order: VecDeque<Entry>,
    filter: Filter,
}

impl Dedupe {
    pub fn new(filter: Filter) -> Dedupe {
        Dedupe { filter, ..Dedupe::default() }
    }

    /// Whether a filter is to be made now: said once.
    pub fn begin_filter(&mut self) -> bool {
        let begins = matches!(self.filter, Filter::Unknown);
        if begins {
            self.filter = Filter::Building(Bloom::default());
        }
        begins
    }

    /// A step through the store's keys came; says where the next one begins, if there is one.
    pub fn go_on_with_filter(&mut self, step: FirstSends) -> Option<FirstSendPlace> {
        if !matches!(self.filter, Filter::Building(_)) {
            return None;
        }
        for FirstSendPlace { day, user, client_msg_id } in &step.places {
            self.filter.insert(user, client_msg_id, Wall(u64::from(*day) * DAY_MS));
        }
        if !step.is_last && !step.places.is_empty() {
            return step.places.into_iter().next_back();
        }
        if let Filter::Building(bloom) = std::mem::take(&mut self.filter) {
            self.filter = Filter::Bloom(bloom);
        }
        None
    }

    /// The store's keys could not be read: the next id begins anew.
    pub fn give_up_filter(&mut self) {
        if matches!(self.filter, Filter::Building(_)) {
            self.filter = Filter::Unknown;
        }
    }

    /// The first send under this id, as far as it is in memory.
    pub fn find(&self, user: &UserId, client_msg_id: &str, content: &str) -> Option<Repeat> {
        let event = self.event(user, client_msg_id)?;
        let body = body_of(event)?;
        if body.content != content {
            return Some(Repeat::Conflict);
        }
        Some(Repeat::Same(FirstSend {
            message: body.id,
            seq: event.seq,
            created_at: event.at,
            content_hash: FirstSend::hash_content(content),
        }))
    }

    pub fn is_in_memory(&self, user: &UserId, client_msg_id: &str) -> bool {
        self.event(user, client_msg_id).is_some()
    }

    fn event(&self, user: &UserId, client_msg_id: &str) -> Option<&Event> {
        if self.sent.is_empty() {
            return None;
        }
        let key = (user, client_msg_id);
        let hash = self.hasher.hash_one(key);
        let is_it = |entry: &Entry| entry.0 == hash && key_of(&entry.1) == Some(key);
        self.sent.find(hash, is_it).map(|(_, event)| &**event)
    }

    pub fn may_be_stored(&self, user: &UserId, client_msg_id: &str) -> bool {
        self.filter.may_contain(user, client_msg_id)
    }

    /// A decided message: nothing to do for one without an id.
    pub fn remember(&mut self, event: &Arc<Event>) {
        let Some(key) = key_of(event) else { return };
        let hash = self.hasher.hash_one(key);
        self.sent.insert_unique(hash, (hash, event.clone()), |(hash, _)| *hash);
        self.order.push_back((hash, event.clone()));
    }

    pub fn has_backlog(&self, sealed: Seq) -> bool {
        self.order.front().is_some_and(|(_, event)| event.seq <= sealed)
    }

    pub fn are_sealed(&self, sealed: Seq) -> bool {
        self.order.back().is_none_or(|(_, event)| event.seq <= sealed)
    }

    /// What is sealed leaves memory for the filter. Goes on until `budget` is used up.
    pub fn sweep(&mut self, sealed: Seq, budget: &mut usize) {
        while *budget > 0 && self.has_backlog(sealed) {
            *budget -= 1;
            let Some((hash, event)) = self.order.pop_front() else { return };
            let is_it = |entry: &Entry| Arc::ptr_eq(&entry.1, &event);
            if let Ok(entry) = self.sent.find_entry(hash, is_it) {
                entry.remove();
            }
            if let Some((user, client_msg_id)) = key_of(&event) {
                self.filter.insert(user, client_msg_id, event.at);
            }
        }
    }
}

fn body_of(event: &Event) -> Option<&MessageBody> {
    match &event.body {
        EventBody::Message(body) => Some(body),
        _ => None,
    }
}

fn key_of(event: &Event) -> Option<(&UserId, &str)> {
    let body = body_of(event)?;
    Some((&body.sender.id, body.client_msg_id.as_deref()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u64) -> UserId {
        UserId::from_number(id).unwrap()
    }

    fn filled(keys: u64) -> Bloom {
        let mut bloom = Bloom::default();
        for key in 0..keys {
            bloom.insert(&user(key % 7), &key.to_string(), Wall(0));
        }
        bloom
    }

    #[test]
    #[cfg_attr(miri, ignore = "millions of keys, nothing unsafe")]
    fn a_filter_knows_every_key_and_few_others() {
        let bloom = filled(50_000);
        assert!((0..50_000).all(|key| bloom.may_contain(&user(key % 7), &key.to_string())));
        let wrong = (0..20_000)
            .filter(|key| bloom.may_contain(&user(key % 7), &format!("other-{key}")))
            .count();
        // 1 % a layer, and seven layers for so many keys.
        assert!(wrong < 20_000 * 8 / 100, "{wrong}");
        assert!(bloom.bytes() <= 2 * 50_000 * BITS_PER_KEY / 8, "{}", bloom.bytes());
    }

    #[test]
    fn the_same_id_of_another_user_is_another_key() {
        let mut bloom = Bloom::default();
        bloom.insert(&user(1), "c", Wall(0));
        assert!(bloom.may_contain(&user(1), "c"));
        assert!(!bloom.may_contain(&user(2), "c"));
        assert!(!bloom.may_contain(&user(1), "d"));
    }

    #[test]
    fn days_that_are_too_old_leave_it() {
        let mut bloom = Bloom::default();
        bloom.insert(&user(1), "first", Wall(0));
        bloom.insert(&user(1), "later", Wall(8 * DAY_MS));
        assert!(bloom.may_contain(&user(1), "first"));
        bloom.insert(&user(1), "much later", Wall(9 * DAY_MS));
        assert!(!bloom.may_contain(&user(1), "first"));
        assert!(bloom.may_contain(&user(1), "later"));
    }

    #[test]
    #[cfg_attr(miri, ignore = "millions of keys, nothing unsafe")]
    fn a_day_with_too_many_keys_may_have_any() {
        let mut bloom = filled(1_800_000);
        assert!(bloom.bytes() <= DAY_BYTES_MAX);
        assert!(bloom.may_contain(&user(99), "never seen"));
        // The next day begins anew; the full one counts as long as it matters.
        bloom.insert(&user(1), "x", Wall(20 * DAY_MS));
        assert!(!bloom.may_contain(&user(99), "never seen"));
    }

    #[test]
    fn without_a_filter_anything_may_be_stored() {
        assert!(Filter::Unknown.may_contain(&user(1), "c"));
        assert!(!Filter::empty().may_contain(&user(1), "c"));
    }
}
