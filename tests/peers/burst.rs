//! Many questions at once to one peer, over real sockets: more than one connection carries wait for
//! their turn, and none of them is held against the peer.

use std::time::{Duration, Instant};

use futures::future::join_all;
use novacula_catalog::Probe;
use novacula_catalog::node::{Completeness, Config};
use novacula_net::{Handle, View};
use novacula_tests::simulation::hostile::{NOW, Peer};
use novacula_tests::simulation::mail::Campaign;
use novacula_tests::wire::{Client, STREAMS, address_of, live, runtime};

/// Questions at once: four times what one connection carries, and some.
const BURST: u64 = 300;
/// Longest wait for two nodes to meet, and for an answer on a machine that does other things too.
const MEET_TIME_MAX: Duration = Duration::from_secs(20);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

async fn view(handle: &Handle) -> View {
    handle.view(9).await.unwrap()
}

/// So many questions at once, each about another mail; how complete each answer was.
async fn ask(handle: &Handle, seed: u64, count: u64) -> Vec<Completeness> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let questions: Vec<Probe> = (0..count)
        .map(|number| {
            let mail = Campaign::new(number, 0.0, &mut rng).copy(&mut rng);
            Probe::new(&mail.digests, None, NOW)
        })
        .collect();
    let asked =
        questions.into_iter().map(|probe| handle.query(probe, None, Vec::new(), ANSWER_TIME_MAX));
    join_all(asked).await.into_iter().map(|answer| answer.completeness).collect()
}

/// Both ask each other: what one asks takes no room from what it is asked.
#[test]
fn a_burst_of_questions_waits_for_its_turn() {
    for over in ["/quic-v1", "/tcp/"] {
        runtime().block_on(async {
            let (one, _one_told) = live(Peer::new(1), Config::default());
            let bootstrap = vec![address_of(&one, over).await.to_string()];
            let (two, _two_told) = live(Peer::new(2), Config { bootstrap, ..Config::default() });
            let started = Instant::now();
            while view(&one).await.status.placed < 2 || view(&two).await.status.placed < 2 {
                assert!(started.elapsed() < MEET_TIME_MAX, "they do not meet over {over}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let started = Instant::now();
            let (first, second) = futures::join!(ask(&one, 1, BURST), ask(&two, 2, BURST));
            println!("{over}: {BURST} questions each way in {:?}", started.elapsed());
            for (node, answers) in [(&one, first), (&two, second)] {
                let seen = view(node).await;
                let (counters, peer) = (&seen.counters, &seen.peers[0]);
                println!("{over}: {:?}", seen.counts);
                assert_eq!(counters.requests_failed, 0, "{over}: {counters:?}");
                assert_eq!(answers, vec![Completeness::Complete; BURST as usize], "{over}");
                assert!(peer.up && peer.connected, "{over}: {peer:?}");
            }
        });
    }
}

/// Questions to one that never answers: more than what may be under way and wait.
const FLOOD: u64 = 2_000;
/// What may wait (`LINE_MAX`); beyond, one a second is tried, and what the node asks for itself.
const LINE: u64 = 1_024;
const BEYOND_MAX: u64 = 100;
/// Until all of them are given up: 3 s, and some.
const SILENCE: Duration = Duration::from_secs(5);

/// It counts as down for what it left unanswered, and what waits for it stays within its bound.
#[test]
fn what_a_silent_peer_holds_up_is_bounded() {
    runtime().block_on(async {
        let (node, _told) = live(Peer::new(60_000), Config::default());
        let address = address_of(&node, "/tcp/").await;
        let mut silent = Client::join(1, &address).await;
        let before = view(&node).await;
        assert_eq!((before.status.placed, before.peers[0].placed), (1, true), "{before:?}");
        let asked = futures::join!(ask(&node, 1, FLOOD), silent.keep_silent(SILENCE));
        let (counters, counts) = (view(&node).await.counters, view(&node).await.counts);
        println!("{} came; {counts:?}", asked.1);
        assert!(asked.1 <= STREAMS, "{}", asked.1);
        assert!(asked.0.iter().all(|one| *one != Completeness::Deadline), "all are over by then");
        let unsent = counts.requests_unsent;
        assert!((LINE..=LINE + BEYOND_MAX).contains(&unsent), "{counts:?}");
        assert_eq!(counts.lined_up_most, LINE, "{counts:?}");
        assert!(counters.requests_withheld > 500, "{counters:?}");
        assert!(!view(&node).await.peers[0].up);
    });
}
