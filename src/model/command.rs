//! What a client asks for, decoded and within its limits, but not yet decided.

use std::borrow::Cow;

use super::id::MessageId;

/// Which dialect of the protocol a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// The guide, to the letter.
    V1,
    /// `?v=2`: acks, resume, history.
    V2,
}

/// A command with the client's own name for it (`ref`, ≤ 64 bytes), echoed by its ack or error.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<'a> {
    pub reference: Option<Cow<'a, str>>,
    pub command: Command<'a>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Command<'a> {
    /// `content` is trimmed, not empty, ≤ `content_chars_max`; `client_msg_id` is 1–64 bytes.
    Send {
        content: Cow<'a, str>,
        parent: Option<MessageId>,
        client_msg_id: Option<Cow<'a, str>>,
    },
    Typing {
        is_typing: bool,
    },
    Read {
        message: MessageId,
    },
    /// `emoji` is 1–64 bytes, compared as sent.
    React {
        message: MessageId,
        emoji: Cow<'a, str>,
        action: ReactAction,
    },
    /// `content` as for `Send`.
    Edit {
        message: MessageId,
        content: Cow<'a, str>,
    },
    Delete {
        message: MessageId,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReactAction {
    Toggle,
    Add,
    Remove,
}

impl Request<'_> {
    pub fn into_owned(self) -> Request<'static> {
        Request {
            reference: self.reference.map(|r| Cow::Owned(r.into_owned())),
            command: self.command.into_owned(),
        }
    }
}

impl Command<'_> {
    pub fn into_owned(self) -> Command<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Command::Send { content, parent, client_msg_id } => Command::Send {
                content: own(content),
                parent,
                client_msg_id: client_msg_id.map(own),
            },
            Command::Typing { is_typing } => Command::Typing { is_typing },
            Command::Read { message } => Command::Read { message },
            Command::React { message, emoji, action } => {
                Command::React { message, emoji: own(emoji), action }
            }
            Command::Edit { message, content } => Command::Edit { message, content: own(content) },
            Command::Delete { message } => Command::Delete { message },
        }
    }
}
