//! Tokens: whatever the verifier accepts, the jsonwebtoken crate must find signed (its decoder also wants types of header
//! members that nobody uses), and a naive reading
//! of the claims must find in order and equal to the identity. The first byte says what the rest is:
//! - 0: the token's text
//! - 1: header, a zero byte, payload; encoded and signed as they are
//! - 2: a script that picks members for header and claims out of tables of good and bad values, two
//!   bytes each; here accepting must be *equal* to the naive verdict, so refusing too much shows

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use loquat::auth::{Key, Keys, Rules, Verifier};
use loquat::model::{ConversationId, Identity, Role, Scope, UserId, Wall};
use serde_json::{Map, Value};

const NOW_S: u64 = 1_764_153_000;
/// The second key has a name.
const SECRETS: [&str; 2] = ["nameless-4fG7kQ2mZx9Lw0Rb8TnYp6", "named-9Lw0Rb8TnYp6Hc3GdEsVuA1iO"];
const KID: &str = "k1";

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let key = |secret| Key::new(loquat::auth::Algorithm::Hs256, secret).expect("not empty");
    let named = key(SECRETS[1]).named(KID).expect("a good kid");
    let keys = Keys::new(vec![key(SECRETS[0]), named]).expect("two keys");
    let rules = Rules { audience: Some("chat".to_owned()), ..Rules::default() };
    Verifier::new(keys, rules).expect("good rules")
});

pub fn run(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => {
            if let Ok(token) = std::str::from_utf8(rest) {
                check(token);
            }
        }
        1 => {
            let mut parts = rest.splitn(2, |&b| b == 0);
            let (header, payload) = (parts.next().unwrap_or(&[]), parts.next().unwrap_or(&[]));
            for secret in SECRETS {
                check(&signed(header, payload, secret));
            }
        }
        _ => check_script(rest),
    }
}

fn signed(header: &[u8], payload: &[u8], secret: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let tag = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", tag.expect("HMAC always signs"))
}

/// Accepted means: signed, and in order.
fn check(token: &str) {
    let Ok(identity) = VERIFIER.verify(token, Wall(NOW_S * 1000)) else { return };
    let (message, tag) = token.rsplit_once('.').expect("three parts");
    let is_signed = |secret: &str| {
        let key = DecodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::crypto::verify(tag, message.as_bytes(), &key, Algorithm::HS256)
    };
    let place = SECRETS.iter().position(|secret| matches!(is_signed(secret), Ok(true)));
    let place = place.expect("jsonwebtoken finds no signature");
    let (header, claims) = message.split_once('.').expect("three parts");
    let read = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
    };
    let (header, claims) = (read(header), read(claims));
    assert!(header_holds(&header, place), "{header}");
    assert!(claims_hold(&claims), "{claims}");
    assert_same(&identity, &claims);
}

const HEADERS: &[(&str, &[&str])] = &[
    ("alg", &["\"HS256\"", "\"none\"", "\"HS512\"", "\"hs256\"", "null"]),
    ("typ", &["\"JWT\"", "\"jwt\"", "\"at+jwt\"", "null", "1"]),
    ("kid", &["\"k1\"", "\"k2\"", "\"../k1\"", "\"\"", "7"]),
    ("crit", &["[]", "[\"exp\"]"]),
    ("x", &["{\"jwk\":[1,2]}", "1e3"]),
];

const CLAIMS: &[(&str, &[&str])] = &[
    (
        "exp",
        &[
            "1764153001",
            "1764153000",
            "1764153000.5",
            "1764152999.5",
            "-1",
            "253402300799",
            "253402300800",
            "1e12",
            "\"1764153001\"",
            "null",
        ],
    ),
    ("jti", &["\"a\"", "\"\"", "1", "null"]),
    ("token_type", &["\"access\"", "\"refresh\"", "null", "[\"access\"]"]),
    (
        "user_id",
        &[
            "7",
            "\"7\"",
            "\"ann.lee@x\"",
            "0",
            "9007199254740991",
            "9007199254740992",
            "-1",
            "7.0",
            "\"07\"",
            "\"a b\"",
            "\"\"",
            "null",
            "[7]",
        ],
    ),
    ("aud", &["\"chat\"", "[\"web\",\"chat\"]", "\"web\"", "[]", "[\"chat\",1]", "null"]),
    ("iss", &["\"x\"", "1"]),
    ("nbf", &["1764153005", "1764153006", "1764153005.5", "0", "\"0\"", "null"]),
    ("iat", &["1764153005", "1764153006", "-3.5", "1.25", "\"0\"", "true"]),
    ("email", &["\"a@b\"", "\"\"", "null", "1", "[]"]),
    ("first_name", &["\"Zo\\u00eb\"", "null", "true"]),
    ("last_name", &["\"\\\"\"", "null", "{}"]),
    ("role", &["\"admin\"", "\"read_only\"", "\"Admin\"", "null", "0"]),
    (
        "conversations",
        &["\"*\"", "[]", "[1,\"2\",\"a-b\"]", "[\"*\"]", "[1.5]", "[-1]", "\"1\"", "null", "[[1]]"],
    ),
    ("y", &["[{\"exp\":1}]", "\"\\u0000\"", "-0.0", "false"]),
];

/// Starts from a good token, lets the script change members, and compares both ways.
fn check_script(script: &[u8]) {
    let Some((&which, script)) = script.split_first() else { return };
    let mut header = Map::from_iter([member(HEADERS, 0, 0)]);
    let mut claims: Map<String, Value> = (0..5).map(|place| member(CLAIMS, place, 0)).collect();
    for step in script.chunks_exact(2).take(32) {
        let (table, object) = match step[0] & 0x80 {
            0 => (CLAIMS, &mut claims),
            _ => (HEADERS, &mut header),
        };
        let (name, value) = member(table, usize::from(step[0] & 0x3f), usize::from(step[1]));
        // Bit 6 leaves the member out.
        if step[0] & 0x40 == 0 {
            object.insert(name, value);
        } else {
            object.remove(&name);
        }
    }
    let (header, claims) = (Value::Object(header), Value::Object(claims));
    let place = usize::from(which) % SECRETS.len();
    let token =
        signed(header.to_string().as_bytes(), claims.to_string().as_bytes(), SECRETS[place]);
    let ours = VERIFIER.verify(&token, Wall(NOW_S * 1000));
    let naive = header_holds(&header, place) && claims_hold(&claims);
    assert_eq!(ours.is_ok(), naive, "{ours:?}: {header} {claims}");
    check(&token);
}

fn member(table: &[(&str, &[&str])], place: usize, value: usize) -> (String, Value) {
    let (name, values) = table[place % table.len()];
    let value = serde_json::from_str(values[value % values.len()]).expect("the tables hold JSON");
    (name.to_owned(), value)
}

fn header_holds(header: &Value, signer: usize) -> bool {
    let typ =
        header.get("typ").is_none_or(|t| t.as_str().is_some_and(|t| t.to_uppercase() == "JWT"));
    let kid = header.get("kid").is_none_or(|kid| kid == KID && signer == 1);
    header["alg"] == "HS256" && header.get("crit").is_none() && typ && kid
}

fn claims_hold(claims: &Value) -> bool {
    let time = |name: &str, good: fn(f64) -> bool| {
        claims
            .get(name)
            .is_none_or(|t| t.as_f64().is_some_and(|t| t <= 253_402_300_799.0 && good(t)))
    };
    let absent = |name: &str| claims.get(name).is_none_or(Value::is_null);
    let name = |name: &str| {
        absent(name) || claims[name].as_str().is_some_and(|text| text.chars().count() <= 256)
    };
    let aud = match &claims["aud"] {
        Value::Array(all) => all.iter().all(Value::is_string) && all.iter().any(|a| a == "chat"),
        one => one == "chat",
    };
    let conversations = match &claims["conversations"] {
        Value::Null => true,
        Value::String(all) => all == "*",
        Value::Array(list) => {
            list.len() <= 1_000 && list.iter().all(|id| conversation(id).is_some())
        }
        _ => false,
    };
    claims.get("exp").is_some()
        && time("exp", |t| t > NOW_S as f64)
        && time("nbf", |t| t < (NOW_S + 5) as f64 + 0.001)
        && time("iat", |t| t < (NOW_S + 5) as f64 + 0.001)
        && claims["jti"].as_str().is_some_and(|id| !id.is_empty())
        && claims["token_type"] == "access"
        && is_user(&claims["user_id"])
        && (absent("role") || claims["role"].as_str().and_then(Role::parse).is_some())
        && [name("email"), name("first_name"), name("last_name"), aud, conversations]
            .iter()
            .all(|&holds| holds)
}

fn is_user(id: &Value) -> bool {
    match id {
        Value::Number(number) => number.as_u64().is_some_and(|n| n < 1 << 53),
        Value::String(text) => UserId::parse(text).is_ok(),
        _ => false,
    }
}

fn conversation(id: &Value) -> Option<ConversationId> {
    match id {
        Value::Number(_) => ConversationId::from_number(id.as_u64()?).ok(),
        Value::String(text) => ConversationId::parse(text).ok(),
        _ => None,
    }
}

fn assert_same(identity: &Identity, claims: &Value) {
    let user = claims["user_id"].as_str().map_or(claims["user_id"].to_string(), str::to_owned);
    assert_eq!(identity.user.to_string(), user);
    assert_eq!(identity.email.as_deref(), claims["email"].as_str());
    assert_eq!(identity.first_name.as_deref(), claims["first_name"].as_str());
    assert_eq!(identity.last_name.as_deref(), claims["last_name"].as_str());
    assert_eq!(identity.role.map(Role::as_str), claims["role"].as_str());
    let scope = match &claims["conversations"] {
        Value::Array(list) => Some(Scope::Listed(list.iter().filter_map(conversation).collect())),
        Value::String(_) => Some(Scope::All),
        _ => None,
    };
    assert_eq!(identity.scope, scope);
    let ms = |name: &str| claims[name].as_f64().map(|s| (s * 1000.0).max(0.0));
    let near = |ours: Option<u64>, theirs: Option<f64>| match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours as f64 - theirs).abs() < 1.0,
        (ours, theirs) => ours.is_none() && theirs.is_none(),
    };
    assert!(near(Some(identity.expires_at_ms), ms("exp")), "{claims}");
    assert!(near(identity.issued_at_ms, ms("iat")), "{claims}");
}
