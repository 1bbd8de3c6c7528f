//! Floods, and peers that ask and do not answer, played with whole nodes. The checkers are those
//! of the kind world: what questions found, and how long they took.

use super::check::{Recall, recall_of};
use super::scenario::{options, play_mail_within};
use super::world::{Faults, World};

/// Deadline of questions, in milliseconds: late enough to see what a flood costs.
const DEADLINE_MS: u64 = 500;
/// Time between two mails, in milliseconds.
const APART_MS: u64 = 5;

/// Who takes part in a flood.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Nodes.
    pub sites: usize,
    /// Of which flood.
    pub flooders: usize,
    /// Nodes that they flood. A question waits for the slowest of all the peers that it asks, so
    /// some flooded nodes are as bad as all, and the machine has less to do.
    pub flooded: usize,
    /// Honest sites with mail.
    pub askers: usize,
    /// Mails in each of the two phases.
    pub mails: usize,
}

impl Scale {
    /// For `make test`.
    pub const REDUCED: Self = Self { sites: 100, flooders: 4, flooded: 3, askers: 15, mails: 200 };
    /// 1 % of a thousand.
    pub const WHOLE: Self =
        Self { sites: 1_000, flooders: 10, flooded: 20, askers: 30, mails: 400 };
}

impl Scale {
    /// Every flooder may do ten seconds' worth at once: 500 requests, 85 ms of a node's time.
    /// Mails until that is over.
    fn onset_mails(self) -> usize {
        self.flooders * 150 / APART_MS as usize
    }
}

/// What a flood did.
#[derive(Debug)]
pub struct Flooded {
    /// Questions of honest sites before it.
    pub quiet: Recall,
    /// In its first moments (150 ms for each flooder), while floods use up what anybody may do at once.
    pub onset: Recall,
    /// And from then on.
    pub flooded: Recall,
    /// The flood's requests.
    pub sent: u64,
    /// Of which refused.
    pub refused: u64,
    /// Honest requests refused.
    pub honest_refused: u64,
    /// Records held by the fullest node before and after.
    pub records_most: (usize, usize),
    /// Most frames that ever waited at one node.
    pub waiting_most: usize,
    /// Honest sites that somebody cut off.
    pub honest_cut_off: usize,
    /// Flooders cut off, by each of those whom they flooded.
    pub cut_off: usize,
}

impl Flooded {
    /// How much longer the slowest of a hundred honest questions took.
    #[must_use]
    pub fn p99_ratio(&self) -> f64 {
        self.flooded.p99_ms as f64 / self.quiet.p99_ms.max(1) as f64
    }

    /// The same in its first moments.
    #[must_use]
    pub fn onset_ratio(&self) -> f64 {
        self.onset.p99_ms as f64 / self.quiet.p99_ms.max(1) as f64
    }
}

fn records_most(world: &World) -> usize {
    let nodes = world.sites.iter().filter_map(|site| site.node.as_ref());
    nodes.map(|node| node.status().records).max().unwrap_or(0)
}

/// Mail without attack, then mail in the same network while some flood others. Without `quotas`
/// nothing is refused: what the flood would do then.
#[must_use]
pub fn flood(seed: u64, scale: Scale, quotas: bool) -> Flooded {
    let mut world = World::new(options(seed, scale.sites, Faults::none()));
    if !quotas {
        world.sites.iter_mut().for_each(|site| site.keys_per_second = [u32::MAX; 3]);
    }
    world.start_acquainted();
    world.manners.askers = (0..scale.askers).collect();
    world.run_for(5_000);
    // Connections are there already: what is compared is the same before and after.
    world.acquaint(&(0..scale.askers).collect::<Vec<_>>());
    world.run_for(10_000);
    world.bound_work();
    let play = |world: &mut World, mails: usize| {
        let since = world.now_ms();
        play_mail_within(world, mails, 0.5, mails as u64 * APART_MS, DEADLINE_MS);
        since
    };
    let since = play(&mut world, scale.mails);
    world.run_for(5_000);
    let quiet = recall_of(&world, since, |_| true);
    let before = records_most(&world);
    world.manners.outcome = vec![(0, 0); scale.sites];
    let flooders: Vec<usize> = (scale.sites - scale.flooders..scale.sites).collect();
    let flooded: Vec<usize> = (scale.askers..scale.askers + scale.flooded).collect();
    world.begin_flood(&flooders, &flooded);
    let onset = play(&mut world, scale.onset_mails());
    let since = play(&mut world, scale.mails);
    world.run_for(DEADLINE_MS);
    world.end_flood();
    world.run_for(5_000);
    Flooded {
        quiet,
        onset: recall_of(&world, onset, |asked| asked.at_ms < since),
        flooded: recall_of(&world, since, |_| true),
        sent: world.manners.flood.sent,
        refused: world.manners.flood.refused,
        honest_refused: world.manners.outcome.iter().map(|one| one.1).sum(),
        records_most: (before, records_most(&world)),
        waiting_most: world.manners.work.as_ref().map_or(0, |work| work.waiting_most),
        honest_cut_off: world.manners.cut_off.keys().filter(|(_, of)| *of < flooders[0]).count(),
        cut_off: world.manners.cut_off.keys().filter(|(_, of)| *of >= flooders[0]).count(),
    }
}

/// Network of the free riders.
#[derive(Clone, Copy, Debug)]
pub struct Riding {
    /// Nodes.
    pub sites: usize,
    /// Seconds of mail until accounts tell who is who.
    pub before_secs: u64,
    /// Seconds of mail looked at.
    pub secs: u64,
}

impl Riding {
    /// For `make test`.
    pub const REDUCED: Self = Self { sites: 20, before_secs: 60, secs: 25 };
    /// As written.
    pub const WHOLE: Self = Self { sites: 100, before_secs: 90, secs: 30 };
}

/// What free riders did.
#[derive(Debug)]
pub struct Ridden {
    /// Questions of the honest four fifths.
    pub honest: Recall,
    /// Share of their requests that serving peers refused.
    pub honest_refused: f64,
    /// Questions of the fifth that asks much.
    pub riders: Recall,
    /// Share of what they would have asked of serving peers that was refused, or withheld because
    /// it had been: they wait as everybody does.
    pub riders_unserved: f64,
    /// Requests refused for want of capacity.
    pub short: u64,
}

/// Mails that an honest site gets in two seconds.
const HONEST_MAILS: usize = 1;
/// Mails that one of the others gets in that time.
const RIDER_MAILS: usize = 8;
/// What a mail asks of all nodes together, in keys: 23 at six holders, under two salts
/// in the first days of a week.
const MAIL_KEYS: usize = 23 * 6 * 2;

/// A fifth of all nodes ask eight times as much as the others do, and answer nobody when `ride`.
/// Nodes have time for two thirds of what is asked. Without `much` that fifth asks nothing; with
/// `shared` it gets copies of the same campaigns, and its sightings lie in the catalog.
#[must_use]
pub fn ride(seed: u64, scale: Riding, (ride, much, shared): (bool, bool, bool)) -> Ridden {
    let honest = scale.sites * 4 / 5;
    let others = scale.sites - honest;
    let a_second = (honest * HONEST_MAILS + others * RIDER_MAILS) / 2;
    // What a mail asks of one node on average, where a request counts as 20 keys.
    let missed = (-(MAIL_KEYS as f64) / scale.sites as f64).exp();
    let cost = MAIL_KEYS as f64 / scale.sites as f64 + 20.0 * (1.0 - missed);
    let all = (a_second as f64 * cost * 2.0 / 3.0) as u32;
    // What one of them asks of one node, and half as much again: his own quota refuses nobody.
    let each = (RIDER_MAILS as f64 * cost * 3.0 / 4.0) as u32;
    let mut world = World::new(options(seed, scale.sites, Faults::none()));
    for site in &mut world.sites {
        site.keys_per_second = [each, u32::MAX, all];
    }
    world.start_acquainted();
    // Meeting each other uses up what slow nodes may do in the first seconds.
    world.run_for(60_000);
    // What the others see is no part of what honest sites could find.
    if !shared {
        world.manners.lone = (honest..scale.sites).collect();
    }
    if ride {
        world.manners.riders = (honest..scale.sites).collect();
    }
    let named =
        |of: std::ops::Range<usize>, times| of.flat_map(move |at| std::iter::repeat_n(at, times));
    let mut askers: Vec<usize> = named(0..honest, HONEST_MAILS).collect();
    if much {
        askers.extend(named(honest..scale.sites, RIDER_MAILS));
    }
    let a_second = askers.len().div_ceil(2);
    world.manners.askers = askers;
    let play = |world: &mut World, secs: u64| {
        let mails = a_second * secs as usize;
        play_mail_within(world, mails, 0.5, secs * 1_000, DEADLINE_MS);
    };
    play(&mut world, scale.before_secs);
    world.manners.outcome = vec![(0, 0); scale.sites];
    let withheld = |world: &World| -> u64 {
        let nodes = world.sites[honest..].iter().filter_map(|site| site.node.as_ref());
        nodes.map(|node| node.counters().requests_withheld).sum()
    };
    let (since, before) = (world.now_ms(), withheld(&world));
    play(&mut world, scale.secs);
    world.run_for(5_000);
    let kept_back = (0, withheld(&world) - before);
    let share = |of: &[(u64, u64)]| {
        let (answered, refused) = of.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        refused as f64 / (answered + refused).max(1) as f64
    };
    Ridden {
        honest: recall_of(&world, since, |asked| asked.site < honest),
        honest_refused: share(&world.manners.outcome[..honest]),
        riders: recall_of(&world, since, |asked| asked.site >= honest),
        riders_unserved: share(&[&world.manners.outcome[honest..], &[kept_back]].concat()),
        short: world.count("capacity_refused"),
    }
}
