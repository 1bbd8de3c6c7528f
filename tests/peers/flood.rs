//! A flood over real sockets: who goes on asking after it was refused is cut off, who waits is not,
//! and an honest peer is served all the while.

use std::time::{Duration, Instant};

use novacula_catalog::node::Config;
use novacula_catalog::node::wire::{Refusal, Response};
use novacula_tests::simulation::hostile::Peer;
use novacula_tests::wire::{CONNECTIONS, Client, STREAMS, address_of, flooder, live, runtime};

/// Keys of a request, as of a mail.
const KEYS: usize = 23;
/// Longest flood, should nobody cut it off.
const FLOOD_TIME: Duration = Duration::from_secs(60);
/// Longest that an honest request may take, on a machine that does other things as well.
const TRIP_TIME_MAX: Duration = Duration::from_secs(2);

/// A peer that does as it is told: it asks until it is refused, waits, and asks again.
async fn wait_politely(client: &mut Client) {
    let told = loop {
        let frame = client.observe(KEYS);
        client.send(frame);
        match client.answer().await.unwrap() {
            Response::Refused { why, retry_secs } => break (why, retry_secs),
            Response::Observed { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told, (Refusal::Quota, 10));
    tokio::time::sleep(Duration::from_secs(told.1.into())).await;
    for _ in 0..50 {
        let frame = client.observe(KEYS);
        let answer = client.trip(frame).await;
        assert!(matches!(answer, Ok(Response::Observed { .. })), "{answer:?}");
    }
}

#[test]
fn who_goes_on_asking_is_cut_off_and_who_waits_is_not() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // On loopback all are in one network.
        let most = u32::MAX;
        let config = Config {
            keys_per_second_network: most,
            keys_per_second_all: most,
            ..Config::default()
        };
        let (node, mut told) = live(Peer::new(60_000), config);
        tokio::spawn(async move { while told.recv().await.is_some() {} });
        let address = address_of(&node, "/tcp/").await;
        let mut honest = Client::meet(1, &address).await;
        let mut polite = Client::meet(2, &address).await;
        let mut flooders = Vec::new();
        for number in 3..6 {
            let mut flooder = Client::meet(number, &address).await;
            flooder.widen(&address, CONNECTIONS).await;
            flooders.push(flooder);
        }
        let flood = async {
            let under_way = CONNECTIONS * STREAMS;
            let each = flooders.iter_mut().map(|one| one.flood(under_way, KEYS, FLOOD_TIME));
            let done = futures::future::join_all(each).await;
            println!("{done:?}");
            for (flooder, done) in flooders.iter_mut().zip(done) {
                assert!(done.cut_off, "{done:?}");
                assert!(done.refused > 500 && done.refused < 4_000, "{done:?}");
                // And is not heard when it comes back at once.
                let frame = flooder.observe(KEYS);
                flooder.trip(frame).await.unwrap_err();
            }
        };
        let (mut slowest, mut trips) = (Duration::ZERO, 0);
        let served = async {
            let end = Instant::now() + Duration::from_secs(12);
            while Instant::now() < end {
                let frame = honest.observe(KEYS);
                let started = Instant::now();
                let answer = honest.trip(frame).await;
                slowest = slowest.max(started.elapsed());
                trips += 1;
                assert!(matches!(answer, Ok(Response::Observed { .. })), "{answer:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        futures::join!(flood, served, wait_politely(&mut polite));
        let view = node.view(0).await.unwrap();
        println!("{trips} honest trips, slowest {slowest:?}; {:?}", view.counts);
        assert_eq!(view.counters.peers_cut_off, 3, "the flooders, and nobody else");
        assert!(trips > 100 && slowest < TRIP_TIME_MAX, "{trips}, {slowest:?}");
        assert!(view.counts.waiting_most <= 3 * 256 + 2, "{:?}", view.counts);
    });
}

/// Who floods a node that refuses nobody, so that the flood does not end.
const CROWD: u16 = 10;
/// How long, and how long until they have all come.
const CROWD_TIME: Duration = Duration::from_secs(10);
const GATHERING_TIME: Duration = Duration::from_secs(4);

#[test]
fn newcomers_are_let_in_during_a_flood() {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        runtime().block_on(async {
            let most = u32::MAX;
            let config = Config {
                keys_per_second_peer: most,
                keys_per_second_network: most,
                keys_per_second_all: most,
                ..Config::default()
            };
            let (node, mut heard) = live(Peer::new(60_000), config);
            let address = address_of(&node, "/quic-v1").await;
            tell.send((node, address)).unwrap();
            while heard.recv().await.is_some() {}
        });
    });
    let (node, address) = told.recv().unwrap();
    let flood = |number: u16| flooder(100 + number, &address, KEYS, CROWD_TIME);
    let flooders: Vec<_> = (0..CROWD).map(flood).collect();
    std::thread::sleep(GATHERING_TIME);
    let started = Instant::now();
    let welcome = async { tokio::time::timeout(CROWD_TIME, Client::meet(1, &address)).await };
    assert!(runtime().block_on(welcome).is_ok(), "a newcomer is let in");
    println!("a newcomer was welcome after {:?}", started.elapsed());
    let made = runtime().block_on(node.view(0)).unwrap().counts.connections_made;
    assert!(flooders.iter().all(|one| !one.is_finished()), "the flood goes on");
    // Everybody's: a node that has no time for new ones has some of the first flooders' here.
    assert_eq!(made, u64::from(CROWD) * CONNECTIONS as u64 + 1);
    let answered: usize = flooders.into_iter().map(|one| one.join().unwrap().answered).sum();
    assert!(answered > 1_000, "it is one: {answered}");
}
