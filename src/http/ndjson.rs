//! A conversation as lines of JSON, as it is exported and imported; described in `docs/http.md`. What
//! comes in is checked here as far as one line says it; the store checks how lines belong together.
//! Sentences repeat nothing of what was sent.

use serde::{Deserialize, Serialize};

use super::input::RawId;
use super::instant;
use crate::limits::{EMOJI_BYTES_MAX, IMPORT_LINE_BYTES_MAX, PAGE_BYTES_MAX, TOKEN_NAME_CHARS_MAX};
use crate::model::{ConversationId, MessageId, Profile, Role, UserId, Wall};
use crate::store::{ExportHead, Line, LineMessage};

const FORMAT: &str = "loquat-conversation";
const VERSION: u32 = 1;

const _: () = assert!(IMPORT_LINE_BYTES_MAX > 2 * PAGE_BYTES_MAX);

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum LineOut<'a> {
    Conversation {
        format: &'a str,
        version: u32,
        conversation_id: &'a ConversationId,
        created_at: Option<String>,
        seq: u64,
        messages: u64,
        exported_at: String,
    },
    Member {
        user_id: &'a UserId,
        role: Role,
        profile: Option<NamesOut<'a>>,
    },
    Message {
        id: MessageId,
        created_at: String,
        sender: &'a Profile,
        parent_message_id: Option<MessageId>,
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        edited_at: Option<String>,
    },
    Edit {
        message_id: MessageId,
        at: String,
        by: &'a UserId,
        content: &'a str,
    },
    Reaction {
        message_id: MessageId,
        at: String,
        user_id: &'a UserId,
        emoji: &'a str,
    },
    Deletion {
        message_id: MessageId,
        at: String,
        by: &'a UserId,
    },
    Mark {
        user_id: &'a UserId,
        message_id: MessageId,
        at: String,
    },
    End(Counts),
}

#[derive(Serialize)]
struct NamesOut<'a> {
    email: &'a str,
    first_name: &'a str,
    last_name: &'a str,
}

/// How many lines of each kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    pub members: u64,
    pub messages: u64,
    pub marks: u64,
}

impl Counts {
    pub fn count(&mut self, line: &Line) {
        match line {
            Line::Member { .. } => self.members += 1,
            Line::Message(_) => self.messages += 1,
            Line::Mark { .. } => self.marks += 1,
            Line::Edit { .. } | Line::Reaction { .. } | Line::Deletion { .. } => {}
        }
    }
}

pub fn push(out: &mut Vec<u8>, line: &impl Serialize) {
    // Plain values into memory: this cannot fail.
    let _ = serde_json::to_writer(&mut *out, line);
    out.push(b'\n');
}

pub fn push_head(out: &mut Vec<u8>, head: &ExportHead, now: Wall) {
    let line = LineOut::Conversation {
        format: FORMAT,
        version: VERSION,
        conversation_id: &head.conversation,
        created_at: head.created_at.map(instant::format),
        seq: head.seq.0,
        messages: head.messages,
        exported_at: instant::format(now),
    };
    push(out, &line);
}

pub fn push_end(out: &mut Vec<u8>, counts: Counts) {
    push(out, &LineOut::End(counts));
}

pub fn push_line(out: &mut Vec<u8>, line: &Line) {
    let line = match line {
        Line::Member { user, role, profile } => LineOut::Member {
            user_id: user,
            role: *role,
            profile: profile.as_ref().map(|profile| NamesOut {
                email: &profile.email,
                first_name: &profile.first_name,
                last_name: &profile.last_name,
            }),
        },
        Line::Message(message) => LineOut::Message {
            id: message.id,
            created_at: instant::format(message.at),
            sender: &message.sender,
            parent_message_id: message.parent,
            content: message.content.as_deref(),
            edited_at: message.edited_at.map(instant::format),
        },
        Line::Edit { message, at, by, content } => {
            LineOut::Edit { message_id: *message, at: instant::format(*at), by, content }
        }
        Line::Reaction { message, at, user, emoji } => LineOut::Reaction {
            message_id: *message,
            at: instant::format(*at),
            user_id: user,
            emoji,
        },
        Line::Deletion { message, at, by } => {
            LineOut::Deletion { message_id: *message, at: instant::format(*at), by }
        }
        Line::Mark { user, message, at } => {
            LineOut::Mark { user_id: user, message_id: *message, at: instant::format(*at) }
        }
    };
    push(out, &line);
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum LineIn {
    Conversation(HeadIn),
    Member { user_id: RawId, role: Role, profile: Option<NamesIn> },
    Message(MessageIn),
    Edit { message_id: u64, at: String, by: RawId, content: String },
    Reaction { message_id: u64, at: String, user_id: RawId, emoji: String },
    Deletion { message_id: u64, at: String, by: RawId },
    Mark { user_id: RawId, message_id: u64, at: String },
    End(Counts),
}

/// What an export says besides format and version is for people: seqs are given anew.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadIn {
    format: String,
    version: u32,
    created_at: Option<String>,
    #[serde(rename = "conversation_id")]
    _conversation_id: Option<serde::de::IgnoredAny>,
    #[serde(rename = "seq")]
    _seq: Option<serde::de::IgnoredAny>,
    #[serde(rename = "messages")]
    _messages: Option<serde::de::IgnoredAny>,
    #[serde(rename = "exported_at")]
    _exported_at: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamesIn {
    #[serde(default)]
    email: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageIn {
    id: u64,
    created_at: String,
    sender: SenderIn,
    parent_message_id: Option<u64>,
    content: Option<String>,
    edited_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SenderIn {
    id: RawId,
    #[serde(default)]
    email: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
}

/// A line that holds by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    Head { created_at: Option<Wall> },
    Line(Line),
    End(Counts),
}

/// What a line may say at most.
#[derive(Debug, Clone, Copy)]
pub struct LineRules {
    pub content_chars: usize,
    /// No time is later.
    pub latest: Wall,
}

type Checked<T> = Result<T, &'static str>;

impl LineRules {
    pub fn read(self, line: &[u8]) -> Checked<Incoming> {
        use serde_json::error::Category;
        let line =
            serde_json::from_slice::<LineIn>(line).map_err(|error| match error.classify() {
                Category::Data => {
                    "a line is an object of a known type with the fields of that type"
                }
                Category::Syntax | Category::Eof | Category::Io => "the line is not JSON",
            })?;
        Ok(match line {
            LineIn::Conversation(head) => {
                if head.format != FORMAT || head.version != VERSION {
                    return Err("the format is loquat-conversation, version 1");
                }
                let created_at = head.created_at.map(|at| self.time(&at)).transpose()?;
                Incoming::Head { created_at }
            }
            LineIn::End(counts) => Incoming::End(counts),
            line => Incoming::Line(self.line(line)?),
        })
    }

    fn line(self, line: LineIn) -> Checked<Line> {
        Ok(match line {
            LineIn::Member { user_id, role, profile } => {
                let user = user(&user_id)?;
                let profile = profile.map(|names| names.profile(user.clone())).transpose()?;
                Line::Member { user, role, profile }
            }
            LineIn::Message(message) => Line::Message(Box::new(self.message(message)?)),
            LineIn::Edit { message_id, at, by, content } => Line::Edit {
                message: MessageId(message_id),
                at: self.time(&at)?,
                by: user(&by)?,
                content: self.content(&content)?,
            },
            LineIn::Reaction { message_id, at, user_id, emoji } => {
                if !(1..=EMOJI_BYTES_MAX).contains(&emoji.len()) {
                    return Err("an emoji has 1 to 64 bytes");
                }
                let (at, user) = (self.time(&at)?, user(&user_id)?);
                Line::Reaction { message: MessageId(message_id), at, user, emoji }
            }
            LineIn::Deletion { message_id, at, by } => Line::Deletion {
                message: MessageId(message_id),
                at: self.time(&at)?,
                by: user(&by)?,
            },
            LineIn::Mark { user_id, message_id, at } => Line::Mark {
                user: user(&user_id)?,
                message: MessageId(message_id),
                at: self.time(&at)?,
            },
            LineIn::Conversation(_) | LineIn::End(_) => return Err("this line is out of place"),
        })
    }

    fn message(self, message: MessageIn) -> Checked<LineMessage> {
        let SenderIn { id: by, email, first_name, last_name } = message.sender;
        let names = NamesIn { email, first_name, last_name };
        Ok(LineMessage {
            id: MessageId(message.id),
            at: self.time(&message.created_at)?,
            sender: names.profile(user(&by)?)?,
            parent: message.parent_message_id.map(MessageId),
            content: message.content.map(|text| self.content(&text)).transpose()?,
            edited_at: message.edited_at.map(|at| self.time(&at)).transpose()?,
        })
    }

    fn time(self, text: &str) -> Checked<Wall> {
        let at = instant::parse(text).ok_or("a time is like 2025-11-26T10:30:00.123Z")?;
        if at > self.latest { Err("a time is not in the future") } else { Ok(at) }
    }

    /// As on a socket: trimmed, not empty, not too long.
    fn content(self, text: &str) -> Checked<String> {
        let content = text.trim();
        if content.is_empty() {
            return Err("a content is not empty");
        }
        if content.len() > self.content_chars && content.chars().count() > self.content_chars {
            return Err("a content is longer than this server allows");
        }
        Ok(content.to_owned())
    }
}

fn user(id: &RawId) -> Checked<UserId> {
    id.user().map_err(|_| "a user id is a number below 2^53, or 1 to 64 of A-Z a-z 0-9 _ . @ + -")
}

impl NamesIn {
    fn profile(self, id: UserId) -> Checked<Profile> {
        let NamesIn { email, first_name, last_name } = self;
        for text in [&email, &first_name, &last_name] {
            if text.chars().any(char::is_control) {
                return Err("a profile has no control characters");
            }
            if text.chars().count() > TOKEN_NAME_CHARS_MAX {
                return Err("an e-mail or a name has at most 256 characters");
            }
        }
        Ok(Profile { id, email, first_name, last_name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: LineRules = LineRules { content_chars: 5, latest: Wall(2_000) };

    fn check(line: &str, expected: Result<(), &str>) {
        assert_eq!(RULES.read(line.as_bytes()).map(|_| ()), expected, "{line}");
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        let user = || UserId::parse("ann").unwrap();
        let (message, at) = (MessageId(7), Wall(1_000));
        let sender = Profile { id: user(), email: "a@x".into(), ..Profile::nameless(user()) };
        let text = |content: Option<&str>| LineMessage {
            id: message,
            at,
            sender: sender.clone(),
            parent: Some(MessageId(3)),
            content: content.map(str::to_owned),
            edited_at: content.is_none().then_some(Wall(1_500)),
        };
        let lines = [
            Line::Member { user: user(), role: Role::Moderator, profile: Some(sender.clone()) },
            Line::Member { user: user(), role: Role::Member, profile: None },
            Line::Message(Box::new(text(Some("a\nb")))),
            Line::Message(Box::new(text(None))),
            Line::Edit { message, at, by: user(), content: "c".into() },
            Line::Reaction { message, at, user: user(), emoji: "👍".into() },
            Line::Deletion { message, at, by: UserId::from_number(1).unwrap() },
            Line::Mark { user: user(), message, at },
        ];
        for line in lines {
            let mut out = Vec::new();
            push_line(&mut out, &line);
            assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert_eq!(RULES.read(&out), Ok(Incoming::Line(line)));
        }
        let conversation = ConversationId::from_number(5).unwrap();
        let head = ExportHead {
            conversation,
            created_at: Some(Wall(9)),
            seq: crate::model::Seq(4),
            messages: 3,
        };
        let mut out = Vec::new();
        push_head(&mut out, &head, Wall(1_999));
        assert_eq!(RULES.read(&out), Ok(Incoming::Head { created_at: Some(Wall(9)) }));
        let counts = Counts { members: 1, messages: 2, marks: 3 };
        out.clear();
        push_end(&mut out, counts);
        assert_eq!(RULES.read(&out), Ok(Incoming::End(counts)));
    }

    #[test]
    fn a_line_keeps_to_the_bounds_of_a_live_message() {
        let message = |content: &str, at: &str| {
            format!(
                r#"{{"type":"message","id":1,"created_at":"{at}","sender":{{"id":1}},"content":{content}}}"#
            )
        };
        let at = "1970-01-01T00:00:01Z";
        check(&message(r#"" ééééé ""#, at), Ok(()));
        check(&message(r#""éééééé""#, at), Err("a content is longer than this server allows"));
        check(&message(r#"" ""#, at), Err("a content is not empty"));
        check(&message("null", at), Ok(()));
        check(&message(r#""a""#, "1970-01-01T00:00:03Z"), Err("a time is not in the future"));
        check(&message(r#""a""#, "now"), Err("a time is like 2025-11-26T10:30:00.123Z"));
        let shape = "a line is an object of a known type with the fields of that type";
        check(&message("5", at), Err(shape));
        check(r#"{"type":"mark","user_id":1,"message_id":2,"at":"x","more":1}"#, Err(shape));
        check(r#"{"type":"poem"}"#, Err(shape));
        check(r#"{"type":"end""#, Err("the line is not JSON"));
        let format = "the format is loquat-conversation, version 1";
        check(r#"{"type":"conversation","format":"loquat-conversation","version":2}"#, Err(format));
        check(r#"{"type":"conversation","format":"x","version":1}"#, Err(format));
        let reaction = |emoji: &str| {
            format!(
                r#"{{"type":"reaction","message_id":1,"at":"{at}","user_id":"a","emoji":"{emoji}"}}"#
            )
        };
        check(&reaction(&"x".repeat(64)), Ok(()));
        check(&reaction(&"x".repeat(65)), Err("an emoji has 1 to 64 bytes"));
        check(&reaction(""), Err("an emoji has 1 to 64 bytes"));
    }
}
