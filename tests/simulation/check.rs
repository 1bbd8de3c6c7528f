//! What must hold, one checker for each invariant, and the ledger of all that was said, against
//! which they check.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use novacula_catalog::node::{
    Completeness, Config, Group, HostCertificate, MemberRecord, Node, NodeId, Observation, Purpose,
    Start,
};
use novacula_catalog::{
    Class, Identity, Key, MailId, Match, Probe, SiteId, Statement, Time, Witness,
};

use super::agent::Asked;
use super::site::SimSite;
use super::world::World;

/// A table of everything that was said, everywhere at once.
#[derive(Default)]
pub struct Ledger {
    said: HashMap<(SiteId, MailId, Class), Statement>,
    by_key: HashMap<Key, Vec<(SiteId, MailId, Class)>>,
}

impl Ledger {
    /// Somebody said it.
    pub fn say(&mut self, statement: Statement) {
        let name = (statement.site, statement.mail, statement.class());
        for key in statement.keys() {
            let names = self.by_key.entry(*key).or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        self.said.insert(name, statement);
    }

    /// Statements that count.
    pub fn current(&self) -> impl Iterator<Item = &Statement> {
        self.said.values()
    }

    /// What is to be found under each key.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<Key, Vec<&Statement>> {
        let of = |names: &Vec<(SiteId, MailId, Class)>, key: &Key| -> Vec<&Statement> {
            let said = names.iter().filter_map(|name| self.said.get(name));
            said.filter(|one| one.keys().contains(key)).collect()
        };
        self.by_key.iter().map(|(key, names)| (*key, of(names, key))).collect()
    }

    /// Sites, the asker's apart, whose statements match a mail.
    #[must_use]
    pub fn sites_that_saw(&self, probe: &Probe, home: SiteId) -> HashSet<SiteId> {
        let names: HashSet<_> =
            probe.keys().filter_map(|key| self.by_key.get(&key)).flatten().copied().collect();
        let said = names.into_iter().filter_map(|name| self.said.get(&name));
        said.filter(|one| one.site != home && matches(probe, one)).map(|one| one.site).collect()
    }
}

fn matches(probe: &Probe, statement: &Statement) -> bool {
    let witness = Witness {
        statement: statement.clone(),
        network: novacula_catalog::Network::HOME,
        nilsimsa: None,
        kept_from: statement.epoch,
    };
    let found: Option<Match> = novacula_catalog::compare(probe, &Arc::new(witness));
    found.is_some()
}

/// Membership records of sites that have known each other for an hour.
#[must_use]
pub fn acquainted_records(sites: &[SimSite], now: Time) -> Vec<Arc<MemberRecord>> {
    let observers: Vec<Identity> = sites.iter().take(3).map(SimSite::host_key).collect();
    let made = Time(now.0.saturating_sub(600));
    let record = |site: &SimSite| {
        let subject = site.host();
        let others = observers.iter().filter(|one| NodeId::of(one) != subject).take(2);
        let seen = others.map(|one| Observation::make(one, subject, site.address, made)).collect();
        let certificate: HostCertificate = site.certificate();
        let addresses = vec![site.address.to_string()];
        let host = site.host_key();
        Arc::new(MemberRecord::make(&host, &Group::Open, certificate, made, addresses, seen))
    };
    sites.iter().map(record).collect()
}

/// What is wrong with where things lie.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Keys and statements that a holder lacks.
    pub lacking: usize,
    /// That nobody holds whom an asker would ask.
    pub lost: usize,
    /// Statements held twice under one key by one node.
    pub doubled: usize,
    /// Statements looked at, times their keys.
    pub looked_at: usize,
    /// Whole statements that their home lacks.
    pub homeless: usize,
}

/// Somebody who knows of all that run, and of no other.
fn knowing(world: &World, running: &HashMap<NodeId, usize>) -> Option<Node> {
    let (host, now) = (Identity::from_seed(&[9; 32]), world.now_at(0));
    let some = world.sites[*running.values().min()?].node.as_ref()?;
    let mut members = some.book();
    members.retain(|record| running.contains_key(&record.node));
    let start = Start {
        certificate: HostCertificate::issue(&host, NodeId::of(&host), Time(now.wall.0 + 9_000)),
        host,
        boot: now.wall,
        outbox: Vec::new(),
        members,
        vouches: Vec::new(),
        proofs: Vec::new(),
        addresses: Vec::new(),
    };
    let config = Config { group: world.options.group.clone(), ..Config::default() };
    Some(Node::new(start, config, now, &mut fastrand::Rng::with_seed(0)))
}

/// Compares what holders hold with what was said, as seen by who knows of all that run: an asker whom
/// a holder does not answer asks who stands in for it.
#[must_use]
pub fn differences(world: &World, of: impl Fn(&Statement) -> bool) -> Differences {
    let mut found = Differences::default();
    let running: HashMap<NodeId, usize> =
        world.running().into_iter().map(|at| (world.sites[at].host(), at)).collect();
    let Some(eye) = knowing(world, &running) else { return found };
    for (key, statements) in world.ledger.keys() {
        let holders: Vec<_> = eye
            .holders(key)
            .iter()
            .filter_map(|node| world.sites[*running.get(node)?].node.as_ref())
            .collect();
        let held: Vec<_> = holders.iter().map(|node| node.held(key)).collect();
        for list in &held {
            let names: HashSet<_> =
                list.iter().map(|(site, mail, class, _)| (site, mail, class)).collect();
            found.doubled += list.len() - names.len();
        }
        for statement in statements.into_iter().filter(|one| of(one)) {
            let name = (statement.site, statement.mail, statement.class(), statement.seq);
            let have = held.iter().filter(|list| list.contains(&name)).count();
            found.looked_at += 1;
            found.lacking += usize::from(have < held.len());
            found.lost += usize::from(have == 0);
            if statement.keys().first() == Some(&key) {
                let whole =
                    holders.iter().filter(|node| node.lies_here(statement.site, statement.seq));
                found.homeless += usize::from(whole.count() == 0);
            }
        }
    }
    found
}

/// How questions were answered.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Recall {
    /// Questions.
    pub asked: usize,
    /// Without an answer, which must not be.
    pub unanswered: usize,
    /// Ended by their deadline.
    pub late: usize,
    /// Sites named, of those that a global table would have named.
    pub found: usize,
    /// These.
    pub truth: usize,
    /// Median time, in milliseconds.
    pub median_ms: u64,
    /// 99 of 100 took no longer, in milliseconds.
    pub p99_ms: u64,
}

impl Recall {
    /// Share of sites named; 1 when there were none.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.truth == 0 { 1.0 } else { self.found as f64 / self.truth as f64 }
    }
}

/// Looks at all questions asked from `since_ms` on that a global table had an answer to.
#[must_use]
pub fn recall(world: &World, since_ms: u64) -> Recall {
    recall_of(world, since_ms, |_| true)
}

/// The same for some of the questions.
#[must_use]
pub fn recall_of(world: &World, since_ms: u64, of: impl Fn(&Asked) -> bool) -> Recall {
    let mut sum = Recall::default();
    let mut times = Vec::new();
    for asked in world.asked.values().filter(|asked| asked.at_ms >= since_ms && of(asked)) {
        sum.asked += 1;
        match asked.answer {
            None => sum.unanswered += 1,
            Some(Completeness::Deadline) => sum.late += 1,
            Some(_) => {}
        }
        times.push(asked.took_ms);
        // Hot campaigns are cut at 32 witnesses under a key; more names say nothing more.
        let truth = asked.truth.min(32);
        sum.truth += truth;
        sum.found += asked.found.min(truth);
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(0);
    (sum.median_ms, sum.p99_ms) = (at(50), at(99));
    sum
}

impl World {
    /// Bytes of frames that all nodes sent for a purpose.
    #[must_use]
    pub fn bytes(&self, purpose: Purpose) -> u64 {
        let nodes = self.sites.iter().filter_map(|site| site.node.as_ref());
        nodes.map(|node| node.counters().sent(purpose)).sum()
    }

    /// A counter, summed over all nodes.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        let nodes = self.sites.iter().filter_map(|site| site.node.as_ref());
        let of = |list: Vec<(&'static str, &'static str, u64)>| {
            list.into_iter().find(|one| one.0 == name).map_or(0, |one| one.2)
        };
        nodes.map(|node| of(node.counters().list())).sum()
    }
}
