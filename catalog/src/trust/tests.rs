//! What vouches, records and judgement make of each other; docs/trust.md's example.

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
        (0..3).for_each(|at| habitual.records_mut().spoke(site(names[at]), Opinion::Revoke, NOW));
    }
    assert_eq!(judged(&habitual, &matches).conclusion, Conclusion::Spam);
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
fn one_branch_poses_half_of_the_places_that_are_needed() {
    let lists = ["H: A B C", "A: P Q R S T", "B: P Q R S T", "C: P Q R S T"];
    let trust = trust(&lists).with_places(4);
    let mut matches: Vec<Match> =
        "PQRST".chars().enumerate().map(|(at, name)| seen(name, at as u64, 1)).collect();
    matches.extend([said('P', 0, Opinion::Report), said('Q', 1, Opinion::Report)]);
    let judgement = judged(&trust, &matches);
    assert_eq!((judgement.spread.sites, judgement.spread.places), (6, 3));
    assert_ne!(judgement.conclusion, Conclusion::Spam);
    let others = ["ABC", "AB"].map(|names| {
        let of = |(at, name): (usize, char)| seen(name, 50 + at as u64, 1);
        let seen: Vec<Match> = names.chars().enumerate().map(of).collect();
        judged(&trust, &[&matches[..], &seen].concat()).spread.places
    });
    assert!(others.iter().all(|places| *places >= 4), "{others:?}");
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
