//! A TCP connection that sends any bytes and reads frames naively: for handshakes and broken frames.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::process::DEADLINE;

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

pub struct Raw {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    pub text: String,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// The code and the reason of a close frame.
    pub fn close(&self) -> Option<(u16, String)> {
        let (code, reason) = self.payload.split_first_chunk::<2>()?;
        let reason = String::from_utf8(reason.to_vec()).ok()?;
        (self.first == CLOSE).then(|| (u16::from_be_bytes(*code), reason))
    }
}

/// A client's frame: masked, with the shortest length.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The request of a browser, without the headers that a test wants to write itself.
pub fn request(path: &str, without: &[&str]) -> String {
    const LINES: [(&str, &str); 5] = [
        ("Host", "chat.test"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let mut text = format!("GET {path} HTTP/1.1\r\n");
    for (name, value) in LINES.iter().filter(|(name, _)| !without.contains(name)) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        let connecting = timeout(DEADLINE, TcpStream::connect(address)).await;
        let stream = connecting.expect("connecting takes too long").expect("it listens");
        Raw::over(stream)
    }

    pub fn over(stream: TcpStream) -> Raw {
        stream.set_nodelay(true).expect("a TCP socket has it");
        Raw { stream, buffer: Vec::new() }
    }

    /// Sends as much as the peer takes: it may have closed, which the answer will tell.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let writing = timeout(DEADLINE, self.stream.write_all(bytes)).await;
        writing.expect("the peer neither reads nor closes").is_ok()
    }

    /// Reads more; false at the end, whether by FIN or RST.
    async fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        let reading = timeout(DEADLINE, self.stream.read(&mut chunk)).await;
        let read = reading.unwrap_or_else(|_| {
            panic!("nothing comes any more; so far {:?}", String::from_utf8_lossy(&self.buffer))
        });
        let count = read.unwrap_or(0);
        self.buffer.extend_from_slice(&chunk[..count]);
        count > 0
    }

    /// The head of an HTTP answer; `None` if the connection ends without one.
    pub async fn head(&mut self) -> Option<Head> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                return None;
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let status = text.split(' ').nth(1)?.parse().ok()?;
        Some(Head { status, text })
    }

    /// Everything up to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// A WebSocket on this path.
    pub async fn upgrade(&mut self, path: &str) {
        self.write(format!("{}\r\n", request(path, &[])).as_bytes()).await;
        let head = self.head().await.expect("an answer");
        assert_eq!(head.status, 101, "{}", head.text);
    }

    /// The next frame, naively: the server never masks and uses the shortest length.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, bytes)) = parse(&self.buffer) {
                self.buffer.drain(..bytes);
                return Some(frame);
            }
            if !self.fill().await {
                assert!(self.buffer.is_empty(), "the connection ends inside of a frame");
                return None;
            }
        }
    }

    /// Reads to the close frame and to the end of the connection: `None` if there was no such frame.
    pub async fn closed(&mut self) -> Option<(u16, String)> {
        let mut close = None;
        while let Some(frame) = self.frame().await {
            assert!(close.is_none(), "a frame after the close frame: {frame:?}");
            close = frame.close();
        }
        close
    }
}

fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    assert_eq!(second & 0x80, 0, "a server must not mask (RFC 6455 §5.1)");
    let (length, head) = match second {
        126 => {
            let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
            assert!(length > 125, "a length is not the shortest");
            (length, 4)
        }
        127 => {
            let length = u64::from_be_bytes(*rest.first_chunk()?) as usize;
            assert!(length > 0xffff, "a length is not the shortest");
            (length, 10)
        }
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(head..head + length)?;
    Some((Frame { first, payload: payload.to_vec() }, head + length))
}
