//! Of simulated outbreaks: how many copies find two earlier other sites within a day, beside
//! what a perfect matcher finds, by level and half. No draws: only what was seen counts.
//!
//!     cargo run --release -p novacula-tests --bin outbreaks -- --index dev/sim.tsv --root dev

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use novacula_agent::{Canonical, Fingerprint, Message, StopList};
use novacula_catalog::{
    Copies, Facts, Key, Kind, MailId, Network, Probe, Shared, SiteId, Statement, Time, Witness,
    compare,
};
use novacula_tests::{Half, Row, half, read_index, read_mail, read_stop_list};

#[derive(Parser)]
struct Args {
    /// Index of mails with campaign and level.
    #[arg(long)]
    index: PathBuf,
    /// Another stop list than the shipped one.
    #[arg(long, value_name = "FILE")]
    stop: Option<PathBuf>,
    /// Folder that the index's paths start from.
    #[arg(long)]
    root: PathBuf,
    /// Write the index's rows of the tuning half to this file instead, for `novacula replay`.
    #[arg(long, value_name = "FILE")]
    tuning_to: Option<PathBuf>,
    /// Print the campaigns of the tuning half that lose most, with what their copies share.
    #[arg(long)]
    show: bool,
}

struct Mail {
    row: Row,
    probe: Probe,
    witness: Arc<Witness>,
    evidence: bool,
    words: usize,
}

/// Inside one salt epoch and outside the overlap, so that every digest has one key.
const NOW: Time = Time(2900 * novacula_catalog::SALT_SECS + novacula_catalog::SALT_OVERLAP_SECS);

const WINDOW_SECS: u64 = 24 * 3600;

/// Copies, those of which a perfect matcher finds two earlier sites, and those of which ours does.
type Counts = [usize; 3];

/// A campaign's copies that ought to be found, those that are not, and why not.
type Lost = (usize, usize, Vec<String>);

#[derive(Default)]
struct Found {
    by_level: BTreeMap<(String, bool), Counts>,
    lost: BTreeMap<String, Lost>,
    crossed: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(path) = &args.tuning_to {
        return write_tuning(&args.index, path);
    }
    let stop = args.stop.as_deref().map(read_stop_list).transpose()?;
    let stop = stop.as_ref().unwrap_or(StopList::shipped());
    let mut mails = Vec::new();
    for (number, row) in read_index(&args.index)?.into_iter().enumerate() {
        let canonical = Canonical::of(&Message::parse(&read_mail(&args.root, &row)?));
        let fingerprint = Fingerprint::with(&canonical, stop);
        mails.push(mail(row, number as u64, &canonical, &fingerprint));
    }
    let found = find(&mails);
    print(&found);
    if args.show {
        let mut lost: Vec<_> = found.lost.into_iter().filter(|(_, of)| of.1 > 0).collect();
        lost.sort_by_key(|(_, of)| std::cmp::Reverse(of.1));
        for (campaign, (copies, missed, why)) in lost {
            println!("\n{campaign}: {missed} of {copies}");
            why.iter().take(4).for_each(|why| println!("{why}"));
        }
    }
    Ok(())
}

/// The header and the rows of the tuning half, as they are.
fn write_tuning(index: &Path, to: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(index)?;
    let rows = read_index(index)?;
    let mut out = String::new();
    for (at, line) in text.lines().filter(|line| !line.is_empty()).enumerate() {
        if at == 0 || rows.get(at - 1).is_some_and(|row| half(row) == Half::Tuning) {
            out.extend([line, "\n"]);
        }
    }
    Ok(std::fs::write(to, out)?)
}

fn mail(row: Row, number: u64, canonical: &Canonical, fingerprint: &Fingerprint) -> Mail {
    let probe = Probe::new(fingerprint.digests(), fingerprint.nilsimsa(), NOW);
    let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
    let keys = probe.emitted().to_vec();
    let (site, of) = (SiteId([0; 32]), MailId(number));
    let statement = Statement::new(site, of, number, NOW.epoch(), keys, kind);
    let nilsimsa = fingerprint.nilsimsa();
    let witness = Witness { statement, network: Network::HOME, nilsimsa, kept_from: NOW.epoch() };
    let words = canonical.words().count();
    let evidence = fingerprint.is_evidence();
    Mail { row, probe, witness: Arc::new(witness), evidence, words }
}

fn find(mails: &[Mail]) -> Found {
    let mut index: HashMap<Key, Vec<usize>> = HashMap::new();
    let mut found = Found::default();
    for (at, mail) in mails.iter().enumerate() {
        let near: BTreeSet<usize> =
            mail.probe.keys().filter_map(|key| index.get(&key)).flatten().copied().collect();
        let matches = |other: &usize| compare(&mail.probe, &mails[*other].witness).is_some();
        let ours: Vec<usize> = near.into_iter().filter(matches).collect();
        let crosses = |other: &usize| mails[*other].row.label != mail.row.label;
        found.crossed += usize::from(ours.iter().any(crosses));
        let same = (0..at).rev().filter(|other| mails[*other].row.campaign == mail.row.campaign);
        let oracle = sites(mails, mail, same);
        let ours = if mail.evidence { sites(mails, mail, ours.into_iter()) } else { 0 };
        if mail.row.label == "spam" {
            let tuning = half(&mail.row) == Half::Tuning;
            let counts = found.by_level.entry((mail.row.level.clone(), tuning)).or_default();
            counts[0] += 1;
            counts[1] += usize::from(oracle >= 2);
            counts[2] += usize::from(ours >= 2);
            if tuning && oracle >= 2 {
                let campaign = found.lost.entry(mail.row.campaign.clone()).or_default();
                campaign.0 += 1;
                if ours < 2 {
                    campaign.1 += 1;
                    campaign.2.push(explain(mails, at));
                }
            }
        }
        if mail.evidence {
            let keys = mail.witness.statement.keys();
            keys.iter().for_each(|key| index.entry(*key).or_default().push(at));
        }
    }
    found
}

/// Other sites among these mails that had it within the window.
fn sites(mails: &[Mail], mail: &Mail, of: impl Iterator<Item = usize>) -> usize {
    let earlier = |other: &&Mail| {
        other.row.site != mail.row.site && other.row.time_secs + WINDOW_SECS >= mail.row.time_secs
    };
    let others = of.map(|other| &mails[other]).filter(earlier);
    others.map(|other| other.row.site.as_str()).collect::<BTreeSet<_>>().len()
}

fn print(found: &Found) {
    println!("level  half      copies  oracle  found   ratio");
    let line = |name: &str, half: &str, counts: Counts| {
        let ratio = counts[2] as f64 / counts[1].max(1) as f64;
        let [copies, oracle, ours] = counts;
        println!("{name:6} {half:9} {copies:>6} {oracle:>7} {ours:>6}   {ratio:.3}");
    };
    let mut sums: BTreeMap<(&str, &str), Counts> = BTreeMap::new();
    for ((level, tuning), counts) in &found.by_level {
        let half = if *tuning { "tuning" } else { "held out" };
        line(level, half, *counts);
        for key in [(level.as_str(), "both"), ("all", half), ("all", "both")] {
            let sum = sums.entry(key).or_default();
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    sums.iter().for_each(|((level, half), counts)| line(level, half, *counts));
    println!("copies that match one of another label: {}", found.crossed);
}

/// What a mail shares with the earlier copies of its campaign.
fn explain(mails: &[Mail], at: usize) -> String {
    let mail = &mails[at];
    let of_campaign =
        (0..at).rev().filter(|other| mails[*other].row.campaign == mail.row.campaign).take(4);
    let mut out = format!(
        "  {} level {} words {} keys {} evidence {}",
        mail.row.path,
        mail.row.level,
        mail.words,
        mail.probe.emitted().len(),
        mail.evidence
    );
    for other in of_campaign {
        let shared = Shared::of(&mail.probe, &mails[other].witness);
        out += &format!("\n     {} {shared:?}", mails[other].row.path);
    }
    out
}
