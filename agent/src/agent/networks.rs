//! The networks that the site takes part in: the one of the configuration's top level, and the
//! private group beside it, if there is one.
//!
//! Main items: [`Networks`] and [`Network`]. Key decision: each has a node, a driver and stores of its
//! own, and only the agent knows both. So what a node holds, answers and announces was said in its own
//! network; what the agent passes to it from what it knows goes through [`Networks::may_name`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use novacula_catalog::node::{Group, MemberRecord};
use novacula_catalog::store::{LoadedNetwork, LoadedSide, SaveNetwork, SaveSide, Side};
use novacula_catalog::{Match, SiteId, Time, VouchList, Witness};
use novacula_net::{Handle, View};

use super::circle::Circle;
use crate::config::{Config, NetworkConfig};

/// Most mails remembered of which peers need not be asked, about 100 bytes each.
const FRESH_MAX: usize = 65_536;

/// One network.
pub(super) struct Network {
    pub(super) config: NetworkConfig,
    recheck: Duration,
    loaded: Mutex<LoadedSide>,
    link: RwLock<Link>,
    /// Who speaks there, where it is private and not the only one.
    circle: Option<Circle>,
    /// Mails that are known well enough, with when peers were last asked about them.
    fresh: Mutex<HashMap<String, Instant>>,
}

#[derive(Clone)]
pub(super) enum Link {
    Off,
    Failed(String),
    On(Handle),
}

impl Network {
    pub(super) fn side(&self) -> Side {
        self.config.side
    }

    /// `off`, `on`, or why it is not.
    pub(super) fn word(&self) -> String {
        match self.link() {
            Link::Off => "off".into(),
            Link::On(_) => "on".into(),
            Link::Failed(reason) => format!("failed to {reason}"),
        }
    }

    fn link(&self) -> Link {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, link: Link) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    pub(super) fn handle(&self) -> Option<Handle> {
        match self.link() {
            Link::On(handle) => Some(handle),
            Link::Off | Link::Failed(_) => None,
        }
    }

    /// How it looks, while it is on.
    pub(super) async fn view(&self, peers_max: usize) -> Option<View> {
        self.handle()?.view(peers_max).await
    }

    /// What the database held of it. What a start takes is gone from it then.
    pub(super) fn loaded(&self) -> MutexGuard<'_, LoadedSide> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration says so, or it was joined before.
    pub(super) fn wanted(&self) -> bool {
        self.config.on || !self.loaded().joined.is_empty()
    }

    /// True when peers should be asked again about a mail that is known well enough: an
    /// announcement may have been missed, and a judgement may have turned.
    pub(super) fn is_stale(&self, mail: &str, now: Instant) -> bool {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh.len() >= FRESH_MAX {
            fresh.retain(|_, at| now.duration_since(*at) < self.recheck);
            if fresh.len() >= FRESH_MAX {
                fresh.clear();
            }
        }
        let at = fresh.entry(mail.to_owned()).or_insert(now);
        let stale = now.duration_since(*at) >= self.recheck;
        if stale {
            *at = now;
        }
        stale
    }

    /// Addresses to begin with.
    pub(super) fn bootstrap(&self) -> Vec<String> {
        self.config.bootstrap.iter().cloned().chain(self.loaded().joined.clone()).collect()
    }

    /// The address book, as far as it is this network's.
    pub(super) fn members(&self) -> Vec<Arc<MemberRecord>> {
        let records = &self.loaded().members;
        let records = records.iter().filter_map(|record| MemberRecord::decode(record).ok());
        records
            .filter(|of| self.config.group.accepts(&of.badge, of.node, &of.site()))
            .map(Arc::new)
            .collect()
    }

    /// A host told of itself. True where that makes its site one that counts.
    pub(super) fn meet(&self, record: &[u8], now: Time) -> bool {
        let record = MemberRecord::decode(record).ok();
        self.circle.as_ref().zip(record).is_some_and(|(circle, record)| circle.meet(&record, now))
    }

    /// Those of what came by this network that may be held here.
    pub(super) fn hear(&self, mut witnesses: Vec<Witness>, now: Time) -> Vec<Witness> {
        if let Some(circle) = &self.circle {
            witnesses.retain(|one| circle.hear(one.statement.site, now));
        }
        witnesses
    }

    /// The matches that its reading rests on, and what became of it is learnt from.
    pub(super) fn matches<'a>(&self, matches: &'a [Match]) -> Cow<'a, [Match]> {
        let Some(circle) = &self.circle else { return Cow::Borrowed(matches) };
        let counts = |found: &&Match| circle.counts(&found.witness.statement.site);
        matches.iter().filter(counts).cloned().collect()
    }

    /// The site counts because it belongs to it.
    pub(super) fn is_member(&self, site: &SiteId) -> bool {
        self.circle.as_ref().is_some_and(|circle| circle.counts(site))
    }

    /// Other sites that count because they belong to it.
    pub(super) fn counting(&self) -> Vec<SiteId> {
        self.circle.as_ref().map(Circle::members).unwrap_or_default()
    }

    pub(super) fn expire(&self, now: Time) {
        self.circle.iter().for_each(|circle| circle.expire(now));
    }
}

/// Both, or the one that there is.
pub(super) struct Networks {
    home: SiteId,
    pub(super) main: Network,
    pub(super) group: Option<Network>,
}

impl Networks {
    /// The networks of the configuration, with what the database held of them; and what is to be
    /// written of that.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub(super) fn new(
        config: &Config,
        home: SiteId,
        loaded: &mut LoadedNetwork,
    ) -> Result<(Self, Vec<SaveNetwork>), String> {
        let (main, group) = (config.main_network()?, config.group_network()?);
        let beside = group.is_some();
        let mut saves = Vec::new();
        let mut network = |of: NetworkConfig| {
            let mut held = std::mem::take(loaded.side(of.side));
            let begun = begin(&of.group, home, &mut held);
            saves.extend(begun.into_iter().map(|save| SaveNetwork::Of(of.side, save)));
            let circle = (beside && of.group != Group::Open)
                .then(|| Circle::new(of.group.clone(), home, config.statements_max));
            let network = Network {
                config: of,
                recheck: Duration::from_secs(config.recheck_secs),
                loaded: Mutex::new(held),
                link: RwLock::new(Link::Off),
                circle,
                fresh: Mutex::default(),
            };
            for (record, circle) in network.members().iter().zip(network.circle.iter().cycle()) {
                circle.meet(record, record.made);
            }
            network
        };
        let (main, group) = (network(main), group.map(network));
        Ok((Self { home, main, group }, saves))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Network> {
        std::iter::once(&self.main).chain(&self.group)
    }

    pub(super) fn of(&self, side: Side) -> Option<&Network> {
        self.iter().find(|network| network.side() == side)
    }

    /// Those that are on.
    pub(super) fn on(&self) -> Vec<(&Network, Handle)> {
        self.iter().filter_map(|network| Some((network, network.handle()?))).collect()
    }

    pub(super) fn is_on(&self) -> bool {
        self.iter().any(|network| network.handle().is_some())
    }

    /// Of what is known of a mail, what the peers of `network` may be told to be known: nothing
    /// that came, or may have come, by the private network beside it.
    pub(super) fn may_name(&self, network: &Network, matches: &[Match]) -> Vec<Arc<Witness>> {
        let mut others = self.iter().filter(|other| other.side() != network.side());
        let other = others.find_map(|other| other.circle.as_ref());
        let may = |site: &SiteId| {
            let here = network.circle.as_ref().is_none_or(|circle| circle.has(site));
            // In an open network nobody is named of whom the other has heard.
            let there = network.circle.is_none() && other.is_some_and(|circle| circle.has(site));
            *site == self.home || (here && !there)
        };
        let witnesses = matches.iter().map(|found| &found.witness);
        witnesses.filter(|one| may(&one.statement.site)).cloned().collect()
    }
}

/// What was heard in another network than the one that this side is now is forgotten, but for this
/// site's own list; what was to be said in a private one is not said in the open one.
fn begin(group: &Group, home: SiteId, held: &mut LoadedSide) -> Vec<SaveSide> {
    let begins = SaveSide::Begins(group.id());
    match held.begun.replace(group.id()) {
        Some(begun) if begun == group.id() => Vec::new(),
        None => vec![begins],
        Some(_) => {
            let own = |list: &Vec<u8>| VouchList::decode(list).is_ok_and(|list| list.site == home);
            held.vouch_lists.retain(own);
            held.members.clear();
            held.proofs.clear();
            let unsaid = *group == Group::Open;
            if unsaid {
                held.outbox.clear();
            }
            vec![begins, SaveSide::Forgotten { unsaid }]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use novacula_catalog::node::GroupId;
    use novacula_catalog::{Engine, Epoch, Kind, MailId, Network as Prefix, Shared, Statement};

    const HOME: SiteId = SiteId([0; 32]);
    const NOW: Time = Time(1_800_000_000);
    const KEY: &str = "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f";

    fn said_by(site: u8) -> Match {
        let kind = Kind::Opinion { opinion: novacula_catalog::Opinion::Report, nilsimsa: None };
        let epoch = Epoch(NOW.epoch().0);
        let statement = Statement::new(SiteId([site; 32]), MailId(1), 1, epoch, Vec::new(), kind);
        let network = Prefix(1);
        let witness = Witness { statement, network, nilsimsa: None, kept_from: epoch };
        let (engine, shared) = (Engine::Exact, Shared::default());
        Match { witness: Arc::new(witness), engine, shared, common: false }
    }

    fn networks(config: &Config) -> Networks {
        Networks::new(config, HOME, &mut LoadedNetwork::default()).unwrap().0
    }

    fn named(networks: &Networks, side: Side, matches: &[Match]) -> Vec<u8> {
        let witnesses = networks.may_name(networks.of(side).unwrap(), matches);
        witnesses.iter().map(|one| one.statement.site.0[0]).collect()
    }

    #[test]
    fn what_is_said_in_the_group_is_named_only_there() {
        let mut config = Config::default();
        config.group.key = KEY.into();
        let two = networks(&config);
        let group = two.of(Side::Group).unwrap();
        let heard = said_by(1).witness;
        assert_eq!(group.hear(vec![(*heard).clone()], NOW).len(), 1);
        let matches = [0, 1, 2].map(said_by);
        assert_eq!(named(&two, Side::Group, &matches), [0, 1]);
        assert_eq!(named(&two, Side::Main, &matches), [0, 2]);
        // Heard, but no member: it counts in the main reading only, by the rules there.
        assert_eq!(group.matches(&matches).len(), 1);
        assert_eq!(two.of(Side::Main).unwrap().matches(&matches).len(), 3);
        // One network alone needs none of it.
        let alone = networks(&Config::default());
        assert!(alone.of(Side::Group).is_none());
        assert_eq!(named(&alone, Side::Main, &matches), [0, 1, 2]);
        // Two private ones: each names what came by it.
        config.group_key = KEY.replace('5', "6");
        let two = networks(&config);
        assert_eq!(two.of(Side::Main).unwrap().hear(vec![(*heard).clone()], NOW).len(), 1);
        assert_eq!(named(&two, Side::Main, &matches), [0, 1]);
        assert_eq!(named(&two, Side::Group, &matches), [0]);
    }

    #[test]
    fn another_network_begins_without_what_was_heard_in_the_former() {
        let held = |begun| LoadedSide {
            begun,
            outbox: vec![vec![1]],
            members: vec![vec![2]],
            joined: vec!["a.example".into()],
            vouch_lists: vec![vec![3]],
            proofs: vec![(vec![4], vec![5])],
        };
        let (open, private) = (Group::Open, Group::Key([7; 32]));
        let counts = |of: &LoadedSide| (of.outbox.len(), of.members.len(), of.vouch_lists.len());
        let mut of_before = held(None);
        assert_eq!(begin(&open, HOME, &mut of_before).len(), 1);
        assert_eq!(counts(&of_before), (1, 1, 1), "an older release did not say which it was");
        let mut same = held(Some(private.id()));
        assert!(begin(&private, HOME, &mut same).is_empty());
        assert_eq!(counts(&same), (1, 1, 1));
        let mut new_key = held(Some(GroupId([1; 16])));
        assert_eq!(begin(&private, HOME, &mut new_key).len(), 2);
        assert_eq!(counts(&new_key), (1, 0, 0), "what is to be said is said under the new key");
        let mut opened = held(Some(private.id()));
        assert_eq!(begin(&open, HOME, &mut opened).len(), 2);
        assert_eq!(counts(&opened), (0, 0, 0));
        assert_eq!((opened.proofs.len(), opened.begun), (0, Some(open.id())));
    }
}
