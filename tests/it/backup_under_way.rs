//! A backup that is taken while conversations come in, are written, changed, deleted and erased: what is made of it verifies,
//! opens, and has all that was acknowledged before, once and in order. An import is in it whole, or not at all.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};

use crate::backup::{QUICK, backup, check, of_admin_port, restore};
use crate::harness::server::{ADMIN_TOKEN, directory, loquat, outcome};
use crate::harness::{DEADLINE, Raw, Server, noise, person};
use crate::transfers::{all, events, exported, happens, name};

/// A conversation as its export would tell it; `size` makes its pages take their time.
fn lines(first_id: u64, messages: u64, size: usize) -> Vec<Value> {
    let mut lines =
        vec![json!({"type": "conversation", "format": "loquat-conversation", "version": 1})];
    for n in 0..messages {
        let (minute, second) = (n / 60, n % 60);
        let at = format!("2020-01-01T{:02}:{:02}:{second:02}.000Z", minute / 60, minute % 60);
        lines.push(json!({
            "type": "message", "id": first_id + n, "created_at": at, "parent_message_id": null,
            "sender": {"id": 8, "email": "", "first_name": "", "last_name": ""}, "content": format!("{n} {}", noise(first_id + n, size / 3))
        }));
    }
    lines.push(json!({"type": "end", "members": 0, "messages": messages, "marks": 0}));
    lines
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn path_of(conversation: &str) -> String {
    format!("/admin/conversations/{conversation}/import")
}

/// A request whose body is still coming.
async fn begun(server: &Server, conversation: &str, body: &str, sent: usize) -> Raw {
    let mut raw = Raw::connect(server.admin_address()).await;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: admin.test\r\nConnection: close\r\n\
         Authorization: Bearer {ADMIN_TOKEN}\r\nContent-Length: {}\r\n\r\n",
        path_of(conversation),
        body.len()
    );
    raw.write(head.as_bytes()).await;
    raw.write(&body.as_bytes()[..sent]).await;
    raw
}

/// Until the import's record is on disk, and pages have this many of its events.
async fn until_built(server: &Server, conversation: &str, events: u64) {
    let since = Instant::now();
    loop {
        let answer = server.admin().call("GET", &path_of(conversation), None).await;
        if answer.body["state"] == "done" || answer.body["built"].as_u64() >= Some(events) {
            return;
        }
        assert!(since.elapsed() < 6 * DEADLINE, "{answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// A server on what was restored; everything in it holds, before and after.
fn restored(file: &Path, data: &Path) -> Server {
    check(outcome(restore(file, data)), 0, &[]);
    let data = data.to_str().unwrap();
    check(outcome(loquat(&["verify", "--data", data], &[])), 0, &[]);
    Server::with(&[&QUICK[..], &[("data", data)]].concat())
}

fn holds_after(mut server: Server, data: &Path) {
    server.sigterm();
    assert!(server.exited().success());
    let data = data.to_str().unwrap();
    check(outcome(loquat(&["verify", "--data", data], &[])), 0, &[]);
}

/// Messages of an import, as they came in or come out.
fn messages(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["type"] == "message").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_whose_lines_are_still_coming_is_not_in_it() {
    let server = Server::with(&QUICK);
    server.join("1", &person(1)).await.say("acknowledged").await;
    let text = text(&lines(1_000, 200, 9_000));
    let mut coming = begun(&server, "7", &text, text.len() / 2).await;
    let place = directory();
    let file = place.path().join("chat.loquat");
    check(outcome(backup(&server, &file, ADMIN_TOKEN)), 0, &[]);
    coming.write(&text.as_bytes()[text.len() / 2..]).await;
    assert_eq!(coming.head().await.map(|head| head.status), Some(201));
    let data = place.path().join("restored");
    let again = restored(&file, &data);
    let path = "/admin/conversations/7/export";
    assert_eq!(again.admin().call("GET", path, None).await.status, 404);
    let imports = std::fs::read_dir(data.join("store/imports")).unwrap().count();
    assert_eq!(imports, 0, "nothing is left of it");
    // Its ids are free there, too.
    let (status, answer) = again.admin().lines("POST", &path_of("7"), Some(&text)).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(exported(&again, "7").await.len(), 202);
    holds_after(again, &data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_pages_are_being_built_is_in_it_with_all_else_that_was_acknowledged() {
    let server = Server::with(&QUICK);
    let admin = server.admin();
    admin.conversation("1", &[("1", "admin"), ("3", "member")]).await;
    let mut ann = server.join("1", &person(1)).await;
    let mut happened = Vec::new();
    for round in 0..10 {
        happened.extend(happens(&mut ann, "1", round).await);
    }
    server.join("2", &person(3)).await.say("by one who is erased").await;
    server.join("gone", &person(1)).await.say("it goes").await;
    admin.must("DELETE", "/admin/conversations/gone", None).await;
    let old = text(&lines(500, 20, 10));
    assert_eq!(admin.lines("POST", &path_of("old"), Some(&old)).await.0, 201);
    let days = json!({"retention_days": 1});
    admin.must("PUT", "/admin/conversations/old/retention", Some(days)).await;
    admin.must("POST", "/admin/users/3/erase", None).await;

    let lines = lines(10_000, 1_200, 9_000);
    let body = text(&lines);
    let mut coming = begun(&server, "7", &body, body.len()).await;
    until_built(&server, "7", 1).await;
    let acknowledged = happened.len();
    let place = directory();
    let file = place.path().join("chat.loquat");
    let command = backup(&server, &file, ADMIN_TOKEN);
    let taking = std::thread::spawn(move || outcome(command));
    let mut round = 10;
    while !taking.is_finished() || round < 12 {
        happened.extend(happens(&mut ann, "1", round).await);
        round += 1;
    }
    check(taking.join().unwrap(), 0, &[]);
    coming.head().await.expect("an answer");

    let data = place.path().join("restored");
    let again = restored(&file, &data);
    let found: Vec<_> = events(&all(&again, None, &mut 3).await.0).into_iter().map(name).collect();
    let of_one: Vec<_> = found.iter().filter(|(_, of, _)| of == "1").cloned().collect();
    // What came after is a part of it, without holes, and nothing is there twice.
    assert!(of_one.len() >= acknowledged, "{} of {acknowledged}", of_one.len());
    assert!(happened.starts_with(&of_one), "{of_one:?}");
    let export = exported(&again, "7").await;
    assert_eq!(messages(&export), messages(&lines));
    let gone = again.admin().call("GET", "/admin/conversations/gone", None).await;
    assert_eq!(gone.status, 404);
    // What was begun goes on there.
    let since = Instant::now();
    while again.admin().must("GET", "/admin/users/3/erase", None).await["status"] != "done" {
        assert!(since.elapsed() < 3 * DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let text = exported(&again, "2").await.iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains("by one who is erased"), "{text}");
    holds_after(again, &data);
}

/// The backup stands still in the midst of pages, since nobody takes it, until the import is recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_recorded_under_a_backup_is_in_it_whole_and_waits_for_its_pages() {
    let mut server = Server::with(&QUICK);
    // More than pipe and sockets hold.
    let much = text(&lines(10_000, 1_800, 9_500));
    let mut filling = begun(&server, "6", &much, much.len()).await;
    until_built(&server, "6", u64::MAX).await;
    filling.head().await.expect("an answer");
    let place = directory();
    let token_file = place.path().join("token");
    std::fs::write(&token_file, ADMIN_TOKEN).unwrap();
    let mut command = loquat(&["backup", "-"], &of_admin_port(&server, &token_file));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut taking = command.spawn().unwrap();
    server.logged("a backup begins");
    let lines = lines(1_000, 300, 5_000);
    let body = text(&lines);
    let mut coming = begun(&server, "7", &body, body.len()).await;
    until_built(&server, "7", 0).await;
    let state = server.admin().must("GET", &path_of("7"), None).await;
    assert_eq!((&state["state"], &state["built"]), (&json!("building"), &json!(0)));
    let mut bytes = Vec::new();
    taking.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(taking.wait().unwrap().success());
    // It goes on as soon as nothing holds it.
    until_built(&server, "7", u64::MAX).await;
    assert!(coming.head().await.is_some_and(|head| matches!(head.status, 201 | 202)));
    assert_eq!(messages(&exported(&server, "7").await), messages(&lines));
    server.kill9();

    let file = place.path().join("chat.loquat");
    std::fs::write(&file, &bytes).unwrap();
    let data = place.path().join("restored");
    let again = restored(&file, &data);
    assert_eq!(messages(&exported(&again, "7").await), messages(&lines));
    assert_eq!(exported(&again, "6").await.len(), 1_802);
    holds_after(again, &data);
}
