//! What can be learned of wanted mail from the keys that leave a site: docs/privacy.md.
//!
//!     cargo run --release -p novacula-tests --bin privacy -- --index dev/index.tsv --root dev

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Parser;
use novacula_agent::{Canonical, Message, StopList, stoppable};
use novacula_tests::mutations::Draws;
use novacula_tests::privacy::{Confirmation, Dictionary, Reading, listener};
use novacula_tests::{Half, half, percentile, read_index, read_mail};

#[derive(Parser)]
struct Args {
    /// Index of labelled mails.
    #[arg(long)]
    index: PathBuf,
    /// Folder that the index's paths start from.
    #[arg(long)]
    root: PathBuf,
}

/// Sizes of networks that are shown.
const PEERS: [usize; 5] = [6, 10, 100, 1_000, 10_000];

/// The tuning half's first part, in percent: its ham makes the stop list.
const STOPPED_PERCENT: u64 = 50;

/// Shares of a text that who asks does not know, in percent of its words.
const WRONG: [u32; 5] = [0, 5, 10, 20, 33];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // The shipped stop list is made of the tuning half's ham, so a dictionary of that half meets
    // it twice. Apart: a stop list of one part of the half, a dictionary of the other.
    let (mut whole, mut apart) = (Dictionary::default(), Dictionary::default());
    let mut stopped: BTreeSet<u64> = BTreeSet::new();
    let mut ham: Vec<(String, Canonical)> = Vec::new();
    for row in read_index(&args.index)? {
        let canonical = Canonical::of(&Message::parse(&read_mail(&args.root, &row)?));
        match half(&row) {
            Half::Tuning => {
                whole.learn(&canonical);
                if percentile(&row) >= STOPPED_PERCENT {
                    apart.learn(&canonical);
                } else if row.label == "ham" {
                    stopped.extend(stoppable(&canonical));
                }
            }
            Half::HeldOut if row.label == "ham" => ham.push((row.corpus, canonical)),
            Half::HeldOut => {}
        }
    }
    let (stopped, none) = (StopList::of(stopped), StopList::of([]));
    println!("reading; dictionaries of {} shingles, and {} apart:", whole.len(), apart.len());
    let corpora: BTreeSet<&str> = ham.iter().map(|(name, _)| name.as_str()).collect();
    for corpus in corpora.into_iter().chain(["all"]) {
        let chosen = |name: &str| corpus == "all" || corpus == name;
        let ham: Vec<_> = ham.iter().filter(|(name, _)| chosen(name)).collect();
        let reading = |stop: &StopList, dictionary: &Dictionary| {
            let mut reading = Reading::default();
            ham.iter().for_each(|(_, canonical)| reading.read(canonical, stop, dictionary));
            reading
        };
        let read_apart = reading(&stopped, &apart);
        show(corpus, &read_apart);
        show("  shipped list", &reading(StopList::shipped(), &whole));
        show("  no stop list", &reading(&none, &whole));
        if corpus == "all" {
            let at_one = |peers| 100.0 * read_apart.of_shingles() * listener(peers);
            let shown = PEERS.map(|peers| format!("{peers}: {:.4} %", at_one(peers)));
            println!("  of shingles, at one replica among so many peers: {}", shown.join(", "));
        }
    }
    println!("confirming a known text:");
    for wrong in WRONG {
        let (mut confirmation, mut draws) = (Confirmation::default(), Draws::new(1));
        ham.iter().for_each(|(_, canonical)| confirmation.ask(canonical, wrong, &mut draws));
        println!(
            "  who asks, {wrong} % of the words unknown: {:.1} % of {}",
            100.0 * confirmation.share(),
            confirmation.mails
        );
        if wrong == 0 {
            let shown = PEERS
                .map(|peers| format!("{peers}: {:.1} %", 100.0 * confirmation.overheard(peers)));
            println!("  one replica that asks nobody, among so many peers: {}", shown.join(", "));
        }
    }
    Ok(())
}

fn show(name: &str, reading: &Reading) {
    let percent = |part: usize| 100.0 * part as f64 / reading.mails.max(1) as f64;
    println!(
        "  {name:<14} {} mails, {} shingles, {} keys sent; read: {:.2} % of shingles, {:.1} % of keys; mails touched {:.1} %, half read {:.1} %",
        reading.mails,
        reading.shingles,
        reading.keys,
        100.0 * reading.of_shingles(),
        100.0 * reading.of_keys(),
        percent(reading.touched),
        percent(reading.half_read),
    );
}
