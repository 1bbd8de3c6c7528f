//! The network side alone, without an agent around it: a real node behind the real driver
//! ([`live`]), and a peer of our own making that speaks bytes ([`Stranger`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Codec, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use novacula_catalog::node::wire::{Observe, Refusal, Request, Response, Said};
use novacula_catalog::node::{
    CERTIFICATE_SECS, Config, Group, GroupId, HostCertificate, MemberRecord, Start,
};
use novacula_catalog::{Key, Time};
use novacula_net::{Handle, Settings, Told};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::simulation::hostile::{NOW, Peer};

/// Longest wait of a stranger for an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Connections of a flooder, and streams of each: what the driver admits.
pub const CONNECTIONS: usize = 4;
/// See [`CONNECTIONS`].
pub const STREAMS: usize = 64;

/// A runtime of one thread.
///
/// # Panics
/// When the machine has none to give.
#[must_use]
pub fn runtime() -> Runtime {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.expect("a runtime")
}

/// Peer number `number` floods with requests of so many keys, on a thread of its own: in one runtime the
/// first flooders keep the others waiting.
#[must_use]
pub fn flooder(
    number: u16,
    address: &Multiaddr,
    keys: usize,
    longest: Duration,
) -> JoinHandle<Flooding> {
    let address = address.clone();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let mut client = Client::meet(number, &address).await;
            client.widen(&address, CONNECTIONS).await;
            client.flood(CONNECTIONS * STREAMS, keys, longest).await
        })
    })
}

/// The name of the requests of a network of peers.
#[must_use]
pub fn protocol(group: GroupId, version: u8) -> String {
    let group: String = group.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/novacula/{group}/node/{version}")
}

/// A node behind libp2p on loopback, whose clock stands at [`NOW`]. Needs a tokio runtime.
///
/// # Panics
/// When it can't be started.
#[must_use]
pub fn live(peer: Peer, config: Config) -> (Handle, mpsc::Receiver<Told>) {
    let listen = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"];
    let settings = Settings {
        listen: listen.map(|text| text.parse().expect("an address")).to_vec(),
        announce: Vec::new(),
        mdns: false,
        relay: false,
        behind_nat: false,
        connections_max: 1_000,
        record: None,
        clock: Arc::new(|| NOW),
    };
    let start = Start {
        certificate: HostCertificate::issue(&peer.site, peer.id(), Time(NOW.0 + CERTIFICATE_SECS)),
        host: peer.host,
        boot: NOW,
        outbox: Vec::new(),
        members: Vec::new(),
        vouches: Vec::new(),
        proofs: Vec::new(),
        addresses: Vec::new(),
    };
    novacula_net::start(settings, start, config).expect("the network side starts")
}

/// The address of a node, once it listens.
///
/// # Panics
/// When it does not listen within five seconds.
pub async fn address_of(handle: &Handle, over: &str) -> Multiaddr {
    for _ in 0..500 {
        let view = handle.view(0).await.expect("it runs");
        if let Some(found) = view.addresses.iter().find(|address| address.contains(over)) {
            return found.parse().expect("an address");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not listen over {over}");
}

/// Bytes as they come, of any length.
#[derive(Clone, Default)]
pub struct Raw;

impl Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, _: &mut T) -> std::io::Result<Vec<u8>>
    where
        T: futures::AsyncRead + Unpin + Send,
    {
        Ok(Vec::new())
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> std::io::Result<Vec<u8>>
    where
        T: futures::AsyncRead + Unpin + Send,
    {
        let mut all = Vec::new();
        io.read_to_end(&mut all).await?;
        Ok(all)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> std::io::Result<()>
    where
        T: futures::AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> std::io::Result<()>
    where
        T: futures::AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }
}

/// A peer that speaks bytes.
pub type Stranger = Swarm<request_response::Behaviour<Raw>>;

/// A peer that speaks `protocol`, with this key; one that is `quick` sends before the other side
/// has agreed, as nodes do. Needs a tokio runtime.
///
/// # Panics
/// When it can't be made.
#[must_use]
pub fn stranger(protocol: &str, key: Keypair, quick: bool) -> Stranger {
    let protocol = StreamProtocol::try_from_owned(protocol.to_owned()).expect("a name");
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .expect("TCP")
        .with_quic()
        .with_behaviour(|_| {
            let config = request_response::Config::default()
                .with_request_timeout(ANSWER_TIME_MAX)
                .with_max_concurrent_streams(64);
            let protocols = [(protocol, ProtocolSupport::Full)];
            request_response::Behaviour::with_codec(Raw, protocols, config)
        })
        .expect("a behaviour")
        .with_swarm_config(|config| {
            let config = config.with_idle_connection_timeout(Duration::from_secs(120));
            match quick {
                true => config.with_substream_upgrade_protocol_override(Version::V1Lazy),
                false => config,
            }
        })
        .build()
}

/// The key of a peer as libp2p wants it.
///
/// # Panics
/// Never: every seed is a key.
#[must_use]
pub fn keypair(peer: &Peer) -> Keypair {
    Keypair::ed25519_from_bytes(peer.host.secret_bytes()).expect("a key")
}

/// Sends one request over a connection of its own; gives the bytes of the answer.
///
/// # Errors
/// Why there is no answer.
pub async fn ask(swarm: &mut Stranger, to: &Multiaddr, frame: Vec<u8>) -> Result<Vec<u8>, String> {
    swarm.dial(to.clone()).map_err(|error| error.to_string())?;
    let mut frame = Some(frame);
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                if let Some(frame) = frame.take() {
                    swarm.behaviour_mut().send_request(&peer_id, frame);
                }
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.to_string()),
            SwarmEvent::Behaviour(event) => {
                if let Some(ended) = ended(event) {
                    return ended;
                }
            }
            _ => {}
        }
    }
}

/// What a request ended with, if the event is the end of one.
#[must_use]
pub fn ended(event: request_response::Event<Vec<u8>, Vec<u8>>) -> Option<Result<Vec<u8>, String>> {
    match event {
        request_response::Event::Message {
            message: request_response::Message::Response { response, .. },
            ..
        } => Some(Ok(response)),
        request_response::Event::OutboundFailure { error, .. } => Some(Err(error.to_string())),
        _ => None,
    }
}

/// A peer that a node has taken in, and that asks what it likes.
pub struct Client {
    swarm: Stranger,
    to: PeerId,
    rng: fastrand::Rng,
    mails: u64,
}

/// What became of a flood.
#[derive(Debug, Default)]
pub struct Flooding {
    /// Requests answered.
    pub answered: usize,
    /// Requests refused.
    pub refused: usize,
    /// Requests that ended without an answer, by reason.
    pub failed: BTreeMap<String, usize>,
    /// The node closed the last connection.
    pub cut_off: bool,
}

impl Client {
    /// Peer number `number` connects and says Hello.
    ///
    /// # Panics
    /// When it is not taken in.
    pub async fn meet(number: u16, address: &Multiaddr) -> Self {
        let peer = Peer::new(number);
        let mut swarm = stranger(&protocol(Group::Open.id(), 1), keypair(&peer), true);
        swarm.dial(address.clone()).expect("an address");
        let to = loop {
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } =
                swarm.select_next_some().await
            {
                break peer_id;
            }
        };
        let mut client = Self { swarm, to, rng: fastrand::Rng::with_seed(number.into()), mails: 0 };
        let hello = peer.hello(&Group::Open, &Group::Open).encode();
        let answer = client.trip(hello).await;
        assert!(matches!(answer, Ok(Response::Welcome { .. })), "{answer:?}");
        client
    }

    /// Peer number `number` meets a node as a member that holds keys: the node has seen where it is.
    ///
    /// # Panics
    /// When it is not taken in.
    pub async fn join(number: u16, address: &Multiaddr) -> Self {
        let mut client = Self::meet(number, address).await;
        let peer = Peer::new(number);
        let hello = client.trip(peer.hello(&Group::Open, &Group::Open).encode()).await;
        let Ok(Response::Welcome { seen: Some(seen), .. }) = hello else { panic!("{hello:?}") };
        let until = Time(NOW.0 + CERTIFICATE_SECS);
        let certificate = HostCertificate::issue(&peer.site, peer.id(), until);
        let made = Time(NOW.0 + 1);
        let record =
            MemberRecord::make(&peer.host, &Group::Open, certificate, made, vec![], vec![seen]);
        let (group, record) = (Group::Open.id(), record.to_bytes());
        let answer = client.trip(Request::Hello { versions: (1, 1), group, record }.encode()).await;
        assert!(matches!(answer, Ok(Response::Welcome { .. })), "{answer:?}");
        client
    }

    /// Takes requests and answers none for so long; how many there were.
    pub async fn keep_silent(&mut self, time: Duration) -> usize {
        let end = tokio::time::Instant::now() + time;
        let mut kept = Vec::new();
        while let Ok(event) = tokio::time::timeout_at(end, self.swarm.select_next_some()).await {
            if let SwarmEvent::Behaviour(request_response::Event::Message {
                message: request_response::Message::Request { channel, .. },
                ..
            }) = event
            {
                kept.push(channel);
            }
        }
        kept.len()
    }

    /// Makes further connections, until there are so many.
    ///
    /// # Panics
    /// When the address can't be dialled.
    pub async fn widen(&mut self, address: &Multiaddr, connections: usize) {
        for _ in 1..connections {
            let opts = DialOpts::peer_id(self.to).condition(PeerCondition::Always);
            self.swarm.dial(opts.addresses(vec![address.clone()]).build()).expect("an address");
        }
        for _ in 1..connections {
            while !matches!(
                self.swarm.select_next_some().await,
                SwarmEvent::ConnectionEstablished { .. }
                    | SwarmEvent::OutgoingConnectionError { .. }
            ) {}
        }
    }

    /// What a request ended with. What the node asks is refused: no answer would be a false one.
    fn heard(
        &mut self,
        event: request_response::Event<Vec<u8>, Vec<u8>>,
    ) -> Option<Result<Vec<u8>, String>> {
        if let request_response::Event::Message {
            message: request_response::Message::Request { channel, .. },
            ..
        } = event
        {
            let frame = Response::Refused { why: Refusal::Full, retry_secs: 60 }.encode();
            let _ = self.swarm.behaviour_mut().send_response(channel, frame);
            return None;
        }
        ended(event)
    }

    /// Sends a request; the answer comes from [`Client::answer`].
    pub fn send(&mut self, frame: Vec<u8>) {
        self.swarm.behaviour_mut().send_request(&self.to, frame);
    }

    /// The next answer.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// When it is no frame.
    pub async fn answer(&mut self) -> Result<Response, String> {
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::Behaviour(event) => {
                    if let Some(ended) = self.heard(event) {
                        return ended.map(|frame| Response::decode(&frame).expect("a frame"));
                    }
                }
                SwarmEvent::ConnectionClosed { num_established: 0, cause, .. } => {
                    return Err(format!("the connection was closed: {cause:?}"));
                }
                _ => {}
            }
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn trip(&mut self, frame: Vec<u8>) -> Result<Response, String> {
        self.send(frame);
        self.answer().await
    }

    /// One mail with so many new keys, stated and asked.
    pub fn observe(&mut self, keys: usize) -> Vec<u8> {
        let peer = Peer::new(0);
        self.mails += 1;
        let keys = (0..keys).map(|_| Key(self.rng.u64(..))).collect();
        let one = peer.statement(self.mails, Time(NOW.0).epoch(), keys, false);
        let (mail, seq, epoch, kind) = (one.mail, one.seq, one.epoch, one.kind);
        let keys = one.keys().to_vec();
        let said = Said::Record { mail, seq, epoch, kind, home: keys[0] };
        let all = (1 << keys.len()) - 1;
        let known = Vec::new();
        Request::Observe(Observe { keys, ask: all, under: all, said, inline: false, known })
            .encode()
    }

    /// Keeps so many requests under way, until the node has had enough or the time is over.
    pub async fn flood(&mut self, under_way: usize, keys: usize, longest: Duration) -> Flooding {
        let (mut done, mut missing) = (Flooding::default(), 0);
        let end = tokio::time::Instant::now() + longest;
        for _ in 0..under_way {
            let frame = self.observe(keys);
            self.send(frame);
        }
        while let Ok(event) = tokio::time::timeout_at(end, self.swarm.select_next_some()).await {
            match event {
                SwarmEvent::ConnectionClosed { num_established: 0, .. } => {
                    done.cut_off = true;
                    break;
                }
                SwarmEvent::Behaviour(event) => {
                    match self.heard(event) {
                        None => continue,
                        Some(Ok(frame)) => {
                            let answer = Response::decode(&frame);
                            let refused = matches!(answer, Ok(Response::Refused { .. }));
                            done.answered += usize::from(!refused);
                            done.refused += usize::from(refused);
                        }
                        Some(Err(why)) => {
                            // A connection took fewer than its share: made up for by the next.
                            *done.failed.entry(why).or_default() += 1;
                            missing += 1;
                            continue;
                        }
                    }
                    for _ in 0..1 + std::mem::take(&mut missing) {
                        let frame = self.observe(keys);
                        self.send(frame);
                    }
                }
                _ => {}
            }
        }
        done
    }
}
