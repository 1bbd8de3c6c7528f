//! What sites that belong together may say in sum. Sites of one network count as the strongest of
//! them; a branch of the vouch tree as one site that was named at home; all newcomers as half of
//! one (docs/trust.md).
//!
//! Main item: [`capped_sum`]. Key decision: bounds are on the sum of what is said for and against,
//! so that reports of a large campaign are not cut while the silence of its copies is not.

use std::collections::BTreeMap;

use crate::entry::Network;
use crate::identity::SiteId;
use crate::rates::Rates;
use crate::trust::{Ground, NEWCOMERS, Place};

/// What introduced sites, and those vouched for, may say at most of a mail that was seen at few
/// places, as a share of the threshold.
const FEW_PLACES: f64 = 0.9;

/// With whom a site is bounded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A site that the configuration names, or home.
    Named(SiteId),
    /// A site that home vouches for.
    Friend(SiteId),
    /// A branch of this site's vouch tree.
    Branch(SiteId),
    /// All newcomers.
    Newcomers,
}

impl Part {
    pub(crate) fn of(place: &Place) -> Self {
        match place.ground {
            Ground::Newcomer => Self::Newcomers,
            Ground::Introduced => Self::Branch(place.branch),
            Ground::Vouched => Self::Friend(place.branch),
            _ => Self::Named(place.branch),
        }
    }
}

/// What there is too little of for some to convict.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Few {
    /// The mail was seen at too few places for introduced sites.
    pub(crate) places: bool,
    /// At too few even for those whom home vouches for.
    pub(crate) friends: bool,
    /// Too few sites that were named at home report it.
    pub(crate) named: bool,
}

/// The strongest word of a network.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share(Option<(f64, Part)>);

impl Share {
    pub(crate) fn stronger(self, other: (f64, Part)) -> Self {
        Self(Some(self.0.filter(|own| own.0.abs() >= other.0.abs()).unwrap_or(other)))
    }
}

/// The sum over networks, bounded per branch by what one site that was named at home can say, and
/// for all newcomers together by [`NEWCOMERS`] of it.
pub(crate) fn capped_sum(
    networks: &BTreeMap<Network, [Share; 3]>,
    slots: &[usize],
    few: Few,
    rates: &Rates,
) -> f64 {
    let mut parts: BTreeMap<Part, f64> = BTreeMap::new();
    let shares = networks.values().flat_map(|of| slots.iter().filter_map(|slot| of[*slot].0));
    for (nats, part) in shares {
        *parts.entry(part).or_default() += nats;
    }
    let report_nats = f64::ln(rates.report_if_spam / rates.report_if_wanted);
    let site_nats = report_nats.max(rates.trap_nats).max(rates.revoke_nats);
    let (mut near, mut friends, mut far) = (0.0, 0.0, 0.0);
    for (part, nats) in parts {
        match part {
            Part::Named(_) => near += nats.clamp(-site_nats, site_nats),
            Part::Friend(_) => friends += nats.clamp(-site_nats, site_nats),
            Part::Branch(_) => far += nats.clamp(-site_nats, site_nats),
            Part::Newcomers => far += nats.clamp(-report_nats * NEWCOMERS, report_nats * NEWCOMERS),
        }
    }
    let most = |few: bool| if few { FEW_PLACES * rates.threshold_nats } else { f64::INFINITY };
    let sum = (near + friends).min(most(few.named)) + far.min(most(few.places));
    sum.min(near + most(few.friends)).min(most(few.named && few.places))
}
