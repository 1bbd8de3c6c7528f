//! What leaves a site: every frame as it was recorded before encryption, against what `explain`
//! said beforehand, in each of its two networks. Three agents on loopback.

use std::collections::BTreeSet;
use std::time::Duration;

use novacula_catalog::node::wire::{Gossip, Observe, Request, Said};
use novacula_catalog::{Key, Statement};
use novacula_client::NetworkState;
use novacula_tests::harness::Place;
use novacula_tests::rig::wait_until;

use super::sites::{GROUP_KEY, Voice, frames_of, mail, unhex, wait_met};

/// Bytes of a signature behind a statement.
const SIGNATURE_LEN: usize = 64;
/// Longest wait until the sites have met.
const LONGEST: Duration = Duration::from_secs(30);

/// The key of the private group beside the network.
const BESIDE_KEY: &str = "6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e";

/// The same with a group beside it, whose first host is at `first`.
fn config_with_group(n: usize, place: &Place, first: [Option<&str>; 2]) -> String {
    format!(
        "{}[group]\nkey = \"{BESIDE_KEY}\"\nlisten = [\"/ip4/127.0.9.{n}/tcp/0\"]\n\
         bootstrap = [{}]\n",
        config(n, place, first[0]),
        first[1].map(|first| format!("{first:?}")).unwrap_or_default()
    )
}

fn config(n: usize, place: &Place, first: Option<&str>) -> String {
    format!(
        "network = true\n\
         network_listen = [\"/ip4/127.0.9.{n}/tcp/0\"]\n\
         network_prefix_v4 = 32\n\
         deadline_ms = 500\n\
         group_key = \"{GROUP_KEY}\"\n\
         network_record = {:?}\n\
         bootstrap = [{}]\n",
        place.path().join("frames"),
        first.map(|first| format!("{first:?}")).unwrap_or_default()
    )
}

/// The keys that `explain` says it would ask for.
fn foretold(explained: &serde_json::Value) -> BTreeSet<Key> {
    let keys = explained["would_ask"].as_array().unwrap().iter();
    keys.map(|key| unhex(key.as_str().unwrap()).try_into().unwrap())
        .map(|key| Key(u64::from_le_bytes(key)))
        .collect()
}

#[test]
fn what_leaves_is_what_explain_said() {
    let places: Vec<Place> = (0..3).map(|_| Place::new()).collect();
    let _first = places[0].serve_in(None, &config_with_group(1, &places[0], [None; 2]));
    let mut voices = vec![Voice::of(&places[0])];
    let status = voices[0].status();
    let address = |state: Option<NetworkState>| state.unwrap().addresses.remove(0);
    let main = address(status.peers);
    let group = address(status.group.unwrap().peers);
    let first = [Some(main.as_str()), Some(group.as_str())];
    let _others: Vec<_> = (1..3)
        .map(|at| places[at].serve_in(None, &config_with_group(at + 1, &places[at], first)))
        .collect();
    voices.extend(places[1..].iter().map(Voice::of));
    wait_met(&mut voices, 3, LONGEST);
    for voice in &mut voices {
        let mut met = || voice.status().group.and_then(|group| group.peers);
        wait_until("they meet in the group", LONGEST, || met().is_some_and(|of| of.placed == 3));
    }

    let mail_text = mail(77);
    let explained = places[0].run_with(&["explain", "--json", "-"], &mail_text).json();
    let said = unhex(explained["would_send"].as_str().unwrap());
    let statement = Statement::decode(&[&said[..], &[0; SIGNATURE_LEN]].concat()).unwrap();
    let keys: BTreeSet<Key> = statement.keys().iter().copied().collect();
    // What is asked for: the statement's keys, and in the first 72 h of a week also last week's.
    let asked = foretold(&explained);
    assert!(asked.is_superset(&keys), "{asked:?} {keys:?}");
    let records = ["frames", "frames.group"];
    let before = records.map(|record| frames_of(&places[0], record).len());
    voices[0].deliver(77);
    for (record, before) in records.into_iter().zip(before) {
        let sent = frames_of(&places[0], record).split_off(before);
        let observed: Vec<&Vec<u8>> =
            sent.iter().filter(|(what, _)| what == "observe").map(|(_, frame)| frame).collect();
        assert_eq!(observed.len(), 2, "one request for each responsible peer: {record} {sent:?}");
        for frame in observed {
            is_as_explained(frame, &said, &asked);
        }
        // In no frame at all is there a word of the mail.
        let words = mail_text.split(|byte| b" \r\n@<>".contains(byte));
        for word in words.filter(|word| word.len() > 5) {
            for (what, frame) in frames_of(&places[0], record) {
                let holds = frame.windows(word.len()).any(|part| part == word);
                assert!(!holds, "{what} holds {word:?}");
            }
        }
    }
}

/// The frame made of what was explained alone is the same, byte for byte.
fn is_as_explained(frame: &[u8], said: &[u8], asked: &BTreeSet<Key>) {
    let statement = Statement::decode(&[said, &[0; SIGNATURE_LEN]].concat()).unwrap();
    let keys: BTreeSet<Key> = statement.keys().iter().copied().collect();
    let Request::Observe(found) = Request::decode(frame).unwrap() else { panic!("{frame:?}") };
    assert!(found.keys.iter().all(|key| asked.contains(key)), "a key that was not explained");
    let signed = match &found.said {
        Said::Whole(signed) => {
            assert_eq!(signed[..signed.len() - SIGNATURE_LEN], said[..]);
            assert!(Statement::decode_verified(signed).is_ok());
            Said::Whole(signed.clone())
        }
        Said::Record { .. } => Said::Record {
            mail: statement.mail,
            seq: statement.seq,
            epoch: statement.epoch,
            kind: statement.kind,
            home: *keys.first().unwrap(),
        },
        Said::Nothing => panic!("the sighting is stated"),
    };
    let all = u64::MAX >> (64 - found.keys.len());
    let stated = (found.keys.iter().enumerate())
        .fold(0, |mask, (at, key)| mask | u64::from(keys.contains(key)) << at);
    let predicted = Observe {
        keys: found.keys.clone(),
        ask: all,
        under: stated,
        said: signed,
        inline: found.inline,
        known: Vec::new(),
    };
    assert_eq!(Request::Observe(predicted).encode(), frame);
}

#[test]
fn nothing_leaves_for_allowed_and_short_mail() {
    let places: Vec<Place> = (0..2).map(|_| Place::new()).collect();
    let _first = places[0].serve_in(None, &config(11, &places[0], None));
    let mut voices = vec![Voice::of(&places[0])];
    let address = voices[0].status().peers.unwrap().addresses.remove(0);
    let _second = places[1].serve_in(None, &config(12, &places[1], Some(&address)));
    voices.push(Voice::of(&places[1]));
    wait_met(&mut voices[..1], 2, LONGEST);
    assert_eq!(places[0].run(&["allow", "@spam.example"]).code, 0);
    let count = |place: &Place| {
        let mails = |(what, frame): &(String, Vec<u8>)| {
            what == "observe" || (what == "gossip-hot" && Gossip::decode(frame).is_ok())
        };
        frames_of(place, "frames").iter().filter(|frame| mails(frame)).count()
    };
    let before = count(&places[0]);
    let allowed = places[0].run_with(&["check", "--seen", "--json", "-"], &mail(5)).json();
    // An allowed sender's address proves nothing without authentication; then it is asked.
    let authenticated = allowed["verdict"] == "allowed";
    let short = b"From: a@b.example\r\n\r\nhi there\r\n";
    let answer = places[0].run_with(&["check", "--seen", "--json", "-"], short).json();
    assert_eq!(answer["asked"], "no", "{answer}");
    let reported = places[0].run_with(&["report", "--json", "-"], short);
    assert_eq!(reported.code, 3, "{reported:?}");
    assert_eq!(count(&places[0]) - before, usize::from(!authenticated), "{allowed}");
}
