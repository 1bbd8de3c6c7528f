//! At most so many connections from one address, and so many new ones in a second. The total is
//! bounded by libp2p's own connection limits; this one keeps a single host from using them all up,
//! and who was cut off from paying a handshake for each refusal with this node's time.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::address::ip_of;

/// New connections that an address may make in a second: a handshake is about a millisecond of this
/// node's time (a choice: half a hundredth of a core for each address that knocks without end).
const NEW_A_SECOND: f64 = 4.0;
/// And at once, in times of the connections that it may have: all of them, and all anew.
const NEW_AT_ONCE: f64 = 2.0;
/// Most addresses whose new connections are counted; at the bound those go that may make all at once
/// again, and if none does, one more address is refused.
const COUNTED_MAX: usize = 20_000;

/// Counts incoming connections by address: all of IPv4, the first 64 bits of IPv6.
pub(crate) struct Crowd {
    max: u32,
    by_address: HashMap<IpAddr, u32>,
    by_connection: HashMap<ConnectionId, IpAddr>,
    new: HashMap<IpAddr, (f64, Instant)>,
}

/// Too many connections from one address.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from {0}")]
struct TooMany(IpAddr);

impl Crowd {
    pub(crate) fn new(max: u32) -> Self {
        Self { max, by_address: HashMap::new(), by_connection: HashMap::new(), new: HashMap::new() }
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

    /// True when the address may make one more new connection now.
    fn may_knock(&mut self, place: IpAddr, now: Instant) -> bool {
        let most = f64::from(self.max) * NEW_AT_ONCE;
        let level = |(made, at): (f64, Instant)| {
            (made - now.saturating_duration_since(at).as_secs_f64() * NEW_A_SECOND).max(0.0)
        };
        if self.new.len() >= COUNTED_MAX && !self.new.contains_key(&place) {
            self.new.retain(|_, made| level(*made) > 0.0);
            if self.new.len() >= COUNTED_MAX {
                return false;
            }
        }
        let made = self.new.entry(place).or_insert((0.0, now));
        *made = (level(*made), now);
        let may = made.0 + 1.0 <= most;
        made.0 += f64::from(u8::from(may));
        may
    }

    fn enter(
        &mut self,
        connection: ConnectionId,
        place: IpAddr,
        now: Instant,
    ) -> Result<(), ConnectionDenied> {
        let count = self.by_address.get(&place).copied().unwrap_or(0);
        if count >= self.max || !self.may_knock(place, now) {
            return Err(ConnectionDenied::new(TooMany(place)));
        }
        self.by_address.insert(place, count + 1);
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
            Some(place) => self.enter(connection, place, Instant::now()),
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

    #[test]
    fn who_knocks_without_end_is_heard_four_times_a_second() {
        let mut crowd = Crowd::new(10);
        let start = Instant::now();
        let place: IpAddr = "192.0.2.7".parse().unwrap();
        let mut heard = 0;
        for step in 0..1_000u64 {
            let now = start + std::time::Duration::from_millis(10 * step);
            let connection = ConnectionId::new_unchecked(usize::try_from(step).unwrap());
            if crowd.enter(connection, place, now).is_ok() {
                heard += 1;
                crowd.leave(connection);
            }
        }
        // Twenty at once, and four a second for ten seconds.
        assert!((59..=61).contains(&heard), "{heard}");
        for number in 0..COUNTED_MAX as u32 + 10 {
            crowd.may_knock(IpAddr::V4(number.into()), start);
        }
        assert_eq!(crowd.new.len(), COUNTED_MAX);
    }
}
