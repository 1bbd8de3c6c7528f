//! Nodes whose time is bounded, and peers without manners: whatever comes to a node waits until the
//! node has time for it ([`Work`]), what it asked for first, the rest as the driver has it wait
//! ([`Turns`], the same code); some peers flood ([`Flood`]), others ask and answer nobody.
//!
//! Key decision: a refused request costs its frame (connection, decoding), a served one its keys
//! beside. So a flood hurts even where all of it is refused, and more where it is served.

use std::collections::{HashMap, HashSet, VecDeque};

use novacula_catalog::node::wire::{
    OBSERVE_KEYS_MAX, Observe, Refusal, Request, Response, Said, Standing,
};
use novacula_catalog::node::{Failure, NodeId, RequestId, Turns};
use novacula_catalog::{Copies, Facts, KEYS_MAX, Key, Kind, MailId, Statement};

use super::queue::What;
use super::world::World;

/// What any frame costs a node, in microseconds of its time. With [`KEY_NS`] a request of 23 keys
/// takes 107 us: the 214,000 keys/s of `wireload`. How much of that is the frame's is an
/// argument: about half, for a bare echo takes 34 us on the same machine.
const FRAME_NS: u64 = 50_000;
/// What a key that is worked on costs beside, in nanoseconds: (107 us - 50 us) / 23.
const KEY_NS: u64 = 2_500;
/// Requests that one flooding host has under way at one node: four connections of 64 streams, the
/// driver's bounds.
pub const UNDER_WAY: usize = 4 * 64;
/// Numbers of a flood's requests begin here; nodes count theirs from 0.
const FLOOD_FROM: u64 = 1 << 63;
const NS_A_MS: u64 = 1_000_000;

/// What waits at one node.
#[derive(Default)]
struct Desk {
    /// When its work so far is done, in nanoseconds.
    done_ns: u64,
    /// Answers to it.
    own: VecDeque<What>,
    /// What peers ask and announce.
    turns: Turns<What>,
}

impl Desk {
    fn waiting(&self) -> usize {
        self.own.len() + self.turns.len()
    }
}

/// The nodes' time.
pub struct Work {
    desks: Vec<Desk>,
    /// Most frames that ever waited at one node.
    pub waiting_most: usize,
}

/// A flood under way.
#[derive(Default)]
pub struct Flood {
    /// Requests sent.
    pub sent: u64,
    /// Of which refused.
    pub refused: u64,
    stopped: bool,
}

/// Who behaves how; nothing for a world in which all are kind.
#[derive(Default)]
pub struct Manners {
    /// Bounded time; none: nodes work in no time.
    pub work: Option<Work>,
    /// The flood.
    pub flood: Flood,
    /// Sites that answer no question and hold nothing for others: they refuse.
    pub riders: HashSet<usize>,
    /// Sites that say they hold what they are told, and that nothing is there.
    pub hiders: HashSet<usize>,
    /// Sites whose mail nobody else gets.
    pub lone: HashSet<usize>,
    /// Who gets mail, as often as he is named here; empty: all that run.
    pub askers: Vec<usize>,
    /// Requests by asker to peers that serve: answered, refused.
    pub outcome: Vec<(u64, u64)>,
    /// Who cut whom off, and until when, in milliseconds.
    pub cut_off: HashMap<(usize, usize), u64>,
}

impl World {
    /// From now on nodes need time for what they do.
    pub fn bound_work(&mut self) {
        let desks = (0..self.sites.len()).map(|_| Desk::default()).collect();
        self.manners.work = Some(Work { desks, waiting_most: 0 });
    }

    /// These sites have a connection to every other.
    pub fn acquaint(&mut self, askers: &[usize]) {
        for from in askers {
            (0..self.sites.len()).for_each(|to| {
                self.link(*from, to);
            });
        }
    }

    /// Something has come to a node.
    pub(super) fn receive(&mut self, to: usize, what: What) {
        if let What::Request { from, .. } = &what
            && let Some(until_ms) = self.cut_off_until(to, *from)
        {
            self.knock_later(to, what, until_ms);
            return;
        }
        let what = match what {
            What::Response { from, request, frame } if request.0 >= FLOOD_FROM => {
                let refused = matches!(Response::decode(&frame), Ok(Response::Refused { .. }));
                self.manners.flood.refused += u64::from(refused);
                if !self.manners.flood.stopped {
                    self.strike(to, from);
                }
                return;
            }
            What::Request { from, request, frame, .. } if self.shirks(to, from, &frame) => {
                let frame = self.excuse(to, &frame).encode();
                let at_ms = self.now_ms + self.delay();
                let of = self.sites[to].host();
                self.push(at_ms, from, What::Response { from: of, request, frame });
                return;
            }
            other => other,
        };
        self.note(to, &what);
        let waits = matches!(
            what,
            What::Request { .. } | What::Response { .. } | What::Gossip { .. } | What::Turn
        );
        if !waits || self.manners.work.is_none() {
            self.dispatch(to, what);
            return;
        }
        self.queue_up(to, what);
    }

    /// Riders refuse all but each other; who hides what he holds says that nothing is there.
    fn shirks(&self, to: usize, from: usize, frame: &[u8]) -> bool {
        let asked =
            || matches!(Request::decode(frame), Ok(Request::Observe(_) | Request::Fetch(_)));
        let (riders, hiders) = (&self.manners.riders, &self.manners.hiders);
        (riders.contains(&to) && !riders.contains(&from) || hiders.contains(&to)) && asked()
    }

    fn excuse(&self, of: usize, frame: &[u8]) -> Response {
        match Request::decode(frame) {
            _ if self.manners.riders.contains(&of) => {
                Response::Refused { why: Refusal::Quota, retry_secs: 10 }
            }
            Ok(Request::Observe(Observe { keys, said, .. })) => Response::Observed {
                standing: if said == Said::Nothing { Standing::Nothing } else { Standing::Kept },
                keys: u8::try_from(keys.len()).unwrap_or(u8::MAX),
                pointers: Vec::new(),
                statements: Vec::new(),
            },
            _ => Response::Statements(Vec::new()),
        }
    }

    /// Counts how peers that serve answered.
    fn note(&mut self, to: usize, what: &What) {
        let What::Response { from, frame, .. } = what else { return };
        let rides = self.place_of(*from).is_none_or(|at| self.manners.riders.contains(&at));
        let Some(outcome) = self.manners.outcome.get_mut(to).filter(|_| !rides) else { return };
        match Response::decode(frame) {
            Ok(Response::Refused { .. }) => outcome.1 += 1,
            _ => outcome.0 += 1,
        }
    }

    fn queue_up(&mut self, to: usize, what: What) {
        let from = match &what {
            What::Request { from, .. } => Some(self.sites[*from].host()),
            What::Gossip { from, .. } => Some(*from),
            _ => None,
        };
        let node = self.sites[to].node.as_ref();
        let network = from.zip(node).map(|(from, node)| (from, node.network_at(from)));
        let Some(work) = self.manners.work.as_mut() else { return };
        let desk = &mut work.desks[to];
        if !matches!(what, What::Turn) {
            let refused = match network {
                Some((from, network)) => desk.turns.push(from, network, what),
                None => {
                    desk.own.push_back(what);
                    None
                }
            };
            work.waiting_most = work.waiting_most.max(desk.waiting());
            let first = desk.waiting() == 1;
            self.crowd_out(to, refused);
            // Somebody's turn is due already.
            if !first {
                return;
            }
        }
        loop {
            let now_ms = self.now_ms;
            let Some(work) = self.manners.work.as_mut() else { return };
            let desk = &mut work.desks[to];
            if desk.waiting() == 0 {
                return;
            }
            if desk.done_ns >= (now_ms + 1) * NS_A_MS {
                let at_ms = desk.done_ns / NS_A_MS;
                self.push(at_ms, to, What::Turn);
                return;
            }
            let Some(next) = desk.own.pop_front().or_else(|| desk.turns.pop()) else { return };
            let worked = |world: &Self| {
                world.sites[to].node.as_ref().map_or(0, |node| node.counters().key_observations)
            };
            let before = worked(self);
            self.dispatch(to, next);
            let keys = worked(self).saturating_sub(before);
            let Some(work) = self.manners.work.as_mut() else { return };
            let desk = &mut work.desks[to];
            desk.done_ns = desk.done_ns.max(now_ms * NS_A_MS) + FRAME_NS + keys * KEY_NS;
        }
    }

    /// What has no room in line is refused by the driver.
    fn crowd_out(&mut self, at: usize, refused: Option<What>) {
        let Some(What::Request { from, request, .. }) = refused else { return };
        let frame = Response::Refused { why: Refusal::Full, retry_secs: 1 }.encode();
        let (at_ms, of) = (self.now_ms + self.delay(), self.sites[at].host());
        self.push(at_ms, from, What::Response { from: of, request, frame });
    }

    /// A node cuts a peer off: what waits of it is dropped, and what it sends comes to nothing.
    pub(super) fn cut_off(&mut self, at: usize, peer: NodeId, secs: u64) {
        let Some(of) = self.place_of(peer) else { return };
        let work = self.manners.work.as_mut();
        let dropped = work.map(|work| work.desks[at].turns.forget(peer)).unwrap_or_default();
        let until_ms = self.now_ms.saturating_add(secs * 1_000);
        self.manners.cut_off.insert((at, of), until_ms);
        for what in dropped {
            self.knock_later(at, what, until_ms);
        }
    }

    /// Until when `at` wants nothing of `of`, if it is so now.
    pub(super) fn cut_off_until(&self, at: usize, of: usize) -> Option<u64> {
        let until_ms = self.manners.cut_off.get(&(at, of)).copied();
        until_ms.filter(|until_ms| *until_ms > self.now_ms)
    }

    /// Who floods is there again at the moment when he may; for others a request has failed.
    fn knock_later(&mut self, at: usize, what: What, until_ms: u64) {
        let What::Request { from, request, .. } = what else { return };
        if request.0 >= FLOOD_FROM {
            let of = self.sites[at].host();
            self.push(until_ms, from, What::Response { from: of, request, frame: Vec::new() });
        } else {
            let why = Failure::Unreachable;
            self.push(self.now_ms + 1_000, from, What::Failed { request, why });
        }
    }

    /// These hosts begin to flood those, each with all the requests that a connection takes, and a
    /// new one for each that is answered.
    pub fn begin_flood(&mut self, from: &[usize], at: &[usize]) {
        self.manners.flood = Flood::default();
        for flooder in from {
            for target in at {
                let target = self.sites[*target].host();
                (0..UNDER_WAY).for_each(|_| self.strike(*flooder, target));
            }
        }
    }

    /// What is under way is the last.
    pub fn end_flood(&mut self) {
        self.manners.flood.stopped = true;
    }

    /// One request of a flood: 24 new keys stated, and 24 more asked.
    fn strike(&mut self, from: usize, at: NodeId) {
        let Some(target) = self.place_of(at) else { return };
        self.manners.flood.sent += 1;
        let number = self.manners.flood.sent;
        let mut keys: Vec<Key> = (0..OBSERVE_KEYS_MAX).map(|_| Key(self.rng.u64(..))).collect();
        keys.sort_unstable();
        let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
        let stated = keys[..KEYS_MAX].to_vec();
        let (site, epoch) = (self.sites[from].id(), self.time().epoch());
        let seq = FLOOD_FROM / 2 + number;
        let said = Statement::new(site, MailId(number), seq, epoch, stated, kind);
        let said = Said::Record { mail: said.mail, seq, epoch, kind, home: said.keys()[0] };
        let ask = (1 << OBSERVE_KEYS_MAX) - 1;
        let under = (1 << KEYS_MAX) - 1;
        let observe = Observe { keys, ask, under, said, inline: true, known: Vec::new() };
        let frame = Request::Observe(observe).encode();
        let at_ms = self.now_ms + self.delay();
        let request = RequestId(FLOOD_FROM + number);
        self.push(at_ms, target, What::Request { from, request, frame, until_ms: u64::MAX });
    }
}
