//! Sites on one Ethernet: a bridge, with a namespace for each, IPv4 and IPv6; and routers that
//! hide a site behind another's address.

use std::process::Command;

use novacula_tests::rig::Net;

/// Sites numbered from 1: site `n` has the addresses `10.9.0.n` and `fd00:9::n`.
pub(crate) struct Lan {
    hub: Net,
    sites: Vec<Net>,
}

pub(crate) fn shell(mut command: Command, script: &str) {
    let output = command.args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Lan {
    pub(crate) fn new(count: usize) -> Self {
        let hub = Net::new();
        shell(
            hub.command("sh"),
            "ip link add lan type bridge mcast_snooping 0; ip link set lan up",
        );
        let sites: Vec<Net> = (0..count).map(|_| Net::new()).collect();
        for (at, site) in sites.iter().enumerate() {
            let (n, hub_pid, pid) = (at + 1, hub.pid(), site.pid());
            let link =
                format!("ip link add h{n} netns {hub_pid} type veth peer name eth0 netns {pid}");
            shell(Command::new("sh"), &link);
            shell(hub.command("sh"), &format!("ip link set h{n} master lan; ip link set h{n} up"));
            let own = format!(
                "ip addr add 10.9.0.{n}/24 dev eth0\nip link set eth0 up\n\
                 ip -6 addr add fd00:9::{n}/64 dev eth0 nodad"
            );
            shell(site.command("sh"), &own);
        }
        Self { hub, sites }
    }

    /// The network of a site.
    pub(crate) fn site(&self, n: usize) -> &Net {
        &self.sites[n - 1]
    }

    /// A network behind site `n`, which forwards for it and hides it behind its own address: who
    /// is inside reaches all, and is reached by nobody.
    pub(crate) fn behind(&self, n: usize) -> Net {
        let inside = Net::new();
        let (router, pid) = (self.site(n).pid(), inside.pid());
        let link = format!("ip link add in0 netns {router} type veth peer name eth0 netns {pid}");
        shell(Command::new("sh"), &link);
        let router = format!(
            "ip addr add 192.168.{n}.1/24 dev in0\nip link set in0 up\n\
             echo 1 > /proc/sys/net/ipv4/ip_forward\n\
             nft add table ip nat\n\
             nft 'add chain ip nat post {{ type nat hook postrouting priority 100; }}'\n\
             nft add rule ip nat post oif eth0 masquerade\n\
             nft add table ip wall\n\
             nft 'add chain ip wall pass {{ type filter hook forward priority 0; policy drop; }}'\n\
             nft add rule ip wall pass iif in0 accept\n\
             nft add rule ip wall pass ct state established,related accept\n\
             nft 'add chain ip wall own {{ type filter hook input priority 0; }}'\n\
             nft add rule ip wall own iif eth0 ct state new meta l4proto {{ tcp, udp }} drop"
        );
        shell(self.site(n).command("sh"), &router);
        let own = format!(
            "ip addr add 192.168.{n}.2/24 dev eth0\nip link set eth0 up\n\
             ip route add default via 192.168.{n}.1"
        );
        shell(inside.command("sh"), &own);
        let _ = &self.hub; // goes last
        inside
    }
}
