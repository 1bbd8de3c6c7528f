//! Whose word weighs what here, kept up to date: whom this site vouches for, whom others do, who
//! was proved to lie, and what became of everybody's opinions.
//!
//! Main item: [`Weights`]. Key decision: checks read a copy of the weights that is at most
//! [`FRESH_SECS`] old (`Settings`), so none ever waits for a walk over all vouches.

mod invites;
mod list;
mod tend;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use novacula_catalog::node::{Invite, Keep};
use novacula_catalog::store::{LoadedNetwork, Save, SaveNetwork, SaveSide, Side};
use novacula_catalog::{
    Hindsight, Identity, Judgement, Kind, Match, Probe, Records, Shelf, SiteId, Time, Trust,
    VOUCH_RENEW_SECS, VouchList, Walk,
};
use novacula_client::{Introducer, SiteTrust, TrustReply};

pub(super) use self::tend::tend;
use super::networks::Networks;
use super::{Agent, AgentError};
use crate::config::Config;
use crate::maillog;

/// The walk over vouches is taken anew this often at most, and the copy for checks made anew, in
/// seconds.
const FRESH_SECS: u64 = 10;
/// What sites did is written to the disk this often, in seconds.
const SAVE_SECS: u64 = 60;
/// When a mail of which somebody spoke is looked at once more, in seconds (4 h: most people have
/// read their mail by then; a choice).
const AGAIN_SECS: u64 = 4 * 3600;
/// Most mails that wait for that, about 300 bytes each; at the bound no more are taken.
const AGAIN_MAX: usize = 10_000;
/// Of these looked at in one second.
const AGAIN_A_SECOND: usize = 8;

/// Most sites that are shown.
const SITES_SHOWN_MAX: usize = 1_000;

/// A mail to be looked at once more.
struct Again {
    due: Time,
    mail: u64,
    probe: Probe,
}

/// All that weights follow from.
struct Weighing {
    home: SiteId,
    vouched: BTreeSet<SiteId>,
    lists: HashMap<SiteId, VouchList>,
    /// In which network a site's list is held.
    listed: HashSet<(Side, SiteId)>,
    equivocators: HashSet<SiteId>,
    trust: Trust,
    hindsight: Hindsight,
    again: VecDeque<Again>,
    waiting: HashSet<u64>,
    /// The walk must be taken anew.
    stale: bool,
    /// Records changed since the copy for checks was made.
    moved: bool,
    made: Time,
    saved: Time,
    /// Own list as it was signed last.
    own: Option<Vec<u8>>,
    /// It was said since the start.
    said: bool,
    /// Invitations that this site gave.
    invites: Vec<Invite>,
    /// The node knows them.
    invites_said: bool,
}

/// Weights, and what they follow from.
pub(super) struct Weights(Mutex<Weighing>);

/// What sites weigh, by network.
#[derive(Clone)]
pub(super) struct Weighed {
    pub(super) main: Trust,
    /// Among the members of the private group.
    pub(super) group: Option<Trust>,
}

impl Weighed {
    /// Sites of either network that a place is kept for.
    pub(super) fn shelves(&self, networks: &Networks, now: Time) -> Vec<(SiteId, Shelf)> {
        let members = networks.iter().flat_map(super::networks::Network::counting);
        let members = members.map(|site| (site, Shelf::Counting));
        let group = self.group.iter().flat_map(|trust| trust.shelves(now));
        self.main.shelves(now).into_iter().chain(group).chain(members).collect()
    }
}

impl Weighing {
    /// The weights by network: vouches lead through the main one, members of a private group count
    /// by themselves; who lied or revokes everything did so in both.
    fn weighed(&self, config: &Config) -> Weighed {
        let group = config.group_trust(self.home).map(|trust| {
            trust
                .with_records(self.trust.records().clone())
                .with_equivocators(self.equivocators.iter().copied())
        });
        Weighed { main: self.trust.clone(), group }
    }

    /// Takes the walk, and puts everything together.
    fn weigh(&mut self, config: &Config, now: Time) -> Weighed {
        let none: &[SiteId] = &[];
        // Where only members can speak nobody needs to be introduced.
        let walk = match config.is_closed() {
            true => Walk::default(),
            false => Walk::over(
                self.home,
                &self.vouched,
                |site| self.lists.get(site).map_or(none, VouchList::sites),
                |site| self.equivocators.contains(site),
            ),
        };
        self.trust = config
            .trust(self.home)
            .with_vouches(self.vouched.clone(), walk)
            .with_records(self.trust.records().clone())
            .with_equivocators(self.equivocators.iter().copied());
        (self.stale, self.moved, self.made) = (false, false, now);
        self.weighed(config)
    }

    /// The list that this site should be saying, if another than it says.
    fn own_list(&self, now: Time) -> Option<VouchList> {
        let old = self.lists.get(&self.home);
        if old.is_none() && self.vouched.is_empty() {
            return None;
        }
        let least = old.map_or(0, |old| old.made.0 + 1);
        let new = VouchList::new(self.home, Time(now.0.max(least)), self.vouched.iter().copied());
        let holds = old.is_some_and(|old| {
            old.sites() == new.sites() && now.secs_since(old.made) < VOUCH_RENEW_SECS
        });
        (!holds).then_some(new)
    }

    /// Another host of this site said whom the site vouches for: the later word holds, but what
    /// was decided here and not said yet is added to it.
    fn adopt(&mut self, list: &VouchList) -> Vec<SaveNetwork> {
        let said = self.lists.get(&self.home).map(VouchList::sites);
        let unsaid = !self.vouched.iter().eq(said.unwrap_or_default());
        let theirs: BTreeSet<SiteId> = list.sites().iter().copied().collect();
        let all = if unsaid { &theirs | &self.vouched } else { theirs };
        let gone = self.vouched.difference(&all).map(|site| SaveNetwork::Unvouch(*site));
        let new = all.difference(&self.vouched).map(|site| SaveNetwork::Vouch(*site, list.made));
        let saves = gone.chain(new).collect();
        self.vouched = all;
        self.invites_said = false;
        saves
    }
}

impl Weights {
    pub(super) fn new(
        config: &Config,
        home: SiteId,
        networks: &Networks,
        loaded: LoadedNetwork,
        now: Time,
    ) -> Self {
        let mut lists: HashMap<SiteId, VouchList> = HashMap::new();
        let (mut listed, mut equivocators, mut own) = (HashSet::new(), HashSet::new(), None);
        for network in networks.iter() {
            let held = network.loaded();
            for signed in &held.vouch_lists {
                let Ok(list) = VouchList::decode(signed) else { continue };
                listed.insert((network.side(), list.site));
                if lists.get(&list.site).is_some_and(|other| other.made >= list.made) {
                    continue;
                }
                if list.site == home {
                    own = Some(signed.clone());
                }
                lists.insert(list.site, list);
            }
            let proofs = held.proofs.iter();
            equivocators.extend(proofs.filter_map(|(first, _)| {
                novacula_catalog::Statement::decode(first).ok().map(|statement| statement.site)
            }));
        }
        let mut weighing = Weighing {
            home,
            vouched: loaded.vouched.into_iter().collect(),
            lists,
            listed,
            equivocators,
            trust: Trust::home_only(home).with_records(Records::load(loaded.records)),
            hindsight: Hindsight::default(),
            again: VecDeque::new(),
            waiting: HashSet::new(),
            stale: false,
            moved: false,
            made: now,
            saved: now,
            own,
            said: false,
            invites: loaded.invites,
            invites_said: false,
        };
        weighing.weigh(config, now);
        Self(Mutex::new(weighing))
    }

    fn lock(&self) -> MutexGuard<'_, Weighing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The weights as they are.
    pub(super) fn trust(&self) -> Trust {
        self.lock().trust.clone()
    }

    /// The same by network.
    pub(super) fn weighed(&self, config: &Config) -> Weighed {
        self.lock().weighed(config)
    }

    /// Somebody else belongs to the private group.
    pub(super) fn moved(&self) {
        self.lock().moved = true;
    }

    /// A network begins: it knows nothing of what this site says of others.
    pub(super) fn say_anew(&self) {
        let weighing = &mut *self.lock();
        (weighing.said, weighing.invites_said) = (false, false);
    }

    /// The weights by this configuration.
    pub(super) fn weigh(&self, config: &Config, now: Time) -> Weighed {
        self.lock().weigh(config, now)
    }

    /// Sites whose word counts because an administrator said so.
    pub(super) fn vouched(&self) -> BTreeSet<SiteId> {
        self.lock().vouched.clone()
    }

    /// What sites weigh, and why: one, or all that vouches lead to, that are configured or earned
    /// or lost credit, and the `others`.
    fn explain(&self, site: Option<SiteId>, others: &[SiteId], now: Time) -> TrustReply {
        let weighing = self.lock();
        let trust = &weighing.trust;
        let mut introducers: HashMap<SiteId, Vec<Introducer>> = HashMap::new();
        for list in weighing.lists.values().filter(|list| list.site != weighing.home) {
            let lies = weighing.equivocators.contains(&list.site);
            for one in list.sites() {
                let gives = if lies { 0.0 } else { trust.walk().gives(&list.site, one) };
                let by = Introducer { site: list.site.to_string(), gives };
                introducers.entry(*one).or_default().push(by);
            }
        }
        let all: BTreeSet<SiteId> = match site {
            Some(site) => [site].into(),
            None => {
                let walked = trust.walk().sites().map(|(site, _)| *site);
                let lied = weighing.equivocators.iter().copied();
                let named = weighing.vouched.iter().chain(others).copied();
                let judged = trust.records().iter().filter(|(_, record)| record.credit != 0.0);
                let judged = judged.map(|(site, _)| *site);
                walked.chain(lied).chain(named).chain(judged).chain(trust.configured()).collect()
            }
        };
        let explain = |site: &SiteId| {
            let mut by = introducers.remove(site).unwrap_or_default();
            by.sort_by(|a, b| b.gives.total_cmp(&a.gives).then_with(|| a.site.cmp(&b.site)));
            explain(trust, site, by, now)
        };
        let mut sites: Vec<SiteTrust> = all.iter().map(explain).collect();
        sites.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.site.cmp(&b.site)));
        // Home is one of them.
        let counting = trust.counting(now).saturating_sub(1);
        sites.truncate(SITES_SHOWN_MAX);
        TrustReply { counting, sites }
    }

    /// Looks at what became of a mail.
    pub(super) fn note(
        &self,
        read: (u64, &Probe),
        matches: &[Match],
        judgement: &Judgement,
        now: Time,
    ) {
        let opinion = |one: &Match| matches!(one.witness.statement.kind, Kind::Opinion { .. });
        if !matches.iter().any(opinion) {
            return;
        }
        let (mail, probe) = read;
        let weighing = &mut *self.lock();
        weighing.moved |=
            weighing.hindsight.note(mail, matches, judgement, &mut weighing.trust, now);
        if weighing.again.len() < AGAIN_MAX && weighing.waiting.insert(mail) {
            let due = Time(now.0 + AGAIN_SECS);
            weighing.again.push_back(Again { due, mail, probe: probe.clone() });
        }
    }

    /// Mails whose time has come.
    fn due(&self, now: Time) -> Vec<Again> {
        let mut weighing = self.lock();
        let count = weighing.again.iter().take(AGAIN_A_SECOND).take_while(|one| one.due <= now);
        let count = count.count();
        let due: Vec<Again> = weighing.again.drain(..count).collect();
        for one in &due {
            weighing.waiting.remove(&one.mail);
        }
        due
    }

    /// Takes in what a network tells; gives what is to be stored.
    pub(super) fn hear(&self, side: Side, keep: Keep) -> Vec<SaveNetwork> {
        let weighing = &mut *self.lock();
        let mut saves = Vec::new();
        let save = match keep {
            Keep::Vouches { site, signed } => {
                let Ok(list) = VouchList::decode(&signed) else { return Vec::new() };
                let made = list.made;
                weighing.listed.insert((side, site));
                // The other network may know a later one already.
                if weighing.lists.get(&site).is_none_or(|other| other.made < made) {
                    if site == weighing.home {
                        saves = weighing.adopt(&list);
                        weighing.own = Some(signed.clone());
                    }
                    weighing.lists.insert(site, list);
                    weighing.stale = true;
                }
                SaveSide::VouchList(site, made, signed)
            }
            Keep::Unvouched { site } => {
                weighing.listed.remove(&(side, site));
                if !Side::ALL.iter().any(|side| weighing.listed.contains(&(*side, site))) {
                    weighing.stale |= weighing.lists.remove(&site).is_some();
                }
                SaveSide::Unlisted(site)
            }
            Keep::Equivocator { site, first, second } => {
                if weighing.equivocators.insert(site) {
                    weighing.stale = true;
                    maillog::equivocator(&site);
                }
                SaveSide::Equivocator(site, first, second)
            }
            // The agent's to decide: `Agent::accepted`.
            Keep::Accepted { .. } => return Vec::new(),
            Keep::Settled { seq } => SaveSide::Settled(seq),
            Keep::Member { node, record } => SaveSide::Member(node, record),
            Keep::Forget { node } => SaveSide::Forget(node),
        };
        saves.push(SaveNetwork::Of(side, save));
        saves
    }

    /// Records that changed since they were written last.
    fn unsaved(&self, now: Time) -> Vec<Save> {
        let mut weighing = self.lock();
        if now.secs_since(weighing.saved) < SAVE_SECS {
            return Vec::new();
        }
        let since = std::mem::replace(&mut weighing.saved, now);
        let records = weighing.trust.records().iter().filter(|(_, record)| record.at >= since);
        records.map(|(site, of)| Save::Network(SaveNetwork::Record(*site, *of))).collect()
    }

    /// Own list, signed anew where it changed or grew old, if it is to be said.
    fn to_say(&self, identity: &Identity, now: Time) -> Option<(Vec<u8>, Option<SaveNetwork>)> {
        let mut weighing = self.lock();
        let mut save = None;
        if let Some(list) = weighing.own_list(now) {
            let signed = list.sign(identity);
            let saved = SaveSide::VouchList(list.site, list.made, signed.clone());
            save = Some(SaveNetwork::Of(Side::Main, saved));
            weighing.lists.insert(list.site, list);
            (weighing.own, weighing.said) = (Some(signed), false);
        }
        if std::mem::replace(&mut weighing.said, true) {
            return None;
        }
        weighing.own.clone().map(|signed| (signed, save))
    }
}

fn explain(trust: &Trust, site: &SiteId, introducers: Vec<Introducer>, now: Time) -> SiteTrust {
    let place = trust.place(site, now);
    let record = trust.records().get(site, now);
    SiteTrust {
        site: site.to_string(),
        weight: place.weight,
        ground: place.ground.name().into(),
        standing: place.standing,
        // Also where it does not count yet: of a stranger, say.
        credit: record.map_or(0.0, |record| record.credit),
        branch: place.branch.to_string(),
        depth: trust.walk().standing(site).map(|standing| standing.depth),
        introducers,
        reports: record.map_or(0.0, |record| record.reports),
        revokes: record.map_or(0.0, |record| record.revokes),
        revokes_count: trust.revokes_rarely(site, now),
    }
}
