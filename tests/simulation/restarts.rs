//! Nodes that crash and come back: what others know of them, and what questions find meanwhile.

use novacula_catalog::Probe;
use novacula_catalog::node::{Action, Config, Failure, Node};
use novacula_catalog::node::{Event, MemberRecord, NodeId, QueryId, RequestId};
use novacula_tests::simulation::hostile::{Peer, Target};
use novacula_tests::simulation::mail::Campaign;
use novacula_tests::simulation::scenario::options;
use novacula_tests::simulation::{Faults, World};

use super::{full, seed};

/// The record of a host in an address book.
fn book(world: &World, of: usize, at: usize) -> MemberRecord {
    MemberRecord::clone(&world.sites[at].disk.members[&world.sites[of].host()])
}

fn node(world: &World, at: usize) -> &Node {
    world.sites[at].node.as_ref().expect("it runs")
}

/// The first record of a new start had no address and no observer: whoever was told that one, or
/// found it in his address book after a crash of his own, placed no key there any more.
#[test]
fn who_comes_back_holds_keys_from_his_first_word_on() {
    let mut world = World::new(options(seed(31), 4, Faults::none()));
    world.start_from_one(300);
    world.run_for(30_000);
    let mut before = book(&world, 2, 2);
    assert!(!before.addresses.is_empty() && before.observations.len() >= 2, "{before:?}");
    // Killed again at once, several times within a second of its clock.
    for _ in 0..3 {
        world.crash(2);
        world.start(2);
        world.run_for(1_001);
        let after = book(&world, 2, 2);
        assert_eq!(after.addresses, before.addresses);
        assert_eq!(after.observations, before.observations);
        assert!(after.made > before.made && after.boot > before.boot, "{after:?}");
        before = after;
    }
    // All hear of it, though its gossip was before its first connection.
    world.run_for(3_000);
    for at in [0, 1, 3] {
        let known = book(&world, 2, at);
        assert_eq!((known.boot, known.made >= before.made), (before.boot, true), "site {at}");
        assert!(node(&world, at).peers(9).iter().all(|peer| peer.placed && peer.up), "site {at}");
    }
}

/// In a larger one, whom its Hellos don't reach hears of it by gossip; nobody heard its first one.
#[test]
fn all_hear_of_who_comes_back() {
    let mut world = World::new(options(seed(33), 150, Faults::none()));
    world.start_acquainted();
    world.run_for(10_000);
    world.crash(7);
    world.start(7);
    world.run_for(6_000);
    let host = world.sites[7].host();
    let own = node(&world, 7).book().into_iter().find(|record| record.node == host);
    let boot = own.expect("its own record").boot;
    let knows = |at: &usize| {
        node(&world, *at).peers(200).iter().any(|peer| (peer.node, peer.since) == (host, boot))
    };
    assert_eq!((0..150).filter(|at| *at != 7).filter(knows).count(), 149);
}

/// In a small network two of all crash at once and come back; everybody asks all the time.
#[test]
fn questions_find_all_while_two_come_back() {
    for run in 0..if full() { 60 } else { 12 } {
        let sites = [3, 4, 8][usize::try_from(run % 3).expect("it is small")];
        let mut world = World::new(options(seed(3_100 + run), sites, Faults::none()));
        world.start_from_one(300);
        world.run_for(30_000);
        let mut order: Vec<usize> = (0..sites).collect();
        world.rng.shuffle(&mut order);
        let dying = &order[..2];
        // Of each campaign one place has seen a mail, and it is one that dies.
        let campaigns: Vec<Campaign> =
            (0..120).map(|number| Campaign::new(number, 0.0, &mut world.rng)).collect();
        for campaign in &campaigns {
            let mail = campaign.copy(&mut world.rng);
            world.deliver(dying[1], &mail, 500);
            world.run_for(50);
        }
        world.run_for(2_000);
        for at in dying {
            world.crash(*at);
        }
        let gap = world.rng.u64(0..20_000);
        world.run_for(gap);
        for at in dying {
            world.start(*at);
        }
        world.run_for(2_000);
        let since = world.now_ms();
        for campaign in campaigns {
            for at in 0..sites {
                if at == dying[1] {
                    continue;
                }
                let mail = campaign.copy(&mut world.rng);
                world.deliver(at, &mail, 500);
                // One by one: who asks states as well.
                world.run_for(500 / sites as u64);
            }
        }
        world.run_for(5_000);
        let asked = world.asked.values().filter(|asked| asked.at_ms >= since);
        let poor: Vec<_> = asked.filter(|asked| asked.found < asked.truth.min(32)).collect();
        assert!(poor.is_empty(), "run {run}: {sites} sites, {dying:?} died for {gap} ms: {poor:?}");
    }
}

/// Requests under way when a connection breaks are one failure of the peer, however many they are.
#[test]
fn a_broken_connection_is_one_failure() {
    let peers: Vec<Peer> = (0..5).map(Peer::new).collect();
    let mut target = Target::new(&peers, Config::default());
    let other = peers[1].id();
    let up = |target: &Target| {
        target.node.peers(9).iter().find(|peer| peer.node == other).expect("it is known").up
    };
    let sent = |actions: Vec<Action>| -> Vec<(NodeId, RequestId)> {
        let sent = actions.into_iter().filter_map(|action| match action {
            Action::Send { to, request, .. } => Some((to, request)),
            _ => None,
        });
        sent.collect()
    };
    // It was started anew: it is asked who it is now, each time.
    let ask = |target: &mut Target| {
        let asked = sent(target.event(Event::Restarted { peer: other }));
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].0, other);
        asked[0].1
    };
    let asked: Vec<RequestId> = (0..5).map(|_| ask(&mut target)).collect();
    for request in asked {
        target.event(Event::Failed { request, why: Failure::Closed });
    }
    assert!(up(&target));
    // The next one, on a new connection, counts.
    target.now.ms += 50;
    let request = ask(&mut target);
    target.event(Event::Failed { request, why: Failure::Closed });
    assert!(!up(&target));
    assert_eq!(target.node.counters().peers_restarted, 6);
}

/// What the driver could not send is no failure of the peer, which is left alone for a second.
#[test]
fn what_never_left_is_no_failure() {
    let peers: Vec<Peer> = (0..5).map(Peer::new).collect();
    let mut target = Target::new(&peers, Config::default());
    let other = peers[1].id();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut ask = |target: &mut Target| -> Vec<RequestId> {
        let mail = Campaign::new(1, 0.0, &mut rng).copy(&mut rng);
        let probe = Box::new(Probe::new(&mail.digests, None, target.now.wall));
        let (query, known) = (QueryId(rng.u64(..)), Vec::new());
        let event = Event::Query { query, probe, sighting: None, known, deadline_ms: 500 };
        let sent = target.event(event).into_iter().filter_map(|action| match action {
            Action::Send { to, request, .. } if to == other => Some(request),
            _ => None,
        });
        sent.collect()
    };
    let mut under_way: Vec<RequestId> = (0..5).flat_map(|_| ask(&mut target)).collect();
    assert_eq!(under_way.len(), 5);
    for request in under_way.drain(..) {
        let actions = target.event(Event::Failed { request, why: Failure::Unsent });
        assert!(!actions.iter().any(|one| matches!(one, Action::Send { to, .. } if *to == other)));
    }
    let up = |target: &Target| target.node.peers(9).iter().all(|peer| peer.up);
    assert!(up(&target) && ask(&mut target).is_empty());
    target.now.ms += 1_000;
    let mut again = ask(&mut target);
    assert_eq!(again.len(), 1);
    target.event(Event::Failed { request: again.remove(0), why: Failure::Timeout });
    assert!(up(&target), "one failure, and the first");
    assert_eq!(target.node.counters().requests_failed, 6);
}
