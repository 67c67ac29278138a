//! The 101 answer (RFC 6455 §4.2.2).

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, PAD, STANDARD};
use ring::digest;

use super::refused::Refused;

const KEY_BYTES: usize = 24;
const NONCE_BYTES: usize = 16;
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Padding is required; the four bits behind the 16th byte may be anything.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&ALPHABET, PAD.with_decode_allow_trailing_bits(true));

/// A `Sec-WebSocket-Key` that stands for 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSocketKey([u8; KEY_BYTES]);

impl WebSocketKey {
    pub(super) fn parse(value: &str) -> Result<WebSocketKey, Refused> {
        let bad = Refused::Malformed("Sec-WebSocket-Key is not 16 bytes in base64");
        let key: [u8; KEY_BYTES] = value.as_bytes().try_into().map_err(|_| bad)?;
        // Room for three bytes of each four characters, although the padding takes two away.
        let mut nonce = [0; KEY_BYTES / 4 * 3];
        match LENIENT.decode_slice(key, &mut nonce) {
            Ok(NONCE_BYTES) => Ok(WebSocketKey(key)),
            _ => Err(bad),
        }
    }

    /// The value of `Sec-WebSocket-Accept`.
    pub fn accept(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        context.update(&self.0);
        context.update(GUID);
        STANDARD.encode(context.finish())
    }
}

/// What was agreed on beside the protocol itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subprotocol {
    None,
    /// The client offered `loquat` (the other of the pair, `bearer.<jwt>`, is never named).
    Loquat,
}

/// Appends the answer that turns the connection into a socket.
pub fn accept_response(out: &mut Vec<u8>, key: &WebSocketKey, subprotocol: Subprotocol) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(key.accept().as_bytes());
    match subprotocol {
        Subprotocol::None => {}
        Subprotocol::Loquat => out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: loquat"),
    }
    out.extend_from_slice(b"\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let key = WebSocketKey::parse("dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        let mut out = Vec::new();
        accept_response(&mut out, &key, Subprotocol::None);
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
        out.clear();
        accept_response(&mut out, &key, Subprotocol::Loquat);
        assert!(out.ends_with(b"xOo=\r\nSec-WebSocket-Protocol: loquat\r\n\r\n"));
    }

    #[test]
    fn a_key_stands_for_16_bytes() {
        let check = |value: &str, good: bool| {
            assert_eq!(WebSocketKey::parse(value).is_ok(), good, "{value}");
        };
        check("dGhlIHNhbXBsZSBub25jZQ==", true);
        check("x3JJHMbDL1EzLkh9GBhXDw==", true);
        check("AAAAAAAAAAAAAAAAAAAAAB==", true); // trailing bits
        check("", false);
        check("SGVsbG8sIHdvcmxkIQ==", false); // 13 bytes
        check("AAAAAAAAAAAAAAAAAAAAAAA=", false); // 17 bytes
        check("AAAAAAAAAAAAAAAAAAAAAAAA", false); // 18 bytes
        check("AAAAAAAAAAAAAAAAAAAAAA", false); // no padding
        check("AAAAAAAAAAA AAAAAAAAAA==", false);
        check("AAAAAAAAAAAAAAAAAAAAA===", false);
        check("________________________", false);
    }
}
