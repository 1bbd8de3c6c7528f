//! Who holds a campaign's keys can hide what is said under them. How many questions are lost
//! where some of the sites are such: with places as they come, drawn until they lie near, and with
//! trusted sites among them. Real nodes choose whom they ask; who hides says that nothing is there.

use std::collections::HashSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use novacula_catalog::node::{
    Config, Group, HostCertificate, MemberRecord, NEAREST, Node, NodeId, Now, Observation, REGIONS,
    Start, distances,
};
use novacula_catalog::{ESTABLISHED_MIN, Identity, Key, SiteId, Time};

use super::society::{Size, Society};
use super::trusted;

const NOW: Time = Time(1_800_000_000);
const NOW_MS: Now = Now { wall: NOW, ms: 1_000 };
/// Keys of a mail.
const KEYS: usize = 23;
/// Keys of a statement that must be found for a match.
const FOUND_MIN: usize = 3;
/// Honest sites that state a mail, and ask for those of all others.
const VIEWERS: usize = 24;

/// Who hides what he holds, and how he came to hold it.
#[derive(Clone, Copy, Debug)]
pub struct Eclipse {
    /// Share of all sites that nobody trusts.
    pub strangers: f64,
    /// Identities that each of these draws to lie near a key of the one campaign; 1: as they come.
    pub draws: usize,
    /// They know that each statement lies whole at its least key, and begin there.
    pub home_first: bool,
    /// Share of all sites that were honest, are trusted as such, and turned.
    pub turned: f64,
}

/// What hosts that hide what they hold keep from everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lost {
    /// Share of questions, each by one honest site for what another stated, of which fewer than
    /// three keys are found at an honest host, or the statement itself at none.
    pub mails: f64,
    /// Share of keys that are found at none.
    pub keys: f64,
    /// Keys of a mail that are asked of trusted members beside their holders.
    pub anchored: f64,
}

fn identity(rng: &mut fastrand::Rng) -> Identity {
    let mut seed = [0; 32];
    rng.fill(&mut seed);
    Identity::from_seed(&seed)
}

/// Who trusts whom among `sites`, as in the society: by viewer.
fn trusts(size: Size, seed: u64) -> Vec<Vec<bool>> {
    let mut society = Society::new(Size { campaigns: 0, ham: 0, ..size }, seed);
    society.walk();
    let viewers = size.sites - VIEWERS..size.sites;
    let of = |viewer| {
        let weights = (0..size.sites).map(|of| society.weight(viewer, of));
        weights.map(|weight| weight >= ESTABLISHED_MIN).collect()
    };
    viewers.map(of).collect()
}

/// Identities of all sites: strangers who hide first, then those who turned.
fn draw(size: Size, of: Eclipse, mail: &[Key], rng: &mut fastrand::Rng) -> Vec<Identity> {
    let strangers = (size.sites as f64 * of.strangers).round() as usize;
    let slots = KEYS * REGIONS * NEAREST;
    let drawn = (0..size.sites).map(|number| {
        let draws = if number < strangers { of.draws.max(1) } else { 1 };
        let slot = number % slots;
        // With one key after the other all of the least key's holders are theirs first.
        let (key, region) = match of.home_first {
            true => (mail[slot / NEAREST / REGIONS], slot / NEAREST % REGIONS),
            false => (mail[slot % KEYS], slot / KEYS % REGIONS),
        };
        let drawn = (0..draws).map(|_| identity(rng));
        let far = |one: &Identity| distances(key, one.site())[region];
        drawn.min_by_key(far).unwrap_or_else(|| Identity::from_seed(&[0; 32]))
    });
    drawn.collect()
}

/// What is lost of 1,000 mails, or of the one campaign for which identities were drawn: where
/// nobody trusts anybody, and where honest sites trust each other as in the society.
#[must_use]
pub fn lost(size: Size, of: Eclipse, seed: u64) -> [Lost; 2] {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mails = if of.draws > 1 { 1 } else { 1_000 };
    let mut mail = || {
        let mut keys: Vec<Key> = (0..KEYS).map(|_| Key(rng.u64(..))).collect();
        keys.sort_unstable();
        keys
    };
    let mails: Vec<Vec<Key>> = (0..mails).map(|_| mail()).collect();
    let identities = draw(size, of, &mails[0], &mut rng);
    let strangers = (size.sites as f64 * of.strangers).round() as usize;
    let turned = (size.sites as f64 * of.turned).round() as usize;
    let hidden: HashSet<NodeId> = identities[..strangers + turned].iter().map(NodeId::of).collect();
    let records = records(&identities, size.networks);
    let nobody = vec![Vec::new(); VIEWERS];
    [nobody, trusts(size, seed)].map(|trusted| {
        let viewers = identities[size.sites - VIEWERS..].iter().zip(&trusted);
        let nodes = viewers.map(|(of, trusted)| {
            let sites = identities.iter().zip(trusted).skip(strangers);
            member(of, &records, sites.filter(|one| *one.1).map(|one| one.0.site()).collect())
        });
        seen(nodes.collect(), &mails, &hidden)
    })
}

/// Every way of it, with so many draws: who hides; what is lost without trust and with it.
#[must_use]
pub fn table(size: Size, draws: usize, seed: u64) -> String {
    let mut lines =
        String::from("lost to sites that hide, where nobody trusts anybody and with trust");
    let hiding = [(0.0, 0.0), (0.05, 0.0), (0.2, 0.0), (0.0, 0.05), (0.0, 0.2), (0.2, 0.2)];
    for (draws, home_first) in [(1, false), (draws, true)] {
        // Without strangers nobody draws: who is trusted stays where he lies.
        for (strangers, turned) in hiding.into_iter().filter(|of| draws == 1 || of.0 > 0.0) {
            let of = Eclipse { strangers, draws, home_first, turned };
            let _ = write!(lines, "\n  {of:?}: {:?}", lost(size, of, seed));
        }
    }
    lines
}

/// What is lost between these.
fn seen(mut nodes: Vec<Node>, mails: &[Vec<Key>], hidden: &HashSet<NodeId>) -> Lost {
    let mut lost = Lost::default();
    let pairs = (mails.len() * VIEWERS * (VIEWERS - 1)) as f64;
    for mail in mails {
        let asked: Vec<Vec<Vec<NodeId>>> = nodes.iter_mut().map(|node| asked(node, mail)).collect();
        for stated in 0..VIEWERS {
            for asks in (0..VIEWERS).filter(|asks| *asks != stated) {
                let (found, whole) = found(&asked[stated], &asked[asks], hidden);
                lost.mails += f64::from(u8::from(found < FOUND_MIN || !whole)) / pairs;
                lost.keys += (KEYS - found) as f64 / KEYS as f64 / pairs;
            }
        }
        let beside = asked.iter().flatten().map(|of| of.len() - REGIONS * NEAREST).sum::<usize>();
        lost.anchored += beside as f64 / (mails.len() * VIEWERS) as f64;
    }
    lost
}

/// Whom a site states and asks each of a mail's keys.
fn asked(node: &mut Node, mail: &[Key]) -> Vec<Vec<NodeId>> {
    node.asks(mail, NOW_MS).into_iter().map(|(_, nodes)| nodes).collect()
}

/// Keys under which an honest host has been told by one and is asked by the other, and whether one
/// of those whom the other asks has the whole statement: it lies at the holders of the least key,
/// and at anchors of any.
fn found(told: &[Vec<NodeId>], asked: &[Vec<NodeId>], hidden: &HashSet<NodeId>) -> (usize, bool) {
    let holders = REGIONS * NEAREST;
    let anchors = told.iter().flat_map(|nodes| &nodes[holders..]);
    let whole: HashSet<NodeId> = told[0].iter().chain(anchors).copied().collect();
    let honest = |one: &NodeId| !hidden.contains(one);
    let is_found =
        |key: &usize| asked[*key].iter().any(|one| honest(one) && told[*key].contains(one));
    let gives = |node: &NodeId| honest(node) && whole.contains(node);
    let found: Vec<usize> = (0..told.len()).filter(is_found).collect();
    let given = found.iter().flat_map(|key| &asked[*key]).chain(&asked[0]).any(gives);
    (found.len(), given)
}

fn records(identities: &[Identity], networks: usize) -> Vec<Arc<MemberRecord>> {
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
    records.collect()
}

/// A node that knows all hosts, and trusts those sites.
fn member(of: &Identity, records: &[Arc<MemberRecord>], sites: Vec<SiteId>) -> Node {
    let host = Identity::from_seed(&of.secret_bytes());
    let start = Start {
        certificate: HostCertificate::issue(&host, NodeId::of(&host), Time(NOW.0 + 1_000_000)),
        host,
        boot: NOW,
        outbox: Vec::new(),
        members: records.to_vec(),
        vouches: Vec::new(),
        proofs: Vec::new(),
        addresses: Vec::new(),
    };
    let mut rng = fastrand::Rng::with_seed(0);
    let mut node = Node::new(start, Config::default(), NOW_MS, &mut rng);
    let _ = node.handle(trusted(sites), NOW_MS, &mut rng);
    node
}
