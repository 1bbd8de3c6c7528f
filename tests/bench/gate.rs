//! What the entropy gate is worth: what would be, were texts under 64 characters judged by their
//! words alone from some length on. For each length: mail without evidence, wanted mail whose
//! words are those of some spam or of unrelated wanted mail, and spam that then finds two earlier
//! sites. Length 0 is the table without the gate.
//!
//!     cargo run --release -p novacula-tests --bin gate -- --root dev \
//!         --index dev/index.tsv --index dev/sim.tsv

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use clap::Parser;
use novacula_agent::{Canonical, Fingerprint, Message};
use novacula_tests::{Half, Row, campaign, half, read_index, read_mail};

#[derive(Parser)]
struct Args {
    /// Index of labelled mails; may be given several times.
    #[arg(long, required = true)]
    index: Vec<PathBuf>,
    /// Folder that the indexes' paths start from.
    #[arg(long)]
    root: PathBuf,
}

/// Lengths from which words alone would be judged, in canonical characters; 64 is the gate.
const LENGTHS: [usize; 8] = [0, 8, 16, 24, 32, 40, 48, 64];

const WINDOW_SECS: u64 = 24 * 3600;

struct Mail {
    row: Row,
    text: String,
    chars: usize,
    evidence: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (mut mails, mut all) = (Vec::new(), 0usize);
    for index in &args.index {
        for row in read_index(index)? {
            all += 1;
            let canonical = Canonical::of(&Message::parse(&read_mail(&args.root, &row)?));
            let evidence = Fingerprint::of(&canonical).is_evidence();
            if evidence && canonical.passes_gate() {
                continue;
            }
            let chars = canonical.chars();
            mails.push(Mail { row, text: canonical.text, chars, evidence });
        }
    }
    println!("{all} mails, {} under 64 characters", mails.len());
    println!(
        "{:>6} {:>12} {:>16} {:>16} {:>16} {:>12} {:>14}",
        "length",
        "no evidence",
        "ham like spam",
        "held out",
        "unrelated ham",
        "pairs",
        "spam found"
    );
    for length in LENGTHS {
        print(&mails, length);
    }
    Ok(())
}

fn print(mails: &[Mail], length: usize) {
    let judged: Vec<&Mail> = mails.iter().filter(|mail| mail.chars >= length).collect();
    let judged: Vec<&Mail> = if length >= 64 { Vec::new() } else { judged };
    let silent = mails.iter().filter(|mail| !mail.evidence).count();
    let now_heard = judged.iter().filter(|mail| !mail.evidence).count();
    let mut by_text: HashMap<&str, Vec<&Mail>> = HashMap::new();
    judged.iter().for_each(|mail| by_text.entry(&mail.text).or_default().push(mail));
    let ham: Vec<&&Mail> = judged.iter().filter(|mail| mail.row.label == "ham").collect();
    let like = |mail: &&&Mail| by_text[mail.text.as_str()].iter().any(|of| of.row.label == "spam");
    let like_spam: Vec<&&&Mail> = ham.iter().filter(|mail| like(mail)).collect();
    let held_out = like_spam.iter().filter(|mail| half(&mail.row) == Half::HeldOut).count();
    let (mut unrelated, mut pairs) = (0usize, 0usize);
    for (at, one) in ham.iter().enumerate() {
        for other in &ham[..at] {
            if campaign(&one.row) != campaign(&other.row) && one.row.site != other.row.site {
                pairs += 1;
                unrelated += usize::from(one.text == other.text);
            }
        }
    }
    let found = judged.iter().filter(|mail| {
        let earlier = |of: &&&Mail| {
            of.row.site != mail.row.site
                && of.row.time_secs <= mail.row.time_secs
                && of.row.time_secs + WINDOW_SECS >= mail.row.time_secs
        };
        let others = by_text[mail.text.as_str()].iter().filter(earlier);
        let sites: BTreeSet<&str> = others.map(|of| of.row.site.as_str()).collect();
        mail.row.label == "spam" && !mail.evidence && sites.len() >= 2
    });
    println!(
        "{length:>6} {:>12} {:>16} {held_out:>16} {unrelated:>16} {pairs:>12} {:>14}",
        silent - now_heard,
        like_spam.len(),
        found.count()
    );
}
