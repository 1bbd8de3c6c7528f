//! Everything about one mail, for people who want to argue with a verdict.

use novacula_catalog::{Key, Probe, Time};
use novacula_client::{Digests, Explanation, GroupSum, Term};

use super::read::{Read, rates_for, sends};
use super::{Agent, Caller};
use crate::canonical::{Canonical, Link};
use crate::fingerprint::Fingerprint;
use crate::line::to_hex;

impl Agent {
    /// Everything about a mail; changes nothing.
    pub fn explain(&self, mail: &[u8], caller: &Caller, now: Time) -> Explanation {
        let settings = self.settings();
        let read = self.read(mail, caller, &settings, now);
        let state = self.state();
        let matches = state.catalog.matches(&read.probe);
        let in_hand = caller.delivery.then(|| state.site.network());
        let readings = self.readings(&read, &settings, &matches, in_hand, now);
        let judgement = &readings.main;
        // What a delivery now would state, tried on a copy of the counters.
        let stated = sends(&read)
            .then(|| {
                state.site.clone().sight(&matches, &read.probe, read.facts, caller.recipients, now)
            })
            .flatten();
        let group = readings.group.as_ref().zip(settings.group.as_ref());
        Explanation {
            check: self.verdict(&read, &settings, &matches, &readings, now),
            links: read.canonical.links.iter().map(link_text).collect(),
            fingerprint: digests(&read.canonical, &read.fingerprint),
            would_send: stated.map_or_else(String::new, |witness| {
                to_hex(&self.identity.body(&witness.statement))
            }),
            would_ask: if sends(&read) { asked(&read.probe) } else { Vec::new() },
            terms: judgement.terms.iter().map(term).collect(),
            odds_nats: judgement.odds_nats,
            threshold_nats: settings.rates.threshold_nats,
            group: group.map(|(judged, by)| GroupSum {
                terms: judged.terms.iter().map(term).collect(),
                odds_nats: judged.odds_nats,
                threshold_nats: by.rates.threshold_nats,
            }),
            report_if_wanted: rates_for(&read, &settings.rates).report_if_wanted,
            common: common(&read, &state.familiar, now),
            canonical: read.canonical.text,
        }
    }
}

/// The keys to look up, as frames carry them.
fn asked(probe: &Probe) -> Vec<String> {
    let mut keys: Vec<Key> = probe.keys().collect();
    keys.dedup();
    keys.iter().map(|key| to_hex(&key.0.to_le_bytes())).collect()
}

/// Digests that stand in much of this site's accepted mail, by engine: no match rests on them.
fn common(read: &Read, familiar: &crate::familiar::Familiar, now: Time) -> Vec<String> {
    let digests = read.fingerprint.digests().iter();
    let common = digests.filter(|digest| familiar.is_common(digest, now));
    common.map(|digest| format!("{} {:016x}", digest.engine.name(), digest.value)).collect()
}

/// The digests as the API shows them.
#[must_use]
pub fn digests(canonical: &Canonical, fingerprint: &Fingerprint) -> Digests {
    let shown = fingerprint.digests().iter().map(|digest| {
        let weak = if digest.weak { " (weak)" } else { "" };
        (format!("{}{weak}", digest.engine.name()), format!("{:016x}", digest.value))
    });
    Digests {
        digests: shown.collect(),
        nilsimsa: fingerprint.nilsimsa().map(|digest| digest.to_hex()),
        characters: canonical.chars(),
    }
}

fn link_text(link: &Link) -> String {
    match link {
        Link::Web { host, path, .. } => format!("{host}{path}"),
        Link::Phone(digits) => format!("phone {digits}"),
        Link::Coin(address) => format!("coin {address}"),
    }
}

fn term(term: &novacula_catalog::Term) -> Term {
    Term {
        site: term.site.map_or_else(|| term.what.to_owned(), |site| site.to_string()),
        what: term.what.to_owned(),
        copies: term.copies,
        trust: term.trust,
        ground: term.ground.map_or_else(String::new, |ground| ground.name().to_owned()),
        nats: term.nats,
    }
}
