//! `client_msg_id`: the same id of the same user is one message, for seven days.
//!
//! In memory are the ids of this process that are not in the store yet, and a few that were read. What
//! is in neither may be in the store, unless the conversation was new and nothing has left memory.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::limits::CLIENT_MSG_ID_KEPT_MS;
use crate::model::{FirstSend, UserId, Wall};

/// Sends that were read from the store, or that the store has as well, and are still in memory.
const CLEAN_MAX: usize = 1_024;

type Key = (UserId, String);

#[derive(Debug)]
struct Held {
    first: FirstSend,
    /// `None`: not durable yet. Segment 0: read from the store.
    segment: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Sends {
    held: HashMap<Key, Held>,
    /// Oldest first; may name keys that have left already.
    clean: VecDeque<Key>,
    undurable: VecDeque<(u64, Key)>,
}

impl Sends {
    pub fn find(&self, user: &UserId, id: &str, now: Wall) -> Option<&FirstSend> {
        let held = self.held.get(&(user.clone(), id.to_owned()))?;
        (now.0 < held.first.created_at.0 + CLIENT_MSG_ID_KEPT_MS).then_some(&held.first)
    }

    /// Decided just now, as `seq`.
    pub fn decided(&mut self, user: &UserId, id: &str, first: FirstSend) {
        let key = (user.clone(), id.to_owned());
        self.undurable.push_back((first.seq.0, key.clone()));
        self.held.insert(key, Held { first, segment: None });
    }

    pub fn read(&mut self, user: &UserId, id: &str, first: FirstSend) {
        let key = (user.clone(), id.to_owned());
        self.clean.push_back(key.clone());
        self.held.insert(key, Held { first, segment: Some(0) });
        self.shrink();
    }

    pub fn durable(&mut self, through: u64, segment: u64) {
        while let Some((_, key)) = self.undurable.pop_front_if(|(seq, _)| *seq <= through) {
            if let Some(held) = self.held.get_mut(&key) {
                held.segment = Some(segment);
                self.clean.push_back(key);
            }
        }
    }

    /// Whether something left memory.
    pub fn sealed(&mut self, sealed: u64) -> bool {
        let before = self.held.len();
        let clean = std::mem::take(&mut self.clean);
        for key in clean {
            if self.held.get(&key).and_then(|held| held.segment).is_some_and(|at| at <= sealed) {
                self.held.remove(&key);
            } else {
                self.clean.push_back(key);
            }
        }
        self.held.len() < before
    }

    fn shrink(&mut self) {
        while self.clean.len() > CLEAN_MAX {
            let Some(key) = self.clean.pop_front() else { return };
            match self.held.get(&key).and_then(|held| held.segment) {
                Some(0) => {
                    self.held.remove(&key);
                }
                // Not in the store yet: leaves with its segment.
                Some(_) => {
                    self.clean.push_back(key);
                    return;
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MessageId, Seq};

    fn first(seq: u64) -> FirstSend {
        FirstSend {
            message: MessageId(seq + 100),
            seq: Seq(seq),
            created_at: Wall(1_000),
            content_hash: 7,
        }
    }

    #[test]
    fn an_id_stays_until_its_segment_is_sealed() {
        let user = UserId::from_number(1).unwrap();
        let mut sends = Sends::default();
        sends.decided(&user, "a", first(1));
        sends.decided(&user, "b", first(2));
        assert!(!sends.sealed(9));
        sends.durable(1, 4);
        assert!(!sends.sealed(3));
        assert_eq!(sends.find(&user, "a", Wall(2_000)), Some(&first(1)));
        assert!(sends.sealed(4));
        assert_eq!(sends.find(&user, "a", Wall(2_000)), None);
        assert_eq!(sends.find(&user, "b", Wall(2_000)), Some(&first(2)));
        assert_eq!(sends.find(&user, "b", Wall(1_000 + CLIENT_MSG_ID_KEPT_MS)), None);
    }

    #[test]
    fn what_was_read_is_bounded() {
        let user = UserId::from_number(1).unwrap();
        let mut sends = Sends::default();
        for number in 0..3 * CLEAN_MAX {
            sends.read(&user, &format!("c{number}"), first(1));
        }
        assert_eq!(sends.held.len(), CLEAN_MAX);
    }
}
