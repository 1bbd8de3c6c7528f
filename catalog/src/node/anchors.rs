//! Ground keys: who draws identities until they lie around a campaign's keys holds all of them, and
//! hides what is said there. He can't draw the trust of others. So where those who hold a mail's
//! keys are strangers more often than chance makes them, the mail is also stated to, and asked of,
//! the nearest members that this node's site trusts: its *anchors*.
//!
//! Key decision: what is usual is counted at keys of this node's own choice, in its own table and by
//! its own trust. So anchors cost nothing in peace, however few sites are trusted; a holder that is
//! trusted by one side is asked by both anyway, and who is trusted by neither is no anchor.

use smallvec::SmallVec;

use crate::digest::Key;
use crate::identity::SiteId;
use crate::node::api::Now;
use crate::node::config::REPLICAS;
use crate::node::host::NodeId;
use crate::node::membership::mix;
use crate::node::placement::{ANCHORS, Placed, Placement, beside, place};
use crate::node::state::Node;

/// Keys at which it is counted how many holders are trusted: half a millisecond's work.
const SAMPLES: usize = 256;
/// How long a count is good while members come and go, in milliseconds.
const USUAL_MS: u64 = 60_000;
/// Trusted holders of a key from which nobody is wary: one may be bought or broken into.
const ENOUGH: usize = 2;
/// A key is suspect when so small a share of all have as few trusted holders (one in twenty: what
/// wariness about the least key alone costs then is 0.3 % of a mail's bytes).
const SELDOM: f64 = 0.05;
/// A mail is suspect when chance makes so many suspect keys in so small a share of mails.
const BY_CHANCE: f64 = 0.001;

/// How many holders of a key are trusted, usually.
#[derive(Default)]
pub(crate) struct Usual {
    /// Share of keys by trusted holders, 0 and 1.
    shares: [f64; ENOUGH],
    changes: u64,
    made_ms: Option<u64>,
}

impl Usual {
    /// The agent trusts others than before.
    pub(crate) fn forget(&mut self) {
        self.made_ms = None;
    }

    /// True when so few trusted holders are seldom.
    fn is_seldom(&self, trusted: usize) -> bool {
        trusted < ENOUGH && self.shares[..=trusted].iter().sum::<f64>() < SELDOM
    }

    /// One that nobody trusted holds always is.
    fn is_suspect(&self, trusted: usize) -> bool {
        trusted == 0 || self.is_seldom(trusted)
    }

    /// True when so many suspect keys of so many are no chance.
    fn is_no_chance(&self, suspect: usize, of: usize) -> bool {
        let share: f64 =
            (0..ENOUGH).filter(|one| self.is_suspect(*one)).map(|one| self.shares[one]).sum();
        at_least(suspect, of, share.min(1.0)) < BY_CHANCE
    }
}

/// The chance that of `of` draws at least `count` hit, each with the chance `each`.
fn at_least(count: usize, of: usize, each: f64) -> f64 {
    let mut sum = 0.0;
    let mut ways = 1.0;
    for hits in 0..=of {
        let misses = i32::try_from(of - hits).unwrap_or(i32::MAX);
        if hits >= count {
            sum += ways
                * each.powi(i32::try_from(hits).unwrap_or(i32::MAX))
                * (1.0 - each).powi(misses);
        }
        ways *= (of - hits) as f64 / (hits + 1) as f64;
    }
    sum
}

impl Node {
    fn trusts(&self, site: &SiteId) -> bool {
        *site == self.certificate.site || self.replica.trusts(site)
    }

    fn trusted_holders(&self, placement: &Placement) -> usize {
        let rows = self.members.rows();
        let sites = placement.holders.iter().map(|at| rows[*at as usize].record.site());
        sites.filter(|site| self.trusts(site)).count()
    }

    /// Those of a mail's keys that are to be stated and asked beside their holders too. `home` is
    /// the one under which its statement lies whole: who holds that key alone could hide it. All of
    /// the keys are `placed`.
    pub(crate) fn wary_of(
        &mut self,
        keys: &[Key],
        placed: &Placed,
        home: Option<Key>,
        now: Now,
    ) -> Vec<Key> {
        if !self.replica.trusts_somebody() {
            return Vec::new();
        }
        let counted =
            keys.iter().filter_map(|key| Some((*key, self.trusted_holders(placed.at(*key)?))));
        let few: SmallVec<[(Key, usize); 8]> = counted.filter(|one| one.1 < ENOUGH).collect();
        if few.is_empty() {
            return Vec::new();
        }
        self.count_usual(now);
        let suspect = few.iter().filter(|one| self.usual.is_suspect(one.1)).count();
        let all = self.usual.is_no_chance(suspect, keys.len());
        let wary = few.iter().filter(|(key, trusted)| {
            let usual = &self.usual;
            all && usual.is_suspect(*trusted) || Some(*key) == home && usual.is_seldom(*trusted)
        });
        wary.map(|one| one.0).collect()
    }

    fn count_usual(&mut self, now: Now) {
        let changes = self.members.changes();
        if let Some(made_ms) = self.usual.made_ms
            && (changes == self.usual.changes || now.ms < made_ms.saturating_add(USUAL_MS))
        {
            return;
        }
        let mut counts = [0.0; REPLICAS + 1];
        for sample in 0..SAMPLES {
            counts[self.trusted_holders(&place(&self.members, Key(mix(sample as u64 + 1))))] += 1.0;
        }
        // Half a key more than was counted: what was not met is not impossible.
        let shares = std::array::from_fn(|of| (counts[of] + 0.5) / (SAMPLES + 1) as f64);
        self.usual = Usual { shares, changes, made_ms: Some(now.ms) };
    }

    /// The trusted members nearest to a key, beside its holders.
    pub(crate) fn anchors_of(&self, key: Key) -> SmallVec<[NodeId; ANCHORS]> {
        self.anchors_beside(key, &place(&self.members, key))
    }

    /// The same, beside holders that are known already.
    pub(crate) fn anchors_beside(
        &self,
        key: Key,
        placement: &Placement,
    ) -> SmallVec<[NodeId; ANCHORS]> {
        let rows = self.members.rows();
        let anchors = beside(&self.members, key, placement, |row| self.trusts(&row.record.site()));
        anchors.into_iter().map(|at| rows[at as usize].record.node).collect()
    }

    /// Whom this node asks about each of a mail's keys: its holders, and anchors where it is wary.
    #[must_use]
    pub fn asks(&mut self, keys: &[Key], now: Now) -> Vec<(Key, Vec<NodeId>)> {
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        let placed = Placed::of(&self.members, &sorted);
        let wary = self.wary_of(keys, &placed, sorted.first().copied(), now);
        let asked = keys.iter().filter_map(|key| {
            let placement = placed.at(*key)?;
            let mut nodes = self.nodes_at(placement);
            if wary.contains(key) {
                nodes.extend(self.anchors_beside(*key, placement));
            }
            Some((*key, nodes))
        });
        asked.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_of_draws() {
        assert!((at_least(1, 2, 0.5) - 0.75).abs() < 1e-12);
        assert!((at_least(0, 23, 0.3) - 1.0).abs() < 1e-12);
        assert!((at_least(23, 23, 0.5) - 0.5f64.powi(23)).abs() < 1e-15);
        assert!(at_least(48, 48, 1.0) > 0.999 && at_least(24, 23, 1.0) == 0.0);
    }

    #[test]
    fn what_is_usual_is_not_suspect() {
        // Nearly all are trusted: three keys without a trusted holder are no chance.
        let most = Usual { shares: [0.002, 0.006], ..Usual::default() };
        assert!(most.is_seldom(0) && most.is_seldom(1) && !most.is_seldom(2));
        assert!(most.is_no_chance(3, 23) && !most.is_no_chance(1, 23));
        // One in ten is: half of all keys have none, and that is no reason.
        let few = Usual { shares: [0.53, 0.35], ..Usual::default() };
        assert!(!few.is_seldom(0) && !few.is_no_chance(15, 23) && few.is_no_chance(23, 23));
    }
}
