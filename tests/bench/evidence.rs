//! Evidence that needs no person, measured on what each check could know: how old an outbreak is,
//! how fast it spreads, at how many sites, and at what share of them somebody had an opinion. For
//! each the distribution over spam and wanted mail that other sites saw before, and what the best
//! single cut would be worth in nats.
//!
//!     cargo run --release -p novacula-tests --bin evidence -- --index dev/sim.tsv --root dev

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use clap::Parser;
use novacula_agent::{Canonical, Fingerprint, Message};
use novacula_catalog::{Catalog, Facts, Network, Probe, Site, SiteId, Time};
use novacula_tests::{Row, read_index, read_mail};

#[derive(Parser)]
struct Args {
    /// Index of labelled mails in order of time.
    #[arg(long)]
    index: PathBuf,
    /// Folder that the index's paths start from.
    #[arg(long)]
    root: PathBuf,
}

/// What a check knows without any opinion.
struct Seen {
    row: Row,
    sites: f64,
    age_hours: f64,
    sites_an_hour: f64,
}

const WINDOW_SECS: u64 = 24 * 3600;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut catalog = Catalog::new(SiteId([0; 32]), usize::MAX);
    let mut sites: HashMap<String, Site> = HashMap::new();
    let mut seen = Vec::new();
    for row in read_index(&args.index)? {
        let now = Time(row.time_secs);
        let fingerprint =
            Fingerprint::of(&Canonical::of(&Message::parse(&read_mail(&args.root, &row)?)));
        if !fingerprint.is_evidence() {
            continue;
        }
        catalog.expire(now);
        let probe = Probe::new(fingerprint.digests(), fingerprint.nilsimsa(), now);
        let matches = catalog.matches(&probe);
        let id = SiteId(*blake3::hash(row.site.as_bytes()).as_bytes());
        let mut others: BTreeMap<SiteId, u64> = BTreeMap::new();
        for found in &matches {
            let statement = &found.witness.statement;
            let age = now.secs_since(statement.epoch.start());
            if statement.site != id && age <= WINDOW_SECS {
                let oldest = others.entry(statement.site).or_default();
                *oldest = age.max(*oldest);
            }
        }
        let name = row.site.clone();
        let site =
            sites.entry(name.clone()).or_insert_with(|| Site::new(id, Network::named(&name), 0));
        if let Some(witness) = site.sight(&matches, &probe, Facts::default(), 1, now) {
            catalog.insert(witness);
        }
        if let Some(oldest) = others.values().max() {
            // A quarter of an hour is the grain of time.
            let age_hours = (*oldest as f64 / 3600.0).max(0.25);
            let count = others.len() as f64;
            seen.push(Seen { row, sites: count, age_hours, sites_an_hour: count / age_hours });
        }
    }
    report("other sites within a day", &seen, |of| of.sites);
    report("hours since the first of them", &seen, |of| of.age_hours);
    report("other sites an hour", &seen, |of| of.sites_an_hour);
    Ok(())
}

fn report(name: &str, seen: &[Seen], value: impl Fn(&Seen) -> f64) {
    let of = |label: &str| {
        let mut values: Vec<f64> =
            seen.iter().filter(|of| of.row.label == label).map(&value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (spam, ham) = (of("spam"), of("ham"));
    println!("\n{name}");
    for (label, values) in [("spam", &spam), ("wanted", &ham)] {
        if values.is_empty() {
            println!("  {label:8} none was seen at another site before");
            continue;
        }
        let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
        println!(
            "  {label:8} n {:>5}  10 % {:>7.2}  median {:>7.2}  90 % {:>7.2}",
            values.len(),
            at(0.1),
            at(0.5),
            at(0.9)
        );
    }
    if spam.is_empty() || ham.is_empty() {
        return;
    }
    let cuts: BTreeSet<u64> = spam.iter().chain(&ham).map(|value| value.to_bits()).collect();
    let share = |values: &[f64], cut: f64| {
        (values.iter().filter(|value| **value >= cut).count() as f64 + 0.5)
            / (values.len() as f64 + 1.0)
    };
    // The cut that separates best, by the greatest difference of shares (Youden).
    let best = cuts.into_iter().map(f64::from_bits).max_by(|a, b| {
        let gap = |cut: f64| (share(&spam, cut) - share(&ham, cut)).abs();
        gap(*a).total_cmp(&gap(*b))
    });
    if let Some(cut) = best {
        let (of_spam, of_ham) = (share(&spam, cut), share(&ham, cut));
        println!(
            "  from {cut:.2} on: spam {:.1} %, wanted {:.1} %: {:+.2} nats; below: {:+.2} nats",
            100.0 * of_spam,
            100.0 * of_ham,
            f64::ln(of_spam / of_ham),
            f64::ln((1.0 - of_spam) / (1.0 - of_ham))
        );
    }
}
