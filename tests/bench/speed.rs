//! How long a fingerprint takes, by stage, over the mails of an index.
//!
//!     cargo run --release -p novacula-tests --bin speed -- --index dev/index.tsv --root dev

use std::hint::black_box;
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

/// The parts of a fingerprint's way that are timed.
const STAGES: [&str; 5] = ["parse", "and canonical text", "and fingerprint", "Nilsimsa", "BLAKE3"];

/// Times of one round over all mails, one mail after another as an agent takes them: parsing; that
/// and the canonical text; all; Nilsimsa of the texts and BLAKE3 of the mails alone. And BLAKE3 of
/// all fingerprints, which no change of speed may change.
fn round(mails: &[Vec<u8>], texts: &[String]) -> ([Duration; 5], blake3::Hash) {
    let timed = |run: &mut dyn FnMut()| {
        let started = Instant::now();
        run();
        started.elapsed()
    };
    let parse = timed(&mut || {
        mails.iter().for_each(|mail| drop(black_box(Message::parse(mail))));
    });
    let canonical = timed(&mut || {
        mails.iter().for_each(|mail| drop(black_box(Canonical::of(&Message::parse(mail)))));
    });
    let mut all = blake3::Hasher::new();
    let mut prints = Vec::with_capacity(mails.len());
    let fingerprint = timed(&mut || {
        prints.extend(
            mails.iter().map(|mail| Fingerprint::of(&Canonical::of(&Message::parse(mail)))),
        );
    });
    let nilsimsa = timed(&mut || {
        texts.iter().for_each(|text| _ = black_box(nilsimsa(text.as_bytes())));
    });
    let blake3 = timed(&mut || {
        mails.iter().for_each(|mail| _ = black_box(blake3::hash(mail)));
    });
    for print in &prints {
        for digest in print.digests() {
            all.update(digest.engine.name().as_bytes()).update(&digest.value.to_le_bytes());
        }
        print.nilsimsa().iter().for_each(|digest| {
            all.update(&digest.to_bytes());
        });
    }
    ([parse, canonical, fingerprint, nilsimsa, blake3], all.finalize())
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let rows = read_index(&args.index)?;
    let mails: Vec<Vec<u8>> =
        rows.iter().map(|row| read_mail(&args.root, row)).collect::<Result<_, _>>()?;
    let bytes: usize = mails.iter().map(Vec::len).sum();
    let texts: Vec<String> =
        mails.iter().map(|mail| Canonical::of(&Message::parse(mail)).text).collect();
    let mut best = [Duration::MAX; STAGES.len()];
    let mut prints = None;
    for _ in 0..args.rounds {
        let (times, all) = round(&mails, &texts);
        prints = Some(all);
        for (best, took) in best.iter_mut().zip(times) {
            *best = took.min(*best);
        }
    }
    println!("{} mails of {} bytes on average, one processor", mails.len(), bytes / mails.len());
    let micros = |took: Duration| took.as_secs_f64() * 1e6 / mails.len() as f64;
    for (stage, took) in STAGES.iter().zip(best) {
        println!("{stage:20} {:>8.1} us a mail", micros(took));
    }
    let [parse, _, all, nilsimsa, blake3] = best;
    let floor = parse + nilsimsa + blake3;
    println!("{:20} {:>8.1} us a mail", "floor", micros(floor));
    println!("all by the floor (parse, BLAKE3, Nilsimsa): {:.2}", micros(all) / micros(floor));
    println!("fingerprints: {}", prints.map(|all| all.to_hex().to_string()).unwrap_or_default());
    Ok(())
}
