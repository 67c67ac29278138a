//! A chat server on fastwebsockets, to compare loquat with. hyper makes the upgrade.
//!
//! The library's reader must not be cancelled, so each socket has a reading and a writing task. An event's frame is
//! made once for the whole room; a writer hands all that is queued to the kernel in vectored writes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;

use bytes::{Buf, Bytes};
use fastwebsockets::upgrade::UpgradeFut;
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, Role};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use loquat_peers::{EVENT_HEAD, EVENT_TAIL, Failure, MESSAGE_BYTES_MAX, Member, Rooms};
use loquat_peers::{room_of, run, text_at};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::{spawn_local, yield_now};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SLICES_MAX: usize = 64;

/// A frame's bytes.
fn encoded(mut frame: Frame<'_>) -> Bytes {
    let mut bytes = Vec::new();
    // The library leaves room behind the frame.
    let size = frame.write(&mut bytes).len();
    bytes.truncate(size);
    bytes.into()
}

/// The frame of the event that a message becomes.
fn event_of(message: &[u8]) -> Option<Bytes> {
    let text = &message[text_at(message)?];
    let event = [EVENT_HEAD.as_bytes(), text, EVENT_TAIL.as_bytes()].concat();
    Some(encoded(Frame::text(Payload::Owned(event))))
}

async fn serve(stream: TcpStream, rooms: Rc<Rooms<Bytes>>) -> Result<(), Failure> {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let room = room_of(request.uri().path()).map(str::to_owned);
        let answer = match (room, fastwebsockets::upgrade::upgrade(&mut request)) {
            (Some(room), Ok((response, upgraded))) => {
                spawn_local(chat(upgraded, room, Rc::clone(&rooms)));
                response
            }
            _ => not_found(),
        };
        ready(Ok::<_, Infallible>(answer))
    });
    let http = hyper::server::conn::http1::Builder::new();
    http.serve_connection(TokioIo::new(stream), service).with_upgrades().await?;
    Ok(())
}

fn not_found() -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

async fn chat(upgraded: UpgradeFut, room: String, rooms: Rc<Rooms<Bytes>>) -> Result<(), Failure> {
    // From hyper's boxed stream to the socket itself: reads and writes then cost no dynamic call.
    let upgraded = upgraded.await?.into_inner().into_inner();
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| "not a TCP stream")?;
    if !parts.read_buf.is_empty() {
        return Err("frames came before the handshake was answered".into());
    }
    let (reader, writer) = parts.io.into_inner().into_split();
    let seat = rooms.join(&room);
    let writing = spawn_local(write(writer, Rc::clone(&seat.member)));
    let ended = read(reader, |frame| seat.publish(&frame, frame.len()), &seat.member).await;
    // A turn for the writer: it may owe a close frame.
    yield_now().await;
    writing.abort();
    ended
}

async fn read(
    reader: OwnedReadHalf,
    publish: impl Fn(Bytes),
    member: &Member<Bytes>,
) -> Result<(), Failure> {
    // A write half that nothing is written to: the frames are written as bytes.
    let (mut reader, _) =
        fastwebsockets::after_handshake_split(reader, tokio::io::sink(), Role::Server);
    reader.set_max_message_size(MESSAGE_BYTES_MAX);
    let mut reader = FragmentCollectorRead::new(reader);
    // Pongs and closes that the library owes go the way of all frames.
    let mut owed = |frame: Frame<'_>| {
        let bytes = encoded(frame);
        member.push(bytes.clone(), bytes.len());
        ready(Ok::<_, Infallible>(()))
    };
    loop {
        let frame = reader.read_frame(&mut owed).await?;
        match frame.opcode {
            OpCode::Text => {
                if let Some(event) = event_of(&frame.payload) {
                    publish(event);
                }
            }
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, member: Rc<Member<Bytes>>) -> Result<(), Failure> {
    let mut batch = Vec::new();
    let mut unsent = VecDeque::new();
    loop {
        member.woken().await;
        member.take(&mut batch)?;
        unsent.extend(batch.drain(..));
        send(&mut writer, &mut unsent).await?;
    }
}

async fn send(writer: &mut OwnedWriteHalf, unsent: &mut VecDeque<Bytes>) -> Result<(), Failure> {
    while !unsent.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = unsent.len().min(SLICES_MAX);
        for (slice, bytes) in slices.iter_mut().zip(unsent.iter()) {
            *slice = IoSlice::new(bytes);
        }
        let mut sent = writer.write_vectored(&slices[..used]).await?;
        if sent == 0 {
            return Err(std::io::Error::from(ErrorKind::WriteZero).into());
        }
        while let Some(first) = unsent.front_mut() {
            if sent < first.len() {
                first.advance(sent);
                break;
            }
            sent -= first.len();
            unsent.pop_front();
        }
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    run(serve)
}
