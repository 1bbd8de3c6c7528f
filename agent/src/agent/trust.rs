//! Whose word weighs what here, kept up to date: whom this site vouches for, whom others do, who
//! was proved to lie, and what became of everybody's opinions.
//!
//! Main item: [`Weights`]. Key decision: checks read a copy of the weights that is at most
//! [`FRESH_SECS`] old (`Settings`), so none ever waits for a walk over all vouches.

mod invites;
mod list;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use novacula_catalog::node::{Invite, Keep};
use novacula_catalog::store::{LoadedNetwork, Save, SaveNetwork};
use novacula_catalog::{
    Hindsight, Identity, Judgement, Kind, Match, Probe, Records, Reporter, SiteId, Time, Trust,
    VOUCH_RENEW_SECS, VouchList, Walk, judge,
};
use novacula_client::{Introducer, SiteTrust, TrustReply};
use novacula_net::Handle;

use super::peers::{REFRESH_TIME_MAX, administrator};
use super::{Agent, AgentError, Read, Settings};
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

impl Weighing {
    /// Takes the walk, and puts everything together.
    fn weigh(&mut self, config: &Config, now: Time) -> Trust {
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
        self.trust.clone()
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
    pub(super) fn new(config: &Config, home: SiteId, loaded: &LoadedNetwork, now: Time) -> Self {
        let lists = loaded.vouch_lists.iter();
        let lists: HashMap<SiteId, VouchList> = lists
            .filter_map(|signed| VouchList::decode(signed).ok().map(|list| (list.site, list)))
            .collect();
        let own = loaded
            .vouch_lists
            .iter()
            .find(|signed| VouchList::decode(signed).is_ok_and(|list| list.site == home));
        let proofs = loaded.proofs.iter();
        let proved = proofs.filter_map(|(first, _)| {
            novacula_catalog::Statement::decode(first).ok().map(|statement| statement.site)
        });
        let mut weighing = Weighing {
            home,
            vouched: loaded.vouched.iter().copied().collect(),
            lists,
            equivocators: proved.collect(),
            trust: Trust::home_only(home)
                .with_records(Records::load(loaded.records.iter().copied())),
            hindsight: Hindsight::default(),
            again: VecDeque::new(),
            waiting: HashSet::new(),
            stale: false,
            moved: false,
            made: now,
            saved: now,
            own: own.cloned(),
            said: false,
            invites: loaded.invites.clone(),
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

    /// The weights by this configuration.
    pub(super) fn weigh(&self, config: &Config, now: Time) -> Trust {
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
        let counting = trust.counting(now).len().saturating_sub(1);
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

    /// Takes in what the network tells; gives what is to be stored.
    pub(super) fn hear(&self, keep: Keep) -> Vec<SaveNetwork> {
        let mut weighing = self.lock();
        match keep {
            Keep::Vouches { site, signed } => {
                let Ok(list) = VouchList::decode(&signed) else { return Vec::new() };
                let mut saves = Vec::new();
                if site == weighing.home {
                    saves = weighing.adopt(&list);
                    weighing.own = Some(signed.clone());
                }
                saves.push(SaveNetwork::VouchList(site, list.made, signed));
                weighing.lists.insert(site, list);
                weighing.stale = true;
                saves
            }
            Keep::Unvouched { site } => {
                weighing.stale |= weighing.lists.remove(&site).is_some();
                vec![SaveNetwork::Unlisted(site)]
            }
            Keep::Equivocator { site, first, second } => {
                weighing.stale |= weighing.equivocators.insert(site);
                maillog::equivocator(&site);
                vec![SaveNetwork::Equivocator(site, first, second)]
            }
            // The agent's to decide: `Agent::accepted`.
            Keep::Accepted { .. } => Vec::new(),
            Keep::Settled { seq } => vec![SaveNetwork::Settled(seq)],
            Keep::Member { node, record } => vec![SaveNetwork::Member(node, record)],
            Keep::Forget { node } => vec![SaveNetwork::Forget(node)],
        }
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
            save = Some(SaveNetwork::VouchList(list.site, list.made, signed.clone()));
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

impl Agent {
    /// What sites weigh here, and why.
    pub async fn trust(&self, site: Option<SiteId>, now: Time) -> TrustReply {
        let view = self.view(SITES_SHOWN_MAX).await;
        let peers: Vec<SiteId> =
            view.iter().flat_map(|view| &view.peers).map(|peer| peer.site).collect();
        self.weights.explain(site, &peers, now)
    }

    /// An administrator makes a site's word count, or no longer.
    ///
    /// # Errors
    /// [`AgentError`]; nothing has changed then.
    pub async fn vouch(
        &self,
        site: SiteId,
        remove: bool,
        who: &Reporter,
        now: Time,
    ) -> Result<(), AgentError> {
        administrator(who, "vouch for a site")?;
        let _one_at_a_time = self.speaking.lock().await;
        let mut saves = vec![match remove {
            false => SaveNetwork::Vouch(site, now),
            true => SaveNetwork::Unvouch(site),
        }];
        // Of who was invited the invitation goes too: the code does not give the vouch again.
        let invites = if remove { self.weights.invites_of(site) } else { Vec::new() };
        if !remove {
            self.weights.has_room_for(site, now)?;
        }
        saves.extend(invites.iter().map(|id| SaveNetwork::Uninvite(*id)));
        self.save_trust(saves).await?;
        self.weights.drop_invites(&invites);
        maillog::vouched(&site, &who.name, remove);
        self.trust_anew(now, |vouched| match remove {
            false => vouched.insert(site),
            true => vouched.remove(&site),
        });
        if let Some(handle) = self.network.handle() {
            self.weights.say_invites(&handle);
            self.say_vouches(&handle, now).await;
        }
        Ok(())
    }

    async fn save_trust(&self, saves: Vec<SaveNetwork>) -> Result<(), AgentError> {
        let stored = self.disk.save_now(saves.into_iter().map(Save::Network).collect()).await;
        self.note_store();
        stored.map_err(AgentError::Write)
    }

    pub(super) fn trust_anew(&self, now: Time, change: impl FnOnce(&mut BTreeSet<SiteId>) -> bool) {
        change(&mut self.weights.lock().vouched);
        let settings = self.settings();
        self.set_trust(self.weights.weigh(&settings.config, now));
    }

    fn set_trust(&self, trust: Trust) {
        self.tell_trust(&trust, self.network.handle().as_ref());
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        let (learner, _) = *self.learner();
        *settings = Arc::new(Settings::of(&settings.config, trust, &learner));
    }

    /// Tells catalog and node who counts.
    pub(super) fn tell_trust(&self, trust: &Trust, handle: Option<&Handle>) {
        let counting = trust.counting(Time::now());
        self.state().catalog.trust(counting.iter().copied());
        // Without room it is said again when the weights change next.
        let _ = handle.is_none_or(|handle| handle.trust(counting));
    }

    /// Says whom this site vouches for, where that is not known to all yet.
    async fn say_vouches(&self, handle: &Handle, now: Time) {
        // The machine with the site's key says the list; other hosts of the site hear it.
        let Some(key) = self.identity.site_key() else { return };
        let Some((signed, save)) = self.weights.to_say(key, now) else { return };
        if let Some(save) = save {
            // Unsaved it would be made anew, later than this one, at the next start.
            let _ = self.disk.save_now(vec![Save::Network(save)]).await;
        }
        if !handle.vouch(signed) {
            self.weights.lock().said = false;
        }
    }

    /// What is due once a second while the network is on.
    async fn tend_trust(&self, handle: &Handle, now: Time) {
        let (stale, moved) = {
            let weighing = self.weights.lock();
            let due = now.secs_since(weighing.made) >= FRESH_SECS || now < weighing.made;
            (weighing.stale && due, weighing.moved && due)
        };
        if stale {
            let config = &self.settings().config;
            self.set_trust(tokio::task::block_in_place(|| self.weights.weigh(config, now)));
        } else if moved {
            let trust = {
                let mut weighing = self.weights.lock();
                (weighing.moved, weighing.made) = (false, now);
                weighing.trust.clone()
            };
            self.set_trust(trust);
        }
        self.weights.say_invites(handle);
        self.say_vouches(handle, now).await;
        self.weights.unsaved(now).into_iter().for_each(|save| self.disk.save_soon(save));
        for Again { mail, probe, .. } in self.weights.due(now) {
            let matches = self.state().catalog.matches(&probe);
            let known = matches.iter().map(|found| Arc::clone(&found.witness)).collect();
            let heard = handle.query(probe.clone(), None, known, REFRESH_TIME_MAX).await;
            self.keep(heard.witnesses);
            let matches = self.state().catalog.matches(&probe);
            let settings = self.settings();
            let judgement = judge(&matches, &settings.trust, &settings.rates, now, None);
            let weighing = &mut *self.weights.lock();
            weighing.moved |=
                weighing.hindsight.note(mail, &matches, &judgement, &mut weighing.trust, now);
        }
    }

    /// Looks at what became of a mail that somebody here spoke of.
    pub(super) fn note_opinion(&self, read: &Read, now: Time) {
        let settings = self.settings();
        let matches = self.state().catalog.matches(&read.probe);
        let judgement = judge(&matches, &settings.trust, &settings.rates, now, None);
        self.weights.note((read.number(), &read.probe), &matches, &judgement, now);
    }
}

/// Keeps weights up to date as long as the agent and its network are there.
pub(super) async fn tend(agent: Weak<Agent>, handle: Handle) {
    if let Some(agent) = agent.upgrade() {
        agent.tell_trust(&agent.weights.trust(), Some(&handle));
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let Some(agent) = agent.upgrade() else { return };
        if agent.network.handle().is_none() && handle.is_closed() {
            return;
        }
        agent.tend_trust(&handle, Time::now()).await;
    }
}
