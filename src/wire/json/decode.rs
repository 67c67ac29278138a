//! The text of one message → a request whose fields are all within their limits.
//!
//! simd-json parses into a tape that is kept, with the parser's buffers, from frame to frame, so the
//! steady state allocates nothing; strings of the request borrow the text, which simd-json unescapes
//! in place (it also writes into the text of a frame that it refuses). Syntax comes first, then the
//! shape of the frame ([`super::shape`]), then its fields. Unknown keys are ignored.
//!
//! Refusals never quote the client's text, and bear its `ref` (else its `client_msg_id`) where the
//! frame was whole enough to read it.

use std::borrow::Cow;

use simd_json::{Buffers, ErrorType, Node, StaticNode, Tape, fill_tape};

use super::{shape, verbatim};
use crate::limits::{
    CLIENT_MSG_ID_BYTES_MAX, EMOJI_BYTES_MAX, HISTORY_MESSAGES_DEFAULT, HISTORY_MESSAGES_MAX,
    Limits, REFERENCE_BYTES_MAX, SAFE_INTEGER_MAX, TOKEN_BYTES_MAX,
};
use crate::model::{
    Anchor, Asked, Command, ErrorCode, HistoryQuery, MessageId, ReactAction, Refusal, Request,
    SessionCommand, SessionRequest, Version,
};

/// What a frame may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonRules {
    /// Objects and arrays within each other, the frame's own object included.
    pub depth: usize,
    /// Keys of all objects of the frame together.
    pub keys: usize,
    /// Unicode scalar values of a content, once trimmed.
    pub content_chars: usize,
    pub version: Version,
}

impl JsonRules {
    pub fn of(limits: &Limits, version: Version) -> JsonRules {
        JsonRules {
            depth: limits.json_depth,
            keys: limits.json_keys,
            content_chars: limits.content_chars,
            version,
        }
    }
}

/// A frame that is no request: why, and what the client called it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub refusal: Refusal,
    pub reference: Option<String>,
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Rejected {
        Rejected { refusal, reference: None }
    }
}

/// Room that is kept from frame to frame; what a larger frame took is given back after it.
const TEXT_BYTES_KEPT: usize = 64 * 1024;
const TAPE_NODES_KEPT: usize = 16 * 1024;
const TAPE_NODES_AT_FIRST: usize = 64;

/// Owned by a core and used for all of its sockets: no state passes from one frame to the next.
pub struct Decoder {
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder {
            buffers: Buffers::new(TEXT_BYTES_KEPT),
            tape: Tape(Vec::with_capacity(TAPE_NODES_AT_FIRST)),
        }
    }
}

impl Decoder {
    /// Reads one message. The text is not usable afterwards, whatever the outcome.
    pub fn decode<'a>(
        &mut self,
        text: &'a mut [u8],
        rules: &JsonRules,
    ) -> Result<Asked<'a>, Rejected> {
        match verbatim::command(text) {
            Some(command) => Ok(Asked::Conversation(Request { reference: None, command })),
            None => self.parse(text, rules),
        }
    }

    fn parse<'a>(&mut self, text: &'a mut [u8], rules: &JsonRules) -> Result<Asked<'a>, Rejected> {
        let text_bytes = text.len();
        // An empty tape may take any lifetime: `reset` lends the allocation to this text, and back.
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let outcome = match fill_tape(text, &mut self.buffers, &mut tape) {
            Ok(()) => read(&tape.0, rules),
            Err(error) => Err(unparsed(error.error()).into()),
        };
        self.keep(tape.reset(), text_bytes);
        outcome
    }

    fn keep(&mut self, tape: Tape<'static>, text_bytes: usize) {
        if tape.0.capacity() <= TAPE_NODES_KEPT {
            self.tape = tape;
        }
        if text_bytes > TEXT_BYTES_KEPT {
            self.buffers = Buffers::new(TEXT_BYTES_KEPT);
        }
    }
}

const fn invalid(sentence: &'static str) -> Refusal {
    Refusal::new(ErrorCode::Invalid, sentence)
}

const NOT_JSON: Refusal = Refusal::new(ErrorCode::InvalidJson, "the frame is not valid JSON");
const NO_TYPE: Refusal = invalid("type is missing or not a string");
const UNKNOWN_TYPE: Refusal =
    Refusal::new(ErrorCode::UnknownType, "this server does not know this type of frame");
const BAD_REFERENCE: Refusal = invalid("ref is not a string of at most 64 bytes");
const BAD_CLIENT_MSG_ID: Refusal = invalid("client_msg_id is not a string of 1 to 64 bytes");
const BAD_MESSAGE_ID: Refusal =
    invalid("message_id is missing or not an integer from 0 to 9007199254740991");
const BAD_PARENT: Refusal =
    invalid("parent_message_id is neither null nor an integer from 0 to 9007199254740991");
const BAD_CONTENT: Refusal = invalid("content is missing or not a string");
const EMPTY: Refusal = Refusal::new(ErrorCode::Empty, "content is empty");
const TOO_LONG: Refusal =
    Refusal::new(ErrorCode::TooLong, "content is longer than this server allows");
const BAD_EMOJI: Refusal = invalid("emoji is missing or not a string of 1 to 64 bytes");
const BAD_ACTION: Refusal = invalid(r#"action is neither "add" nor "remove""#);
const BAD_ANCHOR: Refusal =
    invalid("before, after and around are ids of messages, and at most one of them is there");
const BAD_LIMIT: Refusal = invalid("limit is not an integer from 1 to 200");
const BAD_TOKEN: Refusal = invalid("token is missing or not a string of 1 to 4096 bytes");
const BAD_IS_TYPING: Refusal = invalid("is_typing is missing or neither true nor false");

// The sentences above name these.
const _: () = assert!(REFERENCE_BYTES_MAX == 64 && CLIENT_MSG_ID_BYTES_MAX == 64);
const _: () = assert!(HISTORY_MESSAGES_MAX == 200 && TOKEN_BYTES_MAX == 4096);
const _: () = assert!(EMOJI_BYTES_MAX == 64 && SAFE_INTEGER_MAX == 9_007_199_254_740_991);

/// The parser has a depth of its own, far beyond ours, at which it stops reading.
fn unparsed(error: &ErrorType) -> Refusal {
    match error {
        ErrorType::DepthLimitExceeded => shape::TOO_DEEP,
        _ => NOT_JSON,
    }
}

fn read<'a>(tape: &[Node<'a>], rules: &JsonRules) -> Result<Asked<'a>, Rejected> {
    let fields = Fields::of(tape, rules)?;
    fields.asked(rules).map_err(|refusal| {
        let reference = fields.name(rules.version).map(str::to_owned);
        Rejected { refusal, reference }
    })
}

/// A key's value, as far as any field could use it.
#[derive(Default, Clone, Copy)]
enum Value<'a> {
    #[default]
    Missing,
    /// Counts as missing, except that the key must not come again.
    Null,
    Text(&'a str),
    Unsigned(u64),
    Bool(bool),
    /// An object, an array, or a number that is no id: negative (`-0` too), with a fraction or an
    /// exponent, beyond 64 bits.
    Other,
}

impl<'a> From<Node<'a>> for Value<'a> {
    #[inline]
    fn from(node: Node<'a>) -> Value<'a> {
        match node {
            Node::String(text) => Value::Text(text),
            Node::Static(StaticNode::U64(number)) => Value::Unsigned(number),
            Node::Static(StaticNode::Bool(value)) => Value::Bool(value),
            Node::Static(StaticNode::Null) => Value::Null,
            _ => Value::Other,
        }
    }
}

/// The values of the keys that mean something.
#[derive(Default)]
struct Fields<'a> {
    kind: Value<'a>,
    reference: Value<'a>,
    content: Value<'a>,
    parent: Value<'a>,
    client_msg_id: Value<'a>,
    message: Value<'a>,
    emoji: Value<'a>,
    action: Value<'a>,
    is_typing: Value<'a>,
    before: Value<'a>,
    after: Value<'a>,
    around: Value<'a>,
    limit: Value<'a>,
    token: Value<'a>,
}

impl<'a> Fields<'a> {
    /// Checks the frame's shape on the way.
    fn of(tape: &[Node<'a>], rules: &JsonRules) -> Result<Fields<'a>, Refusal> {
        let (inside, mut allowance) = shape::open(tape, rules)?;
        let mut fields = Fields::default();
        let mut at = 0;
        while let (Some(&Node::String(key)), Some(&value)) = (inside.get(at), inside.get(at + 1)) {
            match fields.field(key) {
                Some(field @ Value::Missing) => *field = value.into(),
                Some(_) => return Err(shape::DOUBLED_KEY),
                None => shape::refuse_doubled(inside, at)?,
            }
            allowance.check(inside, at + 1)?;
            at = shape::next_key(inside, at);
        }
        Ok(fields)
    }

    #[inline]
    fn field(&mut self, key: &str) -> Option<&mut Value<'a>> {
        Some(match key {
            "type" => &mut self.kind,
            "ref" => &mut self.reference,
            "content" => &mut self.content,
            "parent_message_id" => &mut self.parent,
            "client_msg_id" => &mut self.client_msg_id,
            "message_id" => &mut self.message,
            "emoji" => &mut self.emoji,
            "action" => &mut self.action,
            "is_typing" => &mut self.is_typing,
            "before" => &mut self.before,
            "after" => &mut self.after,
            "around" => &mut self.around,
            "limit" => &mut self.limit,
            "token" => &mut self.token,
            _ => return None,
        })
    }

    fn asked(&self, rules: &JsonRules) -> Result<Asked<'a>, Refusal> {
        let reference = match rules.version {
            Version::V1 => None,
            Version::V2 => self.reference()?.map(Cow::Borrowed),
        };
        let Value::Text(kind) = self.kind else { return Err(NO_TYPE) };
        if rules.version == Version::V2
            && let Some(command) = self.session_command(kind)?
        {
            return Ok(Asked::Session(SessionRequest { reference, command }));
        }
        let command = self.command(kind, rules)?;
        Ok(Asked::Conversation(Request { reference, command }))
    }

    fn session_command(&self, kind: &str) -> Result<Option<SessionCommand<'a>>, Refusal> {
        Ok(Some(match kind {
            "history" => SessionCommand::History(self.history()?),
            "ping" => SessionCommand::Ping,
            "token_refresh" => SessionCommand::RefreshToken { token: self.token()? },
            _ => return Ok(None),
        }))
    }

    fn command(&self, kind: &str, rules: &JsonRules) -> Result<Command<'a>, Refusal> {
        Ok(match kind {
            "chat_message" => Command::Send {
                content: self.content(rules)?,
                parent: optional_id(self.parent, BAD_PARENT)?,
                client_msg_id: self.client_msg_id()?.map(Cow::Borrowed),
            },
            "typing_indicator" => Command::Typing { is_typing: self.is_typing()? },
            "read_receipt" => Command::Read { message: self.message()? },
            "message_reaction" => Command::React {
                message: self.message()?,
                emoji: self.emoji()?,
                action: self.action()?,
            },
            "message_edit" => {
                Command::Edit { message: self.message()?, content: self.content(rules)? }
            }
            "message_delete" => Command::Delete { message: self.message()? },
            _ => return Err(UNKNOWN_TYPE),
        })
    }

    fn history(&self) -> Result<HistoryQuery, Refusal> {
        let before = optional_id(self.before, BAD_ANCHOR)?.map(Anchor::Before);
        let after = optional_id(self.after, BAD_ANCHOR)?.map(Anchor::After);
        let around = optional_id(self.around, BAD_ANCHOR)?.map(Anchor::Around);
        let anchor = match (before, after, around) {
            (None, None, None) => Anchor::Newest,
            (Some(anchor), None, None)
            | (None, Some(anchor), None)
            | (None, None, Some(anchor)) => anchor,
            _ => return Err(BAD_ANCHOR),
        };
        let limit = match self.limit {
            Value::Missing | Value::Null => HISTORY_MESSAGES_DEFAULT,
            Value::Unsigned(limit) => {
                let limit = u32::try_from(limit).map_err(|_| BAD_LIMIT)?;
                let is_fine = (1..=HISTORY_MESSAGES_MAX).contains(&limit);
                is_fine.then_some(limit).ok_or(BAD_LIMIT)?
            }
            _ => return Err(BAD_LIMIT),
        };
        Ok(HistoryQuery { anchor, limit })
    }

    fn token(&self) -> Result<Cow<'a, str>, Refusal> {
        match self.token {
            Value::Text(token) if (1..=TOKEN_BYTES_MAX).contains(&token.len()) => {
                Ok(Cow::Borrowed(token))
            }
            _ => Err(BAD_TOKEN),
        }
    }

    /// What an error about this frame is to bear, if it can be read at all.
    fn name(&self, version: Version) -> Option<&'a str> {
        let reference = match version {
            Version::V1 => None,
            Version::V2 => self.reference().ok().flatten(),
        };
        reference.or_else(|| self.client_msg_id().ok().flatten())
    }

    fn reference(&self) -> Result<Option<&'a str>, Refusal> {
        match self.reference {
            Value::Missing | Value::Null => Ok(None),
            Value::Text(text) if text.len() <= REFERENCE_BYTES_MAX => Ok(Some(text)),
            _ => Err(BAD_REFERENCE),
        }
    }

    fn client_msg_id(&self) -> Result<Option<&'a str>, Refusal> {
        match self.client_msg_id {
            Value::Missing | Value::Null => Ok(None),
            Value::Text(text) if (1..=CLIENT_MSG_ID_BYTES_MAX).contains(&text.len()) => {
                Ok(Some(text))
            }
            _ => Err(BAD_CLIENT_MSG_ID),
        }
    }

    /// Trimmed of Unicode's white space.
    fn content(&self, rules: &JsonRules) -> Result<Cow<'a, str>, Refusal> {
        let Value::Text(text) = self.content else { return Err(BAD_CONTENT) };
        let content = text.trim();
        if content.is_empty() {
            return Err(EMPTY);
        }
        // No text has more characters than bytes: most need no counting.
        if content.len() > rules.content_chars && content.chars().count() > rules.content_chars {
            return Err(TOO_LONG);
        }
        Ok(Cow::Borrowed(content))
    }

    fn message(&self) -> Result<MessageId, Refusal> {
        optional_id(self.message, BAD_MESSAGE_ID)?.ok_or(BAD_MESSAGE_ID)
    }

    fn emoji(&self) -> Result<Cow<'a, str>, Refusal> {
        match self.emoji {
            Value::Text(text) if (1..=EMOJI_BYTES_MAX).contains(&text.len()) => {
                Ok(Cow::Borrowed(text))
            }
            _ => Err(BAD_EMOJI),
        }
    }

    fn action(&self) -> Result<ReactAction, Refusal> {
        match self.action {
            Value::Missing | Value::Null => Ok(ReactAction::Toggle),
            Value::Text("add") => Ok(ReactAction::Add),
            Value::Text("remove") => Ok(ReactAction::Remove),
            _ => Err(BAD_ACTION),
        }
    }

    fn is_typing(&self) -> Result<bool, Refusal> {
        match self.is_typing {
            Value::Bool(is_typing) => Ok(is_typing),
            _ => Err(BAD_IS_TYPING),
        }
    }
}

fn optional_id(value: Value<'_>, refusal: Refusal) -> Result<Option<MessageId>, Refusal> {
    match value {
        Value::Missing | Value::Null => Ok(None),
        Value::Unsigned(id) if id <= SAFE_INTEGER_MAX => Ok(Some(MessageId(id))),
        _ => Err(refusal),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
