//! What local learning of common features is worth: every site walks through its mail in order of
//! time and learns from all that nobody there reports, spam included, as a site without other
//! means would. For each share of the mail that is learnt from: held-out ham that still matches
//! any spam, and spam that still has a twin, once what is common at the site is discounted.
//!
//!     cargo run --release -p novacula-tests --bin local -- --index dev/index.tsv --root dev \
//!         [--stop FILE]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use novacula_agent::{Canonical, Familiar, Fingerprint, Message, StopList};
use novacula_catalog::{
    Key, Network, Opinion, Probe, SALT_OVERLAP_SECS, SALT_SECS, Site, SiteId, Time, Witness,
    compare,
};
use novacula_tests::mutations::Draws;
use novacula_tests::{Half, Row, half, percentile, read_index, read_mail, read_stop_list};

#[derive(Parser)]
struct Args {
    /// Index of labelled mails in order of time.
    #[arg(long)]
    index: PathBuf,
    /// Folder that the index's paths start from.
    #[arg(long)]
    root: PathBuf,
    /// Another stop list than the shipped one; "none" for none.
    #[arg(long, value_name = "FILE")]
    stop: Option<PathBuf>,
}

/// Shares of a site's mail that it learns from, in percent.
const SHARES: [u64; 5] = [0, 10, 25, 50, 100];

/// Spam that people at a site report, in percent (the protocol of `replay`).
const REPORTED: u32 = 10;

/// Keys of all mails are made under one salt, so that mails of different years can match.
const NOW: Time = Time(2900 * SALT_SECS + SALT_OVERLAP_SECS);

struct Mail {
    row: Row,
    fingerprint: Fingerprint,
    witness: Arc<Witness>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let none = args.stop.as_deref().is_some_and(|path| path.as_os_str() == "none");
    let read = args.stop.as_deref().filter(|_| !none).map(read_stop_list).transpose()?;
    let empty = StopList::default();
    let stop = if none { &empty } else { read.as_ref().unwrap_or(StopList::shipped()) };
    let mut corpora: BTreeMap<String, Vec<Mail>> = BTreeMap::new();
    for row in read_index(&args.index)? {
        let canonical = Canonical::of(&Message::parse(&read_mail(&args.root, &row)?));
        let fingerprint = Fingerprint::with(&canonical, stop);
        let probe = Probe::new(fingerprint.digests(), fingerprint.nilsimsa(), NOW);
        let mut site = Site::new(SiteId([1; 32]), Network::HOME, 0);
        let witness = Arc::new(site.opine(&[], &probe, Opinion::Report, NOW, NOW));
        corpora.entry(row.corpus.clone()).or_default().push(Mail { row, fingerprint, witness });
    }
    println!("{} hashes on the stop list", stop.len());
    for (corpus, mails) in &corpora {
        println!("\n{corpus}: learnt from, held-out ham that matches spam, spam with a twin");
        for share in SHARES {
            let (ham, hams, spam, spams) = walk(mails, share);
            println!(
                "{share:>4} %  {ham:>5} of {hams} ({:.2} %)  {spam:>5} of {spams} ({:.1} %)",
                100.0 * ham as f64 / hams.max(1) as f64,
                100.0 * spam as f64 / spams.max(1) as f64
            );
        }
    }
    Ok(())
}

/// Held-out ham that matches and all of it, spam with a twin and all of it.
fn walk(mails: &[Mail], share: u64) -> (usize, usize, usize, usize) {
    let mut index: HashMap<Key, Vec<usize>> = HashMap::new();
    for (at, mail) in mails.iter().enumerate().filter(|(_, mail)| mail.row.label == "spam") {
        let keys = mail.witness.statement.keys();
        keys.iter().for_each(|key| index.entry(*key).or_default().push(at));
    }
    let mut sites: HashMap<&str, Familiar> = HashMap::new();
    let mut counts = (0, 0, 0, 0);
    for (at, mail) in mails.iter().enumerate() {
        let familiar = sites.entry(&mail.row.site).or_default();
        let now = Time(mail.row.time_secs);
        let (digests, nilsimsa) = (mail.fingerprint.digests(), mail.fingerprint.nilsimsa());
        let probe = Probe::with_common(digests, nilsimsa, NOW, |of| familiar.is_common(of, now));
        let near: HashSet<usize> =
            probe.keys().filter_map(|key| index.get(&key)).flatten().copied().collect();
        let tells = |other: &usize| {
            *other != at && compare(&probe, &mails[*other].witness).is_some_and(|of| !of.common)
        };
        let found = usize::from(near.iter().any(tells));
        match mail.row.label.as_str() {
            "ham" if half(&mail.row) == Half::HeldOut => {
                counts.0 += found;
                counts.1 += 1;
            }
            "spam" => {
                counts.2 += found;
                counts.3 += 1;
            }
            _ => {}
        }
        if percentile(&mail.row) >= share {
            continue;
        }
        let reported = Draws::new(at as u64).percent(REPORTED) && mail.row.label == "spam";
        match reported {
            true => familiar.reported(digests, now),
            false => familiar.accepted(digests, now),
        };
    }
    counts
}
