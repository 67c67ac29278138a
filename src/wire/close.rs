//! Close frames (RFC 6455 §5.5.1, §7.4): what a peer's says, and how ours look.
//!
//! A peer's reason text is checked and then forgotten: it is nothing to act on and nothing to log.

use std::io::Write;

use fastwebsockets::{CloseCode, OpCode};

use super::frame::push_frame;
use super::utf8;
use crate::limits::CLOSE_REASON_BYTES_MAX;
use crate::model::CloseReason;

/// A close frame that a peer sent, correct in itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerClose {
    /// `None`: the frame was empty.
    pub code: Option<u16>,
}

impl PeerClose {
    /// Reads the payload of a close frame.
    pub(super) fn parse(payload: &[u8]) -> Result<PeerClose, CloseReason> {
        let Some((&code, reason)) = payload.split_first_chunk::<2>() else {
            // One byte is half a code.
            return match payload {
                [] => Ok(PeerClose { code: None }),
                _ => Err(CloseReason::ProtocolError),
            };
        };
        let code = u16::from_be_bytes(code);
        if !may_be_sent(code) {
            return Err(CloseReason::ProtocolError);
        }
        utf8::check(reason).map_err(|_| CloseReason::InvalidUtf8)?;
        Ok(PeerClose { code: Some(code) })
    }
}

/// Whether a peer may put this code into a close frame: 1000–1003, 1007–1014, 3000–4999
/// (RFC 6455 §7.4 and the IANA registry, where 1014 was added after the crate's list).
fn may_be_sent(code: u16) -> bool {
    const BAD_GATEWAY: u16 = 1014;
    CloseCode::from(code).is_allowed() || code == BAD_GATEWAY
}

/// Appends our close frame: the code, and a reason of at most 32 ASCII bytes.
pub fn close_frame(out: &mut Vec<u8>, reason: CloseReason) {
    let mut payload = [0; 2 + CLOSE_REASON_BYTES_MAX];
    payload[..2].copy_from_slice(&reason.code().to_be_bytes());
    let mut rest = &mut payload[2..];
    let written = match reason {
        CloseReason::Restart { reconnect_in_ms } => {
            write!(rest, "{}{reconnect_in_ms}", reason.reason())
        }
        _ => rest.write_all(reason.reason().as_bytes()),
    };
    if written.is_err() {
        unreachable!("every reason has at most {CLOSE_REASON_BYTES_MAX} bytes");
    }
    let unused = rest.len();
    push_frame(out, OpCode::Close, &payload[..payload.len() - unused]);
}

/// Appends the answer to a peer's close: its code, or an empty frame for an empty one.
pub fn close_echo(out: &mut Vec<u8>, close: &PeerClose) {
    match close.code {
        Some(code) => push_frame(out, OpCode::Close, &code.to_be_bytes()),
        None => push_frame(out, OpCode::Close, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_may_travel() {
        let allowed =
            |code: u16| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=3999 | 4000..=4999);
        for code in 0..=u16::MAX {
            assert_eq!(may_be_sent(code), allowed(code), "{code}");
        }
    }

    #[test]
    fn a_peers_close_is_read_or_refused() {
        let check = |payload: &[u8], expected: Result<Option<u16>, CloseReason>| {
            let found = PeerClose::parse(payload).map(|close| close.code);
            assert_eq!(found, expected, "{payload:02x?}");
        };
        check(b"", Ok(None));
        check(b"\x03", Err(CloseReason::ProtocolError));
        check(b"\x03\xe8", Ok(Some(1000)));
        check("\x03\x00".as_bytes(), Err(CloseReason::ProtocolError));
        check(b"\x03\xe8bye \xe2\x82\xac", Ok(Some(1000)));
        check(b"\x03\xe8bye \xe2\x82", Err(CloseReason::InvalidUtf8));
        check(b"\x03\xe8\xff", Err(CloseReason::InvalidUtf8));
        check(b"\x03\xed", Err(CloseReason::ProtocolError)); // 1005
        check(b"\x0f\xa1", Ok(Some(4001)));
        check(b"\xff\xff", Err(CloseReason::ProtocolError));
    }

    #[test]
    fn our_close_frames_are_short_ascii() {
        let check = |reason: CloseReason, code: u16, text: &str| {
            let mut out = Vec::new();
            close_frame(&mut out, reason);
            assert_eq!(out[..2], [0x88, 2 + text.len() as u8]);
            assert_eq!(out[2..4], code.to_be_bytes());
            assert_eq!(std::str::from_utf8(&out[4..]), Ok(text));
            assert!(text.is_ascii() && text.len() <= CLOSE_REASON_BYTES_MAX);
        };
        check(CloseReason::Normal, 1000, "");
        check(CloseReason::GoingAway, 1001, "going_away");
        check(CloseReason::ProtocolError, 1002, "protocol_error");
        check(CloseReason::InvalidUtf8, 1007, "invalid_utf8");
        check(CloseReason::FragmentFlood, 1008, "fragment_flood");
        check(CloseReason::TooBig, 1009, "too_big");
        check(CloseReason::Restart { reconnect_in_ms: 0 }, 1012, "reconnect_in_ms=0");
        check(CloseReason::Restart { reconnect_in_ms: u32::MAX }, 1012, {
            "reconnect_in_ms=4294967295"
        });
        check(CloseReason::TooManyConnections, 4009, "too_many_connections");
        check(CloseReason::FellBehind, 4200, "fell_behind");
    }

    #[test]
    fn a_close_is_answered_with_its_code() {
        let check = |code: Option<u16>, expected: &[u8]| {
            let mut out = Vec::new();
            close_echo(&mut out, &PeerClose { code });
            assert_eq!(out, expected);
        };
        check(None, b"\x88\x00");
        check(Some(1000), b"\x88\x02\x03\xe8");
    }
}
