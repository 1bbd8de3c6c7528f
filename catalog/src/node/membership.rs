//! Who takes part: a table of membership records, sorted by place on a ring of 64 bits, so that
//! the peers nearest to a key are found by one search and no hop. A record proves itself
//! ([`MemberRecord`]); what each node adds is whether the member *answers*, as seen from here.
//!
//! Key decision: placing a key needs the table to be the same everywhere, so whether a member may
//! hold keys ([`Row::placed`]) follows from its record alone: its address is confirmed by two
//! peers. Only "does not answer" is a view of one's own: replicas are then chosen as if the
//! member were not there, by everybody who noticed.

use std::sync::Arc;

use crate::clock::{EPOCH_SECS, Time};
use crate::entry::Network;
use crate::identity::SiteId;
use crate::node::api::Now;
use crate::node::host::{NodeId, PrefixBits};
use crate::node::member::MemberRecord;
use crate::node::wire::MEMBER_BUCKETS;

/// A member renews its record after this time, in seconds. At 100,000 members and 500 bytes a
/// record this is 14 kB/s of gossip.
pub(crate) const RENEW_SECS: u64 = 3600;
/// A record older than this is dropped: two renewals missed, and half an hour for clocks.
pub(crate) const EXPIRE_SECS: u64 = 9000;
/// Peers that must have seen a member at one network before it may hold keys (DESIGN 4.2). While
/// there are fewer than three members beside it one suffices.
const CONFIRMED_BY: usize = 2;
/// First and longest time before a member that did not answer is tried again, in milliseconds.
const RETRY_MS: (u64, u64) = (2_000, 30_000);

/// A member as seen from here.
#[derive(Clone)]
pub(crate) struct Row {
    /// Its place on the ring.
    pub(crate) pos: u64,
    /// What it says of itself.
    pub(crate) record: Arc<MemberRecord>,
    /// Where it was observed.
    pub(crate) network: Network,
    /// When it is tried again; 0 while it answers.
    pub(crate) retry_ms: u64,
    /// When it last answered or spoke; 0: not since this node started.
    heard_ms: u64,
    /// When it last failed to answer; 0: not since this node started.
    failed_ms: u64,
    /// Failures since it last answered.
    fails: u8,
    /// How often it came back: its holdings may have gaps from the times between.
    returns: u8,
    /// May hold keys.
    pub(crate) placed: bool,
}

impl Row {
    /// True when it answers, as far as is known.
    pub(crate) fn up(&self) -> bool {
        self.retry_ms == 0
    }

    /// True when keys are placed at it.
    pub(crate) fn holds(&self) -> bool {
        self.placed && self.up() && !self.record.leaving
    }

    /// Changes whenever what the member holds may have been lost or missed something.
    pub(crate) fn stay(&self) -> u32 {
        let host = first_of(&self.record.node.0);
        let mixed = mix(host ^ self.record.boot.0.rotate_left(20) ^ u64::from(self.returns));
        (mixed >> 32) as u32 | 1
    }
}

/// What a record did to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learnt {
    /// A new member.
    New,
    /// A newer record of a known one.
    Newer,
    /// Known already, or older.
    Old,
    /// Its time lies in the future, or it is too old.
    Clock,
    /// The table is full.
    Full,
}

/// Places by hashes, sorted: sixteen bytes for each, as a simulator has thousands of tables.
#[derive(Default)]
struct Index(Vec<(u64, u64)>);

impl Index {
    /// The places noted for a hash.
    fn of(&self, hash: u64) -> impl Iterator<Item = u64> {
        let first = self.0.partition_point(|one| one.0 < hash);
        self.0[first..].iter().take_while(move |one| one.0 == hash).map(|one| one.1)
    }

    fn add(&mut self, hash: u64, pos: u64) {
        let at = self.0.partition_point(|one| *one < (hash, pos));
        self.0.insert(at, (hash, pos));
    }

    fn remove(&mut self, hash: u64, pos: u64) {
        if let Ok(at) = self.0.binary_search(&(hash, pos)) {
            self.0.remove(at);
        }
    }
}

/// The table.
pub(crate) struct Membership {
    home: NodeId,
    prefix: PrefixBits,
    rows_max: usize,
    rows: Vec<Row>,
    /// Each member's place.
    nodes: Index,
    /// The places of each site's hosts.
    sites: Index,
    sums: [u64; MEMBER_BUCKETS],
    changes: u64,
    down: usize,
}

/// The finaliser of SplitMix64: spreads bits evenly.
pub(crate) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Places on the ring that hosts of one site may have, by their lanes; beyond, they stand in for
/// each other. So a host's place is its site's: to draw another is to give up one's name, and what
/// trust it has (docs/threats.md).
const PLACES: u16 = 16;

/// The place on the ring of a site's host: 64 bits of a hash.
pub(crate) fn place_of(site: SiteId, lane: u16) -> u64 {
    let mut input = [0; 34];
    input[..32].copy_from_slice(&site.0);
    input[32..].copy_from_slice(&(lane % PLACES).to_le_bytes());
    first_of(blake3::hash(&input).as_bytes())
}

fn place_in(record: &MemberRecord) -> u64 {
    place_of(record.site(), record.certificate.lane)
}

fn first_of(bytes: &[u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(first)
}

fn site_hash(site: SiteId) -> u64 {
    // Only an index: equal hashes are told apart by the record.
    mix(first_of(&site.0))
}

fn sum_of(record: &MemberRecord) -> u64 {
    mix(first_of(&record.node.0) ^ mix(record.made.0))
}

fn bucket_of(pos: u64) -> usize {
    usize::try_from(pos >> 58).unwrap_or(0)
}

/// The part of the table in which a record is.
pub(crate) fn part_of(record: &MemberRecord) -> u8 {
    u8::try_from(bucket_of(place_in(record))).unwrap_or(0)
}

impl Membership {
    pub(crate) fn new(home: NodeId, prefix: PrefixBits, rows_max: usize) -> Self {
        let (rows, nodes, sites) = (Vec::new(), Index::default(), Index::default());
        let (sums, rows_max) = ([0; MEMBER_BUCKETS], rows_max.max(1));
        Self { home, prefix, rows_max, rows, nodes, sites, sums, changes: 0, down: 0 }
    }

    /// All members, by place.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Grows with every change that can move a key.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Sums over the parts of the table, to be compared with another's.
    pub(crate) fn sums(&self) -> &[u64; MEMBER_BUCKETS] {
        &self.sums
    }

    /// Members that do not answer.
    pub(crate) fn down(&self) -> usize {
        self.down
    }

    fn index(&self, node: NodeId) -> Option<usize> {
        self.nodes.of(first_of(&node.0)).find_map(|pos| {
            let first = self.rows.partition_point(|row| row.pos < pos);
            let here = self.rows[first..].iter().take_while(|row| row.pos == pos);
            Some(first + here.map(|row| row.record.node).position(|of| of == node)?)
        })
    }

    /// The member `node`.
    pub(crate) fn get(&self, node: NodeId) -> Option<&Row> {
        self.index(node).map(|at| &self.rows[at])
    }

    /// The network of a site: that of its host with the first place among those that may hold
    /// keys, else of its first.
    pub(crate) fn network_of(&self, site: SiteId) -> Option<Network> {
        let rows = self.sites.of(site_hash(site)).filter_map(|pos| {
            let at = self.rows.partition_point(|row| row.pos < pos);
            self.rows.get(at).filter(|row| row.record.site() == site)
        });
        rows.min_by_key(|row| (!row.placed, row.pos)).map(|row| row.network)
    }

    /// Takes a record in that [`crate::node::Verifier::member`] has checked.
    pub(crate) fn learn(&mut self, record: Arc<MemberRecord>, now: Time) -> Learnt {
        if record.made.0 > now.0 + EPOCH_SECS || now.secs_since(record.made) > EXPIRE_SECS {
            return Learnt::Clock;
        }
        match self.index(record.node) {
            Some(at) if record.made <= self.rows[at].record.made => Learnt::Old,
            Some(at) => {
                self.renew(at, record);
                Learnt::Newer
            }
            None if self.rows.len() >= self.rows_max => Learnt::Full,
            None => {
                self.add(record);
                Learnt::New
            }
        }
    }

    /// Takes many records in at once, as from an address book.
    pub(crate) fn fill(&mut self, mut records: Vec<Arc<MemberRecord>>, now: Time) {
        if !self.rows.is_empty() || records.len() < 64 {
            for record in records {
                self.learn(record, now);
            }
            return;
        }
        records.retain(|record| {
            record.made.0 <= now.0 + EPOCH_SECS && now.secs_since(record.made) <= EXPIRE_SECS
        });
        records.sort_by_key(|record| (record.node, std::cmp::Reverse(record.made)));
        records.dedup_by_key(|record| record.node);
        let mut placed: Vec<(u64, Arc<MemberRecord>)> =
            records.into_iter().map(|record| (place_in(&record), record)).collect();
        placed.sort_by_key(|(pos, record)| (*pos, record.node));
        placed.truncate(self.rows_max);
        for (pos, record) in placed {
            self.sums[bucket_of(pos)] ^= sum_of(&record);
            self.sites.0.push((site_hash(record.site()), pos));
            self.nodes.0.push((first_of(&record.node.0), pos));
            self.rows.push(self.row(pos, record, CONFIRMED_BY + 1));
        }
        self.sites.0.sort_unstable();
        self.nodes.0.sort_unstable();
        self.changes += 1;
    }

    /// A member of whom nothing is known but his record, among so many others.
    fn row(&self, pos: u64, record: Arc<MemberRecord>, others: usize) -> Row {
        let (network, placed) = self.judge(&record, others);
        Row {
            pos,
            record,
            network,
            retry_ms: 0,
            heard_ms: 0,
            failed_ms: 0,
            fails: 0,
            returns: 0,
            placed,
        }
    }

    fn add(&mut self, record: Arc<MemberRecord>) {
        let pos = place_in(&record);
        self.nodes.add(first_of(&record.node.0), pos);
        self.sites.add(site_hash(record.site()), pos);
        let at = self.rows.partition_point(|row| (row.pos, row.record.node) < (pos, record.node));
        self.sums[bucket_of(pos)] ^= sum_of(&record);
        self.rows.insert(at, self.row(pos, record, self.rows.len()));
        self.changes += 1;
        if self.rows.len() == CONFIRMED_BY + 2 {
            // From now on one observer no longer suffices.
            for at in 0..self.rows.len() {
                let (network, placed) = self.judge(&self.rows[at].record, self.rows.len() - 1);
                (self.rows[at].network, self.rows[at].placed) = (network, placed);
            }
        }
    }

    fn renew(&mut self, at: usize, record: Arc<MemberRecord>) {
        if self.rows[at].record.site() != record.site() || self.rows[at].pos != place_in(&record) {
            // It speaks for another site now, or in another lane.
            self.remove(at);
            self.add(record);
            return;
        }
        let (network, placed) = self.judge(&record, self.rows.len() - 1);
        let row = &mut self.rows[at];
        self.sums[bucket_of(row.pos)] ^= sum_of(&row.record) ^ sum_of(&record);
        let moved = (row.network, row.placed, row.record.leaving, row.record.boot)
            != (network, placed, record.leaving, record.boot);
        (row.network, row.placed, row.record) = (network, placed, record);
        self.changes += u64::from(moved);
    }

    /// The network at which enough others saw the member, and whether there is one.
    fn judge(&self, record: &MemberRecord, others: usize) -> (Network, bool) {
        let needed = if others < CONFIRMED_BY + 1 { 1 } else { CONFIRMED_BY };
        let networks: Vec<Network> =
            record.observed().map(|(_, address)| self.prefix.network(address)).collect();
        let count = |of: &Network| networks.iter().filter(|one| *one == of).count();
        match networks.iter().max_by_key(|of| (count(of), **of)) {
            Some(network) => (*network, count(network) >= needed),
            None => (Network::named("not observed"), false),
        }
    }

    /// The member answered, or spoke: true when it did not before.
    pub(crate) fn answered(&mut self, node: NodeId, now: Now) -> bool {
        let Some(at) = self.index(node) else { return false };
        let row = &mut self.rows[at];
        (row.fails, row.heard_ms) = (0, now.ms);
        if row.up() {
            return false;
        }
        row.retry_ms = 0;
        row.returns = row.returns.wrapping_add(1);
        self.down -= 1;
        self.changes += 1;
        true
    }

    /// The member did not answer. One answer that got lost is forgiven; with `sure` it counts.
    pub(crate) fn failed(&mut self, node: NodeId, sure: bool, now: Now) {
        let Some(at) = self.index(node).filter(|_| node != self.home) else { return };
        let row = &mut self.rows[at];
        row.failed_ms = now.ms.max(1);
        if row.up() && row.fails == 0 && !sure {
            row.fails = 1;
            return;
        }
        let wait = RETRY_MS.0.checked_shl(u32::from(row.fails)).unwrap_or(RETRY_MS.1);
        row.fails = row.fails.saturating_add(1).min(20);
        if row.up() {
            self.changes += 1;
            self.down += 1;
        }
        row.retry_ms = now.ms.saturating_add(wait.min(RETRY_MS.1)).max(1);
    }

    /// True when the member failed to answer at that time or after it, and did not answer since.
    pub(crate) fn failed_since(&self, node: NodeId, ms: u64) -> bool {
        self.get(node).is_some_and(|row| row.fails > 0 && row.failed_ms >= ms.max(1))
    }

    /// Up to `max` members that did not answer and are to be tried again now, beginning at a
    /// place on the ring.
    pub(crate) fn retries(&self, now: Now, from: u64, max: usize) -> Vec<NodeId> {
        if self.down == 0 {
            return Vec::new();
        }
        let start = self.rows.partition_point(|row| row.pos < from);
        let (before, after) = self.rows.split_at(start);
        let due = after.iter().chain(before).filter(|row| !row.up() && row.retry_ms <= now.ms);
        due.take(max).map(|row| row.record.node).collect()
    }

    /// Up to `max` members that answered when last spoken with, and were not heard of for
    /// `quiet_ms`, beginning at a place on the ring; and the place to go on from.
    pub(crate) fn quiet(
        &self,
        from: u64,
        max: usize,
        quiet_ms: u64,
        now: Now,
    ) -> (Vec<NodeId>, u64) {
        let start = self.rows.partition_point(|row| row.pos < from);
        let (before, after) = self.rows.split_at(start);
        let mut found = Vec::with_capacity(max);
        for row in after.iter().chain(before) {
            if found.len() >= max {
                return (found, row.pos);
            }
            let is_quiet = now.ms >= row.heard_ms.saturating_add(quiet_ms);
            if row.up() && is_quiet && row.record.node != self.home {
                found.push(row.record.node);
            }
        }
        (found, from)
    }

    /// A member that did not answer is tried at the next occasion.
    pub(crate) fn try_soon(&mut self, node: NodeId, now: Now) {
        let Some(at) = self.index(node) else { return };
        let row = &mut self.rows[at];
        if !row.up() {
            (row.retry_ms, row.fails) = (now.ms.max(1), 0);
        }
    }

    /// The members of one part of the table.
    pub(crate) fn part(&self, part: usize) -> &[Row] {
        let first = self.rows.partition_point(|row| bucket_of(row.pos) < part);
        let end = self.rows.partition_point(|row| bucket_of(row.pos) <= part);
        &self.rows[first..end]
    }

    /// Drops members that were not heard of for too long; a former record of this node too.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<NodeId> {
        let gone: Vec<usize> = (0..self.rows.len())
            .filter(|at| now.secs_since(self.rows[*at].record.made) > EXPIRE_SECS)
            .collect();
        let mut nodes = Vec::with_capacity(gone.len());
        for at in gone.into_iter().rev() {
            nodes.push(self.rows[at].record.node);
            self.remove(at);
        }
        nodes
    }

    /// Drops one member.
    pub(crate) fn forget(&mut self, node: NodeId) {
        if let Some(at) = self.index(node) {
            self.remove(at);
        }
    }

    fn remove(&mut self, at: usize) {
        let row = self.rows.remove(at);
        self.nodes.remove(first_of(&row.record.node.0), row.pos);
        self.sites.remove(site_hash(row.record.site()), row.pos);
        self.sums[bucket_of(row.pos)] ^= sum_of(&row.record);
        self.down -= usize::from(!row.up());
        self.changes += 1;
    }

    /// The members next to this node on the ring that hold keys, nearest first.
    pub(crate) fn neighbours(&self, count: usize) -> Vec<NodeId> {
        let len = self.rows.len();
        let start = self.index(self.home).unwrap_or(0);
        let mut found: Vec<NodeId> = Vec::with_capacity(count);
        for step in 1..len.min(count * 4 + 1) {
            for at in [(start + step) % len, (start + len - step) % len] {
                let row = &self.rows[at];
                let node = row.record.node;
                if node != self.home && row.holds() && !found.contains(&node) && found.len() < count
                {
                    found.push(node);
                }
            }
        }
        found
    }
}
