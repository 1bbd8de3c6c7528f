//! A site with two hosts, of which one has the site's key, and two other sites: real agents, the
//! second host certified by the commands that people type.

use std::time::Duration;

use novacula_client::Verdict;
use novacula_tests::harness::Place;
use novacula_tests::rig::wait_until;

use super::lan::Lan;
use super::sites::{GROUP_KEY, PORT, Voice, mail, wait_met};

/// Longest wait for the four to meet, and for a word to come to the others.
const MEET_TIME_MAX: Duration = Duration::from_secs(30);

fn config(n: usize) -> String {
    let first = if n == 1 { "" } else { "\"10.9.0.1\"" };
    format!(
        "network = true\nnetwork_prefix_v4 = 32\n\
         network_listen = [\"/ip4/10.9.0.{n}/udp/{PORT}/quic-v1\", \"/ip4/10.9.0.{n}/tcp/{PORT}\"]\n\
         deadline_ms = 500\ngroup_key = \"{GROUP_KEY}\"\nbootstrap = [{first}]\n"
    )
}

/// What a command prints, on one line.
fn line(place: &Place, args: &[&str]) -> String {
    let ran = place.run(args);
    assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    ran.stdout.trim().to_owned()
}

#[test]
fn two_hosts_of_one_site_are_one_place_and_never_lie() {
    let places: Vec<Place> = (0..4).map(|_| Place::new()).collect();
    let lan = Lan::new(4);
    let first = places[0].serve_in(Some(lan.site(1)), &config(1));

    // The second host has a key of its own, and the site's word for it.
    let host = line(&places[1], &["identity", "host"]);
    let certificate = line(&places[0], &["identity", "certify", &host]);
    let cut = places[1].run(&["identity", "adopt", &certificate[..certificate.len() - 1]]);
    assert!(cut.code == 2 && cut.stderr.contains("copy the whole line"), "{cut:?}");
    line(&places[1], &["identity", "adopt", &certificate]);
    let rest: Vec<_> =
        (2..=4).map(|n| places[n - 1].serve_in(Some(lan.site(n)), &config(n))).collect();
    let mut voices: Vec<Voice> = places.iter().map(Voice::of).collect();
    wait_met(&mut voices, 4, MEET_TIME_MAX);
    let sites: Vec<String> = voices.iter_mut().map(|voice| voice.status().site).collect();
    assert!(sites[0] == sites[1] && sites[1] != sites[2] && sites[2] != sites[3], "{sites:?}");
    assert!(!places[1].data_dir().join("identity").exists(), "the site's key stays where it is");

    // Whom the site vouches for is said where its key lies, and so is who is invited.
    let ran = places[1].run(&["identity", "invite"]);
    assert!(ran.code == 2 && ran.stderr.contains("the machine that has it"), "{ran:?}");

    // A campaign at both hosts is seen at one place.
    for number in 0..5 {
        voices[0].deliver(number);
        voices[1].deliver(number);
        voices[1].deliver(number);
        let (third, _) = voices[2].deliver(number);
        assert_eq!((third.spread, third.verdict), (2, Verdict::Unknown), "{third:?}");
        let (fourth, _) = voices[3].deliver(number);
        assert_eq!((fourth.spread, fourth.verdict), (3, Verdict::Bulk), "{fourth:?}");
    }
    // Both hosts' people speak of one mail: the site says one thing, the latest.
    assert!(voices[0].report(4));
    wait_until("the report is known", MEET_TIME_MAX, || voices[2].ask(4).reports == 1);
    wait_until("the other host knows it", MEET_TIME_MAX, || voices[1].ask(4).reports == 1);
    let revoked = places[1].run_with(&["revoke", "-"], &mail(4));
    assert_eq!(revoked.code, 0, "{revoked:?}");
    wait_until("the revoke is known", MEET_TIME_MAX, || {
        let answer = voices[2].ask(4);
        (answer.reports, answer.revokes) == (0, 1)
    });
    for voice in &mut voices {
        for name in ["equivocations", "statements_false", "statements_foreign", "peers_banned"] {
            assert_eq!(voice.counter(name), 0, "{name}");
        }
    }
    assert_eq!(voices[0].status().peers.unwrap().twins, 0);
    drop((first, rest));
}

#[test]
fn a_copied_site_key_is_named_by_doctor() {
    let places: Vec<Place> = (0..2).map(|_| Place::new()).collect();
    let lan = Lan::new(2);
    let first = places[0].serve_in(Some(lan.site(1)), &config(1));
    std::fs::create_dir_all(places[1].data_dir()).unwrap();
    let identity = |place: &Place| place.data_dir().join("identity");
    std::fs::copy(identity(&places[0]), identity(&places[1])).unwrap();
    let second = places[1].serve_in(Some(lan.site(2)), &config(2));
    wait_met(&mut [Voice::of(&places[0]), Voice::of(&places[1])], 2, MEET_TIME_MAX);
    for place in &places {
        let doctor = place.run(&["doctor"]);
        assert_eq!(doctor.code, 1, "{doctor:?}");
        assert!(doctor.stdout.contains("novacula identity certify"), "{doctor:?}");
    }
    drop((first, second));
}
