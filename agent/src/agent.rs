//! The agent of one site: mail in, verdict out; opinions in, statements out. It and `replay` are
//! the only places where mail and catalog meet.
//!
//! Key decision: a check reads memory only and never waits for the disk or a peer. An opinion is
//! acknowledged when it is on the disk ([`opinion`]).

mod error;
mod explain;
mod invite;
mod join;
mod learn;
mod lock;
mod opinion;
mod peers;
mod people;
mod status;
mod trust;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use novacula_catalog::store::{Disk, Save};
use novacula_catalog::{
    Acts, Catalog, Delivery, Digest, Fact, Facts, Filter, Judgement, KEEP_OWN_OPINION_SECS,
    Learner, Match, Network, Probe, Rates, Reporter, SEQ_BLOCK, Site, Speaker, Stage, Time, Token,
    Trust, careful, judge,
};
use novacula_client::{Authentication, Check, MilterState, Sent, Verdict};

use crate::allowlist::{Allowlist, authentication_of};
use crate::canonical::{Canonical, GATE_CHARS};
use crate::config::Config;
use crate::correspondents::Correspondents;
use crate::familiar::Familiar;
use crate::fingerprint::Fingerprint;
use crate::hosts;
use crate::maillog;
use crate::message::{Message, original};
use crate::metrics::Metrics;
use crate::milters::Milters;
use crate::pairing::Pairings;
use crate::quota::Quota;
use crate::verdict::{self, Circumstances};

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
    authserv_ids: Vec<String>,
    spamassassin_hosts: Vec<String>,
    config: Config,
    opinions_per_hour_max: u32,
}

impl Settings {
    fn of(config: &Config, trust: Trust, learner: &Learner) -> Self {
        Self {
            rates: learner.rates(&config.rates()),
            trust,
            authserv_ids: config.authserv_ids.clone(),
            spamassassin_hosts: config.spamassassin_hosts.clone(),
            config: config.clone(),
            opinions_per_hour_max: config.opinions_per_hour_max,
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
    judged: (Check, Judgement),
    /// The signed sighting, if there is one to be told.
    stated: Option<Vec<u8>>,
    /// Nothing of it leaves the site.
    private: bool,
}

/// The agent.
pub struct Agent {
    identity: Speaker,
    network: peers::Network,
    data_dir: PathBuf,
    disk: Disk,
    settings: RwLock<Arc<Settings>>,
    state: Mutex<State>,
    weights: trust::Weights,
    pairings: Mutex<Pairings>,
    learner: Mutex<(Learner, Time)>,
    speaking: tokio::sync::Mutex<()>,
    store_failed: Mutex<bool>,
    pub(crate) metrics: Metrics,
    started: Instant,
    /// Held as long as the agent lives: one agent to a data directory.
    _lock: std::fs::File,
}

/// A mail read, and what is known of it.
struct Read {
    canonical: Canonical,
    fingerprint: Fingerprint,
    probe: Probe,
    circumstances: Circumstances,
    facts: Facts,
    received: Option<Time>,
    from: String,
    /// Hash of the Message-Id.
    message: Option<u64>,
}

impl Read {
    /// The mail's first digest, by which it is named here.
    fn number(&self) -> u64 {
        self.fingerprint.digests().first().map_or(0, |digest| digest.value)
    }
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
        let (disk, loaded) = Disk::open(&data_dir, site, now)?;
        if let Some(path) = &loaded.set_aside {
            maillog::set_aside(path);
        }
        let weights = trust::Weights::new(config, site, &loaded.network, now);
        let mut catalog = Catalog::new(site, config.statements_max);
        catalog.trust(weights.trust().counting(now));
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
            settings: RwLock::new(Arc::new(Settings::of(config, weights.trust(), &learner))),
            learner: Mutex::new((learner, Time(0))),
            network: peers::Network::new(config, loaded.network),
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
        let trust = self.weights.weigh(config, Time::now());
        self.tell_trust(&trust, self.network.handle().as_ref());
        let settings = Arc::new(Settings::of(config, trust, &learner));
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
        let judged = judged(&read, &settings, &matches, in_hand, now);
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

    fn read(&self, mail: &[u8], caller: &Caller, settings: &Settings, now: Time) -> Read {
        let delivered = caller.delivery || caller.pending;
        let original = if delivered { None } else { original(mail, &settings.spamassassin_hosts) };
        let message = Message::parse(original.as_deref().unwrap_or(mail));
        let canonical = Canonical::of(&message);
        let fingerprint = Fingerprint::of(&canonical);
        let authentication =
            caller.authentication.or_else(|| authentication_of(&message, &settings.authserv_ids));
        let (allowed, wanted, known_bulk, sender_known, probe) = {
            let state = self.state();
            let common = |digest: &Digest| state.familiar.is_common(digest, now);
            let (digests, nilsimsa) = (fingerprint.digests(), fingerprint.nilsimsa());
            (
                state.allowlist.allows(&message, authentication),
                state.correspondents.vouch(&message, authentication),
                state.correspondents.known_bulk(&message, authentication, now),
                state.correspondents.sender_known(&message, caller.client, now),
                Probe::with_common(digests, nilsimsa, now, common),
            )
        };
        let facts = Facts {
            authenticated: match authentication {
                None => Fact::Unknown,
                Some(Authentication::Pass) => Fact::Yes,
                Some(Authentication::Fail) => Fact::No,
            },
            sender_known,
            list: if message.list_id.is_empty() { Fact::No } else { Fact::Yes },
            filter: caller.filter,
        };
        let first = fingerprint.digests().first().map_or(0, |digest| digest.value);
        Read {
            circumstances: Circumstances {
                allowed,
                no_evidence: no_evidence(&message, &canonical, &fingerprint),
                wanted,
                known_bulk,
                stranger: sender_known == Fact::No
                    && !caller.bounce
                    && authentication != Some(Authentication::Pass),
                id: format!("{first:016x}"),
            },
            probe,
            facts,
            received: message.received,
            message: message.id_hash(),
            from: message.from.address,
            canonical,
            fingerprint,
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

/// Nothing leaves the site for allowed mail and for mail without evidence (DESIGN 4.4).
fn sends(read: &Read) -> bool {
    let known = &read.circumstances;
    known.allowed.is_none() && known.wanted.is_none() && known.no_evidence.is_none()
}

/// The answer that follows from these matches.
fn judged(
    read: &Read,
    settings: &Settings,
    matches: &[Match],
    in_hand: Option<Network>,
    now: Time,
) -> (Check, Judgement) {
    let judgement = judge(matches, &settings.trust, &rates_for(read, settings), now, in_hand);
    let window_secs = settings.rates.window_secs;
    let answer = verdict::answer(&read.circumstances, &judgement, matches, window_secs, now);
    (Check { places: verdict::places(matches, &settings.trust, now), ..answer }, judgement)
}

/// The rates that hold for a mail.
fn rates_for<'a>(read: &Read, settings: &'a Settings) -> Cow<'a, Rates> {
    match read.circumstances.known_bulk {
        Some(_) => Cow::Owned(careful(&settings.rates)),
        None => Cow::Borrowed(&settings.rates),
    }
}

/// Why there is too little to judge, when there is.
fn no_evidence(
    message: &Message,
    canonical: &Canonical,
    fingerprint: &Fingerprint,
) -> Option<String> {
    if message.is_constant() {
        return Some("a constant mail that a tool made for itself".into());
    }
    (!fingerprint.is_evidence()).then(|| {
        format!(
            "{} canonical characters, {GATE_CHARS} are needed, and no link that tells",
            canonical.chars()
        )
    })
}
