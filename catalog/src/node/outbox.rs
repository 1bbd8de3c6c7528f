//! What this site said, until it is safe. Opinions wait in the outbox until every replica that
//! answers has acknowledged them; the agent keeps the outbox on its disk, so a crash only makes
//! them wait. Sightings are sent once; and everything is offered again, by name only, 15 minutes
//! later, to whoever holds its keys then.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::node::api::{Action, Keep, Now};
use crate::node::placement::Placed;
use crate::node::query::{Job, Own};
use crate::node::replica::{home_of, tag_of};
use crate::node::state::Node;
use crate::node::wire::{Ref, Tag};
use crate::statement::{Class, Statement};

/// When own statements are offered again, in milliseconds (15 min, DESIGN 4.1).
const REOFFER_MS: u64 = 15 * 60_000;
/// How much longer own statements can be fetched here after that, in milliseconds.
const LINGER_MS: u64 = 10 * 60_000;
/// Most own statements waiting to be offered again; at the bound the oldest is offered no more.
/// At 100 mails/s there are 90,000 in 15 minutes.
const OWN_MAX: usize = 150_000;
/// First and longest time between two tries to spread an opinion, in milliseconds.
const RETRY_MS: (u64, u64) = (5_000, 60_000);
/// Opinions spread anew in one second.
const TRIES_A_SECOND: usize = 32;
/// Own statements offered again in one second.
const REOFFERS_A_SECOND: usize = 500;

struct Waiting {
    own: Arc<Own>,
    due_ms: u64,
    tries: u32,
    job: Option<u64>,
}

/// Own statements on their way.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: BTreeMap<u64, Waiting>,
    again: VecDeque<(u64, Arc<Own>)>,
    lingering: VecDeque<(u64, Arc<Own>)>,
    bodies: HashMap<Tag, Arc<Own>>,
}

impl Outbox {
    /// Opinions not acknowledged yet.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn body(&self, tag: Tag) -> Option<&Arc<Own>> {
        self.bodies.get(&tag)
    }
}

impl Node {
    /// Takes a statement of this site in; none if it is another's or out of time.
    pub(crate) fn own_of(&mut self, signed: Vec<u8>, now: Now) -> Option<Arc<Own>> {
        let statement = Statement::decode(&signed).ok()?;
        if statement.site != self.certificate.site {
            self.counters.statements_foreign += 1;
            return None;
        }
        if !self.is_timely(&statement, now) {
            self.counters.statements_clock += 1;
            return None;
        }
        let own = Arc::new(Own { signed: signed.into(), statement });
        self.outbox.bodies.insert(tag_of(&own.statement), Arc::clone(&own));
        self.outbox.again.push_back((now.ms.saturating_add(REOFFER_MS), Arc::clone(&own)));
        if self.outbox.again.len() > OWN_MAX
            && let Some((_, old)) = self.outbox.again.pop_front()
        {
            self.outbox.bodies.remove(&tag_of(&old.statement));
        }
        Some(own)
    }

    /// The agent made a statement and asks nothing.
    pub(crate) fn publish(&mut self, signed: Vec<u8>, now: Now) {
        let seq = Statement::decode(&signed).map(|statement| statement.seq);
        let Some(own) = self.own_of(signed, now) else {
            // Too old for the network: its row in the outbox is of no use any more.
            if let Ok(seq) = seq {
                self.counters.outbox_dropped += 1;
                self.out.push(Action::Keep(Keep::Settled { seq }));
            }
            return;
        };
        self.announce_opinion(&own, now);
        if own.statement.class() == Class::Sighting {
            self.spread(own, now);
            return;
        }
        let seq = own.statement.seq;
        self.outbox.waiting.insert(seq, Waiting { own, due_ms: now.ms, tries: 0, job: None });
        self.try_outbox(now);
    }

    /// Spreads opinions that are due.
    pub(crate) fn try_outbox(&mut self, now: Now) {
        let rows = self.members.rows();
        if rows.len() < 2 {
            return;
        }
        let due: Vec<u64> = self
            .outbox
            .waiting
            .iter()
            .filter(|(_, one)| one.job.is_none() && one.due_ms <= now.ms)
            .take(TRIES_A_SECOND)
            .map(|(seq, _)| *seq)
            .collect();
        for seq in due {
            let Some(waiting) = self.outbox.waiting.get_mut(&seq) else { continue };
            let own = Arc::clone(&waiting.own);
            if !self.is_timely(&own.statement, now) {
                self.settled(seq, true);
                continue;
            }
            let Some(waiting) = self.outbox.waiting.get_mut(&seq) else { continue };
            let wait = RETRY_MS.0.checked_shl(waiting.tries.min(8)).unwrap_or(RETRY_MS.1);
            waiting.due_ms = now.ms.saturating_add(wait.min(RETRY_MS.1));
            waiting.tries += 1;
            // Its number is not known before it has started, and it may end at once.
            waiting.job = None;
            let job = self.spread(own, now);
            if let Some(job) = job.filter(|job| self.jobs.contains_key(job))
                && let Some(waiting) = self.outbox.waiting.get_mut(&seq)
            {
                waiting.job = Some(job);
            }
        }
    }

    /// A job is over: an opinion that all replicas acknowledged is settled.
    pub(crate) fn job_done(&mut self, number: u64, job: &Job, now: Now) {
        let Some(own) = &job.own else { return };
        let seq = own.statement.seq;
        let Some(waiting) = self.outbox.waiting.get_mut(&seq) else { return };
        if waiting.job == Some(number) {
            waiting.job = None;
        }
        if job.clock > job.acked {
            // Most say that our clock is wrong. It waits: the clock may be mended.
            self.clock_disputed = true;
        } else if job.acked > 0 && job.lost == 0 {
            self.clock_disputed = false;
            self.settled(seq, false);
            return;
        }
        if let Some(waiting) = self.outbox.waiting.get_mut(&seq) {
            waiting.due_ms = waiting.due_ms.max(now.ms.saturating_add(RETRY_MS.0));
        }
    }

    fn settled(&mut self, seq: u64, given_up: bool) {
        self.outbox.waiting.remove(&seq);
        match given_up {
            true => self.counters.outbox_dropped += 1,
            false => self.counters.outbox_settled += 1,
        }
        self.out.push(Action::Keep(Keep::Settled { seq }));
    }

    /// Offers own statements again whose time has come, and forgets those that lingered.
    pub(crate) fn offer_again(&mut self, now: Now) {
        for _ in 0..REOFFERS_A_SECOND {
            let due = self.outbox.again.front().is_some_and(|(due, _)| *due <= now.ms);
            let Some((_, own)) = due.then(|| self.outbox.again.pop_front()).flatten() else {
                break;
            };
            let Some(home) = home_of(&own.statement) else { continue };
            let tag = tag_of(&own.statement);
            let placed = Placed::of(&self.members, own.statement.keys());
            for (key, placement) in placed.iter() {
                for node in self.nodes_at(placement) {
                    self.queue_offer(node, true, Ref { key, tag, home });
                }
            }
            for key in self.wary_of(own.statement.keys(), &placed, Some(home), now) {
                let Some(placement) = placed.at(key) else { continue };
                for node in self.anchors_beside(key, placement) {
                    self.queue_offer(node, true, Ref { key, tag, home });
                    self.queue_offer(node, true, Ref { key: home, tag, home });
                }
            }
            self.outbox.lingering.push_back((now.ms.saturating_add(LINGER_MS), own));
        }
        while self.outbox.lingering.front().is_some_and(|(due, _)| *due <= now.ms) {
            if let Some((_, own)) = self.outbox.lingering.pop_front() {
                self.outbox.bodies.remove(&tag_of(&own.statement));
            }
        }
    }
}
