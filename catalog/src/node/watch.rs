//! Noticing who is gone, and keys whose six holders are all gone.
//!
//! Traffic tells most: every mail speaks with up to 200 peers. What it does not tell, a *look*
//! does: a member that was not heard of is asked for nothing (a request and an answer of four
//! bytes each), one in ten seconds at peace. Who finds one gone looks closely for a while, because
//! where one went more may have, and first at those that hold what lies here too: so a whole region
//! that fails is noticed within minutes, at a cost that follows the failures and not the size of the
//! network.
//!
//! Key decision: a key whose six holders crash together is an *orphan*. Its statements lie whole
//! at the six holders of their least key too, with all their keys, and these offer them to who
//! holds the orphan now. So a key is lost when twelve go at once (and the site that said it), not
//! six; in peace that costs no byte. Eight replicas would cost a third of every mail.

use smallvec::SmallVec;

use crate::digest::Key;
use crate::node::api::{Now, Purpose};
use crate::node::config::REPLICAS;
use crate::node::host::NodeId;
use crate::node::membership::{Row, mix};
use crate::node::placement::regular;
use crate::node::replica::home_of;
use crate::node::state::{Node, Pending};
use crate::node::wire::{Ref, Request, Tag};

/// Time between two looks at peace, in milliseconds: 8,640 a day, beside some 200,000 requests of
/// a site of 1,000 mails a day.
const PEACE_MS: u64 = 10_000;
/// Looks in a second while looking closely.
const CLOSELY: usize = 4;
/// Looks at members in turn that one found gone is worth, and most that wait: where one of 16 is gone,
/// the next is found before they are used up.
const LOOKS: usize = 16;
const LOOKS_MAX: usize = 64;
/// Of these, for members that hold what lies here too; and most such that are noted, half of them by
/// the keys held here, and the rest by the other keys of whole statements.
const FIRST: usize = 3;
const FIRST_MAX: usize = 16;
/// From when a member counts as not heard of, in milliseconds: looking closely, and at peace.
const QUIET_MS: (u64, u64) = (60_000, 300_000);
/// How long a member has to answer, in milliseconds.
const LOOK_MS: u64 = 5_000;
/// Seconds in which every whole statement's keys are looked at once: 100,000 statements of 23 keys
/// are 9,600 placements a second, of about 2 us each.
const TEND_SECS: usize = 240;
/// Least statements in a second.
const TEND_LEAST: usize = 16;
/// Members that must be gone for a key to be an orphan.
const GONE_LEAST: usize = REPLICAS;
/// Holders of the least key, by nearness, that offer an orphan: one may not have noticed yet.
const TENDERS: usize = 3;

/// Where looking stands.
#[derive(Default)]
pub(crate) struct Watch {
    place: u64,
    look_ms: u64,
    looks: usize,
    gone: usize,
    next: Option<Tag>,
    first: Vec<NodeId>,
}

impl Watch {
    /// While looking closely: these hold a key of what lies here, so they are looked at first.
    pub(crate) fn note_holders<'a>(&mut self, rows: impl Iterator<Item = &'a Row>, now: Now) {
        self.note(rows, FIRST_MAX / 2, now);
    }

    fn note<'a>(&mut self, rows: impl Iterator<Item = &'a Row>, most: usize, now: Now) {
        if self.looks == 0 {
            return;
        }
        for row in rows {
            let node = row.record.node;
            if self.first.len() < most
                && row.is_quiet(QUIET_MS.0, now)
                && !self.first.contains(&node)
            {
                self.first.push(node);
            }
        }
    }
}

impl Node {
    /// Asks members that were not heard of whether they are there.
    pub(crate) fn look_around(&mut self, now: Now) {
        let gone = self.members.down();
        let found = gone.saturating_sub(self.watch.gone);
        self.watch.gone = gone;
        self.watch.looks = (self.watch.looks + found.min(LOOKS_MAX) * LOOKS).min(LOOKS_MAX);
        let closely = self.watch.looks > 0;
        let due = now.ms >= self.watch.look_ms.saturating_add(PEACE_MS);
        let (count, quiet_ms) = match (closely, due) {
            (true, _) => (CLOSELY, QUIET_MS.0),
            (false, true) => (1, QUIET_MS.1),
            (false, false) => return,
        };
        let mut first = std::mem::take(&mut self.watch.first);
        first.retain(|node| {
            let row = self.members.get(*node).filter(|_| closely && *node != self.id);
            row.is_some_and(|row| row.is_quiet(quiet_ms, now))
        });
        first.truncate(FIRST);
        let rest = count - first.len().min(count);
        let (mut quiet, next) = self.members.quiet(self.watch.place, rest, quiet_ms, now);
        self.watch.place = next;
        self.watch.look_ms = now.ms;
        self.watch.looks = self.watch.looks.saturating_sub(quiet.len());
        quiet.retain(|node| !first.contains(node));
        quiet.extend(first);
        for node in quiet {
            self.counters.looks += 1;
            let pending = Pending::Fetch { job: None, tags: Vec::new() };
            let request = Request::Fetch(Vec::new());
            self.send(node, &request, Purpose::Members, pending, LOOK_MS, now);
        }
    }

    /// Offers keys that are orphans, of statements that lie here whole, to who holds them now.
    pub(crate) fn tend_orphans(&mut self, now: Now) {
        if self.members.down() < GONE_LEAST {
            return;
        }
        let count = (self.replica.bodies() / TEND_SECS).max(TEND_LEAST);
        let from = self.watch.next.unwrap_or(Tag(0));
        let mut last = None;
        let mut offers = Vec::new();
        let mut sums = Vec::new();
        for (tag, body) in self.replica.bodies_from(from, count) {
            last = Some(tag);
            let Some(home) = home_of(&body.statement) else { continue };
            let orphans: Vec<Key> = body
                .statement
                .keys()
                .iter()
                .copied()
                .filter(|key| *key != home)
                .filter(|key| {
                    let holders: SmallVec<[&Row; REPLICAS]> =
                        regular(&self.members, *key).collect();
                    self.watch.note(holders.iter().copied(), FIRST_MAX, now);
                    !holders.is_empty() && holders.iter().all(|row| !row.up())
                })
                .collect();
            if orphans.is_empty()
                || !self.nodes_of(home).iter().take(TENDERS).any(|node| *node == self.id)
            {
                continue;
            }
            let (mut sum, first) = (0, offers.len());
            for key in orphans {
                for node in self.nodes_of(key) {
                    let place = u64::from_le_bytes(node.0[..8].try_into().unwrap_or_default());
                    sum ^= mix(key.0 ^ mix(place));
                    offers.push((node, Ref { key, tag, home }));
                }
            }
            if sum == body.tended {
                offers.truncate(first);
            } else {
                sums.push((tag, sum));
            }
        }
        self.watch.next = last.and_then(|tag| tag.0.checked_add(1)).map(Tag);
        self.counters.orphans += sums.len() as u64;
        sums.into_iter().for_each(|(tag, sum)| self.replica.tended(tag, sum));
        offers.into_iter().for_each(|(node, one)| self.queue_offer(node, true, one));
    }
}
