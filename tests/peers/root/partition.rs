//! Four sites are cut from four others while people report on both sides; once they reach each
//! other again all say the same, with no report lost or counted twice.

use std::time::{Duration, Instant};

use novacula_tests::harness::Place;
use novacula_tests::is_full;

use super::internet::Internet;
use super::sites::{Voice, serve, wait_met};

const LINK: Duration = Duration::from_millis(5);
/// DESIGN: equal within two minutes after the heal.
const HEAL_TIME_MAX: Duration = Duration::from_secs(120);
/// Mails that are spoken of.
const MAILS: u64 = 12;

#[test]
fn a_partition_heals_without_loss() {
    let cut = Duration::from_secs(if is_full() { 300 } else { 30 });
    let internet = Internet::new(8, LINK);
    let places: Vec<Place> = (0..8).map(|_| Place::new()).collect();
    let _daemons: Vec<_> = (1..=8).map(|n| serve(&places[n - 1], internet.site(n), n)).collect();
    let mut voices: Vec<Voice> = places.iter().map(Voice::of).collect();
    wait_met(&mut voices, 8, Duration::from_secs(30));

    // Mail m comes to all sites; it is reported at site m mod 8 and at one of the other half.
    for number in 0..MAILS {
        for voice in &mut voices {
            voice.deliver(number);
        }
    }
    internet.cut_at(5);
    let started = Instant::now();
    for number in 0..MAILS {
        for at in reporters(number) {
            assert!(
                voices[at].report(number),
                "a report is acknowledged whatever the network does"
            );
        }
        std::thread::sleep(cut / u32::try_from(MAILS).unwrap() / 2);
    }
    std::thread::sleep(cut.saturating_sub(started.elapsed()));
    internet.cut_at(0);

    let healed = Instant::now();
    loop {
        let wrong = differences(&mut voices);
        if wrong.is_empty() {
            break;
        }
        assert!(healed.elapsed() < HEAL_TIME_MAX, "after {HEAL_TIME_MAX:?}: {wrong:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("cut for {cut:?}; all 8 sites agree {:?} after the heal", healed.elapsed());
}

fn reporters(number: u64) -> [usize; 2] {
    let first = usize::try_from(number % 8).unwrap();
    [first, (first + 4) % 8]
}

/// What sites say that is not what happened: site, mail, reports, spread.
fn differences(voices: &mut [Voice]) -> Vec<(usize, u64, u32, u32)> {
    let mut wrong = Vec::new();
    for (at, voice) in voices.iter_mut().enumerate() {
        for number in 0..MAILS {
            let answer = voice.ask(number);
            let places = answer.places.len();
            if (answer.reports, answer.spread, places) != (2, 8, 8) {
                wrong.push((at + 1, number, answer.reports, answer.spread));
            }
        }
    }
    wrong
}
