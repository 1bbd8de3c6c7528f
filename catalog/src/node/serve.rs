//! Answering peers. Every request is admitted first (is it a member, is its quota not used up)
//! and worked on after; every refusal is counted, and who goes on after many is cut off. What waits,
//! waits in the driver (`Turns`).

use std::sync::Arc;

use crate::digest::Key;
use crate::entry::Network;
use crate::node::api::{Action, CallId, GossipId, GossipVerdict, Now, Purpose, Topic};
use crate::node::codec::WireError;
use crate::node::host::NodeId;
use crate::node::quota::{BAN_SECS, RETRY_SECS};
use crate::node::state::Node;
use crate::node::wire::{
    Gossip, INLINE_MAX, Observe, Pointer, RESPONSE_LEN_MAX, Refusal, Request, Response, Said,
    Standing, Tag,
};
use crate::signing::lane_of;
use crate::statement::Statement;

/// What requests cost beside their keys, in keys: a digest looks at thousands of keys, a list of
/// members is long, a Hello needs signatures.
const DIGEST_COST: usize = 256;
const MEMBERS_COST: usize = 256;
/// An invitation accepted costs a hash, and is seldom.
const ACCEPT_COST: usize = 32;
const HELLO_COST: usize = 32;
/// What an announcement costs, in keys: its signatures.
const GOSSIP_COST: usize = 16;
/// Shared keys from which a statement comes with the answer, or all that were asked.
const INLINE_KEYS: u32 = 3;

/// Why, and after how many seconds the peer may try again.
type Refused = (Refusal, u32);

impl Node {
    /// Answers one request.
    pub(crate) fn serve(&mut self, peer: NodeId, call: CallId, frame: &[u8], now: Now) {
        let (purpose, outcome) = match Request::decode(frame) {
            Ok(request) => (purpose_of(&request), self.answer_to(peer, request, now)),
            Err(error) => (Purpose::Observe, Err((self.refuse_frame(peer, error), RETRY_SECS))),
        };
        self.counters.count_received(purpose, frame.len());
        let response = match outcome {
            Ok(response) => {
                self.counters.requests_served += 1;
                response
            }
            Err((why, retry_secs)) => {
                self.counters.requests_refused += 1;
                Response::Refused { why, retry_secs }
            }
        };
        let refused = matches!(response, Response::Refused { .. });
        let frame = response.encode();
        self.counters.count_sent(purpose, frame.len());
        self.out.push(Action::Respond { call, frame });
        if refused && let Some(secs) = self.impatience.refused(peer, now) {
            self.counters.peers_cut_off += 1;
            self.out.push(Action::Ban { peer, secs });
        }
    }

    fn refuse_frame(&mut self, peer: NodeId, error: WireError) -> Refusal {
        self.counters.frames_malformed += 1;
        match error {
            WireError::Version(_) => {
                self.counters.versions_refused += 1;
                Refusal::Version
            }
            WireError::TooLong | WireError::Malformed => {
                self.fault(peer);
                Refusal::Malformed
            }
        }
    }

    /// Counts something false that a peer sent; at ten it is banned.
    pub(crate) fn fault(&mut self, peer: NodeId) {
        if peer != self.id && self.quotas.fault(peer) {
            self.counters.peers_banned += 1;
            self.out.push(Action::Ban { peer, secs: BAN_SECS });
        }
    }

    fn admit(&mut self, peer: NodeId, keys: usize, now: Now) -> Result<(), Refused> {
        let Some(row) = self.members.get(peer) else {
            self.counters.strangers_refused += 1;
            return Err((Refusal::Stranger, RETRY_SECS));
        };
        let network = row.network;
        self.spend(peer, network, keys, now)
    }

    fn spend(
        &mut self,
        peer: NodeId,
        network: Network,
        keys: usize,
        now: Now,
    ) -> Result<(), Refused> {
        self.quotas.allows(peer, network, keys, now).map_err(|secs| {
            self.counters.quota_refused += 1;
            (Refusal::Quota, secs)
        })
    }

    fn answer_to(&mut self, peer: NodeId, request: Request, now: Now) -> Result<Response, Refused> {
        if self.refused.contains(&peer) {
            return Err((Refusal::Group, RETRY_SECS));
        }
        match request {
            Request::Hello { versions, group, record } => {
                let network = self.links.get(&peer).and_then(|link| link.network);
                self.spend(peer, network.unwrap_or(Network::HOME), HELLO_COST, now)?;
                if group != self.config.group.id() {
                    self.counters.groups_refused += 1;
                    return Err((Refusal::Group, RETRY_SECS));
                }
                self.welcome(peer, versions, &record, now).map_err(|why| (why, RETRY_SECS))
            }
            Request::Observe(observe) => {
                self.admit(peer, observe.keys.len(), now)?;
                self.heard(peer, now);
                Ok(self.serve_observe(peer, &observe, now))
            }
            Request::Fetch(tags) => {
                self.admit(peer, tags.len(), now)?;
                self.heard(peer, now);
                let found = tags.iter().filter_map(|tag| self.whole(*tag));
                Ok(Response::Statements(found.map(|signed| signed.to_vec()).collect()))
            }
            Request::Offer { here, refs } => {
                self.admit(peer, refs.len(), now)?;
                self.heard(peer, now);
                let lacking = self.want(peer, here, &refs);
                Ok(Response::Lacking(u16::try_from(lacking).unwrap_or(u16::MAX)))
            }
            Request::Digest { first, last, sums } => {
                self.admit(peer, DIGEST_COST, now)?;
                self.heard(peer, now);
                Ok(self.serve_digest(peer, first, last, &sums))
            }
            Request::Members { start, sums } => {
                self.admit(peer, MEMBERS_COST, now)?;
                self.heard(peer, now);
                Ok(self.serve_members(peer, start, &sums, now))
            }
            Request::Vouches { after, sums } => {
                self.admit(peer, MEMBERS_COST, now)?;
                self.heard(peer, now);
                Ok(self.serve_vouches(peer, after, &sums, now))
            }
            Request::Accept { invite, proof } => {
                self.admit(peer, ACCEPT_COST, now)?;
                self.heard(peer, now);
                Ok(self.serve_accept(peer, invite, &proof, now))
            }
        }
    }

    /// A member that speaks is there.
    fn heard(&mut self, peer: NodeId, now: Now) {
        self.members.answered(peer, now);
    }

    fn serve_observe(&mut self, peer: NodeId, observe: &Observe, now: Now) -> Response {
        self.counters.key_observations += observe.keys.len() as u64;
        // Looked up before anything is stated: nobody is told what he just said.
        let pointers = match observe.ask {
            0 => Vec::new(),
            ask => self.replica.pointers(&observe.keys, ask, &observe.known),
        };
        let standing = self.state(peer, observe, now);
        let statements = if observe.inline { self.inline(observe, &pointers) } else { Vec::new() };
        let keys = u8::try_from(observe.keys.len()).unwrap_or(u8::MAX);
        Response::Observed { standing, keys, pointers, statements }
    }

    /// Takes in what a peer states.
    fn state(&mut self, peer: NodeId, observe: &Observe, now: Now) -> Standing {
        let Some(site) = self.members.get(peer).map(|row| row.record.site()) else {
            return Standing::Quota;
        };
        let (statement, signed) = match &observe.said {
            Said::Nothing => return Standing::Nothing,
            Said::Whole(signed) => match self.config.verifier.statement(signed) {
                Ok(statement) => (statement, Some(signed)),
                Err(_) => {
                    self.counters.statements_false += 1;
                    self.fault(peer);
                    return Standing::False;
                }
            },
            Said::Record { mail, seq, epoch, kind, home } => {
                (Statement::new(site, *mail, *seq, *epoch, vec![*home], *kind), None)
            }
        };
        // A host without its site's key gives numbers in its own lane only.
        let lane = self.members.get(peer).map_or(0, |row| row.record.certificate.lane);
        let foreign = signed.is_none() && lane != 0 && lane_of(statement.seq) != lane;
        if statement.site != site || foreign {
            self.counters.statements_foreign += 1;
            self.fault(peer);
            return Standing::False;
        }
        if !self.is_timely(&statement, now) {
            self.counters.statements_clock += 1;
            return Standing::Clock;
        }
        let belongs = |key: &Key| signed.is_none() || statement.keys().contains(key);
        let under = observe.keys.iter().enumerate().filter(|(at, _)| observe.under >> at & 1 != 0);
        let under: Vec<Key> = under.map(|(_, key)| *key).filter(belongs).collect();
        let network = self.network_of(site);
        self.hold(&under, &statement, signed.map(Vec::as_slice), network)
    }

    /// Whole statements that will probably match, most shared keys first.
    fn inline(&self, observe: &Observe, pointers: &[Pointer]) -> Vec<Vec<u8>> {
        let enough = INLINE_KEYS.min(observe.ask.count_ones());
        let mut near: Vec<&Pointer> =
            pointers.iter().filter(|one| one.here && one.under.count_ones() >= enough).collect();
        near.sort_by_key(|one| one.rank());
        let pointers_len = pointers.len() * 24;
        let room = (RESPONSE_LEN_MAX / 2).saturating_sub(pointers_len) / 512;
        let bodies = near.iter().filter_map(|one| self.replica.body(one.tag));
        bodies.take(INLINE_MAX.min(room)).map(|body| body.signed.to_vec()).collect()
    }

    /// The signed bytes of a statement, wherever this node has them.
    pub(crate) fn whole(&self, tag: Tag) -> Option<Arc<[u8]>> {
        let held = self.replica.body(tag).map(|body| Arc::clone(&body.signed));
        held.or_else(|| self.outbox.body(tag).map(|own| Arc::clone(&own.signed)))
            .or_else(|| self.hot.signed(tag).cloned())
    }

    /// Judges an announcement.
    pub(crate) fn hear(
        &mut self,
        from: NodeId,
        id: GossipId,
        topic: Topic,
        frame: &[u8],
        now: Now,
    ) {
        let purpose = match topic {
            Topic::Members => Purpose::Members,
            Topic::Hot => Purpose::Hot,
        };
        self.counters.count_received(purpose, frame.len());
        let network = self.members.get(from).map(|row| row.network);
        let network = network.unwrap_or(Network::HOME);
        let verdict = match (Gossip::decode(frame), topic) {
            (Err(_), _) => {
                self.counters.frames_malformed += 1;
                self.fault(from);
                GossipVerdict::Reject
            }
            _ if self.spend(from, network, GOSSIP_COST, now).is_err() => GossipVerdict::Ignore,
            (Ok(Gossip::Member(record)), Topic::Members) => self.hear_member(from, &record, now),
            (Ok(Gossip::Vouches(list)), Topic::Members) => self.hear_vouches(from, &list, now),
            (Ok(Gossip::Proof(first, second)), Topic::Members) => {
                self.hear_proof(from, (first, second))
            }
            (Ok(Gossip::Hot(statements)), Topic::Hot) => self.hear_hot(from, &statements, now),
            (Ok(_), _) => GossipVerdict::Reject,
        };
        self.out.push(Action::GossipVerdict { id, verdict });
    }
}

fn purpose_of(request: &Request) -> Purpose {
    match request {
        Request::Hello { .. } => Purpose::Hello,
        Request::Observe(_) => Purpose::Observe,
        Request::Fetch(_) => Purpose::Fetch,
        Request::Offer { .. } | Request::Digest { .. } => Purpose::Repair,
        Request::Members { .. } | Request::Vouches { .. } | Request::Accept { .. } => {
            Purpose::Members
        }
    }
}
