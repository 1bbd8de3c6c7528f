//! The task that owns swarm and node. Events come from three sides (network, clock, agent); each
//! is handed to the node, and what the node wants is carried out before the next one is taken.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{MessageAcceptance, MessageId};
use libp2p::request_response::{OutboundRequestId, ResponseChannel};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, Swarm, autonat};
use novacula_catalog::node::wire::{Refusal, Response};
use novacula_catalog::node::{
    Acceptance, Action, AskId, CallId, Config, Event, Failure, GossipId, GossipVerdict, Node,
    NodeId, Now, QueryId, RequestId, Start, Topic, Turns, Unanswered, Why,
};
use tokio::sync::{mpsc, oneshot};

use crate::address::{forms, node_of, peer_of};
use crate::behaviour::{Behaviour, Names};
use crate::counts::DriverCounts;
use crate::handle::{Answer, Ask, Told, View};
use crate::outgoing::{Asking, Outgoing, Overdue, Place};
use crate::process::Processes;
use crate::record::Recorder;
use crate::start::{Settings, is_relayed, reachable};

/// After how many seconds a peer may try again for which there was no room in line.
const CROWDED_SECS: u32 = 1;
/// Longest time between two ticks of the node.
const TICK_MAX: Duration = Duration::from_secs(1);
/// Most peers banned at a time; beyond, the connection is closed and that is all.
const BANNED_MAX: usize = 10_000;
/// What the network brings is taken in up to so often before the next of what waits is served, so
/// that who comes last finds a place in line, and nobody can keep the node from serving.
const TAKEN_MAX: usize = 16;
/// libp2p accepts new connections only when nothing else has happened. So at least so often all that
/// has happened is taken in, or so much of it: two events of each connection, some 20 ms.
const DRAINED_EVERY: Duration = Duration::from_millis(100);
const DRAINED_MAX: usize = 2_000;
/// So many that wait are served before the connections have their turn.
const SERVED_MAX: usize = 8;
/// Fewest connections that a node wants; under it, it dials whom discovery finds.
const CONNECTED_WANTED: usize = 8;

/// The task's state.
pub(crate) struct Driver {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) names: Names,
    pub(crate) settings: Settings,
    recorder: Option<Recorder>,
    pub(crate) node: Node,
    rng: fastrand::Rng,
    started: Instant,
    tell: mpsc::Sender<Told>,
    pub(crate) counts: DriverCounts,
    /// Requests of ours.
    pub(crate) outgoing: Outgoing<OutboundRequestId>,
    pub(crate) calls: HashMap<CallId, ResponseChannel<Vec<u8>>>,
    pub(crate) gossips: HashMap<GossipId, (MessageId, PeerId)>,
    queries: HashMap<QueryId, oneshot::Sender<Answer>>,
    accepts: HashMap<AskId, oneshot::Sender<Result<Acceptance, Unanswered>>>,
    pub(crate) dials: HashMap<ConnectionId, Dialled>,
    bans: BTreeSet<(u64, PeerId)>,
    /// Which program is at the other end.
    pub(crate) processes: Processes,
    /// Peers through which this one is reached.
    pub(crate) relays: HashMap<PeerId, ListenerId>,
    /// Peers that were found by a name, of which it is not known yet where they are.
    pub(crate) named: HashSet<PeerId>,
    pub(crate) leaving: Option<oneshot::Sender<()>>,
    next_id: u64,
    /// What is this node's own, answers to it among them: it goes first.
    pub(crate) todo: VecDeque<Event>,
    /// What peers ask and announce.
    pub(crate) turns: Turns<Event>,
}

/// An address being dialled, and who waits for it.
pub(crate) struct Dialled {
    address: String,
    left: VecDeque<Multiaddr>,
    pub(crate) done: Option<oneshot::Sender<Result<NodeId, String>>>,
}

impl Driver {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        names: Names,
        settings: Settings,
        recorder: Option<Recorder>,
        start: Start,
        config: Config,
        tell: mpsc::Sender<Told>,
    ) -> Self {
        let mut rng = fastrand::Rng::new();
        let started = Instant::now();
        let now = Now { wall: (settings.clock)(), ms: 0 };
        let node = Node::new(start, config, now, &mut rng);
        Self {
            swarm,
            names,
            settings,
            recorder,
            node,
            rng,
            started,
            tell,
            counts: DriverCounts::default(),
            outgoing: Outgoing::default(),
            calls: HashMap::new(),
            gossips: HashMap::new(),
            queries: HashMap::new(),
            accepts: HashMap::new(),
            dials: HashMap::new(),
            bans: BTreeSet::new(),
            processes: Processes::default(),
            relays: HashMap::new(),
            named: HashSet::new(),
            leaving: None,
            next_id: 0,
            todo: VecDeque::new(),
            turns: Turns::default(),
        }
    }

    /// Runs until the agent lets go of its handle, or the node has left.
    pub(crate) async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        let (mut taken, mut drained) = (0, Instant::now());
        loop {
            self.work();
            let wake = self.wake();
            if wake.is_zero() {
                self.on_time();
                continue;
            }
            let busy = !self.turns.is_empty();
            let late = taken >= TAKEN_MAX && drained.elapsed() >= DRAINED_EVERY;
            let most = if late { DRAINED_MAX } else { TAKEN_MAX };
            tokio::select! {
                biased;
                ask = asked.recv() => match ask {
                    Some(ask) => self.on_ask(ask),
                    None => return,
                },
                event = self.swarm.select_next_some(), if !busy || taken < most => {
                    taken += 1;
                    self.on_swarm(event);
                }
                () = tokio::task::yield_now(), if busy => {
                    if late || taken < most {
                        drained = Instant::now();
                    }
                    taken = 0;
                    self.serve_some();
                }
                () = tokio::time::sleep(wake), if !busy => self.on_time(),
            }
            if self.leaving.as_ref().is_some_and(oneshot::Sender::is_closed) {
                return; // left, or nobody waits for it any more
            }
        }
    }

    fn now(&self) -> Now {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { wall: (self.settings.clock)(), ms }
    }

    /// How long nothing is due.
    fn wake(&self) -> Duration {
        let now_ms = self.now().ms;
        let due = self.outgoing.due_ms().unwrap_or(u64::MAX).min(self.node.wake_ms());
        Duration::from_millis(due.saturating_sub(now_ms)).min(TICK_MAX)
    }

    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Hands the node what waits, and carries out what it wants.
    fn work(&mut self) {
        while let Some(event) = self.todo.pop_front() {
            let now = self.now();
            for action in self.node.handle(event, now, &mut self.rng) {
                self.act(action);
            }
        }
    }

    /// Serves those whose turn it is. Who has gone meanwhile is passed over.
    fn serve_some(&mut self) {
        let mut served = 0;
        while served < SERVED_MAX
            && let Some(event) = self.turns.pop()
        {
            if let Event::Request { call, .. } = &event
                && self.calls.get(call).is_none_or(|channel| !channel.is_open())
            {
                self.calls.remove(call);
                continue;
            }
            served += 1;
            self.todo.push_back(event);
            self.work();
        }
    }

    /// What a peer asks or announces waits for its turn.
    pub(crate) fn wait_in_line(&mut self, peer: NodeId, event: Event) {
        let network = self.node.network_at(peer);
        let refused = self.turns.push(peer, network, event);
        self.counts.waiting_most = self.counts.waiting_most.max(self.turns.len() as u64);
        match refused {
            None => return,
            Some(Event::Request { call, .. }) => {
                let why = Refusal::Full;
                let frame = Response::Refused { why, retry_secs: CROWDED_SECS }.encode();
                self.act(Action::Respond { call, frame });
            }
            Some(Event::Gossip { id, .. }) => {
                self.act(Action::GossipVerdict { id, verdict: GossipVerdict::Ignore });
            }
            Some(_) => {}
        }
        self.counts.crowded_out += 1;
    }

    fn on_time(&mut self) {
        let now_ms = self.now().ms;
        while let Some(overdue) = self.outgoing.overdue(now_ms) {
            match overdue {
                Overdue::Unanswered(request) => {
                    self.todo.push_back(Event::Failed { request, why: Failure::Timeout });
                }
                Overdue::Unsent(request) => self.unsent(request),
                Overdue::Lost(peer) => self.advance(peer),
            }
        }
        while let Some((at, peer)) = self.bans.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.bans.remove(&(at, peer));
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
        if self.node.wake_ms() <= now_ms || self.todo.is_empty() {
            self.todo.push_back(Event::Tick);
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Query { probe, sighting, known, deadline_ms, answer } => {
                let query = QueryId(self.fresh_id());
                self.queries.insert(query, answer);
                self.todo.push_back(Event::Query { query, probe, sighting, known, deadline_ms });
            }
            Ask::Publish(signed) => self.todo.push_back(Event::Publish { signed }),
            Ask::Vouch(signed) => self.todo.push_back(Event::Vouch { signed }),
            Ask::Trusted(sites) => self.todo.push_back(Event::Trusted { sites }),
            Ask::Invites(invites) => self.todo.push_back(Event::Invites { invites }),
            Ask::Accept { to, secret, inviter, answer } => {
                let ask = AskId(self.fresh_id());
                self.accepts.insert(ask, answer);
                self.todo.push_back(Event::Accept { ask, to, secret, inviter });
            }
            Ask::Dial(address, done) => self.dial(address, Some(done)),
            Ask::Knows(host, answer) => {
                let _ = answer.send(self.node.knows(host));
            }
            Ask::View(peers_max, answer) => {
                let _ = answer.send(self.view(peers_max));
            }
            Ask::Leave(left) => {
                self.leaving = Some(left);
                self.todo.push_back(Event::Leave);
            }
        }
    }

    fn view(&self, peers_max: usize) -> View {
        View {
            node: self.node.id(),
            status: self.node.status(),
            counters: self.node.counters().clone(),
            counts: DriverCounts {
                frames_broken: self.counts.frames_broken
                    + self.names.codec.broken.load(std::sync::atomic::Ordering::Relaxed),
                ..self.counts
            },
            peers: self.node.peers(peers_max),
            addresses: self.addresses(),
            nat: match self.swarm.behaviour().autonat.nat_status() {
                autonat::v1::NatStatus::Public(_) => "public",
                autonat::v1::NatStatus::Private => "private",
                autonat::v1::NatStatus::Unknown => "unknown",
            },
        }
    }

    /// Carries out what the node wants.
    fn act(&mut self, action: Action) {
        match action {
            Action::Send { to, addresses, request, frame, purpose, timeout_ms } => {
                let due_ms = self.now().ms.saturating_add(timeout_ms);
                self.send(to, Asking { request, frame, purpose, addresses, due_ms });
            }
            Action::Respond { call, frame } => {
                if let Some(channel) = self.calls.remove(&call) {
                    // Who has gone meanwhile does not hear it.
                    let _ = self.swarm.behaviour_mut().serving.send_response(channel, frame);
                }
            }
            Action::Gossip { topic, frame } => self.gossip(topic, frame),
            Action::GossipVerdict { id, verdict } => {
                let Some((message, from)) = self.gossips.remove(&id) else { return };
                let acceptance = match verdict {
                    GossipVerdict::Accept => MessageAcceptance::Accept,
                    GossipVerdict::Ignore => MessageAcceptance::Ignore,
                    GossipVerdict::Reject => MessageAcceptance::Reject,
                };
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&message, &from, acceptance);
            }
            Action::Dial { address } => self.dial(address, None),
            Action::Ban { peer, secs } => self.ban(peer, secs),
            Action::Keep(keep) => self.tell(Told::Keep(keep)),
            Action::Answered { query, witnesses, completeness, .. } => {
                let Some(asker) = self.queries.remove(&query) else { return };
                if let Err(late) = asker.send(Answer { witnesses, completeness }) {
                    self.tell(Told::Learned(late.witnesses, Why::Late));
                }
            }
            Action::Accepted { ask, outcome } => {
                if let Some(asker) = self.accepts.remove(&ask) {
                    let _ = asker.send(outcome);
                }
            }
            Action::Learned { witnesses, why } => self.tell(Told::Learned(witnesses, why)),
            Action::Left => {
                if let Some(left) = self.leaving.take() {
                    let _ = left.send(());
                }
            }
        }
    }

    fn tell(&mut self, told: Told) {
        if self.tell.try_send(told).is_err() {
            self.counts.told_dropped += 1;
        }
    }

    /// A request goes at once, or waits for its turn.
    fn send(&mut self, to: NodeId, asking: Asking) {
        let request = asking.request;
        let Some(peer) = peer_of(to) else {
            self.todo.push_back(Event::Failed { request, why: Failure::Unreachable });
            return;
        };
        match self.outgoing.push(peer, asking) {
            Place::First => {}
            Place::Waits => {
                self.counts.requests_lined_up += 1;
                let waiting = self.outgoing.waiting() as u64;
                self.counts.lined_up_most = self.counts.lined_up_most.max(waiting);
            }
            Place::Nowhere => self.unsent(request),
        }
        self.advance(peer);
    }

    fn unsent(&mut self, request: RequestId) {
        self.counts.requests_unsent += 1;
        self.todo.push_back(Event::Failed { request, why: Failure::Unsent });
    }

    /// Sends a peer what may go now.
    fn advance(&mut self, peer: PeerId) {
        let behaviour = &mut self.swarm.behaviour_mut().asking;
        self.outgoing.advance(peer, |asking| {
            if let (Some(recorder), Some(to)) = (&mut self.recorder, node_of(&peer)) {
                recorder.note(asking.purpose.name(), &to.to_string(), &asking.frame);
            }
            let addresses = asking.addresses.iter().filter_map(|address| address.parse().ok());
            behaviour.send_request_with_addresses(&peer, asking.frame, addresses.collect())
        });
    }

    /// The node's number of a request that has ended; none when it was given up before.
    pub(crate) fn ended(&mut self, id: OutboundRequestId) -> Option<RequestId> {
        let (peer, request) = self.outgoing.ended(id)?;
        self.advance(peer);
        request
    }

    fn gossip(&mut self, topic: Topic, frame: Vec<u8>) {
        if let Some(recorder) = &mut self.recorder {
            let what = match topic {
                Topic::Members => "gossip-members",
                Topic::Hot => "gossip-hot",
            };
            recorder.note(what, "all", &frame);
        }
        let topic = self.names.topic(topic);
        if self.swarm.behaviour_mut().gossip.publish(topic, frame).is_err() {
            self.counts.gossip_unheard += 1;
        }
    }

    fn ban(&mut self, peer: NodeId, secs: u64) {
        for gone in self.turns.forget(peer) {
            match gone {
                Event::Request { call, .. } => drop(self.calls.remove(&call)),
                Event::Gossip { id, .. } => drop(self.gossips.remove(&id)),
                _ => {}
            }
        }
        let Some(peer) = peer_of(peer) else { return };
        if secs > 0 && self.bans.len() < BANNED_MAX {
            self.counts.peers_blocked += 1;
            let until = self.now().ms.saturating_add(secs.saturating_mul(1000));
            self.bans.insert((until, peer));
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        }
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    /// Dials the forms of an address one after the other, until one answers.
    fn dial(&mut self, address: String, done: Option<oneshot::Sender<Result<NodeId, String>>>) {
        match forms(&address) {
            Ok(left) => {
                self.dial_next(Dialled { address, left: left.into(), done }, "no address".into());
            }
            Err(error) => {
                let left = VecDeque::new();
                self.dial_next(Dialled { address, left, done }, error.to_string());
            }
        }
    }

    /// Dials the next form; when none is left, says why the last one failed.
    pub(crate) fn dial_next(&mut self, mut dialled: Dialled, mut reason: String) {
        while let Some(form) = dialled.left.pop_front() {
            let opts = DialOpts::from(form);
            let (connection, peer) = (opts.connection_id(), opts.get_peer_id());
            match self.swarm.dial(opts) {
                Ok(()) => {
                    self.dials.insert(connection, dialled);
                    return;
                }
                Err(DialError::DialPeerConditionFalse(_)) => {
                    // A connection is there already, or is being made.
                    if let (Some(done), Some(node)) =
                        (dialled.done, peer.as_ref().and_then(node_of))
                    {
                        let _ = done.send(Ok(node));
                    }
                    return;
                }
                Err(error) => reason = error.to_string(),
            }
        }
        self.counts.dials_failed += 1;
        if let Some(done) = dialled.done {
            let _ = done.send(Err(reason));
        }
        self.todo.push_back(Event::DialFailed { address: dialled.address });
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        match self.settings.announce.is_empty() {
            false => self.settings.announce.iter().map(ToString::to_string).collect(),
            true => {
                // Behind a NAT nobody can dial what this host listens at; who tried would wait.
                let heard = self.swarm.listeners();
                let heard = heard.filter(|one| !self.settings.behind_nat || is_relayed(one));
                let all = self.swarm.external_addresses().chain(heard);
                reachable(all, self.swarm.local_peer_id())
            }
        }
    }

    /// Under the wanted number of connections whoever is found is dialled.
    pub(crate) fn found(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let known = self.swarm.network_info().num_peers();
        if known >= CONNECTED_WANTED || self.swarm.is_connected(&peer) {
            return;
        }
        let opts = DialOpts::peer_id(peer).addresses(addresses).build();
        let _ = self.swarm.dial(opts);
    }
}
