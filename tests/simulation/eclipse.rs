//! Who holds a campaign's keys can hide what is said under them. How many questions are lost
//! where some of the hosts are such, with keys as they come or drawn until they lie near.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use novacula_catalog::node::{
    Config, Group, HostCertificate, MemberRecord, Node, NodeId, Now, Observation, REGIONS, Start,
    distances,
};
use novacula_catalog::{Identity, Key, Time};

const NOW: Time = Time(1_800_000_000);
/// Keys of a mail.
const KEYS: usize = 23;
/// Keys of a statement that must be found for a match.
const FOUND_MIN: usize = 3;
/// Key pairs that a host draws to lie near one of a campaign's keys.
const DRAWS: usize = 4_000;

fn identity(rng: &mut fastrand::Rng) -> Identity {
    let mut seed = [0; 32];
    rng.fill(&mut seed);
    Identity::from_seed(&seed)
}

/// What hosts that hide what they hold keep from everybody.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// Share of mails of which fewer than three keys have an honest holder.
    pub mails: f64,
    /// Share of keys that have none.
    pub keys: f64,
}

/// `hosts` in `networks`, of which `share` hide what they hold. With `ground` they know the one
/// campaign's keys beforehand.
#[must_use]
pub fn lost(hosts: usize, networks: usize, share: f64, ground: bool, seed: u64) -> Lost {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mails = if ground { 1 } else { 5_000 };
    let mut mail = || (0..KEYS).map(|_| Key(rng.u64(..))).collect::<Vec<_>>();
    let mails: Vec<Vec<Key>> = (0..mails).map(|_| mail()).collect();
    let hiding = (hosts as f64 * share).round() as usize;
    let draws = if ground { DRAWS } else { 1 };
    let identities: Vec<Identity> = (0..hosts)
        .map(|number| {
            let drawn = (0..if number < hiding { draws } else { 1 }).map(|_| identity(&mut rng));
            let (key, region) = (mails[0][number % KEYS], number / KEYS % REGIONS);
            let far = |one: &Identity| distances(key, NodeId::of(one))[region];
            drawn.min_by_key(far).unwrap_or_else(|| Identity::from_seed(&[0; 32]))
        })
        .collect();
    let hidden: HashSet<NodeId> = identities[..hiding].iter().map(NodeId::of).collect();
    let node = member(&identities, networks, seed);
    let honest = |key: &Key| node.holders(*key).iter().any(|one| !hidden.contains(one));
    let found = mails.iter().map(|keys| keys.iter().filter(|key| honest(key)).count());
    let found: Vec<usize> = found.collect();
    let all = mails.len() as f64;
    Lost {
        mails: found.iter().filter(|found| **found < FOUND_MIN).count() as f64 / all,
        keys: 1.0 - found.iter().sum::<usize>() as f64 / (all * KEYS as f64),
    }
}

/// A node that knows all hosts, itself an honest one.
fn member(identities: &[Identity], networks: usize, seed: u64) -> Node {
    let observers: Vec<&Identity> = identities.iter().rev().take(3).collect();
    let records = identities.iter().enumerate().map(|(number, host)| {
        let id = NodeId::of(host);
        let byte = |value: usize| u8::try_from(value % 256).unwrap_or(0);
        let network = number % networks;
        let address: IpAddr =
            [byte(network / 200 + 1), byte(network % 200), byte(number / 250), byte(number)].into();
        let others = observers.iter().filter(|one| NodeId::of(one) != id).take(2);
        let seen = others.map(|by| Observation::make(by, id, address, NOW)).collect();
        let certificate = HostCertificate::issue(host, id, Time(NOW.0 + 1_000_000));
        let addresses = vec![address.to_string()];
        Arc::new(MemberRecord::make(host, &Group::Open, certificate, NOW, addresses, seen))
    });
    let members = records.collect();
    let own = identities.last().map(Identity::secret_bytes).unwrap_or_default();
    let host = Identity::from_seed(&own);
    let certificate = HostCertificate::issue(&host, NodeId::of(&host), Time(NOW.0 + 1_000_000));
    let start = Start {
        certificate,
        host,
        boot: NOW,
        outbox: Vec::new(),
        members,
        vouches: Vec::new(),
        proofs: Vec::new(),
        addresses: Vec::new(),
    };
    let now = Now { wall: NOW, ms: 1_000 };
    Node::new(start, Config::default(), now, &mut fastrand::Rng::with_seed(seed))
}
