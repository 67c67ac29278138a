//! The commands around a running server: `top --once`, and what shells and `man` are told.

use std::process::{Command, Output};

use crate::harness::server::{ADMIN_TOKEN, directory, loquat};
use crate::harness::{Server, person};

fn run(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test]
async fn top_says_once_what_the_server_does() {
    let server = Server::start();
    let mut client = server.join("1", &person(1)).await;
    client.say("hello").await;
    let place = directory();
    let token_file = place.path().join("token");
    std::fs::write(&token_file, ADMIN_TOKEN).unwrap();
    let settings = vec![
        ("admin.listen".to_owned(), server.admin_address().to_string()),
        ("admin.token_file".to_owned(), token_file.display().to_string()),
    ];
    // Gauges are set about once a second.
    let begun = std::time::Instant::now();
    loop {
        let (code, said, why) = run(loquat(&["top", "--once"], &settings));
        assert_eq!(code, Some(0), "{why}");
        assert!(said.starts_with("loquat    ") && said.contains("\nshard "), "{said}");
        if said.contains("sockets   1 in 1 conversations") {
            break;
        }
        assert!(begun.elapsed() < crate::harness::DEADLINE, "{said}");
    }
    let (code, _, why) = run(loquat(&["top"], &settings));
    assert_eq!(code, Some(1));
    assert!(why.contains("--once"), "{why}");
    let public =
        vec![("admin.listen".to_owned(), server.address().to_string()), settings[1].clone()];
    let (code, _, why) = run(loquat(&["top", "--once"], &public));
    assert_eq!(code, Some(1));
    assert!(why.contains("admin port"), "{why}");
}

#[test]
fn shells_and_man_know_every_command() {
    let commands = [
        "demo",
        "serve",
        "token",
        "check-config",
        "verify",
        "backup",
        "restore",
        "top",
        "completions",
    ];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, said, why) = run(loquat(&["completions", shell], &[]));
        assert_eq!(code, Some(0), "{why}");
        assert!(commands.iter().all(|command| said.contains(command)), "{shell}");
    }
    let (code, page, _) = run(loquat(&["man"], &[]));
    assert_eq!(code, Some(0));
    assert!(page.contains(".TH loquat 1"), "{page}");
    let place = directory();
    let path = place.path().join("man1");
    let (code, _, why) = run(loquat(&["man", path.to_str().unwrap()], &[]));
    assert_eq!(code, Some(0), "{why}");
    for command in commands {
        let page = std::fs::read_to_string(path.join(format!("loquat-{command}.1"))).unwrap();
        assert!(page.contains(&format!(".TH loquat-{command} 1")), "{command}: {page}");
    }
}
