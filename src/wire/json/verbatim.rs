//! The frames that clients send without end, recognised byte for byte.
//!
//! A page sends a receipt for each message it holds whenever its list changes, and a frame for each
//! keystroke. Exactly as `JSON.stringify` and Python's `json.dumps` write them they need no parser.
//! Whatever differs by one byte goes the general way, which must find the same (there is a test).

use crate::limits::SAFE_INTEGER_MAX;
use crate::model::{Command, MessageId};

const RECEIPT: &[u8] = br#"{"type":"read_receipt","message_id":"#;
const RECEIPT_SPACED: &[u8] = br#"{"type": "read_receipt", "message_id": "#;
/// The longest text that can be one of these.
const BYTES_MAX: usize = RECEIPT_SPACED.len() + ID_DIGITS_MAX + 1;
/// 2^53 − 1 has as many.
const ID_DIGITS_MAX: usize = 16;

#[inline]
pub(super) fn command(text: &[u8]) -> Option<Command<'static>> {
    if text.len() > BYTES_MAX {
        return None;
    }
    match text {
        br#"{"type":"typing_indicator","is_typing":true}"#
        | br#"{"type": "typing_indicator", "is_typing": true}"# => {
            Some(Command::Typing { is_typing: true })
        }
        br#"{"type":"typing_indicator","is_typing":false}"#
        | br#"{"type": "typing_indicator", "is_typing": false}"# => {
            Some(Command::Typing { is_typing: false })
        }
        _ => receipt(text),
    }
}

#[inline]
fn receipt(text: &[u8]) -> Option<Command<'static>> {
    let rest = text.strip_prefix(RECEIPT).or_else(|| text.strip_prefix(RECEIPT_SPACED))?;
    let message = message_id(rest.strip_suffix(b"}")?)?;
    Some(Command::Read { message })
}

/// An integer as JSON writes it: digits only, no zero in front.
#[inline]
fn message_id(digits: &[u8]) -> Option<MessageId> {
    let plausible = match digits {
        [] => false,
        [b'0', more @ ..] => more.is_empty(),
        _ => digits.len() <= ID_DIGITS_MAX,
    };
    if !plausible {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, &digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })?;
    (number <= SAFE_INTEGER_MAX).then_some(MessageId(number))
}
