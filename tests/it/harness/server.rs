//! The real binary as a child: `loquat serve` on free ports, on a data directory that goes with it.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use super::admin::Admin;
use super::client::Client;
use super::faults::Faults;
use super::process::{Process, Secrets};
use super::raw::Raw;
use super::token::{Person, SECRET, nameless};

pub const ADMIN_TOKEN: &str = "an-admin-token-of-the-tests-0123456789";

/// How long the last look at `/metrics` may take; a server that was stopped on purpose gives none.
const SCRAPE_WAIT: Duration = Duration::from_secs(2);

/// What tests want other than an operator: everyone may enter, small files, free ports.
const DEFAULTS: [(&str, &str); 10] = [
    ("listen", "127.0.0.1:0"),
    ("admin.listen", "127.0.0.1:0"),
    ("access", "open"),
    ("jwt.secret", SECRET),
    ("shards", "2"),
    ("journal_segment", "4MiB"),
    ("sled_cache", "1MiB"),
    ("disk_reserve", "8MiB"),
    ("log.level", "trace"),
    ("drain_timeout_ms", "1000"),
];

/// A running server. Its data directory outlives restarts and goes when the value is dropped.
pub struct Server {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    settings: Vec<(String, String)>,
    secrets: Arc<Secrets>,
    // Last: removed after the process was killed.
    directory: TempDir,
}

/// A v2 socket, and what it was told first.
pub struct Session {
    pub client: Client,
    pub hello: Value,
    pub presence: Value,
}

/// A directory on the disk of the build, which syncs for real; `/tmp` may be memory.
pub fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build directory is writable")
}

/// `jwt.secret_file` → `LOQUAT_JWT_SECRET_FILE`.
fn variable(key: &str) -> String {
    format!("LOQUAT_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// The binary; started by the program that `LOQUAT_TEST_WRAPPER` names, if there is one.
fn program() -> Vec<OsString> {
    let wrapper = std::env::var_os("LOQUAT_TEST_WRAPPER").filter(|path| !path.is_empty());
    wrapper.into_iter().chain([env!("CARGO_BIN_EXE_loquat").into()]).collect()
}

/// `loquat` with these arguments and settings and with nothing else in its environment.
pub fn loquat(arguments: &[&str], settings: &[(String, String)]) -> Command {
    let program = program();
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]);
    with_settings(&mut command, settings);
    command.args(arguments);
    command
}

/// The same, started by another program: `["sh", "-c", "ulimit -n 99; exec \"$@\"", "sh"]`.
pub fn loquat_through(wrapper: &[&str], settings: &[(String, String)]) -> Command {
    let (first, arguments) = wrapper.split_first().expect("a program");
    let mut command = Command::new(first);
    with_settings(&mut command, settings);
    command.args(arguments).args(program()).arg("serve");
    command
}

/// A `serve` that ends by itself: its exit code, and what it said on stderr.
pub fn outcome(command: Command) -> (Option<i32>, String) {
    let secrets = Arc::new(Secrets::default());
    secrets.add(SECRET);
    let mut process = Process::spawn(command, secrets);
    let status = process.exited();
    (status.code(), process.stderr())
}

fn with_settings(command: &mut Command, settings: &[(String, String)]) {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("RUST_BACKTRACE", "1");
    // What a sanitizer that was built in goes by (scripts/soak asan).
    command.envs(std::env::var_os("ASAN_OPTIONS").map(|options| ("ASAN_OPTIONS", options)));
    command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
}

/// The settings of a test: the defaults above, then `changes`, over this data directory.
pub fn settings_in(directory: &Path, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let token_file = directory.join("admin.token");
    std::fs::write(&token_file, ADMIN_TOKEN).expect("a fresh directory is writable");
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let mut settings: Vec<(String, String)> = DEFAULTS.iter().map(own).collect();
    let paths = [("data", directory.join("data")), ("admin.token_file", token_file)];
    settings.extend(paths.map(|(key, path)| (key.to_owned(), path.display().to_string())));
    settings.extend(changes.iter().map(own));
    settings
}

impl Server {
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// A server with some settings changed: `("limits.sockets_per_user", "2")`.
    pub fn with(changes: &[(&str, &str)]) -> Server {
        let directory = directory();
        let settings = settings_in(directory.path(), changes);
        Server::launch(loquat(&["serve"], &settings), settings, directory)
    }

    /// A server started by another program.
    pub fn through(wrapper: &[&str], changes: &[(&str, &str)]) -> Server {
        let directory = directory();
        let settings = settings_in(directory.path(), changes);
        Server::launch(loquat_through(wrapper, &settings), settings, directory)
    }

    /// A server that will meet what `faults` says, until its next start.
    pub fn faulty(faults: &Faults, changes: &[(&str, &str)]) -> Server {
        let wrapper = faults.wrapper();
        let server = Server::through(&wrapper.each_ref().map(String::as_str), changes);
        assert!(faults.are_loaded(), "the library of faults was not loaded");
        server
    }

    /// A second `serve` with the same settings on the same data.
    pub fn another(&self) -> Command {
        loquat(&["serve"], &self.settings)
    }

    fn launch(command: Command, settings: Vec<(String, String)>, directory: TempDir) -> Server {
        let secrets = Arc::new(Secrets::default());
        secrets.add(SECRET);
        secrets.add(ADMIN_TOKEN);
        let process = Process::spawn(command, Arc::clone(&secrets));
        let (address, admin) = announced(&process).unwrap_or_else(|why| panic!("{why}"));
        Server { process, address, admin, settings, secrets, directory }
    }

    /// The same data in a new process, after the end of the old one; maybe on another port.
    pub fn start_again(&mut self) {
        assert!(self.process.try_exited().is_some(), "the old process still runs");
        let process = Process::spawn(loquat(&["serve"], &self.settings), Arc::clone(&self.secrets));
        // Assigned before anything can fail, so that a failure shows this process's output.
        let old = std::mem::replace(&mut self.process, process);
        drop(old);
        (self.address, self.admin) =
            announced(&self.process).unwrap_or_else(|why| panic!("it does not start again: {why}"));
    }

    /// A start that is cut off, whether it listened already or not.
    pub async fn start_and_kill_after(&mut self, after: Duration) {
        assert!(self.process.try_exited().is_some(), "the old process still runs");
        self.process =
            Process::spawn(loquat(&["serve"], &self.settings), Arc::clone(&self.secrets));
        tokio::time::sleep(after).await;
        self.process.kill9();
    }

    /// A clean stop and a new start.
    pub fn restart(&mut self) {
        self.sigterm();
        let status = self.exited();
        assert!(status.success(), "SIGTERM ends with {status}");
        self.start_again();
    }

    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Asks it to stop. Does not wait.
    pub fn sigterm(&self) {
        self.process.signal(Signal::TERM);
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub fn exited(&mut self) -> ExitStatus {
        self.process.exited()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_exited().is_none()
    }

    /// Its threads are made to panic, which is no mistake of the server's then.
    pub fn may_panic(&mut self) {
        self.process.may_panic();
    }

    /// Waits for its end, which may take longer than other things.
    pub fn exited_within(&mut self, patience: std::time::Duration) -> ExitStatus {
        self.process.exited_within(patience)
    }

    /// Changes a setting for the next start.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    pub fn set_descriptor_limit(&self, most: u64) {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        prlimit(Some(self.process.pid()), Resource::Nofile, limit).expect("it may be lowered");
    }

    /// Descriptors that are open in the server now.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.process.pid());
        std::fs::read_dir(folder).expect("it runs").count()
    }

    /// CPU time that the server has used so far, of user and kernel.
    pub fn cpu(&self) -> Duration {
        /// `USER_HZ`: the same on all of today's Linux.
        const TICKS_PER_S: u64 = 100;
        let path = format!("/proc/{}/stat", self.process.pid());
        let stat = std::fs::read_to_string(path).expect("it runs");
        // The name in parentheses may hold spaces: fields are counted from behind it.
        let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_S)
    }

    /// Resident memory of the server, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.pid());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        1024 * kib.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("VmRSS has kB")
    }

    /// What looks up the resident memory that is the server's own, in bytes, as long as it runs.
    pub fn own_bytes(&self) -> impl Fn() -> Option<u64> + Send + 'static + use<> {
        let path = format!("/proc/{}/status", self.process.pid());
        move || {
            let status = std::fs::read_to_string(&path).ok()?;
            let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
            Some(1024 * kib.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?)
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A token for this person; from now on it must not be in the log.
    pub fn token(&self, person: &Person) -> String {
        let token = person.token();
        self.secrets.add_token(&token);
        person.email().into_iter().for_each(|email| self.secrets.add(email));
        token
    }

    /// Where a browser of this person would go.
    pub fn path(&self, conversation: &str, person: &Person) -> String {
        format!("/ws/chat/{conversation}/?token={}", self.token(person))
    }

    /// A socket in a conversation, after its own `online`.
    pub async fn join(&self, conversation: &str, person: &Person) -> Client {
        let mut client = self.connect(&self.path(conversation, person)).await;
        client.name = format!("{} in {conversation}", person.id);
        let own = client.own_status().await;
        assert_eq!((&own["user_id"], &own["status"]), (&person.id, &"online".into()), "{own}");
        client
    }

    /// A v2 socket, after its hello and who is online; `query` is more of its query: `&since=4`.
    pub async fn join_v2(&self, conversation: &str, person: &Person, query: &str) -> Session {
        let path = format!("{}&v=2{query}", self.path(conversation, person));
        let mut client = self.connect(&path).await;
        client.name = format!("{} in {conversation} (v2)", person.id);
        let hello = client.expect("hello").await;
        let presence = client.expect("presence").await;
        Session { client, hello, presence }
    }

    /// Users 1, 2, 3 … in one conversation, each having seen all the others.
    pub async fn room<const N: usize>(&self, conversation: &str) -> [Client; N] {
        let mut clients = Vec::with_capacity(N);
        for id in 1..=N {
            clients.push(self.join(conversation, &super::token::person(id)).await);
        }
        for (at, client) in clients.iter_mut().enumerate() {
            for id in (1..=N).filter(|id| *id != at + 1) {
                client.status(id, "online").await;
            }
        }
        clients.try_into().unwrap_or_else(|_| unreachable!("N were made"))
    }

    /// A socket on any path, after the 101.
    pub async fn connect(&self, path_and_query: &str) -> Client {
        Client::connect(self.address, path_and_query, &[], Arc::clone(&self.secrets)).await
    }

    pub async fn connect_with(&self, path: &str, headers: &[(&str, &str)]) -> Client {
        Client::connect(self.address, path, headers, Arc::clone(&self.secrets)).await
    }

    /// Bytes in, bytes out.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.address).await
    }

    /// The same, where it may no longer listen.
    pub async fn try_raw(&self) -> std::io::Result<Raw> {
        tokio::net::TcpStream::connect(self.address).await.map(Raw::over)
    }

    /// Whether a socket on this path is let in now.
    pub async fn connect_if_it_may(&self, path: &str) -> bool {
        let Ok(mut raw) = self.try_raw().await else { return false };
        raw.write(format!("{}\r\n", super::raw::request(path, &[])).as_bytes()).await;
        raw.head().await.is_some_and(|head| head.status == 101)
    }

    /// A raw connection that is a WebSocket in this conversation, after its own status.
    pub async fn raw_socket(&self, conversation: &str, user: u64) -> Raw {
        let path = self.path(conversation, &nameless(user));
        let mut raw = self.raw().await;
        raw.upgrade(&path).await;
        let first = raw.frame().await.expect("one's own status");
        assert!(first.text().contains("user_status"), "{first:?}");
        raw
    }

    pub fn admin(&self) -> Admin {
        Admin::new(self.admin, ADMIN_TOKEN, Arc::clone(&self.secrets))
    }

    /// `/metrics`, asked without the test's runtime, so that a drop can do it.
    pub fn metrics(&self) -> std::io::Result<String> {
        scraped(self.admin)
    }

    /// What is private in `/metrics`, if it gives an answer.
    pub fn metrics_leak(&self) -> Option<String> {
        self.secrets.leak(self.metrics().ok()?.lines())
    }

    /// Waits for a log line about this.
    pub fn logged(&self, part: &str) -> String {
        self.process.logged(part, |line| line.contains(part))
    }

    /// All of stderr; complete once it has exited.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }
}

fn scraped(admin: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, SCRAPE_WAIT)?;
    stream.set_read_timeout(Some(SCRAPE_WAIT))?;
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: admin.test\r\nConnection: close\r\n\
         Authorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

impl Drop for Server {
    fn drop(&mut self) {
        // Who is already failing, or was ended by its test, has said what there was to say.
        if std::thread::panicking() || self.process.try_exited().is_some() {
            return;
        }
        if let Some(line) = self.metrics_leak() {
            panic!("something secret is in /metrics: {line}");
        }
    }
}

fn announced(process: &Process) -> Result<(SocketAddr, SocketAddr), String> {
    let read = |prefix: &str| {
        let rest = process.announced(prefix)?;
        rest.trim_end_matches('/').parse().map_err(|e| format!("{prefix}{rest}: {e}"))
    };
    Ok((read("listening on http://")?, read("admin on http://")?))
}
