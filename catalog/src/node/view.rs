//! What a person, a metric or a test may see of a node. Nothing here changes anything.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Time;
use crate::digest::Key;
use crate::entry::Network;
use crate::identity::SiteId;
use crate::matching::Match;
use crate::node::api::Now;
use crate::node::counters::Counters;
use crate::node::host::NodeId;
use crate::node::hot::OUTBREAK_SECS;
use crate::node::member::MemberRecord;
use crate::node::state::Node;
use crate::statement::{Class, MailId};

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
    pub addresses: Arc<[String]>,
    /// Where its connection comes from.
    pub observed: Option<IpAddr>,
    /// A connection exists.
    pub connected: bool,
    /// It answers, as far as this node knows.
    pub up: bool,
    /// Its address is confirmed by enough peers: it holds keys for others.
    pub placed: bool,
    /// When its program started.
    pub since: Time,
    /// When its record was made.
    pub heard: Time,
    /// Mean time from request to response, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Records of its site that are held here.
    pub records_here: u64,
}

/// How the node fares, for `novacula doctor` and `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Most peers, or one when meeting it, said that this node's clock is wrong.
    pub clock_disputed: bool,
    /// Other hosts that answer and give the same numbers in the name of this site: its key, or
    /// this host's, was copied.
    pub twins: usize,
}

impl Node {
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

    /// The host is a member, as far as this node knows.
    #[must_use]
    pub fn knows(&self, host: NodeId) -> bool {
        self.members.get(host).is_some()
    }

    /// In which network a peer is: where its connection comes from, else where it was observed.
    #[must_use]
    pub fn network_at(&self, peer: NodeId) -> Network {
        let linked = self.links.get(&peer).and_then(|link| link.network);
        let network = linked.or_else(|| self.members.get(peer).map(|row| row.network));
        network.unwrap_or(Network::HOME)
    }

    /// Peers known, this node not counted, by place on the ring; at most `max`.
    #[must_use]
    pub fn peers(&self, max: usize) -> Vec<PeerView> {
        let others = self.members.rows().iter().filter(|row| row.record.node != self.id);
        let view = |row: &crate::node::membership::Row| {
            let link = self.links.get(&row.record.node);
            PeerView {
                node: row.record.node,
                site: row.record.site(),
                network: row.network,
                addresses: row.record.addresses.clone(),
                observed: link.and_then(|link| link.observed),
                connected: link.is_some(),
                up: row.up(),
                placed: row.placed,
                since: row.record.boot,
                heard: row.record.made,
                round_trip_ms: link.and_then(|link| link.round_trip_ms),
                records_here: self.replica.records_of(row.record.site()),
            }
        };
        others.take(max).map(view).collect()
    }

    /// Records of all members, this node's own among them: what [`crate::node::Keep`] made of the
    /// address book.
    #[must_use]
    pub fn book(&self) -> Vec<Arc<MemberRecord>> {
        self.members.rows().iter().map(|row| Arc::clone(&row.record)).collect()
    }

    /// How it fares.
    #[must_use]
    pub fn status(&self) -> Status {
        let rows = self.members.rows();
        let placed = rows.iter().filter(|row| row.placed);
        let networks: HashSet<_> = placed.clone().map(|row| row.network).collect();
        let own = &self.certificate;
        let is_twin = |row: &&crate::node::membership::Row| {
            let of = &row.record.certificate;
            (of.site, of.lane) == (own.site, own.lane) && row.record.node != self.id && row.up()
        };
        Status {
            members: rows.len(),
            up: rows.len() - self.members.down(),
            placed: placed.count(),
            networks: networks.len(),
            connected: self.links.len(),
            observers: self.meeting.observations.len(),
            serving: self.members.get(self.id).is_some_and(|row| row.placed),
            records: self.replica.records(),
            statements: self.replica.bodies(),
            outbox: self.outbox.len(),
            hot: self.hot.len(),
            clock_disputed: self.clock_disputed,
            twins: rows.iter().filter(is_twin).count(),
        }
    }

    /// Who holds a key, as far as this node knows.
    #[must_use]
    pub fn holders(&self, key: Key) -> Vec<NodeId> {
        self.nodes_of(key)
    }

    /// What is held here under a key: site, mail, class and number of every record.
    #[must_use]
    pub fn held(&self, key: Key) -> Vec<(SiteId, MailId, Class, u64)> {
        let held = self.replica.keys().get(&key);
        let records = held.into_iter().flat_map(|held| held.entry.iter());
        records.map(|one| &one.statement).map(|of| (of.site, of.mail, of.class(), of.seq)).collect()
    }

    /// Signed bytes of the statement that a site gave a number, if it lies here whole.
    #[must_use]
    pub fn lies_here(&self, site: SiteId, seq: u64) -> bool {
        self.replica.body(crate::node::wire::Tag::of(site, seq)).is_some()
    }

    /// True when what is at hand of a mail makes it an outbreak, so that peers need not be asked:
    /// as many sites, in as many networks, as an announcement needs, within 24 h.
    #[must_use]
    pub fn knows_enough(&self, matches: &[Match], now: Now) -> bool {
        let oldest = now.wall.minus_secs(OUTBREAK_SECS).epoch();
        let recent = matches.iter().filter(|one| one.witness.statement.epoch >= oldest);
        let witnesses: Vec<_> = recent.map(|one| Arc::clone(&one.witness)).collect();
        self.is_outbreak(&witnesses)
    }

    /// Sites that gave one number to two statements, with both as proof.
    pub fn equivocators(&self) -> impl Iterator<Item = (SiteId, &(Vec<u8>, Vec<u8>))> {
        self.vouches.proofs()
    }
}
