//! A chat server on tokio-tungstenite, to compare loquat with.
//!
//! One task for each socket: it reads as long as there is something to read, then feeds all that is queued into
//! the library's buffer and flushes once. An event is one string for the whole room.

use std::rc::Rc;

use futures_util::{SinkExt, StreamExt};
use loquat_peers::{EVENT_HEAD, EVENT_TAIL, Failure, MESSAGE_BYTES_MAX, Rooms};
use loquat_peers::{room_of, run, text_at};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The library's own 128 KiB would be taken for every socket, however idle.
const READ_BYTES: usize = 8 * 1024;

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

async fn upgrade(stream: TcpStream) -> Result<(WebSocketStream<TcpStream>, String), Failure> {
    let mut room = None;
    // The library names the size of its error.
    #[allow(clippy::result_large_err)]
    let note = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        room = room_of(request.uri().path()).map(str::to_owned);
        Ok(response)
    };
    let socket = accept_hdr_async_with_config(stream, note, Some(config())).await?;
    Ok((socket, room.ok_or("no room")?))
}

fn event_of(message: &str) -> Option<Utf8Bytes> {
    let text = &message[text_at(message.as_bytes())?];
    Some([EVENT_HEAD, text, EVENT_TAIL].concat().into())
}

async fn serve(stream: TcpStream, rooms: Rc<Rooms<Utf8Bytes>>) -> Result<(), Failure> {
    let (mut socket, room) = upgrade(stream).await?;
    let seat = rooms.join(&room);
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            message = socket.next() => {
                // Pings and closes are answered by the library.
                if let Message::Text(message) = message.ok_or("ended")??
                    && let Some(event) = event_of(&message)
                {
                    seat.publish(&event, event.len());
                }
            }
            () = seat.member.woken() => {
                seat.member.take(&mut batch)?;
                for event in batch.drain(..) {
                    socket.feed(Message::Text(event)).await?;
                }
                socket.flush().await?;
            }
        }
    }
}

fn main() -> Result<(), Failure> {
    run(serve)
}
