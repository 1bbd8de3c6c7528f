//! Two of three sites die without a word and come back at once, and once more: questions to them and
//! from them are answered as before, they hold keys as before, and what they announce is heard. (A
//! crash closes no QUIC connection: who was connected took the dead one for alive for ten seconds, half
//! of all requests went there, and the new program heard and was heard in no gossip. As the first record
//! of each start had no address, who died twice within a second held no keys in the eyes of the third
//! site for a minute.)

use std::time::{Duration, Instant};

use novacula_tests::harness::{Daemon, Place};
use novacula_tests::is_full;
use novacula_tests::rig::wait_until;

use super::internet::Internet;
use super::sites::{Voice, serve, wait_met};

const LINK: Duration = Duration::from_millis(2);
/// Mails that one of the dying has seen; each is asked for once, half a second apart.
const MAILS: u64 = 16;
/// Longest time of a question whose requests all are answered. One that is not costs the deadline,
/// 500 ms.
const QUESTION_TIME_MAX: Duration = Duration::from_millis(400);
/// Longest time until all three count all as holders.
const MEET_TIME_MAX: Duration = Duration::from_secs(5);
/// Most requests that fail at all three together: what was under way when the connections were made
/// anew.
const FAILED_MAX: u64 = 6;

#[test]
fn who_comes_back_is_asked_and_heard_at_once() {
    for round in 0..if is_full() { 6 } else { 2 } {
        one_round(round);
    }
}

fn one_round(round: u64) {
    let mut rng = fastrand::Rng::with_seed(round);
    let internet = Internet::new(3, LINK);
    let places: Vec<Place> = (0..3).map(|_| Place::new()).collect();
    let mut daemons: Vec<Option<Daemon<'_>>> =
        (1..=3).map(|n| Some(serve(&places[n - 1], internet.site(n), n))).collect();
    let mut voices: Vec<Voice> = places.iter().map(Voice::of).collect();
    wait_met(&mut voices, 3, Duration::from_secs(30));
    let survivor = rng.usize(..3);
    let (other, sayer) = ((survivor + 1) % 3, (survivor + 2) % 3);
    for number in 0..MAILS {
        voices[sayer].deliver(number);
    }
    std::thread::sleep(Duration::from_secs(1));
    let mut die = |voices: &mut [Voice], away_ms| {
        for at in [other, sayer] {
            daemons[at].take().unwrap().kill();
        }
        std::thread::sleep(Duration::from_millis(away_ms));
        for at in [other, sayer] {
            daemons[at] = Some(serve(&places[at], internet.site(at + 1), at + 1));
            voices[at] = Voice::of(&places[at]);
        }
    };
    let away_ms = rng.u64(0..2_000);
    die(&mut voices, away_ms);
    // Long enough to say who they are, and no more.
    std::thread::sleep(Duration::from_millis(rng.u64(300..600)));
    die(&mut voices, 0);
    let failed_before = voices[survivor].counter("requests_failed");

    let started = Instant::now();
    wait_met(&mut voices, 3, MEET_TIME_MAX);
    let met = started.elapsed();
    let mut longest = Duration::ZERO;
    for number in 0..MAILS {
        for at in [survivor, other] {
            let asked = Instant::now();
            let answer = voices[at].ask(number);
            assert_eq!(answer.spread, 1, "round {round}: mail {number} at site {}", at + 1);
            // The first ones may meet a connection that is being closed.
            if number > 1 {
                longest = longest.max(asked.elapsed());
            }
        }
        let next = Duration::from_millis(500 * (number + 1));
        std::thread::sleep(next.saturating_sub(started.elapsed()));
    }
    let failed: u64 = voices.iter_mut().map(|voice| voice.counter("requests_failed")).sum();
    let failed = failed - failed_before;
    println!(
        "round {round}: two of three were away for {away_ms} ms; all were counted as holders after {met:?}, in {:?} {failed} requests failed, and the longest question took {longest:?}",
        started.elapsed()
    );

    // Whoever delivers third announces the outbreak, and who never died hears it.
    for at in [survivor, other, sayer] {
        voices[at].deliver(1_000 + round);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(voices[sayer].counter("hot_announced"), 1);
    wait_until("the announcement is heard", Duration::from_secs(10), || {
        voices[survivor].counter("hot_learned") > 0
    });
    assert!(longest < QUESTION_TIME_MAX && failed <= FAILED_MAX);
    assert!(voices[survivor].counter("peers_restarted") >= 1, "it noticed");
}
