//! Long work says how far it is: on a terminal at once, and gone at the end; where nobody looks on, short work leaves
//! nothing but what came of it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;

use crate::harness::server::{ADMIN_TOKEN, directory, loquat};
use crate::harness::{Server, person};

/// Both ends of a terminal.
fn terminal() -> (OwnedFd, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
    grantpt(&ours).expect("it is ours");
    unlockpt(&ours).expect("it is ours");
    let name = ptsname(&ours, Vec::new()).expect("it has a name");
    let theirs = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
    (ours, theirs.expect("it is unlocked"))
}

/// What it says on stderr, as a terminal and as a pipe.
fn said(mut command: impl FnMut() -> Command) -> [String; 2] {
    let (ours, theirs) = terminal();
    let reader = std::thread::spawn(move || {
        let (mut ours, mut said) = (File::from(ours), Vec::new());
        // The end of a terminal is an error: nobody has its other end any more.
        let _ = ours.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let mut on_terminal = command();
    on_terminal.stdin(Stdio::null()).stdout(Stdio::null()).stderr(theirs);
    let status = on_terminal.status().expect("it runs");
    drop(on_terminal);
    let shown = reader.join().expect("it does not panic");
    assert!(status.success(), "{status}: {shown}");
    let output = command().stdin(Stdio::null()).output().expect("it runs");
    let piped = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {piped}", output.status);
    [shown, piped]
}

/// Whether lines about each of these are there, one over the other, and gone at the end.
#[track_caller]
fn check(command: impl FnMut() -> Command, doing: &[&str]) {
    let [shown, piped] = said(command);
    for doing in doing {
        assert!(shown.contains(&format!("\r\x1b[K{doing}: ")), "{doing}: {shown:?}");
        assert!(!piped.contains(&format!("{doing}: ")), "{doing}: {piped:?}");
    }
    let (_, last) = shown.rsplit_once("\r\x1b[K").expect("something was told");
    assert!(!doing.iter().any(|doing| last.starts_with(doing)), "{shown:?}");
}

/// A new name each time.
fn names(place: &Path) -> impl FnMut(&str) -> String {
    let mut turn = 0;
    move |name| {
        turn += 1;
        format!("{}/{name}-{turn}", place.display())
    }
}

async fn with_some_messages() -> Server {
    let server = Server::with(&[("rate_limits", "off")]);
    let mut client = server.join("1", &person(1)).await;
    for n in 0..20 {
        client.say(&format!("message {n}")).await;
    }
    client.close().await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_long_command_says_how_far_it_is() {
    let mut server = with_some_messages().await;
    let place = directory();
    let mut new = names(place.path());
    let [token, lines] =
        ["token", "lines"].map(|name| format!("{}/{name}", place.path().display()));
    let head = json!({"type": "conversation", "format": "loquat-conversation", "version": 1});
    let end = json!({"type": "end", "members": 0, "messages": 0, "marks": 0});
    std::fs::write(&lines, format!("{head}\n{end}\n")).expect("it is writable");
    std::fs::write(&token, ADMIN_TOKEN).expect("it is writable");
    let address = server.admin_address().to_string();
    let settings = [("admin.listen".to_owned(), address), ("admin.token_file".to_owned(), token)];

    let mut backup = String::new();
    let mut back_up = || {
        backup = new("backup");
        loquat(&["backup", &backup], &settings)
    };
    check(&mut back_up, &["copying"]);
    let ids = std::cell::Cell::new(10);
    let import = || {
        ids.set(ids.get() + 1);
        loquat(&["import", &lines, "--conversation", &ids.get().to_string()], &settings)
    };
    check(import, &["sending"]);
    server.sigterm();
    assert!(server.exited().success());
    let kept = server.data();
    let data = kept.display().to_string();
    check(|| loquat(&["restore", "--check", &backup], &[]), &["checking"]);
    check(|| loquat(&["verify", "--data", &data], &[]), &["reading"]);
    let restore = || loquat(&["restore", &backup, "--data", &new("restored")], &[]);
    check(restore, &["restoring", "reading"]);
    // Beside the data: a unit that hardens the server lets nothing else be written (scripts/soak hardened).
    let mut beside = names(kept.parent().expect("a directory"));
    let rebuild = || loquat(&["verify", "--data", &data, "--rebuild", &beside("rebuilt")], &[]);
    check(rebuild, &["copying", "reading"]);
}
