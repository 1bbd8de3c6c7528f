//! IPv6, TCP alone, the local network's multicast DNS, names in DNS, and a site behind a NAT.

use std::time::Duration;

use novacula_client::NetworkState;
use novacula_tests::harness::{Daemon, Place};
use novacula_tests::rig::{Net, wait_until};

use super::lan::{Lan, shell};
use super::sites::{GROUP_KEY, PORT, Voice, wait_met};

const MEET_TIME_MAX: Duration = Duration::from_secs(30);
/// A first try at an address that leads nowhere may take 10 s, and so may each of three at the hole.
const HOLE_TIME_MAX: Duration = Duration::from_secs(90);

fn config(listen: &[String], bootstrap: &str, more: &str) -> String {
    let listen: Vec<String> = listen.iter().map(|address| format!("{address:?}")).collect();
    let bootstrap = if bootstrap.is_empty() { String::new() } else { format!("{bootstrap:?}") };
    format!(
        "network = true\nnetwork_listen = [{}]\nbootstrap = [{bootstrap}]\n\
         network_prefix_v4 = 32\nnetwork_prefix_v6 = 128\ndeadline_ms = 500\n\
         group_key = \"{GROUP_KEY}\"\n{more}",
        listen.join(", ")
    )
}

fn quic_and_tcp(ip: &str) -> Vec<String> {
    vec![format!("{ip}/udp/{PORT}/quic-v1"), format!("{ip}/tcp/{PORT}")]
}

fn state(voice: &mut Voice) -> NetworkState {
    voice.status().peers.expect("the network is on")
}

#[test]
fn sites_meet_over_ipv6_and_one_over_tcp_alone() {
    let lan = Lan::new(3);
    let places: Vec<Place> = (0..3).map(|_| Place::new()).collect();
    let bootstrap = "[fd00:9::1]:25725";
    let wall = "nft add table inet wall\n\
                nft 'add chain inet wall pass { type filter hook input priority 0; }'\n\
                nft add rule inet wall pass meta l4proto udp drop";
    shell(lan.site(3).command("sh"), wall);
    let daemons: Vec<Daemon<'_>> = (1..=3)
        .map(|n| {
            let mut listen = quic_and_tcp(&format!("/ip6/fd00:9::{n}"));
            if n == 3 {
                listen.remove(0);
            }
            let first = if n == 1 { "" } else { bootstrap };
            places[n - 1].serve_in(Some(lan.site(n)), &config(&listen, first, ""))
        })
        .collect();
    let mut voices: Vec<Voice> = places.iter().map(Voice::of).collect();
    wait_met(&mut voices, 3, MEET_TIME_MAX);
    for (number, expected) in (0..3).zip(1..) {
        assert_eq!(voices[number].deliver(7).0.spread, expected);
    }
    for peer in voices[0].peers().peers {
        assert!(peer.addresses.iter().all(|address| address.starts_with("/ip6/")), "{peer:?}");
    }
    assert!(voices[1].counter("connections_quic") > 0);
    let third = state(&mut voices[2]);
    assert_eq!(third.addresses, [format!("/ip6/fd00:9::3/tcp/{PORT}")], "named once");
    let named = voices[0].peers().peers.into_iter().map(|peer| peer.addresses.len());
    assert_eq!(named.sum::<usize>(), 2 + 1, "each address once, in what others know too");
    assert_eq!(third.counters["connections_quic"], 0, "UDP does not reach it");
    assert!(third.counters["connections_tcp"] > 0);
    drop(daemons);
}

#[test]
fn multicast_dns_finds_who_is_on_the_same_wire_when_it_is_on() {
    let lan = Lan::new(3);
    let places: Vec<Place> = (0..3).map(|_| Place::new()).collect();
    let daemons: Vec<Daemon<'_>> = (1..=3)
        .map(|n| {
            let listen = quic_and_tcp(&format!("/ip4/10.9.0.{n}"));
            let more = if n == 3 { "mdns = false\n" } else { "mdns = true\n" };
            places[n - 1].serve_in(Some(lan.site(n)), &config(&listen, "", more))
        })
        .collect();
    let mut voices: Vec<Voice> = places.iter().map(Voice::of).collect();
    wait_met(&mut voices[..2], 2, MEET_TIME_MAX);
    assert_eq!(state(&mut voices[2]).members, 1, "off means off");
    voices[0].deliver(3);
    assert_eq!(voices[1].deliver(3).0.spread, 2);
    assert_eq!(voices[2].deliver(3).0.spread, 1);
    drop(daemons);
}

/// Serves one TXT record over UDP, for ever, in this network.
const NAME_SERVER: &str = r#"
import socket, struct, sys
text = sys.argv[1].encode()
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
while True:
    query, peer = server.recvfrom(512)
    end = query.index(b"\0", 12) + 5
    kind = struct.unpack(">H", query[end - 4:end - 2])[0]
    found = kind == 16 and b"_dnsaddr" in query.lower()
    head = query[:2] + struct.pack(">HHHHH", 0x8580 if found else 0x8583, 1, int(found), 0, 0)
    data = bytes([len(text)]) + text
    answer = struct.pack(">HHHIH", 0xC00C, 16, 1, 60, len(data)) + data
    server.sendto(head + query[12:end] + (answer if found else b""), peer)
"#;

#[test]
fn a_name_in_dns_leads_to_the_first_host() {
    let lan = Lan::new(2);
    let places: Vec<Place> = (0..2).map(|_| Place::new()).collect();
    let first = quic_and_tcp("/ip4/10.9.0.1");
    let one = places[0].serve_in(Some(lan.site(1)), &config(&first, "", ""));
    let mut voices = vec![Voice::of(&places[0])];
    let node = state(&mut voices[0]).node;
    let address = format!("dnsaddr=/ip4/10.9.0.1/tcp/{PORT}/p2p/{}", peer_id(&node));
    let site = lan.site(2);
    let mut server = site.command("python3").args(["-c", NAME_SERVER, &address]).spawn().unwrap();
    // The host's own list of name servers, in the namespace of this site only.
    let resolv = places[1].file("resolv.conf", b"nameserver 127.0.0.1\n");
    let second = quic_and_tcp("/ip4/10.9.0.2");
    let more = "dns_seeds = [\"seeds.example\"]\n";
    let two = places[1].serve_resolving(site, &config(&second, "", more), &resolv);
    voices.push(Voice::of(&places[1]));
    wait_met(&mut voices, 2, MEET_TIME_MAX);
    drop((one, two));
    let _ = server.kill();
    let _ = server.wait();
}

/// A node's key as libp2p's peer id.
fn peer_id(node: &str) -> String {
    let bytes: Vec<u8> =
        (0..64).step_by(2).map(|at| u8::from_str_radix(&node[at..at + 2], 16).unwrap()).collect();
    let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(&bytes).unwrap();
    libp2p::identity::PublicKey::from(key).to_peer_id().to_string()
}

#[test]
fn a_site_behind_a_nat_takes_part_through_a_relay() {
    let lan = Lan::new(4);
    let hidden: Net = lan.behind(3);
    let places: Vec<Place> = (0..4).map(|_| Place::new()).collect();
    let serve = |n: usize| {
        let listen = quic_and_tcp(&format!("/ip4/10.9.0.{n}"));
        let first = if n == 1 { "" } else { "10.9.0.1" };
        places[n - 1].serve_in(Some(lan.site(n)), &config(&listen, first, "relay = true\n"))
    };
    let open = [serve(1), serve(2)];
    let listen = quic_and_tcp("/ip4/192.168.3.2");
    let inside =
        places[2].serve_in(Some(&hidden), &config(&listen, "10.9.0.1", "behind_nat = true\n"));
    let mut voices: Vec<Voice> = places[..3].iter().map(Voice::of).collect();
    // All three know each other; the hidden one names addresses that lead through a relay.
    for voice in &mut voices {
        wait_until("all three are known", MEET_TIME_MAX, || state(voice).up == 3);
    }
    wait_until("it is reached through a relay", MEET_TIME_MAX, || {
        state(&mut voices[2]).addresses.iter().any(|address| address.contains("p2p-circuit"))
    });
    // A relayed address is in everybody's table when a mail at all three is seen by all.
    let mut number = 0;
    wait_until("who is hidden asks and is heard", MEET_TIME_MAX, || {
        number += 1;
        let [one, hidden, two] = [0, 2, 1].map(|at: usize| voices[at].deliver(number).0.spread);
        (one, hidden, two) == (1, 2, 3)
    });
    // Its invitation leads who knows nobody else through the relay.
    let fourth = quic_and_tcp("/ip4/10.9.0.4");
    let guest = places[3].serve_in(Some(lan.site(4)), &config(&fourth, "", ""));
    let invite = places[2].run(&["identity", "invite", "--json"]).json();
    let accepted = places[3].run(&["identity", "accept", invite["code"].as_str().unwrap()]);
    assert_eq!(accepted.code, 0, "{accepted:?}");
    // Nobody reaches it directly unless a hole was punched.
    let direct = lan
        .site(1)
        .command("sh")
        .args(["-c", "ip route add 192.168.3.0/24 via 10.9.0.3; ! timeout 2 bash -c '</dev/tcp/192.168.3.2/25725'"])
        .status()
        .unwrap();
    assert!(direct.success(), "the wall has a gap");
    let punched = voices[2].peers().peers.iter().filter(|peer| peer.connected).count();
    println!("behind the NAT: {punched} peers connected; mail {number} was seen by all three");
    drop((open, inside, guest));
}

#[test]
fn two_sites_behind_nats_make_a_direct_connection() {
    let lan = Lan::new(3);
    let hidden: [Net; 2] = [lan.behind(2), lan.behind(3)];
    let places: Vec<Place> = (0..3).map(|_| Place::new()).collect();
    let listen = quic_and_tcp("/ip4/10.9.0.1");
    let open = places[0].serve_in(Some(lan.site(1)), &config(&listen, "", "relay = true\n"));
    let inside: Vec<Daemon<'_>> = [2, 3]
        .map(|n| {
            let listen = quic_and_tcp(&format!("/ip4/192.168.{n}.2"));
            let settings = config(&listen, "10.9.0.1", "behind_nat = true\n");
            places[n - 1].serve_in(Some(&hidden[n - 2]), &settings)
        })
        .into();
    let mut voices: Vec<Voice> = places.iter().map(Voice::of).collect();
    for voice in &mut voices {
        wait_until("all three are known", MEET_TIME_MAX, || state(voice).up == 3);
    }
    let mut number = 0;
    wait_until("a hole is punched", HOLE_TIME_MAX, || {
        number += 1; // Who has mail asks the other.
        voices[1..].iter_mut().for_each(|voice| drop(voice.deliver(number)));
        voices[1..].iter_mut().any(|voice| voice.counter("connections_punched") > 0)
    });
    // It bears mail when nobody relays any more.
    drop(open);
    wait_until("one hears of the other's mail", MEET_TIME_MAX, || {
        number += 1;
        (voices[1].deliver(number).0.spread, voices[2].deliver(number).0.spread) == (1, 2)
    });
    drop(inside);
}
