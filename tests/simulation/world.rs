//! The world around the nodes: a queue of events in time, a network that delays, loses, doubles
//! and reorders, partitions, crashes and wrong clocks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use novacula_catalog::Time;
use novacula_catalog::node::{
    Action, CallId, Event, Failure, GossipId, Group, Keep, MemberRecord, NodeId, Now, QueryId,
    RequestId, Topic,
};

use super::agent::Asked;
use super::check::Ledger;
use super::links::Links;
use super::queue::{Due, Queue, What};
use super::site::{Memo, SimSite};
use super::work::Manners;

/// What goes wrong, all in one place.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Least and most time that a frame takes, in milliseconds.
    pub delay_ms: (u64, u64),
    /// Share of frames lost.
    pub loss: f64,
    /// Share of frames that come twice.
    pub duplicate: f64,
    /// How wrong clocks may be, in seconds, to either side.
    pub skew_secs: i64,
}

impl Faults {
    /// A network without faults.
    #[must_use]
    pub fn none() -> Self {
        Self { delay_ms: (20, 20), loss: 0.0, duplicate: 0.0, skew_secs: 0 }
    }

    /// Everything at once: 10 to 200 ms (so frames overtake each other), 2 % lost, 2 % doubled,
    /// clocks wrong by up to five minutes.
    #[must_use]
    pub fn all() -> Self {
        Self { delay_ms: (10, 200), loss: 0.02, duplicate: 0.02, skew_secs: 300 }
    }
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// Hosts of all sites.
    pub sites: usize,
    /// Hosts of one site.
    pub hosts: usize,
    /// Networks that they are spread over.
    pub networks: usize,
    /// What goes wrong.
    pub faults: Faults,
    /// The network of peers.
    pub group: Group,
    /// When it begins.
    pub start: Time,
}

/// How long after a node's first tick its driver says where it listens, in milliseconds.
const LISTENS_MS: u64 = 2;

/// When a simulation begins unless said otherwise: hours after the weekly salt rolled, so that keys
/// under both salts are asked for.
pub const START: Time = Time(1_800_000_000);

fn book(
    records: impl IntoIterator<Item = Arc<MemberRecord>>,
) -> BTreeMap<NodeId, Arc<MemberRecord>> {
    records.into_iter().map(|record| (record.node, record)).collect()
}

/// Everything.
pub struct World {
    /// What is simulated.
    pub options: Options,
    /// All sites, running or not.
    pub sites: Vec<SimSite>,
    /// All that was ever said.
    pub ledger: Ledger,
    /// Questions by number.
    pub asked: BTreeMap<QueryId, Asked>,
    /// Checks that were decided without a question.
    pub local: u64,
    /// Whose time is bounded, and who is unkind.
    pub manners: Manners,
    /// The one source of chance.
    pub rng: fastrand::Rng,
    pub(super) now_ms: u64,
    queue: Queue,
    last: u64,
    index: HashMap<NodeId, usize>,
    links: Links,
    parts: Vec<u8>,
    /// Address books hold everybody; so many are read off the tables of who goes, instead of being
    /// kept beside them.
    acquainted: bool,
    verifier: Arc<Memo>,
    calls: HashMap<CallId, (usize, RequestId, u64)>,
    bootstrap: Vec<String>,
}

impl World {
    /// All sites of the options, none running.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut rng = fastrand::Rng::with_seed(options.seed);
        let networks = options.networks.max(1);
        let mut sites: Vec<SimSite> = (0..options.sites)
            .map(|index| SimSite::new(index, index % networks, options.hosts.max(1), options.start))
            .collect();
        let skew = options.faults.skew_secs;
        for site in &mut sites {
            site.skew_secs = if skew == 0 { 0 } else { rng.i64(-skew..=skew) };
        }
        let index = sites.iter().enumerate().map(|(at, site)| (site.host(), at)).collect();
        let (parts, links) = (vec![0; sites.len()], Links::new(sites.len()));
        Self {
            options,
            sites,
            ledger: Ledger::default(),
            asked: BTreeMap::new(),
            local: 0,
            manners: Manners::default(),
            rng,
            now_ms: 0,
            queue: Queue::default(),
            last: 0,
            index,
            links,
            parts,
            acquainted: false,
            verifier: Arc::default(),
            calls: HashMap::new(),
            bootstrap: Vec::new(),
        }
    }

    /// Milliseconds since the beginning.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The true time.
    #[must_use]
    pub fn time(&self) -> Time {
        Time(self.options.start.0 + self.now_ms / 1000)
    }

    pub(super) fn now_at(&self, site: usize) -> Now {
        let wall = self.time().0.saturating_add_signed(self.sites[site].skew_secs);
        Now { wall: Time(wall), ms: self.now_ms }
    }

    /// Sites whose nodes run.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        (0..self.sites.len()).filter(|at| self.sites[*at].node.is_some()).collect()
    }

    /// Starts a node.
    pub fn start(&mut self, site: usize) {
        let now = self.now_at(site);
        let (group, verifier) = (self.options.group.clone(), Arc::clone(&self.verifier));
        let own = self.sites[site].address.to_string();
        let bootstrap = self.bootstrap.iter().filter(|one| **one != own).cloned().collect();
        self.sites[site].boot(&group, &verifier, bootstrap, now, &mut self.rng);
        if self.acquainted {
            self.sites[site].disk.members = BTreeMap::new();
        }
        let first = self.now_ms + self.rng.u64(1..1000);
        self.push(first, site, What::Tick);
        self.push(first + LISTENS_MS, site, What::Listens);
    }

    /// Starts all nodes, which know the first only, one after another.
    pub fn start_from_one(&mut self, apart_ms: u64) {
        self.bootstrap = vec![self.sites[0].address.to_string()];
        for site in 0..self.sites.len() {
            self.start(site);
            self.run_for(apart_ms);
        }
    }

    /// Starts all nodes as if they had run for long: their address books hold everybody.
    pub fn start_acquainted(&mut self) {
        let records = super::check::acquainted_records(&self.sites, self.time());
        self.acquainted = true;
        for site in 0..self.sites.len() {
            self.sites[site].disk.members = book(records.iter().map(Arc::clone));
            self.start(site);
        }
    }

    /// Kills a node: all that is not on its disk is gone.
    pub fn crash(&mut self, site: usize) {
        let node = self.sites[site].node.take();
        if let Some(node) = node.filter(|_| self.acquainted) {
            self.sites[site].disk.members = book(node.book());
        }
        let others = self.links.break_all(site);
        let peer = self.sites[site].host();
        for other in others {
            self.push(self.now_ms + 50, other, What::Disconnected { peer });
        }
    }

    /// A node leaves in order, which takes it ten seconds.
    pub fn leave(&mut self, site: usize) {
        self.event(site, Event::Leave);
    }

    /// Cuts the network: sites reach only those with the same number.
    pub fn partition(&mut self, part_of: impl Fn(usize) -> u8) {
        self.parts = (0..self.sites.len()).map(part_of).collect();
        self.links.cut(&self.parts);
    }

    /// Mends it.
    pub fn heal(&mut self) {
        self.parts = vec![0; self.sites.len()];
    }

    /// A number not given before.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn push(&mut self, at_ms: u64, to: usize, what: What) {
        let boot = self.sites[to].boots;
        self.queue.push(at_ms, Due { to, boot, what });
    }

    pub(super) fn place_of(&self, node: NodeId) -> Option<usize> {
        self.index.get(&node).copied()
    }

    pub(super) fn delay(&mut self) -> u64 {
        let (least, most) = self.options.faults.delay_ms;
        self.rng.u64(least..=most.max(least))
    }

    fn loses(&mut self) -> bool {
        self.options.faults.loss > 0.0 && self.rng.f64() < self.options.faults.loss
    }

    /// Lets time pass.
    pub fn run_for(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some((at_ms, due)) = self.queue.pop(end) {
            self.now_ms = self.now_ms.max(at_ms);
            self.close_idle();
            if self.sites[due.to].boots == due.boot && self.sites[due.to].node.is_some() {
                self.receive(due.to, due.what);
            } else if let What::Request { from, request, until_ms, .. } = due.what {
                // Nobody is there.
                self.fail(from, request, Failure::Unreachable, until_ms.min(self.now_ms + 20));
            }
        }
        self.now_ms = end;
    }

    fn close_idle(&mut self) {
        for (one, two) in self.links.close_idle(self.now_ms) {
            for (at, other) in [(one, two), (two, one)] {
                self.event(at, Event::Disconnected { peer: self.sites[other].host() });
            }
        }
    }

    fn fail(&mut self, to: usize, request: RequestId, why: Failure, at_ms: u64) {
        self.push(at_ms.max(self.now_ms), to, What::Failed { request, why });
    }

    pub(super) fn dispatch(&mut self, to: usize, what: What) {
        match what {
            What::Tick => {
                self.event(to, Event::Tick);
                let wake = self.sites[to].node.as_ref().map_or(u64::MAX, |node| node.wake_ms());
                if wake != u64::MAX {
                    self.push(wake.max(self.now_ms + 1), to, What::Tick);
                }
            }
            What::Request { from, request, frame, until_ms } => {
                let call = CallId(self.number());
                self.calls.insert(call, (from, request, until_ms));
                let peer = self.sites[from].host();
                self.event(to, Event::Request { peer, call, frame });
            }
            What::Response { from, request, frame } => {
                let _ = from;
                self.event(to, Event::Response { request, frame });
            }
            What::Failed { request, why } => self.event(to, Event::Failed { request, why }),
            What::Gossip { from, topic, frame } => {
                let id = GossipId(self.number());
                self.event(to, Event::Gossip { from, id, topic, frame: frame.to_vec() });
            }
            What::Disconnected { peer } => self.event(to, Event::Disconnected { peer }),
            What::Listens => {
                let addresses = vec![self.sites[to].address.to_string()];
                self.event(to, Event::Addresses { addresses });
            }
            What::Turn => {}
        }
    }

    /// Hands an event to a node and does what it wants done.
    pub fn event(&mut self, site: usize, event: Event) {
        let now = self.now_at(site);
        let Some(node) = self.sites[site].node.as_mut() else { return };
        let actions = node.handle(event, now, &mut self.rng);
        for action in actions {
            self.act(site, action);
        }
    }

    fn act(&mut self, site: usize, action: Action) {
        match action {
            Action::Send { to, request, frame, timeout_ms, .. } => {
                self.send(site, to, request, frame, timeout_ms);
            }
            Action::Respond { call, frame } => {
                let Some((to, request, until_ms)) = self.calls.remove(&call) else { return };
                let at_ms = self.now_ms + self.delay();
                if self.parts[site] != self.parts[to] || self.loses() || at_ms > until_ms {
                    self.fail(to, request, Failure::Timeout, until_ms);
                    return;
                }
                let from = self.sites[site].host();
                if self.options.faults.duplicate > self.rng.f64() {
                    let twice = What::Response { from, request, frame: frame.clone() };
                    self.push(at_ms + 1, to, twice);
                }
                self.push(at_ms, to, What::Response { from, request, frame });
            }
            Action::Gossip { topic, frame } => self.spread(site, topic, &frame),
            Action::Dial { address } => self.dial(site, &address),
            Action::Keep(keep) => self.keep(site, keep),
            Action::Answered { query, witnesses, completeness, took_ms } => {
                self.answered(site, query, witnesses, completeness, took_ms);
            }
            Action::Learned { witnesses, .. } => {
                for witness in witnesses {
                    self.sites[site].catalog.insert(witness);
                }
            }
            Action::Left => self.crash(site),
            Action::Ban { peer, secs } => self.cut_off(site, peer, secs),
            Action::GossipVerdict { .. } | Action::Accepted { .. } => {}
        }
    }

    fn send(
        &mut self,
        site: usize,
        to: NodeId,
        request: RequestId,
        frame: Vec<u8>,
        timeout_ms: u64,
    ) {
        let until_ms = self.now_ms + timeout_ms;
        let Some(other) = self.index.get(&to).copied() else {
            self.fail(site, request, Failure::Unreachable, self.now_ms + 1);
            return;
        };
        let cut = self.cut_off_until(site, other).or_else(|| self.cut_off_until(other, site));
        if self.parts[site] != self.parts[other]
            || self.sites[other].node.is_none()
            || cut.is_some()
        {
            self.fail(site, request, Failure::Unreachable, self.now_ms + 1_000);
            return;
        }
        let mut delay = self.delay();
        if self.link(site, other) {
            // A round trip for the connection.
            delay += 2 * delay;
        }
        if self.loses() {
            self.fail(site, request, Failure::Timeout, until_ms);
            return;
        }
        let at_ms = self.now_ms + delay;
        if self.options.faults.duplicate > self.rng.f64() {
            let twice = What::Request { from: site, request, frame: frame.clone(), until_ms };
            self.push(at_ms + 3, other, twice);
        }
        self.push(at_ms, other, What::Request { from: site, request, frame, until_ms });
    }

    /// Makes a connection; false when there is one.
    pub(super) fn link(&mut self, from: usize, to: usize) -> bool {
        if from == to || !self.links.make(from, to, self.now_ms) {
            return false;
        }
        let (one, two) = (self.sites[from].host(), self.sites[to].host());
        let (at_one, at_two) = (self.sites[from].address, self.sites[to].address);
        self.event(to, Event::Connected { peer: one, observed: Some(at_one), dialled: false });
        self.event(from, Event::Connected { peer: two, observed: Some(at_two), dialled: true });
        true
    }

    fn dial(&mut self, site: usize, address: &str) {
        let found = self.sites.iter().position(|one| one.address.to_string() == address);
        match found
            .filter(|at| self.sites[*at].node.is_some() && self.parts[*at] == self.parts[site])
        {
            Some(other) => {
                self.link(site, other);
            }
            None => self.event(site, Event::DialFailed { address: address.to_owned() }),
        }
    }

    /// Gossip reaches everybody on the same side, each by several ways, at his own time; of who has
    /// no connection, nobody.
    fn spread(&mut self, site: usize, topic: Topic, frame: &[u8]) {
        if !self.links.any(site) {
            return;
        }
        let frame: Arc<[u8]> = frame.into();
        let from = self.sites[site].host();
        for other in 0..self.sites.len() {
            let there = self.sites[other].node.is_some() && self.parts[other] == self.parts[site];
            if other == site || !there || (self.loses() && self.loses()) {
                continue;
            }
            let hops = self.rng.u64(1..=4);
            let at_ms = self.now_ms + hops * self.delay();
            self.push(at_ms, other, What::Gossip { from, topic, frame: Arc::clone(&frame) });
        }
    }

    fn keep(&mut self, site: usize, keep: Keep) {
        let disk = &mut self.sites[site].disk;
        match keep {
            Keep::Settled { seq } => {
                disk.outbox.remove(&seq);
            }
            Keep::Member { node, record } if !self.acquainted => {
                if let Ok(record) = MemberRecord::decode(&record) {
                    disk.members.insert(node, Arc::new(record));
                }
            }
            Keep::Member { .. } => {}
            Keep::Vouches { site: of, signed } => {
                disk.vouches.insert(of, signed);
            }
            Keep::Unvouched { site: of } => {
                disk.vouches.remove(&of);
            }
            Keep::Equivocator { site: of, first, second } => {
                disk.proofs.insert(of, (first, second));
            }
            Keep::Accepted { .. } => {}
            Keep::Forget { node } => {
                disk.members.remove(&node);
            }
        }
    }
}
