//! The node itself: what it is made of, and the one match over all that can happen to it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Time;
use crate::digest::Key;
use crate::entry::Network;
use crate::identity::{Identity, SiteId};
use crate::node::anchors::Usual;
use crate::node::api::{Action, AskId, Event, Failure, Now, Purpose, RequestId, Topic};
use crate::node::config::{Config, Start};
use crate::node::counters::Counters;
use crate::node::host::{HostCertificate, NodeId};
use crate::node::hot::Hot;
use crate::node::invite::{Invites, Unanswered};
use crate::node::meet::Meeting;
use crate::node::membership::Membership;
use crate::node::outbox::Outbox;
use crate::node::patience::{Impatience, Waits};
use crate::node::query::{Job, Leg};
use crate::node::quota::Quotas;
use crate::node::repair::Repair;
use crate::node::replica::Replica;
use crate::node::vouches::Vouches;
use crate::node::watch::Watch;
use crate::node::wire::{Gossip, Ref, Refusal, Request, Response, Tag};

/// Regular work is done this often, in milliseconds.
const TICK_MS: u64 = 1_000;
/// Members that were not heard of are looked for this often, in milliseconds.
const EXPIRE_MS: u64 = 60_000;
/// How much longer than its time a request is waited for, should the driver say nothing, in
/// milliseconds.
const GRACE_MS: u64 = 10_000;
/// How long a leaving node waits for others to pull, in milliseconds.
const LEAVE_MS: u64 = 10_000;
/// How long a peer is left alone to which too many requests were under way, in seconds.
const UNSENT_SECS: u32 = 1;
/// Connections of which the state is kept.
const LINKS_MAX: usize = 20_000;

/// A node of the peer catalog.
pub struct Node {
    pub(crate) id: NodeId,
    pub(crate) host: Identity,
    pub(crate) certificate: HostCertificate,
    pub(crate) boot: Time,
    pub(crate) config: Config,
    pub(crate) counters: Counters,
    pub(crate) members: Membership,
    pub(crate) links: HashMap<NodeId, Link>,
    pub(crate) meeting: Meeting,
    pub(crate) replica: Replica,
    pub(crate) jobs: HashMap<u64, Job>,
    pub(crate) deadlines: BTreeSet<(u64, u64)>,
    pub(crate) outbox: Outbox,
    pub(crate) hot: Hot,
    pub(crate) repair: Repair,
    pub(crate) watch: Watch,
    pub(crate) usual: Usual,
    pub(crate) quotas: Quotas,
    pub(crate) impatience: Impatience,
    pub(crate) waits: Waits,
    pub(crate) refused: HashSet<NodeId>,
    pub(crate) vouches: Vouches,
    pub(crate) invites: Invites,
    pub(crate) clock_disputed: bool,
    pub(crate) out: Vec<Action>,
    pending: HashMap<RequestId, Sent>,
    next: u64,
    tick_ms: u64,
    expire_ms: u64,
    leave_ms: Option<u64>,
}

/// A connection.
pub(crate) struct Link {
    pub(crate) observed: Option<IpAddr>,
    pub(crate) network: Option<Network>,
    pub(crate) round_trip_ms: Option<f64>,
}

/// What a request of this node was for.
pub(crate) enum Pending {
    /// The first exchange.
    Hello,
    /// A part of a question.
    Leg(Leg),
    /// Statements, for a question or for repair.
    Fetch {
        /// The question.
        job: Option<u64>,
        /// Which.
        tags: Vec<Tag>,
    },
    /// Names offered.
    Offer {
        /// They lie here whole.
        here: bool,
        /// Which.
        refs: Vec<Ref>,
    },
    /// A range compared.
    Digest {
        /// Its end.
        last: Key,
    },
    /// Tables compared.
    Members,
    /// Lists of vouches compared.
    Vouches {
        /// From which site on.
        after: SiteId,
    },
    /// An invitation accepted.
    Accept {
        /// For whom.
        ask: AskId,
    },
}

struct Sent {
    to: NodeId,
    at_ms: u64,
    until_ms: u64,
    purpose: Purpose,
    what: Pending,
}

impl Node {
    /// A node as it starts. Its first [`Event::Tick`] makes it dial.
    #[must_use]
    pub fn new(start: Start, config: Config, now: Now, rng: &mut fastrand::Rng) -> Self {
        let id = NodeId::of(&start.host);
        let site = start.certificate.site;
        let mut node = Self {
            id,
            members: Membership::new(id, config.prefix, config.members_max),
            meeting: Meeting::new(start.addresses),
            replica: Replica::new(config.records_max, config.statements_max),
            hot: Hot::new(site, config.hot_max),
            quotas: Quotas::new(
                config.keys_per_second_peer,
                config.keys_per_second_network,
                config.keys_per_second_all,
            ),
            impatience: Impatience::default(),
            waits: Waits::default(),
            host: start.host,
            certificate: start.certificate,
            boot: start.boot,
            config,
            counters: Counters::default(),
            links: HashMap::new(),
            jobs: HashMap::new(),
            deadlines: BTreeSet::new(),
            outbox: Outbox::default(),
            repair: Repair::default(),
            watch: Watch::default(),
            usual: Usual::default(),
            refused: HashSet::new(),
            vouches: Vouches::default(),
            invites: Invites::default(),
            clock_disputed: false,
            out: Vec::new(),
            pending: HashMap::new(),
            // Numbers of requests differ between runs, so that a late response to a former
            // process is none to this one.
            next: rng.u64(..1 << 48),
            tick_ms: now.ms,
            expire_ms: now.ms,
            leave_ms: None,
        };
        let own = start.members.iter().find(|record| record.node == id).cloned();
        node.members.fill(start.members, now.wall);
        if let Some(own) = own {
            node.resume(&own);
        }
        node.fill_vouches(&start.vouches, start.proofs, now);
        for signed in start.outbox {
            node.publish(signed, now);
        }
        node
    }

    /// Takes one event, gives what is to be done.
    #[must_use]
    pub fn handle(&mut self, event: Event, now: Now, rng: &mut fastrand::Rng) -> Vec<Action> {
        match event {
            Event::Tick => self.tick(now, rng),
            Event::Connected { peer, observed, dialled } => {
                self.connected(peer, observed, dialled, now);
            }
            Event::Disconnected { peer } => {
                self.links.remove(&peer);
            }
            Event::Restarted { peer } => self.restarted(peer, now),
            // Bootstrap addresses are dialled again in time; members are retried by name.
            Event::DialFailed { .. } => {}
            Event::Request { peer, call, frame } => self.serve(peer, call, &frame, now),
            Event::Response { request, frame } => self.response(request, &frame, now),
            Event::Failed { request, why } => self.request_failed(request, why, now),
            Event::Gossip { from, id, topic, frame } => self.hear(from, id, topic, &frame, now),
            Event::Addresses { addresses } => self.meeting.reached_at(addresses),
            Event::Publish { signed } => self.publish(signed, now),
            Event::Query { query, probe, sighting, known, deadline_ms } => {
                self.query(query, probe, sighting, known, deadline_ms, now);
            }
            Event::Vouch { signed } => self.vouch(&signed),
            Event::Trusted { sites } => {
                self.replica.trust(sites);
                self.usual.forget();
            }
            Event::Invites { invites } => self.know_invites(invites),
            Event::Accept { ask, to, secret, inviter } => {
                self.accept(ask, to, secret, inviter, now);
            }
            Event::Refuse { peers } => self.refused = peers.into_iter().collect(),
            Event::Leave => self.leave(now),
        }
        std::mem::take(&mut self.out)
    }

    /// When the next [`Event::Tick`] is due, on the clock of [`Now::ms`].
    #[must_use]
    pub fn wake_ms(&self) -> u64 {
        let deadline = self.deadlines.first().map_or(u64::MAX, |(at, _)| *at);
        deadline.min(self.tick_ms)
    }

    fn tick(&mut self, now: Now, rng: &mut fastrand::Rng) {
        while let Some((_, job)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now.ms) {
            self.deadlines.pop_first();
            self.hedge(job, now);
            self.settle_job(job, now);
        }
        if now.ms < self.tick_ms {
            return;
        }
        self.tick_ms = now.ms.saturating_add(TICK_MS);
        let mut lost: Vec<RequestId> = self
            .pending
            .iter()
            .filter(|(_, sent)| sent.until_ms <= now.ms)
            .map(|(request, _)| *request)
            .collect();
        lost.sort_unstable();
        for request in lost {
            self.request_failed(request, Failure::Timeout, now);
        }
        self.meet(now, rng);
        self.try_outbox(now);
        self.offer_again(now);
        self.sweep(false, now);
        self.look_around(now);
        self.tend_orphans(now);
        self.fetch_wants(now);
        self.send_offers(now);
        self.compare_range(now, rng);
        self.compare_vouches(now, rng);
        if now.ms >= self.expire_ms {
            self.expire_ms = now.ms.saturating_add(EXPIRE_MS);
            self.hot.expire(now);
            self.expire_vouches(now);
            self.quotas.tidy(now);
            let gone = self.members.expire(now.wall);
            self.counters.members_expired += gone.len() as u64;
            let keep = |node| Action::Keep(crate::node::api::Keep::Forget { node });
            self.out.extend(gone.into_iter().filter(|node| *node != self.id).map(keep));
        }
        self.counters.capacity_refused = self.quotas.short;
        self.counters.outbox_waiting = self.outbox.len() as u64;
        if let Some(until) = self.leave_ms
            && (now.ms >= until || self.members.rows().len() < 2)
        {
            self.leave_ms = None;
            self.out.push(Action::Left);
        }
    }

    fn leave(&mut self, now: Now) {
        self.meeting.leave();
        self.renew(now);
        self.sweep(true, now);
        self.send_offers(now);
        self.leave_ms = Some(now.ms.saturating_add(LEAVE_MS));
    }

    fn connected(&mut self, peer: NodeId, observed: Option<IpAddr>, dialled: bool, now: Now) {
        if self.refused.contains(&peer) {
            self.out.push(Action::Ban { peer, secs: 0 });
            return;
        }
        if self.links.len() < LINKS_MAX {
            let network = observed.map(|address| self.config.prefix.network(address));
            self.links.insert(peer, Link { observed, network, round_trip_ms: None });
        }
        self.members.answered(peer, now);
        // Who is known already need not be met again; one more observer is always welcome.
        if dialled && (self.members.get(peer).is_none() || !self.is_observed()) {
            self.greet(peer, now);
        }
    }

    /// A number not used before.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Where a site is observed; this node's own where nobody has observed it.
    pub(crate) fn network_of(&self, site: SiteId) -> Network {
        self.members.network_of(site).unwrap_or(Network::HOME)
    }

    /// Sends a request.
    pub(crate) fn send(
        &mut self,
        to: NodeId,
        request: &Request,
        purpose: Purpose,
        what: Pending,
        timeout_ms: u64,
        now: Now,
    ) {
        let frame = request.encode();
        self.counters.requests_sent += 1;
        self.counters.count_sent(purpose, frame.len());
        let addresses = self.members.get(to).map(|row| Arc::clone(&row.record.addresses));
        let addresses = addresses.unwrap_or_else(|| Arc::from([]));
        let request = RequestId(self.next_number());
        let until_ms = now.ms.saturating_add(timeout_ms + GRACE_MS);
        self.pending.insert(request, Sent { to, at_ms: now.ms, until_ms, purpose, what });
        self.out.push(Action::Send { to, addresses, request, frame, purpose, timeout_ms });
    }

    /// Announces.
    pub(crate) fn gossip(&mut self, topic: Topic, gossip: &Gossip) {
        let purpose = match topic {
            Topic::Members => Purpose::Members,
            Topic::Hot => Purpose::Hot,
        };
        let frame = gossip.encode();
        self.counters.count_sent(purpose, frame.len());
        self.out.push(Action::Gossip { topic, frame });
    }

    fn response(&mut self, request: RequestId, frame: &[u8], now: Now) {
        let Some(sent) = self.pending.remove(&request) else { return };
        self.counters.count_received(sent.purpose, frame.len());
        let Ok(response) = Response::decode(frame) else {
            self.counters.frames_malformed += 1;
            self.fault(sent.to);
            self.failed(&sent, true, now);
            return;
        };
        self.members.answered(sent.to, now);
        if let Some(link) = self.links.get_mut(&sent.to) {
            let took = now.ms.saturating_sub(sent.at_ms) as f64;
            link.round_trip_ms =
                Some(link.round_trip_ms.map_or(took, |mean| mean * 0.9 + took * 0.1));
        }
        let from = sent.to;
        match (sent.what, response) {
            (Pending::Hello, Response::Welcome { version, record, seen }) => {
                self.welcomed(from, version, &record, seen, now);
            }
            (Pending::Leg(leg), Response::Observed { standing, keys, pointers, statements }) => {
                self.quotas.served(from, usize::from(keys), now);
                self.observed(from, leg, standing, &pointers, &statements, now);
            }
            (Pending::Fetch { job: Some(job), tags }, Response::Statements(statements)) => {
                self.fetched(job, from, &tags, &statements, now);
            }
            (Pending::Fetch { job: None, tags }, Response::Statements(statements)) => {
                self.repaired(from, &tags, &statements, now);
            }
            (Pending::Offer { .. }, Response::Lacking(_)) => {}
            (Pending::Digest { last }, Response::Refs(more, refs)) => {
                self.compared(from, last, more, &refs, now);
            }
            (Pending::Members, Response::MemberList(more, records)) => {
                self.listed(from, more, &records, now);
            }
            (Pending::Vouches { after }, Response::VouchLists { more, lists, proofs }) => {
                self.vouches_listed(from, after, more, &lists, proofs, now);
            }
            (Pending::Accept { ask }, Response::Accepted(acceptance)) => {
                self.out.push(Action::Accepted { ask, outcome: Ok(acceptance) });
            }
            // Programs from before invitations could be accepted don't know the request.
            (Pending::Accept { ask }, Response::Refused { why: Refusal::Malformed, .. }) => {
                self.out.push(Action::Accepted { ask, outcome: Err(Unanswered::TooOld) });
            }
            (what, Response::Refused { why, retry_secs }) => {
                self.refused_by(from, what, (why, retry_secs), now);
            }
            (what, _) => {
                // An answer to another question.
                self.counters.frames_malformed += 1;
                self.fault(from);
                self.drop_pending(from, what, now);
            }
        }
    }

    fn refused_by(
        &mut self,
        from: NodeId,
        what: Pending,
        (why, retry_secs): (Refusal, u32),
        now: Now,
    ) {
        match why {
            Refusal::Quota | Refusal::Full => self.waits.told(from, retry_secs, now),
            // It does not know us (any more): Hello first, then the same again.
            Refusal::Stranger => self.greet(from, now),
            Refusal::Clock => self.clock_disputed = true,
            Refusal::Version => self.counters.versions_refused += 1,
            Refusal::Group | Refusal::Record | Refusal::Malformed => {}
        }
        self.drop_pending(from, what, now);
    }

    fn request_failed(&mut self, request: RequestId, why: Failure, now: Now) {
        let Some(sent) = self.pending.remove(&request) else { return };
        self.counters.requests_failed += 1;
        self.counters.versions_refused += u64::from(why == Failure::Unsupported);
        if let Pending::Hello = sent.what {
            self.greeting_failed(sent.to);
        }
        if why == Failure::Unsent {
            // The others are asked, and the peer is no worse for it.
            self.waits.told(sent.to, UNSENT_SECS, now);
            self.drop_pending(sent.to, sent.what, now);
            return;
        }
        if let Pending::Leg(leg) = &sent.what {
            self.quotas.failed(sent.to, leg.keys.len(), now);
        }
        let sure = matches!(why, Failure::Unreachable | Failure::Unsupported);
        // All that was under way on a connection that broke is one failure: whether the peer answers
        // the next request shows, on the next connection.
        let broke = why == Failure::Closed && self.members.failed_since(sent.to, sent.at_ms);
        if !broke {
            self.failed(&sent, sure, now);
        }
        self.drop_pending(sent.to, sent.what, now);
    }

    fn failed(&mut self, sent: &Sent, sure: bool, now: Now) {
        self.members.failed(sent.to, sure, now);
    }

    /// What to do when a request brought nothing.
    fn drop_pending(&mut self, to: NodeId, what: Pending, now: Now) {
        match what {
            Pending::Leg(leg) => self.leg_failed(to, &leg, now),
            Pending::Fetch { job: Some(job), tags } => self.fetched(job, to, &tags, &[], now),
            Pending::Fetch { job: None, tags } => self.repaired(to, &tags, &[], now),
            Pending::Offer { here, refs } => self.offer_failed(to, here, refs),
            Pending::Accept { ask } => {
                self.out.push(Action::Accepted { ask, outcome: Err(Unanswered::Silent) });
            }
            Pending::Vouches { .. } => self.vouches_unheard(to),
            Pending::Hello | Pending::Digest { .. } | Pending::Members => {}
        }
    }
}
