//! What waits to be sent on one socket, in order: references into batches, and the socket's own
//! frames. One write is in flight at a time; a short one goes on where it stopped, so frames never
//! interleave.
//!
//! Invariant: `bytes` counts every byte that is queued or in flight and not yet taken by the kernel.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::batch::{Frames, Level, SharedBatch, Viewer};
#[cfg(feature = "planted")]
use super::planted::{self, Bug};

/// Most pieces in one vectored write (far below the kernel's limit of 1,024).
const WRITE_PIECES_MAX: usize = 32;
/// Own frames are collected up to so many bytes in one piece.
const OWN_PIECE_BYTES: usize = 16 * 1024;
/// So much of a batch is copied behind own frames rather than sent as a piece of its own: a copy is cheaper
/// than a vector.
const COPIED_BYTES_MAX: usize = 512;

/// A run of bytes that stays where it is while it is sent.
#[derive(Debug)]
pub enum Piece {
    Shared { batch: SharedBatch, start: u32, end: u32 },
    Own(Vec<u8>),
}

impl Piece {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Piece::Shared { batch, start, end } => {
                &batch.batch().bytes()[*start as usize..*end as usize]
            }
            Piece::Own(bytes) => bytes,
        }
    }
}

/// One write: the pieces from `offset` bytes into the first one on.
#[derive(Debug)]
pub struct Write {
    pieces: SmallVec<[Piece; 1]>,
    offset: usize,
}

impl Write {
    /// Bytes that nobody shares.
    pub fn own(bytes: Vec<u8>) -> Write {
        Write { pieces: smallvec::smallvec![Piece::Own(bytes)], offset: 0 }
    }

    /// The bytes to send, piece by piece; none is empty.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let skip = self.offset;
        self.pieces
            .iter()
            .enumerate()
            .map(move |(i, piece)| if i == 0 { &piece.bytes()[skip..] } else { piece.bytes() })
    }

    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Drops the first `sent` bytes; `true` when nothing is left.
    fn advance(&mut self, mut sent: usize) -> bool {
        let mut done = 0;
        for piece in &self.pieces {
            let left = piece.bytes().len() - self.offset;
            if sent < left {
                break;
            }
            sent -= left;
            self.offset = 0;
            done += 1;
        }
        self.pieces.drain(..done);
        self.offset += sent;
        self.pieces.is_empty()
    }
}

#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Piece>,
    /// A write that was cut short: first to go on.
    unfinished: Option<Box<Write>>,
    bytes: usize,
    /// The answer to the upgrade, while it waits at the front: frames mean nothing without it.
    head_bytes: usize,
    /// How much of `bytes` is history that the socket was given on its way in.
    replayed_bytes: usize,
    in_flight: bool,
}

impl Outbox {
    /// Unsent bytes, those of the write in flight included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Unsent bytes that the socket is to be blamed for: whoever just came in has not fallen behind
    /// because the history is longer than what may wait otherwise.
    pub fn backlog_bytes(&self) -> usize {
        self.bytes.saturating_sub(self.replayed_bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// Queues the answer to the upgrade request: the first thing that is said.
    pub fn push_head(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.push_own(encode);
        self.head_bytes = self.bytes;
    }

    /// Queues frames for this socket alone, behind what is queued already.
    pub fn push_own(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Piece::Own(open)) = self.queue.back_mut()
            && open.len() < OWN_PIECE_BYTES
        {
            let before = open.len();
            encode(open);
            self.bytes += open.len() - before;
            return;
        }
        let mut bytes = Vec::new();
        encode(&mut bytes);
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.queue.push_back(Piece::Own(bytes));
        }
    }

    /// Queues the history, once, before anything live.
    pub fn push_history(&mut self, frames: Vec<u8>) {
        self.bytes += frames.len();
        self.replayed_bytes += frames.len();
        self.queue.push_back(Piece::Own(frames));
    }

    /// Queues what of a batch is meant for this socket, and says how much that is.
    pub fn push_batch(&mut self, shared: &SharedBatch, viewer: Viewer<'_>, level: Level) -> Frames {
        let (queue, bytes) = (&mut self.queue, &mut self.bytes);
        shared.batch().runs_for(viewer, level, |start, end| {
            *bytes += end - start;
            if end - start <= COPIED_BYTES_MAX
                && let Some(Piece::Own(open)) = queue.back_mut()
                && open.len() < OWN_PIECE_BYTES
            {
                open.extend_from_slice(&shared.batch().bytes()[start..end]);
                return;
            }
            // A turn's batch is bounded far below 4 GiB by the mailboxes and the commit size.
            let (start, end) = (start as u32, end as u32);
            queue.push_back(Piece::Shared { batch: shared.clone(), start, end });
        })
    }

    /// The next write, unless one is in flight or nothing waits.
    pub fn take_write(&mut self) -> Option<Write> {
        if self.in_flight {
            return None;
        }
        let write = match self.unfinished.take() {
            Some(write) => *write,
            None if self.queue.is_empty() => return None,
            None => {
                self.head_bytes = 0;
                let count = self.queue.len().min(WRITE_PIECES_MAX);
                let pieces = self.queue.drain(..count).collect();
                if self.queue.is_empty() && self.queue.capacity() > WRITE_PIECES_MAX {
                    self.queue = VecDeque::new();
                }
                Write { pieces, offset: 0 }
            }
        };
        self.in_flight = true;
        Some(write)
    }

    /// The write in flight came back: the kernel took `sent` bytes of it.
    pub fn wrote(&mut self, mut write: Write, sent: usize) {
        self.in_flight = false;
        #[cfg(feature = "planted")]
        let sent = match planted::is(Bug::IgnoredShortSend) && sent > 0 {
            true => write.slices().map(<[u8]>::len).sum(),
            false => sent,
        };
        // After `clear` the count is 0 already.
        self.bytes = self.bytes.saturating_sub(sent);
        self.replayed_bytes = self.replayed_bytes.saturating_sub(sent);
        if !write.advance(sent) && self.bytes > 0 {
            self.unfinished = Some(Box::new(write));
        }
    }

    /// Forgets everything that is not in flight: the socket is broken.
    pub fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.unfinished = None;
        self.bytes = 0;
        self.head_bytes = 0;
        self.replayed_bytes = 0;
    }

    /// Forgets the frames that have not begun to be sent, so that a close frame follows the last
    /// whole one.
    pub fn drop_queued(&mut self) {
        let queued: usize = self.queue.iter().map(|piece| piece.bytes().len()).sum();
        self.bytes -= queued - self.head_bytes;
        self.replayed_bytes = self.replayed_bytes.min(self.bytes);
        let first = self.queue.pop_front();
        self.queue = VecDeque::new();
        if let Some(Piece::Own(mut head)) = first
            && self.head_bytes > 0
        {
            head.truncate(self.head_bytes);
            self.queue.push_back(Piece::Own(head));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Audience, Batch, Keep};
    use super::*;
    use crate::model::{UserId, Version};

    fn text(write: &Write) -> String {
        write.slices().map(|s| std::str::from_utf8(s).unwrap()).collect::<Vec<_>>().join("|")
    }

    fn shared(content: &str) -> SharedBatch {
        let mut batch = Batch::default();
        batch.push(Audience::All, Keep::Always, |out| out.extend(content.as_bytes()));
        SharedBatch::local(batch)
    }

    /// Too long to be copied.
    fn long() -> String {
        "batch".repeat(COPIED_BYTES_MAX / 5 + 1)
    }

    fn filled(batches: &[&str]) -> Outbox {
        let mut outbox = Outbox::default();
        let user = UserId::from_number(1).unwrap();
        outbox.push_own(|out| out.extend(b"own"));
        outbox.push_own(|out| out.extend(b"ed"));
        let viewer = Viewer { user: &user, version: Version::V1, entrance: 0 };
        for batch in batches {
            outbox.push_batch(&shared(batch), viewer, Level::Level);
        }
        outbox.push_own(|out| out.extend(b"end"));
        outbox
    }

    #[test]
    fn a_write_cut_short_at_any_byte_goes_on_where_it_stopped() {
        let whole = format!("owned{}end", long());
        for cut in 0..whole.len() {
            let mut outbox = filled(&[&long()]);
            let write = outbox.take_write().unwrap();
            assert!(outbox.take_write().is_none(), "one write at a time");
            outbox.wrote(write, cut);
            assert_eq!(outbox.bytes(), whole.len() - cut);
            let rest = outbox.take_write().unwrap();
            assert_eq!(text(&rest).replace('|', ""), whole[cut..]);
            outbox.wrote(rest, whole.len() - cut);
            assert!(outbox.is_empty() && outbox.take_write().is_none());
        }
    }

    #[test]
    fn own_frames_join_until_a_batch_comes_between() {
        let mut outbox = filled(&[&long()]);
        assert_eq!(text(&outbox.take_write().unwrap()), format!("owned|{}|end", long()));
    }

    #[test]
    fn little_of_a_batch_is_copied_behind_own_frames() {
        let mut outbox = filled(&["little", &"b".repeat(COPIED_BYTES_MAX), &long(), "little"]);
        let copied = format!("ownedlittle{}", "b".repeat(COPIED_BYTES_MAX));
        let whole = format!("{copied}|{}|little|end", long());
        assert_eq!(outbox.bytes(), whole.len() - 3);
        assert_eq!(text(&outbox.take_write().unwrap()), whole);
    }

    #[test]
    fn own_pieces_do_not_grow_without_end_by_copies() {
        let batches = std::array::from_fn::<_, 64, _>(|_| "b".repeat(COPIED_BYTES_MAX));
        let mut outbox = filled(&batches.each_ref().map(String::as_str));
        let write = outbox.take_write().unwrap();
        let longest = write.slices().map(<[u8]>::len).max().unwrap();
        assert!(write.pieces() > 2 && longest < OWN_PIECE_BYTES + COPIED_BYTES_MAX, "{longest}");
    }

    #[test]
    fn dropping_what_is_queued_keeps_the_frame_that_has_begun() {
        let batch = long();
        let mut outbox = filled(&[&batch]);
        let write = outbox.take_write().unwrap();
        outbox.push_own(|out| out.extend(b"later"));
        outbox.wrote(write, 7);
        outbox.drop_queued();
        assert_eq!(outbox.bytes(), batch.len() - 2 + 3);
        assert_eq!(text(&outbox.take_write().unwrap()), format!("{}|end", &batch[2..]));
    }
}
