//! The stop list: hashes of shingles and links that stand in wanted mail (disclaimers, footers,
//! courtesies, list hosts, quoted conversation). They are never chosen as digests: without it
//! 3.5 % of ham shares enough text with some spam to match. It ships with the program, is part of
//! the fingerprint version, and holds hashes only. How it is built and what each size of it
//! gives: docs/measurements.md, "stop list".
//!
//! A hash is kept as its first 32 bits: at some 640,000 hashes one other in 6,700 is stopped by
//! chance,
//! at every site alike, which costs nothing.

use std::sync::LazyLock;

static SHIPPED: LazyLock<StopList> = LazyLock::new(|| {
    StopList::decode(include_bytes!("../../data/stoplist.bin")).unwrap_or_default()
});

const MAGIC: &[u8; 8] = b"NOVSTOP1";

/// The table has one bucket for each value of this many first bits.
const BUCKET_BITS: u32 = 16;

/// Hashes that are not chosen.
#[derive(Clone, Debug)]
pub struct StopList {
    /// First 32 bits of each, ascending, distinct.
    prefixes: Vec<u32>,
    /// Where each bucket begins in `prefixes`; one more than there are buckets.
    buckets: Vec<u32>,
}

impl Default for StopList {
    fn default() -> Self {
        Self::of([])
    }
}

impl StopList {
    /// The list that ships with this fingerprint version.
    #[must_use]
    pub fn shipped() -> &'static Self {
        &SHIPPED
    }

    /// A list of these hashes.
    #[must_use]
    pub fn of(hashes: impl IntoIterator<Item = u64>) -> Self {
        Self::of_prefixes(hashes.into_iter().map(prefix).collect())
    }

    fn of_prefixes(mut prefixes: Vec<u32>) -> Self {
        prefixes.sort_unstable();
        prefixes.dedup();
        let mut buckets = Vec::with_capacity((1 << BUCKET_BITS) + 1);
        let mut at = 0;
        for bucket in 0..=(1u64 << BUCKET_BITS) {
            while prefixes
                .get(at)
                .is_some_and(|first| u64::from(first >> (32 - BUCKET_BITS)) < bucket)
            {
                at += 1;
            }
            buckets.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
        Self { prefixes, buckets }
    }

    /// True when the hash is not to be chosen.
    #[must_use]
    pub fn stops(&self, hash: u64) -> bool {
        let prefix = prefix(hash);
        let bucket = (prefix >> (32 - BUCKET_BITS)) as usize;
        let range = self.buckets[bucket] as usize..self.buckets[bucket + 1] as usize;
        self.prefixes[range].contains(&prefix)
    }

    /// How many hashes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// True when it stops nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The file: magic (8 bytes), then the differences of the ascending prefixes, each in groups
    /// of seven bits, low group first, the top bit of a byte meaning that more follow.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let mut before = 0;
        for prefix in &self.prefixes {
            let mut rest = prefix - before;
            while rest > 0x7f {
                out.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            out.push(rest as u8);
            before = *prefix;
        }
        out
    }

    /// Reads what [`Self::encode`] wrote; None when it is something else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut prefixes, mut before) = (Vec::new(), 0u32);
        let (mut rest, mut shift) = (0u32, 0);
        for byte in bytes.strip_prefix(MAGIC)? {
            rest |= u32::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                before = before.checked_add(rest)?;
                prefixes.push(before);
                (rest, shift) = (0, 0);
            }
        }
        (shift == 0).then(|| Self::of_prefixes(prefixes))
    }
}

fn prefix(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let hashes = [0, 1 << 32, 0x1234_5678_9abc_def0, u64::MAX, 200 << 32];
        let list = StopList::of(hashes);
        let read = StopList::decode(&list.encode()).unwrap();
        assert_eq!(read.prefixes, list.prefixes);
        assert!(hashes.iter().all(|hash| read.stops(*hash)));
        assert!(!read.stops(2 << 32) && !read.stops(0x1234_5679 << 32));
        assert_eq!(StopList::decode(&StopList::default().encode()).unwrap().len(), 0);
    }

    #[test]
    fn what_is_not_a_stop_list_is_refused() {
        for bytes in
            [&b""[..], b"NOVSTOP2", b"NOVSTOP1\x80", b"NOVSTOP1\xff\xff\xff\xff\xff\xff\x01"]
        {
            assert!(StopList::decode(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn the_shipped_list_is_whole() {
        let shipped = StopList::decode(include_bytes!("../../data/stoplist.bin")).unwrap();
        assert!(shipped.len() > 100_000);
    }
}
