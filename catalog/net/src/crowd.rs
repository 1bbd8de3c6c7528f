//! At most so many connections from one address. The total is bounded by libp2p's own
//! connection limits; this one keeps a single host from using them all up.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::address::ip_of;

/// Counts incoming connections by address: all of IPv4, the first 64 bits of IPv6.
pub(crate) struct Crowd {
    max: u32,
    by_address: HashMap<IpAddr, u32>,
    by_connection: HashMap<ConnectionId, IpAddr>,
}

/// Too many connections from one address.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from {0}")]
struct TooMany(IpAddr);

impl Crowd {
    pub(crate) fn new(max: u32) -> Self {
        Self { max, by_address: HashMap::new(), by_connection: HashMap::new() }
    }

    /// The place that is counted; this very host is not.
    fn place(address: &Multiaddr) -> Option<IpAddr> {
        match ip_of(address)? {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                Some(IpAddr::V6(network.into()))
            }
        }
    }

    fn enter(&mut self, connection: ConnectionId, place: IpAddr) -> Result<(), ConnectionDenied> {
        let count = self.by_address.entry(place).or_insert(0);
        if *count >= self.max {
            return Err(ConnectionDenied::new(TooMany(place)));
        }
        *count += 1;
        self.by_connection.insert(connection, place);
        Ok(())
    }

    fn leave(&mut self, connection: ConnectionId) {
        let Some(place) = self.by_connection.remove(&connection) else { return };
        if let Some(count) = self.by_address.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&place);
            }
        }
    }
}

impl NetworkBehaviour for Crowd {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        match Self::place(remote) {
            Some(place) => self.enter(connection, place),
            None => Ok(()),
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.leave(closed.connection_id),
            FromSwarm::ListenFailure(failed) => self.leave(failed.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share_and_gets_it_back() {
        let mut crowd = Crowd::new(2);
        let remote: Multiaddr = "/ip4/192.0.2.7/tcp/1".parse().unwrap();
        let other: Multiaddr = "/ip4/192.0.2.8/tcp/1".parse().unwrap();
        let mut id = 0;
        let mut knock = |crowd: &mut Crowd, remote: &Multiaddr| {
            id += 1;
            let connection = ConnectionId::new_unchecked(id);
            crowd.handle_pending_inbound_connection(connection, remote, remote).is_ok()
        };
        assert!(knock(&mut crowd, &remote) && knock(&mut crowd, &remote));
        assert!(!knock(&mut crowd, &remote));
        assert!(knock(&mut crowd, &other));
        crowd.leave(ConnectionId::new_unchecked(3)); // the refused one held no place
        assert!(!knock(&mut crowd, &remote));
        crowd.leave(ConnectionId::new_unchecked(1));
        assert!(knock(&mut crowd, &remote));
    }
}
