//! Reading and writing the bytes between nodes: little-endian integers, counts before lists, one
//! encoding for each value. Every count is checked against its bound, and every length against
//! what is left, before anything is allocated; so a frame can't cost more than its own size.

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A version that this program does not speak.
    #[error("read a frame of protocol version {0}: this program knows 1")]
    Version(u8),
    /// Longer than a frame may be.
    #[error("read a frame: it is longer than allowed")]
    TooLong,
    /// Bytes missing or left over, an unknown type, or a value outside its range.
    #[error("read a frame: its bytes are malformed")]
    Malformed,
}

/// What is left to read.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(WireError::Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(WireError::Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    /// A count of 16 bits, at most `max`, of items that have at least `item_len_min` bytes each.
    pub(crate) fn count(&mut self, max: usize, item_len_min: usize) -> Result<usize, WireError> {
        let count = usize::from(self.u16()?);
        let fits = count <= max && count.saturating_mul(item_len_min) <= self.0.len();
        if fits { Ok(count) } else { Err(WireError::Malformed) }
    }

    /// Bytes behind their length of 16 bits, at most `max`.
    pub(crate) fn chunk(&mut self, max: usize) -> Result<&'a [u8], WireError> {
        let len = usize::from(self.u16()?);
        if len > max { Err(WireError::Malformed) } else { self.bytes(len) }
    }

    /// Nothing may be left over.
    pub(crate) fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Malformed) }
    }
}

/// Writes a count of 16 bits. Callers keep lists within their bounds, which are far below it.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
}

/// Writes bytes behind their length.
pub(crate) fn put_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}
