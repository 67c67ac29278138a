//! What a conversation does by itself, and when. At most one time per task; setting it again moves it.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::people::UserIndex;
use crate::model::Mono;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Task {
    /// The grace of a user without sockets ends.
    Offline,
    /// Tell who came and went.
    PresenceTick,
    /// Tell a crowd how many it is.
    PresenceCount,
    /// Renew or end a typing burst.
    Typing(UserIndex),
    /// Tell the newest receipt of a user in a crowd.
    Receipt(UserIndex),
    /// The user's bucket is full: nothing of it need be remembered.
    Rested(UserIndex),
    /// More of what is sealed leaves memory.
    Sweep,
}

#[derive(Debug, Default)]
pub(super) struct Agenda {
    by_time: BTreeSet<(Mono, Task)>,
    by_task: HashMap<Task, Mono>,
}

impl Agenda {
    pub fn set(&mut self, task: Task, at: Mono) {
        if let Some(before) = self.by_task.insert(task, at) {
            self.by_time.remove(&(before, task));
        }
        self.by_time.insert((at, task));
    }

    /// As [`Agenda::set`], but an earlier time stays.
    pub fn set_earliest(&mut self, task: Task, at: Mono) {
        if self.by_task.get(&task).is_none_or(|before| at < *before) {
            self.set(task, at);
        }
    }

    pub fn cancel(&mut self, task: Task) {
        if let Some(at) = self.by_task.remove(&task) {
            self.by_time.remove(&(at, task));
        }
    }

    pub fn next(&self) -> Option<Mono> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub fn pop_due(&mut self, now: Mono) -> Option<Task> {
        let &(at, task) = self.by_time.first().filter(|(at, _)| *at <= now)?;
        self.by_time.remove(&(at, task));
        self.by_task.remove(&task);
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_one_time() {
        let mut agenda = Agenda::default();
        agenda.set(Task::Offline, Mono(10));
        agenda.set(Task::Offline, Mono(30));
        agenda.set_earliest(Task::Offline, Mono(40));
        agenda.set_earliest(Task::Sweep, Mono(20));
        assert_eq!(agenda.next(), Some(Mono(20)));
        assert_eq!(agenda.pop_due(Mono(19)), None);
        assert_eq!(agenda.pop_due(Mono(30)), Some(Task::Sweep));
        agenda.set_earliest(Task::Offline, Mono(25));
        assert_eq!(agenda.next(), Some(Mono(25)));
        agenda.cancel(Task::Offline);
        assert!(agenda.next().is_none() && agenda.pop_due(Mono(99)).is_none());
    }
}
