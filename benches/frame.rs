//! Decoding client frames: ours in place, and two libraries that read from memory in the same run.
//!
//! `cargo bench --bench frame`. All sides unmask, check UTF-8 and hand out whole messages.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
use loquat::limits::Limits;
use loquat::wire::frame::OpenFrame;
use loquat::wire::session::{Found, Session, SessionLimits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite;

/// A masked text frame.
fn frame(text: &str) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![0x81];
    match text.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        middle => {
            out.push(0xfe);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
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
            group.bench_function(BenchmarkId::new("loquat", way), |b| {
                let run = |input: &mut Vec<u8>| assert_eq!(ours(input, piece_bytes), messages);
                b.iter_batched_ref(|| input.to_vec(), run, BatchSize::SmallInput);
            });
        }
        group.bench_function("tungstenite", |b| {
            b.iter(|| assert_eq!(with_tungstenite(input, messages), messages));
        });
        group.bench_function("fastwebsockets", |b| {
            b.iter(|| assert_eq!(with_fastwebsockets(input, messages), messages));
        });
        group.finish();
    }
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame/encode");
    for payload_bytes in [100, 300, 70_000] {
        let payload = vec![b'x'; payload_bytes];
        let mut out = Vec::new();
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("length_afterwards", payload_bytes), |b| {
            b.iter(|| {
                out.clear();
                let open = OpenFrame::begin(&mut out);
                out.extend_from_slice(black_box(&payload));
                black_box(open.finish(&mut out, OpCode::Text))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
