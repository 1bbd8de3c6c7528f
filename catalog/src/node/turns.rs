//! Whose turn it is when peers' requests wait: networks one after another, in each its peers one
//! after another, of each what came first. So a flood waits behind itself and an honest request
//! behind one of each flooding network. Main item: [`Turns`]; the driver queues in it, and so does the
//! simulator.
//!
//! Key decision: networks before peers, for hosts cost nothing and addresses do. At the bound the
//! longest line loses its newest, so that who asks little is never crowded out.

use std::collections::{HashMap, VecDeque};

use crate::entry::Network;
use crate::node::host::NodeId;

/// Most requests that wait of one peer: four connections of 64 streams, what the driver admits.
pub const PEER_WAITING_MAX: usize = 256;
/// Most that wait of one network: four such peers, as with quotas.
pub const NETWORK_WAITING_MAX: usize = 4 * PEER_WAITING_MAX;
/// Most that wait in all; at 16 KiB a request 64 MiB.
pub const WAITING_MAX: usize = 4_096;

/// What waits, of all peers.
pub struct Turns<T> {
    lines: HashMap<Network, Line<T>>,
    ring: VecDeque<Network>,
    len: usize,
}

/// What waits of one network.
struct Line<T> {
    peers: HashMap<NodeId, VecDeque<T>>,
    ring: VecDeque<NodeId>,
    len: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), ring: VecDeque::new(), len: 0 }
    }
}

impl<T> Turns<T> {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes in what a peer asks. Gives back what has no room: this one, or at the bound for its
    /// network or for all the newest of who has most.
    #[must_use]
    pub fn push(&mut self, peer: NodeId, network: Network, item: T) -> Option<T> {
        let line = self.lines.get(&network);
        let of_network = line.map_or(0, |line| line.len);
        let of_peer = line.and_then(|line| line.peers.get(&peer)).map_or(0, VecDeque::len);
        if of_peer >= PEER_WAITING_MAX {
            return Some(item);
        }
        let mut gone = None;
        if of_network >= NETWORK_WAITING_MAX {
            let longest = line.and_then(|line| line.peers.values().map(VecDeque::len).max());
            match longest {
                Some(longest) if longest > of_peer + 1 => gone = self.cut(network),
                _ => return Some(item),
            }
        } else if self.len >= WAITING_MAX {
            let longest = self.lines.iter().max_by_key(|(network, line)| (line.len, network.0));
            match longest.map(|(network, line)| (*network, line.len)) {
                Some((longest, len)) if len > of_network + 1 => gone = self.cut(longest),
                _ => return Some(item),
            }
        }
        let line = self.lines.entry(network).or_insert_with(|| {
            self.ring.push_back(network);
            Line { peers: HashMap::new(), ring: VecDeque::new(), len: 0 }
        });
        let waiting = line.peers.entry(peer).or_insert_with(|| {
            line.ring.push_back(peer);
            VecDeque::new()
        });
        waiting.push_back(item);
        line.len += 1;
        self.len += 1;
        gone
    }

    /// The next one.
    pub fn pop(&mut self) -> Option<T> {
        let network = self.ring.pop_front()?;
        let line = self.lines.get_mut(&network)?;
        let peer = line.ring.pop_front()?;
        let waiting = line.peers.get_mut(&peer)?;
        let item = waiting.pop_front();
        if waiting.is_empty() {
            line.peers.remove(&peer);
        } else {
            line.ring.push_back(peer);
        }
        line.len -= 1;
        self.len -= 1;
        if line.len == 0 {
            self.lines.remove(&network);
        } else {
            self.ring.push_back(network);
        }
        item
    }

    /// Drops all that waits of a peer, in whatever network it was seen; gives it back.
    #[must_use]
    pub fn forget(&mut self, peer: NodeId) -> Vec<T> {
        let mut gone = Vec::new();
        for line in self.lines.values_mut() {
            if let Some(waiting) = line.peers.remove(&peer) {
                line.ring.retain(|one| *one != peer);
                line.len -= waiting.len();
                self.len -= waiting.len();
                gone.extend(waiting);
            }
        }
        self.lines.retain(|_, line| line.len > 0);
        self.ring.retain(|network| self.lines.contains_key(network));
        gone
    }

    /// The newest of a network's peer that has most.
    fn cut(&mut self, network: Network) -> Option<T> {
        let line = self.lines.get_mut(&network)?;
        let longest = line.peers.iter().max_by_key(|(peer, waiting)| (waiting.len(), **peer));
        let peer = *longest?.0;
        let waiting = line.peers.get_mut(&peer)?;
        let item = waiting.pop_back();
        if waiting.is_empty() {
            line.peers.remove(&peer);
            line.ring.retain(|one| *one != peer);
        }
        line.len -= 1;
        self.len -= 1;
        if line.len == 0 {
            self.lines.remove(&network);
            self.ring.retain(|one| *one != network);
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u16) -> NodeId {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_le_bytes());
        NodeId(id)
    }

    #[test]
    fn who_asks_little_waits_for_one_of_each_network() {
        let mut turns = Turns::default();
        // Three hosts in one network and one in another flood, then two honest ones ask.
        for number in 0..200 {
            for flooder in 0..3 {
                assert_eq!(turns.push(peer(flooder), Network(1), (flooder, number)), None);
            }
            assert_eq!(turns.push(peer(3), Network(2), (3, number)), None);
        }
        assert_eq!(turns.push(peer(4), Network(3), (4, 0)), None);
        assert_eq!(turns.push(peer(5), Network(1), (5, 0)), None);
        let order: Vec<(u16, u16)> = std::iter::from_fn(|| turns.pop()).collect();
        let place = |who| order.iter().position(|one| *one == (who, 0)).unwrap();
        assert_eq!(place(4), 2, "behind one of each network");
        // Three turns of its network, in each of which the two others have one too.
        assert!(place(5) < 12, "{}", place(5));
        assert_eq!((order.len(), turns.len()), (802, 0));
        let of_first: Vec<u16> = order.iter().filter(|one| one.0 == 0).map(|one| one.1).collect();
        assert!(of_first.is_sorted(), "of each what came first");
    }

    #[test]
    fn lines_are_bounded_and_who_asks_little_has_room() {
        let mut turns = Turns::default();
        let mut refused = 0;
        for number in 0..1_000 {
            for flooder in 0..40 {
                let network = Network(u64::from(flooder) / 8);
                refused += usize::from(turns.push(peer(flooder), network, number).is_some());
            }
        }
        assert_eq!((turns.len(), refused), (WAITING_MAX, 40_000 - WAITING_MAX));
        // Somebody loses his newest for the one who has come, also in a network that is full.
        let mut full = Turns::default();
        for number in 0..10_000 {
            let _ = full.push(peer(number % 8), Network(1), number);
        }
        assert_eq!(full.len(), NETWORK_WAITING_MAX);
        assert!(full.push(peer(99), Network(1), 7).is_some_and(|gone| gone != 7));
        assert_eq!((full.len(), full.forget(peer(99))), (NETWORK_WAITING_MAX, vec![7]));
        assert!(turns.push(peer(99), Network(99), 7).is_some_and(|gone| gone != 7));
        assert_eq!(turns.len(), WAITING_MAX);
        assert_eq!(turns.forget(peer(99)), [7]);
        let of_one = turns.forget(peer(0)).len();
        assert!(of_one <= PEER_WAITING_MAX && turns.len() == WAITING_MAX - 1 - of_one);
        assert_eq!(std::iter::from_fn(|| turns.pop()).count(), WAITING_MAX - 1 - of_one);
        assert!(turns.is_empty() && turns.lines.is_empty() && turns.ring.is_empty());
    }
}
