//! What libp2p does for a node, put together: bounds first, then the requests, discovery, gossip
//! and the ways around a NAT. The order of the fields is the order in which they are asked about
//! a connection, so the bounds stand first.

use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::gossipsub::{self, IdentTopic};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, StreamProtocol, allow_block_list, autonat, connection_limits, dcutr, identify, kad,
    mdns, memory_connection_limits, relay,
};
use novacula_catalog::node::wire::GOSSIP_LEN_MAX;
use novacula_catalog::node::{GroupId, Topic};

use crate::codec::Frames;
use crate::crowd::Crowd;
use crate::start::{NetError, Settings};

/// Most connections from one address, whatever the total (an argument: fifty mail exchangers of
/// one provider may stand behind one address, and each needs one).
const PER_ADDRESS_MAX: u32 = 64;
/// Most connections with one peer: one each way, and one more while they change over.
const PER_PEER_MAX: u32 = 4;
/// Most connections that are being made, each way.
const PENDING_MAX: u32 = 256;
/// Resident memory from which no new connection is made, in bytes: the agent's own data take
/// some 200 MiB at their bounds, 1,000 connections over QUIC 95 MiB (measured).
const MEMORY_MAX: usize = 1 << 30;
/// Most requests of one peer under way at a time on one connection. What a peer has beyond is dropped
/// unread; so no node has more under way to a peer, see [`crate::outgoing`].
pub(crate) const STREAMS_MAX: usize = 64;
/// Longest time for a peer's request, from its first byte to its answer's last.
const SERVING_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest wait for any response: twice the node's own longest. Until then a request that the node has
/// given up is a stream of the connection.
pub(crate) const ASKING_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest walk through Kademlia (its default is 60 s).
const WALK_TIME_MAX: Duration = Duration::from_secs(20);
/// How often Kademlia refreshes its table (its default).
const WALK_EVERY: Duration = Duration::from_secs(5 * 60);
/// Bytes that gossip wraps around an announcement: topic and lengths.
const GOSSIP_WRAP_MAX: usize = 512;

/// All that runs on a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    crowd: Crowd,
    pub(crate) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    /// What peers ask, and what is asked of them: each with streams of its own, so that neither takes
    /// the other's.
    pub(crate) serving: request_response::Behaviour<Frames>,
    pub(crate) asking: request_response::Behaviour<Frames>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) gossip: gossipsub::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    relay_client: relay::client::Behaviour,
    relay: Toggle<relay::Behaviour>,
    dcutr: dcutr::Behaviour,
    pub(crate) autonat: autonat::v1::Behaviour,
}

/// The names that one network of peers has on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Requests and responses, the newest version first.
    pub(crate) frames: Vec<StreamProtocol>,
    kad: StreamProtocol,
    /// Counts what is cut off while it is read.
    pub(crate) codec: Frames,
    family: String,
    members: IdentTopic,
    hot: IdentTopic,
}

impl Names {
    pub(crate) fn of(group: GroupId, (oldest, newest): (u8, u8)) -> Self {
        let group: String = group.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let protocol = |what: &str, version: u8| {
            // It begins with a slash, which is all that is asked of a protocol's name.
            let name = format!("/novacula/{group}/{what}/{version}");
            StreamProtocol::try_from_owned(name).unwrap_or(StreamProtocol::new("/novacula/unnamed"))
        };
        let topic = |what: &str| IdentTopic::new(format!("novacula/{group}/{what}"));
        Self {
            frames: (oldest..=newest).rev().map(|version| protocol("node", version)).collect(),
            // One for all who can speak with each other.
            kad: protocol("kad", oldest),
            codec: Frames::default(),
            family: format!("novacula/{group}"),
            members: topic("members"),
            hot: topic("hot"),
        }
    }

    pub(crate) fn topic(&self, topic: Topic) -> IdentTopic {
        match topic {
            Topic::Members => self.members.clone(),
            Topic::Hot => self.hot.clone(),
        }
    }

    pub(crate) fn topic_of(&self, hash: &gossipsub::TopicHash) -> Option<Topic> {
        [Topic::Members, Topic::Hot].into_iter().find(|topic| self.topic(*topic).hash() == *hash)
    }
}

impl Behaviour {
    pub(crate) fn new(
        key: &Keypair,
        relay_client: relay::client::Behaviour,
        names: &Names,
        settings: &Settings,
    ) -> Result<Self, NetError> {
        let peer = key.public().to_peer_id();
        let frames = |support: ProtocolSupport, longest: Duration| {
            let config = request_response::Config::default()
                .with_request_timeout(longest)
                .with_max_concurrent_streams(STREAMS_MAX);
            let protocols = names.frames.iter().map(|name| (name.clone(), support.clone()));
            request_response::Behaviour::with_codec(names.codec.clone(), protocols, config)
        };
        let mdns = match settings.mdns {
            true => {
                let mdns = mdns::tokio::Behaviour::new(mdns::Config::default(), peer);
                Some(mdns.map_err(|source| NetError::Start(format!("start mDNS: {source}")))?)
            }
            false => None,
        };
        let identify = identify::Config::new(names.family.clone(), key.public())
            .with_agent_version(crate::process::name());
        Ok(Self {
            limits: limits(settings.connections_max),
            memory: memory_connection_limits::Behaviour::with_max_bytes(MEMORY_MAX),
            crowd: Crowd::new(PER_ADDRESS_MAX),
            blocked: allow_block_list::Behaviour::default(),
            serving: frames(ProtocolSupport::Inbound, SERVING_TIME_MAX),
            asking: frames(ProtocolSupport::Outbound, ASKING_TIME_MAX),
            identify: identify::Behaviour::new(identify),
            kad: discovery(peer, names),
            gossip: gossip(names)?,
            mdns: mdns.into(),
            relay_client,
            relay: settings
                .relay
                .then(|| relay::Behaviour::new(peer, relay::Config::default()))
                .into(),
            dcutr: dcutr::Behaviour::new(peer),
            autonat: autonat::v1::Behaviour::new(
                peer,
                autonat::v1::Config {
                    // What is reachable in a network of private addresses is reachable.
                    only_global_ips: false,
                    ..autonat::v1::Config::default()
                },
            ),
        })
    }
}

fn limits(connections_max: u32) -> connection_limits::Behaviour {
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_MAX))
        .with_max_pending_outgoing(Some(PENDING_MAX))
        // Half is for those who come, so that they can't keep this node from dialling.
        .with_max_established_incoming(Some(connections_max / 2))
        .with_max_established(Some(connections_max))
        .with_max_established_per_peer(Some(PER_PEER_MAX));
    connection_limits::Behaviour::new(limits)
}

/// Kademlia for finding peers and nothing else: it keeps no record and no provider of anybody.
fn discovery(peer: PeerId, names: &Names) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(names.kad.clone());
    config
        .set_query_timeout(WALK_TIME_MAX)
        .disjoint_query_paths(true)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_caching(kad::Caching::Disabled)
        // Only who is known to speak our protocol is put in, by hand.
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_periodic_bootstrap_interval(Some(WALK_EVERY));
    if let Some(parallel) = NonZeroUsize::new(3) {
        config.set_parallelism(parallel);
    }
    let nothing =
        MemoryStoreConfig { max_records: 0, max_provided_keys: 0, ..MemoryStoreConfig::default() };
    let store = MemoryStore::with_config(peer, nothing);
    let mut kad = kad::Behaviour::with_config(peer, store, config);
    // It would start as a client, and nobody would be found.
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

/// Gossip without names: what is announced is signed by who said it, and who passes it on
/// need not be known.
fn gossip(names: &Names) -> Result<gossipsub::Behaviour, NetError> {
    let wrong = |reason: String| NetError::Start(format!("start the gossip: {reason}"));
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .max_transmit_size(GOSSIP_LEN_MAX + GOSSIP_WRAP_MAX)
        .message_id_fn(|message| {
            // The same announcement has the same name, whoever made it.
            gossipsub::MessageId::from(blake3::hash(&message.data).as_bytes()[..20].to_vec())
        })
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config)
        .map_err(|reason| wrong(reason.into()))?;
    let mut score = gossipsub::PeerScoreParams::default();
    score.ip_colocation_factor_whitelist.extend(
        ["127.0.0.1", "::1"].map(|text| {
            text.parse().unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
        }),
    );
    for topic in [&names.members, &names.hot] {
        score.topics.insert(
            topic.hash(),
            gossipsub::TopicScoreParams {
                // Announcements are rare: a peer that has none to bring has done no wrong.
                mesh_message_deliveries_weight: 0.0,
                mesh_failure_penalty_weight: 0.0,
                ..gossipsub::TopicScoreParams::default()
            },
        );
        gossip.subscribe(topic).map_err(|error| wrong(error.to_string()))?;
    }
    gossip.with_peer_score(score, gossipsub::PeerScoreThresholds::default()).map_err(wrong)?;
    Ok(gossip)
}
