//! False matches per pair of unrelated mails, over 10^3 to some 10^8 pairs, under several
//! strictnesses of the rule of match. Only pairs that share a key can match, so all of them are
//! counted and few are compared.
//!
//!     cargo run --release -p novacula-tests --bin pairs -- --root dev \
//!         --index dev/index.tsv --index dev/sim.tsv
//!
//! Unrelated are wanted mail of the held-out half and spam; and wanted mails of other campaigns at
//! other sites. With `--cross` either half is held out in turn, under a stop list of the other
//! half's wanted mail: twice the pairs. Key decision: a subset is the mails whose rank by a hash is
//! below a share, so that every point of the curve lies within the next one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use clap::Parser;
use novacula_agent::{Canonical, Fingerprint, Message, StopList, stoppable};
use novacula_catalog::{
    Network, Opinion, Probe, SALT_OVERLAP_SECS, SALT_SECS, Shared, Site, SiteId, Time, Witness,
};
use novacula_tests::{Half, Row, campaign, half, read_index, read_mail, read_stop_list};

#[derive(Parser)]
struct Args {
    /// Index of labelled mails; may be given several times.
    #[arg(long, required = true)]
    index: Vec<PathBuf>,
    /// Folder that the indexes' paths start from.
    #[arg(long)]
    root: PathBuf,
    /// Another stop list than the shipped one.
    #[arg(long, value_name = "FILE")]
    stop: Option<PathBuf>,
    /// The tuning half's wanted mail instead of the held-out half's: with a stop list that was not
    /// made of it, something to tune by.
    #[arg(long)]
    tuning: bool,
    /// Both halves' wanted mail, each under a stop list of the other half's.
    #[arg(long, conflicts_with_all = ["tuning", "stop"])]
    cross: bool,
    /// Print the pairs that match.
    #[arg(long)]
    show: bool,
}

const NOW: Time = Time(2900 * SALT_SECS + SALT_OVERLAP_SECS);

struct Mail {
    row: Row,
    probe: Probe,
    witness: Witness,
    /// Place among all by a hash, 0 to 1.
    rank: f64,
}

/// A rule's name, and whether it is met.
type Rule = (&'static str, fn(&Shared) -> bool);

fn rules() -> [Rule; 6] {
    [
        ("the rule", |s| s.rule().is_some()),
        ("Nilsimsa not known", |s| Shared { nilsimsa_bits: None, ..*s }.rule().is_some()),
        ("links not alone", |s| Shared { link: 0, host: s.host + s.link, ..*s }.rule().is_some()),
        ("no links", |s| Shared { link: 0, host: 0, ..*s }.rule().is_some()),
        ("no links, no ends alone", |s| {
            let text = s.text + s.head + s.tail;
            Shared { text, head: 0, tail: 0, link: 0, host: 0, ..*s }.rule().is_some()
        }),
        ("exact only", |s| s.exact),
    ]
}

/// Two mails of one kind of pair.
struct Pair {
    one: usize,
    other: usize,
    shared: Shared,
}

impl Pair {
    /// The same pair where so many mails stand before.
    fn moved(self, ones: usize, others: usize) -> Self {
        Self { one: self.one + ones, other: self.other + others, ..self }
    }
}

/// The wanted mail of one half, and all spam, as one stop list has them.
#[derive(Default)]
struct Fold {
    wanted: Vec<Mail>,
    spam: Vec<Mail>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut texts = Vec::new();
    for index in &args.index {
        for row in read_index(index)? {
            let canonical = Canonical::of(&Message::parse(&read_mail(&args.root, &row)?));
            texts.push((row, canonical));
        }
    }
    let folds = if args.cross {
        crossed(&texts)
    } else {
        let stop = args.stop.as_deref().map(read_stop_list).transpose()?;
        let of = if args.tuning { Half::Tuning } else { Half::HeldOut };
        vec![fold(&texts, of, stop.as_ref().unwrap_or(StopList::shipped()))]
    };
    let (mut pairs, mut found) = (0.0, Vec::new());
    let (mut wanted, mut spam) = (Vec::new(), Vec::new());
    for mut fold in folds {
        pairs += fold.wanted.len() as f64 * fold.spam.len() as f64;
        let before = (wanted.len(), spam.len());
        let of_all = |pair: Pair| pair.moved(before.0, before.1);
        found.extend(matching(&fold.wanted, &fold.spam, |_, _| true).into_iter().map(of_all));
        wanted.append(&mut fold.wanted);
        spam.append(&mut fold.spam);
    }
    println!("{} wanted mails, {} spam", wanted.len(), spam.len());
    curve("wanted mail and spam", pairs, &found, &wanted, &spam);
    if args.cross {
        show(&args, &found, &wanted, &spam);
        return Ok(());
    }
    // Simulated newsletters are copies of mails of the other index.
    wanted.retain(|mail| mail.row.level.is_empty());
    let unrelated =
        |a: &Row, b: &Row| campaign(a) != campaign(b) && a.site != b.site && a.path < b.path;
    let related = pairs_of_others(&wanted);
    let found = matching(&wanted, &wanted, unrelated);
    curve("wanted mails of other campaigns and sites", related, &found, &wanted, &wanted);
    show(&args, &found, &wanted, &wanted);
    Ok(())
}

fn show(args: &Args, found: &[Pair], ones: &[Mail], others: &[Mail]) {
    for pair in found.iter().filter(|_| args.show) {
        let (a, b) = (&ones[pair.one].row, &others[pair.other].row);
        println!("{} ~ {}: {:?} {:?}", a.path, b.path, pair.shared.rule(), pair.shared);
    }
}

fn fold(texts: &[(Row, Canonical)], wanted: Half, stop: &StopList) -> Fold {
    let mut fold = Fold::default();
    for (row, canonical) in texts {
        match row.label.as_str() {
            "spam" => fold.spam.push(mail(row, canonical, stop)),
            "ham" if !row.level.is_empty() || half(row) == wanted => {
                fold.wanted.push(mail(row, canonical, stop));
            }
            _ => {}
        }
    }
    fold
}

/// A fold for either half. Simulated newsletters, which are copies of mails of either, are in the
/// one whose stop list leaves more of them: the one that was not made of their originals.
fn crossed(texts: &[(Row, Canonical)]) -> Vec<Fold> {
    let list_of = |of: Half| {
        let known = texts
            .iter()
            .filter(|(row, _)| row.label == "ham" && row.level.is_empty() && half(row) == of);
        StopList::of(known.flat_map(|(_, canonical)| stoppable(canonical)))
    };
    let mut one = fold(texts, Half::HeldOut, &list_of(Half::Tuning));
    let mut other = fold(texts, Half::Tuning, &list_of(Half::HeldOut));
    let simulated = |fold: &mut Fold| -> Vec<Mail> {
        fold.wanted.extract_if(.., |mail| !mail.row.level.is_empty()).collect()
    };
    for (in_one, in_other) in simulated(&mut one).into_iter().zip(simulated(&mut other)) {
        let keys = |mail: &Mail| mail.witness.statement.keys().len();
        match keys(&in_one) >= keys(&in_other) {
            true => one.wanted.push(in_one),
            false => other.wanted.push(in_other),
        }
    }
    vec![one, other]
}

fn mail(row: &Row, canonical: &Canonical, stop: &StopList) -> Mail {
    let fingerprint = Fingerprint::with(canonical, stop);
    let probe = Probe::new(fingerprint.digests(), fingerprint.nilsimsa(), NOW);
    let mut site = Site::new(SiteId([1; 32]), Network::HOME, 0);
    let witness = site.opine(&[], &probe, Opinion::Report, NOW, NOW);
    let rank = (Network::named(&format!("rank {}", row.path)).0 >> 11) as f64 / (1u64 << 53) as f64;
    Mail { row: row.clone(), probe, witness, rank }
}

/// Pairs of different campaigns at different sites.
fn pairs_of_others(mails: &[Mail]) -> f64 {
    let pairs = |sizes: &BTreeMap<String, usize>| -> f64 {
        sizes.values().map(|size| (*size as f64) * (*size as f64 - 1.0) / 2.0).sum()
    };
    let count = |name: &dyn Fn(&Row) -> String| {
        let mut sizes = BTreeMap::new();
        mails.iter().for_each(|mail| *sizes.entry(name(&mail.row)).or_insert(0usize) += 1);
        pairs(&sizes)
    };
    let all = count(&|_| String::new());
    let of_site = count(&|row| row.site.clone());
    let of_campaign = count(&|row| campaign(row).to_owned());
    let of_both = count(&|row| format!("{}\n{}", row.site, campaign(row)));
    all - of_site - of_campaign + of_both
}

/// Every pair that matches under any rule.
fn matching(ones: &[Mail], others: &[Mail], unrelated: impl Fn(&Row, &Row) -> bool) -> Vec<Pair> {
    let mut index: HashMap<novacula_catalog::Key, Vec<usize>> = HashMap::new();
    for (at, mail) in others.iter().enumerate() {
        for key in mail.witness.statement.keys() {
            index.entry(*key).or_default().push(at);
        }
    }
    let mut found = Vec::new();
    for (one, mail) in ones.iter().enumerate() {
        let near: BTreeSet<usize> =
            mail.probe.keys().filter_map(|key| index.get(&key)).flatten().copied().collect();
        for other in near {
            if !unrelated(&mail.row, &others[other].row) {
                continue;
            }
            let shared = Shared::of(&mail.probe, &others[other].witness);
            if rules().iter().any(|(_, rule)| rule(&shared)) {
                found.push(Pair { one, other, shared });
            }
        }
    }
    found
}

/// Prints the matches within ever larger subsets, and what they say of a catalog of 10^7 mails.
fn curve(name: &str, all: f64, found: &[Pair], ones: &[Mail], others: &[Mail]) {
    println!("\n{name}: {all:.3e} pairs");
    println!("{:26} {:>9} {:>9} {:>12} {:>12}", "rule", "pairs", "matches", "a pair", "at most");
    for (rule, met) in rules() {
        let powers = (3..=8).map(|power| 10f64.powi(power)).filter(|pairs| *pairs < all);
        for pairs in powers.chain([all]) {
            let share = (pairs / all).sqrt();
            let within = |mail: &Mail| mail.rank <= share;
            let matches = found
                .iter()
                .filter(|pair| within(&ones[pair.one]) && within(&others[pair.other]))
                .filter(|pair| met(&pair.shared))
                .count();
            let most = upper(matches) / pairs;
            println!(
                "{rule:26} {pairs:>9.1e} {matches:>9} {:>12.1e} {most:>12.1e}",
                matches as f64 / pairs
            );
        }
        let met: Vec<&Pair> = found.iter().filter(|pair| met(&pair.shared)).collect();
        let mails: BTreeSet<usize> = met.iter().map(|pair| pair.one).collect();
        let rate = met.len() as f64 / all;
        println!(
            "{rule:26} {} of {} mails; among 10^7 others {:.2} a mail, at most {:.2}",
            mails.len(),
            ones.len(),
            rate * 1e7,
            upper(met.len()) / all * 1e7
        );
    }
}

/// The most that a Poisson mean can be, with 95 % confidence, when so many were counted: half the
/// chi-square quantile of 2n + 2 degrees, by the approximation of Wilson and Hilferty (1931);
/// ln 20 for none.
fn upper(count: usize) -> f64 {
    if count == 0 {
        return f64::ln(20.0);
    }
    let degrees = 2.0 * count as f64 + 2.0;
    let part = 2.0 / (9.0 * degrees);
    degrees * (1.0 - part + 1.645 * part.sqrt()).powi(3) / 2.0
}
