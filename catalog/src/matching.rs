//! Does this mail match that statement? Pure functions from the asker's own digests and the
//! keys of a statement. A key shared says which of *our* engines it came from, so the rule of
//! match needs nothing of the other side but its keys (and its Nilsimsa digest where two keys
//! are shared and a third is missing).

use std::sync::Arc;

use crate::clock::Time;
use crate::digest::{Digest, Engine, Key, Nilsimsa, SaltEpoch};
use crate::entry::Witness;

/// Shared shingles that suffice while the other side's Nilsimsa digest is not known.
pub const SHARED_UNVERIFIED: u32 = 3;
/// Equal bits (of 256) of the Nilsimsa digests from which two shared shingles suffice. The curve
/// of this and the next is in docs/measurements.md, "Twins".
pub const NILSIMSA_OF_TWO_BITS: u32 = 188;
/// The same for three shared shingles.
pub const NILSIMSA_OF_THREE_BITS: u32 = 176;
/// The same for four; five need none.
pub const NILSIMSA_OF_FOUR_BITS: u32 = 164;
/// Shared shingles of one end of a long text that need none: what stands before or behind may
/// all be padding.
pub const SHARED_OF_END: u32 = 3;

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
    /// Shared attachments.
    pub attachment: u32,
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
            (Engine::Attachment, _) => self.attachment += 1,
        }
    }

    /// What a mail shares with a witness.
    #[must_use]
    pub fn of(probe: &Probe, witness: &Witness) -> Self {
        let mut shared = Self::default();
        for (key, engine, weak) in &probe.keys {
            if witness.statement.keys().binary_search(key).is_ok() {
                shared.count(*engine, *weak);
            }
        }
        shared.nilsimsa_bits =
            probe.nilsimsa.zip(witness.nilsimsa).map(|(ours, theirs)| ours.equal_bits(&theirs));
        shared
    }

    /// The rule of match: the engine that proves that both mails are the same, if one does.
    #[must_use]
    pub fn rule(&self) -> Option<Engine> {
        let shingles = self.text + self.head + self.tail;
        let needed = match shingles {
            0 | 1 => None,
            2 => Some(NILSIMSA_OF_TWO_BITS),
            _ if self.head.max(self.tail) >= SHARED_OF_END => Some(0),
            3 => Some(NILSIMSA_OF_THREE_BITS),
            4 => Some(NILSIMSA_OF_FOUR_BITS),
            _ => Some(0),
        };
        let text = match (needed, self.nilsimsa_bits) {
            (Some(needed), Some(bits)) => bits >= needed,
            (Some(_), None) => shingles >= SHARED_UNVERIFIED,
            (None, _) => false,
        };
        let with_host = self.host > 0 && shingles > 0;
        match self {
            Self { exact: true, .. } => Some(Engine::Exact),
            _ if text && self.head == shingles => Some(Engine::Head),
            _ if text && self.tail == shingles => Some(Engine::Tail),
            _ if text => Some(Engine::Text),
            _ if self.attachment > 0 => Some(Engine::Attachment),
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
    let shared = Shared::of(probe, witness);
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
        check(none, None);
        check(Shared { exact: true, ..none }, Some(Engine::Exact));
        for (shingles, bits) in
            [(2, NILSIMSA_OF_TWO_BITS), (3, NILSIMSA_OF_THREE_BITS), (4, NILSIMSA_OF_FOUR_BITS)]
        {
            let shared = |bits| Shared { text: shingles, nilsimsa_bits: Some(bits), ..none };
            check(shared(bits), Some(Engine::Text));
            check(shared(bits - 1), None);
        }
        check(Shared { text: 1, nilsimsa_bits: Some(256), ..none }, None);
        check(Shared { text: 5, nilsimsa_bits: Some(0), ..none }, Some(Engine::Text));
        check(Shared { text: 2, ..none }, None);
        check(Shared { text: 3, ..none }, Some(Engine::Text));
        check(Shared { text: 2, head: 2, tail: 1, ..none }, Some(Engine::Text));
        check(Shared { head: 3, nilsimsa_bits: Some(0), ..none }, Some(Engine::Head));
        check(Shared { head: 2, tail: 1, nilsimsa_bits: Some(0), ..none }, None);
        check(Shared { tail: 3, ..none }, Some(Engine::Tail));
        check(Shared { link: 1, ..none }, Some(Engine::Link));
        check(Shared { host: 2, ..none }, None);
        check(Shared { host: 1, head: 1, ..none }, Some(Engine::Link));
        check(Shared { attachment: 1, ..none }, Some(Engine::Attachment));
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
