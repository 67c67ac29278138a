//! Who is typing (PROTOCOL, `typing_indicator`). Never stored.
//!
//! The guide's hook starts a 3 s timer on each `true`, which hides the line, and never clears one. So a
//! line stays visible only if a `true` follows right after each of those timers: whenever an earlier
//! `true` becomes 3,100 ms old while typing goes on, also one from before a pause, another goes out.
//!
//! ```text
//!            key / true            3,100 ms after an earlier true / true
//!   silent ────────────► typing ◄─────────────────────────────────┐
//!      ▲                   │ └────────────────────────────────────┘
//!      └───────────────────┘  stop, message, socket gone, 3,100 ms without a key / false
//! ```
//! Invariants: at most [`TYPING_BURST_MAX`] `true`s in any [`TYPING_RENEW_MS`]; `false` only after a
//! `true` that nothing has ended; a key that changes nothing costs two stores.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::access::{Action, can};
use super::agenda::Task;
use super::conversation::Conversation;
use super::decide::Speaker;
use super::people::{User, UserIndex};
use super::refusals::NOT_ALLOWED;
use super::{Audience, Effect, Effects};
use crate::limits::{CROWD_TYPISTS_MAX, TYPING_BURST_MAX, TYPING_RENEW_MS};
use crate::model::{Ack, Mono, SessionId, Signal};

#[derive(Debug, Default)]
pub(super) struct Typing {
    is_typing: bool,
    /// Others were told `true` and not yet `false`.
    is_shown: bool,
    last_key: Mono,
    /// The socket of the last key.
    session: Option<SessionId>,
    /// When `true` went out, as far as the hook's timers may still run.
    trues: SmallVec<[Mono; TYPING_BURST_MAX]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    Nothing,
    Typing,
    Stopped,
}

/// Whether one more may be seen typing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    Taken,
}

impl Typing {
    fn key(&mut self, session: SessionId, now: Mono, place: Place) -> Tell {
        self.last_key = now;
        self.session = Some(session);
        if self.is_typing || place == Place::Taken {
            return Tell::Nothing;
        }
        self.is_typing = true;
        self.forget_old(now);
        self.tell_typing(now)
    }

    fn stop(&mut self) -> Tell {
        self.is_typing = false;
        match std::mem::take(&mut self.is_shown) {
            true => Tell::Stopped,
            false => Tell::Nothing,
        }
    }

    fn fire(&mut self, now: Mono, place: Place) -> Tell {
        if !self.is_typing {
            return Tell::Nothing;
        }
        if now.since(self.last_key) >= TYPING_RENEW_MS || place == Place::Taken {
            return self.stop();
        }
        let before = self.trues.len();
        self.forget_old(now);
        if self.trues.len() == before { Tell::Nothing } else { self.tell_typing(now) }
    }

    /// When `fire` has something to do.
    fn due(&self) -> Option<Mono> {
        let earliest = self.trues.first().map_or(self.last_key, |first| self.last_key.min(*first));
        self.is_typing.then(|| earliest.after(TYPING_RENEW_MS))
    }

    fn tell_typing(&mut self, now: Mono) -> Tell {
        if self.trues.len() >= TYPING_BURST_MAX {
            return Tell::Nothing;
        }
        self.trues.push(now);
        self.is_shown = true;
        Tell::Typing
    }

    fn forget_old(&mut self, now: Mono) {
        self.trues.retain(|at| now.since(*at) < TYPING_RENEW_MS);
    }
}

impl Conversation {
    /// A `typing_indicator`. Only a client that named it hears whether it counts; who may not type and
    /// stops has nothing to be told.
    pub(super) fn typing_command(
        &mut self,
        speaker: Speaker,
        is_typing: bool,
        reference: Option<Cow<'_, str>>,
        out: &mut Effects,
    ) {
        match (is_typing, can(speaker.role, Action::Type)) {
            (true, true) => self.typed(speaker, out),
            (true, false) => {
                let reference = reference.map(Cow::into_owned);
                self.refuse(speaker.session, NOT_ALLOWED, reference, out);
                return;
            }
            (false, _) => self.stop_typing(speaker.user, out),
        }
        if let Some(reference) = reference {
            let reference = Some(reference.into_owned());
            self.acknowledge_now(speaker, Ack { reference, ..Ack::default() }, out);
        }
    }

    fn typed(&mut self, speaker: Speaker, out: &mut Effects) {
        let Speaker { user, session, .. } = speaker;
        let (now, place) = (self.mono, self.typing_place(user));
        let was_typing = self.people[user].typing.is_typing;
        self.type_and_tell(user, out, |typing| typing.key(session, now, place));
        if !was_typing {
            self.await_typing(user);
        }
    }

    pub(super) fn stop_typing(&mut self, user: UserIndex, out: &mut Effects) {
        if self.people[user].typing.is_typing {
            self.type_and_tell(user, out, Typing::stop);
            self.agenda.cancel(Task::Typing(user));
        }
    }

    /// The socket that was typed on is gone.
    pub(super) fn typist_left(&mut self, user: UserIndex, session: SessionId, out: &mut Effects) {
        if self.people[user].typing.session == Some(session) {
            self.people[user].typing.session = None;
            self.stop_typing(user, out);
        }
    }

    pub(super) fn typing_due(&mut self, user: UserIndex, out: &mut Effects) {
        let (now, place) = (self.mono, self.typing_place(user));
        self.type_and_tell(user, out, |typing| typing.fire(now, place));
        self.await_typing(user);
    }

    fn await_typing(&mut self, user: UserIndex) {
        if let Some(due) = self.people[user].typing.due() {
            self.agenda.set(Task::Typing(user), due);
        }
    }

    fn typing_place(&self, user: UserIndex) -> Place {
        let others = self.typists - usize::from(self.people[user].typing.is_shown);
        match self.is_crowd() && others >= CROWD_TYPISTS_MAX {
            true => Place::Taken,
            false => Place::Free,
        }
    }

    /// Runs the user's machine, tells the others what it wants told, and counts who is seen typing.
    fn type_and_tell(
        &mut self,
        user: UserIndex,
        out: &mut Effects,
        run: impl FnOnce(&mut Typing) -> Tell,
    ) {
        let User { typing, profile, .. } = &mut self.people[user];
        self.typists -= usize::from(typing.is_shown);
        let told = run(typing);
        self.typists += usize::from(typing.is_shown);
        if told == Tell::Nothing {
            return;
        }
        out.push(Effect::Signal {
            audience: Audience::AllBut(profile.id.clone()),
            signal: Signal::Typing {
                user: profile.id.clone(),
                user_name: profile.display_name(),
                is_typing: told == Tell::Typing,
                at: self.wall,
            },
        });
    }
}
