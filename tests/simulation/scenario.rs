//! What is played: each scenario has a safety phase, in which things go wrong, and a convergence
//! phase, after which the checks must hold.

use novacula_catalog::Opinion;
use novacula_catalog::node::{Group, Purpose};

use super::check::{Differences, Recall, differences, recall};
use super::mail::{Campaign, Mail};
use super::trusted;
use super::world::{Faults, Options, START, World};

/// Time within which the network must have found itself again (DESIGN: 2 minutes).
pub const CONVERGENCE_MS: u64 = 120_000;
/// The agent's default deadline of a check's question (DESIGN 4.2).
pub const DEADLINE_MS: u64 = 150;

/// Options with a network for each site while there are fewer than 200.
#[must_use]
pub fn options(seed: u64, sites: usize, faults: Faults) -> Options {
    let (networks, group, start) = (sites.min(200), Group::Open, START);
    Options { seed, sites, hosts: 1, networks, faults, group, start }
}

/// What a flow of mail cost and found.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Mails delivered.
    pub mails: usize,
    /// How questions were answered.
    pub recall: Recall,
    /// Decided without a question.
    pub local: u64,
    /// Bytes of frames sent by all for stating and asking, requests and answers, per mail.
    pub observe_bytes: f64,
    /// The same for fetching statements.
    pub fetch_bytes: f64,
    /// The same for announcements, counted once.
    pub hot_bytes: f64,
    /// The same for repair.
    pub repair_bytes: f64,
    /// Requests per mail.
    pub requests: f64,
    /// Keys stated or asked, over all peers, per mail.
    pub key_ops: f64,
    /// Keys of which anchors were told or asked too, per mail.
    pub anchored: f64,
    /// Outbreaks announced.
    pub announced: u64,
    /// Records held by the fullest node.
    pub records_most: usize,
}

/// Mail for a while: of all mails `share` are copies of campaigns, which come to 2 to 30 sites.
pub fn play_mail(world: &mut World, mails: usize, share: f64, over_ms: u64) -> Vec<Mail> {
    play_mail_within(world, mails, share, over_ms, DEADLINE_MS)
}

/// The same with another deadline for the questions.
pub fn play_mail_within(
    world: &mut World,
    mails: usize,
    share: f64,
    over_ms: u64,
    deadline_ms: u64,
) -> Vec<Mail> {
    let mut campaigns: Vec<(Campaign, usize)> = Vec::new();
    let mut all = Vec::with_capacity(mails);
    for number in 0..mails {
        let mail = if world.rng.f64() < share {
            campaigns.retain(|(_, left)| *left > 0);
            if campaigns.len() < 8 {
                let mutation = [0.0, 0.1, 0.2, 0.3, 0.4][world.rng.usize(..5)];
                let size = 2 + (28.0 * world.rng.f64().powi(3)) as usize;
                campaigns.push((Campaign::new(number as u64, mutation, &mut world.rng), size));
            }
            let at = world.rng.usize(..campaigns.len());
            campaigns[at].1 -= 1;
            campaigns[at].0.copy(&mut world.rng)
        } else {
            Campaign::new(number as u64, 0.0, &mut world.rng).copy(&mut world.rng)
        };
        let named = &world.manners.askers;
        let askers = if named.is_empty() { world.running() } else { named.clone() };
        let site = askers[world.rng.usize(..askers.len())];
        let mail = match world.manners.lone.contains(&site) {
            true => Campaign::new(number as u64, 0.0, &mut world.rng).copy(&mut world.rng),
            false => mail,
        };
        world.deliver(site, &mail, deadline_ms);
        all.push(mail);
        world.run_for(over_ms / mails as u64);
    }
    all
}

/// Each site trusts so large a share of the others, drawn for each anew.
pub fn trust_each_other(world: &mut World, share: f64) {
    let all: Vec<_> = world.sites.iter().map(|site| site.id()).collect();
    for at in 0..all.len() {
        let some: Vec<_> = all.iter().copied().filter(|_| world.rng.f64() < share).collect();
        world.event(at, trusted(some));
    }
}

/// What was said is offered again after 15 minutes; that is part of its cost.
pub const AFTER_MS: u64 = 17 * 60_000;

/// A quiet network with mail: cost and recall.
pub fn flow(world: &mut World, mails: usize, deadline_ms: u64, after_ms: u64) -> Flow {
    let purposes = [Purpose::Observe, Purpose::Fetch, Purpose::Hot, Purpose::Repair];
    let before = purposes.map(|purpose| world.bytes(purpose));
    let (requests, keys) = (world.count("query_requests"), world.count("query_keys"));
    let anchored = world.count("keys_anchored");
    let (since, local) = (world.now_ms(), world.local);
    play_mail_within(world, mails, 0.5, mails as u64 * 100, deadline_ms);
    world.run_for(after_ms);
    let per_mail = |count: u64| count as f64 / mails as f64;
    let [observe, fetch, hot, repair] = {
        let after = purposes.map(|purpose| world.bytes(purpose));
        [0, 1, 2, 3].map(|at| per_mail(after[at] - before[at]))
    };
    let nodes = world.sites.iter().filter_map(|site| site.node.as_ref());
    Flow {
        mails,
        recall: recall(world, since),
        local: world.local - local,
        observe_bytes: observe,
        fetch_bytes: fetch,
        hot_bytes: hot,
        repair_bytes: repair,
        requests: per_mail(world.count("query_requests") - requests),
        key_ops: per_mail(world.count("query_keys") - keys),
        anchored: per_mail(world.count("keys_anchored") - anchored),
        announced: world.count("hot_announced"),
        records_most: nodes.map(|node| node.status().records).max().unwrap_or(0),
    }
}

/// One fifth of all nodes crash at once and stay away.
#[must_use]
pub fn crash_a_fifth(seed: u64, sites: usize, mails: usize) -> Differences {
    let mut world = World::new(options(seed, sites, Faults::none()));
    world.start_acquainted();
    world.run_for(5_000);
    play_mail(&mut world, mails, 0.5, 120_000);
    world.run_for(5_000);
    let mut running = world.running();
    world.rng.shuffle(&mut running);
    for site in &running[..sites / 5] {
        world.crash(*site);
    }
    // What was said is offered again after 15 minutes.
    world.run_for(20 * 60_000);
    differences(&world, |_| true)
}

/// Nodes come and go for an hour, at `share` of all an hour: half of them crash, half leave in
/// order; each comes back after ten minutes with what was on its disk.
#[must_use]
pub fn churn(seed: u64, sites: usize, mails: usize, share: f64, minutes: u64) -> Differences {
    let mut world = World::new(options(seed, sites, Faults::none()));
    world.start_acquainted();
    world.run_for(5_000);
    play_mail(&mut world, mails, 0.5, 60_000);
    let mut away: Vec<(u64, usize)> = Vec::new();
    let mut due = 0.0;
    for minute in 0..minutes {
        due += sites as f64 * share / 60.0;
        while due >= 1.0 {
            due -= 1.0;
            let running = world.running();
            let site = running[world.rng.usize(..running.len())];
            if world.rng.bool() {
                world.crash(site);
            } else {
                world.leave(site);
            }
            away.push((minute + 10, site));
        }
        world.run_for(60_000);
        let back: Vec<usize> =
            away.iter().filter(|(at, _)| *at <= minute).map(|(_, site)| *site).collect();
        away.retain(|(at, _)| *at > minute);
        for site in back {
            if world.sites[site].node.is_none() {
                world.start(site);
            }
        }
    }
    world.run_for(CONVERGENCE_MS);
    differences(&world, |_| true)
}

/// A network cut in two halves for a while, with mail and reports on both sides.
pub fn partition(seed: u64, sites: usize, cut_ms: u64, faults: Faults) -> (World, Differences) {
    let mut world = World::new(options(seed, sites, faults));
    world.start_from_one(300);
    world.run_for(30_000);
    let mails = play_mail(&mut world, 10, 0.5, 5_000);
    world.partition(|site| u8::from(site >= sites / 2));
    let mut said = mails;
    for _ in 0..cut_ms / 5_000 {
        said.extend(play_mail(&mut world, 2, 0.7, 4_000));
        speak_somewhere(&mut world, &said);
        world.run_for(1_000);
    }
    world.heal();
    world.run_for(CONVERGENCE_MS);
    let found = differences(&world, |_| true);
    (world, found)
}

/// Somebody somewhere reports or revokes some mail. Gives site and number.
pub fn speak_somewhere(world: &mut World, mails: &[Mail]) -> Option<(usize, u64)> {
    let running = world.running();
    let site = running[world.rng.usize(..running.len())];
    let mail = mails[world.rng.usize(..mails.len())].clone();
    let opinion = [Opinion::Report, Opinion::Report, Opinion::Revoke][world.rng.usize(..3)];
    world.speak(site, &mail, opinion).map(|seq| (site, seq))
}

/// Reports flow; any two of the nodes are killed at random moments and start again.
#[must_use]
pub fn kill_two(seed: u64, sites: usize, faults: Faults) -> Differences {
    let mut world = World::new(options(seed, sites, faults));
    world.start_from_one(300);
    world.run_for(20_000);
    let mut mails = play_mail(&mut world, 6, 0.5, 3_000);
    let mut victims: Vec<usize> = (0..sites).collect();
    world.rng.shuffle(&mut victims);
    let moments = [0, 1].map(|_| world.rng.u64(1..20_000));
    let start = world.now_ms();
    let mut killed = [false; 2];
    while world.now_ms() < start + 20_000 {
        mails.extend(play_mail(&mut world, 1, 0.7, 100));
        speak_somewhere(&mut world, &mails);
        let pause = world.rng.u64(50..400);
        world.run_for(pause);
        for at in 0..2 {
            if !killed[at] && world.now_ms() >= start + moments[at] {
                world.crash(victims[at]);
                killed[at] = true;
            }
        }
    }
    for site in &victims[..2] {
        if world.sites[*site].node.is_none() {
            world.start(*site);
        }
    }
    world.run_for(CONVERGENCE_MS);
    differences(&world, |one| one.class() == novacula_catalog::Class::Opinion)
}
