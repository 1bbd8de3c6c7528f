//! Peers that lie, flood and send rubbish, against one real node.

use std::net::IpAddr;

use novacula_catalog::node::wire::{Observe, Refusal, Request, Response, Said, Standing};
use novacula_catalog::node::{
    Action, CallId, Config, Event, Group, HostCertificate, Keep, MemberRecord, Node, NodeId, Now,
    Observation, Start,
};
use novacula_catalog::{
    Copies, Epoch, Facts, Identity, Key, Kind, MailId, Opinion, Statement, Time,
};

/// When it happens.
pub const NOW: Time = Time(1_800_000_000);

/// A peer of the node, with keys of its own.
pub struct Peer {
    /// The host's key.
    pub host: Identity,
    /// The site's key.
    pub site: Identity,
}

impl Peer {
    /// Peer number `number`.
    #[must_use]
    pub fn new(number: u16) -> Self {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        let host = Identity::from_seed(&seed);
        seed[31] = 1;
        Self { host, site: Identity::from_seed(&seed) }
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId::of(&self.host)
    }

    /// The frame by which it states a record of a statement, under its first key.
    #[must_use]
    pub fn record_of(&self, statement: &Statement) -> Vec<u8> {
        let Statement { mail, seq, epoch, kind, .. } = *statement;
        let keys = statement.keys().to_vec();
        let said = Said::Record { mail, seq, epoch, kind, home: keys[0] };
        let observe = Observe { keys, ask: 0, under: 1, said, inline: false, known: Vec::new() };
        Request::Observe(observe).encode()
    }

    fn record(&self, address: IpAddr, observers: &[&Peer], lane: u16) -> MemberRecord {
        let until = Time(NOW.0 + 1_000_000);
        let certificate = HostCertificate::issue_lane(&self.site, self.id(), until, lane);
        let seen = observers.iter().map(|by| Observation::make(&by.host, self.id(), address, NOW));
        let addresses = vec![address.to_string()];
        MemberRecord::make(&self.host, &Group::Open, certificate, NOW, addresses, seen.collect())
    }

    /// Its Hello to a node of `asked`, with the badge of `worn`.
    #[must_use]
    pub fn hello(&self, asked: &Group, worn: &Group) -> Request {
        let certificate = HostCertificate::issue(&self.site, self.id(), Time(NOW.0 + 1_000_000));
        let record = MemberRecord::make(&self.host, worn, certificate, NOW, Vec::new(), Vec::new());
        Request::Hello { versions: (1, 1), group: asked.id(), record: record.to_bytes() }
    }

    /// A statement of its site under `keys`.
    #[must_use]
    pub fn statement(&self, seq: u64, epoch: Epoch, keys: Vec<Key>, opinion: bool) -> Statement {
        let kind = match opinion {
            true => Kind::Opinion { opinion: Opinion::Report, nilsimsa: None },
            false => Kind::Sighting { copies: Copies::One, facts: Facts::default() },
        };
        Statement::new(self.site.site(), MailId(seq), seq, epoch, keys, kind)
    }
}

/// One real node that knows `peers`, each in a network of its own.
pub struct Target {
    /// The node.
    pub node: Node,
    /// Its time.
    pub now: Now,
    rng: fastrand::Rng,
    calls: u64,
    /// Peers that it banned.
    pub banned: Vec<NodeId>,
    /// What it wanted kept.
    pub kept: Vec<Keep>,
}

impl Target {
    /// A node, with settings of the test's choice.
    #[must_use]
    pub fn new(peers: &[Peer], config: Config) -> Self {
        Self::in_lanes(peers, &[], config)
    }

    /// The same; peers that have not their site's key, by place, with the lane that they have.
    #[must_use]
    pub fn in_lanes(peers: &[Peer], lanes: &[(usize, u16)], config: Config) -> Self {
        Self::holding(peers, lanes, Vec::new(), config)
    }

    /// The site of every target.
    #[must_use]
    pub fn own() -> Peer {
        Peer::new(60_000)
    }

    /// The same; it holds these lists of vouches from its last start.
    #[must_use]
    pub fn holding(
        peers: &[Peer],
        lanes: &[(usize, u16)],
        vouches: Vec<Vec<u8>>,
        config: Config,
    ) -> Self {
        let own = Self::own();
        let mut rng = fastrand::Rng::with_seed(1);
        let at = |number: usize| -> IpAddr {
            let byte = |value: usize| u8::try_from(value % 256).unwrap_or(0);
            [10, byte(number / 200 + 1), byte(number % 200), 1].into()
        };
        let observers: Vec<&Peer> = peers.iter().take(3).collect();
        let mut members: Vec<_> = peers
            .iter()
            .enumerate()
            .map(|(number, peer)| {
                let others: Vec<&Peer> =
                    observers.iter().filter(|one| one.id() != peer.id()).take(2).copied().collect();
                let lane = lanes.iter().find(|(of, _)| *of == number).map_or(0, |(_, lane)| *lane);
                std::sync::Arc::new(peer.record(at(number), &others, lane))
            })
            .collect();
        members.push(std::sync::Arc::new(own.record(at(999), &observers, 0)));
        let certificate = HostCertificate::issue(&own.site, own.id(), Time(NOW.0 + 1_000_000));
        let start = Start {
            host: own.host,
            certificate,
            boot: NOW,
            outbox: Vec::new(),
            members,
            vouches,
            proofs: Vec::new(),
            addresses: vec!["own".to_owned()],
        };
        let now = Now { wall: NOW, ms: 1_000 };
        let mut node = Node::new(start, config, now, &mut rng);
        let _ = node.handle(Event::Tick, now, &mut rng);
        Self { node, now, rng, calls: 0, banned: Vec::new(), kept: Vec::new() }
    }

    /// Sends a frame as `peer`, gives the answer.
    pub fn frame(&mut self, peer: &Peer, frame: Vec<u8>) -> Response {
        self.calls += 1;
        let call = CallId(self.calls);
        let event = Event::Request { peer: peer.id(), call, frame };
        let actions = self.node.handle(event, self.now, &mut self.rng);
        let mut answer = None;
        for action in actions {
            match action {
                Action::Respond { call: of, frame } if of == call => {
                    answer = Response::decode(&frame).ok();
                }
                Action::Ban { peer, .. } => self.banned.push(peer),
                Action::Keep(keep) => self.kept.push(keep),
                _ => {}
            }
        }
        answer.unwrap_or(Response::Refused { why: Refusal::Malformed, retry_secs: u32::MAX })
    }

    /// States a whole statement as `peer`, gives what became of it.
    pub fn state(&mut self, peer: &Peer, signed: Vec<u8>, keys: Vec<Key>) -> Option<Standing> {
        let under = (1u64 << keys.len()) - 1;
        let said = Said::Whole(signed);
        let observe = Observe { keys, ask: 0, under, said, inline: false, known: Vec::new() };
        match self.frame(peer, Request::Observe(observe).encode()) {
            Response::Observed { standing, .. } => Some(standing),
            _ => None,
        }
    }

    /// Hands the node an event, gives what it wants done.
    pub fn event(&mut self, event: Event) -> Vec<Action> {
        self.node.handle(event, self.now, &mut self.rng)
    }

    /// Lets time pass.
    pub fn wait(&mut self, ms: u64) {
        self.now.ms += ms;
        self.now.wall = Time(self.now.wall.0 + ms / 1000);
        let _ = self.node.handle(Event::Tick, self.now, &mut self.rng);
    }
}

/// How fast one node serves: observations of 23 keys, each stated and asked, on one core.
#[derive(Debug)]
pub struct Served {
    /// Key observations a second, with records.
    pub keys_per_second_records: f64,
    /// The same with whole statements, whose signatures are checked.
    pub keys_per_second_whole: f64,
}

/// Serves so many requests of each sort.
#[must_use]
pub fn serve(requests: usize) -> Served {
    let peers: Vec<Peer> = (0..40).map(Peer::new).collect();
    let mut rng = fastrand::Rng::with_seed(1);
    let most = u32::MAX;
    let mut rate = |whole: bool| {
        let config = Config {
            keys_per_second_peer: most,
            keys_per_second_network: most,
            ..Config::default()
        };
        let mut target = Target::new(&peers, config);
        let frames: Vec<(usize, Vec<u8>)> = (0..requests as u64)
            .map(|seq| {
                let peer = rng.usize(..peers.len());
                let keys = (0..23).map(|_| Key(rng.u64(..))).collect();
                let statement = peers[peer].statement(seq, NOW.epoch(), keys, false);
                let keys = statement.keys().to_vec();
                let (mail, epoch, kind) = (statement.mail, statement.epoch, statement.kind);
                let said = match whole {
                    true => Said::Whole(statement.sign(&peers[peer].site)),
                    false => Said::Record { mail, seq, epoch, kind, home: keys[0] },
                };
                let all = (1 << keys.len()) - 1;
                let observe =
                    Observe { keys, ask: all, under: all, said, inline: true, known: Vec::new() };
                (peer, Request::Observe(observe).encode())
            })
            .collect();
        let start = std::time::Instant::now();
        for (peer, frame) in frames {
            let _ = target.frame(&peers[peer], frame);
        }
        requests as f64 * 23.0 / start.elapsed().as_secs_f64()
    };
    Served { keys_per_second_records: rate(false), keys_per_second_whole: rate(true) }
}
