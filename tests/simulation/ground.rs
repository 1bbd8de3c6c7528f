//! Whole nodes whose keys strangers have surrounded: what honest sites say of a campaign is found by
//! those who trust each other, and by nobody else.

use novacula_catalog::node::{NEAREST, REGIONS, distances};
use novacula_catalog::{Identity, Key, Probe};
use novacula_tests::simulation::mail::Campaign;
use novacula_tests::simulation::scenario::options;
use novacula_tests::simulation::{Faults, World, trusted};

use super::seed;

/// Deadline of a question, in milliseconds.
const DEADLINE_MS: u64 = 2_000;
/// Longer than a node keeps what it is no holder of, and than it takes until everything is offered
/// again.
const LATER_MS: u64 = 20 * 60_000;
/// Identities that a stranger draws for his place.
const DRAWS: usize = 4_000;

/// A mail is delivered at one honest site and, much later, at another. Strangers hold its first
/// `keys` keys. Gives whether the second heard of the first: where nobody trusts anybody, and where
/// honest sites trust each other.
fn heard(honest: usize, keys: usize) -> [bool; 2] {
    let mut rng = fastrand::Rng::with_seed(seed(81));
    let mail = Campaign::new(7, 0.0, &mut rng).copy(&mut rng);
    let hiding = keys * REGIONS * NEAREST;
    let world = || World::new(options(seed(81), honest + hiding, Faults::none()));
    let start = world().time();
    let mut emitted: Vec<Key> = Probe::new(&mail.digests, None, start).emitted().to_vec();
    emitted.sort_unstable();
    let drawn: Vec<Identity> = (0..hiding)
        .map(|slot| {
            let (key, region) = (emitted[slot / NEAREST / REGIONS], slot / NEAREST % REGIONS);
            let far = |one: &Identity| distances(key, one.site())[region];
            let drawn =
                (0..DRAWS).map(|_| Identity::from_seed(&std::array::from_fn(|_| rng.u8(..))));
            drawn.min_by_key(far).expect("one was drawn")
        })
        .collect();
    [false, true].map(|trust| {
        let mut world = world();
        for (at, identity) in (honest..).zip(&drawn) {
            world.sites[at].redraw(Identity::from_seed(&identity.secret_bytes()), start);
            world.manners.hiders.insert(at);
        }
        world.start_acquainted();
        world.run_for(5_000);
        if trust {
            let sites: Vec<_> = world.sites[..honest].iter().map(|site| site.id()).collect();
            (0..honest).for_each(|at| world.event(at, trusted(sites.clone())));
        }
        world.deliver(0, &mail, DEADLINE_MS);
        world.run_for(LATER_MS);
        let query = world.deliver(1, &mail, DEADLINE_MS).expect("it asks");
        world.run_for(DEADLINE_MS + 1_000);
        let asked = &world.asked[&query];
        assert!(asked.answer.is_some() && asked.truth == 1, "{asked:?}");
        asked.found == 1
    })
}

#[test]
fn a_mail_whose_least_key_strangers_hold_is_found_by_those_who_trust_each_other() {
    // Without trust its statement lies with nobody else.
    assert_eq!(heard(60, 1), [false, true]);
}

#[test]
fn a_mail_whose_every_key_strangers_hold_is_found_by_those_who_trust_each_other() {
    assert_eq!(heard(100, 23), [false, true]);
}
