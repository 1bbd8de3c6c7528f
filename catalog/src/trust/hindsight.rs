//! Who was right, seen from later: turns what became of a mail into credit and blame.
//!
//! Main item: [`Hindsight`]. Key decisions: only opinions that were there *before* the verdict
//! earn anything, and only when this site's own people, or sites of three networks that had no
//! part in it, say the same afterwards; so nobody earns by repeating a verdict. One mail earns a
//! branch one credit. And this site's own people are always right.

use std::collections::{BTreeSet, HashMap};

use crate::clock::Time;
use crate::entry::Network;
use crate::identity::SiteId;
use crate::judgement::{Conclusion, Judgement};
use crate::matching::Match;
use crate::statement::{Kind, Opinion};
use crate::store::KEEP_SECS;
use crate::trust::{Ground, Place, Trust};

/// Networks that must say the same later (DESIGN 4.3).
pub const CONFIRMING_NETWORKS: usize = 3;
/// Networks whose revokes hold against any number of reports (DESIGN: three revokes).
pub const REVOKING_NETWORKS: usize = 3;
/// Most mails under observation; at the bound the oldest go.
const CASES_MAX: usize = 10_000;
/// Most early reporters of a mail that can earn.
const EARLY_MAX: usize = 16;
/// Most speakers of a mail whose habits are counted.
const SPOKEN_MAX: usize = 256;

/// One site's last word on a mail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    pub(crate) site: SiteId,
    pub(crate) network: Network,
    pub(crate) opinion: Opinion,
    pub(crate) place: Place,
}

impl Voice {
    fn counts(&self) -> bool {
        self.place.weight > 0.0 && self.place.ground != Ground::Newcomer
    }
}

/// The last word of every site among `matches`.
pub(crate) fn voices(matches: &[Match], trust: &Trust, now: Time) -> Vec<Voice> {
    let mut last: HashMap<SiteId, (u64, Network, Opinion)> = HashMap::new();
    for Match { witness, .. } in matches {
        let statement = &witness.statement;
        let Kind::Opinion { opinion, .. } = statement.kind else { continue };
        let entry = last.entry(statement.site).or_insert((statement.seq, witness.network, opinion));
        if statement.seq > entry.0 {
            *entry = (statement.seq, witness.network, opinion);
        }
    }
    let mut voices: Vec<Voice> = last
        .into_iter()
        .map(|(site, (_, network, opinion))| Voice {
            site,
            network,
            opinion,
            place: trust.place(&site, now),
        })
        .collect();
    voices.sort_unstable_by_key(|voice| voice.site);
    voices
}

/// Networks whose revokes are out of the ordinary; none where nobody among them counts by himself.
pub(crate) fn revoking_networks(voices: &[Voice], trust: &Trust, now: Time) -> usize {
    let against = voices.iter().filter(|voice| {
        voice.opinion == Opinion::Revoke
            && voice.place.weight > 0.0
            && trust.revokes_rarely(&voice.site, now)
    });
    let against: Vec<&Voice> = against.collect();
    match against.iter().any(|voice| voice.counts()) {
        true => against.iter().map(|voice| voice.network).collect::<BTreeSet<_>>().len(),
        false => 0,
    }
}

fn is_report(opinion: Opinion) -> bool {
    matches!(opinion, Opinion::Report | Opinion::TrapReport)
}

/// A mail whose outcome is not known yet.
#[derive(Clone, Debug)]
struct Case {
    opened: Time,
    early: BTreeSet<SiteId>,
    spoken: BTreeSet<SiteId>,
    judged: bool,
    confirmed: bool,
    contradicted: bool,
}

/// All mails under observation.
#[derive(Clone, Debug, Default)]
pub struct Hindsight {
    cases: HashMap<u64, Case>,
}

impl Hindsight {
    /// Looks at a mail once more: `mail` names it, `judgement` is what was just made of `matches`.
    /// True when somebody's record has changed.
    pub fn note(
        &mut self,
        mail: u64,
        matches: &[Match],
        judgement: &Judgement,
        trust: &mut Trust,
        now: Time,
    ) -> bool {
        let voices = voices(matches, trust, now);
        if voices.is_empty() {
            return false;
        }
        self.make_room(now);
        let case = self.cases.entry(mail).or_insert_with(|| Case {
            opened: now,
            early: BTreeSet::new(),
            spoken: BTreeSet::new(),
            judged: false,
            confirmed: false,
            contradicted: false,
        });
        let mut changed = case.listen(&voices, trust, now);
        if !case.judged {
            let reporters = voices.iter().filter(|one| is_report(one.opinion) && one.counts());
            let room = EARLY_MAX.saturating_sub(case.early.len());
            case.early.extend(reporters.take(room).map(|voice| voice.site));
            case.judged = judgement.conclusion == Conclusion::Spam;
        }
        let home = judgement.home;
        changed |= case.confirm(&voices, home, trust, now);
        changed |= case.contradict(&voices, judgement, trust, now);
        changed
    }

    fn make_room(&mut self, now: Time) {
        if self.cases.len() < CASES_MAX {
            return;
        }
        self.cases.retain(|_, case| now.secs_since(case.opened) < KEEP_SECS);
        if self.cases.len() >= CASES_MAX {
            let mut opened: Vec<Time> = self.cases.values().map(|case| case.opened).collect();
            opened.sort_unstable();
            let old = opened[opened.len() / 4];
            self.cases.retain(|_, case| case.opened > old);
        }
    }
}

impl Case {
    /// Counts what each site says, once a mail.
    fn listen(&mut self, voices: &[Voice], trust: &mut Trust, now: Time) -> bool {
        let mut changed = false;
        for voice in voices.iter().filter(|voice| voice.place.weight > 0.0) {
            if self.spoken.len() < SPOKEN_MAX && self.spoken.insert(voice.site) {
                trust.records_mut().spoke(voice.site, voice.opinion, now);
                changed = true;
            }
        }
        changed
    }

    fn confirm(
        &mut self,
        voices: &[Voice],
        home: Option<Opinion>,
        trust: &mut Trust,
        now: Time,
    ) -> bool {
        let own = home.is_some_and(is_report);
        if self.confirmed || !(self.judged || own) || home == Some(Opinion::Revoke) {
            return false;
        }
        let later: Vec<&Voice> = voices
            .iter()
            .filter(|one| is_report(one.opinion) && one.counts() && !self.early.contains(&one.site))
            .collect();
        let others = |branch: SiteId| {
            let others = later.iter().filter(|voice| voice.place.branch != branch);
            others.map(|voice| voice.network).collect::<BTreeSet<_>>().len()
        };
        let mut branches = BTreeSet::new();
        let home_site = trust.home();
        for site in self.early.iter().filter(|site| **site != home_site) {
            let Some(voice) = voices.iter().find(|voice| voice.site == *site) else { continue };
            let branch = voice.place.branch;
            if is_report(voice.opinion)
                && (own || others(branch) >= CONFIRMING_NETWORKS)
                && branches.insert(branch)
            {
                trust.records_mut().confirm(*site, now);
                self.confirmed = true;
            }
        }
        // Who revoked what is confirmed now was wrong.
        let certain = own || later.len() >= CONFIRMING_NETWORKS;
        if (self.confirmed || own)
            && certain
            && (own || revoking_networks(voices, trust, now) < REVOKING_NETWORKS)
        {
            self.confirmed = true;
            blame(voices, |opinion| opinion == Opinion::Revoke, trust, now);
        }
        self.confirmed
    }

    fn contradict(
        &mut self,
        voices: &[Voice],
        judgement: &Judgement,
        trust: &mut Trust,
        now: Time,
    ) -> bool {
        let own = judgement.home == Some(Opinion::Revoke);
        let others = judgement.conclusion == Conclusion::Contested
            && !judgement.home.is_some_and(is_report)
            && revoking_networks(voices, trust, now) >= REVOKING_NETWORKS;
        if self.contradicted || !(own || others) {
            return false;
        }
        self.contradicted = true;
        blame(voices, is_report, trust, now);
        true
    }
}

fn blame(voices: &[Voice], wrong: impl Fn(Opinion) -> bool, trust: &mut Trust, now: Time) {
    let home = trust.home();
    for voice in voices.iter().filter(|voice| wrong(voice.opinion) && voice.site != home) {
        if voice.place.weight > 0.0 {
            trust.records_mut().contradict(voice.site, now);
        }
    }
}
