//! A network of sites in one process: every site checks its mails with only what was known at
//! their time, then sights them; people report and revoke as the protocol says (DESIGN 3.4). The
//! catalog, the rule of match, the judgement and the verdict are the daemon's own; only the clock
//! is simulated, and the sites share one catalog as if every statement reached every site at once.
//!
//! The oracle is the same world with other digests: one `exact` digest of the campaign's name.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use novacula_catalog::{
    Catalog, Digest, Engine, Facts, Filter, Learner, Match, Network, Nilsimsa, Opinion, Probe,
    Rates, STUDY_SECS, Site, SiteId, Time, Trust, judge,
};
use novacula_client::{Check, Verdict};
use serde::Serialize;

use super::index::Row;
use crate::familiar::Familiar;
use crate::fingerprint::Fingerprint;
use crate::verdict::{Circumstances, answer, decide};

/// Windows in which earlier sites are looked for, in seconds.
pub(super) const FOUND_WINDOWS_SECS: [u64; 4] = [2 * 3600, 6 * 3600, 24 * 3600, 72 * 3600];

/// Earlier other sites that make a mail's spread found.
const FOUND_SITES: usize = 2;

/// How often what is too old goes, in simulated seconds.
const EXPIRE_SECS: u64 = 3600;

/// Share of a trap site's spam that its traps take (DESIGN 3.4).
const TRAP_SHARE: f64 = 0.3;

/// How people behave. The rates of the judgement are others and are never read from here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Protocol {
    /// Share of spam copies that are reported.
    pub report_rate: f64,
    /// Mean delay of a report, in seconds.
    pub report_delay_secs: f64,
    /// Share of ham that is reported as spam.
    pub false_report_rate: f64,
    /// Share of ham called spam that is revoked.
    pub revoke_rate: f64,
    /// Mean delay of a revoke, in seconds.
    pub revoke_delay_secs: f64,
    /// Share of sites that own traps.
    pub trap_sites: f64,
    /// Sites state what their content filter thought (column `sa_score`).
    pub filters: bool,
    /// Sites learn how often wanted mail is reported.
    pub learn_rates: bool,
    /// Sites learn what is common in their own accepted mail.
    pub learn_common: bool,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            report_rate: 0.1,
            report_delay_secs: 1800.0,
            false_report_rate: 0.0005,
            revoke_rate: 0.3,
            revoke_delay_secs: 3600.0,
            trap_sites: 0.0,
            filters: false,
            learn_rates: true,
            learn_common: true,
        }
    }
}

/// A mail as a world knows it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    digests: Vec<Digest>,
    nilsimsa: Option<Nilsimsa>,
    evidence: bool,
}

impl Known {
    /// By its fingerprint.
    pub(super) fn by_fingerprint(fingerprint: &Fingerprint) -> Self {
        Self {
            digests: fingerprint.digests().to_vec(),
            nilsimsa: fingerprint.nilsimsa(),
            evidence: fingerprint.is_evidence(),
        }
    }

    /// By its campaign: the oracle's way.
    pub(super) fn by_campaign(row: &Row) -> Self {
        let name = if row.campaign.is_empty() { &row.path } else { &row.campaign };
        let value = hash(&[b"campaign", name.as_bytes()]);
        let digest = Digest { engine: Engine::Exact, weak: false, value };
        Self { digests: vec![digest], nilsimsa: None, evidence: true }
    }
}

/// How a mail fared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// Log odds of spam; infinite where the site's own people had spoken.
    pub(super) odds_nats: f64,
    /// Sites that had reported it; `u32::MAX` where the site's own people had.
    pub(super) reports: u32,
    /// For each window whether two earlier other sites were found.
    pub(super) found: [bool; FOUND_WINDOWS_SECS.len()],
}

/// What a run gives.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) outcomes: Vec<Outcome>,
    /// Bytes of all signed statements.
    pub(super) bytes: u64,
    /// What each mail's check answered, where that was asked for.
    pub(super) answers: Vec<Check>,
}

/// What every run of a replay shares.
pub(super) struct Setting<'a> {
    pub(super) rows: &'a [Row],
    pub(super) protocol: &'a Protocol,
    pub(super) rates: &'a Rates,
    /// Weight and network of sites that are not as the others.
    pub(super) trust: &'a HashMap<String, (f64, Option<String>)>,
}

/// What happens: an opinion on a mail, or a mail. Opinions of the same second come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Opinion(Opinion, usize),
    Mail(usize),
}

struct World<'a> {
    setting: &'a Setting<'a>,
    known: &'a [Known],
    seed: u64,
    keep_answers: bool,
    catalog: Catalog,
    trust: Trust,
    learner: Learner,
    sites: HashMap<&'a str, Site>,
    /// What is common in each site's accepted mail.
    familiar: HashMap<&'a str, Familiar>,
    queue: BinaryHeap<Reverse<(u64, Event)>>,
    run: Run,
}

/// Bytes of a signature behind a statement.
const SIGNATURE_LEN: u64 = 64;

/// Runs the corpus once.
pub(super) fn run(setting: &Setting<'_>, known: &[Known], seed: u64, keep_answers: bool) -> Run {
    let names: BTreeSet<&str> = setting.rows.iter().map(|row| row.site.as_str()).collect();
    let weight = |name: &str| setting.trust.get(name).map_or(1.0, |(weight, _)| *weight);
    let members = names.iter().map(|name| (site_id(name), weight(name)));
    let nobody = SiteId([0; 32]);
    let mut world = World {
        setting,
        known,
        seed,
        keep_answers,
        catalog: Catalog::new(nobody, usize::MAX),
        trust: Trust::group(nobody, members),
        learner: Learner::default(),
        sites: names.iter().map(|name| (*name, site(name, setting))).collect(),
        familiar: names.iter().map(|name| (*name, Familiar::default())).collect(),
        queue: BinaryHeap::new(),
        run: Run {
            outcomes: Vec::with_capacity(setting.rows.len()),
            bytes: 0,
            answers: Vec::new(),
        },
    };
    let (mut expired, mut studied) = (0, 0);
    for (at, row) in setting.rows.iter().enumerate() {
        world.queue.push(Reverse((row.time_secs, Event::Mail(at))));
        while let Some(Reverse((now_secs, event))) = world.queue.pop() {
            if now_secs >= expired + EXPIRE_SECS {
                world.catalog.expire(Time(now_secs));
                expired = now_secs;
            }
            if setting.protocol.learn_rates && now_secs >= studied + STUDY_SECS {
                world.study(Time(now_secs));
                studied = now_secs;
            }
            match event {
                Event::Mail(at) => {
                    world.mail(at, Time(now_secs));
                    break;
                }
                Event::Opinion(opinion, of) => world.opinion(opinion, of, Time(now_secs)),
            }
        }
    }
    world.run
}

fn site_id(name: &str) -> SiteId {
    SiteId(*blake3::hash(name.as_bytes()).as_bytes())
}

fn site(name: &str, setting: &Setting<'_>) -> Site {
    let network = setting.trust.get(name).and_then(|(_, network)| network.as_deref());
    Site::new(site_id(name), Network::named(network.unwrap_or(name)), 0)
}

impl World<'_> {
    /// What every site learns from the statements that all of them hold.
    fn study(&mut self, now: Time) {
        self.learner.study(self.catalog.witnesses(), &self.trust, self.setting.rates, now);
    }

    fn mail(&mut self, at: usize, now: Time) {
        let known = &self.known[at];
        let row = &self.setting.rows[at];
        let familiar = self.familiar.entry(row.site.as_str()).or_default();
        let learns = self.setting.protocol.learn_common;
        let common = |digest: &Digest| learns && familiar.is_common(digest, now);
        let probe = Probe::with_common(&known.digests, known.nilsimsa, now, common);
        let matches = self.catalog.matches(&probe);
        let Some(site) = self.sites.get_mut(row.site.as_str()) else { return };
        let trust = self.trust.seen_from(site.id());
        let rates = self.learner.rates(self.setting.rates);
        let judgement = judge(&matches, &trust, &rates, now, Some(site.network()));
        let no_evidence = (!known.evidence).then(|| "too little text to judge".to_owned());
        let circumstances = Circumstances { no_evidence, ..Circumstances::default() };
        let verdict = decide(&circumstances, &judgement);
        if self.keep_answers {
            self.run.answers.push(answer(
                &circumstances,
                &judgement.clone().into(),
                &matches,
                self.setting.rates.window_secs,
                now,
            ));
        }
        let odds_nats = match judgement.home {
            Some(Opinion::Report | Opinion::TrapReport) => f64::INFINITY,
            Some(Opinion::Revoke) => f64::NEG_INFINITY,
            _ if verdict == Verdict::NoEvidence => f64::NEG_INFINITY,
            _ => judgement.odds_nats,
        };
        let found = FOUND_WINDOWS_SECS
            .map(|window| others(&matches, site.id(), now, window).len() >= FOUND_SITES);
        let reports = match odds_nats {
            f64::INFINITY => u32::MAX,
            f64::NEG_INFINITY => 0,
            _ => judgement.reports,
        };
        self.run.outcomes.push(Outcome { verdict, odds_nats, reports, found });
        if learns && matches!(verdict, Verdict::Unknown | Verdict::Bulk) {
            familiar.accepted(&known.digests, now);
        }
        let filter = if self.setting.protocol.filters { row.filter } else { Filter::Unknown };
        let facts = Facts { filter, ..Facts::default() };
        if known.evidence
            && let Some(witness) = site.sight(&matches, &probe, facts, 1, now)
        {
            self.run.bytes += witness.statement.to_bytes().len() as u64 + SIGNATURE_LEN;
            self.catalog.insert(witness);
        }
        self.people(at, verdict, now);
    }

    /// Draws what people will say of a mail that came in now.
    fn people(&mut self, at: usize, verdict: Verdict, now: Time) {
        let row = &self.setting.rows[at];
        for (opinion, after_secs) in say(self.setting.protocol, self.seed, row, verdict) {
            self.queue.push(Reverse((now.0 + after_secs, Event::Opinion(opinion, at))));
        }
    }

    fn opinion(&mut self, opinion: Opinion, at: usize, now: Time) {
        let known = &self.known[at];
        let row = &self.setting.rows[at];
        let Some(site) = self.sites.get_mut(row.site.as_str()).filter(|_| known.evidence) else {
            return;
        };
        let probe = Probe::new(&known.digests, known.nilsimsa, now);
        let matches = self.catalog.matches(&probe);
        if self.setting.protocol.learn_common && opinion == Opinion::Report {
            let familiar = self.familiar.entry(row.site.as_str()).or_default();
            familiar.reported(&known.digests, now);
        }
        let witness = site.opine(&matches, &probe, opinion, Time(row.time_secs), now);
        self.run.bytes += witness.statement.to_bytes().len() as u64 + SIGNATURE_LEN;
        self.catalog.insert(witness);
    }
}

/// What a perfect matcher whom all trust would have said of every row: campaigns for
/// fingerprints, the same people, the same rates. `trust` gives sites their networks.
#[must_use]
pub fn oracle(
    rows: &[Row],
    protocol: &Protocol,
    rates: &Rates,
    trust: &HashMap<String, (f64, Option<String>)>,
    seed: u64,
) -> Vec<Verdict> {
    let known: Vec<Known> = rows.iter().map(Known::by_campaign).collect();
    let setting = Setting { rows, protocol, rates, trust };
    run(&setting, &known, seed, false).outcomes.iter().map(|outcome| outcome.verdict).collect()
}

/// What people will say of a mail, and after how many seconds.
#[must_use]
pub fn say(protocol: &Protocol, seed: u64, row: &Row, verdict: Verdict) -> Vec<(Opinion, u64)> {
    let draw = |purpose: &str| draw(seed, &row.path, purpose);
    let delay = |mean: f64, purpose: &str| (-mean * f64::ln_1p(-draw(purpose))).round() as u64;
    let trapped = protocol.trap_sites > 0.0
        && self::draw(seed, &row.site, "trap site") < protocol.trap_sites
        && draw("trap") < TRAP_SHARE;
    let mut said = Vec::new();
    match row.label.as_str() {
        "spam" if trapped => said.push((Opinion::TrapReport, 0)),
        "spam" if draw("report") < protocol.report_rate => {
            said.push((Opinion::Report, delay(protocol.report_delay_secs, "report delay")));
        }
        "ham" => {
            if draw("report") < protocol.false_report_rate {
                said.push((Opinion::Report, delay(protocol.report_delay_secs, "report delay")));
            }
            if verdict == Verdict::Spam && draw("revoke") < protocol.revoke_rate {
                said.push((Opinion::Revoke, delay(protocol.revoke_delay_secs, "revoke delay")));
            }
        }
        _ => {}
    }
    said
}

/// Other sites that saw the mail within the window.
fn others(matches: &[Match], own: SiteId, now: Time, window_secs: u64) -> BTreeSet<SiteId> {
    matches
        .iter()
        .map(|found| &found.witness.statement)
        .filter(|of| of.site != own && now.secs_since(of.epoch.start()) <= window_secs)
        .map(|of| of.site)
        .collect()
}

/// A number in 0..1 that depends on nothing but its arguments.
fn draw(seed: u64, path: &str, purpose: &str) -> f64 {
    let bits = hash(&[&seed.to_le_bytes(), path.as_bytes(), purpose.as_bytes()]) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut first = [0u8; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}
