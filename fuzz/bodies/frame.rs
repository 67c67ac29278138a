//! A stream of client frames: our session must find the same however the bytes are cut, and the same
//! as tungstenite. Each input is run twice: as the stream itself, and as a script of frames that are
//! masked and well-formed unless the script says otherwise, so that the fuzzer gets deep quickly.
//!
//! Where the two may differ, and nowhere else:
//! - tungstenite takes lengths that are not minimal; we close with 1002
//! - tungstenite has no cap on fragments; we close with 1008
//! - tungstenite does not know close code 1014; we echo it
//! - tungstenite sees a frame when it is complete, we refuse as soon as it can be known: the stream is
//!   therefore padded before it sees one that we refused

use std::io::{self, Read, Write};

use loquat::model::CloseReason;
use loquat::wire::session::{Decoded, Found, Session, SessionLimits};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, error::ProtocolError};

use super::{cuts, pieces};

const LIMITS: SessionLimits =
    SessionLimits { frame_bytes: 300, message_bytes: 400, message_fragments: 4 };
/// Completes a frame that was cut off; a length that was cut off it makes too big.
const PADDING: [u8; 400] = [0xff; 400];

pub fn run(data: &[u8]) {
    check(data);
    check(&from_script(data));
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// More bytes could follow.
    Open,
    Closed(Option<u16>),
    /// Ours.
    Violation(CloseReason),
    /// Theirs.
    Error,
}

type Outcome = (Vec<Seen>, End);

fn check(stream: &[u8]) {
    let mut outcomes = cuts(stream).into_iter().map(|cuts| decode(&pieces(stream, &cuts)));
    let Some(ours) = outcomes.next() else { unreachable!("there is one way at least") };
    for cut in outcomes {
        assert_eq!(cut, ours, "the cuts change what is found");
    }
    let theirs = match ours.1 {
        End::Violation(_) => peer(&[stream, &PADDING].concat()),
        _ => peer(stream),
    };
    assert!(agree(&ours, &theirs, stream), "ours: {ours:?}\ntheirs: {theirs:?}");
}

fn decode(pieces: &[&[u8]]) -> Outcome {
    let mut session = Session::new(LIMITS);
    let mut seen = Vec::new();
    let mut end = End::Open;
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut at = 0;
        loop {
            let Decoded { consumed, found } = session.decode(&mut input[at..]);
            at += consumed;
            match found {
                Found::NeedMore => break,
                Found::Text(bytes) => match std::str::from_utf8(bytes) {
                    Ok(text) => seen.push(Seen::Text(text.to_owned())),
                    Err(_) => panic!("text that is not UTF-8"),
                },
                Found::Binary(bytes) => seen.push(Seen::Binary(bytes.to_vec())),
                Found::Ping(bytes) => seen.push(Seen::Ping(bytes.to_vec())),
                Found::Pong(bytes) => seen.push(Seen::Pong(bytes.to_vec())),
                Found::Close(close) => end = End::Closed(close.code),
                Found::Violation(reason) => end = End::Violation(reason),
            }
            assert!(session.is_over() == (end != End::Open));
        }
        assert_eq!(at, input.len(), "the input is used up");
        assert!(session.buffered_bytes() <= 2 * 400 + 125);
        assert!(session.message_in_progress() || session.buffered_bytes() == 0);
    }
    (seen, end)
}

/// Feeds tungstenite, and takes what it answers to nowhere.
struct Pipe<'a>(&'a [u8]);

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn peer(stream: &[u8]) -> Outcome {
    let config = WebSocketConfig::default()
        .max_frame_size(Some(LIMITS.frame_bytes as usize))
        .max_message_size(Some(LIMITS.message_bytes as usize))
        .read_buffer_size(1024);
    let mut socket = WebSocket::from_raw_socket(Pipe(stream), Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(Message::Text(text)) => Seen::Text(text.to_string()),
            Ok(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Seen::Ping(bytes.to_vec()),
            Ok(Message::Pong(bytes)) => Seen::Pong(bytes.to_vec()),
            Ok(Message::Close(close)) => {
                return (seen, End::Closed(close.map(|close| close.code.into())));
            }
            Ok(Message::Frame(_)) => unreachable!("reading gives messages"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return (seen, End::Open);
            }
            Err(_) => return (seen, End::Error),
        });
    }
}

fn agree(ours: &Outcome, theirs: &Outcome, stream: &[u8]) -> bool {
    const BAD_GATEWAY: Option<u16> = Some(1014);
    const PROTOCOL_ERROR: Option<u16> = Some(1002);
    let same_seen = ours.0 == theirs.0;
    match (ours.1, theirs.1) {
        (End::Closed(BAD_GATEWAY), End::Closed(PROTOCOL_ERROR)) => same_seen,
        // A close code that must not travel: it answers 1002 and calls that the peer's code.
        (End::Violation(CloseReason::ProtocolError), End::Closed(PROTOCOL_ERROR)) if same_seen => {
            true
        }
        (End::Violation(_), End::Error) if same_seen => true,
        (End::Violation(CloseReason::FragmentFlood), _) => theirs.0.starts_with(&ours.0),
        (End::Violation(CloseReason::ProtocolError), _) => {
            theirs.0.starts_with(&ours.0) && has_length_that_is_not_minimal(stream)
        }
        (our_end, their_end) => same_seen && our_end == their_end,
    }
}

/// Walks the heads, trusting every length.
fn has_length_that_is_not_minimal(mut stream: &[u8]) -> bool {
    while let [_, second, rest @ ..] = stream {
        let (length, extended) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(&bytes) => (u64::from(u16::from_be_bytes(bytes)), 2),
                None => return false,
            },
            127 => match rest.first_chunk::<8>() {
                Some(&bytes) => (u64::from_be_bytes(bytes), 8),
                None => return false,
            },
            short => (u64::from(short), 0),
        };
        if (extended == 2 && length < 126) || (extended == 8 && length < 65_536) {
            return true;
        }
        let mask = usize::from(second >> 7) * 4;
        let skipped = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(extended + mask);
        stream = rest.get(skipped..).unwrap_or_default();
    }
    false
}

/// Reads `data` as frames: a first byte, a length (from 240 on in steps of 7), a mask byte, payload.
fn from_script(mut data: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let [first, length, mask, rest @ ..] = data {
        let length = usize::from(*length);
        let length = if length < 240 { length } else { 240 + (length - 240) * 7 };
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        let mask = [*mask, mask.rotate_left(3), !*mask, 0x5a];
        stream.push(*first);
        match u8::try_from(payload.len()) {
            Ok(short @ 0..=125) => stream.push(0x80 | short),
            _ => {
                stream.push(0xfe);
                stream.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            }
        }
        stream.extend_from_slice(&mask);
        stream.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        data = rest;
    }
    stream
}
