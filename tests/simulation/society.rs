//! Many sites that trust each other more or less, campaigns and wanted mail over weeks, and those
//! who lie: the tool that the trust of docs/trust.md is measured with.
//!
//! The judgement, the trust and the records are the real ones, one set a site. What is left out is
//! the transport: all sites look into one catalog, bounded as a replica's is, in which a
//! campaign's mails have one key. The oracle is replay's own, over the same mails, people and
//! draws: a perfect matcher whom everybody trusts.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use novacula_agent::replay::{Protocol, Row, say};
use novacula_agent::{Circumstances, decide};
use novacula_catalog::{
    Catalog, Digest, Engine, Facts, Hindsight, Judgement, Match, Network, Opinion, Probe, Rates,
    Site, SiteId, Time, Trust, Walk, judge,
};
use novacula_client::Verdict;

/// When it begins, in seconds since 1970.
const START_SECS: u64 = 1_800_000_000;
const DAY_SECS: u64 = 24 * 3600;
/// Known campaigns run from 7 minutes to 13 hours (DESIGN 4.1).
const CAMPAIGN_SECS: (f64, f64) = (7.0 * 60.0, 13.0 * 3600.0);
/// Copies of a campaign: Pareto with this least size and exponent (mean 90, median 48 before the
/// cut; a choice), at most one for every site.
const COPIES_MIN: f64 = 30.0;
const COPIES_EXPONENT: f64 = 1.5;
/// Copies of a newsletter at different sites.
const NEWSLETTER_COPIES: usize = 100;
/// How often what is too old goes, in simulated seconds.
const EXPIRE_SECS: u64 = 3600;

/// How large it is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Honest sites.
    pub sites: usize,
    /// Networks that they are in.
    pub networks: usize,
    /// Spam campaigns.
    pub campaigns: usize,
    /// Wanted mails, of which a tenth are copies of newsletters.
    pub ham: usize,
    /// Days over which all that comes.
    pub days: u64,
}

impl Size {
    /// As the issue has it.
    pub const WHOLE: Self =
        Self { sites: 1_000, networks: 200, campaigns: 5_000, ham: 20_000, days: 30 };
    /// For every test run.
    pub const REDUCED: Self =
        Self { sites: 300, networks: 150, campaigns: 250, ham: 2_000, days: 6 };
}

/// What a liar does to a mail.
#[derive(Clone, Copy, Debug)]
pub struct Lie {
    /// When, in seconds since 1970.
    pub at_secs: u64,
    /// Who: a number of a site, liars' behind those of the honest.
    pub by: usize,
    /// About the mail of this row.
    pub row: usize,
    /// What is said of it.
    pub opinion: Option<Opinion>,
    /// When it claims to have received it.
    pub claims_secs: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Lie(usize),
    Opinion(Opinion, usize),
    Mail(usize),
}

/// One who takes part.
pub struct Member {
    /// The site.
    pub site: Site,
    /// Whom it trusts.
    pub trust: Trust,
    hindsight: Hindsight,
}

/// What became of the mails.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// For every row.
    pub verdicts: Vec<Verdict>,
    /// Log odds for every row, in nats.
    pub odds_nats: Vec<f64>,
}

/// All of it.
pub struct Society {
    /// Mails in order of time.
    pub rows: Vec<Row>,
    /// Honest sites first, liars after them.
    pub members: Vec<Member>,
    /// Who vouches for whom.
    pub vouches: Vec<BTreeSet<usize>>,
    /// What liars will do.
    pub lies: Vec<Lie>,
    /// How honest people behave.
    pub protocol: Protocol,
    /// The verdict's rates.
    pub rates: Rates,
    /// Networks by name, for the oracle.
    pub networks: HashMap<String, (f64, Option<String>)>,
    /// Honest sites, whoever of them turned.
    pub honest: usize,
    seed: u64,
    catalog: Catalog,
    rng: fastrand::Rng,
}

fn name(index: usize) -> String {
    format!("site {index}")
}

fn id(index: usize) -> SiteId {
    SiteId(*blake3::hash(name(index).as_bytes()).as_bytes())
}

impl Society {
    /// Honest sites with their vouches, and all mails; nobody lies yet.
    #[must_use]
    pub fn new(size: Size, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut society = Self {
            rows: Vec::new(),
            members: Vec::new(),
            vouches: Vec::new(),
            lies: Vec::new(),
            protocol: Protocol::default(),
            rates: Rates::default(),
            networks: HashMap::new(),
            honest: size.sites,
            seed,
            catalog: Catalog::new(SiteId([0; 32]), usize::MAX),
            rng: rng.fork(),
        };
        for index in 0..size.sites {
            society.add_member(&format!("network {}", index % size.networks));
        }
        society.befriend();
        society.rows = mails(size, &mut rng);
        society
    }

    /// A site in a network; gives its number.
    pub fn add_member(&mut self, network: &str) -> usize {
        let index = self.members.len();
        let site = Site::new(id(index), Network::named(network), 0);
        let trust = Trust::home_only(id(index));
        self.members.push(Member { site, trust, hindsight: Hindsight::default() });
        self.vouches.push(BTreeSet::new());
        self.networks.insert(name(index), (1.0, Some(network.to_owned())));
        index
    }

    /// Honest sites vouch: everybody for who invited him and back, and for five more on average
    /// that either of them knows.
    fn befriend(&mut self) {
        let count = self.honest;
        for new in 1..count {
            let by = self.rng.usize(0..new);
            self.vouches[new].insert(by);
            self.vouches[by].insert(new);
        }
        for one in 0..count {
            for _ in 0..self.rng.usize(2..=8) {
                let other = self.rng.usize(0..count);
                if other != one {
                    self.vouches[one].insert(other);
                    self.vouches[other].insert(one);
                }
            }
        }
    }

    /// Every honest site walks over the vouches anew.
    pub fn walk(&mut self) {
        let sites: Vec<SiteId> = (0..self.members.len()).map(id).collect();
        let lists: HashMap<SiteId, Vec<SiteId>> = self
            .vouches
            .iter()
            .enumerate()
            .map(|(from, to)| (sites[from], to.iter().map(|at| sites[*at]).collect()))
            .collect();
        for index in 0..self.honest {
            let own: BTreeSet<SiteId> = lists[&sites[index]].iter().copied().collect();
            let walk = Walk::over(sites[index], &own, |of| lists[of].as_slice(), |_| false);
            let member = &mut self.members[index];
            let records = member.trust.records().clone();
            member.trust =
                Trust::home_only(sites[index]).with_vouches(own, walk).with_records(records);
        }
    }

    /// Rows of a label.
    pub fn of_label(&self, label: &str) -> Vec<usize> {
        (0..self.rows.len()).filter(|row| self.rows[*row].label == label).collect()
    }

    /// The first row of every campaign with a label and at least so many copies.
    pub fn campaigns(&self, label: &str, copies_min: usize) -> Vec<Vec<usize>> {
        let mut of: HashMap<&str, Vec<usize>> = HashMap::new();
        for row in self.of_label(label) {
            of.entry(self.rows[row].campaign.as_str()).or_default().push(row);
        }
        let mut all: Vec<Vec<usize>> =
            of.into_values().filter(|rows| rows.len() >= copies_min).collect();
        all.sort_unstable();
        all
    }

    /// Who receives the mail of a row.
    #[must_use]
    pub fn recipient(&self, row: usize) -> usize {
        self.rows[row].site[5..].parse().unwrap_or(0)
    }

    /// Everything happens. Honest sites for which `turned` holds say nothing of their own.
    pub fn run(&mut self, turned: &HashSet<usize>) -> Outcome {
        let mut queue: BinaryHeap<Reverse<(u64, Event)>> = BinaryHeap::new();
        for (at, row) in self.rows.iter().enumerate() {
            queue.push(Reverse((row.time_secs, Event::Mail(at))));
        }
        for (at, lie) in self.lies.iter().enumerate() {
            queue.push(Reverse((lie.at_secs, Event::Lie(at))));
        }
        let mut outcome = Outcome {
            verdicts: vec![Verdict::Unknown; self.rows.len()],
            odds_nats: vec![0.0; self.rows.len()],
        };
        let mut expired = 0;
        while let Some(Reverse((now_secs, event))) = queue.pop() {
            let now = Time(now_secs);
            if now_secs >= expired + EXPIRE_SECS {
                self.catalog.expire(now);
                expired = now_secs;
            }
            match event {
                Event::Lie(at) => self.lie(self.lies[at], now),
                Event::Opinion(opinion, row) => self.speak(opinion, row, now),
                Event::Mail(row) => {
                    let (verdict, odds_nats) = self.deliver(row, now);
                    outcome.verdicts[row] = verdict;
                    outcome.odds_nats[row] = odds_nats;
                    if turned.contains(&self.recipient(row)) {
                        continue;
                    }
                    for (opinion, after) in say(&self.protocol, self.seed, &self.rows[row], verdict)
                    {
                        queue.push(Reverse((now_secs + after, Event::Opinion(opinion, row))));
                    }
                }
            }
        }
        outcome
    }

    fn probe(&self, row: usize, now: Time) -> Probe {
        Probe::new(&[digest(&self.rows[row].campaign)], None, now)
    }

    /// One site judges a mail, and learns from what became of it.
    fn judged(&mut self, by: usize, probe: &Probe, now: Time) -> (Judgement, Vec<Match>) {
        let matches = self.catalog.matches(probe);
        let member = &mut self.members[by];
        let network = Some(member.site.network());
        let judgement = judge(&matches, &member.trust, &self.rates, now, network);
        let mail = probe.emitted().first().map_or(0, |key| key.0);
        member.hindsight.note(mail, &matches, &judgement, &mut member.trust, now);
        (judgement, matches)
    }

    fn deliver(&mut self, row: usize, now: Time) -> (Verdict, f64) {
        let by = self.recipient(row);
        let probe = self.probe(row, now);
        let (judgement, matches) = self.judged(by, &probe, now);
        let verdict = decide(&Circumstances::default(), &judgement);
        let sighting = self.members[by].site.sight(&matches, &probe, Facts::default(), 1, now);
        if let Some(witness) = sighting {
            self.catalog.insert(witness);
        }
        (verdict, judgement.odds_nats)
    }

    fn speak(&mut self, opinion: Opinion, row: usize, now: Time) {
        let by = self.recipient(row);
        let probe = self.probe(row, now);
        let matches = self.catalog.matches(&probe);
        let received = Time(self.rows[row].time_secs);
        let witness = self.members[by].site.opine(&matches, &probe, opinion, received, now);
        self.catalog.insert(witness);
        self.judged(by, &probe, now);
    }

    fn lie(&mut self, lie: Lie, now: Time) {
        let probe = self.probe(lie.row, now);
        let claims = Time(lie.claims_secs);
        let matches = self.catalog.matches(&probe);
        let site = &mut self.members[lie.by].site;
        if let Some(witness) = site.sight(&matches, &probe, Facts::default(), 1, claims) {
            self.catalog.insert(witness);
        }
        if let Some(opinion) = lie.opinion {
            let matches = self.catalog.matches(&probe);
            let witness =
                self.members[lie.by].site.opine(&matches, &probe, opinion, claims, claims);
            self.catalog.insert(witness);
        }
    }
}

fn digest(campaign: &str) -> Digest {
    let hash = blake3::hash(campaign.as_bytes());
    let mut first = [0u8; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    Digest { engine: Engine::Exact, weak: false, value: u64::from_le_bytes(first) }
}

/// All mails, in order of time.
fn mails(size: Size, rng: &mut fastrand::Rng) -> Vec<Row> {
    let mut rows = Vec::new();
    let all_secs = size.days * DAY_SECS;
    let row = |label: &str, campaign: String, time_secs: u64, site: usize| Row {
        path: String::new(),
        label: label.into(),
        time_secs,
        site: name(site),
        campaign,
        ..Row::default()
    };
    for number in 0..size.campaigns {
        let copies = COPIES_MIN * (1.0 - rng.f64()).powf(-1.0 / COPIES_EXPONENT);
        let copies = (copies as usize).min(size.sites);
        let secs = CAMPAIGN_SECS.0 * (CAMPAIGN_SECS.1 / CAMPAIGN_SECS.0).powf(rng.f64());
        let begins = START_SECS + rng.u64(..all_secs);
        for _ in 0..copies {
            let at = begins + (rng.f64() * secs) as u64;
            rows.push(row("spam", format!("spam {number}"), at, rng.usize(..size.sites)));
        }
    }
    let bulk = size.ham / 10;
    for number in 0..bulk.div_ceil(NEWSLETTER_COPIES) {
        let begins = START_SECS + rng.u64(..all_secs);
        for _ in 0..NEWSLETTER_COPIES {
            // A newsletter goes out within two hours.
            let at = begins + rng.u64(..7200);
            rows.push(row("ham", format!("newsletter {number}"), at, rng.usize(..size.sites)));
        }
    }
    for number in 0..size.ham - bulk {
        let at = START_SECS + rng.u64(..all_secs);
        rows.push(row("ham", format!("ham {number}"), at, rng.usize(..size.sites)));
    }
    rows.sort_by(|a, b| (a.time_secs, &a.campaign).cmp(&(b.time_secs, &b.campaign)));
    for (number, row) in rows.iter_mut().enumerate() {
        row.path = number.to_string();
    }
    rows
}
