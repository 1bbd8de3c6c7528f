//! Keeping every key at its six holders while peers come, go, crash and are cut off.
//!
//! Two ways, and both only exchange names; what a peer lacks it *pulls*, signature and all:
//! - The *sweep* walks over the keys held. Where a key has a holder that was not offered it during
//!   this holder's present stay (it is new, came back, or started anew), it is offered the names.
//! - The *digest* compares a range of keys with a neighbour on the ring, by sixteen sums, and
//!   pulls what differs: it finds what was lost without anybody noticing.
//!
//! Key decision: a record is taken from a third party only with its signed statement. A replica
//! can then omit, and can't forge, also in repair.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::digest::Key;
use crate::entry::Network;
use crate::node::api::{Now, Purpose};
use crate::node::config::REPLICAS;
use crate::node::host::NodeId;
use crate::node::membership::mix;
use crate::node::placement::place;
use crate::node::replica::{Taken, home_of, record_of, tag_of};
use crate::node::state::{Node, Pending};
use crate::node::wire::{
    DIGEST_BUCKETS, DIGEST_REFS_MAX, FETCH_MAX, OFFER_MAX, Ref, Request, Response, Standing, Tag,
};
use crate::statement::Statement;

/// Seconds in which the sweep visits every key once.
const SWEEP_SECS: usize = 20;
/// Least keys of the sweep in a second.
const SWEEP_LEAST: usize = 64;
/// How long a key that belongs to others now is still answered for, in seconds: longer than it
/// takes them to pull it.
const STRAY_SECS: u64 = 600;
/// Most references waiting to be offered. At the bound they are offered in the next sweep.
const OFFERS_MAX: usize = 200_000;
/// Offers sent in a second, to all and to one peer: below the quota that it grants.
const OFFERS_A_SECOND: usize = 256;
const OFFERS_A_PEER: usize = 4;
/// Most statements wanted; at the bound further offers wait for the next digest.
const WANTS_MAX: usize = 100_000;
/// Statements asked for in a second, of all and of one peer: below the quota that it grants.
const WANTS_A_SECOND: usize = 4_096;
const WANTS_A_PEER: usize = 1_024;
/// How long a peer has to answer, in milliseconds.
const REPAIR_MS: u64 = 5_000;
/// Keys that one digest covers, and that one is compared with.
const DIGEST_KEYS: usize = 2_048;
const DIGEST_KEYS_SERVED: usize = 4 * DIGEST_KEYS;
/// Neighbours on the ring that digests are compared with.
const NEIGHBOURS: usize = 4;
/// Time between digests, in milliseconds: shortly after a start or a change in membership, and
/// at peace.
const DIGEST_MS: (u64, u64) = (5_000, 300_000);
/// How long after a change it is "shortly after", in milliseconds.
const UNREST_MS: u64 = 120_000;

struct Want {
    keys: SmallVec<[Key; 2]>,
    home: Key,
    from: NodeId,
    here: bool,
    tried: usize,
}

/// What is to be repaired.
#[derive(Default)]
pub(crate) struct Repair {
    offers: BTreeMap<(NodeId, bool), Vec<Ref>>,
    offers_len: usize,
    wants: HashMap<Tag, Want>,
    queue: VecDeque<Tag>,
    cursor: Key0,
    digest_cursor: Key0,
    digest_ms: u64,
    changes_seen: u64,
    unrest_until_ms: u64,
    strays: bool,
}

/// A key to go on from; the first by default.
#[derive(Clone, Copy)]
struct Key0(Key);

impl Default for Key0 {
    fn default() -> Self {
        Self(Key(0))
    }
}

impl Node {
    /// Puts a record, and at its home the whole statement, under those keys.
    pub(crate) fn hold(
        &mut self,
        keys: &[Key],
        statement: &Statement,
        signed: Option<&[u8]>,
        network: Network,
    ) -> Standing {
        let record = Arc::new(record_of(statement, network));
        let mut standing = Standing::Known;
        let before = self.replica.dropped;
        for key in keys {
            let taken = self.replica.insert(*key, &record);
            match taken {
                Taken::New => standing = Standing::Kept,
                Taken::Known => {}
                Taken::Full if standing == Standing::Known => standing = Standing::Quota,
                Taken::Full => {}
            }
            let (stays, mine) = self.stays_of(*key);
            if let Some(held) = self.replica.held_mut(*key)
                && held.offered == [0; REPLICAS]
            {
                // Who stated it has told the other holders.
                (held.offered, held.anchors) = (stays, !mine);
            }
        }
        if let Some(signed) = signed
            && home_of(statement).is_some_and(|home| keys.contains(&home))
        {
            self.keep_whole(signed, statement);
        }
        self.counters.records_dropped += self.replica.dropped - before;
        match standing {
            Standing::Kept => self.counters.statements_accepted += 1,
            Standing::Known => self.counters.statements_replayed += 1,
            _ => {}
        }
        standing
    }

    fn keep_whole(&mut self, signed: &[u8], statement: &Statement) {
        let (tag, home) = (tag_of(statement), home_of(statement));
        if let Some(known) = self.replica.body(tag) {
            if known.statement != *statement {
                let proof = (known.signed.to_vec(), signed.to_vec());
                self.note_equivocation(statement.site, proof);
            }
            return;
        }
        // Only beside its record: the body goes when the record goes.
        let current = home
            .and_then(|home| self.replica.keys().get(&home))
            .is_some_and(|held| held.entry.iter().any(|one| tag_of(&one.statement) == tag));
        if current {
            self.replica.keep_body(tag, signed, statement);
        }
    }

    /// The present stays of a key's holders, and whether this node is one of them.
    fn stays_of(&self, key: Key) -> ([u32; REPLICAS], bool) {
        let (mut stays, mut mine) = ([0; REPLICAS], false);
        let rows = self.members.rows();
        for (stay, holder) in stays.iter_mut().zip(&place(&self.members, key).holders) {
            let row = &rows[*holder as usize];
            *stay = row.stay();
            mine |= row.record.node == self.id;
        }
        (stays, mine)
    }

    pub(crate) fn queue_offer(&mut self, to: NodeId, here: bool, one: Ref) {
        if to == self.id || self.repair.offers_len >= OFFERS_MAX {
            return;
        }
        self.repair.offers_len += 1;
        self.repair.offers.entry((to, here)).or_default().push(one);
    }

    /// Visits the next keys; all of them with `all`.
    pub(crate) fn sweep(&mut self, all: bool, now: Now) {
        let changes = self.members.changes();
        if changes != self.repair.changes_seen {
            self.repair.changes_seen = changes;
            self.repair.unrest_until_ms = now.ms.saturating_add(UNREST_MS);
        }
        let total = self.replica.keys().len();
        let count = if all { total } else { (total / SWEEP_SECS).max(SWEEP_LEAST).min(total) };
        let from = if all { Key(0) } else { self.repair.cursor.0 };
        let keys: Vec<Key> =
            self.replica.keys().range(from..).take(count).map(|(key, _)| *key).collect();
        let next = keys.last().and_then(|key| key.0.checked_add(1)).filter(|_| keys.len() == count);
        self.repair.cursor = Key0(Key(next.unwrap_or(0)));
        let unrest = now.ms < self.repair.unrest_until_ms || self.repair.strays || all;
        for key in keys {
            self.replica.expire(key, now.wall);
            if unrest {
                self.rehome(key, now);
            }
        }
        if self.repair.cursor.0.0 == 0 && now.ms >= self.repair.unrest_until_ms {
            self.repair.strays = false;
        }
    }

    /// Offers a key to the holders that have not been offered it, and lets go of it in time when
    /// this node is none of them.
    fn rehome(&mut self, key: Key, now: Now) {
        if self.repair.offers_len >= OFFERS_MAX {
            return;
        }
        let placement = place(&self.members, key);
        let rows = self.members.rows();
        self.watch.note_holders(placement.holders.iter().map(|at| &rows[*at as usize]), now);
        let mut mine = false;
        let mut stays = [0; REPLICAS];
        let mut fresh: SmallVec<[NodeId; REPLICAS]> = SmallVec::new();
        let Some(held) = self.replica.keys().get(&key) else { return };
        for (at, holder) in placement.holders.iter().enumerate() {
            let row = &rows[*holder as usize];
            stays[at] = row.stay();
            mine |= row.record.node == self.id;
            if row.record.node != self.id && !held.offered.contains(&stays[at]) {
                fresh.push(row.record.node);
            }
        }
        let stray_for = now.wall.0.saturating_sub(held.stray_since);
        if !mine
            && !held.anchors
            && held.stray_since > 0
            && stray_for > STRAY_SECS
            && !placement.holders.is_empty()
        {
            self.replica.drop_key(key);
            return;
        }
        let anchors = held.anchors;
        let mut refs: SmallVec<[(bool, Ref); 4]> = SmallVec::new();
        if !fresh.is_empty() {
            for record in held.entry.iter() {
                let tag = tag_of(&record.statement);
                let Some(home) = home_of(&record.statement) else { continue };
                refs.push((self.replica.body(tag).is_some(), Ref { key, tag, home }));
            }
        }
        if let Some(held) = self.replica.held_mut(key) {
            held.offered = stays;
            held.anchors &= !mine;
            held.stray_since = match (mine, held.stray_since) {
                (true, _) => 0,
                (false, 0) => now.wall.0.max(1),
                (false, since) => since,
            };
        }
        self.repair.strays |= !(mine || anchors);
        for node in fresh {
            refs.iter().for_each(|(here, one)| self.queue_offer(node, *here, *one));
        }
    }

    /// Sends what waits to be offered, to many peers a little.
    pub(crate) fn send_offers(&mut self, now: Now) {
        let waiting: Vec<(NodeId, bool)> = self.repair.offers.keys().copied().collect();
        let mut sent = 0;
        for (to, here) in waiting {
            if self.waits.on(to, now) {
                continue;
            }
            for _ in 0..OFFERS_A_PEER {
                let Some(refs) = self.repair.offers.get_mut(&(to, here)) else { break };
                let rest = refs.len().saturating_sub(OFFER_MAX);
                let refs = refs.split_off(rest);
                if rest == 0 {
                    self.repair.offers.remove(&(to, here));
                }
                self.repair.offers_len -= refs.len();
                // Who does not answer is offered all anew when it returns.
                if self.members.get(to).is_none_or(|row| !row.up()) {
                    continue;
                }
                self.counters.offers_sent += refs.len() as u64;
                let request = Request::Offer { here, refs: refs.clone() };
                let pending = Pending::Offer { here, refs };
                self.send(to, &request, Purpose::Repair, pending, REPAIR_MS, now);
                sent += 1;
            }
            if sent >= OFFERS_A_SECOND {
                return;
            }
        }
    }

    /// An offer was lost or refused: while the peer answers it is made again. Once it does not,
    /// what lies here whole is offered to all others, of whom one stands in for it now.
    pub(crate) fn offer_failed(&mut self, to: NodeId, here: bool, refs: Vec<Ref>) {
        if self.members.get(to).is_some_and(|row| row.up()) {
            refs.into_iter().for_each(|one| self.queue_offer(to, here, one));
        } else if here {
            for one in refs {
                for node in self.nodes_of(one.key) {
                    self.queue_offer(node, here, one);
                }
            }
        }
    }

    /// Notes what is lacking of what a peer holds; gives how many.
    pub(crate) fn want(&mut self, from: NodeId, here: bool, refs: &[Ref]) -> usize {
        let mut lacking = 0;
        for Ref { key, tag, home } in refs.iter().copied() {
            if self.replica.knows(key, tag) {
                continue;
            }
            lacking += 1;
            if let Some(want) = self.repair.wants.get_mut(&tag) {
                if !want.keys.contains(&key) && want.keys.len() < crate::statement::KEYS_MAX {
                    want.keys.push(key);
                }
            } else if self.repair.wants.len() < WANTS_MAX {
                let keys = SmallVec::from_slice(&[key]);
                self.repair.wants.insert(tag, Want { keys, home, from, here, tried: 0 });
                self.repair.queue.push_back(tag);
            }
        }
        lacking
    }

    /// Asks for what is wanted: who offered it whole, then its home, then who offered its name.
    pub(crate) fn fetch_wants(&mut self, now: Now) {
        let mut plan: BTreeMap<NodeId, Vec<Tag>> = BTreeMap::new();
        for _ in 0..WANTS_A_SECOND.min(self.repair.queue.len()) {
            let Some(tag) = self.repair.queue.pop_front() else { break };
            if let Some(signed) = self.whole(tag) {
                self.take_wanted(&signed, now);
                continue;
            }
            let Some(want) = self.repair.wants.get(&tag) else { continue };
            let homes = self.nodes_of(want.home).into_iter().filter(|node| *node != self.id);
            let (first, last) =
                if want.here { (Some(want.from), None) } else { (None, Some(want.from)) };
            let source = first.into_iter().chain(homes).chain(last).nth(want.tried);
            match source {
                Some(node)
                    if self.waits.on(node, now)
                        || plan.get(&node).is_some_and(|of| of.len() >= WANTS_A_PEER) =>
                {
                    self.repair.queue.push_back(tag);
                }
                Some(node) => {
                    plan.entry(node).or_default().push(tag);
                    if let Some(want) = self.repair.wants.get_mut(&tag) {
                        want.tried += 1;
                    }
                }
                None => {
                    self.repair.wants.remove(&tag);
                    self.counters.fetches_failed += 1;
                }
            }
        }
        for (node, tags) in plan {
            for some in tags.chunks(FETCH_MAX) {
                let pending = Pending::Fetch { job: None, tags: some.to_vec() };
                let request = Request::Fetch(some.to_vec());
                self.send(node, &request, Purpose::Repair, pending, REPAIR_MS, now);
            }
        }
    }

    /// Statements came, or failed to come, for repair.
    pub(crate) fn repaired(
        &mut self,
        from: NodeId,
        tags: &[Tag],
        statements: &[Vec<u8>],
        now: Now,
    ) {
        for signed in statements {
            if !self.take_wanted(signed, now) {
                self.fault(from);
            }
        }
        for tag in tags {
            if self.repair.wants.contains_key(tag) {
                self.repair.queue.push_back(*tag);
            }
        }
    }

    fn take_wanted(&mut self, signed: &[u8], now: Now) -> bool {
        let Ok(statement) = self.config.verifier.statement(signed) else {
            self.counters.statements_false += 1;
            return false;
        };
        let Some(want) = self.repair.wants.remove(&tag_of(&statement)) else { return true };
        if !self.is_timely(&statement, now) {
            self.counters.statements_clock += 1;
            return true;
        }
        let keys: Vec<Key> =
            want.keys.into_iter().filter(|key| statement.keys().contains(key)).collect();
        let network = self.network_of(statement.site);
        self.counters.offers_taken += keys.len() as u64;
        self.hold(&keys, &statement, Some(signed), network);
        true
    }

    /// Compares a range with a neighbour, when it is time to.
    pub(crate) fn compare_range(&mut self, now: Now, rng: &mut fastrand::Rng) {
        let unrest = now.ms < self.repair.unrest_until_ms;
        let wait = if unrest { DIGEST_MS.0 } else { DIGEST_MS.1 };
        if now.ms < self.repair.digest_ms.saturating_add(wait) {
            return;
        }
        self.repair.digest_ms = now.ms;
        let neighbours = self.members.neighbours(NEIGHBOURS);
        let Some(partner) = rng.choice(neighbours) else { return };
        let first = self.repair.digest_cursor.0;
        let mut range = self.replica.keys().range(first..);
        let last = range.nth(DIGEST_KEYS - 1).map_or(Key(u64::MAX), |(key, _)| *key);
        self.repair.digest_cursor = Key0(Key(last.0.checked_add(1).unwrap_or(0)));
        let (sums, _) = self.sums(first, last, partner, DIGEST_KEYS);
        let request = Request::Digest { first, last, sums };
        let pending = Pending::Digest { last };
        self.send(partner, &request, Purpose::Repair, pending, REPAIR_MS, now);
    }

    /// Sums over what both nodes hold in a range, and each reference with its part.
    fn sums(
        &self,
        first: Key,
        last: Key,
        partner: NodeId,
        keys_max: usize,
    ) -> ([u64; DIGEST_BUCKETS], Vec<(usize, Ref)>) {
        let mut sums = [0; DIGEST_BUCKETS];
        let mut refs = Vec::new();
        let width = u128::from(last.0.saturating_sub(first.0)) + 1;
        if first > last {
            return (sums, refs);
        }
        for (key, held) in self.replica.keys().range(first..=last).take(keys_max) {
            let nodes = self.nodes_of(*key);
            if !nodes.contains(&partner) || !nodes.contains(&self.id) {
                continue;
            }
            let part = u128::from(key.0 - first.0) * DIGEST_BUCKETS as u128 / width;
            let part = usize::try_from(part).unwrap_or(0).min(DIGEST_BUCKETS - 1);
            // What is on the shelf is no business of others.
            for record in held.entry.entry().iter() {
                let tag = tag_of(&record.statement);
                let Some(home) = home_of(&record.statement) else { continue };
                sums[part] ^= mix(key.0 ^ mix(tag.0));
                refs.push((part, Ref { key: *key, tag, home }));
            }
        }
        (sums, refs)
    }

    /// Answers a neighbour's digest with what this node holds in the parts that differ.
    pub(crate) fn serve_digest(
        &mut self,
        from: NodeId,
        first: Key,
        last: Key,
        theirs: &[u64; DIGEST_BUCKETS],
    ) -> Response {
        let (ours, refs) = self.sums(first, last, from, DIGEST_KEYS_SERVED);
        let mut differing = refs.into_iter().filter(|(part, _)| ours[*part] != theirs[*part]);
        let given: Vec<Ref> =
            differing.by_ref().take(DIGEST_REFS_MAX).map(|(_, one)| one).collect();
        Response::Refs(differing.next().is_some(), given)
    }

    /// A neighbour holds these; what is lacking is wanted, and the rest of the range asked for.
    pub(crate) fn compared(&mut self, from: NodeId, last: Key, more: bool, refs: &[Ref], now: Now) {
        let lacking = self.want(from, false, refs);
        self.counters.repairs += u64::from(lacking > 0);
        let Some(after) = refs.last().and_then(|one| one.key.0.checked_add(1)) else { return };
        if more && after <= last.0 {
            let first = Key(after);
            let (sums, _) = self.sums(first, last, from, DIGEST_KEYS);
            let request = Request::Digest { first, last, sums };
            self.send(from, &request, Purpose::Repair, Pending::Digest { last }, REPAIR_MS, now);
        }
    }
}
