//! Many kills in a row on one data directory: under load, while pages are built, during starts, and of a rebuild.
//! After each, whatever was shown is there. A few in an ordinary run, `LOQUAT_KILLS=500` and more in a long one.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::timeout;

use crate::crash::{Shown, check, note, stored};
use crate::harness::server::loquat;
use crate::harness::{Client, DEADLINE, Server, What, noise, person};

/// What one round does to the server before it is killed.
#[derive(Debug, Clone, Copy)]
struct Round {
    conversations: usize,
    messages: usize,
    /// Emoji in each text: four bytes each.
    length: usize,
}

/// Many short messages: the log is what is busy.
const TALK: Round = Round { conversations: 6, messages: 80, length: 8 };
/// 5 MB in segments of 4 MiB: each round ends one, and pages are built.
const PAGES: Round = Round { conversations: 16, messages: 8, length: 9_990 };

/// SplitMix64, from the clock: the seed is printed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// Says what it has to, each when the one before came back or was refused; returns what it was shown.
async fn writer(mut client: Client, round: Round) -> Shown {
    let mut shown = Shown::new();
    let mut sent = 0;
    while sent < round.messages {
        let content = format!("{sent} {}", noise(sent as u64, round.length));
        client.send_all([json!({"type": "chat_message", "content": content})]).await;
        sent += 1;
        match client.arrival().await.what {
            What::Frame(_, frame) if frame["type"] == "chat_message" => note(&mut shown, &frame),
            // Both segments are full, or it was told something else: nothing was shown, nothing is due.
            What::Frame(..) => {}
            What::Dropped(_) => return shown,
            other => panic!("{}: {other:?}", client.name),
        }
    }
    // Until the end.
    let rest = async { while !matches!(client.arrival().await.what, What::Dropped(_)) {} };
    timeout(2 * DEADLINE, rest).await.expect("the server is killed sooner");
    shown
}

async fn killed_at_work(
    server: &mut Server,
    round: Round,
    name: &str,
    after: Duration,
) -> Vec<Shown> {
    let mut tasks = Vec::new();
    for conversation in 0..round.conversations {
        let client = server.join(&format!("{name}-{conversation}"), &person(1)).await;
        tasks.push(tokio::spawn(writer(client, round)));
    }
    tokio::time::sleep(after).await;
    server.kill9();
    let mut shown = Vec::new();
    for task in tasks {
        shown.push(task.await.expect("its failure was printed"));
    }
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_kills_lose_nothing() {
    let kills: usize = match std::env::var("LOQUAT_KILLS") {
        Ok(kills) => kills.parse().expect("a number"),
        Err(_) => 10,
    };
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = clock.expect("after 1970").as_nanos() as u64;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let settings = [("rate_limits", "off"), ("history_on_connect", "200"), ("log.level", "info")];
    let mut server = Server::with(&settings);
    let (mut done, mut messages, mut in_starts, mut in_pages) = (0, 0, 0, 0);
    let mut kept: Vec<(String, Shown)> = Vec::new();
    let begun = Instant::now();
    while done < kills {
        let round = if dice.roll(2) == 0 { TALK } else { PAGES };
        in_pages += usize::from(round.length == PAGES.length);
        let after = Duration::from_millis(20 + dice.roll(700));
        let name = format!("kill-{done}");
        let shown = killed_at_work(&mut server, round, &name, after).await;
        done += 1;
        for _ in 0..dice.roll(4) {
            server.start_and_kill_after(Duration::from_millis(dice.roll(120))).await;
            done += 1;
            in_starts += 1;
        }
        server.start_again();
        for (conversation, shown) in shown.into_iter().enumerate() {
            let name = format!("{name}-{conversation}");
            messages += shown.len();
            check(&name, &shown, &stored(&server, &name).await);
            kept.push((name, shown));
        }
    }
    // The rounds before are not forgotten by those after them.
    for (name, shown) in kept.iter().step_by(1 + kept.len() / 200) {
        check(name, shown, &stored(&server, name).await);
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{done} kills, {in_starts} of them in starts, {in_pages} while pages were made;");
    println!("{messages} messages were shown, none is lost; {seconds:.0} s");
    server.kill9();
    rebuilt(&server.data(), &mut dice, kills / 20 + 2).await;
    let status =
        loquat(&["verify", "--data"], &[]).arg(server.data()).stdout(Stdio::null()).status();
    assert!(status.expect("it runs").success(), "the store does not verify in the end");
}

/// A rebuild that is killed leaves no store, one that is not leaves all of it.
async fn rebuilt(data: &Path, dice: &mut Dice, kills: usize) {
    let into = data.with_file_name("anew");
    let rebuild = |into: &Path| {
        let mut command = loquat(&["verify", "--data"], &[]);
        command.arg(data).arg("--rebuild").arg(into).stdout(Stdio::null());
        command
    };
    let mut cut_off = 0;
    for _ in 0..kills {
        let mut child = rebuild(&into).spawn().expect("it runs");
        tokio::time::sleep(Duration::from_millis(dice.roll(600))).await;
        child.kill().expect("it is our child");
        let status = child.wait().expect("it is our child");
        // Whoever is killed before `format` has left nothing that starts.
        let is_store = into.join("store/format").exists();
        assert!(is_store || !status.success());
        if is_store {
            let status =
                loquat(&["verify", "--data"], &[]).arg(&into).stdout(Stdio::null()).status();
            assert!(status.expect("it runs").success());
        } else {
            cut_off += 1;
        }
        if into.exists() {
            std::fs::remove_dir_all(&into).expect("it is ours");
        }
    }
    let status = rebuild(&into).status().expect("it runs");
    assert!(status.success(), "the rebuild ends with {status}");
    println!("{cut_off} of {kills} rebuilds were cut off");
}
