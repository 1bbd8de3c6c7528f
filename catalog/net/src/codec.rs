//! Frames on a stream: the bytes of one frame until the stream's end, no longer than the node
//! allows. The node has an encoding of its own, so nothing is decoded here; a longer frame is
//! refused when its first byte too many arrives.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use novacula_catalog::node::wire::{REQUEST_LEN_MAX, RESPONSE_LEN_MAX};

/// Longest time that a request may take to come in: 16 KiB at the 2 kB/s of a very bad line.
const READ_TIME_MAX: Duration = Duration::from_secs(10);

/// The codec of requests and responses. Counts requests that were too long, broken off or too
/// slow: libp2p says nothing of those.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    pub(crate) broken: Arc<AtomicU64>,
}

async fn read(io: &mut (impl AsyncRead + Unpin + Send), len_max: usize) -> io::Result<Vec<u8>> {
    let mut frame = Vec::new();
    io.take(len_max as u64 + 1).read_to_end(&mut frame).await?;
    if frame.len() > len_max {
        let text = format!("the frame is longer than {len_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(frame)
}

impl Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let reading = tokio::time::timeout(READ_TIME_MAX, read(io, REQUEST_LEN_MAX)).await;
        let late = io::Error::new(io::ErrorKind::TimedOut, "the request came too slowly");
        let request = reading.unwrap_or(Err(late));
        self.broken.fetch_add(u64::from(request.is_err()), Ordering::Relaxed);
        request
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let response = read(io, RESPONSE_LEN_MAX).await?;
        // QUIC ends a stream that was dropped as one that was closed: no answer, and no false one.
        if response.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream was dropped"));
        }
        Ok(response)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        frame: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&frame).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        frame: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&frame).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::Cursor;

    #[tokio::test]
    async fn a_frame_is_bounded() {
        let fits = vec![1; REQUEST_LEN_MAX];
        assert_eq!(read(&mut Cursor::new(fits.clone()), REQUEST_LEN_MAX).await.unwrap(), fits);
        let longer = vec![1; REQUEST_LEN_MAX + 1];
        assert!(read(&mut Cursor::new(longer), REQUEST_LEN_MAX).await.is_err());
        assert_eq!(read(&mut Cursor::new(Vec::new()), 5).await.unwrap(), []);
    }

    /// It was taken for a malformed frame, and ten of those ban a peer.
    #[tokio::test]
    async fn a_dropped_stream_is_no_answer() {
        let protocol = StreamProtocol::new("/novacula/test");
        let mut frames = Frames::default();
        let dropped = frames.read_response(&protocol, &mut Cursor::new(Vec::new())).await;
        assert_eq!(dropped.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let answer = frames.read_response(&protocol, &mut Cursor::new(vec![1])).await;
        assert_eq!(answer.unwrap(), [1]);
    }
}
