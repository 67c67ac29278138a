//! Tokens as SimpleJWT makes them, signed here and not by the code under test.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Map, Value, json};

/// Long enough for `serve`, and the same in every test.
pub const SECRET: &str = "a-secret-of-the-integration-tests-0123456789";

/// Somebody who connects: a user id and what the token says beside it.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: Value,
    claims: Map<String, Value>,
}

/// A user with an e-mail and names that follow from the id.
pub fn person(id: impl Into<Value>) -> Person {
    let id = id.into();
    let text = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    nameless(id)
        .claim("email", json!(format!("mail-of-{text}@chat.test")))
        .claim("first_name", json!(format!("First{text}")))
        .claim("last_name", json!(format!("Last{text}")))
}

/// A user whose token says nothing but the id.
pub fn nameless(id: impl Into<Value>) -> Person {
    let id = id.into();
    let claims = json!({
        "token_type": "access",
        "exp": now_s() + 3600,
        "iat": now_s(),
        "jti": "0b7e4d1c9a",
        "user_id": id,
    });
    let Value::Object(claims) = claims else { unreachable!("an object literal") };
    Person { id, claims }
}

impl Person {
    /// The same person with another claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: Value) -> Person {
        self.claims.insert(name.to_owned(), value);
        self
    }

    #[must_use]
    pub fn role(self, role: &str) -> Person {
        self.claim("role", json!(role))
    }

    #[must_use]
    pub fn conversations(self, ids: Value) -> Person {
        self.claim("conversations", ids)
    }

    /// A token that the server must take, if the claims are right.
    pub fn token(&self) -> String {
        signed(&json!({"alg": "HS256", "typ": "JWT"}), &Value::Object(self.claims.clone()), SECRET)
    }

    pub fn email(&self) -> Option<&str> {
        self.claims.get("email").and_then(Value::as_str).filter(|email| !email.is_empty())
    }
}

/// Any header over any claims, signed with HS256.
pub fn signed(header: &Value, claims: &Value, secret: &str) -> String {
    signed_text(&header.to_string(), &claims.to_string(), secret)
}

/// The same for texts as they stand, which need not be JSON.
pub fn signed_text(header: &str, claims: &str, secret: &str) -> String {
    let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

pub fn now_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("the clock is after 1970").as_secs()
}

/// A time as the admin API takes it.
pub fn rfc3339(s: u64) -> String {
    let (days, rest) = (s / 86_400, s % 86_400);
    // Days from civil, by Howard Hinnant: eras of 400 years that start in March.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
