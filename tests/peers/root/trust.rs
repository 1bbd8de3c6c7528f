//! Weights between real agents: three introducers make a site count at one that never vouched for
//! it; one does not; who is proved at one agent to have given a number twice counts at none; and all
//! of it survives a restart.

use std::time::Duration;

use novacula_catalog::{Copies, Facts, Identity, Key, Kind, MailId, Statement, Time};
use novacula_client::{SiteTrust, Verdict};
use novacula_tests::harness::{Daemon, Place};
use novacula_tests::rig::wait_until;

use super::internet::Internet;
use super::sites::{PORT, Voice, wait_met};

/// One way.
const LINK: Duration = Duration::from_millis(5);
/// Lists travel within a second, and the walk is taken anew every 10 s at most.
const LONGEST: Duration = Duration::from_secs(40);

fn serve<'a>(place: &'a Place, internet: &Internet, n: usize) -> Daemon<'a> {
    let bootstrap = if n == 1 { "" } else { "\"10.0.1.2\"" };
    let config = format!(
        "network = true\nnetwork_prefix_v4 = 24\ndeadline_ms = 500\nbootstrap = [{bootstrap}]\n\
         network_listen = [\"/ip4/10.0.{n}.2/udp/{PORT}/quic-v1\", \"/ip4/10.0.{n}.2/tcp/{PORT}\"]\n"
    );
    place.serve_in(Some(internet.site(n)), &config)
}

/// What `site` weighs at a place, as `novacula peers --trust` tells.
fn weight(place: &Place, site: &str) -> SiteTrust {
    let ran = place.run(&["peers", "--trust", site, "--json"]);
    serde_json::from_value(ran.json()).unwrap()
}

fn vouch(place: &Place, site: &str) {
    let ran = place.run(&["vouch", site]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn three_introducers_make_a_site_count_and_a_proof_unmakes_it() {
    let internet = Internet::new(6, LINK);
    let places: Vec<Place> = (0..6).map(|_| Place::new()).collect();
    let mut daemons: Vec<Option<Daemon<'_>>> =
        (1..=6).map(|n| Some(serve(&places[n - 1], &internet, n))).collect();
    let mut voices: Vec<Voice> = places.iter().map(Voice::of).collect();
    wait_met(&mut voices, 6, Duration::from_secs(30));
    let ids: Vec<String> = voices.iter_mut().map(|voice| voice.status().site).collect();
    let (home, friend, stranger) = (&places[0], &ids[4], &ids[5]);

    let alone = weight(home, friend);
    assert_eq!((alone.weight, alone.ground.as_str()), (0.0, "stranger"));
    // Home vouches for three; they for the fifth; the fifth alone for the sixth.
    ids[1..4].iter().for_each(|site| vouch(home, site));
    places[1..4].iter().for_each(|place| vouch(place, friend));
    vouch(&places[4], stranger);
    wait_until("the fifth counts", LONGEST, || weight(home, friend).ground == "introduced");
    let seen = weight(home, friend);
    assert_eq!((seen.weight, seen.depth), (1.0, Some(2)), "{seen:?}");
    let giving = seen.introducers.iter().filter(|by| by.gives > 0.3).count();
    assert_eq!(giving, 3, "{seen:?}");
    wait_until("the sixth is known", LONGEST, || weight(home, stranger).ground == "newcomer");
    let seen = weight(home, stranger);
    assert!(seen.weight < 1.0 && seen.introducers.len() == 1 && seen.depth == Some(3), "{seen:?}");
    // What the whole table says agrees, and so does the list of hosts.
    let all = home.run(&["peers", "--trust"]).stdout;
    assert!(all.contains("introduced") && all.contains("4 sites count by themselves"), "{all}");

    // Its report is as good at home as one of a site that home vouched for.
    (1..5).for_each(|at| drop(voices[at].deliver(1)));
    assert!(voices[4].report(1));
    wait_until("the report counts", LONGEST, || voices[0].ask(1).verdict == Verdict::Spam);
    let mail = home.file("mail.eml", &super::sites::mail(1));
    let told = home.run(&["explain", &mail]).stdout;
    assert!(told.contains("(introduced)"), "{told}");

    // The second finds two statements of the fifth under one number.
    drop(daemons[1].take());
    put_proof(&places[1], &places[4]);
    daemons[1] = Some(serve(&places[1], &internet, 2));
    for place in places.iter().filter(|place| place.path() != places[4].path()) {
        wait_until("the proof is everywhere", LONGEST, || {
            let seen = weight(place, friend);
            (seen.weight, seen.ground.as_str()) == (0.0, "equivocator")
        });
    }
    assert_ne!(voices[0].ask(1).verdict, Verdict::Spam);
    assert_eq!(weight(home, stranger).weight, 0.0, "nor do its vouches count");
    home_restarts(&internet, home, &mut daemons, friend);
}

/// All of it is on the disk.
fn home_restarts<'a>(
    internet: &Internet,
    home: &'a Place,
    daemons: &mut [Option<Daemon<'a>>],
    friend: &str,
) {
    std::thread::sleep(Duration::from_millis(1_500));
    daemons.iter_mut().for_each(|daemon| drop(daemon.take()));
    let _home = serve(home, internet, 1);
    let seen = weight(home, friend);
    assert_eq!((seen.ground.as_str(), seen.introducers.len()), ("equivocator", 3), "{seen:?}");
}

/// Writes into a stopped agent's database what its node would have kept.
fn put_proof(place: &Place, liar: &Place) {
    let identity = Identity::load_or_create(&liar.data_dir().join("identity")).unwrap();
    let epoch = Time::now().epoch();
    let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
    let both = [1, 2].map(|key| {
        let keys = vec![Key(key)];
        Statement::new(identity.site(), MailId(1), 1, epoch, keys, kind).sign(&identity)
    });
    let database = rusqlite::Connection::open(place.data_dir().join("catalog.db")).unwrap();
    database
        .execute(
            "INSERT INTO equivocator VALUES (0, ?1, ?2, ?3)",
            rusqlite::params![&identity.site().0[..], both[0], both[1]],
        )
        .unwrap();
}
