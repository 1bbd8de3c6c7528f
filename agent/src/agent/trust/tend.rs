//! Weights applied: told to the catalog and to each network, said to others, and looked at again when
//! it has turned out who was right.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use novacula_catalog::store::{Save, SaveNetwork, Side};
use novacula_catalog::{Judgement, Match, Probe, Reporter, SiteId, Time, judge};
use novacula_client::TrustReply;

use super::super::peers::{REFRESH_TIME_MAX, administrator};
use super::super::{Agent, AgentError, Read, Settings};
use super::{Again, FRESH_SECS, SITES_SHOWN_MAX, Weighed};
use crate::maillog;

impl Agent {
    /// What sites weigh here, and why.
    pub async fn trust(&self, site: Option<SiteId>, now: Time) -> TrustReply {
        let mut peers: Vec<SiteId> = Vec::new();
        for network in self.networks.iter() {
            let view = network.view(SITES_SHOWN_MAX).await;
            peers.extend(view.iter().flat_map(|view| &view.peers).map(|peer| peer.site));
        }
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
        self.say_trust(now).await;
        Ok(())
    }

    pub(super) async fn save_trust(&self, saves: Vec<SaveNetwork>) -> Result<(), AgentError> {
        let stored = self.disk.save_now(saves.into_iter().map(Save::Network).collect()).await;
        self.note_store();
        stored.map_err(AgentError::Write)
    }

    pub(in super::super) fn trust_anew(
        &self,
        now: Time,
        change: impl FnOnce(&mut BTreeSet<SiteId>) -> bool,
    ) {
        change(&mut self.weights.lock().vouched);
        let settings = self.settings();
        self.set_trust(self.weights.weigh(&settings.config, now));
    }

    fn set_trust(&self, weighed: Weighed) {
        self.tell_trust(&weighed);
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        let (learner, _) = *self.learner();
        *settings = Arc::new(Settings::of(&settings.config, weighed, &learner));
    }

    /// Tells the catalog who counts, and each network who counts there.
    pub(in super::super) fn tell_trust(&self, weighed: &Weighed) {
        let now = Time::now();
        self.state().catalog.trust(weighed.shelves(&self.networks, now));
        for (network, handle) in self.networks.on() {
            let trust = match network.side() {
                Side::Main => Some(&weighed.main),
                Side::Group => weighed.group.as_ref(),
            };
            // Without room it is said again when the weights change next.
            let _ = trust.is_none_or(|trust| handle.trust(trust.shelves(now)));
        }
    }

    /// Says whom this site vouches for and whom it invites, where that is not known to all yet.
    pub(in super::super) async fn say_trust(&self, now: Time) {
        let on = self.networks.on();
        if on.is_empty() {
            return;
        }
        self.weights.say_invites(&on);
        // The machine with the site's key says the list; other hosts of the site hear it.
        let Some(key) = self.identity.site_key() else { return };
        let Some((signed, save)) = self.weights.to_say(key, now) else { return };
        if let Some(save) = save {
            // Unsaved it would be made anew, later than this one, at the next start.
            let _ = self.disk.save_now(vec![Save::Network(save)]).await;
        }
        for (_, handle) in on {
            if !handle.vouch(signed.clone()) {
                self.weights.lock().said = false;
            }
        }
    }

    /// What is due once a second while a network is on.
    async fn tend_trust(&self, now: Time) {
        let (stale, moved) = {
            let weighing = self.weights.lock();
            let due = now.secs_since(weighing.made) >= FRESH_SECS || now < weighing.made;
            (weighing.stale && due, weighing.moved && due)
        };
        let config = &self.settings().config;
        if stale {
            self.set_trust(tokio::task::block_in_place(|| self.weights.weigh(config, now)));
        } else if moved {
            let weighed = {
                let mut weighing = self.weights.lock();
                (weighing.moved, weighing.made) = (false, now);
                weighing.weighed(config)
            };
            self.set_trust(weighed);
        }
        self.say_trust(now).await;
        self.weights.unsaved(now).into_iter().for_each(|save| self.disk.save_soon(save));
        for Again { mail, probe, .. } in self.weights.due(now) {
            let matches = self.state().catalog.matches(&probe);
            self.ask(&self.networks.on(), &probe, None, &matches, REFRESH_TIME_MAX).await;
            let (matches, judgement) = self.main_reading(&probe, now);
            let weighing = &mut *self.weights.lock();
            weighing.moved |=
                weighing.hindsight.note(mail, &matches, &judgement, &mut weighing.trust, now);
        }
    }

    /// Looks at what became of a mail that somebody here spoke of.
    pub(in super::super) fn note_opinion(&self, read: &Read, now: Time) {
        let (matches, judgement) = self.main_reading(&read.probe, now);
        self.weights.note((read.fingerprint.number(), &read.probe), &matches, &judgement, now);
    }

    /// What is known of a mail in the main network, and what follows from it there.
    fn main_reading(&self, probe: &Probe, now: Time) -> (Vec<Match>, Judgement) {
        let settings = self.settings();
        let matches = self.state().catalog.matches(probe);
        let matches = self.networks.main.matches(&matches).into_owned();
        let judgement = judge(&matches, &settings.trust, &settings.rates, now, None);
        (matches, judgement)
    }
}

/// Keeps weights up to date as long as the agent and one of its networks are there.
pub(in super::super) async fn tend(agent: Weak<Agent>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let Some(agent) = agent.upgrade() else { return };
        if !agent.networks.is_on() {
            agent.tending.store(false, Ordering::Relaxed);
            return;
        }
        agent.tend_trust(Time::now()).await;
    }
}
