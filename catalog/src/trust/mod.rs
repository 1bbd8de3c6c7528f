//! How much a site's word weighs in the eyes of this one, and why. Nobody decides it for all: it
//! follows from whom this site vouches for, whom these vouch for ([`Walk`]), and what came of a
//! site's opinions here ([`Records`]). The formulas with a worked example: docs/trust.md.
//!
//! Main item: [`Trust`]. Key decision: nobody earns weight by what he does, he can only lose it;
//! credit is a reserve against mistakes. Weight comes from people who know each other. All
//! newcomers together weigh half a site, and who was introduced by others convicts only what many
//! places have seen ([`Trust::places_needed`]).

mod hindsight;
mod record;
#[cfg(test)]
mod tests;
mod vouch;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::clock::Time;
use crate::entry::Shelf;
use crate::identity::SiteId;

pub use hindsight::{CONFIRMING_NETWORKS, Hindsight, REVOKING_NETWORKS};
pub(crate) use hindsight::{revoking_networks, voices};
pub use record::{
    BLAME, CREDIT, CREDIT_HALF_LIFE_SECS, CREDIT_MAX, CREDIT_MIN, RECORDS_MAX, Record, Records,
};
pub use vouch::{
    AHEAD_SECS_MAX, VOUCH_KEEP_SECS, VOUCH_LIST_LEN_MAX, VOUCH_RENEW_SECS, VOUCHES_MAX, VouchError,
    VouchList,
};
pub use walk::{ESTABLISHED_MIN, INTRODUCER_MAX, Standing, Walk};

/// What a site must weigh to count by itself; below it is a newcomer. A full standing falls there
/// after five contradictions, and after two its word alone passes no threshold.
pub const NEWCOMER_BELOW: f64 = 0.5;
/// What a newcomer must weigh for a place to be kept for what it states (a choice: ten of such say
/// as much as one site, and sixty names that one newcomer vouches for weigh a hundredth each).
const HEARD_MIN: f64 = 0.1;
/// What all newcomers together weigh, in sites (DESIGN 4.3: at most one).
pub const NEWCOMERS: f64 = 0.5;

/// See [`Trust::places_needed`]. Fewest: as many as make a mail bulk.
const PLACES_MIN: u32 = 3;
/// Most: the curve is in docs/trust.md.
const PLACES_MAX: u32 = 8;
/// Sites that count here for each place (a choice: 8 from 256 sites on).
const SITES_A_PLACE: u32 = 32;

/// What a weight rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ground {
    /// This site itself.
    Home,
    /// The configuration names it, or its group does.
    Configured,
    /// An administrator here vouched for it.
    Vouched,
    /// Others vouched for it.
    Introduced,
    /// Others did, but too few, or it was wrong too often: it counts together with all such.
    Newcomer,
    /// No vouch leads to it.
    Stranger,
    /// It gave one number to two statements, which is proved: it never counts again.
    Equivocator,
}

impl Ground {
    /// The ground's word in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Configured => "configured",
            Self::Vouched => "vouched",
            Self::Introduced => "introduced",
            Self::Newcomer => "newcomer",
            Self::Stranger => "stranger",
            Self::Equivocator => "equivocator",
        }
    }
}

/// A weight with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// 0 to 1.
    pub weight: f64,
    /// Why.
    pub ground: Ground,
    /// Standing by vouches, 0 to 1.
    pub standing: f64,
    /// What it earned or lost here.
    pub credit: f64,
    /// The branch of this site's vouch tree that it belongs to; itself where it is none.
    pub branch: SiteId,
}

/// Weights as one site sees them.
#[derive(Clone, Debug)]
pub struct Trust {
    home: SiteId,
    configured: Arc<HashMap<SiteId, f64>>,
    others: f64,
    vouched: Arc<BTreeSet<SiteId>>,
    walk: Arc<Walk>,
    records: Arc<Records>,
    equivocators: Arc<HashSet<SiteId>>,
    places: Option<u32>,
}

impl Trust {
    /// Only this site's own word counts.
    #[must_use]
    pub fn home_only(home: SiteId) -> Self {
        Self::group(home, [])
    }

    /// This site and the given ones; weights are cut to 0..=1.
    #[must_use]
    pub fn group(home: SiteId, members: impl IntoIterator<Item = (SiteId, f64)>) -> Self {
        let members = members.into_iter().map(|(site, weight)| (site, weight.clamp(0.0, 1.0)));
        Self {
            home,
            configured: Arc::new(members.collect()),
            others: 0.0,
            vouched: Arc::default(),
            walk: Arc::default(),
            records: Arc::default(),
            equivocators: Arc::default(),
            places: None,
        }
    }

    /// The weight of those whom nobody names: 1 where only members can speak, because the
    /// network of peers is closed by a key.
    #[must_use]
    pub fn with_others(self, weight: f64) -> Self {
        Self { others: weight.clamp(0.0, 1.0), ..self }
    }

    /// Sites that an administrator here vouches for, and the walk from them.
    #[must_use]
    pub fn with_vouches(self, vouched: BTreeSet<SiteId>, walk: Walk) -> Self {
        Self { vouched: Arc::new(vouched), walk: Arc::new(walk), ..self }
    }

    /// What sites did.
    #[must_use]
    pub fn with_records(self, records: Records) -> Self {
        Self { records: Arc::new(records), ..self }
    }

    /// Sites that are proved to have given one number twice.
    #[must_use]
    pub fn with_equivocators(self, sites: impl IntoIterator<Item = SiteId>) -> Self {
        Self { equivocators: Arc::new(sites.into_iter().collect()), ..self }
    }

    /// Another number for [`Trust::places_needed`].
    #[must_use]
    pub fn with_places(self, places: u32) -> Self {
        Self { places: Some(places), ..self }
    }

    /// The site in whose eyes this is.
    #[must_use]
    pub fn home(&self) -> SiteId {
        self.home
    }

    /// The same weights in the eyes of another site.
    #[must_use]
    pub fn seen_from(&self, home: SiteId) -> Self {
        Self { home, ..self.clone() }
    }

    /// What sites did, to be written on.
    pub fn records_mut(&mut self) -> &mut Records {
        Arc::make_mut(&mut self.records)
    }

    /// What sites did.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Sites that the configuration names.
    pub fn configured(&self) -> impl Iterator<Item = SiteId> {
        self.configured.keys().copied()
    }

    /// Whether a place is kept for what a site states, and which: where it counts by itself and does
    /// not revoke everything, or is heard with all other newcomers.
    #[must_use]
    pub fn shelf(&self, site: &SiteId, now: Time) -> Option<Shelf> {
        let place = self.place(site, now);
        if place.weight < HEARD_MIN || !self.revokes_rarely(site, now) {
            return None;
        }
        let counts = place.weight >= NEWCOMER_BELOW && place.ground != Ground::Newcomer;
        Some(if counts { Shelf::Counting } else { Shelf::Newcomers })
    }

    /// All sites that a place is kept for, home too.
    #[must_use]
    pub fn shelves(&self, now: Time) -> Vec<(SiteId, Shelf)> {
        let of = |site: SiteId| Some((site, self.shelf(&site, now)?));
        self.known().into_iter().filter_map(of).collect()
    }

    /// How many sites count by themselves, home too.
    #[must_use]
    pub fn counting(&self, now: Time) -> usize {
        self.shelves(now).iter().filter(|(_, shelf)| *shelf == Shelf::Counting).count()
    }

    /// How many sites there are of each ground, strangers not counted.
    #[must_use]
    pub fn grounds(&self, now: Time) -> BTreeMap<&'static str, usize> {
        let mut grounds = BTreeMap::new();
        for site in self.known() {
            *grounds.entry(self.place(&site, now).ground.name()).or_default() += 1;
        }
        grounds
    }

    /// Sites of which something is known by name, by vouches or by proof.
    fn known(&self) -> BTreeSet<SiteId> {
        let named = self.configured.keys().chain(self.vouched.iter()).chain([&self.home]);
        let lied = self.equivocators.iter();
        named.chain(lied).chain(self.walk.sites().map(|one| one.0)).copied().collect()
    }

    /// Standings by vouches.
    #[must_use]
    pub fn walk(&self) -> &Walk {
        &self.walk
    }

    /// True where a revoke of this site is something out of the ordinary, or its weight is not
    /// for others to change.
    #[must_use]
    pub fn revokes_rarely(&self, site: &SiteId, now: Time) -> bool {
        *site == self.home
            || self.configured.contains_key(site)
            || self.records.revokes_rarely(site, now)
    }

    /// At how many places, in as many networks, a mail must have been seen for the word of
    /// introduced sites to convict: one in [`SITES_A_PLACE`] of the sites that count here, from
    /// [`PLACES_MIN`] to [`PLACES_MAX`].
    #[must_use]
    pub fn places_needed(&self) -> u32 {
        self.places.unwrap_or(self.places_needed_of_friends().max(PLACES_MIN))
    }

    /// The same for those whom home itself vouches for: in a small network the word of one of them
    /// suffices, in a large one he must not be the only one who saw the mail.
    #[must_use]
    pub fn places_needed_of_friends(&self) -> u32 {
        let sites = u32::try_from(self.walk.established()).unwrap_or(u32::MAX);
        (sites / SITES_A_PLACE).min(PLACES_MAX)
    }

    /// The weight of `site` now, and why.
    #[must_use]
    pub fn place(&self, site: &SiteId, now: Time) -> Place {
        let place = |weight: f64, ground| Place {
            weight,
            ground,
            standing: if weight > 0.0 { 1.0 } else { 0.0 },
            credit: 0.0,
            branch: *site,
        };
        if *site == self.home {
            return place(1.0, Ground::Home);
        }
        if self.equivocators.contains(site) {
            return place(0.0, Ground::Equivocator);
        }
        if let Some(weight) = self.configured.get(site) {
            return place(*weight, Ground::Configured);
        }
        let credit = self.records.credit(site, now);
        if self.vouched.contains(site) {
            let weight = (1.0 + credit).clamp(0.0, 1.0);
            return Place { credit, ..place(weight, Ground::Vouched) };
        }
        let Some(Standing { standing, branch, .. }) =
            self.walk.standing(site).filter(|one| one.standing > 0.0)
        else {
            let ground = if self.others > 0.0 { Ground::Configured } else { Ground::Stranger };
            return place(self.others, ground);
        };
        let weight = (standing / ESTABLISHED_MIN).min(1.0) * (1.0 + credit).clamp(0.0, 1.0);
        let ground = match weight < NEWCOMER_BELOW || standing < ESTABLISHED_MIN {
            true => Ground::Newcomer,
            false => Ground::Introduced,
        };
        Place { weight, ground, standing, credit, branch }
    }

    /// The weight of `site` now, 0 to 1.
    #[must_use]
    pub fn weight(&self, site: &SiteId, now: Time) -> f64 {
        self.place(site, now).weight
    }
}
