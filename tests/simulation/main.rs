//! The peer catalog under faults, in simulation. The reduced run is part of `make test`; with
//! `NOVACULA_FULL=1` the numbers are as written in docs/measurements.md.

use novacula_catalog::{Class, Kind, Opinion, Probe};
use novacula_tests::simulation::mail::Campaign;
use novacula_tests::simulation::scenario::{
    AFTER_MS, churn, crash_a_fifth, flow, kill_two, options, partition,
};
use novacula_tests::simulation::{Faults, Options, World};

mod attacks;
mod floods;
mod ground;
mod invites;
mod lies;
mod restarts;
mod shelf;
mod vouches;

fn full() -> bool {
    std::env::var_os("NOVACULA_FULL").is_some()
}

/// `NOVACULA_SEED` replays one; printed first, so that a failure tells it.
fn seed(default: u64) -> u64 {
    let seed = std::env::var("NOVACULA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(default);
    println!("seed {seed}");
    seed
}

#[test]
fn eight_sites_find_each_other_from_one_address() {
    let mut world = World::new(options(seed(1), 8, Faults::none()));
    world.start_from_one(500);
    world.run_for(30_000);
    for site in &world.sites {
        let status = site.node.as_ref().unwrap().status();
        assert_eq!((status.members, status.placed, status.up), (8, 8, 8), "{status:?}");
    }
    // The one that all began with is gone; a ninth would dial a cached peer.
    world.crash(0);
    world.crash(5);
    world.run_for(10_000);
    world.start(5);
    world.run_for(30_000);
    let status = world.sites[5].node.as_ref().unwrap().status();
    assert!(status.serving && status.up >= 7, "{status:?}");
}

#[test]
fn old_and_new_versions_talk_and_the_too_new_is_refused() {
    let mut world = World::new(options(seed(9), 6, Faults::none()));
    for (host, versions) in [(0, (1, 1)), (1, (1, 2)), (2, (1, 2)), (3, (1, 1)), (5, (2, 2))] {
        world.sites[host].versions = versions;
    }
    world.start_from_one(500);
    world.run_for(30_000);
    let members = |host: usize| world.sites[host].node.as_ref().unwrap().status().members;
    // Who speaks both knows all; who speaks 1 alone and who speaks 2 alone don't know each other.
    assert_eq!((0..6).map(members).collect::<Vec<_>>(), [5, 6, 6, 5, 5, 3]);
    let counters = |host: usize| world.sites[host].node.as_ref().unwrap().counters().clone();
    assert!(counters(0).versions_refused > 0 && counters(5).versions_refused > 0, "both say why");
    let campaign = Campaign::new(1_000_000, 0.0, &mut world.rng);
    for host in [0, 1, 3] {
        let mail = campaign.copy(&mut world.rng);
        world.deliver(host, &mail, 500);
        world.run_for(2_000);
    }
    let mail = campaign.copy(&mut world.rng);
    if let Some(query) = world.deliver(2, &mail, 500) {
        world.run_for(2_000);
        assert_eq!((world.asked[&query].truth, world.asked[&query].found), (3, 3));
    }
}

#[test]
fn a_partition_heals_with_all_entries_equal() {
    let cut_ms = if full() { 300_000 } else { 30_000 };
    for (number, faults) in [Faults::none(), Faults::all()].into_iter().enumerate() {
        let (world, found) = partition(seed(20 + number as u64), 8, cut_ms, faults);
        assert!(found.looked_at > 500, "{found:?}");
        assert_eq!(
            (found.lacking, found.lost, found.doubled, found.homeless),
            (0, 0, 0, 0),
            "{found:?}"
        );
        assert!(world.sites.iter().all(|site| site.disk.outbox.is_empty()));
    }
}

#[test]
fn no_report_is_lost_when_two_of_eight_are_killed() {
    let runs = if full() { 100 } else { 10 };
    for run in 0..runs {
        let faults = if run % 2 == 0 { Faults::none() } else { Faults::all() };
        let found = kill_two(seed(1000 + run), 8, faults);
        assert!(found.looked_at > 200, "run {run}: {found:?}");
        assert_eq!((found.lost, found.doubled, found.lacking), (0, 0, 0), "run {run}: {found:?}");
    }
}

#[test]
fn a_fifth_crashes_and_no_key_is_lost() {
    let sites = if full() { 1_000 } else { 200 };
    let found = crash_a_fifth(seed(3), sites, 300);
    assert!(found.looked_at > 5_000, "{found:?}");
    // A key whose six holders crash is offered anew by who holds its statements whole.
    assert_eq!((found.lost, found.homeless), (0, 0), "{found:?}");
}

#[test]
fn half_the_network_comes_and_goes_in_an_hour() {
    let (sites, minutes) = if full() { (1_000, 60) } else { (100, 30) };
    let found = churn(seed(4), sites, 200, 0.5, minutes);
    let share = found.lost as f64 / found.looked_at as f64;
    assert!(share <= 0.001, "{found:?}");
}

#[test]
fn questions_find_what_a_global_table_would() {
    let sites = if full() { 1_000 } else { 200 };
    let mut world = World::new(options(seed(5), sites, Faults::none()));
    world.start_acquainted();
    world.run_for(5_000);
    let flow = flow(&mut world, 600, 500, AFTER_MS);
    println!("{flow:#?}");
    assert!(flow.recall.truth > 50 && flow.local > 50 && flow.recall.unanswered == 0, "{flow:?}");
    assert!(flow.recall.share() >= 0.99, "{flow:?}");
}

#[test]
fn hosts_of_one_site_are_counted_once_and_never_give_a_number_twice() {
    let options = Options { hosts: 4, ..options(seed(8), 32, Faults::none()) };
    let mut world = World::new(options);
    world.start_acquainted();
    world.run_for(5_000);
    // One campaign at all eight hosts of two sites: seen at two places.
    let campaign = Campaign::new(1_000_000, 0.0, &mut world.rng);
    for host in 0..8 {
        let mail = campaign.copy(&mut world.rng);
        world.deliver(host, &mail, 500);
        world.run_for(2_000);
    }
    assert_eq!(world.count("hot_announced"), 0, "eight hosts of two sites are no outbreak");
    let mail = campaign.copy(&mut world.rng);
    let query = world.deliver(8, &mail, 500).expect("it is no outbreak, so peers are asked");
    world.run_for(2_000);
    assert_eq!((world.asked[&query].truth, world.asked[&query].found), (2, 2));
    assert_eq!(world.count("hot_announced"), 1, "the third place makes it one");
    // Hosts of one site that speak of one mail: the latest word is the site's.
    world.speak(0, &mail, Opinion::Report);
    world.run_for(2_000);
    world.speak(3, &mail, Opinion::Revoke);
    world.run_for(2_000);
    let wall = world.time();
    let probe = Probe::new(&mail.digests, None, wall);
    let said = world.sites[20].catalog.matches(&probe);
    let of_site = said.iter().map(|one| &one.witness.statement);
    let of_site = of_site.filter(|one| one.site == world.sites[0].id());
    let last = of_site.filter(|one| one.class() == Class::Opinion).max_by_key(|one| one.seq);
    let revoked = Kind::Opinion { opinion: Opinion::Revoke, nilsimsa: None };
    assert_eq!(last.map(|one| one.kind), Some(revoked), "{said:?}");

    // And much mail everywhere.
    let flow = flow(&mut world, 300, 500, AFTER_MS);
    assert_eq!(flow.recall.share(), 1.0, "{flow:?}");
    assert_eq!(world.count("equivocations"), 0);
    assert_eq!(world.count("statements_false") + world.count("statements_foreign"), 0);
    let numbers: Vec<_> = world.ledger.current().map(|one| (one.site, one.seq)).collect();
    let distinct: std::collections::HashSet<_> = numbers.iter().collect();
    assert_eq!(distinct.len(), numbers.len());
}

#[test]
fn all_faults_at_once_and_every_question_is_answered() {
    let mut world = World::new(options(seed(6), 60, Faults::all()));
    world.start_from_one(100);
    world.run_for(60_000);
    let flow = flow(&mut world, 300, 150, 5_000);
    assert_eq!(flow.recall.unanswered, 0, "{flow:?}");
}

#[test]
fn the_same_seed_plays_the_same() {
    let run = || {
        let mut world = World::new(options(7, 20, Faults::all()));
        world.start_from_one(200);
        world.run_for(20_000);
        let flow = flow(&mut world, 50, 150, 5_000);
        (format!("{flow:?}"), world.count("requests_sent"), world.count("requests_failed"))
    };
    assert_eq!(run(), run());
}
