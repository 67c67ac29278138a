//! The harness against a fake server and a shell: it sees what it is there to see.

use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::fake::{client_that_is_sent, message};
use crate::harness::process::{Process, Secrets};
use crate::harness::witness::{Witness, instant};
use crate::harness::{is_like, person, token};

/// What a socket says to these frames: nothing, or what is wrong with the last.
fn verdict(frames: &[Value]) -> Option<String> {
    let mut witness = Witness::default();
    let see = |frame: &Value| witness.see(&frame.to_string()).err();
    let mut verdicts: Vec<Option<String>> = frames.iter().map(see).collect();
    let last = verdicts.pop().flatten();
    assert_eq!(verdicts.into_iter().flatten().next(), None, "only the last may be wrong");
    last
}

#[track_caller]
fn check(frames: &[Value], expected: Option<&str>) {
    let found = verdict(frames);
    let same = match (&found, expected) {
        (None, None) => true,
        (Some(found), Some(part)) => found.contains(part),
        _ => false,
    };
    assert!(same, "expected {expected:?}, found {found:?}");
}

fn about(kind: &str, message: u64, more: Value) -> Value {
    let mut frame = json!({
        "type": kind, "message_id": message, "user_id": 1,
        "timestamp": "2026-01-02T03:04:05.678Z",
    });
    let fields = frame.as_object_mut().expect("it is one");
    fields.extend(more.as_object().expect("an object").clone());
    frame
}

#[test]
fn a_socket_sees_holes_doubles_and_what_runs_backwards() {
    check(&[message(1, 5), message(2, 6)], None);
    check(&[message(7, 5), message(8, 9)], None);
    check(&[message(1, 5), message(3, 6)], Some("seq 3 after 1"));
    check(&[message(1, 5), message(1, 6)], Some("seq 1 after 1"));
    check(&[message(1, 5), message(2, 5)], Some("message 5 after 5"));
    check(&[message(1, 5), message(2, 4)], Some("message 4 after 5"));
    check(&[message(0, 5)], Some("out of range"));
    check(&[message(1, 1 << 53)], Some("out of range"));
    let mut early = message(2, 6);
    early["message"]["created_at"] = json!("2026-01-02T03:04:05.677Z");
    check(&[message(1, 5), early], Some("time goes back"));
}

#[test]
fn a_socket_sees_what_the_guide_does_not_show() {
    check(&[json!({"type": "hello"})], Some("does not know hello"));
    check(&[json!({"type": "presence", "count": 1})], Some("does not know presence"));
    check(&[json!({"type": "read_receipt", "message_id": 1})], Some("user_id is missing"));
    let mut nobody = message(1, 1);
    nobody["message"]["sender"] = Value::Null;
    check(&[nobody], Some("id is missing"));
    let mut null_name = message(1, 1);
    null_name["message"]["sender"]["email"] = Value::Null;
    check(&[null_name], Some("sender.email is no text"));
    check(&[about("read_receipt", 1, json!({"seq": 1}))], Some("only events have a seq"));
}

#[test]
fn a_socket_sees_receipts_and_reactions_that_cannot_be() {
    let receipt = |id| about("read_receipt", id, json!({}));
    check(&[receipt(4), receipt(9)], None);
    check(&[receipt(4), receipt(4)], Some("mark was Some(4)"));
    let reaction = |seq, action| {
        about("message_reaction", 5, json!({"seq": seq, "emoji": "x", "action": action}))
    };
    check(&[message(1, 5), reaction(2, "added"), reaction(3, "removed")], None);
    check(&[message(1, 5), reaction(2, "removed")], Some("stood before: false"));
    check(&[message(1, 5), reaction(2, "added"), reaction(3, "added")], Some("stood before: true"));
    // Another socket may have come after the message and its first reaction.
    check(&[reaction(3, "removed")], None);
    let delete = |seq| about("message_delete", 5, json!({ "seq": seq }));
    check(&[message(1, 5), delete(2), delete(3)], Some("deleted twice"));
    check(&[message(1, 5), delete(2), reaction(3, "added")], Some("what was deleted"));
}

#[test]
fn times_have_one_form() {
    let check = |text: &str, right| assert_eq!(instant(&json!(text)).is_ok(), right, "{text}");
    check("2026-01-02T03:04:05.678Z", true);
    check("2026-01-02T03:04:05Z", false);
    check("2026-01-02T03:04:05.678901Z", false);
    check("2026-01-02T03:04:05.678+00:00", false);
}

#[test]
fn dates_are_those_of_the_calendar() {
    let check = |s, text: &str| assert_eq!(token::rfc3339(s), text);
    check(0, "1970-01-01T00:00:00Z");
    check(951_782_400, "2000-02-29T00:00:00Z");
    check(1_764_153_000, "2025-11-26T10:30:00Z");
    check(1_772_323_199, "2026-02-28T23:59:59Z");
}

#[test]
fn a_pattern_names_only_what_matters() {
    let value = json!({"a": {"b": 1, "c": 2}, "d": [1]});
    let check = |pattern: Value, right| assert_eq!(is_like(&value, &pattern), right, "{pattern}");
    check(json!({"a": {"b": 1}}), true);
    check(json!({"d": [1]}), true);
    check(json!({"a": {"b": 2}}), false);
    check(json!({"x": null}), false);
}

#[tokio::test]
async fn a_client_reads_what_it_is_sent_and_hears_silence() {
    let mut client =
        client_that_is_sent(vec![message(1, 5).to_string(), message(2, 6).to_string()]).await;
    client.expect_like(&json!({"message": {"id": 5}})).await;
    client.until_like(&json!({"message": {"id": 6}})).await;
    client.quiet().await;
}

#[tokio::test]
#[should_panic(expected = "silence was expected")]
async fn a_client_hears_what_breaks_the_silence() {
    client_that_is_sent(vec![message(1, 5).to_string()]).await.quiet().await;
}

#[tokio::test]
#[should_panic(expected = "seq 3 after 1")]
async fn a_hole_fails_the_test_that_looks() {
    let frames = vec![message(1, 5).to_string(), message(3, 6).to_string()];
    let mut client = client_that_is_sent(frames).await;
    client.expect("chat_message").await;
    client.expect("chat_message").await;
}

#[tokio::test]
#[should_panic(expected = "seq 3 after 1")]
async fn a_hole_fails_the_test_that_looks_no_more() {
    let frames = vec![message(1, 5).to_string(), message(3, 6).to_string()];
    let mut client = client_that_is_sent(frames).await;
    client.send_message(tokio_tungstenite::tungstenite::Message::Ping(Vec::new().into())).await;
    while !matches!(client.try_arrival().map(|a| a.what), Some(crate::harness::What::Pong(_))) {
        tokio::task::yield_now().await;
    }
}

fn shell(script: &str, secrets: &Arc<Secrets>) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::spawn(command, Arc::clone(secrets))
}

#[test]
fn a_secret_on_stderr_is_found() {
    let secrets = Arc::new(Secrets::default());
    let token = person(1).token();
    secrets.add_token(&token);
    let signature = token.rsplit('.').next().expect("it has three parts");
    let mut process = shell(&format!("echo bad: ?token=…{signature} >&2"), &secrets);
    process.exited();
    assert!(process.finish().is_some_and(|why| why.contains("something secret")));
    let mut process = shell("echo fine >&2", &secrets);
    process.exited();
    assert_eq!(process.finish(), None);
}

#[test]
fn what_was_sent_is_found_however_it_is_written() {
    let secrets = Secrets::default();
    secrets.add_sent(r#"{"type":"chat_message","content":"a text\nof two \"lines\""}"#);
    secrets.add_sent(r#"[{"sender":{"email":"somebody@chat.test"}}]"#);
    secrets.add_sent(r#"{"content": "never ended"#);
    let check =
        |line: &str, found: bool| assert_eq!(secrets.leak([line]).is_some(), found, "{line}");
    check("a text\nof two \"lines\"", true);
    check(r#"{"message":"a text\nof two \"lines\""}"#, true);
    check("who: somebody@chat.test", true);
    check(r#"text={"content": "never ended"#, true);
    check("a text of two lines, chat_message", false);
    check("", false);
}

#[test]
fn a_panic_of_the_process_is_found() {
    let mut process = shell("echo \"thread 'x' panicked at src/y.rs\" >&2", &Arc::default());
    process.exited();
    assert!(process.finish().is_some_and(|why| why.contains("panicked")));
}

#[test]
fn a_process_is_awaited_and_killed() {
    let mut process =
        shell("echo listening on http://127.0.0.1:7; exec sleep 600", &Arc::default());
    assert_eq!(process.announced("listening on http://"), Ok("127.0.0.1:7".to_owned()));
    assert!(process.try_exited().is_none());
    process.kill9();
    assert!(process.exited().code().is_none(), "a signal ended it");
    let process = shell("echo no >&2; exit 1", &Arc::default());
    let error = process.announced("listening").expect_err("it says nothing");
    assert!(error.contains("before its end") && error.contains("no"), "{error}");
}

#[test]
fn tokens_are_what_another_library_takes() {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    let key = DecodingKey::from_secret(token::SECRET.as_bytes());
    let validation = Validation::new(Algorithm::HS256);
    let data = decode::<Value>(&person(7).token(), &key, &validation).expect("it verifies");
    assert_eq!(data.claims["user_id"], 7);
    assert_eq!(data.claims["token_type"], "access");
}
