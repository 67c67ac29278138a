//! From settings to keys: the verifier of a server, and the tokens that this program makes itself, for
//! `token` and for the users of the demo.

use std::time::{SystemTime, UNIX_EPOCH};

use super::demo_secret::{DemoSecretError, random_text};
use crate::auth::{Algorithm, IssueError, Key, Keys, NewToken, Rules, SetupError, Verifier, issue};
use crate::config::{self, Jwt, JwtKey};
use crate::model::{ConversationId, Role, Scope, UserId, Wall};

const JTI_BYTES: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("the clock is before 1970")]
    NoClock,
    #[error(transparent)]
    NoRandomness(#[from] DemoSecretError),
}

/// Which conversations a token opens where `access = "claim"`, as the flag writes them.
pub fn parse_scope(text: &str) -> Result<Scope, String> {
    if text.trim() == "*" {
        return Ok(Scope::All);
    }
    text.split(',')
        .map(|id| ConversationId::parse(id.trim()))
        .collect::<Result<Vec<_>, _>>()
        .map(|listed| Scope::Listed(listed.into()))
        .map_err(|_| "conversation ids separated by commas, or *".to_owned())
}

/// Whom a token is for. What is `None` is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub user: UserId,
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub role: Option<Role>,
    pub conversations: Option<Scope>,
    pub ttl_s: u64,
}

/// An access token as djangorestframework-simplejwt would make it, from now on.
pub fn sign(jwt: &Jwt, key: &JwtKey, bearer: &Bearer) -> Result<String, SigningError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| SigningError::NoClock)?;
    let rules = rules(jwt);
    let claims = NewToken {
        email: bearer.email.as_deref(),
        first_name: bearer.first_name.as_deref(),
        last_name: bearer.last_name.as_deref(),
        role: bearer.role,
        conversations: bearer.conversations.as_ref(),
        ..NewToken::new(&bearer.user, bearer.ttl_s, &rules)
    };
    let now = Wall(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    Ok(issue(&key_of(jwt, key)?, &claims, now, &random_text(JTI_BYTES)?)?)
}

/// What a server checks tokens with.
pub fn verifier(jwt: &Jwt) -> Result<Verifier, SetupError> {
    let keys = jwt.keys.iter().map(|key| key_of(jwt, key)).collect::<Result<Vec<_>, _>>()?;
    Verifier::new(Keys::new(keys)?, rules(jwt))
}

fn rules(jwt: &Jwt) -> Rules {
    Rules {
        user_claim: jwt.user_claim.clone(),
        leeway_ms: jwt.leeway_s.saturating_mul(1_000),
        audience: jwt.audience.clone(),
        issuer: jwt.issuer.clone(),
    }
}

fn key_of(jwt: &Jwt, key: &JwtKey) -> Result<Key, SetupError> {
    let algorithm = match jwt.algorithm {
        config::Algorithm::Hs256 => Algorithm::Hs256,
        config::Algorithm::Hs384 => Algorithm::Hs384,
        config::Algorithm::Hs512 => Algorithm::Hs512,
    };
    let made = Key::new(algorithm, key.secret.expose())?;
    let made = match &key.kid {
        Some(kid) => made.named(kid)?,
        None => made,
    };
    Ok(match key.not_after_s {
        Some(seconds) => made.until(Wall(seconds.saturating_mul(1_000))),
        None => made,
    })
}
