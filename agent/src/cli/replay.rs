//! `novacula replay`: arguments, trust file, progress bar and printing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use novacula_agent::replay::{
    Cell, Plan, Protocol, over_agents, read_index, replay, sensitivity, sensitivity_table,
};

use super::mail::{out, to_json};
use super::{EXIT_OK, Global};

/// Arguments of `novacula replay`; the defaults are the protocol's (DESIGN 3.4).
#[derive(clap::Args)]
pub(super) struct Args {
    /// Index in order of time, tab-separated: path, label, time, site; optionally campaign,
    /// level, corpus.
    #[arg(long, value_name = "TSV")]
    index: PathBuf,
    /// Folder that the index's paths start from [default: the index's own].
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Seeds of the draws: 7, 1-20, or 1,3,5.
    #[arg(long, default_value = "1-20", value_parser = parse_seeds)]
    seeds: Seeds,
    /// Weights of sites, tab-separated: site, weight 0 to 1, optionally its network.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Share of spam copies that people report.
    #[arg(long, default_value_t = 0.1, value_parser = parse_share)]
    report_rate: f64,
    /// Mean delay of a report, in minutes.
    #[arg(long, default_value_t = 30.0, value_parser = parse_minutes)]
    report_delay: f64,
    /// Share of ham that people report by mistake.
    #[arg(long, default_value_t = 0.0005, value_parser = parse_share)]
    false_report_rate: f64,
    /// Share of ham called spam that people revoke, after 60 min on average.
    #[arg(long, default_value_t = 0.3, value_parser = parse_share)]
    revoke_rate: f64,
    /// Share of sites that own traps.
    #[arg(long, default_value_t = 0.0, value_parser = parse_share)]
    trap_sites: f64,
    /// Run the first seed over real agents instead, one for each site, on loopback, and show the
    /// bytes that a mail costs. Everything happens now: nothing of it is comparable with what the
    /// simulated clock catches.
    #[arg(long, conflicts_with_all = ["mails", "trust"])]
    sites_as_agents: bool,
    /// Sites state what SpamAssassin gave (column sa_score), as the agent's own facts.
    #[arg(long)]
    filters: bool,
    /// Sites do not learn how often wanted mail is reported by mistake.
    #[arg(long)]
    no_learn_rates: bool,
    /// Sites do not learn what is common in their own accepted mail.
    #[arg(long)]
    no_learn_common: bool,
    /// Write the report as one page with plots to this file too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Instead: recall and ham called spam under many ways for people to behave, with the
    /// verdict's own rates as they are. Ours only.
    #[arg(long, conflicts_with_all = ["mails", "html"])]
    sensitivity: bool,
    /// Show every mail with its verdict and evidence under the first seed instead.
    #[arg(long, conflicts_with = "json")]
    mails: bool,
}

#[derive(Clone, Debug)]
struct Seeds(Vec<u64>);

/// Most seeds of one replay.
const SEEDS_MAX: u64 = 10_000;

fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let number =
        |part: &str| part.trim().parse::<u64>().map_err(|_| format!("{part:?} is no number"));
    let mut seeds = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            None => seeds.push(number(part)?),
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last || last - first >= SEEDS_MAX {
                    return Err(format!(
                        "{part:?}: the first must not be greater than the last, and at most {SEEDS_MAX} seeds"
                    ));
                }
                seeds.extend(first..=last);
            }
        }
    }
    Ok(Seeds(seeds))
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be a share from 0 to 1".into())
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes: &f64| minutes.is_finite() && *minutes >= 0.0);
    minutes.ok_or_else(|| "must be a number of minutes".into())
}

pub(super) fn run(global: &Global, args: &Args) -> anyhow::Result<u8> {
    let rows = read_index(&args.index)?;
    let beside = args.index.parent().unwrap_or(Path::new("")).to_owned();
    let plan = Plan {
        root: args.root.clone().unwrap_or(beside),
        seeds: args.seeds.0.clone(),
        protocol: Protocol {
            report_rate: args.report_rate,
            report_delay_secs: args.report_delay * 60.0,
            false_report_rate: args.false_report_rate,
            revoke_rate: args.revoke_rate,
            trap_sites: args.trap_sites,
            filters: args.filters,
            learn_rates: !args.no_learn_rates,
            learn_common: !args.no_learn_common,
            ..Protocol::default()
        },
        config: global.config()?,
        rates: global.config()?.rates(),
        trust: args.trust.as_deref().map(read_trust).transpose()?.unwrap_or_default(),
    };
    // Drawn only where standard error is a terminal.
    let bar = ProgressBar::new(1000);
    bar.set_style(
        ProgressStyle::with_template("{wide_bar} {percent} %, {eta} left").context("draw a bar")?,
    );
    let progress = |share: f64| bar.set_position((share * 1000.0) as u64);
    if args.sites_as_agents {
        let cost = over_agents(&rows, &plan, progress)?;
        bar.finish_and_clear();
        out(&if global.json { to_json(&cost)? } else { cost.to_table() });
        return Ok(EXIT_OK);
    }
    if args.sensitivity {
        let cells = sensitivity(&rows, &plan, progress)?;
        bar.finish_and_clear();
        out(&if global.json { to_json(&cells_json(&cells))? } else { sensitivity_table(&cells) });
        return Ok(EXIT_OK);
    }
    let report = replay(&rows, &plan, progress)?;
    bar.finish_and_clear();
    if let Some(path) = &args.html {
        std::fs::write(path, report.to_html())
            .with_context(|| format!("write {}", path.display()))?;
    }
    out(&match (global.json, args.mails) {
        (true, _) => to_json(&report.to_json())?,
        (false, true) => report.mails_table(),
        (false, false) => report.to_table(),
    });
    Ok(EXIT_OK)
}

fn cells_json(cells: &[Cell]) -> serde_json::Value {
    let cell = |cell: &Cell| {
        serde_json::json!({
            "protocol": cell.protocol,
            "recall": cell.recall,
            "ham_called_spam": cell.ham_called_spam,
        })
    };
    serde_json::json!({ "sensitivity": cells.iter().map(cell).collect::<Vec<_>>() })
}

fn read_trust(path: &Path) -> anyhow::Result<HashMap<String, (f64, Option<String>)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut trust = HashMap::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut cells = line.split('\t').map(str::trim);
        let (site, weight) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        let Ok(weight) = parse_share(weight) else {
            bail!(
                "read {}: line {}: the weight of {site:?} must be a share from 0 to 1, behind a tab",
                path.display(),
                at + 1
            );
        };
        let network = cells.next().filter(|network| !network.is_empty()).map(str::to_owned);
        trust.insert(site.to_owned(), (weight, network));
    }
    Ok(trust)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds() {
        assert_eq!(parse_seeds("1-3,9").unwrap().0, [1, 2, 3, 9]);
        for text in ["", "3-1", "a", "1-", "0-99999999999"] {
            assert!(parse_seeds(text).is_err(), "{text}");
        }
    }
}
