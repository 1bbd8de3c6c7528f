//! Trust lists: what one site thinks of others, written down for another.
//!
//! Main item: [`Agent::import_trust`]. Key decision: a list only adds. What was seen or decided here
//! weighs more than a file, so no vouch is taken back, no credit lowered, and who was wrong here is
//! not forgiven.

use std::collections::BTreeSet;

use novacula_catalog::store::SaveNetwork;
use novacula_catalog::{CREDIT_MAX, CREDIT_MIN, Records, Reporter, SiteId, Time};
use novacula_client::{TrustLine, TrustTaken};

use super::super::peers::administrator;
use super::{Agent, AgentError, Weights};
use crate::maillog;

/// What of a list is new here.
#[derive(Debug, Default)]
struct News {
    vouched: BTreeSet<SiteId>,
    credits: Vec<(SiteId, f64)>,
}

/// Reads a list; of a bad one nothing is taken.
fn parse(text: &str) -> Result<Vec<(SiteId, TrustLine)>, AgentError> {
    let read = |text: &str| -> Result<(SiteId, TrustLine), String> {
        let line: TrustLine = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let site = line.site.parse().map_err(|error| format!("site: failed to {error}"))?;
        if !(CREDIT_MIN..=CREDIT_MAX).contains(&line.credit) {
            return Err(format!("credit must be from {CREDIT_MIN} to {CREDIT_MAX}"));
        }
        if line.weight.is_some_and(|weight| !(0.0..=1.0).contains(&weight)) {
            return Err("weight must be from 0 to 1, or null".into());
        }
        Ok((site, line))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| read(line).map_err(|error| AgentError::TrustList(at + 1, error)))
        .collect()
}

/// Credits are taken over where they are higher than here, and the site was not wrong here.
fn raises(records: &Records, site: &SiteId, credit: f64, now: Time) -> bool {
    let here = records.credit(site, now);
    here >= 0.0 && credit > here
}

impl News {
    fn of(weights: &Weights, lines: Vec<(SiteId, TrustLine)>, now: Time) -> Self {
        let weighing = weights.lock();
        let mut news = Self::default();
        for (site, line) in lines.into_iter().filter(|(site, _)| *site != weighing.home) {
            if line.vouched && !weighing.vouched.contains(&site) {
                news.vouched.insert(site);
            }
            if raises(weighing.trust.records(), &site, line.credit, now) {
                news.credits.push((site, line.credit));
            }
        }
        news
    }

    /// What is to be stored of it.
    fn saves(&self, mut records: Records, now: Time) -> Vec<SaveNetwork> {
        self.credit(&mut records, now);
        let credits = self.credits.iter().filter_map(|(site, _)| {
            records.get(site, now).map(|record| SaveNetwork::Record(*site, record))
        });
        let vouched = self.vouched.iter().map(|site| SaveNetwork::Vouch(*site, now));
        vouched.chain(credits).collect()
    }

    fn credit(&self, records: &mut Records, now: Time) {
        for (site, credit) in &self.credits {
            if raises(records, site, *credit, now) {
                records.set_credit(*site, *credit, now);
            }
        }
    }
}

impl Agent {
    /// An administrator takes over vouches and credits that another site wrote down, as lines of
    /// JSON.
    ///
    /// # Errors
    /// [`AgentError`], for a bad line with its number; nothing has changed then.
    pub async fn import_trust(
        &self,
        text: &str,
        who: &Reporter,
        now: Time,
    ) -> Result<TrustTaken, AgentError> {
        administrator(who, "import a trust list")?;
        let lines = parse(text)?;
        let _one_at_a_time = self.speaking.lock().await;
        let news = News::of(&self.weights, lines, now);
        self.weights.has_room(news.vouched.len(), now)?;
        let records = self.weights.trust().records().clone();
        self.save_trust(news.saves(records, now)).await?;
        news.vouched.iter().for_each(|site| maillog::vouched(site, &who.name, false));
        news.credit(self.weights.lock().trust.records_mut(), now);
        let taken = TrustTaken { vouched: news.vouched.len(), credits: news.credits.len() };
        self.trust_anew(now, |vouched| {
            vouched.extend(news.vouched);
            true
        });
        self.say_trust(now).await;
        Ok(taken)
    }
}
