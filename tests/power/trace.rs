//! Reads strace's log: calls on files of the store, each with its begin and its end, in the order in which they
//! happened over all threads.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file, whatever it is called: its number is given once.
pub type Inode = u64;

#[derive(Debug, Clone)]
pub enum Call {
    /// A new file got this name.
    Create {
        path: PathBuf,
        inode: Inode,
    },
    Mkdir {
        path: PathBuf,
    },
    Write {
        inode: Inode,
        offset: u64,
        bytes: Arc<[u8]>,
    },
    Truncate {
        inode: Inode,
        length: u64,
    },
    Sync {
        inode: Inode,
    },
    SyncDirectory {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    /// What the child said.
    Said(String),
}

#[derive(Debug, Clone)]
pub enum Step {
    Enter { id: u64, call: Call },
    Exit { id: u64 },
}

/// What an open descriptor leads to.
#[derive(Debug, Clone)]
enum Open {
    File { inode: Inode, offset: u64 },
    Directory(PathBuf),
    Said,
}

struct Reader<'a> {
    root: &'a Path,
    said: &'a Path,
    steps: &'a mut Vec<Step>,
    names: HashMap<PathBuf, Inode>,
    open: HashMap<i64, Open>,
    /// Per thread: the call under way, as text, and the step that it became.
    under_way: HashMap<String, (String, Option<u64>)>,
    next_inode: Inode,
    next_id: u64,
}

/// Appends the calls of one process to those of its forerunners on the same files.
pub fn parse(log: File, root: &Path, said: &Path, steps: &mut Vec<Step>) {
    let mut reader = Reader {
        root,
        said,
        names: HashMap::new(),
        open: HashMap::new(),
        under_way: HashMap::new(),
        next_inode: 1,
        next_id: 1,
        steps,
    };
    reader.go_on();
    let mut lines = BufReader::with_capacity(1 << 20, log);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).unwrap() > 0 {
        reader.line(std::str::from_utf8(&line).expect("strace writes ASCII").trim_end());
        line.clear();
    }
}

impl Reader<'_> {
    /// Which names lead where when the next process begins.
    fn go_on(&mut self) {
        for step in &*self.steps {
            let Step::Enter { id, call } = step else { continue };
            self.next_id = self.next_id.max(id + 1);
            match call {
                Call::Create { path, inode } => {
                    self.names.insert(path.clone(), *inode);
                    self.next_inode = self.next_inode.max(inode + 1);
                }
                Call::Rename { from, to } => rename(&mut self.names, from, to),
                Call::Unlink { path } => drop(self.names.remove(path)),
                _ => {}
            }
        }
    }

    fn line(&mut self, line: &str) {
        let Some((thread, rest)) = line.split_once(' ') else { return };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            let call = begun.trim_end().to_owned();
            let id = self.enter(&call, None);
            self.under_way.insert(thread.to_owned(), (call, id));
        } else if let Some(ended) = rest.strip_prefix("<... ") {
            let Some((call, id)) = self.under_way.remove(thread) else { return };
            // The thread was killed in it: it never returned.
            let Some(result) = result_of(ended) else { return };
            match id {
                Some(id) => self.exit(id, &call, result),
                // It was over when it began: the number may be another file's by now.
                None if call.starts_with("close(") => {}
                None => self.whole(&call, result),
            }
        } else if rest.contains('(') && !rest.starts_with(['+', '-']) {
            let end = rest.rfind(" = ").expect("a call has a result");
            let call = rest[..end].trim_end().trim_end_matches(')');
            match result_of(rest) {
                Some(result) => self.whole(call, result),
                None => drop(self.enter(call, None)),
            }
        }
    }

    /// A call whose begin had nothing to tell, or that nothing came between.
    fn whole(&mut self, call: &str, result: i64) {
        if let Some(id) = self.enter(call, Some(result)) {
            self.exit(id, call, result);
        }
    }

    fn exit(&mut self, id: u64, call: &str, result: i64) {
        let (name, arguments) = split(call);
        if name == "write" && result > 0 {
            self.advance(number(arguments[0]), result as u64);
        }
        assert!(result >= 0, "{name} failed in the recording: {result}");
        self.steps.push(Step::Exit { id });
    }

    fn advance(&mut self, fd: i64, bytes: u64) {
        if let Some(Open::File { offset, .. }) = self.open.get_mut(&fd) {
            *offset += bytes;
        }
    }

    /// The step that begins with this call, if it has to do with the store. What gives or takes names and
    /// descriptors is only known with its result.
    fn enter(&mut self, text: &str, result: Option<i64>) -> Option<u64> {
        let (name, arguments) = split(text);
        let fd = || number(arguments[0]);
        let call = match (name, result) {
            ("write" | "pwrite64", _) => self.write(name, &arguments)?,
            ("fsync" | "fdatasync", _) => match self.open.get(&fd())? {
                Open::File { inode, .. } => Call::Sync { inode: *inode },
                Open::Directory(path) => Call::SyncDirectory { path: path.clone() },
                Open::Said => return None,
            },
            ("ftruncate", _) => match self.open.get(&fd())? {
                Open::File { inode, .. } => {
                    Call::Truncate { inode: *inode, length: number(arguments[1]) as u64 }
                }
                _ => return None,
            },
            ("close", _) => {
                self.open.remove(&fd());
                return None;
            }
            ("lseek", Some(result)) => {
                if let Some(Open::File { offset, .. }) = self.open.get_mut(&fd()) {
                    *offset = result as u64;
                }
                return None;
            }
            // It makes nothing durable.
            ("sync_file_range", _) => return None,
            ("open" | "openat", Some(fd)) if fd >= 0 => self.opened(&arguments, fd)?,
            ("mkdir" | "mkdirat", Some(0)) => Call::Mkdir { path: self.path(&arguments, 0)? },
            ("rename" | "renameat" | "renameat2", Some(0)) => self.renamed(&arguments)?,
            ("unlink" | "unlinkat", Some(0)) => {
                let path = self.path(&arguments, 0)?;
                self.names.remove(&path);
                Call::Unlink { path }
            }
            ("open" | "openat" | "mkdir" | "mkdirat" | "rename" | "renameat" | "renameat2", _)
            | ("unlink" | "unlinkat" | "lseek", _) => return None,
            (other, _) => {
                let is_ours = arguments.first().is_some_and(|argument| {
                    argument.parse().is_ok_and(|fd: i64| self.open.contains_key(&fd))
                });
                assert!(!is_ours, "{other} on a file of the store is not understood");
                return None;
            }
        };
        let id = self.next_id;
        self.next_id += 1;
        self.steps.push(Step::Enter { id, call });
        Some(id)
    }

    fn write(&self, name: &str, arguments: &[&str]) -> Option<Call> {
        Some(match self.open.get(&number(arguments[0]))? {
            Open::File { inode, offset } => {
                let bytes = unescaped(arguments[1]);
                let offset = if name == "write" { *offset } else { number(arguments[3]) as u64 };
                Call::Write { inode: *inode, offset, bytes: bytes.into() }
            }
            Open::Said => Call::Said(String::from_utf8(unescaped(arguments[1])).unwrap()),
            Open::Directory(_) => return None,
        })
    }

    fn opened(&mut self, arguments: &[&str], fd: i64) -> Option<Call> {
        let (path, at) = path_of(arguments, 0);
        let flags = arguments[at + 1];
        if path == self.said {
            self.open.insert(fd, Open::Said);
            return None;
        }
        if !path.starts_with(self.root) {
            self.open.remove(&fd);
            return None;
        }
        if let Some(&inode) = self.names.get(&path) {
            self.open.insert(fd, Open::File { inode, offset: 0 });
            assert!(!flags.contains("O_APPEND"), "appending is not understood");
            return flags.contains("O_TRUNC").then_some(Call::Truncate { inode, length: 0 });
        }
        if flags.contains("O_CREAT") {
            let inode = self.next_inode;
            self.next_inode += 1;
            self.names.insert(path.clone(), inode);
            self.open.insert(fd, Open::File { inode, offset: 0 });
            return Some(Call::Create { path, inode });
        }
        self.open.insert(fd, Open::Directory(path));
        None
    }

    fn renamed(&mut self, arguments: &[&str]) -> Option<Call> {
        let (from, at) = path_of(arguments, 0);
        let (to, _) = path_of(arguments, at + 1);
        if !from.starts_with(self.root) {
            return None;
        }
        rename(&mut self.names, &from, &to);
        Some(Call::Rename { from, to })
    }

    fn path(&self, arguments: &[&str], at: usize) -> Option<PathBuf> {
        Some(path_of(arguments, at).0).filter(|path| path.starts_with(self.root))
    }
}

/// A directory takes along what lies in it.
fn rename(names: &mut HashMap<PathBuf, Inode>, from: &Path, to: &Path) {
    let moved: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
    for path in moved {
        let inode = names.remove(&path).expect("it was listed");
        let rest = path.strip_prefix(from).expect("it begins so");
        let path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
        names.insert(path, inode);
    }
}

/// The path at or behind this argument (a directory's descriptor may stand in front), and where it stands.
fn path_of(arguments: &[&str], at: usize) -> (PathBuf, usize) {
    let at = if arguments[at].starts_with('"') { at } else { at + 1 };
    let path = PathBuf::from(String::from_utf8(unescaped(arguments[at])).unwrap());
    (path, at)
}

fn split(call: &str) -> (&str, Vec<&str>) {
    let (name, arguments) = call.split_once('(').expect("a call has arguments");
    // Strings are all hexadecimal: no comma stands in one.
    (name, arguments.trim_end_matches(')').split(", ").collect())
}

fn number(text: &str) -> i64 {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// Nothing for a call that never returned: strace has no result of it, or one that only the kernel knows.
fn result_of(line: &str) -> Option<i64> {
    let (_, result) = line.rsplit_once(" = ").expect("a call has a result");
    let word = result.split(' ').next().unwrap_or_default();
    let is_killed = word == "?" || result.contains("(errno ");
    if is_killed { None } else { Some(word.parse().unwrap_or(-1)) }
}

/// `"\x41\x42"` as bytes.
fn unescaped(text: &str) -> Vec<u8> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let inner = inner.unwrap_or_else(|| panic!("a string was cut: …{}", &text[text.len() - 9..]));
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte - b'a' + 10,
    };
    inner.as_bytes().chunks_exact(4).map(|four| digit(four[2]) << 4 | digit(four[3])).collect()
}
