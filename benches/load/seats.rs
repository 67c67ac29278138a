//! Who connects where: every client is a user of its own, with a token that the server has to verify.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

use crate::crowd::Seat;
use crate::flood::Shape;
use crate::server::SECRET;

#[derive(Serialize)]
struct Claims<'a> {
    token_type: &'a str,
    exp: u64,
    jti: String,
    user_id: u32,
    first_name: &'a str,
    last_name: &'a str,
    email: &'a str,
}

/// One seat per client; `query` goes in front of the token.
pub fn seats(shape: Shape, query: &str) -> Vec<Seat> {
    (0..shape.clients()).map(|client| seat(shape.room_of(client), client + 1, query)).collect()
}

pub fn seat(room: u32, user: u32, query: &str) -> Seat {
    Seat { target: format!("/ws/chat/{}/?{query}token={}", room + 1, token(user)) }
}

fn token(user: u32) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let claims = Claims {
        token_type: "access",
        exp: now + 24 * 3600,
        jti: format!("{user:032x}"),
        user_id: user,
        first_name: "Ada",
        last_name: "Lovelace",
        email: "ada@example.com",
    };
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    // Claims of numbers and texts can always be encoded.
    encode(&Header::default(), &claims, &key).unwrap_or_default()
}
