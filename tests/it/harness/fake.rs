//! A server that sends what it is told to, so that the harness can be tested without loquat.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use super::client::Client;
use super::process::Secrets;

/// A client of a server that sends these texts at once, and afterwards answers only pings.
pub async fn client_that_is_sent(texts: Vec<String>) -> Client {
    Client::connect(serve_one(texts).await, "/", &[], Arc::new(Secrets::default())).await
}

async fn serve_one(texts: Vec<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("the client comes");
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("an upgrade");
        for text in texts {
            socket.send(Message::text(text)).await.ok();
        }
        while let Some(Ok(_)) = socket.next().await {}
    });
    address
}

/// A message as the server would send it.
pub fn message(seq: u64, id: u64) -> Value {
    json!({"type": "chat_message", "seq": seq, "message": {
        "id": id, "content": "hello",
        "sender": {"id": 1, "email": "", "first_name": "", "last_name": ""},
        "parent_message_id": null, "created_at": "2026-01-02T03:04:05.678Z", "is_edited": false,
    }})
}
