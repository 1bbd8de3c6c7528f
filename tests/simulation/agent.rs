//! What the agent does around its node, in short: a check with its question and sighting, the
//! answer, and an opinion, which is durable before it is spoken of.

use std::collections::HashSet;
use std::sync::Arc;

use novacula_catalog::node::{Completeness, Event, QueryId};
use novacula_catalog::{Facts, Match, Opinion, Probe, Witness};

use super::mail::Mail;
use super::queue::What;
use super::world::World;

/// A question that was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By which site.
    pub site: usize,
    /// When, in milliseconds.
    pub at_ms: u64,
    /// The mail.
    pub mail: Mail,
    /// Sites that a table of everything, everywhere at once, would have named.
    pub truth: usize,
    /// Of these the ones that the answer, with what was known already, named.
    pub found: usize,
    /// How complete it was; none while it is open.
    pub answer: Option<Completeness>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl World {
    /// A mail is delivered at a site: the agent's check.
    pub fn deliver(&mut self, site: usize, mail: &Mail, deadline_ms: u64) -> Option<QueryId> {
        let wall = self.now_at(site).wall;
        let probe = Probe::new(&mail.digests, None, wall);
        let matches = self.sites[site].catalog.matches(&probe);
        let at = &mut self.sites[site];
        at.node.as_ref()?;
        let sighting = at.site.sight(&matches, &probe, Facts::default(), 1, wall);
        let signed = sighting.as_ref().map(|witness| at.speaker.sign(&witness.statement));
        let truth = self.ledger.sites_that_saw(&probe, at.id());
        let known: Vec<Arc<Witness>> = matches.iter().map(|one| Arc::clone(&one.witness)).collect();
        if let Some(witness) = sighting {
            at.catalog.insert(witness.clone());
            at.disk.own.push(witness.clone());
            self.ledger.say(witness.statement);
        }
        let now = self.now_at(site);
        let node = self.sites[site].node.as_ref();
        if node.is_some_and(|node| node.knows_enough(&matches, now)) {
            self.local += 1;
            if let Some(signed) = signed {
                self.event(site, Event::Publish { signed });
            }
            return None;
        }
        let query = QueryId(self.number());
        let asked = Asked {
            site,
            at_ms: self.now_ms,
            mail: mail.clone(),
            truth: truth.len(),
            found: 0,
            answer: None,
            took_ms: 0,
        };
        self.asked.insert(query, asked);
        let probe = Box::new(probe);
        self.event(site, Event::Query { query, probe, sighting: signed, known, deadline_ms });
        let wake = self.sites[site].node.as_ref().map_or(u64::MAX, |node| node.wake_ms());
        self.push(wake.max(self.now_ms + 1).min(self.now_ms + 1_000), site, What::Tick);
        Some(query)
    }

    pub(super) fn answered(
        &mut self,
        site: usize,
        query: QueryId,
        witnesses: Vec<Witness>,
        completeness: Completeness,
        took_ms: u64,
    ) {
        for witness in witnesses {
            self.sites[site].catalog.insert(witness);
        }
        let Some(asked) = self.asked.get(&query) else { return };
        let probe = Probe::new(&asked.mail.digests, None, self.now_at(site).wall);
        let found =
            distinct_others(&self.sites[site].catalog.matches(&probe), self.sites[site].id());
        if let Some(asked) = self.asked.get_mut(&query) {
            asked.found = found;
            asked.answer = Some(completeness);
            asked.took_ms = took_ms;
        }
    }

    /// Somebody at a site speaks of a mail: durable first, then said. Gives its number.
    pub fn speak(&mut self, site: usize, mail: &Mail, opinion: Opinion) -> Option<u64> {
        let wall = self.now_at(site).wall;
        let probe = Probe::new(&mail.digests, None, wall);
        let matches = self.sites[site].catalog.matches(&probe);
        let at = &mut self.sites[site];
        at.node.as_ref()?;
        let witness = at.site.opine(&matches, &probe, opinion, wall, wall);
        let signed = at.speaker.sign(&witness.statement);
        let seq = witness.statement.seq;
        at.disk.outbox.insert(seq, signed.clone());
        at.disk.own.push(witness.clone());
        at.catalog.insert(witness.clone());
        self.ledger.say(witness.statement);
        self.event(site, Event::Publish { signed });
        Some(seq)
    }
}

fn distinct_others(matches: &[Match], home: novacula_catalog::SiteId) -> usize {
    let sites = matches.iter().map(|one| one.witness.statement.site);
    sites.filter(|site| *site != home).collect::<HashSet<_>>().len()
}
