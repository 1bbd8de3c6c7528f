//! The agent's part in the networks of peers: starting them, asking them about a mail within the
//! deadline, and keeping what they tell.
//!
//! Key decision: a network may fail, and mail does not notice. What can't be started is said in
//! the log, in `status` and by `doctor`; a question that can't be asked is answered from home.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use novacula_catalog::node::{self, CERTIFICATE_SECS, Completeness, Keep, NodeId, Start};
use novacula_catalog::store::{Save, Side};
use novacula_catalog::{
    Conclusion, Judgement, Match, Network as Place, Probe, Reporter, Time, Witness,
};
use novacula_client::{Asked, Check, IdentityReply, Peer, Peers, Verdict};
use novacula_net::{Handle, Settings, Told};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::invite::Invite;
use super::networks::{Link, Network};
use super::{Agent, AgentError, Caller, Look};
use crate::hosts;
use crate::maillog;

/// Longest wait for others to take over what this host holds, when it stops: a supervisor kills
/// it after 10 s (THREATS 20: 5 s to drain).
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);
/// Longest wait for an answer that nobody waits for.
pub(super) const REFRESH_TIME_MAX: Duration = Duration::from_secs(3);
/// Most peers that are shown.
const PEERS_SHOWN_MAX: usize = 1_000;

impl Agent {
    /// Takes part in the networks that the configuration turns on, or that were joined before.
    /// Needs a tokio runtime.
    pub fn connect(self: &Arc<Self>, now: Time) {
        for network in self.networks.iter().filter(|network| network.wanted()) {
            if let Err(reason) = self.start_network(network, now) {
                maillog::network_failed(network.side(), &reason);
                network.set(Link::Failed(reason));
            }
        }
    }

    /// Hands off what this host holds for others, and stops the networks.
    pub async fn disconnect(&self) {
        let mut left = JoinSet::new();
        for (network, handle) in self.networks.on() {
            network.set(Link::Off);
            left.spawn(async move { handle.leave(LEAVE_TIME_MAX).await });
        }
        left.join_all().await;
    }

    pub(super) fn start_network(
        self: &Arc<Self>,
        network: &Network,
        now: Time,
    ) -> Result<Handle, String> {
        let (of, config) = (&network.config, &self.settings().config);
        let host = hosts::host_key(&self.data_dir).map_err(|error| error.to_string())?;
        let id = NodeId::of(&host);
        let members = network.members();
        let own = members.iter().find(|record| record.node == id);
        let until = Time(now.0 + CERTIFICATE_SECS);
        let (outbox, vouches, proofs) = {
            let loaded = &mut *network.loaded();
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
            listen: forms(&of.listen)?,
            announce: forms(&of.announce)?,
            mdns: of.mdns,
            relay: config.relay && !config.behind_nat,
            behind_nat: config.behind_nat,
            connections_max: config.peer_connections_max,
            record: of.record.clone(),
            clock: Arc::new(Time::now),
        };
        let node = node::Config {
            group: of.group.clone(),
            prefix: config.prefix_bits(),
            bootstrap: network.bootstrap(),
            hot_sites: config.bulk_sites as usize,
            ..node::Config::default()
        };
        let (handle, told) =
            novacula_net::start(settings, start, node).map_err(|error| error.to_string())?;
        network.set(Link::On(handle.clone()));
        tokio::spawn(hear(Arc::downgrade(self), of.side, told));
        self.weights.say_anew();
        self.tell_trust(&self.weights.weighed(config));
        if !self.tending.swap(true, Ordering::Relaxed) {
            tokio::spawn(super::trust::tend(Arc::downgrade(self)));
        }
        maillog::network_started(of.side, &id);
        Ok(handle)
    }

    /// The verdict on a mail that was looked at: peers are asked where what is known at home does
    /// not suffice, and waited for until the deadline. Who only asks, without a delivery, always
    /// gets what peers know.
    pub async fn answer(self: &Arc<Self>, look: Look, caller: &Caller, now: Time) -> Check {
        let Look { read, settings, mut matches, in_hand, mut judged, stated, private } = look;
        let on = if private { Vec::new() } else { self.networks.on() };
        let (known, asked): (Vec<_>, Vec<_>) = on.into_iter().partition(|(network, _)| {
            caller.delivery && suffices(judged.0.verdict, judged.1.of(network.side()))
        });
        for (network, handle) in &known {
            judged.0.asked = Asked::Known;
            if stated.as_ref().is_some_and(|signed| !handle.publish(signed.clone())) {
                self.metrics.unsent.inc();
            }
            if network.is_stale(&judged.0.id, Instant::now()) {
                self.ask_later(network.side(), read.probe.clone(), matches.clone());
            }
        }
        if !asked.is_empty() {
            let started = Instant::now();
            let deadline = Duration::from_millis(settings.config.deadline_ms);
            let (completeness, new) =
                self.ask(&asked, &read.probe, stated.as_ref(), &matches, deadline).await;
            if new {
                matches = self.state().catalog.matches(&read.probe);
                let readings = self.readings(&read, &settings, &matches, in_hand, now);
                let answer = self.verdict(&read, &settings, &matches, &readings, now);
                judged = (answer, readings);
            }
            judged.0.asked = match completeness {
                Completeness::Complete => Asked::Complete,
                Completeness::Deadline => Asked::Deadline,
                Completeness::Alone => Asked::Alone,
            };
            self.metrics.count_asked(judged.0.asked, started.elapsed());
        }
        let (answer, readings) = judged;
        let of_main = self.networks.main.matches(&matches);
        self.weights.note((read.fingerprint.number(), &read.probe), &of_main, &readings.main, now);
        self.conclude(&read, &answer, caller, now);
        answer
    }

    /// Asks the peers of these networks at once, within one deadline, and keeps what they say; tells
    /// how complete the least complete answer is, and whether there was anything new.
    pub(super) async fn ask(
        &self,
        networks: &[(&Network, Handle)],
        probe: &Probe,
        stated: Option<&Vec<u8>>,
        matches: &[Match],
        deadline: Duration,
    ) -> (Completeness, bool) {
        let mut asked = JoinSet::new();
        for (network, handle) in networks {
            let (side, handle, probe) = (network.side(), handle.clone(), probe.clone());
            let known = self.networks.may_name(network, matches);
            let stated = stated.cloned();
            asked.spawn(async move { (side, handle.query(probe, stated, known, deadline).await) });
        }
        let (mut completeness, mut new) = (Completeness::Complete, false);
        for (side, heard) in asked.join_all().await {
            completeness = completeness.max(heard.completeness);
            new |= !heard.witnesses.is_empty();
            self.keep(side, heard.witnesses);
        }
        (completeness, new)
    }

    /// Asks without anybody waiting for it.
    fn ask_later(self: &Arc<Self>, side: Side, probe: Probe, matches: Vec<Match>) {
        let agent = Arc::clone(self);
        tokio::spawn(async move {
            let mut on = agent.networks.on();
            on.retain(|(network, _)| network.side() == side);
            agent.ask(&on, &probe, None, &matches, REFRESH_TIME_MAX).await;
        });
    }

    /// Takes what others said into the catalog.
    pub(super) fn keep(&self, side: Side, witnesses: Vec<Witness>) {
        let Some(network) = self.networks.of(side) else { return };
        let own = self.identity.site();
        let count = witnesses.len();
        let witnesses = network.hear(witnesses, Time::now());
        self.metrics.unheard.inc_by((count - witnesses.len()) as u64);
        let mut state = self.state();
        for mut witness in witnesses {
            // Another host of this site speaks for home, wherever it stands.
            if witness.statement.site == own {
                witness.network = Place::HOME;
            }
            state.catalog.insert(witness);
        }
    }

    /// The hosts of the networks.
    pub async fn peers(&self) -> Peers {
        let (settings, now) = (self.settings(), Time::now());
        let mut peers = Vec::new();
        for network in self.networks.iter() {
            let Some(view) = network.view(PEERS_SHOWN_MAX).await else { continue };
            let peer = |peer: &node::PeerView| Peer {
                node: peer.node.to_string(),
                site: peer.site.to_string(),
                group: network.side() == Side::Group,
                own: peer.node == view.node,
                addresses: peer.addresses.to_vec(),
                observed: peer.observed.map(|address| address.to_string()),
                connected: peer.connected,
                up: peer.up,
                placed: peer.placed,
                since: peer.since.rfc3339(),
                heard: peer.heard.rfc3339(),
                round_trip_ms: peer.round_trip_ms,
                trust: self.weight(&settings, &peer.site, now),
                records_here: peer.records_here,
            };
            peers.extend(view.peers.iter().map(peer));
        }
        Peers { peers }
    }

    /// Who this host is, and how others join through it.
    pub async fn identity(&self) -> IdentityReply {
        let site = self.identity.site();
        let mut reply = IdentityReply {
            site: site.to_string(),
            invites: self.weights.invites(),
            vouched: self.weights.vouched().iter().map(ToString::to_string).collect(),
            ..IdentityReply::default()
        };
        for network in self.networks.iter() {
            let Some(view) = network.view(0).await else { continue };
            reply.node = Some(view.node.to_string());
            if view.addresses.is_empty() {
                continue;
            }
            let addresses = view.addresses.iter().take(node::ADDRESSES_MAX).cloned().collect();
            let line = Invite { site, node: view.node, addresses, pass: None }.to_line();
            match network.side() {
                Side::Main => reply.invite = Some(line),
                Side::Group => reply.group_invite = Some(line),
            }
        }
        reply
    }
}

/// What is known at home suffices, so that a network's peers need not be asked: the mail is judged
/// spam, or it is an outbreak in that network, of which every new opinion is announced there.
fn suffices(verdict: Verdict, reading: Option<&Judgement>) -> bool {
    let outbreak = reading.is_some_and(|of| of.conclusion == Conclusion::Bulk);
    verdict == Verdict::Spam || (verdict == Verdict::Bulk && outbreak)
}

pub(super) fn administrator(who: &Reporter, what: &'static str) -> Result<(), AgentError> {
    if who.administrator { Ok(()) } else { Err(AgentError::NotAdministrator(what)) }
}

/// Keeps what a network tells, as long as both are there.
async fn hear(agent: Weak<Agent>, side: Side, mut told: mpsc::Receiver<Told>) {
    while let Some(told) = told.recv().await {
        let Some(agent) = agent.upgrade() else { return };
        match told {
            Told::Learned(witnesses, _) => agent.keep(side, witnesses),
            Told::Keep(Keep::Accepted { invite, site }) => {
                agent.accepted(invite, site, Time::now()).await;
            }
            Told::Keep(keep) => {
                if let (Keep::Member { record, .. }, Some(network)) =
                    (&keep, agent.networks.of(side))
                    && network.meet(record, Time::now())
                {
                    agent.weights.moved();
                }
                let saves = agent.weights.hear(side, keep).into_iter().map(Save::Network);
                saves.for_each(|save| agent.disk.save_soon(save));
            }
        }
    }
}
