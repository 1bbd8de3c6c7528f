//! What a replay found, as JSON (DESIGN 3.4); table.rs and html.rs show it to people. Counts are means over
//! seeds, shares likewise, each with its least and greatest beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use novacula_catalog::Rates;
use novacula_client::{Check, Verdict};
use serde_json::{Map, Value, json};

use super::curve::{AtShare, Counted, at_shares, counted};
use super::index::Row;
use super::world::{FOUND_WINDOWS_SECS, Outcome, Protocol, Run};
use super::{Pair, Plan};

/// A number over the seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stat {
    /// Mean.
    pub mean: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
}

impl Stat {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut count, mut sum, mut min, mut max) = (0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            (count, sum, min, max) = (count + 1.0, sum + value, min.min(value), max.max(value));
        }
        if count == 0.0 { Self::default() } else { Self { mean: sum / count, min, max } }
    }

    fn put(self, name: &str, into: &mut Map<String, Value>) {
        into.insert(name.into(), json!(self.mean));
        into.insert(format!("{name}_min"), json!(self.min));
        into.insert(format!("{name}_max"), json!(self.max));
    }
}

/// Mails of one corpus, label and level.
#[derive(Clone, Debug)]
pub struct Group {
    /// Where they come from.
    pub corpus: String,
    /// `spam`, `ham` or other.
    pub label: String,
    /// How much they were altered.
    pub level: String,
    /// How many there are.
    pub n: usize,
    /// Our verdicts, in the order of [`Verdict::ALL`].
    pub verdicts: [Stat; Verdict::ALL.len()],
    /// The oracle's `spam`.
    pub oracle_spam: Stat,
    /// The oracle's `bulk`.
    pub oracle_bulk: Stat,
    /// Share whose spread was found within 24 h.
    pub found_24h: Stat,
    /// The oracle's.
    pub oracle_found_24h: Stat,
}

/// Shares called spam if the threshold were another.
#[derive(Clone, Copy, Debug)]
pub struct CurvePoint {
    /// The threshold, in nats.
    pub threshold: f64,
    /// Of spam.
    pub recall: Stat,
    /// Of ham.
    pub ham_called_spam: Stat,
    /// Of spam, by the oracle.
    pub oracle_recall: Stat,
    /// Of ham, by the oracle.
    pub oracle_ham_called_spam: Stat,
}

/// The whole report.
#[derive(Clone, Debug)]
pub struct Report {
    pub(super) seeds: Vec<u64>,
    pub(super) protocol: Protocol,
    pub(super) rates: Rates,
    /// One for each corpus, label and level.
    pub groups: Vec<Group>,
    /// Share of spam called spam.
    pub recall: Stat,
    /// The oracle's.
    pub oracle_recall: Stat,
    /// Ours by the oracle's.
    pub efficiency: Stat,
    /// By threshold.
    pub curve: Vec<CurvePoint>,
    /// Recall beside the oracle's at one share of ham called spam.
    pub equal_share: Vec<AtShare>,
    /// What simple counts of reports would give.
    pub simple_counts: Vec<Counted>,
    /// Share of spam called spam by hours since the first copy of its campaign, ours and the
    /// oracle's; mails of that age.
    pub since_outbreak: Vec<(f64, f64, f64, usize)>,
    /// Share of spam with two earlier other sites found, by window.
    pub spread_found: [Stat; FOUND_WINDOWS_SECS.len()],
    /// The oracle's.
    pub oracle_spread: [Stat; FOUND_WINDOWS_SECS.len()],
    /// Share of ham called spam.
    pub ham_called_spam: Stat,
    /// The oracle's.
    pub oracle_ham_called_spam: Stat,
    /// Mails fingerprinted, checked and sighted in a second, one processor.
    pub messages_per_second: f64,
    /// Bytes of signed statements for one mail.
    pub bytes_per_message: Stat,
    /// Every mail with what its check answered under the first seed.
    pub mails: Vec<(Row, Check)>,
}

/// Thresholds of the curve: 0 to 9 nats.
fn thresholds() -> impl Iterator<Item = f64> {
    (0..=36u8).map(|step| f64::from(step) / 4.0)
}

pub(super) fn summarise(
    rows: &[Row],
    plan: &Plan,
    runs: &[Pair],
    fingerprinting: Duration,
) -> Report {
    let spam: Vec<usize> = of_label(rows, "spam");
    let ham: Vec<usize> = of_label(rows, "ham");
    let share = |run: &Run, of: &[usize], is: &dyn Fn(&Outcome) -> bool| {
        of.iter().filter(|at| is(&run.outcomes[**at])).count() as f64 / of.len().max(1) as f64
    };
    let ours = |of: &[usize], is: &dyn Fn(&Outcome) -> bool| {
        Stat::of(runs.iter().map(|pair| share(&pair.ours, of, is)))
    };
    let oracle = |of: &[usize], is: &dyn Fn(&Outcome) -> bool| {
        Stat::of(runs.iter().map(|pair| share(&pair.oracle, of, is)))
    };
    let called = |outcome: &Outcome| outcome.verdict == Verdict::Spam;
    let efficiency = runs.iter().map(|pair| {
        let best = share(&pair.oracle, &spam, &called);
        if best > 0.0 { share(&pair.ours, &spam, &called) / best } else { 1.0 }
    });
    let point = |threshold: f64| {
        let passes = move |outcome: &Outcome| outcome.odds_nats >= threshold;
        CurvePoint {
            threshold,
            recall: ours(&spam, &passes),
            ham_called_spam: ours(&ham, &passes),
            oracle_recall: oracle(&spam, &passes),
            oracle_ham_called_spam: oracle(&ham, &passes),
        }
    };
    let found = |at: usize| move |outcome: &Outcome| outcome.found[at];
    let one_run = Stat::of(runs.iter().map(|pair| pair.elapsed.as_secs_f64())).mean;
    let windows: [usize; FOUND_WINDOWS_SECS.len()] = std::array::from_fn(|at| at);
    Report {
        seeds: plan.seeds.clone(),
        protocol: plan.protocol.clone(),
        rates: plan.rates.clone(),
        groups: groups(rows, runs),
        recall: ours(&spam, &called),
        oracle_recall: oracle(&spam, &called),
        efficiency: Stat::of(efficiency),
        curve: thresholds().map(point).collect(),
        equal_share: at_shares(rows, runs),
        simple_counts: counted(rows, runs),
        since_outbreak: since_outbreak(rows, runs),
        spread_found: windows.map(|at| ours(&spam, &found(at))),
        oracle_spread: windows.map(|at| oracle(&spam, &found(at))),
        ham_called_spam: ours(&ham, &called),
        oracle_ham_called_spam: oracle(&ham, &called),
        messages_per_second: rows.len() as f64 / (fingerprinting.as_secs_f64() + one_run),
        bytes_per_message: Stat::of(
            runs.iter().map(|pair| pair.ours.bytes as f64 / rows.len() as f64),
        ),
        mails: runs.first().map_or_else(Vec::new, |pair| {
            rows.iter().cloned().zip(pair.ours.answers.iter().cloned()).collect()
        }),
    }
}

/// Ends of the spans of time since an outbreak began, in hours.
const SINCE_HOURS: [f64; 10] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 48.0, 72.0];

fn since_outbreak(rows: &[Row], runs: &[Pair]) -> Vec<(f64, f64, f64, usize)> {
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    let mut spans: Vec<Vec<usize>> = vec![Vec::new(); SINCE_HOURS.len()];
    for (at, row) in rows.iter().enumerate() {
        if row.label != "spam" || row.campaign.is_empty() {
            continue;
        }
        let began = *first.entry(&row.campaign).or_insert(row.time_secs);
        let hours = (row.time_secs - began) as f64 / 3600.0;
        if let Some(span) = SINCE_HOURS.iter().position(|end| hours <= *end) {
            spans[span].push(at);
        }
    }
    let share = |of: &[usize], run: &dyn Fn(&Pair) -> &Run| {
        let spam = |pair: &Pair| {
            of.iter().filter(|at| run(pair).outcomes[**at].verdict == Verdict::Spam).count()
        };
        let all = (of.len() * runs.len()).max(1);
        runs.iter().map(spam).sum::<usize>() as f64 / all as f64
    };
    SINCE_HOURS
        .iter()
        .zip(&spans)
        .map(|(end, of)| {
            (*end, share(of, &|pair| &pair.ours), share(of, &|pair| &pair.oracle), of.len())
        })
        .collect()
}

/// Share of the mails of a label that a run calls spam.
pub(super) fn called_spam(rows: &[Row], run: &Run, label: &str) -> f64 {
    let of = of_label(rows, label);
    let spam = of.iter().filter(|at| run.outcomes[**at].verdict == Verdict::Spam).count();
    spam as f64 / of.len().max(1) as f64
}

fn of_label(rows: &[Row], label: &str) -> Vec<usize> {
    (0..rows.len()).filter(|at| rows[*at].label == label).collect()
}

fn groups(rows: &[Row], runs: &[Pair]) -> Vec<Group> {
    let mut members: BTreeMap<(&str, &str, &str), Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        members.entry((&row.corpus, &row.label, &row.level)).or_default().push(at);
    }
    let count = |oracle: bool, of: &[usize], is: &dyn Fn(&Outcome) -> bool| {
        Stat::of(runs.iter().map(|pair| {
            let run = if oracle { &pair.oracle } else { &pair.ours };
            of.iter().filter(|at| is(&run.outcomes[**at])).count() as f64
        }))
    };
    members
        .into_iter()
        .map(|((corpus, label, level), of)| {
            let is = |verdict: Verdict| move |outcome: &Outcome| outcome.verdict == verdict;
            let found = |outcome: &Outcome| outcome.found[2];
            let share = |stat: Stat| {
                let n = of.len() as f64;
                Stat { mean: stat.mean / n, min: stat.min / n, max: stat.max / n }
            };
            Group {
                corpus: corpus.into(),
                label: label.into(),
                level: level.into(),
                n: of.len(),
                verdicts: Verdict::ALL.map(|verdict| count(false, &of, &is(verdict))),
                oracle_spam: count(true, &of, &is(Verdict::Spam)),
                oracle_bulk: count(true, &of, &is(Verdict::Bulk)),
                found_24h: share(count(false, &of, &found)),
                oracle_found_24h: share(count(true, &of, &found)),
            }
        })
        .collect()
}

impl Group {
    fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("corpus".into(), json!(self.corpus));
        map.insert("label".into(), json!(self.label));
        map.insert("level".into(), json!(self.level));
        map.insert("n".into(), json!(self.n));
        for (verdict, stat) in Verdict::ALL.iter().zip(self.verdicts) {
            stat.put(&verdict.name().replace('-', "_"), &mut map);
        }
        self.oracle_spam.put("oracle_spam", &mut map);
        self.oracle_bulk.put("oracle_bulk", &mut map);
        self.found_24h.put("spread_found_24h", &mut map);
        self.oracle_found_24h.put("oracle_spread_24h", &mut map);
        Value::Object(map)
    }
}

impl Report {
    /// The report as DESIGN 3.4 lays it down.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("seeds".into(), json!(self.seeds));
        map.insert("protocol".into(), json!(self.protocol));
        map.insert("rates".into(), json!(self.rates));
        let groups: Vec<Value> = self.groups.iter().map(Group::to_json).collect();
        map.insert("groups".into(), Value::Array(groups));
        self.recall.put("recall", &mut map);
        self.oracle_recall.put("oracle_recall", &mut map);
        self.efficiency.put("efficiency", &mut map);
        let curve = self.curve.iter().map(|point| {
            let mut map = Map::new();
            map.insert("threshold".into(), json!(point.threshold));
            point.recall.put("recall", &mut map);
            point.ham_called_spam.put("ham_called_spam", &mut map);
            point.oracle_recall.put("oracle_recall", &mut map);
            point.oracle_ham_called_spam.put("oracle_ham_called_spam", &mut map);
            Value::Object(map)
        });
        map.insert("curve".into(), curve.collect());
        let ratio = |ours: f64, best: f64| if best > 0.0 { ours / best } else { 1.0 };
        let equal_share = self.equal_share.iter().map(|at| {
            let levels = at.levels.iter().map(|of| {
                json!({"level": of.level, "recall": of.recall, "oracle_recall": of.oracle_recall,
                    "efficiency": ratio(of.recall, of.oracle_recall)})
            });
            json!({"ham_called_spam": at.ham_called_spam, "recall": at.recall,
                "oracle_recall": at.oracle_recall,
                "efficiency": ratio(at.recall, at.oracle_recall),
                "levels": levels.collect::<Vec<_>>()})
        });
        map.insert("equal_share".into(), equal_share.collect());
        let simple_counts = self.simple_counts.iter().map(|of| {
            json!({"reports": of.reports, "recall": of.recall, "ham_called_spam": of.ham_called_spam,
                "oracle_recall": of.oracle_recall,
                "oracle_ham_called_spam": of.oracle_ham_called_spam})
        });
        map.insert("simple_counts".into(), simple_counts.collect());
        let since = self.since_outbreak.iter().map(|(hours, recall, oracle_recall, n)| {
            json!({"hours": hours, "n": n, "recall": recall, "oracle_recall": oracle_recall})
        });
        map.insert("since_outbreak".into(), since.collect());
        for (name, stats) in
            [("spread_found", self.spread_found), ("oracle_spread", self.oracle_spread)]
        {
            let mut windows = Map::new();
            for (secs, stat) in FOUND_WINDOWS_SECS.iter().zip(stats) {
                stat.put(&format!("{}h", secs / 3600), &mut windows);
            }
            map.insert(name.into(), Value::Object(windows));
        }
        self.ham_called_spam.put("ham_called_spam", &mut map);
        self.oracle_ham_called_spam.put("oracle_ham_called_spam", &mut map);
        map.insert("messages_per_second".into(), json!(self.messages_per_second));
        self.bytes_per_message.put("bytes_per_message", &mut map);
        Value::Object(map)
    }
}
