//! A second decoder of what the server sends, naive on purpose: byte by byte, no sharing with the
//! server's own code. It panics on whatever a strict client would not take.

use serde_json::Value;

/// One thing that a client saw.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// The status line's code and the body's text.
    Http(u16, String),
    Text(Value),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl Seen {
    pub fn json(&self) -> Option<&Value> {
        match self {
            Seen::Text(value) => Some(value),
            _ => None,
        }
    }

    pub fn kind(&self) -> &str {
        self.json().and_then(|value| value["type"].as_str()).unwrap_or("")
    }

    /// The place of an event.
    pub fn seq(&self) -> Option<u64> {
        let is_event = self.kind() == "chat_message" || self.kind().starts_with("message_");
        self.json().filter(|_| is_event)?["seq"].as_u64()
    }
}

/// Bytes so far, and how many of them were understood.
#[derive(Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    at: usize,
    is_open: bool,
    is_closed: bool,
    /// Where each thing that was understood ended.
    ends: Vec<usize>,
}

impl Decoder {
    /// Takes what arrived; what it completes is appended to `seen`.
    pub fn push(&mut self, bytes: &[u8], seen: &mut Vec<Seen>) {
        self.bytes.extend_from_slice(bytes);
        while let Some(found) = if self.is_open { self.frame() } else { self.head() } {
            seen.push(found);
            self.ends.push(self.at);
        }
    }

    /// How many things end within the first so many bytes.
    pub fn within(&self, bytes: usize) -> usize {
        self.ends.partition_point(|&end| end <= bytes)
    }

    /// Everything that arrived.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How much arrived.
    pub fn received_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing is left half said.
    pub fn is_level(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn head(&mut self) -> Option<Seen> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&rest[..end]).expect("a response head is text");
        let status: u16 = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|line| line.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("not a response: {head:?}"));
        if status == 101 {
            assert!(head.contains("Sec-WebSocket-Accept: "), "{head}");
            self.is_open = true;
            self.at += end;
            return Some(Seen::Http(status, String::new()));
        }
        let length: usize = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
            })
            .expect("a refusal says how long it is");
        let body = rest.get(end..end + length)?;
        let body = String::from_utf8(body.to_vec()).expect("a refusal is text");
        self.at += end + length;
        assert_eq!(self.at, self.bytes.len(), "something follows a refusal");
        Some(Seen::Http(status, body))
    }

    fn frame(&mut self) -> Option<Seen> {
        let rest = &self.bytes[self.at..];
        let (&first, &second) = (rest.first()?, rest.get(1)?);
        assert!(!self.is_closed, "a frame follows the close frame");
        assert_eq!(
            first & 0xf0,
            0x80,
            "a server frame is final and has no reserved bit: {first:#x}"
        );
        assert_eq!(second & 0x80, 0, "a server frame is not masked");
        let (start, length) = match second {
            126 => (4, u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]).into()),
            127 => (10, u64::from_be_bytes(rest.get(2..10)?.try_into().expect("8 bytes")) as usize),
            short => (2, usize::from(short)),
        };
        assert!(start == 2 || length > 125, "lengths are minimal");
        let payload = rest.get(start..start + length)?.to_vec();
        self.at += start + length;
        Some(match first & 0x0f {
            1 => Seen::Text(serde_json::from_slice(&payload).expect("a text frame is JSON")),
            2 => Seen::Binary(payload),
            8 => {
                self.is_closed = true;
                let code = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
                let reason = payload.get(2..).unwrap_or_default().to_vec();
                Seen::Close(code, String::from_utf8(reason).expect("a reason is text"))
            }
            9 => Seen::Ping(payload),
            10 => Seen::Pong(payload),
            other => panic!("opcode {other}"),
        })
    }
}

/// A client's frame, masked.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    client_frame(0x80 | opcode, payload)
}

/// The same with a first byte of one's own: fragments and broken ones.
pub fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![first];
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}
