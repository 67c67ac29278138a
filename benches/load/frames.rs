//! The client's half of RFC 6455, as little of it as a generator needs: frames of a server that is not
//! masked, frames of its own with a mask of zeros (§5.3 asks for a mask, and zeros cost nothing).

use memchr::memmem::Finder;

/// Length of a message's text, in bytes.
pub const CONTENT_BYTES: usize = 64;

/// What a message's text says of itself: enough to check order and to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub room: u32,
    pub sender: u32,
    pub number: u32,
    /// When it was meant to be sent, in ns of the generator's clock.
    pub at_ns: u64,
}

impl Stamp {
    fn write(self, out: &mut Vec<u8>) {
        let start = out.len();
        for (value, digits) in [
            (u64::from(self.room), 8),
            (u64::from(self.sender), 8),
            (u64::from(self.number), 8),
            (self.at_ns, 16),
        ] {
            for digit in (0..digits).rev() {
                out.push(b"0123456789abcdef"[(value >> (digit * 4)) as usize & 15]);
            }
        }
        out.resize(start + CONTENT_BYTES, b'.');
    }

    pub fn read(text: &[u8]) -> Option<Stamp> {
        let number = |from: usize, digits: usize| {
            let digits = text.get(from..from + digits)?;
            // Digits and small letters only: `write` made them.
            let value = |digit: u8| u64::from((digit & 15) + (digit >> 6) * 9);
            Some(digits.iter().fold(0, |sum, &digit| sum << 4 | value(digit)))
        };
        Some(Stamp {
            room: number(0, 8)? as u32,
            sender: number(8, 8)? as u32,
            number: number(16, 8)? as u32,
            at_ns: number(24, 16)?,
        })
    }
}

/// A whole frame of the server, or how a connection ended.
pub enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    /// With its payload: code and reason (RFC 6455 §5.5.1).
    Close(&'a [u8]),
    Other,
}

/// The first frame of `bytes` and its length; `None` when it is not whole.
pub fn decode(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (&second, rest) = rest.split_first()?;
    let (length, head) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(head..head + length)?;
    let frame = match first & 0x0f {
        0x1 => Frame::Text(payload),
        0x8 => Frame::Close(payload),
        0x9 => Frame::Ping(payload),
        _ => Frame::Other,
    };
    Some((frame, head + length))
}

/// Appends a masked frame (RFC 6455 §5.2); at most 65,535 bytes.
pub fn encode(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match u16::try_from(payload.len()).unwrap_or(u16::MAX) {
        short @ 0..=125 => out.push(0x80 | short as u8),
        length => {
            out.push(0x80 | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// A chat message of the guide, as a frame.
pub fn message(stamp: Stamp) -> Vec<u8> {
    let mut payload = br#"{"type":"chat_message","content":""#.to_vec();
    stamp.write(&mut payload);
    payload.extend_from_slice(br#""}"#);
    let mut frame = Vec::with_capacity(payload.len() + 8);
    encode(&mut frame, 0x1, &payload);
    frame
}

/// A text frame of a client.
pub fn text(payload: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(&mut frame, 0x1, payload.as_bytes());
    frame
}

/// Finds what a text frame is about.
pub struct Reader {
    content: Finder<'static>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { content: Finder::new(br#""content":""#) }
    }
}

impl Reader {
    /// The stamp of a chat message. Django writes a space behind the colon.
    pub fn stamp(&self, text: &[u8]) -> Option<Stamp> {
        let key = self.content.needle().len();
        if let Some(at) = self.content.find(text) {
            return Stamp::read(&text[at + key..]);
        }
        let spaced = br#""content": ""#;
        let at = memchr::memmem::find(text, spaced)?;
        Stamp::read(&text[at + spaced.len()..])
    }
}

/// The server's word for a kind of frame.
pub fn is_kind(text: &[u8], kind: &str) -> bool {
    text.strip_prefix(br#"{"type":""#).is_some_and(|rest| {
        rest.starts_with(kind.as_bytes()) && rest.get(kind.len()) == Some(&b'"')
    })
}
