//! What liars must not reach, in a society a third as large as the and a fifth as long.
//! `make sim-large` plays the whole one; the figures of both: docs/threats.md.

use novacula_tests::simulation::deceit::{
    Flipped, baseline, burnt, sleepers, sybils, turned_report, turned_revoke,
};
use novacula_tests::simulation::eclipse::{Eclipse, lost};
use novacula_tests::simulation::society::Size;

use crate::seed;

const SIZE: Size = Size::REDUCED;

#[test]
fn honest_sites_reach_what_an_oracle_that_trusts_everybody_does() {
    let found = baseline(SIZE, seed(1), None);
    println!("{found:?}");
    assert!(found.oracle_recall > 0.3, "{found:?}");
    assert!(found.recall >= 0.95 * found.oracle_recall, "{found:?}");
    assert!(found.ham <= 0.0005, "{found:?}");
}

#[test]
fn identities_without_a_vouch_flip_no_verdict() {
    for networks in [1, 500] {
        let found = sybils(SIZE, seed(2), 1_000, networks);
        assert_eq!(found, Flipped::default(), "{networks} networks");
    }
}

#[test]
fn sleepers_fool_nobody_but_those_who_vouched_for_them() {
    for vouches in [10, 50] {
        let share = sleepers(SIZE, seed(3), vouches, 1, 0);
        println!("{vouches} vouches: spam for {:.2} %", share * 100.0);
        // Those who vouched for one.
        assert!(share <= vouches as f64 / SIZE.sites as f64, "{share}");
    }
}

#[test]
fn who_revokes_everything_is_found_out() {
    // Each site has to see three or four campaigns first: 7 % of what it sees in four days here,
    // 1 % of twenty days in the whole society.
    for (share, points) in [(0.05, 0.08), (0.2, 0.13)] {
        let (before, after) = turned_revoke(SIZE, seed(1), share);
        println!("{share}: recall {before:.3} to {after:.3}");
        assert!(before - after <= points, "{share}: {before} {after}");
    }
}

#[test]
fn a_newsletter_comes_back_after_three_revokes() {
    let found = turned_report(SIZE, seed(1), 0.05);
    println!("{found:?}");
    assert!(found.copies_after > 50 && found.before > 0.5, "{found:?}");
    assert!(found.after <= 0.001 && found.recovered <= 0.001, "{found:?}");
}

#[test]
fn nobody_earns_weight_with_his_own_campaigns() {
    let found = burnt(SIZE, seed(4));
    println!("{found:?}");
    assert!(found.campaign > 0.0 && found.campaign <= 0.02 + 1e-9, "{found:?}");
    assert!(found.branch <= 0.3 && found.weight <= 1e-9, "{found:?}");
}

#[test]
fn who_hides_what_he_holds_hides_hardly_anything() {
    for (share, most) in [(0.05, 0.001), (0.2, 0.01)] {
        let of = Eclipse { strangers: share, draws: 1, home_first: false, turned: 0.0 };
        for lost in lost(Size::REDUCED, of, seed(5)) {
            assert!(lost.mails <= most, "{share}: {lost:?}");
        }
    }
}

#[test]
fn who_draws_identities_hides_nothing_from_those_who_trust_each_other() {
    for (strangers, turned, most) in [(0.05, 0.0, 0.001), (0.2, 0.0, 0.01)] {
        let of = Eclipse { strangers, draws: 4_000, home_first: true, turned };
        let [without, with] = lost(SIZE, of, seed(5));
        println!("{of:?}: {without:?} {with:?}");
        // It is an attack: where nobody trusts anybody it hides most.
        assert!(without.mails > 0.5, "{without:?}");
        assert!(with.mails <= most, "{strangers}: {with:?}");
    }
}

#[test]
fn anchors_cost_nothing_in_peace() {
    let of = Eclipse { strangers: 0.0, draws: 1, home_first: false, turned: 0.0 };
    let [_, with] = lost(SIZE, of, seed(5));
    // Of 138 that are asked.
    assert!(with.anchored < 0.1, "{with:?}");
}
