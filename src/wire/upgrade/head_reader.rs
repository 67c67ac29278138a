//! Collects a request head from however many pieces; no byte is looked at again when the next piece comes.
//!
//! Refuses at the first byte that could make two parsers disagree: a CR or LF that is not part of
//! CRLF, a folded line, a control byte. What is well-formed beyond that is [`super::request`]'s matter.

use std::fmt;

use super::refused::Refused;

/// Bytes that are looked at together.
const CHUNK: usize = 16;

/// Collects one head.
pub struct HeadReader {
    bytes: Vec<u8>,
    bytes_max: usize,
    scanned_bytes: usize,
    line: Line,
}

/// Where in a line the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// At the very first byte.
    First,
    Start,
    Inside,
    /// After a CR that ends a line.
    Cr,
    /// After a CR that ends the head.
    LastCr,
}

#[derive(Debug)]
pub enum HeadProgress {
    NeedMore,
    Complete(HeadBytes),
}

/// A head that ends with an empty line, free of bare CR and LF, folds and control bytes; and what
/// was read behind it: the first frames.
#[derive(Clone, PartialEq, Eq)]
pub struct HeadBytes {
    bytes: Vec<u8>,
    head_bytes: usize,
}

impl HeadBytes {
    pub fn head(&self) -> &[u8] {
        &self.bytes[..self.head_bytes]
    }

    /// Bytes of the head, its empty line included.
    pub fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// What the client sent without waiting for the answer.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.head_bytes..]
    }

    /// The same, to be decoded in place.
    pub fn rest_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.head_bytes..]
    }

    /// Head and rest, as they were read.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A head may hold a token: its bytes are not shown.
impl fmt::Debug for HeadBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadBytes({} + {} bytes)", self.head_bytes, self.rest().len())
    }
}

impl HeadReader {
    /// `bytes_max`: `limits.handshake_bytes`.
    pub fn new(bytes_max: usize) -> HeadReader {
        HeadReader { bytes: Vec::new(), bytes_max, scanned_bytes: 0, line: Line::First }
    }

    /// Takes what was read. After `Complete` or a refusal nothing more is to be pushed.
    pub fn push(&mut self, piece: &[u8]) -> Result<HeadProgress, Refused> {
        let mut at = 0;
        while at < piece.len() {
            if self.line == Line::Inside {
                // Most bytes are of this kind, and none of them ends a line.
                let plain = plain_bytes(&piece[at..]).min(self.bytes_max - self.scanned_bytes);
                at += plain;
                self.scanned_bytes += plain;
            }
            let Some(&byte) = piece.get(at) else { break };
            if self.scanned_bytes == self.bytes_max {
                return Err(Refused::HeadTooLarge);
            }
            self.scanned_bytes += 1;
            at += 1;
            if let Some(line) = self.line.after(byte)? {
                self.line = line;
                continue;
            }
            let head_bytes = self.bytes.len() + at;
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.extend_from_slice(piece);
            return Ok(HeadProgress::Complete(HeadBytes { bytes, head_bytes }));
        }
        self.bytes.extend_from_slice(piece);
        Ok(HeadProgress::NeedMore)
    }

    /// Whether anything has come yet.
    pub fn is_empty(&self) -> bool {
        self.scanned_bytes == 0
    }

    /// How many bytes were looked at so far, counting each look.
    pub fn scanned_bytes(&self) -> usize {
        self.scanned_bytes
    }
}

impl Line {
    /// The place after `byte`; `None`: the head is complete.
    fn after(self, byte: u8) -> Result<Option<Line>, Refused> {
        let next = match (self, byte) {
            (Line::Cr, b'\n') => Line::Start,
            (Line::LastCr, b'\n') => return Ok(None),
            (Line::Cr | Line::LastCr, _) => return malformed("a CR without LF in the head"),
            (_, b'\n') => return malformed("an LF without CR in the head"),
            (Line::First, b'\r') => return malformed("an empty line before the request"),
            (Line::Start, b'\r') => Line::LastCr,
            (Line::Inside, b'\r') => Line::Cr,
            (Line::Start | Line::First, b' ' | b'\t') => {
                return malformed("a line of the head begins with a space");
            }
            (_, byte) if is_control(byte) => return malformed("a control byte in the head"),
            _ => Line::Inside,
        };
        Ok(Some(next))
    }
}

/// How many bytes at the beginning are neither control bytes nor tabs.
fn plain_bytes(bytes: &[u8]) -> usize {
    let is_plain = |byte: u8| byte != b'\t' && !is_control(byte);
    let are_plain = |bytes: &&[u8]| bytes.iter().fold(true, |all, &byte| all & is_plain(byte));
    let whole = bytes.chunks_exact(CHUNK).take_while(are_plain).count() * CHUNK;
    whole + bytes[whole..].iter().take_while(|&&byte| is_plain(byte)).count()
}

/// 0x85 is a line break to some parsers (Daphne CVE-2026-44546). A tab is white space in HTTP.
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f || byte == 0x85
}

fn malformed<T>(sentence: &'static str) -> Result<T, Refused> {
    Err(Refused::Malformed(sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// What comes of `stream`, read in pieces of `size`: the lengths of head and rest.
    fn read(stream: &[u8], size: usize) -> Result<Option<(usize, usize)>, Refused> {
        let mut reader = HeadReader::new(1024);
        for (n, piece) in stream.chunks(size).enumerate() {
            if let HeadProgress::Complete(found) = reader.push(piece)? {
                let read_bytes = stream.len().min((n + 1) * size);
                assert_eq!([found.head(), found.rest()].concat(), stream[..read_bytes]);
                return Ok(Some((found.head_bytes(), found.rest().len())));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        let with_frames = [HEAD, b"\x81\x80\n\n\r\0"].concat();
        assert_eq!(read(HEAD, 4096), Ok(Some((HEAD.len(), 0))));
        assert_eq!(read(&with_frames, 4096), Ok(Some((HEAD.len(), 6))));
        assert_eq!(read(&with_frames, 1), Ok(Some((HEAD.len(), 0))));
        for size in 1..HEAD.len() {
            assert_eq!(read(&HEAD[..HEAD.len() - 1], size), Ok(None));
            assert!(matches!(read(&with_frames, size), Ok(Some((27, _)))), "{size}");
        }
    }

    /// Wherever among plain bytes it stands.
    #[test]
    fn a_line_may_have_any_length_and_a_control_byte_any_place() {
        for length in 0..70 {
            let line = "a".repeat(length);
            let head = format!("GET / HTTP/1.1\r\nA: {line}\tb\r\n\r\n").into_bytes();
            let bad = head.iter().map(|&byte| if byte == b'\t' { 0x7f } else { byte });
            let bad: Vec<u8> = bad.collect();
            for size in [1, 15, 16, 17, 4096] {
                assert_eq!(read(&head, size), Ok(Some((head.len(), 0))), "{length}, {size}");
                assert!(matches!(read(&bad, size), Err(Refused::Malformed(_))), "{length}, {size}");
            }
        }
    }

    #[test]
    fn what_splits_lines_differently_elsewhere_is_refused_however_it_is_cut() {
        let check = |inside: &[u8]| {
            let stream = [b"GET / HTTP/1.1\r\nA: b", inside, b"c\r\n\r\n"].concat();
            for size in [1, 2, 3, 7, 4096] {
                let found = read(&stream, size);
                assert!(matches!(found, Err(Refused::Malformed(_))), "{inside:02x?}: {found:?}");
            }
        };
        check(b"\n");
        check(b"\r");
        check(b"\r\r\n");
        check(b"\n\n");
        check(b"\r\n ");
        check(b"\r\n\t");
        for control in (0..0x20).filter(|byte| *byte != b'\t').chain([0x7f, 0x85]) {
            check(&[control]);
        }
        assert!(read(&[b"\r\n", HEAD].concat(), 9).is_err());
        assert!(read(&[b"\n", HEAD].concat(), 9).is_err());
        assert!(read(&[b" ", HEAD].concat(), 9).is_err());
    }

    #[test]
    fn each_byte_is_scanned_once() {
        // tungstenite CVE-2023-43669: 8 KiB, byte by byte.
        let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
        head.resize(8 * 1024 - 4, b'x');
        head.extend_from_slice(b"\r\n\r\n");
        let mut reader = HeadReader::new(8 * 1024);
        for byte in &head[..head.len() - 1] {
            assert!(matches!(reader.push(&[*byte]), Ok(HeadProgress::NeedMore)));
        }
        assert!(matches!(reader.push(b"\n"), Ok(HeadProgress::Complete(_))));
        assert_eq!(reader.scanned_bytes(), 8 * 1024);
    }

    #[test]
    fn a_head_over_the_limit_is_refused_and_not_kept() {
        let mut stream = HEAD.to_vec();
        let end = stream.split_off(HEAD.len() - 4);
        stream.resize(1020, b'x');
        stream.extend_from_slice(&end);
        assert_eq!(read(&stream, 4096), Ok(Some((1024, 0))));
        stream.insert(1000, b'x');
        for size in [1, 100, 1024, 1025] {
            assert_eq!(read(&stream, size), Err(Refused::HeadTooLarge), "{size}");
        }
    }

    #[test]
    fn a_head_is_not_shown() {
        let Ok(HeadProgress::Complete(found)) = HeadReader::new(1024).push(HEAD) else {
            panic!("a whole head");
        };
        assert_eq!(format!("{found:?}"), "HeadBytes(27 + 0 bytes)");
    }
}
