//! Digests, and the keys that leave a site in their stead.
//!
//! A [`Digest`] is one engine's value for one mail, computed alike at every site. A [`Key`] is
//! its salted 64-bit form: the salt is the week, so that keys seen in one week say nothing in
//! the next. *Choice and emission are two steps*: which digests a mail has is decided without
//! the salt (DESIGN 3.2), only the emitted key is salted.

use serde::{Deserialize, Serialize};

use crate::clock::Time;

/// One scheme of making a digest. The numbers are part of the key derivation and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Engine {
    /// All canonical words.
    Exact = 1,
    /// The smallest shingles of the whole text.
    Text = 2,
    /// The smallest shingles of the text's beginning.
    Head = 3,
    /// The smallest shingles of the text's end.
    Tail = 4,
    /// Where the mail wants the reader to go: links, phone numbers, coin addresses.
    Link = 5,
    /// What attachments and images hold.
    Attachment = 6,
}

impl Engine {
    /// Every engine, in order of number.
    pub const ALL: [Self; 6] =
        [Self::Exact, Self::Text, Self::Head, Self::Tail, Self::Link, Self::Attachment];

    /// The number in the key derivation. One shingle is one key, whichever of the three engines
    /// chose it: so the beginning of one copy meets the whole of another.
    #[must_use]
    pub fn key_number(self) -> u8 {
        match self {
            Self::Text | Self::Head | Self::Tail => Self::Text as u8,
            Self::Exact | Self::Link | Self::Attachment => self as u8,
        }
    }

    /// The engine's word in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Text => "text",
            Self::Head => "head",
            Self::Tail => "tail",
            Self::Link => "link",
            Self::Attachment => "attachment",
        }
    }
}

/// Version of the way digests are chosen: canonical text, engines and the shipped stop list
/// together. Two sites meet only when they share it.
pub const FINGERPRINT_VERSION: u8 = 3;

/// One engine's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    /// The scheme that made it.
    pub engine: Engine,
    /// True when sharing it proves nothing alone (a link's host without a path).
    pub weak: bool,
    /// 64 bits of a hash over what the engine chose.
    pub value: u64,
}

/// A digest's salted form: 64 bits, all that others learn of the mail's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// The week whose salt a key was made with, counted from 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaltEpoch(pub u32);

/// How long one salt is used, in seconds (a week, DESIGN 4.4).
pub const SALT_SECS: u64 = 7 * 24 * 3600;

/// How long after a roll queries still use the former salt too, in seconds: as long as
/// statements are kept (72 h, DESIGN 4.4).
pub const SALT_OVERLAP_SECS: u64 = 72 * 3600;

impl SaltEpoch {
    /// The salt for statements made at `now`.
    #[must_use]
    pub fn at(now: Time) -> Self {
        Self(u32::try_from(now.0 / SALT_SECS).unwrap_or(u32::MAX))
    }

    /// The salts a query at `now` must use: the current one, and for 72 h the former.
    #[must_use]
    pub fn for_query(now: Time) -> (Self, Option<Self>) {
        let current = Self::at(now);
        let overlaps = now.0 % SALT_SECS < SALT_OVERLAP_SECS;
        (current, (overlaps && current.0 > 0).then(|| Self(current.0 - 1)))
    }
}

impl Digest {
    /// The key of this digest under one salt: the first 64 bits of BLAKE3 over (engine,
    /// fingerprint version, salt epoch, weak, value), keyed with a constant of the project.
    #[must_use]
    pub fn key(&self, salt: SaltEpoch) -> Key {
        const KEY: &[u8; 32] = b"novacula key derivation, format1";
        let mut input = [0u8; 15];
        input[0] = self.engine.key_number();
        input[1] = FINGERPRINT_VERSION;
        input[2] = u8::from(self.weak);
        input[3..7].copy_from_slice(&salt.0.to_le_bytes());
        input[7..15].copy_from_slice(&self.value.to_le_bytes());
        let hash = blake3::keyed_hash(KEY, &input);
        let mut first = [0u8; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        Key(u64::from_le_bytes(first))
    }
}

/// The 256-bit Nilsimsa digest of a canonical text. Never a key: it only verifies, because
/// alone at 182 equal bits 44 % of ham matches some spam (DESIGN 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nilsimsa(pub [u64; 4]);

impl Nilsimsa {
    /// How many of the 256 bits are equal.
    #[must_use]
    pub fn equal_bits(&self, other: &Self) -> u32 {
        256 - self.0.iter().zip(&other.0).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>()
    }

    /// 32 bytes, the last byte of the usual hexadecimal form first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0u8; 32];
        for (chunk, lane) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&lane.to_le_bytes());
        }
        bytes
    }

    /// The inverse of [`Self::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut lanes = [0u64; 4];
        for (lane, chunk) in lanes.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut eight = [0u8; 8];
            eight.copy_from_slice(chunk);
            *lane = u64::from_le_bytes(eight);
        }
        Self(lanes)
    }

    /// 64 hexadecimal digits as other Nilsimsa implementations print them: bit 255 first.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.iter().rev().map(|lane| format!("{lane:016x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Digest =
        Digest { engine: Engine::Text, weak: false, value: 0x0123_4567_89ab_cdef };

    #[test]
    fn a_key_is_a_promise() {
        // Golden: changing this splits the network, so it needs a new FINGERPRINT_VERSION.
        assert_eq!(DIGEST.key(SaltEpoch(2900)), Key(13_819_106_378_985_034_821));
    }

    #[test]
    fn keys_differ_by_engine_weakness_week_and_value() {
        let keys = [
            DIGEST.key(SaltEpoch(1)),
            DIGEST.key(SaltEpoch(2)),
            Digest { engine: Engine::Link, ..DIGEST }.key(SaltEpoch(1)),
            Digest { weak: true, ..DIGEST }.key(SaltEpoch(1)),
            Digest { value: 1, ..DIGEST }.key(SaltEpoch(1)),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        for engine in [Engine::Head, Engine::Tail] {
            let same = Digest { engine, ..DIGEST }.key(SaltEpoch(1));
            assert_eq!(same, keys[0], "one shingle is one key");
        }
    }

    #[test]
    fn the_former_salt_is_asked_for_72_hours() {
        let roll = Time(10 * SALT_SECS);
        assert_eq!(SaltEpoch::for_query(roll), (SaltEpoch(10), Some(SaltEpoch(9))));
        let later = Time(roll.0 + SALT_OVERLAP_SECS);
        assert_eq!(SaltEpoch::for_query(later), (SaltEpoch(10), None));
        assert_eq!(SaltEpoch::for_query(Time(5)), (SaltEpoch(0), None));
    }

    #[test]
    fn nilsimsa_bytes_and_bits() {
        let digest = Nilsimsa([1, 2, 3, u64::MAX]);
        assert_eq!(Nilsimsa::from_bytes(&digest.to_bytes()), digest);
        assert_eq!(digest.equal_bits(&digest), 256);
        assert_eq!(digest.equal_bits(&Nilsimsa([!1, !2, !3, 0])), 0);
        assert!(digest.to_hex().starts_with("ffffffffffffffff"));
    }
}
