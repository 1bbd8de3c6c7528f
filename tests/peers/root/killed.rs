//! Any two of eight sites die while people report: what was acknowledged is not lost.

use std::time::{Duration, Instant};

use novacula_tests::harness::{Daemon, Place};
use novacula_tests::is_full;

use super::internet::Internet;
use super::sites::{Voice, serve, wait_met};

const LINK: Duration = Duration::from_millis(2);
/// Reports in one run.
const REPORTS: u64 = 40;
/// Longest wait until all reports are known everywhere.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);

#[test]
fn no_acknowledged_report_is_lost_when_two_of_eight_die() {
    for run in 0..if is_full() { 5 } else { 1 } {
        one_run(run);
    }
}

fn one_run(run: u64) {
    println!("run {run}");
    let mut rng = fastrand::Rng::with_seed(run);
    let internet = Internet::new(8, LINK);
    let places: Vec<Place> = (0..8).map(|_| Place::new()).collect();
    let mut daemons: Vec<Option<Daemon<'_>>> =
        (1..=8).map(|n| Some(serve(&places[n - 1], internet.site(n), n))).collect();
    let mut voices: Vec<Voice> = places.iter().map(Voice::of).collect();
    wait_met(&mut voices, 8, Duration::from_secs(30));

    let (first, second) = (rng.usize(..8), rng.usize(1..8));
    let dying = [first, (first + second) % 8];
    let when: Vec<u64> = dying.iter().map(|_| rng.u64(5..REPORTS - 5)).collect();
    let mut acknowledged = Vec::new();
    for number in 0..REPORTS {
        for (at, moment) in dying.into_iter().zip(&when) {
            if number == *moment {
                daemons[at].take().unwrap().kill();
            }
        }
        let at = usize::try_from(number % 8).unwrap();
        if daemons[at].is_some() && voices[at].report(run * 1_000 + number) {
            acknowledged.push((at, run * 1_000 + number));
        }
    }
    // The dead come back with what they had on their disks.
    for at in dying {
        daemons[at] = Some(serve(&places[at], internet.site(at + 1), at + 1));
        voices[at] = Voice::of(&places[at]);
    }
    let started = Instant::now();
    loop {
        let lost = lost(&mut voices, &acknowledged);
        if lost.is_empty() {
            break;
        }
        let count = lost.len();
        assert!(started.elapsed() < SETTLE_TIME_MAX, "{count} lost, such as {:?}", lost[0]);
        std::thread::sleep(Duration::from_millis(500));
    }
    println!(
        "sites {dying:?} killed at reports {when:?}: {} acknowledged, 0 lost, all known everywhere after {:?}",
        acknowledged.len(),
        started.elapsed()
    );
}

/// Reports that some site does not count exactly once.
fn lost(voices: &mut [Voice], acknowledged: &[(usize, u64)]) -> Vec<(usize, u64, u32)> {
    let mut lost = Vec::new();
    for (at, voice) in voices.iter_mut().enumerate() {
        for (_, number) in acknowledged {
            let answer = voice.ask(*number);
            if answer.reports != 1 {
                lost.push((at + 1, *number, answer.reports));
            }
        }
    }
    lost
}
