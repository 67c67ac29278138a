//! How much of the disk the store takes, for operators. Blocking: it asks the file system.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::files::SegmentDirectory;
use super::read::Shared;

/// The unit of `st_blocks` (inode(7)).
const BLOCK_BYTES: u64 = 512;

/// What files take on the disk, which may be less than their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// sled's file.
    pub pages_bytes: u64,
    pub journal_bytes: u64,
    pub segments: usize,
}

/// Clone it freely.
#[derive(Debug, Clone)]
pub struct SizeHandle {
    shared: Arc<Shared>,
    segments: SegmentDirectory,
}

impl SizeHandle {
    pub(super) fn new(shared: Arc<Shared>, segments: SegmentDirectory) -> SizeHandle {
        SizeHandle { shared, segments }
    }

    pub fn sizes(&self) -> io::Result<Sizes> {
        let segments = self.segments.list()?;
        let mut journal_bytes = 0;
        for &segment in &segments {
            match self.segments.path_of(segment).metadata() {
                Ok(metadata) => journal_bytes += metadata.blocks() * BLOCK_BYTES,
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let pages_bytes = self.shared.pages.blocks()? * BLOCK_BYTES;
        Ok(Sizes { pages_bytes, journal_bytes, segments: segments.len() })
    }
}
