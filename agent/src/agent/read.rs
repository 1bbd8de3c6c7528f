//! A mail as the agent reads it, and what each network says of it: here mail meets the judgement.

use std::borrow::Cow;

use novacula_catalog::{
    Digest, Fact, Facts, Match, Network as Place, Probe, Rates, Readings, SiteId, Time, Trust,
    careful, judge,
};
use novacula_client::{Authentication, Check};

use super::{Agent, Caller, Settings};
use crate::allowlist::authentication_of;
use crate::canonical::{Canonical, GATE_CHARS};
use crate::fingerprint::Fingerprint;
use crate::message::{Message, original};
use crate::verdict::{self, Circumstances};

/// A mail read, and what is known of it.
pub(super) struct Read {
    pub(super) canonical: Canonical,
    pub(super) fingerprint: Fingerprint,
    pub(super) probe: Probe,
    pub(super) circumstances: Circumstances,
    pub(super) facts: Facts,
    pub(super) received: Option<Time>,
    pub(super) from: String,
    /// Hash of the Message-Id.
    pub(super) message: Option<u64>,
}

impl Agent {
    pub(super) fn read(
        &self,
        mail: &[u8],
        caller: &Caller,
        settings: &Settings,
        now: Time,
    ) -> Read {
        let delivered = caller.delivery || caller.pending;
        let hosts = &settings.config.spamassassin_hosts;
        let original = if delivered { None } else { original(mail, hosts) };
        let message = Message::parse(original.as_deref().unwrap_or(mail));
        let canonical = Canonical::of(&message);
        let fingerprint = Fingerprint::of(&canonical);
        let authentication = caller
            .authentication
            .or_else(|| authentication_of(&message, &settings.config.authserv_ids));
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
        Read {
            circumstances: Circumstances {
                allowed,
                no_evidence: no_evidence(&message, &canonical, &fingerprint),
                wanted,
                known_bulk,
                stranger: sender_known == Fact::No
                    && !caller.bounce
                    && authentication != Some(Authentication::Pass),
                id: format!("{:016x}", fingerprint.number()),
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
}

/// Nothing leaves the site for allowed mail and for mail without evidence (DESIGN 4.4).
pub(super) fn sends(read: &Read) -> bool {
    let known = &read.circumstances;
    known.allowed.is_none() && known.wanted.is_none() && known.no_evidence.is_none()
}

impl Agent {
    /// What each network says of these matches.
    pub(super) fn readings(
        &self,
        read: &Read,
        settings: &Settings,
        matches: &[Match],
        in_hand: Option<Place>,
        now: Time,
    ) -> Readings {
        let judged = |matches: &[Match], trust: &Trust, rates: &Rates| {
            judge(matches, trust, &rates_for(read, rates), now, in_hand)
        };
        let group = self.networks.group.as_ref().zip(settings.group.as_ref());
        Readings {
            main: judged(&self.networks.main.matches(matches), &settings.trust, &settings.rates),
            group: group.map(|(of, by)| judged(&of.matches(matches), &by.trust, &by.rates)),
        }
    }

    /// The answer that follows from them.
    pub(super) fn verdict(
        &self,
        read: &Read,
        settings: &Settings,
        matches: &[Match],
        readings: &Readings,
        now: Time,
    ) -> Check {
        let window_secs = settings.rates.window_secs;
        let answer = verdict::answer(&read.circumstances, readings, matches, window_secs, now);
        let weight = |site: &SiteId| self.weight(settings, site, now);
        Check { places: verdict::places(matches, weight), ..answer }
    }

    /// What a site's word weighs in the network where it weighs most.
    pub(super) fn weight(&self, settings: &Settings, site: &SiteId, now: Time) -> f64 {
        let group = self.networks.group.as_ref().filter(|group| group.is_member(site));
        let there = group.zip(settings.group.as_ref()).map(|(_, by)| by.trust.weight(site, now));
        settings.trust.weight(site, now).max(there.unwrap_or(0.0))
    }
}

/// The rates that hold for a mail.
pub(super) fn rates_for<'a>(read: &Read, rates: &'a Rates) -> Cow<'a, Rates> {
    match read.circumstances.known_bulk {
        Some(_) => Cow::Owned(careful(rates)),
        None => Cow::Borrowed(rates),
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
