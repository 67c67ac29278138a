//! The server under load: started on its own core, measured from outside, stopped at the end.
//!
//! CPU time is what the scheduler counted for every thread of the process and its children
//! (`/proc/PID/task/TID/schedstat`, nanoseconds); memory is `RssAnon`: what is theirs, without files.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::fail::{Context, Fail};
use crate::pinning::{Core, on_core};

/// How a server that was started must answer by then.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(20);
const REST_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// The secret of the tokens; a benchmark's own.
pub const SECRET: &str = "a secret that only this benchmark uses";
pub const ADMIN_TOKEN: &str = "an-admin-token-that-only-this-benchmark-uses";

/// When an event counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    Commit,
    Interval,
}

impl Fsync {
    fn word(self) -> &'static str {
        match self {
            Fsync::Commit => "commit",
            Fsync::Interval => "interval",
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Loquat(Fsync),
    Peer(String),
}

impl Subject {
    pub fn parse(name: &str) -> Subject {
        match name {
            "loquat" => Subject::Loquat(Fsync::Commit),
            "loquat-interval" => Subject::Loquat(Fsync::Interval),
            peer => Subject::Peer(peer.to_owned()),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Subject::Loquat(Fsync::Commit) => "loquat",
            Subject::Loquat(Fsync::Interval) => "loquat-interval",
            Subject::Peer(name) => name,
        }
    }

    /// Connections that it can be asked to take at a time. Channels looks through all that are there for each.
    pub fn connecting_max(&self) -> usize {
        if self.name().starts_with("channels") { 8 } else { 256 }
    }

    pub fn is_loquat(&self) -> bool {
        matches!(self, Subject::Loquat(_))
    }
}

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    data: PathBuf,
}

/// What a server has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub cpu: Duration,
    pub own_bytes: u64,
}

impl Server {
    /// Starts `subject` on the server's core, with its files in a folder of its own below `folder`.
    pub fn start(subject: &Subject, folder: &Path) -> Result<Server, Fail> {
        let folder = &folder.join(subject.name());
        let (address, admin) = (free_port()?, free_port()?);
        let data = folder.join("data");
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(folder).context("making the folder of the server's files")?;
        let mut command = match subject {
            Subject::Loquat(fsync) => loquat(*fsync, folder, &data, (address, admin))?,
            Subject::Peer(name) => peer(name, address),
        };
        let log = fs::File::create(folder.join("server.log")).context("making the log")?;
        command.stdin(Stdio::null()).stdout(log.try_clone().context("sharing the log")?);
        command.stderr(log);
        let child = on_core(Core::Server, || command.spawn())
            .context(&format!("starting {}", subject.name()))?;
        let mut server = Server { child, address, data };
        server.wait_until_it_listens(folder)?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self, folder: &Path) -> Result<(), Fail> {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let has_ended = self.child.try_wait().context("looking after the server")?.is_some();
            if has_ended || begun.elapsed() > START_MAX {
                let log = fs::read_to_string(folder.join("server.log")).unwrap_or_default();
                return Err(Fail::new(format!("the server does not listen; it said:\n{log}")));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    pub fn usage(&self) -> Usage {
        let mut usage = Usage { cpu: Duration::ZERO, own_bytes: 0 };
        for pid in family(self.child.id()) {
            usage.cpu += cpu_of(pid);
            usage.own_bytes += own_bytes_of(pid);
        }
        usage
    }

    /// Stops it where it is, until [`Server::go_on`]: one that waits for its turn takes nothing from another's.
    pub fn hold(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        for pid in family(self.child.id()).into_iter().filter_map(|pid| Pid::from_raw(pid as i32)) {
            // Whoever ended in the meantime is missed by `Flood::check`.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Until it uses less than a tenth of a core for as long as `look`. Waits a minute at most.
    pub fn wait_until_it_rests(&self, look: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < REST_MAX {
            let before = self.usage().cpu;
            std::thread::sleep(look);
            if self.usage().cpu - before < look / 10 {
                break;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        self.go_on();
        let begun = Instant::now();
        while begun.elapsed() < STOP_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

fn loquat(
    fsync: Fsync,
    folder: &Path,
    data: &Path,
    (public, admin): (SocketAddr, SocketAddr),
) -> Result<Command, Fail> {
    let (secret, token) = (folder.join("secret"), folder.join("admin-token"));
    write_secret(&secret, SECRET).context("writing the secret")?;
    write_secret(&token, ADMIN_TOKEN).context("writing the admin token")?;
    let binary = std::env::var_os("LOAD_SERVER_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_loquat")), PathBuf::from);
    let mut command = Command::new(binary);
    command.arg("serve");
    command.arg("--listen").arg(public.to_string());
    command.arg("--admin-listen").arg(admin.to_string());
    command.arg("--admin-token-file").arg(token);
    command.arg("--data").arg(data);
    command.arg("--jwt-secret-file").arg(secret);
    command.args(["--access", "open", "--rate-limits", "off", "--shards", "1"]);
    command.args(["--log-level", "warn", "--fsync", fsync.word()]);
    Ok(command)
}

fn write_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    fs::write(path, secret)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

fn peer(name: &str, address: SocketAddr) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/load/peers/run");
    let mut command = Command::new(script);
    command.arg(name).arg(address.port().to_string());
    command
}

fn free_port() -> Result<SocketAddr, Fail> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    listener.local_addr().context("looking for a free port")
}

/// The process and all that came of it.
fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() {
        for task in tasks(found[at]) {
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            found.extend(
                children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    found
}

fn tasks(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn cpu_of(pid: u32) -> Duration {
    let of_task = |task: &PathBuf| {
        let text = fs::read_to_string(task.join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks(pid).iter().filter_map(of_task).sum())
}

fn own_bytes_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
