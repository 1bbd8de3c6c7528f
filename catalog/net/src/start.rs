//! Settings of the network side, and its start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, noise, tcp, yamux};
use novacula_catalog::Time;
use novacula_catalog::node::{Config, Start};
use tokio::sync::mpsc;

use crate::behaviour::{Behaviour, Names};
use crate::driver::Driver;
use crate::handle::{Handle, Told};
use crate::record::Recorder;

/// Most questions that wait for the task; beyond, a mail is judged by what is known at home.
const ASKS_MAX: usize = 4096;
/// Most words that wait for the agent; beyond, they are dropped and counted.
const TOLD_MAX: usize = 4096;
/// A connection without a request for so long is closed: 10,000 peers can't all stay connected
/// (95 KiB each), and a new connection costs one round trip more over QUIC.
const IDLE_TIME_MAX: Duration = Duration::from_secs(120);

/// The wall clock.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// What the network side needs to know beside the node's own configuration.
#[derive(Clone)]
pub struct Settings {
    /// Addresses to listen on.
    pub listen: Vec<Multiaddr>,
    /// Addresses to tell others; empty: those listened on.
    pub announce: Vec<Multiaddr>,
    /// Look for peers in the local network.
    pub mdns: bool,
    /// Help peers behind a NAT to be reached.
    pub relay: bool,
    /// This node is behind a NAT: be reached through the first peers.
    pub behind_nat: bool,
    /// Most connections.
    pub connections_max: u32,
    /// Where every frame sent is written down; none: nowhere.
    pub record: Option<PathBuf>,
    /// The wall clock.
    pub clock: Clock,
}

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// An address can't be listened on.
    #[error(
        "listen on {address}: {reason}; change network_listen (for the private group, listen in [group]), or stop what uses the port"
    )]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        reason: String,
    },
    /// Something else failed.
    #[error("{0}")]
    Start(String),
}

/// Starts the network side on the current tokio runtime.
///
/// # Errors
/// [`NetError`], with what to mend.
pub fn start(
    settings: Settings,
    start: Start,
    config: Config,
) -> Result<(Handle, mpsc::Receiver<Told>), NetError> {
    let names = Names::of(config.group.id(), config.versions);
    let mut seed = start.host.secret_bytes();
    let key = Keypair::ed25519_from_bytes(&mut seed)
        .map_err(|error| NetError::Start(format!("use the host's key: {error}")))?;
    let mut swarm = swarm(&key, &names, &settings)?;
    for address in &settings.listen {
        swarm.listen_on(address.clone()).map_err(|error| NetError::Listen {
            address: address.clone(),
            reason: error.to_string(),
        })?;
    }
    for address in &settings.announce {
        swarm.add_external_address(address.clone());
    }
    let recorder = settings.record.as_deref().map(Recorder::open).transpose();
    let recorder = recorder.map_err(|error| {
        let path = settings.record.clone().unwrap_or_default();
        NetError::Start(format!("write to network_record {}: {error}", path.display()))
    })?;
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let (tell, told) = mpsc::channel(TOLD_MAX);
    let driver = Driver::new(swarm, names, settings, recorder, start, config, tell);
    tokio::spawn(driver.run(asked));
    Ok((Handle { asks }, told))
}

fn swarm(key: &Keypair, names: &Names, settings: &Settings) -> Result<Swarm<Behaviour>, NetError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        NetError::Start(format!("start {what}: {error}"))
    };
    let builder = SwarmBuilder::with_existing_identity(key.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| failed("TCP", &error))?
        .with_quic()
        .with_dns()
        .map_err(|error| failed("DNS; look at /etc/resolv.conf", &error))?
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .map_err(|error| failed("the relay client", &error))?;
    let mut wrong = None;
    let built = builder.with_behaviour(|key, relay_client| {
        Behaviour::new(key, relay_client, names, settings).map_err(|error| {
            let text = error.to_string();
            wrong = Some(error);
            text.into()
        })
    });
    let builder = match built {
        Ok(builder) => builder,
        Err(error) => return Err(wrong.unwrap_or(failed("the swarm", &error))),
    };
    Ok(builder
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(IDLE_TIME_MAX)
                // One round trip less for each new stream: 53 ms for 106 (measured at 50 ms).
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
        })
        .build())
}

/// Addresses of this node that others can dial, each once and best first: not those of this host
/// alone, unless there are no others (several nodes on one host). libp2p names one that is listened on
/// and confirmed twice, and where another peer confirmed it, with this node's name behind it.
pub(crate) fn reachable<'a>(
    addresses: impl Iterator<Item = &'a Multiaddr>,
    own: &PeerId,
) -> Vec<String> {
    let mut all: Vec<Multiaddr> = Vec::new();
    for address in addresses {
        let mut address = address.clone();
        // Through a relay the name says who is meant.
        if !is_relayed(&address) && address.iter().last() == Some(Protocol::P2p(*own)) {
            address.pop();
        }
        if !all.contains(&address) {
            all.push(address);
        }
    }
    let (local, mut others): (Vec<Multiaddr>, Vec<Multiaddr>) = all.into_iter().partition(is_local);
    if others.is_empty() {
        others = local;
    }
    // QUIC first: it needs a round trip less.
    others.sort_by_key(|address| !address.iter().any(|part| part == Protocol::QuicV1));
    others.iter().map(ToString::to_string).collect()
}

pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

pub(crate) fn is_local(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(address) => address.is_loopback() || address.is_link_local(),
        Protocol::Ip6(address) => {
            address.is_loopback() || (address.segments()[0] & 0xffc0) == 0xfe80
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With `relay`, the default, each address listened on is told to libp2p as one to be reached at,
    /// and it took two of the four places in the membership record.
    #[test]
    fn each_address_is_named_once() {
        let own = PeerId::random();
        let named = |text: &str| format!("{text}/p2p/{own}").parse::<Multiaddr>().unwrap();
        let address = |text: &str| text.parse::<Multiaddr>().unwrap();
        let (tcp, quic) = ("/ip4/192.0.2.7/tcp/25725", "/ip4/192.0.2.7/udp/25725/quic-v1");
        let six = "/ip6/2001:db8::7/udp/25725/quic-v1";
        let relay = format!("/ip4/192.0.2.9/tcp/1/p2p/{}/p2p-circuit", PeerId::random());
        let external = [address(tcp), address(quic), named(quic), named(&relay)];
        let heard =
            [address("/ip4/127.0.0.1/tcp/25725"), address(tcp), address(quic), address(six)];
        let all: Vec<Multiaddr> =
            external.into_iter().chain(heard).chain([named(&relay)]).collect();
        let relayed = named(&relay).to_string();
        assert_eq!(reachable(all.iter(), &own), [quic, six, tcp, &relayed]);
        // Another's name is no part of this node's address.
        let other = [address(&format!("{tcp}/p2p/{}", PeerId::random())), address(tcp)];
        assert_eq!(reachable(other.iter(), &own).len(), 2);
    }
}
