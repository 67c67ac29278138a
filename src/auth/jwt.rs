//! The form of a token: `header.payload.signature`, each base64url (RFC 7515, compact form).
//!
//! It picks the key, checks the signature, and hands out the payload's bytes. It never reads them,
//! and believes nothing of the header but which of the configured keys to try.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Why;
use super::keys::{Algorithm, Keys, Mismatch, Signed, is_kid};
use super::object::{self, Value};
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_HEADER_BYTES_MAX};
use crate::model::Wall;

/// The longest signature is HS512's, 64 bytes; the decoder asks for room in whole groups of three.
const TAG_ROOM_BYTES: usize = 66;

/// The payload's bytes, decoded into `payload`, if one of the keys signed it. `payload` holds the
/// longest token's.
pub(super) fn open<'p>(
    token: &str,
    keys: &Keys,
    now: Wall,
    payload: &'p mut [u8],
) -> Result<&'p [u8], Why> {
    let parts = Parts::of(token)?;
    let mut header = [0; TOKEN_HEADER_BYTES_MAX];
    let header = Header::read(decode(parts.header, &mut header)?, keys.algorithm())?;
    let mut tag = [0; TAG_ROOM_BYTES];
    let signature = decode(parts.signature, &mut tag)?;
    let kid = header.kid.as_deref();
    keys.check(&Signed { message: parts.message, signature, kid }, now).map_err(|mismatch| {
        match mismatch {
            Mismatch::UnknownKid => Why::UnknownKid,
            Mismatch::NotInForce => Why::KeyNotInForce,
            Mismatch::Signature => Why::Signature,
        }
    })?;
    decode(parts.payload, payload)
}

/// The three parts of a token's text, and what is signed of it: the first two with their dot.
struct Parts<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
    message: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Parts<'a>, Why> {
        let token = token.as_bytes();
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Why::TooLong);
        }
        let mut dots = memchr::memchr_iter(b'.', token);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(Why::Parts);
        };
        let parts = Parts {
            header: &token[..first],
            payload: &token[first + 1..second],
            signature: &token[second + 1..],
            message: &token[..second],
        };
        let whole = [parts.header, parts.payload, parts.signature].iter().all(|p| !p.is_empty());
        if whole { Ok(parts) } else { Err(Why::Parts) }
    }
}

/// Strict: the URL-safe alphabet, no padding, no spare bits set, so that a token has one spelling.
/// What does not fit into `out` is longer than allowed.
fn decode<'o>(part: &[u8], out: &'o mut [u8]) -> Result<&'o [u8], Why> {
    match URL_SAFE_NO_PAD.decode_slice(part, out) {
        Ok(bytes) => Ok(&out[..bytes]),
        Err(base64::DecodeSliceError::DecodeError(_)) => Err(Why::Base64),
        Err(base64::DecodeSliceError::OutputSliceTooSmall) => Err(Why::TooLong),
    }
}

/// What of a header may choose a key: nothing but the key's name, once `alg` is ours.
#[derive(Debug, PartialEq)]
struct Header<'a> {
    kid: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    /// `jku`, `jwk`, `x5u` and the like are skipped: keys come from the settings and nowhere else.
    fn read(json: &'a [u8], algorithm: Algorithm) -> Result<Header<'a>, Why> {
        let mut alg = Err(Why::Algorithm);
        let mut header = Header { kid: None };
        object::read(json, |name, value| {
            match (name, value) {
                ("alg", Value::Text(named)) => alg = agree(&named, algorithm),
                ("alg", _) => alg = Err(Why::Algorithm),
                ("kid", Value::Text(kid)) if is_kid(&kid) => header.kid = Some(kid),
                ("kid", _) => return Err(Why::Kid),
                ("typ", Value::Text(typ)) if typ.eq_ignore_ascii_case("JWT") => {}
                ("typ", _) => return Err(Why::Type),
                ("crit", _) => return Err(Why::Critical),
                _ => {}
            }
            Ok(())
        })?;
        alg.map(|()| header)
    }
}

/// The header's `alg` chooses nothing: it is ours, or the token is refused.
fn agree(named: &str, ours: Algorithm) -> Result<(), Why> {
    match named {
        _ if named == ours.as_str() => Ok(()),
        _ if named.eq_ignore_ascii_case("none") => Err(Why::AlgorithmNone),
        _ => Err(Why::Algorithm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::Key;

    fn check_header(json: &str, expected: Result<Option<&str>, Why>) {
        let header = Header::read(json.as_bytes(), Algorithm::Hs256);
        assert_eq!(
            header.map(|h| h.kid.map(Cow::into_owned)),
            expected.map(|k| k.map(str::to_owned)),
            "{json}"
        );
    }

    #[test]
    fn headers_say_what_they_must_and_demand_nothing() {
        check_header(r#"{"alg":"HS256","typ":"JWT"}"#, Ok(None));
        check_header(r#"{"typ":"jwt","alg":"HS256"}"#, Ok(None));
        check_header(r#"{"alg":"HS256"}"#, Ok(None));
        check_header(r#"{"alg":"HS256","kid":"2026-01.a_b"}"#, Ok(Some("2026-01.a_b")));
        check_header(r#"{"\u0061lg":"HS256","kid":"\u0061"}"#, Ok(Some("a")));
        check_header(
            r#"{"alg":"HS256","jku":"https://x.example/k","jwk":{"k":"AA"},"x5c":["A"]}"#,
            Ok(None),
        );
        check_header("{}", Err(Why::Algorithm));
        check_header(r#"{"alg":null}"#, Err(Why::Algorithm));
        check_header(r#"{"alg":["HS256"]}"#, Err(Why::Algorithm));
        check_header(r#"{"ALG":"HS256"}"#, Err(Why::Algorithm));
        check_header(r#"{"alg":"hs256"}"#, Err(Why::Algorithm));
        check_header(r#"{"alg":"HS512"}"#, Err(Why::Algorithm));
        check_header(r#"{"alg":"RS256"}"#, Err(Why::Algorithm));
        check_header(r#"{"alg":""}"#, Err(Why::Algorithm));
        for none in ["none", "None", "NONE", "nOnE"] {
            check_header(&format!(r#"{{"alg":"{none}"}}"#), Err(Why::AlgorithmNone));
        }
        check_header(r#"{"alg":"none","alg":"HS256"}"#, Err(Why::DuplicateName));
        check_header(r#"{"alg":"HS256","alg":"none"}"#, Err(Why::DuplicateName));
        check_header(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, Err(Why::Critical));
        check_header(r#"{"alg":"HS256","crit":[]}"#, Err(Why::Critical));
        check_header(r#"{"alg":"HS256","crit":null}"#, Err(Why::Critical));
        check_header(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, Err(Why::Critical));
        check_header(r#"{"alg":"HS256","typ":"at+jwt"}"#, Err(Why::Type));
        check_header(r#"{"alg":"HS256","typ":null}"#, Err(Why::Type));
    }

    #[test]
    fn headers_are_one_object_and_kids_are_plain() {
        check_header(r#"["HS256"]"#, Err(Why::Json));
        check_header(r#"{"alg":"HS256"} "#, Ok(None));
        check_header(r#"{"alg":"HS256"}{}"#, Err(Why::Json));
        for kid in [
            "",
            "../../dev/null",
            "/proc/self/environ",
            "a b",
            "x' UNION SELECT 'k",
            "|id",
            "k\\u0000",
        ] {
            check_header(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), Err(Why::Kid));
        }
        check_header(&format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(65)), Err(Why::Kid));
        check_header(r#"{"alg":"HS256","kid":7}"#, Err(Why::Kid));
        check_header(r#"{"alg":"HS256","kid":null}"#, Err(Why::Kid));
        check_header(r#"{"alg":"HS256","kid":["a","b"]}"#, Err(Why::Kid));
    }

    /// Signs `header.payload` as they stand, however odd.
    fn sealed(key: &Key, header: &str, payload: &str) -> String {
        let message = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())))
    }

    fn key(algorithm: Algorithm, secret: &str) -> Key {
        Key::new(algorithm, secret).unwrap()
    }

    fn check(keys: &[Key], token: &str, expected: Result<&[u8], Why>) {
        let keys = Keys::new(keys.to_vec()).unwrap();
        let mut payload = [0; TOKEN_BYTES_MAX / 4 * 3];
        assert_eq!(open(token, &keys, Wall(1_000), &mut payload), expected, "{token}");
    }

    const PLAIN: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn a_token_is_three_parts_in_one_spelling() {
        let keys = [key(Algorithm::Hs256, "s")];
        let good = sealed(&keys[0], PLAIN, "e30");
        let (message, tag) = good.rsplit_once('.').unwrap();
        let header = message.split_once('.').unwrap().0;
        check(&keys, &good, Ok(b"{}"));
        for parts in ["", ".", "..", "...", "a", "a.b"] {
            check(&keys, parts, Err(Why::Parts));
        }
        check(&keys, &format!("{good}."), Err(Why::Parts));
        check(&keys, &format!("{good}.e30"), Err(Why::Parts));
        check(&keys, &format!(".{good}"), Err(Why::Parts));
        check(&keys, &format!("{message}."), Err(Why::Parts));
        check(&keys, &format!("{header}..{tag}"), Err(Why::Parts));
        check(&keys, &format!("{good}="), Err(Why::Base64));
        check(&keys, &format!("{good} "), Err(Why::Base64));
        check(&keys, &format!(" {good}"), Err(Why::Base64));
        check(&keys, &format!("{good}\n"), Err(Why::Base64));
        check(&keys, &format!("{header}+.e30.{tag}"), Err(Why::Base64));
        check(&keys, &format!("é.e30.{tag}"), Err(Why::Base64));
        // Cut off in the middle of a byte it is no base64, between bytes it is another tag.
        check(&keys, &good[..good.len() - 2], Err(Why::Base64));
        check(&keys, &good[..good.len() - 3], Err(Why::Signature));
        check(&keys, &format!("{good}AAAA"), Err(Why::Signature));
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn spare_bits_make_no_second_spelling() {
        let keys = [key(Algorithm::Hs256, "s")];
        // "e30" spells `{}`; "e31" has the same bytes and a spare bit. Signed, so only the strict
        // decoder stands in its way.
        check(&keys, &sealed(&keys[0], PLAIN, "e31"), Err(Why::Base64));
        check(&keys, &sealed(&keys[0], PLAIN, "e30="), Err(Why::Base64));
        let good = sealed(&keys[0], PLAIN, "e30");
        let last = good.chars().next_back().unwrap();
        let twin = char::from(last as u8 + 1);
        check(&keys, &format!("{}{twin}", &good[..good.len() - 1]), Err(Why::Base64));
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn sizes_are_checked_first() {
        let keys = [key(Algorithm::Hs256, "s")];
        check(&keys, &"A".repeat(8 * 1024), Err(Why::TooLong));
        check(&keys, &sealed(&keys[0], PLAIN, &"A".repeat(8 * 1024)), Err(Why::TooLong));
        let pad = |bytes: usize| format!(r#"{{"alg":"HS256","x":"{}"}}"#, "x".repeat(bytes));
        let around = pad(0).len();
        check(&keys, &sealed(&keys[0], &pad(1024 - around), "e30"), Ok(b"{}"));
        check(&keys, &sealed(&keys[0], &pad(1027 - around), "e30"), Err(Why::TooLong));
        let room = TOKEN_BYTES_MAX - (sealed(&keys[0], PLAIN, "e30").len() - 3);
        let payload = "A".repeat(room / 4 * 4);
        let zeros = vec![0; payload.len() / 4 * 3];
        check(&keys, &sealed(&keys[0], PLAIN, &payload), Ok(&zeros));
        check(&keys, &sealed(&keys[0], PLAIN, &"A".repeat(room + 1)), Err(Why::TooLong));
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn only_the_configured_algorithm_and_key_count() {
        for (algorithm, others) in [
            (Algorithm::Hs256, [Algorithm::Hs384, Algorithm::Hs512]),
            (Algorithm::Hs384, [Algorithm::Hs256, Algorithm::Hs512]),
            (Algorithm::Hs512, [Algorithm::Hs256, Algorithm::Hs384]),
        ] {
            let keys = [key(algorithm, "s")];
            let header = |a: Algorithm| format!(r#"{{"alg":"{}"}}"#, a.as_str());
            check(&keys, &sealed(&keys[0], &header(algorithm), "e30"), Ok(b"{}"));
            check(
                &keys,
                &sealed(&key(algorithm, "t"), &header(algorithm), "e30"),
                Err(Why::Signature),
            );
            for other in others {
                let foreign = sealed(&key(other, "s"), &header(other), "e30");
                check(&keys, &foreign, Err(Why::Algorithm));
                // The header claims ours, the signature is another hash's: another length too.
                let liar = sealed(&key(other, "s"), &header(algorithm), "e30");
                check(&keys, &liar, Err(Why::Signature));
            }
        }
        let keys = [key(Algorithm::Hs256, "s")];
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        check(&keys, &format!("{none}.e30."), Err(Why::Parts));
        check(&keys, &format!("{none}.e30.AAAA"), Err(Why::AlgorithmNone));
        let changed = sealed(&keys[0], PLAIN, "e30").replace(".e30.", ".e31.");
        check(&keys, &changed, Err(Why::Signature));
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn a_kid_chooses_among_the_configured_keys_only() {
        let old = key(Algorithm::Hs256, "old").named("old").unwrap().until(Wall(999));
        let new = key(Algorithm::Hs256, "new").named("new").unwrap().until(Wall(1_000));
        let nameless = key(Algorithm::Hs256, "nameless");
        let keys = [old.clone(), new.clone(), nameless.clone()];
        let named = |kid: &str| format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#);
        check(&keys, &sealed(&new, &named("new"), "e30"), Ok(b"{}"));
        check(&keys, &sealed(&nameless, &named("new"), "e30"), Err(Why::Signature));
        check(&keys, &sealed(&new, &named("NEW"), "e30"), Err(Why::UnknownKid));
        check(&keys, &sealed(&nameless, &named("nameless"), "e30"), Err(Why::UnknownKid));
        check(&keys, &sealed(&old, &named("old"), "e30"), Err(Why::KeyNotInForce));
        // Without a kid every key in force is tried.
        check(&keys, &sealed(&new, PLAIN, "e30"), Ok(b"{}"));
        check(&keys, &sealed(&nameless, PLAIN, "e30"), Ok(b"{}"));
        check(&keys, &sealed(&old, PLAIN, "e30"), Err(Why::Signature));
        check(std::slice::from_ref(&old), &sealed(&old, PLAIN, "e30"), Err(Why::KeyNotInForce));
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring's assembly")]
    fn the_payload_is_not_looked_at_before_the_signature() {
        let keys = [key(Algorithm::Hs256, "s")];
        let forged = |payload: &str| sealed(&key(Algorithm::Hs256, "t"), PLAIN, payload);
        for payload in ["e30", "!!!!", "AAAA", "eyJleHAiOi"] {
            check(&keys, &forged(payload), Err(Why::Signature));
        }
    }
}
