//! One message's text: we must read the command that a naive reader on top of serde_json reads, or
//! refuse it with the same code and reference. Each input is run twice: as the text itself, and as a
//! list of tokens, which is nearly JSON, so that the fuzzer gets deep quickly.
//!
//! Where the two may differ, and nowhere else:
//! - serde_json stops at 128 levels without reading on; we read on, up to 1,024, and then call the
//!   frame `invalid` if it is JSON
//! - both refuse numbers beyond the range of a double, but round differently at its very edge

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use loquat::model::{
    Anchor, Asked, Command, ErrorCode, HistoryQuery, MessageId, ReactAction, Request,
    SessionCommand, SessionRequest, Version,
};
use loquat::wire::json::{Decoder, JsonRules};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

const DEPTH: usize = 4;
const KEYS: usize = 9;
const CONTENT_CHARS: usize = 12;

/// Bytes around the text, which the parser has no business with.
const FENCE: [u8; 80] = [b'"'; 80];

pub fn run(data: &[u8]) {
    check(data);
    check(&from_script(data));
}

type Answer = Result<Asked<'static>, (ErrorCode, Option<String>)>;

fn check(text: &[u8]) {
    for version in [Version::V1, Version::V2] {
        let ours = ours(text, version);
        match serde_json::from_slice::<Tree>(text) {
            Ok(tree) => {
                let at_the_edge = tree.has_number_at_the_edge() && ours == NOT_JSON;
                let theirs = naive(&tree, version);
                assert!(at_the_edge || ours == theirs, "ours: {ours:?}\ntheirs: {theirs:?}");
            }
            Err(error) => {
                let why = error.to_string();
                let deep =
                    why.starts_with("recursion limit") && ours == Err((ErrorCode::Invalid, None));
                let at_the_edge = why.starts_with("number out of range");
                assert!(deep || at_the_edge || ours == NOT_JSON, "ours: {ours:?}\ntheirs: {why}");
            }
        }
    }
}

const NOT_JSON: Answer = Err((ErrorCode::InvalidJson, None));

thread_local! {
    /// One for all inputs, as in a core.
    static DECODER: RefCell<Decoder> = RefCell::default();
}

fn ours(text: &[u8], version: Version) -> Answer {
    let rules = JsonRules { depth: DEPTH, keys: KEYS, content_chars: CONTENT_CHARS, version };
    let mut fenced = [&FENCE[..], text, &FENCE[..]].concat();
    let inside = FENCE.len()..FENCE.len() + text.len();
    let answer = DECODER.with_borrow_mut(|decoder| {
        match decoder.decode(&mut fenced[inside.clone()], &rules) {
            Ok(Asked::Conversation(request)) => Ok(Asked::Conversation(request.into_owned())),
            Ok(Asked::Session(request)) => Ok(Asked::Session(request.into_owned())),
            Err(rejected) => Err((rejected.refusal.code, rejected.reference)),
        }
    });
    assert!(fenced.starts_with(&FENCE) && fenced[inside.end..] == FENCE, "wrote outside the text");
    answer
}

/// A JSON value with everything that serde_json's own loses: doubled keys and the order.
#[derive(Debug)]
enum Tree {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// Negative or with a fraction or an exponent, or beyond 64 bits.
    OtherNumber(f64),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::OtherNumber(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::OtherNumber(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Object(entries))
    }
}

impl Tree {
    fn children(&self) -> Vec<&Tree> {
        match self {
            Tree::Array(items) => items.iter().collect(),
            Tree::Object(entries) => entries.iter().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        }
    }

    fn depth(&self) -> usize {
        let own = usize::from(matches!(self, Tree::Array(_) | Tree::Object(_)));
        own + self.children().into_iter().map(Tree::depth).max().unwrap_or(0)
    }

    fn keys(&self) -> usize {
        let own = if let Tree::Object(entries) = self { entries.len() } else { 0 };
        own + self.children().into_iter().map(Tree::keys).sum::<usize>()
    }

    fn has_doubled_key(&self) -> bool {
        let own = if let Tree::Object(entries) = self {
            let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
            keys.sort_unstable();
            keys.windows(2).any(|pair| pair[0] == pair[1])
        } else {
            false
        };
        own || self.children().into_iter().any(Tree::has_doubled_key)
    }

    fn has_number_at_the_edge(&self) -> bool {
        matches!(self, Tree::OtherNumber(number) if number.abs() > 1e308)
            || self.children().into_iter().any(Tree::has_number_at_the_edge)
    }

    /// A key's value; `null` is the same as nothing.
    fn get(&self, name: &str) -> Option<&Tree> {
        let Tree::Object(entries) = self else { return None };
        let value = entries.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        value.filter(|value| !matches!(value, Tree::Null))
    }

    fn text(&self, name: &str) -> Option<&str> {
        if let Some(Tree::Text(text)) = self.get(name) { Some(text) } else { None }
    }

    /// `Ok(None)` where there is none, `Err` where it is something else.
    fn bounded(
        &self,
        name: &str,
        bytes: std::ops::RangeInclusive<usize>,
    ) -> Checked<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(Tree::Text(text)) if bytes.contains(&text.len()) => Ok(Some(text.clone())),
            Some(_) => Err(ErrorCode::Invalid),
        }
    }

    fn id(&self, name: &str) -> Checked<Option<MessageId>> {
        match self.get(name) {
            None => Ok(None),
            Some(Tree::Unsigned(id)) if *id < 1 << 53 => Ok(Some(MessageId(*id))),
            Some(_) => Err(ErrorCode::Invalid),
        }
    }
}

type Checked<T> = Result<T, ErrorCode>;

fn naive(frame: &Tree, version: Version) -> Answer {
    let is_object = matches!(frame, Tree::Object(_));
    if !is_object || frame.depth() > DEPTH || frame.keys() > KEYS || frame.has_doubled_key() {
        return Err((ErrorCode::Invalid, None));
    }
    let reference = match version {
        Version::V1 => Ok(None),
        Version::V2 => frame.bounded("ref", 0..=64),
    };
    let answer = reference.clone().and_then(|reference| {
        let reference = reference.map(Cow::Owned);
        if version == Version::V2
            && let Some(command) = naive_session_command(frame)?
        {
            return Ok(Asked::Session(SessionRequest { reference, command }));
        }
        let command = naive_command(frame)?;
        Ok(Asked::Conversation(Request { reference, command }))
    });
    answer.map_err(|code| {
        let client_msg_id = || frame.bounded("client_msg_id", 1..=64).ok().flatten();
        (code, reference.ok().flatten().or_else(client_msg_id))
    })
}

fn naive_session_command(frame: &Tree) -> Checked<Option<SessionCommand<'static>>> {
    Ok(Some(match frame.text("type") {
        Some("ping") => SessionCommand::Ping,
        Some("token_refresh") => SessionCommand::RefreshToken {
            token: frame.bounded("token", 1..=4096)?.ok_or(ErrorCode::Invalid)?.into(),
        },
        Some("history") => {
            let before = frame.id("before")?.map(Anchor::Before);
            let after = frame.id("after")?.map(Anchor::After);
            let around = frame.id("around")?.map(Anchor::Around);
            let mut anchors = before.into_iter().chain(after).chain(around);
            let anchor = anchors.next().unwrap_or(Anchor::Newest);
            let limit = match frame.get("limit") {
                None => 50,
                Some(Tree::Unsigned(limit @ 1..=200)) => *limit as u32,
                Some(_) => return Err(ErrorCode::Invalid),
            };
            if anchors.next().is_some() {
                return Err(ErrorCode::Invalid);
            }
            SessionCommand::History(HistoryQuery { anchor, limit })
        }
        _ => return Ok(None),
    }))
}

/// The first thing that is wrong, in the order of the fields here, decides the code.
fn naive_command(frame: &Tree) -> Checked<Command<'static>> {
    let message = || frame.id("message_id")?.ok_or(ErrorCode::Invalid);
    Ok(match frame.text("type").ok_or(ErrorCode::Invalid)? {
        "chat_message" => Command::Send {
            content: naive_content(frame)?,
            parent: frame.id("parent_message_id")?,
            client_msg_id: frame.bounded("client_msg_id", 1..=64)?.map(Cow::Owned),
        },
        "typing_indicator" => match frame.get("is_typing") {
            Some(&Tree::Bool(is_typing)) => Command::Typing { is_typing },
            _ => return Err(ErrorCode::Invalid),
        },
        "read_receipt" => Command::Read { message: message()? },
        "message_reaction" => Command::React {
            message: message()?,
            emoji: frame.bounded("emoji", 1..=64)?.ok_or(ErrorCode::Invalid)?.into(),
            action: match (frame.get("action"), frame.text("action")) {
                (None, _) => ReactAction::Toggle,
                (_, Some("add")) => ReactAction::Add,
                (_, Some("remove")) => ReactAction::Remove,
                _ => return Err(ErrorCode::Invalid),
            },
        },
        "message_edit" => Command::Edit { message: message()?, content: naive_content(frame)? },
        "message_delete" => Command::Delete { message: message()? },
        _ => return Err(ErrorCode::UnknownType),
    })
}

fn naive_content(frame: &Tree) -> Checked<Cow<'static, str>> {
    let text = frame.text("content").ok_or(ErrorCode::Invalid)?;
    let chars: Vec<char> = text.chars().collect();
    let first = chars.iter().position(|char| !char.is_whitespace()).ok_or(ErrorCode::Empty)?;
    let last = chars.iter().rposition(|char| !char.is_whitespace()).unwrap_or(first);
    let content: String = chars[first..=last].iter().collect();
    if last - first >= CONTENT_CHARS { Err(ErrorCode::TooLong) } else { Ok(content.into()) }
}

/// Each byte stands for a token.
fn from_script(data: &[u8]) -> Vec<u8> {
    data.iter().flat_map(|&byte| TOKENS[usize::from(byte) % TOKENS.len()].bytes()).collect()
}

#[rustfmt::skip]
const TOKENS: [&str; 96] = [
    "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "\n", "true", "false", "null", "0", "-", "1",
    r#"{"type":"chat_message","content":"a""#, r#"{"type":"message_edit","message_id":4"#,
    r#"{"type":"message_reaction","message_id":4"#, r#"{"type":"message_delete""#,
    r#"{"type":"read_receipt","message_id":"#, r#"{"type": "read_receipt", "message_id": "#,
    r#"{"type":"typing_indicator","is_typing":"#, r#"{"type": "typing_indicator", "is_typing": "#,
    r#""type":"#, r#""chat_message""#, r#""typing_indicator""#, r#""read_receipt""#,
    r#""message_reaction""#, r#""message_edit""#, r#""message_delete""#, r#""ping""#,
    r#","content":""#, r#","message_id":"#, r#","parent_message_id":"#, r#","client_msg_id":""#,
    r#","ref":""#, r#","emoji":""#, r#","action":"#, r#","is_typing":"#, r#","x":"#, r#""x":"#,
    r#""a""#, r#""add""#, r#""remove""#, r#""👍""#, r#""""#, "\",", "\"}", "},", "],", ",\"",
    "9007199254740991", "9007199254740992", "18446744073709551616", "1.5", "1e3", "e400", "-0",
    "a", "bcdefghijk", "éé", "👍", "\u{2003}", "\u{feff}", "\u{0}", "\u{1f}", "\t", "\r", "/",
    r"\n", r"\u0000", r"\u00e9", r"\ud83d", r"\udc4d", r"\ud83d\udc4d", r"\\", r#"\""#, r"\/", r"\u",
    r#"{"type":"history""#, r#"{"type":"token_refresh""#, r#","before":"#, r#","after":"#,
    r#","around":"#, r#","limit":"#, r#","token":""#, r#""history""#,
    "[[[[", "]]]]", r#"{"x":{"x":{"x":"#, "}}}", "tru", "nul", "12345678", "                ",
];
