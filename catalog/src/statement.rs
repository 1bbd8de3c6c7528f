//! A statement is one mail at one site: that the site has *seen* it ([`Kind::Sighting`]) or what
//! its people *say* of it ([`Kind::Opinion`]). The two are kept apart everywhere, because bulk
//! is not spam. The bytes written here are a promise: they are what is signed, stored and later
//! sent (docs/protocol.md), so they carry a version and golden tests.

use crate::clock::Epoch;
use crate::digest::{Key, Nilsimsa};
use crate::identity::SiteId;

/// Most keys a statement may carry (DESIGN 3.2).
pub const KEYS_MAX: usize = 24;

/// A mail's number at its site: the sequence of the first statement on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailId(pub u64);

/// How many copies a site saw, in steps: the exact number would tell more than the count needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Copies {
    /// One copy.
    One = 1,
    /// Two or three.
    Two = 2,
    /// Four to nine.
    Four = 4,
    /// Ten or more.
    Ten = 10,
}

impl Copies {
    /// The step that holds `count`.
    #[must_use]
    pub fn of(count: u32) -> Self {
        match count {
            0 | 1 => Self::One,
            2 | 3 => Self::Two,
            4..=9 => Self::Four,
            _ => Self::Ten,
        }
    }

    /// The least count of this step.
    #[must_use]
    pub fn at_least(self) -> u32 {
        self as u32
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::One, Self::Two, Self::Four, Self::Ten].into_iter().find(|step| *step as u8 == byte)
    }
}

/// A yes-or-no fact that may be unknown. Absent facts say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Fact {
    /// Not known.
    #[default]
    Unknown = 0,
    /// Known to hold.
    Yes = 1,
    /// Known not to hold.
    No = 2,
}

/// What the site's other filter thought of the mail, our own points taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Filter {
    /// No other filter, or it did not say.
    #[default]
    Unknown = 0,
    /// It leans to ham.
    Ham = 1,
    /// It is undecided.
    Grey = 2,
    /// It leans to spam.
    Spam = 3,
}

/// What a site knew of a mail beside its text, two bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The sender's domain was authenticated (Yes), or failed (No).
    pub authenticated: Fact,
    /// The sender has written here, or been written to, before.
    pub sender_known: Fact,
    /// The mail carries a mailing list's headers.
    pub list: Fact,
    /// The other filter's leaning.
    pub filter: Filter,
}

impl Facts {
    fn to_byte(self) -> u8 {
        self.authenticated as u8
            | (self.sender_known as u8) << 2
            | (self.list as u8) << 4
            | (self.filter as u8) << 6
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let fact = |bits: u8| match bits & 3 {
            0 => Some(Fact::Unknown),
            1 => Some(Fact::Yes),
            2 => Some(Fact::No),
            _ => None,
        };
        let filter = match byte >> 6 {
            0 => Filter::Unknown,
            1 => Filter::Ham,
            2 => Filter::Grey,
            _ => Filter::Spam,
        };
        Some(Self {
            authenticated: fact(byte)?,
            sender_known: fact(byte >> 2)?,
            list: fact(byte >> 4)?,
            filter,
        })
    }
}

/// A person's or trap's word on one mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Opinion {
    /// Somebody said: spam.
    Report = 1,
    /// It came to an address that no wanted mail knows.
    TrapReport = 2,
    /// Somebody said: not spam.
    Revoke = 3,
    /// What was said is taken back; nothing is said now.
    Withdrawn = 4,
}

impl Opinion {
    /// The opinion with this number on wire and disk.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Report, Self::TrapReport, Self::Revoke, Self::Withdrawn]
            .into_iter()
            .find(|opinion| *opinion as u8 == byte)
    }

    /// The opinion's word in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::TrapReport => "trap-report",
            Self::Revoke => "revoke",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The site received the mail: automatic, no judgement.
    Sighting {
        /// Copies of it so far.
        copies: Copies,
        /// What was known of it.
        facts: Facts,
    },
    /// Somebody's word.
    Opinion {
        /// The word.
        opinion: Opinion,
        /// The mail's Nilsimsa digest, so that others can verify a near match at once.
        nilsimsa: Option<Nilsimsa>,
    },
}

impl Kind {
    /// The byte that says what follows.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Sighting { .. } => 0,
            Self::Opinion { opinion, nilsimsa: None } => OPINION_BIT | opinion as u8,
            Self::Opinion { opinion, nilsimsa: Some(_) } => {
                OPINION_BIT | NILSIMSA_BIT | opinion as u8
            }
        }
    }

    /// Copies and facts, or the Nilsimsa digest.
    pub(crate) fn put_body(self, out: &mut Vec<u8>) {
        match self {
            Self::Sighting { copies, facts } => out.extend([copies as u8, facts.to_byte()]),
            Self::Opinion { nilsimsa: Some(digest), .. } => out.extend(digest.to_bytes()),
            Self::Opinion { .. } => {}
        }
    }

    /// Reads a kind of which nothing may be left over: its byte and its body.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let mut input = Input(bytes);
        let kind_byte = input.byte()?;
        let kind = input.kind(kind_byte)?;
        if input.0.is_empty() { Ok(kind) } else { Err(StatementError::Malformed) }
    }
}

/// Sightings and opinions on the same mail stand beside each other; within a class the highest
/// sequence wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Seen.
    Sighting = 0,
    /// Said.
    Opinion = 1,
}

/// One mail at one site. Built by [`crate::site::Site`] or decoded; `keys` are sorted, distinct
/// and at most [`KEYS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Statement {
    /// Who says it.
    pub site: SiteId,
    /// Of which of its mails.
    pub mail: MailId,
    /// The site's running number: the highest of a mail and class wins.
    pub seq: u64,
    /// When the mail was received.
    pub epoch: Epoch,
    /// What is said.
    pub kind: Kind,
    keys: Box<[Key]>,
}

/// Why bytes are not a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A version that this program does not speak.
    #[error(
        "read a statement of version {0}: this program knows versions {VERSION} and {VERSION_OF_HOST}"
    )]
    Version(u8),
    /// Too short, too long, or a value outside its range.
    #[error("read a statement: its bytes are malformed")]
    Malformed,
    /// The signature is not the site's over these bytes.
    #[error("accept a statement: its signature is not the site's")]
    Signature,
}

/// Most bytes of a signed statement: 24 keys, a Nilsimsa digest, and a host's certificate with
/// two signatures ([`crate::signing`]).
pub const SIGNED_LEN_MAX: usize = 55 + 32 + KEYS_MAX * 8 + 102 + 64;
/// Version byte of the format below.
pub(crate) const VERSION: u8 = 1;
/// Version byte of a statement that a host signed under its site's certificate.
pub(crate) const VERSION_OF_HOST: u8 = 2;
const OPINION_BIT: u8 = 0x80;
const NILSIMSA_BIT: u8 = 0x40;

impl Statement {
    /// A statement; keys are sorted, made distinct and cut to [`KEYS_MAX`].
    #[must_use]
    pub fn new(
        site: SiteId,
        mail: MailId,
        seq: u64,
        epoch: Epoch,
        mut keys: Vec<Key>,
        kind: Kind,
    ) -> Self {
        keys.truncate(KEYS_MAX);
        keys.sort_unstable();
        keys.dedup();
        Self { site, mail, seq, epoch, kind, keys: keys.into() }
    }

    /// The mail's keys, sorted.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Sighting or opinion.
    #[must_use]
    pub fn class(&self) -> Class {
        match self.kind {
            Kind::Sighting { .. } => Class::Sighting,
            Kind::Opinion { .. } => Class::Opinion,
        }
    }

    /// The unsigned bytes: version, kind, site (32), mail, seq (8 each), epoch (4), then copies
    /// and facts (1 each) or Nilsimsa (32, if its bit is set), count of keys (1), keys (8 each);
    /// integers little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SIGNED_LEN_MAX);
        out.push(VERSION);
        out.push(self.kind.to_byte());
        out.extend_from_slice(&self.site.0);
        out.extend_from_slice(&self.mail.0.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        self.kind.put_body(&mut out);
        // At most KEYS_MAX, so it fits a byte.
        out.push(u8::try_from(self.keys.len()).unwrap_or(u8::MAX));
        self.keys.iter().for_each(|key| out.extend_from_slice(&key.0.to_le_bytes()));
        out
    }

    pub(crate) fn decode_body(body: &[u8]) -> Result<Self, StatementError> {
        let mut input = Input(body);
        let version = input.byte()?;
        if version != VERSION && version != VERSION_OF_HOST {
            return Err(StatementError::Version(version));
        }
        let kind_byte = input.byte()?;
        let site = SiteId(input.array()?);
        let mail = MailId(u64::from_le_bytes(input.array()?));
        let seq = u64::from_le_bytes(input.array()?);
        let epoch = Epoch(u32::from_le_bytes(input.array()?));
        let kind = input.kind(kind_byte)?;
        let count = usize::from(input.byte()?);
        if count > KEYS_MAX || input.0.len() != count * 8 {
            return Err(StatementError::Malformed);
        }
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            keys.push(Key(u64::from_le_bytes(input.array()?)));
        }
        if keys.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(StatementError::Malformed);
        }
        Ok(Self { site, mail, seq, epoch, kind, keys: keys.into() })
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], StatementError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(StatementError::Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, StatementError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn kind(&mut self, kind_byte: u8) -> Result<Kind, StatementError> {
        if kind_byte & OPINION_BIT == 0 {
            if kind_byte != 0 {
                return Err(StatementError::Malformed);
            }
            let copies = Copies::from_byte(self.byte()?).ok_or(StatementError::Malformed)?;
            let facts = Facts::from_byte(self.byte()?).ok_or(StatementError::Malformed)?;
            return Ok(Kind::Sighting { copies, facts });
        }
        let opinion = Opinion::from_byte(kind_byte & !(OPINION_BIT | NILSIMSA_BIT))
            .ok_or(StatementError::Malformed)?;
        let nilsimsa = match kind_byte & NILSIMSA_BIT {
            0 => None,
            _ => Some(Nilsimsa::from_bytes(&self.array()?)),
        };
        Ok(Kind::Opinion { opinion, nilsimsa })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use proptest::prelude::*;

    fn sighting() -> Statement {
        let kind = Kind::Sighting {
            copies: Copies::Four,
            facts: Facts { list: Fact::Yes, filter: Filter::Spam, ..Facts::default() },
        };
        let site = Identity::from_seed(&[7; 32]).site();
        Statement::new(site, MailId(3), 9, Epoch(1_900_000), vec![Key(5), Key(2), Key(5)], kind)
    }

    #[test]
    fn golden_bytes() {
        let bytes = sighting().to_bytes();
        let site = Identity::from_seed(&[7; 32]).site().0;
        let mut expected = vec![1, 0];
        expected.extend(site);
        expected.extend([3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0xe0, 0xfd, 0x1c, 0, 4, 0xd0, 2]);
        expected.extend([2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn signed_by_another_or_altered_is_refused() {
        let signed = sighting().sign(&Identity::from_seed(&[7; 32]));
        assert_eq!(Statement::decode_verified(&signed), Ok(sighting()));
        let foreign = sighting().sign(&Identity::from_seed(&[8; 32]));
        assert_eq!(Statement::decode_verified(&foreign), Err(StatementError::Signature));
        let mut altered = signed.clone();
        altered[40] ^= 1;
        assert_eq!(Statement::decode_verified(&altered), Err(StatementError::Signature));
    }

    #[test]
    fn every_truncation_and_extension_is_refused() {
        let signed = sighting().sign(&Identity::from_seed(&[7; 32]));
        for len in 0..signed.len() {
            assert!(Statement::decode_verified(&signed[..len]).is_err(), "cut to {len}");
        }
        assert!(Statement::decode_verified(&[&signed[..], &[0]].concat()).is_err());
        let mut newer = signed;
        newer[0] = 3;
        assert_eq!(Statement::decode_verified(&newer), Err(StatementError::Version(3)));
        newer[0] = 2;
        assert!(Statement::decode_verified(&newer).is_err(), "no host's word stands behind it");
    }

    #[test]
    fn unsorted_doubled_or_too_many_keys_are_refused() {
        let mut bytes = sighting().to_bytes();
        let keys_at = bytes.len() - 16;
        bytes.copy_within(keys_at + 8.., keys_at);
        assert_eq!(Statement::decode_body(&bytes), Err(StatementError::Malformed));
        bytes[keys_at - 1] = 25;
        bytes.extend([0; 23 * 8]);
        assert_eq!(Statement::decode_body(&bytes), Err(StatementError::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Statement::decode_verified(&bytes);
        }

        #[test]
        fn opinions_survive_the_round_trip(seq: u64, mail: u64, epoch: u32, lane: u64, byte in 1u8..=4, with: bool) {
            let opinion = Opinion::from_byte(byte).unwrap();
            let nilsimsa = with.then_some(Nilsimsa([lane; 4]));
            let statement = Statement::new(
                SiteId([9; 32]), MailId(mail), seq, Epoch(epoch),
                (0..40).map(|i| Key(lane.wrapping_mul(i))).collect(),
                Kind::Opinion { opinion, nilsimsa },
            );
            prop_assert_eq!(Statement::decode_body(&statement.to_bytes()), Ok(statement));
        }
    }
}
