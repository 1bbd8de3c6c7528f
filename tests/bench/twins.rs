//! For each engine and all together: the share of spam with a twin, and of held-out ham that
//! matches any spam, by the rule of match that the agent uses.
//!
//!     cargo run --release -p novacula-tests --bin twins -- --index dev/index.tsv --root dev

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use novacula_agent::{Canonical, Fingerprint, Message};
use novacula_catalog::{
    Copies, Digest, Engine, Facts, Key, Kind, MailId, Match, Network, Nilsimsa, Probe, Shared,
    SiteId, Statement, Time, Witness, compare,
};
use novacula_tests::{Half, Row, half, read_index, read_mail};

#[derive(Parser)]
struct Args {
    /// Index of labelled mails.
    #[arg(long)]
    index: PathBuf,
    /// Folder that the index's paths start from.
    #[arg(long)]
    root: PathBuf,
    /// Print every ham that matches spam.
    #[arg(long)]
    show: bool,
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

/// The rules that are measured: each engine's alone, and all.
fn rules() -> Vec<Rule> {
    fn only(shared: &Shared, engine: Engine) -> bool {
        let alone = match engine {
            Engine::Exact => Shared { exact: shared.exact, ..Shared::default() },
            Engine::Text => Shared {
                text: shared.text,
                nilsimsa_bits: shared.nilsimsa_bits,
                ..Shared::default()
            },
            Engine::Head => Shared {
                head: shared.head,
                nilsimsa_bits: shared.nilsimsa_bits,
                ..Shared::default()
            },
            Engine::Tail => Shared {
                tail: shared.tail,
                nilsimsa_bits: shared.nilsimsa_bits,
                ..Shared::default()
            },
            Engine::Link => Shared {
                exact: false,
                nilsimsa_bits: None,
                text: shared.text.min(1),
                head: shared.head.min(1),
                tail: shared.tail.min(1),
                ..*shared
            },
        };
        alone.rule().is_some()
    }
    vec![
        ("exact", |s| only(s, Engine::Exact)),
        ("text", |s| only(s, Engine::Text)),
        ("head", |s| only(s, Engine::Head)),
        ("tail", |s| only(s, Engine::Tail)),
        ("link", |s| only(s, Engine::Link)),
        ("all but link", |s| Shared { link: 0, host: 0, ..*s }.rule().is_some()),
        ("all but tail", |s| Shared { tail: 0, ..*s }.rule().is_some()),
        ("all", |s| s.rule().is_some()),
    ]
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut corpora: BTreeMap<String, Vec<Mail>> = BTreeMap::new();
    for (number, row) in read_index(&args.index)?.into_iter().enumerate() {
        let message = Message::parse(&read_mail(&args.root, &row)?);
        let fingerprint = Fingerprint::of(&Canonical::of(&message));
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
    let groups: [(&str, Vec<&Mail>); 5] = [
        ("spam with a twin", spam.clone()),
        (
            "of which in the tuning half",
            spam.iter().copied().filter(|mail| half(&mail.row) == Half::Tuning).collect(),
        ),
        ("ham held out that matches spam", ham(mails, Half::HeldOut)),
        ("ham of the tuning half", ham(mails, Half::Tuning)),
        ("bounces", mails.iter().filter(|mail| mail.row.label == "bounce").collect()),
    ];
    print!("{:32}{:>7}", "", "n");
    rules().iter().for_each(|(name, _)| print!("{name:>14}"));
    println!();
    for (name, group) in groups {
        let found: Vec<Vec<Match>> = group.iter().map(|mail| matches(mail)).collect();
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
}

fn ham(mails: &[Mail], of: Half) -> Vec<&Mail> {
    mails.iter().filter(|mail| mail.row.label == "ham" && half(&mail.row) == of).collect()
}
