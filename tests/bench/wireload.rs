//! What one real node behind libp2p answers on one core, and how long a round trip takes beside a
//! bare QUIC echo of the same bytes, in turns in one run. Build with --release first.
//!
//!     wireload [--requests N] [--clients N] [--trips N]
//!     wireload --flooders N [--trips N]
//!
//! The node has a thread of its own, whose processor time is read from the kernel; clients and
//! the other end of the echo share another.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Multiaddr;
use libp2p::core::muxing::StreamMuxerExt;
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p::core::{Endpoint, Transport};
use libp2p::identity::Keypair;
use libp2p::quic;
use novacula_catalog::node::Config;
use novacula_catalog::node::wire::{Response, Standing};
use novacula_tests::simulation::hostile::Peer;
use novacula_tests::wire::{Client, address_of, flooder, live, runtime};

/// Measures one node on the wire.
#[derive(Parser)]
struct Args {
    /// Observations sent as fast as they are answered.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Peers that send them.
    #[arg(long, default_value_t = 4)]
    clients: u16,
    /// Round trips, one after another, of each sort.
    #[arg(long, default_value_t = 2_000)]
    trips: usize,
    /// Over TCP instead of QUIC.
    #[arg(long)]
    tcp: bool,
    /// Instead: round trips of an honest peer while so many flood, each with four connections.
    #[arg(long)]
    flooders: Option<u16>,
}

/// Keys of a mail, as today's engines give at most.
const KEYS: usize = 23;
/// Requests of one client under way at a time.
const UNDER_WAY: usize = 32;
/// How long a flood goes on that nobody cuts off.
const FLOOD_TIME: Duration = Duration::from_secs(5);
/// Round trips between two newcomers, and the longest wait of one.
const MEET_EVERY: usize = 20;
const MEET_TIME_MAX: Duration = Duration::from_secs(3);
/// Round trips of one sort before the other has its turn.
const TURN: usize = 100;

/// Runs `task` in a thread and runtime of its own; gives what it says first, and its thread.
fn aside<T: Send + 'static, F: Future<Output = ()>>(
    task: impl FnOnce(tokio::sync::oneshot::Sender<T>) -> F + Send + 'static,
) -> (T, i32) {
    let (say, said) = tokio::sync::oneshot::channel();
    let (thread, of) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let _ = thread.send(rustix::thread::gettid().as_raw_nonzero().get());
        runtime().block_on(task(say));
    });
    let said = runtime().block_on(said).expect("it starts");
    (said, of.recv().expect("a thread"))
}

/// Processor time of a thread of this process.
fn processor_time(thread: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"));
    let nanos = text.ok().and_then(|text| text.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanos.expect("the kernel counts it"))
}

/// The real node, on a thread of its own. With `quotas` each peer has one; that of its network,
/// in which all are here, is lifted.
fn node(over: &'static str, quotas: bool) -> (Multiaddr, i32) {
    aside(move |say| async move {
        let usual = Config::default().keys_per_second_peer;
        let config = Config {
            keys_per_second_peer: if quotas { usual } else { u32::MAX },
            keys_per_second_network: u32::MAX,
            keys_per_second_all: u32::MAX,
            // Room for all that is stated.
            records_max: 10_000_000,
            ..Config::default()
        };
        let (handle, mut told) = live(Peer::new(60_000), config);
        let _ = say.send(address_of(&handle, over).await);
        while told.recv().await.is_some() {}
    })
}

/// The bare echo, on a thread of its own.
fn echo() -> (Multiaddr, i32) {
    aside(|say| async move {
        let mut say = Some(say);
        let config = quic::Config::new(&Keypair::generate_ed25519());
        let mut transport = quic::tokio::Transport::new(config);
        let any = "/ip4/127.0.0.1/udp/0/quic-v1".parse().expect("an address");
        transport.listen_on(ListenerId::next(), any).expect("a port");
        loop {
            match poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await {
                TransportEvent::NewAddress { listen_addr, .. } => {
                    if let Some(say) = say.take() {
                        let _ = say.send(listen_addr);
                    }
                }
                TransportEvent::Incoming { upgrade, .. } => {
                    let (_, mut connection) = upgrade.await.expect("a connection");
                    tokio::spawn(async move {
                        while let Ok(mut stream) =
                            poll_fn(|cx| connection.poll_inbound_unpin(cx)).await
                        {
                            let mut bytes = Vec::new();
                            if stream.read_to_end(&mut bytes).await.is_ok() {
                                let _ = stream.write_all(&bytes).await;
                                let _ = stream.close().await;
                            }
                        }
                    });
                }
                _ => {}
            }
        }
    })
}

/// Sends so many observations, some at a time.
async fn load(mut client: Client, count: usize) {
    let (mut sent, mut ended) = (0, 0);
    while ended < count {
        while sent < count && sent - ended < UNDER_WAY {
            let frame = client.observe(KEYS);
            client.send(frame);
            sent += 1;
        }
        let answer = client.answer().await.expect("an answer");
        let kept = matches!(answer, Response::Observed { standing: Standing::Kept, .. });
        assert!(kept, "{answer:?}");
        ended += 1;
    }
}

/// Round trips of the node and of the echo, in turns.
async fn trips(address: &Multiaddr, echo: Multiaddr, count: usize) -> [Vec<Duration>; 2] {
    let mut client = Client::meet(1_000, address).await;
    let mut transport =
        quic::tokio::Transport::new(quic::Config::new(&Keypair::generate_ed25519()));
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let (_, mut connection) =
        transport.dial(echo, options).expect("an address").await.expect("a connection");
    let mut times = [Vec::new(), Vec::new()];
    while times[1].len() < count {
        for _ in 0..TURN {
            let frame = client.observe(KEYS);
            let started = Instant::now();
            let answer = client.trip(frame).await.expect("an answer");
            times[0].push(started.elapsed());
            assert!(matches!(answer, Response::Observed { .. }), "{answer:?}");
        }
        for _ in 0..TURN {
            let frame = client.observe(KEYS);
            let started = Instant::now();
            let mut stream =
                poll_fn(|cx| connection.poll_outbound_unpin(cx)).await.expect("a stream");
            stream.write_all(&frame).await.expect("it is sent");
            stream.close().await.expect("it is sent");
            let mut back = Vec::new();
            stream.read_to_end(&mut back).await.expect("it comes back");
            times[1].push(started.elapsed());
            assert_eq!(back, frame);
        }
    }
    times
}

/// Round trips of an honest peer: alone, while others flood a node without quotas, and a node with.
fn flooded(over: &'static str, flooders: u16, trips: usize) {
    for quotas in [false, true] {
        let (address, _) = node(over, quotas);
        let honest_runtime = runtime();
        let mut honest = honest_runtime.block_on(Client::meet(1, &address));
        let mut newcomers = 2..100;
        let mut measure = |what: &str, going: &dyn Fn() -> bool| {
            let mut times: Vec<Duration> = Vec::new();
            let mut met: Vec<Option<Duration>> = Vec::new();
            honest_runtime.block_on(async {
                while times.len() < trips && going() {
                    if times.len() % MEET_EVERY == MEET_EVERY / 2
                        && let Some(number) = newcomers.next()
                    {
                        let started = Instant::now();
                        let meeting = Client::meet(number, &address);
                        let client = tokio::time::timeout(MEET_TIME_MAX, meeting).await;
                        met.push(client.is_ok().then(|| started.elapsed()));
                    }
                    let frame = honest.observe(KEYS);
                    let started = Instant::now();
                    let answer = honest.trip(frame).await.expect("an answer");
                    times.push(started.elapsed());
                    assert!(matches!(answer, Response::Observed { .. }), "{answer:?}");
                    // Two hundred mails a second would be refused in time.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
            times.sort_unstable();
            let at = |share: usize| times.get(times.len() * share / 100).copied();
            println!("{what}: {} trips, p50 {:?}, p99 {:?}", times.len(), at(50), at(99));
            println!("{what}: newcomers were welcome after {met:?}");
        };
        println!("quotas {quotas}");
        measure("alone", &|| true);
        let flood = |number| flooder(100 + number, &address, KEYS, FLOOD_TIME);
        let flood: Vec<_> = (0..flooders).map(flood).collect();
        measure("flooded", &|| flood.iter().any(|one| !one.is_finished()));
        for one in flood {
            println!("{:?}", one.join().expect("it floods"));
        }
        measure("after", &|| true);
    }
}

fn main() {
    let args = Args::parse();
    let over = if args.tcp { "/tcp/" } else { "/quic-v1" };
    if let Some(flooders) = args.flooders {
        flooded(over, flooders, args.trips);
        return;
    }
    let (address, thread) = node(over, false);
    println!("one node at {address}, {} clients, {KEYS} keys a request", args.clients);
    let runtime = runtime();
    let each = args.requests / usize::from(args.clients.max(1));
    let (started, busy) = runtime.block_on(async {
        let mut clients = Vec::new();
        for number in 0..args.clients.max(1) {
            clients.push(Client::meet(number, &address).await);
        }
        let busy = processor_time(thread);
        let started = Instant::now();
        futures::future::join_all(clients.into_iter().map(|client| load(client, each))).await;
        (started.elapsed(), processor_time(thread) - busy)
    });
    let keys = (each * usize::from(args.clients.max(1)) * KEYS) as f64;
    println!(
        "served {:.0} key-observations/s; {:.0} a second of processor time, {:.1} us a request",
        keys / started.as_secs_f64(),
        keys / busy.as_secs_f64(),
        busy.as_secs_f64() * 1e6 * KEYS as f64 / keys
    );
    let (echo, _) = echo();
    let times = runtime.block_on(trips(&address, echo, args.trips));
    let names = ["a node's answer", "bare QUIC echo "];
    let mut medians = Vec::new();
    for (name, mut times) in names.into_iter().zip(times) {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        println!("{name}: p50 {:?}, p90 {:?}, p99 {:?}", at(50), at(90), at(99));
        medians.push(at(50).as_secs_f64());
    }
    println!("ratio of the medians {:.2}", medians[0] / medians[1]);
}
