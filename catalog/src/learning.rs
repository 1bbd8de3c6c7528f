//! What a site learns of people from the mail of the network: how often wanted bulk is reported by
//! mistake. Where people are wrong more often than supposed, one report proves less.
//!
//! Main item: [`Learner::study`]. It looks at everything held, mail by mail, and not only at the
//! mail that came in here: one site's checks are too few (docs/measurements.md, "Sensitivity").
//! Each mail counts once, with its copies and reports so far, and as much as its odds say that it
//! is wanted; spam that people report drops out by itself. Key decision: what is learnt makes the
//! verdict more careful than the settings and never bolder, and by a bounded factor, so that who
//! reports newsletters on purpose gains little.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::{Epoch, Time};
use crate::digest::{Engine, Key};
use crate::entry::Witness;
use crate::judgement::{Judgement, judge};
use crate::matching::{Match, Shared};
use crate::rates::Rates;
use crate::statement::{Kind, Opinion};
use crate::trust::Trust;

/// Fewest copies whose recipients have had time to speak that make a mail bulk. A guess: with 10
/// the same is learnt more slowly.
const COPIES_MIN: f64 = 5.0;

/// A mail's numbers are final after so long, in seconds: known campaigns run for 13 hours at most
/// (DESIGN 4.1), and its first copies still lie within the window.
const FINAL_SECS: u64 = 12 * 3600;

/// Half of what was learnt is forgotten after so long, in seconds (30 days, as for the record of
/// a site: DESIGN 4.3).
const HALF_LIFE_SECS: f64 = 30.0 * 24.0 * 3600.0;

/// Most that is learnt (a probability). With it one report is worth ln(0.1 / 0.005) = 3.0 nats:
/// two convict, one does not, whatever hostile reporters do to newsletters.
const RATE_MAX: f64 = 0.005;

/// The rates for bulk whose authenticated sender is long known: people do report newsletters that
/// they once asked for, so that one report does not convict it.
#[must_use]
pub fn careful(rates: &Rates) -> Rates {
    Rates { report_if_wanted: RATE_MAX.max(rates.report_if_wanted), ..rates.clone() }
}

/// How often there is something new to study, in seconds: an epoch.
pub const STUDY_SECS: u64 = crate::clock::EPOCH_SECS;

/// What was learnt of mails whose numbers are final.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Learned {
    /// Reports of bulk, each weighed by trust and by how wanted the mail is.
    pub reports: f64,
    /// Its copies, weighed likewise.
    pub copies: f64,
    /// Mails first seen up to this epoch have been counted.
    pub until: Epoch,
}

/// Learns the rate of mistakes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Learner {
    learned: Learned,
    /// The same of mails that are not final.
    open: Learned,
}

impl Learner {
    /// Goes on from what was stored.
    #[must_use]
    pub fn of(learned: Learned) -> Self {
        Self { learned, open: Learned::default() }
    }

    /// What is to be stored.
    #[must_use]
    pub fn learned(&self) -> Learned {
        self.learned
    }

    /// Looks at all statements held. True when what is to be stored has changed.
    pub fn study<'a>(
        &mut self,
        held: impl IntoIterator<Item = &'a Arc<Witness>>,
        trust: &Trust,
        supposed: &Rates,
        now: Time,
    ) -> bool {
        let rates = self.rates(supposed);
        let until = now.minus_secs(FINAL_SECS).epoch();
        let (mut open, mut last) = (Learned::default(), Learned::default());
        for mail in mails(held) {
            let first = mail.iter().map(|of| of.witness.statement.epoch).min().unwrap_or_default();
            if first <= self.learned.until {
                continue;
            }
            let (reports, copies) = counted(&judge(&mail, trust, &rates, now, None));
            let sums = if first <= until { &mut last } else { &mut open };
            sums.reports += reports;
            sums.copies += copies;
        }
        self.open = open;
        if until <= self.learned.until {
            return false;
        }
        let forgotten_secs = until.start().secs_since(self.learned.until.start());
        let kept = f64::exp2(-(forgotten_secs as f64) / HALF_LIFE_SECS);
        self.learned = Learned {
            reports: self.learned.reports * kept + last.reports,
            copies: self.learned.copies * kept + last.copies,
            until,
        };
        true
    }

    /// The rates with what was learnt: the supposed rate counts for as many copies as the settings
    /// say (a Gamma distribution before, Poisson counts after).
    #[must_use]
    pub fn rates(&self, supposed: &Rates) -> Rates {
        let reports = self.learned.reports + self.open.reports;
        let copies = self.learned.copies + self.open.copies;
        let prior = supposed.supposed_copies;
        let learnt = (reports + prior * supposed.report_if_wanted) / (copies + prior);
        let most = RATE_MAX.max(supposed.report_if_wanted);
        Rates {
            report_if_wanted: learnt.clamp(supposed.report_if_wanted, most),
            ..supposed.clone()
        }
    }
}

/// Keys in common by which a statement belongs to a mail: so many shingles need no Nilsimsa in the
/// rule of match. All of them, where it has fewer.
const SHARED_MIN: usize = 5;

/// Statements by mail, as far as that shows without the mail: each joins the one that it shares most
/// keys with. Earlier ones first, so that the order in which they are held decides nothing.
fn mails<'a>(held: impl IntoIterator<Item = &'a Arc<Witness>>) -> impl Iterator<Item = Vec<Match>> {
    let mut held: Vec<&Arc<Witness>> = held.into_iter().collect();
    held.sort_unstable_by_key(|of| (of.statement.epoch, of.statement.site, of.statement.mail));
    let mut mail_of: HashMap<Key, usize> = HashMap::new();
    let mut mails: Vec<Vec<Match>> = Vec::new();
    let mut shared: Vec<usize> = Vec::new();
    for witness in held {
        let keys = witness.statement.keys();
        shared.clear();
        shared.extend(keys.iter().filter_map(|key| mail_of.get(key)));
        shared.sort_unstable();
        let runs = shared.chunk_by(|one, other| one == other);
        let nearest = runs.max_by_key(|run| run.len());
        let known = nearest.filter(|run| run.len() >= SHARED_MIN.min(keys.len()));
        let mail = known.map_or(mails.len(), |run| run[0]);
        if mail == mails.len() {
            mails.push(Vec::new());
        }
        keys.iter().for_each(|key| _ = mail_of.entry(*key).or_insert(mail));
        mails[mail].push(Match {
            witness: Arc::clone(witness),
            engine: Engine::Exact,
            shared: Shared { exact: true, ..Shared::default() },
            common: false,
        });
    }
    // What can't reach the least number of copies need not be judged.
    let copies = |of: &Match| match of.witness.statement.kind {
        Kind::Sighting { copies, .. } => f64::from(copies.at_least()),
        Kind::Opinion { .. } => 0.0,
    };
    mails.into_iter().filter(move |mail| mail.iter().map(copies).sum::<f64>() >= COPIES_MIN)
}

/// Reports and copies that a mail adds.
fn counted(judgement: &Judgement) -> (f64, f64) {
    let of = |what: &'static str| judgement.terms.iter().filter(move |term| term.what == what);
    let copies: f64 = of("exposed").map(|term| term.copies * term.trust).sum();
    if copies < COPIES_MIN {
        return (0.0, 0.0);
    }
    let reports: f64 = of(Opinion::Report.name()).map(|term| term.trust).sum();
    let wanted = 1.0 / (1.0 + f64::exp(judgement.odds_nats));
    (wanted * reports, wanted * copies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Network;
    use crate::identity::SiteId;
    use crate::statement::{Copies, Facts, MailId, Statement};

    const NOW: Time = Time(1_800_000_000);
    const HOME: SiteId = SiteId([200; 32]);

    /// Statements of one mail: so many sites saw it an hour before `at`, and the first ones report.
    fn mail(key: u64, sites: u8, reports: u8, at: Time) -> Vec<Arc<Witness>> {
        let epoch = at.minus_secs(3600).epoch();
        let said = |site: u8, seq: u64, kind: Kind| {
            let site_id = SiteId([site; 32]);
            let keys = vec![Key(key)];
            let statement = Statement::new(site_id, MailId(key), seq, epoch, keys, kind);
            let network = Network(u64::from(site) + 1);
            Arc::new(Witness { statement, network, nilsimsa: None, kept_from: epoch })
        };
        let sighting = Kind::Sighting { copies: Copies::Four, facts: Facts::default() };
        let report = Kind::Opinion { opinion: Opinion::Report, nilsimsa: None };
        let seen = (0..sites).map(|site| said(site, 1, sighting));
        seen.chain((0..reports).map(|site| said(site, 2, report))).collect()
    }

    fn trusted() -> Trust {
        Trust::group(HOME, (0..100).map(|site| (SiteId([site; 32]), 1.0)))
    }

    fn learnt(mails: &[Vec<Arc<Witness>>]) -> f64 {
        let mut learner = Learner::default();
        learner.study(mails.iter().flatten(), &trusted(), &Rates::default(), NOW);
        learner.rates(&Rates::default()).report_if_wanted
    }

    #[test]
    fn mistakes_are_learnt_and_spam_is_not_taken_for_one() {
        let supposed = Rates::default().report_if_wanted;
        let wanted: Vec<_> = (0..20).map(|of| mail(of, 60, 0, NOW)).collect();
        assert_eq!(learnt(&wanted), supposed, "fewer mistakes than supposed make nobody bolder");
        let mistaken: Vec<_> = (0..20).map(|of| mail(of, 90, 1, NOW)).collect();
        assert!(learnt(&mistaken) > 4.0 * supposed, "{}", learnt(&mistaken));
        let spam: Vec<_> = (0..20).map(|of| mail(of, 20, 12, NOW)).collect();
        assert!(learnt(&spam) < 1.1 * supposed, "{}", learnt(&spam));
        assert_eq!(learnt(&[mail(1, 1, 1, NOW)]), supposed, "too few copies");
        let hostile: Vec<_> = (0..200).map(|of| mail(of, 90, 3, NOW)).collect();
        assert!(learnt(&hostile) <= RATE_MAX);
    }

    #[test]
    fn every_mail_counts_once_and_is_forgotten_by_and_by() {
        let mails: Vec<_> = (0..20).flat_map(|of| mail(of, 90, 1, NOW)).collect();
        let (trust, rates) = (trusted(), Rates::default());
        let mut learner = Learner::default();
        assert!(learner.study(&mails, &trust, &rates, NOW), "where it begins");
        let begun = learner.learned();
        assert_eq!((begun.reports, begun.copies), (0.0, 0.0), "nothing is final yet");
        let supposed = rates.report_if_wanted;
        assert!(learner.rates(&rates).report_if_wanted > 4.0 * supposed, "but known");
        let later = Time(NOW.0 + FINAL_SECS);
        assert!(learner.study(&mails, &trust, &rates, later));
        let done = learner.learned();
        assert!(done.copies > 4000.0 && done.reports > 10.0, "{done:?}");
        assert!(learner.rates(&rates).report_if_wanted > 4.0 * supposed);
        assert!(!learner.study(&mails, &trust, &rates, later), "once");
        assert_eq!(learner.learned(), done);
        let mut again = Learner::of(done);
        again.study(&[], &trust, &rates, Time(later.0 + 30 * 24 * 3600));
        assert!((again.learned().copies / done.copies - 0.5).abs() < 0.01);
    }
}
