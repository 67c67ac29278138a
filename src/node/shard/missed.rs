//! What followers of a room are owed beside events: the newest receipt and presence of each user since
//! the first of them fell behind. Kept only while there are followers.

use std::collections::BTreeMap;

use crate::limits::MISSED_SIGNALS_MAX;
use crate::model::{Signal, UserId, Version};
use crate::node::batch::{Audience, Viewer};

/// A place in the order of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp(u64);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Read(UserId),
    Status(UserId),
    Count,
}

#[derive(Debug, Default)]
pub struct Missed {
    next: Stamp,
    newest: BTreeMap<About, (Stamp, Audience, Signal)>,
}

/// There is no room for more.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMuch;

impl Missed {
    pub fn now(&self) -> Stamp {
        self.next
    }

    /// A signal that went out while somebody followed.
    pub fn note(&mut self, audience: &Audience, signal: &Signal) -> Result<(), TooMuch> {
        let about = match signal {
            Signal::Typing { .. } => return Ok(()),
            Signal::Read { user, .. } => About::Read(user.clone()),
            Signal::Status { user, .. } => About::Status(user.clone()),
            Signal::PresenceCount { .. } => About::Count,
        };
        if self.newest.len() >= MISSED_SIGNALS_MAX && !self.newest.contains_key(&about) {
            return Err(TooMuch);
        }
        self.newest.insert(about, (self.next, audience.clone(), signal.clone()));
        self.next.0 += 1;
        Ok(())
    }

    /// What one socket is owed, in the order in which it went out.
    pub fn since(&self, from: Stamp, user: &UserId, version: Version) -> Vec<Signal> {
        // Who came in later hears it once more: presence is net state.
        let viewer = Viewer { user, version, entrance: 0 };
        let mut owed: Vec<_> = self
            .newest
            .values()
            .filter(|(at, audience, _)| *at >= from && audience.includes(viewer))
            .collect();
        owed.sort_by_key(|(at, ..)| *at);
        owed.into_iter().map(|(_, _, signal)| signal.clone()).collect()
    }

    pub fn clear(&mut self) {
        self.newest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MessageId, Wall};

    fn user(number: u64) -> UserId {
        UserId::from_number(number).unwrap()
    }

    fn read(number: u64, message: u64) -> Signal {
        Signal::Read { message: MessageId(message), user: user(number), at: Wall(0) }
    }

    fn status(number: u64, online: bool) -> Signal {
        Signal::Status { user: user(number), online, at: Wall(0) }
    }

    #[test]
    fn only_the_newest_of_each_is_owed() {
        let mut missed = Missed::default();
        missed.note(&Audience::All, &read(1, 5)).unwrap();
        let from = missed.now();
        missed.note(&Audience::All, &read(2, 6)).unwrap();
        missed.note(&Audience::AllBut(user(3)), &status(3, true)).unwrap();
        missed.note(&Audience::All, &status(3, false)).unwrap();
        missed.note(&Audience::All, &read(2, 7)).unwrap();
        let typing =
            Signal::Typing { user: user(4), user_name: "D".into(), is_typing: true, at: Wall(0) };
        missed.note(&Audience::All, &typing).unwrap();
        let owed = |from| missed.since(from, &user(9), Version::V1);
        assert_eq!(owed(from), [status(3, false), read(2, 7)]);
        assert_eq!(owed(Stamp::default()), [read(1, 5), status(3, false), read(2, 7)]);
    }

    #[test]
    fn nobody_is_owed_what_was_not_for_them() {
        let mut missed = Missed::default();
        missed.note(&Audience::AllBut(user(3)), &status(3, true)).unwrap();
        let count = Signal::PresenceCount { count: 300 };
        missed.note(&Audience::V2, &count).unwrap();
        let owed = |number, version| missed.since(Stamp::default(), &user(number), version);
        assert_eq!(owed(3, Version::V1), []);
        assert_eq!(owed(4, Version::V2), [status(3, true), count.clone()]);
        assert_eq!(owed(3, Version::V2), [count]);
    }

    #[test]
    fn it_is_bounded() {
        let mut missed = Missed::default();
        for number in 0..MISSED_SIGNALS_MAX as u64 {
            missed.note(&Audience::All, &read(number, 1)).unwrap();
        }
        assert_eq!(missed.note(&Audience::All, &read(1, 2)), Ok(()));
        assert_eq!(missed.note(&Audience::All, &status(1, true)), Err(TooMuch));
    }
}
