//! What travels about sites, and not about mail: signed lists of whom each vouches for, and proofs
//! that a site gave one number twice. Every node holds all of them, so that each can weigh sites
//! for itself; what they weigh is the agent's business ([`crate::Trust`]).
//!
//! Key decision: a site says its list in whole, and only a later one replaces it, so what is held
//! is the same everywhere whatever the order of arrival. New words go by gossip; tables are
//! compared by sums now and then, as those of members are, for who was not there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::clock::Time;
use crate::identity::SiteId;
use crate::node::api::{Action, GossipVerdict, Keep, Now, Purpose, Topic};
use crate::node::host::NodeId;
use crate::node::membership::mix;
use crate::node::state::{Node, Pending};
use crate::node::wire::{
    Gossip, MEMBER_BUCKETS, PROOF_LIST_MAX, RESPONSE_LEN_MAX, Request, Response, VOUCH_LIST_MAX,
};
use crate::statement::Statement;
use crate::trust::{AHEAD_SECS_MAX, VOUCH_KEEP_SECS, VouchList};

/// Most lists held: 45 MB if every one is full. A choice; sites are fewer than hosts.
pub(crate) const LISTS_MAX: usize = 20_000;
/// Most proofs of equivocation held, about 1 kB each.
pub(crate) const PROOFS_MAX: usize = 1_000;
/// Time between comparisons of tables, in milliseconds: until one found nothing new, and after.
const SYNC_MS: (u64, u64) = (1_000, 600_000);
/// Who is asked by somebody with another table compares his own this soon, in milliseconds.
const SOON_MS: u64 = 10_000;
/// How long a peer has to answer, in milliseconds.
const ASK_MS: u64 = 5_000;
/// How often a peer that did not answer is asked again before others are: its connection may be one
/// that its crash left behind, and what it holds may be nowhere else.
const TRIES_MAX: u8 = 3;
/// How often it is found out anew, at the bound, whom vouches lead to, in milliseconds.
const REACH_MS: u64 = 60_000;

/// Two statements of one site under one number.
pub(crate) type Proof = (Vec<u8>, Vec<u8>);

struct Held {
    made: Time,
    signed: Arc<[u8]>,
}

/// All lists and proofs.
#[derive(Default)]
pub(crate) struct Vouches {
    lists: BTreeMap<SiteId, Held>,
    proofs: BTreeMap<SiteId, Proof>,
    /// On how many lists a site is named.
    named: HashMap<SiteId, u32>,
    sums: Box<Sums>,
    sync_ms: u64,
    synced: bool,
    /// This comparison has brought something.
    news: bool,
    /// Who did not answer and is asked again, and how often that was in a row.
    owed: Option<NodeId>,
    tries: u8,
    /// Sites that vouches of this one lead to, and when that was found out.
    reached: (HashSet<SiteId>, u64),
}

struct Sums([u64; MEMBER_BUCKETS]);

impl Default for Sums {
    fn default() -> Self {
        Self([0; MEMBER_BUCKETS])
    }
}

/// The part of the table in which a site is: the first bits of its key.
fn part_of(site: &SiteId) -> usize {
    usize::from(site.0[0]) * MEMBER_BUCKETS / 256
}

fn sum_of(site: &SiteId, what: u64) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&site.0[..8]);
    mix(u64::from_le_bytes(first) ^ mix(what))
}

impl Vouches {
    /// Lists held.
    pub(crate) fn lists(&self) -> usize {
        self.lists.len()
    }

    /// Proofs held.
    pub(crate) fn proofs(&self) -> impl Iterator<Item = (SiteId, &Proof)> {
        self.proofs.iter().map(|(site, proof)| (*site, proof))
    }

    /// When the list held of a site was made.
    fn made(&self, site: &SiteId) -> Option<Time> {
        self.lists.get(site).map(|held| held.made)
    }

    fn set(&mut self, list: &VouchList, signed: &[u8]) {
        self.drop_list(&list.site);
        self.sums.0[part_of(&list.site)] ^= sum_of(&list.site, list.made.0);
        for site in list.sites() {
            *self.named.entry(*site).or_default() += 1;
        }
        self.lists.insert(list.site, Held { made: list.made, signed: signed.into() });
    }

    fn drop_list(&mut self, site: &SiteId) {
        let Some(old) = self.lists.remove(site) else { return };
        self.sums.0[part_of(site)] ^= sum_of(site, old.made.0);
        for site in VouchList::decode(&old.signed).iter().flat_map(VouchList::sites) {
            if let Some(count) = self.named.get_mut(site) {
                *count -= 1;
                if *count == 0 {
                    self.named.remove(site);
                }
            }
        }
    }

    /// Keeps a proof; false when it is known, or there is no room.
    fn prove(&mut self, site: SiteId, proof: Proof) -> bool {
        if self.proofs.contains_key(&site) || self.proofs.len() >= PROOFS_MAX {
            return false;
        }
        // Which two statements they are does not matter: one proof is as good as another.
        self.sums.0[part_of(&site)] ^= sum_of(&site, u64::MAX);
        self.proofs.insert(site, proof);
        true
    }

    /// The sites of a part of which something is held, beyond `after`.
    fn sites_of(&self, part: usize, after: SiteId) -> BTreeSet<SiteId> {
        let from = (Bound::Excluded(after.max(first_of(part))), Bound::Unbounded);
        let lists = self.lists.range(from).map(|(site, _)| site);
        let proofs = self.proofs.range(from).map(|(site, _)| site);
        let of_part = |site: &&SiteId| part_of(site) == part;
        lists.take_while(of_part).chain(proofs.take_while(of_part)).copied().collect()
    }

    /// Makes room for a list that vouches of `home` lead to by one that they don't.
    fn make_room(&mut self, home: SiteId, site: &SiteId, now: Now) -> Option<SiteId> {
        if self.reached.0.is_empty() || now.ms >= self.reached.1.saturating_add(REACH_MS) {
            self.reached = (self.reach(home), now.ms);
        }
        if !self.reached.0.contains(site) {
            return None;
        }
        let gone = self.lists.keys().find(|one| !self.reached.0.contains(one)).copied()?;
        self.drop_list(&gone);
        Some(gone)
    }

    fn reach(&self, home: SiteId) -> HashSet<SiteId> {
        let (mut found, mut next) = (HashSet::from([home]), vec![home]);
        while let Some(site) = next.pop() {
            let Some(held) = self.lists.get(&site) else { continue };
            let list = VouchList::decode(&held.signed);
            let new = list.iter().flat_map(VouchList::sites).filter(|one| found.insert(**one));
            next.extend(new.copied());
        }
        found
    }
}

/// What became of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    New,
    Known,
    Refused,
    False,
}

impl Node {
    /// What was held at the last start, checked when it came in.
    pub(crate) fn fill_vouches(&mut self, lists: &[Vec<u8>], proofs: Vec<Proof>, now: Now) {
        for signed in lists {
            if let Ok(list) = VouchList::decode(signed)
                && self.vouches.lists.len() < LISTS_MAX
                && now.wall.secs_since(list.made) <= VOUCH_KEEP_SECS
            {
                self.vouches.set(&list, signed);
            }
        }
        for proof in proofs {
            if let Ok(statement) = Statement::decode(&proof.0) {
                self.vouches.prove(statement.site, proof);
            }
        }
        self.count_vouches();
    }

    /// The agent says whom its site vouches for.
    pub(crate) fn vouch(&mut self, signed: &[u8]) {
        let Ok(list) = VouchList::decode(signed) else { return };
        if list.site != self.certificate.site {
            return;
        }
        if self.vouches.made(&list.site).is_none_or(|made| made < list.made) {
            self.vouches.set(&list, signed);
            self.count_vouches();
        }
        // Said again even if it is known: that is what a start and a renewal are for.
        let held = self.vouches.lists.get(&list.site).map(|held| held.signed.to_vec());
        if let Some(held) = held.filter(|_| self.members.rows().len() > 1) {
            self.gossip(Topic::Members, &Gossip::Vouches(held));
        }
    }

    /// Takes in a list of anybody.
    fn take_list(&mut self, signed: &[u8], now: Now) -> Taken {
        let Ok(said) = VouchList::decode(signed) else { return Taken::False };
        if self.vouches.made(&said.site).is_some_and(|made| made >= said.made) {
            return Taken::Known;
        }
        let timely = said.made.0 <= now.wall.0.saturating_add(AHEAD_SECS_MAX)
            && now.wall.secs_since(said.made) <= VOUCH_KEEP_SECS;
        let home = self.certificate.site;
        let wanted = said.site == home
            || self.members.network_of(said.site).is_some()
            || self.vouches.named.contains_key(&said.site);
        if !timely || !wanted {
            self.counters.vouches_refused += 1;
            return Taken::Refused;
        }
        let Ok(list) = self.config.verifier.vouches(signed) else { return Taken::False };
        if self.vouches.lists.len() >= LISTS_MAX && self.vouches.made(&list.site).is_none() {
            let Some(gone) = self.vouches.make_room(home, &list.site, now) else {
                self.counters.vouches_refused += 1;
                return Taken::Refused;
            };
            self.out.push(Action::Keep(Keep::Unvouched { site: gone }));
        }
        self.vouches.set(&list, signed);
        self.counters.vouches_taken += 1;
        self.count_vouches();
        let keep = Keep::Vouches { site: list.site, signed: signed.to_vec() };
        self.out.push(Action::Keep(keep));
        Taken::New
    }

    /// Judges a list that came by gossip.
    pub(crate) fn hear_vouches(&mut self, from: NodeId, signed: &[u8], now: Now) -> GossipVerdict {
        match self.take_list(signed, now) {
            Taken::New => GossipVerdict::Accept,
            Taken::Known | Taken::Refused => GossipVerdict::Ignore,
            Taken::False => self.false_word(from),
        }
    }

    fn false_word(&mut self, from: NodeId) -> GossipVerdict {
        self.counters.vouches_false += 1;
        self.fault(from);
        GossipVerdict::Reject
    }

    /// The site that two statements prove to have given one number twice.
    fn proved(&self, proof: &Proof) -> Option<SiteId> {
        let (first, second) =
            (Statement::decode(&proof.0).ok()?, Statement::decode(&proof.1).ok()?);
        let same = (first.site, first.seq) == (second.site, second.seq);
        if !same || first.to_bytes() == second.to_bytes() {
            return None;
        }
        let both = [&proof.0, &proof.1];
        let signed = both.iter().all(|one| self.config.verifier.statement(one).is_ok());
        signed.then_some(first.site)
    }

    /// Judges a proof that came by gossip.
    pub(crate) fn hear_proof(&mut self, from: NodeId, proof: Proof) -> GossipVerdict {
        let site = Statement::decode(&proof.0).map(|statement| statement.site);
        if site.is_ok_and(|site| self.vouches.proofs.contains_key(&site)) {
            return GossipVerdict::Ignore;
        }
        let Some(site) = self.proved(&proof) else { return self.false_word(from) };
        match self.keep_proof(site, proof) {
            true => GossipVerdict::Accept,
            false => GossipVerdict::Ignore,
        }
    }

    fn keep_proof(&mut self, site: SiteId, proof: Proof) -> bool {
        if !self.vouches.prove(site, proof.clone()) {
            return false;
        }
        self.count_vouches();
        let (first, second) = proof;
        self.out.push(Action::Keep(Keep::Equivocator { site, first, second }));
        true
    }

    /// Keeps both statements of a site that gave one number twice, and tells everybody.
    pub(crate) fn note_equivocation(&mut self, site: SiteId, proof: Proof) {
        self.counters.equivocations += 1;
        // What was found here may have been stored before it was checked.
        if self.proved(&proof) == Some(site) && self.keep_proof(site, proof.clone()) {
            self.gossip(Topic::Members, &Gossip::Proof(proof.0, proof.1));
        }
    }

    /// Compares tables with somebody, when it is due.
    pub(crate) fn compare_vouches(&mut self, now: Now, rng: &mut fastrand::Rng) {
        let at_rest = self.vouches.synced && self.vouches.owed.is_none();
        let wait = if at_rest { SYNC_MS.1 } else { SYNC_MS.0 };
        if now.ms < self.vouches.sync_ms.saturating_add(wait) {
            return;
        }
        let owed = self.vouches.owed.take();
        let Some(partner) = owed.or_else(|| self.any_member(rng)) else { return };
        self.vouches.sync_ms = now.ms;
        self.vouches.news = false;
        self.ask_vouches(partner, SiteId([0; 32]), now);
    }

    fn ask_vouches(&mut self, partner: NodeId, after: SiteId, now: Now) {
        let request = Request::Vouches { after, sums: Box::new(self.vouches.sums.0) };
        self.send(partner, &request, Purpose::Members, Pending::Vouches { after }, ASK_MS, now);
    }

    /// A peer did not answer.
    pub(crate) fn vouches_unheard(&mut self, partner: NodeId) {
        self.vouches.tries += 1;
        if self.vouches.tries < TRIES_MAX {
            self.vouches.owed = Some(partner);
        } else {
            self.vouches.tries = 0;
        }
    }

    /// Gives the lists and proofs of the parts that differ, by site, from the one after `after`.
    pub(crate) fn serve_vouches(
        &mut self,
        asker: NodeId,
        after: SiteId,
        theirs: &[u64; MEMBER_BUCKETS],
        now: Now,
    ) -> Response {
        if self.vouches.sums.0 != *theirs && now.ms >= self.vouches.sync_ms + SOON_MS {
            // The other may have what is lacking here.
            self.vouches.sync_ms = now.ms;
            self.vouches.news = false;
            self.ask_vouches(asker, SiteId([0; 32]), now);
        }
        let (mut lists, mut proofs, mut len) = (Vec::new(), Vec::new(), 16);
        let both = self.vouches.sums.0.iter().zip(theirs);
        let differ = both.enumerate().filter(|(_, (ours, theirs))| ours != theirs);
        for part in differ.map(|(part, _)| part).filter(|part| *part >= part_of(&after)) {
            for site in self.vouches.sites_of(part, after) {
                let list = self.vouches.lists.get(&site).map(|held| &held.signed);
                let proof = self.vouches.proofs.get(&site);
                len += list.map_or(0, |list| list.len() + 2);
                len += proof.map_or(0, |proof| proof.0.len() + proof.1.len() + 4);
                let full = lists.len() >= VOUCH_LIST_MAX || proofs.len() >= PROOF_LIST_MAX;
                if full || len > RESPONSE_LEN_MAX {
                    return Response::VouchLists { more: true, lists, proofs };
                }
                lists.extend(list.map(|list| list.to_vec()));
                proofs.extend(proof.cloned());
            }
        }
        Response::VouchLists { more: false, lists, proofs }
    }

    /// Lists and proofs of a peer's table, beyond `after`.
    pub(crate) fn vouches_listed(
        &mut self,
        from: NodeId,
        after: SiteId,
        more: bool,
        lists: &[Vec<u8>],
        proofs: Vec<Proof>,
        now: Now,
    ) {
        self.vouches.tries = 0;
        let mut last = after;
        for signed in lists {
            match self.take_list(signed, now) {
                Taken::New => self.vouches.news = true,
                Taken::Known | Taken::Refused => {}
                Taken::False => {
                    self.false_word(from);
                    return;
                }
            }
            last = VouchList::decode(signed).map_or(last, |list| last.max(list.site));
        }
        for proof in proofs {
            let site = Statement::decode(&proof.0).map(|statement| statement.site);
            last = site.as_ref().map_or(last, |site| last.max(*site));
            if site.is_ok_and(|site| self.vouches.proofs.contains_key(&site)) {
                continue;
            }
            let Some(site) = self.proved(&proof) else {
                self.false_word(from);
                return;
            };
            if self.keep_proof(site, proof.clone()) {
                // Others may not have heard of it either; who has just come says nothing.
                if self.vouches.synced {
                    self.gossip(Topic::Members, &Gossip::Proof(proof.0, proof.1));
                }
                self.vouches.news = true;
            }
        }
        // Each page begins after the last one, so this ends.
        if more && last > after {
            self.ask_vouches(from, last, now);
        } else {
            self.vouches.synced = !self.vouches.news;
        }
    }

    /// Lets go of lists that were not renewed.
    pub(crate) fn expire_vouches(&mut self, now: Now) {
        let old = |held: &Held| now.wall.secs_since(held.made) > VOUCH_KEEP_SECS;
        let gone: Vec<SiteId> =
            self.vouches.lists.iter().filter(|one| old(one.1)).map(|one| *one.0).collect();
        for site in gone {
            self.vouches.drop_list(&site);
            self.out.push(Action::Keep(Keep::Unvouched { site }));
        }
        self.count_vouches();
    }

    fn count_vouches(&mut self) {
        self.counters.vouch_lists = self.vouches.lists() as u64;
        self.counters.equivocators = self.vouches.proofs.len() as u64;
    }
}

/// The least key that a part could have.
fn first_of(part: usize) -> SiteId {
    let mut first = [0; 32];
    first[0] = u8::try_from(part * 256 / MEMBER_BUCKETS).unwrap_or(u8::MAX);
    SiteId(first)
}
