//! Floods and free riders against whole nodes whose time is bounded.

use novacula_tests::simulation::flood::{Riding, Scale, flood, ride};

use super::seed;

#[test]
fn a_flood_neither_slows_honest_questions_twofold_nor_fills_memory() {
    // The whole one misses the bound (docs/measurements.md): `sim --sites 1000 flood`.
    let scale = Scale::REDUCED;
    let seed = seed(71);
    let held = flood(seed, scale, true);
    println!("{held:#?}");
    assert!(held.p99_ratio() <= 2.0, "{held:?}");
    assert_eq!((held.flooded.late, held.flooded.unanswered, held.honest_refused), (0, 0, 0));
    assert!(held.flooded.share() >= held.quiet.share() - 0.01, "{held:?}");
    assert!(held.refused * 10 > held.sent * 7, "{held:?}");
    // A flooder's ten seconds of keys at once, and what follows at its rate.
    let bound = held.records_most.0 + scale.flooders * 24_000 * 2;
    assert!(held.records_most.1 <= bound, "{held:?}");
    let free = flood(seed, scale, false);
    println!("without quotas: {free:#?}");
    assert!(free.p99_ratio() > 2.0 && free.refused == 0, "the flood is one: {free:?}");
}

#[test]
fn who_only_asks_is_served_last() {
    let scale = Riding::REDUCED;
    let seed = seed(72);
    let alone = ride(seed, scale, true, false);
    let ridden = ride(seed, scale, true, true);
    let serving = ride(seed, scale, false, true);
    println!("{alone:#?}\n{ridden:#?}\n{serving:#?}");
    assert!(ridden.short > 0 && ridden.riders_refused > 0.2, "{ridden:?}");
    assert!(ridden.honest_refused < ridden.riders_refused / 50.0, "{ridden:?}");
    assert!(ridden.honest.share() >= alone.honest.share() - 0.01, "{ridden:?}");
    assert!(ridden.honest.p99_ms <= 2 * alone.honest.p99_ms.max(1), "{ridden:?}");
    // Who asks as much and serves can't be told from the others, who lose by it.
    assert!(serving.honest_refused > 0.05, "{serving:?}");
}
