//! The journal's files on the real disk, and the small files beside them: written whole, synced, then
//! named, so that each is there as it should be or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::node::journal::SegmentName;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Zeros are written and synced in such steps, so that commits never wait long behind them.
const ZEROS_STEP_BYTES: usize = 1 << 20;
/// A file that has not yet got its name.
pub const UNNAMED: &str = "new";

/// Makes the directory unless it is there; its own name is durable on return.
pub fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Makes names that were given, taken or removed in this directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Free space for us in the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Puts a file with these bytes in the place of what has the name now, if anything; the caller syncs
/// the directory.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unnamed = path.with_extension(UNNAMED);
    let written = write_new(&unnamed, |file| file.write_all(bytes));
    written
        .and_then(|()| fs::rename(&unnamed, path))
        .inspect_err(|_| drop(fs::remove_file(&unnamed)))
}

/// Like [`replace`], and the name is durable on return.
pub fn replace_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes)?;
    match path.parent() {
        Some(directory) => sync_directory(directory),
        None => Ok(()),
    }
}

fn write_new(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    fill(&mut file)?;
    file.sync_all()
}

/// The directory of segments.
#[derive(Debug, Clone)]
pub struct SegmentDirectory {
    path: PathBuf,
}

impl SegmentDirectory {
    pub fn new(path: PathBuf) -> SegmentDirectory {
        SegmentDirectory { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn path_of(&self, segment: u64) -> PathBuf {
        self.path.join(SegmentName(segment).to_string())
    }

    /// Numbers of all segments, lowest first.
    pub fn list(&self) -> io::Result<Vec<u64>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            segments.extend(name.to_str().and_then(SegmentName::parse).map(|name| name.0));
        }
        segments.sort_unstable();
        Ok(segments)
    }

    /// Removes files that never got their name.
    pub fn remove_unnamed(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == UNNAMED) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// A segment of zeros behind its header. Written, not only reserved: a commit then changes no
    /// metadata, and its fdatasync is one write.
    pub fn create(&self, segment: u64, bytes: u64, header: &[u8]) -> io::Result<()> {
        let path = self.path_of(segment);
        let unnamed = path.with_extension(UNNAMED);
        let written = write_new(&unnamed, |file| fill(file, bytes, header));
        written
            .and_then(|()| fs::rename(&unnamed, &path))
            .and_then(|()| self.sync())
            .inspect_err(|_| drop(fs::remove_file(&unnamed)))
    }

    pub fn read(&self, segment: u64) -> io::Result<Vec<u8>> {
        fs::read(self.path_of(segment))
    }

    pub fn replace(&self, segment: u64, bytes: &[u8]) -> io::Result<()> {
        replace(&self.path_of(segment), bytes)
    }

    pub fn remove(&self, segment: u64) -> io::Result<()> {
        fs::remove_file(self.path_of(segment))
    }

    pub fn sync(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }
}

fn fill(file: &mut File, bytes: u64, header: &[u8]) -> io::Result<()> {
    file.write_all(header)?;
    let zeros = vec![0; ZEROS_STEP_BYTES];
    let mut left = bytes.saturating_sub(header.len() as u64);
    while left > 0 {
        let step = left.min(ZEROS_STEP_BYTES as u64);
        file.write_all(&zeros[..step as usize])?;
        file.sync_data()?;
        left -= step;
    }
    Ok(())
}

/// The segment that is being written.
#[derive(Debug)]
pub struct OpenSegment {
    directory: SegmentDirectory,
    open: Option<(u64, Arc<File>)>,
}

impl OpenSegment {
    pub fn new(directory: SegmentDirectory) -> OpenSegment {
        OpenSegment { directory, open: None }
    }

    pub fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(segment)?.write_all_at(bytes, offset)
    }

    pub fn sync(&mut self, segment: u64) -> io::Result<()> {
        self.file(segment)?.sync_data()
    }

    /// The file itself: only who has synced through the description that was written through hears of every error.
    pub fn file(&mut self, segment: u64) -> io::Result<&Arc<File>> {
        let file = match self.open.take() {
            Some((open, file)) if open == segment => file,
            _ => {
                let path = self.directory.path_of(segment);
                Arc::new(OpenOptions::new().write(true).open(path)?)
            }
        };
        Ok(&self.open.insert((segment, file)).1)
    }
}
