//! Invitations between real agents: one command at each side, and each site vouches for the other;
//! once, for one site, over a restart, and without the secret in any log or frame.

use std::time::Duration;

use novacula_client::{InviteReply, SiteTrust};
use novacula_tests::harness::{Daemon, Place, Ran};
use novacula_tests::rig::wait_until;

use super::sites::PORT;

/// A start takes well under a second, on a machine that does something else too.
const LONGEST: Duration = Duration::from_secs(30);

/// Site `n`; only the first has the network on, the others turn it on by accepting.
fn serve(place: &Place, n: usize) -> Daemon<'_> {
    let config = format!(
        "network = {}\nnetwork_listen = [\"/ip4/127.0.8.{n}/tcp/{PORT}\"]\n\
         network_prefix_v4 = 32\nnetwork_record = {:?}\n",
        n == 1,
        place.path().join("frames")
    );
    place.serve_in(None, &config)
}

fn site(place: &Place) -> String {
    place.run(&["identity"]).stdout.trim().to_owned()
}

#[track_caller]
fn invite(place: &Place) -> InviteReply {
    let ran = place.run(&["identity", "invite", "--note", "Bob's site", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_value(ran.json()).unwrap()
}

fn accept(place: &Place, invite: &InviteReply) -> Ran {
    place.run(&["identity", "accept", &invite.code])
}

/// What `of` weighs at a place, as `novacula peers --trust` tells.
fn ground(place: &Place, of: &str) -> String {
    let ran = place.run(&["peers", "--trust", of, "--json"]);
    serde_json::from_value::<SiteTrust>(ran.json()).unwrap().ground
}

#[test]
fn one_code_makes_two_sites_vouch_for_each_other() {
    let places: Vec<Place> = (0..3).map(|_| Place::new()).collect();
    let [inviter, guest, third] = &places[..] else { panic!("three") };
    let agent = serve(inviter, 1);
    let (_guest, _third) = (serve(guest, 2), serve(third, 3));
    let [home, bob, eve] = [inviter, guest, third].map(site);
    wait_until("it listens", LONGEST, || inviter.run(&["identity", "invite"]).code == 0);
    let code = invite(inviter);
    let listed = inviter.run(&["identity", "invite", "--list"]).stdout;
    assert!(listed.contains(&format!("{}  open until", code.id)), "{listed}");

    let ran = accept(guest, &code);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains(&home) && ran.stdout.contains("they vouch for"), "{ran:?}");
    // What was said to the guest holds, whatever happens next.
    agent.kill();
    let _agent = serve(inviter, 1);
    let vouched = inviter.run(&["vouch"]).stdout;
    assert_eq!(vouched, format!("{bob}  by invitation  Bob's site\n"));
    assert_eq!(guest.run(&["vouch"]).stdout, format!("{home}\n"));
    assert_eq!((ground(inviter, &bob), ground(guest, &home)), ("vouched".into(), "vouched".into()));

    // It was for one site. Whose it is may type it again.
    wait_until("the guest is known again", LONGEST, || accept(guest, &code).code == 0);
    let ran = accept(third, &code);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("another site has accepted"), "{ran:?}");
    assert!(ran.stderr.contains(&format!("novacula vouch {eve}")), "{ran:?}");
    assert_eq!(inviter.run(&["vouch"]).stdout, vouched);

    // The vouch is taken back as any other, and the code does not give it again.
    assert_eq!(inviter.run(&["vouch", &bob, "--remove"]).stdout, "nobody is vouched for yet\n");
    let ran = accept(guest, &code);
    assert!(ran.code == 2 && ran.stderr.contains("taken back"), "{ran:?}");
    let code = refused_codes(inviter, guest);
    assert_eq!(ground(inviter, &bob), "stranger");
    never_shown(&places, &code);
}

/// A code that is taken back, one that lacks a part, one's own; gives the first.
fn refused_codes(inviter: &Place, guest: &Place) -> InviteReply {
    let code = invite(inviter);
    let ran = inviter.run(&["identity", "invite", "--remove", &code.id]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stdout.contains(&code.id), "{ran:?}");
    let ran = accept(guest, &code);
    assert!(ran.code == 2 && ran.stderr.contains("taken back"), "{ran:?}");
    let cut = &code.code[..code.code.len() - 1];
    let ran = guest.run(&["identity", "accept", cut]);
    assert!(ran.code == 2 && ran.stderr.contains("copy the whole line"), "{ran:?}");
    let ran = inviter.run(&["identity", "accept", &code.code]);
    assert!(ran.code == 2 && ran.stderr.contains("this site's own"), "{ran:?}");
    let ran = inviter.run(&["identity", "invite", "--note", "two\nlines"]);
    assert!(ran.code == 2 && ran.stderr.contains("one line"), "{ran:?}");
    let ran = guest.run(&["identity", "invite", "--days", "31"]);
    assert!(ran.code == 2 && ran.stderr.contains("1 to 30 days"), "{ran:?}");
    code
}

/// The secret is in no log and in no frame that left.
fn never_shown(places: &[Place], code: &InviteReply) {
    // Behind prefix, both keys and the time.
    let secret = &code.code[4 + 2 * 72..][..32];
    for (number, place) in places.iter().enumerate() {
        let frames = std::fs::read_to_string(place.path().join("frames")).unwrap();
        // A line is purpose, receiver and frame: version 1, type 8.
        let shown = frames.lines().filter(|line| line.contains(" 0108")).count();
        assert_eq!(shown > 0, number > 0, "guests show what they have");
        for text in [frames, place.log()] {
            assert!(!text.contains(secret), "the secret is out");
        }
    }
}

#[test]
fn so_many_invitations_wait_and_no_more() {
    let place = Place::new();
    let _agent = serve(&place, 9);
    let ran = place.run(&["identity", "invite"]);
    assert!(ran.code == 2 && ran.stderr.contains("needs an address"), "{ran:?}");
    // Joining at nobody turns the network on.
    let _ = place.run(&["join", "127.0.8.10:1"]);
    wait_until("it listens", LONGEST, || place.run(&["identity", "invite"]).code == 0);
    for _ in 1..16 {
        let _ = invite(&place);
    }
    let ran = place.run(&["identity", "invite"]);
    assert!(ran.code == 2 && ran.stderr.contains("16 invitations are open"), "{ran:?}");
    // Each keeps its place on the list of vouches.
    let line = |n: u8| {
        let site = novacula_catalog::SiteId([n; 32]);
        format!("{{\"site\":\"{site}\",\"vouched\":true,\"weight\":null,\"credit\":0.0}}\n")
    };
    let list = |count: u8| place.file("list", (1..=count).map(line).collect::<String>().as_bytes());
    let ran = place.run(&["trust", "import", &list(49)]);
    assert!(ran.code == 2 && ran.stderr.contains("16 open invitations"), "{ran:?}");
    let ran = place.run(&["trust", "import", &list(48)]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let open = place.run(&["identity", "invite", "--list", "--json"]).json_lines();
    let id = open[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(place.run(&["identity", "invite", "--remove", &id]).code, 0);
    assert_eq!(place.run(&["vouch", &novacula_catalog::SiteId([99; 32]).to_string()]).code, 0);
    let ran = place.run(&["identity", "invite"]);
    assert!(ran.code == 2 && ran.stderr.contains("holds 49 and 15 open invitations"), "{ran:?}");
}
