//! Peers that are slow on purpose: some send a byte a second and never end, some ask and never
//! read. Both are cut off in time, bounded and counted, and honest mail notices nothing.

use std::time::{Duration, Instant};

use futures::{AsyncWriteExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Codec, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, SwarmBuilder, noise, tcp, yamux};
use novacula_catalog::node::Group;
use novacula_catalog::node::wire::Request;
use novacula_tests::harness::Place;
use novacula_tests::wire::protocol;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::internet::Internet;
use super::sites::{Voice, serve, wait_met};

/// Slow peers, and streams that each tries to hold open.
const PEERS: usize = 8;
const STREAMS: usize = 200;
/// How long they try: longer than the 10 s that a request may take to come in.
const TRY_TIME: Duration = Duration::from_secs(20);
/// Growth of memory that is too much: 8 peers with 64 streams of 16 KiB each, twice.
const GROWTH_MAX_KIB: u64 = 32 << 10;

/// Nothing to send means a byte a second for ever; what there is to send is sent, and the answer
/// never read.
#[derive(Clone, Default)]
struct Slow;

impl Codec for Slow {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, _: &mut T) -> std::io::Result<Vec<u8>>
    where
        T: futures::AsyncRead + Unpin + Send,
    {
        Ok(Vec::new())
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, _: &mut T) -> std::io::Result<Vec<u8>>
    where
        T: futures::AsyncRead + Unpin + Send,
    {
        tokio::time::sleep(10 * TRY_TIME).await;
        Ok(Vec::new())
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
        if !bytes.is_empty() {
            return io.write_all(&bytes).await;
        }
        loop {
            io.write_all(&[1]).await?;
            io.flush().await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
        _: Vec<u8>,
    ) -> std::io::Result<()>
    where
        T: futures::AsyncWrite + Unpin + Send,
    {
        Ok(())
    }
}

/// One slow peer; ends after its time.
async fn dawdle(target: Multiaddr, protocol: String) {
    let protocol = StreamProtocol::try_from_owned(protocol).unwrap();
    let mut swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| {
            let config = request_response::Config::default()
                .with_request_timeout(10 * TRY_TIME)
                .with_max_concurrent_streams(STREAMS);
            let protocols = [(protocol, ProtocolSupport::Full)];
            request_response::Behaviour::with_codec(Slow, protocols, config)
        })
        .unwrap()
        .build();
    swarm.dial(target).unwrap();
    let end = Instant::now() + TRY_TIME;
    while Instant::now() < end {
        let event = tokio::time::timeout(Duration::from_secs(1), swarm.select_next_some()).await;
        let Ok(SwarmEvent::ConnectionEstablished { peer_id, .. }) = event else { continue };
        for number in 0..STREAMS {
            let fetch = Request::Fetch(Vec::new()).encode();
            let request = if number % 2 == 0 { Vec::new() } else { fetch };
            swarm.behaviour_mut().send_request(&peer_id, request);
        }
    }
}

#[test]
fn slow_peers_harm_nobody() {
    let internet = Internet::new(3, Duration::from_millis(1));
    let places: Vec<Place> = (0..2).map(|_| Place::new()).collect();
    let daemons: Vec<_> = (1..=2).map(|n| serve(&places[n - 1], internet.site(n), n)).collect();
    let mut voices: Vec<Voice> = places.iter().map(Voice::of).collect();
    wait_met(&mut voices, 2, Duration::from_secs(30));
    let (rss_before, pid) = (daemons[0].rss_kib(), internet.site(3).pid());
    let slow = std::thread::spawn(move || {
        let network = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
        let network = std::os::fd::AsFd::as_fd(&network);
        move_into_link_name_space(network, Some(LinkNameSpaceType::Network)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let target: Multiaddr = "/ip4/10.0.1.2/tcp/25725".parse().unwrap();
        let group = protocol(Group::Key([0x5f; 32]).id(), 1);
        let all = (0..PEERS).map(|_| dawdle(target.clone(), group.clone()));
        runtime.block_on(futures::future::join_all(all));
    });
    let (mut slowest, mut most, mut number) = (Duration::ZERO, 0, 0);
    while !slow.is_finished() {
        voices[1].deliver(number);
        let (answer, took) = voices[0].deliver(number);
        assert_eq!(answer.spread, 2, "honest peers are served: {answer:?}");
        slowest = slowest.max(took);
        most = most.max(daemons[0].rss_kib());
        number += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    slow.join().unwrap();
    let broken = voices[0].counter("frames_broken");
    let (strangers, grown) =
        (voices[0].counter("strangers_refused"), most.saturating_sub(rss_before));
    println!(
        "{PEERS} slow peers with {STREAMS} streams each: {broken} requests cut off, {strangers} \
         answers that nobody read; {number} honest pairs meanwhile, slowest {slowest:?}; {grown} KiB more"
    );
    assert!(broken as usize >= PEERS, "what is too slow is cut off and counted");
    assert!(strangers as usize >= PEERS, "who does not read is answered all the same");
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB more");
    // libp2p warns of each stream that is one too many.
    let log = daemons[0].log();
    assert!(!log.contains("Dropping inbound stream"), "{} lines", log.lines().count());
}
