//! The frames between nodes, byte by byte (docs/peers.md): [`Request`], [`Response`] and
//! [`Gossip`]. A frame is one version byte, one type byte and a body; where a frame begins and
//! ends is the driver's business, which must refuse longer ones *before* it reads them
//! ([`REQUEST_LEN_MAX`], [`RESPONSE_LEN_MAX`], [`GOSSIP_LEN_MAX`]).
//!
//! Key decision: an encoding of our own, like that of statements, and not CBOR: there is exactly
//! one encoding of a value, every count is bounded before anything is allocated, and a request
//! for one key is 44 bytes.

use crate::clock::Epoch;
use crate::digest::Key;
use crate::identity::SiteId;
use crate::node::codec::{Reader, WireError, put_chunk, put_count};
use crate::node::group::GroupId;
use crate::node::host::Observation;
use crate::node::member::RECORD_LEN_MAX;
use crate::statement::{Kind, MailId, SIGNED_LEN_MAX};

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
    /// Bit i: found under the i-th key of the request.
    pub under: u64,
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
}

fn head(kind: u8) -> Vec<u8> {
    vec![PROTOCOL_VERSION, kind]
}

/// Strips version and type.
fn open(frame: &[u8], len_max: usize) -> Result<(u8, Reader<'_>), WireError> {
    if frame.len() > len_max {
        return Err(WireError::TooLong);
    }
    let mut input = Reader::new(frame);
    match input.u8()? {
        PROTOCOL_VERSION_MIN..=PROTOCOL_VERSION => {}
        other => return Err(WireError::Version(other)),
    }
    Ok((input.u8()?, input))
}

/// Bytes that hold a mask over `keys` keys.
fn mask_len(keys: usize) -> usize {
    keys.div_ceil(8)
}

fn put_mask(out: &mut Vec<u8>, mask: u64, keys: usize) {
    out.extend(&mask.to_le_bytes()[..mask_len(keys)]);
}

fn read_mask(input: &mut Reader<'_>, keys: usize) -> Result<u64, WireError> {
    let mut bytes = [0; 8];
    let len = mask_len(keys);
    bytes[..len].copy_from_slice(input.bytes(len)?);
    let mask = u64::from_le_bytes(bytes);
    let beyond = if keys == 64 { 0 } else { mask >> keys };
    if beyond == 0 { Ok(mask) } else { Err(WireError::Malformed) }
}

fn put_refs(out: &mut Vec<u8>, refs: &[Ref]) {
    put_count(out, refs.len());
    for one in refs {
        for part in [one.key.0, one.tag.0, one.home.0] {
            out.extend(part.to_le_bytes());
        }
    }
}

fn read_refs(input: &mut Reader<'_>, max: usize) -> Result<Vec<Ref>, WireError> {
    let count = input.count(max, 24)?;
    let mut refs = Vec::with_capacity(count);
    for _ in 0..count {
        let (key, tag) = (Key(input.u64()?), Tag(input.u64()?));
        refs.push(Ref { key, tag, home: Key(input.u64()?) });
    }
    Ok(refs)
}

fn put_chunks(out: &mut Vec<u8>, chunks: &[Vec<u8>]) {
    put_count(out, chunks.len());
    chunks.iter().for_each(|chunk| put_chunk(out, chunk));
}

fn read_chunks(
    input: &mut Reader<'_>,
    max: usize,
    len_max: usize,
) -> Result<Vec<Vec<u8>>, WireError> {
    let count = input.count(max, 2)?;
    (0..count).map(|_| input.chunk(len_max).map(<[u8]>::to_vec)).collect()
}

impl Said {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nothing => out.push(0),
            Self::Whole(signed) => {
                out.push(1);
                put_chunk(out, signed);
            }
            Self::Record { mail, seq, epoch, kind, home } => {
                out.push(2);
                out.extend(mail.0.to_le_bytes());
                out.extend(seq.to_le_bytes());
                out.extend(epoch.0.to_le_bytes());
                out.extend(home.0.to_le_bytes());
                out.push(kind.to_byte());
                kind.put_body(out);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        match input.u8()? {
            0 => Ok(Self::Nothing),
            1 => Ok(Self::Whole(input.chunk(SIGNED_LEN_MAX)?.to_vec())),
            2 => {
                let (mail, seq) = (MailId(input.u64()?), input.u64()?);
                let (epoch, home) = (Epoch(input.u32()?), Key(input.u64()?));
                // A record's kind has copies and facts (two bytes), or no body at all: the digest
                // lies with the whole statement.
                let byte = input.u8()?;
                let body = input.bytes(if byte == 0 { 2 } else { 0 })?;
                let kind = Kind::decode(&[&[byte], body].concat());
                Ok(Self::Record {
                    mail,
                    seq,
                    epoch,
                    home,
                    kind: kind.map_err(|_| WireError::Malformed)?,
                })
            }
            _ => Err(WireError::Malformed),
        }
    }
}

impl Observe {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.inline));
        put_count(out, self.keys.len());
        self.keys.iter().for_each(|key| out.extend(key.0.to_le_bytes()));
        put_mask(out, self.ask, self.keys.len());
        put_mask(out, self.under, self.keys.len());
        self.said.write(out);
        put_count(out, self.known.len());
        self.known.iter().for_each(|tag| out.extend(tag.0.to_le_bytes()));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let inline = match input.u8()? {
            0 => false,
            1 => true,
            _ => return Err(WireError::Malformed),
        };
        let count = input.count(OBSERVE_KEYS_MAX, 8)?;
        let keys: Vec<Key> = (0..count).map(|_| input.u64().map(Key)).collect::<Result<_, _>>()?;
        // Ascending and distinct: one encoding, and no key is worked on twice.
        if count == 0 || keys.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(WireError::Malformed);
        }
        let (ask, under) = (read_mask(input, count)?, read_mask(input, count)?);
        let said = Said::read(input)?;
        let count = input.count(KNOWN_MAX, 8)?;
        let known = (0..count).map(|_| input.u64().map(Tag)).collect::<Result<_, _>>()?;
        Ok(Self { keys, ask, under, said, inline, known })
    }
}

impl Request {
    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out;
        match self {
            Self::Hello { versions, group, record } => {
                out = head(1);
                out.extend([versions.0, versions.1]);
                out.extend(group.0);
                put_chunk(&mut out, record);
            }
            Self::Observe(observe) => {
                out = head(2);
                observe.write(&mut out);
            }
            Self::Fetch(tags) => {
                out = head(3);
                put_count(&mut out, tags.len());
                tags.iter().for_each(|tag| out.extend(tag.0.to_le_bytes()));
            }
            Self::Offer { here, refs } => {
                out = head(4);
                out.push(u8::from(*here));
                put_refs(&mut out, refs);
            }
            Self::Digest { first, last, sums } => {
                out = head(5);
                out.extend(first.0.to_le_bytes());
                out.extend(last.0.to_le_bytes());
                sums.iter().for_each(|sum| out.extend(sum.to_le_bytes()));
            }
            Self::Members { start, sums } => {
                out = head(6);
                out.push(*start);
                sums.iter().for_each(|sum| out.extend(sum.to_le_bytes()));
            }
        }
        out
    }

    /// A request from a frame of anybody.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(frame: &[u8]) -> Result<Self, WireError> {
        // The version of a Hello is that of the oldest frame spoken: it must be read by all.
        let (kind, mut input) = open(frame, REQUEST_LEN_MAX)?;
        let request = match kind {
            1 => Self::Hello {
                versions: (input.u8()?, input.u8()?),
                group: GroupId(input.array()?),
                record: input.chunk(RECORD_LEN_MAX)?.to_vec(),
            },
            2 => Self::Observe(Observe::read(&mut input)?),
            3 => {
                let count = input.count(FETCH_MAX, 8)?;
                Self::Fetch((0..count).map(|_| input.u64().map(Tag)).collect::<Result<_, _>>()?)
            }
            4 => Self::Offer {
                here: read_bool(&mut input)?,
                refs: read_refs(&mut input, OFFER_MAX)?,
            },
            5 => {
                let (first, last) = (Key(input.u64()?), Key(input.u64()?));
                let mut sums = [0; DIGEST_BUCKETS];
                for sum in &mut sums {
                    *sum = input.u64()?;
                }
                Self::Digest { first, last, sums }
            }
            6 => {
                let start = input.u8()?;
                let mut sums = Box::new([0; MEMBER_BUCKETS]);
                for sum in sums.iter_mut() {
                    *sum = input.u64()?;
                }
                Self::Members { start, sums }
            }
            _ => return Err(WireError::Malformed),
        };
        input.end()?;
        Ok(request)
    }
}

impl Response {
    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out;
        match self {
            Self::Welcome { version, record, seen } => {
                out = head(0x81);
                out.push(*version);
                put_chunk(&mut out, record);
                out.push(u8::from(seen.is_some()));
                seen.iter().for_each(|seen| seen.write(&mut out));
            }
            Self::Observed { standing, keys, pointers, statements } => {
                out = head(0x82);
                out.extend([*standing as u8, *keys]);
                put_count(&mut out, pointers.len());
                for pointer in pointers {
                    out.extend(pointer.tag.0.to_le_bytes());
                    out.extend(pointer.home.0.to_le_bytes());
                    out.push(u8::from(pointer.opinion) | u8::from(pointer.here) << 1);
                    put_mask(&mut out, pointer.under, usize::from(*keys));
                }
                put_chunks(&mut out, statements);
            }
            Self::Statements(statements) => {
                out = head(0x83);
                put_chunks(&mut out, statements);
            }
            Self::Lacking(count) => {
                out = head(0x84);
                out.extend(count.to_le_bytes());
            }
            Self::Refs(more, refs) => {
                out = head(0x85);
                out.push(u8::from(*more));
                put_refs(&mut out, refs);
            }
            Self::MemberList(more, records) => {
                out = head(0x86);
                out.push(u8::from(*more));
                put_chunks(&mut out, records);
            }
            Self::Refused { why, retry_secs } => {
                out = head(0xff);
                out.push(*why as u8);
                out.extend(retry_secs.to_le_bytes());
            }
        }
        out
    }

    /// A response from a frame of anybody.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(frame: &[u8]) -> Result<Self, WireError> {
        let (kind, mut input) = open(frame, RESPONSE_LEN_MAX)?;
        let response = match kind {
            0x81 => Self::Welcome {
                version: input.u8()?,
                record: input.chunk(RECORD_LEN_MAX)?.to_vec(),
                seen: if read_bool(&mut input)? {
                    Some(Observation::read(&mut input)?)
                } else {
                    None
                },
            },
            0x82 => read_observed(&mut input)?,
            0x83 => Self::Statements(read_chunks(&mut input, FETCH_MAX, SIGNED_LEN_MAX)?),
            0x84 => Self::Lacking(input.u16()?),
            0x85 => Self::Refs(read_bool(&mut input)?, read_refs(&mut input, DIGEST_REFS_MAX)?),
            0x86 => {
                let more = read_bool(&mut input)?;
                Self::MemberList(more, read_chunks(&mut input, MEMBER_LIST_MAX, RECORD_LEN_MAX)?)
            }
            0xff => Self::Refused { why: read_refusal(input.u8()?)?, retry_secs: input.u32()? },
            _ => return Err(WireError::Malformed),
        };
        input.end()?;
        Ok(response)
    }
}

fn read_bool(input: &mut Reader<'_>) -> Result<bool, WireError> {
    match input.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::Malformed),
    }
}

fn read_observed(input: &mut Reader<'_>) -> Result<Response, WireError> {
    use Standing::{Clock, False, Kept, Known, Nothing, Quota};
    let byte = input.u8()?;
    let standing = [Nothing, Kept, Known, Clock, Quota, False]
        .into_iter()
        .find(|one| *one as u8 == byte)
        .ok_or(WireError::Malformed)?;
    let keys = input.u8()?;
    if usize::from(keys) > OBSERVE_KEYS_MAX {
        return Err(WireError::Malformed);
    }
    let count = input.count(POINTERS_MAX, 17 + mask_len(usize::from(keys)))?;
    let mut pointers = Vec::with_capacity(count);
    for _ in 0..count {
        let (tag, home) = (Tag(input.u64()?), Key(input.u64()?));
        let flags = input.u8()?;
        if flags > 3 {
            return Err(WireError::Malformed);
        }
        let under = read_mask(input, usize::from(keys))?;
        let (opinion, here) = (flags & 1 != 0, flags & 2 != 0);
        pointers.push(Pointer { tag, home, opinion, here, under });
    }
    let statements = read_chunks(input, INLINE_MAX, SIGNED_LEN_MAX)?;
    Ok(Response::Observed { standing, keys, pointers, statements })
}

fn read_refusal(byte: u8) -> Result<Refusal, WireError> {
    use Refusal::{Clock, Full, Group, Malformed, Quota, Record, Stranger, Version};
    [Version, Group, Malformed, Record, Stranger, Quota, Clock, Full]
        .into_iter()
        .find(|one| *one as u8 == byte)
        .ok_or(WireError::Malformed)
}

impl Gossip {
    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out;
        match self {
            Self::Member(record) => {
                out = head(0x41);
                put_chunk(&mut out, record);
            }
            Self::Hot(statements) => {
                out = head(0x42);
                put_chunks(&mut out, statements);
            }
        }
        out
    }

    /// An announcement from a frame of anybody.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(frame: &[u8]) -> Result<Self, WireError> {
        let (kind, mut input) = open(frame, GOSSIP_LEN_MAX)?;
        let gossip = match kind {
            0x41 => Self::Member(input.chunk(RECORD_LEN_MAX)?.to_vec()),
            0x42 => Self::Hot(read_chunks(&mut input, HOT_MAX, SIGNED_LEN_MAX)?),
            _ => return Err(WireError::Malformed),
        };
        input.end()?;
        Ok(gossip)
    }
}
