//! The node itself: [`Node::handle`] and what a person may see of it.

use std::net::IpAddr;

use crate::clock::Time;
use crate::entry::Network;
use crate::identity::SiteId;
use crate::node::api::{Action, Event, Now};
use crate::node::config::{Config, Start};
use crate::node::counters::Counters;
use crate::node::host::NodeId;

/// A node of the peer catalog.
pub struct Node {
    id: NodeId,
    start: Start,
    config: Config,
    counters: Counters,
    out: Vec<Action>,
}

/// What is known of a peer, for `novacula peers`.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerView {
    /// The host.
    pub node: NodeId,
    /// The site that it speaks for.
    pub site: SiteId,
    /// The network that it was observed in.
    pub network: Network,
    /// Where it is reached.
    pub addresses: Vec<String>,
    /// Where its last connection came from.
    pub observed: Option<IpAddr>,
    /// A connection exists.
    pub connected: bool,
    /// It answers, as far as this node knows.
    pub up: bool,
    /// Its address is confirmed by enough peers: it holds keys for others.
    pub placed: bool,
    /// When it was first heard of.
    pub since: Time,
    /// When its record was made.
    pub heard: Time,
    /// Mean time from request to response, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Records of its site that are held here.
    pub records_here: u64,
}

/// How the node fares, for `novacula doctor` and `status`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Members known, this one included.
    pub members: usize,
    /// Of which answer.
    pub up: usize,
    /// Of which hold keys for others.
    pub placed: usize,
    /// Distinct networks among these.
    pub networks: usize,
    /// Peers with a connection.
    pub connected: usize,
    /// Peers that confirmed this node's address.
    pub observers: usize,
    /// This node holds keys for others.
    pub serving: bool,
    /// Records held.
    pub records: usize,
    /// Whole statements held.
    pub statements: usize,
    /// Opinions that replicas have not acknowledged.
    pub outbox: usize,
    /// Statements held as parts of outbreaks.
    pub hot: usize,
    /// A peer said that this node's clock is wrong, or its own is.
    pub clock_disputed: bool,
}

impl Node {
    /// A node as it starts. Its first [`Event::Tick`] makes it dial.
    #[must_use]
    pub fn new(start: Start, config: Config, now: Now, rng: &mut fastrand::Rng) -> Self {
        let _ = (now, rng);
        let id = NodeId::of(&start.host);
        Self { id, start, config, counters: Counters::default(), out: Vec::new() }
    }

    /// Takes one event, gives what is to be done.
    #[must_use]
    pub fn handle(&mut self, event: Event, now: Now, rng: &mut fastrand::Rng) -> Vec<Action> {
        let _ = (event, now, rng, &self.start, &self.config);
        std::mem::take(&mut self.out)
    }

    /// When the next [`Event::Tick`] is due, on the clock of [`Now::ms`].
    #[must_use]
    pub fn wake_ms(&self) -> u64 {
        0
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every peer known, the nearest to this node's place first; at most `max`.
    #[must_use]
    pub fn peers(&self, max: usize) -> Vec<PeerView> {
        let _ = max;
        Vec::new()
    }

    /// How it fares.
    #[must_use]
    pub fn status(&self, now: Now) -> Status {
        let _ = now;
        Status::default()
    }
}
