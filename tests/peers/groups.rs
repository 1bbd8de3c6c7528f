//! One agent in two networks: A and B take part in the open one, C in that and in a private group, D in
//! the group alone. Four real agents on loopback.

use std::time::Duration;

use novacula_catalog::Statement;
use novacula_catalog::node::wire::{Gossip, Request, Said, Tag};
use novacula_client::{Check, Status, Verdict};
use novacula_tests::harness::{Daemon, Place};
use novacula_tests::rig::wait_until;

use super::sites::{GROUP_KEY, PORT, Voice, frames_of, mail};

/// Longest wait for anything, on a machine that does something else too.
const LONGEST: Duration = Duration::from_secs(60);

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const D: usize = 3;

/// Of the four in the network `127.0.NET`; tests run at a time.
fn config(net: u8, at: usize, place: &Place) -> String {
    let listen = |port: u16| format!("[\"/ip4/127.0.{net}.{}/tcp/{port}\"]", at + 1);
    let bootstrap =
        if at == B || at == C { format!("\"127.0.{net}.1:{PORT}\"") } else { String::new() };
    let top = format!(
        "network = true\nnetwork_listen = {}\nnetwork_prefix_v4 = 32\ndeadline_ms = 500\n\
         network_record = {:?}\nbootstrap = [{bootstrap}]\n",
        listen(PORT),
        place.path().join("frames")
    );
    match at {
        // One report is 5.3 nats at most: too little in the open network, enough in the group.
        C => format!(
            "{top}threshold_nats = 6.0\n[group]\nkey = \"{GROUP_KEY}\"\nlisten = {}\n\
             threshold_nats = 4.0\n",
            listen(PORT + 1)
        ),
        // Alone in the group: as the network of the top level, as any release has it.
        D => format!("{top}threshold_nats = 4.0\ngroup_key = \"{GROUP_KEY}\"\n"),
        _ => format!("{top}threshold_nats = 6.0\n"),
    }
}

fn serve(net: u8, places: &[Place], at: usize) -> Daemon<'_> {
    places[at].serve_in(None, &config(net, at, &places[at]))
}

pub(crate) fn site(place: &Place) -> String {
    place.run(&["identity"]).stdout.trim().to_owned()
}

fn group_members(status: &Status) -> usize {
    let peers = status.group.as_ref().and_then(|group| group.peers.as_ref());
    peers.map_or(0, |peers| peers.placed)
}

/// Four sites that have met: everybody in the open network vouches for the two others there.
struct Four<'a> {
    net: u8,
    places: &'a [Place],
    daemons: Vec<Option<Daemon<'a>>>,
    voices: Vec<Voice>,
}

impl<'a> Four<'a> {
    fn new(net: u8, places: &'a [Place]) -> Self {
        let daemons = (0..4).map(|at| Some(serve(net, places, at))).collect();
        let mut four =
            Self { net, places, daemons, voices: places.iter().map(Voice::of).collect() };
        // The private group is joined by address, for good.
        let joined = places[C].run(&["join", "--group", &format!("127.0.{net}.4:{PORT}")]);
        assert_eq!(joined.code, 0, "{joined:?}");
        assert!(joined.stdout.contains("all members of the private group"), "{joined:?}");
        let sites: Vec<String> = places.iter().map(site).collect();
        for (at, other) in [(A, B), (A, C), (B, A), (B, C), (C, A), (C, B)] {
            assert_eq!(places[at].run(&["vouch", &sites[other]]).code, 0);
        }
        four.wait_met();
        four
    }

    fn wait_met(&mut self) {
        for (at, members) in [(A, 3), (B, 3), (C, 3), (D, 2)] {
            let voice = &mut self.voices[at];
            wait_until("they meet", LONGEST, || {
                let status = voice.status();
                let met = status.peers.as_ref().is_some_and(|peers| peers.placed == members);
                met && (at != C || group_members(&status) == 2)
            });
        }
    }

    fn ask(&mut self, at: usize, number: u64) -> Check {
        self.voices[at].ask(number)
    }

    /// Waits until a site counts a report of the mail.
    fn wait_reported(&mut self, at: usize, number: u64) -> Check {
        let mut answer = None;
        wait_until("the report is known", LONGEST, || {
            answer = Some(self.ask(at, number)).filter(|answer| answer.reports == 1);
            answer.is_some()
        });
        answer.unwrap()
    }

    fn restart(&mut self, at: usize) {
        self.daemons[at] = Some(serve(self.net, self.places, at));
        self.voices[at] = Voice::of(&self.places[at]);
    }

    fn kill(&mut self, at: usize) {
        self.daemons[at].take().unwrap().kill();
    }
}

fn said_in_group(answer: &Check) -> bool {
    answer.evidence.iter().any(|line| line.contains("private group"))
}

/// Everything that a site's frames say of another, in a record of frames.
pub(crate) fn holds(frames: &[(String, Vec<u8>)], part: &[u8]) -> bool {
    frames.iter().any(|(_, frame)| frame.windows(part.len()).any(|bytes| bytes == part))
}

/// Whole statements in a record of frames.
pub(crate) fn statements(frames: &[(String, Vec<u8>)]) -> Vec<Statement> {
    let whole = |(what, frame): &(String, Vec<u8>)| match what.as_str() {
        "observe" => match Request::decode(frame) {
            Ok(Request::Observe(found)) => match found.said {
                Said::Whole(signed) => vec![signed],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        },
        "gossip-hot" => match Gossip::decode(frame) {
            Ok(Gossip::Hot(signed)) => signed,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    frames.iter().flat_map(whole).filter_map(|signed| Statement::decode(&signed).ok()).collect()
}

/// What frames call those statements.
pub(crate) fn tags_of(said: &[Statement]) -> impl Iterator<Item = [u8; 8]> {
    said.iter().map(|said| Tag::of(said.site, said.seq).0.to_le_bytes())
}

#[test]
fn each_network_judges_for_itself_and_hears_nothing_of_the_other() {
    let places: Vec<Place> = (0..4).map(|_| Place::new()).collect();
    let mut four = Four::new(6, &places);

    // Reported in the group: spam by its threshold where the group is heard, and nothing elsewhere.
    four.voices[D].deliver(10);
    assert!(four.voices[D].report(10));
    let at_c = four.wait_reported(C, 10);
    assert_eq!(at_c.verdict, Verdict::Spam, "{at_c:?}");
    assert!(said_in_group(&at_c), "{at_c:?}");
    for at in [A, B] {
        let answer = four.ask(at, 10);
        assert_eq!((answer.verdict, answer.reports), (Verdict::Unknown, 0), "{answer:?}");
    }
    let explained = places[C].run_with(&["explain", "--json", "-"], &mail(10)).json();
    let nats = |of: &serde_json::Value| of["odds_nats"].as_f64().unwrap();
    assert!(nats(&explained["group"]) > 4.0 && nats(&explained) < 1.0, "{explained}");
    assert_eq!(explained["group"]["threshold_nats"], 4.0);
    assert_eq!(explained["threshold_nats"], 6.0);

    // Reported in the open one: known at C and not at D; no single report is enough there.
    four.voices[A].deliver(20);
    assert!(four.voices[A].report(20));
    let at_c = four.wait_reported(C, 20);
    assert_eq!((at_c.verdict, said_in_group(&at_c)), (Verdict::Unknown, false), "{at_c:?}");
    assert_eq!(four.ask(D, 20).reports, 0);

    // What C says reaches both.
    four.voices[C].deliver(30);
    assert!(four.voices[C].report(30));
    four.wait_reported(A, 30);
    assert_eq!(four.wait_reported(D, 30).verdict, Verdict::Spam);

    // Seen by D and not judged: C asks both networks about it, and names to each what it has of it.
    four.voices[D].deliver(40);
    wait_until("C knows of it", LONGEST, || four.ask(C, 40).spread == 1);
    assert_eq!(four.ask(C, 40).verdict, Verdict::Unknown);

    nothing_crossed(&places);
    shown(&places[C]);
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let metrics = four.daemons[C].as_ref().unwrap().raw(request);
    // The main network's figures are called what they were called without a group.
    for line in [
        "novacula_peer_members{} 3",
        "novacula_peer_members{network=\"group\"} 2",
        "novacula_peer_bytes{purpose=\"observe\",direction=\"sent\"} ",
        "novacula_peer_bytes{purpose=\"observe\",direction=\"sent\",network=\"group\"} ",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

/// The records of frames hold what was said in either network, and nothing of the other.
fn nothing_crossed(places: &[Place]) {
    // No frame of the open network has a word of D: not its name, no statement, not a statement's tag.
    let (main, group) = (frames_of(&places[C], "frames"), frames_of(&places[C], "frames.group"));
    let said_by_d = statements(&frames_of(&places[D], "frames"));
    assert_eq!(said_by_d.len(), 3, "two sightings and a report");
    let named = |frames: &[_], said: &[Statement]| tags_of(said).any(|tag| holds(frames, &tag));
    assert!(named(&group, &said_by_d), "the group's members are told");
    assert!(!named(&main, &said_by_d), "a tag of D's is in the open network");
    let name = said_by_d[0].site;
    assert!(holds(&frames_of(&places[D], "frames"), &name.0), "a name in a frame is found");
    assert!(!holds(&main, &name.0), "D is named in the open network");
    assert!(!holds(&frames_of(&places[A], "frames"), &name.0));
    // Nor does the group hear of A what it does not say there.
    let said_by_a = statements(&frames_of(&places[A], "frames"));
    assert!(!said_by_a.is_empty() && !named(&group, &said_by_a));

    // What C said is the same in both, byte for byte.
    let tags = |frames: &[_]| {
        let mut said = statements(frames);
        said.retain(|said| said.site.to_string() == site(&places[C]));
        said.iter().map(|said| (said.seq, said.kind)).collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(tags(&main), tags(&group));
    assert_eq!(tags(&main).len(), 2, "a sighting and a report");
}

/// What the administrator of C sees of it.
fn shown(place: &Place) {
    let status = place.run(&["status"]).stdout;
    assert!(status.contains("private group    on: 2 hosts known"), "{status}");
    let peers = place.run(&["peers", "--json"]).json_lines();
    let counts = |group: bool| peers.iter().filter(|peer| peer["group"] == group).count();
    assert_eq!((counts(false), counts(true)), (2, 1), "{peers:?}");
    assert!(place.run(&["peers"]).stdout.contains("in the private group:"));
    let lines = ["identity --invite", "identity --invite --group"].map(|command| {
        let ran = place.run(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    });
    assert!(lines.iter().all(|line| line.starts_with("nvc1")) && lines[0] != lines[1], "{lines:?}");
    let doctor = place.run(&["doctor", "--json"]).json_lines();
    let leg = |name: &str| doctor.iter().find(|leg| leg["leg"] == name).unwrap().clone();
    assert!(leg("network")["text"].as_str().unwrap().starts_with("on: 3 hosts known"));
    assert!(leg("group network")["text"].as_str().unwrap().starts_with("on: 2 hosts known"));
}

#[test]
fn what_a_network_has_not_heard_is_told_to_it_after_a_kill() {
    let places: Vec<Place> = (0..4).map(|_| Place::new()).collect();
    let mut four = Four::new(7, &places);
    // The group's other member is gone while C reports: the open network hears it all, the group
    // nothing.
    four.kill(D);
    let numbers = 50..60;
    for number in numbers.clone() {
        assert!(four.voices[C].report(number));
    }
    wait_until("the open network has it", LONGEST, || {
        four.voices[C].status().peers.unwrap().outbox == 0
    });
    let status = four.voices[C].status();
    assert_eq!(status.group.unwrap().peers.unwrap().outbox, 10, "nobody in the group has it");
    four.kill(C);
    four.restart(D);
    four.restart(C);
    for number in numbers.clone() {
        four.wait_reported(D, number);
        assert_eq!(four.ask(A, number).reports, 1, "known there before, counted once");
    }
    // And the other way round: nobody of the open network is there, and C dies amid its reports.
    four.kill(A);
    four.kill(B);
    let more = 60..70;
    for number in more.clone() {
        assert!(four.voices[C].report(number));
    }
    four.kill(C);
    for at in [A, B, C] {
        four.restart(at);
    }
    for number in more {
        four.wait_reported(A, number);
        four.wait_reported(B, number);
        four.wait_reported(D, number);
    }
    wait_until("all is acknowledged", LONGEST, || {
        let status = four.voices[C].status();
        let group = status.group.and_then(|group| group.peers);
        status.peers.is_some_and(|of| of.outbox == 0) && group.is_some_and(|of| of.outbox == 0)
    });
}

/// The network off, the group on, and joined by an invitation for one site.
#[test]
fn an_invitation_leads_into_the_group() {
    let places = [Place::new(), Place::new()];
    let config = |n: usize| {
        format!(
            "[group]\nkey = \"{GROUP_KEY}\"\nlisten = [\"/ip4/127.0.5.{n}/tcp/25726\"]\n\
             reports_min = 2\n"
        )
    };
    let _daemons = [1, 2].map(|n| places[n - 1].serve_in(None, &config(n)));
    let invite = || places[0].run(&["identity", "invite", "--group"]);
    let mut code = String::new();
    wait_until("it listens", LONGEST, || {
        code = invite().stdout.trim().to_owned();
        !code.is_empty()
    });
    let ran = places[1].run(&["identity", "accept", "--group", &code]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("they vouch for this site"), "{ran:?}");
    let mut voices = places.each_ref().map(Voice::of);
    for voice in &mut voices {
        wait_until("they meet", LONGEST, || group_members(&voice.status()) == 2);
        assert_eq!(voice.status().network, "off");
    }
    // One of the group's members reports it; two must.
    voices[0].deliver(80);
    assert!(voices[0].report(80));
    let mut answer = voices[1].ask(80);
    wait_until("it is known", LONGEST, || {
        answer = voices[1].ask(80);
        answer.reports == 1
    });
    // The main network counts it too, by the vouch, and one report is enough there.
    assert_eq!((answer.verdict, said_in_group(&answer)), (Verdict::Spam, false), "{answer:?}");
    let inviter = site(&places[0]);
    assert_eq!(places[1].run(&["vouch", &inviter, "--remove"]).code, 0);
    let answer = voices[1].ask(80);
    assert_eq!((answer.verdict, answer.reports), (Verdict::Unknown, 1), "{answer:?}");
}

#[test]
fn a_group_that_is_not_configured_is_not_joined() {
    let place = Place::new();
    let _agent = place.serve();
    let ran = place.run(&["join", "--group", "127.0.7.9:1"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("name its key or its sites in [group]"), "{ran:?}");
    let ran = place.run(&["identity", "--invite", "--group"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("in [group] of the configuration"), "{ran:?}");
}
