//! A small internet: one namespace for each site, all joined by a relay in user space that holds
//! every packet back for some time, and can cut the sites in two. (The kernels this runs on often
//! have no `netem`.)
//!
//! Key decision: sites are connected to a hub by veth, and the hub's routing sends whatever comes
//! from a site through one TUN device and back. So the relay sees whole IP packets and needs to
//! know nothing of them but two addresses.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use novacula_tests::rig::Net;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Longest packet.
const PACKET_LEN_MAX: usize = 65_536;
/// Most packets on their way; beyond, they are lost, as in any network.
const PACKETS_MAX: usize = 10_000;

/// What the relay does.
struct Weather {
    delay_us: AtomicU64,
    /// Sites below this number can't reach those from it on; 0: all reach all.
    cut_at: AtomicUsize,
    stop: AtomicBool,
}

/// Sites with a network of their own each, numbered from 1. Site `n` has the address `10.0.n.2`.
pub(crate) struct Internet {
    hub: Net,
    sites: Vec<Net>,
    weather: Arc<Weather>,
    relay: Option<JoinHandle<()>>,
}

fn shell(mut command: Command, script: &str) {
    let output = command.args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Internet {
    /// `count` sites; `delay` is one way from site to site.
    pub(crate) fn new(count: usize, delay: Duration) -> Self {
        let hub = Net::new();
        let sites: Vec<Net> = (0..count).map(|_| Net::new()).collect();
        let weather = Arc::new(Weather {
            delay_us: AtomicU64::new(u64::try_from(delay.as_micros()).unwrap()),
            cut_at: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let relay = {
            let (weather, pid) = (Arc::clone(&weather), hub.pid());
            std::thread::spawn(move || relay(pid, &weather, &ready))
        };
        is_ready.recv().expect("the relay starts");
        let mut script = String::from(
            "echo 1 > /proc/sys/net/ipv4/ip_forward\n\
             for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done\n\
             ip link set weather up\n\
             ip route add default dev weather table 100\n",
        );
        for (at, site) in sites.iter().enumerate() {
            let n = at + 1;
            let (hub_pid, pid) = (hub.pid(), site.pid());
            let link =
                format!("ip link add h{n} netns {hub_pid} type veth peer name eth0 netns {pid}");
            shell(Command::new("sh"), &link);
            script += &format!(
                "ip addr add 10.0.{n}.1/24 dev h{n}\nip link set h{n} up\n\
                 echo 0 > /proc/sys/net/ipv4/conf/h{n}/rp_filter\n\
                 ip rule add iif h{n} lookup 100\n"
            );
            let own = format!(
                "ip addr add 10.0.{n}.2/24 dev eth0\nip link set eth0 up\n\
                 ip route add default via 10.0.{n}.1"
            );
            shell(site.command("sh"), &own);
        }
        shell(hub.command("sh"), &script);
        Self { hub, sites, weather, relay: Some(relay) }
    }

    /// The network of a site.
    pub(crate) fn site(&self, n: usize) -> &Net {
        &self.sites[n - 1]
    }

    /// Cuts the sites below `n` from the others, or with 0 joins them again.
    pub(crate) fn cut_at(&self, n: usize) {
        self.weather.cut_at.store(n, Ordering::Relaxed);
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        self.weather.stop.store(true, Ordering::Relaxed);
        if let Some(relay) = self.relay.take() {
            let _ = relay.join();
        }
        let _ = &self.hub; // goes last
    }
}

/// Runs in a thread of its own, which moves into the hub's network and stays there.
fn relay(pid: u32, weather: &Weather, ready: &std::sync::mpsc::SyncSender<()>) {
    let network = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), Some(LinkNameSpaceType::Network))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tun = tokio_tun::Tun::builder().name("weather").mtu(1500).build().unwrap().remove(0);
        ready.send(()).unwrap();
        let mut on_their_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        let mut packet = vec![0; PACKET_LEN_MAX];
        while !weather.stop.load(Ordering::Relaxed) {
            let due = on_their_way.front().map_or(Duration::from_millis(50), |(at, _)| {
                at.saturating_duration_since(Instant::now())
            });
            tokio::select! {
                biased;
                () = tokio::time::sleep(due), if !on_their_way.is_empty() => {}
                () = tokio::time::sleep(Duration::from_millis(50)), if on_their_way.is_empty() => {}
                len = tun.recv(&mut packet) => {
                    let Ok(len) = len else { continue };
                    let bytes = &packet[..len];
                    if on_their_way.len() < PACKETS_MAX && passes(bytes, weather) {
                        let delay = Duration::from_micros(weather.delay_us.load(Ordering::Relaxed));
                        on_their_way.push_back((Instant::now() + delay, bytes.to_vec()));
                    }
                }
            }
            while let Some((_, bytes)) = on_their_way.pop_front_if(|(at, _)| *at <= Instant::now())
            {
                let _ = tun.send(&bytes).await;
            }
        }
    });
}

/// IPv4 between sites that can reach each other.
fn passes(packet: &[u8], weather: &Weather) -> bool {
    let (Some(from), Some(to)) = (packet.get(12..16), packet.get(16..20)) else { return false };
    let cut_at = weather.cut_at.load(Ordering::Relaxed);
    let side = |address: &[u8]| usize::from(address[2]) < cut_at;
    packet[0] >> 4 == 4 && (cut_at == 0 || side(from) == side(to))
}
