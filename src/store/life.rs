//! The lives of a store: one process at a time (a lock), which epoch its log has, and whether the last
//! life ended cleanly.
//!
//! ```text
//! lock     flock; holds the process id, for people
//! format   "loquat store 2"; 1 has no packed pages, and becomes 2 when it is opened to be served
//! life     text, one word and its value a line: epoch, boot, fsync, clean
//! ```
//! A new epoch tells clients that seqs which they were shown may now name other events. It is needed
//! when the machine went down under a log that did not sync each commit.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::model::Epoch;
use crate::node::journal::{Fsync, Tail};

use super::error::OpenError;
use super::files;

const FORMAT: &str = "loquat store 2\n";
const FORMAT_BEFORE: &str = "loquat store 1\n";
const LIFE_FIRST_LINE: &str = "loquat life 1";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Held as long as the store is open; the kernel lets go of it when the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Like [`Lock::take`], but writes nothing; no lock where none was ever made.
    pub fn look(directory: &Path) -> Result<Option<Lock>, OpenError> {
        let path = directory.join("lock");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io("opening", &path)(error)),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(OpenError::Locked { path: directory.to_owned() })
            }
            Err(error) => Err(OpenError::io("locking", &path)(error.into())),
        }
    }

    pub fn take(directory: &Path) -> Result<Lock, OpenError> {
        let path = directory.join("lock");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(OpenError::io("opening", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::Locked { path: directory.to_owned() });
            }
            Err(error) => return Err(OpenError::io("locking", &path)(error.into())),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(OpenError::io("writing", &path))?;
        Ok(Lock { _file: file })
    }
}

/// Checks that this is a store of our format, or makes an empty directory one. The lock is held.
pub fn check_format(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join("format");
    match fs::read(&path) {
        Ok(found) if found == FORMAT.as_bytes() => Ok(()),
        // From here on an older program must not read it any more.
        Ok(found) if found == FORMAT_BEFORE.as_bytes() => write_format(directory),
        Ok(_) => Err(OpenError::Format { path: directory.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !is_fresh(directory).map_err(OpenError::io("reading", directory))? {
                return Err(OpenError::NotAStore { path: directory.to_owned() });
            }
            write_format(directory)
        }
        Err(error) => Err(OpenError::io("reading", &path)(error)),
    }
}

/// Makes it a store of our format: the last step of making one.
pub fn write_format(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join("format");
    files::replace_durably(&path, FORMAT.as_bytes()).map_err(OpenError::io("writing", &path))
}

/// Whether this is a store of our format; writes nothing.
pub fn has_format(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join("format");
    match fs::read(&path) {
        Ok(found) if [FORMAT, FORMAT_BEFORE].iter().any(|known| found == known.as_bytes()) => {
            Ok(())
        }
        Ok(_) => Err(OpenError::Format { path: directory.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(OpenError::NoStore { path: data_of(directory) })
        }
        Err(error) => Err(OpenError::io("reading", &path)(error)),
    }
}

/// What people name: the directory that has the store's in it.
pub fn data_of(store: &Path) -> PathBuf {
    store.parent().unwrap_or(store).to_owned()
}

/// Nothing but our lock, what a start that was cut short left, and what a file system puts there.
fn is_fresh(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if !matches!(name.to_str(), Some("lock" | "format.new" | "lost+found")) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Clean,
    Unclean,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    epoch: Epoch,
    boot: String,
    syncs_each_commit: bool,
    ending: Ending,
}

impl Note {
    fn to_text(&self) -> String {
        let fsync = if self.syncs_each_commit { "commit" } else { "later" };
        let clean = if self.ending == Ending::Clean { "yes" } else { "no" };
        let Note { epoch, boot, .. } = self;
        format!("{LIFE_FIRST_LINE}\nepoch {epoch}\nboot {boot}\nfsync {fsync}\nclean {clean}\n")
    }

    fn parse(text: &str) -> Option<Note> {
        let mut lines = text.lines();
        if lines.next()? != LIFE_FIRST_LINE {
            return None;
        }
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        Some(Note {
            epoch: Epoch(u32::from_str_radix(value("epoch")?, 16).ok()?),
            boot: value("boot")?.to_owned(),
            syncs_each_commit: match value("fsync")? {
                "commit" => true,
                "later" => false,
                _ => return None,
            },
            ending: match value("clean")? {
                "yes" => Ending::Clean,
                "no" => Ending::Unclean,
                _ => return None,
            },
        })
    }
}

/// This life of the store.
#[derive(Debug)]
pub struct Life {
    path: PathBuf,
    note: Note,
    tail: Tail,
}

impl Life {
    /// Reads how the last life ended and decides on the epoch; writes nothing yet, so that a start
    /// which fails leaves that knowledge as it was. `is_new`: the store has neither journal nor pages.
    pub fn read(directory: &Path, fsync: Fsync, store: Existing) -> Result<Life, OpenError> {
        let path = directory.join("life");
        let boot = fs::read_to_string(BOOT_ID)
            .map_err(OpenError::io("reading", Path::new(BOOT_ID)))?
            .trim()
            .to_owned();
        let last = match fs::read_to_string(&path) {
            Ok(text) => {
                let bad = || io::Error::new(io::ErrorKind::InvalidData, "not what was written");
                let note = Note::parse(&text).ok_or_else(bad);
                Some(note.map_err(OpenError::io("reading", &path))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && store == Existing::Nothing => {
                None
            }
            Err(error) => return Err(OpenError::io("reading", &path)(error)),
        };
        let tail = last.as_ref().map_or(Tail::Strict, |last| tail_after(last, &boot));
        let epoch = match &last {
            Some(last) if tail == Tail::Strict => last.epoch,
            _ => new_epoch()?,
        };
        let note = Note {
            epoch,
            boot,
            syncs_each_commit: fsync == Fsync::Commit,
            ending: Ending::Unclean,
        };
        Ok(Life { path, note, tail })
    }

    /// The life before the first one of a store that was made of another.
    pub fn restored(directory: &Path, epoch: Option<Epoch>) -> Result<Epoch, OpenError> {
        let path = directory.join("life");
        let epoch = epoch.map_or_else(new_epoch, Ok)?;
        let (boot, ending) = ("restored".to_owned(), Ending::Clean);
        let life = Life {
            note: Note { epoch, boot, syncs_each_commit: true, ending },
            path: path.clone(),
            tail: Tail::Strict,
        };
        life.write().map_err(OpenError::io("writing", &path))?;
        Ok(epoch)
    }

    /// The epoch of a store that nobody uses, if that can be read.
    pub fn epoch_of(directory: &Path) -> Option<Epoch> {
        let text = fs::read_to_string(directory.join("life")).ok()?;
        Note::parse(&text).map(|note| note.epoch)
    }

    pub fn epoch(&self) -> Epoch {
        self.note.epoch
    }

    /// What the last life may have left behind its last good commit.
    pub fn tail(&self) -> Tail {
        self.tail
    }

    /// From here on the store is in use.
    pub fn begin(&self) -> Result<(), OpenError> {
        self.write().map_err(OpenError::io("writing", &self.path))
    }

    /// Everything is on disk.
    pub fn end(mut self) -> io::Result<()> {
        self.note.ending = Ending::Clean;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        files::replace_durably(&self.path, self.note.to_text().as_bytes())
    }
}

/// Whether there is a journal or a page of an earlier life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Nothing,
    Something,
}

fn tail_after(last: &Note, boot: &str) -> Tail {
    let machine_went_down = last.ending == Ending::Unclean && last.boot != boot;
    if machine_went_down && !last.syncs_each_commit { Tail::Loose } else { Tail::Strict }
}

fn new_epoch() -> Result<Epoch, OpenError> {
    random_u64().map(|random| Epoch(random as u32))
}

pub fn random_u64() -> Result<u64, OpenError> {
    getrandom::u64().map_err(|error| {
        OpenError::io("reading", Path::new("/dev/urandom"))(io::Error::other(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(boot: &str, fsync: Fsync, ending: Ending) -> Note {
        Note {
            epoch: Epoch(0x9f3c_61d2),
            boot: boot.to_owned(),
            syncs_each_commit: fsync == Fsync::Commit,
            ending,
        }
    }

    #[test]
    fn only_a_machine_that_went_down_under_a_lazy_log_may_have_lost_commits() {
        let check = |boot: &str, fsync, ending, expected| {
            assert_eq!(tail_after(&note(boot, fsync, ending), "b2"), expected);
        };
        check("b1", Fsync::Never, Ending::Unclean, Tail::Loose);
        check("b1", Fsync::Interval { ms: 100 }, Ending::Unclean, Tail::Loose);
        check("b1", Fsync::Commit, Ending::Unclean, Tail::Strict);
        check("b1", Fsync::Never, Ending::Clean, Tail::Strict);
        check("b2", Fsync::Never, Ending::Unclean, Tail::Strict);
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let note = note("b1", Fsync::Never, Ending::Clean);
        assert_eq!(Note::parse(&note.to_text()), Some(note));
        let check = |text: &str| assert_eq!(Note::parse(text), None, "{text}");
        check("");
        check("loquat life 1\nepoch 9f3c61d2\n");
        check("loquat life 1\nepoch x\nboot b\nfsync commit\nclean yes\n");
        check("loquat life 2\nepoch 9f3c61d2\nboot b\nfsync commit\nclean yes\n");
    }
}
