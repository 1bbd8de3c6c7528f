//! What a stranger sends: refused, counted, bounded.

use novacula_catalog::node::wire::{
    DIGEST_BUCKETS, FETCH_MAX, Observe, REQUEST_LEN_MAX, Ref, Refusal, Request, Response, Said,
    Standing, Tag,
};
use novacula_catalog::node::{Config, Group, PrefixBits};
use novacula_catalog::{ENTRY_CLASS_MAX, Epoch, Identity, Key, Time};
use novacula_tests::simulation::hostile::{NOW, Peer, Target};
use novacula_tests::simulation::trusted;

fn peers(count: u16) -> Vec<Peer> {
    (0..count).map(Peer::new).collect()
}

fn refusal(response: &Response) -> Option<Refusal> {
    match response {
        Response::Refused { why, .. } => Some(*why),
        _ => None,
    }
}

#[test]
fn rubbish_is_refused_and_its_sender_banned_at_ten() {
    let peers = peers(5);
    let mut target = Target::new(&peers, Config::default());
    let good = Request::Fetch(vec![Tag(1)]).encode();
    let mut frames: Vec<Vec<u8>> = (0..good.len()).map(|len| good[..len].to_vec()).collect();
    frames.push([&good[..], &[0]].concat());
    frames.push(vec![1; REQUEST_LEN_MAX + 1]);
    // Counts far beyond what follows, and beyond their bound.
    frames.push(vec![1, 3, 0xff, 0xff]);
    frames.push([&[1, 2, 0, 0xff, 0xff][..], &[7; 400]].concat());
    frames.push(vec![1, 99]);
    for frame in &frames {
        let answer = target.frame(&peers[0], frame.clone());
        assert!(
            matches!(refusal(&answer), Some(Refusal::Malformed | Refusal::Version)),
            "{answer:?}"
        );
    }
    assert_eq!(target.banned.first(), Some(&peers[0].id()));
    assert_eq!(target.node.counters().frames_malformed, frames.len() as u64);
    assert!(refusal(&target.frame(&peers[1], good)).is_none(), "others are served");
}

#[test]
fn another_version_is_refused_cleanly() {
    let peers = peers(2);
    let mut target = Target::new(&peers, Config::default());
    let mut frame = Request::Fetch(vec![Tag(1)]).encode();
    frame[0] = 2;
    assert_eq!(refusal(&target.frame(&peers[0], frame)), Some(Refusal::Version));
    let newer = Request::Hello { versions: (2, 9), group: Group::Open.id(), record: vec![1] };
    assert_eq!(refusal(&target.frame(&peers[0], newer.encode())), Some(Refusal::Version));
    let elsewhere =
        Request::Hello { versions: (1, 1), group: Group::Key([1; 32]).id(), record: vec![1] };
    assert_eq!(refusal(&target.frame(&peers[0], elsewhere.encode())), Some(Refusal::Group));
    let forged = Request::Hello { versions: (1, 1), group: Group::Open.id(), record: vec![1; 200] };
    assert_eq!(refusal(&target.frame(&peers[0], forged.encode())), Some(Refusal::Record));
    assert!(target.banned.is_empty(), "an honest old peer is not banned");
}

#[test]
fn a_stranger_must_say_hello_first() {
    let mut target = Target::new(&peers(3), Config::default());
    let stranger = Peer::new(777);
    let answer = target.frame(&stranger, Request::Fetch(vec![Tag(1)]).encode());
    assert_eq!(refusal(&answer), Some(Refusal::Stranger));
}

#[test]
fn forged_foreign_future_and_old_statements_are_refused() {
    let peers = peers(6);
    let mut target = Target::new(&peers, Config::default());
    let keys = vec![Key(3), Key(9)];
    let epoch = NOW.epoch();
    let sign = |peer: &Peer, epoch: Epoch, by: &Identity| {
        peer.statement(1, epoch, keys.clone(), false).sign(by)
    };
    let honest = sign(&peers[0], epoch, &peers[0].site);
    let mut altered = honest.clone();
    altered[60] ^= 1;
    let cases = [
        (altered, Standing::False),
        (sign(&peers[0], epoch, &peers[1].site), Standing::False),
        (sign(&peers[1], epoch, &peers[1].site), Standing::False),
        (sign(&peers[0], Epoch(epoch.0 + 2), &peers[0].site), Standing::Clock),
        (sign(&peers[0], Epoch(epoch.0 - 4 * 73), &peers[0].site), Standing::Clock),
        (honest.clone(), Standing::Kept),
        (honest, Standing::Known),
        (sign(&peers[0], Epoch(u32::MAX), &peers[0].site), Standing::Clock),
    ];
    for (signed, expected) in cases {
        assert_eq!(target.state(&peers[0], signed, keys.clone()), Some(expected));
    }
    assert_eq!(target.node.counters().statements_clock, 3);
}

#[test]
fn ten_thousand_replays_count_once() {
    let peers = peers(6);
    let config = Config {
        keys_per_second_peer: u32::MAX,
        keys_per_second_network: u32::MAX,
        ..Config::default()
    };
    let mut target = Target::new(&peers, config);
    let signed = peers[0].statement(5, NOW.epoch(), vec![Key(1)], true).sign(&peers[0].site);
    for _ in 0..10_000 {
        target.state(&peers[0], signed.clone(), vec![Key(1)]);
    }
    assert_eq!(target.node.held(Key(1)).len(), 1);
    // Brought by another, it is refused: a peer states for its own site only.
    assert_eq!(target.state(&peers[1], signed, vec![Key(1)]), Some(Standing::False));
    assert_eq!(target.node.counters().statements_replayed, 9_999);
}

#[test]
fn a_site_that_gives_one_number_twice_is_proved_to() {
    let peers = peers(6);
    let mut target = Target::new(&peers, Config::default());
    let keys = vec![Key(3), Key(9)];
    let one = peers[0].statement(7, NOW.epoch(), keys.clone(), false);
    let two = peers[0].statement(7, NOW.epoch(), vec![Key(3), Key(11)], false);
    target.state(&peers[0], one.sign(&peers[0].site), keys);
    target.state(&peers[0], two.sign(&peers[0].site), vec![Key(3), Key(11)]);
    let proofs: Vec<_> = target.node.equivocators().collect();
    assert_eq!(proofs.len(), 1);
    assert_eq!(proofs[0].0, peers[0].site.site());
    assert_ne!(proofs[0].1.0, proofs[0].1.1);
}

#[test]
fn a_flood_of_keys_pushes_out_itself() {
    let peers = peers(40);
    let most = 20_000;
    let config = Config {
        records_max: most,
        keys_per_second_peer: u32::MAX,
        keys_per_second_network: u32::MAX,
        ..Config::default()
    };
    let mut target = Target::new(&peers, config);
    let mut honest = Vec::new();
    for (number, peer) in peers[1..].iter().enumerate() {
        for at in 0..100u64 {
            let key = Key((number as u64) << 32 | at);
            let said = record(peer, at, key);
            target.frame(peer, said.encode());
            honest.push(key);
        }
    }
    for at in 0..100_000u64 {
        let said = record(&peers[0], at, Key(1 << 60 | at));
        target.frame(&peers[0], said.encode());
    }
    let status = target.node.status();
    assert!(status.records <= most, "{status:?}");
    let lost = honest.iter().filter(|key| target.node.held(**key).is_empty()).count();
    assert!(lost * 100 <= honest.len(), "{lost} of {} honest keys lost", honest.len());
    assert!(target.node.counters().records_dropped > 80_000);
}

fn record(peer: &Peer, seq: u64, key: Key) -> Request {
    let statement = peer.statement(seq, NOW.epoch(), vec![key], false);
    let (mail, epoch, kind) = (statement.mail, statement.epoch, statement.kind);
    let said = Said::Record { mail, seq, epoch, kind, home: key };
    Request::Observe(Observe {
        keys: vec![key],
        ask: 0,
        under: 1,
        said,
        inline: false,
        known: vec![],
    })
}

#[test]
fn a_flood_of_questions_is_held_to_its_quota_and_others_are_served() {
    let peers = peers(10);
    let mut target = Target::new(&peers, Config::default());
    let ask = |key| {
        let said = Said::Nothing;
        Request::Observe(Observe {
            keys: vec![Key(key)],
            ask: 1,
            under: 0,
            said,
            inline: true,
            known: vec![],
        })
        .encode()
    };
    let mut served = 0;
    for second in 0..10 {
        for at in 0..10_000 {
            served += usize::from(refusal(&target.frame(&peers[0], ask(at))).is_none());
        }
        let honest = target.frame(&peers[1], ask(second));
        assert!(refusal(&honest).is_none(), "{honest:?}");
        target.wait(1_000);
    }
    assert!(served <= 2_400 * 21, "{served} of 100,000 served");
    assert_eq!(target.node.counters().quota_refused, 100_000 - served as u64);
}

#[test]
fn offers_of_nothing_are_bounded() {
    let peers = peers(10);
    let config = Config {
        keys_per_second_peer: u32::MAX,
        keys_per_second_network: u32::MAX,
        ..Config::default()
    };
    let mut target = Target::new(&peers, config);
    for round in 0..2_000u64 {
        let refs = (0..256)
            .map(|at| Ref { key: Key(at), tag: Tag(round << 32 | at), home: Key(at) })
            .collect();
        target.frame(&peers[0], Request::Offer { here: true, refs }.encode());
    }
    target.wait(1_000);
    assert!(target.node.status().records == 0, "nothing is taken without a signature");
    let sums = [1; DIGEST_BUCKETS];
    let all = Request::Digest { first: Key(0), last: Key(u64::MAX), sums }.encode();
    assert!(refusal(&target.frame(&peers[0], all)).is_none());
    let backwards = Request::Digest { first: Key(9), last: Key(1), sums }.encode();
    assert!(refusal(&target.frame(&peers[0], backwards)).is_none());
    let many = Request::Fetch((0..FETCH_MAX as u64).map(Tag).collect()).encode();
    assert!(refusal(&target.frame(&peers[0], many)).is_none());
}

#[test]
fn clocks_far_off_never_panic() {
    let peers = peers(3);
    for wall in [0, 1, 900, NOW.0 * 2, u64::from(u32::MAX) * 900, u64::MAX / 2, u64::MAX] {
        let mut target = Target::new(&peers, Config::default());
        target.now.wall = Time(wall);
        target.now.ms = u64::MAX / 2;
        let signed = peers[0].statement(5, NOW.epoch(), vec![Key(1)], true).sign(&peers[0].site);
        let _ = target.state(&peers[0], signed, vec![Key(1)]);
        target.now.wall = Time(NOW.0 - 7_200);
        let _ = target.frame(&peers[0], Request::Fetch(vec![Tag(1)]).encode());
    }
}

#[test]
fn a_private_network_lets_in_who_knows_the_key_or_is_on_the_list() {
    let (insider, outsider) = (Peer::new(1), Peer::new(2));
    let key = Group::Key([1; 32]);
    let list = Group::Sites([insider.site.site()].into());
    for group in [key, list] {
        let mut target = Target::new(&[], Config { group: group.clone(), ..Config::default() });
        let badge = match &group {
            Group::Sites(_) => group.clone(),
            // He knows the group's id, which everybody may see, and no more.
            _ => Group::Open,
        };
        let refused = target.frame(&outsider, outsider.hello(&group, &badge).encode());
        assert_eq!(refusal(&refused), Some(Refusal::Group));
        let borrowed = target.frame(&outsider, insider.hello(&group, &group).encode());
        assert_eq!(refusal(&borrowed), Some(Refusal::Record), "another's record");
        let welcome = target.frame(&insider, insider.hello(&group, &group).encode());
        assert!(matches!(welcome, Response::Welcome { version: 1, .. }), "{welcome:?}");
    }
}

#[test]
fn two_nodes_speak_the_highest_version_that_both_know() {
    let peer = Peer::new(1);
    for (ours, theirs, spoken) in [
        ((1, 1), (1, 2), Some(1)),
        ((1, 2), (1, 1), Some(1)),
        ((1, 2), (1, 2), Some(2)),
        ((1, 1), (2, 2), None),
        ((2, 2), (1, 1), None),
        ((1, 1), (2, 1), None),
    ] {
        let mut target = Target::new(&[], Config { versions: ours, ..Config::default() });
        let Request::Hello { group, record, .. } = peer.hello(&Group::Open, &Group::Open) else {
            unreachable!()
        };
        let hello = Request::Hello { versions: theirs, group, record };
        let answer = target.frame(&peer, hello.encode());
        let expected = spoken.ok_or(Refusal::Version);
        let found = match &answer {
            Response::Welcome { version, .. } => Ok(*version),
            Response::Refused { why, .. } => Err(*why),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{ours:?} and {theirs:?}");
        let refused = target.node.counters().versions_refused;
        assert_eq!(refused, u64::from(spoken.is_none()), "{ours:?} and {theirs:?}");
    }
}

#[test]
fn a_host_keeps_to_its_lane() {
    let first = Peer::new(0);
    let mut peers = peers(4);
    let host = Peer { host: Peer::new(10).host, site: first.site };
    peers.push(host);
    let lane = 7;
    let mut target = Target::in_lanes(&peers, &[(4, lane)], Config::default());
    let host = &peers[4];
    let say = |seq: u64| host.record_of(&host.statement(seq, NOW.epoch(), vec![Key(1)], false));
    let standing = |answer| match answer {
        Response::Observed { standing, .. } => Some(standing),
        _ => None,
    };
    let own = target.frame(host, say(5 << 16 | u64::from(lane)));
    assert_eq!(standing(own), Some(Standing::Kept));
    let other = target.frame(host, say(5 << 16));
    assert_eq!(standing(other), Some(Standing::False), "the number of the host with the key");
    assert_eq!(target.node.counters().statements_foreign, 1);
}

#[test]
fn many_hosts_of_one_site_are_one_site() {
    let mut peers = peers(4);
    peers.extend(
        (10..15).map(|number| Peer { host: Peer::new(number).host, site: Peer::new(0).site }),
    );
    let mut target = Target::new(&peers, Config::default());
    for (seq, host) in peers[4..].iter().enumerate() {
        let statement = host.statement(seq as u64, NOW.epoch(), vec![Key(1)], true);
        let standing = target.state(host, statement.sign(&host.site), vec![Key(1)]);
        assert_eq!(standing, Some(Standing::Kept));
    }
    let sites: std::collections::BTreeSet<_> =
        target.node.held(Key(1)).into_iter().map(|(site, ..)| site).collect();
    assert_eq!(sites, [peers[0].site.site()].into());
    // A host of another site does not speak for this one.
    let claimed = peers[4].statement(9, NOW.epoch(), vec![Key(1)], true).sign(&peers[4].site);
    assert_eq!(target.state(&peers[1], claimed, vec![Key(1)]), Some(Standing::False));
}

/// Ten thousand identities fill a key from as many networks, earlier than three honest reports: at
/// a holder whose agent trusts the three sites they are held, pointed to first, and fetched.
fn three_outlast_a_flood(opinions: bool) {
    const FLOOD: u16 = 10_000;
    let peers = peers(FLOOD + 4);
    let config = Config {
        keys_per_second_peer: u32::MAX,
        keys_per_second_network: u32::MAX,
        keys_per_second_all: u32::MAX,
        prefix: PrefixBits { v4: 24, v6: 32 },
        ..Config::default()
    };
    let mut target = Target::new(&peers, config);
    let (flood, rest) = peers.split_at(usize::from(FLOOD));
    let (honest, asker) = (&rest[..3], &rest[3]);
    target.event(trusted(honest.iter().map(|peer| peer.site.site())));
    let back = Time(NOW.0 - 24 * 3600).epoch();
    let say = |target: &mut Target, peer: &Peer, epoch, opinion| {
        let said = peer.statement(1, epoch, vec![Key(5)], opinion);
        let (mail, kind, home) = (said.mail, said.kind, Key(5));
        let said = Said::Record { mail, seq: 1, epoch, kind, home };
        let (keys, known) = (vec![Key(5)], Vec::new());
        let observe = Observe { keys, ask: 0, under: 1, said, inline: false, known };
        target.frame(peer, Request::Observe(observe).encode());
    };
    say(&mut target, &honest[0], NOW.epoch(), true);
    flood.iter().for_each(|peer| say(&mut target, peer, back, opinions));
    honest[1..].iter().for_each(|peer| say(&mut target, peer, NOW.epoch(), true));
    let (keys, known, said) = (vec![Key(5)], Vec::new(), Said::Nothing);
    let ask = Observe { keys, ask: 1, under: 0, said, inline: false, known };
    let answer = target.frame(asker, Request::Observe(ask).encode());
    let Response::Observed { pointers, .. } = answer else { panic!("{answer:?}") };
    let wanted: Vec<Tag> = honest.iter().map(|peer| Tag::of(peer.site.site(), 1)).collect();
    let trusted = pointers.iter().filter(|one| one.trusted && wanted.contains(&one.tag));
    assert_eq!(trusted.count(), 3, "flood of opinions: {opinions}");
    assert!(pointers.len() <= 2 * ENTRY_CLASS_MAX + 3, "{}", pointers.len());
}

#[test]
fn three_honest_reports_outlast_ten_thousand_back_dated_sightings() {
    three_outlast_a_flood(false);
}

#[test]
fn three_honest_reports_outlast_ten_thousand_back_dated_opinions() {
    three_outlast_a_flood(true);
}
