//! An entry is all that the catalog holds under one key, as a state-based CRDT: a union that is
//! bounded per class, so that merging in any order and any grouping gives the same entry.
//!
//! Key decision: the order that decides who stays is made of signed fields and the observed
//! network only, and gives the first witness of every network precedence over the second of any
//! (a *round*). Within a network the held witnesses are always a prefix of its order, which is
//! what makes "keep the first 32" associative; the property tests at the end hold it.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::clock::Epoch;
use crate::digest::Nilsimsa;
use crate::identity::SiteId;
use crate::statement::{Class, MailId, Statement};

/// Most sightings, and apart from them most opinions, under one key (DESIGN 4.1).
pub const ENTRY_CLASS_MAX: usize = 32;

/// Most opinions of sites that count ([`Shelved`]): as many as an answer has room for, so that a
/// fifth of a thousand trusted sites that turn leave room for the others.
const COUNTING_OPINIONS_MAX: usize = 256;

/// On which shelf a site's statements are kept, in the eyes of the node that keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// It counts by itself.
    Counting,
    /// Vouches lead to it, too few to count by itself.
    Newcomers,
}

impl Shelf {
    /// Most statements of a class, those in the entry included.
    fn room(self, class: Class) -> usize {
        match (self, class) {
            (Self::Counting, Class::Opinion) => COUNTING_OPINIONS_MAX,
            _ => ENTRY_CLASS_MAX,
        }
    }
}

/// Where a site was observed, for diversity: a number for its address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(pub u64);

impl Network {
    /// The network of this very site, where no address was observed.
    pub const HOME: Self = Self(0);

    /// A network known by name only (`replay`: each site its own).
    #[must_use]
    pub fn named(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        let mut first = [0u8; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        Self(u64::from_le_bytes(first) | 1)
    }
}

/// A statement as one node holds it: with the network it was observed from and, where the site
/// has told it, the mail's Nilsimsa digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Witness {
    /// What was said.
    pub statement: Statement,
    /// Where the site was observed.
    pub network: Network,
    /// The digest that verifies a near match, where it is known.
    pub nilsimsa: Option<Nilsimsa>,
    /// From when the time it is kept runs: the receipt for what the network says, the last act
    /// for this site's own opinions.
    pub kept_from: Epoch,
}

/// What of a witness never changes from one version to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Sighting or opinion.
    pub class: Class,
    /// Observed where.
    pub network: Network,
    /// Received when.
    pub epoch: Epoch,
    /// By whom.
    pub site: SiteId,
    /// Which mail.
    pub mail: MailId,
}

impl Slot {
    /// The least of all in order.
    pub(crate) const FIRST: Self = Self {
        class: Class::Sighting,
        network: Network(0),
        epoch: Epoch(0),
        site: SiteId([0; 32]),
        mail: MailId(0),
    };
}

impl Witness {
    /// The place of this witness among all.
    #[must_use]
    pub fn slot(&self) -> Slot {
        let Statement { site, mail, epoch, .. } = self.statement;
        Slot { class: self.statement.class(), network: self.network, epoch, site, mail }
    }

    /// True when this version replaces `other` of the same slot. Two different statements of
    /// one sequence (a site that lies) are ordered by their bytes, so that all nodes agree; of
    /// one statement, the witness whose digest is known wins.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        let by_seq = self.statement.seq.cmp(&other.statement.seq);
        by_seq
            .then_with(|| self.statement.to_bytes().cmp(&other.statement.to_bytes()))
            .then_with(|| self.nilsimsa.cmp(&other.nilsimsa))
            .is_gt()
    }
}

/// The witnesses under one key, sorted by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    held: SmallVec<[Arc<Witness>; 1]>,
}

impl Entry {
    /// All witnesses, sightings first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Witness>> {
        self.held.iter()
    }

    /// True when nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Adds one witness; at the bound the last in order goes, and is given back.
    pub fn insert(&mut self, witness: Arc<Witness>) -> Option<Arc<Witness>> {
        self.insert_up_to(witness, ENTRY_CLASS_MAX)
    }

    /// The same with another bound, which must always be the same for this entry.
    fn insert_up_to(&mut self, witness: Arc<Witness>, class_max: usize) -> Option<Arc<Witness>> {
        let slot = witness.slot();
        match self.held.binary_search_by_key(&slot, |held| held.slot()) {
            Ok(at) if witness.supersedes(&self.held[at]) => {
                self.held[at] = witness;
                None
            }
            Ok(_) => None,
            Err(at) => {
                self.held.insert(at, witness);
                self.bound(slot.class, class_max)
            }
        }
    }

    /// Adds all of another entry: commutative, associative, idempotent.
    pub fn merge(&mut self, other: &Self) {
        for witness in &other.held {
            self.insert(Arc::clone(witness));
        }
    }

    /// Takes out one witness, as when it expires.
    pub fn remove(&mut self, slot: &Slot) {
        if let Ok(at) = self.held.binary_search_by_key(slot, |held| held.slot()) {
            self.held.remove(at);
        }
    }

    /// Gives away the last witness of a class in order of (round, epoch, site, mail) while there are
    /// too many, where a witness's round is its place within its network.
    fn bound(&mut self, class: Class, class_max: usize) -> Option<Arc<Witness>> {
        let of_class = self.held.iter().filter(|held| held.statement.class() == class);
        if of_class.count() <= class_max {
            return None;
        }
        let (mut round, mut network) = (0u32, None);
        let mut last = None;
        for (at, held) in self.held.iter().enumerate() {
            let slot = held.slot();
            if slot.class != class {
                continue;
            }
            round = if network == Some(slot.network) { round + 1 } else { 0 };
            network = Some(slot.network);
            let rank = (round, slot.epoch, slot.site, slot.mail, slot.network);
            if last.is_none_or(|(worst, _)| rank > worst) {
                last = Some((rank, at));
            }
        }
        last.map(|(_, at)| self.held.remove(at))
    }
}

/// Whose statements are kept on which shelf.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelves(HashMap<SiteId, Shelf>);

impl Shelves {
    /// Who is said to count and to be a newcomer, as in two networks, counts.
    pub(crate) fn new(sites: impl IntoIterator<Item = (SiteId, Shelf)>) -> Self {
        let mut shelves = HashMap::new();
        for (site, shelf) in sites {
            let known = shelves.entry(site).or_insert(shelf);
            *known = shelf.min(*known);
        }
        Self(shelves)
    }

    pub(crate) fn of(&self, site: &SiteId) -> Option<Shelf> {
        self.0.get(site).copied()
    }

    pub(crate) fn somebody_counts(&self) -> bool {
        self.0.values().any(|shelf| *shelf == Shelf::Counting)
    }
}

/// An entry with two *shelves* beside it: what the entry had no place for, of sites that this node
/// trusts, and of those that are newcomers to it. Anybody can fill an entry from as many networks
/// as it has places; the shelves he can't. They are each node's own and no part of what nodes
/// compare.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelved {
    entry: Entry,
    counting: Entry,
    newcomers: Entry,
}

impl Shelved {
    /// Adds one witness; gives what there is no place for any more.
    pub(crate) fn insert(
        &mut self,
        witness: Arc<Witness>,
        shelves: &Shelves,
    ) -> SmallVec<[Arc<Witness>; 2]> {
        let came = shelves.of(&witness.statement.site);
        let class = witness.statement.class();
        let mut gone = SmallVec::new();
        let Some(cut) = self.entry.insert(witness) else { return gone };
        let left = shelves.of(&cut.statement.site);
        match left {
            Some(shelf) => gone.extend(self.shelf(shelf).insert_up_to(cut, usize::MAX)),
            None => gone.push(cut),
        }
        // As many as without the shelf: it makes up for what strangers push out, and shifts no
        // balance between silence and reports.
        for shelf in [left, came.filter(|_| came != left)].into_iter().flatten() {
            let of = |one: &&Arc<Witness>| {
                one.statement.class() == class && shelves.of(&one.statement.site) == Some(shelf)
            };
            let in_entry = self.entry.iter().filter(of).count();
            let room = shelf.room(class).saturating_sub(in_entry);
            gone.extend(self.shelf(shelf).bound(class, room));
        }
        gone
    }

    fn shelf(&mut self, shelf: Shelf) -> &mut Entry {
        match shelf {
            Shelf::Counting => &mut self.counting,
            Shelf::Newcomers => &mut self.newcomers,
        }
    }

    /// All witnesses: those of the entry, then those on the shelves.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Witness>> {
        self.entry.iter().chain(self.counting.iter()).chain(self.newcomers.iter())
    }

    /// What all nodes agree on.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Takes out one witness, wherever it is.
    pub(crate) fn remove(&mut self, slot: &Slot) {
        for held in [&mut self.entry, &mut self.counting, &mut self.newcomers] {
            held.remove(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Key;
    use crate::statement::{Copies, Facts, Kind, Opinion};
    use proptest::prelude::*;

    fn witness(
        site: u8,
        network: u64,
        epoch: u32,
        mail: u64,
        seq: u64,
        opinion: bool,
    ) -> Arc<Witness> {
        let kind = if opinion {
            let opinion = if seq.is_multiple_of(2) { Opinion::Report } else { Opinion::Revoke };
            Kind::Opinion { opinion, nilsimsa: None }
        } else {
            Kind::Sighting {
                copies: Copies::of(u32::try_from(seq).unwrap()),
                facts: Facts::default(),
            }
        };
        let site = SiteId([site; 32]);
        let statement = Statement::new(site, MailId(mail), seq, Epoch(epoch), vec![Key(1)], kind);
        Arc::new(Witness {
            statement,
            network: Network(network),
            nilsimsa: None,
            kept_from: Epoch(0),
        })
    }

    fn entry(witnesses: &[Arc<Witness>]) -> Entry {
        let mut entry = Entry::default();
        for witness in witnesses {
            entry.insert(Arc::clone(witness));
        }
        entry
    }

    fn merged(one: &Entry, two: &Entry) -> Entry {
        let mut sum = one.clone();
        sum.merge(two);
        sum
    }

    /// Small ranges, so that slots collide, versions replace each other and bounds are hit.
    fn any_witnesses() -> impl Strategy<Value = Vec<Arc<Witness>>> {
        let one = (0u8..40, 0u64..6, 0u32..4, 0u64..3, 0u64..12, any::<bool>()).prop_map(
            |(site, network, epoch, mail, seq, opinion)| {
                witness(site, network, epoch, mail, seq, opinion)
            },
        );
        proptest::collection::vec(one, 0..120)
    }

    proptest! {
        #[test]
        fn merge_is_commutative(a in any_witnesses(), b in any_witnesses()) {
            let (a, b) = (entry(&a), entry(&b));
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        }

        #[test]
        fn merge_is_associative(a in any_witnesses(), b in any_witnesses(), c in any_witnesses()) {
            let (a, b, c) = (entry(&a), entry(&b), entry(&c));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        }

        #[test]
        fn merge_is_idempotent(a in any_witnesses()) {
            let a = entry(&a);
            prop_assert_eq!(merged(&a, &a), a);
        }

        #[test]
        fn the_order_of_arrival_does_not_matter(mut a in any_witnesses()) {
            let forward = entry(&a);
            a.reverse();
            prop_assert_eq!(entry(&a), forward);
        }

        #[test]
        fn never_more_than_the_bound(a in any_witnesses()) {
            let entry = entry(&a);
            for class in [Class::Sighting, Class::Opinion] {
                let count = entry.iter().filter(|held| held.statement.class() == class).count();
                prop_assert!(count <= ENTRY_CLASS_MAX);
            }
        }
    }

    #[test]
    fn a_flood_from_one_network_leaves_every_other_in() {
        let flood = (0..200).map(|site| witness(site, 7, 0, 0, 1, false));
        let honest = (0..10).map(|network| witness(201, 100 + network, 3, 0, 1, false));
        let entry = entry(&flood.chain(honest).collect::<Vec<_>>());
        let kept = entry.iter().filter(|held| held.network.0 >= 100).count();
        assert_eq!(kept, 10);
    }

    #[test]
    fn what_known_sites_say_outlasts_a_flood_from_as_many_networks() {
        for (opinion, shelf) in [
            (false, Shelf::Counting),
            (true, Shelf::Counting),
            (false, Shelf::Newcomers),
            (true, Shelf::Newcomers),
        ] {
            let honest: Vec<_> =
                (0..3u8).map(|site| witness(site, u64::from(site), 9, 0, 1, opinion)).collect();
            let mut held = Shelved::default();
            let shelves = Shelves::new((0..3).map(|site| (SiteId([site; 32]), shelf)));
            held.insert(Arc::clone(&honest[0]), &shelves);
            // Earlier, and each from a network of its own.
            for network in 0..10_000 {
                held.insert(witness(200, 100 + network, 1, network, 1, opinion), &shelves);
            }
            held.insert(Arc::clone(&honest[1]), &shelves);
            held.insert(Arc::clone(&honest[2]), &shelves);
            let kept = |one: &&Arc<Witness>| held.iter().any(|other| other == *one);
            assert_eq!(honest.iter().filter(kept).count(), 3);
            assert_eq!(held.iter().count(), ENTRY_CLASS_MAX + 3);
            assert!(!held.entry().iter().any(|one| shelves.of(&one.statement.site).is_some()));
        }
    }

    #[test]
    fn newcomers_and_strangers_take_no_place_of_those_who_count() {
        let site = |at: u8| SiteId([at; 32]);
        let of = |at: u8| if at < 40 { Shelf::Counting } else { Shelf::Newcomers };
        let shelves = Shelves::new((0..80).map(|at| (site(at), of(at))));
        let said = |at: u8| witness(at, u64::from(at), u32::from(at % 7), 0, 1, false);
        let held_after = |strangers: u8| {
            let mut held = Shelved::default();
            let mut gone = 0;
            for at in (0..80u8).chain(100..100 + strangers) {
                gone += held.insert(said(at), &shelves).len();
            }
            assert_eq!(held.iter().count() + gone, 80 + usize::from(strangers));
            let mut known: Vec<SiteId> =
                held.iter().map(|one| one.statement.site).filter(|of| of.0[0] < 80).collect();
            known.sort_unstable();
            known
        };
        let alone = held_after(0);
        let counting = alone.iter().filter(|of| of.0[0] < 40).count();
        assert_eq!((counting, alone.len()), (ENTRY_CLASS_MAX, 2 * ENTRY_CLASS_MAX));
        assert_eq!(held_after(100), alone, "the same are held, whoever comes");
    }

    #[test]
    fn sightings_never_push_out_an_opinion() {
        let opinion = witness(250, 99, 9, 0, 2, true);
        let crowd = (0..200u8).map(|site| witness(site, u64::from(site), 0, 0, 1, false));
        let entry = entry(&[opinion.clone()].into_iter().chain(crowd).collect::<Vec<_>>());
        assert!(entry.iter().any(|held| *held == opinion));
    }

    #[test]
    fn junk_then_not_junk_then_junk_leaves_one_report() {
        let acts = [2, 3, 4].map(|seq| witness(1, 1, 0, 0, seq, true));
        let entry = entry(&acts);
        assert_eq!(entry.iter().collect::<Vec<_>>(), [&acts[2]]);
    }
}
