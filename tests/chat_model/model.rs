//! The model: plain maps, everything in memory, decided in the order in which it was asked.

use std::collections::{BTreeMap, BTreeSet};

use loquat::model::{
    Ack, Command, ErrorCode, Event, EventBody, FirstSend, MessageBody, MessageId, MessageState,
    ReactAction, ReactionAction, Role, SessionId, UserId, Version,
};

/// A command as it was asked.
pub struct Asked {
    pub reference: String,
    pub session: SessionId,
    pub user: UserId,
    pub role: Role,
    pub version: Version,
    pub command: Command<'static>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Event(EventBody),
    Ack(Ack),
    Refused(ErrorCode),
    Silence,
}

#[derive(Default)]
pub struct Model {
    messages: BTreeMap<MessageId, Message>,
    sends: BTreeMap<(UserId, String), (FirstSend, String)>,
}

struct Message {
    author: UserId,
    text: String,
    is_deleted: bool,
    edits: u32,
    replies: u32,
    reactions: BTreeSet<(String, UserId)>,
}

impl Model {
    /// What comes of a command. An event that really happened brings its id and time along.
    pub fn outcome(&mut self, asked: &Asked, event: Option<&Event>) -> Outcome {
        if asked.role == Role::ReadOnly {
            return Outcome::Refused(ErrorCode::Forbidden);
        }
        match &asked.command {
            Command::Send { content, parent, client_msg_id } => {
                self.send(asked, content, *parent, client_msg_id.as_deref(), event)
            }
            Command::Edit { message, content } => self.edit(asked, *message, content),
            Command::Delete { message } => self.delete(asked, *message),
            Command::React { message, emoji, action } => {
                self.react(asked, *message, emoji, *action)
            }
            Command::Read { .. } | Command::Typing { .. } => Outcome::Silence,
        }
    }

    fn send(
        &mut self,
        asked: &Asked,
        content: &str,
        parent: Option<MessageId>,
        client_msg_id: Option<&str>,
        event: Option<&Event>,
    ) -> Outcome {
        let key = client_msg_id.map(|id| (asked.user.clone(), id.to_owned()));
        if let Some((first, text)) = key.as_ref().and_then(|key| self.sends.get(key)) {
            if text != content {
                return Outcome::Refused(ErrorCode::IdempotencyConflict);
            }
            return ack(asked, Some(first), client_msg_id);
        }
        let known = parent.filter(|parent| self.messages.contains_key(parent));
        if known != parent && asked.version == Version::V2 {
            return Outcome::Refused(ErrorCode::ParentNotFound);
        }
        let Some(Event { seq, at, body: EventBody::Message(body) }) = event else {
            panic!("{} should have been sent", asked.reference)
        };
        if let Some(key) = key {
            let content_hash = FirstSend::hash_content(content);
            let first = FirstSend { message: body.id, seq: *seq, created_at: *at, content_hash };
            self.sends.insert(key, (first, content.to_owned()));
        }
        if let Some(parent) = known.and_then(|parent| self.messages.get_mut(&parent)) {
            parent.replies += 1;
        }
        Outcome::Event(EventBody::Message(MessageBody {
            id: body.id,
            ordinal: self.add(body.id, &asked.user, content),
            sender: body.sender.clone(),
            content: content.to_owned(),
            parent: known,
            client_msg_id: client_msg_id.map(str::to_owned),
        }))
    }

    /// Says how many there were before.
    fn add(&mut self, id: MessageId, author: &UserId, text: &str) -> u64 {
        let ordinal = self.messages.len() as u64;
        let message = Message {
            author: author.clone(),
            text: text.to_owned(),
            is_deleted: false,
            edits: 0,
            replies: 0,
            reactions: BTreeSet::new(),
        };
        assert!(self.messages.insert(id, message).is_none(), "{id:?} was given before");
        ordinal
    }

    /// The message, if this user may change it.
    fn changeable(&mut self, asked: &Asked, id: MessageId) -> Result<&mut Message, ErrorCode> {
        let message = self.messages.get_mut(&id).ok_or(ErrorCode::NotFound)?;
        if message.author != asked.user && asked.role < Role::Moderator {
            return Err(ErrorCode::Forbidden);
        }
        Ok(message)
    }

    fn edit(&mut self, asked: &Asked, id: MessageId, content: &str) -> Outcome {
        let message = match self.changeable(asked, id) {
            Ok(message) => message,
            Err(code) => return Outcome::Refused(code),
        };
        if message.is_deleted {
            return Outcome::Refused(ErrorCode::Gone);
        }
        if message.text == content {
            return ack(asked, None, None);
        }
        message.text = content.to_owned();
        message.edits += 1;
        let (by, content) = (asked.user.clone(), content.to_owned());
        Outcome::Event(EventBody::Edit { message: id, by, content })
    }

    fn delete(&mut self, asked: &Asked, id: MessageId) -> Outcome {
        let message = match self.changeable(asked, id) {
            Ok(message) => message,
            Err(code) => return Outcome::Refused(code),
        };
        if std::mem::replace(&mut message.is_deleted, true) {
            return ack(asked, None, None);
        }
        message.text.clear();
        Outcome::Event(EventBody::Delete { message: id, by: asked.user.clone() })
    }

    fn react(&mut self, asked: &Asked, id: MessageId, emoji: &str, how: ReactAction) -> Outcome {
        let Some(message) = self.messages.get_mut(&id) else {
            return Outcome::Refused(ErrorCode::NotFound);
        };
        if message.is_deleted {
            return Outcome::Refused(ErrorCode::Gone);
        }
        let pair = (emoji.to_owned(), asked.user.clone());
        let has = message.reactions.contains(&pair);
        let wants = match how {
            ReactAction::Toggle => !has,
            ReactAction::Add => true,
            ReactAction::Remove => false,
        };
        if has == wants {
            return ack(asked, None, None);
        }
        let action = match wants {
            true => ReactionAction::Added,
            false => ReactionAction::Removed,
        };
        if wants {
            message.reactions.insert(pair);
        } else {
            message.reactions.remove(&pair);
        }
        let (user, emoji) = (asked.user.clone(), emoji.to_owned());
        Outcome::Event(EventBody::Reaction { message: id, user, emoji, action })
    }

    /// The fold of all events is what the model has.
    pub fn check(&self, folded: &BTreeMap<MessageId, MessageState>) {
        assert!(self.messages.keys().eq(folded.keys()));
        for (id, message) in &self.messages {
            let state = &folded[id];
            let reactions: BTreeSet<_> = state
                .reactions
                .iter()
                .flat_map(|(emoji, users)| users.iter().map(|user| (emoji.clone(), user.clone())))
                .collect();
            assert_eq!(state.sender.id, message.author, "{id:?}");
            assert_eq!(state.content, message.text, "{id:?}");
            assert_eq!(state.deleted_at.is_some(), message.is_deleted, "{id:?}");
            assert_eq!(
                (state.edits, state.reply_count),
                (message.edits, message.replies),
                "{id:?}"
            );
            assert_eq!(reactions, message.reactions, "{id:?}");
        }
    }
}

fn ack(asked: &Asked, first: Option<&FirstSend>, client_msg_id: Option<&str>) -> Outcome {
    if asked.version == Version::V1 {
        return Outcome::Silence;
    }
    Outcome::Ack(Ack {
        reference: Some(asked.reference.clone()),
        client_msg_id: client_msg_id.map(str::to_owned),
        message: first.map(|first| first.message),
        seq: first.map(|first| first.seq),
        created_at: first.map(|first| first.created_at),
    })
}
