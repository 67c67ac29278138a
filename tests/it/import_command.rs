//! `loquat import`: conversations come in one after the other, each whole; what is refused is named with its line, and
//! what was not begun is told.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::server::{ADMIN_TOKEN, directory, loquat, outcome};
use crate::harness::{Server, person};

const QUICK: [(&str, &str); 1] = [("rate_limits", "off")];

/// Files of lines, and the settings that lead to the server.
struct Desk {
    place: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

impl Desk {
    fn of(server: &Server) -> Desk {
        let place = directory();
        let token = place.path().join("token");
        std::fs::write(&token, ADMIN_TOKEN).unwrap();
        let settings = vec![
            ("admin.listen".to_owned(), server.admin_address().to_string()),
            ("admin.token_file".to_owned(), token.display().to_string()),
        ];
        Desk { place, settings }
    }

    fn file(&self, name: &str, lines: &[Value]) -> String {
        let path = self.place.path().join(name);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn import(&self, arguments: &[&str]) -> Command {
        loquat(&[&["import"], arguments].concat(), &self.settings)
    }
}

fn conversation(id: Value, messages: &[(u64, &str)]) -> Vec<Value> {
    let mut lines = vec![json!({
        "type": "conversation", "format": "loquat-conversation", "version": 1, "conversation_id": id
    })];
    for (id, content) in messages {
        let at = format!("2020-01-01T00:00:{:02}Z", id % 60);
        lines.push(json!({
            "type": "message", "id": id, "created_at": at, "sender": {"id": 1}, "content": content
        }));
    }
    lines.push(json!({"type": "end", "members": 0, "messages": messages.len(), "marks": 0}));
    lines
}

#[track_caller]
fn check((code, said): (Option<i32>, String), expected: i32, parts: &[&str]) {
    assert_eq!(code, Some(expected), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

async fn messages(server: &Server, conversation: &str) -> Vec<String> {
    let path = format!("/admin/conversations/{conversation}/export");
    let (status, text) = server.admin().lines("GET", &path, None).await;
    assert_eq!(status, 200, "{text}");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| Some(line.get("content")?.as_str()?.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_in_one_after_the_other_until_one_is_refused() {
    let server = Server::with(&QUICK);
    let desk = Desk::of(&server);
    let one = desk.file("1.ndjson", &conversation(json!(1), &[(1, "one"), (2, "two")]));
    let two = desk.file("2.ndjson", &conversation(json!("general"), &[(3, "three")]));
    let bad = desk.file("3.ndjson", &conversation(json!(3), &[(9, "nine"), (8, "eight")]));
    let four = desk.file("4.ndjson", &conversation(json!(4), &[(10, "ten")]));
    let all = [&*one, &*two, &*bad, &*four];
    let refused = ["3.ndjson", "line 3", "rise", "nothing was imported", "2 files", "1 after"];
    check(outcome(desk.import(&all)), 1, &refused);
    assert_eq!(messages(&server, "1").await, ["one", "two"]);
    assert_eq!(messages(&server, "general").await, ["three"]);
    assert_eq!(server.admin().call("GET", "/admin/conversations/4", None).await.status, 404);
    // Mended, and on from where it ended.
    desk.file("3.ndjson", &conversation(json!(3), &[(8, "eight"), (9, "nine")]));
    check(outcome(desk.import(&all)), 1, &["1.ndjson", "there is a conversation 1"]);
    let again = [&["--skip-existing"], &all[..]].concat();
    check(outcome(desk.import(&again)), 0, &["1.ndjson: passed over", "2.ndjson: passed over"]);
    assert_eq!(messages(&server, "3").await, ["eight", "nine"]);
    assert_eq!(messages(&server, "4").await, ["ten"]);
    // Under another name, the ids are still taken.
    check(outcome(desk.import(&[&four, "--conversation", "5"])), 1, &["line 2", "this id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_goes_through_a_pipe_and_says_what_came_in() {
    let server = Server::with(&QUICK);
    server.join("7", &person(1)).await.say("as it was").await;
    let (_, export) = server.admin().lines("GET", "/admin/conversations/7/export", None).await;
    let other = Server::with(&QUICK);
    let desk = Desk::of(&other);
    let mut command = desk.import(&["-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut importing = command.spawn().unwrap();
    importing.stdin.take().unwrap().write_all(export.as_bytes()).unwrap();
    let output = importing.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told, "-: conversation 7: 1 messages, 1 events\n");
    assert_eq!(messages(&other, "7").await, ["as it was"]);
}

/// What is wrong is said although most of the file was not sent yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_file_with_a_bad_line_at_its_start_is_told_so() {
    let server = Server::with(&QUICK);
    let desk = Desk::of(&server);
    let long = "x".repeat(9_000);
    let mut texts = vec![(2, &*long), (1, &*long)];
    texts.extend((3..4_000).map(|id| (id, &*long)));
    let file = desk.file("long.ndjson", &conversation(json!(1), &texts));
    check(outcome(desk.import(&[&file])), 1, &["line 3", "rise", "nothing was imported"]);
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_with_what_to_do() {
    let mut server = Server::with(&QUICK);
    let desk = Desk::of(&server);
    let mut lines = conversation(json!(1), &[(1, "one")]);
    lines[0].as_object_mut().unwrap().remove("conversation_id");
    let nameless = desk.file("nameless.ndjson", &lines);
    check(outcome(desk.import(&[&nameless])), 1, &["nameless.ndjson", "--conversation"]);
    check(outcome(desk.import(&[&nameless, "--conversation", "../x"])), 2, &["--conversation"]);
    check(outcome(desk.import(&["nothing.ndjson"])), 1, &["nothing.ndjson", "No such file"]);
    let two = [&*nameless, &*nameless, "--conversation", "1"];
    check(outcome(desk.import(&two)), 2, &["one file"]);
    check(outcome(loquat(&["import", &nameless], &[])), 2, &["--admin-token-file"]);
    server.kill9();
    let gone = desk.import(&[&nameless, "--conversation", "1"]);
    check(outcome(gone), 1, &["Is the server running"]);
}
