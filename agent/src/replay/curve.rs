//! Ours and the oracle's at one price: the share of spam caught where both call the same share of
//! wanted mail spam. A threshold alone compares nothing, because a matcher that joins less makes
//! fewer mistakes and fewer catches at once.
//!
//! Main item: [`at_shares`]. Points between two thresholds lie on the line between them.

use std::collections::BTreeMap;

use super::Pair;
use super::index::Row;
use super::world::Run;

/// Step of the thresholds that the lines go through, and the greatest, in nats.
const STEP_NATS: f64 = 0.05;
const THRESHOLD_MAX_NATS: f64 = 9.0;

/// Shares of wanted mail called spam that are looked at.
const SHARES: [f64; 7] = [0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.003];

/// Most reports that a simple count waits for.
const REPORTS_MAX: u32 = 5;

/// Share of spam caught at one share of wanted mail called spam.
#[derive(Clone, Debug)]
pub struct AtShare {
    /// Share of wanted mail called spam.
    pub ham_called_spam: f64,
    /// Ours.
    pub recall: f64,
    /// The oracle's.
    pub oracle_recall: f64,
    /// By how much the spam was altered.
    pub levels: Vec<OfLevel>,
}

/// The same for spam of one level.
#[derive(Clone, Debug)]
pub struct OfLevel {
    /// How much it was altered.
    pub level: String,
    /// Ours.
    pub recall: f64,
    /// The oracle's.
    pub oracle_recall: f64,
}

/// What the plain rule "so many reports are spam" gives.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Reports that suffice.
    pub reports: u32,
    /// Share of spam called spam.
    pub recall: f64,
    /// Share of ham called spam.
    pub ham_called_spam: f64,
    /// The oracle's.
    pub oracle_recall: f64,
    /// The oracle's.
    pub oracle_ham_called_spam: f64,
}

/// Means over all runs of the share of some mails that pass each threshold.
fn line<'a>(runs: impl Iterator<Item = &'a Run>, of: &[usize]) -> Vec<f64> {
    let steps = (THRESHOLD_MAX_NATS / STEP_NATS).round() as usize;
    let mut passed = vec![0usize; steps + 1];
    let mut all = 0;
    for run in runs {
        all += of.len();
        for at in of {
            let odds = run.outcomes[*at].odds_nats;
            let Some(last) = (odds >= 0.0).then(|| (odds / STEP_NATS).min(steps as f64) as usize)
            else {
                continue;
            };
            passed[last] += 1;
        }
    }
    // Who passes a threshold passes every lower one.
    for at in (0..steps).rev() {
        passed[at] += passed[at + 1];
    }
    passed.into_iter().map(|count| count as f64 / all.max(1) as f64).collect()
}

/// The place on a falling line where it has this value, as a number of steps.
fn place(line: &[f64], value: f64) -> f64 {
    let Some(at) = line.iter().position(|share| *share <= value) else {
        return line.len().saturating_sub(1) as f64;
    };
    let Some(before) = at.checked_sub(1).map(|before| line[before]) else { return 0.0 };
    let drop = before - line[at];
    at as f64 - if drop > 0.0 { (value - line[at]) / drop } else { 0.0 }
}

/// The value of a line at a place between its steps.
fn value(line: &[f64], place: f64) -> f64 {
    let low = (place.floor() as usize).min(line.len().saturating_sub(1));
    let high = (low + 1).min(line.len().saturating_sub(1));
    line[low] + (line[high] - line[low]) * (place - low as f64)
}

/// Ours and the oracle's recall at each share of wanted mail.
pub(super) fn at_shares(rows: &[Row], runs: &[Pair]) -> Vec<AtShare> {
    let of = |label: &str, level: Option<&str>| -> Vec<usize> {
        let matching = |row: &Row| row.label == label && level.is_none_or(|of| row.level == of);
        (0..rows.len()).filter(|at| matching(&rows[*at])).collect()
    };
    let lines = |of: &[usize]| {
        (
            line(runs.iter().map(|pair| &pair.ours), of),
            line(runs.iter().map(|pair| &pair.oracle), of),
        )
    };
    let (ham, oracle_ham) = lines(&of("ham", None));
    let (spam, oracle_spam) = lines(&of("spam", None));
    let mut levels: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.label == "spam" && !row.level.is_empty()) {
        levels.entry(&row.level).or_insert_with(|| lines(&of("spam", Some(&row.level))));
    }
    SHARES
        .map(|share| {
            let (ours, oracle) = (place(&ham, share), place(&oracle_ham, share));
            AtShare {
                ham_called_spam: share,
                recall: value(&spam, ours),
                oracle_recall: value(&oracle_spam, oracle),
                levels: levels
                    .iter()
                    .map(|(level, (line, oracle_line))| OfLevel {
                        level: (*level).to_owned(),
                        recall: value(line, ours),
                        oracle_recall: value(oracle_line, oracle),
                    })
                    .collect(),
            }
        })
        .into()
}

/// The plain rule for one report and more.
pub(super) fn counted(rows: &[Row], runs: &[Pair]) -> Vec<Counted> {
    let share = |label: &str, reports: u32, run: fn(&Pair) -> &Run| {
        let of: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].label == label).collect();
        let called =
            |run: &Run| of.iter().filter(|at| run.outcomes[**at].reports >= reports).count();
        let sum = runs.iter().map(|pair| called(run(pair))).sum::<usize>();
        sum as f64 / (of.len() * runs.len()).max(1) as f64
    };
    (1..=REPORTS_MAX)
        .map(|reports| Counted {
            reports,
            recall: share("spam", reports, |pair| &pair.ours),
            ham_called_spam: share("ham", reports, |pair| &pair.ours),
            oracle_recall: share("spam", reports, |pair| &pair.oracle),
            oracle_ham_called_spam: share("ham", reports, |pair| &pair.oracle),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_between_steps() {
        let line = [1.0, 0.5, 0.1, 0.1, 0.0];
        assert_eq!(place(&line, 0.5), 1.0);
        assert_eq!(place(&line, 0.3), 1.5);
        assert_eq!(place(&line, 0.05), 3.5);
        assert_eq!(place(&line, 2.0), 0.0);
        assert_eq!(place(&[0.5, 0.4], 0.1), 1.0);
        assert!((value(&line, 1.5) - 0.3).abs() < 1e-9);
        assert_eq!(value(&line, 4.0), 0.0);
        for share in [0.0, 0.07, 0.2, 0.77, 1.0] {
            assert!((value(&line, place(&line, share)) - share).abs() < 1e-9, "{share}");
        }
    }
}
