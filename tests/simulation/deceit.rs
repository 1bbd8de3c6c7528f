//! Attacks on trust, each with what it reached: the rows of docs/threats.md. Every attack plays
//! twice from one seed, without and with the liars, and counts what differs.

use std::collections::HashSet;

use novacula_agent::replay::oracle;
use novacula_catalog::{Conclusion, Ground, Opinion};
use novacula_client::Verdict;

use super::eclipse;
use super::society::{Lie, Outcome, START_SECS, Size, Society};

/// How long before a mail its liars speak, in seconds.
const AHEAD_SECS: u64 = 60;

/// Share of rows that have the verdict spam.
#[must_use]
pub fn called_spam(verdicts: &[Verdict], rows: &[usize]) -> f64 {
    let spam = rows.iter().filter(|row| verdicts[**row] == Verdict::Spam).count();
    spam as f64 / rows.len().max(1) as f64
}

/// Mails whose verdict differs between spam and not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flipped {
    /// Wanted mail that became spam.
    pub wanted: usize,
    /// Spam that was no longer called so.
    pub spam: usize,
    /// Spam that was called so only now, and wanted mail that no longer was.
    pub righted: usize,
}

fn flipped(society: &Society, before: &Outcome, after: &Outcome) -> Flipped {
    let mut flipped = Flipped::default();
    for (row, of) in society.rows.iter().enumerate() {
        let is_spam = [before, after].map(|one| one.verdicts[row] == Verdict::Spam);
        match (of.label.as_str(), is_spam) {
            ("ham", [false, true]) => flipped.wanted += 1,
            ("spam", [true, false]) => flipped.spam += 1,
            (_, [was, is]) => flipped.righted += usize::from(was != is),
        }
    }
    flipped
}

/// What honest sites reach alone.
#[derive(Clone, Copy, Debug)]
pub struct Baseline {
    /// Share of spam called spam.
    pub recall: f64,
    /// The oracle's: replay's own, which trusts everybody.
    pub oracle_recall: f64,
    /// Share of wanted mail called spam.
    pub ham: f64,
    /// The oracle's.
    pub oracle_ham: f64,
}

/// Nobody lies.
#[must_use]
pub fn baseline(size: Size, seed: u64, places: Option<u32>) -> Baseline {
    let mut society = Society::new(size, seed);
    society.places = places;
    society.walk();
    let outcome = society.run(&HashSet::new());
    let perfect = oracle(&society.rows, &society.protocol, &society.rates, &society.networks, seed);
    let (spam, ham) = (society.of_label("spam"), society.of_label("ham"));
    Baseline {
        recall: called_spam(&outcome.verdicts, &spam),
        oracle_recall: called_spam(&perfect, &spam),
        ham: called_spam(&outcome.verdicts, &ham),
        oracle_ham: called_spam(&perfect, &ham),
    }
}

fn honest(size: Size, seed: u64) -> Society {
    let mut society = Society::new(size, seed);
    society.walk();
    society
}

/// One says it of every row given, just before the mail comes, as received then.
fn lies(society: &mut Society, by: &[usize], rows: &[usize], opinion: Opinion) {
    for row in rows {
        let at_secs = society.rows[*row].time_secs.saturating_sub(AHEAD_SECS);
        for by in by {
            let (by, row) = (*by, *row);
            let opinion = Some(opinion);
            society.lies.push(Lie { at_secs, by, row, opinion, claims_secs: at_secs });
        }
    }
}

/// Fresh identities without a vouch, in so many networks: they report 20 wanted mails and revoke
/// 20 campaigns.
#[must_use]
pub fn sybils(size: Size, seed: u64, count: usize, networks: usize) -> Flipped {
    let before = honest(size, seed).run(&HashSet::new());
    let mut society = honest(size, seed);
    let by: Vec<usize> = (0..count)
        .map(|number| society.add_member(&format!("sybil network {}", number % networks)))
        .collect();
    // They vouch for each other.
    for one in &by {
        society.vouches[*one] = by.iter().take(64).copied().filter(|to| to != one).collect();
    }
    society.walk();
    let spam: Vec<usize> = society.campaigns("spam", 1).iter().take(20).map(|of| of[0]).collect();
    let ham: Vec<usize> = society.campaigns("ham", 1).iter().take(20).map(|of| of[0]).collect();
    lies(&mut society, &by, &ham, Opinion::Report);
    lies(&mut society, &by, &spam, Opinion::Revoke);
    let after = society.run(&HashSet::new());
    flipped(&society, &before, &after)
}

/// Sleepers that won vouches, and who reports a wanted mail then: share of honest sites for which
/// it would be spam. With `each` vouches for every sleeper; they vouch for each other too, each for
/// all or for twelve, whichever fools more.
#[must_use]
pub fn sleepers(size: Size, seed: u64, vouches: usize, each: usize, places: usize) -> f64 {
    let of = |listed| sleepers_listing(size, seed, (vouches, each), places, listed);
    let twelve = of(12);
    if vouches / each > 13 { twelve.max(of(usize::MAX)) } else { twelve }
}

/// With lists of at most `listed`.
fn sleepers_listing(
    size: Size,
    seed: u64,
    (vouches, each): (usize, usize),
    places: usize,
    listed: usize,
) -> f64 {
    let mut society = honest(size, seed);
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x51ee);
    let by: Vec<usize> = (0..vouches / each)
        .map(|number| society.add_member(&format!("sleeper network {number}")))
        .collect();
    for (at, sleeper) in by.iter().enumerate() {
        for _ in 0..each {
            let voucher = rng.usize(0..society.honest);
            society.vouches[voucher].insert(*sleeper);
        }
        let others = by.iter().cycle().skip(at + 1).take(listed.min(by.len() - 1));
        society.vouches[*sleeper] = others.copied().collect();
    }
    society.walk();
    // The mail that they aim at: wanted, and seen at `places` honest sites an hour ago.
    let row = society.campaigns("ham", 1)[0][0];
    let now_secs = society.rows[row].time_secs;
    for _ in 0..places {
        let by = rng.usize(0..society.honest);
        let hour_ago = now_secs - 3600;
        let lie = Lie { at_secs: hour_ago, by, row, opinion: None, claims_secs: hour_ago };
        society.say(lie);
    }
    for by in by {
        let opinion = Some(Opinion::Report);
        society.say(Lie { at_secs: now_secs, by, row, opinion, claims_secs: now_secs });
    }
    let fooled = (0..society.honest)
        .filter(|at| society.judge_at(*at, row, now_secs).conclusion == Conclusion::Spam)
        .count();
    fooled as f64 / society.honest as f64
}

/// A share of the old honest sites turns after a third of the time and revokes every campaign:
/// recall of the others from then on, without and with them.
#[must_use]
pub fn turned_revoke(size: Size, seed: u64, share: f64) -> (f64, f64) {
    let turn_secs = START_SECS + size.days * 24 * 3600 / 3;
    let mut society = honest(size, seed);
    let turned = some(&society, seed, share);
    let after_turn: Vec<Vec<usize>> = society
        .campaigns("spam", 1)
        .into_iter()
        .filter(|of| society.rows[of[0]].time_secs > turn_secs)
        .collect();
    let rows: Vec<usize> = after_turn
        .iter()
        .flatten()
        .copied()
        .filter(|row| !turned.contains(&society.recipient(*row)))
        .collect();
    let before = society.run(&turned);
    let mut society = honest(size, seed);
    let firsts: Vec<usize> = after_turn.iter().map(|of| of[0]).collect();
    let by: Vec<usize> = turned.iter().copied().collect();
    lies(&mut society, &by, &firsts, Opinion::Revoke);
    let after = society.run(&turned);
    (called_spam(&before.verdicts, &rows), called_spam(&after.verdicts, &rows))
}

fn some(society: &Society, seed: u64, share: f64) -> HashSet<usize> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x70a5);
    let count = (society.honest as f64 * share).round() as usize;
    let mut all: Vec<usize> = (0..society.honest).collect();
    rng.shuffle(&mut all);
    all.truncate(count);
    all.into_iter().collect()
}

/// What a newsletter suffers that turned sites report.
#[derive(Clone, Copy, Debug)]
pub struct Newsletter {
    /// Share of its recipients for whom it was spam before three honest sites had revoked it.
    pub before: f64,
    /// The same from then on.
    pub after: f64,
    /// The same later than 30 minutes after the third revoke.
    pub recovered: f64,
    /// Minutes from its first copy to the third revoke.
    pub minutes: f64,
    /// Copies that came after it.
    pub copies_after: usize,
}

/// A share of the old honest sites reports every newsletter as it goes out.
#[must_use]
pub fn turned_report(size: Size, seed: u64, share: f64) -> Newsletter {
    let mut society = honest(size, seed);
    let turned = some(&society, seed, share);
    let by: Vec<usize> = turned.iter().copied().collect();
    let letters = society.campaigns("ham", 2);
    let firsts: Vec<usize> = letters.iter().map(|of| of[0]).collect();
    lies(&mut society, &by, &firsts, Opinion::Report);
    let outcome = society.run(&turned);
    let (mut before, mut after, mut late, mut minutes) = (vec![], vec![], vec![], vec![]);
    for letter in &letters {
        let third = society.third_revoke(letter, &turned);
        if third < u64::MAX {
            minutes.push((third - society.rows[letter[0]].time_secs) as f64 / 60.0);
        }
        for row in letter.iter().filter(|row| !turned.contains(&society.recipient(**row))) {
            let at = society.rows[*row].time_secs;
            let of = if at < third { &mut before } else { &mut after };
            of.push(*row);
            if at >= third.saturating_add(1800) {
                late.push(*row);
            }
        }
    }
    Newsletter {
        before: called_spam(&outcome.verdicts, &before),
        after: called_spam(&outcome.verdicts, &after),
        recovered: called_spam(&outcome.verdicts, &late),
        minutes: minutes.iter().sum::<f64>() / minutes.len().max(1) as f64,
        copies_after: after.len(),
    }
}

/// What a spammer gains who reports his own campaigns: most credit in any honest site's eyes for
/// one campaign and in all, and most weight gained.
#[derive(Clone, Copy, Debug)]
pub struct Burnt {
    /// Most for one campaign.
    pub campaign: f64,
    /// Most in all, for his whole branch: himself and ten identities that he vouches for.
    pub branch: f64,
    /// Most weight of his whole branch over what it had before.
    pub weight: f64,
}

/// A spammer with five vouches and ten identities behind him reports his campaigns first, each
/// identity some of them.
#[must_use]
pub fn burnt(size: Size, seed: u64) -> Burnt {
    let mut society = honest(size, seed);
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xb0a7);
    let spammer = society.add_member("spammer's network");
    for _ in 0..5 {
        let voucher = rng.usize(0..society.honest);
        society.vouches[voucher].insert(spammer);
    }
    let mut branch = vec![spammer];
    for number in 0..10 {
        let own = society.add_member(&format!("spammer's network {number}"));
        society.vouches[spammer].insert(own);
        branch.push(own);
    }
    society.walk();
    let sum = |society: &Society, what: fn(&Society, usize, usize) -> f64| {
        let of = |viewer| branch.iter().map(|one| what(society, viewer, *one)).sum::<f64>();
        (0..society.honest).map(of).fold(0.0, f64::max)
    };
    let weight_before = sum(&society, Society::weight);
    let firsts: Vec<usize> = society.campaigns("spam", 1).iter().map(|of| of[0]).collect();
    let campaigns = (size.campaigns / 10).max(20);
    for (number, row) in firsts.iter().take(campaigns).enumerate() {
        lies(&mut society, &[branch[number % branch.len()]], &[*row], Opinion::Report);
    }
    society.run(&HashSet::new());
    let credit = sum(&society, Society::credit);
    Burnt {
        campaign: society.credit_step,
        branch: credit,
        weight: sum(&society, Society::weight) - weight_before,
    }
}

/// Share of pairs of honest sites by what the weight of one rests on in the eyes of the other.
#[must_use]
pub fn grounds(size: Size, seed: u64) -> Vec<(Ground, f64)> {
    let society = honest(size, seed);
    let mut counts: Vec<(Ground, f64)> = Vec::new();
    let pairs = (society.honest * (society.honest - 1)) as f64;
    for from in 0..society.honest {
        for to in (0..society.honest).filter(|to| *to != from) {
            let ground = society.ground(from, to);
            match counts.iter_mut().find(|(of, _)| *of == ground) {
                Some((_, share)) => *share += 1.0 / pairs,
                None => counts.push((ground, 1.0 / pairs)),
            }
        }
    }
    counts
}

/// Every attack, some lines each, as it ends; the quick ones first.
pub fn table(size: Size, seed: u64) -> impl Iterator<Item = String> {
    let many = if size.sites >= 1_000 { 10_000 } else { 1_000 };
    let attacks: Vec<Box<dyn Fn() -> String>> = vec![
        Box::new(move || format!("what weights rest on: {:?}", grounds(size, seed))),
        Box::new(move || eclipse::table(size, 4_000, seed)),
        Box::new(move || {
            let mut lines =
                String::from("% of honest sites fooled by sleepers, mail at 0, 3, 30 places");
            for (vouches, each) in
                [10, 50].iter().flat_map(|all| [1, 2, 5, 10].map(|each| (*all, each)))
            {
                let fooled =
                    [0, 3, 30].map(|places| 100.0 * sleepers(size, seed, vouches, each, places));
                lines += &format!("\n  {vouches} vouches, {each} for each: {fooled:.2?}");
            }
            lines
        }),
        Box::new(move || format!("{:?}", baseline(size, seed, None))),
        Box::new(move || format!("5 % report newsletters: {:?}", turned_report(size, seed, 0.05))),
        Box::new(move || format!("20 % report newsletters: {:?}", turned_report(size, seed, 0.2))),
        Box::new(move || format!("{:?}", burnt(size, seed))),
        Box::new(move || format!("5 % revoke everything: {:?}", turned_revoke(size, seed, 0.05))),
        Box::new(move || format!("20 % revoke everything: {:?}", turned_revoke(size, seed, 0.2))),
        Box::new(move || {
            let found = [1, 500].map(|networks| sybils(size, seed, many, networks));
            format!("{many} sybils in 1 and 500 networks: {found:?}")
        }),
    ];
    attacks.into_iter().map(|attack| attack())
}
