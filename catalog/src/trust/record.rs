//! What a site did: how often it was right early, how often it was wrong, and whether its revokes
//! are rare, as revokes are.
//!
//! Main item: [`Records`]. Key decisions: credit is slow and small, blame is quick and large; both
//! fade. And who always says the same tells nothing: a revoke counts only from a site whose
//! opinions are mostly something else.

use std::collections::HashMap;

use crate::clock::Time;
use crate::identity::SiteId;
use crate::statement::Opinion;

/// What one early report that was confirmed later adds (issue: at most 0.02 a campaign).
pub const CREDIT: f64 = 0.02;
/// Most credit (issue: at most 0.3 a branch).
pub const CREDIT_MAX: f64 = 0.3;
/// What one contradiction costs: five times as much (DESIGN 4.3).
pub const BLAME: f64 = 0.1;
/// Least credit: with it a site weighs nothing.
pub const CREDIT_MIN: f64 = -1.0;
/// Credit and blame fade by half in this time, in seconds (30 d, DESIGN 4.3).
pub const CREDIT_HALF_LIFE_SECS: u64 = 30 * 24 * 3600;
/// Counts of opinions fade by half in this time, in seconds (as long as statements are kept).
const HABIT_HALF_LIFE_SECS: u64 = 72 * 3600;
/// Opinions that a site is supposed to have given before it was heard of. A choice.
const HABIT_OPINIONS: f64 = 10.0;
/// Share of them that are revokes: one in twenty. A guess; people revoke where a verdict was
/// wrong, which is rare.
const HABIT_REVOKES: f64 = 0.05;
/// Share of revokes up to which they count: two in a row from a site that said nothing before.
const REVOKES_RARE_MAX: f64 = 0.25;
/// Most sites remembered; at the bound the quarter that was silent longest goes.
pub const RECORDS_MAX: usize = 20_000;

/// What is remembered of one site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// Credit, from [`CREDIT_MIN`] to [`CREDIT_MAX`], as of `at`.
    pub credit: f64,
    /// Reports, fading, as of `at`.
    pub reports: f64,
    /// Revokes, fading, as of `at`.
    pub revokes: f64,
    /// When this was so.
    pub at: Time,
}

fn faded(value: f64, secs: u64, half_life_secs: u64) -> f64 {
    value * f64::exp2(-(secs as f64) / half_life_secs as f64)
}

impl Record {
    /// The same, later.
    #[must_use]
    pub fn at(self, now: Time) -> Self {
        let secs = now.secs_since(self.at);
        Self {
            credit: faded(self.credit, secs, CREDIT_HALF_LIFE_SECS),
            reports: faded(self.reports, secs, HABIT_HALF_LIFE_SECS),
            revokes: faded(self.revokes, secs, HABIT_HALF_LIFE_SECS),
            at: self.at.max(now),
        }
    }

    fn new(now: Time) -> Self {
        Self { credit: 0.0, reports: 0.0, revokes: 0.0, at: now }
    }

    /// True where revokes are the exception among its opinions.
    fn revokes_rarely(&self) -> bool {
        let revokes = self.revokes + HABIT_OPINIONS * HABIT_REVOKES;
        revokes / (self.reports + self.revokes + HABIT_OPINIONS) <= REVOKES_RARE_MAX
    }
}

/// Records of all sites that did anything, in the eyes of one.
#[derive(Clone, Debug, Default)]
pub struct Records {
    of: HashMap<SiteId, Record>,
}

impl Records {
    /// Records from the disk.
    #[must_use]
    pub fn load(records: impl IntoIterator<Item = (SiteId, Record)>) -> Self {
        Self { of: records.into_iter().take(RECORDS_MAX).collect() }
    }

    /// The record of a site as of now.
    #[must_use]
    pub fn get(&self, site: &SiteId, now: Time) -> Option<Record> {
        self.of.get(site).map(|record| record.at(now))
    }

    /// The credit of a site as of now; 0 where nothing is known.
    #[must_use]
    pub fn credit(&self, site: &SiteId, now: Time) -> f64 {
        self.get(site, now).map_or(0.0, |record| record.credit)
    }

    /// True where a revoke by this site is something out of the ordinary.
    #[must_use]
    pub fn revokes_rarely(&self, site: &SiteId, now: Time) -> bool {
        self.get(site, now).is_none_or(|record| record.revokes_rarely())
    }

    /// A report that came before the verdict was confirmed afterwards.
    pub fn confirm(&mut self, site: SiteId, now: Time) {
        self.change(site, now, |record| record.credit += CREDIT);
    }

    /// An opinion was contradicted.
    pub fn contradict(&mut self, site: SiteId, now: Time) {
        self.change(site, now, |record| record.credit -= BLAME);
    }

    /// A site spoke.
    pub fn spoke(&mut self, site: SiteId, opinion: Opinion, now: Time) {
        self.change(site, now, |record| match opinion {
            Opinion::Report | Opinion::TrapReport => record.reports += 1.0,
            Opinion::Revoke => record.revokes += 1.0,
            Opinion::Withdrawn => {}
        });
    }

    /// Takes over what somebody else wrote down of a site.
    pub fn set_credit(&mut self, site: SiteId, credit: f64, now: Time) {
        self.change(site, now, |record| record.credit = credit);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&SiteId, &Record)> {
        self.of.iter()
    }

    fn change(&mut self, site: SiteId, now: Time, what: impl FnOnce(&mut Record)) {
        if self.of.len() >= RECORDS_MAX && !self.of.contains_key(&site) {
            let mut ages: Vec<Time> = self.of.values().map(|record| record.at).collect();
            ages.sort_unstable();
            let old = ages[ages.len() / 4];
            self.of.retain(|_, record| record.at > old);
        }
        let record = self.of.entry(site).or_insert(Record::new(now));
        *record = record.at(now);
        what(record);
        record.credit = record.credit.clamp(CREDIT_MIN, CREDIT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_800_000_000);
    const SITE: SiteId = SiteId([1; 32]);

    #[test]
    fn credit_is_slow_and_blame_is_quick_and_both_fade() {
        let mut records = Records::default();
        records.confirm(SITE, NOW);
        assert!((records.credit(&SITE, NOW) - 0.02).abs() < 1e-12);
        (0..100).for_each(|_| records.confirm(SITE, NOW));
        assert!((records.credit(&SITE, NOW) - CREDIT_MAX).abs() < 1e-12);
        records.contradict(SITE, NOW);
        assert!((records.credit(&SITE, NOW) - 0.2).abs() < 1e-12, "as much as five campaigns");
        let later = Time(NOW.0 + CREDIT_HALF_LIFE_SECS);
        assert!((records.credit(&SITE, later) - 0.1).abs() < 1e-12);
        (0..100).for_each(|_| records.contradict(SITE, NOW));
        assert!((records.credit(&SITE, NOW) - CREDIT_MIN).abs() < 1e-12);
    }

    #[test]
    fn who_revokes_everything_revokes_nothing() {
        let mut records = Records::default();
        let mut counted = 0;
        for _ in 0..100 {
            counted += u32::from(records.revokes_rarely(&SITE, NOW));
            records.spoke(SITE, Opinion::Revoke, NOW);
        }
        assert_eq!(counted, 3);
        let honest = SiteId([2; 32]);
        (0..20).for_each(|_| records.spoke(honest, Opinion::Report, NOW));
        (0..5).for_each(|_| records.spoke(honest, Opinion::Revoke, NOW));
        assert!(records.revokes_rarely(&honest, NOW));
    }

    #[test]
    fn records_are_bounded_and_the_silent_go_first() {
        let mut records = Records::default();
        for number in 0..=RECORDS_MAX as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_le_bytes());
            records.confirm(SiteId(id), Time(NOW.0 + number));
        }
        assert!(records.of.len() <= RECORDS_MAX);
        assert!(records.get(&SiteId([0; 32]), NOW).is_none());
    }
}
