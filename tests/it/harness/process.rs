//! A child process whose output is collected, and looked through for secrets when it ends.
//!
//! It is killed when dropped. It knows nothing of what the program is: the harness tests itself
//! with a shell.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take that should happen at once. Generous: the machine may be busy.
/// `LOQUAT_TEST_PATIENCE=60` at build time makes it longer: instrumented code is slow.
pub const DEADLINE: Duration = Duration::from_secs(match option_env!("LOQUAT_TEST_PATIENCE") {
    Some(text) => match u64::from_str_radix(text, 10) {
        Ok(seconds) => seconds,
        Err(_) => panic!("LOQUAT_TEST_PATIENCE is a number of seconds"),
    },
    None => 10,
});
const TAIL_LINES: usize = 60;
/// Shorter texts would be found in innocent lines.
const SECRET_BYTES_MIN: usize = 12;
/// Fields of frames and of the admin API's bodies that hold what is nobody else's business.
const PRIVATE: [&str; 2] = ["content", "email"];

/// What must never be in a log or a metric: tokens, secrets, e-mails, message texts. Kept by their
/// first bytes, so that a long log is gone through once, however many there are.
#[derive(Default)]
pub struct Secrets(Mutex<HashMap<[u8; SECRET_BYTES_MIN], HashSet<String>>>);

impl Secrets {
    /// As it is, and as a line of JSON would have it.
    pub fn add(&self, text: &str) {
        let quoted = serde_json::to_string(text).expect("a text is JSON");
        let escaped = quoted[1..quoted.len() - 1].to_owned();
        let mut known = self.0.lock().expect("no test panics in here");
        for form in [text.to_owned(), escaped] {
            if let Some(start) = form.as_bytes().first_chunk() {
                known.entry(*start).or_default().insert(form);
            }
        }
    }

    /// A token, and each of its parts.
    pub fn add_token(&self, token: &str) {
        self.add(token);
        // The header is the same for all tokens and gives nothing away.
        token.split('.').skip(1).for_each(|part| self.add(part));
    }

    /// What is private in a text that a test sends: contents and e-mails, if it is JSON; all of it
    /// otherwise.
    pub fn add_sent(&self, text: &str) {
        match serde_json::from_str(text) {
            Ok(value) => self.add_private(&value),
            Err(_) => self.add(text),
        }
    }

    fn add_private(&self, value: &Value) {
        match value {
            Value::Array(list) => list.iter().for_each(|value| self.add_private(value)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if PRIVATE.contains(&name.as_str()) => self.add(text),
                        other => self.add_private(other),
                    }
                }
            }
            _ => {}
        }
    }

    /// The first line that gives something away.
    pub fn leak<'l>(&self, lines: impl IntoIterator<Item = &'l str>) -> Option<String> {
        let known = self.0.lock().expect("no test panics in here");
        let leaks = |line: &&str| {
            let line = line.as_bytes();
            line.windows(SECRET_BYTES_MIN).enumerate().any(|(at, start)| {
                let secrets = start.first_chunk().and_then(|start| known.get(start));
                secrets.is_some_and(|all| all.iter().any(|s| line[at..].starts_with(s.as_bytes())))
            })
        };
        lines.into_iter().find(leaks).map(str::to_owned)
    }
}

#[derive(Default)]
struct Output {
    lines: Vec<String>,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    output: Mutex<Output>,
    more: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Output> {
        self.output.lock().expect("a collector never panics")
    }
}

fn collect(pipe: impl Read + Send + 'static) -> Arc<Shared> {
    let shared = Arc::new(Shared::default());
    let writer = Arc::clone(&shared);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            writer.lock().lines.push(text);
            writer.more.notify_all();
        }
        writer.lock().ended = true;
        writer.more.notify_all();
    });
    shared
}

pub struct Process {
    child: Child,
    stdout: Arc<Shared>,
    stderr: Arc<Shared>,
    secrets: Arc<Secrets>,
    exited: Option<ExitStatus>,
    /// Whether somebody has looked at the output after the end.
    checked: bool,
    may_panic: bool,
}

impl Process {
    pub fn spawn(mut command: Command, secrets: Arc<Secrets>) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stdout = collect(child.stdout.take().expect("it is piped"));
        let stderr = collect(child.stderr.take().expect("it is piped"));
        Process { child, stdout, stderr, secrets, exited: None, checked: false, may_panic: false }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The rest of the first line on stdout that starts with `prefix`; what it printed instead if
    /// it ended or the deadline passed.
    pub fn announced(&self, prefix: &str) -> Result<String, String> {
        let deadline = Instant::now() + DEADLINE;
        let mut output = self.stdout.lock();
        loop {
            let found = output.lines.iter().find_map(|line| line.strip_prefix(prefix));
            if let Some(rest) = found {
                return Ok(rest.trim().to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if output.ended || left.is_zero() {
                let printed = output.lines.join("\n");
                drop(output);
                let why = if left.is_zero() { "in time" } else { "before its end" };
                return Err(format!("no line \"{prefix}…\" {why}\n{printed}\n{}", self.tail()));
            }
            output = self.stdout.more.wait_timeout(output, left).expect("no poison").0;
        }
    }

    /// Waits for a line on stderr that `matches` accepts.
    pub fn logged(&self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut output = self.stderr.lock();
        loop {
            if let Some(line) = output.lines.iter().find(|line| matches(line)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if output.ended || left.is_zero() {
                drop(output);
                panic!("nothing on stderr about {what}\n{}", self.tail());
            }
            output = self.stderr.more.wait_timeout(output, left).expect("no poison").0;
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is a child that was not reaped");
    }

    /// A panic in its output is what a test wanted.
    pub fn may_panic(&mut self) {
        self.may_panic = true;
    }

    /// Waits for its end, which must come by itself.
    pub fn exited(&mut self) -> ExitStatus {
        self.exited_within(DEADLINE)
    }

    pub fn exited_within(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.try_exited() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.tail());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn try_exited(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().expect("it is our child");
        }
        self.exited
    }

    /// SIGKILL, and the end awaited.
    pub fn kill9(&mut self) {
        if self.try_exited().is_none() {
            self.signal(Signal::KILL);
            self.exited = Some(self.child.wait().expect("it is our child"));
        }
    }

    /// All of stderr; complete once it has exited.
    pub fn stderr(&self) -> String {
        if self.exited.is_some() {
            self.drained();
        }
        self.stderr.lock().lines.join("\n")
    }

    fn drained(&self) {
        for shared in [&self.stdout, &self.stderr] {
            let output = shared.lock();
            let ended = |o: &mut Output| !o.ended;
            drop(shared.more.wait_timeout_while(output, DEADLINE, ended));
        }
    }

    fn tail(&self) -> String {
        let output = self.stderr.lock();
        let from = output.lines.len().saturating_sub(TAIL_LINES);
        format!("--- stderr ---\n{}\n--------------", output.lines[from..].join("\n"))
    }

    /// What is wrong with what it printed: something secret, the end of a thread, or what a sanitizer has found.
    pub fn misprinted(&self) -> Option<String> {
        self.drained();
        let (out, err) = (self.stdout.lock(), self.stderr.lock());
        let lines = err.lines.iter().chain(&out.lines);
        if let Some(line) = self.secrets.leak(lines.map(String::as_str)) {
            return Some(format!("something secret was printed: {line}"));
        }
        let found = err.lines.iter().find(|line| line.contains("ERROR: AddressSanitizer"));
        if let Some(line) = found {
            return Some(format!("memory was misused: {line}"));
        }
        let panics = |line: &&String| !self.may_panic && line.contains("panicked at");
        err.lines.iter().find(panics).map(|line| format!("the process panicked: {line}"))
    }

    /// Ends it and looks through its output. Done on drop too.
    pub fn finish(&mut self) -> Option<String> {
        self.kill9();
        self.checked = true;
        self.misprinted()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.kill9();
            self.drained();
            eprintln!("{}", self.tail());
        } else if !self.checked
            && let Some(wrong) = self.finish()
        {
            panic!("{wrong}\n{}", self.tail());
        }
    }
}
