//! What the content filters of other sites think of a mail, pooled: the one evidence that is there
//! in the first minute, before any person has spoken (DESIGN 4.3).
//!
//! Main item: [`pooled_filters`]. Key decision: many filters that read one text err alike, so that
//! all of them together weigh no more than one, and never enough to convict without a person.

use std::collections::BTreeMap;

use crate::clock::Time;
use crate::entry::Network;
use crate::matching::Match;
use crate::rates::Rates;
use crate::statement::{Filter, Kind};
use crate::trust::Trust;

/// The mean of their leanings over networks, in nats; None where no trusted filter has spoken.
pub(crate) fn pooled_filters(
    matches: &[Match],
    trust: &Trust,
    rates: &Rates,
    now: Time,
) -> Option<f64> {
    let mut networks: BTreeMap<Network, (f64, f64)> = BTreeMap::new();
    for Match { witness, .. } in matches {
        let Kind::Sighting { facts, .. } = witness.statement.kind else { continue };
        let nats = match facts.filter {
            Filter::Unknown => continue,
            Filter::Grey => 0.0,
            Filter::Spam => rates.filter_spam_nats,
            Filter::Ham => -rates.filter_ham_nats,
        };
        let weight = trust.weight(&witness.statement.site, now);
        let of = networks.entry(witness.network).or_default();
        *of = if weight > of.0 { (weight, nats) } else { *of };
    }
    let weights = networks.values().map(|(weight, _)| weight).sum::<f64>();
    let sum = networks.values().map(|(weight, nats)| weight * nats).sum::<f64>();
    // Filters of sites that weigh less than one site together say less.
    (weights > 0.0).then(|| sum / weights.max(1.0))
}
