//! The second half of a question: whole statements, of those that will match. Each is asked of who
//! says that it holds it, or of one of its homes; when that one has not got it, refuses, or takes
//! longer than it should, of all the others at once.
//!
//! Key decision: who holds nothing and answers nothing costs a question one round trip and a half,
//! not one for each such holder, nor its deadline.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::matching::compare;
use crate::node::api::{Now, Purpose};
use crate::node::host::NodeId;
use crate::node::query::{LEG_MS, Lead};
use crate::node::replica::{tag_of, witness_of};
use crate::node::state::{Node, Pending};
use crate::node::wire::{FETCH_MAX, Request, Tag};

/// How long the first who is asked may take before others are, in times of its usual round trip (a
/// choice: a twentieth of all are later than that on a line whose delay varies by a quarter).
const HEDGE_TRIPS: f64 = 1.5;
/// The same where none is known, and the bounds of it, in milliseconds.
const HEDGE_MS: u64 = 150;
const HEDGE_LEAST_MS: u64 = 20;
const HEDGE_MOST_MS: u64 = 500;

impl Node {
    /// Asks for whole statements.
    pub(crate) fn fetch_leads(&mut self, number: u64, tags: Vec<Tag>, now: Now) {
        let mut plan: BTreeMap<NodeId, Vec<Tag>> = BTreeMap::new();
        let mut hedge = None;
        for tag in tags {
            if let Some(signed) = self.whole(tag) {
                self.take_found(number, self.id, &signed);
                continue;
            }
            let lead = self.jobs.get(&number).and_then(|job| job.leads.get(&tag));
            let Some(lead) = lead.filter(|lead| !lead.done) else { continue };
            let sources = self.sources(lead, now);
            let first = sources.first().filter(|_| lead.tried.is_empty());
            let due_ms = first.map_or(0, |node| now.ms + self.patience_for(*node));
            let Some(job) = self.jobs.get_mut(&number) else { return };
            let Some(lead) = job.leads.get_mut(&tag) else { continue };
            lead.here.retain(|node| !sources.contains(node));
            lead.tried.extend(sources.iter().copied());
            job.fetching += usize::from(lead.waiting == 0 && !sources.is_empty());
            lead.waiting += sources.len();
            lead.hedge_ms = due_ms;
            self.counters.fetches_failed += u64::from(lead.waiting == 0);
            if due_ms > 0 {
                hedge = Some(hedge.map_or(due_ms, |first: u64| first.min(due_ms)));
            }
            for node in sources {
                plan.entry(node).or_default().push(tag);
            }
        }
        self.deadlines.extend(hedge.map(|at| (at, number)));
        for (node, tags) in plan {
            for some in tags.chunks(FETCH_MAX) {
                self.counters.fetches_asked += some.len() as u64;
                let pending = Pending::Fetch { job: Some(number), tags: some.to_vec() };
                let request = Request::Fetch(some.to_vec());
                self.send(node, &request, Purpose::Fetch, pending, LEG_MS, now);
            }
        }
    }

    /// Whom to ask next: at first one, who says that he has it or is one of its homes; after that
    /// all who say so, all its homes, and the home's anchors.
    fn sources(&self, lead: &Lead, now: Now) -> Vec<NodeId> {
        let mut sources: Vec<NodeId> = lead.here.to_vec();
        sources.extend(self.nodes_of(lead.home));
        if !lead.tried.is_empty() {
            sources.extend(self.anchors_of(lead.home));
        }
        let mut asked = lead.tried.clone();
        sources.retain(|node| {
            let asks = *node != self.id && !self.waits.on(*node, now) && !asked.contains(node);
            asked.extend(asks.then_some(*node));
            asks
        });
        sources.truncate(if lead.tried.is_empty() { 1 } else { usize::MAX });
        sources
    }

    fn patience_for(&self, node: NodeId) -> u64 {
        let usual = self.links.get(&node).and_then(|link| link.round_trip_ms);
        let hedge_ms = usual.map_or(HEDGE_MS, |ms| (ms * HEDGE_TRIPS) as u64);
        hedge_ms.clamp(HEDGE_LEAST_MS, HEDGE_MOST_MS)
    }

    /// Asks others for what has not come in time.
    pub(crate) fn hedge(&mut self, number: u64, now: Now) {
        let Some(job) = self.jobs.get_mut(&number).filter(|job| job.fetching > 0) else { return };
        let mut late = Vec::new();
        for (tag, lead) in &mut job.leads {
            if lead.waiting > 0 && !lead.done && (1..=now.ms).contains(&lead.hedge_ms) {
                lead.hedge_ms = 0;
                late.push(*tag);
            }
        }
        late.sort_unstable();
        self.counters.fetches_hedged += late.len() as u64;
        self.fetch_leads(number, late, now);
    }

    /// Statements came, or failed to come, for a job.
    pub(crate) fn fetched(
        &mut self,
        number: u64,
        from: NodeId,
        tags: &[Tag],
        statements: &[Vec<u8>],
        now: Now,
    ) {
        for signed in statements {
            self.take_found(number, from, signed);
        }
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let mut missing = Vec::new();
        for tag in tags {
            let Some(lead) = job.leads.get_mut(tag) else { continue };
            lead.waiting = lead.waiting.saturating_sub(1);
            if !lead.done {
                job.fetching -= usize::from(lead.waiting == 0);
                missing.push(*tag);
            }
        }
        self.fetch_leads(number, missing, now);
        self.settle_job(number, now);
    }

    /// Takes a whole statement in for a question, if it is true and about the mail.
    pub(crate) fn take_found(&mut self, number: u64, from: NodeId, signed: &[u8]) -> Option<Tag> {
        let statement = match self.config.verifier.statement(signed) {
            Ok(statement) => statement,
            Err(_) => {
                self.counters.statements_false += 1;
                self.fault(from);
                return None;
            }
        };
        let tag = tag_of(&statement);
        let network = self.network_of(statement.site);
        let witness = Arc::new(witness_of(statement, network));
        let job = self.jobs.get_mut(&number)?;
        job.taken.insert(tag);
        if let Some(lead) = job.leads.get_mut(&tag)
            && !std::mem::replace(&mut lead.done, true)
        {
            job.fetching -= usize::from(lead.waiting > 0);
        }
        let (_, probe) = job.query.as_ref()?;
        let again = job.found.iter().any(|one| tag_of(&one.statement) == tag);
        if compare(probe, &witness).is_some() && !again && !job.known.contains(&tag) {
            self.hot.keep_signed(tag, signed);
            job.found.push(Arc::unwrap_or_clone(witness));
        }
        Some(tag)
    }
}
