//! Tokens written by the real libraries (tests/fixtures/tokens, made by scripts/make_token_fixtures)
//! against the verifier: SimpleJWT from 4.8.0 to 5.5.1 as it comes, and odd ones by PyJWT and by hand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use loquat::auth::{Algorithm, Key, Keys, Rules, TokenError, Verifier, Why};
use loquat::model::{ConversationId, IdRef, Identity, Scope, UserId, Wall};
use serde_json::{Map, Value, json};

/// What SimpleJWT and loquat see differently, though SimpleJWT wrote it.
const SIMPLEJWT_DIFFERS: [&str; 1] = ["user in sub, not asked for"];
/// What loquat takes and SimpleJWT does not: parts of a second, and a clock that is a little ahead.
const LOQUAT_IS_WIDER: [&str; 2] = ["float exp", "nbf in five seconds"];

struct Case {
    file: String,
    name: String,
    verifier: Verifier,
    now: Wall,
    token: String,
    theirs: String,
    expect: Value,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}

fn optional(object: &Value, name: &str) -> Option<String> {
    object.get(name).map(text)
}

fn seconds(value: &Value) -> Wall {
    Wall(value.as_u64().unwrap() * 1000)
}

fn key(algorithm: Algorithm, settings: &Value) -> Key {
    let mut key = Key::new(algorithm, &text(&settings["secret"])).unwrap();
    if let Some(kid) = optional(settings, "kid") {
        key = key.named(&kid).unwrap();
    }
    match settings.get("not_after") {
        Some(end) => key.until(seconds(end)),
        None => key,
    }
}

fn verifier(document: &Value, case: &Value) -> Verifier {
    let algorithm = optional(case, "algorithm").unwrap_or("HS256".to_owned());
    let algorithm = Algorithm::parse(&algorithm).unwrap();
    let plain = json!([{ "secret": document["secret"] }]);
    let keys = case.get("keys").unwrap_or(&plain).as_array().unwrap();
    let keys = Keys::new(keys.iter().map(|settings| key(algorithm, settings)).collect()).unwrap();
    let asked = &case["rules"];
    let rules = Rules {
        user_claim: optional(asked, "user_claim").unwrap_or(Rules::default().user_claim),
        audience: optional(asked, "audience"),
        issuer: optional(asked, "issuer"),
        ..Rules::default()
    };
    Verifier::new(keys, rules).unwrap()
}

fn load(path: &Path) -> Vec<Case> {
    let document: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = document["tokens"].as_array().unwrap().iter();
    cases
        .map(|case| Case {
            file: path.file_name().unwrap().to_string_lossy().into_owned(),
            name: text(&case["name"]),
            verifier: verifier(&document, case),
            now: seconds(case.get("now").unwrap_or(&document["now"])),
            token: text(&case["token"]),
            theirs: text(&case["theirs"]),
            expect: case["expect"].clone(),
        })
        .collect()
}

fn in_folder(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn all() -> Vec<Case> {
    let mut paths = in_folder("tests/fixtures/tokens");
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    assert_eq!(paths.len(), 5, "a file of fixtures per version");
    paths.iter().flat_map(|path| load(path)).collect()
}

fn user(id: &UserId) -> Value {
    match id.as_ref() {
        IdRef::Number(number) => number.into(),
        IdRef::Text(text) => text.into(),
    }
}

fn conversation(id: &ConversationId) -> Value {
    match id.as_ref() {
        IdRef::Number(number) => number.into(),
        IdRef::Text(text) => text.into(),
    }
}

/// The identity as the fixtures spell it.
fn spelled(identity: &Identity) -> Value {
    let mut said = Map::new();
    said.insert("user".into(), user(&identity.user));
    let names = [
        ("email", identity.email.as_deref()),
        ("first_name", identity.first_name.as_deref()),
        ("last_name", identity.last_name.as_deref()),
        ("role", identity.role.map(|role| role.as_str())),
    ];
    for (name, value) in names {
        said.extend(value.map(|value| (name.to_owned(), value.into())));
    }
    match &identity.scope {
        None => {}
        Some(Scope::All) => drop(said.insert("conversations".into(), "*".into())),
        Some(Scope::Listed(listed)) => {
            said.insert("conversations".into(), listed.iter().map(conversation).collect());
        }
    }
    json!({ "accepted": said })
}

fn outcome(result: &Result<Identity, TokenError>) -> Value {
    match result {
        Ok(identity) => spelled(identity),
        Err(TokenError::Expired) => "expired".into(),
        Err(TokenError::Invalid(why)) => json!({ "invalid": why.as_str() }),
    }
}

#[test]
fn every_fixture_is_judged_as_written_beside_it() {
    let cases = all();
    assert!(cases.len() > 300, "{} cases", cases.len());
    for case in &cases {
        let result = case.verifier.verify(&case.token, case.now);
        assert_eq!(outcome(&result), case.expect, "{}: {}", case.file, case.name);
    }
}

#[test]
fn simplejwt_says_the_same_of_what_it_writes() {
    for case in all().iter().filter(|case| case.file.starts_with("simplejwt")) {
        let ours = case.verifier.verify(&case.token, case.now).is_ok();
        let same = ours == (case.theirs == "accepted");
        let known = SIMPLEJWT_DIFFERS.contains(&case.name.as_str());
        assert_ne!(same, known, "{}: {}: {}", case.file, case.name, case.theirs);
    }
}

#[test]
fn nothing_is_accepted_that_simplejwt_refuses() {
    let wider: Vec<_> = all()
        .into_iter()
        .filter(|case| case.verifier.verify(&case.token, case.now).is_ok())
        .filter(|case| case.theirs != "accepted")
        .map(|case| case.name)
        .collect();
    assert_eq!(wider, LOQUAT_IS_WIDER);
}

#[test]
fn each_reason_has_a_fixture() {
    let met: BTreeSet<_> = all()
        .iter()
        .filter_map(|case| match case.verifier.verify(&case.token, case.now) {
            Err(TokenError::Invalid(why)) => Some(why.as_str()),
            _ => None,
        })
        .collect();
    let known: BTreeSet<_> = Why::ALL.iter().map(|why| why.as_str()).collect();
    assert_eq!(met, known);
}

#[test]
fn no_changed_character_passes() {
    let cases = all();
    let good = cases.iter().find(|case| case.name == "names").unwrap();
    for place in 0..good.token.len() {
        let mut changed = good.token.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let refused = good.verifier.verify(&changed, good.now);
        assert!(matches!(refused, Err(TokenError::Invalid(_))), "byte {place}: {refused:?}");
        assert!(good.verifier.verify(&good.token[..place], good.now).is_err(), "cut at {place}");
    }
}

#[test]
fn an_error_shows_nothing_of_the_token() {
    for case in all() {
        let Err(error) = case.verifier.verify(&case.token, case.now) else { continue };
        let shown = format!("{error} {error:?}");
        let parts = case.token.split('.').filter(|part| part.len() > 20);
        assert!(!parts.clone().any(|part| shown.contains(part)), "{}", case.name);
        assert!(shown.len() < 100, "{}: {shown}", case.name);
    }
}
