//! Frames to bytes and back: one encoding for each value. A reader refuses what a writer would
//! not write: masks with bits beyond their keys, keys that do not ascend, flags that mean nothing.

use super::{
    DIGEST_BUCKETS, DIGEST_REFS_MAX, FETCH_MAX, GOSSIP_LEN_MAX, Gossip, HOT_MAX, INLINE_MAX,
    KNOWN_MAX, MEMBER_BUCKETS, MEMBER_LIST_MAX, OBSERVE_KEYS_MAX, OFFER_MAX, Observe, POINTERS_MAX,
    PROOF_LIST_MAX, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Pointer, REQUEST_LEN_MAX,
    RESPONSE_LEN_MAX, Ref, Refusal, Request, Response, Said, Standing, Tag, VOUCH_LIST_MAX,
};
use crate::clock::Epoch;
use crate::digest::Key;
use crate::identity::SiteId;
use crate::node::codec::{Reader, WireError, put_chunk, put_count};
use crate::node::group::GroupId;
use crate::node::host::Observation;
use crate::node::invite::{Acceptance, InviteId};
use crate::node::member::RECORD_LEN_MAX;
use crate::statement::{Kind, MailId, SIGNED_LEN_MAX};
use crate::trust::VOUCH_LIST_LEN_MAX;

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

fn put_sums(out: &mut Vec<u8>, sums: &[u64; MEMBER_BUCKETS]) {
    sums.iter().for_each(|sum| out.extend(sum.to_le_bytes()));
}

fn read_sums(input: &mut Reader<'_>) -> Result<Box<[u64; MEMBER_BUCKETS]>, WireError> {
    let mut sums = Box::new([0; MEMBER_BUCKETS]);
    for sum in sums.iter_mut() {
        *sum = input.u64()?;
    }
    Ok(sums)
}

/// Two signed statements.
fn read_pair(input: &mut Reader<'_>) -> Result<(Vec<u8>, Vec<u8>), WireError> {
    Ok((input.chunk(SIGNED_LEN_MAX)?.to_vec(), input.chunk(SIGNED_LEN_MAX)?.to_vec()))
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
                put_sums(&mut out, sums);
            }
            Self::Vouches { after, sums } => {
                out = head(7);
                out.extend(after.0);
                put_sums(&mut out, sums);
            }
            Self::Accept { invite, proof } => {
                out = head(8);
                out.extend(invite.0);
                out.extend(proof);
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
            6 => Self::Members { start: input.u8()?, sums: read_sums(&mut input)? },
            7 => Self::Vouches { after: SiteId(input.array()?), sums: read_sums(&mut input)? },
            8 => Self::Accept { invite: InviteId(input.array()?), proof: input.array()? },
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
                    let flags = [pointer.opinion, pointer.here, pointer.trusted];
                    out.push((0..3).map(|at| u8::from(flags[at]) << at).sum());
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
            Self::VouchLists { more, lists, proofs } => {
                out = head(0x87);
                out.push(u8::from(*more));
                put_chunks(&mut out, lists);
                put_count(&mut out, proofs.len());
                for (first, second) in proofs {
                    put_chunk(&mut out, first);
                    put_chunk(&mut out, second);
                }
            }
            Self::Accepted(acceptance) => {
                out = head(0x88);
                out.push(*acceptance as u8);
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
            0x87 => Self::VouchLists {
                more: read_bool(&mut input)?,
                lists: read_chunks(&mut input, VOUCH_LIST_MAX, VOUCH_LIST_LEN_MAX)?,
                proofs: {
                    let count = input.count(PROOF_LIST_MAX, 4)?;
                    (0..count).map(|_| read_pair(&mut input)).collect::<Result<_, _>>()?
                },
            },
            0x88 => Self::Accepted(read_acceptance(input.u8()?)?),
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
        if flags > 7 {
            return Err(WireError::Malformed);
        }
        let under = read_mask(input, usize::from(keys))?;
        let (opinion, here, trusted) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
        pointers.push(Pointer { tag, home, opinion, here, trusted, under });
    }
    let statements = read_chunks(input, INLINE_MAX, SIGNED_LEN_MAX)?;
    Ok(Response::Observed { standing, keys, pointers, statements })
}

fn read_acceptance(byte: u8) -> Result<Acceptance, WireError> {
    use Acceptance::{Expired, Taken, Unknown, Used, Vouched};
    [Taken, Vouched, Unknown, Expired, Used]
        .into_iter()
        .find(|one| *one as u8 == byte)
        .ok_or(WireError::Malformed)
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
            Self::Vouches(list) => {
                out = head(0x43);
                put_chunk(&mut out, list);
            }
            Self::Proof(first, second) => {
                out = head(0x44);
                put_chunk(&mut out, first);
                put_chunk(&mut out, second);
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
            0x43 => Self::Vouches(input.chunk(VOUCH_LIST_LEN_MAX)?.to_vec()),
            0x44 => {
                let (first, second) = read_pair(&mut input)?;
                Self::Proof(first, second)
            }
            _ => return Err(WireError::Malformed),
        };
        input.end()?;
        Ok(gossip)
    }
}
