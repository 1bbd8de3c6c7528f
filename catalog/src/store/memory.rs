//! All that this node holds, in memory, by key. Reading never waits for a disk: that is what
//! keeps a check under a millisecond and lets the agent answer when the disk is full. It is
//! filled from the database at start and bounded; at the bound the oldest sightings go first,
//! opinions last (DESIGN 4.1: a sighting never evicts an opinion).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::clock::{Epoch, Time};
use crate::digest::Key;
use crate::entry::{Network, Shelf, Shelved, Shelves, Slot, Witness};
use crate::identity::SiteId;
use crate::matching::{Match, Probe, compare};
use crate::statement::{Class, MailId};

/// How long statements are kept, in seconds (72 h, DESIGN 4.1).
pub const KEEP_SECS: u64 = 72 * 3600;

/// How long this site's own opinions are kept, in seconds: 30 days, because they go on acting at
/// home after the network has forgotten them.
pub const KEEP_OWN_OPINION_SECS: u64 = 30 * 24 * 3600;

/// Default bound on statements held. One takes about 1.2 KB with its index, so this is about
/// 180 MB when full.
pub const STATEMENTS_MAX_DEFAULT: usize = 150_000;

/// What identifies the versions of one statement: the network it is seen from is part of it.
type Name = (SiteId, MailId, Class, Network);

/// Order in which statements go when there are too many: sightings before opinions, oldest
/// first; own opinions carry the flag and go last of all.
type Age = (bool, Class, Epoch, Slot);

/// The catalog's contents.
#[derive(Debug)]
pub struct Catalog {
    home: SiteId,
    entries: HashMap<Key, Shelved>,
    shelves: Shelves,
    by_name: HashMap<Name, Arc<Witness>>,
    by_age: BTreeSet<Age>,
    statements_max: usize,
    opinions: usize,
    evicted: u64,
}

impl Catalog {
    /// An empty catalog of the site `home`.
    #[must_use]
    pub fn new(home: SiteId, statements_max: usize) -> Self {
        Self {
            home,
            entries: HashMap::new(),
            shelves: Shelves::default(),
            by_name: HashMap::new(),
            by_age: BTreeSet::new(),
            statements_max: statements_max.max(1),
            opinions: 0,
            evicted: 0,
        }
    }

    /// Statements held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// True when nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Statements let go at the bound so far.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Opinions held, withdrawn ones included.
    #[must_use]
    pub fn opinions(&self) -> usize {
        self.opinions
    }

    /// Adds a statement, or the newer version of one; false when nothing changed.
    pub fn insert(&mut self, witness: Witness) -> bool {
        let name = name_of(&witness);
        if let Some(known) = self.by_name.get(&name) {
            if !witness.supersedes(known) {
                return false;
            }
            let known = Arc::clone(known);
            self.drop_witness(&known);
        }
        let witness = Arc::new(witness);
        for key in witness.statement.keys() {
            self.entries.entry(*key).or_default().insert(Arc::clone(&witness), &self.shelves);
        }
        self.opinions += usize::from(witness.statement.class() == Class::Opinion);
        self.by_age.insert(self.age_of(&witness));
        self.by_name.insert(name, witness);
        while self.by_name.len() > self.statements_max {
            self.evict_first();
        }
        true
    }

    /// Every statement held, in no order.
    pub fn witnesses(&self) -> impl Iterator<Item = &Arc<Witness>> {
        self.by_name.values()
    }

    /// What a key holds.
    pub fn under(&self, key: Key) -> impl Iterator<Item = &Arc<Witness>> {
        self.entries.get(&key).into_iter().flat_map(Shelved::iter)
    }

    /// From now on what these sites say keeps a place of its own under each key, whoever fills
    /// the others.
    pub fn trust(&mut self, sites: impl IntoIterator<Item = (SiteId, Shelf)>) {
        self.shelves = Shelves::new(sites);
    }

    /// Every statement about the same mail, by the rule of match.
    #[must_use]
    pub fn matches(&self, probe: &Probe) -> Vec<Match> {
        let mut seen: HashSet<*const Witness> = HashSet::new();
        let mut found = Vec::new();
        for witness in probe.keys().filter_map(|key| self.entries.get(&key)).flat_map(Shelved::iter)
        {
            if seen.insert(Arc::as_ptr(witness)) {
                found.extend(compare(probe, witness));
            }
        }
        found
    }

    /// Lets go of what is too old at `now`. Costs as much as there is to go.
    pub fn expire(&mut self, now: Time) {
        let (oldest, oldest_own) = oldest_kept(now);
        for (own, class, oldest) in [
            (false, Class::Sighting, oldest),
            (false, Class::Opinion, oldest),
            (true, Class::Opinion, oldest_own),
        ] {
            let first = (own, class, Epoch(0), Slot::FIRST);
            let end = (own, class, oldest, Slot::FIRST);
            let gone: Vec<Arc<Witness>> = self
                .by_age
                .range(first..end)
                .filter_map(|(.., slot)| self.by_name.get(&name_of_slot(slot)).cloned())
                .collect();
            for witness in gone {
                self.drop_witness(&witness);
            }
        }
    }

    fn age_of(&self, witness: &Witness) -> Age {
        let slot = witness.slot();
        let own = slot.class == Class::Opinion && slot.site == self.home;
        (own, slot.class, witness.kept_from, slot)
    }

    fn evict_first(&mut self) {
        let first = self.by_age.first().map(|(.., slot)| name_of_slot(slot));
        let Some(witness) = first.and_then(|name| self.by_name.get(&name).cloned()) else {
            return;
        };
        self.drop_witness(&witness);
        self.evicted += 1;
    }

    fn drop_witness(&mut self, witness: &Arc<Witness>) {
        let slot = witness.slot();
        for key in witness.statement.keys() {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.remove(&slot);
                if entry.is_empty() {
                    self.entries.remove(key);
                }
            }
        }
        self.opinions -= usize::from(slot.class == Class::Opinion);
        self.by_age.remove(&self.age_of(witness));
        self.by_name.remove(&name_of_slot(&slot));
    }
}

fn name_of(witness: &Witness) -> Name {
    name_of_slot(&witness.slot())
}

fn name_of_slot(slot: &Slot) -> Name {
    (slot.site, slot.mail, slot.class, slot.network)
}

/// The oldest epochs that are still kept: everybody's, and this site's own opinions.
pub(super) fn oldest_kept(now: Time) -> (Epoch, Epoch) {
    (now.minus_secs(KEEP_SECS).epoch(), now.minus_secs(KEEP_OWN_OPINION_SECS).epoch())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Digest, Engine};
    use crate::statement::{Copies, Facts, Kind, Opinion, Statement};

    const HOME: SiteId = SiteId([1; 32]);
    const NOW: Time = Time(1_800_000_000);

    fn probe(value: u64) -> Probe {
        Probe::new(&[Digest { engine: Engine::Exact, weak: false, value }], None, NOW)
    }

    fn witness(site: SiteId, mail: u64, age_secs: u64, opinion: bool) -> Witness {
        let kind = match opinion {
            true => Kind::Opinion { opinion: Opinion::Report, nilsimsa: None },
            false => Kind::Sighting { copies: Copies::One, facts: Facts::default() },
        };
        let epoch = NOW.minus_secs(age_secs).epoch();
        let keys = probe(mail).emitted().to_vec();
        let statement = Statement::new(site, MailId(mail), mail, epoch, keys, kind);
        Witness { statement, network: Network(1), nilsimsa: None, kept_from: epoch }
    }

    fn holds(catalog: &Catalog, mail: u64) -> bool {
        !catalog.matches(&probe(mail)).is_empty()
    }

    #[test]
    fn at_the_bound_the_oldest_sightings_go_first_and_own_opinions_last() {
        let other = SiteId([2; 32]);
        let mut catalog = Catalog::new(HOME, 3);
        catalog.insert(witness(HOME, 1, 9000, true));
        catalog.insert(witness(other, 2, 8000, true));
        for mail in 3..9 {
            catalog.insert(witness(other, mail, 9000 - 900 * mail, false));
        }
        assert_eq!((catalog.len(), catalog.evicted()), (3, 5));
        assert!(holds(&catalog, 1) && holds(&catalog, 2) && holds(&catalog, 8));
        catalog.insert(witness(other, 10, 60, true));
        catalog.insert(witness(other, 11, 60, true));
        assert!(holds(&catalog, 1) && !holds(&catalog, 2), "foreign opinions before own");
    }

    #[test]
    fn what_is_too_old_goes_but_own_opinions_stay_for_a_month() {
        let mut catalog = Catalog::new(HOME, 100);
        catalog.insert(witness(SiteId([2; 32]), 1, KEEP_SECS + 2000, true));
        catalog.insert(witness(HOME, 2, KEEP_SECS + 2000, false));
        catalog.insert(witness(HOME, 3, KEEP_SECS + 2000, true));
        catalog.insert(witness(HOME, 4, KEEP_OWN_OPINION_SECS + 2000, true));
        catalog.insert(witness(HOME, 5, KEEP_SECS - 2000, false));
        catalog.expire(NOW);
        let left: Vec<u64> = (1..=5).filter(|mail| holds(&catalog, *mail)).collect();
        assert_eq!(left, [3, 5]);
    }

    #[test]
    fn nothing_is_left_of_what_goes() {
        let mut catalog = Catalog::new(HOME, 100);
        catalog.insert(witness(HOME, 1, KEEP_SECS + 2000, false));
        catalog.expire(NOW);
        assert!(catalog.is_empty() && catalog.entries.is_empty() && catalog.by_age.is_empty());
    }

    #[test]
    fn only_a_newer_version_replaces() {
        let mut catalog = Catalog::new(HOME, 100);
        let old = witness(HOME, 1, 60, false);
        let mut new = old.clone();
        new.statement.seq += 1;
        assert!(catalog.insert(new.clone()));
        assert!(!catalog.insert(old), "a replayed older version changes nothing");
        assert!(!catalog.insert(new), "nor does the same again");
        assert_eq!(catalog.len(), 1);
    }
}
