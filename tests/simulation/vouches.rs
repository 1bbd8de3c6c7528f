//! Lists of vouches and proofs of equivocation reach everybody, late comers too, and nothing false
//! does.

use novacula_catalog::node::wire::{Gossip, MEMBER_BUCKETS, Request, Response};
use novacula_catalog::node::{
    Action, CallId, Config, Event, Failure, GossipId, NodeId, RequestId, Topic,
};
use novacula_catalog::{
    Copies, Facts, Identity, Key, Kind, MailId, SiteId, Statement, Time, VOUCH_KEEP_SECS, VouchList,
};
use novacula_tests::simulation::hostile::{NOW, Peer, Target};
use novacula_tests::simulation::scenario::options;
use novacula_tests::simulation::{Faults, World};

fn list(by: &Identity, made: Time, whom: &[u8]) -> Vec<u8> {
    let whom = whom.iter().map(|number| SiteId([*number; 32]));
    VouchList::new(by.site(), made, whom).sign(by)
}

/// Whom the node says that `of` vouches for.
fn held(target: &mut Target, asker: &Peer, of: &Identity) -> Option<VouchList> {
    let ask = Request::Vouches { after: SiteId([0; 32]), sums: Box::new([1; MEMBER_BUCKETS]) };
    let Response::VouchLists { lists, .. } = target.frame(asker, ask.encode()) else {
        panic!("it answers");
    };
    let lists = lists.iter().map(|signed| VouchList::decode_verified(signed).expect("a true list"));
    lists.into_iter().find(|list| list.site == of.site())
}

fn hear(target: &mut Target, from: &Peer, gossip: &Gossip) {
    let event = Event::Gossip {
        from: from.id(),
        id: GossipId(1),
        topic: Topic::Members,
        frame: gossip.encode(),
    };
    target.event(event);
}

#[test]
fn only_a_later_true_and_timely_list_of_somebody_known_is_taken() {
    let peers: Vec<Peer> = (0..5).map(Peer::new).collect();
    let mut target = Target::new(&peers, Config::default());
    let site = &peers[1].site;
    let mut say = |signed: Vec<u8>| {
        hear(&mut target, &peers[0], &Gossip::Vouches(signed));
        held(&mut target, &peers[2], site).map(|list| list.sites().to_vec())
    };
    let of = |number: u8| Some(vec![SiteId([number; 32])]);
    assert_eq!(say(list(site, Time(NOW.0 + 3_600), &[9])), None, "from the future");
    let old = Time(NOW.0 - VOUCH_KEEP_SECS - 60);
    assert_eq!(say(list(site, old, &[9])), None, "not renewed");
    assert_eq!(say(list(site, NOW, &[1])), of(1));
    assert_eq!(say(list(site, Time(NOW.0 - 60), &[2])), of(1), "an older one");
    let forged = VouchList::new(site.site(), Time(NOW.0 + 60), [SiteId([3; 32])]);
    assert_eq!(say(forged.sign(&peers[0].site)), of(1), "forged");
    assert_eq!(say(list(site, Time(NOW.0 + 60), &[4])), of(4));
    let stranger = Identity::from_seed(&[77; 32]);
    hear(&mut target, &peers[0], &Gossip::Vouches(list(&stranger, NOW, &[5])));
    assert!(held(&mut target, &peers[2], &stranger).is_none(), "nobody knows him");
    let named = VouchList::new(site.site(), Time(NOW.0 + 90), [stranger.site()]).sign(site);
    hear(&mut target, &peers[0], &Gossip::Vouches(named));
    hear(&mut target, &peers[0], &Gossip::Vouches(list(&stranger, NOW, &[5])));
    assert!(held(&mut target, &peers[2], &stranger).is_some(), "somebody vouches for him");
    let counters = target.node.counters();
    assert_eq!((counters.vouches_refused, counters.vouches_false), (3, 1));
}

/// Whom the node asks for his table.
fn asks(actions: Vec<Action>) -> Option<(NodeId, RequestId)> {
    actions.into_iter().find_map(|action| match action {
        Action::Send { to, request, frame, .. } => {
            let asks = matches!(Request::decode(&frame), Ok(Request::Vouches { .. }));
            asks.then_some((to, request))
        }
        _ => None,
    })
}

#[test]
fn who_has_another_table_and_does_not_answer_is_asked_again() {
    let peers: Vec<Peer> = (0..40).map(Peer::new).collect();
    let mut target = Target::new(&peers, Config::default());
    // Its own first comparison finds nothing new.
    target.now.ms = 60_000;
    let (_, request) = asks(target.event(Event::Tick)).expect("it compares");
    let same = Response::VouchLists { more: false, lists: Vec::new(), proofs: Vec::new() };
    target.event(Event::Response { request, frame: same.encode() });
    target.now.ms = 120_000;
    let ask = Request::Vouches { after: SiteId([0; 32]), sums: Box::new([1; MEMBER_BUCKETS]) };
    let peer = peers[3].id();
    let request = Event::Request { peer, call: CallId(9), frame: ask.encode() };
    let mut asked = asks(target.event(request));
    for _ in 0..3 {
        let (to, request) = asked.expect("it asks");
        assert_eq!(to, peer);
        target.event(Event::Failed { request, why: Failure::Timeout });
        target.now.ms += 1_000;
        asked = asks(target.event(Event::Tick));
    }
    assert_eq!(asked, None, "who is gone is let be in the end");
}

/// A refusal was once counted also where room was made and the list was taken.
#[test]
fn where_room_is_made_nothing_counts_as_refused() {
    let peers: Vec<Peer> = (0..5).map(Peer::new).collect();
    let own = Target::own().site;
    // Home vouches for the second peer, and nobody for the third.
    let home = VouchList::new(own.site(), NOW, [peers[1].site.site()]).sign(&own);
    let mut lists = vec![home];
    // As many lists of others as a node holds; what was held at the last start was checked then.
    lists.extend((1..20_000u32).map(|number| {
        let mut key = [0xee; 32];
        key[28..].copy_from_slice(&number.to_be_bytes());
        let list = VouchList::new(SiteId(key), NOW, []);
        list.sign(&own)
    }));
    let mut target = Target::holding(&peers, &[], lists, Config::default());
    assert_eq!(target.node.counters().vouch_lists, 20_000);
    let refused = |target: &Target| target.node.counters().vouches_refused;
    hear(&mut target, &peers[0], &Gossip::Vouches(list(&peers[1].site, NOW, &[9])));
    assert_eq!((target.node.counters().vouches_taken, refused(&target)), (1, 0));
    hear(&mut target, &peers[0], &Gossip::Vouches(list(&peers[2].site, NOW, &[9])));
    assert_eq!((target.node.counters().vouches_taken, refused(&target)), (1, 1));
    assert_eq!(target.node.counters().vouch_lists, 20_000);
}

#[test]
fn lists_and_proofs_reach_everybody_and_who_comes_later() {
    let mut world = World::new(options(5, 30, Faults::all()));
    world.start_from_one(100);
    world.run_for(60_000);
    world.crash(29);
    for site in 0..29 {
        let of = &world.sites[site];
        let whom = [(site + 1) % 30, (site + 2) % 30].map(|other| world.sites[other].id());
        let signed =
            VouchList::new(of.id(), world.time(), whom).sign(of.speaker.site_key().unwrap());
        world.event(site, Event::Vouch { signed });
    }
    world.run_for(60_000);
    // One site gives a number to two statements; its replicas notice.
    let liar = world.sites[7].id();
    for keys in [vec![Key(3), Key(9)], vec![Key(3), Key(11)]] {
        let at = &world.sites[7];
        let epoch = world.time().epoch();
        let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
        let said = Statement::new(liar, MailId(900), 900, epoch, keys, kind);
        let signed = at.speaker.sign(&said);
        world.event(7, Event::Publish { signed });
        world.run_for(60_000);
    }
    world.start(29);
    world.run_for(1_300_000);
    for (number, site) in world.sites.iter().enumerate() {
        let node = site.node.as_ref().expect("it runs");
        assert_eq!(node.counters().vouch_lists, 29, "site {number}");
        let proved: Vec<SiteId> = node.equivocators().map(|(site, _)| site).collect();
        assert_eq!(proved, [liar], "site {number}");
        assert_eq!((site.disk.proofs.len(), site.disk.vouches.len() >= 28), (1, true));
    }
}
