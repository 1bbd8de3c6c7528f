//! The networks' part of `novacula doctor`: which leg is broken, and what mends it.

use std::net::ToSocketAddrs;

use novacula_agent::Config;
use novacula_catalog::VOUCHES_MAX;
use novacula_catalog::node::REPLICAS;
use novacula_client::{NetworkState, Status};

use super::doctor::Leg;

/// What the settings of a network are called.
struct Keys {
    listen: &'static str,
    announce: &'static str,
    bootstrap: &'static str,
}

const MAIN: Keys =
    Keys { listen: "network_listen", announce: "network_announce", bootstrap: "bootstrap" };
const GROUP: Keys = Keys {
    listen: "listen in [group]",
    announce: "announce in [group]",
    bootstrap: "bootstrap in [group]",
};

/// The networks' legs, by the agent's own words.
pub(super) fn legs(status: &Status) -> Vec<Leg> {
    let mut legs = of_network(status, &status.network, status.peers.as_ref(), &MAIN);
    if let Some(group) = &status.group {
        let of_group = of_network(status, &group.network, group.peers.as_ref(), &GROUP);
        legs.extend(of_group.into_iter().map(Leg::of_group));
    }
    legs
}

fn of_network(status: &Status, word: &str, state: Option<&NetworkState>, keys: &Keys) -> Vec<Leg> {
    let Some(state) = state else {
        return vec![match (word, &status.group) {
            ("off", None) => Leg::new("network", true, "off: only this site's own people count"),
            ("off", Some(_)) => Leg::new("network", true, "off: beside the group nobody counts"),
            (reason, _) => Leg::new("network", false, format!("it {reason}")),
        }];
    };
    vec![
        members(state, keys),
        transport(state, "udp", ("/udp/", "connections_quic"), keys),
        transport(state, "tcp", ("/tcp/", "connections_tcp"), keys),
        clock(state),
        nat(state, keys),
        placement(state),
        trust(state),
        identity(status, state),
    ]
}

fn identity(status: &Status, state: &NetworkState) -> Leg {
    let text = format!("site {}, host {}", status.site, state.node);
    match state.twins {
        0 => Leg::new("identity", true, text),
        twins => {
            let text = format!(
                "{text}: {twins} more hosts use this site's key, and give the same numbers to other statements, which peers take for lies; stop them, and let them speak by `novacula identity certify`"
            );
            Leg::new("identity", false, text)
        }
    }
}

fn members(state: &NetworkState, keys: &Keys) -> Leg {
    let failed = state.counters.get("dials_failed").copied().unwrap_or(0);
    let text = format!(
        "on: {} hosts known, {} answer, {} connected; {} opinions on their way",
        state.members, state.up, state.connected, state.outbox
    );
    let count = |name| state.counters.get(name).copied().unwrap_or(0);
    if state.members < 2 && count("versions_refused") + count("groups_refused") > 0 {
        let text = "hosts answer, but none takes this one in: they belong to another network (compare group_key, group_sites, [group]) or speak another version (compare `novacula --version`)";
        return Leg::new("network", false, text);
    }
    if state.connected > 0 {
        return Leg::new("network", true, text);
    }
    if state.members < 2 && failed == 0 {
        let text = "on, and alone: invite another site with `novacula identity invite`";
        return Leg::new("network", true, text);
    }
    let text = format!(
        "{text}: nobody answers ({failed} dials failed); look at the addresses in {} and at the firewall",
        keys.bootstrap
    );
    Leg::new("network", false, text)
}

/// UDP or TCP: is anybody heard on it, and has it ever carried a connection?
fn transport(state: &NetworkState, leg: &str, (part, counter): (&str, &str), keys: &Keys) -> Leg {
    let listening = state.addresses.iter().filter(|address| address.contains(part)).count();
    let carried = state.counters.get(counter).copied().unwrap_or(0);
    match (listening, carried, state.connected) {
        (0, _, _) => {
            let text = format!("no address is listened on; add one to {}", keys.listen);
            Leg::new(leg, false, text)
        }
        // QUIC is tried first, so TCP is used only where UDP does not get through.
        (_, 0, connected) if connected > 0 && leg == "udp" => {
            let text = "no connection ever came about over UDP: open the port for UDP, in and out; peers are reached over TCP meanwhile";
            Leg::new(leg, false, text)
        }
        _ => {
            let addresses = if listening == 1 { "address" } else { "addresses" };
            Leg::new(leg, true, format!("{listening} {addresses}, {carried} connections made"))
        }
    }
}

/// Whose word counts. That nobody's does is no fault, but seldom what is wanted.
fn trust(state: &NetworkState) -> Leg {
    if state.vouched > VOUCHES_MAX {
        return Leg::new("trust", false, super::too_many_vouches(state.vouched));
    }
    let lists = state.counters.get("vouch_lists").copied().unwrap_or(0);
    let text = match state.counting {
        None => "all members of the private network count".to_owned(),
        Some(0) if lists == 0 => {
            "nobody's word counts but your own, and nobody vouches for anybody: novacula vouch SITE, for whom you know"
                .to_owned()
        }
        Some(0) => {
            "nobody's word counts but your own, because you vouch for nobody whom you know: novacula vouch SITE"
                .to_owned()
        }
        Some(count) => {
            let count = match count {
                1 => "1 other site counts".to_owned(),
                count => format!("{count} other sites count"),
            };
            format!("{count}; lists of vouches held: {lists}; more: novacula peers --trust")
        }
    };
    Leg::new("trust", true, text)
}

fn clock(state: &NetworkState) -> Leg {
    match state.clock_disputed {
        false => Leg::new("clock", true, "no peer disputes it"),
        true => {
            let text = "peers say that it is wrong by more than 15 minutes: what is seen here counts nowhere; start a time service (chrony, systemd-timesyncd)";
            Leg::new("clock", false, text)
        }
    }
}

fn nat(state: &NetworkState, keys: &Keys) -> Leg {
    let seen = state.observers;
    match (state.nat.as_str(), seen) {
        ("private", _) => {
            let text = format!(
                "peers can't dial this host: forward the port and set {}, or set behind_nat = true",
                keys.announce
            );
            Leg::new("nat", false, text)
        }
        (_, 0) if state.connected > 0 => {
            Leg::new("nat", true, "no peer has confirmed this host's address yet")
        }
        (word, _) => Leg::new("nat", true, format!("{word}; {seen} peers confirmed the address")),
    }
}

fn placement(state: &NetworkState) -> Leg {
    let text = format!(
        "{} hosts in {} networks hold keys; this one does{}",
        state.placed,
        state.networks,
        if state.serving { "" } else { " not" }
    );
    let text = match state.networks < REPLICAS {
        true => format!(
            "{text}; fewer networks than the {REPLICAS} replicas of a key: the rule of one replica to a network is relaxed"
        ),
        false => text,
    };
    Leg::new("placement", true, text)
}

/// DNS: do the names to begin with have addresses?
pub(super) fn dns(config: &Config) -> Leg {
    let places = config.bootstrap.iter().chain(&config.group.bootstrap);
    let hosts = places.filter_map(|address| host_of(address));
    let names: Vec<String> = hosts.collect();
    let unknown: Vec<&str> = names
        .iter()
        .filter(|name| (name.as_str(), 0).to_socket_addrs().is_err())
        .map(String::as_str)
        .collect();
    match (names.len(), unknown.as_slice()) {
        (0, _) => Leg::new("dns", true, "no name needs it"),
        (count, []) => Leg::new("dns", true, format!("{count} names have addresses")),
        (_, unknown) => {
            let text = format!(
                "no address for {}; look at the names in bootstrap and at /etc/resolv.conf",
                unknown.join(", ")
            );
            Leg::new("dns", false, text)
        }
    }
}

/// The name in an address; none where it is an IP address already.
fn host_of(address: &str) -> Option<String> {
    let parts: Vec<&str> = address.split('/').collect();
    let host = match parts.as_slice() {
        [host] => host.rsplit_once(':').map_or(*host, |(host, _)| host),
        ["", kind, host, ..] if kind.starts_with("dns") && *kind != "dnsaddr" => host,
        _ => return None,
    };
    let is_address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    (!is_address && !host.contains(':')).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use novacula_client::GroupState;

    fn well() -> NetworkState {
        NetworkState {
            addresses: vec!["/ip4/1.2.3.4/udp/1/quic-v1".into(), "/ip4/1.2.3.4/tcp/1".into()],
            members: 9,
            up: 9,
            placed: 9,
            networks: 9,
            connected: 4,
            observers: 2,
            serving: true,
            nat: "public".into(),
            counters: [("connections_quic".to_owned(), 3)].into(),
            ..NetworkState::default()
        }
    }

    #[track_caller]
    fn check(state: NetworkState, broken: Option<&str>) {
        let status = Status { network: "on".into(), peers: Some(state), ..Status::default() };
        let legs = legs(&status);
        let broken_legs: Vec<&str> =
            legs.iter().filter(|leg| !leg.well).map(|leg| leg.leg.as_str()).collect();
        assert_eq!(broken_legs, broken.into_iter().collect::<Vec<_>>(), "{legs:?}");
    }

    #[test]
    fn the_broken_leg_is_named() {
        check(well(), None);
        check(NetworkState { clock_disputed: true, ..well() }, Some("clock"));
        check(NetworkState { nat: "private".into(), ..well() }, Some("nat"));
        check(NetworkState { twins: 1, ..well() }, Some("identity"));
        check(NetworkState { vouched: 64, ..well() }, None);
        check(NetworkState { vouched: 65, ..well() }, Some("trust"));
        let tcp_only = NetworkState { counters: [].into(), ..well() };
        check(tcp_only, Some("udp"));
        let deaf = vec!["/ip4/1.2.3.4/udp/1/quic-v1".into()];
        check(NetworkState { addresses: deaf, ..well() }, Some("tcp"));
        check(NetworkState { connected: 0, ..well() }, Some("network"));
        check(NetworkState { connected: 0, members: 1, ..well() }, None);
        let refused =
            [("versions_refused".to_owned(), 1), ("connections_quic".to_owned(), 1)].into();
        check(NetworkState { members: 1, counters: refused, ..well() }, Some("network"));
    }

    #[test]
    fn a_group_has_legs_of_its_own() {
        let group = |state| {
            let group = GroupState { network: "on".into(), peers: Some(state) };
            legs(&Status { network: "off".into(), group: Some(group), ..Status::default() })
        };
        assert!(group(well()).iter().all(|leg| leg.well));
        let deaf = group(NetworkState { addresses: Vec::new(), ..well() });
        let broken: Vec<&Leg> = deaf.iter().filter(|leg| !leg.well).collect();
        assert!(broken.iter().all(|leg| leg.leg.starts_with("group ")), "{broken:?}");
        assert!(format!("{broken:?}").contains("add one to listen in [group]"), "{broken:?}");
    }

    #[test]
    fn names_are_told_from_addresses() {
        let host = |text: &str| host_of(text);
        assert_eq!(host("mx.example.org:99").as_deref(), Some("mx.example.org"));
        assert_eq!(host("/dns/mx.example.org/tcp/1").as_deref(), Some("mx.example.org"));
        assert_eq!(host("192.0.2.7:99"), None);
        assert_eq!(host("2001:db8::7"), None);
        assert_eq!(host("/ip4/192.0.2.7/tcp/1"), None);
    }
}
