//! The frames between nodes, byte by byte (docs/peers.md): [`Request`], [`Response`] and
//! [`Gossip`]. A frame is one version byte, one type byte and a body; where a frame begins and
//! ends is the driver's business, which must refuse longer ones *before* it reads them
//! ([`REQUEST_LEN_MAX`], [`RESPONSE_LEN_MAX`], [`GOSSIP_LEN_MAX`]).
//!
//! Key decision: an encoding of our own, like that of statements, and not CBOR: there is exactly
//! one encoding of a value, every count is bounded before anything is allocated, and a request
//! that states and asks one key is 49 bytes.

mod encoding;
#[cfg(test)]
mod tests;

use crate::clock::Epoch;
use crate::digest::Key;
use crate::identity::SiteId;
use crate::node::group::GroupId;
use crate::node::host::Observation;
use crate::node::invite::{Acceptance, InviteId};
use crate::statement::{Kind, MailId};

/// Version of the frames, and the oldest that this program still speaks. Two nodes speak the
/// highest that both know; without one they refuse each other ([`Refusal::Version`]).
pub const PROTOCOL_VERSION: u8 = 1;
/// The oldest version that this program speaks.
pub const PROTOCOL_VERSION_MIN: u8 = 1;

/// Longest request, in bytes.
pub const REQUEST_LEN_MAX: usize = 16 << 10;
/// Longest response, in bytes.
pub const RESPONSE_LEN_MAX: usize = 64 << 10;
/// Longest announcement by gossip, in bytes.
pub const GOSSIP_LEN_MAX: usize = 8 << 10;

/// Most keys of one observation: 24 under each of two salts.
pub const OBSERVE_KEYS_MAX: usize = 48;
/// Most statements that an asker names as known to him.
pub const KNOWN_MAX: usize = 32;
/// Most pointers in one answer: 32 sightings and 32 opinions under each of a few keys. At the
/// bound those with most keys go first.
pub const POINTERS_MAX: usize = 256;
/// Most statements in one answer to an observation.
pub const INLINE_MAX: usize = 24;
/// Most statements asked for, or given, at once.
pub const FETCH_MAX: usize = 32;
/// Most references in one offer.
pub const OFFER_MAX: usize = 256;
/// Most references in the answer to a digest.
pub const DIGEST_REFS_MAX: usize = 2048;
/// Parts that a range of keys is divided into for comparing.
pub const DIGEST_BUCKETS: usize = 16;
/// Parts that the membership table is divided into for comparing.
pub const MEMBER_BUCKETS: usize = 64;
/// Most records in one answer.
pub const MEMBER_LIST_MAX: usize = 64;
/// Most lists of vouches in one answer.
pub const VOUCH_LIST_MAX: usize = 256;
/// Most proofs of equivocation in one answer.
pub const PROOF_LIST_MAX: usize = 32;
/// Most statements in one announcement of an outbreak.
pub const HOT_MAX: usize = 16;

/// A statement's short name: the first 64 bits of BLAKE3 over its site and number. Which
/// statement it names is proved by the statement itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

impl Tag {
    /// The name of the statement that `site` gave the number `seq`.
    #[must_use]
    pub fn of(site: SiteId, seq: u64) -> Self {
        let mut input = [0; 40];
        input[..32].copy_from_slice(&site.0);
        input[32..].copy_from_slice(&seq.to_le_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&blake3::hash(&input).as_bytes()[..8]);
        Self(u64::from_le_bytes(first))
    }
}

/// What an observation states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing: it only asks.
    Nothing,
    /// The signed statement, to be kept whole.
    Whole(Vec<u8>),
    /// That the sender's site made a statement, which lies at its home. The site is the sender's.
    Record {
        /// Of which of its mails.
        mail: MailId,
        /// Its number.
        seq: u64,
        /// When the mail was received.
        epoch: Epoch,
        /// What is said, without a Nilsimsa digest.
        kind: Kind,
        /// The least of the statement's keys, under which it lies whole.
        home: Key,
    },
}

/// One mail at one responsible peer: what was seen, and what is known, in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observe {
    /// The keys that the peer is responsible for.
    pub keys: Vec<Key>,
    /// Bit i: the i-th key is asked for.
    pub ask: u64,
    /// Bit i: what is said belongs under the i-th key.
    pub under: u64,
    /// What is said.
    pub said: Said,
    /// Statements that match may come with the answer.
    pub inline: bool,
    /// Statements that need not come again.
    pub known: Vec<Tag>,
}

/// Points from a key to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref {
    /// Under which key.
    pub key: Key,
    /// Which statement.
    pub tag: Tag,
    /// Its least key, where it lies whole.
    pub home: Key,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The first of every connection, by the side that dialled.
    Hello {
        /// The oldest and newest version spoken.
        versions: (u8, u8),
        /// Which network of peers.
        group: GroupId,
        /// The sender's membership record.
        record: Vec<u8>,
    },
    /// Records and asks.
    Observe(Observe),
    /// Asks for whole statements.
    Fetch(Vec<Tag>),
    /// Statements that the receiver should hold, for him to fetch where he lacks them.
    Offer {
        /// The sender holds them whole; else they lie at their home.
        here: bool,
        /// Which.
        refs: Vec<Ref>,
    },
    /// Compares what both hold under the keys from the first to the last.
    Digest {
        /// The first key.
        first: Key,
        /// The last key.
        last: Key,
        /// A sum for each sixteenth of the range.
        sums: [u64; DIGEST_BUCKETS],
    },
    /// Compares membership tables.
    Members {
        /// The part to begin with.
        start: u8,
        /// A sum for each part.
        sums: Box<[u64; MEMBER_BUCKETS]>,
    },
    /// Compares lists of vouches and proofs of equivocation.
    Vouches {
        /// The last site that was answered already.
        after: SiteId,
        /// A sum for each part.
        sums: Box<[u64; MEMBER_BUCKETS]>,
    },
    /// Shows that the sender's site has an invitation of the receiver's.
    Accept {
        /// Which.
        invite: InviteId,
        /// A hash keyed by its secret, over both sites.
        proof: [u8; 32],
    },
}

/// What became of what an observation stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Standing {
    /// Nothing was stated.
    Nothing = 0,
    /// It is kept.
    Kept = 1,
    /// It, or a newer one, was there already.
    Known = 2,
    /// Its epoch is later than the next one, or older than 72 h: look at your clock.
    Clock = 3,
    /// The sender's quota is used up.
    Quota = 4,
    /// It is malformed or its signature false.
    False = 5,
}

/// What an answer knows under the keys asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Which statement.
    pub tag: Tag,
    /// Where it lies whole.
    pub home: Key,
    /// It is an opinion.
    pub opinion: bool,
    /// The answerer holds it whole.
    pub here: bool,
    /// Who made it counts for the answerer, or is a newcomer to him.
    pub trusted: bool,
    /// Bit i: found under the i-th key of the request.
    pub under: u64,
}

impl Pointer {
    /// The order in which pointers are given where there is no room for all: what the answerer
    /// trusts, opinions, what shares most keys.
    pub(crate) fn rank(&self) -> (bool, bool, u32, Tag) {
        (!self.trusted, !self.opinion, u32::MAX - self.under.count_ones(), self.tag)
    }
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// No version in common.
    Version = 1,
    /// Another network of peers, or no proof of belonging.
    Group = 2,
    /// The bytes are malformed.
    Malformed = 3,
    /// The membership record is false.
    Record = 4,
    /// No Hello came first.
    Stranger = 5,
    /// The sender's quota is used up.
    Quota = 6,
    /// The clocks differ by more than an epoch.
    Clock = 7,
    /// The table of members is full.
    Full = 8,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To Hello.
    Welcome {
        /// The version from now on.
        version: u8,
        /// The answerer's record.
        record: Vec<u8>,
        /// Where the asker was seen.
        seen: Option<Observation>,
    },
    /// To Observe.
    Observed {
        /// What became of what was said.
        standing: Standing,
        /// How many keys the request had: it gives the length of the masks.
        keys: u8,
        /// What is known.
        pointers: Vec<Pointer>,
        /// Whole statements.
        statements: Vec<Vec<u8>>,
    },
    /// To Fetch.
    Statements(Vec<Vec<u8>>),
    /// To Offer: how many of them were lacking.
    Lacking(u16),
    /// To Digest: what the answerer holds in the parts that differ; with `true` there is more.
    Refs(bool, Vec<Ref>),
    /// To Members: records of the parts that differ; with `true` there is more.
    MemberList(bool, Vec<Vec<u8>>),
    /// To Vouches: what the answerer holds in the parts that differ.
    VouchLists {
        /// There is more.
        more: bool,
        /// Lists, each signed.
        lists: Vec<Vec<u8>>,
        /// Pairs of statements under one number.
        proofs: Vec<(Vec<u8>, Vec<u8>)>,
    },
    /// To Accept.
    Accepted(Acceptance),
    /// Not served.
    Refused {
        /// Why.
        why: Refusal,
        /// When to try again, in seconds.
        retry_secs: u32,
    },
}

/// An announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gossip {
    /// A membership record, new or renewed.
    Member(Vec<u8>),
    /// Statements on one outbreak.
    Hot(Vec<Vec<u8>>),
    /// Whom a site vouches for.
    Vouches(Vec<u8>),
    /// Two statements of one site under one number.
    Proof(Vec<u8>, Vec<u8>),
}
