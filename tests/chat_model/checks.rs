//! What must hold at the end: each command has the outcome that the model gives it.

use std::collections::BTreeMap;

use loquat::model::{
    Command, ErrorCode, Event, EventBody, MessageId, MessageState, Reply, SessionId, Version,
};

use super::model::{Asked, Model, Outcome};
use super::world::World;

impl World {
    pub fn finish(&mut self) {
        self.carry_out();
        while !self.loads.is_empty() {
            self.answer(0, 0);
        }
        self.settle();
        let mut folded = BTreeMap::new();
        self.events.iter().for_each(|event| fold(&mut folded, event));
        let mut model = Model::default();
        for asked in std::mem::take(&mut self.asked) {
            self.check_outcome(&mut model, &asked);
        }
        model.check(&folded);
        if !self.has_failed {
            self.check_marks();
        }
        self.empty();
    }

    fn check_outcome(&self, model: &mut Model, asked: &Asked) {
        let event = self.event_of.get(&asked.reference);
        let reply = self.replies.get(&asked.reference);
        if let Command::Read { .. } | Command::Typing { .. } = asked.command {
            assert!(event.is_none());
            let is_owed = asked.version == Version::V2 && self.is_here(asked.session);
            assert!(reply.is_some() || !is_owed, "{} has no answer", asked.reference);
            return;
        }
        if let Some(Reply::Error { refusal, .. }) = reply
            && refusal.code == ErrorCode::StorageUnavailable
        {
            assert!(self.has_failed && event.is_none());
            return;
        }
        // Who left hears nothing: the command was decided, or its load failed.
        if self.has_failed && !self.is_here(asked.session) && event.is_none() && reply.is_none() {
            return;
        }
        let outcome = match (event, reply) {
            (Some(event), None) => Outcome::Event(event.body.clone()),
            (None, Some(Reply::Ack(ack))) => Outcome::Ack(ack.clone()),
            (None, Some(Reply::Error { refusal, .. })) => Outcome::Refused(refusal.code),
            (None, None) => Outcome::Silence,
            other => panic!("{}: {other:?}", asked.reference),
        };
        let expected = model.outcome(asked, event.map(|event| &**event));
        let may_be_silent = !self.is_here(asked.session);
        assert!(
            outcome == expected || (may_be_silent && outcome == Outcome::Silence),
            "{} {:?}: {outcome:?}, not {expected:?}",
            asked.reference,
            asked.command
        );
    }

    fn is_here(&self, session: SessionId) -> bool {
        self.here.iter().any(|held| held.session == session)
    }

    /// Each receipt of a message that was on disk counts, and each own message.
    fn check_marks(&self) {
        let mut least = self.owed.clone();
        for event in &self.events {
            if let EventBody::Message(body) = &event.body {
                let mark = least.entry(body.sender.id.clone()).or_insert(body.id);
                *mark = (*mark).max(body.id);
            }
        }
        for (user, message) in &least {
            let mark = self.newest.get(user).map(|mark| mark.message);
            assert!(mark >= Some(*message), "{user}: {mark:?} below {message:?}");
        }
    }
}

pub fn fold(messages: &mut BTreeMap<MessageId, MessageState>, event: &Event) {
    messages.values_mut().for_each(|state| state.apply(event));
    if let Some(state) = MessageState::created(event) {
        messages.insert(state.id, state);
    }
}
