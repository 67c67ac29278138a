//! A disk without room, and one that may only be read: real file systems (tmpfs), so these need root.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::talk_until_the_end;
use crate::crash::{check, stored};
use crate::harness::server::{loquat, outcome, settings_in};
use crate::harness::{Client, DEADLINE, Server, person};

const MIB: u64 = 1 << 20;
const SETTINGS: [(&str, &str); 4] = [
    ("rate_limits", "off"),
    ("history_on_connect", "200"),
    ("disk_reserve", "16MiB"),
    ("log.level", "info"),
];

/// A small file system below the build's directory; taken off when dropped. `None` where we may not mount.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(bytes: u64) -> Option<Small> {
        let directory = crate::harness::server::directory();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "loquat-test"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .status();
        let mounted = status.is_ok_and(|status| status.success());
        if !mounted {
            println!("skipped: mounting a tmpfs needs root");
        }
        mounted.then_some(Small(directory))
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// A server whose data is on it.
    fn server(&self) -> Server {
        let data = self.data().display().to_string();
        Server::with(&[&SETTINGS[..], &[("data", &data)]].concat())
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.0.path()).expect("it is mounted");
        stat.f_bavail * stat.f_frsize
    }

    /// Somebody else takes all but so many bytes.
    fn fill_up_to(&self, left: u64) {
        let bytes = self.free().saturating_sub(left);
        let written = std::fs::write(self.ballast(), vec![1; bytes as usize]);
        assert!(left == 0 || written.is_ok(), "{written:?}");
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("it was written");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// Sends it until the answer is of this kind; returns that.
async fn until_answered(client: &mut Client, content: &str, kind: &str) -> serde_json::Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        client.send(json!({"type": "chat_message", "content": content})).await;
        let frame = client.next().await;
        if frame["type"] == kind {
            return frame;
        }
        assert!(Instant::now() < deadline, "never {kind}: {frame}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Below the reserve nothing is numbered; reading, typing and entering go on; with room again it goes on by itself,
/// and no number is missing.
#[tokio::test]
async fn a_full_disk_refuses_before_numbering_and_recovers_by_itself() {
    let Some(small) = Small::mount(64 * MIB) else { return };
    let server = small.server();
    let mut client = server.join("1", &person(1)).await;
    client.say("the first").await;
    for round in 0..2 {
        small.fill_up_to(4 * MIB);
        let refused = until_answered(&mut client, "one of those", "error").await;
        assert_eq!(refused["code"], "storage_unavailable");
        assert_eq!(server.admin().call("GET", "/readyz", None).await.status, 503);
        let mut other = server.join("1", &person(2)).await;
        other.expect_like(&json!({"seq": 1, "message": {"content": "the first"}})).await;
        other.close().await;
        small.make_room();
        let taken = until_answered(&mut client, "there is room", "chat_message").await;
        assert!(taken["seq"].as_u64().is_some_and(|seq| seq > round + 1), "{taken}");
    }
    // The witness of each socket has seen that no seq is left out.
    client.say("and on it goes").await;
    assert_eq!(server.admin().call("GET", "/readyz", None).await.status, 200);
}

/// Not a byte is left, under load, faster than the server can look: whatever it does, all that was shown is there
/// when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_at_once_loses_nothing_that_was_shown() {
    let Some(small) = Small::mount(64 * MIB) else { return };
    let mut server = small.server();
    let mut tasks = Vec::new();
    for name in ["a", "b", "c"] {
        let client = server.join(name, &person(1)).await;
        let text = "👍".repeat(9_990);
        tasks.push((name, tokio::spawn(talk_until_the_end(client, text, 190))));
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    small.fill_up_to(0);
    // Long enough for a segment to end and for pages to meet a full disk, should they try.
    let deadline = Instant::now() + Duration::from_secs(3);
    while server.is_running() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("it runs on: {}", server.is_running());
    server.kill9();
    small.make_room();
    server.start_again();
    for (name, task) in tasks {
        let shown = task.await.expect("its failure was printed");
        assert!(!shown.is_empty(), "{name}: it was full before anything was said");
        check(name, &shown, &stored(&server, name).await);
    }
}

/// A store on a disk that may only be read is not served: that is said, with the path.
#[test]
fn a_read_only_disk_is_named() {
    let Some(small) = Small::mount(64 * MIB) else { return };
    let mut server = small.server();
    server.sigterm();
    assert!(server.exited().success());
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(small.0.path()).status();
    assert!(status.is_ok_and(|status| status.success()));
    let place = crate::harness::server::directory();
    let data = small.data().display().to_string();
    let settings = settings_in(place.path(), &[&SETTINGS[..], &[("data", &data)]].concat());
    let (code, said) = outcome(loquat(&["serve"], &settings));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&data) && said.contains("Read-only"), "{said}");
}
