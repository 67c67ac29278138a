//! Which core owns what: a keyed hash, the same for every core of a process, another in each process,
//! so that nobody outside can choose names that all fall on one core.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

use crate::model::{ConversationId, UserId};

#[derive(Debug, Clone, Copy)]
pub struct Placement {
    pub seed: u64,
    pub cores: u16,
}

impl Placement {
    pub fn of_conversation(self, conversation: &ConversationId) -> u16 {
        self.core(conversation)
    }

    /// Who logs what concerns a user everywhere: profile and revocation.
    pub fn of_user(self, user: &UserId) -> u16 {
        self.core(user)
    }

    fn core(self, name: &impl Hash) -> u16 {
        (FixedState::with_seed(self.seed).hash_one(name) % u64::from(self.cores.max(1))) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "thousands of turns, nothing unsafe")]
    fn conversations_spread_and_a_number_is_one_name_however_it_was_written() {
        let placement = Placement { seed: 7, cores: 4 };
        let mut counts = [0; 4];
        for number in 0..4_000 {
            let id = ConversationId::from_number(number).unwrap();
            let written = ConversationId::parse(&number.to_string()).unwrap();
            assert_eq!(placement.of_conversation(&id), placement.of_conversation(&written));
            counts[usize::from(placement.of_conversation(&id))] += 1;
        }
        assert!(counts.iter().all(|&count| (800..1_200).contains(&count)), "{counts:?}");
    }
}
