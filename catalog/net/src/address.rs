//! Addresses as people write them (`mx.example.org`, `192.0.2.7:25725`, a multiaddress) and as
//! libp2p wants them; and a node's name as libp2p's peer id, which is the same key in another
//! wrapping.

use std::net::IpAddr;

use libp2p::identity::{PublicKey, ed25519};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use novacula_catalog::node::NodeId;

/// The port that nodes listen on unless told otherwise. Not registered with IANA (a choice).
pub(crate) const PORT: u16 = 25_725;

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "read the address {0:?}: write HOST, HOST:PORT or a multiaddress such as /ip4/192.0.2.7/udp/25725/quic-v1"
)]
pub struct AddressError(String);

/// The multiaddresses that `text` stands for: itself, or QUIC and TCP at a host.
///
/// # Errors
/// [`AddressError`].
pub fn forms(text: &str) -> Result<Vec<Multiaddr>, AddressError> {
    let wrong = || AddressError(text.chars().take(100).collect());
    let text = text.trim();
    if text.starts_with('/') {
        return text.parse().map(|address| vec![address]).map_err(|_| wrong());
    }
    let (host, port) = split_port(text).ok_or_else(wrong)?;
    let host: Multiaddr = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => Protocol::Ip4(address).into(),
        Ok(IpAddr::V6(address)) => Protocol::Ip6(address).into(),
        Err(_) => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || host.len() > 253 || !host.bytes().all(fits) {
                return Err(wrong());
            }
            Protocol::Dns(host.into()).into()
        }
    };
    let quic = host.clone().with(Protocol::Udp(port)).with(Protocol::QuicV1);
    Ok(vec![quic, host.with(Protocol::Tcp(port))])
}

fn split_port(text: &str) -> Option<(&str, u16)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return match port.strip_prefix(':') {
            Some(port) => Some((host, port.parse().ok()?)),
            None => port.is_empty().then_some((host, PORT)),
        };
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => Some((text, PORT)), // IPv6 without a port
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((text, PORT)),
    }
}

/// The address with the node's key in it: whoever answers there must own that key.
#[must_use]
pub fn pinned(address: &Multiaddr, node: NodeId) -> Option<Multiaddr> {
    let mut bare = address.clone();
    // The name of a relay stays: it stands before the way through it.
    while matches!(bare.iter().last(), Some(Protocol::P2p(_))) {
        bare.pop();
    }
    Some(bare.with(Protocol::P2p(peer_of(node)?)))
}

/// The peer id of a node; none where the bytes are no key.
pub(crate) fn peer_of(node: NodeId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&node.0).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The node of a peer id; none where the peer's key is not Ed25519.
#[must_use]
pub fn node_of(peer: &PeerId) -> Option<NodeId> {
    // A peer id of a short key is the key itself, as protobuf: type 1 (Ed25519), 32 bytes.
    const HEAD: [u8; 4] = [0x08, 0x01, 0x12, 0x20];
    let key = peer.as_ref().digest().strip_prefix(&HEAD)?;
    key.try_into().ok().map(NodeId)
}

/// The IP address in a multiaddress; none for names, and none through a relay.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    if address.iter().any(|part| part == Protocol::P2pCircuit) {
        return None;
    }
    address.iter().find_map(|part| match part {
        Protocol::Ip4(address) => Some(IpAddr::V4(address)),
        Protocol::Ip6(address) => Some(IpAddr::V6(address).to_canonical()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use novacula_catalog::Identity;

    #[track_caller]
    fn check(text: &str, expected: Option<&[&str]>) {
        let found = forms(text).ok();
        let found: Option<Vec<String>> =
            found.map(|list| list.iter().map(ToString::to_string).collect());
        let expected: Option<Vec<String>> =
            expected.map(|list| list.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn what_people_write() {
        let quic = "/ip4/192.0.2.7/udp/25725/quic-v1";
        check("192.0.2.7", Some(&[quic, "/ip4/192.0.2.7/tcp/25725"]));
        check(
            "mx.example.org:99",
            Some(&["/dns/mx.example.org/udp/99/quic-v1", "/dns/mx.example.org/tcp/99"]),
        );
        check(
            "[2001:db8::7]:99",
            Some(&["/ip6/2001:db8::7/udp/99/quic-v1", "/ip6/2001:db8::7/tcp/99"]),
        );
        check(
            "2001:db8::7",
            Some(&["/ip6/2001:db8::7/udp/25725/quic-v1", "/ip6/2001:db8::7/tcp/25725"]),
        );
        check(quic, Some(&[quic]));
        check("", None);
        check("host:port", None);
        check("a b", None);
        check("/no/such", None);
    }

    #[test]
    fn a_node_and_its_peer_id_name_each_other() {
        let node = NodeId::of(&Identity::from_seed(&[7; 32]));
        let peer = peer_of(node).unwrap();
        assert_eq!(node_of(&peer), Some(node));
        let address = forms("192.0.2.7").unwrap().remove(0);
        let whole = format!("{address}/p2p/{peer}");
        assert_eq!(pinned(&address, node).unwrap().to_string(), whole);
        let other = address.with(Protocol::P2p(PeerId::random()));
        assert_eq!(pinned(&other, node).unwrap().to_string(), whole);
        // A relay's name was lost, and with it the way of an invitation from behind a NAT.
        let relayed = other.with(Protocol::P2pCircuit);
        let through = format!("{relayed}/p2p/{peer}");
        for form in [&relayed, &relayed.clone().with(Protocol::P2p(peer))] {
            assert_eq!(pinned(form, node).unwrap().to_string(), through);
        }
    }
}
