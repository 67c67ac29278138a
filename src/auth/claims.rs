//! What a signed token says: claims → [`Identity`].
//!
//! It is only ever given the payload of a token whose signature holds. Every claim that is used
//! has one type and a bound; what has another is refused and never taken as absent (PyJWT's
//! CVE-2026-32597 and jsonwebtoken's CVE-2026-25537 are of that kind). Unknown claims are ignored.

use std::borrow::Cow;

use super::object::{self, Value};
use super::{SetupError, TokenError, Why};
use crate::limits::{
    CLOCK_SKEW_S, TOKEN_CONVERSATIONS_MAX, TOKEN_NAME_CHARS_MAX, TOKEN_TIME_S_MAX,
};
use crate::model::{ConversationId, Identity, Role, Scope, UserId, Wall};

/// What a token must say beyond what every token must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The claim that names the user; SimpleJWT's `USER_ID_CLAIM`.
    pub user_claim: String,
    /// How long after `exp` a token is still taken.
    pub leeway_ms: u64,
    /// One of the token's `aud`, if set; without it `aud` is not looked at.
    pub audience: Option<String>,
    /// The token's `iss`, if set; without it `iss` is not looked at.
    pub issuer: Option<String>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { user_claim: "user_id".to_owned(), leeway_ms: 0, audience: None, issuer: None }
    }
}

const LEEWAY_MS_MAX: u64 = 24 * 3600 * 1000;
/// The only `token_type` that opens a socket.
pub(super) const ACCESS: &str = "access";
/// Claims with a meaning of their own, which therefore cannot name the user. (`sub` can.)
const TAKEN: [&str; 12] = [
    "exp",
    "nbf",
    "iat",
    "jti",
    "token_type",
    "aud",
    "iss",
    "email",
    "first_name",
    "last_name",
    "role",
    "conversations",
];

impl Rules {
    pub(super) fn check(&self) -> Result<(), SetupError> {
        if self.user_claim.is_empty() || TAKEN.contains(&self.user_claim.as_str()) {
            return Err(SetupError::InvalidUserClaim);
        }
        if self.leeway_ms > LEEWAY_MS_MAX {
            return Err(SetupError::LongLeeway);
        }
        Ok(())
    }
}

/// The identity in a signed payload. Time comes last, so that `Expired` means: nothing else is wrong.
pub(super) fn read(json: &[u8], rules: &Rules, now: Wall) -> Result<Identity, TokenError> {
    let mut claims = Claims::default();
    object::read(json, |name, value| claims.take(name, value, rules))?;
    let expires_at_ms = claims.expires_at_ms.ok_or(Why::Expiry)?;
    let identity = claims.complete(rules, expires_at_ms, now)?;
    if expires_at_ms.saturating_add(rules.leeway_ms) <= now.0 {
        return Err(TokenError::Expired);
    }
    Ok(identity)
}

/// The claims met so far, each already of its type.
#[derive(Default)]
struct Claims {
    user: Option<UserId>,
    expires_at_ms: Option<u64>,
    not_before_ms: Option<u64>,
    issued_at_ms: Option<u64>,
    has_token_id: bool,
    is_access: bool,
    is_for_us: bool,
    is_from_issuer: bool,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    role: Option<Role>,
    scope: Option<Scope>,
}

impl Claims {
    fn take(&mut self, name: &str, value: Value<'_>, rules: &Rules) -> Result<(), Why> {
        match name {
            "exp" => self.expires_at_ms = Some(time_ms(&value).ok_or(Why::Expiry)?),
            "nbf" => self.not_before_ms = Some(time_ms(&value).ok_or(Why::NotBefore)?),
            "iat" => self.issued_at_ms = Some(time_ms(&value).ok_or(Why::IssuedAt)?),
            "jti" => {
                self.has_token_id = value.as_text().is_some_and(|id| !id.is_empty());
            }
            "token_type" => self.is_access = value.as_text() == Some(ACCESS),
            "aud" => self.is_for_us = rules.audience.as_ref().is_some_and(|a| is_for(&value, a)),
            "iss" => self.is_from_issuer = value.as_text() == rules.issuer.as_deref(),
            "email" => self.email = name_of(value, Why::Email)?,
            "first_name" => self.first_name = name_of(value, Why::FirstName)?,
            "last_name" => self.last_name = name_of(value, Why::LastName)?,
            "role" => self.role = role_of(&value)?,
            "conversations" => self.scope = scope_of(&value)?,
            _ if name == rules.user_claim => self.user = Some(user_of(&value).ok_or(Why::User)?),
            _ => {}
        }
        Ok(())
    }

    /// Everything but `exp`, which the caller has.
    fn complete(self, rules: &Rules, expires_at_ms: u64, now: Wall) -> Result<Identity, Why> {
        let require = |holds: bool, why: Why| if holds { Ok(()) } else { Err(why) };
        let latest = now.0.saturating_add(CLOCK_SKEW_S * 1000);
        let has_come = |time_ms: Option<u64>| time_ms.is_none_or(|t| t <= latest);
        require(self.has_token_id, Why::TokenId)?;
        require(self.is_access, Why::TokenType)?;
        require(rules.audience.is_none() || self.is_for_us, Why::Audience)?;
        require(rules.issuer.is_none() || self.is_from_issuer, Why::Issuer)?;
        require(has_come(self.not_before_ms), Why::NotYet)?;
        require(has_come(self.issued_at_ms), Why::IssuedLater)?;
        Ok(Identity {
            user: self.user.ok_or(Why::User)?,
            email: self.email,
            first_name: self.first_name,
            last_name: self.last_name,
            role: self.role,
            scope: self.scope,
            issued_at_ms: self.issued_at_ms,
            expires_at_ms,
        })
    }
}

/// RFC 7519 NumericDate in ms, parts of a ms cut off; before 1970 counts as 1970, after 9999 as an
/// error (SimpleJWT cannot hold such a date either).
fn time_ms(value: &Value<'_>) -> Option<u64> {
    match *value {
        Value::Negative => Some(0),
        Value::Unsigned(seconds) if seconds <= TOKEN_TIME_S_MAX => Some(seconds * 1000),
        // The bound keeps it far below 2^53; what is below 0 becomes 0.
        Value::Float(seconds) if seconds <= TOKEN_TIME_S_MAX as f64 => {
            Some((seconds * 1000.0) as u64)
        }
        _ => None,
    }
}

/// SimpleJWT writes an integer up to 5.5.0 and a text from 5.5.1 on; both are one user. Nobody comes in as
/// the one who speaks for the operator.
fn user_of(value: &Value<'_>) -> Option<UserId> {
    let user = match value {
        Value::Unsigned(number) => UserId::from_number(*number).ok(),
        Value::Text(text) => UserId::parse(text).ok(),
        _ => None,
    };
    user.filter(|user| !user.is_system())
}

/// RFC 7519 §4.1.3: one text or a list of texts.
fn is_for(value: &Value<'_>, audience: &str) -> bool {
    match value {
        Value::Text(one) => one == audience,
        Value::List(all) => {
            all.iter().all(|one| one.as_text().is_some())
                && all.iter().any(|one| one.as_text() == Some(audience))
        }
        _ => false,
    }
}

fn name_of(value: Value<'_>, why: Why) -> Result<Option<String>, Why> {
    match value {
        Value::Null => Ok(None),
        Value::Text(text) if text.chars().count() <= TOKEN_NAME_CHARS_MAX => {
            Ok(Some(Cow::into_owned(text)))
        }
        _ => Err(why),
    }
}

fn role_of(value: &Value<'_>) -> Result<Option<Role>, Why> {
    match value {
        Value::Null => Ok(None),
        Value::Text(role) => Role::parse(role).map(Some).ok_or(Why::Role),
        _ => Err(Why::Role),
    }
}

fn scope_of(value: &Value<'_>) -> Result<Option<Scope>, Why> {
    match value {
        Value::Null => Ok(None),
        Value::Text(all) if all == "*" => Ok(Some(Scope::All)),
        Value::List(list) if list.len() <= TOKEN_CONVERSATIONS_MAX => {
            let ids: Option<Vec<_>> = list.iter().map(conversation_of).collect();
            Ok(Some(Scope::Listed(ids.ok_or(Why::Conversations)?.into())))
        }
        _ => Err(Why::Conversations),
    }
}

fn conversation_of(value: &Value<'_>) -> Option<ConversationId> {
    match value {
        Value::Unsigned(number) => ConversationId::from_number(*number).ok(),
        Value::Text(text) => ConversationId::parse(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IdRef;

    const NOW_S: u64 = 1_764_151_800;
    const GOOD: &str = r#""exp":1764151801,"jti":"a","token_type":"access","user_id":7"#;

    fn rules() -> Rules {
        Rules::default()
    }

    fn read_at(json: &str, rules: &Rules, now_ms: u64) -> Result<Identity, TokenError> {
        read(json.as_bytes(), rules, Wall(now_ms))
    }

    /// The good claims, with those of `more` added, or put in the place of the same name.
    fn claims(more: &str) -> String {
        let name = |member: &str| member.split(':').next().unwrap_or_default().to_owned();
        let kept: Vec<_> = GOOD.split(',').filter(|m| name(m) != name(more)).collect();
        let more = if more.ends_with(':') { "" } else { more };
        format!("{{{}}}", [&kept[..], &[more]].concat().join(",").trim_matches(','))
    }

    fn check(more: &str, rules: &Rules, expected: Result<(), TokenError>) {
        let json = claims(more);
        assert_eq!(read_at(&json, rules, NOW_S * 1000).map(drop), expected, "{json}");
    }

    fn refuse(more: &str, why: Why) {
        check(more, &rules(), Err(TokenError::Invalid(why)));
    }

    fn accept(more: &str) -> Identity {
        let json = claims(more);
        read_at(&json, &rules(), NOW_S * 1000).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    #[test]
    fn a_token_ends_at_its_exp() {
        for expired in ["1764151800", "1764151800.0", "0", "-1", "-1.5", "1764151799.9999"] {
            check(&format!("\"exp\":{expired}"), &rules(), Err(TokenError::Expired));
        }
        for good in
            ["1764151801", "1764151800.001", "1764151801.5", "1.764151801e9", "253402300799"]
        {
            check(&format!("\"exp\":{good}"), &rules(), Ok(()));
        }
        for none in [
            "\"1764151801\"",
            "null",
            "true",
            "[1764151801]",
            "{}",
            "1e300",
            "253402300800",
            "18446744073709551615",
        ] {
            refuse(&format!("\"exp\":{none}"), Why::Expiry);
        }
        refuse("\"exp\":", Why::Expiry);
        for number in ["NaN", "Infinity", "1e400", "-1e400", "0x7fffffff"] {
            refuse(&format!("\"exp\":{number}"), Why::Json);
        }
        assert_eq!(accept("\"exp\":1764151801.25").expires_at_ms, 1_764_151_801_250);
    }

    #[test]
    fn leeway_moves_the_end() {
        let lenient = Rules { leeway_ms: 2_500, ..rules() };
        let at = |ms: u64| read_at(&claims(""), &lenient, 1_764_151_801_000 + ms).map(drop);
        assert_eq!(at(2_499), Ok(()));
        assert_eq!(at(2_500), Err(TokenError::Expired));
    }

    #[test]
    fn an_expired_token_with_another_fault_is_invalid() {
        let json = r#"{"exp":1,"jti":"a","token_type":"refresh","user_id":7}"#;
        let refused = read_at(json, &rules(), NOW_S * 1000);
        assert_eq!(refused, Err(TokenError::Invalid(Why::TokenType)));
    }

    #[test]
    fn times_to_come_are_refused_beyond_five_seconds() {
        for (claim, later, wrong) in
            [("nbf", Why::NotYet, Why::NotBefore), ("iat", Why::IssuedLater, Why::IssuedAt)]
        {
            for good in ["1764151805", "1764151805.0", "0", "-5", "1.5"] {
                check(&format!("\"{claim}\":{good}"), &rules(), Ok(()));
            }
            for future in ["1764151805.001", "1764151806", "253402300799"] {
                refuse(&format!("\"{claim}\":{future}"), later);
            }
            for other in ["\"0\"", "null", "false", "[]", "{}", "1e300"] {
                refuse(&format!("\"{claim}\":{other}"), wrong);
            }
        }
        // However old it is, age is not derived from `iat`.
        assert_eq!(accept("\"iat\":1.5").issued_at_ms, Some(1_500));
        assert_eq!(accept("").issued_at_ms, None);
    }

    #[test]
    fn only_access_tokens_with_an_id_count() {
        for id in ["", "\"\"", "null", "7", "[\"a\"]"] {
            refuse(&format!("\"jti\":{id}"), Why::TokenId);
        }
        for kind in ["", "\"refresh\"", "\"sliding\"", "\"Access\"", "null", "1", "[\"access\"]"] {
            refuse(&format!("\"token_type\":{kind}"), Why::TokenType);
        }
    }

    #[test]
    fn a_user_is_a_number_or_a_text() {
        let check_user = |id: &str, expected: IdRef<'_>| {
            assert_eq!(accept(&format!("\"user_id\":{id}")).user.as_ref(), expected);
        };
        check_user("0", IdRef::Number(0));
        check_user("9007199254740991", IdRef::Number(9_007_199_254_740_991));
        check_user("\"7\"", IdRef::Number(7));
        check_user("\"ann.lee+1@x\"", IdRef::Text("ann.lee+1@x"));
        let uuid = "0d5f3c3e-8a54-4b55-9f1a-2f1f5f5f0a11";
        check_user(&format!("\"{uuid}\""), IdRef::Text(uuid));
        for id in [
            "",
            "null",
            "true",
            "-1",
            "1.0",
            "1e2",
            "9007199254740992",
            "\"9007199254740992\"",
            "18446744073709551616",
            "\"\"",
            "\"07\"",
            "\"a b\"",
            "\"../x\"",
            "\"system\"",
            "\"\\u0073ystem\"",
            "[7]",
            "{\"id\":7}",
        ] {
            refuse(&format!("\"user_id\":{id}"), Why::User);
        }
        refuse(&format!("\"user_id\":\"{}\"", "a".repeat(65)), Why::User);
    }

    #[test]
    fn the_user_claim_has_the_configured_name() {
        let sub = Rules { user_claim: "sub".to_owned(), ..rules() };
        check("\"sub\":\"8\"", &sub, Ok(()));
        check("", &sub, Err(TokenError::Invalid(Why::User)));
        let json = claims("\"sub\":\"8\"");
        let user = read_at(&json, &sub, NOW_S * 1000).unwrap().user;
        assert_eq!(user.as_ref(), IdRef::Number(8));
        for taken in TAKEN.iter().chain(&[""]) {
            let rules = Rules { user_claim: (*taken).to_owned(), ..rules() };
            assert_eq!(rules.check(), Err(SetupError::InvalidUserClaim));
        }
        let long = Rules { leeway_ms: LEEWAY_MS_MAX + 1, ..rules() };
        assert_eq!(long.check(), Err(SetupError::LongLeeway));
    }

    #[test]
    fn audience_and_issuer_count_only_when_configured() {
        let strict = Rules { audience: Some("chat".to_owned()), ..rules() };
        for aud in ["\"chat\"", "[\"web\",\"chat\"]"] {
            check(&format!("\"aud\":{aud}"), &strict, Ok(()));
        }
        for aud in
            ["", "\"web\"", "\"Chat\"", "[]", "[\"web\"]", "null", "[\"chat\",1]", "[[\"chat\"]]"]
        {
            let json = format!("\"aud\":{aud}");
            check(&json, &strict, Err(TokenError::Invalid(Why::Audience)));
            check(&json, &rules(), Ok(()));
        }
        let strict = Rules { issuer: Some("https://a.example".to_owned()), ..rules() };
        check("\"iss\":\"https://a.example\"", &strict, Ok(()));
        for iss in ["", "\"https://b.example\"", "null", "[\"https://a.example\"]"] {
            let json = format!("\"iss\":{iss}");
            check(&json, &strict, Err(TokenError::Invalid(Why::Issuer)));
            check(&json, &rules(), Ok(()));
        }
    }

    #[test]
    fn names_are_bounded_and_null_is_absent() {
        for (claim, why) in
            [("email", Why::Email), ("first_name", Why::FirstName), ("last_name", Why::LastName)]
        {
            let said = |value: &str| {
                let who = accept(&format!("\"{claim}\":{value}"));
                [who.email, who.first_name, who.last_name].into_iter().flatten().next()
            };
            assert_eq!(said("\"Zo\\u00eb\""), Some("Zoë".to_owned()));
            assert_eq!(said("\"\""), Some(String::new()));
            assert_eq!(said("null"), None);
            assert_eq!(said(&format!("\"{}\"", "é".repeat(256))), Some("é".repeat(256)));
            refuse(&format!("\"{claim}\":\"{}\"", "é".repeat(257)), why);
            for other in ["1", "[]", "true", "{\"a\":\"b\"}"] {
                refuse(&format!("\"{claim}\":{other}"), why);
            }
        }
    }

    #[test]
    fn roles_are_known_or_refused() {
        for role in [Role::ReadOnly, Role::Member, Role::Moderator, Role::Admin] {
            assert_eq!(accept(&format!("\"role\":\"{}\"", role.as_str())).role, Some(role));
        }
        assert_eq!(accept("\"role\":null").role, None);
        for role in ["\"root\"", "\"Admin\"", "\"\"", "1", "[\"admin\"]", "true"] {
            refuse(&format!("\"role\":{role}"), Why::Role);
        }
    }

    #[test]
    fn conversations_are_all_or_a_list() {
        assert_eq!(accept("").scope, None);
        assert_eq!(accept("\"conversations\":null").scope, None);
        assert_eq!(accept("\"conversations\":\"*\"").scope, Some(Scope::All));
        assert_eq!(accept("\"conversations\":[]").scope, Some(Scope::Listed([].into())));
        let listed = accept("\"conversations\":[77]").scope.unwrap();
        let id = |text: &str| ConversationId::parse(text).unwrap();
        assert!(listed.covers(&id("77")) && !listed.covers(&id("78")));
        for other in [
            "\"77\"",
            "77",
            "true",
            "[\"*\"]",
            "[-1]",
            "[1.5]",
            "[null]",
            "[\"a/b\"]",
            "[[77]]",
            "{}",
        ] {
            refuse(&format!("\"conversations\":{other}"), Why::Conversations);
        }
        let many = |count: usize| {
            let ids = vec!["1"; count].join(",");
            let json = format!("{{{GOOD},\"conversations\":[\"a-b_c\",{ids}]}}");
            read_at(&json, &rules(), NOW_S * 1000).map(drop)
        };
        assert_eq!(many(TOKEN_CONVERSATIONS_MAX - 1), Ok(()));
        assert_eq!(many(TOKEN_CONVERSATIONS_MAX), Err(Why::Conversations.into()));
    }

    #[test]
    fn claims_are_one_object_with_each_name_once() {
        check("\"hash_password\":\"x\",\"groups\":[{\"a\":1}]", &rules(), Ok(()));
        for json in ["null", "[]", "\"access\"", "{", ""] {
            let refused = read_at(json, &rules(), NOW_S * 1000);
            assert_eq!(refused, Err(Why::Json.into()), "{json}");
        }
        let doubled = |member: &str| {
            let json = format!("{{{GOOD},{member}}}");
            assert_eq!(read_at(&json, &rules(), NOW_S * 1000), Err(Why::DuplicateName.into()));
        };
        doubled("\"exp\":1764151801");
        doubled("\"user_id\":8");
        doubled("\"us\\u0065r_id\":8");
        doubled("\"x\":1,\"x\":1");
    }
}
