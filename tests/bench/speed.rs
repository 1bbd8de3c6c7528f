//! How long a fingerprint takes, by stage, over the mails of an index.
//!
//!     cargo run --release -p novacula-tests --bin speed -- --index dev/index.tsv --root dev

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use novacula_agent::{Canonical, Fingerprint, Message, nilsimsa};
use novacula_tests::{read_index, read_mail};

#[derive(Parser)]
struct Args {
    /// Index of mails.
    #[arg(long)]
    index: PathBuf,
    /// Folder that the index's paths start from.
    #[arg(long)]
    root: PathBuf,
    /// Rounds; the fastest counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Times of one round over all mails: parse, canonical text, fingerprint, Nilsimsa within it, BLAKE3
/// over the mail; and BLAKE3 of all fingerprints, which no change of speed may change.
fn round(mails: &[Vec<u8>]) -> ([Duration; 5], blake3::Hash) {
    let timed = |run: &mut dyn FnMut()| {
        let started = Instant::now();
        run();
        started.elapsed()
    };
    let mut messages = Vec::with_capacity(mails.len());
    let parse = timed(&mut || messages.extend(mails.iter().map(|mail| Message::parse(mail))));
    let mut texts = Vec::with_capacity(mails.len());
    let canonical = timed(&mut || texts.extend(messages.iter().map(Canonical::of)));
    let mut prints = Vec::with_capacity(mails.len());
    let fingerprint = timed(&mut || prints.extend(texts.iter().map(Fingerprint::of)));
    let mut bits = 0;
    let nilsimsa = timed(&mut || {
        bits =
            texts.iter().map(|text| nilsimsa(text.text.as_bytes()).0[0].count_ones()).sum::<u32>();
    });
    let mut sums = 0u64;
    let blake3 = timed(&mut || {
        sums = mails.iter().map(|mail| u64::from(blake3::hash(mail).as_bytes()[0])).sum();
    });
    let mut all = blake3::Hasher::new();
    for print in &prints {
        for digest in print.digests() {
            all.update(digest.engine.name().as_bytes()).update(&digest.value.to_le_bytes());
        }
        print.nilsimsa().iter().for_each(|digest| {
            all.update(&digest.to_bytes());
        });
    }
    assert!(bits > 0 && sums > 0);
    ([parse, canonical, fingerprint, nilsimsa, blake3], all.finalize())
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let rows = read_index(&args.index)?;
    let mails: Vec<Vec<u8>> =
        rows.iter().map(|row| read_mail(&args.root, row)).collect::<Result<_, _>>()?;
    let bytes: usize = mails.iter().map(Vec::len).sum();
    let mut best = [Duration::MAX; 5];
    let mut prints = None;
    for _ in 0..args.rounds {
        let (times, all) = round(&mails);
        prints = Some(all);
        for (best, took) in best.iter_mut().zip(times) {
            *best = took.min(*best);
        }
    }
    println!("{} mails of {} bytes on average, one processor", mails.len(), bytes / mails.len());
    let micros = |took: Duration| took.as_secs_f64() * 1e6 / mails.len() as f64;
    let stages = ["parse", "canonical text", "fingerprint", "  of which Nilsimsa", "BLAKE3"];
    for (stage, took) in stages.iter().zip(best) {
        println!("{stage:20} {:>8.1} us a mail", micros(took));
    }
    let all = best[0] + best[1] + best[2];
    let floor = best[0] + best[3] + best[4];
    println!("{:20} {:>8.1} us a mail", "all", micros(all));
    println!("{:20} {:>8.1} us a mail", "floor", micros(floor));
    println!("all by the floor (parse, BLAKE3, Nilsimsa): {:.2}", micros(all) / micros(floor));
    println!("fingerprints: {}", prints.map(|all| all.to_hex().to_string()).unwrap_or_default());
    Ok(())
}
