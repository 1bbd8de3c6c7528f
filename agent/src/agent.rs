//! The agent of one site: mail in, verdict out; opinions in, statements out. It and `replay` are
//! the only places where mail and catalog meet.
//!
//! Key decision: a check reads memory only and never waits for the disk or a peer. An opinion is
//! acknowledged when it is on the disk ([`opinion`]).

mod circle;
mod error;
mod explain;
mod invite;
mod join;
mod learn;
mod lock;
mod networks;
mod opinion;
mod peers;
mod people;
mod read;
mod status;
mod trust;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use novacula_catalog::store::{Disk, Save};
use novacula_catalog::{
    Acts, Catalog, Delivery, Filter, KEEP_OWN_OPINION_SECS, Learner, Match, Network, Rates,
    Readings, Reporter, SEQ_BLOCK, Site, Speaker, Stage, Time, Token, Trust,
};
use novacula_client::{Authentication, Check, MilterState, Sent, Verdict};

use self::networks::Networks;
use self::read::{Read, sends};
use self::trust::Weighed;
use crate::allowlist::Allowlist;
use crate::config::Config;
use crate::correspondents::Correspondents;
use crate::familiar::Familiar;
use crate::hosts;
use crate::maillog;
use crate::metrics::Metrics;
use crate::milters::Milters;
use crate::pairing::Pairings;
use crate::quota::Quota;

/// What the caller of one request knows beside the mail, as far as he is believed.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The mail is being delivered now.
    pub delivery: bool,
    /// The mail is being delivered, and that will be stated when a filter is through with it.
    pub pending: bool,
    /// Whether its sender was authenticated.
    pub authentication: Option<Authentication>,
    /// When it was received.
    pub received: Option<Time>,
    /// Who speaks.
    pub reporter: Reporter,
    /// The opinion comes from a trap.
    pub trap: bool,
    /// An administrator withdraws everybody's opinion.
    pub all: bool,
    /// He may speak for others.
    pub believed: bool,
    /// Address of the SMTP client that brought the mail.
    pub client: Option<IpAddr>,
    /// Its envelope has no sender: no answer and no second try is expected.
    pub bounce: bool,
    /// How many recipients it has.
    pub recipients: u32,
    /// The host that received it.
    pub location: String,
    /// What another filter thought of it.
    pub filter: Filter,
    /// Where on its way through the site it is.
    pub stage: Stage,
}

pub use error::AgentError;
pub use explain::digests;
pub use join::JoinError;
pub use opinion::Deed;

/// Mails longer than this are read where waiting does no harm, in bytes.
pub(crate) const LONG_MAIL: usize = 256 << 10;

/// What is read from the configuration and may change while the agent runs.
struct Settings {
    rates: Rates,
    trust: Trust,
    group: Option<GroupSettings>,
    config: Config,
}

/// By what the private group's word is judged.
struct GroupSettings {
    rates: Rates,
    trust: Trust,
}

impl Settings {
    fn of(config: &Config, weighed: Weighed, learner: &Learner) -> Self {
        let rates = learner.rates(&config.rates());
        let group = weighed.group;
        Self {
            group: group.map(|trust| GroupSettings { rates: config.group_rates(&rates), trust }),
            rates,
            trust: weighed.main,
            config: config.clone(),
        }
    }
}

/// What changes with every mail.
struct State {
    site: Site,
    catalog: Catalog,
    acts: Acts,
    allowlist: Allowlist,
    correspondents: Correspondents,
    familiar: Familiar,
    milters: Milters,
    /// Mail clients by the hash of their token.
    tokens: HashMap<[u8; 32], Token>,
    quota: Quota,
    /// Numbers below this one may be given to statements.
    reserved: u64,
}

/// A mail looked at: what is known of it at home, and what would be asked of peers.
pub struct Look {
    read: Read,
    settings: Arc<Settings>,
    matches: Vec<Match>,
    in_hand: Option<Network>,
    judged: (Check, Readings),
    /// The signed sighting, if there is one to be told.
    stated: Option<Vec<u8>>,
    /// Nothing of it leaves the site.
    private: bool,
}

/// The agent.
pub struct Agent {
    identity: Speaker,
    networks: Networks,
    data_dir: PathBuf,
    disk: Disk,
    settings: RwLock<Arc<Settings>>,
    state: Mutex<State>,
    weights: trust::Weights,
    /// Somebody keeps the weights up to date.
    tending: AtomicBool,
    pairings: Mutex<Pairings>,
    learner: Mutex<(Learner, Time)>,
    speaking: tokio::sync::Mutex<()>,
    store_failed: Mutex<bool>,
    pub(crate) metrics: Metrics,
    started: Instant,
    /// Held as long as the agent lives: one agent to a data directory.
    _lock: std::fs::File,
}

impl Agent {
    /// Opens the site's identity and database, made at first start.
    ///
    /// # Errors
    /// [`AgentError`], each with what to mend.
    pub fn open(config: &Config, now: Time) -> Result<Self, AgentError> {
        let data_dir = config.data_dir.clone();
        let lock = lock::lock_dir(&data_dir)?;
        let identity = hosts::speaker(&data_dir, now)?;
        let site = identity.site();
        let (disk, mut loaded) = Disk::open(&data_dir, site, now)?;
        if let Some(path) = &loaded.set_aside {
            maillog::set_aside(path);
        }
        let (networks, begun) =
            Networks::new(config, site, &mut loaded.network).map_err(AgentError::Config)?;
        begun.into_iter().for_each(|save| disk.save_soon(Save::Network(save)));
        let weights = trust::Weights::new(config, site, &networks, loaded.network, now);
        let weighed = weights.weighed(config);
        let mut catalog = Catalog::new(site, config.statements_max);
        catalog.trust(weighed.shelves(&networks, now));
        for witness in loaded.witnesses {
            catalog.insert(witness);
        }
        let learner = Learner::of(loaded.learned.rate);
        let state = State {
            site: Site::in_lane(site, Network::HOME, identity.lane(), loaded.next_number),
            catalog,
            acts: loaded.acts,
            allowlist: Allowlist::of(loaded.allowed),
            correspondents: Correspondents::new(
                identity.secret_for("novacula 2026-11 correspondents"),
                loaded.traces,
            ),
            familiar: Familiar::new(
                identity.secret_for("novacula 2026-11 familiar"),
                loaded.learned.features,
            ),
            milters: Milters::default(),
            tokens: loaded.tokens.into_iter().map(|token| (token.hash, token)).collect(),
            quota: Quota::default(),
            reserved: loaded.next_number + SEQ_BLOCK,
        };
        Ok(Self {
            settings: RwLock::new(Arc::new(Settings::of(config, weighed, &learner))),
            learner: Mutex::new((learner, Time(0))),
            networks,
            tending: AtomicBool::new(false),
            identity,
            data_dir,
            disk,
            state: Mutex::new(state),
            weights,
            pairings: Mutex::default(),
            speaking: tokio::sync::Mutex::new(()),
            store_failed: Mutex::new(false),
            metrics: Metrics::new(),
            started: Instant::now(),
            _lock: lock,
        })
    }

    /// Takes over what a new configuration may change.
    pub fn reload(&self, config: &Config) {
        let (learner, _) = *self.learner();
        let weighed = self.weights.weigh(config, Time::now());
        self.tell_trust(&weighed);
        let settings = Arc::new(Settings::of(config, weighed, &learner));
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// The verdict on a mail by what is known at home. With a stated delivery the site has then
    /// seen it; what is to be told of that goes out when the look is concluded.
    pub fn look(&self, mail: &[u8], caller: &Caller, now: Time) -> Look {
        let settings = self.settings();
        let read = self.read(mail, caller, &settings, now);
        let mut state = self.state();
        let matches = state.catalog.matches(&read.probe);
        let counts = (caller.delivery || caller.pending) && sends(&read);
        let in_hand = counts.then(|| state.site.network());
        let readings = self.readings(&read, &settings, &matches, in_hand, now);
        let judged = (self.verdict(&read, &settings, &matches, &readings, now), readings);
        // Mail that our own people call wanted is nobody else's business either.
        let wanted = judged.0.verdict == Verdict::Allowed;
        let stated = match counts && caller.delivery && !wanted {
            true => self.sight(&mut state, &read, &matches, caller, now),
            false => None,
        };
        drop(state);
        let private = !sends(&read) || wanted;
        Look { read, settings, matches, in_hand, judged, stated, private }
    }

    /// What follows from an answer: counted, logged, and the sender remembered.
    fn conclude(&self, read: &Read, answer: &Check, caller: &Caller, now: Time) {
        if caller.delivery
            && caller.believed
            && answer.verdict != Verdict::Spam
            && let Some(client) = caller.client
            && let Some(trace) = self.state().correspondents.learn_wrote(&read.from, client, now)
        {
            self.disk.save_soon(Save::Trace(trace));
        }
        if caller.delivery {
            self.learn_common(read, answer.verdict, now);
        }
        self.metrics.count_check(answer.verdict);
        maillog::checked(answer, caller);
    }

    /// Mail of this site's own people went out: whom they wrote to is no stranger.
    pub fn note_sent(&self, sent: &Sent, now: Time) {
        for trace in self.state().correspondents.learn_sent(sent, now) {
            self.disk.save_soon(Save::Trace(trace));
        }
    }

    /// A milter told how it is.
    pub fn note_milter(&self, milter: MilterState) {
        self.state().milters.note(milter, Instant::now());
    }

    /// Counts a copy; gives the signed statement when there is something new to be said.
    fn sight(
        &self,
        state: &mut State,
        read: &Read,
        matches: &[Match],
        caller: &Caller,
        now: Time,
    ) -> Option<Vec<u8>> {
        // Without reserved numbers nothing may be stated: they wait for the disk.
        if state.site.next_number() >= state.reserved {
            return None;
        }
        let copy =
            Delivery { recipients: caller.recipients, stage: caller.stage, message: read.message };
        let witness = state.site.sight(matches, &read.probe, read.facts, copy, now)?;
        let signed = self.identity.sign(&witness.statement);
        state.catalog.insert(witness.clone());
        self.disk.save_soon(Save::Statement(Box::new(witness), signed.clone()));
        self.metrics.sightings.inc();
        Some(signed)
    }

    /// The allowed senders.
    #[must_use]
    pub fn allowed(&self) -> Vec<String> {
        self.state().allowlist.iter().cloned().collect()
    }

    /// Allows a sender, or no longer.
    ///
    /// # Errors
    /// [`AgentError`]; nothing has changed then.
    pub async fn allow(
        &self,
        pattern: &str,
        remove: bool,
        who: &Reporter,
        now: Time,
    ) -> Result<(), AgentError> {
        if !who.administrator {
            return Err(AgentError::NotAdministrator("change the allowlist"));
        }
        let pattern = Allowlist::pattern(pattern)?;
        let save = match remove {
            false => Save::Allow(pattern.clone(), now),
            true => Save::Disallow(pattern.clone()),
        };
        // One after another, so that memory and disk hear the same last word.
        let _one_at_a_time = self.speaking.lock().await;
        let stored = self.disk.save_now(vec![save]).await;
        self.note_store();
        stored.map_err(AgentError::Write)?;
        maillog::allowed(&pattern, &who.name, remove);
        let mut state = self.state();
        match remove {
            false => state.allowlist.insert(pattern),
            true => state.allowlist.remove(&pattern),
        };
        Ok(())
    }

    /// What must be done now and then: lets go of what is too old, reserves numbers, says when
    /// the disk's state changed.
    pub async fn tend(&self, now: Time) {
        let upto = {
            let mut state = self.state();
            state.catalog.expire(now);
            self.networks.iter().for_each(|network| network.expire(now));
            state.correspondents.expire(now);
            state.familiar.expire(now);
            state.acts.expire(now.minus_secs(KEEP_OWN_OPINION_SECS));
            let low = state.site.next_number() + SEQ_BLOCK / 2 >= state.reserved;
            low.then(|| state.site.next_number() + SEQ_BLOCK)
        };
        let saves = [Save::Expire(now)].into_iter().chain(upto.map(Save::Reserve)).collect();
        if self.disk.save_now(saves).await.is_ok()
            && let Some(upto) = upto
        {
            let mut state = self.state();
            state.reserved = state.reserved.max(upto);
        }
        self.note_store();
        self.study(now);
    }

    fn note_store(&self) {
        let failing = self.disk.health().failing();
        let mut failed = self.store_failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed != failing.is_some() {
            *failed = failing.is_some();
            maillog::store_state(failing.as_deref());
        }
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn pairings(&self) -> MutexGuard<'_, Pairings> {
        self.pairings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
