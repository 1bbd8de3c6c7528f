//! How much alteration the fingerprint stands: for every attack of the mutation library the share
//! of a corpus's spam that still matches its original, and of altered copies that match each other.
//!
//!     cargo run --release -p novacula-tests --bin robustness -- --index dev/index.tsv --root dev

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use novacula_agent::{Canonical, Fingerprint, Message};
use novacula_catalog::{
    Network, Probe, SALT_OVERLAP_SECS, SALT_SECS, Shared, Site, SiteId, Time, Witness,
};
use novacula_tests::mutations::{Attack, Draws, plain};
use novacula_tests::{Half, half, read_index, read_mail};

#[derive(Parser)]
struct Args {
    /// Index of labelled mails.
    #[arg(long)]
    index: PathBuf,
    /// Folder that the index's paths start from.
    #[arg(long)]
    root: PathBuf,
    /// Take one spam of so many.
    #[arg(long, default_value_t = 4)]
    step: usize,
    /// The tuning half instead of the held-out one.
    #[arg(long)]
    tuning: bool,
}

/// Fewest words of a spam that is taken: shorter ones have no head and tail.
const WORDS_MIN: usize = 40;

/// Words of a line.
const LINE_WORDS: usize = 10;

const NOW: Time = Time(2900 * SALT_SECS + SALT_OVERLAP_SECS);

fn known(mail: &[u8]) -> (Probe, Arc<Witness>) {
    let fingerprint = Fingerprint::of(&Canonical::of(&Message::parse(mail)));
    let probe = Probe::new(fingerprint.digests(), fingerprint.nilsimsa(), NOW);
    let mut site = Site::new(SiteId([1; 32]), Network::HOME, 0);
    let opinion = novacula_catalog::Opinion::Report;
    let witness = site.opine(&[], &probe, opinion, NOW, NOW);
    (probe, Arc::new(witness))
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let rows = read_index(&args.index)?;
    let wanted_half = if args.tuning { Half::Tuning } else { Half::HeldOut };
    let mut texts = Vec::new();
    let mut wanted = String::new();
    for row in rows.iter().filter(|row| half(row) == wanted_half) {
        let text = || -> anyhow::Result<String> {
            Ok(Canonical::of(&Message::parse(&read_mail(&args.root, row)?)).text)
        };
        if row.label == "ham" && wanted.len() < 1 << 20 {
            wanted += &text()?;
        } else if row.label == "spam" {
            let text = text()?;
            let words: Vec<&str> = text.split(' ').collect();
            if words.len() >= WORDS_MIN {
                texts.push(words.chunks(LINE_WORDS).map(|line| line.join(" ")).collect());
            }
        }
    }
    let texts: Vec<Vec<String>> = texts.into_iter().step_by(args.step).collect();
    println!("{} spam of at least {WORDS_MIN} words", texts.len());
    println!(
        "{:20} {:>10} {:>10} {:>12} {:>12}",
        "attack", "original", "each other", "- head, tail", "- Nilsimsa"
    );
    for attack in Attack::ALL {
        let mut hits = [0; 4];
        for (at, lines) in texts.iter().enumerate() {
            let mut draws = Draws::new(at as u64);
            let original = known(&plain(lines));
            let one = known(&attack.apply(lines, &wanted, &mut draws));
            let two = known(&attack.apply(lines, &wanted, &mut draws));
            let shared = Shared::of(&one.0, &original.1);
            let ends = Shared { head: 0, tail: 0, ..shared };
            let blind = Shared { nilsimsa_bits: None, ..shared };
            let each = Shared::of(&one.0, &two.1);
            for (hit, shared) in hits.iter_mut().zip([shared, each, ends, blind]) {
                *hit += usize::from(shared.rule().is_some());
            }
        }
        let [original, each, ends, blind] = hits.map(|hit| 100.0 * hit as f64 / texts.len() as f64);
        println!(
            "{:20} {original:>8.1} % {each:>8.1} % {ends:>10.1} % {blind:>10.1} %",
            format!("{attack:?}")
        );
    }
    Ok(())
}
