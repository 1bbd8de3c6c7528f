//! What the configuration says of the networks of peers: the one of the top level, and the private
//! group beside it, with what belongs to it alone in the table `[group]`.
//!
//! Main item: [`NetworkConfig`]. Key decision: both sides are started from the same type, so that
//! nothing of a network is written twice.

use std::collections::BTreeSet;
use std::path::PathBuf;

use novacula_catalog::node::{Group, PrefixBits};
use novacula_catalog::store::Side;
use novacula_catalog::{Rates, SiteId, Trust};
use serde::{Deserialize, Serialize};

use super::{Config, DEADLINE_MS_MAX};

/// Where peers are listened for: QUIC and TCP, IPv4 and IPv6. The port is a choice, not
/// registered with IANA.
pub(super) const DEFAULT_LISTEN: [&str; 4] = [
    "/ip4/0.0.0.0/udp/25725/quic-v1",
    "/ip4/0.0.0.0/tcp/25725",
    "/ip6/::/udp/25725/quic-v1",
    "/ip6/::/tcp/25725",
];

/// The same for the group: the next port.
const GROUP_LISTEN: [&str; 4] = [
    "/ip4/0.0.0.0/udp/25726/quic-v1",
    "/ip4/0.0.0.0/tcp/25726",
    "/ip6/::/udp/25726/quic-v1",
    "/ip6/::/tcp/25726",
];

/// The private group beside the network of the top level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Its key, 64 hexadecimal digits.
    pub key: String,
    /// Its sites, by public key.
    pub sites: Vec<String>,
    /// Addresses to listen on for its members.
    pub listen: Vec<String>,
    /// Addresses to tell them; empty: those listened on.
    pub announce: Vec<String>,
    /// Addresses to begin with.
    pub bootstrap: Vec<String>,
    /// See [`Rates`].
    pub threshold_nats: f64,
    /// Members whose reports it takes to call a mail spam.
    pub reports_min: u32,
}

impl Default for GroupConfig {
    fn default() -> Self {
        let rates = Rates::default();
        Self {
            key: String::new(),
            sites: Vec::new(),
            listen: GROUP_LISTEN.map(String::from).to_vec(),
            announce: Vec::new(),
            bootstrap: Vec::new(),
            threshold_nats: rates.threshold_nats,
            reports_min: rates.named_reports_min,
        }
    }
}

/// What one network needs to be started.
#[derive(Clone, Debug)]
pub(crate) struct NetworkConfig {
    pub(crate) side: Side,
    pub(crate) group: Group,
    /// It is on, whether it was joined or not.
    pub(crate) on: bool,
    pub(crate) listen: Vec<String>,
    pub(crate) announce: Vec<String>,
    /// Addresses to begin with.
    pub(crate) bootstrap: Vec<String>,
    pub(crate) mdns: bool,
    /// Where every frame sent is written down.
    pub(crate) record: Option<PathBuf>,
}

impl NetworkConfig {
    /// All who can speak there count: its members are known by a key or by name, and by nothing
    /// else.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.group, Group::Key(_)) || self.side == Side::Group
    }
}

/// Who belongs to a network: by a key, by a list of sites, or everybody.
fn group_of(key: &str, sites: &[String], names: (&str, &str)) -> Result<Group, String> {
    let (key_name, sites_name) = names;
    match (key, sites) {
        ("", []) => Ok(Group::Open),
        ("", sites) => {
            let parse = |site: &String| {
                site.parse::<SiteId>()
                    .map_err(|error| format!("{sites_name}: {site:?}: failed to {error}"))
            };
            sites.iter().map(parse).collect::<Result<_, _>>().map(Group::Sites)
        }
        // 32 bytes, written as a site's key is.
        (key, []) => key.parse::<SiteId>().map(|key| Group::Key(key.0)).map_err(|_| {
            format!(
                "{key_name}: must be 64 hexadecimal digits, such as `openssl rand -hex 32` prints"
            )
        }),
        _ => Err(format!("{key_name} and {sites_name}: a network has one or the other")),
    }
}

/// Transport, port and IP address of each address that is listened on; none where the system
/// chooses the port.
fn places(addresses: &[String]) -> BTreeSet<(String, String, String)> {
    let forms = addresses.iter().filter_map(|address| novacula_net::forms(address).ok()).flatten();
    let place = |form: String| match form.split('/').collect::<Vec<_>>()[..] {
        ["", _, host, transport, port, ..] if port != "0" => {
            Some((transport.to_owned(), port.to_owned(), host.to_owned()))
        }
        _ => None,
    };
    forms.filter_map(|form| place(form.to_string())).collect()
}

/// An address of the second list at which something of the first is listened for already.
fn clash(first: &[String], second: &[String]) -> Option<String> {
    let (first, second) = (places(first), places(second));
    let every = |host: &str| host == "0.0.0.0" || host == "::";
    let meets = |(transport, port, host): &&(String, String, String)| {
        first.iter().any(|(of, at, there)| {
            of == transport
                && at == port
                && (there == host || every(there) || every(host))
                // Each of IPv4 and IPv6 has ports of its own.
                && there.contains(':') == host.contains(':')
        })
    };
    second.iter().find(meets).map(|(transport, port, _)| format!("{transport} port {port}"))
}

impl Config {
    pub(super) fn check_network(&self) -> Result<(), String> {
        if !(1..=3600).contains(&self.recheck_secs) {
            return Err("recheck_secs: must lie between 1 and 3600".into());
        }
        if !(1..=DEADLINE_MS_MAX).contains(&self.deadline_ms) {
            return Err(format!("deadline_ms: must lie between 1 and {DEADLINE_MS_MAX}"));
        }
        if self.network_prefix_v4 > 32 || self.network_prefix_v6 > 128 {
            return Err("network_prefix_v4: must be at most 32; network_prefix_v6: 128".into());
        }
        if self.peer_connections_max < 2 {
            return Err("peer_connections_max: must be at least 2".into());
        }
        let listed = [
            ("network_listen", &self.network_listen),
            ("network_announce", &self.network_announce),
            ("bootstrap", &self.bootstrap),
            ("group: listen", &self.group.listen),
            ("group: announce", &self.group.announce),
            ("group: bootstrap", &self.group.bootstrap),
        ];
        for (key, addresses) in listed {
            for address in addresses {
                novacula_net::forms(address)
                    .map_err(|error| format!("{key}: failed to {error}"))?;
            }
        }
        let main = self.main_group()?;
        self.check_group(&main)
    }

    fn check_group(&self, main: &Group) -> Result<(), String> {
        let Some(group) = self.private_group()? else {
            return match self.group == GroupConfig::default() {
                true => Ok(()),
                false => Err("group: name its key or its sites, or leave the table out".into()),
            };
        };
        if group == *main {
            return Err(
                "group: it is the network of the top level already (group_key, group_sites); one of the two must go"
                    .into(),
            );
        }
        if self.group.reports_min == 0 {
            return Err("group: reports_min: must be at least 1".into());
        }
        if let Some(place) = clash(&self.network_listen, &self.group.listen) {
            return Err(format!(
                "group: listen: {place} is in network_listen too; each network needs a port of its own"
            ));
        }
        self.group_rates(&self.rates()).check().map_err(|reason| format!("group: {reason}"))
    }

    /// Who belongs to the network of the top level.
    ///
    /// # Errors
    /// What is wrong with `group_key` or `group_sites`.
    pub fn main_group(&self) -> Result<Group, String> {
        group_of(&self.group_key, &self.group_sites, ("group_key", "group_sites"))
    }

    /// Who belongs to the private group beside it, if there is one.
    ///
    /// # Errors
    /// What is wrong with its key or its sites.
    pub fn private_group(&self) -> Result<Option<Group>, String> {
        let group = group_of(&self.group.key, &self.group.sites, ("group: key", "group: sites"))?;
        Ok(Some(group).filter(|group| *group != Group::Open))
    }

    /// What the network of the top level needs.
    pub(crate) fn main_network(&self) -> Result<NetworkConfig, String> {
        let seeds = self.dns_seeds.iter().map(|name| format!("/dnsaddr/{name}"));
        Ok(NetworkConfig {
            side: Side::Main,
            group: self.main_group()?,
            on: self.network,
            listen: self.network_listen.clone(),
            announce: self.network_announce.clone(),
            bootstrap: self.bootstrap.iter().cloned().chain(seeds).collect(),
            mdns: self.mdns,
            record: self.record(),
        })
    }

    /// What the private group beside it needs, if there is one.
    pub(crate) fn group_network(&self) -> Result<Option<NetworkConfig>, String> {
        Ok(self.private_group()?.map(|group| NetworkConfig {
            side: Side::Group,
            group,
            on: true,
            listen: self.group.listen.clone(),
            announce: self.group.announce.clone(),
            bootstrap: self.group.bootstrap.clone(),
            // Multicast tells all of a host's addresses to all: each network's peers would dial
            // the other's.
            mdns: false,
            record: self.record().map(|mut path| {
                path.as_mut_os_string().push(".group");
                path
            }),
        }))
    }

    /// Where every frame sent is written down.
    fn record(&self) -> Option<PathBuf> {
        Some(self.network_record.clone()).filter(|path| !path.as_os_str().is_empty())
    }

    /// How much of an address names a network.
    #[must_use]
    pub fn prefix_bits(&self) -> PrefixBits {
        PrefixBits { v4: self.network_prefix_v4, v6: self.network_prefix_v6 }
    }

    /// True where only members of a private network can speak: they weigh 1.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.main_group(), Ok(Group::Key(_)))
    }

    /// The trust that the site `home` starts from, without vouches: sites of a private network
    /// weigh 1.
    #[must_use]
    pub fn trust(&self, home: SiteId) -> Trust {
        self.trust_in(home, &self.main_group().unwrap_or_default())
    }

    /// The same among the members of the private group beside it.
    #[must_use]
    pub fn group_trust(&self, home: SiteId) -> Option<Trust> {
        self.private_group().ok().flatten().map(|group| self.trust_in(home, &group))
    }

    fn trust_in(&self, home: SiteId, group: &Group) -> Trust {
        let (members, others) = match group {
            Group::Sites(sites) => (sites.clone(), 0.0),
            Group::Key(_) => (BTreeSet::new(), 1.0),
            Group::Open => (BTreeSet::new(), 0.0),
        };
        let sites = self.trusted_sites.iter();
        let named = sites.filter_map(|(site, weight)| Some((site.parse().ok()?, *weight)));
        let full = members.into_iter().map(|site| (site, 1.0));
        Trust::group(home, full.chain(named)).with_others(others)
    }

    /// The rates of the private group: the site's, with its own threshold.
    #[must_use]
    pub fn group_rates(&self, rates: &Rates) -> Rates {
        Rates {
            threshold_nats: self.group.threshold_nats,
            named_reports_min: self.group.reports_min,
            ..rates.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    const KEY: &str = "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f";

    #[test]
    fn what_is_wrong_with_a_group_is_named() {
        let group = |rest: &str| format!("[group]\nkey = \"{KEY}\"\n{rest}");
        check(&group(""), None);
        check(&group("threshold_nats = 4.0\nreports_min = 2"), None);
        check(&format!("[group]\nsites = [\"{KEY}\"]"), None);
        check("[group]\nthreshold_nats = 4.0", Some("name its key or its sites"));
        check(&group(&format!("sites = [\"{KEY}\"]")), Some("one or the other"));
        check("[group]\nkey = \"abc\"", Some("group: key: must be 64 hexadecimal digits"));
        check("[group]\nsites = [\"abc\"]", Some("group: sites"));
        check(&group("treshold_nats = 4"), Some("treshold_nats"));
        check(&group("reports_min = 0"), Some("reports_min"));
        check(&group("threshold_nats = 3.0"), Some("group: filter_spam_nats"));
        check(&group("bootstrap = [\"a b\"]"), Some("group: bootstrap"));
        check(&format!("group_key = \"{KEY}\"\n{}", group("")), Some("of the top level already"));
    }

    #[test]
    fn two_networks_never_listen_at_one_place() {
        let both = |main: &str, group: &str| {
            format!(
                "network_listen = [\"{main}\"]\n[group]\nkey = \"{KEY}\"\nlisten = [\"{group}\"]"
            )
        };
        let taken = Some("port 25725 is in network_listen too");
        check(&both("/ip4/0.0.0.0/tcp/25725", "/ip4/0.0.0.0/tcp/25725"), taken);
        check(&both("/ip4/0.0.0.0/tcp/25725", "/ip4/10.0.0.1/tcp/25725"), taken);
        check(&both("/ip4/10.0.0.1/udp/25725/quic-v1", "/ip4/0.0.0.0/udp/25725/quic-v1"), taken);
        check(&both("/ip4/10.0.0.2/tcp/25725", "/ip4/10.0.0.1/tcp/25725"), None);
        check(&both("/ip4/0.0.0.0/tcp/25725", "/ip4/0.0.0.0/udp/25725/quic-v1"), None);
        check(&both("/ip4/0.0.0.0/tcp/25725", "/ip6/::/tcp/25725"), None);
        check(&both("/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/tcp/0"), None);
    }
}
