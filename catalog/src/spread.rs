//! At how many independent places a mail was seen, and when: the number Novacula exists for.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Time;
use crate::entry::Network;
use crate::identity::SiteId;
use crate::matching::Match;
use crate::statement::{Kind, Opinion};
use crate::trust::{Ground, Trust};

/// Distinct trusted sites and networks within the window. An opinion is a sighting too: who
/// reports a mail has received it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Distinct sites.
    pub sites: u32,
    /// Distinct networks these sites were observed in.
    pub networks: u32,
    /// Places as [`Trust::places_needed`] asks for them: these sites, of a branch of the vouch tree
    /// at most half of what is needed; not more than networks.
    pub places: u32,
    /// Start of the earliest epoch.
    pub first_seen: Option<Time>,
    /// Start of the latest epoch.
    pub last_seen: Option<Time>,
}

impl Spread {
    /// Counts the sites among `matches` that saw the mail not longer than `window_secs` ago;
    /// a copy `in_hand` counts as seen now, at the asker's own network.
    #[must_use]
    pub fn of(
        matches: &[Match],
        trust: &Trust,
        now: Time,
        window_secs: u64,
        in_hand: Option<Network>,
    ) -> Self {
        // A site is of one branch.
        let mut branches: BTreeMap<SiteId, BTreeSet<SiteId>> = BTreeMap::new();
        let mut networks = BTreeSet::new();
        let (mut first, mut last, mut newcomer) = (None, None, None);
        let mut count = |branch, site, network, at: Time| {
            branches.entry(branch).or_default().insert(site);
            networks.insert(network);
            first = Some(first.map_or(at, |other: Time| other.min(at)));
            last = Some(last.map_or(at, |other: Time| other.max(at)));
        };
        for Match { witness, .. } in matches {
            let statement = &witness.statement;
            let withdrawn =
                matches!(statement.kind, Kind::Opinion { opinion: Opinion::Withdrawn, .. });
            let at = statement.epoch.start();
            let recent = now.secs_since(at) <= window_secs;
            if !recent || withdrawn {
                continue;
            }
            match trust.place(&statement.site, now) {
                place if place.weight <= 0.0 => {}
                // All of them are one place.
                place if place.ground == Ground::Newcomer => {
                    newcomer.get_or_insert((statement.site, witness.network, at));
                }
                place => count(place.branch, statement.site, witness.network, at),
            }
        }
        if let Some((site, network, at)) = newcomer {
            count(site, site, network, at);
        }
        if let Some(network) = in_hand {
            count(trust.home(), trust.home(), network, now.epoch().start());
        }
        let most = trust.places_needed().div_ceil(2) as usize;
        let sites = branches.values().map(BTreeSet::len);
        let places: usize = sites.clone().map(|sites| sites.min(most)).sum();
        let size = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        Self {
            sites: size(sites.sum()),
            networks: size(networks.len()),
            places: size(places.min(networks.len())),
            first_seen: first,
            last_seen: last,
        }
    }
}
