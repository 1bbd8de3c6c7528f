//! The agent's part in the network of peers: starting it, asking it about a mail within the
//! deadline, and keeping what it tells.
//!
//! Key decision: the network may fail, and mail does not notice. What can't be started is said in
//! the log, in `status` and by `doctor`; a question that can't be asked is answered from home.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use novacula_catalog::node::{
    self, CERTIFICATE_SECS, Completeness, Keep, MemberRecord, NodeId, Start,
};
use novacula_catalog::store::{LoadedNetwork, Save};
use novacula_catalog::{Network as Place, Probe, Reporter, Time, Witness};
use novacula_client::{Asked, Check, IdentityReply, Peer, Peers, Verdict};
use novacula_net::{Handle, Settings, Told, View};
use tokio::sync::mpsc;

use super::invite::Invite;
use super::{Agent, AgentError, Caller, Look};
use crate::config::Config;
use crate::hosts;
use crate::maillog;

/// Longest wait for others to take over what this host holds, when it stops: a supervisor kills
/// it after 10 s (THREATS 20: 5 s to drain).
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);
/// Longest wait for an answer that nobody waits for.
pub(super) const REFRESH_TIME_MAX: Duration = Duration::from_secs(3);
/// Most mails remembered for it, about 100 bytes each.
const FRESH_MAX: usize = 65_536;
/// Most peers that are shown.
const PEERS_SHOWN_MAX: usize = 1_000;

/// The agent's side of the network.
pub(super) struct Network {
    config: Config,
    loaded: Mutex<LoadedNetwork>,
    link: RwLock<Link>,
    /// Mails that are known well enough, with when peers were last asked about them.
    fresh: Mutex<HashMap<String, Instant>>,
}

#[derive(Clone)]
enum Link {
    Off,
    Failed(String),
    On(Handle),
}

impl Network {
    pub(super) fn new(config: &Config, loaded: LoadedNetwork) -> Self {
        Self {
            config: config.clone(),
            loaded: Mutex::new(loaded),
            link: RwLock::new(Link::Off),
            fresh: Mutex::new(HashMap::new()),
        }
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

    fn set(&self, link: Link) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    pub(super) fn turned_on(&self, handle: Handle) {
        self.set(Link::On(handle));
    }

    pub(super) fn handle(&self) -> Option<Handle> {
        match self.link() {
            Link::On(handle) => Some(handle),
            Link::Off | Link::Failed(_) => None,
        }
    }

    pub(super) fn loaded(&self) -> std::sync::MutexGuard<'_, LoadedNetwork> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when peers should be asked again about a mail that is known well enough: an
    /// announcement may have been missed, and a judgement may have turned.
    fn is_stale(&self, mail: &str, now: Instant) -> bool {
        let recheck = Duration::from_secs(self.config.recheck_secs);
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh.len() >= FRESH_MAX {
            fresh.retain(|_, at| now.duration_since(*at) < recheck);
            if fresh.len() >= FRESH_MAX {
                fresh.clear();
            }
        }
        let at = fresh.entry(mail.to_owned()).or_insert(now);
        let stale = now.duration_since(*at) >= recheck;
        if stale {
            *at = now;
        }
        stale
    }

    /// Addresses to begin with.
    fn bootstrap(&self) -> Vec<String> {
        let config = &self.config;
        let seeds = config.dns_seeds.iter().map(|name| format!("/dnsaddr/{name}"));
        config.bootstrap.iter().cloned().chain(self.loaded().joined.clone()).chain(seeds).collect()
    }
}

impl Agent {
    /// Takes part in the network where the configuration says so, or a network was joined before.
    /// Needs a tokio runtime.
    pub fn connect(self: &Arc<Self>, now: Time) {
        let wanted = self.network.config.network || !self.network.loaded().joined.is_empty();
        if !wanted {
            return;
        }
        match self.start_network(now) {
            Ok(handle) => self.network.set(Link::On(handle)),
            Err(reason) => {
                maillog::network_failed(&reason);
                self.network.set(Link::Failed(reason));
            }
        }
    }

    /// Hands off what this host holds for others, and stops the network.
    pub async fn disconnect(&self) {
        if let Some(handle) = self.network.handle() {
            self.network.set(Link::Off);
            handle.leave(LEAVE_TIME_MAX).await;
        }
    }

    pub(super) fn start_network(self: &Arc<Self>, now: Time) -> Result<Handle, String> {
        let config = &self.network.config;
        let host = hosts::host_key(&self.data_dir).map_err(|error| error.to_string())?;
        let id = NodeId::of(&host);
        let members: Vec<Arc<MemberRecord>> = self
            .network
            .loaded()
            .members
            .iter()
            .filter_map(|record| MemberRecord::decode(record).ok().map(Arc::new))
            .collect();
        let own = members.iter().find(|record| record.node == id);
        let until = Time(now.0 + CERTIFICATE_SECS);
        let (outbox, vouches, proofs) = {
            let loaded = &mut *self.network.loaded();
            let lists = std::mem::take(&mut loaded.vouch_lists);
            (loaded.outbox.clone(), lists, std::mem::take(&mut loaded.proofs))
        };
        let start = Start {
            certificate: self.identity.certificate_of(id, until),
            // Later than at every start before, whatever the clock did meanwhile.
            boot: Time(own.map_or(now.0, |own| now.0.max(own.boot.0 + 1))),
            host,
            outbox,
            members,
            vouches,
            proofs,
            addresses: Vec::new(),
        };
        let forms = |addresses: &[String]| -> Result<Vec<_>, String> {
            let forms = addresses.iter().map(|address| novacula_net::forms(address));
            let forms: Vec<_> =
                forms.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
            Ok(forms.concat())
        };
        let settings = Settings {
            listen: forms(&config.network_listen)?,
            announce: forms(&config.network_announce)?,
            mdns: config.mdns,
            relay: config.relay && !config.behind_nat,
            behind_nat: config.behind_nat,
            connections_max: config.peer_connections_max,
            record: Some(config.network_record.clone()).filter(|path| !path.as_os_str().is_empty()),
            clock: Arc::new(Time::now),
        };
        let node = node::Config {
            group: config.group()?,
            prefix: config.prefix_bits(),
            bootstrap: self.network.bootstrap(),
            hot_sites: config.bulk_sites as usize,
            ..node::Config::default()
        };
        let (handle, told) =
            novacula_net::start(settings, start, node).map_err(|error| error.to_string())?;
        tokio::spawn(hear(Arc::downgrade(self), told));
        tokio::spawn(super::trust::tend(Arc::downgrade(self), handle.clone()));
        maillog::network_started(&id);
        Ok(handle)
    }

    /// The verdict on a mail that was looked at: peers are asked where what is known at home does
    /// not suffice, and waited for until the deadline. Who only asks, without a delivery, always
    /// gets what peers know.
    pub async fn answer(self: &Arc<Self>, look: Look, caller: &Caller, now: Time) -> Check {
        let Look { read, settings, mut matches, in_hand, mut judged, stated, private } = look;
        match self.network.handle() {
            None => {}
            Some(_) if private => {}
            Some(handle) if caller.delivery && suffices(judged.0.verdict) => {
                judged.0.asked = Asked::Known;
                if stated.is_some_and(|signed| !handle.publish(signed)) {
                    self.metrics.unsent.inc();
                }
                if self.network.is_stale(&judged.0.id, Instant::now()) {
                    let known = matches.iter().map(|found| Arc::clone(&found.witness)).collect();
                    self.ask_later(handle, read.probe.clone(), known);
                }
            }
            Some(handle) => {
                let started = Instant::now();
                let deadline = Duration::from_millis(self.network.config.deadline_ms);
                let known = matches.iter().map(|found| Arc::clone(&found.witness)).collect();
                let heard = handle.query(read.probe.clone(), stated, known, deadline).await;
                if !heard.witnesses.is_empty() {
                    self.keep(heard.witnesses);
                    matches = self.state().catalog.matches(&read.probe);
                    judged = super::judged(&read, &settings, &matches, in_hand, now);
                }
                judged.0.asked = match heard.completeness {
                    Completeness::Complete => Asked::Complete,
                    Completeness::Deadline => Asked::Deadline,
                    Completeness::Alone => Asked::Alone,
                };
                self.metrics.count_asked(judged.0.asked, started.elapsed());
            }
        }
        let (answer, judgement) = judged;
        self.weights.note((read.number(), &read.probe), &matches, &judgement, now);
        self.conclude(&read, &answer, caller, now);
        answer
    }

    /// Asks without anybody waiting for it.
    fn ask_later(self: &Arc<Self>, handle: Handle, probe: Probe, known: Vec<Arc<Witness>>) {
        let agent = Arc::clone(self);
        tokio::spawn(async move {
            let heard = handle.query(probe, None, known, REFRESH_TIME_MAX).await;
            agent.keep(heard.witnesses);
        });
    }

    /// Takes what others said into the catalog.
    pub(super) fn keep(&self, witnesses: Vec<Witness>) {
        let own = self.identity.site();
        let mut state = self.state();
        for mut witness in witnesses {
            // Another host of this site speaks for home, wherever it stands.
            if witness.statement.site == own {
                witness.network = Place::HOME;
            }
            state.catalog.insert(witness);
        }
    }

    /// How the network looks, while it is on.
    pub(crate) async fn view(&self, peers_max: usize) -> Option<View> {
        self.network.handle()?.view(peers_max).await
    }

    /// The hosts of the network.
    pub async fn peers(&self) -> Peers {
        let Some(view) = self.view(PEERS_SHOWN_MAX).await else {
            return Peers { peers: Vec::new() };
        };
        let (trust, now) = (&self.settings().trust, Time::now());
        let peer = |peer: &node::PeerView| Peer {
            node: peer.node.to_string(),
            site: peer.site.to_string(),
            own: peer.node == view.node,
            addresses: peer.addresses.to_vec(),
            observed: peer.observed.map(|address| address.to_string()),
            connected: peer.connected,
            up: peer.up,
            placed: peer.placed,
            since: peer.since.rfc3339(),
            heard: peer.heard.rfc3339(),
            round_trip_ms: peer.round_trip_ms,
            trust: trust.weight(&peer.site, now),
            records_here: peer.records_here,
        };
        Peers { peers: view.peers.iter().map(peer).collect() }
    }

    /// Who this host is, and how others join through it.
    pub async fn identity(&self) -> IdentityReply {
        let view = self.view(0).await;
        let site = self.identity.site();
        let invite = view.as_ref().filter(|view| !view.addresses.is_empty()).map(|view| {
            let addresses = view.addresses.iter().take(node::ADDRESSES_MAX).cloned().collect();
            Invite { site, node: view.node, addresses, pass: None }.to_line()
        });
        IdentityReply {
            site: site.to_string(),
            node: view.map(|view| view.node.to_string()),
            invite,
            invites: self.weights.invites(),
            vouched: self.weights.vouched().iter().map(ToString::to_string).collect(),
        }
    }
}

/// What is known at home suffices: it is judged, or an outbreak, of which every new opinion is
/// announced.
fn suffices(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Spam | Verdict::Bulk)
}

pub(super) fn administrator(who: &Reporter, what: &'static str) -> Result<(), AgentError> {
    if who.administrator { Ok(()) } else { Err(AgentError::NotAdministrator(what)) }
}

/// Keeps what the network tells, as long as both are there.
async fn hear(agent: Weak<Agent>, mut told: mpsc::Receiver<Told>) {
    while let Some(told) = told.recv().await {
        let Some(agent) = agent.upgrade() else { return };
        match told {
            Told::Learned(witnesses, _) => agent.keep(witnesses),
            Told::Keep(Keep::Accepted { invite, site }) => {
                agent.accepted(invite, site, Time::now()).await;
            }
            Told::Keep(keep) => {
                let saves = agent.weights.hear(keep).into_iter().map(Save::Network);
                saves.for_each(|save| agent.disk.save_soon(save));
            }
        }
    }
}
