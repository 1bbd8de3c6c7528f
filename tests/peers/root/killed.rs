//! Any two of eight sites die while people report: what was acknowledged is not lost, in one network
//! and where some take part in a private group beside it.

use std::time::{Duration, Instant};

use novacula_client::{NetworkState, Status};
use novacula_tests::harness::{Daemon, Place};
use novacula_tests::is_full;

use super::groups::{holds, site, statements, tags_of};
use super::internet::Internet;
use super::sites::{GROUP_KEY, PORT, Voice, config, frames_of};

const LINK: Duration = Duration::from_millis(2);
const SITES: usize = 8;
/// Reports in one run.
const REPORTS: u64 = 40;
/// Longest wait until all reports are known everywhere.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);

/// Who takes part in what; sites are numbered from 1.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    /// All eight in one private network.
    One,
    /// Sites 1 to 6 in the open network, 4 to 8 in a private group: 4 to 6 in both, 7 and 8 in the
    /// group alone.
    Beside,
}

impl Layout {
    /// Takes part in the main network; in the group.
    fn parts(self, n: usize) -> (bool, bool) {
        (self == Self::One || n <= 6, self == Self::Beside && n >= 4)
    }

    /// One hears what the other says.
    fn share(self, one: usize, other: usize) -> bool {
        let (one, other) = (self.parts(one), self.parts(other));
        (one.0 && other.0) || (one.1 && other.1)
    }

    fn members(self) -> (usize, usize) {
        let count = |of: &dyn Fn(usize) -> bool| (1..=SITES).filter(|n| of(*n)).count();
        (count(&|n| self.parts(n).0), count(&|n| self.parts(n).1))
    }

    fn config(self, n: usize, place: &Place) -> String {
        let address = format!("10.0.{n}.2");
        let beside = format!("10.0.4.2:{}", PORT + 1);
        let text = match self {
            Self::One if n == 1 => return config(&address, &[]),
            Self::One => return config(&address, &["10.0.1.2"]),
            // In the group alone: it is their network.
            Self::Beside if n > 6 => config(&address, &[&beside]),
            Self::Beside => {
                let bootstrap: &[&str] = if n == 1 { &[] } else { &["10.0.1.2"] };
                let open = config(&address, bootstrap);
                open.lines()
                    .filter(|line| !line.starts_with("group_key"))
                    .fold(String::new(), |text, line| text + line + "\n")
            }
        };
        let record = format!("network_record = {:?}\n", place.path().join("frames"));
        let group = match n {
            4..=6 => {
                let port = PORT + 1;
                let bootstrap = if n == 4 { String::new() } else { format!("{beside:?}") };
                format!(
                    "[group]\nkey = \"{GROUP_KEY}\"\nbootstrap = [{bootstrap}]\n\
                     listen = [\"/ip4/{address}/udp/{port}/quic-v1\", \"/ip4/{address}/tcp/{port}\"]\n"
                )
            }
            _ => String::new(),
        };
        text + &record + &group
    }

    fn serve<'a>(self, places: &'a [Place], internet: &Internet, n: usize) -> Daemon<'a> {
        let place = &places[n - 1];
        place.serve_in(Some(internet.site(n)), &self.config(n, place))
    }
}

/// How the networks of a site look from there: the main one, and the group.
fn networks(layout: Layout, n: usize, status: Status) -> Vec<(usize, NetworkState)> {
    let (main, group) = layout.members();
    let beside = status.group.and_then(|group| group.peers);
    match layout.parts(n) {
        (true, false) => status.peers.into_iter().map(|state| (main, state)).collect(),
        (false, _) => status.peers.into_iter().map(|state| (group, state)).collect(),
        (true, true) => {
            let both = status.peers.map(|state| (main, state)).into_iter();
            both.chain(beside.map(|state| (group, state))).collect()
        }
    }
}

fn wait_met(layout: Layout, voices: &mut [Voice]) {
    let started = Instant::now();
    for (at, voice) in voices.iter_mut().enumerate() {
        let wanted = usize::from(layout.parts(at + 1).0) + usize::from(layout.parts(at + 1).1);
        loop {
            let states = networks(layout, at + 1, voice.status());
            let met = |(members, state): &(usize, NetworkState)| {
                (state.members, state.placed, state.up) == (*members, *members, *members)
            };
            if states.len() == wanted && states.iter().all(met) {
                break;
            }
            assert!(started.elapsed() < SETTLE_TIME_MAX, "site {} knows {states:?}", at + 1);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn no_acknowledged_report_is_lost_when_two_of_eight_die() {
    for run in 0..if is_full() { 5 } else { 1 } {
        one_run(Layout::One, run);
    }
}

#[test]
fn no_acknowledged_report_is_lost_or_crosses_beside_a_private_group() {
    for run in 0..if is_full() { 5 } else { 1 } {
        one_run(Layout::Beside, 100 + run);
    }
}

fn one_run(layout: Layout, run: u64) {
    println!("run {run}");
    let mut rng = fastrand::Rng::with_seed(run);
    let internet = Internet::new(SITES, LINK);
    let places: Vec<Place> = (0..SITES).map(|_| Place::new()).collect();
    let mut daemons: Vec<Option<Daemon<'_>>> =
        (1..=SITES).map(|n| Some(layout.serve(&places, &internet, n))).collect();
    let mut voices: Vec<Voice> = places.iter().map(Voice::of).collect();
    wait_met(layout, &mut voices);
    if layout == Layout::Beside {
        vouch_all(&places[..6]);
    }

    let (first, second) = (rng.usize(..SITES), rng.usize(1..SITES));
    let dying = [first, (first + second) % SITES];
    let when: Vec<u64> = dying.iter().map(|_| rng.u64(5..REPORTS - 5)).collect();
    let mut acknowledged = Vec::new();
    for number in 0..REPORTS {
        for (at, moment) in dying.into_iter().zip(&when) {
            if number == *moment {
                daemons[at].take().unwrap().kill();
            }
        }
        let at = usize::try_from(number).unwrap() % SITES;
        if daemons[at].is_some() && voices[at].report(run * 1_000 + number) {
            acknowledged.push((at, run * 1_000 + number));
        }
    }
    // The dead come back with what they had on their disks.
    for at in dying {
        daemons[at] = Some(layout.serve(&places, &internet, at + 1));
        voices[at] = Voice::of(&places[at]);
    }
    let started = Instant::now();
    loop {
        let wrong = wrong(layout, &mut voices, &acknowledged);
        let waiting: usize = voices
            .iter_mut()
            .enumerate()
            .flat_map(|(at, voice)| networks(layout, at + 1, voice.status()))
            .map(|(_, state)| state.outbox)
            .sum();
        if wrong.is_empty() && waiting == 0 {
            break;
        }
        let count = wrong.len();
        assert!(
            started.elapsed() < SETTLE_TIME_MAX,
            "{waiting} wait; {count} wrong, such as {:?}",
            wrong.first()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    println!(
        "sites {dying:?} killed at reports {when:?}: {} acknowledged, 0 lost, all known everywhere after {:?}",
        acknowledged.len(),
        started.elapsed()
    );
    if layout == Layout::Beside {
        nothing_crossed(&places);
    }
}

/// Everybody in the open network vouches for all others there.
fn vouch_all(places: &[Place]) {
    let sites: Vec<String> = places.iter().map(site).collect();
    for (at, place) in places.iter().enumerate() {
        for other in sites.iter().enumerate().filter(|(other, _)| *other != at) {
            assert_eq!(place.run(&["vouch", other.1]).code, 0);
        }
    }
}

/// Reports that some site does not count exactly once, or counts and should not have heard of.
fn wrong(
    layout: Layout,
    voices: &mut [Voice],
    acknowledged: &[(usize, u64)],
) -> Vec<(usize, u64, u32)> {
    let mut wrong = Vec::new();
    for (at, voice) in voices.iter_mut().enumerate() {
        for (of, number) in acknowledged {
            let reports = voice.ask(*number).reports;
            if reports != u32::from(layout.share(at + 1, of + 1)) {
                wrong.push((at + 1, *number, reports));
            }
        }
    }
    wrong
}

/// No frame of the open network has a word of those in the group alone, and none of the group a word
/// of those in the open network alone.
fn nothing_crossed(places: &[Place]) {
    let said_by = |n: usize| {
        let mut said = statements(&frames_of(&places[n - 1], "frames"));
        said.retain(|said| said.site.to_string() == site(&places[n - 1]));
        said
    };
    for both in 4..=6 {
        let frames = [("frames", 7..=8), ("frames.group", 1..=3)];
        for (record, others) in frames {
            let sent = frames_of(&places[both - 1], record);
            assert!(!sent.is_empty());
            for other in others {
                let said = said_by(other);
                assert!(!said.is_empty(), "site {other} said something");
                // Whom a site vouches for it says in both.
                let named = record == "frames" && holds(&sent, &said[0].site.0);
                assert!(!named, "{record} of {both} names {other}");
                for tag in tags_of(&said) {
                    assert!(!holds(&sent, &tag), "{record} of {both} has a word of {other}");
                }
            }
        }
    }
}
