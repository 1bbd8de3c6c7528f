//! How much a site's word weighs in the eyes of this one. Until trust is earned by a walk over
//! vouches, it is configured: this site and the members of its group weigh 1, all others 0
//! (DESIGN 4.3).

use std::collections::HashMap;

use crate::identity::SiteId;

/// Weights as this site sees them, each from 0 to 1.
#[derive(Clone, Debug)]
pub struct Trust {
    home: SiteId,
    group: HashMap<SiteId, f64>,
    others: f64,
}

impl Trust {
    /// Only this site's own word counts.
    #[must_use]
    pub fn home_only(home: SiteId) -> Self {
        Self { home, group: HashMap::new(), others: 0.0 }
    }

    /// This site and the given ones; weights are cut to 0..=1.
    #[must_use]
    pub fn group(home: SiteId, members: impl IntoIterator<Item = (SiteId, f64)>) -> Self {
        let group = members.into_iter().map(|(site, weight)| (site, weight.clamp(0.0, 1.0)));
        Self { home, group: group.collect(), others: 0.0 }
    }

    /// The weight of those who are not named: 1 where only members can speak, because the
    /// network of peers is closed by a key.
    #[must_use]
    pub fn with_others(self, weight: f64) -> Self {
        Self { others: weight.clamp(0.0, 1.0), ..self }
    }

    /// The site in whose eyes this is.
    #[must_use]
    pub fn home(&self) -> SiteId {
        self.home
    }

    /// The same weights in the eyes of another site.
    #[must_use]
    pub fn seen_from(&self, home: SiteId) -> Self {
        Self { home, group: self.group.clone(), others: self.others }
    }

    /// The weight of `site`, 0 to 1.
    #[must_use]
    pub fn weight(&self, site: &SiteId) -> f64 {
        if *site == self.home { 1.0 } else { self.group.get(site).copied().unwrap_or(self.others) }
    }
}
