//! For each engine and all together: the share of spam with a twin, and of held-out ham that
//! matches any spam, by the rule of match that the agent uses.
//!
//!     cargo run --release -p novacula-tests --bin twins -- --index dev/index.tsv --root dev

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use novacula_agent::{Canonical, Fingerprint, Message, StopList};
use novacula_catalog::{
    Copies, Digest, Facts, Key, Kind, MailId, Match, Network, Nilsimsa, Probe, Shared, SiteId,
    Statement, Time, Witness, compare,
};
use novacula_tests::{
    Half, Row, campaign, half, percentile, read_index, read_mail, read_stop_list,
};

#[derive(Parser)]
struct Args {
    /// Index of labelled mails.
    #[arg(long)]
    index: PathBuf,
    /// Folder that the index's paths start from.
    #[arg(long)]
    root: PathBuf,
    /// Print every ham that matches spam, and spam of the tuning half that misses its campaign.
    #[arg(long)]
    show: bool,
    /// Another stop list than the shipped one.
    #[arg(long, value_name = "FILE")]
    stop: Option<PathBuf>,
}

struct Mail {
    row: Row,
    probe: Probe,
    witness: Arc<Witness>,
    gated: bool,
}

/// Inside one salt epoch and outside the overlap, so that every digest has one key.
const NOW: Time = Time(2900 * novacula_catalog::SALT_SECS + novacula_catalog::SALT_OVERLAP_SECS);

fn mail(row: Row, number: u64, fingerprint: &Fingerprint) -> Mail {
    let digests: &[Digest] = fingerprint.digests();
    let nilsimsa: Option<Nilsimsa> = fingerprint.nilsimsa();
    let probe = Probe::new(digests, nilsimsa, NOW);
    let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
    let keys = probe.emitted().to_vec();
    let statement =
        Statement::new(SiteId([0; 32]), MailId(number), number, NOW.epoch(), keys, kind);
    let witness = Witness { statement, network: Network::HOME, nilsimsa, kept_from: NOW.epoch() };
    Mail { row, probe, witness: Arc::new(witness), gated: !fingerprint.is_evidence() }
}

/// A rule's name, and whether it is met.
type Rule = (&'static str, fn(&Shared) -> bool);

/// The rules that are measured: each engine's alone, all without one, and all.
fn rules() -> Vec<Rule> {
    fn matches(shared: Shared) -> bool {
        shared.rule().is_some()
    }
    fn shingles(s: &Shared) -> Shared {
        let Shared { text, head, tail, nilsimsa_bits, .. } = *s;
        Shared { text, head, tail, nilsimsa_bits, ..Shared::default() }
    }
    vec![
        ("exact", |s| matches(Shared { exact: s.exact, ..Shared::default() })),
        ("shingles", |s| matches(shingles(s))),
        ("link", |s| {
            let one = shingles(s).text.min(1);
            matches(Shared { link: s.link, host: s.host, text: one, ..Shared::default() })
        }),
        ("attachment", |s| matches(Shared { attachment: s.attachment, ..Shared::default() })),
        ("- exact", |s| matches(Shared { exact: false, ..*s })),
        ("- ends", |s| matches(Shared { head: 0, tail: 0, ..*s })),
        ("- link", |s| matches(Shared { link: 0, host: 0, ..*s })),
        ("- attachment", |s| matches(Shared { attachment: 0, ..*s })),
        ("- nilsimsa", |s| matches(Shared { nilsimsa_bits: None, ..*s })),
        ("all", |s| matches(*s)),
    ]
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let stop = args.stop.as_deref().map(read_stop_list).transpose()?;
    let mut corpora: BTreeMap<String, Vec<Mail>> = BTreeMap::new();
    for (number, row) in read_index(&args.index)?.into_iter().enumerate() {
        let message = Message::parse(&read_mail(&args.root, &row)?);
        let canonical = Canonical::of(&message);
        let stop = stop.as_ref().unwrap_or(StopList::shipped());
        let fingerprint = Fingerprint::with(&canonical, stop);
        let corpus = corpora.entry(row.corpus.clone()).or_default();
        corpus.push(mail(row, number as u64, &fingerprint));
    }
    for (corpus, mails) in &corpora {
        report(corpus, mails, args.show);
    }
    Ok(())
}

fn report(corpus: &str, mails: &[Mail], show: bool) {
    let spam: Vec<&Mail> = mails.iter().filter(|mail| mail.row.label == "spam").collect();
    let mut index: HashMap<Key, Vec<usize>> = HashMap::new();
    for (at, mail) in spam.iter().enumerate() {
        mail.witness
            .statement
            .keys()
            .iter()
            .for_each(|key| index.entry(*key).or_default().push(at));
    }
    let matches = |mail: &Mail| -> Vec<Match> {
        let near: HashSet<usize> =
            mail.probe.keys().filter_map(|key| index.get(&key)).flatten().copied().collect();
        let others = near.into_iter().filter(|at| spam[*at].row.path != mail.row.path);
        others.filter_map(|at| compare(&mail.probe, &spam[at].witness)).collect()
    };
    let gated = mails.iter().filter(|mail| mail.gated).count();
    println!(
        "\n{corpus}: {} mails, {} spam, no evidence {gated} ({:.2} %)",
        mails.len(),
        spam.len(),
        100.0 * gated as f64 / mails.len() as f64
    );
    let groups: [(&str, Vec<&Mail>); 6] = [
        ("spam with a twin", spam.clone()),
        (
            "of which in the tuning half",
            spam.iter().copied().filter(|mail| half(&mail.row) == Half::Tuning).collect(),
        ),
        ("ham held out that matches spam", ham(mails, Half::HeldOut)),
        ("ham of the tuning half", ham(mails, Half::Tuning)),
        (
            "of which beyond 50 percent",
            ham(mails, Half::Tuning).into_iter().filter(|m| percentile(&m.row) >= 50).collect(),
        ),
        ("bounces", mails.iter().filter(|mail| mail.row.label == "bounce").collect()),
    ];
    print!("{:32}{:>7}", "", "n");
    rules().iter().for_each(|(name, _)| print!("{name:>14}"));
    println!();
    let mut spam_found = Vec::new();
    for (name, group) in groups {
        let found: Vec<Vec<Match>> = group.iter().map(|mail| matches(mail)).collect();
        if name == "spam with a twin" {
            spam_found = found.clone();
        }
        print!("{name:32}{:>7}", group.len());
        for (_, rule) in rules() {
            let hits = found.iter().filter(|all| all.iter().any(|one| rule(&one.shared))).count();
            print!("{:>6} {:>5.2} %", hits, 100.0 * hits as f64 / group.len().max(1) as f64);
        }
        println!();
        if show && !name.starts_with("spam") && !name.starts_with("of") {
            for (mail, all) in group.iter().zip(&found) {
                if let Some(one) = all.iter().find(|one| one.shared.rule().is_some()) {
                    let MailId(of) = one.witness.statement.mail;
                    let other = spam.iter().find(|spam| spam.witness.statement.mail.0 == of);
                    let other = other.map(|spam| spam.row.path.as_str()).unwrap_or_default();
                    println!("    {} ~ {other}: {:?} {:?}", mail.row.path, one.engine, one.shared);
                }
            }
        }
    }
    copies(mails, &spam, &spam_found);
    if show {
        missed(&spam, &spam_found);
    }
}

/// Prints spam of the tuning half that finds nothing though its campaign has more.
fn missed(spam: &[&Mail], found: &[Vec<Match>]) {
    for (mail, _) in spam.iter().zip(found).filter(|(_, all)| all.is_empty()) {
        let sibling = spam.iter().find(|other| {
            other.row.path != mail.row.path && campaign(&other.row) == campaign(&mail.row)
        });
        if let Some(sibling) = sibling.filter(|_| half(&mail.row) == Half::Tuning) {
            let shared = Shared::of(&mail.probe, &sibling.witness);
            println!("    missed {} of {}: {shared:?}", mail.row.path, sibling.row.path);
        }
    }
}

/// Copies of a campaign that find another one, and one at another site.
fn copies(mails: &[Mail], spam: &[&Mail], found: &[Vec<Match>]) {
    let mut sites: HashMap<&str, (usize, HashSet<&str>)> = HashMap::new();
    for mail in spam {
        let of = sites.entry(campaign(&mail.row)).or_default();
        of.0 += 1;
        of.1.insert(&mail.row.site);
    }
    let by_number: HashMap<u64, &Mail> =
        mails.iter().map(|mail| (mail.witness.statement.mail.0, mail)).collect();
    let mut counts = [0usize; 4];
    for (mail, all) in spam.iter().zip(found) {
        let of = &sites[campaign(&mail.row)];
        let others = || {
            all.iter()
                .map(|one| by_number[&one.witness.statement.mail.0])
                .filter(|other| campaign(&other.row) == campaign(&mail.row))
        };
        let any = others().next().is_some();
        let cross = others().any(|other| other.row.site != mail.row.site);
        counts[0] += usize::from(of.0 > 1);
        counts[1] += usize::from(any);
        counts[2] += usize::from(of.1.len() > 1);
        counts[3] += usize::from(cross);
    }
    println!(
        "copies of a campaign: {} of {} found ({:.1} %); with copies at other sites: {} of {} ({:.1} %)",
        counts[1],
        counts[0],
        100.0 * counts[1] as f64 / counts[0].max(1) as f64,
        counts[3],
        counts[2],
        100.0 * counts[3] as f64 / counts[2].max(1) as f64,
    );
}

fn ham(mails: &[Mail], of: Half) -> Vec<&Mail> {
    mails.iter().filter(|mail| mail.row.label == "ham" && half(&mail.row) == of).collect()
}
