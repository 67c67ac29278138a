//! Heads of frames, read and written (RFC 6455 §5.2).
//!
//! ```text
//! byte 0   FIN, RSV1–3 (0 here: no extension is negotiated), opcode
//! byte 1   mask bit, 7 bits of length; 126: 2 bytes of length follow; 127: 8 bytes
//! then     4 bytes of mask: from clients always, from us never
//! ```
//! Knows nothing of messages and caps: that is [`super::session`].

use std::ops::Range;

pub use fastwebsockets::OpCode;

use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;
use crate::model::CloseReason;

/// Longest head a client can send: 2 bytes, 8 of length, 4 of mask.
pub const CLIENT_HEAD_BYTES_MAX: usize = 14;
/// Longest head that we send.
pub const SERVER_HEAD_BYTES_MAX: usize = 10;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE_BITS: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH_BITS: u8 = 0x7f;
const LENGTH_IN_2_BYTES: u8 = 126;
const LENGTH_IN_8_BYTES: u8 = 127;

/// Whether a frame is the last (or only) one of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fin {
    Last,
    MoreFollow,
}

/// The head of a client's frame, wholly arrived and correct by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHead {
    pub fin: Fin,
    pub opcode: OpCode,
    pub mask: [u8; 4],
    pub payload_bytes: u64,
    /// Length of the head itself.
    pub head_bytes: usize,
}

impl ClientHead {
    /// Reads a head from the start of `bytes`; `None` when more bytes are needed. A broken rule is
    /// told as soon as the byte that breaks it is there, and in the order of the bytes, so that the
    /// answer does not depend on how they were cut.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<ClientHead>, CloseReason> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, opcode) = parse_first(first)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let short = second & LENGTH_BITS;
        if second & MASKED == 0 {
            return Err(CloseReason::ProtocolError);
        }
        if is_control(opcode) && usize::from(short) > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(CloseReason::ProtocolError);
        }
        let Some((payload_bytes, length_bytes)) = parse_length(short, &bytes[2..])? else {
            return Ok(None);
        };
        let mask_at = 2 + length_bytes;
        let Some(&mask) = bytes[mask_at..].first_chunk::<4>() else { return Ok(None) };
        Ok(Some(ClientHead { fin, opcode, mask, payload_bytes, head_bytes: mask_at + 4 }))
    }
}

#[inline]
fn parse_first(first: u8) -> Result<(Fin, OpCode), CloseReason> {
    if first & RESERVED_BITS != 0 {
        return Err(CloseReason::ProtocolError);
    }
    let Ok(opcode) = OpCode::try_from(first & OPCODE_BITS) else {
        return Err(CloseReason::ProtocolError);
    };
    let fin = if first & FIN == 0 { Fin::MoreFollow } else { Fin::Last };
    if is_control(opcode) && fin == Fin::MoreFollow {
        return Err(CloseReason::ProtocolError);
    }
    Ok((fin, opcode))
}

/// The payload's length and the bytes its extended form took. "The minimal number of bytes MUST be
/// used", and the top bit of the 8-byte form is 0 (RFC 6455 §5.2).
#[inline]
fn parse_length(short: u8, extended: &[u8]) -> Result<Option<(u64, usize)>, CloseReason> {
    match short {
        LENGTH_IN_2_BYTES => {
            let Some(&bytes) = extended.first_chunk::<2>() else { return Ok(None) };
            let length = u64::from(u16::from_be_bytes(bytes));
            if length < u64::from(LENGTH_IN_2_BYTES) {
                return Err(CloseReason::ProtocolError);
            }
            Ok(Some((length, 2)))
        }
        LENGTH_IN_8_BYTES => {
            if extended.first().is_some_and(|top| top & 0x80 != 0) {
                return Err(CloseReason::ProtocolError);
            }
            let Some(&bytes) = extended.first_chunk::<8>() else { return Ok(None) };
            let length = u64::from_be_bytes(bytes);
            if length <= u64::from(u16::MAX) {
                return Err(CloseReason::ProtocolError);
            }
            Ok(Some((length, 8)))
        }
        short => Ok(Some((u64::from(short), 0))),
    }
}

#[inline]
pub fn is_control(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong)
}

/// Appends the head of an unfragmented, unmasked frame.
pub fn push_head(out: &mut Vec<u8>, opcode: OpCode, payload_bytes: usize) {
    let (head, head_bytes) = server_head(opcode, payload_bytes);
    out.extend_from_slice(&head[..head_bytes]);
}

/// Appends the head of a text frame.
pub fn text_head(out: &mut Vec<u8>, payload_bytes: usize) {
    push_head(out, OpCode::Text, payload_bytes);
}

/// Appends a whole frame.
pub fn push_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    out.reserve(SERVER_HEAD_BYTES_MAX + payload.len());
    push_head(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a ping. The payload is ours and at most 125 bytes.
pub fn ping(out: &mut Vec<u8>, payload: &[u8]) {
    assert!(payload.len() <= CONTROL_PAYLOAD_BYTES_MAX, "RFC 6455 §5.5");
    push_frame(out, OpCode::Ping, payload);
}

/// Appends the answer to a ping: its payload, as the session found it (at most 125 bytes).
pub fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    assert!(payload.len() <= CONTROL_PAYLOAD_BYTES_MAX, "RFC 6455 §5.5");
    push_frame(out, OpCode::Pong, payload);
}

fn server_head(opcode: OpCode, payload_bytes: usize) -> ([u8; SERVER_HEAD_BYTES_MAX], usize) {
    let mut head = [0; SERVER_HEAD_BYTES_MAX];
    head[0] = FIN | opcode as u8;
    let head_bytes = if payload_bytes < usize::from(LENGTH_IN_2_BYTES) {
        head[1] = payload_bytes as u8;
        2
    } else if payload_bytes <= usize::from(u16::MAX) {
        head[1] = LENGTH_IN_2_BYTES;
        head[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
        4
    } else {
        head[1] = LENGTH_IN_8_BYTES;
        head[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        10
    };
    (head, head_bytes)
}

/// A frame whose payload is written straight into `out` before its length is known. Four bytes are
/// kept for the head, which fits payloads of 126 to 65,535 bytes without moving anything; a shorter
/// payload moves down by 2 bytes, a longer one up by 6, so frames in `out` always touch each other.
#[derive(Debug)]
#[must_use = "a frame that is not finished leaves a gap in the stream"]
pub struct OpenFrame {
    head_at: usize,
}

const GAP_BYTES: usize = 4;

impl OpenFrame {
    /// Starts a frame at the end of `out`; append the payload next.
    pub fn begin(out: &mut Vec<u8>) -> OpenFrame {
        let head_at = out.len();
        out.extend_from_slice(&[0; GAP_BYTES]);
        OpenFrame { head_at }
    }

    /// Writes the head in front of what was appended since. Answers where the frame lies.
    pub fn finish(self, out: &mut Vec<u8>, opcode: OpCode) -> Range<usize> {
        let payload_at = self.head_at + GAP_BYTES;
        let (head, head_bytes) = server_head(opcode, out.len() - payload_at);
        if head_bytes == GAP_BYTES {
            out[self.head_at..payload_at].copy_from_slice(&head[..head_bytes]);
        } else {
            out.splice(self.head_at..payload_at, head[..head_bytes].iter().copied());
        }
        self.head_at..out.len()
    }

    /// Takes the frame back, with everything appended since.
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.head_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fin: Fin, opcode: OpCode, payload_bytes: u64, head_bytes: usize) -> ClientHead {
        ClientHead { fin, opcode, mask: [1, 2, 3, 4], payload_bytes, head_bytes }
    }

    #[test]
    fn heads_are_read_or_refused() {
        let broken = Err(CloseReason::ProtocolError);
        let check = |bytes: &[u8], expected: Result<Option<ClientHead>, CloseReason>| {
            assert_eq!(ClientHead::parse(bytes), expected, "{bytes:02x?}");
        };
        check(b"", Ok(None));
        check(b"\x81\x85\x01\x02\x03\x04", Ok(Some(head(Fin::Last, OpCode::Text, 5, 6))));
        check(b"\x81\x80\x01\x02\x03\x04", Ok(Some(head(Fin::Last, OpCode::Text, 0, 6))));
        check(b"\x02\xfd\x01\x02\x03\x04", Ok(Some(head(Fin::MoreFollow, OpCode::Binary, 125, 6))));
        check(b"\x80\xfe\x00\x7e\x01\x02\x03\x04", {
            Ok(Some(head(Fin::Last, OpCode::Continuation, 126, 8)))
        });
        check(b"\x82\xff\0\0\0\0\0\x01\0\0\x01\x02\x03\x04", {
            Ok(Some(head(Fin::Last, OpCode::Binary, 65_536, 14)))
        });
        check(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04", {
            Ok(Some(head(Fin::Last, OpCode::Binary, i64::MAX as u64, 14)))
        });
        // Unmasked (fastwebsockets 0.10 takes it).
        check(b"\x81\x05", broken);
        // RSV1, RSV2, RSV3 (engine.io CVE-2022-21676), known from the first byte.
        check(b"\xc1", broken);
        check(b"\xa1", broken);
        check(b"\x91", broken);
        // Reserved opcodes.
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            check(&[0x80 | opcode], broken);
        }
        // Control frames: fragmented, or longer than 125 bytes.
        check(b"\x09", broken);
        check(b"\x89\xfe", broken);
        check(b"\x88\xff", broken);
        // Not minimal (fastwebsockets 0.10 takes it).
        check(b"\x81\xfe\x00\x7d", broken);
        check(b"\x81\xfe\x00\x00", broken);
        check(b"\x81\xff\0\0\0\0\0\0\xff\xff", broken);
        // 2^63 + 1 (NATS CVE-2026-27889): refused by its top bit, before the rest is there.
        check(b"\x81\xff\x80\0\0\0\0\0\0\x01\x01\x02\x03\x04", broken);
        check(b"\x81\xff\x80", broken);
    }

    #[test]
    fn a_head_is_complete_with_its_last_byte_and_not_before() {
        let whole = b"\x82\xff\0\0\0\0\0\x01\0\0\x01\x02\x03\x04";
        for cut in 0..whole.len() {
            assert_eq!(ClientHead::parse(&whole[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn our_heads_are_minimal_whichever_way_they_are_written() {
        let check = |payload_bytes: usize, expected: &[u8]| {
            let payload = vec![b'x'; payload_bytes];
            let mut at_once = b"before".to_vec();
            push_frame(&mut at_once, OpCode::Text, &payload);
            assert_eq!(&at_once[6..6 + expected.len()], expected, "{payload_bytes}");
            assert_eq!(at_once.len(), 6 + expected.len() + payload_bytes);
            assert!(at_once.starts_with(b"before") && at_once.ends_with(&payload));

            let mut afterwards = b"before".to_vec();
            let open = OpenFrame::begin(&mut afterwards);
            afterwards.extend_from_slice(&payload);
            let place = open.finish(&mut afterwards, OpCode::Text);
            assert_eq!(place, 6..afterwards.len());
            assert!(afterwards == at_once, "{payload_bytes}");
        };
        check(0, b"\x81\x00");
        check(1, b"\x81\x01");
        check(125, b"\x81\x7d");
        check(126, b"\x81\x7e\x00\x7e");
        check(65_535, b"\x81\x7e\xff\xff");
        check(65_536, b"\x81\x7f\0\0\0\0\0\x01\0\0");
    }

    #[test]
    fn an_abandoned_frame_leaves_nothing() {
        let mut out = b"before".to_vec();
        let open = OpenFrame::begin(&mut out);
        out.extend_from_slice(b"half an event");
        open.abandon(&mut out);
        assert_eq!(out, b"before");
    }

    #[test]
    fn control_frames_carry_their_payload() {
        let mut out = Vec::new();
        ping(&mut out, b"");
        pong(&mut out, b"hi");
        assert_eq!(out, b"\x89\x00\x8a\x02hi");
    }
}
