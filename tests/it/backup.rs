//! A backup of a server that is in use, and the server that is made of it: every message that was
//! acknowledged before is there as it was, and clients are told that this is another life.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::server::{ADMIN_TOKEN, directory, loquat, outcome};
use crate::harness::{Client, Server, person};

pub const QUICK: [(&str, &str); 3] =
    [("rate_limits", "off"), ("journal_keep_days", "0"), ("history_on_connect", "200")];

pub fn of_admin_port(server: &Server, token_file: &Path) -> Vec<(String, String)> {
    vec![
        ("admin.listen".to_owned(), server.admin_address().to_string()),
        ("admin.token_file".to_owned(), token_file.display().to_string()),
    ]
}

pub fn backup(server: &Server, into: &Path, token: &str) -> Command {
    let token_file = into.with_extension("token");
    std::fs::write(&token_file, token).unwrap();
    loquat(&["backup", into.to_str().unwrap()], &of_admin_port(server, &token_file))
}

pub fn restore(from: &Path, into: &Path) -> Command {
    let paths = [from, into].map(|path| path.to_str().unwrap());
    loquat(&["restore", paths[0], "--data", paths[1]], &[])
}

#[track_caller]
pub fn check((code, said): (Option<i32>, String), expected: i32, parts: &[&str]) {
    assert_eq!(code, Some(expected), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

/// What it says about itself: seq and id by content.
fn told(frame: &Value) -> (String, (u64, u64)) {
    let message = &frame["message"];
    let content = message["content"].as_str().expect("a content").to_owned();
    (content, (frame["seq"].as_u64().unwrap(), message["id"].as_u64().unwrap()))
}

/// Long messages, so that segments are sealed meanwhile.
async fn says(
    client: &mut Client,
    numbers: std::ops::Range<usize>,
) -> BTreeMap<String, (u64, u64)> {
    let mut said = BTreeMap::new();
    for n in numbers {
        said.extend([told(&client.say(&format!("{n} {}", "x".repeat(9_000))).await)]);
    }
    said
}

async fn all_of(server: &Server, conversation: &str) -> BTreeMap<String, (u64, u64)> {
    let mut session = server.join_v2(conversation, &person(9), "&since=0").await;
    let mut found = BTreeMap::new();
    loop {
        let frame = session.client.next().await;
        match frame["type"].as_str() {
            Some("chat_message") => found.extend([told(&frame)]),
            Some("resumed") => return found,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_before_is_in_it_with_its_seq_and_id() {
    let server = Server::with(&QUICK);
    server.admin().conversation("1", &[("1", "admin"), ("2", "member")]).await;
    let mut client = server.join("1", &person(1)).await;
    let before = says(&mut client, 0..700).await;
    let place = directory();
    let file = place.path().join("chat.loquat");
    let command = backup(&server, &file, ADMIN_TOKEN);
    let taking = std::thread::spawn(move || outcome(command));
    let mut others = server.join("2", &person(2)).await;
    let during = says(&mut others, 0..300).await;
    check(taking.join().unwrap(), 0, &["backup: ", "commit"]);
    assert_eq!(during.len(), 300);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = std::fs::read_dir(place.path()).unwrap().flatten().collect();
    assert!(names.iter().all(|name| !name.path().to_string_lossy().ends_with(".part")));
    check(outcome(backup(&server, &file, ADMIN_TOKEN)), 1, &["exists", "name another"]);
    let epoch = server.join_v2("1", &person(3), "").await.hello["epoch"].clone();
    drop(server);

    let data = place.path().join("restored");
    check(outcome(restore(&file, &data)), 0, &[]);
    check(outcome(restore(&file, &data)), 1, &["is not empty", "new or empty directory"]);
    let changes = [&QUICK[..], &[("data", data.to_str().unwrap())]].concat();
    let server = Server::with(&changes);
    let found = all_of(&server, "1").await;
    for (content, place) in &before {
        assert_eq!(found.get(content), Some(place));
    }
    let members = server.admin().must("GET", "/admin/conversations/1/members", None).await;
    assert_eq!(members["members"][0], json!({"user_id": 1, "role": "admin"}), "{members}");
    // Who comes with a place in the old log is told, and goes on from the new one.
    let query = format!("&since=3&epoch={}", epoch.as_str().unwrap());
    let mut back = server.join_v2("1", &person(1), &query).await;
    let resync = back.client.expect("resync").await;
    assert_ne!(resync["epoch"], epoch);
    back.client.close().await;
    let mut client = server.join("4", &person(1)).await;
    let (_, (seq, _)) = told(&client.say("a first one").await);
    assert_eq!(seq, 1);
    let posted = json!({"content": "on we go", "user_id": 1});
    let posted = server.admin().must("POST", "/admin/conversations/1/messages", Some(posted)).await;
    let (seq, id) = (posted["seq"].as_u64().unwrap(), posted["id"].as_u64().unwrap());
    assert_eq!(seq, before.len() as u64 + 1);
    // Ids that were given after the backup are not given again.
    assert!(id > 1_000_000, "{id}");
}

#[tokio::test]
async fn a_backup_that_is_cut_or_altered_is_refused() {
    let server = Server::with(&QUICK);
    let mut client = server.join("1", &person(1)).await;
    says(&mut client, 0..40).await;
    let place = directory();
    let (file, data) = (place.path().join("chat.loquat"), place.path().join("restored"));
    check(outcome(backup(&server, &file, ADMIN_TOKEN)), 0, &[]);
    let bytes = std::fs::read(&file).unwrap();
    let checked =
        |file: &Path| outcome(loquat(&["restore", "--check", file.to_str().unwrap()], &[]));
    check(checked(&file), 0, &[]);
    let bad = place.path().join("bad.loquat");
    let refused = |bytes: &[u8], sentence: &str| {
        std::fs::write(&bad, bytes).unwrap();
        check(checked(&bad), 1, &[sentence]);
        check(outcome(restore(&bad, &data)), 1, &[sentence]);
        assert!(!data.join("store/format").exists());
    };
    refused(&bytes[..bytes.len() / 2], "cut short");
    refused(&bytes[..bytes.len() - 1], "cut short");
    refused(b"{\"type\":\"conversation\"}", "no backup of loquat");
    let mut altered = bytes.clone();
    altered[bytes.len() / 2] ^= 1;
    refused(&altered, "altered");
    // And what was refused is in no one's way.
    check(outcome(restore(&file, &data)), 0, &[]);
}

#[tokio::test]
async fn who_cannot_reach_the_server_is_told_what_to_do() {
    let mut server = Server::with(&QUICK);
    let place = directory();
    let file = place.path().join("chat.loquat");
    let wrong = "another-admin-token-0123456789-0123456789";
    check(outcome(backup(&server, &file, wrong)), 1, &["does not take this admin token"]);
    let without = loquat(&["backup", file.to_str().unwrap()], &[]);
    check(outcome(without), 2, &["--admin-token-file"]);
    let command = backup(&server, &file, ADMIN_TOKEN);
    server.kill9();
    check(outcome(command), 1, &["Is the server running"]);
    assert!(!file.exists());
}

/// The server ends in the middle of a backup: what is there has no name.
#[tokio::test]
async fn a_backup_whose_server_goes_away_is_not_taken_for_a_whole_one() {
    let mut server = Server::with(&QUICK);
    let mut client = server.join("1", &person(1)).await;
    says(&mut client, 0..300).await;
    let place = directory();
    let file = place.path().join("chat.loquat");
    let token_file = place.path().join("token");
    std::fs::write(&token_file, ADMIN_TOKEN).unwrap();
    // Nobody reads its stdout: it stands still after some of it.
    let mut command = loquat(&["backup", "-"], &of_admin_port(&server, &token_file));
    let mut taking =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    server.logged("a backup begins");
    server.kill9();
    let mut out = taking.stdout.take().unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut out, &mut bytes).unwrap();
    let output = taking.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    std::fs::write(&file, &bytes).unwrap();
    let data = place.path().join("restored");
    assert_eq!(outcome(restore(&file, &data)).0, Some(1));
}
