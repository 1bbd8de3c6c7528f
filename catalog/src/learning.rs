//! What a site learns of the rates that its verdict supposes: how often wanted bulk is reported by
//! mistake. Where people are wrong more often than supposed, one report proves less.
//!
//! Main item: [`Learner`]. Key decision: only mail that is out at many places counts, and as much
//! as its odds say that it is wanted. Spam that many people saw and reported drops out by itself.

use crate::judgement::{Judgement, Rates};

/// Fewest copies whose recipients have had time to speak: of spam two would have been reported
/// (at the supposed tenth).
const COPIES_MIN: f64 = 20.0;

/// Checks that the supposed rate counts for: some ten newsletters. A guess.
const SUPPOSED_CHECKS: f64 = 500.0;

/// Most that is learnt: at a twentieth of its recipients nobody calls a mail wanted.
const RATE_MAX: f64 = 0.02;

/// Reports of wanted bulk, learnt from judgements.
#[derive(Clone, Copy, Debug, Default)]
pub struct Learner {
    /// Sum over checks of the share of copies reported, weighed by how wanted the mail is.
    reported: f64,
    /// Sum of these weights.
    checks: f64,
}

impl Learner {
    /// Takes in a judgement.
    pub fn observe(&mut self, judgement: &Judgement) {
        let exposed = judgement.terms.iter().filter(|term| term.what == "exposed");
        let copies: f64 = exposed.map(|term| term.copies).sum();
        if copies < COPIES_MIN {
            return;
        }
        let wanted = 1.0 / (1.0 + f64::exp(judgement.odds_nats));
        self.reported += wanted * f64::from(judgement.reports) / copies;
        self.checks += wanted;
    }

    /// The rates with what was learnt.
    #[must_use]
    pub fn rates(&self, supposed: &Rates) -> Rates {
        let sum = self.reported + SUPPOSED_CHECKS * supposed.report_if_wanted;
        let learnt = sum / (self.checks + SUPPOSED_CHECKS);
        let most = RATE_MAX.max(supposed.report_if_wanted);
        Rates {
            report_if_wanted: learnt.clamp(supposed.report_if_wanted, most),
            ..supposed.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::{Conclusion, Term};
    use crate::spread::Spread;

    fn judgement(copies: f64, reports: u32, odds_nats: f64) -> Judgement {
        let (site, what) = ("a".into(), "exposed".into());
        Judgement {
            conclusion: Conclusion::Bulk,
            odds_nats,
            confidence: 0,
            spread: Spread::default(),
            reports,
            revokes: 0,
            home: None,
            terms: vec![Term { site, what, copies, trust: 1.0, nats: 0.0 }],
        }
    }

    #[test]
    fn mistakes_are_learnt_and_spam_is_not_taken_for_one() {
        let supposed = Rates::default();
        let after = |of: &Judgement, checks: usize| {
            let mut learner = Learner::default();
            (0..checks).for_each(|_| learner.observe(of));
            learner.rates(&supposed).report_if_wanted
        };
        assert_eq!(after(&judgement(100.0, 0, -9.0), 5000), supposed.report_if_wanted);
        assert!(after(&judgement(200.0, 1, -9.0), 5000) > 0.004);
        assert!(after(&judgement(100.0, 12, 9.0), 5000) < 2.0 * supposed.report_if_wanted);
        assert_eq!(
            after(&judgement(3.0, 1, 4.0), 5000),
            supposed.report_if_wanted,
            "too few copies"
        );
        assert!(after(&judgement(20.0, 20, -9.0), 50_000) <= RATE_MAX);
    }
}
