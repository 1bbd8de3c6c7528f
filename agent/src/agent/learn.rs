//! What the agent learns: what is common in the site's own accepted mail, and how often people of
//! the network report wanted bulk by mistake. Both act at home only.

use std::sync::{MutexGuard, PoisonError};

use novacula_catalog::store::{Save, SaveLearned};
use novacula_catalog::{Fact, Feature, Learner, STUDY_SECS, Time};
use novacula_client::Verdict;

use super::{Agent, Read};

impl Agent {
    /// What is common in mail that the site accepts, and the domain of its authenticated sender.
    pub(super) fn learn_common(&self, read: &Read, verdict: Verdict, now: Time) {
        if verdict != Verdict::Spam
            && read.facts.authenticated == Fact::Yes
            && let Some(trace) = self.state().correspondents.learn_domain(&read.from, now)
        {
            self.disk.save_soon(Save::Trace(trace));
        }
        if is_accepted(read, verdict) {
            let features = self.state().familiar.accepted(read.fingerprint.digests(), now);
            self.save_features(features);
        }
    }

    pub(super) fn save_features(&self, features: Vec<Feature>) {
        if !features.is_empty() {
            self.disk.save_soon(Save::Learned(SaveLearned::Features(features)));
        }
    }

    /// Learns from all that is held how often wanted bulk is reported by mistake. The statements
    /// are looked at while nothing is locked.
    pub(super) fn study(&self, now: Time) {
        let held: Vec<_> = {
            let (_, last) = *self.learner();
            if now.secs_since(last) < STUDY_SECS && last <= now {
                return;
            }
            self.state().catalog.witnesses().cloned().collect()
        };
        let settings = self.settings();
        let (mut learner, _) = *self.learner();
        let supposed = settings.config.rates();
        let changed = learner.study(&held, &settings.trust, &supposed, now);
        *self.learner() = (learner, now);
        if changed {
            self.disk.save_soon(Save::Learned(SaveLearned::Rate(learner.learned())));
        }
        if learner.rates(&supposed) != settings.rates {
            self.reload(&settings.config);
        }
    }

    pub(super) fn learner(&self) -> MutexGuard<'_, (Learner, Time)> {
        self.learner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mail that the site takes as wanted, as far as it knows: what is common in it is learnt. Where
/// we know that a sender is a stranger, he teaches us nothing.
fn is_accepted(read: &Read, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Allowed => true,
        Verdict::Bulk | Verdict::Unknown => read.facts.sender_known != Fact::No,
        Verdict::Spam | Verdict::Contested | Verdict::NoEvidence => false,
    }
}
