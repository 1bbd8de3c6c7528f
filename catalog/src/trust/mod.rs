//! How much a site's word weighs in the eyes of this one, and why. Nobody decides it for all: it
//! follows from whom this site vouches for, whom these vouch for ([`Walk`]), and what came of a
//! site's opinions here ([`Records`]). The formulas with a worked example: docs/trust.md.
//!
//! Main item: [`Trust`]. Key decision: nobody earns weight by what he does, he can only lose it;
//! credit is a reserve against mistakes. Weight comes from people who know each other. All
//! newcomers together weigh half a site, and who was introduced by others convicts only what many
//! places have seen ([`Trust::places_needed`]).

mod hindsight;
mod record;
mod vouch;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::clock::Time;
use crate::entry::Shelf;
use crate::identity::SiteId;

pub use hindsight::{CONFIRMING_NETWORKS, Hindsight, REVOKING_NETWORKS};
pub(crate) use hindsight::{revoking_networks, voices};
pub use record::{
    BLAME, CREDIT, CREDIT_HALF_LIFE_SECS, CREDIT_MAX, CREDIT_MIN, RECORDS_MAX, Record, Records,
};
pub use vouch::{
    AHEAD_SECS_MAX, VOUCH_KEEP_SECS, VOUCH_LIST_LEN_MAX, VOUCH_RENEW_SECS, VOUCHES_MAX, VouchError,
    VouchList,
};
pub use walk::{ESTABLISHED_MIN, INTRODUCER_MAX, Standing, Walk};

/// What a site must weigh to count by itself; below it is a newcomer. A full standing falls there
/// after five contradictions, and after two its word alone passes no threshold.
pub const NEWCOMER_BELOW: f64 = 0.5;
/// What a newcomer must weigh for a place to be kept for what it states (a choice: ten of such say
/// as much as one site, and sixty names that one newcomer vouches for weigh a hundredth each).
const HEARD_MIN: f64 = 0.1;
/// What all newcomers together weigh, in sites (DESIGN 4.3: at most one).
pub const NEWCOMERS: f64 = 0.5;

/// See [`Trust::places_needed`]. Fewest: as many as make a mail bulk.
const PLACES_MIN: u32 = 3;
/// Most: the curve is in docs/trust.md.
const PLACES_MAX: u32 = 8;
/// Sites that count here for each place (a choice: 8 from 256 sites on).
const SITES_A_PLACE: u32 = 32;

/// What a weight rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ground {
    /// This site itself.
    Home,
    /// The configuration names it, or its group does.
    Configured,
    /// An administrator here vouched for it.
    Vouched,
    /// Others vouched for it.
    Introduced,
    /// Others did, but too few, or it was wrong too often: it counts together with all such.
    Newcomer,
    /// No vouch leads to it.
    Stranger,
    /// It gave one number to two statements, which is proved: it never counts again.
    Equivocator,
}

impl Ground {
    /// The ground's word in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Configured => "configured",
            Self::Vouched => "vouched",
            Self::Introduced => "introduced",
            Self::Newcomer => "newcomer",
            Self::Stranger => "stranger",
            Self::Equivocator => "equivocator",
        }
    }
}

/// A weight with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// 0 to 1.
    pub weight: f64,
    /// Why.
    pub ground: Ground,
    /// Standing by vouches, 0 to 1.
    pub standing: f64,
    /// What it earned or lost here.
    pub credit: f64,
    /// The branch of this site's vouch tree that it belongs to; itself where it is none.
    pub branch: SiteId,
}

/// Weights as one site sees them.
#[derive(Clone, Debug)]
pub struct Trust {
    home: SiteId,
    configured: Arc<HashMap<SiteId, f64>>,
    others: f64,
    vouched: Arc<BTreeSet<SiteId>>,
    walk: Arc<Walk>,
    records: Arc<Records>,
    equivocators: Arc<HashSet<SiteId>>,
    places: Option<u32>,
}

impl Trust {
    /// Only this site's own word counts.
    #[must_use]
    pub fn home_only(home: SiteId) -> Self {
        Self::group(home, [])
    }

    /// This site and the given ones; weights are cut to 0..=1.
    #[must_use]
    pub fn group(home: SiteId, members: impl IntoIterator<Item = (SiteId, f64)>) -> Self {
        let members = members.into_iter().map(|(site, weight)| (site, weight.clamp(0.0, 1.0)));
        Self {
            home,
            configured: Arc::new(members.collect()),
            others: 0.0,
            vouched: Arc::default(),
            walk: Arc::default(),
            records: Arc::default(),
            equivocators: Arc::default(),
            places: None,
        }
    }

    /// The weight of those whom nobody names: 1 where only members can speak, because the
    /// network of peers is closed by a key.
    #[must_use]
    pub fn with_others(self, weight: f64) -> Self {
        Self { others: weight.clamp(0.0, 1.0), ..self }
    }

    /// Sites that an administrator here vouches for, and the walk from them.
    #[must_use]
    pub fn with_vouches(self, vouched: BTreeSet<SiteId>, walk: Walk) -> Self {
        Self { vouched: Arc::new(vouched), walk: Arc::new(walk), ..self }
    }

    /// What sites did.
    #[must_use]
    pub fn with_records(self, records: Records) -> Self {
        Self { records: Arc::new(records), ..self }
    }

    /// Sites that are proved to have given one number twice.
    #[must_use]
    pub fn with_equivocators(self, sites: impl IntoIterator<Item = SiteId>) -> Self {
        Self { equivocators: Arc::new(sites.into_iter().collect()), ..self }
    }

    /// Another number for [`Trust::places_needed`].
    #[must_use]
    pub fn with_places(self, places: u32) -> Self {
        Self { places: Some(places), ..self }
    }

    /// The site in whose eyes this is.
    #[must_use]
    pub fn home(&self) -> SiteId {
        self.home
    }

    /// The same weights in the eyes of another site.
    #[must_use]
    pub fn seen_from(&self, home: SiteId) -> Self {
        Self { home, ..self.clone() }
    }

    /// What sites did, to be written on.
    pub fn records_mut(&mut self) -> &mut Records {
        Arc::make_mut(&mut self.records)
    }

    /// What sites did.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Sites that the configuration names.
    pub fn configured(&self) -> impl Iterator<Item = SiteId> {
        self.configured.keys().copied()
    }

    /// Whether a place is kept for what a site states, and which: where it counts by itself and does
    /// not revoke everything, or is heard with all other newcomers.
    #[must_use]
    pub fn shelf(&self, site: &SiteId, now: Time) -> Option<Shelf> {
        let place = self.place(site, now);
        if place.weight < HEARD_MIN || !self.revokes_rarely(site, now) {
            return None;
        }
        let counts = place.weight >= NEWCOMER_BELOW && place.ground != Ground::Newcomer;
        Some(if counts { Shelf::Counting } else { Shelf::Newcomers })
    }

    /// All sites that a place is kept for, home too.
    #[must_use]
    pub fn shelves(&self, now: Time) -> Vec<(SiteId, Shelf)> {
        let of = |site: SiteId| Some((site, self.shelf(&site, now)?));
        self.known().into_iter().filter_map(of).collect()
    }

    /// How many sites count by themselves, home too.
    #[must_use]
    pub fn counting(&self, now: Time) -> usize {
        self.shelves(now).iter().filter(|(_, shelf)| *shelf == Shelf::Counting).count()
    }

    /// How many sites there are of each ground, strangers not counted.
    #[must_use]
    pub fn grounds(&self, now: Time) -> BTreeMap<&'static str, usize> {
        let mut grounds = BTreeMap::new();
        for site in self.known() {
            *grounds.entry(self.place(&site, now).ground.name()).or_default() += 1;
        }
        grounds
    }

    /// Sites of which something is known by name, by vouches or by proof.
    fn known(&self) -> BTreeSet<SiteId> {
        let named = self.configured.keys().chain(self.vouched.iter()).chain([&self.home]);
        let lied = self.equivocators.iter();
        named.chain(lied).chain(self.walk.sites().map(|one| one.0)).copied().collect()
    }

    /// Standings by vouches.
    #[must_use]
    pub fn walk(&self) -> &Walk {
        &self.walk
    }

    /// True where a revoke of this site is something out of the ordinary, or its weight is not
    /// for others to change.
    #[must_use]
    pub fn revokes_rarely(&self, site: &SiteId, now: Time) -> bool {
        *site == self.home
            || self.configured.contains_key(site)
            || self.records.revokes_rarely(site, now)
    }

    /// At how many places, in as many networks, a mail must have been seen for the word of
    /// introduced sites to convict: one in [`SITES_A_PLACE`] of the sites that count here, from
    /// [`PLACES_MIN`] to [`PLACES_MAX`].
    #[must_use]
    pub fn places_needed(&self) -> u32 {
        self.places.unwrap_or(self.places_needed_of_friends().max(PLACES_MIN))
    }

    /// The same for those whom home itself vouches for: in a small network the word of one of them
    /// suffices, in a large one he must not be the only one who saw the mail.
    #[must_use]
    pub fn places_needed_of_friends(&self) -> u32 {
        let sites = u32::try_from(self.walk.established()).unwrap_or(u32::MAX);
        (sites / SITES_A_PLACE).min(PLACES_MAX)
    }

    /// The weight of `site` now, and why.
    #[must_use]
    pub fn place(&self, site: &SiteId, now: Time) -> Place {
        let place = |weight: f64, ground| Place {
            weight,
            ground,
            standing: if weight > 0.0 { 1.0 } else { 0.0 },
            credit: 0.0,
            branch: *site,
        };
        if *site == self.home {
            return place(1.0, Ground::Home);
        }
        if self.equivocators.contains(site) {
            return place(0.0, Ground::Equivocator);
        }
        if let Some(weight) = self.configured.get(site) {
            return place(*weight, Ground::Configured);
        }
        let credit = self.records.credit(site, now);
        if self.vouched.contains(site) {
            let weight = (1.0 + credit).clamp(0.0, 1.0);
            return Place { credit, ..place(weight, Ground::Vouched) };
        }
        let Some(Standing { standing, branch, .. }) =
            self.walk.standing(site).filter(|one| one.standing > 0.0)
        else {
            let ground = if self.others > 0.0 { Ground::Configured } else { Ground::Stranger };
            return place(self.others, ground);
        };
        let weight = (standing / ESTABLISHED_MIN).min(1.0) * (1.0 + credit).clamp(0.0, 1.0);
        let ground = match weight < NEWCOMER_BELOW || standing < ESTABLISHED_MIN {
            true => Ground::Newcomer,
            false => Ground::Introduced,
        };
        Place { weight, ground, standing, credit, branch }
    }

    /// The weight of `site` now, 0 to 1.
    #[must_use]
    pub fn weight(&self, site: &SiteId, now: Time) -> f64 {
        self.place(site, now).weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Epoch;
    use crate::entry::{Network, Witness};
    use crate::judgement::{Conclusion, Judgement, judge};
    use crate::matching::{Match, Shared};
    use crate::rates::Rates;
    use crate::statement::{Copies, Facts, Kind, MailId, Opinion, Statement};

    const NOW: Time = Time(1_800_000_000);

    fn site(letter: char) -> SiteId {
        SiteId([letter as u8; 32])
    }

    /// Who vouches for whom: "A: D E" says that A does for D and for E.
    fn trust(lists: &[&str]) -> Trust {
        let of = |list: &&str| {
            let letters: Vec<char> = list.chars().filter(char::is_ascii_uppercase).collect();
            (site(letters[0]), letters[1..].iter().map(|one| site(*one)).collect::<Vec<_>>())
        };
        let lists: HashMap<SiteId, Vec<SiteId>> = lists.iter().map(of).collect();
        let own: BTreeSet<SiteId> = lists[&site('H')].iter().copied().collect();
        let list_of = |from: &SiteId| lists.get(from).map_or(&[][..], Vec::as_slice);
        let walk = Walk::over(site('H'), &own, list_of, |_| false);
        Trust::home_only(site('H')).with_vouches(own, walk)
    }

    fn found(by: char, network: u64, hours: u64, kind: Kind) -> Match {
        let epoch = Epoch(NOW.minus_secs(hours * 3600).epoch().0);
        let seq = u64::from(matches!(kind, Kind::Opinion { .. }));
        let statement = Statement::new(site(by), MailId(1), seq, epoch, Vec::new(), kind);
        let network = Network(network);
        let witness = Witness { statement, network, nilsimsa: None, kept_from: epoch };
        let shared = Shared { exact: true, ..Shared::default() };
        Match { witness: Arc::new(witness), engine: crate::Engine::Exact, shared, common: false }
    }

    fn seen(by: char, network: u64, hours: u64) -> Match {
        let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
        found(by, network, hours, kind)
    }

    fn said(by: char, network: u64, opinion: Opinion) -> Match {
        found(by, network, 1, Kind::Opinion { opinion, nilsimsa: None })
    }

    fn judged(trust: &Trust, matches: &[Match]) -> Judgement {
        judge(matches, trust, &Rates::default(), NOW, Some(Network(1000)))
    }

    const EXAMPLE: [&str; 5] = ["H: A B C", "A: D E", "B: D", "C: D", "D: F"];

    /// docs/trust.md, "A worked example": the same sites, the same figures.
    #[test]
    fn the_worked_example() {
        let trust = trust(&EXAMPLE);
        let place = |letter| trust.place(&site(letter), NOW);
        let near = |one: f64, other: f64| assert!((one - other).abs() < 1e-3, "{one} {other}");
        assert_eq!((place('A').weight, place('A').ground), (1.0, Ground::Vouched));
        near(place('D').standing, 0.8667);
        assert_eq!((place('D').weight, place('D').ground), (1.0, Ground::Introduced));
        near(place('E').standing, 0.2);
        near(place('E').weight, 0.4);
        assert_eq!(place('E').ground, Ground::Newcomer);
        near(place('F').standing, 0.3333);
        assert_eq!(place('F').ground, Ground::Newcomer);
        assert_eq!((place('G').weight, place('G').ground), (0.0, Ground::Stranger));

        let report = || said('D', 4, Opinion::Report);
        let two = [seen('D', 4, 1), report()];
        near(judged(&trust, &two).odds_nats, 3.825);
        assert_eq!(judged(&trust, &two).conclusion, Conclusion::Unknown, "two places are too few");
        let three = [seen('D', 4, 1), seen('A', 1, 1), report()];
        near(judged(&trust, &three).odds_nats, 5.125);
        assert_eq!(judged(&trust, &three).conclusion, Conclusion::Spam);
        let mut wrong = trust.clone();
        (0..2).for_each(|_| wrong.records_mut().contradict(site('D'), NOW));
        near(wrong.weight(&site('D'), NOW), 0.8);
        assert_eq!(judged(&wrong, &three).conclusion, Conclusion::Bulk);
        near(judged(&wrong, &three).odds_nats, 4.083);
    }

    #[test]
    fn who_is_proved_to_lie_counts_no_more_and_neither_do_his_friends() {
        let all = trust(&EXAMPLE);
        let without = all.clone().with_equivocators([site('D')]);
        assert_eq!(without.place(&site('D'), NOW).ground, Ground::Equivocator);
        assert_eq!(without.weight(&site('D'), NOW), 0.0);
        let own: BTreeSet<SiteId> = [site('A')].into();
        let (to_d, to_f) = ([site('D')], [site('F')]);
        let list_of = |from: &SiteId| match *from {
            from if from == site('A') => &to_d[..],
            from if from == site('D') => &to_f[..],
            _ => &[],
        };
        let walk = Walk::over(site('H'), &own, list_of, |of| *of == site('D'));
        assert!(walk.standing(&site('D')).is_none() && walk.standing(&site('F')).is_none());
    }

    #[test]
    fn a_thousand_own_names_behind_one_vouch_weigh_half_a_site() {
        // X won one vouch, and vouches for seven names, which all vouch for each other.
        let lists = [
            "H: A B C",
            "A: D X",
            "B: D",
            "C: D",
            "X: P Q R S T U V",
            "P: Q R S T U V",
            "Q: P R S T U V",
            "R: P Q S T U V",
            "S: P Q R T U V",
        ];
        let trust = trust(&lists);
        let mut matches = vec![seen('A', 1, 1), seen('B', 2, 1), seen('C', 3, 1)];
        for (number, name) in "XPQRSTUV".chars().enumerate() {
            assert_eq!(trust.place(&site(name), NOW).ground, Ground::Newcomer, "{name}");
            matches.push(said(name, 10 + number as u64, Opinion::Report));
        }
        let judgement = judged(&trust, &matches);
        assert_ne!(judgement.conclusion, Conclusion::Spam);
        assert!(judgement.odds_nats < 0.5 * f64::ln(0.1 / 0.0005), "{}", judgement.odds_nats);
        assert_eq!(judgement.spread.sites, 5, "all of them are one place");
    }

    #[test]
    fn three_revokes_hold_against_any_number_of_reports() {
        let names: Vec<char> = "ABCDEFIJKLMNOPQRSTUVW".chars().collect();
        let list: String = names.iter().collect();
        let trust = trust(&[&format!("H: {list}")]);
        let mut matches: Vec<Match> = names[3..]
            .iter()
            .enumerate()
            .map(|(number, name)| said(*name, 50 + number as u64, Opinion::Report))
            .collect();
        let revoke = |at: usize, network| said(names[at], network, Opinion::Revoke);
        matches.extend([revoke(0, 1), revoke(1, 2)]);
        assert_eq!(judged(&trust, &matches).conclusion, Conclusion::Spam);
        let one_network = [&matches[..], &[revoke(2, 2)]].concat();
        assert_eq!(judged(&trust, &one_network).conclusion, Conclusion::Spam);
        matches.push(revoke(2, 3));
        let judgement = judged(&trust, &matches);
        assert_eq!(judgement.conclusion, Conclusion::Contested);
        assert!(judgement.confidence < 50);
        let mut habitual = trust;
        for _ in 0..9 {
            (0..3)
                .for_each(|at| habitual.records_mut().spoke(site(names[at]), Opinion::Revoke, NOW));
        }
        assert_eq!(judged(&habitual, &matches).conclusion, Conclusion::Spam);
    }

    #[test]
    fn who_vouches_for_many_gives_little_to_each() {
        let other = |at: u8| SiteId([at; 32]);
        let own: BTreeSet<SiteId> = [site('A'), site('B')].into();
        let standing = |count: u8| {
            let list: Vec<SiteId> = (100..100 + count).map(other).collect();
            let list_of = |from: &SiteId| if own.contains(from) { &list[..] } else { &[] };
            let walk = Walk::over(site('H'), &own, list_of, |_| false);
            walk.standing(&other(100)).unwrap().standing
        };
        assert!((standing(12) - 2.0 * INTRODUCER_MAX).abs() < 1e-9, "{}", standing(12));
        assert!((standing(60) - 2.0 * 4.0 / 60.0).abs() < 1e-9, "{}", standing(60));
    }

    #[test]
    fn in_a_large_network_a_friend_convicts_no_mail_that_nobody_else_saw() {
        let judged = |friends: u32, matches: &[Match]| {
            let own: BTreeSet<SiteId> =
                (0..friends).map(|at| SiteId([u8::try_from(at).unwrap() + b'A'; 32])).collect();
            let walk = Walk::over(site('H'), &own, |_| &[], |_| false);
            judged(&Trust::home_only(site('H')).with_vouches(own, walk), matches).conclusion
        };
        let two = [seen('A', 1, 1), said('A', 1, Opinion::Report)];
        let three = [&two[..], &[seen('B', 2, 1)]].concat();
        assert_eq!(judged(60, &two), Conclusion::Spam, "here one of them suffices");
        assert_ne!(judged(100, &two), Conclusion::Spam, "100 sites by 32 a place are three places");
        assert_eq!(judged(100, &three), Conclusion::Spam);
    }

    #[test]
    fn one_branch_says_no_more_than_one_site() {
        // A introduces five; everybody else introduces nobody.
        let lists = ["H: A B C", "A: P Q R S T", "B: P Q R S T", "C: P Q R S T"];
        let trust = trust(&lists);
        let branch = trust.place(&site('P'), NOW).branch;
        let matches: Vec<Match> = "PQRST"
            .chars()
            .enumerate()
            .map(|(number, name)| {
                assert_eq!(trust.place(&site(name), NOW).branch, branch);
                said(name, number as u64, Opinion::TrapReport)
            })
            .collect();
        let odds = judged(&trust, &matches).odds_nats;
        assert!((odds - Rates::default().trap_nats).abs() < 1e-9, "{odds}");
    }

    #[test]
    fn who_was_right_early_earns_once_and_who_was_wrong_pays_five_times() {
        let names: Vec<char> = "ABCDEFI".chars().collect();
        let list: String = names.iter().collect();
        let mut trust = trust(&[&format!("H: {list}")]);
        let mut hindsight = Hindsight::default();
        let credit = |trust: &Trust, name: char| trust.records().credit(&site(name), NOW);
        let mut matches = vec![said('A', 1, Opinion::Report)];
        let mut note = |trust: &mut Trust, matches: &[Match]| {
            let judgement = judge(matches, trust, &Rates::default(), NOW, None);
            hindsight.note(7, matches, &judgement, trust, NOW)
        };
        note(&mut trust, &matches);
        assert_eq!(credit(&trust, 'A'), 0.0, "nobody has confirmed it");
        for (number, name) in "BCD".chars().enumerate() {
            matches.push(said(name, 2 + number as u64, Opinion::Report));
        }
        (0..3).for_each(|_| {
            note(&mut trust, &matches);
        });
        assert!((credit(&trust, 'A') - CREDIT).abs() < 1e-9, "once, however often it is looked at");
        assert_eq!(credit(&trust, 'B'), 0.0, "who repeats a verdict earns nothing");
        // This site's own people say that it is wanted.
        matches.push(said('H', 0, Opinion::Revoke));
        note(&mut trust, &matches);
        assert!((credit(&trust, 'B') + BLAME).abs() < 1e-9);
        assert!((credit(&trust, 'A') - CREDIT + BLAME).abs() < 1e-9);
    }
}
