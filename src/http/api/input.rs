//! What a request of `/api` says, checked: the message of the path, the place and length of a page. A
//! refusal says what is allowed and repeats nothing of what was sent.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::super::failure::Failure;
use super::super::input::{ListedId, path_part};
use crate::limits::{HISTORY_MESSAGES_DEFAULT, HISTORY_MESSAGES_MAX, SAFE_INTEGER_MAX};
use crate::model::{Anchor, HistoryQuery, MessageId, Seq};

const MESSAGE_IDS: Failure = Failure::invalid("a message id is a whole number below 2^53");
const LIMITS: Failure = Failure::invalid("limit is a whole number, 1 to 200");
const ANCHORS: Failure =
    Failure::invalid("the query has at most one of before, after and around: a message id");
const AFTER: Failure = Failure::invalid("after is a whole number below 2^53");
const NAMES: Failure = Failure::invalid(
    "the query has a parameter that is not known here, or one twice; see docs/http.md",
);

/// `{message}` of the path.
pub struct OfMessage(pub MessageId);

impl<S: Sync> FromRequestParts<S> for OfMessage {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<OfMessage, Failure> {
        let text = path_part(parts, "message").await?;
        whole(&text).map(|id| OfMessage(MessageId(id))).ok_or(MESSAGE_IDS)
    }
}

/// The query's parameters, each known and there at most once; the token apart, which was read before.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn read(parts: &Parts, known: &[&str]) -> Result<Parameters, Failure> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|_| NAMES)?;
        let mut pairs = query.0;
        pairs.retain(|(name, _)| name != "token");
        let is_twice = |at: usize| pairs[..at].iter().any(|(name, _)| *name == pairs[at].0);
        let is_wrong = |at: usize| !known.contains(&pairs[at].0.as_str()) || is_twice(at);
        if (0..pairs.len()).any(is_wrong) {
            return Err(NAMES);
        }
        Ok(Parameters(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn limit(&self) -> Result<u32, Failure> {
        let Some(text) = self.get("limit") else { return Ok(HISTORY_MESSAGES_DEFAULT) };
        let limit = whole(text).and_then(|limit| u32::try_from(limit).ok()).ok_or(LIMITS)?;
        if (1..=HISTORY_MESSAGES_MAX).contains(&limit) { Ok(limit) } else { Err(LIMITS) }
    }
}

/// A number as ids are written: digits alone, without leading zeros, below 2^53.
fn whole(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let has_zeros = text.len() > 1 && text.starts_with('0');
    let number = text.parse().ok().filter(|_| is_plain && !has_zeros)?;
    (number <= SAFE_INTEGER_MAX).then_some(number)
}

/// Which messages are asked for.
pub struct InHistory(pub HistoryQuery);

impl<S: Sync> FromRequestParts<S> for InHistory {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<InHistory, Failure> {
        type Side = (&'static str, fn(MessageId) -> Anchor);
        const SIDES: [Side; 3] =
            [("before", Anchor::Before), ("after", Anchor::After), ("around", Anchor::Around)];
        let parameters = Parameters::read(parts, &["before", "after", "around", "limit"])?;
        let limit = parameters.limit()?;
        let mut anchor = Anchor::Newest;
        for (name, side) in SIDES {
            let Some(text) = parameters.get(name) else { continue };
            let id = whole(text).ok_or(ANCHORS)?;
            if anchor != Anchor::Newest {
                return Err(ANCHORS);
            }
            anchor = side(MessageId(id));
        }
        Ok(InHistory(HistoryQuery { anchor, limit }))
    }
}

/// A page of a list that goes on behind a number: 0 when it begins.
pub struct Behind {
    pub after: u64,
    pub limit: u32,
}

impl Behind {
    pub fn seq(&self) -> Seq {
        Seq(self.after)
    }

    pub fn message(&self) -> MessageId {
        MessageId(self.after)
    }
}

impl<S: Sync> FromRequestParts<S> for Behind {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Behind, Failure> {
        let parameters = Parameters::read(parts, &["after", "limit"])?;
        let limit = parameters.limit()?;
        let after = parameters.get("after").map_or(Some(0), whole).ok_or(AFTER)?;
        Ok(Behind { after, limit })
    }
}

/// A page of a list that goes on behind an id.
pub struct BehindId<Id> {
    pub after: Option<Id>,
    pub limit: u32,
}

impl<S: Sync, Id: ListedId> FromRequestParts<S> for BehindId<Id> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<BehindId<Id>, Failure> {
        let parameters = Parameters::read(parts, &["after", "limit"])?;
        let limit = parameters.limit()?;
        let after = parameters.get("after").map(Id::read).transpose()?;
        Ok(BehindId { after, limit })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn history(query: &str) -> Result<HistoryQuery, &'static str> {
        let uri = format!("/conversations/1/messages?{query}");
        let mut parts = Request::get(uri).body(()).unwrap().into_parts().0;
        let read = InHistory::from_request_parts(&mut parts, &()).await;
        read.map(|found| found.0).map_err(|failure| failure.sentence)
    }

    #[tokio::test]
    async fn a_page_has_one_place_and_a_bounded_length() {
        let page = |anchor, limit| Ok(HistoryQuery { anchor, limit });
        let check = async |query: &str, expected| {
            assert_eq!(history(query).await, expected, "{query}");
        };
        check("", page(Anchor::Newest, HISTORY_MESSAGES_DEFAULT)).await;
        check("token=x&limit=200", page(Anchor::Newest, 200)).await;
        check("before=0", page(Anchor::Before(MessageId(0)), HISTORY_MESSAGES_DEFAULT)).await;
        check("after=7&limit=1", page(Anchor::After(MessageId(7)), 1)).await;
        check(
            "around=9007199254740991&limit=2",
            page(Anchor::Around(MessageId(SAFE_INTEGER_MAX)), 2),
        )
        .await;
        for limit in ["0", "201", "1000000000", "99999999999999999999", "-1", "1.5", "", "x", "01"]
        {
            check(&format!("limit={limit}"), Err(LIMITS.sentence)).await;
        }
        for id in ["", "-1", "x", "1e3", "07", "9007199254740992", "%2B1"] {
            check(&format!("before={id}"), Err(ANCHORS.sentence)).await;
        }
        check("before=1&after=2", Err(ANCHORS.sentence)).await;
        check("after=1&around=1", Err(ANCHORS.sentence)).await;
        check("before=1&before=1", Err(NAMES.sentence)).await;
        check("page=2", Err(NAMES.sentence)).await;
    }
}
