//! Attacks on trust, each with what it must not reach (docs/threats.md).

use novacula_agent::replay::oracle;
use novacula_client::Verdict;

use super::society::{Outcome, Size, Society};

/// Share of rows that have the verdict spam.
#[must_use]
pub fn called_spam(verdicts: &[Verdict], rows: &[usize]) -> f64 {
    let spam = rows.iter().filter(|row| verdicts[**row] == Verdict::Spam).count();
    spam as f64 / rows.len().max(1) as f64
}

/// What honest sites reach alone.
#[derive(Clone, Copy, Debug)]
pub struct Baseline {
    /// Share of spam called spam.
    pub recall: f64,
    /// The oracle's.
    pub oracle_recall: f64,
    /// Share of wanted mail called spam.
    pub ham: f64,
    /// The oracle's.
    pub oracle_ham: f64,
}

/// Nobody lies.
#[must_use]
pub fn baseline(size: Size, seed: u64) -> Baseline {
    let mut society = Society::new(size, seed);
    society.walk();
    let outcome = society.run(&Default::default());
    measure(&society, &outcome, seed)
}

fn measure(society: &Society, outcome: &Outcome, seed: u64) -> Baseline {
    let perfect = oracle(&society.rows, &society.protocol, &society.rates, &society.networks, seed);
    let (spam, ham) = (society.of_label("spam"), society.of_label("ham"));
    Baseline {
        recall: called_spam(&outcome.verdicts, &spam),
        oracle_recall: called_spam(&perfect, &spam),
        ham: called_spam(&outcome.verdicts, &ham),
        oracle_ham: called_spam(&perfect, &ham),
    }
}
