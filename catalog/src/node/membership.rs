//! Who takes part: a table of membership records, sorted by place on a ring of 64 bits, so that
//! the peers nearest to a key are found by one search and no hop. A record proves itself
//! ([`MemberRecord`]); what each node adds is whether the member *answers*, as seen from here.
//!
//! Key decision: placing a key needs the table to be the same everywhere, so whether a member may
//! hold keys ([`Row::placed`]) follows from its record alone: its address is confirmed by two
//! peers. Only "does not answer" is a view of one's own: replicas are then chosen as if the
//! member were not there, by everybody who noticed.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashTable;

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

/// A time of [`Now::ms`] in steps of so many milliseconds: what four bytes hold for seven years.
const STEP_MS: u64 = 50;

/// The step in which a time lies; the first is 1, so that 0 is none.
fn step(ms: u64) -> u32 {
    u32::try_from(ms / STEP_MS + 1).unwrap_or(u32::MAX)
}

/// A member as seen from here: 40 bytes, as a table has a row for everybody.
#[derive(Clone)]
pub(crate) struct Row {
    /// Its place on the ring.
    pub(crate) pos: u64,
    /// What it says of itself.
    pub(crate) record: Arc<MemberRecord>,
    /// Where it was observed.
    pub(crate) network: Network,
    /// The step in which it is tried again; 0 while it answers.
    retry: u32,
    /// The step in which it last answered or spoke; 0: not since this node started.
    heard: u32,
    /// The step in which it last failed to answer; 0: not since this node started.
    failed: u32,
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
        self.retry == 0
    }

    /// True when keys are placed at it.
    pub(crate) fn holds(&self) -> bool {
        self.placed && self.up() && !self.record.leaving
    }

    /// True when it answered when last spoken with, and was not heard of for so long.
    pub(crate) fn is_quiet(&self, quiet_ms: u64, now: Now) -> bool {
        let since = now.ms.checked_sub(quiet_ms).map(step);
        self.up() && since.is_some_and(|since| self.heard <= since)
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

/// The table.
pub(crate) struct Membership {
    home: NodeId,
    prefix: PrefixBits,
    rows_max: usize,
    rows: Vec<Row>,
    /// Where each member is among the rows.
    nodes: HashTable<u32>,
    /// Where each site's hosts are among them.
    sites: HashTable<u32>,
    sums: [u64; MEMBER_BUCKETS],
    changes: u64,
    /// Members that do not answer, in the order of the rows.
    down: BTreeSet<(u64, NodeId)>,
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

/// A hash of an identity, another one at each node: who draws identities that collide at one has
/// to draw others for the next.
fn hash_of(id: &[u8; 32], home: NodeId) -> u64 {
    mix(first_of(id) ^ mix(first_of(&home.0)))
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
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
        let (rows, nodes, sites) = (Vec::new(), HashTable::new(), HashTable::new());
        let (sums, rows_max, down) = ([0; MEMBER_BUCKETS], rows_max.max(1), BTreeSet::new());
        Self { home, prefix, rows_max, rows, nodes, sites, sums, changes: 0, down }
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
        self.down.len()
    }

    fn index(&self, node: NodeId) -> Option<usize> {
        let hash = hash_of(&node.0, self.home);
        let found = self.nodes.find(hash, |at| self.rows[*at as usize].record.node == node);
        found.map(|at| *at as usize)
    }

    /// Notes where a row is that was not there before.
    fn note(&mut self, at: usize) {
        let (rows, home, record) = (&self.rows, self.home, &self.rows[at].record);
        let (node, site) = (hash_of(&record.node.0, home), hash_of(&record.site().0, home));
        self.nodes
            .insert_unique(node, number(at), |at| hash_of(&rows[*at as usize].record.node.0, home));
        self.sites.insert_unique(site, number(at), |at| {
            hash_of(&rows[*at as usize].record.site().0, home)
        });
    }

    /// The member `node`.
    pub(crate) fn get(&self, node: NodeId) -> Option<&Row> {
        self.index(node).map(|at| &self.rows[at])
    }

    /// The network of a site: that of its host with the first place among those that may hold
    /// keys, else of its first.
    pub(crate) fn network_of(&self, site: SiteId) -> Option<Network> {
        let found = self.sites.iter_hash(hash_of(&site.0, self.home));
        let rows = found.map(|at| &self.rows[*at as usize]);
        let rows = rows.filter(|row| row.record.site() == site);
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
        let count = placed.len();
        self.rows = Vec::with_capacity(count);
        (self.nodes, self.sites) =
            (HashTable::with_capacity(count), HashTable::with_capacity(count));
        for (pos, record) in placed {
            self.sums[bucket_of(pos)] ^= sum_of(&record);
            self.rows.push(self.row(pos, record, CONFIRMED_BY + 1));
            self.note(self.rows.len() - 1);
        }
        self.changes += 1;
    }

    /// A member of whom nothing is known but his record, among so many others.
    fn row(&self, pos: u64, record: Arc<MemberRecord>, others: usize) -> Row {
        let (network, placed) = self.judge(&record, others);
        let (retry, heard, failed, fails, returns) = (0, 0, 0, 0, 0);
        Row { pos, record, network, retry, heard, failed, fails, returns, placed }
    }

    fn add(&mut self, record: Arc<MemberRecord>) {
        let pos = place_in(&record);
        let at = self.rows.partition_point(|row| (row.pos, row.record.node) < (pos, record.node));
        self.sums[bucket_of(pos)] ^= sum_of(&record);
        self.rows.insert(at, self.row(pos, record, self.rows.len()));
        for later in self.nodes.iter_mut().chain(&mut self.sites) {
            *later += u32::from(*later as usize >= at);
        }
        self.note(at);
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
        (row.fails, row.heard) = (0, step(now.ms));
        if row.up() {
            return false;
        }
        row.retry = 0;
        row.returns = row.returns.wrapping_add(1);
        self.down.remove(&(row.pos, node));
        self.changes += 1;
        true
    }

    /// The member did not answer. One answer that got lost is forgiven; with `sure` it counts.
    pub(crate) fn failed(&mut self, node: NodeId, sure: bool, now: Now) {
        let Some(at) = self.index(node).filter(|_| node != self.home) else { return };
        let row = &mut self.rows[at];
        row.failed = step(now.ms);
        if row.up() && row.fails == 0 && !sure {
            row.fails = 1;
            return;
        }
        let wait = RETRY_MS.0.checked_shl(u32::from(row.fails)).unwrap_or(RETRY_MS.1);
        row.fails = row.fails.saturating_add(1).min(20);
        if row.up() {
            self.changes += 1;
            self.down.insert((row.pos, node));
        }
        row.retry = step(now.ms.saturating_add(wait.min(RETRY_MS.1)));
    }

    /// True when the member failed to answer at that time or after it, and did not answer since; what
    /// failed in the same step counts as after it.
    pub(crate) fn failed_since(&self, node: NodeId, ms: u64) -> bool {
        self.get(node).is_some_and(|row| row.fails > 0 && row.failed >= step(ms))
    }

    /// Up to `max` members that did not answer and are to be tried again now, beginning at a
    /// place on the ring.
    pub(crate) fn retries(&self, now: Now, from: u64, max: usize) -> Vec<NodeId> {
        let from = (from, NodeId([0; 32]));
        let (before, after) = (self.down.range(..from), self.down.range(from..));
        let due = after
            .chain(before)
            .filter(|(_, node)| self.get(*node).is_some_and(|row| row.retry <= step(now.ms)));
        due.take(max).map(|(_, node)| *node).collect()
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
            if row.is_quiet(quiet_ms, now) && row.record.node != self.home {
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
            (row.retry, row.fails) = (step(now.ms), 0);
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
        let record = &self.rows[at].record;
        let hashes = [record.node.0, record.site().0].map(|id| hash_of(&id, self.home));
        for (index, hash) in [&mut self.nodes, &mut self.sites].into_iter().zip(hashes) {
            if let Ok(noted) = index.find_entry(hash, |one| *one == number(at)) {
                noted.remove();
            }
            index.iter_mut().for_each(|later| *later -= u32::from(*later > number(at)));
        }
        let row = self.rows.remove(at);
        self.sums[bucket_of(row.pos)] ^= sum_of(&row.record);
        self.down.remove(&(row.pos, row.record.node));
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
