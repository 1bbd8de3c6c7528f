//! Meeting others: the first exchange of two nodes, this node's own membership record and who
//! confirms its address, the pull of whole tables, and the gossip of records.

use std::sync::Arc;

use crate::clock::EPOCH_SECS;
use crate::node::api::{Action, GossipVerdict, Keep, Now, Purpose, Topic};
use crate::node::host::{NodeId, Observation, PrefixBits};
use crate::node::member::{Draft, MemberRecord, OBSERVATIONS_MAX};
use crate::node::membership::{Learnt, RENEW_SECS, part_of};
use crate::node::state::{Node, Pending};
use crate::node::wire::{
    Gossip, MEMBER_BUCKETS, MEMBER_LIST_MAX, RESPONSE_LEN_MAX, Refusal, Request, Response,
};

/// How long a peer has to answer, in milliseconds.
const MEET_MS: u64 = 5_000;
/// Time between two records of this node, in milliseconds: several observers make one change.
const RENEW_LEAST_MS: u64 = 1_000;
/// Observers wanted.
const OBSERVERS: usize = 2;
/// An observation is renewed after this time, in seconds (a day, a convention).
const OBSERVED_SECS: u64 = 24 * 3600;
/// Time between comparisons of tables, in milliseconds: until one found nothing new, and after.
const SYNC_MS: (u64, u64) = (1_000, 60_000);
/// Time between two dials of the same bootstrap address, in milliseconds.
const DIAL_MS: u64 = 10_000;
/// Who is asked by somebody with another table compares his own this soon, in milliseconds.
const SOON_MS: u64 = 10_000;
/// How long after the first connection what nobody heard is announced again, in milliseconds: gossip
/// needs a moment to learn who listens.
const AGAIN_MS: u64 = 2_000;
/// Members that did not answer, tried again in one second.
const RETRIES_A_SECOND: usize = 4;
/// Members to which a node that comes back says so, those nearest on the ring first, and how many in
/// a second (a choice: a small network at once; whom mail does not lead to it tells the gossip).
const RETURN_HELLOS: usize = 64;
const RETURN_HELLOS_A_SECOND: usize = 16;

/// What this node says of itself, and whom it met.
#[derive(Default)]
pub(crate) struct Meeting {
    pub(crate) addresses: Vec<String>,
    pub(crate) observations: Vec<Observation>,
    pub(crate) leaving: bool,
    record: Option<Arc<MemberRecord>>,
    stale: bool,
    renewed_ms: u64,
    synced: bool,
    sync_ms: u64,
    dial_ms: u64,
    asked: Vec<NodeId>,
    /// Who has another table, and is asked next.
    owed: Option<NodeId>,
    /// To whom it is said that this node is back, the last one first.
    returning: Vec<NodeId>,
    /// Regular work was done once.
    worked: bool,
    /// The record was announced when nobody was connected; when it is announced again.
    unheard: bool,
    again_ms: u64,
}

impl Meeting {
    pub(crate) fn new(addresses: Vec<String>) -> Self {
        Self { addresses, stale: true, ..Self::default() }
    }

    /// Goes on from a former record of this node: its observers need not be found again, it is
    /// reached where it was until the driver says otherwise, and if it is of the same start it still
    /// holds. (A record without addresses would tell others that it holds nothing any more.)
    pub(crate) fn resume(&mut self, own: &Arc<MemberRecord>, boot: crate::clock::Time) {
        self.observations.clone_from(&own.observations);
        if self.addresses.is_empty() {
            self.addresses = own.addresses.to_vec();
        }
        let same = own.boot == boot && *own.addresses == *self.addresses && !own.leaving;
        if same {
            (self.record, self.stale) = (Some(Arc::clone(own)), false);
        }
    }

    /// Other addresses than before.
    pub(crate) fn reached_at(&mut self, addresses: Vec<String>) {
        self.stale |= self.addresses != addresses;
        self.addresses = addresses;
    }

    pub(crate) fn leave(&mut self) {
        (self.leaving, self.stale) = (true, true);
    }
}

impl Node {
    /// Goes on where an earlier start of this node ended, and says so to those who may not have
    /// noticed that it did.
    pub(crate) fn resume(&mut self, own: &Arc<MemberRecord>) {
        self.meeting.resume(own, self.boot);
        if self.meeting.record.is_none() {
            self.meeting.returning = self.members.neighbours(RETURN_HELLOS);
            self.meeting.returning.reverse();
        }
    }

    /// This node's record, made anew when something changed or an hour has passed.
    pub(crate) fn renew(&mut self, now: Now) -> Arc<MemberRecord> {
        let old = self.meeting.record.clone();
        let age = old.as_ref().map_or(u64::MAX, |record| now.wall.secs_since(record.made));
        let ahead = old.as_ref().is_some_and(|record| record.made.0 > now.wall.0 + EPOCH_SECS);
        let soon = now.ms < self.meeting.renewed_ms.saturating_add(RENEW_LEAST_MS);
        if let Some(record) = old.clone()
            && ((!self.meeting.stale && age < RENEW_SECS && !ahead)
                || (soon && !self.meeting.leaving))
        {
            return record;
        }
        // Later than the one before, of an earlier start too, whatever the clock did.
        let former = self.members.get(self.id).map(|row| row.record.made);
        let former = former.max(old.map(|record| record.made)).filter(|_| !ahead);
        let least = former.map_or(0, |made| made.0 + 1);
        let serves = self.config.serves && !self.meeting.addresses.is_empty();
        let draft = Draft {
            badge: self.config.group.badge(self.id),
            certificate: self.certificate.clone(),
            boot: self.boot,
            made: crate::clock::Time(now.wall.0.max(least)),
            leaving: self.meeting.leaving,
            versions: self.config.versions,
            addresses: self.meeting.addresses.clone(),
            observations: if serves { self.meeting.observations.clone() } else { Vec::new() },
        };
        let record = Arc::new(MemberRecord::sign(&self.host, draft));
        (self.meeting.stale, self.meeting.renewed_ms) = (false, now.ms);
        self.meeting.record = Some(Arc::clone(&record));
        if ahead {
            self.members.forget(self.id);
        }
        self.members.learn(Arc::clone(&record), now.wall);
        // In the address book too: after a restart its observers need not be found again.
        self.out.push(Action::Keep(Keep::Member { node: self.id, record: record.to_bytes() }));
        if self.members.rows().len() > 1 {
            self.meeting.unheard = self.links.is_empty();
            self.gossip(Topic::Members, &Gossip::Member(record.to_bytes()));
        }
        record
    }

    /// Announces the record again that nobody heard, a moment after somebody is connected.
    fn announce_again(&mut self, now: Now) {
        if !self.meeting.unheard || self.links.is_empty() {
            self.meeting.again_ms = 0;
        } else if self.meeting.again_ms == 0 {
            self.meeting.again_ms = now.ms.saturating_add(AGAIN_MS);
        } else if now.ms >= self.meeting.again_ms
            && let Some(record) = self.meeting.record.clone()
        {
            self.meeting.unheard = false;
            self.gossip(Topic::Members, &Gossip::Member(record.to_bytes()));
        }
    }

    /// Says Hello to a peer.
    pub(crate) fn greet(&mut self, to: NodeId, now: Now) {
        let record = self.renew(now).to_bytes();
        let versions = self.config.versions;
        let group = self.config.group.id();
        let request = Request::Hello { versions, group, record };
        self.send(to, &request, Purpose::Hello, Pending::Hello, MEET_MS, now);
    }

    /// A peer's program has ended and was started anew: its answer to a Hello is its new record, and
    /// what it has lost of what it held is offered to it.
    pub(crate) fn restarted(&mut self, peer: NodeId, now: Now) {
        self.counters.peers_restarted += 1;
        if self.members.get(peer).is_some() {
            self.greet(peer, now);
        }
    }

    /// A Hello brought nothing: whoever did not answer is asked again where it sees this node when it
    /// does. With few members there may be no other to ask.
    pub(crate) fn greeting_failed(&mut self, to: NodeId) {
        self.meeting.asked.retain(|node| *node != to);
    }

    /// Answers a Hello.
    pub(crate) fn welcome(
        &mut self,
        peer: NodeId,
        versions: (u8, u8),
        record: &[u8],
        now: Now,
    ) -> Result<Response, Refusal> {
        let (oldest, newest) = self.config.versions;
        let version = versions.1.min(newest);
        if version < versions.0.max(oldest) {
            self.counters.versions_refused += 1;
            return Err(Refusal::Version);
        }
        let theirs = self.checked(record, now).filter(|record| record.node == peer);
        let Some(theirs) = theirs else { return Err(Refusal::Record) };
        self.admits(&theirs)?;
        match self.learn(theirs, now) {
            Learnt::Clock => return Err(Refusal::Clock),
            Learnt::Full => return Err(Refusal::Full),
            Learnt::New | Learnt::Newer | Learnt::Old => {}
        }
        self.members.answered(peer, now);
        let observed = self.links.get(&peer).and_then(|link| link.observed);
        let seen = observed.map(|address| Observation::make(&self.host, peer, address, now.wall));
        let record = self.renew(now).to_bytes();
        Ok(Response::Welcome { version, record, seen })
    }

    /// A Hello was answered.
    pub(crate) fn welcomed(
        &mut self,
        from: NodeId,
        version: u8,
        record: &[u8],
        seen: Option<Observation>,
        now: Now,
    ) {
        let (oldest, newest) = self.config.versions;
        if !(oldest..=newest).contains(&version) {
            self.counters.versions_refused += 1;
            return;
        }
        let Some(theirs) = self.checked(record, now).filter(|record| record.node == from) else {
            self.fault(from);
            return;
        };
        if self.admits(&theirs).is_err() {
            self.out.push(Action::Ban { peer: from, secs: 0 });
            return;
        }
        if self.learn(theirs, now) == Learnt::Clock {
            self.clock_disputed = true;
        }
        self.members.answered(from, now);
        if let Some(seen) = seen.filter(|seen| seen.by == from && seen.holds(self.id)) {
            self.observed_by(seen);
        }
    }

    fn observed_by(&mut self, seen: Observation) {
        let own = &mut self.meeting.observations;
        let before = own.clone();
        match own.iter().position(|one| one.by == seen.by) {
            // The same word again says nothing new.
            Some(at) if own[at].address == seen.address => {}
            Some(at) => own[at] = seen,
            None => {
                // Where those here don't agree, as of a host with IPv4 and IPv6, the oldest goes.
                if own.len() < OBSERVATIONS_MAX || !agrees(own, self.config.prefix) {
                    let surplus = (own.len() + 1).saturating_sub(OBSERVATIONS_MAX);
                    own.drain(..surplus);
                    own.push(seen);
                }
            }
        }
        self.meeting.stale |= *own != before;
    }

    /// True when the member belongs here and there is a version that both speak.
    fn admits(&mut self, record: &MemberRecord) -> Result<(), Refusal> {
        if !self.config.group.accepts(&record.badge, record.node, &record.site()) {
            self.counters.groups_refused += 1;
            return Err(Refusal::Group);
        }
        let ((oldest, newest), theirs) = (self.config.versions, record.versions);
        if newest.min(theirs.1) < oldest.max(theirs.0) {
            self.counters.versions_refused += 1;
            return Err(Refusal::Version);
        }
        Ok(())
    }

    /// A record whose signatures hold.
    fn checked(&mut self, record: &[u8], now: Now) -> Option<Arc<MemberRecord>> {
        let checked = self.config.verifier.member(record, now.wall).ok();
        self.counters.records_false += u64::from(checked.is_none());
        checked
    }

    /// Takes a checked record in.
    pub(crate) fn learn(&mut self, record: Arc<MemberRecord>, now: Now) -> Learnt {
        if record.node == self.id {
            return Learnt::Old;
        }
        let learnt = self.members.learn(Arc::clone(&record), now.wall);
        match learnt {
            Learnt::New => self.counters.members_added += 1,
            Learnt::Full => self.counters.members_dropped += 1,
            Learnt::Newer | Learnt::Old | Learnt::Clock => {}
        }
        if matches!(learnt, Learnt::New | Learnt::Newer) {
            let keep = Keep::Member { node: record.node, record: record.to_bytes() };
            self.out.push(Action::Keep(keep));
        }
        learnt
    }

    /// Judges a record that came by gossip.
    pub(crate) fn hear_member(&mut self, from: NodeId, bytes: &[u8], now: Now) -> GossipVerdict {
        let Ok(said) = MemberRecord::decode(bytes) else {
            self.counters.records_false += 1;
            self.fault(from);
            return GossipVerdict::Reject;
        };
        let known = self.members.get(said.node).is_some_and(|row| row.record.made >= said.made);
        if known || said.node == self.id {
            return GossipVerdict::Ignore;
        }
        let Some(record) = self.checked(bytes, now) else {
            self.fault(from);
            return GossipVerdict::Reject;
        };
        match self.admits(&record) {
            Ok(()) => {}
            // Others may speak with it.
            Err(Refusal::Version) => return GossipVerdict::Accept,
            Err(_) => return GossipVerdict::Reject,
        }
        let node = record.node;
        match self.learn(record, now) {
            Learnt::New | Learnt::Newer => {
                // It spoke just now, so it is tried at once, if it did not answer before.
                self.members.try_soon(node, now);
                GossipVerdict::Accept
            }
            Learnt::Old | Learnt::Clock | Learnt::Full => GossipVerdict::Ignore,
        }
    }

    /// Gives the records of the parts that differ. What the asker has and this node has not, it asks
    /// for in turn, where one page holds all: large tables always differ in what is on its way.
    pub(crate) fn serve_members(
        &mut self,
        from: NodeId,
        start: u8,
        theirs: &[u64; MEMBER_BUCKETS],
        now: Now,
    ) -> Response {
        let ours = self.members.sums();
        let is_small = self.members.rows().len() <= MEMBER_LIST_MAX;
        if is_small && ours != theirs && now.ms >= self.meeting.sync_ms.saturating_add(SOON_MS) {
            self.meeting.owed = Some(from);
        }
        let (mut records, mut len, mut more) = (Vec::new(), 0, false);
        let start = usize::from(start) % MEMBER_BUCKETS;
        for part in (start..MEMBER_BUCKETS).chain(0..start) {
            if ours[part] == theirs[part] {
                continue;
            }
            for row in self.members.part(part) {
                let record = row.record.to_bytes();
                if records.len() >= MEMBER_LIST_MAX || len + record.len() + 64 > RESPONSE_LEN_MAX {
                    more = true;
                    break;
                }
                len += record.len() + 2;
                records.push(record);
            }
        }
        Response::MemberList(more, records)
    }

    /// Records of a peer's table.
    pub(crate) fn listed(&mut self, from: NodeId, more: bool, records: &[Vec<u8>], now: Now) {
        let mut new = 0;
        for bytes in records {
            let Ok(said) = MemberRecord::decode(bytes) else {
                self.counters.records_false += 1;
                self.fault(from);
                return;
            };
            let known = self.members.get(said.node).is_some_and(|row| row.record.made >= said.made);
            if known || said.node == self.id {
                continue;
            }
            let Some(record) = self.checked(bytes, now) else {
                self.fault(from);
                return;
            };
            if self.admits(&record).is_ok() {
                let learnt = self.learn(record, now);
                new += usize::from(matches!(learnt, Learnt::New | Learnt::Newer));
            }
        }
        self.meeting.synced = new == 0;
        if new > 0 && more {
            let last = records.last().and_then(|bytes| MemberRecord::decode(bytes).ok());
            let start = last.map_or(0, |record| part_of(&record));
            let request = Request::Members { start, sums: Box::new(*self.members.sums()) };
            self.send(from, &request, Purpose::Members, Pending::Members, MEET_MS, now);
        }
    }

    /// What is due once a second: own record, bootstrap, observers, those that did not answer,
    /// and tables.
    pub(crate) fn meet(&mut self, now: Now, rng: &mut fastrand::Rng) {
        // At the first time the driver may not know yet where this node is reached.
        let worked = std::mem::replace(&mut self.meeting.worked, true);
        if worked || !self.meeting.addresses.is_empty() {
            self.renew(now);
        }
        self.dial_bootstrap(now);
        self.ask_observers(now, rng);
        for node in self.members.retries(now, rng.u64(..), RETRIES_A_SECOND) {
            // Counted as a failure until it answers, so that it is not tried again at once.
            self.members.failed(node, true, now);
            self.greet(node, now);
        }
        self.announce_again(now);
        for _ in 0..RETURN_HELLOS_A_SECOND {
            let Some(node) = self.meeting.returning.pop() else { break };
            self.greet(node, now);
        }
        let at_rest = self.meeting.synced && self.meeting.owed.is_none();
        let wait = if at_rest { SYNC_MS.1 } else { SYNC_MS.0 };
        if now.ms >= self.meeting.sync_ms.saturating_add(wait)
            && let Some(partner) = self.meeting.owed.take().or_else(|| self.any_member(rng))
        {
            self.meeting.sync_ms = now.ms;
            let start = rng.u8(..);
            let request = Request::Members { start, sums: Box::new(*self.members.sums()) };
            self.send(partner, &request, Purpose::Members, Pending::Members, MEET_MS, now);
        }
    }

    /// With nobody to talk to, the addresses of the beginning are dialled again.
    fn dial_bootstrap(&mut self, now: Now) {
        let others = self.members.rows().len().saturating_sub(1 + self.members.down());
        let again = self.meeting.dial_ms == 0 || now.ms >= self.meeting.dial_ms + DIAL_MS;
        if others > 0 || !again || self.meeting.leaving {
            return;
        }
        self.meeting.dial_ms = now.ms.max(1);
        for address in self.config.bootstrap.clone() {
            self.out.push(Action::Dial { address });
        }
    }

    /// Enough others said where they see this node, and agree.
    pub(crate) fn is_observed(&self) -> bool {
        agrees(&self.meeting.observations, self.config.prefix)
    }

    /// Asks members that did not yet say where they see this node.
    fn ask_observers(&mut self, now: Now, rng: &mut fastrand::Rng) {
        let own = &mut self.meeting.observations;
        own.retain(|one| now.wall.secs_since(one.epoch.start()) <= OBSERVED_SECS);
        let enough = agrees(own, self.config.prefix) || !self.config.serves;
        if enough || self.meeting.addresses.is_empty() {
            return;
        }
        for _ in 0..OBSERVERS {
            let Some(node) = self.any_member(rng) else { return };
            if self.meeting.asked.contains(&node) {
                continue;
            }
            self.meeting.asked.push(node);
            self.greet(node, now);
        }
        if self.meeting.asked.len() >= 8 {
            self.meeting.asked.clear();
        }
    }

    /// Some member that answers, this node not counted.
    pub(crate) fn any_member(&self, rng: &mut fastrand::Rng) -> Option<NodeId> {
        let rows = self.members.rows();
        if rows.len() < 2 {
            return None;
        }
        (0..8).find_map(|_| {
            let row = &rows[rng.usize(..rows.len())];
            (row.record.node != self.id && row.up()).then_some(row.record.node)
        })
    }
}

/// True when as many observers as are wanted saw one network.
fn agrees(observations: &[Observation], prefix: PrefixBits) -> bool {
    let networks = || observations.iter().map(|seen| prefix.network(seen.address));
    networks().any(|network| networks().filter(|other| *other == network).count() >= OBSERVERS)
}
