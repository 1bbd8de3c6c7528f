//! Does this mail match that statement? Pure functions from the asker's own digests and the
//! keys of a statement. A key shared says which of *our* engines it came from, so the rule of
//! match needs nothing of the other side but its keys (and its Nilsimsa digest where two keys
//! are shared and a third is missing).

use std::sync::Arc;

use crate::clock::Time;
use crate::digest::{Digest, Engine, Key, Nilsimsa, SaltEpoch};
use crate::entry::Witness;

/// Shared keys of one engine that suffice, unless Nilsimsa speaks against three of `text`.
pub const SHARED_ALONE: u32 = 3;
/// Shared keys of one engine that suffice when Nilsimsa agrees.
pub const SHARED_VERIFIED: u32 = 2;
/// Equal bits (of 256) from which two Nilsimsa digests agree. This and the next are the
/// strictest pair that loses at most 1 % of the twins of the tuning half's spam
/// (docs/measurements.md, "twins").
pub const NILSIMSA_AGREES_BITS: u32 = 188;
/// Equal bits (of 256) under which Nilsimsa speaks against a match by three keys of `text`.
/// Not asked of head and tail, which must hold when the rest of the mail is padding.
pub const NILSIMSA_AGAINST_BITS: u32 = 170;

/// One mail as the asker knows it: its digests with their keys under the salts in force.
#[derive(Clone, Debug)]
pub struct Probe {
    keys: Vec<(Key, Engine, bool)>,
    emitted: Vec<Key>,
    nilsimsa: Option<Nilsimsa>,
}

impl Probe {
    /// The probe for a mail's digests at `now`.
    #[must_use]
    pub fn new(digests: &[Digest], nilsimsa: Option<Nilsimsa>, now: Time) -> Self {
        let (current, former) = SaltEpoch::for_query(now);
        let mut keys = Vec::with_capacity(digests.len() * 2);
        let emitted: Vec<Key> = digests.iter().map(|digest| digest.key(current)).collect();
        keys.extend(emitted.iter().zip(digests).map(|(key, of)| (*key, of.engine, of.weak)));
        if let Some(former) = former {
            keys.extend(digests.iter().map(|of| (of.key(former), of.engine, of.weak)));
        }
        keys.sort_unstable();
        Self { keys, emitted, nilsimsa }
    }

    /// Every key to look up, sorted.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.keys.iter().map(|(key, ..)| *key)
    }

    /// True when the key is one to look up.
    #[must_use]
    pub fn asks(&self, key: Key) -> bool {
        self.keys.binary_search_by_key(&key, |(of, ..)| *of).is_ok()
    }

    /// Whether a statement that carries these keys would match, if its Nilsimsa digest (which an
    /// opinion has) agreed: what is known before the statement itself is.
    #[must_use]
    pub fn may_match(&self, keys: &[Key], opinion: bool) -> bool {
        let mut shared = Shared::default();
        for (_, engine, weak) in self.keys.iter().filter(|(key, ..)| keys.contains(key)) {
            shared.count(*engine, *weak);
        }
        shared.nilsimsa_bits = (opinion && self.nilsimsa.is_some()).then_some(256);
        shared.rule().is_some()
    }

    /// The keys that a statement made now carries, in the engines' order of priority.
    #[must_use]
    pub fn emitted(&self) -> &[Key] {
        &self.emitted
    }

    /// The mail's Nilsimsa digest.
    #[must_use]
    pub fn nilsimsa(&self) -> Option<Nilsimsa> {
        self.nilsimsa
    }
}

/// How many keys of each engine are shared, and whether Nilsimsa agrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// All canonical words equal.
    pub exact: bool,
    /// Shared text keys.
    pub text: u32,
    /// Shared head keys.
    pub head: u32,
    /// Shared tail keys.
    pub tail: u32,
    /// Shared links that suffice alone.
    pub link: u32,
    /// Shared hosts, which do not.
    pub host: u32,
    /// Equal bits of the Nilsimsa digests, where both are known.
    pub nilsimsa_bits: Option<u32>,
}

impl Shared {
    fn count(&mut self, engine: Engine, weak: bool) {
        match (engine, weak) {
            (Engine::Exact, _) => self.exact = true,
            (Engine::Text, _) => self.text += 1,
            (Engine::Head, _) => self.head += 1,
            (Engine::Tail, _) => self.tail += 1,
            (Engine::Link, false) => self.link += 1,
            (Engine::Link, true) => self.host += 1,
        }
    }

    /// The rule of match: the engine that proves that both mails are the same, if one does.
    #[must_use]
    pub fn rule(&self) -> Option<Engine> {
        let agrees = self.nilsimsa_bits.is_some_and(|bits| bits >= NILSIMSA_AGREES_BITS);
        let against = self.nilsimsa_bits.is_some_and(|bits| bits < NILSIMSA_AGAINST_BITS);
        let suffices = |count: u32| count >= SHARED_ALONE || (count >= SHARED_VERIFIED && agrees);
        let text = suffices(self.text) && !(self.text == SHARED_ALONE && against);
        let with_host = self.host > 0 && self.text + self.head + self.tail > 0;
        match self {
            Self { exact: true, .. } => Some(Engine::Exact),
            _ if text => Some(Engine::Text),
            _ if suffices(self.head) => Some(Engine::Head),
            _ if suffices(self.tail) => Some(Engine::Tail),
            _ if self.link > 0 || with_host => Some(Engine::Link),
            _ => None,
        }
    }
}

/// A statement about the same mail, and why it is the same.
#[derive(Clone, Debug)]
pub struct Match {
    /// The statement with where it was observed.
    pub witness: Arc<Witness>,
    /// The engine that proved it.
    pub engine: Engine,
    /// What was shared.
    pub shared: Shared,
}

/// Compares a mail with one witness.
#[must_use]
pub fn compare(probe: &Probe, witness: &Arc<Witness>) -> Option<Match> {
    let mut shared = Shared::default();
    for (key, engine, weak) in &probe.keys {
        if witness.statement.keys().binary_search(key).is_err() {
            continue;
        }
        shared.count(*engine, *weak);
    }
    shared.nilsimsa_bits =
        probe.nilsimsa.zip(witness.nilsimsa).map(|(ours, theirs)| ours.equal_bits(&theirs));
    shared.rule().map(|engine| Match { witness: Arc::clone(witness), engine, shared })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shared: Shared, expected: Option<Engine>) {
        assert_eq!(shared.rule(), expected, "{shared:?}");
    }

    #[test]
    fn rule_of_match() {
        let none = Shared::default();
        let agreeing = Some(NILSIMSA_AGREES_BITS);
        let nearly = agreeing.map(|bits| bits - 1);
        check(none, None);
        check(Shared { exact: true, ..none }, Some(Engine::Exact));
        let against = Some(NILSIMSA_AGAINST_BITS - 1);
        check(Shared { text: 3, ..none }, Some(Engine::Text));
        check(Shared { text: 3, nilsimsa_bits: against, ..none }, None);
        check(Shared { text: 4, nilsimsa_bits: against, ..none }, Some(Engine::Text));
        check(Shared { head: 3, nilsimsa_bits: against, ..none }, Some(Engine::Head));
        check(Shared { text: 2, ..none }, None);
        check(Shared { text: 2, nilsimsa_bits: nearly, ..none }, None);
        check(Shared { text: 2, nilsimsa_bits: agreeing, ..none }, Some(Engine::Text));
        check(Shared { text: 1, nilsimsa_bits: agreeing, ..none }, None);
        check(Shared { text: 2, head: 2, ..none }, None);
        check(Shared { head: 3, ..none }, Some(Engine::Head));
        check(Shared { tail: 3, ..none }, Some(Engine::Tail));
        check(Shared { link: 1, ..none }, Some(Engine::Link));
        check(Shared { host: 2, ..none }, None);
        check(Shared { host: 1, head: 1, ..none }, Some(Engine::Link));
        check(Shared { nilsimsa_bits: Some(256), ..none }, None);
    }

    #[test]
    fn after_the_salt_rolls_statements_of_last_week_still_match_for_72_hours() {
        use crate::digest::{SALT_OVERLAP_SECS, SALT_SECS};
        use crate::entry::Network;
        use crate::identity::SiteId;
        use crate::statement::{Copies, Facts, Kind, MailId, Statement};
        let digests = [Digest { engine: Engine::Exact, weak: false, value: 11 }];
        let roll = Time(2900 * SALT_SECS);
        let before = Probe::new(&digests, None, roll.minus_secs(60));
        let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
        let keys = before.emitted().to_vec();
        let epoch = roll.minus_secs(60).epoch();
        let statement = Statement::new(SiteId([1; 32]), MailId(1), 1, epoch, keys, kind);
        let network = Network(1);
        let witness = Arc::new(Witness { statement, network, nilsimsa: None, kept_from: epoch });
        let matches = |at| compare(&Probe::new(&digests, None, at), &witness).is_some();
        assert!(matches(roll));
        assert!(!matches(Time(roll.0 + SALT_OVERLAP_SECS)));
    }
}
