//! One site in the simulation: the agent's part around a node (numbers, catalog, disk), in the
//! same order as the real agent: an opinion is on the disk before it is spoken of.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use novacula_catalog::node::{
    Config, Group, HostCertificate, MemberRecord, Node, NodeId, Now, PrefixBits, Start, Verifier,
    WireError,
};
use novacula_catalog::{
    Catalog, Identity, Network, Site, SiteId, Speaker, Statement, StatementError, Time, Witness,
};

type CheckedMember = Result<Arc<MemberRecord>, WireError>;

/// Checks every signature, but each only once in the whole simulation: a process of its own would
/// check it again, which costs time and changes nothing.
#[derive(Default)]
pub struct Memo {
    statements: Mutex<HashMap<[u8; 32], Result<Statement, StatementError>>>,
    members: Mutex<HashMap<[u8; 32], CheckedMember>>,
}

impl Verifier for Memo {
    fn statement(&self, signed: &[u8]) -> Result<Statement, StatementError> {
        let mut known = self.statements.lock().map_err(|_| StatementError::Malformed)?;
        let hash = *blake3::hash(signed).as_bytes();
        known.entry(hash).or_insert_with(|| Statement::decode_verified(signed)).clone()
    }

    fn member(&self, record: &[u8], now: Time) -> Result<Arc<MemberRecord>, WireError> {
        let mut known = self.members.lock().map_err(|_| WireError::Malformed)?;
        let hash = *blake3::hash(record).as_bytes();
        let checked = || {
            let record = MemberRecord::decode(record)?;
            if record.holds(now) { Ok(Arc::new(record)) } else { Err(WireError::Malformed) }
        };
        known.entry(hash).or_insert_with(checked).clone()
    }
}

/// What survives a crash.
#[derive(Default)]
pub struct Disk {
    /// Opinions not settled.
    pub outbox: BTreeMap<u64, Vec<u8>>,
    /// The address book.
    pub members: BTreeMap<NodeId, Arc<MemberRecord>>,
    /// Lists of whom sites vouch for.
    pub vouches: BTreeMap<SiteId, Vec<u8>>,
    /// Proofs of equivocation.
    pub proofs: BTreeMap<SiteId, (Vec<u8>, Vec<u8>)>,
    /// Own statements, as the agent's database keeps them.
    pub own: Vec<Witness>,
}

/// One host of a site.
pub struct SimSite {
    /// Who signs on it.
    pub speaker: Speaker,
    seed: [u8; 32],
    host: NodeId,
    /// Where its host is.
    pub address: IpAddr,
    /// How wrong its clock is, in seconds.
    pub skew_secs: i64,
    /// Versions that its node speaks, oldest and newest.
    pub versions: (u8, u8),
    /// Quotas of its node: keys a second for a peer, for a network, for all.
    pub keys_per_second: [u32; 3],
    /// The node, while it runs.
    pub node: Option<Node>,
    /// How often it started.
    pub boots: u64,
    /// What survives a crash.
    pub disk: Disk,
    /// Its numbers and copies.
    pub site: Site,
    /// What it knows without asking.
    pub catalog: Catalog,
    certificate: HostCertificate,
}

/// Catalog of a site in the simulation, in statements.
const STATEMENTS_MAX: usize = 20_000;

impl SimSite {
    /// Host number `index` in network number `network`; so many `hosts` one after another are of
    /// one site, and the first of them has its key.
    ///
    /// # Panics
    /// When there are more hosts than lanes.
    #[must_use]
    pub fn new(index: usize, network: usize, hosts: usize, start: Time) -> Self {
        let seed_of = |what: &[u8], number: usize| {
            *blake3::hash(&[what, &number.to_le_bytes()[..]].concat()).as_bytes()
        };
        let identity = Identity::from_seed(&seed_of(b"site", index / hosts));
        let seed = seed_of(b"host", index);
        let host = Identity::from_seed(&seed);
        let until = Time(start.0 + 400 * 24 * 3600);
        let lane = u16::try_from(index % hosts).expect("a lane");
        let id = NodeId::of(&host);
        let certificate = HostCertificate::issue_lane(&identity, id, until, lane);
        let speaker = match lane {
            0 => Speaker::with_site_key(identity),
            _ => Speaker::certified(host, certificate.clone(), start).expect("a certificate"),
        };
        let (high, low) = (network / 200 + 1, network % 200);
        let byte = |value: usize| u8::try_from(value % 256).unwrap_or(0);
        let address = Ipv4Addr::new(byte(high), byte(low), byte(index / 250), byte(index % 250));
        let site = Site::in_lane(speaker.site(), Network::HOME, lane, 0);
        let catalog = Catalog::new(speaker.site(), STATEMENTS_MAX);
        Self {
            speaker,
            seed,
            host: id,
            address: address.into(),
            skew_secs: 0,
            versions: Config::default().versions,
            keys_per_second: {
                let usual = Config::default();
                let (peer, all) = (usual.keys_per_second_peer, usual.keys_per_second_all);
                [peer, usual.keys_per_second_network, all]
            },
            node: None,
            boots: 0,
            disk: Disk::default(),
            site,
            catalog,
            certificate,
        }
    }

    /// It comes as another site, before it starts.
    pub fn redraw(&mut self, identity: Identity, start: Time) {
        let until = Time(start.0 + 400 * 24 * 3600);
        self.certificate = HostCertificate::issue(&identity, self.host(), until);
        self.speaker = Speaker::with_site_key(identity);
        self.site = Site::new(self.id(), Network::HOME, 0);
        self.catalog = Catalog::new(self.id(), STATEMENTS_MAX);
    }

    /// Who its host is.
    #[must_use]
    pub fn host(&self) -> NodeId {
        self.host
    }

    /// Its site.
    #[must_use]
    pub fn id(&self) -> SiteId {
        self.speaker.site()
    }

    /// The host's key pair.
    #[must_use]
    pub fn host_key(&self) -> Identity {
        Identity::from_seed(&self.seed)
    }

    /// The site's word for the host.
    #[must_use]
    pub fn certificate(&self) -> HostCertificate {
        self.certificate.clone()
    }

    /// Starts the node from what is on the disk.
    pub fn boot(
        &mut self,
        group: &Group,
        verifier: &Arc<Memo>,
        bootstrap: Vec<String>,
        now: Now,
        rng: &mut fastrand::Rng,
    ) {
        self.boots += 1;
        self.catalog = Catalog::new(self.id(), STATEMENTS_MAX);
        for witness in &self.disk.own {
            self.catalog.insert(witness.clone());
        }
        // The agent reserves numbers in blocks: after a restart it goes on above all of them.
        let next_number = self.site.next_number() + 1_000;
        self.site = Site::in_lane(self.id(), Network::HOME, self.speaker.lane(), next_number);
        let config = Config {
            group: group.clone(),
            prefix: PrefixBits::default(),
            bootstrap,
            verifier: Arc::clone(verifier) as Arc<dyn Verifier>,
            hot_max: 2_000,
            versions: self.versions,
            keys_per_second_peer: self.keys_per_second[0],
            keys_per_second_network: self.keys_per_second[1],
            keys_per_second_all: self.keys_per_second[2],
            ..Config::default()
        };
        let start = Start {
            host: self.host_key(),
            certificate: self.certificate.clone(),
            boot: self
                .disk
                .members
                .get(&self.host())
                .filter(|_| self.boots == 1)
                .map_or(Time(now.wall.0 + self.boots), |record| record.boot),
            outbox: self.disk.outbox.values().cloned().collect(),
            members: self.disk.members.values().cloned().collect(),
            vouches: self.disk.vouches.values().cloned().collect(),
            proofs: self.disk.proofs.values().cloned().collect(),
            // Where it is reached the driver says, once it listens.
            addresses: Vec::new(),
        };
        self.node = Some(Node::new(start, config, now, rng));
    }
}
