//! Starts: quick when all is well; a clear sentence and an exit code when it is not.

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::server::{directory, loquat, loquat_through, outcome, settings_in};
use crate::harness::{Server, all_settled, person};

/// What `serve` does with these changes to the settings of the tests.
fn serve(changes: &[(&str, &str)]) -> (Option<i32>, String) {
    let directory = directory();
    outcome(loquat(&["serve"], &settings_in(directory.path(), changes)))
}

/// It ends with this code and says each of these.
#[track_caller]
fn check((code, said): (Option<i32>, String), expected: i32, parts: &[&str]) {
    assert_eq!(code, Some(expected), "{said}");
    for part in parts {
        assert!(said.contains(part), "nothing about {part:?} in\n{said}");
    }
    assert!(!said.contains("panicked") && !said.contains("stack backtrace"), "{said}");
}

#[tokio::test]
async fn a_start_is_quick() {
    let mut server = Server::start();
    let mut times = Vec::new();
    for _ in 0..3 {
        server.kill9();
        let started = Instant::now();
        server.start_again();
        times.push(started.elapsed());
        server.join("1", &person(1)).await.say("hello").await;
    }
    println!("starts: {times:?}");
    assert!(times.iter().min().is_some_and(|t| *t < Duration::from_millis(1_500)), "{times:?}");
}

/// Where a process listens, it serves: the first command is taken like any other.
#[tokio::test]
async fn who_connects_at_once_is_served() {
    for _ in 0..5 {
        let server = Server::with(&[("shards", "4")]);
        for conversation in ["1", "2", "3", "4"] {
            server.join(conversation, &person(1)).await.say("the very first").await;
        }
    }
}

#[test]
fn a_data_directory_that_cannot_be_is_named() {
    let directory = directory();
    let file = directory.path().join("a-file");
    std::fs::write(&file, "not a directory").expect("it is writable");
    let file = file.display().to_string();
    check(serve(&[("data", &file)]), 1, &[&file]);
    check(serve(&[("data", &format!("{file}/below"))]), 1, &["below"]);
    check(serve(&[("data", "/proc/loquat-cannot-be-here")]), 1, &["/proc/loquat-cannot-be-here"]);
}

#[tokio::test]
async fn a_second_process_on_the_same_data_ends() {
    let server = Server::start();
    let mut client = server.join("1", &person(1)).await;
    client.say("before").await;
    check(outcome(server.another()), 1, &[&server.data().display().to_string()]);
    client.say("the first one goes on").await;
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = taken.local_addr().expect("it is bound").to_string();
    check(serve(&[("listen", &address)]), 1, &[&address]);
    check(serve(&[("admin.listen", &address)]), 1, &[&address]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mistakes = [
        ("shards", "none"),
        ("access", "everyone"),
        ("limits.sockets_per_user", "-1"),
        ("no_such_setting", "1"),
    ];
    let parts = ["shards", "access", "sockets_per_user", "NO_SUCH_SETTING"];
    check(serve(&mistakes), 2, &parts);
}

/// The secret may well be named in the file.
#[test]
fn a_settings_file_that_cannot_be_read_is_the_only_mistake() {
    let directory = directory();
    let file = directory.path().join("loquat.toml").display().to_string();
    let mut settings = settings_in(directory.path(), &[]);
    settings.retain(|(key, _)| key != "jwt.secret");
    let start = || outcome(loquat(&["serve", "--config", &file], &settings));
    check(start(), 2, &["1 mistake", "--config: ", "cannot be read"]);
    std::fs::write(&file, "access = \"open").expect("it is writable");
    check(start(), 2, &["1 mistake", "line 1", "is not TOML"]);
}

#[test]
fn a_directory_without_a_store_is_told_so_by_who_only_reads() {
    let directory = directory();
    let nowhere = directory.path().join("nowhere").display().to_string();
    let verify = loquat(&["verify", "--data", &nowhere], &[]);
    check(outcome(verify), 2, &["no loquat store in", &nowhere, "data directory"]);
    let into = directory.path().join("into").display().to_string();
    let rebuild = loquat(&["verify", "--data", &nowhere, "--rebuild", &into], &[]);
    check(outcome(rebuild), 2, &["no loquat store in", &nowhere, "data directory"]);
}

#[test]
fn a_memory_limit_that_takes_nobody_in_is_refused() {
    check(serve(&[("memory_limit", "1MiB")]), 2, &["memory_limit", "64MiB"]);
}

#[test]
fn weak_secrets_are_refused_and_not_shown() {
    for weak in
        ["secret", "short-but-not-known", "django-insecure-0123456789012345678901234567890123"]
    {
        let (code, said) = serve(&[("jwt.secret", weak)]);
        assert_eq!(code, Some(2), "{said}");
        assert!(weak == "secret" || !said.contains(weak), "{said}");
    }
    let directory = directory();
    let mut settings = settings_in(directory.path(), &[]);
    settings.retain(|(key, _)| key != "jwt.secret");
    check(outcome(loquat(&["serve"], &settings)), 2, &["secret"]);
}

#[test]
fn without_io_uring_it_says_what_to_do() {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/without_io_uring.py");
    let directory = directory();
    let wrapper = ["python3", &script.display().to_string()];
    let command = loquat_through(&wrapper, &settings_in(directory.path(), &[]));
    let (code, said) = outcome(command);
    check((code, said.clone()), 1, &["io_uring"]);
    let about = said.lines().filter(|line| line.contains("io_uring")).count();
    assert!((1..=2).contains(&about), "one clear sentence, not\n{said}");
}

/// The journal's files, the newest first.
fn journal(server: &Server) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![server.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.parent().is_some_and(|parent| parent.ends_with("journal")) {
                found.push(path);
            }
        }
    }
    found.sort();
    found.reverse();
    assert!(!found.is_empty(), "the journal is not where this test looks");
    found
}

/// Where a text stands in the journal, and in which file.
fn find(server: &Server, text: &str) -> (PathBuf, u64) {
    for path in journal(server) {
        let mut bytes = Vec::new();
        let mut file = std::fs::File::open(&path).expect("it is there");
        file.read_to_end(&mut bytes).expect("it is readable");
        if let Some(at) = bytes.windows(text.len()).position(|part| part == text.as_bytes()) {
            return (path, at as u64);
        }
    }
    panic!("{text} is not in the journal");
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("it is there");
    file.seek(SeekFrom::Start(at)).expect("it can be");
    file.write_all(bytes).expect("it is writable");
}

/// A commit that was torn by a crash was never shown: what stands before it is served.
#[tokio::test]
async fn a_torn_tail_is_no_harm() {
    let mut server = Server::with(&[("history_on_connect", "50")]);
    let mut client = server.join("1", &person(1)).await;
    for n in 0..5 {
        client.say(&format!("kept message {n}")).await;
    }
    client.say("the torn message").await;
    server.kill9();
    let (path, at) = find(&server, "the torn message");
    overwrite(&path, at, &[0; 64 * 1024]);
    server.start_again();
    let mut client = server.join("1", &person(2)).await;
    for n in 0..5 {
        let content = format!("kept message {n}");
        client.expect_like(&json!({"message": {"content": content}})).await;
    }
    client.say("and on it goes").await;
}

/// A flipped bit in front of good commits is damage, not a torn tail: nothing behind it is dropped
/// without a word.
#[tokio::test]
async fn damage_in_the_midst_of_the_journal_is_named() {
    let mut server = Server::with(&[("history_on_connect", "50")]);
    let mut client = server.join("1", &person(1)).await;
    for n in 0..10 {
        client.say(&format!("message number {n}")).await;
    }
    server.kill9();
    let (path, at) = find(&server, "message number 3");
    overwrite(&path, at, b"M");
    let (code, said) = outcome(server.another());
    let file = path.file_name().expect("it has one").to_string_lossy().into_owned();
    check((code, said), 1, &[&file]);
}

/// When the disk is nearly full nothing is numbered, and reading and typing go on.
#[tokio::test]
async fn without_room_on_the_disk_messages_are_refused_before_numbering() {
    let mut server = Server::with(&[("history_on_connect", "50")]);
    let mut first = server.room::<1>("1").await;
    all_settled(&mut first).await;
    drop(first);
    // More than any test machine has: as if the disk were full.
    server.set("disk_reserve", "1024GiB");
    server.restart();
    let mut room = [server.join("1", &person(1)).await, server.join("1", &person(2)).await];
    for client in &mut room {
        client.expect_like(&json!({"seq": 1})).await;
    }
    room[0].send(json!({"type": "chat_message", "content": "no room for it"})).await;
    room[0].error("storage_unavailable").await;
    room[0].send(json!({"type": "typing_indicator", "is_typing": true})).await;
    room[1].expect_like(&json!({"type": "typing_indicator", "is_typing": true})).await;
    drop(room);
    server.set("disk_reserve", "8MiB");
    server.restart();
    let mut client = server.join("1", &person(1)).await;
    client.expect_like(&json!({"seq": 1})).await;
    assert_eq!(client.say("there is room again").await["seq"], 2);
}
