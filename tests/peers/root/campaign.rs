//! Eight sites find each other from one address; a campaign that three have seen is known at a
//! fourth; and when the first host is gone, one that was there before still finds in.

use std::time::Duration;

use novacula_client::{Asked, Verdict};
use novacula_tests::harness::Place;
use novacula_tests::rig::wait_until;

use super::internet::Internet;
use super::sites::{Voice, quantile, serve, wait_met};

/// One way; 20 ms there and back.
const LINK: Duration = Duration::from_millis(10);
/// Campaigns whose answers are timed.
const CAMPAIGNS: u64 = 40;

#[test]
fn eight_sites_meet_and_share_a_campaign() {
    let internet = Internet::new(9, LINK);
    let places: Vec<Place> = (0..9).map(|_| Place::new()).collect();
    let mut daemons: Vec<_> = (1..=8).map(|n| serve(&places[n - 1], internet.site(n), n)).collect();
    let mut voices: Vec<Voice> = places[..8].iter().map(Voice::of).collect();
    let met = wait_met(&mut voices, 8, Duration::from_secs(30));
    println!("8 sites know and place each other {met:?} after the last one started");

    let mut times = Vec::new();
    for number in 0..CAMPAIGNS {
        for voice in &mut voices[..3] {
            voice.deliver(number);
        }
        let (answer, took) = voices[3].deliver(number);
        assert_eq!(answer.verdict, Verdict::Bulk, "campaign {number}: {answer:?}");
        assert_eq!(answer.spread, 4, "campaign {number}: {answer:?}");
        times.push(took);
    }
    let (median, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    println!("known at the fourth site: median {median:?}, p99 {p99:?} over {CAMPAIGNS}");
    assert!(median < Duration::from_millis(100), "median {median:?}");
    assert!(p99 < Duration::from_millis(500), "p99 {p99:?}");

    // The outbreak is announced: a fifth site answers from home.
    let before = voices[4].counter("queries");
    let mut fifth = None;
    wait_until("the outbreak is announced", Duration::from_secs(5), || {
        let learned = voices[4].counter("hot_learned");
        learned >= 3 * CAMPAIGNS && {
            fifth = Some(voices[4].deliver(CAMPAIGNS - 1));
            true
        }
    });
    let (answer, took) = fifth.unwrap();
    assert_eq!((answer.verdict, answer.asked), (Verdict::Bulk, Asked::Known), "{answer:?}");
    assert!(answer.spread >= 4, "{answer:?}");
    assert_eq!(voices[4].counter("queries"), before, "no question went out");
    println!("fifth site, from the announcements: {took:?}");

    a_ninth_finds_in(&internet, &places, &mut daemons, &mut voices);
}

/// It was there, so its address book knows others than the first host, which is dead now.
fn a_ninth_finds_in<'a>(
    internet: &Internet,
    places: &'a [Place],
    daemons: &mut Vec<novacula_tests::harness::Daemon<'a>>,
    voices: &mut [Voice],
) {
    let ninth = serve(&places[8], internet.site(9), 9);
    let mut voice = Voice::of(&places[8]);
    wait_until("the ninth is in", Duration::from_secs(15), || {
        voice.status().peers.is_some_and(|state| state.placed == 9)
    });
    // The address book is written within a second.
    std::thread::sleep(Duration::from_millis(1_500));
    ninth.kill();
    daemons.remove(0).kill();

    let _ninth = serve(&places[8], internet.site(9), 9);
    let mut voice = Voice::of(&places[8]);
    wait_until("the ninth is in again", Duration::from_secs(20), || {
        voice.status().peers.is_some_and(|state| state.connected >= 1 && state.up >= 8)
    });
    voices[1].deliver(1_000);
    voices[2].deliver(1_000);
    let (answer, _) = voice.deliver(1_000);
    assert!(answer.places.len() >= 2, "{answer:?}");
    assert!(voice.peers().peers.iter().any(|peer| peer.connected));
}
