//! A membership record: a host's signed word of who it is, for which site it speaks, and where it
//! is reached, with the [`Observation`]s that prove the place. It travels by gossip, in the first
//! exchange of two nodes and in the pull of whole tables; in every case it proves itself, so it
//! does not matter who brings it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Time;
use crate::identity::{Identity, SiteId};
use crate::node::codec::{Reader, WireError, put_chunk};
use crate::node::group::Group;
use crate::node::host::{HostCertificate, NodeId, Observation};

/// Most addresses of a host.
pub const ADDRESSES_MAX: usize = 4;
/// Longest address, in bytes. A multiaddress with a relay takes about 150.
pub const ADDRESS_LEN_MAX: usize = 192;
/// Most observations in a record: two prove the place, a third survives one that is refused.
pub const OBSERVATIONS_MAX: usize = 3;
/// Longest record, in bytes.
pub const RECORD_LEN_MAX: usize = 4
    + 32
    + 16
    + HostCertificate::LEN_MAX
    + 16
    + 1
    + ADDRESSES_MAX * (2 + ADDRESS_LEN_MAX)
    + 1
    + OBSERVATIONS_MAX * OBSERVATION_LEN
    + 64;

const OBSERVATION_LEN: usize = 32 + 16 + 4 + 64;
const VERSION: u8 = 1;
const LEAVING_BIT: u8 = 1;
const LANE_BIT: u8 = 2;
const VERSIONS_BIT: u8 = 4;
/// Versions of the frames that a record without the bit above stands for.
const VERSIONS: (u8, u8) = (1, 1);
const CONTEXT: &[u8] = b"novacula member\0";

/// What a host says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// The host.
    pub node: NodeId,
    /// Shows that it belongs to the network of peers ([`crate::node::Group::badge`]).
    pub badge: [u8; 16],
    /// For which site it speaks.
    pub certificate: HostCertificate,
    /// When the host's program started: after a restart it holds nothing for others, which they
    /// see by this number.
    pub boot: Time,
    /// When the record was made: the newest of a host counts.
    pub made: Time,
    /// It is about to leave.
    pub leaving: bool,
    /// The oldest and newest version of the frames that it speaks.
    pub versions: (u8, u8),
    /// Where it is reached, in the driver's form (multiaddresses), best first.
    pub addresses: Arc<[String]>,
    /// Who saw it where.
    pub observations: Vec<Observation>,
    signature: [u8; 64],
}

/// What goes into a record.
pub(crate) struct Draft {
    pub(crate) badge: [u8; 16],
    pub(crate) certificate: HostCertificate,
    pub(crate) boot: Time,
    pub(crate) made: Time,
    pub(crate) leaving: bool,
    pub(crate) versions: (u8, u8),
    pub(crate) addresses: Vec<String>,
    pub(crate) observations: Vec<Observation>,
}

impl MemberRecord {
    /// Signs a record; addresses and observations beyond their bounds are left out.
    pub(crate) fn sign(host: &Identity, draft: Draft) -> Self {
        let Draft { badge, certificate, boot, made, leaving, versions, .. } = draft;
        let Draft { mut addresses, mut observations, .. } = draft;
        addresses.retain(|address| address.len() <= ADDRESS_LEN_MAX);
        addresses.truncate(ADDRESSES_MAX);
        observations.truncate(OBSERVATIONS_MAX);
        let mut record = Self {
            node: NodeId::of(host),
            badge,
            certificate,
            boot,
            made,
            leaving,
            versions,
            addresses: addresses.into(),
            observations,
            signature: [0; 64],
        };
        record.signature = host.sign(&[CONTEXT, &record.body()].concat());
        record
    }

    /// A record of a host that is confirmed already (tests and tools; a node makes its own).
    #[must_use]
    pub fn make(
        host: &Identity,
        group: &Group,
        certificate: HostCertificate,
        made: Time,
        addresses: Vec<String>,
        observations: Vec<Observation>,
    ) -> Self {
        let badge = group.badge(NodeId::of(host));
        Self::sign(
            host,
            Draft {
                badge,
                certificate,
                boot: made,
                made,
                leaving: false,
                versions: VERSIONS,
                addresses,
                observations,
            },
        )
    }

    /// The site it speaks for, once [`MemberRecord::holds`].
    #[must_use]
    pub fn site(&self) -> SiteId {
        self.certificate.site
    }

    /// True when host, site and observers signed what it says. An observation that does not hold
    /// makes the whole record false: an honest host checks before it takes one in.
    #[must_use]
    pub fn holds(&self, now: Time) -> bool {
        self.node.verifies(&[CONTEXT, &self.body()].concat(), &self.signature)
            && self.certificate.holds(self.node, now)
            && self.observations.iter().all(|seen| seen.holds(self.node))
    }

    /// The addresses at which others saw it, each observer once.
    pub(crate) fn observed(&self) -> impl Iterator<Item = (NodeId, IpAddr)> {
        let seen = &self.observations;
        seen.iter().enumerate().filter_map(|(at, one)| {
            let again = seen[..at].iter().any(|earlier| earlier.by == one.by);
            (!again).then_some((one.by, one.address))
        })
    }

    /// Its bytes: body and signature.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.body();
        out.extend(self.signature);
        out
    }

    fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let leaving = if self.leaving { LEAVING_BIT } else { 0 };
        let in_lane = if self.certificate.lane == 0 { 0 } else { LANE_BIT };
        let versions = if self.versions == VERSIONS { 0 } else { VERSIONS_BIT };
        out.extend([VERSION, leaving | in_lane | versions]);
        if versions != 0 {
            out.extend([self.versions.0, self.versions.1]);
        }
        out.extend(self.node.0);
        out.extend(self.badge);
        out.extend(self.certificate.to_bytes());
        out.extend(self.boot.0.to_le_bytes());
        out.extend(self.made.0.to_le_bytes());
        // Both counts are within their bounds: `sign` and `decode` see to it.
        out.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        self.addresses.iter().for_each(|address| put_chunk(&mut out, address.as_bytes()));
        out.push(u8::try_from(self.observations.len()).unwrap_or(u8::MAX));
        self.observations.iter().for_each(|seen| seen.write(&mut out));
        out
    }

    /// A record from bytes; whether it is true, [`MemberRecord::holds`] says.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > RECORD_LEN_MAX {
            return Err(WireError::TooLong);
        }
        let mut input = Reader::new(bytes);
        match input.u8()? {
            VERSION => {}
            other => return Err(WireError::Version(other)),
        }
        let flags = input.u8()?;
        let versions = match flags & VERSIONS_BIT {
            0 => VERSIONS,
            _ => (input.u8()?, input.u8()?),
        };
        let node = NodeId(input.array()?);
        let badge = input.array()?;
        let certificate = HostCertificate::read(&mut input, flags & LANE_BIT != 0)?;
        let (boot, made) = (Time(input.u64()?), Time(input.u64()?));
        let count = usize::from(input.u8()?);
        if count > ADDRESSES_MAX || flags & !(LEAVING_BIT | LANE_BIT | VERSIONS_BIT) != 0 {
            return Err(WireError::Malformed);
        }
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let text = std::str::from_utf8(input.chunk(ADDRESS_LEN_MAX)?);
            addresses.push(text.map_err(|_| WireError::Malformed)?.to_owned());
        }
        let count = usize::from(input.u8()?);
        if count > OBSERVATIONS_MAX {
            return Err(WireError::Malformed);
        }
        let observations =
            (0..count).map(|_| Observation::read(&mut input)).collect::<Result<_, _>>()?;
        let signature = input.array()?;
        input.end()?;
        let leaving = flags & LEAVING_BIT != 0;
        let addresses = addresses.into();
        Ok(Self {
            node,
            badge,
            certificate,
            boot,
            made,
            leaving,
            versions,
            addresses,
            observations,
            signature,
        })
    }
}
