//! Frames: packets out of a stream of bytes. A length is checked before anything is allocated,
//! and a buffer grows with what has come, never with what was announced.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest packet, in bytes. MTAs send bodies in pieces of 65,535; Postfix sends header fields of
/// up to 102,400 (`header_size_limit`), libmilter's own bound is 1 MiB.
pub const PACKET_LEN_MAX: u32 = 1 << 20;

/// Bytes of a buffer that is kept between packets.
const BUFFER_KEPT: usize = 16 << 10;

/// Why there is no further packet.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed.
    #[error("read from the MTA: {0}")]
    Io(#[from] std::io::Error),
    /// A length of 0, or beyond the bound.
    #[error("read from the MTA: a packet of {0} bytes; 1 to {PACKET_LEN_MAX} are allowed")]
    Length(u32),
    /// The stream ended within a packet.
    #[error("read from the MTA: the connection ended within a packet")]
    Truncated,
}

/// Reads packets.
#[derive(Debug)]
pub struct Frames<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Packets of this stream.
    pub fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// True when the next packet has begun to come.
    pub fn is_within_packet(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next packet's letter and data; None where the stream ends between packets. May be
    /// dropped while it waits, and be called again.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is of no use then.
    pub async fn next(&mut self) -> Result<Option<(u8, Bytes)>, FrameError> {
        loop {
            if let Some(packet) = self.take()? {
                return Ok(Some(packet));
            }
            if !self.fill().await? {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(FrameError::Truncated),
                };
            }
        }
    }

    /// Reads what has come; false at the end of the stream.
    ///
    /// # Errors
    /// What the system said.
    pub async fn fill(&mut self) -> std::io::Result<bool> {
        if self.buffer.capacity() - self.buffer.len() < BUFFER_KEPT / 2 {
            self.buffer.reserve(BUFFER_KEPT);
        }
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// A packet out of the buffer, if it holds a whole one.
    fn take(&mut self) -> Result<Option<(u8, Bytes)>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_be_bytes(*head);
        if len == 0 || len > PACKET_LEN_MAX {
            return Err(FrameError::Length(len));
        }
        let whole = 4 + len as usize;
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let mut packet = self.buffer.split_to(whole).freeze();
        packet.advance(4);
        let letter = packet.get_u8();
        Ok(Some((letter, packet)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], at_once: usize) -> (Vec<(u8, Vec<u8>)>, Option<String>) {
        let stream = tokio_test_stream(bytes, at_once);
        let mut frames = Frames::new(stream);
        let mut packets = Vec::new();
        loop {
            match frames.next().await {
                Ok(Some((letter, data))) => packets.push((letter, data.to_vec())),
                Ok(None) => return (packets, None),
                Err(error) => return (packets, Some(error.to_string())),
            }
        }
    }

    /// A stream that gives `at_once` bytes a read.
    fn tokio_test_stream(bytes: &[u8], at_once: usize) -> tokio::io::DuplexStream {
        let (near, mut far) = tokio::io::duplex(at_once);
        let bytes = bytes.to_vec();
        tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut far, &bytes).await;
        });
        near
    }

    #[tokio::test]
    async fn packets_however_they_come() {
        for at_once in [1, 2, 5, 1000] {
            let (packets, error) = read(b"\0\0\0\x01A\0\0\0\x03Bab\0\0\0\x01Q", at_once).await;
            let expected = [(b'A', vec![]), (b'B', b"ab".to_vec()), (b'Q', vec![])];
            assert_eq!((packets.as_slice(), error), (&expected[..], None));
        }
    }

    #[tokio::test]
    async fn lengths_are_checked_before_anything_else() {
        for (bytes, part) in [
            (&b"\0\0\0\0"[..], "a packet of 0 bytes"),
            (b"\xff\xff\xff\xffA", "4294967295"),
            (b"\x7f\xff\xff\xffA", "2147483647"),
            (b"\0\x10\0\x01A", "1048577"),
            (b"\0\0\0\x05Bab", "within a packet"),
            (b"\0\0", "within a packet"),
        ] {
            let (packets, error) = read(bytes, 1000).await;
            assert!(packets.is_empty());
            assert!(error.unwrap().contains(part), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn the_longest_packet_is_read() {
        let mut bytes = PACKET_LEN_MAX.to_be_bytes().to_vec();
        bytes.resize(4 + PACKET_LEN_MAX as usize, b'B');
        let (packets, error) = read(&bytes, 60_000).await;
        assert_eq!(
            (packets.len(), packets[0].1.len(), error),
            (1, PACKET_LEN_MAX as usize - 1, None)
        );
    }
}
