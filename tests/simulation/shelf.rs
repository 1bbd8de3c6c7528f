//! What a holder says that it trusts opens places for the asker, beyond those that anybody fills.

use novacula_catalog::node::wire::{Pointer, Request, Response, Standing, Tag};
use novacula_catalog::node::{Action, Config, Event, QueryId, RequestId};
use novacula_catalog::{Digest, Engine, Key, Probe, Time};
use novacula_tests::simulation::hostile::{NOW, Peer, Target};

/// When a week has long begun, so that the mail has one key.
const MIDWEEK: Time = Time(NOW.0 + 50 * 3600);
/// Statements fetched for one question, whoever points to them; and beyond that for one answer,
/// of sites that the answerer trusts (docs/peers.md, "Bounds").
const FETCHES_MAX: usize = 64;
const TRUSTED_FETCHES: usize = 16;

fn requests(actions: Vec<Action>) -> Vec<(RequestId, Request)> {
    let sent = actions.into_iter().filter_map(|action| match action {
        Action::Send { request, frame, .. } => {
            Some((request, Request::decode(&frame).expect("a true frame")))
        }
        _ => None,
    });
    sent.collect()
}

/// Answers a request with pointers to opinions that share the mail's one key; gives which of them
/// are fetched then.
fn answer(
    target: &mut Target,
    request: RequestId,
    tags: std::ops::Range<u64>,
    trusted: bool,
) -> Vec<Tag> {
    let pointer =
        |tag| Pointer { tag: Tag(tag), home: Key(1), opinion: true, here: true, trusted, under: 1 };
    let response = Response::Observed {
        standing: Standing::Nothing,
        keys: 1,
        pointers: tags.map(pointer).collect(),
        statements: Vec::new(),
    };
    let actions = target.event(Event::Response { request, frame: response.encode() });
    let fetched = requests(actions).into_iter().filter_map(|(_, request)| match request {
        Request::Fetch(tags) => Some(tags),
        _ => None,
    });
    fetched.flatten().collect()
}

#[test]
fn a_flood_of_pointers_does_not_keep_the_asker_from_what_holders_trust() {
    let peers: Vec<Peer> = (0..40).map(Peer::new).collect();
    let mut target = Target::new(&peers, Config::default());
    let digest = Digest { engine: Engine::Exact, weak: false, value: 77 };
    let probe = Box::new(Probe::new(&[digest], None, MIDWEEK));
    assert_eq!(probe.keys().count(), 1);
    let event = Event::Query {
        query: QueryId(1),
        probe,
        sighting: None,
        known: Vec::new(),
        deadline_ms: 60_000,
    };
    let asked = requests(target.event(event));
    let asked: Vec<RequestId> = asked.into_iter().map(|(request, _)| request).collect();
    assert!(asked.len() >= 5, "six hold the key, of whom the target may be one");
    // Two liars point to more than the asker fetches for one mail.
    let fetched = answer(&mut target, asked[0], 1_000..1_040, false);
    assert_eq!(fetched.len(), 40);
    let fetched = answer(&mut target, asked[1], 2_000..2_100, false);
    assert_eq!(fetched.len(), FETCHES_MAX - 40);
    assert_eq!(answer(&mut target, asked[2], 3_000..3_010, false), []);
    // A holder names three of sites that it trusts: all are fetched.
    let mut fetched = answer(&mut target, asked[3], 4_000..4_003, true);
    fetched.sort_unstable();
    assert_eq!(fetched, [Tag(4_000), Tag(4_001), Tag(4_002)]);
    // One that calls everything trusted gets so many places and no more.
    assert_eq!(answer(&mut target, asked[4], 5_000..5_100, true).len(), TRUSTED_FETCHES);
}
