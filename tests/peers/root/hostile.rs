//! A peer that keeps to nothing: frames too long and malformed, another version, another network,
//! and more connections than anybody needs. Honest peers are served all the while.

use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use novacula_catalog::node::Group;
use novacula_catalog::node::wire::{Refusal, Request, Response};
use novacula_tests::harness::Place;
use novacula_tests::is_full;
use novacula_tests::wire::{Stranger, ask, protocol, stranger};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::internet::Internet;
use super::sites::{GROUP_KEY, Voice, serve, wait_met};

/// Connections that the flood opens.
const FLOOD: usize = 1_000;

/// The refusal in a response.
fn refusal(answer: &[u8]) -> Option<Refusal> {
    match Response::decode(answer) {
        Ok(Response::Refused { why, .. }) => Some(why),
        _ => None,
    }
}

/// Nobody that anybody knows.
fn nobody(protocol: &str) -> Stranger {
    stranger(protocol, Keypair::generate_ed25519(), false)
}

/// Frames that nobody should send, each over a connection of its own.
async fn misbehave(target: &Multiaddr) {
    let group = Group::Key([0x5f; 32]).id();
    let ours = protocol(group, 1);
    let long = vec![1; 10 << 20];
    let answer = ask(&mut nobody(&ours), target, long).await;
    assert!(answer.is_err() || answer.as_ref().is_ok_and(Vec::is_empty), "a frame of 10 MiB");
    let mut rng = fastrand::Rng::with_seed(1);
    for len in [0, 1, 2, 3, 50, 1_000, 16 << 10] {
        let bytes: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
        let answer = ask(&mut nobody(&ours), target, bytes).await.unwrap();
        let why = refusal(&answer);
        let expected = [Refusal::Malformed, Refusal::Version, Refusal::Stranger];
        assert!(why.is_some_and(|why| expected.contains(&why)), "{len} random bytes: {why:?}");
    }
    // Nobody asks before he has said who he is.
    let fetch = Request::Fetch(Vec::new()).encode();
    let answer = ask(&mut nobody(&ours), target, fetch).await.unwrap();
    assert_eq!(refusal(&answer), Some(Refusal::Stranger));
    // A version from the future is refused by name, in the protocol's name and in the Hello.
    let next = protocol(group, 2);
    let error = ask(&mut nobody(&next), target, Vec::new()).await.unwrap_err();
    assert!(error.contains("supports none"), "{error}");
    let hello = Request::Hello { versions: (9, 12), group, record: vec![1, 2, 3] }.encode();
    let answer = ask(&mut nobody(&ours), target, hello).await.unwrap();
    assert_eq!(refusal(&answer), Some(Refusal::Version));
    // Another private network has another protocol.
    let open = protocol(Group::Open.id(), 1);
    assert!(ask(&mut nobody(&open), target, Vec::new()).await.is_err());
}

#[test]
fn a_hostile_peer_harms_nobody() {
    let internet = Internet::new(4, Duration::from_millis(1));
    let places: Vec<Place> = (0..3).map(|_| Place::new()).collect();
    let daemons: Vec<_> = (1..=3).map(|n| serve(&places[n - 1], internet.site(n), n)).collect();
    let mut voices: Vec<Voice> = places.iter().map(Voice::of).collect();
    wait_met(&mut voices, 3, Duration::from_secs(30));
    let rss_before = daemons[0].rss_kib();
    let pid = internet.site(4).pid();
    assert_eq!(GROUP_KEY, "5f".repeat(32));

    let hostile = std::thread::spawn(move || {
        let network = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
        let network = std::os::fd::AsFd::as_fd(&network);
        move_into_link_name_space(network, Some(LinkNameSpaceType::Network)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            misbehave(&"/ip4/10.0.1.2/tcp/25725".parse().unwrap()).await;
            // Then connections, as many as one host can make, kept open and idle.
            let count = if is_full() { 10 * FLOOD } else { FLOOD };
            let mut open = Vec::new();
            let mut refused = 0;
            for _ in 0..count {
                let connecting = tokio::net::TcpStream::connect("10.0.1.2:25725");
                match tokio::time::timeout(Duration::from_secs(2), connecting).await {
                    Ok(Ok(stream)) => open.push(stream),
                    _ => refused += 1,
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            println!("{} of {count} connections opened, {refused} not even that", open.len());
        });
    });
    let mut slowest = Duration::ZERO;
    let mut number = 0;
    while !hostile.is_finished() {
        let started = Instant::now();
        voices[1].deliver(number);
        let (answer, _) = voices[0].deliver(number);
        slowest = slowest.max(started.elapsed());
        assert_eq!(answer.spread, 2, "honest peers are served: {answer:?}");
        number += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    hostile.join().unwrap();
    let refused = voices[0].counter("connections_refused");
    let broken = voices[0].counter("frames_malformed") + voices[0].counter("frames_broken");
    let grown = daemons[0].rss_kib().saturating_sub(rss_before);
    println!(
        "{number} honest pairs meanwhile, slowest {slowest:?}; {refused} connections refused, \
         {broken} frames broken or malformed, {grown} KiB more in memory"
    );
    assert!(broken >= 5, "what is malformed is counted");
    assert!(refused as usize >= FLOOD / 2, "the flood is refused at the bound");
    assert!(grown < 64 << 10, "{grown} KiB more");
}
