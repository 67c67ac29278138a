//! What an admin request says, checked: ids of the path, the JSON body, the page of a list. A
//! refusal says what is allowed and repeats nothing of what was sent.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::admin::Admin;
use super::failure::Failure;
use super::instant;
use crate::model::id::InvalidId;
use crate::model::{ConversationId, MessageId, Profile, Role, UserId, Wall};
use crate::node::admin::{Post, Sender};

const PAGE_ENTRIES: usize = 100;
const PAGE_ENTRIES_MAX: usize = 1_000;
/// As for the server's setting.
const RETENTION_DAYS_MAX: u32 = 36_500;
/// RFC 5321 §4.5.3.1: a path without its angle brackets.
const EMAIL_BYTES_MAX: usize = 254;
/// As in Django's user model.
const NAME_CHARS_MAX: usize = 150;

const CONVERSATION_IDS: Failure = Failure::invalid(
    "a conversation id is 1 to 64 of A-Z a-z 0-9 _ -; all digits: without leading zeros, below 2^53",
);
const USER_IDS: Failure = Failure::invalid(
    "a user id is 1 to 64 of A-Z a-z 0-9 _ . @ + -; all digits: without leading zeros, below 2^53",
);
const MESSAGE_IDS: Failure = Failure::invalid("a message id is a number below 2^53");
const PAGES: Failure = Failure::invalid(
    "the query may have after (the last id of the page before) and limit (1 to 1000)",
);
const NOT_A_PATH: Failure = Failure::invalid("the path is not percent-encoded UTF-8");

fn conversation(text: &str) -> Result<ConversationId, Failure> {
    ConversationId::parse(text).map_err(|_| CONVERSATION_IDS)
}

fn user(text: &str) -> Result<UserId, Failure> {
    UserId::parse(text).map_err(|_| USER_IDS)
}

/// `{conversation}` of the path.
pub struct InConversation(pub ConversationId);

/// `{user}` of the path.
pub struct OfUser(pub UserId);

pub async fn path_part(parts: &mut Parts, name: &str) -> Result<String, Failure> {
    let params = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| NOT_A_PATH)?;
    let part = params.iter().find(|(found, _)| *found == name).map(|(_, text)| text.to_owned());
    part.ok_or(Failure::NO_SUCH_PATH)
}

impl<S: Sync> FromRequestParts<S> for InConversation {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<InConversation, Failure> {
        conversation(&path_part(parts, "conversation").await?).map(InConversation)
    }
}

impl<S: Sync> FromRequestParts<S> for OfUser {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<OfUser, Failure> {
        user(&path_part(parts, "user").await?).map(OfUser)
    }
}

/// `{message}` of the path.
pub struct OfMessage(pub MessageId);

impl<S: Sync> FromRequestParts<S> for OfMessage {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<OfMessage, Failure> {
        let number = path_part(parts, "message").await?.parse().map_err(|_| MESSAGE_IDS)?;
        Ok(OfMessage(MessageId(number)))
    }
}

/// Which part of a list is asked for.
pub struct Page<Id> {
    pub after: Option<Id>,
    pub limit: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPage {
    after: Option<String>,
    limit: Option<usize>,
}

pub trait ListedId: Sized {
    fn read(text: &str) -> Result<Self, Failure>;
}

impl ListedId for ConversationId {
    fn read(text: &str) -> Result<ConversationId, Failure> {
        conversation(text)
    }
}

impl ListedId for UserId {
    fn read(text: &str) -> Result<UserId, Failure> {
        user(text)
    }
}

impl<S: Sync, Id: ListedId> FromRequestParts<S> for Page<Id> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Page<Id>, Failure> {
        let raw: Query<RawPage> = Query::try_from_uri(&parts.uri).map_err(|_| PAGES)?;
        let limit = raw.limit.unwrap_or(PAGE_ENTRIES);
        if !(1..=PAGE_ENTRIES_MAX).contains(&limit) {
            return Err(PAGES);
        }
        let after = raw.after.as_deref().map(Id::read).transpose()?;
        Ok(Page { after, limit })
    }
}

/// A JSON body. An empty one counts as `{}`.
pub struct Input<T>(pub T);

/// A body's shape, and what to say when it has another.
pub trait Shape: DeserializeOwned {
    const ALLOWED: &'static str;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Shape for Nothing {
    const ALLOWED: &'static str = "this takes no body";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberBody {
    pub role: Role,
}

impl Shape for MemberBody {
    const ALLOWED: &'static str =
        "the body is {\"role\": R} with R one of read_only, member, moderator, admin";
}

/// What is left out becomes empty.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct ProfileBody {
    email: String,
    first_name: String,
    last_name: String,
}

impl Shape for ProfileBody {
    const ALLOWED: &'static str =
        "the body may have email, first_name and last_name, each a string";
}

impl ProfileBody {
    pub fn profile(self, id: UserId) -> Result<Profile, Failure> {
        let fields = [&self.email, &self.first_name, &self.last_name];
        if fields.iter().any(|text| text.chars().any(char::is_control)) {
            return Err(Failure::invalid("a profile has no control characters"));
        }
        let is_long = |name: &str| name.chars().count() > NAME_CHARS_MAX;
        if is_long(&self.first_name) || is_long(&self.last_name) {
            return Err(Failure::invalid("a name has at most 150 characters"));
        }
        if self.email.len() > EMAIL_BYTES_MAX {
            return Err(Failure::invalid("an e-mail address has at most 254 bytes"));
        }
        let ProfileBody { email, first_name, last_name } = self;
        Ok(Profile { id, email, first_name, last_name })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeBody {
    issued_before: Option<String>,
}

impl Shape for RevokeBody {
    const ALLOWED: &'static str =
        "the body may have issued_before, a time like \"2025-11-26T10:30:00Z\"";
}

impl RevokeBody {
    /// A time to come would also refuse the tokens that are issued until then.
    pub fn issued_before(self, now: Wall) -> Result<Option<Wall>, Failure> {
        let Some(text) = self.issued_before else { return Ok(None) };
        let at = instant::parse(&text).ok_or(Failure::invalid(RevokeBody::ALLOWED))?;
        if at > now {
            return Err(Failure::invalid("issued_before is not in the future"));
        }
        Ok(Some(at))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionBody {
    /// Written out, if only as `null`: nothing is changed by leaving it out.
    #[serde(deserialize_with = "Option::deserialize")]
    retention_days: Option<u32>,
}

impl Shape for RetentionBody {
    const ALLOWED: &'static str =
        "the body is {\"retention_days\": D} with D 1 to 36500, or null for the server's";
}

impl RetentionBody {
    pub fn days(self) -> Result<Option<u32>, Failure> {
        match self.retention_days {
            Some(days) if !(1..=RETENTION_DAYS_MAX).contains(&days) => {
                Err(Failure::invalid(RetentionBody::ALLOWED))
            }
            days => Ok(days),
        }
    }
}

/// An id as JSON has it: clients write numbers and texts.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum RawId {
    Number(u64),
    Text(String),
}

impl RawId {
    pub fn user(&self) -> Result<UserId, InvalidId> {
        match self {
            RawId::Number(number) => UserId::from_number(*number),
            RawId::Text(text) => UserId::parse(text),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostBody {
    content: String,
    user_id: Option<RawId>,
    #[serde(default)]
    system: bool,
    parent_message_id: Option<u64>,
    client_msg_id: Option<String>,
}

impl Shape for PostBody {
    const ALLOWED: &'static str = "the body has content and either user_id or \"system\": true; it may \
                                   have parent_message_id and client_msg_id";
}

impl PostBody {
    pub fn post(self) -> Result<Post, Failure> {
        let sender = match (self.user_id, self.system) {
            (None, true) => Sender::System,
            (Some(id), false) => Sender::User(id.user().map_err(|_| USER_IDS)?),
            _ => return Err(Failure::invalid(PostBody::ALLOWED)),
        };
        Ok(Post {
            sender,
            content: self.content,
            parent: self.parent_message_id.map(MessageId),
            client_msg_id: self.client_msg_id,
        })
    }
}

impl<T: Shape> FromRequest<Arc<Admin>> for Input<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, admin: &Arc<Admin>) -> Result<Input<T>, Failure> {
        let is_json = is_json(&request);
        let body = read_body(request, admin).await?;
        if body.is_empty() {
            return parse(b"{}");
        }
        if !is_json {
            let sentence = "a body has Content-Type: application/json";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Failure::new(status, "unsupported_media_type", sentence));
        }
        parse(&body)
    }
}

fn is_json(request: &Request) -> bool {
    let Some(Ok(kind)) = request.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str())
    else {
        return false;
    };
    let essence = kind.split_once(';').map_or(kind, |(essence, _)| essence);
    essence.trim().eq_ignore_ascii_case("application/json")
}

async fn read_body(request: Request, admin: &Admin) -> Result<Bytes, Failure> {
    const TOO_LARGE: Failure =
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large");
    let bytes_max = admin.bounds.admin_body_bytes;
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    if length.and_then(|it| it.parse::<usize>().ok()).is_some_and(|length| length > bytes_max) {
        return Err(TOO_LARGE);
    }
    let whole = axum::body::to_bytes(request.into_body(), bytes_max);
    match tokio::time::timeout(admin.bounds.timeout(), whole).await {
        Ok(Ok(body)) => Ok(body),
        // A chunked body over the bound; a body that broke off reaches nobody anyway.
        Ok(Err(_)) => Err(TOO_LARGE),
        Err(_) => {
            let sentence = "the body took too long to come";
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "timeout", sentence))
        }
    }
}

fn parse<T: Shape>(body: &[u8]) -> Result<Input<T>, Failure> {
    use serde_json::error::Category;
    serde_json::from_slice(body).map(Input).map_err(|error| match error.classify() {
        Category::Data => Failure::invalid(T::ALLOWED),
        Category::Syntax | Category::Eof | Category::Io => {
            Failure::new(StatusCode::BAD_REQUEST, "invalid_json", "the body is not JSON")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: Shape>(body: &str) -> Option<&'static str> {
        parse::<T>(body.as_bytes()).err().map(|failure| failure.code)
    }

    #[test]
    fn bodies_of_another_shape_are_refused() {
        assert_eq!(refusal::<MemberBody>(r#"{"role":"moderator"}"#), None);
        assert_eq!(refusal::<MemberBody>(r#"{"role":"king"}"#), Some("invalid"));
        assert_eq!(refusal::<MemberBody>(r#"{"role":"member","x":1}"#), Some("invalid"));
        assert_eq!(refusal::<MemberBody>(r#"{"role":"member","role":"admin"}"#), Some("invalid"));
        assert_eq!(refusal::<MemberBody>("{}"), Some("invalid"));
        assert_eq!(refusal::<MemberBody>("[]"), Some("invalid"));
        assert_eq!(refusal::<MemberBody>("{"), Some("invalid_json"));
        assert_eq!(refusal::<MemberBody>(r#"{"role":"member"} x"#), Some("invalid_json"));
        assert_eq!(refusal::<Nothing>("{}"), None);
        assert_eq!(refusal::<Nothing>(r#"{"title":"x"}"#), Some("invalid"));
        assert_eq!(refusal::<RevokeBody>("{}"), None);
        assert_eq!(refusal::<RevokeBody>(r#"{"issued_before":5}"#), Some("invalid"));
    }

    #[test]
    fn profiles_are_bounded() {
        let check = |body: ProfileBody, expected: Option<&str>| {
            let id = UserId::parse("1").unwrap();
            assert_eq!(body.profile(id).err().map(|failure| failure.sentence), expected);
        };
        let names = |first_name: String| ProfileBody { first_name, ..ProfileBody::default() };
        check(names("é".repeat(150)), None);
        check(names("é".repeat(151)), Some("a name has at most 150 characters"));
        check(names("a\u{7}".to_owned()), Some("a profile has no control characters"));
        let email = ProfileBody { email: "e".repeat(255), ..ProfileBody::default() };
        check(email, Some("an e-mail address has at most 254 bytes"));
    }

    #[test]
    fn tokens_of_the_future_are_not_revoked() {
        let check = |text: &str, expected: Result<Option<Wall>, &str>| {
            let body = RevokeBody { issued_before: Some(text.to_owned()) };
            let found = body.issued_before(Wall(1_000)).map_err(|failure| failure.code);
            assert_eq!(found, expected, "{text}");
        };
        check("1970-01-01T00:00:01Z", Ok(Some(Wall(1_000))));
        check("1970-01-01T00:00:01.001Z", Err("invalid"));
        check("yesterday", Err("invalid"));
    }
}
