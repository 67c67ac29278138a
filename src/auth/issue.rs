//! Makes tokens with the claims that SimpleJWT writes: for `loquat token`, the demo and load tests.
//!
//! A login service of one's own issues tokens itself. Whatever is issued here is accepted by the
//! verifier with the same keys and rules, or refused here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::claims::{ACCESS, Rules};
use super::keys::{Key, SetupError};
use crate::limits::{
    TOKEN_BYTES_MAX, TOKEN_CONVERSATIONS_MAX, TOKEN_NAME_CHARS_MAX, TOKEN_TIME_S_MAX,
};
use crate::model::{Role, Scope, UserId, Wall};

/// The verifier would not take such a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    #[error("the token would be longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error("an e-mail or a name is at most {TOKEN_NAME_CHARS_MAX} characters")]
    LongName,
    #[error("a token lists at most {TOKEN_CONVERSATIONS_MAX} conversations")]
    ManyConversations,
    #[error("a token needs an id (jti)")]
    NoTokenId,
    #[error("the token would have expired before it is issued, or end after the year 9999")]
    Lifetime,
    #[error(transparent)]
    Rules(#[from] SetupError),
}

/// Whom a token is for, and what it says about them.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    pub user: &'a UserId,
    pub email: Option<&'a str>,
    pub first_name: Option<&'a str>,
    pub last_name: Option<&'a str>,
    pub role: Option<Role>,
    pub conversations: Option<&'a Scope>,
    pub ttl_s: u64,
    /// Gives the user claim its name, and the audience and issuer that the verifier asks for.
    pub rules: &'a Rules,
}

impl<'a> NewToken<'a> {
    pub fn new(user: &'a UserId, ttl_s: u64, rules: &'a Rules) -> NewToken<'a> {
        NewToken {
            user,
            email: None,
            first_name: None,
            last_name: None,
            role: None,
            conversations: None,
            ttl_s,
            rules,
        }
    }
}

/// A signed token. `jti` is any text that names no other token; 16 random bytes in hexadecimal are
/// what SimpleJWT takes.
pub fn issue(key: &Key, claims: &NewToken<'_>, now: Wall, jti: &str) -> Result<String, IssueError> {
    let claims = Claims::new(claims, now, jti)?;
    let header = encode(&Header(key));
    let message = format!("{header}.{}", encode(&claims));
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())));
    if token.len() > TOKEN_BYTES_MAX { Err(IssueError::TooLong) } else { Ok(token) }
}

fn encode(part: &impl Serialize) -> String {
    let Ok(json) = serde_json::to_vec(part) else {
        unreachable!("names, numbers and lists of them always have a JSON form");
    };
    URL_SAFE_NO_PAD.encode(json)
}

/// In PyJWT's order, so that the most common header has the most common bytes.
struct Header<'a>(&'a Key);

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("alg", self.0.algorithm().as_str())?;
        if let Some(kid) = self.0.kid() {
            map.serialize_entry("kid", kid)?;
        }
        map.serialize_entry("typ", "JWT")?;
        map.end()
    }
}

struct Claims<'a> {
    token: &'a NewToken<'a>,
    issued_at_s: u64,
    expires_at_s: u64,
    jti: &'a str,
}

impl<'a> Claims<'a> {
    fn new(token: &'a NewToken<'a>, now: Wall, jti: &'a str) -> Result<Claims<'a>, IssueError> {
        token.rules.check()?;
        let long = |name: &str| name.chars().count() > TOKEN_NAME_CHARS_MAX;
        if [token.email, token.first_name, token.last_name].into_iter().flatten().any(long) {
            return Err(IssueError::LongName);
        }
        if let Some(Scope::Listed(listed)) = token.conversations
            && listed.len() > TOKEN_CONVERSATIONS_MAX
        {
            return Err(IssueError::ManyConversations);
        }
        if jti.is_empty() {
            return Err(IssueError::NoTokenId);
        }
        let issued_at_s = now.0 / 1000;
        let expires_at_s = issued_at_s.saturating_add(token.ttl_s);
        if token.ttl_s == 0 || expires_at_s > TOKEN_TIME_S_MAX {
            return Err(IssueError::Lifetime);
        }
        Ok(Claims { token, issued_at_s, expires_at_s, jti })
    }
}

impl Serialize for Claims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Claims { token, .. } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("token_type", ACCESS)?;
        map.serialize_entry("exp", &self.expires_at_s)?;
        map.serialize_entry("iat", &self.issued_at_s)?;
        map.serialize_entry("jti", self.jti)?;
        map.serialize_entry(&token.rules.user_claim, token.user)?;
        let optional = [
            ("aud", token.rules.audience.as_deref()),
            ("iss", token.rules.issuer.as_deref()),
            ("email", token.email),
            ("first_name", token.first_name),
            ("last_name", token.last_name),
            ("role", token.role.map(Role::as_str)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        match token.conversations {
            None => {}
            Some(Scope::All) => map.serialize_entry("conversations", "*")?,
            Some(Scope::Listed(listed)) => map.serialize_entry("conversations", &listed[..])?,
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Algorithm, Keys, TokenError, Verifier};
    use crate::model::{ConversationId, Identity};

    const NOW: Wall = Wall(1_764_151_800_123);

    fn key(algorithm: Algorithm) -> Key {
        Key::new(algorithm, "k2J9-vQ0x_7sLm4Wz8Rb1TnYp6Hc3GdE").unwrap()
    }

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    fn verify(key: Key, rules: &Rules, token: &str, now: Wall) -> Result<Identity, TokenError> {
        let keys = Keys::new(vec![key]).unwrap();
        Verifier::new(keys, rules.clone()).unwrap().verify(token, now)
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn the_verifier_takes_what_is_issued() {
        let rules = Rules {
            user_claim: "sub".to_owned(),
            audience: Some("chat".to_owned()),
            issuer: Some("here".to_owned()),
            ..Rules::default()
        };
        let scope = Scope::Listed(
            [77_u64.to_string(), "team-a".to_owned()]
                .map(|id| ConversationId::parse(&id).unwrap())
                .into(),
        );
        for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
            for id in ["7", "ann@example.com"] {
                let key = key(algorithm).named("2026").unwrap();
                let id = user(id);
                let token = NewToken {
                    email: Some("ann@example.com"),
                    first_name: Some("Zoë \\"),
                    last_name: Some(""),
                    role: Some(Role::Moderator),
                    conversations: Some(&scope),
                    ..NewToken::new(&id, 60, &rules)
                };
                let text = issue(&key, &token, NOW, "j1").unwrap();
                let said = verify(key.clone(), &rules, &text, NOW);
                let expected = Identity {
                    user: id.clone(),
                    email: Some("ann@example.com".to_owned()),
                    first_name: Some("Zoë \\".to_owned()),
                    last_name: Some(String::new()),
                    role: Some(Role::Moderator),
                    scope: Some(scope.clone()),
                    issued_at_ms: Some(1_764_151_800_000),
                    expires_at_ms: 1_764_151_860_000,
                };
                assert_eq!(said, Ok(expected));
                let later = verify(key, &rules, &text, Wall(1_764_151_860_000));
                assert_eq!(later, Err(TokenError::Expired));
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn what_the_verifier_would_refuse_is_not_issued() {
        let rules = Rules::default();
        let id = user("7");
        let plain = NewToken::new(&id, 60, &rules);
        let check = |token: NewToken<'_>, jti: &str, expected: IssueError| {
            let refused = issue(&key(Algorithm::Hs256), &token, NOW, jti);
            assert_eq!(refused, Err(expected));
        };
        let long = "é".repeat(TOKEN_NAME_CHARS_MAX + 1);
        check(plain.clone(), "", IssueError::NoTokenId);
        check(NewToken { email: Some(&long), ..plain.clone() }, "j", IssueError::LongName);
        check(NewToken { ttl_s: 0, ..plain.clone() }, "j", IssueError::Lifetime);
        check(NewToken { ttl_s: u64::MAX, ..plain.clone() }, "j", IssueError::Lifetime);
        let many = Scope::Listed(vec![ConversationId::from_number(1).unwrap(); 1_001].into());
        check(
            NewToken { conversations: Some(&many), ..plain.clone() },
            "j",
            IssueError::ManyConversations,
        );
        let wide = Scope::Listed(vec![ConversationId::parse(&"c".repeat(64)).unwrap(); 60].into());
        check(NewToken { conversations: Some(&wide), ..plain.clone() }, "j", IssueError::TooLong);
        let odd = Rules { user_claim: "exp".to_owned(), ..Rules::default() };
        let twice = NewToken { rules: &odd, ..plain.clone() };
        check(twice, "j", IssueError::Rules(SetupError::InvalidUserClaim));
        assert!(issue(&key(Algorithm::Hs256), &plain, NOW, "j").is_ok());
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn the_plain_header_has_pyjwts_bytes() {
        let rules = Rules::default();
        let id = user("7");
        let token =
            issue(&key(Algorithm::Hs256), &NewToken::new(&id, 60, &rules), NOW, "j").unwrap();
        assert!(token.starts_with("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."));
    }
}
