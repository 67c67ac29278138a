//! The thread's part of an import: bytes to lines, lines to the store's staging, each with its number, so
//! that whatever does not hold can be named.

use axum::body::Bytes;
use tokio::sync::mpsc;

use super::ndjson::{Counts, Incoming, LineRules};
use crate::limits::{CLOCK_SKEW_S, IMPORT_LINE_BYTES_MAX, IMPORT_LINES_MAX};
use crate::model::{ConversationId, Wall};
use crate::store::{ImportError, Staged, Staging, Transfers};

/// Room on the disk is looked at so often, in bytes.
const ROOM_EVERY_BYTES: u64 = 16 << 20;

/// Why nothing was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    Line { line: u32, why: &'static str, code: &'static str },
    TooLarge,
    NoSpace,
    BrokenOff,
    Unavailable,
}

pub struct Intake {
    transfers: Transfers,
    rules: LineRules,
    now: Wall,
    line: u32,
    /// Bytes of a line whose end has not come.
    begun: Vec<u8>,
    counts: Counts,
    created_at: Option<Wall>,
    is_headed: bool,
    is_ended: bool,
    room_seen: u64,
}

impl Intake {
    pub fn new(transfers: Transfers, content_chars: usize, now: Wall) -> Intake {
        let latest = Wall(now.0.saturating_add(CLOCK_SKEW_S * 1_000));
        Intake {
            transfers,
            rules: LineRules { content_chars, latest },
            now,
            line: 0,
            begun: Vec::new(),
            counts: Counts::default(),
            created_at: None,
            is_headed: false,
            is_ended: false,
            room_seen: 0,
        }
    }

    /// Until a `None` says that the body was whole.
    pub fn run(
        &mut self,
        conversation: ConversationId,
        mut chunks: mpsc::Receiver<Option<Bytes>>,
    ) -> Result<Staged, Refused> {
        let mut staging =
            self.transfers.stage(conversation).map_err(|error| self.refused(error))?;
        self.look_for_room(&staging, 0)?;
        loop {
            match chunks.blocking_recv() {
                Some(Some(chunk)) => self.chunk(&mut staging, &chunk)?,
                Some(None) => break,
                None => return Err(Refused::BrokenOff),
            }
        }
        if !self.begun.is_empty() {
            let last = std::mem::take(&mut self.begun);
            self.take(&mut staging, &last)?;
        }
        if !self.is_ended {
            return Err(self.wrong("the last line is of type end"));
        }
        self.look_for_room(&staging, staging.bytes())?;
        staging.finish(self.created_at, self.now).map_err(|error| self.refused(error))
    }

    fn chunk(&mut self, staging: &mut Staging, chunk: &[u8]) -> Result<(), Refused> {
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, behind) = (&rest[..end], &rest[end + 1..]);
            rest = behind;
            if self.begun.is_empty() {
                self.take(staging, line)?;
            } else {
                let mut whole = std::mem::take(&mut self.begun);
                whole.extend_from_slice(line);
                self.take(staging, &whole)?;
                whole.clear();
                self.begun = whole;
            }
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() > IMPORT_LINE_BYTES_MAX {
            self.line += 1;
            return Err(self.wrong("the line is longer than 256 KiB"));
        }
        if staging.bytes() - self.room_seen >= ROOM_EVERY_BYTES {
            self.look_for_room(staging, 0)?;
        }
        Ok(())
    }

    fn take(&mut self, staging: &mut Staging, line: &[u8]) -> Result<(), Refused> {
        self.line += 1;
        if u64::from(self.line) > IMPORT_LINES_MAX {
            return Err(Refused::TooLarge);
        }
        if line.len() > IMPORT_LINE_BYTES_MAX {
            return Err(self.wrong("the line is longer than 256 KiB"));
        }
        if self.is_ended {
            return Err(self.wrong("nothing follows the line of type end"));
        }
        let incoming = self.rules.read(line).map_err(|why| self.wrong(why))?;
        match incoming {
            Incoming::Head { created_at } if !self.is_headed => {
                self.is_headed = true;
                self.created_at = created_at;
                Ok(())
            }
            Incoming::Head { .. } => Err(self.wrong("only the first line is of type conversation")),
            _ if !self.is_headed => Err(self.wrong("the first line is of type conversation")),
            Incoming::Line(line) => {
                self.counts.count(&line);
                staging.take(self.line, line).map_err(|error| self.refused(error))
            }
            Incoming::End(counts) if counts == self.counts => {
                self.is_ended = true;
                Ok(())
            }
            Incoming::End(_) => Err(self.wrong("the counts are not those of the lines before")),
        }
    }

    fn look_for_room(&mut self, staging: &Staging, more: u64) -> Result<(), Refused> {
        self.room_seen = staging.bytes();
        match self.transfers.has_room(staging.bytes() + more) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refused::NoSpace),
            Err(error) => Err(self.refused(error.into())),
        }
    }

    fn wrong(&self, why: &'static str) -> Refused {
        Refused::Line { line: self.line, why, code: "invalid_line" }
    }

    fn refused(&self, error: ImportError) -> Refused {
        match error {
            ImportError::Line(why) => self.wrong(why),
            ImportError::NoSpace => Refused::NoSpace,
            ImportError::Store(error) => {
                tracing::error!(%error, "an import could not be staged");
                Refused::Unavailable
            }
        }
    }
}
