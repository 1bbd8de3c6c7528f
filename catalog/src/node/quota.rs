//! How much a peer, and all peers of a network together, may ask for: token buckets in units of
//! keys, where a request counts as [`REQUEST_COST`] keys beside its own, for that is what it costs.
//! At the limit the request is refused and counted; nothing is queued, so a flood costs no
//! memory. A peer that goes on sending what is false is banned.
//!
//! Key decision: a node works for all of them at a rate of its own, and when that runs short, who
//! serves is served ([`Ledger`]): a peer that answers this node's questions may go on asking, a
//! newcomer has a base allowance, and who only takes is refused first.

use std::collections::HashMap;

use crate::entry::Network;
use crate::node::api::Now;
use crate::node::host::NodeId;

/// A bucket holds this many seconds of its rate: what a campaign's first minute may need.
const BURST_SECS: f64 = 10.0;
/// Most buckets; at the bound those that are full again go, and if none is, the request is
/// refused.
const BUCKETS_MAX: usize = 20_000;
/// What a request costs a node beside its keys, in keys: 23 keys take 107 us (the 214,000 a second
/// of `wireload`), of which the frame is about half, for a bare echo takes 34 us on that machine.
pub(crate) const REQUEST_COST: usize = 20;
/// After how many seconds who is refused may try again: its bucket is full by then. While the node
/// has no time for anybody: soon, for that is nobody's fault.
pub(crate) const RETRY_SECS: u32 = BURST_SECS as u32;
const RETRY_SOON_SECS: u32 = 1;
/// False frames or signatures after which a peer is banned (THREATS 5).
pub(crate) const FAULTS_MAX: u32 = 10;
/// How long a ban lasts, in seconds (an hour, a convention).
pub(crate) const BAN_SECS: u64 = 3600;

/// What a peer asked and what it answered fade by half in this time, in milliseconds (an hour, a
/// choice: longer than an outbreak's first wave, shorter than a day's change of load).
const LEDGER_HALF_LIFE_MS: f64 = 3_600_000.0;
/// What a peer may have asked and answered none, in seconds of its own rate: 88,000 keys by default.
/// With the half-life it is 17 keys/s for good, which among 200 peers is what a site of 1.6 mails/s
/// asks of each (half a request a mail, with 1.4 keys).
const BASE_SECS: f64 = 20.0;
/// How many keys a peer may ask for each that it answered: sites of ten times this one's mail are
/// still served (a choice).
const ASKED_FOR_SERVED: f64 = 10.0;
/// Share of what a peer may have asked and answered none, below which an account says nothing: who
/// stays below it forgotten every minute has 1.5 of his 17 keys/s.
const NOTHING: f64 = 0.001;
/// Share of the node's bucket under which only fair peers are served.
const SHORT: f64 = 0.5;

struct Bucket {
    tokens: f64,
    at_ms: u64,
}

impl Bucket {
    /// What is in it by now, of so much a second.
    fn level(&self, rate: f64, now: Now) -> f64 {
        let secs = now.ms.saturating_sub(self.at_ms) as f64 / 1000.0;
        (self.tokens + secs * rate).min(rate * BURST_SECS)
    }
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

    /// How full a bucket is, 0 to 1.
    fn share(&self, who: K, now: Now) -> f64 {
        let most = self.rate * BURST_SECS;
        self.of.get(&who).map_or(1.0, |bucket| bucket.level(self.rate, now) / most)
    }

    /// Forgets those that are full again.
    fn tidy(&mut self, now: Now) {
        let (rate, most) = (self.rate, self.rate * BURST_SECS);
        self.of.retain(|_, bucket| bucket.level(rate, now) < most);
    }

    /// True when `cost` was there to take.
    fn take(&mut self, who: K, cost: f64, now: Now) -> bool {
        if self.of.len() >= BUCKETS_MAX && !self.of.contains_key(&who) {
            self.tidy(now);
            if self.of.len() >= BUCKETS_MAX {
                return false;
            }
        }
        let (rate, most) = (self.rate, self.rate * BURST_SECS);
        let bucket = self.of.entry(who).or_insert(Bucket { tokens: most, at_ms: now.ms });
        let left = bucket.level(rate, now) - cost;
        bucket.at_ms = now.ms;
        bucket.tokens = if left >= 0.0 { left } else { left + cost };
        left >= 0.0
    }
}

/// What a peer asked of this node, and answered to it, in keys as of `at_ms`.
#[derive(Clone, Copy, Default)]
struct Account {
    asked: f64,
    served: f64,
    failed: f64,
    at_ms: u64,
}

impl Account {
    fn at(self, now: Now) -> Self {
        let ms = now.ms.saturating_sub(self.at_ms) as f64;
        let left = f64::exp2(-ms / LEDGER_HALF_LIFE_MS);
        let (asked, served) = (self.asked * left, self.served * left);
        Self { asked, served, failed: self.failed * left, at_ms: now.ms }
    }

    /// True when the peer may ask for more while there is not enough for all.
    fn is_fair(&self, base: f64) -> bool {
        // Who leaves questions open serves nobody, whatever he answered between.
        let served = if self.failed > self.served { 0.0 } else { self.served };
        self.asked <= base + ASKED_FOR_SERVED * served - self.failed
    }
}

/// Who asked and who served.
struct Ledger {
    base: f64,
    of: HashMap<NodeId, Account>,
}

impl Ledger {
    /// Forgets who has asked and answered next to nothing: he is as good as unknown.
    fn tidy(&mut self, now: Now) {
        let least = self.base * NOTHING;
        self.of.retain(|_, account| {
            let account = account.at(now);
            account.asked + account.served + account.failed >= least
        });
    }

    /// Changes a peer's account; none where there is no room for one more.
    fn change(&mut self, peer: NodeId, now: Now, what: impl FnOnce(&mut Account)) {
        if self.of.len() >= BUCKETS_MAX && !self.of.contains_key(&peer) {
            self.tidy(now);
            if self.of.len() >= BUCKETS_MAX {
                return;
            }
        }
        let account =
            self.of.entry(peer).or_insert(Account { at_ms: now.ms, ..Account::default() });
        *account = account.at(now);
        what(account);
    }

    fn is_fair(&self, peer: NodeId, now: Now) -> bool {
        match self.of.get(&peer) {
            Some(account) => account.at(now).is_fair(self.base),
            // With a full ledger a newcomer can't be told from a flood of them.
            None => self.of.len() < BUCKETS_MAX,
        }
    }
}

/// What a request with so many keys costs.
fn cost_of(keys: usize) -> f64 {
    (REQUEST_COST + keys) as f64
}

/// Quotas of all peers, and their faults.
pub(crate) struct Quotas {
    peers: Buckets<NodeId>,
    networks: Buckets<Network>,
    all: Buckets<()>,
    ledger: Ledger,
    /// Requests refused because this node had no time for them.
    pub(crate) short: u64,
    faults: HashMap<NodeId, u32>,
}

impl Quotas {
    pub(crate) fn new(per_peer: u32, per_network: u32, all: u32) -> Self {
        Self {
            peers: Buckets::new(per_peer),
            networks: Buckets::new(per_network),
            all: Buckets::new(all),
            ledger: Ledger { base: f64::from(per_peer.max(1)) * BASE_SECS, of: HashMap::new() },
            short: 0,
            faults: HashMap::new(),
        }
    }

    /// Whether the peer may have a request with so many keys worked on now; else after how many
    /// seconds it may ask again.
    pub(crate) fn allows(
        &mut self,
        peer: NodeId,
        network: Network,
        keys: usize,
        now: Now,
    ) -> Result<(), u32> {
        let cost = cost_of(keys);
        if !self.peers.take(peer, cost, now) || !self.networks.take(network, cost, now) {
            return Err(RETRY_SECS);
        }
        let fair = self.ledger.is_fair(peer, now);
        let enough = fair || self.all.share((), now) >= SHORT;
        if !enough || !self.all.take((), cost, now) {
            self.short += 1;
            return Err(if fair { RETRY_SOON_SECS } else { RETRY_SECS });
        }
        self.ledger.change(peer, now, |account| account.asked += cost);
        Ok(())
    }

    /// Forgets peers and networks of whom nothing is to be said any more, so that the tables follow
    /// who asks now and not everybody who ever did.
    pub(crate) fn tidy(&mut self, now: Now) {
        self.peers.tidy(now);
        self.networks.tidy(now);
        self.ledger.tidy(now);
    }

    /// The peer answered a question about so many keys.
    pub(crate) fn served(&mut self, peer: NodeId, keys: usize, now: Now) {
        self.ledger.change(peer, now, |account| account.served += cost_of(keys));
    }

    /// The peer left a question about so many keys open.
    pub(crate) fn failed(&mut self, peer: NodeId, keys: usize, now: Now) {
        self.ledger.change(peer, now, |account| account.failed += cost_of(keys));
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
        let mut quotas = Quotas::new(300, 450, u32::MAX);
        let (one, two) = (NodeId([1; 32]), NodeId([2; 32]));
        let (near, far) = (Network(1), Network(2));
        let at = |ms| Now { wall: Time(0), ms };
        let granted = (0..10_000).filter(|i| quotas.allows(one, near, 10, at(*i)).is_ok()).count();
        // A burst of 10 s, and ten seconds' worth more.
        assert!((190..=201).contains(&granted), "{granted}");
        assert_eq!(quotas.allows(two, far, 10, at(10_000)), Ok(()));
        let shared = (0..100).filter(|_| quotas.allows(two, near, 10, at(10_000)).is_ok()).count();
        assert!(shared < 100, "networks have a bucket of their own");
    }

    #[test]
    fn buckets_are_bounded() {
        let mut quotas = Quotas::new(10, u32::MAX, u32::MAX);
        let now = Now { wall: Time(0), ms: 0 };
        let mut granted = 0;
        for peer in 0..30_000u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&peer.to_le_bytes());
            granted += usize::from(quotas.allows(NodeId(id), Network(1), 1, now).is_ok());
        }
        assert_eq!((granted, quotas.peers.of.len()), (BUCKETS_MAX, BUCKETS_MAX));
    }

    fn peer(number: u32) -> NodeId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_le_bytes());
        NodeId(id)
    }

    /// Twenty peers ask as fast as the node can serve all of them twice over; number 0 to 3 answer
    /// nothing, 4 to 15 answer, 16 to 19 have just come. Gives the share that each sort got.
    #[test]
    fn when_time_is_short_who_serves_is_served() {
        // 10,000 keys/s for all, 1,000 for each; each asks 1,000.
        let mut quotas = Quotas::new(1_000, u32::MAX, 10_000);
        let (mut asked, mut got) = ([0u32; 3], [0u32; 3]);
        for second in 0..600u64 {
            for step in 0..10 {
                let now = Now { wall: Time(0), ms: second * 1000 + step * 100 };
                // Newcomers ask what a small site does: once a second.
                for number in 0..if step == 0 { 20u32 } else { 16 } {
                    let (sort, keys) = match number {
                        0..4 => (0, 100),
                        4..16 => (1, 60),
                        _ => (2, 1),
                    };
                    asked[sort] += 1;
                    let network = Network(u64::from(number));
                    got[sort] += u32::from(quotas.allows(peer(number), network, keys, now).is_ok());
                    if step == 0 && sort == 0 {
                        quotas.failed(peer(number), 20, now);
                    }
                    if step == 0 && sort == 1 {
                        quotas.served(peer(number), 200, now);
                    }
                }
            }
        }
        let share = |sort: usize| f64::from(got[sort]) / f64::from(asked[sort]);
        assert_eq!((share(1), share(2)), (1.0, 1.0), "who serves, and who has just come");
        assert!(share(0) < 0.8, "who only takes: {}", share(0));
        assert!(quotas.short > 0);
    }

    #[test]
    fn accounts_fade_and_are_bounded() {
        let mut quotas = Quotas::new(10, u32::MAX, u32::MAX);
        let at = |ms| Now { wall: Time(0), ms };
        quotas.failed(peer(1), 1_000, at(0));
        assert!(!quotas.ledger.is_fair(peer(1), at(0)));
        assert!(quotas.ledger.is_fair(peer(1), at(24 * 3_600_000)));
        for number in 0..30_000 {
            quotas.failed(peer(number), 100, at(0));
        }
        assert_eq!(quotas.ledger.of.len(), BUCKETS_MAX);
        assert!(!quotas.ledger.is_fair(peer(29_999), at(0)), "a flood of newcomers is not served");
        quotas.served(peer(29_999), 1, at(24 * 3_600_000));
        assert!(quotas.ledger.of.len() < BUCKETS_MAX, "who has done nothing for long is forgotten");
    }

    #[test]
    fn who_asked_little_is_forgotten_within_a_minute() {
        let mut quotas = Quotas::new(4_400, u32::MAX, u32::MAX);
        let at = |ms| Now { wall: Time(0), ms };
        for number in 0..1_000 {
            let network = Network(u64::from(number));
            assert_eq!(quotas.allows(peer(number), network, 1, at(0)), Ok(()));
        }
        quotas.failed(peer(7), 100_000, at(0));
        quotas.tidy(at(60_000));
        let left = [quotas.peers.of.len(), quotas.networks.of.len(), quotas.ledger.of.len()];
        assert_eq!(left, [0, 0, 1]);
        assert!(!quotas.ledger.is_fair(peer(7), at(60_000)), "what counts against one is kept");
    }

    #[test]
    fn ten_faults_ban() {
        let mut quotas = Quotas::new(1, 1, 1);
        let bans = (0..20).filter(|_| quotas.fault(NodeId([1; 32]))).count();
        assert_eq!(bans, 2);
    }
}
