//! How far users have read.
//!
//! A mark only rises. Two things raise it: a receipt, which is told to everyone, and sending a message,
//! which is not. So there are two marks of a user in memory: the *stored* one, raised by both (unread
//! messages are those after it), and the *shown* one, raised by receipts alone. A receipt at or below the
//! shown mark says nothing new; that is the receipt storm of the guide's page, and costs one comparison.
//! After a reload both begin at the stored one.
//!
//! In a crowd at most one receipt a user and second goes out, the newest.

use crate::limits::CROWD_RECEIPT_EVERY_MS;
use crate::model::{Mark, MessageId, Mono};

#[derive(Debug, Default)]
pub struct Marks {
    is_known: bool,
    stored: Option<Mark>,
    shown: Option<MessageId>,
    /// The stored mark was handed out and is not durable yet.
    is_undurable: bool,
    segment: u64,
    /// In a crowd: when a receipt was told last, and whether one waits.
    told_at: Option<Mono>,
    is_waiting: bool,
}

impl Marks {
    /// Whether the store was asked, or has nothing.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// What the store has; a send may have raised the mark meanwhile.
    pub fn read(&mut self, mark: Option<Mark>) {
        self.is_known = true;
        self.shown = self.shown.max(mark.as_ref().map(|mark| mark.message));
        if self.stored.as_ref().map(|mark| mark.message) < mark.as_ref().map(|mark| mark.message) {
            self.stored = mark;
        }
    }

    pub fn shown(&self) -> Option<MessageId> {
        self.shown
    }

    pub fn has_read(&self, message: MessageId) -> bool {
        self.stored.as_ref().is_some_and(|mark| mark.message >= message)
    }

    /// A receipt, or a message sent: the mark to store, if it rose.
    pub fn raise(&mut self, mark: Mark) -> Option<Mark> {
        if self.stored.as_ref().is_some_and(|stored| stored.message >= mark.message) {
            return None;
        }
        self.is_undurable = true;
        self.stored = Some(mark.clone());
        Some(mark)
    }

    /// A receipt above the shown mark.
    pub fn show(&mut self, message: MessageId) {
        self.shown = Some(message);
    }

    pub fn durable(&mut self, message: MessageId, segment: u64) {
        self.segment = segment;
        if self.stored.as_ref().is_some_and(|stored| stored.message == message) {
            self.is_undurable = false;
        }
    }

    pub fn may_leave_memory(&self, sealed: u64) -> bool {
        !self.is_undurable && self.segment <= sealed
    }

    /// In a crowd: whether a receipt may be told now; if not it waits for its time.
    pub fn may_tell(&mut self, now: Mono) -> bool {
        let is_due = self.told_at.is_none_or(|at| now >= at.after(CROWD_RECEIPT_EVERY_MS));
        self.is_waiting = !is_due;
        if is_due {
            self.told_at = Some(now);
        }
        is_due
    }

    pub fn told(&mut self) {
        self.is_waiting = false;
    }

    /// When the receipt that waits is to be told.
    pub fn next_timeout(&self) -> Option<Mono> {
        self.is_waiting.then(|| self.told_at.map(|at| at.after(CROWD_RECEIPT_EVERY_MS)))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{UserId, Wall};

    fn mark(message: u64) -> Mark {
        Mark {
            user: UserId::from_number(1).unwrap(),
            message: MessageId(message),
            ordinal: message,
            at: Wall(0),
        }
    }

    #[test]
    fn the_stored_mark_rises_and_never_falls() {
        let mut marks = Marks::default();
        marks.read(Some(mark(5)));
        assert_eq!(marks.raise(mark(5)), None);
        assert_eq!(marks.raise(mark(7)), Some(mark(7)));
        assert_eq!(marks.raise(mark(6)), None);
        assert!(marks.has_read(MessageId(7)) && !marks.has_read(MessageId(8)));
    }

    #[test]
    fn what_the_store_says_late_does_not_lower_it() {
        let mut marks = Marks::default();
        assert_eq!(marks.raise(mark(9)), Some(mark(9)));
        marks.read(Some(mark(5)));
        assert!(marks.has_read(MessageId(9)));
        assert_eq!(marks.shown(), Some(MessageId(5)));
    }

    #[test]
    fn a_mark_stays_until_the_newest_one_is_sealed() {
        let mut marks = Marks::default();
        marks.raise(mark(1));
        marks.raise(mark(2));
        marks.durable(MessageId(1), 3);
        assert!(!marks.may_leave_memory(9));
        marks.durable(MessageId(2), 4);
        assert!(!marks.may_leave_memory(3) && marks.may_leave_memory(4));
    }
}
