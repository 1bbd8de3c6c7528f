//! What the catalog concludes from the matches of one mail: a pure function of evidence, trust
//! and time.
//!
//! The verdict is a likelihood ratio, not a threshold on counts (DESIGN 4.3): how likely are
//! these opinions, *given how many copies have been out long enough to be reported*, if the mail
//! were spam, or wanted bulk? Reports are points of a Poisson process whose rate is the copies
//! exposed; hence one term for every report and one for every copy that nobody reported. One
//! report among three copies is strong, the same report among sixty is not. The unit is the
//! site, and sites of one network together weigh as the strongest of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::caps::{Few, Part, Share, capped_sum};
use crate::clock::Time;
use crate::entry::Network;
use crate::filters::pooled_filters;
use crate::identity::SiteId;
use crate::matching::{Match, telling};
use crate::rates::Rates;
use crate::spread::Spread;
use crate::statement::{Kind, MailId, Opinion};
use crate::store::KEEP_SECS;
use crate::trust::{Ground, REVOKING_NETWORKS, Trust, revoking_networks, voices};

/// What the catalog concludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conclusion {
    /// The odds pass the threshold.
    Spam,
    /// Reports alone would pass it, revokes hold against them.
    Contested,
    /// Many sites, no judgement.
    Bulk,
    /// Nothing that weighs.
    Unknown,
}

/// One term of the sum, so that a verdict can be argued with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// The site that it is about, if it is about one.
    pub site: Option<SiteId>,
    /// What it is: `prior`, `filters`, `report`, `trap-report`, `revoke`, `exposed`, or `cap`:
    /// what sites of one network, of one branch and newcomers say beyond what they weigh
    /// together, and what nobody may say alone of a mail seen at few places.
    pub what: &'static str,
    /// Copies it rests on.
    pub copies: f64,
    /// Weight of the site, 0 to 1.
    pub trust: f64,
    /// What the weight rests on.
    pub ground: Option<Ground>,
    /// What it adds to the log odds, in nats.
    pub nats: f64,
}

impl Term {
    /// A term that is about no site.
    fn of_none(what: &'static str, nats: f64) -> Self {
        Self { site: None, what, copies: 0.0, trust: 1.0, ground: None, nats }
    }
}

/// The conclusion with its evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The conclusion.
    pub conclusion: Conclusion,
    /// Log odds of spam, in nats.
    pub odds_nats: f64,
    /// The odds as 0..=100, 50 at the threshold.
    pub confidence: u8,
    /// Where and when the mail was seen.
    pub spread: Spread,
    /// Trusted sites whose people or traps report it.
    pub reports: u32,
    /// Trusted sites whose people revoke it.
    pub revokes: u32,
    /// Revokes come from so many networks that no number of reports counts.
    pub vetoed: bool,
    /// What this site's own people say.
    pub home: Option<Opinion>,
    /// The sum, term by term.
    pub terms: Vec<Term>,
}

/// What one site contributes.
#[derive(Clone, Debug, Default)]
struct SiteEvidence {
    network: Option<Network>,
    /// Highest sequence and copies with their age in seconds, by mail.
    seen: BTreeMap<MailId, (u64, u32, u64)>,
    opinion: Option<(u64, Opinion)>,
}

impl SiteEvidence {
    fn copies(&self) -> f64 {
        self.seen.values().map(|(_, copies, _)| f64::from(*copies)).sum::<f64>().max(1.0)
    }

    /// Copies whose recipients have had time to speak.
    fn exposed(&self, delay_secs: f64) -> f64 {
        let of =
            |copies: u32, age: u64| f64::from(copies) * -f64::exp_m1(-(age as f64) / delay_secs);
        self.seen.values().map(|(_, copies, age)| of(*copies, *age)).sum()
    }

    /// What it says at full weight: word, copies, nats, and which of the three sums it goes to.
    fn terms(&self, rates: &Rates) -> impl Iterator<Item = (&'static str, f64, f64, usize)> {
        let copies = self.copies();
        let said = match self.opinion.map(|(_, opinion)| opinion) {
            Some(Opinion::Report) => {
                let spam = any_of(rates.report_if_spam, copies);
                let wanted = any_of(rates.report_if_wanted, copies);
                Some((Opinion::Report.name(), copies, f64::ln(spam / wanted), FOR))
            }
            Some(Opinion::TrapReport) => {
                Some((Opinion::TrapReport.name(), copies, rates.trap_nats, FOR))
            }
            Some(Opinion::Revoke) => {
                Some((Opinion::Revoke.name(), copies, -rates.revoke_nats, AGAINST))
            }
            Some(Opinion::Withdrawn) | None => None,
        };
        let exposed = self.exposed(rates.report_delay_secs);
        let silence =
            any_of(rates.report_if_spam, exposed) - any_of(rates.report_if_wanted, exposed);
        let silent = (exposed > 0.0).then_some(("exposed", exposed, -silence, SILENT));
        said.into_iter().chain(silent)
    }
}

/// Probability that at least one of `copies` is reported.
fn any_of(rate: f64, copies: f64) -> f64 {
    -f64::exp_m1(copies * f64::ln_1p(-rate))
}

/// Judges a mail by its matches. With `in_hand` the asker has just received a copy, and counts
/// with this network of his as one of the sites that saw it.
#[must_use]
pub fn judge(
    matches: &[Match],
    trust: &Trust,
    rates: &Rates,
    now: Time,
    in_hand: Option<Network>,
) -> Judgement {
    let matches = &*telling(matches, trust.home());
    let spread = Spread::of(matches, trust, now, rates.window_secs, in_hand);
    let sites = by_site(matches, trust, rates, now);
    let mut terms = vec![Term::of_none("prior", rates.prior_nats)];
    let mut networks: BTreeMap<Network, [Share; 3]> = BTreeMap::new();
    let (mut reports, mut revokes, mut named) = (0, 0, 0);
    for (site, evidence) in &sites {
        let place = trust.place(site, now);
        if place.weight <= 0.0 {
            continue;
        }
        let network = networks.entry(evidence.network.unwrap_or(Network::HOME)).or_default();
        let part = Part::of(&place);
        for (what, copies, nats, slot) in evidence.terms(rates) {
            // Who revokes everything says nothing by it.
            let nats = match slot {
                AGAINST if !trust.revokes_rarely(site, now) => 0.0,
                _ => nats,
            };
            let nats = nats * place.weight;
            network[slot] = network[slot].stronger((nats, part));
            let (site, ground) = (Some(*site), Some(place.ground));
            terms.push(Term { site, what, copies, trust: place.weight, ground, nats });
            reports += u32::from(slot == FOR);
            named += u32::from(slot == FOR && matches!(part, Part::Named(_) | Part::Friend(_)));
            revokes += u32::from(slot == AGAINST);
        }
    }
    let filters = pooled_filters(matches, trust, rates, now);
    terms.extend(filters.map(|nats| Term::of_none("filters", nats)));
    let few = Few {
        places: spread.places < trust.places_needed(),
        friends: spread.places < trust.places_needed_of_friends(),
        named: named < rates.named_reports_min,
    };
    let others = rates.prior_nats + filters.unwrap_or(0.0);
    let odds_nats = others + capped_sum(&networks, &[FOR, SILENT, AGAINST], few, rates);
    let without_revokes = others + capped_sum(&networks, &[FOR, SILENT], few, rates);
    let cap = odds_nats - terms.iter().map(|term| term.nats).sum::<f64>();
    if cap.abs() > 1e-9 {
        terms.push(Term::of_none("cap", cap));
    }
    let revoking = match revokes {
        0 => 0,
        _ => revoking_networks(&voices(matches, trust, now), trust, now),
    };
    let held = revokes > 0
        && without_revokes >= rates.threshold_nats
        && (odds_nats < rates.threshold_nats || revoking >= REVOKING_NETWORKS);
    Judgement {
        conclusion: conclude(odds_nats, held, &spread, rates),
        odds_nats,
        confidence: confidence(odds_nats, held, rates),
        spread,
        reports,
        revokes,
        vetoed: held && revoking >= REVOKING_NETWORKS,
        home: sites.get(&trust.home()).and_then(|own| own.opinion).map(|(_, opinion)| opinion),
        terms,
    }
}

/// Indices of a network's three sums: reports, revokes, exposure.
const FOR: usize = 0;
const AGAINST: usize = 1;
const SILENT: usize = 2;

/// `held`: reports alone would pass the threshold, and revokes hold against them, because they
/// outweigh them or because they come from so many networks that no number of reports counts.
fn conclude(odds_nats: f64, held: bool, spread: &Spread, rates: &Rates) -> Conclusion {
    if held {
        return Conclusion::Contested;
    }
    if odds_nats >= rates.threshold_nats {
        return Conclusion::Spam;
    }
    if spread.sites >= rates.bulk_sites && spread.networks >= rates.bulk_sites {
        return Conclusion::Bulk;
    }
    Conclusion::Unknown
}

/// The odds as a share of 100 that is 50 at the threshold, so that people's ranges (51 to 100 is
/// spam) mean what they always meant.
fn confidence(odds_nats: f64, held: bool, rates: &Rates) -> u8 {
    let share = 100.0 / (1.0 + f64::exp(rates.threshold_nats - odds_nats));
    // Below the threshold never 50 or more, from it on never less, unless revokes hold.
    let passes = odds_nats >= rates.threshold_nats;
    let whole = if passes { share.round() } else { share.floor() };
    whole.clamp(0.0, if held { 49.0 } else { 100.0 }) as u8
}

fn by_site(
    matches: &[Match],
    trust: &Trust,
    rates: &Rates,
    now: Time,
) -> BTreeMap<SiteId, SiteEvidence> {
    let mut sites: BTreeMap<SiteId, SiteEvidence> = BTreeMap::new();
    for found in matches {
        let statement = &found.witness.statement;
        let evidence = sites.entry(statement.site).or_default();
        let network = found.witness.network;
        evidence.network = Some(evidence.network.map_or(network, |other| other.min(network)));
        match statement.kind {
            Kind::Sighting { copies, .. } => {
                let age = now.secs_since(statement.epoch.start());
                let seen = evidence.seen.entry(statement.mail).or_default();
                if age <= rates.window_secs && statement.seq >= seen.0 {
                    *seen = (statement.seq, copies.at_least(), age);
                }
            }
            Kind::Opinion { opinion, .. } => {
                let home = statement.site == trust.home();
                if !home && now.secs_since(statement.epoch.start()) > KEEP_SECS {
                    continue;
                }
                if evidence.opinion.is_none_or(|(seq, _)| statement.seq > seq) {
                    evidence.opinion = Some((statement.seq, opinion));
                }
            }
        }
    }
    sites
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Epoch;
    use crate::entry::Witness;
    use crate::matching::Shared;
    use crate::statement::{Copies, Facts, Filter, Statement};
    use std::sync::Arc;

    const HOME: SiteId = SiteId([200; 32]);
    const NOW: Time = Time(1_800_000_000);

    fn found(site: u8, network: u64, seq: u64, age_secs: u64, kind: Kind) -> Match {
        let epoch = Epoch(NOW.minus_secs(age_secs).epoch().0);
        let statement = Statement::new(SiteId([site; 32]), MailId(1), seq, epoch, Vec::new(), kind);
        let witness =
            Witness { statement, network: Network(network), nilsimsa: None, kept_from: epoch };
        let shared = Shared { exact: true, ..Shared::default() };
        Match { witness: Arc::new(witness), engine: crate::Engine::Exact, shared, common: false }
    }

    fn seen(site: u8, age_secs: u64) -> Match {
        let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
        found(site, u64::from(site), 1, age_secs, kind)
    }

    fn said(site: u8, opinion: Opinion) -> Match {
        found(site, u64::from(site), 2, 3600, Kind::Opinion { opinion, nilsimsa: None })
    }

    fn judged(matches: &[Match], trusted: std::ops::Range<u8>) -> Judgement {
        let trust = Trust::group(HOME, trusted.map(|site| (SiteId([site; 32]), 1.0)));
        judge(matches, &trust, &Rates::default(), NOW, Some(Network(1000)))
    }

    #[test]
    fn one_report_among_few_copies_is_strong_and_among_many_it_is_not() {
        let few: Vec<Match> =
            (0..3).map(|site| seen(site, 7200)).chain([said(0, Opinion::Report)]).collect();
        let many: Vec<Match> =
            (0..60).map(|site| seen(site, 7200)).chain([said(0, Opinion::Report)]).collect();
        assert_eq!(judged(&few, 0..100).conclusion, Conclusion::Spam);
        assert_eq!(judged(&many, 0..100).conclusion, Conclusion::Bulk);
        assert!(judged(&few, 0..100).confidence > 50 && judged(&many, 0..100).confidence < 50);
    }

    /// The worked example of docs/measurements.md: one copy, reported, seen two hours ago.
    #[test]
    fn the_sum_is_what_the_formula_says() {
        let judgement = judged(&[seen(1, 7200), said(1, Opinion::Report)], 0..100);
        let age = NOW.secs_since(NOW.minus_secs(7200).epoch().start()) as f64;
        let exposed = 1.0 - (-age / 1800.0).exp();
        let silence = (1.0 - 0.9f64.powf(exposed)) - (1.0 - 0.9995f64.powf(exposed));
        let expected = (0.1f64 / 0.0005).ln() - silence;
        assert!(
            (judgement.odds_nats - expected).abs() < 1e-9,
            "{} {expected}",
            judgement.odds_nats
        );
        let sum: f64 = judgement.terms.iter().map(|term| term.nats).sum();
        assert!((sum - judgement.odds_nats).abs() < 1e-9, "the terms are the sum");
    }

    #[test]
    fn bulk_is_not_spam() {
        let judgement = judged(&[seen(1, 60), seen(2, 60)], 0..100);
        assert_eq!(judgement.conclusion, Conclusion::Bulk);
        assert_eq!((judgement.spread.sites, judgement.spread.networks), (3, 3));
        assert_eq!(judged(&[seen(1, 60)], 0..100).conclusion, Conclusion::Unknown);
        assert_eq!(judged(&[seen(1, 60), seen(2, 90_001)], 0..100).conclusion, Conclusion::Unknown);
    }

    #[test]
    fn strangers_are_not_heard() {
        let matches: Vec<Match> =
            (0..50).flat_map(|site| [seen(site, 60), said(site, Opinion::Report)]).collect();
        let judgement = judged(&matches, 0..0);
        assert_eq!(judgement.conclusion, Conclusion::Unknown);
        assert_eq!((judgement.spread.sites, judgement.reports), (1, 0));
    }

    #[test]
    fn filters_convict_nobody_alone_and_clear_a_mistake() {
        let leaning = |site: u8, filter| {
            let facts = Facts { filter, ..Facts::default() };
            let kind = Kind::Sighting { copies: Copies::One, facts };
            found(site, u64::from(site), 2, 600, kind)
        };
        let all = |filter| (1..30).map(|site| leaning(site, filter)).collect::<Vec<_>>();
        let spam = judged(&all(Filter::Spam), 0..100);
        assert_ne!(spam.conclusion, Conclusion::Spam);
        assert!(spam.odds_nats < judged(&all(Filter::Spam)[..1], 0..100).odds_nats);
        let report =
            || found(40, 40, 3, 600, Kind::Opinion { opinion: Opinion::Report, nilsimsa: None });
        let with = |filter, count| {
            let matches: Vec<Match> =
                all(filter).into_iter().take(count).chain([report()]).collect();
            judged(&matches, 0..100).conclusion
        };
        assert_eq!(with(Filter::Unknown, 3), Conclusion::Spam);
        assert_ne!(with(Filter::Ham, 3), Conclusion::Spam, "a false report");
        assert_eq!(with(Filter::Spam, 20), Conclusion::Spam);
        // Nobody trusts these.
        assert_eq!(judged(&all(Filter::Spam), 0..0).odds_nats, 0.0);
    }

    #[test]
    fn a_group_may_want_more_than_one_of_its_members_to_report() {
        let matches =
            [seen(1, 60), seen(2, 60), said(1, Opinion::Report), said(2, Opinion::Report)];
        let trust = Trust::group(SiteId([9; 32]), (1..5).map(|site| (SiteId([site; 32]), 1.0)));
        let judged = |reports: usize, min| {
            let rates = Rates { named_reports_min: min, ..Rates::default() };
            judge(&matches[..2 + reports], &trust, &rates, NOW, None).conclusion
        };
        assert_eq!(judged(1, 1), Conclusion::Spam);
        assert_ne!(judged(1, 2), Conclusion::Spam);
        assert_eq!(judged(2, 2), Conclusion::Spam);
        assert_ne!(judged(2, 3), Conclusion::Spam);
    }

    #[test]
    fn many_sites_of_one_network_weigh_as_one() {
        let same = |site: u8| {
            found(site, 7, 2, 3600, Kind::Opinion { opinion: Opinion::Report, nilsimsa: None })
        };
        let one = judged(&[same(1)], 0..100).odds_nats;
        let fifty: Vec<Match> = (0..50).map(same).collect();
        assert!((judged(&fifty, 0..100).odds_nats - one).abs() < 1e-9);
    }

    #[test]
    fn revokes_against_reports_make_it_contested() {
        let both = [said(1, Opinion::Report), said(2, Opinion::Revoke)];
        assert_eq!(judged(&both, 0..100).conclusion, Conclusion::Contested);
        let outweighed: Vec<Match> = [1, 2, 3, 4]
            .map(|site| said(site, Opinion::Report))
            .into_iter()
            .chain([said(5, Opinion::Revoke)])
            .collect();
        assert_eq!(judged(&outweighed, 0..100).conclusion, Conclusion::Spam);
        assert_eq!(judged(&[said(1, Opinion::Revoke)], 0..100).conclusion, Conclusion::Unknown);
    }

    #[test]
    fn a_trap_weighs_more_than_a_person_and_the_last_word_counts() {
        let odds = |opinion| judged(&[said(1, opinion)], 0..100).odds_nats;
        assert!(odds(Opinion::TrapReport) > odds(Opinion::Report));
        let mut later = said(1, Opinion::Withdrawn);
        Arc::get_mut(&mut later.witness).unwrap().statement.seq = 9;
        let judgement = judged(&[said(1, Opinion::Report), later], 0..100);
        assert_eq!((judgement.reports, judgement.conclusion), (0, Conclusion::Unknown));
    }

    #[test]
    fn rates_out_of_range_are_named() {
        let check = |rates: Rates, part: &str| {
            let error = rates.check().unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        check(Rates { report_if_spam: 1.0, ..Rates::default() }, "report_if_spam");
        check(Rates { report_if_wanted: f64::NAN, ..Rates::default() }, "report_if_wanted");
        check(Rates { report_if_wanted: 0.2, ..Rates::default() }, "less than");
        check(Rates { report_delay_secs: 0.0, ..Rates::default() }, "report_delay_secs");
        check(Rates { window_secs: 0, ..Rates::default() }, "window_secs");
        check(Rates { bulk_sites: 0, ..Rates::default() }, "bulk_sites");
        check(Rates { threshold_nats: f64::INFINITY, ..Rates::default() }, "finite");
        assert!(Rates::default().check().is_ok());
    }
}
