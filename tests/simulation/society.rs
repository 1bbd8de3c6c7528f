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
    Catalog, Digest, Engine, Facts, Ground, Hindsight, Judgement, Match, Network, Opinion, Probe,
    Rates, Shelf, Site, SiteId, Statement, Time, Trust, Walk, Witness, judge,
};
use novacula_client::Verdict;

/// Holders of a key.
const REPLICAS: usize = 6;
/// When it begins, in seconds since 1970.
pub const START_SECS: u64 = 1_800_000_000;
const DAY_SECS: u64 = 24 * 3600;
/// Known campaigns run from 7 minutes to 13 hours (DESIGN 4.1).
const CAMPAIGN_SECS: (f64, f64) = (7.0 * 60.0, 13.0 * 3600.0);
/// Copies of a campaign: Pareto with this least size and exponent (mean 90, median 48 before the
/// cut; a choice), at most one for every site.
const COPIES_MIN: f64 = 30.0;
const COPIES_EXPONENT: f64 = 1.5;
/// Copies of a newsletter at different sites.
const NEWSLETTER_COPIES: usize = 100;
/// How long after a mail its site looks at it once more, in seconds: most of a campaign's reports
/// are there then.
const LOOK_AFTER_SECS: u64 = 6 * 3600;
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
    Look(usize),
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
    /// Places that a mail must have been seen at, other than trust's own number.
    pub places: Option<u32>,
    /// Honest sites, whoever of them turned.
    pub honest: usize,
    liars: HashSet<SiteId>,
    /// Most that one look at a mail added to anybody's credit.
    pub credit_step: f64,
    /// Revokes of honest sites: row and when.
    pub revokes: Vec<(usize, u64)>,
    seed: u64,
    catalog: Catalog,
    /// What is kept apart of who counts for a holder, and of newcomers to him.
    shelves: [Catalog; 2],
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
            protocol: Protocol { learn_rates: false, learn_common: false, ..Protocol::default() },
            rates: Rates::default(),
            networks: HashMap::new(),
            places: None,
            honest: size.sites,
            liars: HashSet::new(),
            credit_step: 0.0,
            revokes: Vec::new(),
            seed,
            catalog: Catalog::new(SiteId([0; 32]), usize::MAX),
            shelves: [0; 2].map(|_| Catalog::new(SiteId([0; 32]), usize::MAX)),
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
        if index >= self.honest {
            self.liars.insert(id(index));
        }
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
            let trust = Trust::home_only(sites[index]).with_vouches(own, walk);
            let trust = trust.with_records(records);
            member.trust = match self.places {
                Some(places) => trust.with_places(places),
                None => trust,
            };
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
        self.shelves[0].trust((0..self.members.len()).map(|at| (id(at), Shelf::Counting)));
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
                self.shelves.iter_mut().for_each(|shelf| shelf.expire(now));
                expired = now_secs;
            }
            match event {
                Event::Lie(at) => self.say(self.lies[at]),
                Event::Look(row) => self.look(row, now),
                Event::Opinion(opinion, row) => self.speak(opinion, row, now),
                Event::Mail(row) => {
                    let (verdict, odds_nats) = self.deliver(row, now);
                    outcome.verdicts[row] = verdict;
                    outcome.odds_nats[row] = odds_nats;
                    if turned.contains(&self.recipient(row)) {
                        continue;
                    }
                    queue.push(Reverse((now_secs + LOOK_AFTER_SECS, Event::Look(row))));
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

    /// A statement goes to the six holders of its key; for whom of them its site counts or is a
    /// newcomer keeps it apart from what anybody can say.
    fn keep(&mut self, witness: Witness) {
        let Statement { site, epoch, .. } = witness.statement;
        let now = epoch.start();
        let first = witness.statement.keys().first().map_or(0, |key| key.0);
        let shelf = (0..REPLICAS as u64).filter_map(|number| {
            let holder = blake3::hash(&[first.to_le_bytes(), number.to_le_bytes()].concat());
            let holder = usize::from(holder.as_bytes()[0]) << 8 | usize::from(holder.as_bytes()[1]);
            self.members[holder % self.honest].trust.shelf(&site, now)
        });
        match shelf.min() {
            Some(Shelf::Counting) => self.shelves[0].insert(witness),
            Some(Shelf::Newcomers) => self.shelves[1].insert(witness),
            None => self.catalog.insert(witness),
        };
    }

    fn matches(&self, probe: &Probe) -> Vec<Match> {
        let catalogs = self.shelves.iter().chain([&self.catalog]);
        catalogs.flat_map(|catalog| catalog.matches(probe)).collect()
    }

    /// One site judges a mail, and learns from what became of it.
    fn judged(&mut self, by: usize, probe: &Probe, now: Time) -> (Judgement, Vec<Match>) {
        let matches = self.matches(probe);
        let member = &mut self.members[by];
        let network = Some(member.site.network());
        let judgement = judge(&matches, &member.trust, &self.rates, now, network);
        let mail = probe.emitted().first().map_or(0, |key| key.0);
        let credits = |trust: &Trust| -> HashMap<SiteId, f64> {
            let liars = matches.iter().map(|one| one.witness.statement.site);
            let liars = liars.filter(|site| self.liars.contains(site));
            liars.map(|site| (site, trust.records().credit(&site, now))).collect()
        };
        let before = credits(&member.trust);
        member.hindsight.note(mail, &matches, &judgement, &mut member.trust, now);
        for (site, credit) in credits(&member.trust) {
            self.credit_step = self.credit_step.max(credit - before[&site]);
        }
        (judgement, matches)
    }

    /// What a site would make of a mail now.
    #[must_use]
    pub fn judge_at(&self, by: usize, row: usize, now_secs: u64) -> Judgement {
        let now = Time(now_secs);
        let matches = self.matches(&self.probe(row, now));
        let member = &self.members[by];
        judge(&matches, &member.trust, &self.rates, now, Some(member.site.network()))
    }

    /// The weight of one site in the eyes of another, at the end of all.
    #[must_use]
    pub fn weight(&self, viewer: usize, of: usize) -> f64 {
        self.members[viewer].trust.weight(&id(of), self.end())
    }

    /// Its credit there.
    #[must_use]
    pub fn credit(&self, viewer: usize, of: usize) -> f64 {
        self.members[viewer].trust.records().credit(&id(of), self.end())
    }

    /// What its weight rests on there, at the beginning.
    #[must_use]
    pub fn ground(&self, viewer: usize, of: usize) -> Ground {
        self.members[viewer].trust.place(&id(of), Time(START_SECS)).ground
    }

    fn end(&self) -> Time {
        Time(self.rows.last().map_or(START_SECS, |row| row.time_secs))
    }

    /// When an honest site of a third network revoked a newsletter; never is `u64::MAX`.
    #[must_use]
    pub fn third_revoke(&self, rows: &[usize], turned: &HashSet<usize>) -> u64 {
        let mut first: HashMap<Network, u64> = HashMap::new();
        for (row, at) in self.revokes.iter().filter(|(row, _)| rows.contains(row)) {
            let by = self.recipient(*row);
            if !turned.contains(&by) {
                let known = first.entry(self.members[by].site.network()).or_insert(*at);
                *known = (*known).min(*at);
            }
        }
        let mut times: Vec<u64> = first.into_values().collect();
        times.sort_unstable();
        times.get(2).copied().unwrap_or(u64::MAX)
    }

    fn look(&mut self, row: usize, now: Time) {
        let probe = self.probe(row, Time(self.rows[row].time_secs));
        self.judged(self.recipient(row), &probe, now);
    }

    fn deliver(&mut self, row: usize, now: Time) -> (Verdict, f64) {
        let by = self.recipient(row);
        let probe = self.probe(row, now);
        let (judgement, matches) = self.judged(by, &probe, now);
        let verdict = decide(&Circumstances::default(), &judgement);
        let sighting = self.members[by].site.sight(&matches, &probe, Facts::default(), 1, now);
        if let Some(witness) = sighting {
            self.keep(witness);
        }
        (verdict, judgement.odds_nats)
    }

    fn speak(&mut self, opinion: Opinion, row: usize, now: Time) {
        let by = self.recipient(row);
        let probe = self.probe(row, now);
        let matches = self.matches(&probe);
        let received = Time(self.rows[row].time_secs);
        let witness = self.members[by].site.opine(&matches, &probe, opinion, received, now);
        self.keep(witness);
        if opinion == Opinion::Revoke {
            self.revokes.push((row, now.0));
        }
        self.judged(by, &probe, now);
    }

    /// A liar says it.
    pub fn say(&mut self, lie: Lie) {
        let claims = Time(lie.claims_secs);
        let probe = self.probe(lie.row, claims);
        let matches = self.matches(&probe);
        let site = &mut self.members[lie.by].site;
        if let Some(witness) = site.sight(&matches, &probe, Facts::default(), 1, claims) {
            self.keep(witness);
        }
        if let Some(opinion) = lie.opinion {
            let matches = self.matches(&probe);
            let witness =
                self.members[lie.by].site.opine(&matches, &probe, opinion, claims, claims);
            self.keep(witness);
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
