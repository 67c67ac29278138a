//! What a client asks for, decoded and within its limits, but not yet decided.

use std::borrow::Cow;
use std::fmt;

use super::id::{Epoch, MessageId, Seq};
use super::state::HistoryQuery;

/// Which dialect of the protocol a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// The guide, to the letter.
    V1,
    /// `?v=2`: acks, resume, history.
    V2,
}

/// Where a v2 socket wants to go on (`?since=SEQ&epoch=E`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeFrom {
    /// The last event that the client has.
    pub since: Seq,
    /// The log that it had it from; without one, this log.
    pub epoch: Option<Epoch>,
}

/// What one text message of a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked<'a> {
    /// Something that the conversation decides.
    Conversation(Request<'a>),
    /// v2: something about the past or about the session itself, which changes no conversation.
    Session(SessionRequest<'a>),
}

/// The same as [`Request`] for what a session is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRequest<'a> {
    pub reference: Option<Cow<'a, str>>,
    pub command: SessionCommand<'a>,
}

#[derive(Clone, PartialEq)]
pub enum SessionCommand<'a> {
    /// `limit` is 1 to `HISTORY_MESSAGES_MAX`.
    History(HistoryQuery),
    Ping,
    /// At most `TOKEN_BYTES_MAX` bytes.
    RefreshToken {
        token: Cow<'a, str>,
    },
}

impl fmt::Debug for SessionCommand<'_> {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionCommand::History(query) => write!(f, "History({query:?})"),
            SessionCommand::Ping => f.write_str("Ping"),
            SessionCommand::RefreshToken { .. } => f.write_str("RefreshToken"),
        }
    }
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

impl SessionRequest<'_> {
    pub fn into_owned(self) -> SessionRequest<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        SessionRequest {
            reference: self.reference.map(own),
            command: match self.command {
                SessionCommand::History(query) => SessionCommand::History(query),
                SessionCommand::Ping => SessionCommand::Ping,
                SessionCommand::RefreshToken { token } => {
                    SessionCommand::RefreshToken { token: own(token) }
                }
            },
        }
    }
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
