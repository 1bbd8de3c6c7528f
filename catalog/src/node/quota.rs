//! How much a peer, and all peers of a network together, may ask for: token buckets in units of
//! keys. At the limit the request is refused and counted; nothing is queued, so a flood costs no
//! memory. A peer that goes on sending what is false is banned.

use std::collections::HashMap;

use crate::entry::Network;
use crate::node::api::Now;
use crate::node::host::NodeId;

/// A bucket holds this many seconds of its rate: what a campaign's first minute may need.
const BURST_SECS: f64 = 10.0;
/// Most buckets; at the bound those that are full again go, and if none is, the request is
/// refused.
const BUCKETS_MAX: usize = 20_000;
/// False frames or signatures after which a peer is banned (THREATS 5).
pub(crate) const FAULTS_MAX: u32 = 10;
/// How long a ban lasts, in seconds (an hour, a convention).
pub(crate) const BAN_SECS: u64 = 3600;

struct Bucket {
    tokens: f64,
    at_ms: u64,
}

/// Buckets of one kind.
struct Buckets<K> {
    rate: f64,
    of: HashMap<K, Bucket>,
}

impl<K: std::hash::Hash + Eq + Copy> Buckets<K> {
    fn new(per_second: u32) -> Self {
        Self { rate: f64::from(per_second.max(1)), of: HashMap::new() }
    }

    /// True when `cost` was there to take.
    fn take(&mut self, who: K, cost: f64, now: Now) -> bool {
        let (rate, most) = (self.rate, self.rate * BURST_SECS);
        let level = |bucket: &Bucket| {
            let secs = now.ms.saturating_sub(bucket.at_ms) as f64 / 1000.0;
            (bucket.tokens + secs * rate).min(most)
        };
        if self.of.len() >= BUCKETS_MAX && !self.of.contains_key(&who) {
            self.of.retain(|_, bucket| level(bucket) < most);
            if self.of.len() >= BUCKETS_MAX {
                return false;
            }
        }
        let bucket = self.of.entry(who).or_insert(Bucket { tokens: most, at_ms: now.ms });
        let left = level(bucket) - cost;
        bucket.at_ms = now.ms;
        bucket.tokens = if left >= 0.0 { left } else { left + cost };
        left >= 0.0
    }
}

/// Quotas of all peers, and their faults.
pub(crate) struct Quotas {
    peers: Buckets<NodeId>,
    networks: Buckets<Network>,
    faults: HashMap<NodeId, u32>,
}

impl Quotas {
    pub(crate) fn new(per_peer: u32, per_network: u32) -> Self {
        Self {
            peers: Buckets::new(per_peer),
            networks: Buckets::new(per_network),
            faults: HashMap::new(),
        }
    }

    /// True when the peer may have `keys` keys worked on now.
    pub(crate) fn allows(&mut self, peer: NodeId, network: Network, keys: usize, now: Now) -> bool {
        let cost = keys.max(1) as f64;
        self.peers.take(peer, cost, now) && self.networks.take(network, cost, now)
    }

    /// Counts something false; true when the peer is to be banned.
    pub(crate) fn fault(&mut self, peer: NodeId) -> bool {
        if self.faults.len() >= BUCKETS_MAX {
            self.faults.clear();
        }
        let count = self.faults.entry(peer).or_default();
        *count += 1;
        if *count < FAULTS_MAX {
            return false;
        }
        self.faults.remove(&peer);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;

    #[test]
    fn a_flood_is_held_to_its_rate_and_others_are_not() {
        let mut quotas = Quotas::new(100, 150);
        let (one, two) = (NodeId([1; 32]), NodeId([2; 32]));
        let (near, far) = (Network(1), Network(2));
        let at = |ms| Now { wall: Time(0), ms };
        let granted = (0..10_000).filter(|i| quotas.allows(one, near, 10, at(*i))).count();
        // A burst of 10 s, and ten seconds' worth more.
        assert!((190..=201).contains(&granted), "{granted}");
        assert!(quotas.allows(two, far, 10, at(10_000)));
        let shared = (0..100).filter(|_| quotas.allows(two, near, 10, at(10_000))).count();
        assert!(shared < 100, "networks have a bucket of their own");
    }

    #[test]
    fn buckets_are_bounded() {
        let mut quotas = Quotas::new(10, u32::MAX);
        let now = Now { wall: Time(0), ms: 0 };
        let mut granted = 0;
        for peer in 0..30_000u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&peer.to_le_bytes());
            granted += usize::from(quotas.allows(NodeId(id), Network(1), 1, now));
        }
        assert_eq!((granted, quotas.peers.of.len()), (BUCKETS_MAX, BUCKETS_MAX));
    }

    #[test]
    fn ten_faults_ban() {
        let mut quotas = Quotas::new(1, 1);
        let bans = (0..20).filter(|_| quotas.fault(NodeId([1; 32]))).count();
        assert_eq!(bans, 2);
    }
}
