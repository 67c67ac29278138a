//! Frames: a client's decoded and unmasked, the server's written; ours beside fastwebsockets and
//! tungstenite on the same bytes.
//!
//! `decode`: all sides unmask, check UTF-8 and hand out whole messages. Ours works where the bytes are, and is
//! given a fresh copy outside of the time; the peers read from memory as from a socket, into their own
//! buffers. `segments` is ours on pieces as large as a TCP segment, where a frame is cut and must be kept.
//! `unmask`: the mask alone, which is fastwebsockets' own function for us and for it; tungstenite's is private, so
//! the peer is the loop that the RFC describes. `encode`: a text frame appended to a buffer that is used again.
//!
//! What the numbers do not say: the peers' decoders include the copy out of the stream that a socket costs them, ours
//! has none as the kernel wrote where it reads. No side does I/O, and none sees fragments here.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, Role, WebSocket};
use loquat::limits::Limits;
use loquat::wire::frame::{OpenFrame, push_frame};
use loquat::wire::session::{Found, Session, SessionLimits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked text frame.
fn frame(text: &str) -> Vec<u8> {
    let mut out = vec![0x81];
    match text.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        middle => {
            out.push(0xfe);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend_from_slice(text.as_bytes());
    let head_bytes = out.len() - text.len();
    mask_byte_by_byte(&mut out[head_bytes..], MASK);
    out
}

/// Decodes `input` given in pieces of `piece_bytes` and counts the messages.
fn ours(input: &mut [u8], piece_bytes: usize) -> usize {
    let mut session = Session::new(SessionLimits::of(&Limits::DEFAULT));
    let mut messages = 0;
    for piece in input.chunks_mut(piece_bytes) {
        let mut at = 0;
        loop {
            let decoded = session.decode(&mut piece[at..]);
            at += decoded.consumed;
            match decoded.found {
                Found::Text(text) => messages += usize::from(!black_box(text).is_empty()),
                Found::NeedMore => break,
                other => panic!("{other:?}"),
            }
        }
    }
    messages
}

/// Memory as a stream.
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

impl AsyncRead for Pipe<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (now, later) = self.0.split_at(into.remaining().min(self.0.len()));
        into.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn with_tungstenite(input: &[u8], expected: usize) -> usize {
    let role = tungstenite::protocol::Role::Server;
    let mut socket = tungstenite::WebSocket::from_raw_socket(Pipe(input), role, None);
    (0..expected)
        .filter(|_| socket.read().is_ok_and(|message| !black_box(message).is_empty()))
        .count()
}

fn with_fastwebsockets(input: &'static [u8], expected: usize) -> usize {
    let socket = WebSocket::after_handshake(Pipe(input), Role::Server);
    let mut socket = FragmentCollector::new(socket);
    let mut messages = 0;
    for _ in 0..expected {
        // Memory is always ready: one poll is enough.
        let frame = pin!(socket.read_frame()).poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(Ok(frame)) = frame {
            messages += usize::from(!black_box(frame.payload).is_empty());
        }
    }
    messages
}

/// Decodes as many messages as there should be, and says how many there were.
type CountMessages = fn(&'static [u8], usize) -> usize;

fn decode(c: &mut Criterion) {
    let small = r#"{"type":"chat_message","content":"See you at the station at ten, I bring the map.","parent_message_id":null,"client_msg_id":"c-4711-0123456789-abcdef"}"#;
    let cases = [
        ("150B_x100", frame(&small[..150]).repeat(100), 100),
        ("16KiB_ascii", frame(&"x".repeat(16 * 1024)), 1),
        ("16KiB_greek", frame(&"λ".repeat(8 * 1024)), 1),
    ];
    for (name, input, messages) in cases {
        let input: &'static [u8] = input.leak();
        let mut group = c.benchmark_group(format!("frame/decode/{name}"));
        group.throughput(Throughput::Elements(messages as u64));
        for (way, piece_bytes) in [("in_place", input.len()), ("segments", 1_448)] {
            assert_eq!(ours(&mut input.to_vec(), piece_bytes), messages);
            group.bench_function(BenchmarkId::new("loquat", way), |b| {
                let run = |input: &mut Vec<u8>| ours(input, piece_bytes);
                b.iter_batched_ref(|| input.to_vec(), run, BatchSize::SmallInput);
            });
        }
        let peers: [(&str, CountMessages); 2] =
            [("tungstenite", with_tungstenite), ("fastwebsockets", with_fastwebsockets)];
        for (name, decode) in peers {
            assert_eq!(decode(input, messages), messages);
            group.bench_function(name, |b| b.iter(|| decode(input, messages)));
        }
        group.finish();
    }
}

fn mask_byte_by_byte(bytes: &mut [u8], mask: [u8; 4]) {
    bytes.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

type Mask = fn(&mut [u8], [u8; 4]);

fn unmask(c: &mut Criterion) {
    let ways: [(&str, Mask); 2] =
        [("loquat_and_fastwebsockets", fastwebsockets::unmask), ("bytewise", mask_byte_by_byte)];
    for payload_bytes in [16, 150, 16 * 1024] {
        let mut group = c.benchmark_group(format!("frame/unmask/{payload_bytes}"));
        group.throughput(Throughput::Bytes(payload_bytes as u64));
        for (name, unmask) in ways {
            let text = vec![b'x'; payload_bytes];
            let mut bytes = text.clone();
            mask_byte_by_byte(&mut bytes, MASK);
            unmask(&mut bytes, MASK);
            assert_eq!(bytes, text);
            group.bench_function(name, |b| b.iter(|| unmask(black_box(&mut bytes), MASK)));
        }
        group.finish();
    }
}

/// Appends a text frame.
type Encode = fn(&mut Vec<u8>, &'static [u8]);

/// As events are written: the payload first, of a length that is known afterwards.
fn length_afterwards(out: &mut Vec<u8>, payload: &[u8]) {
    let open = OpenFrame::begin(out);
    out.extend_from_slice(payload);
    open.finish(out, OpCode::Text);
}

fn length_known(out: &mut Vec<u8>, payload: &[u8]) {
    push_frame(out, OpCode::Text, payload);
}

fn fastwebsockets_encode(out: &mut Vec<u8>, payload: &[u8]) {
    // It writes whole frames over the start of a buffer; one that is appended takes its head alone.
    let mut frame = Frame::text(Payload::Borrowed(payload));
    let mut head = [0; 14];
    let head_bytes = frame.fmt_head(&mut head);
    out.extend_from_slice(&head[..head_bytes]);
    out.extend_from_slice(&frame.payload);
}

fn tungstenite_encode(out: &mut Vec<u8>, payload: &'static [u8]) {
    let opcode = tungstenite::protocol::frame::coding::OpCode::Data(
        tungstenite::protocol::frame::coding::Data::Text,
    );
    let payload = bytes::Bytes::from_static(payload);
    let frame = tungstenite::protocol::frame::Frame::message(payload, opcode, true);
    frame.format(out).expect("memory takes it");
}

fn encode(c: &mut Criterion) {
    let ways: [(BenchmarkId, Encode); 4] = [
        (BenchmarkId::new("loquat", "length_afterwards"), length_afterwards),
        (BenchmarkId::new("loquat", "length_known"), length_known),
        (BenchmarkId::from_parameter("fastwebsockets"), fastwebsockets_encode),
        (BenchmarkId::from_parameter("tungstenite"), tungstenite_encode),
    ];
    for payload_bytes in [100, 300, 70_000] {
        let mut group = c.benchmark_group(format!("frame/encode/{payload_bytes}"));
        group.throughput(Throughput::Elements(1));
        let payload: &'static [u8] = vec![b'x'; payload_bytes].leak();
        let mut expected = Vec::new();
        length_known(&mut expected, payload);
        for (id, encode) in &ways {
            let mut out = Vec::new();
            encode(&mut out, payload);
            assert_eq!(out, expected);
            group.bench_function(id.clone(), |b| {
                b.iter(|| {
                    out.clear();
                    encode(&mut out, black_box(payload));
                    black_box(out.len())
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decode, unmask, encode);
criterion_main!(benches);
