//! What a node holds for others: under each key an [`crate::Entry`] of *records*, and whole statements
//! where it is their home. A record is a statement cut to its home key: who, which mail, when and
//! what, without the other keys and the signature. So the entry's order, bounds and merging are
//! those of the catalog, and a record held is about 250 bytes instead of 600.
//!
//! Key decision: who fills the store loses first. At the bound the newest record of the network
//! with the most records goes, so a flood pushes out itself and not what honest sites said.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::clock::Time;
use crate::digest::Key;
use crate::entry::{Network, Shelf, Shelved, Shelves, Witness};
use crate::identity::SiteId;
use crate::node::config::REPLICAS;
use crate::node::wire::{POINTERS_MAX, Pointer, Tag};
use crate::statement::{Class, Kind, Statement};
use crate::store::KEEP_SECS;

/// Under one key.
#[derive(Default)]
pub(crate) struct Held {
    /// The records.
    pub(crate) entry: Shelved,
    /// The stays of the peers that were offered all of it ([`super::membership::Row::stay`]).
    pub(crate) offered: [u32; REPLICAS],
    /// Since when, in seconds of the wall clock, this node is no holder of the key; 0: it is.
    pub(crate) stray_since: u64,
    /// It was no holder when this was stated to it: it is somebody's anchor, and keeps it.
    pub(crate) anchors: bool,
}

/// A whole statement.
pub(crate) struct Body {
    pub(crate) signed: Arc<[u8]>,
    pub(crate) statement: Statement,
    /// Sum over the keys that were offered for it as orphans, and to whom ([`super::watch`]).
    pub(crate) tended: u64,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is new here.
    New,
    /// It was here, or a newer one.
    Known,
    /// There is no room for it.
    Full,
}

/// A network's share.
#[derive(Default)]
struct Share {
    count: usize,
    recent: VecDeque<Key>,
}

/// Everything held for others.
pub(crate) struct Replica {
    keys: BTreeMap<Key, Held>,
    bodies: BTreeMap<Tag, Body>,
    shares: HashMap<Network, Share>,
    heaviest: Network,
    sites: HashMap<SiteId, u64>,
    shelves: Shelves,
    records: usize,
    records_max: usize,
    bodies_max: usize,
    pub(crate) dropped: u64,
}

/// The key under which a statement lies whole: its least.
pub(crate) fn home_of(statement: &Statement) -> Option<Key> {
    statement.keys().first().copied()
}

/// A statement's name.
pub(crate) fn tag_of(statement: &Statement) -> Tag {
    Tag::of(statement.site, statement.seq)
}

/// The record of a statement, as observed at `network`.
pub(crate) fn record_of(statement: &Statement, network: Network) -> Witness {
    let kind = match statement.kind {
        Kind::Opinion { opinion, .. } => Kind::Opinion { opinion, nilsimsa: None },
        sighting @ Kind::Sighting { .. } => sighting,
    };
    let home = home_of(statement).into_iter().collect();
    let Statement { site, mail, seq, epoch, .. } = *statement;
    let statement = Statement::new(site, mail, seq, epoch, home, kind);
    Witness { statement, network, nilsimsa: None, kept_from: epoch }
}

/// A statement as the catalog takes it.
pub(crate) fn witness_of(statement: Statement, network: Network) -> Witness {
    let nilsimsa = match statement.kind {
        Kind::Opinion { nilsimsa, .. } => nilsimsa,
        Kind::Sighting { .. } => None,
    };
    let kept_from = statement.epoch;
    Witness { statement, network, nilsimsa, kept_from }
}

impl Replica {
    pub(crate) fn new(records_max: usize, bodies_max: usize) -> Self {
        Self {
            keys: BTreeMap::new(),
            bodies: BTreeMap::new(),
            shares: HashMap::new(),
            heaviest: Network::HOME,
            sites: HashMap::new(),
            shelves: Shelves::default(),
            records: 0,
            records_max: records_max.max(1),
            bodies_max,
            dropped: 0,
        }
    }

    /// From now on what these sites state keeps a place of its own under each key.
    pub(crate) fn trust(&mut self, sites: Vec<(SiteId, Shelf)>) {
        self.shelves = Shelves::new(sites);
    }

    /// True when the agent said that the site counts for it.
    pub(crate) fn trusts(&self, site: &SiteId) -> bool {
        self.shelves.of(site) == Some(Shelf::Counting)
    }

    /// True when any does.
    pub(crate) fn trusts_somebody(&self) -> bool {
        self.shelves.somebody_counts()
    }

    /// Records held.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Whole statements held.
    pub(crate) fn bodies(&self) -> usize {
        self.bodies.len()
    }

    /// Records held that a site stated.
    pub(crate) fn records_of(&self, site: SiteId) -> u64 {
        self.sites.get(&site).copied().unwrap_or(0)
    }

    /// All keys held.
    pub(crate) fn keys(&self) -> &BTreeMap<Key, Held> {
        &self.keys
    }

    /// What is held under a key.
    pub(crate) fn held_mut(&mut self, key: Key) -> Option<&mut Held> {
        self.keys.get_mut(&key)
    }

    /// A whole statement.
    pub(crate) fn body(&self, tag: Tag) -> Option<&Body> {
        self.bodies.get(&tag)
    }

    /// The next whole statements after a tag.
    pub(crate) fn bodies_from(&self, tag: Tag, count: usize) -> impl Iterator<Item = (Tag, &Body)> {
        self.bodies.range(tag..).take(count).map(|(tag, body)| (*tag, body))
    }

    /// Notes what was offered for a whole statement.
    pub(crate) fn tended(&mut self, tag: Tag, sum: u64) {
        if let Some(body) = self.bodies.get_mut(&tag) {
            body.tended = sum;
        }
    }

    /// True when the statement is known under the key, or a newer one of its mail is.
    pub(crate) fn knows(&self, key: Key, tag: Tag) -> bool {
        let whole = |witness: &Witness| {
            home_of(&witness.statement) != Some(key) || self.bodies.contains_key(&tag)
        };
        self.keys.get(&key).is_some_and(|held| {
            held.entry.iter().any(|one| tag_of(&one.statement) == tag && whole(one))
        })
    }

    /// Adds a record under a key.
    pub(crate) fn insert(&mut self, key: Key, record: &Arc<Witness>) -> Taken {
        let said = &record.statement;
        let held = self.keys.entry(key).or_default();
        let same = held.entry.iter().find(|one| {
            let of = &one.statement;
            (of.site, of.mail, of.class()) == (said.site, said.mail, said.class())
        });
        if let Some(known) = same.cloned() {
            if known.statement.seq >= said.seq {
                return Taken::Known;
            }
            self.remove(key, &known);
        }
        let held = self.keys.entry(key).or_default();
        let gone = held.entry.insert(Arc::clone(record), &self.shelves);
        self.count(key, record);
        gone.iter().for_each(|one| self.uncount(key, one));
        if gone.iter().any(|one| Arc::ptr_eq(one, record)) {
            self.dropped += 1;
            return Taken::Full;
        }
        let mut taken = Taken::New;
        while self.records > self.records_max {
            let gone = self.evict();
            self.dropped += 1;
            match gone {
                Some(one) if Arc::ptr_eq(&one, record) => taken = Taken::Full,
                Some(_) => {}
                None => break,
            }
        }
        taken
    }

    /// Keeps a whole statement whose record is held under its home. False when there is no room.
    pub(crate) fn keep_body(&mut self, tag: Tag, signed: &[u8], statement: &Statement) -> bool {
        if self.bodies.len() >= self.bodies_max && !self.bodies.contains_key(&tag) {
            self.dropped += 1;
            return false;
        }
        let body = Body { signed: signed.into(), statement: statement.clone(), tended: 0 };
        self.bodies.entry(tag).or_insert(body);
        true
    }

    fn count(&mut self, key: Key, record: &Witness) {
        self.records += 1;
        *self.sites.entry(record.statement.site).or_default() += 1;
        let share = self.shares.entry(record.network).or_default();
        share.count += 1;
        share.recent.push_back(key);
        if share.recent.len() > 2 * share.count + 64 {
            // What expired or was cut left its key behind.
            let keys = &self.keys;
            let network = record.network;
            share.recent.retain(|key| {
                let held = keys.get(key);
                held.is_some_and(|held| held.entry.iter().any(|one| one.network == network))
            });
        }
        let count = share.count;
        if self.shares.get(&self.heaviest).is_none_or(|heaviest| heaviest.count < count) {
            self.heaviest = record.network;
        }
    }

    fn uncount(&mut self, key: Key, record: &Witness) {
        self.records -= 1;
        if let Some(count) = self.sites.get_mut(&record.statement.site) {
            *count -= 1;
            if *count == 0 {
                self.sites.remove(&record.statement.site);
            }
        }
        if let Some(share) = self.shares.get_mut(&record.network) {
            share.count -= 1;
            if share.count == 0 {
                self.shares.remove(&record.network);
            }
        }
        if home_of(&record.statement) == Some(key) {
            self.bodies.remove(&tag_of(&record.statement));
        }
    }

    fn remove(&mut self, key: Key, record: &Arc<Witness>) {
        if let Some(held) = self.keys.get_mut(&key) {
            held.entry.remove(&record.slot());
            if held.entry.is_empty() {
                self.keys.remove(&key);
            }
            self.uncount(key, record);
        }
    }

    /// Lets go of the newest record of the network that has most.
    fn evict(&mut self) -> Option<Arc<Witness>> {
        let mean = self.records / self.shares.len().max(1);
        let of = |network: &Network| self.shares.get(network).map_or(0, |share| share.count);
        if of(&self.heaviest) <= mean {
            let heaviest =
                self.shares.iter().max_by_key(|(network, share)| (share.count, **network));
            self.heaviest = *heaviest?.0;
        }
        let network = self.heaviest;
        while let Some(key) = self.shares.get_mut(&network)?.recent.pop_back() {
            let held = self.keys.get(&key);
            // Sightings before opinions, the latest first.
            let last = held.and_then(|held| {
                let of_network = held.entry.iter().filter(|one| one.network == network);
                of_network
                    .min_by_key(|one| (one.statement.class(), std::cmp::Reverse(one.statement.seq)))
            });
            if let Some(record) = last.cloned() {
                self.remove(key, &record);
                return Some(record);
            }
        }
        None
    }

    /// Lets go of a key that belongs to others now.
    pub(crate) fn drop_key(&mut self, key: Key) {
        let Some(held) = self.keys.remove(&key) else { return };
        for record in held.entry.iter() {
            self.uncount(key, record);
        }
    }

    /// Lets go of what is too old under a key.
    pub(crate) fn expire(&mut self, key: Key, now: Time) {
        let oldest = now.minus_secs(KEEP_SECS).epoch();
        let Some(held) = self.keys.get(&key) else { return };
        let old = held.entry.iter().filter(|one| one.statement.epoch < oldest);
        for record in old.cloned().collect::<Vec<_>>() {
            self.remove(key, &record);
        }
    }

    /// What is known under the keys whose bit is set in `ask`, without what the asker knows.
    pub(crate) fn pointers(&self, keys: &[Key], ask: u64, known: &[Tag]) -> Vec<Pointer> {
        let mut found: Vec<(Option<Shelf>, Pointer)> = Vec::new();
        let mut index: HashMap<Tag, usize> = HashMap::new();
        for (at, key) in keys.iter().enumerate().filter(|(at, _)| ask >> at & 1 != 0) {
            for record in self.keys.get(key).into_iter().flat_map(|held| held.entry.iter()) {
                let tag = tag_of(&record.statement);
                let Some(home) = home_of(&record.statement) else { continue };
                if known.contains(&tag) {
                    continue;
                }
                let slot = *index.entry(tag).or_insert_with(|| {
                    let opinion = record.statement.class() == Class::Opinion;
                    let here = self.bodies.contains_key(&tag);
                    let shelf = self.shelves.of(&record.statement.site);
                    let trusted = shelf.is_some();
                    found.push((shelf, Pointer { tag, home, opinion, here, trusted, under: 0 }));
                    found.len() - 1
                });
                found[slot].1.under |= 1 << at;
            }
        }
        // Who counts before newcomers: the asker follows so many of either as he has places.
        found.sort_by_key(|(shelf, pointer)| (shelf.is_none(), *shelf, pointer.rank()));
        found.truncate(POINTERS_MAX);
        found.into_iter().map(|(_, pointer)| pointer).collect()
    }
}
