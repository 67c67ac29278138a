//! Tokens that this program makes itself: for `token` and for the users of the demo.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Map, Value, json};

use super::demo_secret::{DemoSecretError, random_text};
use crate::config::{Algorithm, Jwt, JwtKey, Word};
use crate::limits::TOKEN_BYTES_MAX;
use crate::model::{ConversationId, Role, UserId};

const JTI_BYTES: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("the token would be longer than {TOKEN_BYTES_MAX} bytes, which no server takes")]
    TooLong,
    #[error("the clock is before 1970")]
    NoClock,
    #[error(transparent)]
    NoRandomness(#[from] DemoSecretError),
}

/// Which conversations a token opens where `access = "claim"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conversations {
    All,
    These(Vec<ConversationId>),
}

impl Conversations {
    pub fn parse(text: &str) -> Result<Conversations, String> {
        if text.trim() == "*" {
            return Ok(Conversations::All);
        }
        text.split(',')
            .map(|id| ConversationId::parse(id.trim()))
            .collect::<Result<Vec<_>, _>>()
            .map(Conversations::These)
            .map_err(|_| "conversation ids separated by commas, or *".to_owned())
    }
}

/// Whom a token is for. What is `None` is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub user: UserId,
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub role: Option<Role>,
    pub conversations: Option<Conversations>,
    pub ttl_s: u64,
}

/// An access token as djangorestframework-simplejwt would make it, from now on.
pub fn sign(jwt: &Jwt, key: &JwtKey, bearer: &Bearer) -> Result<String, SigningError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| SigningError::NoClock)?;
    let mut claims = claims(bearer);
    claims.insert(jwt.user_claim.clone(), json!(bearer.user));
    claims.insert("token_type".to_owned(), json!("access"));
    claims.insert("iat".to_owned(), json!(now.as_secs()));
    claims.insert("exp".to_owned(), json!(now.as_secs().saturating_add(bearer.ttl_s)));
    claims.insert("jti".to_owned(), json!(random_text(JTI_BYTES)?));
    for (name, required) in [("aud", &jwt.audience), ("iss", &jwt.issuer)] {
        claims.extend(required.as_ref().map(|text| (name.to_owned(), json!(text))));
    }
    let mut header = json!({ "alg": jwt.algorithm.word(), "typ": "JWT" });
    if let Some(kid) = &key.kid {
        header["kid"] = json!(kid);
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&Value::Object(claims)));
    let secret = hmac::Key::new(algorithm(jwt.algorithm), key.secret.expose().as_bytes());
    let tag = hmac::sign(&secret, signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
    match token.len() <= TOKEN_BYTES_MAX {
        true => Ok(token),
        false => Err(SigningError::TooLong),
    }
}

fn claims(bearer: &Bearer) -> Map<String, Value> {
    let conversations = bearer.conversations.as_ref().map(|scope| match scope {
        Conversations::All => json!("*"),
        Conversations::These(ids) => json!(ids),
    });
    let optional = [
        ("email", bearer.email.as_ref().map(|text| json!(text))),
        ("first_name", bearer.first_name.as_ref().map(|text| json!(text))),
        ("last_name", bearer.last_name.as_ref().map(|text| json!(text))),
        ("role", bearer.role.map(|role| json!(role.as_str()))),
        ("conversations", conversations),
    ];
    optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn algorithm(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::Hs256 => hmac::HMAC_SHA256,
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
    }
}
