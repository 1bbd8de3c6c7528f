//! What `novacula doctor` says when a leg is really broken: a wrong clock, UDP that does not get
//! through, another network's key, a name that has no address.

use std::time::Duration;

use novacula_catalog::node::{Config, Group};
use novacula_tests::harness::{Place, Ran};
use novacula_tests::rig::wait_until;
use novacula_tests::simulation::hostile::Peer;
use novacula_tests::wire::{address_of, live};

use super::lan::{Lan, shell};
use super::sites::{GROUP_KEY, PORT, Voice, wait_met};

const TIME_MAX: Duration = Duration::from_secs(30);

fn config(ip: &str, bootstrap: &str, key: &str) -> String {
    let bootstrap = if bootstrap.is_empty() { String::new() } else { format!("{bootstrap:?}") };
    format!(
        "network = true\nnetwork_prefix_v4 = 32\nbootstrap = [{bootstrap}]\ngroup_key = \"{key}\"\n\
         network_listen = [\"/ip4/{ip}/udp/{PORT}/quic-v1\", \"/ip4/{ip}/tcp/{PORT}\"]\n"
    )
}

/// The doctor's word on one leg; whether it is well.
fn leg(place: &Place, name: &str) -> (bool, String) {
    let ran: Ran = place.run(&["doctor", "--json"]);
    let of = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok();
    let legs: Vec<serde_json::Value> = ran.stdout.lines().filter_map(of).collect();
    let found = legs.iter().find(|leg| leg["leg"] == name);
    let found = found.unwrap_or_else(|| panic!("no leg {name}: {ran:?}"));
    (found["well"].as_bool().unwrap(), found["text"].as_str().unwrap().to_owned())
}

#[track_caller]
fn broken(place: &Place, name: &str, says: &str) {
    wait_until(name, TIME_MAX, || !leg(place, name).0);
    let (_, text) = leg(place, name);
    assert!(text.contains(says), "{name}: {text}");
}

#[test]
fn doctor_names_a_clock_that_peers_dispute() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // A node that lives in another year: for the agent, everybody else disputes its clock.
    let group = Group::Key([0x5f; 32]);
    let (other, _told) =
        runtime.block_on(async { live(Peer::new(1), Config { group, ..Config::default() }) });
    let address = runtime.block_on(address_of(&other, "/tcp/")).to_string();
    let place = Place::new();
    let _agent = place.serve_in(None, &config("127.0.11.1", &address, GROUP_KEY));
    broken(&place, "clock", "start a time service");
}

#[test]
fn doctor_names_udp_that_does_not_get_through() {
    let lan = Lan::new(2);
    let wall = "nft add table ip wall\n\
                nft 'add chain ip wall pass { type filter hook input priority 0; }'\n\
                nft add rule ip wall pass ip protocol udp drop";
    shell(lan.site(1).command("sh"), wall);
    let places = [Place::new(), Place::new()];
    let _first = places[0].serve_in(Some(lan.site(1)), &config("10.9.0.1", "", GROUP_KEY));
    let second = config("10.9.0.2", "10.9.0.1", GROUP_KEY);
    let _second = places[1].serve_in(Some(lan.site(2)), &second);
    wait_met(&mut places.each_ref().map(Voice::of), 2, TIME_MAX);
    broken(&places[1], "udp", "open the port for UDP");
    assert!(leg(&places[1], "tcp").0, "peers are reached over TCP meanwhile");
}

#[test]
fn doctor_names_another_networks_key_and_a_name_without_an_address() {
    let lan = Lan::new(2);
    let places = [Place::new(), Place::new()];
    let _first = places[0].serve_in(Some(lan.site(1)), &config("10.9.0.1", "", GROUP_KEY));
    let other_key = "60".repeat(32);
    let second = places[1].serve_in(Some(lan.site(2)), &config("10.9.0.2", "10.9.0.1", &other_key));
    broken(&places[1], "network", "group_key");
    drop(second);

    let named = config("10.9.0.2", "mx.nowhere.example", GROUP_KEY);
    let _second = places[1].serve_in(Some(lan.site(2)), &named);
    let file = places[1].path().join("novacula.toml");
    let ran = places[1].run(&["--config", file.to_str().unwrap(), "doctor"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("no address for mx.nowhere.example"), "{ran:?}");
}
