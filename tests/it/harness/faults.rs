//! Faults on demand in the real server: a small library (tests/fixtures/faults.c) is preloaded into it and does what
//! this file says. The next start, and any second process, are without it.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::process::DEADLINE;

const WORD: u64 = 8;
const NAME_BYTES: usize = 16;

/// Places in the library's `struct faults`, in words.
#[derive(Debug, Clone, Copy)]
enum Word {
    WallMs = 0,
    SyncError = 1,
    WriteError = 3,
    Panics = 5,
    Stalls = 6,
    Thread = 7,
    SendError = 9,
    SendBytes = 10,
    SendBuffer = 11,
    Failed = 12,
    SyncedAfter = 14,
    SendsChanged = 16,
    PoolWasEmpty = 17,
    Loaded = 18,
    All = 19,
}

/// Which files of the store a fault is for.
#[derive(Debug, Clone, Copy)]
pub enum Files {
    Journal = 0,
    Pages = 1,
}

/// What the server is to meet. Without a word from the test it meets nothing.
pub struct Faults {
    words: NamedTempFile,
    library: PathBuf,
}

impl Faults {
    pub fn none() -> Faults {
        let words = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("it is writable");
        words.as_file().set_len(WORD * Word::All as u64).expect("a file can grow");
        Faults { words, library: library() }
    }

    /// What starts the server with these faults.
    pub fn wrapper(&self) -> [String; 3] {
        [
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.library.display()),
            format!("FAULTS_FILE={}", self.words.path().display()),
        ]
    }

    fn set_at(&self, word: u64, value: i64) {
        let file: &File = self.words.as_file();
        file.write_all_at(&value.to_ne_bytes(), WORD * word).expect("it is writable");
    }

    fn get_at(&self, word: u64) -> i64 {
        let mut bytes = [0; 8];
        let file: &File = self.words.as_file();
        file.read_exact_at(&mut bytes, WORD * word).expect("it is readable");
        i64::from_ne_bytes(bytes)
    }

    fn set(&self, word: Word, value: i64) {
        self.set_at(word as u64, value);
    }

    fn get(&self, word: Word) -> i64 {
        self.get_at(word as u64)
    }

    pub fn are_loaded(&self) -> bool {
        self.get(Word::Loaded) == 1
    }

    /// The wall clock is so far from the machine's.
    pub fn wall_clock(&self, off: Duration, sign: i64) {
        self.set(Word::WallMs, sign * i64::try_from(off.as_millis()).expect("no ages"));
    }

    /// Each sync of these files fails from now on.
    pub fn syncs_fail(&self, files: Files, error: Errno) {
        self.set_at(Word::SyncError as u64 + files as u64, error.raw_os_error().into());
    }

    /// Each write to these files fails from now on; a long one halfway.
    pub fn writes_fail(&self, files: Files, error: Errno) {
        self.set_at(Word::WriteError as u64 + files as u64, error.raw_os_error().into());
    }

    /// Calls that were made to fail so far.
    pub fn failed(&self, files: Files) -> i64 {
        self.get_at(Word::Failed as u64 + files as u64)
    }

    pub fn wait_until_failed(&self, files: Files) {
        self.wait("a call that fails", || self.failed(files) > 0);
    }

    /// Syncs that were tried after one had failed.
    pub fn synced_after(&self, files: Files) -> i64 {
        self.get_at(Word::SyncedAfter as u64 + files as u64)
    }

    fn thread(&self, name: &str) {
        let mut bytes = [0; NAME_BYTES];
        // As the kernel keeps it: 15 bytes.
        let name = &name.as_bytes()[..name.len().min(NAME_BYTES - 1)];
        bytes[..name.len()].copy_from_slice(name);
        let at = WORD * Word::Thread as u64;
        self.words.as_file().write_all_at(&bytes, at).expect("it is writable");
    }

    /// The thread's next look at a clock panics.
    pub fn panic_in(&self, thread: &str) {
        self.thread(thread);
        self.set(Word::Panics, 1);
    }

    /// The thread's next look at a clock does not return.
    pub fn stall(&self, thread: &str) {
        self.thread(thread);
        self.set(Word::Stalls, 1);
    }

    /// Sends of sockets fail from now on, or no longer.
    pub fn sends_fail(&self, error: Option<Errno>) {
        self.set(Word::SendError, error.map_or(0, |error| error.raw_os_error().into()));
    }

    /// The kernel takes so few bytes of each send from now on.
    pub fn sends_take(&self, bytes: u32) {
        self.set(Word::SendBytes, bytes.into());
    }

    /// `SO_SNDBUF` of every socket that is accepted; to be said before the start.
    pub fn send_buffers(&self, bytes: u32) {
        self.set(Word::SendBuffer, bytes.into());
    }

    pub fn sends_changed(&self) -> i64 {
        self.get(Word::SendsChanged)
    }

    /// Receives that found no buffer in their core's pool (`ENOBUFS`).
    pub fn pool_was_empty(&self) -> i64 {
        self.get(Word::PoolWasEmpty)
    }

    fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds() {
            assert!(Instant::now() < deadline, "waited for {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The library, made once for each version of its source. Rust links by a C compiler, so there is one.
fn library() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/faults.c");
    let text = std::fs::read(&source).expect("it is part of the tests");
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = folder.join(format!("faults-{:016x}.so", hasher.finish()));
    if !library.exists() {
        // Tests that start together make it each for itself; the name is given to a whole one.
        let made = folder.join(format!("faults-{}.so", std::process::id()));
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&made, &source])
            .status()
            .expect("a C compiler (cc) is needed, as it is for linking Rust");
        assert!(status.success(), "{} does not compile", source.display());
        std::fs::rename(&made, &library).expect("the same folder");
    }
    library
}
