//! How near a site stands to this one by vouches: a walk from home over signed vouch lists.
//!
//! Main item: [`Walk`]. The walk starts at home, goes on with probability one half, each time to
//! one of those whom the present site vouches for; how often it passes a site is that site's
//! *mass*. Mass is conserved: who was vouched for once can't multiply it by vouching for a
//! thousand of his own. A site's *standing* is its mass by the median of those who have two
//! introducers, at most one, of which one voucher gives at most a third: three introducers make a site that counts in full, as three
//! marginal ones did in PGP's web of trust. The vouch of a site that does not count itself counts
//! for nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::identity::SiteId;

/// Probability that the walk goes on. One half keeps it near home: a step further halves what is
/// left (a choice; measured in docs/trust.md).
const GO_ON: f64 = 0.5;
/// Steps of the walk: what is left after them is 2^-12.
const STEPS: usize = 12;
/// Most of a full standing that one voucher gives (PGP: one fully trusted or three marginal).
pub const INTRODUCER_MAX: f64 = 1.0 / 3.0;
/// Standing from which a site counts by itself, and its vouches count: with two introducers.
pub const ESTABLISHED_MIN: f64 = 0.5;
/// Friends with whom a friend's guests speak with a full voice; with three times as many or more
/// they have a third (docs/trust.md).
const GUEST_VOICES: f64 = 4.0;
/// How often the walk is taken again with those who came to count: as many as a network of
/// 100,000 sites is deep, and one more.
const ROUNDS_MAX: usize = 8;

/// Where a site stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// 0 to 1; 1 for those whom home itself vouches for.
    pub standing: f64,
    /// The branch of home's vouch tree through which most of it came.
    pub branch: SiteId,
    /// Vouches between home and here, along the branch.
    pub depth: u32,
}

/// Standings in the eyes of one site.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    of: HashMap<SiteId, Standing>,
    gives: HashMap<SiteId, f64>,
    established: usize,
}

/// Sites as numbers, home first, and whom each vouches for.
struct Graph {
    sites: Vec<SiteId>,
    edges: Vec<Vec<usize>>,
}

/// True for sites within two steps of home.
type Near = Vec<bool>;

impl Graph {
    /// All that can be reached from home, without those who are `out`.
    fn reach<'a>(
        home: SiteId,
        own: &'a BTreeSet<SiteId>,
        list_of: &impl Fn(&SiteId) -> &'a [SiteId],
        out: impl Fn(&SiteId) -> bool,
    ) -> Self {
        let mut graph = Self { sites: vec![home], edges: Vec::new() };
        let mut number: HashMap<SiteId, usize> = HashMap::from([(home, 0)]);
        while let Some(site) = graph.sites.get(graph.edges.len()).copied() {
            let mut edges = Vec::new();
            let mut add = |to: &SiteId| {
                if *to == home || out(to) {
                    return;
                }
                let next = graph.sites.len();
                let at = *number.entry(*to).or_insert(next);
                if at == next {
                    graph.sites.push(*to);
                }
                edges.push(at);
            };
            match site == home {
                true => own.iter().for_each(&mut add),
                false => list_of(&site).iter().for_each(&mut add),
            }
            graph.edges.push(edges);
        }
        graph
    }

    /// Home and whom it vouches for.
    fn direct(&self) -> Vec<bool> {
        let mut direct = vec![false; self.sites.len()];
        direct[0] = true;
        self.edges[0].iter().for_each(|at| direct[*at] = true);
        direct
    }

    /// These, and whom they vouch for: with them it begins.
    fn near(&self) -> Near {
        let mut near = vec![false; self.sites.len()];
        near[0] = true;
        for direct in &self.edges[0] {
            near[*direct] = true;
            self.edges[*direct].iter().for_each(|to| near[*to] = true);
        }
        near
    }

    /// How often the walk passes each site. Where `counts` says no it ends.
    fn mass(&self, counts: &[bool]) -> Vec<f64> {
        let mut here = vec![0.0; self.sites.len()];
        here[0] = 1.0;
        let mut mass = here.clone();
        for _ in 0..STEPS {
            let mut next = vec![0.0; here.len()];
            for (from, edges) in self.edges.iter().enumerate() {
                if here[from] == 0.0 || !counts[from] {
                    continue;
                }
                let each = here[from] * GO_ON / edges.len().max(1) as f64;
                edges.iter().for_each(|to| next[*to] += each);
            }
            mass.iter_mut().zip(&next).for_each(|(sum, more)| *sum += more);
            here = next;
        }
        mass
    }

    /// Mass of every site, its standing by that, and what it gives to each that it vouches for.
    fn standings(&self, near: &Near, established: &[bool]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let counts: Vec<bool> = near.iter().zip(established).map(|(a, b)| *a || *b).collect();
        // What a site two steps away says of others as near as itself counts once it does: two
        // guests of one's friends must not make each other more than that.
        let leads = |from: usize, to: usize| established[from] || (counts[from] && !near[to]);
        let direct: BTreeSet<usize> = self.edges[0].iter().copied().collect();
        // A guest of a friend speaks with part of a voice until he counts himself; the fewer friends,
        // the more one has to see with their eyes.
        let guest = (GUEST_VOICES / direct.len().max(1) as f64).clamp(INTRODUCER_MAX, 1.0);
        let mass = self.mass(&counts);
        let mut introducers = vec![0u32; mass.len()];
        for (from, edges) in self.edges.iter().enumerate() {
            if mass[from] > 0.0 {
                let led = edges.iter().filter(|to| leads(from, **to));
                led.for_each(|to| introducers[*to] += 1);
            }
        }
        // Who has but one introducer is no measure for others: anybody can make a thousand such.
        let far = (1..mass.len()).filter(|at| !direct.contains(at) && introducers[*at] > 1);
        let mut masses: Vec<f64> = far.map(|at| mass[at]).collect();
        masses.sort_unstable_by(f64::total_cmp);
        let median = masses.get(masses.len() / 2).copied().unwrap_or(1.0);
        let mut standings = vec![0.0; mass.len()];
        let mut given = standings.clone();
        for (from, edges) in self.edges.iter().enumerate() {
            if from == 0 {
                continue;
            }
            let gives = mass[from] * GO_ON / edges.len().max(1) as f64 / median;
            let voice = if established[from] { 1.0 } else { guest };
            given[from] = gives.min(INTRODUCER_MAX) * voice;
            let led = edges.iter().filter(|to| leads(from, **to));
            led.for_each(|to| standings[*to] += given[from]);
        }
        standings.iter_mut().for_each(|standing| *standing = standing.min(1.0));
        direct.iter().for_each(|at| standings[*at] = 1.0);
        standings[0] = 1.0;
        (mass, standings, given)
    }

    /// Branch and depth of every site: nearest first, and of several parents the one that gives
    /// most. Branches begin at the first fork: who knows one site only sees with its eyes.
    fn branches(&self, mass: &[f64]) -> Vec<Option<(usize, u32)>> {
        let mut found: Vec<Option<(usize, u32)>> = vec![None; self.sites.len()];
        let (mut root, mut depth) = (0, 0);
        while let [only] = self.edges[root][..] {
            if only == 0 || found[only].is_some() {
                break;
            }
            depth += 1;
            found[only] = Some((only, depth));
            root = only;
        }
        let mut level: BTreeMap<usize, usize> = BTreeMap::new();
        for to in &self.edges[root] {
            if found[*to].is_none() && *to != 0 {
                level.insert(*to, *to);
            }
        }
        while !level.is_empty() {
            depth += 1;
            level.iter().for_each(|(at, branch)| found[*at] = Some((*branch, depth)));
            let mut next: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
            for (from, branch) in &level {
                let gives = mass[*from] / self.edges[*from].len().max(1) as f64;
                for to in &self.edges[*from] {
                    if found[*to].is_none() {
                        let best = next.entry(*to).or_insert((gives, *branch));
                        *best = if gives > best.0 { (gives, *branch) } else { *best };
                    }
                }
            }
            level = next.into_iter().map(|(to, (_, branch))| (to, branch)).collect();
        }
        found
    }
}

impl Walk {
    /// Walks from `home`, which vouches for `own`; `list_of` gives whom another site vouches for,
    /// and who is `out` (proved to have lied) neither counts nor leads on.
    #[must_use]
    pub fn over<'a>(
        home: SiteId,
        own: &'a BTreeSet<SiteId>,
        list_of: impl Fn(&SiteId) -> &'a [SiteId],
        out: impl Fn(&SiteId) -> bool,
    ) -> Self {
        let graph = Graph::reach(home, own, &list_of, out);
        // From the nearest outward: sites far from home that vouch for each other must not carry
        // each other.
        let near = graph.near();
        let mut established = graph.direct();
        let (mut mass, mut standings, mut given) = graph.standings(&near, &established);
        for _ in 0..ROUNDS_MAX {
            let now = standings.iter().map(|one| *one >= ESTABLISHED_MIN).collect();
            if now == established {
                break;
            }
            established = now;
            (mass, standings, given) = graph.standings(&near, &established);
        }
        let branches = graph.branches(&mass);
        let mut of = HashMap::new();
        for at in 1..graph.sites.len() {
            if let Some((branch, depth)) = branches[at] {
                let branch = graph.sites[branch];
                of.insert(graph.sites[at], Standing { standing: standings[at], branch, depth });
            }
        }
        let established = of.values().filter(|one| one.standing >= ESTABLISHED_MIN).count();
        let gives = graph.sites.iter().copied().zip(given).filter(|one| one.1 > 0.0).collect();
        Self { of, gives, established }
    }

    /// Where a site stands; none where no vouch leads to it.
    #[must_use]
    pub fn standing(&self, site: &SiteId) -> Option<Standing> {
        self.of.get(site).copied()
    }

    /// How much of a full standing the voucher `from` gives to `to`; 0 where its vouch doesn't
    /// count.
    #[must_use]
    pub fn gives(&self, from: &SiteId, to: &SiteId) -> f64 {
        let (Some(given), Some(at)) = (self.gives.get(from), self.of.get(to)) else { return 0.0 };
        let counts = self.of.get(from).is_some_and(|one| one.standing >= ESTABLISHED_MIN);
        if counts || at.depth > 2 { *given } else { 0.0 }
    }

    /// All sites that can be reached.
    pub fn sites(&self) -> impl Iterator<Item = (&SiteId, &Standing)> {
        self.of.iter()
    }

    /// How many sites count by themselves.
    #[must_use]
    pub fn established(&self) -> usize {
        self.established
    }
}
