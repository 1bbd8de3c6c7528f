//! One mail's way through the network: for every key the responsible peers, for every distinct
//! peer one request that states and asks at once, then the union of what they know, and the
//! signed statements of what will match.
//!
//! Key decision: the asker applies his own rule of match to the *pointers*, before he fetches
//! anything: only statements that share enough keys with the mail are fetched, so a replica that
//! points to nothing costs little, and neither replica nor home can make a verdict: it rests on
//! signatures that the asker checks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::digest::Key;
use crate::entry::Witness;
use crate::matching::Probe;
use crate::node::api::{Action, Completeness, Now, Purpose, QueryId, Why};
use crate::node::host::NodeId;
use crate::node::placement::{Placed, Placement, place};
use crate::node::replica::{home_of, tag_of};
use crate::node::state::{Node, Pending};
use crate::node::wire::{KNOWN_MAX, Observe, Pointer, Request, Said, Standing, Tag};
use crate::statement::{Class, Statement};

/// How long a peer has to answer, in milliseconds. Longer than any deadline of a query: what
/// comes late still teaches.
pub(crate) const LEG_MS: u64 = 3_000;
/// How often keys of peers that failed go to those that stand in for them.
const ROUNDS_MAX: u8 = 2;
/// Most statements fetched for one question: 32 sightings and 32 opinions.
const FETCHES_MAX: usize = 64;
/// Most statements fetched beyond that for each answer, of sites that the answerer trusts: half of
/// an entry's opinions (a choice).
const TRUSTED_FETCHES_A_HOLDER: usize = 16;
/// Most peers of whom one statement is asked because they say that they have it, beside those that
/// are trusted: its home has six holders, and each may be seen differently by who stated it.
const SOURCES_MAX: usize = 32;
/// How many peers are asked for whole statements beside their answer.
const INLINE_PEERS: usize = 2;

/// A statement of this site, with its signed bytes.
pub(crate) struct Own {
    pub(crate) signed: Arc<[u8]>,
    pub(crate) statement: Statement,
}

/// A statement that others point to.
pub(crate) struct Lead {
    pub(crate) home: Key,
    opinion: bool,
    keys: SmallVec<[Key; 4]>,
    /// Who says that it has it and was not asked yet.
    pub(crate) here: SmallVec<[NodeId; 2]>,
    /// Who was asked.
    pub(crate) tried: SmallVec<[NodeId; 4]>,
    /// Requests for it under way.
    pub(crate) waiting: usize,
    /// When others are asked as well; 0: they were.
    pub(crate) hedge_ms: u64,
    /// It has come.
    pub(crate) done: bool,
}

impl Lead {
    /// A peer says that it has it. True when it is to be asked now, because those who were asked
    /// had their time.
    fn offered_by(&mut self, peer: Option<NodeId>, trusted: bool) -> bool {
        let is_new = |peer: &NodeId| !self.here.contains(peer) && !self.tried.contains(peer);
        let Some(peer) = peer.filter(is_new).filter(|_| !self.done) else { return false };
        if !trusted && self.here.len() + self.tried.len() >= SOURCES_MAX {
            return false;
        }
        self.here.push(peer);
        !self.tried.is_empty() && self.hedge_ms == 0
    }
}

/// A question, a statement to be spread, or both.
pub(crate) struct Job {
    pub(crate) query: Option<(QueryId, Box<Probe>)>,
    pub(crate) own: Option<Arc<Own>>,
    started_ms: u64,
    pub(crate) deadline_ms: u64,
    answered: bool,
    pub(crate) known: Vec<Tag>,
    open: usize,
    /// Statements that are fetched and have not come.
    pub(crate) fetching: usize,
    asked: HashMap<NodeId, Vec<Key>>,
    /// Keys for which anchors are asked too.
    wary: Vec<Key>,
    known_witnesses: Vec<Arc<Witness>>,
    pub(crate) acked: usize,
    pub(crate) lost: usize,
    pub(crate) clock: usize,
    pub(crate) leads: HashMap<Tag, Lead>,
    pub(crate) taken: HashSet<Tag>,
    pub(crate) found: Vec<Witness>,
}

/// One request of a job.
pub(crate) struct Leg {
    pub(crate) job: u64,
    pub(crate) keys: Vec<Key>,
    states: bool,
    round: u8,
}

impl Node {
    /// The agent asks, and states its sighting.
    pub(crate) fn query(
        &mut self,
        query: QueryId,
        probe: Box<Probe>,
        sighting: Option<Vec<u8>>,
        known: Vec<Arc<Witness>>,
        deadline_ms: u64,
        now: Now,
    ) {
        self.counters.queries += 1;
        if self.jobs.len() >= self.config.queries_max {
            self.counters.queries_dropped += 1;
            self.answer(query, Vec::new(), Completeness::Alone, 0);
            return;
        }
        let own = sighting.and_then(|signed| self.own_of(signed, now));
        let deadline_ms = now.ms.saturating_add(deadline_ms);
        let job = self.start(Some((query, probe)), own, known, deadline_ms, now);
        if let Some(job) = job {
            self.settle_job(job, now);
        }
    }

    /// Spreads a statement and asks nothing; gives the job's number.
    pub(crate) fn spread(&mut self, own: Arc<Own>, now: Now) -> Option<u64> {
        let job = self.start(None, Some(own), Vec::new(), u64::MAX, now)?;
        self.settle_job(job, now);
        Some(job)
    }

    fn start(
        &mut self,
        query: Option<(QueryId, Box<Probe>)>,
        own: Option<Arc<Own>>,
        known_witnesses: Vec<Arc<Witness>>,
        deadline_ms: u64,
        now: Now,
    ) -> Option<u64> {
        let known: Vec<Tag> = known_witnesses.iter().map(|one| tag_of(&one.statement)).collect();
        let asked_keys = query.iter().flat_map(|(_, probe)| probe.keys());
        let stated = own.iter().flat_map(|own| own.statement.keys().iter().copied());
        let mut keys: Vec<Key> = asked_keys.chain(stated).collect();
        keys.sort_unstable();
        keys.dedup();
        let number = self.next_number();
        let placed = Placed::of(&self.members, &keys);
        let probe = query.as_ref().map(|(_, probe)| &**probe);
        let wary = self.wary_in(probe, own.as_deref(), &placed, now);
        let job = Job {
            query,
            own,
            wary,
            started_ms: now.ms,
            deadline_ms,
            answered: false,
            taken: known.iter().copied().collect(),
            known,
            open: 0,
            fetching: 0,
            asked: HashMap::new(),
            known_witnesses,
            acked: 0,
            lost: 0,
            clock: 0,
            leads: HashMap::new(),
            found: Vec::new(),
        };
        if deadline_ms != u64::MAX {
            self.deadlines.insert((deadline_ms, number));
        }
        self.jobs.insert(number, job);
        self.send_legs(number, &placed, 0, now);
        Some(number)
    }

    /// The keys of a job for which anchors are asked. Keys of this week's salt and of last week's
    /// are no one lot: who draws identities draws them for one.
    fn wary_in(
        &mut self,
        probe: Option<&Probe>,
        own: Option<&Own>,
        placed: &Placed,
        now: Now,
    ) -> Vec<Key> {
        let said: &[Key] = own.map_or(&[], |own| own.statement.keys());
        let emitted = probe.map_or(said, Probe::emitted);
        let former: Vec<Key> = probe
            .iter()
            .flat_map(|probe| probe.keys())
            .filter(|key| !emitted.contains(key) && !said.contains(key))
            .collect();
        let lot = if said.is_empty() { emitted } else { said }.to_vec();
        let home = own.and_then(|own| home_of(&own.statement));
        let mut wary = self.wary_of(&lot, placed, home, now);
        wary.extend(self.wary_of(&former, placed, None, now));
        self.counters.keys_anchored += wary.len() as u64;
        wary
    }

    /// One request to every distinct peer that holds one of the keys, or is an anchor of it, and was
    /// not asked yet. Anchors get the whole statement, which lies under its home's key there.
    fn send_legs(&mut self, number: u64, placed: &Placed, round: u8, now: Now) {
        let Some(job) = self.jobs.get(&number) else { return };
        let home = job.own.as_ref().and_then(|own| home_of(&own.statement));
        let mut homes = home.map(|key| self.nodes_in(placed, key)).unwrap_or_default();
        let mut plan: BTreeMap<NodeId, Vec<Key>> = BTreeMap::new();
        let mut ask = |node: NodeId, key: Key| {
            if job.asked.get(&node).is_none_or(|asked| !asked.contains(&key)) {
                let keys = plan.entry(node).or_default();
                keys.extend((!keys.contains(&key)).then_some(key));
            }
        };
        for (key, placement) in placed.iter() {
            self.counters.placements_relaxed += u64::from(placement.relaxed);
            for holder in &placement.holders {
                ask(self.members.rows()[*holder as usize].record.node, key);
            }
            if job.wary.contains(&key) {
                for anchor in self.anchors_beside(key, placement) {
                    ask(anchor, key);
                    home.into_iter().for_each(|home| ask(anchor, home));
                    homes.push(anchor);
                }
            }
        }
        let least = job.query.as_ref().and_then(|(_, probe)| probe.emitted().iter().min().copied());
        let mut inline = least.map(|key| self.nodes_in(placed, key)).unwrap_or_default();
        inline.retain(|node| *node != self.id);
        inline.truncate(INLINE_PEERS);
        for (node, mut keys) in plan {
            keys.sort_unstable();
            let whole = homes.contains(&node);
            if let Some(job) = self.jobs.get_mut(&number) {
                job.asked.entry(node).or_default().extend(&keys);
            }
            if node == self.id {
                self.serve_self(number, &keys, now);
            } else {
                let inline = inline.contains(&node);
                self.send_leg(number, node, keys, (whole, inline, round), now);
            }
        }
    }

    fn send_leg(
        &mut self,
        number: u64,
        to: NodeId,
        keys: Vec<Key>,
        (whole, inline, round): (bool, bool, u8),
        now: Now,
    ) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let bits = |is: &dyn Fn(&Key) -> bool| {
            keys.iter().enumerate().fold(0u64, |mask, (at, key)| mask | u64::from(is(key)) << at)
        };
        let ask = match &job.query {
            Some((_, probe)) => bits(&|key| probe.asks(*key)),
            None => 0,
        };
        let own = job.own.as_ref();
        let under =
            bits(&|key| own.is_some_and(|own| own.statement.keys().binary_search(key).is_ok()));
        let said = match own {
            Some(own) if whole => Said::Whole(own.signed.to_vec()),
            Some(own) if under != 0 => record_said(&own.statement),
            _ => Said::Nothing,
        };
        let known =
            if inline { job.known.iter().take(KNOWN_MAX).copied().collect() } else { Vec::new() };
        if ask == 0 && said == Said::Nothing {
            return;
        }
        let states = said != Said::Nothing;
        if self.waits.on(to, now) {
            // The other holders are asked; what was to be stated here is offered again in time.
            job.lost += usize::from(states);
            self.counters.requests_withheld += 1;
            return;
        }
        job.open += 1;
        self.counters.query_requests += 1;
        self.counters.query_keys += keys.len() as u64;
        let request =
            Request::Observe(Observe { keys: keys.clone(), ask, under, said, inline, known });
        let leg = Pending::Leg(Leg { job: number, keys, states, round });
        self.send(to, &request, Purpose::Observe, leg, LEG_MS, now);
    }

    /// This node is one of the responsible peers: it asks itself.
    fn serve_self(&mut self, number: u64, keys: &[Key], now: Now) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let own = job.own.clone();
        let asks = job.query.is_some();
        let known = job.known.clone();
        if asks {
            let pointers = self.replica.pointers(keys, u64::MAX, &known);
            self.follow(number, None, keys, &pointers, now);
        }
        if let Some(own) = own {
            let network = self.network_of(own.statement.site);
            let under: Vec<Key> =
                keys.iter().filter(|key| own.statement.keys().contains(key)).copied().collect();
            self.hold(&under, &own.statement, Some(&own.signed), network);
        }
    }

    /// A peer answered one request of a job.
    pub(crate) fn observed(
        &mut self,
        from: NodeId,
        leg: Leg,
        standing: Standing,
        pointers: &[Pointer],
        statements: &[Vec<u8>],
        now: Now,
    ) {
        let number = leg.job;
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.open -= 1;
        if leg.states {
            match standing {
                Standing::Kept | Standing::Known => job.acked += 1,
                Standing::Clock => job.clock += 1,
                Standing::Nothing | Standing::Quota | Standing::False => job.lost += 1,
            }
        }
        for signed in statements {
            self.take_found(number, from, signed);
        }
        self.follow(number, Some(from), &leg.keys, pointers, now);
        self.settle_job(number, now);
    }

    /// A peer did not answer: it is tried once more, then those that stand in for it are.
    pub(crate) fn leg_failed(&mut self, to: NodeId, leg: &Leg, now: Now) {
        let number = leg.job;
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.open -= 1;
        if leg.round < ROUNDS_MAX {
            if let Some(asked) = job.asked.get_mut(&to) {
                asked.retain(|key| !leg.keys.contains(key));
            }
            let placed = Placed::of(&self.members, &leg.keys);
            self.send_legs(number, &placed, leg.round + 1, now);
        } else {
            job.lost += usize::from(leg.states);
        }
        self.settle_job(number, now);
    }

    /// Notes what an answer points to, and fetches what will match.
    fn follow(
        &mut self,
        number: u64,
        from: Option<NodeId>,
        keys: &[Key],
        pointers: &[Pointer],
        now: Now,
    ) {
        let member = from.and_then(|from| self.members.get(from));
        let trusted = member.is_some_and(|row| self.replica.trusts(&row.record.site()));
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let Some((_, probe)) = &job.query else { return };
        let mut wanted: Vec<Tag> = Vec::new();
        let mut flagged = 0;
        for pointer in pointers {
            if job.taken.contains(&pointer.tag) {
                // Who says first that he has it may not give it.
                let lead = job.leads.get_mut(&pointer.tag).filter(|_| pointer.here);
                if lead.is_some_and(|lead| lead.offered_by(from, trusted)) {
                    wanted.push(pointer.tag);
                }
                continue;
            }
            let lead = job.leads.entry(pointer.tag).or_insert_with(|| Lead {
                home: pointer.home,
                opinion: pointer.opinion,
                keys: SmallVec::new(),
                here: SmallVec::new(),
                tried: SmallVec::new(),
                waiting: 0,
                hedge_ms: 0,
                done: false,
            });
            for (at, key) in keys.iter().enumerate() {
                if pointer.under >> at & 1 != 0 && !lead.keys.contains(key) {
                    lead.keys.push(*key);
                }
            }
            if pointer.here {
                lead.offered_by(from, trusted);
            }
            // One holder's word that he trusts them opens a few places more, beyond those that
            // anybody can fill.
            let opened = pointer.trusted && flagged < TRUSTED_FETCHES_A_HOLDER;
            if probe.may_match(&lead.keys, lead.opinion)
                && (opened || job.taken.len() < FETCHES_MAX + job.known.len())
            {
                flagged += usize::from(pointer.trusted);
                job.taken.insert(pointer.tag);
                wanted.push(pointer.tag);
            }
        }
        self.fetch_leads(number, wanted, now);
    }

    /// Answers a job that is done, or whose time is up.
    pub(crate) fn settle_job(&mut self, number: u64, now: Now) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let (done, due) = (job.open + job.fetching == 0, now.ms >= job.deadline_ms);
        if let Some((query, _)) = &job.query
            && (done || due)
        {
            let query = *query;
            let found = std::mem::take(&mut job.found);
            let alone = job.asked.keys().all(|node| *node == self.id);
            let took_ms = now.ms.saturating_sub(job.started_ms);
            let first = !std::mem::replace(&mut job.answered, true);
            job.known.extend(found.iter().map(|one| tag_of(&one.statement)));
            let mut all = job.known_witnesses.clone();
            all.extend(found.iter().cloned().map(Arc::new));
            job.known_witnesses.clone_from(&all);
            let own = job.own.clone();
            if first {
                let completeness = match (alone, done) {
                    (true, _) => Completeness::Alone,
                    (_, true) => Completeness::Complete,
                    _ => Completeness::Deadline,
                };
                self.announce_if_hot(all, own.as_ref(), now);
                self.answer(query, found, completeness, took_ms);
            } else if !found.is_empty() {
                self.announce_if_hot(all, own.as_ref(), now);
                self.out.push(Action::Learned { witnesses: found, why: Why::Late });
            }
        }
        if done && let Some(job) = self.jobs.remove(&number) {
            self.deadlines.remove(&(job.deadline_ms, number));
            self.job_done(number, &job, now);
        }
    }

    fn answer(
        &mut self,
        query: QueryId,
        witnesses: Vec<Witness>,
        completeness: Completeness,
        took_ms: u64,
    ) {
        match completeness {
            Completeness::Complete => self.counters.queries_complete += 1,
            Completeness::Deadline => self.counters.queries_late += 1,
            Completeness::Alone => {}
        }
        self.out.push(Action::Answered { query, witnesses, completeness, took_ms });
    }

    /// Who holds a key, this node included.
    pub(crate) fn nodes_of(&self, key: Key) -> Vec<NodeId> {
        self.nodes_at(&place(&self.members, key))
    }

    /// The same, of a key that may be placed already.
    pub(crate) fn nodes_in(&self, placed: &Placed, key: Key) -> Vec<NodeId> {
        placed.at(key).map_or_else(|| self.nodes_of(key), |placement| self.nodes_at(placement))
    }

    pub(crate) fn nodes_at(&self, placement: &Placement) -> Vec<NodeId> {
        let rows = self.members.rows();
        placement.holders.iter().map(|at| rows[*at as usize].record.node).collect()
    }
}

fn record_said(statement: &Statement) -> Said {
    let Some(home) = home_of(statement) else { return Said::Nothing };
    let cut = crate::node::replica::record_of(statement, crate::entry::Network::HOME).statement;
    debug_assert!(cut.class() == Class::Opinion || cut.class() == Class::Sighting);
    Said::Record { mail: cut.mail, seq: cut.seq, epoch: cut.epoch, kind: cut.kind, home }
}
