//! A replay's report as tables for a terminal.

use std::fmt::Write;

use novacula_catalog::Time;

use super::Cell;
use super::report::{Report, Stat};
use super::world::FOUND_WINDOWS_SECS;

/// The table of [`super::sensitivity`].
#[must_use]
pub fn sensitivity_table(cells: &[Cell]) -> String {
    let mut out = format!(
        "{:>12}{:>14}{:>12}{:>12}{:>18}\n",
        "report rate", "by mistake", "delay", "recall", "ham called spam"
    );
    for cell in cells {
        let _ = writeln!(
            out,
            "{:>10} %{:>12} %{:>8} min{:>10.2} %{:>16.3} %",
            100.0 * cell.protocol.report_rate,
            100.0 * cell.protocol.false_report_rate,
            cell.protocol.report_delay_secs / 60.0,
            100.0 * cell.recall,
            100.0 * cell.ham_called_spam
        );
    }
    out
}

impl Report {
    /// The report for people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{} seeds; people report {} % of spam after {:.0} min on average, {} % of ham by mistake\n",
            self.seeds.len(),
            100.0 * self.protocol.report_rate,
            self.protocol.report_delay_secs / 60.0,
            100.0 * self.protocol.false_report_rate
        );
        let _ = writeln!(
            out,
            "{:14}{:8}{:>6}{:>8}{:>9}{:>9}{:>10}{:>9}{:>9}{:>12}{:>10}",
            "corpus",
            "label",
            "level",
            "mails",
            "spam",
            "bulk",
            "contested",
            "unknown",
            "no evid.",
            "oracle spam",
            "found 24h"
        );
        for group in &self.groups {
            let [spam, bulk, contested, unknown, _, no_evidence] =
                group.verdicts.map(|stat| stat.mean);
            let _ = writeln!(
                out,
                "{:14}{:8}{:>6}{:>8}{spam:>9.1}{bulk:>9.1}{contested:>10.1}{unknown:>9.1}{no_evidence:>9.1}{:>12.1}{:>9.1} %",
                group.corpus,
                group.label,
                group.level,
                group.n,
                group.oracle_spam.mean,
                100.0 * group.found_24h.mean,
            );
        }
        out.push_str(&self.shares_table());
        out.push_str(&self.curve_table());
        out.push_str(&self.equal_table());
        let _ = writeln!(
            out,
            "\n{:.0} mails/s, {:.0} bytes of statements a mail",
            self.messages_per_second, self.bytes_per_message.mean
        );
        out
    }

    fn shares_table(&self) -> String {
        let mut out = String::new();
        let line = |name: &str, stat: Stat, oracle: Stat| {
            format!(
                "{name:34}{:>8.2} %  ({:.2} to {:.2})   oracle {:>6.2} %\n",
                100.0 * stat.mean,
                100.0 * stat.min,
                100.0 * stat.max,
                100.0 * oracle.mean
            )
        };
        out.push('\n');
        out += &line("spam called spam (recall)", self.recall, self.oracle_recall);
        out += &line("ham called spam", self.ham_called_spam, self.oracle_ham_called_spam);
        for (at, secs) in FOUND_WINDOWS_SECS.iter().enumerate() {
            let name = format!("spam with 2 earlier sites, {} h", secs / 3600);
            out += &line(&name, self.spread_found[at], self.oracle_spread[at]);
        }
        let _ = writeln!(
            out,
            "{:34}{:>8.3}    ({:.3} to {:.3})",
            "efficiency (recall by oracle's)",
            self.efficiency.mean,
            self.efficiency.min,
            self.efficiency.max
        );
        out
    }

    fn curve_table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "\n{:>10}{:>10}{:>18}{:>16}{:>18}",
            "threshold", "recall", "ham called spam", "oracle recall", "oracle ham"
        );
        for point in
            self.curve.iter().filter(|point| point.threshold >= 2.0 && point.threshold <= 7.0)
        {
            let mark = if point.threshold == self.rates.threshold_nats { " <" } else { "" };
            let _ = writeln!(
                out,
                "{:>10.2}{:>8.2} %{:>16.3} %{:>14.2} %{:>16.3} %{mark}",
                point.threshold,
                100.0 * point.recall.mean,
                100.0 * point.ham_called_spam.mean,
                100.0 * point.oracle_recall.mean,
                100.0 * point.oracle_ham_called_spam.mean,
            );
        }
        out
    }

    /// At one share of ham called spam, and by simple counts.
    fn equal_table(&self) -> String {
        let mut out = String::from("\nat an equal share of ham called spam:\n");
        for at in &self.equal_share {
            let _ = write!(
                out,
                "{:>10.3} %{:>8.2} %   oracle {:>6.2} %   ratio {:.3}",
                100.0 * at.ham_called_spam,
                100.0 * at.recall,
                100.0 * at.oracle_recall,
                at.recall / at.oracle_recall
            );
            for of in &at.levels {
                let _ = write!(out, "  {}: {:.3}", of.level, of.recall / of.oracle_recall);
            }
            out.push('\n');
        }
        out.push_str("\nby simple counts of reports:\n");
        for of in &self.simple_counts {
            let _ = writeln!(
                out,
                "{:>10}  {:>8.2} %{:>16.3} %{:>14.2} %{:>16.3} %",
                of.reports,
                100.0 * of.recall,
                100.0 * of.ham_called_spam,
                100.0 * of.oracle_recall,
                100.0 * of.oracle_ham_called_spam
            );
        }
        out
    }

    /// Every mail with its verdict and evidence, for people.
    #[must_use]
    pub fn mails_table(&self) -> String {
        let mut out = format!(
            "{:9} {:12} {:10} {:12} {:>4}  {}\n",
            "time", "site", "really", "verdict", "conf", "evidence"
        );
        for (row, answer) in &self.mails {
            let time = Time(row.time_secs).rfc3339();
            let kind = if row.campaign.is_empty() { &row.label } else { &row.campaign };
            let evidence = answer.evidence.join("; ");
            let _ = writeln!(
                out,
                "{:9} {:12} {:10} {:12} {:>4}  {evidence}",
                time.get(11..19).unwrap_or_default(),
                row.site,
                kind,
                answer.verdict.name(),
                answer.confidence,
            );
        }
        out
    }
}
