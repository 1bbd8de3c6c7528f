//! Floods and free riders against whole nodes whose time is bounded.

use novacula_tests::simulation::flood::{Riding, Scale, flood, ride};

use super::seed;

#[test]
fn a_flood_neither_slows_honest_questions_twofold_nor_fills_memory() {
    // The whole one: `sim --sites 1000 flood` (docs/measurements.md).
    let scale = Scale::REDUCED;
    let seed = seed(71);
    let held = flood(seed, scale, true);
    println!("{held:#?}");
    assert!(held.p99_ratio() <= 2.0 && held.onset_ratio() <= 2.0, "{held:?}");
    assert_eq!((held.flooded.late, held.flooded.unanswered, held.honest_refused), (0, 0, 0));
    assert!(held.flooded.share() >= held.quiet.share() - 0.01, "{held:?}");
    // Each flooder is cut off by each that it floods, and nobody else is.
    assert_eq!((held.cut_off, held.honest_cut_off), (scale.flooders * scale.flooded, 0));
    // A flooder's ten seconds of keys at once, and what follows at its rate.
    let bound = held.records_most.0 + scale.flooders * 44_000;
    assert!(held.records_most.1 <= bound, "{held:?}");
    let free = flood(seed, scale, false);
    println!("without quotas: {free:#?}");
    assert!(free.records_most.1 > bound && free.refused == 0, "the flood is one: {free:?}");
}

#[test]
fn who_only_asks_is_served_last() {
    let scale = Riding::REDUCED;
    let seed = seed(72);
    let alone = ride(seed, scale, (true, false, false));
    let ridden = ride(seed, scale, (true, true, false));
    let shared = ride(seed, scale, (true, true, true));
    let serving = ride(seed, scale, (false, true, false));
    println!("{alone:#?}\n{ridden:#?}\n{shared:#?}\n{serving:#?}");
    assert!(ridden.short > 0 && ridden.riders_unserved > 0.2, "{ridden:?}");
    assert!(ridden.honest_refused < ridden.riders_unserved / 20.0, "{ridden:?}");
    assert!(ridden.honest.share() >= alone.honest.share() - 0.01, "{ridden:?}");
    // Also where what they saw is pointed to, and they are to give it: who holds and refuses costs
    // a question a round trip and no more.
    for with in [&ridden, &shared] {
        assert!(with.honest.p99_ms <= 2 * alone.honest.p99_ms.max(1), "{with:?}");
    }
    // Who asks as much and serves can't be told from the others, who lose by it.
    assert!(serving.honest_refused > 0.05, "{serving:?}");
}
