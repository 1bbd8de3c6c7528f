//! Which peers hold a key: in each of three independent regions the two nearest, at most one in
//! a network and one of a site while there are enough of them (DESIGN 4.2). A pure function of
//! the table, so everybody who has the same table finds the same peers without asking anybody.
//!
//! Key decision: nearness on a ring, not rendezvous hashing over all members: finding the six
//! costs six short walks instead of a hash for every member, and a member that comes or goes
//! moves only the keys beside it.

use smallvec::SmallVec;

use crate::digest::Key;
use crate::entry::Network;
use crate::identity::SiteId;
use crate::node::config::{NEAREST, REGIONS, REPLICAS};
use crate::node::membership::{Membership, Row, mix, place_of};

/// How many peers a region looks at for one in a network that holds none of the key yet; then
/// the rule relaxes. With 10 networks of equal size it finds one with all but 2 in 10^3 (9
/// networks left of which 0.6^16), and it bounds the walk.
const WALK_MAX: usize = 16;

/// How many trusted members are nearest to a key beside its holders (see [`super::anchors`]): two,
/// for one may be down, or not be trusted by who asks.
pub(crate) const ANCHORS: usize = 2;
/// How many members are looked at for them: with one in a hundred trusted it finds both but for one
/// key in 2,000.
const BESIDE_MAX: usize = 1_024;

/// The holders of a key: indices into [`Membership::rows`], by region, nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Who holds it.
    pub(crate) holders: SmallVec<[u32; REPLICAS]>,
    /// How many of them share a network with another.
    pub(crate) relaxed: u32,
}

/// The place of a key in a region.
fn point(key: Key, region: usize) -> u64 {
    // Keys are hashes already; the constants are the first digits of pi, e and the golden ratio.
    const REGION: [u64; REGIONS] =
        [0x243f_6a88_85a3_08d3, 0xb7e1_5162_8aed_2a6a, 0x9e37_79b9_7f4a_7c15];
    mix(key.0 ^ REGION[region])
}

/// How far a site's first host is from a key on the ring, in each region: of 2^64, what somebody
/// makes small who draws identities until he holds what he wants to hide (docs/threats.md).
#[must_use]
pub fn distances(key: Key, site: SiteId) -> [u64; REGIONS] {
    let pos = place_of(site, 0);
    std::array::from_fn(|region| {
        let ahead = pos.wrapping_sub(point(key, region));
        ahead.min(ahead.wrapping_neg())
    })
}

/// The first row at or after a point. Places are hashes and so spread evenly, so it is found near
/// where it would be if they were quite even: that takes a few rows beside each other instead of a
/// search over all, which in a table of 10,000 are as many misses of the cache. However uneven
/// somebody draws places, it takes no more than the search would.
fn first_from(rows: &[Row], point: u64) -> usize {
    let share = |of: i128| isize::try_from((of * rows.len() as i128) >> 64).unwrap_or(0);
    let guess = usize::try_from(share(i128::from(point))).unwrap_or(0);
    let Some(there) = rows.get(guess) else { return 0 };
    let ahead = i128::from(point) - i128::from(there.pos);
    let guess = guess.saturating_add_signed(share(ahead)).min(rows.len());
    let mut width = 4;
    let mut low = guess.saturating_sub(width);
    while low > 0 && rows[low].pos >= point {
        width *= 4;
        low = low.saturating_sub(width);
    }
    let mut high = (guess + width).min(rows.len());
    while high < rows.len() && rows[high - 1].pos < point {
        low = high;
        width *= 4;
        high = (high + width).min(rows.len());
    }
    low + rows[low..high].partition_point(|row| row.pos < point)
}

/// Walks away from a point to both sides, nearest first.
struct Walk<'a> {
    rows: &'a [Row],
    point: u64,
    up: usize,
    down: usize,
    left: usize,
}

impl<'a> Walk<'a> {
    fn from(rows: &'a [Row], point: u64) -> Self {
        let up = first_from(rows, point);
        let down = up.checked_sub(1).unwrap_or(rows.len().saturating_sub(1));
        Self { rows, point, up: up % rows.len().max(1), down, left: rows.len() }
    }
}

impl Iterator for Walk<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let ahead = self.rows[self.up].pos.wrapping_sub(self.point);
        let behind = self.point.wrapping_sub(self.rows[self.down].pos);
        if ahead <= behind {
            let at = self.up;
            self.up = (self.up + 1) % self.rows.len();
            Some(at)
        } else {
            let at = self.down;
            self.down = self.down.checked_sub(1).unwrap_or(self.rows.len() - 1);
            Some(at)
        }
    }
}

/// The holders of `key` by the table of this node.
pub(crate) fn place(members: &Membership, key: Key) -> Placement {
    place_among(members, key, Row::holds)
}

/// Who would hold `key` if all members answered: where none of them does, what lay under it may be
/// nowhere any more.
pub(crate) fn regular(members: &Membership, key: Key) -> impl Iterator<Item = &Row> {
    let found = place_among(members, key, |row| row.placed && !row.record.leaving);
    found.holders.into_iter().map(|at| &members.rows()[at as usize])
}

fn place_among(members: &Membership, key: Key, may_hold: impl Fn(&Row) -> bool) -> Placement {
    let rows = members.rows();
    let mut found = Placement::default();
    for region in 0..REGIONS {
        let wanted = (region + 1) * NEAREST;
        let mut near: SmallVec<[usize; WALK_MAX]> = SmallVec::new();
        for at in Walk::from(rows, point(key, region)) {
            if found.holders.len() >= wanted || near.len() >= WALK_MAX {
                break;
            }
            if !may_hold(&rows[at]) || holds_already(&found, at) {
                continue;
            }
            near.push(at);
            if is_apart(rows, &found, at) {
                found.holders.push(index(at));
            }
        }
        for at in near {
            if found.holders.len() < wanted && !holds_already(&found, at) {
                found.holders.push(index(at));
                found.relaxed += 1;
            }
        }
    }
    found
}

/// Who holds each of a mail's keys, by the table as it is now: found once, looked at by all who need it.
pub(crate) struct Placed(Vec<(Key, Placement)>);

impl Placed {
    /// The keys ascend.
    pub(crate) fn of(members: &Membership, keys: &[Key]) -> Self {
        debug_assert!(keys.is_sorted());
        Self(keys.iter().map(|key| (*key, place(members, *key))).collect())
    }

    pub(crate) fn at(&self, key: Key) -> Option<&Placement> {
        let at = self.0.binary_search_by_key(&key, |one| one.0).ok()?;
        Some(&self.0[at].1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &Placement)> {
        self.0.iter().map(|(key, placement)| (*key, placement))
    }
}

/// The nearest members beside a key's holders that are `trusted`, one in a network: indices into
/// [`Membership::rows`].
pub(crate) fn beside(
    members: &Membership,
    key: Key,
    placement: &Placement,
    trusted: impl Fn(&Row) -> bool,
) -> SmallVec<[u32; ANCHORS]> {
    let rows = members.rows();
    let mut found = Placement::default();
    for at in Walk::from(rows, point(key, 0)).take(BESIDE_MAX) {
        let row = &rows[at];
        if row.holds()
            && !holds_already(placement, at)
            && trusted(row)
            && is_apart(rows, &found, at)
        {
            found.holders.push(index(at));
            if found.holders.len() == ANCHORS {
                break;
            }
        }
    }
    found.holders.into_iter().collect()
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn holds_already(found: &Placement, at: usize) -> bool {
    found.holders.contains(&index(at))
}

/// True when no holder is of the same network or site.
fn is_apart(rows: &[Row], found: &Placement, at: usize) -> bool {
    let network: Network = rows[at].network;
    found.holders.iter().all(|holder| {
        let other = &rows[*holder as usize];
        other.network != network && other.record.site() != rows[at].record.site()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::identity::Identity;
    use crate::node::api::Now;
    use crate::node::group::Group;
    use crate::node::host::{HostCertificate, NodeId, Observation, PrefixBits};
    use crate::node::member::MemberRecord;
    use std::collections::HashSet;
    use std::sync::Arc;

    const NOW: Time = Time(1_800_000_000);

    fn table(sites: usize, networks: usize) -> Membership {
        let key = |number: usize| {
            let mut seed = [3; 32];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            Identity::from_seed(&seed)
        };
        let observers = [key(1_000_001), key(1_000_002)];
        let mut members = Membership::new(NodeId([0; 32]), PrefixBits::default(), 10_000);
        for number in 0..sites {
            let host = key(number);
            let node = NodeId::of(&host);
            let byte = u8::try_from(number % networks).unwrap();
            let seen =
                observers.iter().map(|by| Observation::make(by, node, [9, byte, 0, 1].into(), NOW));
            let certificate = HostCertificate::issue(&host, node, Time(NOW.0 + 9_000));
            let record =
                MemberRecord::make(&host, &Group::Open, certificate, NOW, vec![], seen.collect());
            members.learn(Arc::new(record), NOW);
        }
        members
    }

    fn holders(members: &Membership, key: u64) -> Vec<NodeId> {
        let placement = place(members, Key(key));
        placement.holders.iter().map(|at| members.rows()[*at as usize].record.node).collect()
    }

    #[test]
    fn the_first_from_a_point_is_found_in_even_and_uneven_tables() {
        let points = |row: &Row| [row.pos - 1, row.pos, row.pos + 1];
        for sites in [0, 1, 2, 3, 7, 64, 300] {
            let mut rows = table(sites, 100).rows().to_vec();
            for uneven in 0..4 {
                let edges = [0, 1, 1 << 32, u64::MAX / 2, u64::MAX - 1, u64::MAX];
                let near = rows.iter().flat_map(points).collect::<Vec<_>>();
                for point in edges.into_iter().chain(near).chain((0..500).map(mix)) {
                    let simply = rows.partition_point(|row| row.pos < point);
                    assert_eq!(first_from(&rows, point), simply, "{sites} {uneven} {point}");
                }
                // All crowd at the beginning of the ring, closer each time.
                rows.iter_mut().for_each(|row| row.pos = (row.pos >> (8 * uneven + 8)).max(1));
                rows.sort_by_key(|row| row.pos);
            }
        }
    }

    #[test]
    fn all_members_are_found_while_others_come_and_go() {
        let mut members = table(200, 50);
        let mut all: Vec<Arc<MemberRecord>> =
            members.rows().iter().map(|row| Arc::clone(&row.record)).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut all);
        let found = |members: &Membership, record: &MemberRecord| {
            let row = members.get(record.node);
            assert!(row.is_none_or(|row| row.record.node == record.node));
            assert_eq!(members.network_of(record.site()), row.map(|row| row.network));
            row.is_some()
        };
        for gone in 0..all.len() {
            members.forget(all[gone].node);
            assert!(all.iter().enumerate().all(|(at, one)| found(&members, one) == (at > gone)));
        }
        for back in 0..all.len() {
            members.learn(Arc::clone(&all[back]), NOW);
            assert!(all.iter().enumerate().all(|(at, one)| found(&members, one) == (at <= back)));
        }
    }

    #[test]
    fn six_distinct_peers_in_six_networks() {
        let members = table(300, 60);
        for key in 0..500 {
            let placement = place(&members, Key(mix(key)));
            let rows = placement.holders.iter().map(|at| &members.rows()[*at as usize]);
            let networks: HashSet<Network> = rows.map(|row| row.network).collect();
            assert_eq!((placement.holders.len(), networks.len(), placement.relaxed), (6, 6, 0));
        }
    }

    #[test]
    fn with_fewer_networks_than_replicas_the_rule_relaxes_and_says_so() {
        for (sites, networks) in [(300, 2), (8, 1), (4, 4), (1, 1)] {
            let placement = place(&table(sites, networks), Key(77));
            assert_eq!(placement.holders.len(), sites.min(REPLICAS));
            let apart = networks.min(sites).min(REPLICAS);
            assert_eq!(placement.relaxed as usize, placement.holders.len() - apart);
        }
        assert!(place(&table(0, 1), Key(77)).holders.is_empty());
    }

    #[test]
    fn keys_are_spread_evenly() {
        let members = table(100, 100);
        let mut counts = std::collections::HashMap::new();
        for key in 0..10_000 {
            for node in holders(&members, mix(key)) {
                *counts.entry(node).or_insert(0u32) += 1;
            }
        }
        let most = counts.values().max().unwrap();
        assert!(*most < 5 * 600, "mean 600, most {most}");
    }

    #[test]
    fn one_that_does_not_answer_moves_only_its_own_keys() {
        let mut members = table(200, 100);
        let before: Vec<Vec<NodeId>> = (0..1_000).map(|key| holders(&members, mix(key))).collect();
        let gone = members.rows()[7].record.node;
        members.failed(gone, true, Now { wall: NOW, ms: 5 });
        for (key, before) in before.iter().enumerate() {
            let after = holders(&members, mix(key as u64));
            assert!(!after.contains(&gone));
            if !before.contains(&gone) {
                assert_eq!(*before, after);
            }
        }
        assert!(members.answered(gone, Now { wall: NOW, ms: 6 }));
        assert_eq!(before[0], holders(&members, mix(0)));
    }

    #[test]
    fn who_holds_regularly_stays_when_others_stand_in() {
        let mut members = table(200, 100);
        let before = holders(&members, 77);
        let up = |members: &Membership| regular(members, Key(77)).filter(|row| row.up()).count();
        for (ms, gone) in (1..).zip(&before) {
            assert!(up(&members) > 0, "{ms} are left");
            members.failed(*gone, true, Now { wall: NOW, ms });
        }
        assert_eq!(up(&members), 0);
        assert!(regular(&members, Key(77)).map(|row| row.record.node).eq(before.iter().copied()));
        assert!(holders(&members, 77).iter().all(|node| !before.contains(node)));
        members.answered(before[3], Now { wall: NOW, ms: 9 });
        assert_eq!(up(&members), 1);
    }
}
