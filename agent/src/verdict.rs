//! The verdict: the networks' judgement after everything that this site knows better. In order:
//! what its administrator allows, whether there is enough text to judge at all, what its own
//! people said, and only then what the network concludes (DESIGN 4.3). A pure function.

use std::collections::BTreeMap;

use novacula_catalog::store::Side;
use novacula_catalog::{
    Conclusion, Engine, Judgement, Kind, Match, Opinion, Readings, SiteId, Statement, Time,
};
use novacula_client::{Advice, Asked, Check, Place, Verdict};

/// What is known beside the judgement.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Why the sender is allowed, when he is.
    pub allowed: Option<String>,
    /// Why there is too little to judge, when there is.
    pub no_evidence: Option<String>,
    /// Why the sender is no stranger but wanted, when he is.
    pub wanted: Option<String>,
    /// Why it is bulk of a sender long known, when it is: one report does not convict it then.
    pub known_bulk: Option<String>,
    /// Neither known here nor authenticated.
    pub stranger: bool,
    /// The mail's name in the log.
    pub id: String,
}

/// Decides.
#[must_use]
pub fn decide(circumstances: &Circumstances, judgement: &Judgement) -> Verdict {
    if circumstances.allowed.is_some() {
        return Verdict::Allowed;
    }
    if circumstances.no_evidence.is_some() {
        return Verdict::NoEvidence;
    }
    match judgement.home {
        Some(Opinion::Report | Opinion::TrapReport) => return Verdict::Spam,
        Some(Opinion::Revoke) => return Verdict::Allowed,
        Some(Opinion::Withdrawn) | None => {}
    }
    // What people here say of the mail itself comes before what is known of its sender.
    if circumstances.wanted.is_some() {
        return Verdict::Allowed;
    }
    match judgement.conclusion {
        Conclusion::Spam => Verdict::Spam,
        Conclusion::Contested => Verdict::Contested,
        Conclusion::Bulk => Verdict::Bulk,
        Conclusion::Unknown => Verdict::Unknown,
    }
}

/// The answer to a check: the verdict with its evidence in words.
#[must_use]
pub fn answer(
    circumstances: &Circumstances,
    readings: &Readings,
    matches: &[Match],
    window_secs: u64,
    now: Time,
) -> Check {
    let (side, judgement) = readings.holding();
    let verdict = decide(circumstances, judgement);
    let spread = &judgement.spread;
    Check {
        verdict,
        confidence: confidence(verdict, judgement),
        spread: spread.sites,
        reports: judgement.reports,
        revokes: judgement.revokes,
        first_seen: spread.first_seen.map(|at| at.rfc3339()),
        last_seen: spread.last_seen.map(|at| at.rfc3339()),
        evidence: evidence(circumstances, (side, judgement), matches),
        id: circumstances.id.clone(),
        window_secs,
        advice: advice(verdict, circumstances, judgement, now),
        places: Vec::new(),
        asked: Asked::No,
    }
}

/// Most places that an answer names.
const PLACES_MAX: usize = 16;

/// Where the mail was seen or spoken of: each site once, with what it says last.
#[must_use]
pub(crate) fn places(matches: &[Match], weight: impl Fn(&SiteId) -> f64) -> Vec<Place> {
    let mut by_site: BTreeMap<SiteId, &Statement> = BTreeMap::new();
    for found in matches.iter().filter(|found| says_something(found)) {
        let said = &found.witness.statement;
        let known = by_site.entry(said.site).or_insert(said);
        if (said.class(), said.seq) > (known.class(), known.seq) {
            *known = said;
        }
    }
    let mut places: Vec<&Statement> = by_site.into_values().collect();
    places.sort_by_key(|said| (said.epoch, said.site));
    let place = |said: &&Statement| Place {
        site: said.site.to_string(),
        at: said.epoch.start().rfc3339(),
        says: match said.kind {
            Kind::Sighting { .. } => "sighting".into(),
            Kind::Opinion { opinion, .. } => opinion.name().into(),
        },
        trust: weight(&said.site),
    };
    places.iter().take(PLACES_MAX).map(place).collect()
}

/// An outbreak is young for so long: known campaigns run from 7 minutes to 13 hours (DESIGN 4.1),
/// and who began earlier has been judged, or will not be. A guess: not measured.
const RISING_SECS: u64 = 6 * 3600;

/// Sites, our own included, from which a spread counts as rising. A guess, as above.
const RISING_SITES: u32 = 2;

/// To let a mail wait that spreads while nobody has judged it, if its sender is a stranger.
fn advice(
    verdict: Verdict,
    circumstances: &Circumstances,
    judgement: &Judgement,
    now: Time,
) -> Option<Advice> {
    let open = matches!(verdict, Verdict::Unknown | Verdict::Bulk);
    let spread = &judgement.spread;
    let young = spread.first_seen.is_some_and(|first| now.secs_since(first) <= RISING_SECS);
    (open && circumstances.stranger && young && spread.sites >= RISING_SITES)
        .then_some(Advice::Delay)
}

/// People at home settle it: then the confidence is theirs and not the odds'.
fn confidence(verdict: Verdict, judgement: &Judgement) -> u8 {
    match verdict {
        Verdict::Allowed | Verdict::NoEvidence => 0,
        Verdict::Spam if judgement.home.is_some_and(|said| said != Opinion::Withdrawn) => {
            judgement.confidence.max(OWN_REPORT_CONFIDENCE)
        }
        _ => judgement.confidence,
    }
}

/// Least confidence of a mail that this site's own people report.
const OWN_REPORT_CONFIDENCE: u8 = 95;

fn evidence(
    circumstances: &Circumstances,
    (side, judgement): (Side, &Judgement),
    matches: &[Match],
) -> Vec<String> {
    let mut out = Vec::new();
    out.extend(circumstances.allowed.clone());
    out.extend(circumstances.no_evidence.clone());
    match judgement.home {
        Some(Opinion::Report) => out.push("this site's own people report it".into()),
        Some(Opinion::TrapReport) => out.push("it came to a trap address of this site".into()),
        Some(Opinion::Revoke) => out.push("this site's own people say that it is not spam".into()),
        Some(Opinion::Withdrawn) | None => {}
    }
    out.extend(circumstances.wanted.clone());
    out.extend(circumstances.known_bulk.clone());
    if side == Side::Group {
        out.push("by the word of the private group's members".into());
    }
    let spread = &judgement.spread;
    if spread.sites > 0 {
        out.push(format!("seen at {}", counted(spread.sites, "site")));
    }
    if judgement.reports > 0 {
        out.push(format!("reported by {}", counted(judgement.reports, "site")));
    }
    if judgement.revokes > 0 {
        out.push(format!("called not spam by {}", counted(judgement.revokes, "site")));
    }
    let mut engines: BTreeMap<Engine, u32> = BTreeMap::new();
    for found in matches.iter().filter(|found| says_something(found)) {
        *engines.entry(found.engine).or_default() += 1;
    }
    out.extend(engines.into_iter().map(|(engine, count)| {
        format!("{} matches {}", engine.name(), counted(count, "statement"))
    }));
    out
}

/// What was withdrawn says nothing.
fn says_something(found: &Match) -> bool {
    !matches!(found.witness.statement.kind, Kind::Opinion { opinion: Opinion::Withdrawn, .. })
}

fn counted(count: u32, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use novacula_catalog::Spread;

    #[track_caller]
    fn check(
        allowed: bool,
        gated: bool,
        home: Option<Opinion>,
        conclusion: Conclusion,
        expected: Verdict,
    ) {
        let circumstances = Circumstances {
            allowed: allowed.then(String::new),
            no_evidence: gated.then(String::new),
            ..Circumstances::default()
        };
        let judgement = Judgement { home, ..judgement(conclusion, 1, 0) };
        assert_eq!(decide(&circumstances, &judgement), expected);
        let answer = answer(&circumstances, &judgement.into(), &[], 86_400, Time(0));
        assert_eq!(
            answer.confidence == 0,
            matches!(expected, Verdict::Allowed | Verdict::NoEvidence)
        );
    }

    #[test]
    fn what_this_site_knows_better_comes_first() {
        use Opinion::{Report, Revoke, Withdrawn};
        check(false, false, None, Conclusion::Spam, Verdict::Spam);
        check(false, false, None, Conclusion::Contested, Verdict::Contested);
        check(false, false, None, Conclusion::Bulk, Verdict::Bulk);
        check(false, false, None, Conclusion::Unknown, Verdict::Unknown);
        check(false, false, Some(Withdrawn), Conclusion::Bulk, Verdict::Bulk);
        check(false, false, Some(Report), Conclusion::Unknown, Verdict::Spam);
        check(false, false, Some(Revoke), Conclusion::Spam, Verdict::Allowed);
        check(false, true, Some(Report), Conclusion::Spam, Verdict::NoEvidence);
        check(true, false, Some(Report), Conclusion::Spam, Verdict::Allowed);
        check(true, true, None, Conclusion::Unknown, Verdict::Allowed);
    }

    #[test]
    fn what_is_said_of_the_mail_comes_before_what_is_known_of_its_sender() {
        let circumstances =
            Circumstances { wanted: Some("a reply".into()), ..Circumstances::default() };
        let verdict = |home, conclusion| {
            decide(&circumstances, &Judgement { home, ..judgement(conclusion, 2, 0) })
        };
        assert_eq!(verdict(None, Conclusion::Spam), Verdict::Allowed);
        assert_eq!(verdict(Some(Opinion::Report), Conclusion::Unknown), Verdict::Spam);
    }

    #[test]
    fn the_evidence_says_which_network_carried_the_verdict() {
        let check = |main, group, home, expected, by_group| {
            let [main, group] = [main, group].map(|of| Judgement { home, ..judgement(of, 2, 0) });
            let readings = Readings { main, group: Some(group) };
            let answer = answer(&Circumstances::default(), &readings, &[], 86_400, Time(0));
            assert_eq!(answer.verdict, expected);
            let said = answer.evidence.iter().any(|line| line.contains("private group"));
            assert_eq!(said, by_group, "{answer:?}");
        };
        use Conclusion::{Bulk, Spam, Unknown};
        check(Bulk, Spam, None, Verdict::Spam, true);
        check(Spam, Unknown, None, Verdict::Spam, false);
        check(Unknown, Unknown, None, Verdict::Unknown, false);
        check(Unknown, Spam, Some(Opinion::Revoke), Verdict::Allowed, true);
    }

    fn judgement(conclusion: Conclusion, sites: u32, first_secs: u64) -> Judgement {
        Judgement {
            conclusion,
            odds_nats: 0.0,
            confidence: 60,
            spread: Spread { sites, first_seen: Some(Time(first_secs)), ..Spread::default() },
            reports: 0,
            revokes: 0,
            vetoed: false,
            home: None,
            terms: Vec::new(),
        }
    }

    #[test]
    fn a_strangers_young_outbreak_that_nobody_judged_should_wait() {
        let advised = |stranger, conclusion, sites, age_secs| {
            let circumstances = Circumstances { stranger, ..Circumstances::default() };
            let judgement = judgement(conclusion, sites, 1_000_000);
            let now = Time(1_000_000 + age_secs);
            answer(&circumstances, &judgement.into(), &[], 86_400, now).advice
        };
        let delay = Some(Advice::Delay);
        assert_eq!(advised(true, Conclusion::Unknown, 2, 60), delay);
        assert_eq!(advised(true, Conclusion::Bulk, 3, RISING_SECS), delay);
        assert_eq!(advised(true, Conclusion::Bulk, 3, RISING_SECS + 1), None, "old");
        assert_eq!(advised(true, Conclusion::Unknown, 1, 60), None, "only here");
        assert_eq!(advised(false, Conclusion::Bulk, 3, 60), None, "known here");
        assert_eq!(advised(true, Conclusion::Spam, 3, 60), None, "judged");
        assert_eq!(advised(true, Conclusion::Contested, 3, 60), None, "judged both ways");
    }
}
