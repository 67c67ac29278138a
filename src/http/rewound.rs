//! A stream whose first bytes were read by somebody else: they come first, then the stream goes on.
//! It also counts what was written, so that a caller knows whether an answer has begun.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub struct Rewound<S> {
    read: Vec<u8>,
    /// How much of `read` has been given out.
    taken: usize,
    written_bytes: u64,
    stream: S,
}

impl<S> Rewound<S> {
    pub fn new(read: Vec<u8>, stream: S) -> Rewound<S> {
        Rewound { read, taken: 0, written_bytes: 0, stream }
    }

    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = &this.read[this.taken..];
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        this.taken += count;
        if this.taken == this.read.len() {
            this.read = Vec::new();
            this.taken = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        this.written_bytes += count as u64;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_was_read_comes_first_whatever_the_size_of_the_reader() {
        for buffer_bytes in [1, 3, 64] {
            let (mut peer, stream) = tokio::io::duplex(64);
            peer.write_all(b" world").await.unwrap();
            drop(peer);
            let mut rewound = Rewound::new(b"hello".to_vec(), stream);
            let mut whole = Vec::new();
            let mut buffer = vec![0; buffer_bytes];
            loop {
                let count = rewound.read(&mut buffer).await.unwrap();
                if count == 0 {
                    break;
                }
                whole.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(whole, b"hello world", "{buffer_bytes}");
        }
    }

    #[tokio::test]
    async fn what_is_written_is_counted() {
        let (_peer, stream) = tokio::io::duplex(64);
        let mut rewound = Rewound::new(Vec::new(), stream);
        assert_eq!(rewound.written_bytes(), 0);
        rewound.write_all(b"12345").await.unwrap();
        assert_eq!(rewound.written_bytes(), 5);
    }
}
