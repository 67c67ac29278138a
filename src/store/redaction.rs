//! What must not be read any more, and what a record looks like without it. Pure: pages and segments are
//! rewritten with it elsewhere.
//!
//! A redacted record is of the same kind, with the same seq and ids. It is never longer, so a page that
//! holds it is no larger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{
    ConversationId, DirectoryChange, Event, EventBody, MessageBody, Profile, ReactionAction, Seq,
    UserId, Wall,
};
use crate::node::ports::Record;

/// Of one conversation.
#[derive(Debug, Default)]
pub struct Target {
    /// Every event up to this one, with its sender's names.
    pub through: Seq,
    /// The texts of these: messages and edits.
    pub seqs: BTreeSet<Seq>,
}

impl Target {
    /// Whether a run of events holds something of it.
    pub fn touches(&self, first: Seq, last: Seq) -> bool {
        first <= self.through || self.seqs.range(first..=last).next().is_some()
    }
}

#[derive(Debug, Default)]
pub struct Redaction {
    pub conversations: BTreeMap<ConversationId, Target>,
    /// Whose names, marks, memberships and reactions go, as far as they are not newer.
    pub user: Option<(UserId, Wall)>,
}

impl Redaction {
    /// The record without what is to be erased; `None` when it has nothing of it.
    pub fn of(&self, record: &Record) -> Option<Record> {
        let (conversation, event) = match record {
            Record::Event { conversation, event } => (conversation, event),
            other => return self.is_of_user(other).then_some(Record::Erased),
        };
        if let Some((user, until)) = &self.user
            && event.at <= *until
            && let Some(body) = without_user(&event.body, user)
        {
            return changed(conversation, event, body);
        }
        let target = self.conversations.get(conversation)?;
        let is_gone = event.seq <= target.through;
        if !is_gone && !target.seqs.contains(&event.seq) {
            return None;
        }
        let body = match &event.body {
            EventBody::Message(body) if is_gone => without_sender(body),
            EventBody::Message(body) => without_text(body),
            EventBody::Edit { message, by, .. } => {
                let (message, by) = (*message, by.clone());
                EventBody::Edit { message, by, content: String::new() }
            }
            EventBody::Delete { .. } | EventBody::Reaction { .. } => return None,
        };
        changed(conversation, event, body)
    }
}

impl Redaction {
    /// A record that says nothing but what a user did or is.
    fn is_of_user(&self, record: &Record) -> bool {
        let Some((whose, until)) = &self.user else { return false };
        match record {
            Record::Mark { mark, .. } => mark.user == *whose && mark.at <= *until,
            Record::Directory(
                DirectoryChange::MemberSet { user, .. }
                | DirectoryChange::MemberRemoved { user, .. },
            ) => user == whose,
            Record::Directory(DirectoryChange::ProfileSet { profile }) => profile.id == *whose,
            Record::Directory(_) | Record::Event { .. } | Record::Erased => false,
        }
    }
}

/// An event of the user without names, text and emoji; `None` for what others did.
fn without_user(body: &EventBody, user: &UserId) -> Option<EventBody> {
    match body {
        EventBody::Message(body) if body.sender.id == *user => Some(without_sender(body)),
        EventBody::Reaction { message, user: by, .. } if by == user => Some(EventBody::Reaction {
            message: *message,
            user: by.clone(),
            emoji: String::new(),
            // Whoever is told this had better do nothing.
            action: ReactionAction::Removed,
        }),
        _ => None,
    }
}

fn changed(conversation: &ConversationId, event: &Event, body: EventBody) -> Option<Record> {
    if body == event.body {
        return None;
    }
    let event = Arc::new(Event { seq: event.seq, at: event.at, body });
    Some(Record::Event { conversation: conversation.clone(), event })
}

fn without_text(body: &MessageBody) -> EventBody {
    EventBody::Message(MessageBody { content: String::new(), ..body.clone() })
}

fn without_sender(body: &MessageBody) -> EventBody {
    EventBody::Message(MessageBody {
        content: String::new(),
        sender: Profile::nameless(body.sender.id.clone()).into(),
        ..body.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Mark, MessageId};

    fn record(seq: u64, body: EventBody) -> Record {
        let conversation = ConversationId::from_number(1).unwrap();
        Record::Event { conversation, event: Arc::new(Event { seq: Seq(seq), at: Wall(9), body }) }
    }

    fn message(seq: u64, content: &str, first_name: &str) -> Record {
        let id = UserId::from_number(3).unwrap();
        record(
            seq,
            EventBody::Message(MessageBody {
                id: MessageId(seq * 10),
                ordinal: 4,
                sender: Profile { first_name: first_name.to_owned(), ..Profile::nameless(id) }
                    .into(),
                content: content.to_owned(),
                parent: Some(MessageId(1)),
                client_msg_id: Some("c".to_owned()),
            }),
        )
    }

    fn edit(seq: u64, content: &str) -> Record {
        let by = UserId::from_number(3).unwrap();
        record(seq, EventBody::Edit { message: MessageId(1), by, content: content.to_owned() })
    }

    #[test]
    fn texts_go_and_everything_else_stays() {
        let target = Target { through: Seq(2), seqs: [Seq(5), Seq(6)].into() };
        let conversation = ConversationId::from_number(1).unwrap();
        let conversations = [(conversation, target)].into();
        let redaction = Redaction { conversations, user: None };
        let check = |before: Record, after: Option<Record>| {
            assert_eq!(redaction.of(&before), after, "{before:?}");
            if let Some(after) = after {
                assert_eq!(redaction.of(&after), None);
            }
        };
        check(message(2, "text", "Ann"), Some(message(2, "", "")));
        check(message(3, "text", "Ann"), None);
        check(message(5, "text", "Ann"), Some(message(5, "", "Ann")));
        check(edit(6, "text"), Some(edit(6, "")));
        check(edit(7, "text"), None);
    }

    #[test]
    fn of_a_user_everything_goes_but_what_is_newer_and_what_others_did() {
        let redaction = Redaction {
            user: Some((UserId::from_number(3).unwrap(), Wall(9))),
            ..Redaction::default()
        };
        let check = |before: Record, after: Option<Record>| {
            assert_eq!(redaction.of(&before), after, "{before:?}");
        };
        check(message(2, "text", "Ann"), Some(message(2, "", "")));
        check(edit(3, "of a message that may be another's"), None);
        let conversation = ConversationId::from_number(1).unwrap();
        let reaction = |whose: u64, emoji: &str, action| {
            let (message, user) = (MessageId(1), UserId::from_number(whose).unwrap());
            record(4, EventBody::Reaction { message, user, emoji: emoji.to_owned(), action })
        };
        let added = ReactionAction::Added;
        check(reaction(3, "x", added), Some(reaction(3, "", ReactionAction::Removed)));
        check(reaction(4, "x", added), None);
        let mark = |whose: u64, at: u64| {
            let user = UserId::from_number(whose).unwrap();
            let mark = Mark { user, message: MessageId(1), ordinal: 0, at: Wall(at) };
            Record::Mark { conversation: conversation.clone(), mark }
        };
        check(mark(3, 9), Some(Record::Erased));
        check(mark(3, 10), None);
        check(mark(4, 9), None);
        let user = UserId::from_number(3).unwrap();
        let profile = Profile { email: "a@b.c".to_owned(), ..Profile::nameless(user.clone()) };
        for change in [
            DirectoryChange::ProfileSet { profile },
            DirectoryChange::MemberRemoved { conversation, user: user.clone() },
        ] {
            check(Record::Directory(change), Some(Record::Erased));
        }
        let stays = DirectoryChange::ErasureBegun { user, at: Wall(9) };
        check(Record::Directory(stays), None);
    }

    #[test]
    fn a_run_is_touched_when_it_holds_a_target() {
        let target = Target { through: Seq(2), seqs: [Seq(5)].into() };
        let check = |first, last, expected| {
            assert_eq!(target.touches(Seq(first), Seq(last)), expected, "{first} to {last}");
        };
        check(1, 9, true);
        check(2, 3, true);
        check(3, 4, false);
        check(3, 5, true);
        check(6, 9, false);
    }
}
