//! A node's settings. Each has a unit and a source; the driver reads them from the agent's
//! configuration. Numbers that must be alike at all nodes of a network are constants, not
//! settings: [`REGIONS`], [`NEAREST`].

use std::sync::Arc;

use crate::clock::Time;
use crate::identity::Identity;
use crate::node::group::Group;
use crate::node::host::{HostCertificate, PrefixBits};
use crate::node::member::MemberRecord;
use crate::node::verify::Verifier;
use crate::node::wire::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};

/// Independent regions of a key (DESIGN 4.2).
pub const REGIONS: usize = 3;
/// Nearest peers in each region (DESIGN 4.2).
pub const NEAREST: usize = 2;
/// Replicas of a key.
pub const REPLICAS: usize = REGIONS * NEAREST;

/// Settings.
#[derive(Clone)]
pub struct Config {
    /// The network of peers.
    pub group: Group,
    /// How much of an address names a network, in bits. All members should agree.
    pub prefix: PrefixBits,
    /// Addresses to begin with, in the driver's form: bootstrap list and address book.
    pub bootstrap: Vec<String>,
    /// The oldest and newest version of the frames that this node speaks.
    pub versions: (u8, u8),
    /// Serves others and is placed by them; false for a node that only asks (tests, tools).
    pub serves: bool,
    /// Most records held for others (about 250 bytes each: 100 MB).
    pub records_max: usize,
    /// Most whole statements held for others (about 500 bytes each: 50 MB).
    pub statements_max: usize,
    /// Most members known (DESIGN 4.2: good to about 100,000).
    pub members_max: usize,
    /// Most keys that one peer may state or ask in a second, on average, where a request counts as
    /// 20 keys beside its own; bursts are ten times that. A site of 100 mails/s with all 24 keys at
    /// one peer needs 4,400 (an argument).
    pub keys_per_second_peer: u32,
    /// The same for all peers of one network together.
    pub keys_per_second_network: u32,
    /// The same for all peers together: half of what one core does (10,700 requests of 23 keys,
    /// docs/measurements.md). While half of ten seconds' worth is left everybody is served; below,
    /// who serves.
    pub keys_per_second_all: u32,
    /// Most questions of the agent under way at a time; at the bound a new one is answered at
    /// once from what this node holds itself.
    pub queries_max: usize,
    /// Distinct sites, in as many networks, from which a mail is an outbreak to be announced
    /// (the same as for the verdict `bulk`, DESIGN 4.3).
    pub hot_sites: usize,
    /// Most statements kept as announced.
    pub hot_max: usize,
    /// Who checks signatures.
    pub verifier: Arc<dyn Verifier>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            group: Group::Open,
            prefix: PrefixBits::default(),
            bootstrap: Vec::new(),
            versions: (PROTOCOL_VERSION_MIN, PROTOCOL_VERSION),
            serves: true,
            records_max: 400_000,
            statements_max: 100_000,
            members_max: 100_000,
            keys_per_second_peer: 4_400,
            keys_per_second_network: 17_600,
            keys_per_second_all: 230_000,
            queries_max: 4_096,
            hot_sites: 3,
            hot_max: 50_000,
            verifier: Arc::new(crate::node::verify::Ed25519),
        }
    }
}

/// What a node is, and what it had when it stopped.
pub struct Start {
    /// The host's key pair.
    pub host: Identity,
    /// The site's word for it.
    pub certificate: HostCertificate,
    /// When the program started. Later than at every start before.
    pub boot: Time,
    /// Opinions that replicas have not acknowledged, signed.
    pub outbox: Vec<Vec<u8>>,
    /// Membership records of the address book, checked when they came in.
    pub members: Vec<Arc<MemberRecord>>,
    /// Lists of vouches, checked when they came in.
    pub vouches: Vec<Vec<u8>>,
    /// Proofs of equivocation, checked when they came in.
    pub proofs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Addresses at which this node can be reached, in the driver's form.
    pub addresses: Vec<String>,
}
