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

/// Times of one round over all mails: parse, canonical text, fingerprint, Nilsimsa within it.
fn round(mails: &[Vec<u8>]) -> [Duration; 4] {
    let timed = |run: &mut dyn FnMut()| {
        let started = Instant::now();
        run();
        started.elapsed()
    };
    let mut messages = Vec::with_capacity(mails.len());
    let parse = timed(&mut || messages.extend(mails.iter().map(|mail| Message::parse(mail))));
    let mut texts = Vec::with_capacity(mails.len());
    let canonical = timed(&mut || texts.extend(messages.iter().map(Canonical::of)));
    let mut digests = 0;
    let fingerprint = timed(&mut || {
        digests = texts.iter().map(|text| Fingerprint::of(text).digests().len()).sum::<usize>();
    });
    let mut bits = 0;
    let nilsimsa = timed(&mut || {
        bits =
            texts.iter().map(|text| nilsimsa(text.text.as_bytes()).0[0].count_ones()).sum::<u32>();
    });
    assert!(digests > 0 && bits > 0);
    [parse, canonical, fingerprint, nilsimsa]
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let rows = read_index(&args.index)?;
    let mails: Vec<Vec<u8>> =
        rows.iter().map(|row| read_mail(&args.root, row)).collect::<Result<_, _>>()?;
    let bytes: usize = mails.iter().map(Vec::len).sum();
    let mut best = [Duration::MAX; 4];
    for _ in 0..args.rounds {
        for (best, took) in best.iter_mut().zip(round(&mails)) {
            *best = took.min(*best);
        }
    }
    println!("{} mails of {} bytes on average, one processor", mails.len(), bytes / mails.len());
    let micros = |took: Duration| took.as_secs_f64() * 1e6 / mails.len() as f64;
    for (stage, took) in
        ["parse", "canonical text", "fingerprint", "  of which Nilsimsa"].iter().zip(best)
    {
        println!("{stage:20} {:>8.1} us a mail", micros(took));
    }
    println!("{:20} {:>8.1} us a mail", "all", micros(best[0] + best[1] + best[2]));
    Ok(())
}
