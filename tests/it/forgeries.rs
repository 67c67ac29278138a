//! Tokens that somebody made up, bent, or was given for something else: what RFC 7519 and RFC 7515 forbid,
//! and the tricks that libraries fell for. And keys that change while everybody goes on talking.

use std::path::Path;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::token::{SECRET, now_s, signed, signed_text};
use crate::harness::{DEADLINE, Server, nameless, person};

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const CLAIMS: &str =
    r#"{"token_type":"access","exp":4000000000,"jti":"a1","user_id":1,"aud":"chat","iss":"login"}"#;

async fn refused(server: &Server, what: &str, token: &str) {
    let mut client = server.connect(&format!("/ws/chat/1/?token={token}")).await;
    client.name = what.to_owned();
    client.closed_with(4001, "token_invalid").await;
}

async fn taken(server: &Server, token: &str) -> bool {
    server.connect(&format!("/ws/chat/1/?token={token}")).await.let_in().await
}

/// Each refused, and the token that they were made of taken, before and after.
async fn all_refused(server: &Server, cases: &[(&str, String)]) {
    let good = signed_text(HEADER, CLAIMS, SECRET);
    assert!(taken(server, &good).await, "the token that is bent is a good one");
    for (what, token) in cases {
        refused(server, what, token).await;
    }
    assert!(taken(server, &good).await, "a forgery changes nothing for others");
}

fn with_header(header: &str) -> String {
    signed_text(header, CLAIMS, SECRET)
}

/// `CLAIMS` with another text in the place of one member.
fn instead(member: &str, text: &str) -> String {
    assert!(CLAIMS.contains(member), "{member}");
    signed_text(HEADER, &CLAIMS.replace(member, text), SECRET)
}

/// RFC 7519 §6, RFC 8725 §3.1 and §3.2: what is unsecured is no token, and a header chooses nothing.
#[tokio::test]
async fn rfc7519_6_no_algorithm_but_the_configured_one_is_taken() {
    let server = Server::start();
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let good = signed_text(HEADER, CLAIMS, SECRET);
    let signature = good.rsplit('.').next().expect("three parts");
    let mut cases = Vec::new();
    for none in ["none", "None", "NONE", "nOnE"] {
        let header = format!(r#"{{"alg":"{none}","typ":"JWT"}}"#);
        cases.push(("none, unsigned", format!("{}.{}.", encode(&header), encode(CLAIMS))));
        cases.push(("none, signed", with_header(&header)));
        let borrowed = format!("{}.{}.{signature}", encode(&header), encode(CLAIMS));
        cases.push(("none, with another token's signature", borrowed));
    }
    for algorithm in ["HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256", "HS256 ", ""] {
        cases.push(("another algorithm", with_header(&format!(r#"{{"alg":"{algorithm}"}}"#))));
    }
    for header in [r#"{"typ":"JWT"}"#, r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":256}"#]
    {
        cases.push(("no algorithm", with_header(header)));
    }
    // The key that a forger chose, named or brought by the header.
    let theirs = "a-key-of-somebody-else-that-is-long-enough-01";
    for header in [
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"YS1rZXktb2Ytc29tZWJvZHktZWxzZQ"}}"#,
        r#"{"alg":"HS256","jku":"http://127.0.0.1:9/keys"}"#,
        r#"{"alg":"HS256","x5u":"http://127.0.0.1:9/cert"}"#,
    ] {
        cases.push(("a key from the header", signed_text(header, CLAIMS, theirs)));
    }
    cases.push(("another key", signed_text(HEADER, CLAIMS, theirs)));
    cases.push(("the empty key", signed_text(HEADER, CLAIMS, "")));
    all_refused(&server, &cases).await;
}

/// RFC 7515 §4.1.4 and §4.1.11: a `kid` names one of the configured keys, and what is critical is known.
#[tokio::test]
async fn rfc7515_4_1_kid_and_crit_open_nothing() {
    let server = Server::start();
    let mut cases = Vec::new();
    let long = "k".repeat(65);
    for kid in
        ["", "nobody", "../../../../dev/null", "/etc/passwd", "a b", "|id", "x' OR '1'='1", &long]
    {
        cases.push(("a kid", with_header(&json!({"alg": "HS256", "kid": kid}).to_string())));
    }
    for kid in [r#""\u0000""#, "7", "null", "[]", "{}"] {
        cases.push(("a kid", with_header(&format!(r#"{{"alg":"HS256","kid":{kid}}}"#))));
    }
    // A key that is empty is what some servers read out of /dev/null.
    let empty = r#"{"alg":"HS256","kid":"../../dev/null"}"#;
    cases.push(("a kid that leads to nothing", signed_text(empty, CLAIMS, "")));
    for crit in [r#"["exp"]"#, "[]", "null", r#"["b64"],"b64":false"#] {
        cases.push(("crit", with_header(&format!(r#"{{"alg":"HS256","crit":{crit}}}"#))));
    }
    all_refused(&server, &cases).await;
}

/// RFC 7519 §7.2, RFC 7515 §2 and §5.2: three parts, base64url without padding, strict JSON.
#[tokio::test]
async fn rfc7519_7_2_a_token_has_one_spelling() {
    let server = Server::start();
    let good = signed_text(HEADER, CLAIMS, SECRET);
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (header, payload) = message.split_once('.').expect("three parts");
    let cut = |bytes: usize| good[..good.len() - bytes].to_owned();
    // A form field's `+` is a blank, so `%2B` stands for the other alphabet.
    let cases = [
        ("cut off within a byte", cut(2)),
        ("cut off between bytes", cut(3)),
        ("half a signature", cut(signature.len() / 2)),
        ("no signature", format!("{message}.")),
        ("no signature and no dot", message.to_owned()),
        ("no payload", format!("{header}..{signature}")),
        ("no header", format!(".{payload}.{signature}")),
        ("a fourth part", format!("{good}.{signature}")),
        ("five parts, like an encrypted one", format!("{good}.{signature}.{signature}")),
        ("padded", format!("{good}=")),
        ("padded inside", format!("{header}=.{payload}.{signature}")),
        ("padded twice", format!("{message}.{signature}%3D%3D")),
        ("the other alphabet", format!("{header}%2B.{payload}.{signature}")),
        ("a blank behind it", format!("{good}%20")),
        ("a line end behind it", format!("{good}%0A")),
        ("a zero byte behind it", format!("{good}%00")),
        ("four characters more", format!("{good}AAAA")),
        ("no JSON", signed_text(HEADER, "access", SECRET)),
        ("a list", signed_text(HEADER, "[]", SECRET)),
        ("two objects", signed_text(HEADER, &format!("{CLAIMS}{{}}"), SECRET)),
        ("half an object", signed_text(HEADER, &CLAIMS[..40], SECRET)),
        ("a header that is a text", with_header(r#""HS256""#)),
    ];
    all_refused(&server, &cases).await;
}

/// RFC 7519 §4: claim names are unique, and a claim that is used has its type: it is never taken as absent.
#[tokio::test]
async fn rfc7519_4_claims_come_once_and_have_their_types() {
    let server = Server::start();
    let twice = |more: &str| {
        signed_text(HEADER, &format!("{},{more}}}", &CLAIMS[..CLAIMS.len() - 1]), SECRET)
    };
    let mut cases = vec![
        ("exp twice", twice(r#""exp":4000000001"#)),
        ("the user twice", twice(r#""user_id":2"#)),
        ("the user twice, once escaped", twice(r#""\u0075ser_id":2"#)),
        ("an unknown one twice", twice(r#""x":{"y":1,"y":2}"#)),
        ("alg twice", with_header(r#"{"alg":"HS256","alg":"HS256"}"#)),
    ];
    for exp in [r#""4000000000""#, "NaN", "Infinity", "1e400", "1e300", "null", "true", "[]", "{}"]
    {
        cases.push(("exp", instead("4000000000", exp)));
    }
    for time in ["nbf", "iat"] {
        for value in [r#""0""#, "NaN", "-Infinity", "1e400", "null", "true", "[0]"] {
            cases.push((time, twice(&format!(r#""{time}":{value}"#))));
        }
        let later = now_s() + 3600;
        cases.push((time, twice(&format!(r#""{time}":{later}"#))));
    }
    cases.push(("no exp", instead(r#""exp":4000000000,"#, "")));
    all_refused(&server, &cases).await;
}

/// RFC 7519 §4.1.1 and §4.1.3: a token of another issuer, for somebody else, or for another purpose.
#[tokio::test]
async fn rfc7519_4_1_3_tokens_for_others_open_nothing() {
    let server = Server::with(&[("jwt.audience", "chat"), ("jwt.issuer", "login")]);
    let aud = |value: &str| instead(r#""aud":"chat""#, &format!(r#""aud":{value}"#));
    assert!(taken(&server, &aud(r#"["web","chat"]"#)).await, "one of a list is enough");
    let mut cases = Vec::new();
    for other in
        [r#""web""#, r#""Chat""#, r#""chat ""#, "[]", r#"["web"]"#, r#"["chat",1]"#, "null"]
    {
        cases.push(("another audience", aud(other)));
    }
    cases.push(("no audience", instead(r#","aud":"chat""#, "")));
    for other in [r#""other""#, r#"["login"]"#, r#""""#, "null"] {
        cases.push(("another issuer", instead(r#""iss":"login""#, &format!(r#""iss":{other}"#))));
    }
    cases.push(("no issuer", instead(r#","iss":"login""#, "")));
    for kind in [r#""refresh""#, r#""sliding""#, r#""Access""#, r#"["access"]"#, "null"] {
        cases.push(("not an access token", instead(r#""access""#, kind)));
    }
    for typ in ["at+jwt", "JWE", "JOSE", ""] {
        cases.push(("not a JWT", with_header(&format!(r#"{{"alg":"HS256","typ":"{typ}"}}"#))));
    }
    all_refused(&server, &cases).await;
}

/// 4 KiB are looked at; what is longer is refused unread, and what no head holds by HTTP.
#[tokio::test]
async fn long_tokens_are_refused_unread() {
    let server = Server::start();
    let filled = |bytes: usize| {
        let with = |fill: usize| {
            let claims = format!(r#"{},"x":"{}"}}"#, &CLAIMS[..CLAIMS.len() - 1], "x".repeat(fill));
            signed_text(HEADER, &claims, SECRET)
        };
        let token = with((bytes - with(0).len()) / 4 * 3);
        assert!(token.len() <= bytes && token.len() + 4 > bytes, "{}", token.len());
        token
    };
    assert!(taken(&server, &filled(4096)).await);
    refused(&server, "over 4 KiB", &filled(4104)).await;
    refused(&server, "7 KiB", &filled(7 * 1024)).await;
    for line in ["", "Authorization: Bearer "] {
        let token = filled(8 * 1024);
        let (path, line) = match line {
            "" => (format!("/ws/chat/1/?token={token}"), String::new()),
            line => ("/ws/chat/1/".to_owned(), format!("{line}{token}\r\n")),
        };
        let mut raw = server.raw().await;
        let request = crate::harness::raw::request(&path, &[]);
        raw.write(format!("{request}{line}\r\n").as_bytes()).await;
        assert_eq!(raw.head().await.map(|head| head.status), Some(431));
    }
}

/// One of the two keys of a rotation: which secret its file holds, and a token signed with it.
fn key_file(place: &Path, generation: usize) -> std::path::PathBuf {
    place.join(format!("key-{}", generation % 2))
}

fn secret(generation: usize) -> String {
    format!("the-secret-of-generation-{generation}-0123456789abcdef")
}

fn of_generation(generation: usize) -> String {
    let header = json!({"alg": "HS256", "kid": format!("k{}", generation % 2)});
    let claims = json!({"token_type": "access", "exp": now_s() + 600, "jti": "j", "user_id": 7});
    signed(&header, &claims, &secret(generation))
}

/// Keys go round while three people talk and others come in: who holds a token of the present key is
/// never refused, nobody is closed, no message is lost, and what is two keys old opens nothing.
#[tokio::test]
async fn keys_rotate_under_load_and_nobody_notices() {
    const ROTATIONS: usize = 6;
    let place = tempfile::tempdir().expect("a directory");
    for generation in [0, 1] {
        std::fs::write(key_file(place.path(), generation), secret(generation)).expect("written");
    }
    let file = |generation| key_file(place.path(), generation).display().to_string();
    let server = Server::with(&[("jwt.keys", &format!("k0={},k1={}", file(0), file(1)))]);
    let mut room = server.room::<3>("a-busy-room").await;
    let (rotated, messages) = (std::cell::Cell::new(false), std::cell::Cell::new(0));
    let talk = async {
        let mut said = 0;
        while !rotated.get() {
            let content = format!("said while keys change: {said}");
            room[said % 3].send(json!({"type": "chat_message", "content": content})).await;
            let pattern = json!({"type": "chat_message", "message": {"content": content}});
            crate::harness::all_see(&mut room, &pattern).await;
            said += 1;
            messages.set(said);
            // Within each second's allowance of one user and of the conversation.
            tokio::time::sleep(std::time::Duration::from_millis(70)).await;
        }
    };
    let rotate = async {
        for present in 1..=ROTATIONS {
            let (old, next) = (of_generation(present - 1), of_generation(present + 1));
            assert!(taken(&server, &old).await, "the one before is still good");
            std::fs::write(key_file(place.path(), present + 1), secret(present + 1)).expect("ok");
            server.signal(Signal::HUP);
            let deadline = Instant::now() + DEADLINE;
            let mut is_in_force = false;
            // Each with messages in between, which all have to arrive.
            let enough = messages.get() + 2;
            while !is_in_force || messages.get() < enough || taken(&server, &old).await {
                assert!(Instant::now() < deadline, "rotation {present} is never done");
                assert!(taken(&server, &of_generation(present)).await, "never refused");
                is_in_force |= taken(&server, &next).await;
            }
        }
        rotated.set(true);
    };
    tokio::join!(talk, rotate);
    crate::harness::all_settled(&mut room).await;
}

/// What is private and went through every door leaves no trace in the log or the metrics; that the
/// harness would see one is tested beside it (`harness_itself`).
#[tokio::test]
async fn figures_hold_nothing_private() {
    let server = Server::start();
    let mut client = server.join("a-conversation-with-a-name", &person(1)).await;
    client.say("a message that is nobody else's business").await;
    let bent = signed_text(HEADER, CLAIMS, "a-key-of-somebody-else-that-is-long-enough-01");
    server.connect(&format!("/ws/chat/1/?token={bent}")).await.closed().await;
    let token = server.token(&nameless(2));
    server.connect(&format!("/ws/chat/1/?token={token}x")).await.closed().await;
    let page = server.metrics().expect("a page");
    assert!(page.contains("loquat_") && page.lines().count() > 50, "{page}");
    for private in ["nobody else's", "chat.test", "a-conversation-with-a-name", &bent, &token] {
        assert!(!page.contains(private), "{private}");
    }
    assert_eq!(server.metrics_leak(), None);
}
