//! Builds the stop list: hashes of what stands in the ham of at least `--campaigns` different
//! campaigns of the tuning half.
//!
//!     cargo run --release -p novacula-tests --bin stoplist -- --index dev/index.tsv --root dev \
//!         --out agent/data/stoplist.bin

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use clap::Parser;
use novacula_agent::{Canonical, Message, StopList, stoppable};
use novacula_tests::{Half, campaign, half, percentile, read_index, read_mail};

#[derive(Parser)]
struct Args {
    /// Index of labelled mails.
    #[arg(long)]
    index: PathBuf,
    /// Folder that the index's paths start from.
    #[arg(long)]
    root: PathBuf,
    /// File to write.
    #[arg(long)]
    out: PathBuf,
    /// Different campaigns of ham that a hash must stand in.
    #[arg(long, default_value_t = 1)]
    campaigns: usize,
    /// Share of the tuning half's ham that is used, in percent.
    #[arg(long, default_value_t = 100)]
    percent: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut campaigns: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut mails = 0;
    for row in read_index(&args.index)? {
        if row.label != "ham" || half(&row) != Half::Tuning {
            continue;
        }
        if percentile(&row) >= args.percent {
            continue;
        }
        mails += 1;
        let canonical = Canonical::of(&Message::parse(&read_mail(&args.root, &row)?));
        campaigns.entry(campaign(&row).to_owned()).or_default().extend(stoppable(&canonical));
    }
    let mut seen: HashMap<u64, usize> = HashMap::new();
    campaigns.values().flatten().for_each(|hash| *seen.entry(*hash).or_default() += 1);
    let common = seen.iter().filter(|(_, count)| **count >= args.campaigns).map(|(hash, _)| *hash);
    let list = StopList::of(common);
    let bytes = list.encode();
    println!(
        "{mails} ham of {} campaigns: {} distinct hashes, {} stopped, {} bytes",
        campaigns.len(),
        seen.len(),
        list.len(),
        bytes.len()
    );
    std::fs::write(&args.out, bytes)?;
    Ok(())
}
