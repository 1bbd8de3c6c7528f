//! The hot set: mails whose spread passed the threshold are announced by gossip together with the
//! statements that prove it. Who receives them checks every signature and keeps them, so that the
//! next copy is decided at home, without a query.
//!
//! Key decision: an announcement stands by itself. It carries statements of at least as many
//! sites as the threshold asks for, so nobody has to believe who sends it; a new opinion on a
//! known outbreak travels with enough of the old statements to be understood by a newcomer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::clock::EPOCH_SECS;
use crate::entry::{Network, Witness};
use crate::identity::SiteId;
use crate::matching::SHARED_UNVERIFIED;
use crate::node::api::{Action, GossipVerdict, Now, Topic, Why};
use crate::node::host::NodeId;
use crate::node::query::Own;
use crate::node::replica::{tag_of, witness_of};
use crate::node::state::Node;
use crate::node::wire::{Gossip, HOT_MAX, Tag};
use crate::statement::{Class, Kind, Opinion, Statement};
use crate::store::Catalog;

/// How far back a statement makes an outbreak, in seconds (24 h, the window of spread, DESIGN 4.1).
pub(crate) const OUTBREAK_SECS: u64 = 24 * 3600;

/// Signed bytes of statements that this node met, and which of them are out as outbreaks.
pub(crate) struct Hot {
    catalog: Catalog,
    announced: HashSet<Tag>,
    signed: HashMap<Tag, Arc<[u8]>>,
    order: VecDeque<Tag>,
    max: usize,
}

impl Hot {
    pub(crate) fn new(home: SiteId, max: usize) -> Self {
        Self {
            catalog: Catalog::new(home, max),
            announced: HashSet::new(),
            signed: HashMap::new(),
            order: VecDeque::new(),
            max: max.max(1),
        }
    }

    /// Statements held as parts of outbreaks.
    pub(crate) fn len(&self) -> usize {
        self.catalog.len()
    }

    /// Remembers the bytes of a true statement; at the bound the oldest are forgotten.
    pub(crate) fn keep_signed(&mut self, tag: Tag, signed: &[u8]) {
        if self.signed.insert(tag, signed.into()).is_none() {
            self.order.push_back(tag);
        }
        while self.order.len() > self.max {
            if let Some(old) = self.order.pop_front() {
                self.signed.remove(&old);
                self.announced.remove(&old);
            }
        }
    }

    pub(crate) fn signed(&self, tag: Tag) -> Option<&Arc<[u8]>> {
        self.signed.get(&tag)
    }

    fn out(&mut self, tag: Tag, witness: Witness) {
        self.announced.insert(tag);
        self.catalog.insert(witness);
    }

    /// Parts of outbreaks that are about the same mail as `statement`.
    fn companions(&self, statement: &Statement) -> Vec<Arc<Witness>> {
        let under = statement.keys().iter().flat_map(|key| self.catalog.under(*key));
        let mut found: Vec<Arc<Witness>> = Vec::new();
        for witness in under {
            if is_same(&witness.statement, statement)
                && !found.iter().any(|one| Arc::ptr_eq(one, witness))
            {
                found.push(Arc::clone(witness));
            }
        }
        found
    }

    pub(crate) fn expire(&mut self, now: Now) {
        self.catalog.expire(now.wall);
    }
}

/// About one mail, as far as keys alone can tell: three shared, or all where there are fewer.
fn is_same(one: &Statement, other: &Statement) -> bool {
    let least = one.keys().len().min(other.keys().len()).min(SHARED_UNVERIFIED as usize);
    let shared = one.keys().iter().filter(|key| other.keys().binary_search(key).is_ok()).count();
    least > 0 && shared >= least
}

fn is_withdrawn(statement: &Statement) -> bool {
    matches!(statement.kind, Kind::Opinion { opinion: Opinion::Withdrawn, .. })
}

/// Distinct sites and networks among witnesses that say something.
fn places(witnesses: &[Arc<Witness>]) -> (usize, usize) {
    let speaking = witnesses.iter().filter(|one| !is_withdrawn(&one.statement));
    let (mut sites, mut networks) = (HashSet::new(), HashSet::new());
    for one in speaking {
        sites.insert(one.statement.site);
        networks.insert(one.network);
    }
    (sites.len(), networks.len())
}

impl Node {
    /// How many networks an outbreak needs: as many as sites, or all there are.
    fn networks_needed(&self) -> usize {
        let rows = self.members.rows();
        let most = self.config.hot_sites;
        let some: HashSet<Network> = rows.iter().take(256).map(|row| row.network).collect();
        most.min(some.len().max(1))
    }

    pub(crate) fn is_outbreak(&self, witnesses: &[Arc<Witness>]) -> bool {
        let (sites, networks) = places(witnesses);
        sites >= self.config.hot_sites && networks >= self.networks_needed()
    }

    /// Announces what was found of a mail, if it is an outbreak of which others do not know.
    pub(crate) fn announce_if_hot(
        &mut self,
        all: Vec<Arc<Witness>>,
        own: Option<&Arc<Own>>,
        now: Now,
    ) {
        let mut all = all;
        if let Some(own) = own {
            let network = self.network_of(own.statement.site);
            self.hot.keep_signed(tag_of(&own.statement), &own.signed);
            all.push(Arc::new(witness_of(own.statement.clone(), network)));
        }
        let oldest = now.wall.minus_secs(OUTBREAK_SECS).epoch();
        all.retain(|one| one.statement.epoch >= oldest);
        if !self.is_outbreak(&all) {
            return;
        }
        let (known, fresh): (Vec<_>, Vec<_>) = all
            .into_iter()
            .filter(|one| self.hot.signed(tag_of(&one.statement)).is_some())
            .partition(|one| self.hot.announced.contains(&tag_of(&one.statement)));
        let speaks = fresh.iter().any(|one| one.statement.class() == Class::Opinion);
        if fresh.is_empty() || (!speaks && places(&known).0 >= self.config.hot_sites) {
            return;
        }
        let mut chosen: Vec<Arc<Witness>> = fresh;
        chosen.sort_by_key(|one| std::cmp::Reverse(one.statement.class()));
        chosen.truncate(HOT_MAX - self.config.hot_sites.min(HOT_MAX / 2));
        for one in known {
            if self.is_outbreak(&chosen) || chosen.len() >= HOT_MAX {
                break;
            }
            chosen.push(one);
        }
        if !self.is_outbreak(&chosen) {
            return;
        }
        let bytes = chosen.iter().filter_map(|one| self.hot.signed(tag_of(&one.statement)));
        let frame = Gossip::Hot(bytes.map(|signed| signed.to_vec()).collect());
        for one in chosen {
            let tag = tag_of(&one.statement);
            self.hot.out(tag, Arc::unwrap_or_clone(one));
        }
        self.counters.hot_announced += 1;
        self.gossip(Topic::Hot, &frame);
    }

    /// An opinion of this site's people on a known outbreak goes out at once.
    pub(crate) fn announce_opinion(&mut self, own: &Arc<Own>, now: Now) {
        if own.statement.class() != Class::Opinion {
            return;
        }
        let companions = self.hot.companions(&own.statement);
        if !companions.is_empty() {
            self.announce_if_hot(companions, Some(own), now);
        }
    }

    /// Judges an announcement, and learns from it.
    pub(crate) fn hear_hot(
        &mut self,
        from: NodeId,
        statements: &[Vec<u8>],
        now: Now,
    ) -> GossipVerdict {
        let mut fresh = Vec::new();
        let mut all: Vec<Arc<Witness>> = Vec::new();
        for signed in statements {
            let statement = match self.hot_statement(signed) {
                Ok(statement) => statement,
                Err(()) => {
                    self.counters.statements_false += 1;
                    self.counters.hot_refused += 1;
                    self.fault(from);
                    return GossipVerdict::Reject;
                }
            };
            if !self.is_timely(&statement, now) {
                self.counters.statements_clock += 1;
                return GossipVerdict::Ignore;
            }
            let Some(network) = self.members.network_of(statement.site) else { continue };
            let tag = tag_of(&statement);
            let witness = Arc::new(witness_of(statement, network));
            if !self.hot.announced.contains(&tag) {
                fresh.push((tag, signed, Arc::clone(&witness)));
            }
            all.push(witness);
        }
        let Some(first) = all.first().cloned() else { return GossipVerdict::Ignore };
        let about_one = all.iter().all(|one| is_same(&first.statement, &one.statement));
        if !about_one || !self.is_outbreak(&all) {
            self.counters.hot_refused += 1;
            return GossipVerdict::Ignore;
        }
        if fresh.is_empty() {
            return GossipVerdict::Ignore;
        }
        let mut witnesses = Vec::with_capacity(fresh.len());
        for (tag, signed, witness) in fresh {
            self.hot.keep_signed(tag, signed);
            let witness = Witness::clone(&witness);
            self.hot.out(tag, witness.clone());
            witnesses.push(witness);
        }
        self.counters.hot_learned += witnesses.len() as u64;
        self.out.push(Action::Learned { witnesses, why: Why::Hot });
        GossipVerdict::Accept
    }

    /// Bytes that are known need not be checked again.
    fn hot_statement(&self, signed: &[u8]) -> Result<Statement, ()> {
        let statement = Statement::decode(signed).map_err(|_| ())?;
        match self.hot.signed(tag_of(&statement)) {
            Some(known) if **known == *signed => Ok(statement),
            _ => self.config.verifier.statement(signed).map_err(|_| ()),
        }
    }

    /// Not older than 72 h, and not from beyond the next epoch (THREATS 13).
    pub(crate) fn is_timely(&self, statement: &Statement, now: Now) -> bool {
        let latest = now.wall.0.saturating_add(EPOCH_SECS);
        let oldest = now.wall.minus_secs(crate::store::KEEP_SECS).epoch();
        statement.epoch <= crate::clock::Time(latest).epoch() && statement.epoch >= oldest
    }
}
