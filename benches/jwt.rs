//! What checking a token costs at connect, beside the jsonwebtoken crate on the same tokens, checking
//! as much of the standard claims and reading the same ones. `refused`: tokens that are no good, ours alone.
//!
//! What the numbers do not say: jsonwebtoken asks the clock itself, ours is told the time; most of either figure
//! is ring's HMAC, which both use. Who the user is and whether the token was revoked is asked elsewhere.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jsonwebtoken::{DecodingKey, Validation};
use loquat::auth::{Algorithm, Key, Keys, NewToken, Rules, Verifier, issue};
use loquat::model::{Role, Scope, UserId, Wall};
use serde::Deserialize;

const SECRET: &str = "only-for-benches-4fG7kQ2mZx9Lw0Rb8TnYp6Hc3GdEsVuA1iOjXe5KrNqBtM";
/// The end of 2099, so that jsonwebtoken, which reads the clock itself, takes the tokens too.
const TTL_S: u64 = 2_300_000_000;
const NOW: Wall = Wall(1_764_153_000_000);
const JTI: &str = "0f6d1c2b3a495867768594a3b2c1d0e1";

/// What `Identity` holds, as jsonwebtoken's users would write it.
#[derive(Deserialize)]
#[expect(dead_code, reason = "read, to cost what it costs")]
struct Claims {
    token_type: String,
    exp: u64,
    iat: u64,
    jti: String,
    user_id: u64,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    role: Option<String>,
    conversations: Option<String>,
}

fn key(algorithm: Algorithm) -> Key {
    Key::new(algorithm, SECRET).expect("a secret")
}

/// Name and token: as SimpleJWT writes it, and with everything that we read.
fn tokens(algorithm: Algorithm) -> [(&'static str, String); 2] {
    let user = UserId::from_number(4711).expect("a small number");
    let rules = Rules::default();
    let plain = NewToken::new(&user, TTL_S, &rules);
    let full = NewToken {
        email: Some("ann.lee@example.com"),
        first_name: Some("Ann"),
        last_name: Some("Lee"),
        role: Some(Role::Moderator),
        conversations: Some(&Scope::All),
        ..plain.clone()
    };
    [("plain", plain), ("full", full)].map(|(name, token)| {
        (name, issue(&key(algorithm), &token, NOW, JTI).expect("a good token"))
    })
}

fn verify(c: &mut Criterion) {
    for (algorithm, theirs) in [
        (Algorithm::Hs256, jsonwebtoken::Algorithm::HS256),
        (Algorithm::Hs512, jsonwebtoken::Algorithm::HS512),
    ] {
        let mut group = c.benchmark_group(format!("jwt/{}", algorithm.as_str()));
        group.throughput(Throughput::Elements(1));
        let keys = Keys::new(vec![key(algorithm)]).expect("one key");
        let verifier = Verifier::new(keys, Rules::default()).expect("plain rules");
        let their_key = DecodingKey::from_secret(SECRET.as_bytes());
        let rules = Validation::new(theirs);
        for (name, token) in tokens(algorithm) {
            let ours = verifier.verify(&token, NOW).expect("ours takes it");
            let theirs = jsonwebtoken::decode::<Claims>(&token, &their_key, &rules);
            let theirs = theirs.expect("theirs takes it").claims;
            assert_eq!(Ok(ours.user), UserId::from_number(theirs.user_id));
            group.bench_with_input(BenchmarkId::new("loquat", name), &token, |b, token| {
                b.iter(|| verifier.verify(black_box(token), NOW));
            });
            group.bench_with_input(BenchmarkId::new("jsonwebtoken", name), &token, |b, token| {
                b.iter(|| jsonwebtoken::decode::<Claims>(black_box(token), &their_key, &rules));
            });
        }
    }
}

/// What a flood of bad tokens costs: it must be no more than a good one.
fn refuse(c: &mut Criterion) {
    let mut group = c.benchmark_group("jwt/refused");
    let keys = Keys::new(vec![key(Algorithm::Hs256)]).expect("one key");
    let verifier = Verifier::new(keys, Rules::default()).expect("plain rules");
    let [_, (_, good)] = tokens(Algorithm::Hs256);
    let (message, _) = good.rsplit_once('.').expect("three parts");
    let longest = format!("{}.{}.{}", &message[..36], "A".repeat(4_012), "A".repeat(43));
    let cases = [
        ("forged", format!("{message}.{}", "A".repeat(43))),
        ("forged_4_kib", longest),
        ("none", good.replacen("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJhbGciOiJub25lIn0", 1)),
        ("too_long", "A".repeat(8_192)),
        ("no_dots", "A".repeat(4_096)),
    ];
    for (name, token) in cases {
        assert!(verifier.verify(&token, NOW).is_err(), "{name}");
        group.bench_with_input(BenchmarkId::from_parameter(name), &token, |b, token| {
            b.iter(|| verifier.verify(black_box(token), NOW));
        });
    }
}

criterion_group!(benches, verify, refuse);
criterion_main!(benches);
