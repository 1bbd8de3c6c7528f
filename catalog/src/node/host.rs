//! Who a node is. A *site* speaks through one or many *hosts*: each host has a key of its own,
//! which is also its libp2p identity, and a [`HostCertificate`] in which the site's key names it.
//! So fifty mail exchangers of one provider are fifty nodes and one site, and the site's key need
//! not lie on any of them. An [`Observation`] is one host's signed word of where it saw another:
//! a membership record that carries two of them proves its address to everybody.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::clock::{Epoch, Time};
use crate::entry::Network;
use crate::identity::{Identity, SiteId};
use crate::node::codec::{Reader, WireError};
use crate::node::membership::mix;

/// A host's Ed25519 public key: 32 bytes, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SiteId(self.0).fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({}..)", &self.to_string()[..8])
    }
}

impl NodeId {
    /// The node whose host key is `host`.
    #[must_use]
    pub fn of(host: &Identity) -> Self {
        Self(host.site().0)
    }

    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        SiteId(self.0).verifies(bytes, signature)
    }
}

/// Keeps signatures of certificates apart from any other use of the site's key: those of a host
/// with the site's key itself, and those that name a lane.
const CERTIFICATE_CONTEXT: &[u8] = b"novacula host certificate\0";
const LANE_CONTEXT: &[u8] = b"novacula host certificate 2\0";
/// Keeps signatures of observations apart from any other use of the host's key.
const OBSERVATION_CONTEXT: &[u8] = b"novacula observation\0";

/// How long a certificate made by the agent is good, in seconds (one year, a convention: the
/// agent that holds the site's key renews it at every start).
pub const CERTIFICATE_SECS: u64 = 365 * 24 * 3600;

/// The site's word that this host speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCertificate {
    /// The site.
    pub site: SiteId,
    /// The last epoch in which it is good.
    pub until: Epoch,
    /// Which of the site's numbers the host gives ([`crate::lane_of`]): 0 is the host that has
    /// the site's key, every other lane belongs to one host for good.
    pub lane: u16,
    signature: [u8; 64],
}

impl HostCertificate {
    /// Bytes on the wire: site, until, signature, and in a lane its number.
    pub(crate) const LEN_MAX: usize = 32 + 4 + 64 + 2;
    /// Bytes of a host's word behind a statement: host, until, lane, signature.
    pub(crate) const DELEGATION_LEN: usize = 32 + 4 + 2 + 64;

    /// The site whose key is `site` certifies `host` until `until`.
    #[must_use]
    pub fn issue(site: &Identity, host: NodeId, until: Time) -> Self {
        Self::issue_lane(site, host, until, 0)
    }

    /// The same for a host that has not the site's key, and gives its numbers in `lane`.
    #[must_use]
    pub fn issue_lane(site: &Identity, host: NodeId, until: Time, lane: u16) -> Self {
        let until = until.epoch();
        let signature = site.sign(&Self::signed_bytes(site.site(), host, until, lane));
        Self { site: site.site(), until, lane, signature }
    }

    /// True when the site signed it for `host` and it is good at `now`.
    #[must_use]
    pub fn holds(&self, host: NodeId, now: Time) -> bool {
        self.holds_in(host, now.epoch())
    }

    /// True when the site signed it for `host` and it is good in `epoch`.
    #[must_use]
    pub(crate) fn holds_in(&self, host: NodeId, epoch: Epoch) -> bool {
        let bytes = Self::signed_bytes(self.site, host, self.until, self.lane);
        self.until >= epoch && self.site.verifies(&bytes, &self.signature)
    }

    /// Its bytes, to be handed to a host that does not hold the site's key.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let lane = self.lane.to_le_bytes();
        let lane = if self.lane == 0 { &[][..] } else { &lane };
        [&self.site.0[..], &self.until.0.to_le_bytes(), &self.signature, lane].concat()
    }

    /// A certificate from its bytes; [`HostCertificate::holds`] says whether it is true.
    ///
    /// # Errors
    /// [`WireError`] when the length is not that of a certificate.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut input = Reader::new(bytes);
        let certificate = Self::read(&mut input, bytes.len() == Self::LEN_MAX)?;
        input.end()?;
        Ok(certificate)
    }

    pub(crate) fn read(input: &mut Reader<'_>, in_lane: bool) -> Result<Self, WireError> {
        let site = SiteId(input.array()?);
        let until = Epoch(input.u32()?);
        let signature = input.array()?;
        let lane = if in_lane { u16::from_le_bytes(input.array()?) } else { 0 };
        // One encoding of a value: the first lane is never written.
        if in_lane && lane == 0 {
            return Err(WireError::Malformed);
        }
        Ok(Self { site, until, lane, signature })
    }

    /// What stands behind a statement that `host` signed under this certificate.
    pub(crate) fn delegation(&self, host: NodeId) -> Vec<u8> {
        let (until, lane) = (self.until.0.to_le_bytes(), self.lane.to_le_bytes());
        [&host.0[..], &until, &lane, &self.signature].concat()
    }

    /// The host, and its certificate by `site`, from what stands behind a statement.
    pub(crate) fn of_delegation(site: SiteId, bytes: &[u8]) -> Result<(NodeId, Self), WireError> {
        let mut input = Reader::new(bytes);
        let host = NodeId(input.array()?);
        let until = Epoch(input.u32()?);
        let lane = u16::from_le_bytes(input.array()?);
        let signature = input.array()?;
        input.end()?;
        Ok((host, Self { site, until, lane, signature }))
    }

    fn signed_bytes(site: SiteId, host: NodeId, until: Epoch, lane: u16) -> Vec<u8> {
        let until = until.0.to_le_bytes();
        match lane {
            0 => [CERTIFICATE_CONTEXT, &site.0, &host.0, &until].concat(),
            _ => [LANE_CONTEXT, &site.0, &host.0, &until, &lane.to_le_bytes()].concat(),
        }
    }
}

/// One host's signed word of the address at which it saw another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Who saw it.
    pub by: NodeId,
    /// At which address.
    pub address: IpAddr,
    /// When.
    pub epoch: Epoch,
    signature: [u8; 64],
}

impl Observation {
    /// `host` saw `subject` at `address`.
    #[must_use]
    pub fn make(host: &Identity, subject: NodeId, address: IpAddr, now: Time) -> Self {
        let (by, epoch) = (NodeId::of(host), now.epoch());
        let signature = host.sign(&Self::signed_bytes(subject, address, epoch));
        Self { by, address, epoch, signature }
    }

    /// True when its maker signed it for `subject`, and is another.
    #[must_use]
    pub fn holds(&self, subject: NodeId) -> bool {
        let bytes = Self::signed_bytes(subject, self.address, self.epoch);
        self.by != subject && self.by.verifies(&bytes, &self.signature)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.by.0);
        out.extend(as_v6(self.address).octets());
        out.extend(self.epoch.0.to_le_bytes());
        out.extend(self.signature);
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let by = NodeId(input.array()?);
        let address = Ipv6Addr::from(input.array::<16>()?).to_canonical();
        Ok(Self { by, address, epoch: Epoch(input.u32()?), signature: input.array()? })
    }

    fn signed_bytes(subject: NodeId, address: IpAddr, epoch: Epoch) -> Vec<u8> {
        let octets = as_v6(address).octets();
        [OBSERVATION_CONTEXT, &subject.0, &octets, &epoch.0.to_le_bytes()].concat()
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// How much of an address names a network, in bits (DESIGN 1: /16 and /32 by default, finer in
/// tests).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixBits {
    /// Of IPv4, 0 to 32.
    pub v4: u8,
    /// Of IPv6, 0 to 128.
    pub v6: u8,
}

impl Default for PrefixBits {
    fn default() -> Self {
        Self { v4: 16, v6: 32 }
    }
}

impl PrefixBits {
    /// The network that holds `address`.
    #[must_use]
    pub fn network(self, address: IpAddr) -> Network {
        let (family, bits, kept) = match address.to_canonical() {
            IpAddr::V4(v4) => {
                let bits = self.v4.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                (4, bits, u128::from(u32::from(v4) & mask))
            }
            IpAddr::V6(v6) => {
                let bits = self.v6.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                (6, bits, u128::from(v6) & mask)
            }
        };
        let low = u64::try_from(kept & u128::from(u64::MAX)).unwrap_or(0);
        let high = u64::try_from(kept >> 64).unwrap_or(0);
        // Not 0, which is this node's own.
        Network(mix(low ^ mix(high ^ mix(family << 8 | u64::from(bits)))) | 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_800_000_000);

    #[test]
    fn a_certificate_holds_for_its_host_and_time_only() {
        let site = Identity::from_seed(&[1; 32]);
        let (host, other) = (NodeId([2; 32]), NodeId([3; 32]));
        let certificate = HostCertificate::issue(&site, host, Time(NOW.0 + 3600));
        assert_eq!(HostCertificate::decode(&certificate.to_bytes()), Ok(certificate.clone()));
        assert_eq!(certificate.to_bytes().len(), HostCertificate::LEN_MAX - 2);
        let in_lane = HostCertificate::issue_lane(&site, host, Time(NOW.0 + 3600), 7);
        assert_eq!(HostCertificate::decode(&in_lane.to_bytes()), Ok(in_lane.clone()));
        assert!(in_lane.holds(host, NOW));
        let moved = HostCertificate { lane: 8, ..in_lane.clone() };
        assert!(!moved.holds(host, NOW), "another lane");
        let first = HostCertificate { lane: 0, ..in_lane };
        assert!(!first.holds(host, NOW), "the lane of the site's key");
        assert!(certificate.holds(host, NOW));
        assert!(!certificate.holds(other, NOW), "another host");
        assert!(!certificate.holds(host, Time(NOW.0 + 2 * 3600)), "after its time");
        let claimed = HostCertificate { site: SiteId([9; 32]), ..certificate };
        assert!(!claimed.holds(host, NOW), "another site");
    }

    #[test]
    fn nobody_confirms_himself() {
        let host = Identity::from_seed(&[2; 32]);
        let address = IpAddr::from([192, 0, 2, 7]);
        let own = Observation::make(&host, NodeId::of(&host), address, NOW);
        assert!(!own.holds(NodeId::of(&host)));
        let of_another = Observation::make(&host, NodeId([5; 32]), address, NOW);
        assert!(of_another.holds(NodeId([5; 32])) && !of_another.holds(NodeId([6; 32])));
    }

    #[test]
    fn a_network_is_a_prefix() {
        let network = |text: &str| PrefixBits::default().network(text.parse().unwrap());
        assert_eq!(network("192.0.2.1"), network("192.0.77.1"));
        assert_ne!(network("192.0.2.1"), network("192.1.2.1"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.9"));
        assert_eq!(network("2001:db8::1"), network("2001:db8:7::1"));
        assert_ne!(network("2001:db8::1"), network("2001:db9::1"));
        let all = PrefixBits { v4: 0, v6: 0 };
        assert_eq!(
            all.network(IpAddr::from([1, 2, 3, 4])),
            all.network(IpAddr::from([5, 6, 7, 8]))
        );
    }
}
